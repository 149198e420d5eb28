// The engine in a web worker, so that the page stays smooth: `new Worker("worker.mjs", { type: "module" })`.
//
// Each message is { id, call, ... }, and each is answered by { id, done: result } or { id, error: sentence }. What the calls do is
// written at the methods of Engine:
//   load      { assets: { wasm, config, weights, tokenizer, data }, baseline? }   each an address, or what it would give; baseline:
//             step 0, if it was measured before
//   run       { config, every?, early?, questions? }   sends { id, step, loss } and { id, checkpoint } on its way; early: one
//             or more steps that are measured besides; questions: asked at each measurement, { id, step, answers }
//   stop      {}                        ends the run within one step; the run is then done, as far as it came
//   strength  { s }                     then measures: done is what Engine.measure gives
//   answer    { prompt, max_new_tokens? }
//   measure   { probes? }
//   ask       { probes }
//   weights   {}
//   restore   { config, weights }

import { Engine } from "./engine.mjs";

let engine = null;
let running = null; // an AbortController

const calls = {
  async load({ assets, baseline }) {
    const kinds = { wasm: "arrayBuffer", weights: "arrayBuffer", config: "json", tokenizer: "json", data: "json" };
    const loaded = Object.entries(kinds).map(async ([name, kind]) => [name, await fetched(name, assets[name], kind)]);
    engine = await Engine.load({ ...Object.fromEntries(await Promise.all(loaded)), baseline });
  },
  async run({ config, every, early = [], questions }, send) {
    running = new AbortController();
    const show = (checkpoint) => {
      send({ checkpoint });
      if (!questions || typeof checkpoint.broken === "number") return;
      send({ step: checkpoint.step, answers: questions.map((prompt) => engine.answer(prompt)) });
    };
    try {
      return await idle().run(config, {
        every,
        early: [early].flat(),
        signal: running.signal,
        on_checkpoint: show,
        on_step: (step, loss) => send({ step, loss }),
      });
    } finally {
      running = null;
    }
  },
  stop() {
    running?.abort();
  },
  strength({ s }) {
    idle().strength(s);
    return engine.measure();
  },
  answer: ({ prompt, max_new_tokens }) => idle().answer(prompt, max_new_tokens),
  measure: ({ probes }) => idle().measure({ probes }),
  ask: ({ probes }) => idle().ask(probes),
  weights: () => idle().weights(),
  restore: ({ config, weights }) => idle().restore(config, weights),
};

function idle() {
  if (!engine) throw new Error("No model is loaded; load one first.");
  return engine;
}

async function fetched(name, source, kind) {
  if (typeof source !== "string") return source;
  const response = await fetch(source);
  if (!response.ok) throw new Error(`${name} could not be read from ${source} (${response.status}); load the page again.`);
  return response[kind]();
}

self.onmessage = async ({ data: { id, call, ...rest } }) => {
  const send = (message) => self.postMessage({ id, ...message });
  try {
    if (!Object.hasOwn(calls, call)) throw new Error(`"${call}" is not a call; use one of ${Object.keys(calls).join(", ")}.`);
    send({ done: await calls[call](rest, send) });
  } catch (error) {
    send({ error: error.message });
  }
};
