// What the page shows: controls follow the settings, figures, words and tables follow the runs. It only shows; moves.mjs moves.

import { describe, look, mark, svg } from "./chart.mjs";
import { rows } from "./classroom.mjs";
import { drawLoss, drawRetention } from "./curves.mjs";
import { drawPlane } from "./plane.mjs";
import { qrCode } from "./qr.mjs";
import * as words from "./words.mjs";

export const RANKS = [1, 2, 4, 8, 16, 32, 64];
export const STEPS = [8, 10, 20, 40, 80, 160];
export const EXAMPLES = [3, 6, 12, 24, 48, 0];

/** The element with this id. */
export const at = (id) => document.getElementById(id);

/** An HTML element. */
export function html(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) if (value !== undefined) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

const text = (element, words) => {
  const whole = words.replaceAll(" %", "\u00a0%"); // the sign stays with its number
  if (element.textContent !== whole) element.textContent = whole;
};

/** Draws a session. Many changes at once are one picture. */
export class View {
  constructor(session) {
    this.session = session;
    this.following = true; // the answers follow the run, until the reader takes the slider
    this.waiting = false;
    this.drawnText = null;
    const sizes = new ResizeObserver(() => this.refresh());
    for (const id of ["retention", "plane", "loss"]) sizes.observe(at(id));
    this.planeLegend();
  }

  refresh() {
    if (this.waiting) return;
    this.waiting = true;
    // A timer, where a page in the background gets no frames: a run must be seen to end there, too.
    const draw = () => {
      if (!this.waiting) return;
      this.waiting = false;
      this.draw();
    };
    if (document.hidden) setTimeout(draw);
    else requestAnimationFrame(draw);
  }

  draw() {
    const { session } = this;
    const { drawn: run } = session;
    this.scrubber(run.checkpoints);
    const { step } = run.checkpoints[at("checkpoint").value];
    const marked = step !== run.checkpoints.at(-1).step ? step : null;
    const finding = words.headline(session);
    drawRetention(at("retention"), session, marked);
    drawPlane(at("plane"), session);
    if (at("loss").clientWidth) drawLoss(at("loss"), session, marked);
    const plain = words.inPlainWords(session);
    for (const [id, name] of [["retention", "Retention"], ["plane", "Learning against forgetting"], ["loss", "Loss on the new task"]]) {
      describe(at(id), `${name}. ${finding}`, plain);
    }
    text(at("headline"), finding);
    text(at("status"), words.status(session));
    text(at("verdict"), words.verdict(session));
    text(at("in-words"), plain);
    text(at("score"), words.score(session));
    this.announce(finding);
    this.legend(run);
    this.answers(step);
    this.controls();
    this.pins();
    this.share();
  }

  /** For a screen reader: what has come to its end, and not each step on the way. */
  announce(finding) {
    const { session } = this;
    const busy = session.active.length > 0;
    text(at("said"), session.notice || (busy ? "Training." : session.shown && `${finding}. ${words.status(session)}`) || "");
  }

  // --- Controls -----------------------------------------------------------------------------------------------------
  controls() {
    const { session } = this;
    const { config, shown } = session;
    const idle = (element) => element !== document.activeElement || element.type !== "range";
    const put = (id, value, said) => {
      const element = at(id);
      if (idle(element) && element.value !== String(value)) element.value = value;
      if (element.getAttribute("aria-valuetext") !== said) element.setAttribute("aria-valuetext", said);
      text(document.querySelector(`output[for=${id}]`), said);
    };
    if (idle(at("learning_rate"))) put("learning_rate", Math.log10(config.learning_rate), words.short(config.learning_rate));
    else put("learning_rate", 0, words.short(config.learning_rate));
    const nearest = RANKS.reduce((best, rank, i) => (Math.abs(rank - config.rank) < Math.abs(RANKS[best] - config.rank) ? i : best), 0);
    put("rank", nearest, String(config.rank));
    put("strength", config.strength, config.strength.toFixed(2));
    text(at("scale"), words.scale(config));
    text(at("turned"), words.strength(session));
    offer(at("steps"), STEPS, config.steps, String);
    const shares = Array.from({ length: Math.floor(config.batch_size / 2) + 1 }, (_, k) => k / config.batch_size);
    offer(at("replay"), shares, config.replay, (share) => `${Number((100 * share).toPrecision(3))} %`);
    offer(at("examples"), EXAMPLES, config.examples, (count) => (count ? String(count) : "all"));
    for (const id of ["method", "scaling"]) if (at(id).value !== config[id]) at(id).value = config[id];
    if (at("seed") !== document.activeElement) at("seed").value = config.seed;
    at("dropout").checked = config.dropout;
    for (const id of ["learning_rate", "rank", "strength", "scaling", "method", "steps", "replay", "examples", "seed", "dropout"]) {
      const noAdapter = config.method === "full" && (id === "rank" || id === "scaling");
      const nothingToTurn = id === "strength" && (shown?.stored ? !shown.faded.size : session.training === "impossible");
      at(id).disabled = session.locked.includes(id) || noAdapter || nothingToTurn;
    }
    const busy = session.active.length > 0;
    const run = at("run");
    text(run, busy ? "Stop" : shown?.state === "finished" && !shown.stored ? "Run again" : "Run");
    run.classList.toggle("stop", busy);
    run.disabled = session.training !== "ready";
    at("undo").disabled = !session.undoable.length;
    at("band").disabled = at("train-lines").disabled = session.training !== "ready";
    at("guess").value = session.pendingGuess ?? -5;
    const guess = session.pendingGuess === null ? "none" : `${session.pendingGuess} %`;
    text(document.querySelector("output[for=guess]"), guess);
    at("guess").setAttribute("aria-valuetext", guess);
    const missing = session.points.filter((point) => point.learned === null).length;
    at("train-lines").hidden = !missing;
    text(at("train-lines"), `Train the ${missing} without a result`);
  }

  scrubber(points) {
    const slider = at("checkpoint");
    const last = points.length - 1;
    if (Number(slider.max) !== last) slider.max = last;
    slider.disabled = !last;
    if (this.following) slider.value = last;
    const said = `step ${points[slider.value].step}`;
    slider.setAttribute("aria-valuetext", said);
    text(document.querySelector("output[for=checkpoint]"), said);
  }

  // --- Words and tables ---------------------------------------------------------------------------------------------
  answers(step) {
    const { rows: lines, now } = words.answers(this.session, step);
    text(at("now"), now);
    const made = lines.map(([question, before, said]) =>
      html("tr", {}, html("th", { scope: "row" }, question), html("td", {}, before),
        html("td", { class: said !== before && said !== "…" ? "changed" : "" }, said))); // prettier-ignore
    at("answers").tBodies[0].replaceChildren(...made);
  }

  legend(run) {
    const names = Object.keys(run.checkpoints[0].by_capability);
    const asked = run.result?.before?.length;
    const key = [names, asked].join();
    if (key === this.legendKey) return;
    this.legendKey = key;
    const items = [sample("all of a sample", "all", "circle"), ...names.map((name, i) => sample(name, look(i).class, look(i).shape, look(i).dash))];
    if (asked) items.push(sample(`all ${asked} probes`, "ended", "diamond"));
    at("legend").replaceChildren(...items);
    at("loss-legend").replaceChildren(sample("held out", "held-out", "circle"), sample("training rows", "train", "square", "5 3"));
  }

  planeLegend() {
    at("plane-legend").replaceChildren(
      html("span", {}, "better is up and right"), sample("stored runs", "stored", "circle"), sample("yours", "yours", "circle"),
      sample("this run", "way", "circle", ""), sample("turned down", "turned", "square", ""),
    ); // prettier-ignore
  }

  pins() {
    const table = rows(this.session);
    at("pins").hidden = !table.length;
    at("csv").disabled = at("clear").disabled = !table.length;
    const key = JSON.stringify(table);
    if (key === this.pinsKey || !table.length) return;
    this.pinsKey = key;
    const head = html("tr", {}, ...[...Object.keys(table[0]), "unpin"].map((name) => html("th", { scope: "col" }, name)));
    const body = table.map((row) =>
      html("tr", {}, ...Object.values(row).map((value) => html("td", {}, String(value))),
        html("td", {}, html("button", { type: "button", "data-unpin": row.pin, "aria-label": `Unpin ${row.pin}` }, "Unpin")))); // prettier-ignore
    at("pins").replaceChildren(html("table", {}, html("thead", {}, head), html("tbody", {}, ...body)));
  }

  /** The settings as a string, in the address and as a code to be scanned. */
  share() {
    const { session } = this;
    const settings = session.address.format(session.config);
    if (settings === this.drawnText) return;
    this.drawnText = settings;
    at("text").value = settings;
    // replaceState, so that the way back leads to the page before, and not through each place of a slider.
    const address = `#${settings}`;
    if (location.hash !== address) history.replaceState(null, "", address);
    const code = at("qr");
    for (const old of code.querySelectorAll("path")) old.remove();
    text(code.querySelector("title"), `The address of this run as a QR code: ${location.href}`);
    text(at("qr-words"), location.href);
    try {
      const modules = qrCode(location.href);
      const path = modules.flatMap((row, y) => row.flatMap((dark, x) => (dark ? [`M${x + 4},${y + 4}h1v1h-1z`] : [])));
      code.setAttribute("viewBox", `0 0 ${modules.length + 8} ${modules.length + 8}`);
      code.append(svg("path", { d: path.join(""), fill: "#000" }));
    } catch (error) {
      text(at("qr-words"), error.message);
    }
  }
}

/** Options of a select, with the value among them that an address asks for. */
function offer(select, options, value, say) {
  const values = options.includes(value) ? options : [...options, value].sort((a, b) => (a || 1e9) - (b || 1e9));
  const key = values.join();
  if (select.dataset.key !== key) {
    select.dataset.key = key;
    select.replaceChildren(...values.map((each) => html("option", { value: each }, say(each))));
  }
  if (select.value !== String(value)) select.value = value;
}

/** One entry of a legend. */
function sample(name, look, shape, dash) {
  const picture = svg("svg", { viewBox: "0 0 26 12", "aria-hidden": "true" });
  const spot = ["ended", "stored", "yours"].includes(look);
  if (!spot) {
    const line = svg("g", { class: `line ${look}` }, svg("polyline", { points: "1,6 25,6", "stroke-dasharray": dash || undefined }));
    line.append(mark(shape, 13, 6, 2.8));
    picture.append(line);
  } else picture.append(mark(shape, 13, 6, 4, { class: `spot ${look}` }));
  return html("span", {}, picture, name);
}
