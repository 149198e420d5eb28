// What has to come over the network, and whether this browser can compute with it.

/** WebAssembly with SIMD, as engine.wasm needs it: a function that makes a vector of bytes. The example of WebAssembly's own tests. */
const SIMD = Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11);

/** Why this browser cannot train, in one sentence; "" where it can. */
export function whatIsMissing() {
  try {
    if (typeof Worker === "function" && typeof DecompressionStream === "function" && WebAssembly.validate(SIMD)) return "";
  } catch {
    // no WebAssembly at all
  }
  return "This browser cannot train here: it lacks WebAssembly SIMD. The sliders show the course's stored runs; a browser from 2023 or later trains.";
}

/** Whether the reader pays for each megabyte, as far as the browser tells. */
export function isMetered() {
  const { connection } = navigator;
  return Boolean(connection?.saveData || connection?.type === "cellular");
}

const packed = () => globalThis.packed; // the page in one file brings its files with it

/** @returns {Promise<Response>} of a file of this page */
async function get(name) {
  const inside = packed()?.files[name];
  if (inside) return new Response(Uint8Array.from(atob(inside), (character) => character.charCodeAt(0)));
  const response = await fetch(name);
  if (!response.ok) throw new Error(`${name} could not be loaded (${response.status}); load the page again.`);
  return response;
}

export const getJson = async (name) => (await get(name)).json();

/**
 * All that the engine needs.
 * @param {function(number)} progress - hears the bytes that have come
 */
export async function assets(progress) {
  let sum = 0;
  const whole = async (name) => {
    const response = await get(name);
    const pieces = [];
    for (const reader = response.body.getReader(); ; ) {
      const { done, value } = await reader.read();
      if (done) return new Blob(pieces).arrayBuffer();
      pieces.push(value);
      progress((sum += value.length));
    }
  };
  const [wasm, weights, rest] = await Promise.all([
    whole("engine/engine.wasm"), whole("model/weights.bin"), whole("model/model.json.gz").then(unpacked),
  ]); // prettier-ignore
  return { wasm, weights, ...JSON.parse(rest) };
}

/** @param {ArrayBuffer} bytes - of a text, packed by gzip or, where the host has unpacked it on its way, plain @returns {Promise<string>} */
function unpacked(bytes) {
  const [first, second] = new Uint8Array(bytes);
  const { body } = new Response(bytes);
  const isPacked = first === 0x1f && second === 0x8b;
  return new Response(isPacked ? body.pipeThrough(new DecompressionStream("gzip")) : body).text();
}

/** The worker that trains. */
export function startWorker() {
  if (!packed()) return new Worker("engine/worker.mjs", { type: "module" });
  return new Worker(URL.createObjectURL(new Blob([packed().worker], { type: "text/javascript" })));
}
