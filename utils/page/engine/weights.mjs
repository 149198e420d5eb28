// The weights as they are downloaded: a few bits each, in blocks of 64 that share a scale. A block's largest weight has the
// largest code, so that no bit is spent on exponents.

const BLOCK = 64;

/**
 * @param {ArrayBuffer} buffer - what export.py wrote: a unit (float32), a scale a block (uint16, in units), and the codes, their
 * lowest bits first; or plain float32
 * @param {number} count - how many weights the model has
 * @returns {Float32Array} the weights, in the order of GPT-2's state_dict
 */
export function decodeWeights(buffer, count) {
  if (buffer.byteLength === 4 * count) return new Float32Array(buffer);
  const blocks = Math.ceil(count / BLOCK);
  const head = 4 + 2 * blocks;
  const bits = (8 * (buffer.byteLength - head)) / (blocks * BLOCK); // a weight
  if (!Number.isInteger(bits) || bits < 2 || bits > 16) {
    throw new Error(`The weights are ${buffer.byteLength} bytes, which ${count} weights never take; export both again, from one model.`);
  }
  const [unit] = new Float32Array(buffer, 0, 1);
  const scales = new Uint16Array(buffer, 4, blocks);
  const bytes = new Uint8Array(buffer, head);
  const weights = new Float32Array(count);
  const [all, zero] = [2 ** bits - 1, 2 ** (bits - 1) - 1];
  for (let i = 0, at = 0, held = 0, waiting = 0; i < count; i++) {
    for (; waiting < bits; waiting += 8) held |= bytes[at++] << waiting;
    weights[i] = ((held & all) - zero) * (scales[Math.floor(i / BLOCK)] * unit);
    held >>>= bits;
    waiting -= bits;
  }
  return weights;
}
