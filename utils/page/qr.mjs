// A QR code from text, by ISO/IEC 18004: bytes, error correction level M, versions 1 to 10. That holds an address of 213 bytes.

// For each version: how many codewords mend a block, and how many blocks there are.
const MENDING = [10, 16, 26, 18, 24, 16, 18, 22, 22, 26];
const BLOCKS = [1, 1, 1, 2, 2, 4, 4, 4, 5, 5];
const TOTAL = [26, 44, 70, 100, 134, 172, 196, 242, 292, 346];
const ALIGNED = [[], [6, 18], [6, 22], [6, 26], [6, 30], [6, 34], [6, 22, 38], [6, 24, 42], [6, 26, 46], [6, 28, 50]];
const MASKS = [
  (x, y) => (x + y) % 2 === 0,
  (x, y) => y % 2 === 0,
  (x) => x % 3 === 0,
  (x, y) => (x + y) % 3 === 0,
  (x, y) => (Math.floor(x / 3) + Math.floor(y / 2)) % 2 === 0,
  (x, y) => ((x * y) % 2) + ((x * y) % 3) === 0,
  (x, y) => (((x * y) % 2) + ((x * y) % 3)) % 2 === 0,
  (x, y) => (((x + y) % 2) + ((x * y) % 3)) % 2 === 0,
];

/**
 * @param {string} text
 * @param {number} [mask] - which of the eight patterns; by default the one that scanners read best
 * @returns {boolean[][]} rows of modules, true where dark; leave four light ones around it
 * @throws {Error} for a text of more than 213 bytes
 */
export function qrCode(text, mask) {
  const bytes = [...new TextEncoder().encode(text)];
  const version = TOTAL.findIndex((total, i) => bytes.length + (i < 9 ? 2 : 3) <= total - MENDING[i] * BLOCKS[i]) + 1;
  if (!version) throw new Error(`The address is ${bytes.length} bytes and a code holds 213; shorten it.`);
  const words = interleaved(codewords(bytes, version), version);
  const masks = [mask ?? [...MASKS.keys()]].flat();
  const codes = masks.map((which) => drawn(words, version, which));
  return codes.reduce((best, code) => (penalty(code) < penalty(best) ? code : best));
}

/** Mode, length and bytes, filled up to what the version holds. */
function codewords(bytes, version) {
  const room = TOTAL[version - 1] - MENDING[version - 1] * BLOCKS[version - 1];
  const bits = [];
  const put = (value, count) => {
    for (let i = count - 1; i >= 0; i--) bits.push((value >> i) & 1);
  };
  put(0b0100, 4); // bytes
  put(bytes.length, version < 10 ? 8 : 16);
  bytes.forEach((byte) => put(byte, 8));
  put(0, Math.min(4, 8 * room - bits.length));
  put(0, -bits.length & 7);
  const words = [];
  for (let i = 0; i < bits.length; i += 8) words.push(parseInt(bits.slice(i, i + 8).join(""), 2));
  for (let fill = 0xec; words.length < room; fill ^= 0xec ^ 0x11) words.push(fill);
  return words;
}

/** Cut into blocks, each with what mends it, and dealt out in turns. Later blocks may be one codeword longer. */
function interleaved(words, version) {
  const [blocks, mending] = [BLOCKS[version - 1], MENDING[version - 1]];
  const short = Math.floor(words.length / blocks);
  const longer = words.length % blocks;
  const parts = [];
  for (let i = 0, from = 0; i < blocks; i++) {
    const size = short + (i >= blocks - longer ? 1 : 0);
    parts.push(words.slice(from, (from += size)));
  }
  const checks = parts.map((part) => remainder(part, divisor(mending)));
  const deal = (lists, length) =>
    Array.from({ length }, (_, i) => lists.flatMap((list) => (i < list.length ? [list[i]] : []))).flat();
  return [...deal(parts, short + 1), ...deal(checks, mending)];
}

// --- Reed-Solomon over GF(256), modulo x^8 + x^4 + x^3 + x^2 + 1 --------------------------------------------------------
function times(a, b) {
  let product = 0;
  for (let i = 7; i >= 0; i--) {
    product = (product << 1) ^ ((product >> 7) * 0x11d);
    if ((b >> i) & 1) product ^= a;
  }
  return product;
}

function divisor(degree) {
  const result = [...Array(degree - 1).fill(0), 1];
  for (let i = 0, root = 1; i < degree; i++, root = times(root, 2)) {
    for (let j = 0; j < degree; j++) result[j] = times(result[j], root) ^ (result[j + 1] ?? 0);
  }
  return result;
}

function remainder(words, by) {
  const rest = by.map(() => 0);
  for (const word of words) {
    const factor = word ^ rest.shift();
    rest.push(0);
    by.forEach((coefficient, i) => (rest[i] ^= times(coefficient, factor)));
  }
  return rest;
}

// --- Drawing --------------------------------------------------------------------------------------------------------
function drawn(words, version, mask) {
  const size = 17 + 4 * version;
  const dark = Array.from({ length: size }, () => Array(size).fill(false));
  const fixed = Array.from({ length: size }, () => Array(size).fill(false));
  const set = (x, y, value) => {
    if (x < 0 || y < 0 || x >= size || y >= size) return;
    dark[y][x] = Boolean(value);
    fixed[y][x] = true;
  };
  /** A bull's eye: rings around (x, y), of which those at a distance in `light` are light. */
  const eye = (x, y, radius, light) => {
    for (let dy = -radius; dy <= radius; dy++) {
      for (let dx = -radius; dx <= radius; dx++) set(x + dx, y + dy, !light.includes(Math.max(Math.abs(dx), Math.abs(dy))));
    }
  };
  for (let i = 0; i < size; i++) {
    set(6, i, i % 2 === 0);
    set(i, 6, i % 2 === 0);
  }
  [[3, 3], [size - 4, 3], [3, size - 4]].forEach(([x, y]) => eye(x, y, 4, [2, 4]));
  const at = ALIGNED[version - 1];
  const last = at.at(-1);
  for (const x of at) for (const y of at) if (!((x === 6 && (y === 6 || y === last)) || (x === last && y === 6))) eye(x, y, 2, [1]);
  format(set, size, mask);
  if (version > 6) versionBits(set, size, version);
  lay(words, dark, fixed, size);
  for (let y = 0; y < size; y++) for (let x = 0; x < size; x++) if (!fixed[y][x]) dark[y][x] = dark[y][x] !== MASKS[mask](x, y);
  return dark;
}

/** Level and mask, with the bits that mend them, in two places. Level M is 00. */
function format(set, size, mask) {
  let rest = mask;
  for (let i = 0; i < 10; i++) rest = (rest << 1) ^ ((rest >> 9) * 0x537);
  const bits = ((mask << 10) | rest) ^ 0x5412;
  const bit = (i) => (bits >> i) & 1;
  for (let i = 0; i < 6; i++) set(8, i, bit(i));
  set(8, 7, bit(6));
  set(8, 8, bit(7));
  set(7, 8, bit(8));
  for (let i = 9; i < 15; i++) set(14 - i, 8, bit(i));
  for (let i = 0; i < 8; i++) set(size - 1 - i, 8, bit(i));
  for (let i = 8; i < 15; i++) set(8, size - 15 + i, bit(i));
  set(8, size - 8, true);
}

function versionBits(set, size, version) {
  let rest = version;
  for (let i = 0; i < 12; i++) rest = (rest << 1) ^ ((rest >> 11) * 0x1f25);
  const bits = (version << 12) | rest;
  for (let i = 0; i < 18; i++) {
    const [a, b] = [size - 11 + (i % 3), Math.floor(i / 3)];
    set(a, b, (bits >> i) & 1);
    set(b, a, (bits >> i) & 1);
  }
}

/** Bit by bit in columns of two, up and down in turns from the right, around what is fixed. */
function lay(words, dark, fixed, size) {
  let i = 0;
  for (let right = size - 1; right >= 1; right -= 2) {
    if (right === 6) right = 5;
    for (let step = 0; step < size; step++) {
      const y = (right + 1) & 2 ? step : size - 1 - step;
      for (const x of [right, right - 1]) {
        if (fixed[y][x] || i >= 8 * words.length) continue;
        dark[y][x] = Boolean((words[i >> 3] >> (7 - (i & 7))) & 1);
        i++;
      }
    }
  }
}

/** What makes a code hard to scan: long runs, blocks, what looks like a corner, and too much of one shade. */
function penalty(code) {
  const size = code.length;
  let sum = 0;
  for (const lines of [code, code.map((_, x) => code.map((row) => row[x]))]) {
    for (const line of lines) {
      const text = line.map(Number).join("");
      for (const run of text.match(/0{5,}|1{5,}/g) ?? []) sum += run.length - 2;
      for (const corner of ["10111010000", "00001011101"]) for (let i = -1; (i = text.indexOf(corner, i + 1)) >= 0; ) sum += 40;
    }
  }
  for (let y = 1; y < size; y++) {
    for (let x = 1; x < size; x++) {
      const one = code[y][x];
      if (one === code[y - 1][x] && one === code[y][x - 1] && one === code[y - 1][x - 1]) sum += 3;
    }
  }
  const share = code.flat().filter(Boolean).length / (size * size);
  return sum + 10 * Math.floor(Math.abs(20 * share - 10));
}
