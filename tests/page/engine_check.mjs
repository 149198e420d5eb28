// The engine behind a pipe, for the tests: each line of standard input is [call, ...arguments] as JSON, and so is each answer,
// {"result": ...} or {"error": sentence}. Arrays of numbers go through files of float32, since there may be millions.
//
//     node engine_check.mjs FOLDER [WEIGHTS]        FOLDER: what export.py wrote; WEIGHTS: another file of weights

import { readFile, writeFile } from "node:fs/promises";
import { createInterface } from "node:readline";

import { settings } from "../../utils/page/engine/config.mjs";
import { ends } from "../../utils/page/engine/ending.mjs";
import { Engine } from "../../utils/page/engine/engine.mjs";
import { TorchRandom } from "../../utils/page/engine/random.mjs";
import { trainingRows } from "../../utils/page/engine/rows.mjs";

const [folder, weights = `${folder}/weights.bin`] = process.argv.slice(2);
const whole = async (path) => Uint8Array.from(await readFile(path)).buffer;
const json = async (name) => JSON.parse(await readFile(`${folder}/${name}`, "utf8"));
const assets = {
  wasm: await whole(new URL("../../utils/page/engine/engine.wasm", import.meta.url)),
  weights: await whole(weights),
  config: await json("config.json"),
  tokenizer: await json("tokenizer.json"),
  data: await json("data.json"),
};
let engine = await Engine.load(assets);
const set = (values) => {
  engine.program.trained.set(values);
  engine.program.strength(1); // lays the weights out anew
};
const clear = () => engine.program.gradient.fill(0);

const calls = {
  encode: (texts) => texts.map((text) => engine.tokenizer.encode(text)),
  decode: (rows) => rows.map((ids) => engine.tokenizer.decode(ids)),
  rows: (changes) => trainingRows(settings(changes, engine.data.defaults), engine.data.train, engine.data.replay),
  loraA: (seed, shapes) => {
    const random = new TorchRandom(seed);
    return shapes.map(([rank, inputs, outputs]) => [...random.loraA(rank, inputs, outputs)]);
  },
  logits: (ids) => [...engine.program.logits(ids)],
  /** The logits of the last token when the tokens are read in two parts, so that the first part comes from the cache. */
  cached: (ids, known) => {
    engine.program.logits(ids.slice(0, known));
    return [...engine.program.logits(ids, known)];
  },
  start: (changes) => engine.start(changes),
  step: () => engine.step(),
  measure: (options) => engine.measure(options),
  ask: (probes) => engine.ask(probes),
  answer: (prompt, room) => engine.answer(prompt, room),
  strength: (s) => engine.strength(s),
  run: async (changes, options = {}) => {
    const signal = options.stop_at && new AbortController();
    const on_step = (step) => step === options.stop_at && signal.abort();
    return engine.run(changes, { ...options, on_step, signal: signal?.signal });
  },
  /** The gradient of one step, written to a file; gives the nats. */
  gradient: async (rows, path) => {
    const nats = engine.program.accumulate(rows, 0, 0);
    await writeFile(path, engine.program.gradient);
    clear();
    return nats;
  },
  setTrained: async (path) => set(new Float32Array(await whole(path))),
  trained: (path) => writeFile(path, engine.program.trained),
  /** The loss of one step, with nothing trained: nats over all tokens. */
  loss: (rows, seed, step) => {
    const nats = engine.program.accumulate(rows, seed, step);
    clear();
    return nats / rows.flat().length;
  },
  /**
   * The slope of the loss in a direction: by the gradient, and by finite differences `size` to either side. The direction is the
   * gradient itself, or, where draw is not 0, each of its numbers times one drawn from that seed.
   */
  slope: (rows, seed, step, size, draw) => {
    const loss = () => engine.program.accumulate(rows, seed, step) / rows.flat().length;
    clear();
    loss();
    const gradient = engine.program.gradient.slice();
    const drawn = draw ? new TorchRandom(draw).uniform(gradient.length, 1) : gradient.map(() => 1);
    const way = gradient.map((g, i) => g * drawn[i]);
    const length = Math.sqrt(way.reduce((sum, x) => sum + x * x, 0));
    const start = engine.program.trained.slice();
    const [ahead, behind] = [size, -size].map((by) => {
      set(start.map((w, i) => w + (by * way[i]) / length));
      return loss();
    });
    set(start);
    clear();
    return [gradient.reduce((sum, g, i) => sum + (g * way[i]) / length, 0), (ahead - behind) / (2 * size)];
  },
  /** Loads the model with other settings of its own, such as another dropout. */
  reload: async (changes) => {
    engine = await Engine.load({ ...assets, config: { ...assets.config, ...changes } });
  },
  /** A run whose weights are no numbers any more after its second step. */
  diverge: (changes) =>
    engine.run(changes, { on_step: (step) => step === 2 && set(engine.program.trained.map(() => NaN)) }),
  /** Another run in between, and back. */
  keep: () => {
    const { config } = engine;
    const { scale, ...changes } = config;
    const weights = engine.weights();
    engine.start({ method: "full", steps: 1 });
    engine.step();
    engine.restore(changes, weights);
  },
  ends: (pairs) => pairs.map(([answer, behind]) => ends(answer, behind)),
  bytes: () => engine.program.bytes,
  manyRuns: (count) => {
    for (let seed = 0; seed < count; seed++) {
      engine.start({ method: seed % 4 ? "lora" : "full", rank: 1 + (seed % 64), seed, batch_size: 1 });
      engine.step();
    }
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const [call, ...args] = JSON.parse(line);
  try {
    console.log(JSON.stringify({ result: (await calls[call](...args)) ?? null }));
  } catch (error) {
    console.log(JSON.stringify({ error: `${error.name}: ${error.message}` }));
  }
}
