// The worker from the page's side: a call is a promise. And the one who decides what the worker does next.

const PIECE = 32; // probes that are asked before somebody else may want something: a tenth of a second
const EARLY = 2; // the first trained point comes after two steps, whatever the distance of the others

/** Calls to the worker. `count` says how often each was made. */
export class Client {
  constructor(worker) {
    this.worker = worker;
    this.open = new Map();
    this.count = {};
    this.trouble = ""; // why the worker answers no more
    worker.onmessage = ({ data }) => this.heard(data);
    worker.onerror = (event) => this.broke(event.message || "the worker could not be started");
  }

  /** @returns {Promise} of what the call gives; `progress` hears what is sent before */
  call(call, rest = {}, progress = () => {}, transfer = []) {
    if (this.trouble) return Promise.reject(new Error(this.trouble));
    this.count[call] = (this.count[call] ?? 0) + 1;
    const id = Object.values(this.count).reduce((sum, count) => sum + count, 0);
    return new Promise((resolve, reject) => {
      this.open.set(id, { resolve, reject, progress });
      this.worker.postMessage({ id, call, ...rest }, transfer);
    });
  }

  heard({ id, ...message }) {
    const waiting = this.open.get(id);
    if (!("done" in message || "error" in message)) return waiting?.progress(message);
    this.open.delete(id);
    if ("error" in message) waiting?.reject(new Error(message.error));
    else waiting?.resolve(message.done);
  }

  broke(message) {
    this.trouble = message;
    for (const { reject } of this.open.values()) reject(new Error(message));
    this.open.clear();
  }
}

/** Trains what the session asks for and turns down what is on show, one thing at a time; whoever waits most urgently is next. */
export class Lab {
  constructor(client, session) {
    Object.assign(this, { client, session });
    this.busy = false;
    this.current = null; // the run that the worker trains now
    this.holds = null; // the run whose weights the worker has
    this.rest = null; // probes that are not on the curve
  }

  async load(assets, baseline) {
    const live = new Set(assets.data.live);
    this.live = assets.data.live;
    this.rest = assets.data.probes.map((_, i) => i).filter((i) => !live.has(i));
    const buffers = Object.values(assets).filter((asset) => asset instanceof ArrayBuffer);
    await this.client.call("load", { assets, baseline }, undefined, buffers);
    this.session.training = "ready";
  }

  /** Something has changed: see what is to be done. */
  wake() {
    if (this.current?.state === "stopped") {
      this.current = null;
      this.client.call("stop");
    }
    if (!this.busy && this.session.training === "ready") this.work();
  }

  async work() {
    this.busy = true;
    try {
      for (;;) {
        const [run] = this.session.active;
        const wanted = run ? null : this.session.wanted();
        if (run) await this.train(run);
        else if (wanted) await this.turn(wanted);
        else break;
      }
    } finally {
      this.busy = false;
    }
  }

  async train(run) {
    const { session, client } = this;
    const began = performance.now();
    session.began(run);
    this.current = run;
    this.holds = null;
    run.answers.set(0, session.stored.answers);
    const hear = ({ step, checkpoint, answers }) => {
      if (checkpoint) session.point(run, checkpoint);
      else if (answers && step) session.answered(run, step, answers);
      else if (!answers) session.progress(run, step);
    };
    try {
      const config = forEngine(run.config);
      const series = await client.call("run", { config, early: EARLY, questions: session.stored.questions }, hear);
      if (run.state !== "running") return;
      const weights = series.stopped ? null : await client.call("weights");
      run.seconds = (performance.now() - began) / 1000;
      run.series = series;
      this.holds = run;
      session.ended(run, series, weights);
    } catch (error) {
      session.failed(run, error.message);
    } finally {
      this.current = null;
    }
  }

  /** Measures a run at a strength: the losses and the probes of the curve first, then the answers, then all probes. */
  async turn({ run, strength, path = false }) {
    const { session, client } = this;
    const overtaken = () => {
      const now = session.active.length ? null : session.wanted();
      return now?.run !== run || now.strength !== strength;
    };
    try {
      if (this.holds !== run) await client.call("restore", { config: forEngine(run.config), weights: run.weights });
      this.holds = run;
      const measured = await client.call("strength", { s: strength });
      const first = run.checkpoints[0].held_out_loss;
      const { held_out_loss, retention, by_capability } = measured;
      const learned = 1 - held_out_loss / first;
      const known = session.at(run, strength); // on the path, without answers
      let faded = { strength, held_out_loss, retention, by_capability, learned, answers: null, whole: false, ...known };
      session.turned(run, faded);
      if (!path) {
        const answers = [];
        for (const prompt of session.stored.questions) {
          if (overtaken()) return;
          answers.push(await client.call("answer", { prompt }));
        }
        session.turned(run, (faded = { ...faded, answers }));
      }
      if (faded.whole) return;
      const outcomes = [];
      this.live.forEach((probe, i) => (outcomes[probe] = measured.outcomes[i]));
      for (let at = 0; at < this.rest.length; at += PIECE) {
        if (overtaken()) return;
        const probes = this.rest.slice(at, at + PIECE);
        const right = await client.call("ask", { probes });
        probes.forEach((probe, i) => (outcomes[probe] = right[i]));
      }
      const count = (list) => list.filter(Boolean).length;
      const kept = (100 * count(outcomes)) / outcomes.length;
      const forgotten = (100 * (count(run.result.before) - count(outcomes))) / outcomes.length;
      session.turned(run, { ...faded, outcomes, kept, forgotten, whole: true });
    } catch (error) {
      run.weights = null; // or it would be tried for ever
      session.say(error.message);
    }
  }
}

/** Settings as the engine knows them: turning down is a call of its own. */
function forEngine({ strength, scale, ...config }) {
  return config;
}
