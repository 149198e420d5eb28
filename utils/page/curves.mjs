// Both curves on one time axis: what was learned and what was forgotten, from step 0 on.

import { Chart, look } from "./chart.mjs";

const PAST_END = 1.06; // room behind the last step, for what the fader shows

const series = (run, name) => run.checkpoints.map((checkpoint) => [checkpoint.step, checkpoint[name]]);
const capability = (run, name) => run.checkpoints.map((checkpoint) => [checkpoint.step, checkpoint.by_capability[name] ?? null]);
export const pinLook = (run) => `pin${run.pin.charCodeAt(0) % 6}`;

/** Retention: the share of the probes that is right, in all and of each capability. */
export function drawRetention(root, session, marked) {
  const run = session.drawn;
  const chart = new Chart(root, {
    x: reach(session), y: [0, 1], yTicks: 4, yText: (value) => `${Math.round(100 * value)} %`,
    yLabel: "retention: probes answered right", xLabel: "training step", right: 26,
  }); // prettier-ignore
  shared(chart, session, "retention", "all", marked);
  if (run.guess !== null) {
    chart.line([[0, run.guess / 100], [reach(session)[1], run.guess / 100]], { class: "guess", dash: "2 4" }); // prettier-ignore
    chart.text(`your guess: ${run.guess} %`, 0, run.guess / 100, { dx: 4, dy: run.guess > 90 ? 14 : -5, class: "guess" });
  }
  const names = Object.keys(run.checkpoints[0].by_capability);
  const quiet = session.band.length > 1 || session.pinned.some((other) => other !== run) ? " quiet" : ""; // with overlays, the parts step back
  names.forEach((name, i) => {
    const { class: colour, dash, shape } = look(i);
    chart.line(capability(run, name), { class: `part ${colour}${quiet}`, dash, shape, size: 2 });
  });
  chart.line(series(run, "retention"), { class: "all", shape: "circle", size: 3.2 });
  if (run.state === "finished" && !run.result.diverged) {
    const last = run.checkpoints.at(-1);
    chart.spot("diamond", last.step, run.result.kept / 100, 5, "ended");
    fader(chart, session, last, "retention");
  }
  return chart;
}

/** Loss on the new task. */
export function drawLoss(root, session, marked) {
  const run = session.drawn;
  const chart = new Chart(root, {
    x: reach(session), y: [0, top(session)], yTicks: 4, yLabel: "new-task loss (nats per token)", xLabel: "training step", right: 26,
  }); // prettier-ignore
  shared(chart, session, "held_out_loss", "held-out", marked);
  chart.line(series(run, "held_out_loss"), { class: "held-out", shape: "circle", size: 3 });
  chart.line(series(run, "train_loss"), { class: "train", dash: "5 3", shape: "square", size: 2.4 });
  if (run.state === "finished" && !run.result.diverged) fader(chart, session, run.checkpoints.at(-1), "held_out_loss");
  return chart;
}

/** What stands behind the run on show: the seeds, the run before, the pins. */
function shared(chart, session, name, band, marked) {
  const { shown, faint, pinned } = session;
  const runs = session.band;
  if (runs.length > 1) {
    const curves = runs.map((run) => new Map(series(run, name)));
    const steps = [...curves[0].keys()].filter((step) => curves.every((curve) => curve.has(step)));
    const bound = (pick) => steps.map((step) => [step, pick(...curves.map((curve) => curve.get(step)))]);
    chart.band(bound(Math.min), bound(Math.max), band);
    chart.text(`${runs.length} seeds, lowest to highest`, reach(session)[1], 0, { dx: -2, dy: -6, anchor: "end", class: "small" });
  }
  if (faint && !faint.pin) chart.line(series(faint, name), { class: "faint", dash: "4 3" });
  pinned.filter((run) => run !== shown).forEach((run, i) => {
    chart.line(series(run, name), { class: pinLook(run), dash: "7 3 1.5 3" });
    const last = run.checkpoints.at(-1);
    chart.text(run.pin, last.step, last[name], { dx: 6 + 10 * (i % 2), dy: 4, class: `pin ${pinLook(run)}` });
  }); // prettier-ignore
  if (marked !== null) chart.line([[marked, 0], [marked, name === "retention" ? 1 : top(session)]], { class: "marked", dash: "2 2" }); // prettier-ignore
}

/** Where the fader stands: from where the training ended to what the run is at this strength. */
function fader(chart, { faded }, last, name) {
  if (!faded || faded[name] === undefined) return;
  chart.line([[last.step, last[name]], [last.step, faded[name]]], { class: "turned", dash: "2 2" }); // prettier-ignore
  chart.spot("square", last.step, faded[name], 5, "turned");
}

const reach = ({ drawn }) => [0, PAST_END * drawn.config.steps];

/** The loss axis goes from 0 to a round number above all that is drawn. */
function top({ shown, faint, pinned }) {
  const drawn = [shown, faint, ...pinned].filter(Boolean).flatMap((run) => run.checkpoints.map((c) => c.held_out_loss));
  const highest = Math.max(10, ...drawn.filter(Number.isFinite));
  return [12, 16, 24, 48, 100].find((each) => highest <= each) ?? Math.ceil(highest);
}
