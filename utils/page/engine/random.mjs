// The random numbers of Python and of PyTorch, number for number: both draw from the Mersenne Twister MT19937
// (Matsumoto and Nishimura 1998), and differ in how they seed it and in what they make of its 32 bits.

const SIZE = 624;
const AHEAD = 397;

/** MT19937. Each call of `next` gives a whole number, 0 to 2^32 - 1. */
class MersenneTwister {
  /** @param {number} seed - whole, 0 to 2^32 - 1; the seeding of the reference code's init_genrand */
  constructor(seed) {
    this.state = new Uint32Array(SIZE);
    this.state[0] = seed;
    for (let i = 1; i < SIZE; i++) {
      const before = this.state[i - 1];
      this.state[i] = Math.imul(1812433253, before ^ (before >>> 30)) + i;
    }
    this.used = SIZE;
  }

  next() {
    if (this.used === SIZE) this.refill();
    let y = this.state[this.used++];
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  }

  refill() {
    const s = this.state;
    for (let i = 0; i < SIZE; i++) {
      const y = (s[i] & 0x80000000) | (s[(i + 1) % SIZE] & 0x7fffffff);
      s[i] = s[(i + AHEAD) % SIZE] ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
    }
    this.used = 0;
  }
}

/** `random.Random(seed)` of Python, as far as the order of rows needs it. */
export class PythonRandom {
  /** @param {number} seed - whole, 0 to 2^32 - 1 */
  constructor(seed) {
    // Python seeds by an array (init_by_array), which for a seed below 2^32 has one entry.
    this.twister = new MersenneTwister(19650218);
    const s = this.twister.state;
    let i = 1;
    const mixIn = (factor, added) => {
      s[i] = (s[i] ^ Math.imul(s[i - 1] ^ (s[i - 1] >>> 30), factor)) + added(i);
      if (++i === SIZE) {
        s[0] = s[SIZE - 1];
        i = 1;
      }
    };
    for (let k = 0; k < SIZE; k++) mixIn(1664525, () => seed);
    for (let k = 0; k < SIZE - 1; k++) mixIn(1566083941, (at) => -at);
    s[0] = 0x80000000;
  }

  /** A whole number from 0 to n - 1: as many bits as n has, drawn again until they are below it. */
  below(n) {
    const unused = Math.clz32(n);
    let drawn;
    do drawn = this.twister.next() >>> unused;
    while (drawn >= n);
    return drawn;
  }

  /** `random.sample(items, k)`: k different ones, in a random order. */
  sample(items, k) {
    const n = items.length;
    // Python copies the list if that takes less memory than a set of what was chosen. Both draw differently.
    const setSize = k > 5 ? 21 + 4 ** Math.ceil(Math.log(k * 3) / Math.log(4)) : 21;
    if (n <= setSize) {
      const pool = [...items];
      return Array.from({ length: k }, (_, i) => {
        const j = this.below(n - i);
        const chosen = pool[j];
        pool[j] = pool[n - i - 1];
        return chosen;
      });
    }
    const chosen = new Set();
    while (chosen.size < k) chosen.add(this.below(n)); // a number that is there already is drawn again, as Python does
    return [...chosen].map((j) => items[j]);
  }

  /** `random.shuffle(items)`, in place. */
  shuffle(items) {
    for (let i = items.length - 1; i > 0; i--) {
      const j = this.below(i + 1);
      [items[i], items[j]] = [items[j], items[i]];
    }
  }
}

/** The generator behind `torch.manual_seed(seed)` on the CPU. */
export class TorchRandom {
  /** @param {number} seed - whole, 0 to 2^32 - 1 */
  constructor(seed) {
    this.twister = new MersenneTwister(seed);
  }

  /** `tensor.uniform_(-bound, bound)` of `count` float32 numbers: 24 bits each. */
  uniform(count, bound) {
    const low = Math.fround(-bound);
    const width = Math.fround(Math.fround(bound) - low);
    return Float32Array.from({ length: count }, () => (this.twister.next() & 0xffffff) * 2 ** -24 * width + low);
  }

  skip(count) {
    for (let i = 0; i < count; i++) this.twister.next();
  }

  /**
   * The A matrix that peft gives to one layer: three draws, of which the third one stays. `nn.Linear` fills A and B when it
   * is made, and then peft fills A again, by kaiming_uniform_ with a = sqrt(5), and puts zeros into B.
   * @returns {Float32Array} [rank, inputs], row by row
   */
  loraA(rank, inputs, outputs) {
    this.skip(rank * inputs + outputs * rank);
    return this.uniform(rank * inputs, Math.sqrt(3) * (Math.sqrt(2 / (1 + 5)) / Math.sqrt(inputs)));
  }
}
