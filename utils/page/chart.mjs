// Axes and marks in SVG: what both figures are drawn with. A chart is drawn at the pixels that it has, so that letters keep their
// size on a phone.

const SVG = "http://www.w3.org/2000/svg";

/** An SVG element; children may be text. */
export function svg(name, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) if (value !== undefined) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** Dashes and markers say the same as colours a second time: those of utils/figures/plots.py. */
const DASHES = ["", "5 3", "7 3 1.5 3", "1.5 3", "7 2 1.5 2 1.5 2", "4 2"];
const SHAPES = ["circle", "square", "triangle", "diamond", "down", "plus", "cross"];
/** How capability number i is drawn. */
export const look = (i) => ({ class: `c${(i + 1) % 6}`, dash: DASHES[(i + 1) % 6], shape: SHAPES[i % 7] });

/** A small mark around (x, y). */
export function mark(shape, x, y, size, attributes = {}) {
  const r = size;
  const paths = {
    circle: `M${x - r},${y}a${r},${r} 0 1,0 ${2 * r},0a${r},${r} 0 1,0 ${-2 * r},0Z`,
    square: `M${x - r},${y - r}h${2 * r}v${2 * r}h${-2 * r}Z`,
    triangle: `M${x},${y - 1.2 * r}L${x + 1.1 * r},${y + r}H${x - 1.1 * r}Z`,
    down: `M${x},${y + 1.2 * r}L${x + 1.1 * r},${y - r}H${x - 1.1 * r}Z`,
    diamond: `M${x},${y - 1.3 * r}L${x + 1.3 * r},${y}L${x},${y + 1.3 * r}L${x - 1.3 * r},${y}Z`,
    plus: `M${x - r},${y}h${2 * r}M${x},${y - r}v${2 * r}`,
    cross: `M${x - r},${y - r}l${2 * r},${2 * r}m0,${-2 * r}l${-2 * r},${2 * r}`,
  };
  return svg("path", { d: paths[shape], ...attributes });
}

/** Round numbers from low to high, about `count` of them. */
export function ticks(low, high, count) {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((each) => each * power >= rough) * power;
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

/** One chart: a frame that is cleared and drawn anew. */
export class Chart {
  /**
   * @param {SVGElement} root - an svg with <title> and <desc>, which stay
   * @param {object} options - x, y: [lowest, highest]; xLabel, yLabel; xTicks, yTicks: how many; yText: how a tick is written
   */
  constructor(root, { x, y, xLabel = "", yLabel = "", xTicks, yTicks = 5, yText = String, xText = String, left = 40, right = 12 }) {
    const width = Math.max(240, root.clientWidth || 0);
    const height = Math.max(120, root.clientHeight || 0);
    root.setAttribute("viewBox", `0 0 ${width} ${height}`);
    for (const child of [...root.children]) if (!["title", "desc"].includes(child.tagName)) child.remove();
    const box = { left, right: width - right, top: 20, bottom: height - (xLabel ? 34 : 20) };
    Object.assign(this, { root, width, height, box });
    this.x = (value) => box.left + ((value - x[0]) / (x[1] - x[0])) * (box.right - box.left);
    this.y = (value) => box.bottom - ((value - y[0]) / (y[1] - y[0])) * (box.bottom - box.top);
    const frame = svg("g", { class: "frame", "aria-hidden": "true" });
    for (const value of ticks(...y, yTicks)) {
      const at = this.y(value);
      frame.append(svg("line", { x1: box.left, x2: box.right, y1: at, y2: at }));
      frame.append(svg("text", { x: box.left - 6, y: at + 4, "text-anchor": "end" }, yText(value)));
    }
    for (const value of ticks(Math.max(0, x[0]), x[1], xTicks ?? Math.min(8, width / 60))) {
      frame.append(svg("text", { x: this.x(value), y: box.bottom + 15, "text-anchor": "middle" }, xText(value)));
    }
    frame.append(svg("text", { x: 0, y: 11 }, yLabel));
    frame.append(svg("text", { x: box.right, y: height - 4, "text-anchor": "end" }, xLabel));
    this.marks = svg("g", { "aria-hidden": "true" });
    root.append(frame, this.marks);
  }

  /** A line through [x, y] pairs, with marks on them where `shape` is given. */
  line(points, { class: name, dash, shape, size = 2.6, width }) {
    const finite = points.filter(([, y]) => y !== null && Number.isFinite(y));
    if (!finite.length) return;
    const at = finite.map(([x, y]) => [this.x(x), this.y(y)]);
    const group = svg("g", { class: `line ${name}` });
    group.append(svg("polyline", { points: at.map((pair) => pair.map((v) => v.toFixed(1)).join()).join(" "), "stroke-dasharray": dash, "stroke-width": width }));
    if (shape) for (const [x, y] of at) group.append(mark(shape, x, y, size));
    this.marks.append(group);
  }

  band(low, high, name) {
    const there = low.map(([x, y]) => [this.x(x), this.y(y)]);
    const back = high.map(([x, y]) => [this.x(x), this.y(y)]).reverse();
    this.marks.append(svg("polygon", { class: `band ${name}`, points: [...there, ...back].map((pair) => pair.join()).join(" ") }));
  }

  spot(shape, x, y, size, name, words) {
    const made = mark(shape, this.x(x), this.y(y), size, { class: `spot ${name}` });
    if (words) made.append(svg("title", {}, words));
    this.marks.append(made);
  }

  text(words, x, y, { dx = 0, dy = 0, anchor = "start", class: name = "" } = {}) {
    const at = Math.min(Math.max(this.x(x) + dx, 2), this.width - 2);
    this.marks.append(svg("text", { x: at, y: this.y(y) + dy, "text-anchor": anchor, class: `words ${name}` }, words));
  }
}

/** Says what a chart shows, for those who do not see it. */
export function describe(root, title, words) {
  const [name, description] = [root.querySelector("title"), root.querySelector("desc")];
  if (name.textContent !== title) name.textContent = title;
  if (description.textContent !== words) description.textContent = words;
}
