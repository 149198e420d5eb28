// The weights as they are downloaded: 16 bits each, in blocks of 64 that share a scale. At the size of float16 the error is
// a ninth of float16's, because a block needs no exponents of its own.

const BLOCK = 64;

/**
 * @param {ArrayBuffer} buffer - what export.py wrote: one float32 scale a block, then one int16 a weight; or plain float32
 * @param {number} count - how many weights the model has
 * @returns {Float32Array} the weights, in the order of GPT-2's state_dict
 */
export function decodeWeights(buffer, count) {
  if (buffer.byteLength === 4 * count) return new Float32Array(buffer);
  const blocks = Math.ceil(count / BLOCK);
  if (buffer.byteLength !== 4 * blocks + 2 * count) {
    const wanted = `${count} weights take ${4 * blocks + 2 * count}`;
    throw new Error(`The weights are ${buffer.byteLength} bytes and ${wanted}; export both again, from one model.`);
  }
  const scales = new Float32Array(buffer, 0, blocks);
  const codes = new Int16Array(buffer, 4 * blocks, count);
  return Float32Array.from(codes, (code, i) => code * scales[Math.floor(i / BLOCK)]);
}
