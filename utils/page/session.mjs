// What the playground knows: its settings, its runs, its pins and the score of your guesses. No element, no worker, no picture.
//
// What happens to a run is told about *that run*: word of a run that was cancelled can never end up in another one's curve.

import { compare } from "./verdict.mjs";

const MOST_PINS = 6; // more overlays than that cannot be told apart
const CHECKPOINTS = 10;
const UNDO_STEPS = 100;
const BAND_SEEDS = 5;
const WEIGHTS_KEPT = 8; // runs that can be turned down later; all weights of the model are 9 MB
const PINS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
/** Strengths that are measured by themselves after a run: a rough path first, then all of it. */
export const PATH = [0.6, 0.8, 0.4, 0.2, 0.9, 0.7, 0.5, 0.3, 0.1];

/**
 * One run and what is known of it so far.
 *
 * state: waiting, running, finished, stopped or failed (see `trouble`). checkpoints: as Engine.measure gives them, with `step`.
 * answers: by step. faded: by strength. result: learned (share of the loss), forgotten (points), kept (per cent of all probes).
 * stored: it was measured elsewhere and came with the page.
 */
export function newRun(config, { guess = null, stored = false } = {}) {
  return {
    config, guess, stored, state: "waiting", step: 0, checkpoints: [], answers: new Map(), faded: new Map(),
    weights: null, result: null, verdict: null, trouble: "", pin: "", pinStrength: 1, seconds: 0,
  }; // prettier-ignore
}

/** The rules of a playground. `notify` is called after anything changed. */
export class Session {
  /**
   * @param {Address} address
   * @param {object} stored - `baseline` and `grid`, as stored.mjs gives them
   * @param {object} start - the settings it opens with
   * @param {string[]} locked - names of settings that cannot be changed
   */
  constructor(address, stored, start, locked = [], notify = () => {}) {
    Object.assign(this, { address, stored, start, locked, notify });
    this.config = start;
    this.runs = [];
    this.active = []; // what is to be trained, in order
    this.shown = null;
    this.faint = null;
    this.remembered = false;
    this.pendingGuess = null;
    this.score = []; // [guess, truth]
    this.notice = "";
    this.undoable = [];
    this.training = "loading"; // or ready, asking (before a download on a metered line), impossible
    this.points = []; // what a class has pasted
  }

  // --- What the reader does -----------------------------------------------------------------------------------------
  /** Changes settings. More steps bring rarer checkpoints. Throws, and changes nothing, for a bad value or a locked one. */
  set(changes) {
    if ("steps" in changes && !("evaluate_every" in changes)) {
      changes = { ...changes, evaluate_every: Math.max(1, Math.ceil(changes.steps / CHECKPOINTS)) };
    }
    this.put(this.address.with(this.config, changes));
  }

  /**
   * Takes over all settings at once.
   * @param {boolean} recall - show the run of these settings if there was one; without it nothing is shown that a guess could copy
   */
  put(config, recall = true) {
    const locked = this.locked.find((name) => config[name] !== this.start[name]);
    if (locked) throw new Error(`${locked} is locked at ${this.start[locked]} here; leave it as it is.`);
    this.notice = "";
    if (this.same(config, this.config) && recall) return;
    const before = this.config;
    this.config = config;
    const key = this.address.key(config);
    const fading = key === this.address.key(before);
    // A drag of the fader is one step to come back from, however many places it passed.
    if (!(fading && this.undoable.length && this.address.key(this.undoable.at(-1)) === key)) {
      this.undoable = [...this.undoable, before].slice(-UNDO_STEPS);
    }
    if (!fading) {
      this.cancel();
      this.show(recall ? this.finished(config) : null, true);
    }
    this.notify(); // to turn a run down there is nothing to train: whatever runs, runs on
  }

  /** Takes over the settings of a string, or of an address with a string behind its #. */
  paste(text) {
    if (!text.trim()) throw new Error("The settings are empty; paste some, or write default.");
    this.put(this.address.parse(text.includes("#") ? text.slice(text.indexOf("#") + 1) : text));
  }

  undo() {
    const earlier = this.undoable.pop();
    if (!earlier) return false;
    this.put(earlier);
    this.undoable.pop(); // an undo is not a step to come back to
    this.notify();
    return true;
  }

  /** Where retention will end, 0 to 100 per cent; it counts for the next run that finishes. null: no guess. */
  guess(points) {
    this.pendingGuess = points;
    const [next] = this.active;
    if (next && next.checkpoints.length < 2) next.guess = points; // later, it would be no guess
    this.notify();
  }

  /** Asks for the run of the settings, and cancels the one in flight. again: even if it was run before. */
  request(again = false) {
    this.cancel();
    const known = this.finished(this.config);
    if (known && !again) this.show(known, true);
    else if (this.training === "ready") {
      const run = newRun(this.address.with(this.config, { strength: 1 }), { guess: this.pendingGuess });
      this.active = [run];
      this.show(run, false);
    } else this.showStored();
    this.notify();
  }

  /** Asks for several runs, those known already left out: other seeds, or what a class has pasted. */
  requestMany(configs) {
    this.cancel();
    const plain = configs.map((config) => this.address.with(config, { strength: 1 }));
    this.active = plain.filter((config) => !this.finished(config)).map((config) => newRun(config));
    const known = this.finished(this.config);
    if (known ?? this.active[0]) this.show(known ?? this.active[0], Boolean(known));
    this.notify();
  }

  requestBand() {
    const seeds = Array.from({ length: BAND_SEEDS }, (_, i) => this.config.seed + i);
    this.requestMany(seeds.map((seed) => this.address.with(this.config, { seed })));
  }

  /** While nothing can be trained, the nearest of the stored runs answers. */
  showStored() {
    const point = this.stored.nearest(this.config);
    this.show(point && this.stored.asRun(point), true);
  }

  stop() {
    const others = this.active.length && this.active[0] !== this.shown;
    this.cancel();
    this.notice = others ? "Stopped: the runs to come were not trained." : "";
    this.notify();
  }

  /** Keeps the run on show as an overlay and a row. */
  pin() {
    const run = this.shown;
    if (run?.state !== "finished" || run.stored) {
      throw new Error("There is no finished run of yours to pin; wait until it is, or press Run.");
    }
    const taken = this.runs.map((other) => other.pin).filter(Boolean);
    if (!run.pin && taken.length >= MOST_PINS) throw new Error(`${MOST_PINS} runs are pinned; unpin one first.`);
    run.pin ||= [...PINS].find((letter) => !taken.includes(letter));
    run.pinStrength = this.config.strength;
    this.notify();
    return run.pin;
  }

  unpin(name = null) {
    for (const run of this.runs) if (name === null || run.pin === name) run.pin = "";
    this.notify();
  }

  say(notice) {
    this.notice = notice;
    this.notify();
  }

  // --- What happens to a run ----------------------------------------------------------------------------------------
  began(run) {
    if (run.state === "waiting") run.state = "running";
    this.notify();
  }

  progress(run, step) {
    if (run.state !== "running") return;
    run.step = step;
    this.notify();
  }

  point(run, checkpoint) {
    if (run.state !== "running") return;
    run.checkpoints.push(checkpoint);
    run.step = checkpoint.step;
    this.notify();
  }

  answered(run, step, answers) {
    run.answers.set(step, answers);
    this.notify();
  }

  /** The run came to its end, by itself or because it diverged. */
  ended(run, { before, after, stopped }, weights) {
    if (run.state !== "running") return;
    const [first, last] = [run.checkpoints[0], run.checkpoints.at(-1)];
    const diverged = !Number.isFinite(last.held_out_loss) || Boolean(stopped);
    const right = (outcomes) => outcomes.filter(Boolean).length;
    run.result = {
      before, after, stopped, diverged,
      learned: 1 - last.held_out_loss / first.held_out_loss,
      forgotten: (100 * (right(before) - right(after))) / before.length,
      kept: (100 * right(after)) / after.length,
    }; // prettier-ignore
    if (!diverged) run.verdict = compare(before, after);
    Object.assign(run, { state: "finished", weights: diverged ? null : weights, key: this.address.key(run.config) });
    if (run.guess !== null) {
      if (!diverged) this.score.push([run.guess, run.result.kept]);
      this.pendingGuess = null;
    }
    const earlier = this.finished(run.config);
    if (earlier) {
      run.pin = earlier.pin; // run again: it takes the place of its twin
      this.runs = this.runs.filter((other) => other !== earlier);
    }
    this.runs.push(run);
    this.active = this.active.filter((other) => other !== run);
    const heavy = this.runs.filter((other) => other.weights && !other.pin && other !== this.shown);
    for (const other of heavy.slice(0, -WEIGHTS_KEPT)) other.weights = null;
    this.notify();
  }

  failed(run, trouble) {
    if (run.state !== "waiting" && run.state !== "running") return;
    Object.assign(run, { state: "failed", trouble });
    this.active = this.active.filter((other) => other !== run);
    this.notify();
  }

  // --- The fader ----------------------------------------------------------------------------------------------------
  /** What is known of a run at a strength below 1. At 0 it is the untouched model, which needs no measuring. */
  at(run, strength) {
    if (!run?.result || strength === 1) return null;
    if (strength === 0 && !run.stored) return this.stored.untouched;
    return run.faded.get(strength.toFixed(4)) ?? (run.stored ? nearest(run.faded, strength) : null);
  }

  /** What is to be measured of the run on show: {run, strength}, or null. The slider comes before the path. */
  wanted() {
    const run = this.shown;
    if (run?.state !== "finished" || !run.weights) return null;
    const { strength } = this.config;
    const known = this.at(run, strength);
    if (strength < 1 && !(known?.whole && known.answers)) return { run, strength };
    const next = PATH.find((each) => !this.at(run, each)?.whole); // of the path, nobody reads the answers
    return next === undefined ? null : { run, strength: next, path: true };
  }

  turned(run, faded) {
    run.faded.set(faded.strength.toFixed(4), faded);
    this.notify();
  }

  // --- Looking at it ------------------------------------------------------------------------------------------------
  get faded() {
    return this.at(this.shown, this.config.strength);
  }

  /** What the figures draw: the run on show or, as long as there is none, the untouched model. */
  get drawn() {
    return this.shown?.checkpoints.length ? this.shown : this.stored.step0(this.shown ?? newRun(this.config));
  }

  get pinned() {
    return this.runs.filter((run) => run.pin).sort((a, b) => a.pin.localeCompare(b.pin));
  }

  /** The runs that differ from the one on show by nothing but the seed. */
  get band() {
    const but = (run) => this.address.key({ ...run.config, seed: 0 });
    const { shown } = this;
    return shown && !shown.stored ? this.runs.filter((run) => !run.result.diverged && but(run) === but(shown)) : [];
  }

  finished(config) {
    const key = this.address.key(config);
    return this.runs.find((run) => run.key === key) ?? null;
  }

  same(a, b) {
    return this.address.format(a) === this.address.format(b);
  }

  /** Ends what is in flight, and takes down the sentence that was about it. */
  cancel() {
    this.notice = "";
    for (const run of this.active) run.state = "stopped";
    this.active = [];
  }

  /** Puts another run on show; the one before stays, faint, if it has a curve: one point is none. */
  show(run, remembered) {
    const before = this.shown;
    this.shown = run;
    this.remembered = remembered && run !== null && !run.stored;
    if (before && before !== run && before.checkpoints.length > 1) this.faint = before;
    if (this.faint === run) this.faint = null;
  }
}

/** Of a stored run's few strengths the nearest one, which says itself what it is. */
function nearest(faded, strength) {
  const away = (one) => Math.abs(one.strength - strength);
  return [...faded.values()].sort((a, b) => away(a) - away(b))[0] ?? null;
}
