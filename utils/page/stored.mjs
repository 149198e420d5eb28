// What comes with the page: the untouched model as it was measured, the runs of the course, and the presets. build.py writes it.

import { newRun } from "./session.mjs";

const FAR = 3; // a method or scaling that no stored run has: further off than any rank or rate

/** What stored.json holds. */
export class Stored {
  constructor(json, address) {
    Object.assign(this, json);
    this.address = address;
    this.points = json.grid.map((point) => ({ ...point, config: address.parse(point.settings) }));
    const { held_out_loss, retention, by_capability, outcomes } = this.baseline;
    const kept = (100 * outcomes.filter(Boolean).length) / outcomes.length;
    /** As a run at strength 0 */
    this.untouched = Object.freeze({
      strength: 0, held_out_loss, retention, by_capability, answers: this.answers, learned: 0, forgotten: 0, kept,
      outcomes, whole: true,
    }); // prettier-ignore
  }

  /** The stored run that is most like these settings: by the ratio of learning rates and of ranks, and by replay. */
  nearest(config) {
    const apart = (a, b) => Math.abs(Math.log2(a / b));
    const distance = (other) =>
      apart(config.learning_rate, other.learning_rate) +
      0.5 * apart(config.rank, other.rank) +
      4 * Math.abs(config.replay - other.replay) +
      FAR * (config.method !== other.method) +
      FAR * (config.scaling !== other.scaling);
    return this.points.reduce((best, point) => (distance(point.config) < distance(best.config) ? point : best), this.points[0]);
  }

  /** A run of which nothing is measured yet, with the point that every run begins with. */
  step0(run) {
    return { ...run, checkpoints: [{ step: 0, ...this.baseline }], answers: new Map([[0, this.answers]]) };
  }

  exactly(config) {
    const key = this.address.key(config);
    return this.points.find((point) => this.address.key(point.config) === key) ?? null;
  }

  /** A stored run as the figures draw it. Of its probes only the share is known that is right. */
  asRun(point) {
    const run = newRun(point.config, { stored: true });
    const before = this.untouched.kept;
    run.checkpoints = point.steps.map((step, i) => ({
      step, held_out_loss: point.held_out[i], retention: point.retention[i], train_loss: null, by_capability: {},
    })); // prettier-ignore
    run.result = {
      learned: point.learned, forgotten: point.forgotten, kept: before - point.forgotten, diverged: false, before: null,
    }; // prettier-ignore
    run.answers.set(0, this.answers);
    for (const [strength, learned, forgotten] of point.fade ?? []) {
      run.faded.set(strength.toFixed(4), { strength, learned, forgotten, kept: before - forgotten, whole: true });
    }
    return Object.assign(run, { state: "finished", step: point.steps.at(-1) });
  }
}
