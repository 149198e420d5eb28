// What the page says: its state, its verdict and its figures in plain sentences, made from a Session and nothing else. The same
// sentences as utils/playground/words.py.

import { inWords } from "./verdict.mjs";

const whole = (value) => value.toFixed(0);
const share = (value) => `${(100 * value).toFixed(0)} %`;
/** As Python's %g writes it: 0.0015, and 1.5e-05. */
export const short = (value) => (Math.abs(value) < 1e-4 && value ? value.toExponential() : String(Number(value.toPrecision(6))));

/** What the loss did. learned: the share by which it fell. */
export const moved = (learned) =>
  learned >= 0 ? `fell ${share(learned)}` : `rose to ${(1 - learned).toFixed(1)} times what it was`;

/** A few words for a legend; the scale stands wherever the rank does. */
export function label(config) {
  const words = [`lr ${short(config.learning_rate)}`];
  words.push(config.method === "full" ? "full fine-tuning" : `r=${config.rank} (scale ${short(config.scale)})`);
  if (config.replay) words.push(`${share(config.replay)} replay`);
  if (config.strength !== 1) words.push(`at strength ${short(config.strength)}`);
  return words.join(", ");
}

/** Which run this is: all that it would take to repeat it. */
export function caption(run) {
  const { config } = run;
  const few = config.examples ? `, ${config.examples} examples` : "";
  const dropout = config.dropout ? ", with dropout" : "";
  const stored = run.stored ? "Stored run: " : "";
  return `${stored}${label({ ...config, strength: 1 })}, ${config.steps} steps of ${config.batch_size} rows${few}${dropout}, seed ${config.seed}`;
}

/** The figure's title: what the run on show says, or how far it is. */
export function headline(session) {
  const run = session.shown;
  if (!run) {
    const knows = `Before training, ${whole(session.stored.untouched.kept)} % of the probes are right`;
    return session.training === "ready" ? `${knows}: press Run` : knows;
  }
  if (run.state === "waiting" || run.state === "running") {
    if (run.step >= run.config.steps) return "All steps are done: asking every probe";
    return `Training: step ${run.step} of ${run.config.steps}`;
  }
  if (run.state === "stopped") return `Stopped at step ${run.step} of ${run.config.steps}`;
  if (run.state === "failed") return "The run failed";
  const { result } = run;
  if (result.diverged) return `Diverged at step ${run.checkpoints.at(-1).step}: the loss is no number any more`;
  const { faded } = session;
  if (faded?.whole) {
    return `At strength ${faded.strength.toFixed(2)}: new-task loss ${moved(faded.learned)}; retention is ${whole(faded.kept)} %`;
  }
  const [first, last] = [session.stored.untouched.kept, result.kept].map(whole);
  return `New-task loss ${moved(result.learned)}; retention ${first === last ? `stayed at ${last} %` : `went from ${first} % to ${last} %`}`;
}

/** The LoRA scale, to stand beside the rank. */
export function scale({ method, scaling, scale: value, rank, lora_alpha }) {
  if (method === "full") return "no adapter, so no rank";
  const root = scaling === "rslora" ? "√" : "";
  const alpha = scaling === "2r" ? 2 * rank : lora_alpha;
  return `scale = alpha / ${root}r = ${alpha} / ${root}${rank} = ${Number(value.toPrecision(3))}`;
}

/** What the fader does, to stand beside it. */
export function strength(session) {
  const run = session.shown;
  if (run?.stored ? !run.faded.size : session.training === "impossible") return "needs a run of your own";
  if (run?.state !== "finished") return "turns a finished run down";
  if (session.config.strength === 1) return "1: as trained; 0: untouched";
  const { faded } = session;
  if (!run.weights && !faded) return "press Run again first";
  if (!faded?.whole) return "asking every probe …";
  const elsewhere = faded.strength === session.config.strength ? "" : `stored at ${faded.strength.toFixed(1)}: `;
  return `${elsewhere}learned ${share(faded.learned)}, lost ${faded.forgotten.toFixed(1)} points`;
}

/** One sentence on what goes on now. */
export function status(session) {
  const run = session.shown;
  if (session.notice) return session.notice;
  const left = session.active.length;
  if (left > 1 || (left && session.active[0] !== run)) {
    const now = session.active[0];
    return `Training several runs, ${left} to go: ${label(now.config)}, seed ${now.config.seed}, is at step ${now.step} of ${now.config.steps}.`;
  }
  if (run?.state === "failed") return `The run failed. ${run.trouble}`;
  if (run?.stored) return "";
  if (!run) return session.training === "ready" ? "Press Run to train with these settings." : "";
  if (run.state === "stopped") return "The curve up to there stays. Press Run to train it whole.";
  if (run.state !== "finished") return "";
  if (session.remembered) return "Remembered: you ran these settings before. Press Run again to repeat the run.";
  return `Trained in ${run.seconds.toFixed(1)} s on this device.`;
}

/** What the run on show did to the old skills, with its uncertainty. */
export function verdict(session) {
  const run = session.shown;
  if (!run?.result) return "";
  const { result } = run;
  if (result.diverged) {
    return (
      `The run diverged: ${result.stopped}. A step was so large that the weights became useless numbers. ` +
      "Lower the learning rate or the scale. The next run starts from the untouched model."
    );
  }
  const { faded, band } = session;
  if (faded?.whole) {
    return (
      `At strength ${faded.strength.toFixed(2)}, learned: the new task's held-out loss ${moved(faded.learned)}. ` +
      `Forgotten: ${faded.forgotten.toFixed(1)} points; ${whole(faded.kept)} % of the probes are right. As trained: the loss ` +
      `${moved(result.learned)}, and ${whole(result.kept)} % are right. Nothing was trained in between.`
    );
  }
  if (!run.verdict) return `Learned: the new task's held-out loss ${moved(result.learned)}. Forgotten: ${result.forgotten.toFixed(1)} points.`;
  const words = `Learned: the new task's held-out loss ${moved(result.learned)}. Forgotten: the model ${inWords(run.verdict)}.`;
  if (band.length < 2) return words;
  const drops = band.map((other) => other.result.forgotten);
  return `${words} Over ${drops.length} seeds, the drop was ${Math.min(...drops).toFixed(1)} to ${Math.max(...drops).toFixed(1)} points.`;
}

/** How the guesses did. */
export function score({ pendingGuess, score: guesses }) {
  if (pendingGuess !== null) return `Your guess for the next run: ${pendingGuess} %.`;
  if (!guesses.length) return "No guess yet. Mark where retention will end, then run.";
  const off = guesses.map(([guess, truth]) => Math.abs(guess - truth));
  const [guess, truth] = guesses.at(-1);
  const mean = off.reduce((sum, each) => sum + each) / off.length;
  const many = off.length > 1 ? ` ${off.length} guesses so far, ${whole(mean)} points off on average.` : "";
  return `You guessed ${guess} %, and it was ${whole(truth)} %: ${whole(off.at(-1))} points off.${many}`;
}

/** The figures for those who do not see them. */
export function inPlainWords(session) {
  const run = session.drawn;
  if (run.checkpoints.length < 2) return `${headline(session)}. The figures have no curve yet.`;
  const [first, last] = [run.checkpoints[0], run.checkpoints.at(-1)];
  const parts = Object.entries(last.by_capability).map(([name, right]) => `${name} ${share(right)}`);
  const loss = Number.isFinite(last.held_out_loss) ? last.held_out_loss.toFixed(1) : "no number";
  const sentences = [
    `${caption(run)}.`,
    `${headline(session)}.`,
    `From step ${first.step} to step ${last.step}, held-out new-task loss went from ${first.held_out_loss.toFixed(1)} to ${loss} nats per ` +
      `token, and retention on the sampled probes from ${share(first.retention)} to ${share(last.retention)}` +
      `${parts.length ? `: ${parts.join(", ")}` : ""}.`,
  ];
  const path = fadePath(session, run).map(([at, learned, lost]) => `${at.toFixed(2)}: learned ${whole(learned)} %, lost ${lost.toFixed(1)} points`);
  if (path.length) sentences.push(`Turned down after the training, by strength: ${path.join("; ")}.`);
  if (run.guess !== null) sentences.push(`Your guess for the end was ${run.guess} %.`);
  const pins = session.pinned.map(({ pin, config, result }) =>
    `${pin}, ${label(config)}: learned ${share(result.learned)}, forgot ${whole(result.forgotten)} points`); // prettier-ignore
  if (pins.length) sentences.push(`Pinned: ${pins.join("; ")}.`);
  return sentences.join(" ");
}

/** [strength, per cent learned, points lost] of a run at each strength that is known, from the untouched model up. */
export function fadePath(session, run) {
  const known = [...(run?.faded.values() ?? [])].filter((faded) => faded.whole);
  if (!run?.result || run.result.diverged || !known.length) return [];
  const points = known.map((faded) => [faded.strength, 100 * faded.learned, faded.forgotten]).sort((a, b) => a[0] - b[0]);
  return [[0, 0, 0], ...points, [1, 100 * run.result.learned, run.result.forgotten]];
}

/** What the model says: [question, before training, now] and how "now" is called. */
export function answers(session, step) {
  const { stored, drawn: run, faded, config } = session;
  const atEnd = run.state === "finished" && step === run.checkpoints.at(-1).step;
  const turned = atEnd && config.strength < 1;
  const said = turned ? faded?.answers : run.answers.get(step);
  const rows = stored.questions.map((question, i) => [question, stored.answers[i] || "(nothing)", said ? said[i] || "(nothing)" : "…"]);
  return { rows, now: turned ? `at strength ${config.strength.toFixed(2)}` : `at step ${step}` };
}
