// Learning against forgetting: every run is a point, and better is up and right.

import { Chart } from "./chart.mjs";
import { pinLook } from "./curves.mjs";
import { fadePath, label } from "./words.mjs";

const percent = (value) => `${value} %`;

/** The plane: stored runs behind, then yours, a class's, and the way of the run on show. */
export function drawPlane(root, session) {
  const chart = new Chart(root, {
    x: [0, 100], y: [-100, 6], xTicks: 5, yTicks: 5, xText: percent, yText: (value) => String(value).replace("-", "−"),
    yLabel: "change of retention (points)", xLabel: "learned: new-task loss fell by", left: 38, right: 20,
  }); // prettier-ignore
  for (const { config, learned, forgotten } of session.stored.points) {
    chart.spot("circle", 100 * learned, -forgotten, 3, "stored", `stored run: ${label(config)}`);
  }
  for (const point of session.points) {
    if (point.learned === null) continue;
    chart.spot("triangle", point.learned, -point.forgotten, 5, "class", `${point.name}: ${point.settings}`);
    chart.text(point.name, point.learned, -point.forgotten, { dx: 7, dy: 4, class: "small" });
  }
  mine(chart, session);
  const run = session.drawn;
  way(chart, run, session.stored.untouched);
  const path = fadePath(session, run).map(([, learned, lost]) => [learned, -lost]);
  if (path.length) {
    chart.line(path, { class: "turned", shape: "square", size: 2.6 });
    // Where the path bends, so that its words are clear of it.
    const [x, y] = path.reduce((best, point) => (point[0] + 2 * point[1] > best[0] + 2 * best[1] ? point : best));
    chart.text("turned down after training", x, y, { dx: -10, dy: 20, anchor: "end", class: "turned small" });
  }
  if (run.result && !run.result.diverged) chart.spot("diamond", 100 * run.result.learned, -run.result.forgotten, 5.5, "ended");
  const { faded } = session;
  if (faded?.whole) chart.spot("square", 100 * faded.learned, -faded.forgotten, 5.5, "turned");
  return chart;
}

/** This session's runs, and the frontier that they reached. */
function mine(chart, { runs }) {
  const points = runs.filter((run) => !run.result.diverged).map((run) => [100 * run.result.learned, -run.result.forgotten, run]);
  const best = frontier(points);
  if (best.length > 1) chart.line(best, { class: "frontier", dash: "4 3" });
  points.forEach(([x, y, run], i) => {
    chart.spot("circle", x, y, 4.5, "yours", label(run.config));
    if (run.pin) chart.text(run.pin, x, y, { dx: 7 + 9 * (i % 2), dy: -6, class: `pin ${pinLook(run)}` });
  });
}

/** The runs that no other one beats in both: from left to right. */
export function frontier(points) {
  const sorted = [...points].sort((a, b) => b[0] - a[0] || b[1] - a[1]);
  const best = [];
  for (const point of sorted) if (!best.length || point[1] > best.at(-1)[1]) best.push(point);
  return best.reverse();
}

/** The way of a run, from the untouched model on, measured on the probes of the curve. */
function way(chart, run, untouched) {
  const points = run.checkpoints.map(({ held_out_loss, retention }) => [
    100 * (1 - held_out_loss / untouched.held_out_loss),
    100 * (retention - untouched.retention),
  ]);
  chart.line(points.map(([x, y]) => [Math.max(0, x), y]), { class: run.stored ? "faint" : "way", shape: "circle", size: 2.2 }); // prettier-ignore
}
