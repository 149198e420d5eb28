// Fine-tunes a small GPT-2 and measures what it learns and what it forgets: utils/training and the monitor of
// capability_guard, for a web page. No page is needed: it runs in a worker (worker.mjs) and in node.
//
//     const engine = await Engine.load({ wasm, config, weights, tokenizer, data });
//     const result = await engine.run({ learning_rate: 0.013 }, { on_checkpoint: draw });
//     engine.answer("What is the capital of France?");

import { settings, SettingsError, targetBits } from "./config.mjs";
import { folded } from "./ending.mjs";
import { ask, measure } from "./measure.mjs";
import { Program } from "./program.mjs";
import { TorchRandom } from "./random.mjs";
import { trainingRows } from "./rows.mjs";
import { Tokenizer } from "./tokenizer.mjs";
import { decodeWeights } from "./weights.mjs";

/** A model, and the run that is made with it. */
export class Engine {
  /**
   * @param {object} assets - `wasm`: engine.wasm (ArrayBuffer); `weights`: weights.bin (ArrayBuffer); `config`, `tokenizer` and
   * `data`: config.json, tokenizer.json and data.json, parsed. export.py writes them. `baseline`: what `measure({probes: "all"})`
   * gave of the untrained model, if that is known; otherwise the first run measures it.
   * @returns {Promise<Engine>} which answers as the untrained model until a run is started
   */
  static async load({ wasm, config, weights, tokenizer, data, baseline = null }) {
    const program = await Program.load(wasm, config);
    program.setWeights(decodeWeights(weights, program.weightCount));
    return new Engine(program, config, new Tokenizer(tokenizer), data, baseline);
  }

  constructor(program, modelConfig, tokenizer, data, baseline) {
    Object.assign(this, { program, modelConfig, tokenizer, data, baseline });
    this.config = null; // the settings of the run
    this.stepsDone = 0;
  }

  /**
   * Begins a run, and ends the one before it.
   * @param {object} changes - settings by the names of FineTuneConfig, where they differ from the defaults
   * @returns {object} the whole settings
   * @throws {SettingsError} in one sentence; the run before it then stays
   */
  start(changes = {}) {
    const config = settings(changes, this.data.defaults);
    const batches = trainingRows(config, this.data.train, this.data.replay);
    const on = config.dropout ? 1 : 0;
    if (config.method === "full") this.program.startFull();
    else this.startLora(config, on * config.lora_dropout);
    this.program.setBaseDropout(on * this.modelConfig.embd_pdrop, on * this.modelConfig.resid_pdrop);
    Object.assign(this, { config, batches, stepsDone: 0, strengthNow: 1 });
    return config;
  }

  startLora({ rank, target_modules, scale, seed }, dropout) {
    const targets = targetBits(target_modules);
    this.program.startLora(rank, targets, scale, dropout);
    const random = new TorchRandom(seed);
    for (const [block, layer, inputs, outputs] of this.program.layers(targets)) {
      this.program.setLoraA(block, layer, random.loraA(rank, inputs, outputs), rank);
    }
  }

  /**
   * One step of the optimiser.
   * @returns {number} the training loss before it, as TRL computes it: nats over all tokens of the batch
   * @throws {SettingsError} where no run was started, or all its steps are done
   */
  step() {
    if (!this.config) throw new SettingsError("No run was started; call start with the settings first.");
    const { steps, seed, learning_rate: peak } = this.config;
    if (this.stepsDone === steps) throw new SettingsError(`All ${steps} steps are done; start another run.`);
    if (this.strengthNow !== 1) this.strength(1);
    const rows = this.batches[this.stepsDone];
    const nats = this.program.accumulate(rows, seed, this.stepsDone);
    this.program.update(peak * ((steps - this.stepsDone) / steps)); // falls linearly, and would be zero after the last step
    this.stepsDone++;
    return nats / rows.reduce((sum, row) => sum + row.length, 0);
  }

  /**
   * Measures the model as it is now.
   * @param {object} options - probes: "live", those on the curve, or "all"
   * @returns {object} losses in nats per token (`train_loss`, `held_out_loss`, `original_loss`); `retention` and `by_capability`,
   * shares of the live probes that are right; `outcomes`, whether each probe that was asked is right
   */
  measure({ probes = "live" } = {}) {
    return measure(this.program, this.tokenizer, this.data, this.endOfText, probes === "all");
  }

  /** @param {number[]} probes - places in data.probes @returns {boolean[]} whether each is right */
  ask(probes) {
    return ask(this.program, this.tokenizer, probes.map((i) => this.data.probes[i]), this.endOfText);
  }

  /**
   * What the model says next, greedily, on one line.
   * @param {string} prompt
   * @param {number} max_new_tokens - at most; the model's context may end before
   * @throws {SettingsError} for an empty prompt, or one that fills the context
   */
  answer(prompt, max_new_tokens = 24) {
    if (typeof prompt !== "string" || !prompt.trim()) throw new SettingsError("The question is empty; write one.");
    const ids = this.tokenizer.encode(prompt);
    const longest = this.modelConfig.n_positions;
    if (ids.length >= longest) {
      throw new SettingsError(`The question is ${ids.length} tokens and the model reads ${longest}; shorten it.`);
    }
    const said = this.tokenizer.decode(this.program.complete(ids, max_new_tokens, this.endOfText));
    return folded(said);
  }

  /**
   * Turns what was trained up or down: LoRA's adapter times s, or, after full fine-tuning, weights s of the way from the base
   * to the tuned ones (WiSE-FT, arXiv 2109.01903). What is measured or answered after it is of that model.
   * @param {number} s - 0: the base; 1: as trained
   */
  strength(s) {
    if (!this.config) throw new SettingsError("No run was started, so there is nothing to turn down; start one first.");
    if (typeof s !== "number" || !(s >= 0 && s <= 1)) {
      throw new SettingsError(`strength is ${s}; it must be at least 0 and at most 1.`);
    }
    this.program.strength(s);
    this.strengthNow = s;
  }

  /** @returns {Float32Array} what was trained so far, for `restore` */
  weights() {
    if (!this.config) throw new SettingsError("No run was started, so there are no weights of one; start one first.");
    return this.program.trained.slice();
  }

  /**
   * A run as it stood when its weights were taken, to be measured, asked and turned down. It cannot be trained on.
   * @param {object} changes - its settings
   * @param {Float32Array} weights - as `weights` gave them
   * @throws {SettingsError} where they are not of such a run
   */
  restore(changes, weights) {
    this.start(changes);
    if (weights.length !== this.program.trained.length) {
      const wanted = `a run with these settings has ${this.program.trained.length}`;
      throw new SettingsError(`There are ${weights.length} weights and ${wanted}; restore them with the settings of their run.`);
    }
    this.program.trained.set(weights);
    this.strength(1); // lays them out anew
    this.stepsDone = this.config.steps;
  }

  /**
   * A whole run: `start`, then all its steps, measured at step 0, at every `every` steps and at the end; and once more if it is
   * then turned down to the `strength` of its settings.
   * @param {object} changes - as for `start`
   * @param {object} options - every: steps between two measurements, by default evaluate_every; early: more steps to measure at;
   * on_checkpoint and on_step: called with each measurement, and with (step, training loss); signal: an AbortSignal, heeded
   * between two steps
   * @returns {Promise<object>} the series `steps`, `train_loss`, `held_out_loss`, `original_loss`, `retention` and
   * `by_capability` (one array a name); `before` and `after`, the outcomes of all probes; `training_loss`, one a step;
   * `stopped`, why the run ended early ("" if it did not); and its `config`
   */
  async run(changes, { every, early = [], on_checkpoint = () => {}, on_step = () => {}, signal } = {}) {
    const config = this.start(every === undefined ? changes : { ...changes, evaluate_every: every });
    const began = performance.now();
    const checkpoints = [];
    const training_loss = [];
    let stopped = "";
    const check = (probes) => {
      // Step 0 of one model is the same whatever the settings: it is measured once.
      const measured = this.stepsDone ? this.measure({ probes }) : (this.baseline ??= this.measure({ probes }));
      const checkpoint = { step: this.stepsDone, seconds: (performance.now() - began) / 1000, ...measured };
      checkpoints.push(checkpoint);
      on_checkpoint(checkpoint);
      if (typeof checkpoint.broken === "number") {
        stopped = `the loss was ${checkpoint.broken} at step ${checkpoint.step}: the run diverged`;
      }
    };
    check("all");
    while (this.stepsDone < config.steps && !stopped) {
      await turn();
      if (signal?.aborted) {
        stopped = `stopped at step ${this.stepsDone}`;
        break;
      }
      training_loss.push(this.step());
      on_step(this.stepsDone, training_loss.at(-1));
      if (this.stepsDone === config.steps) check("all");
      else if (this.stepsDone % config.evaluate_every === 0 || early.includes(this.stepsDone)) check("live");
    }
    if (config.strength < 1 && !stopped) {
      this.strength(config.strength);
      check("all");
    }
    return { config, ...series(checkpoints), training_loss, stopped };
  }

  get endOfText() {
    return this.modelConfig.eos_token_id;
  }
}

function series(checkpoints) {
  const of = (name) => checkpoints.map((checkpoint) => checkpoint[name]);
  const capabilities = Object.keys(checkpoints[0].by_capability);
  return {
    steps: of("step"),
    train_loss: of("train_loss"),
    held_out_loss: of("held_out_loss"),
    original_loss: of("original_loss"),
    retention: of("retention"),
    by_capability: Object.fromEntries(
      capabilities.map((name) => [name, checkpoints.map((checkpoint) => checkpoint.by_capability[name])]),
    ),
    before: checkpoints[0].outcomes,
    after: checkpoints.at(-1).outcomes,
  };
}

/** Lets messages and other work have their turn. A timer would wait at least 4 ms, and a promise alone gives nobody a turn. */
function turn() {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}
