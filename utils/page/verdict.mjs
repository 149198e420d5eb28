// Did it regress, or is that noise? `compare` of capability_guard/verdict.py: the same probes before and after, pair by pair.

const LEVEL = 0.05; // two-sided
const TOLERANCE = 3; // points: "held" says that more than this was lost is ruled out

/**
 * @param {boolean[]} before @param {boolean[]} after - one pair a probe, in the same order
 * @returns {object} lost, gained: probes; drop: points, with its 95 % interval low to high; word: regressed, held or within noise
 */
export function compare(before, after) {
  const probes = before.length;
  const lost = before.filter((right, i) => right && !after[i]).length;
  const gained = before.filter((right, i) => !right && after[i]).length;
  const drop = (100 * (lost - gained)) / probes;
  const low = -100 * mostLost(probes, gained, lost, LEVEL / 2);
  const high = 100 * mostLost(probes, lost, gained, LEVEL / 2);
  const word = mcnemar(lost, gained) < LEVEL && drop > 0 ? "regressed" : high <= TOLERANCE ? "held" : "within noise";
  return { probes, lost, gained, drop, low, high, word };
}

/** A verdict as a sentence's end, after "the model". */
export function inWords({ probes, lost, gained, drop, low, high, word }) {
  const range = `95 % interval ${low.toFixed(1)} to ${high.toFixed(1)}`;
  return `lost ${lost} of ${probes} probes and gained ${gained}, a drop of ${drop.toFixed(1)} points (${range}): ${word}`;
}

/** p of the exact McNemar test, two-sided: each changed probe is as likely to have been lost as gained. */
function mcnemar(lost, gained) {
  const [n, fewer] = [lost + gained, Math.min(lost, gained)];
  if (!n || lost === gained) return 1;
  return Math.min(1, 2 * betaCdf(0.5, n - fewer, fewer + 1));
}

// An integral over probabilities, as a sum at 241 normal quantiles.
const NORMAL = Array.from({ length: 241 }, (_, i) => -8 + i / 15);
const DENSITY = NORMAL.map((z) => Math.exp((-z * z) / 2));
const SUM = DENSITY.reduce((a, b) => a + b);

/** Upper bound of the true drop, as a share. Fay and Lumbard 2020, doi 10.1002/sim.8829; see capability_guard/statistics.py. */
function mostLost(probes, lost, gained, level) {
  const changed = lost + gained;
  if (lost >= probes) return 1;
  if (!gained) return betaQuantile(1 - level, changed + 1, probes - changed);
  const better = 1 - betaCdf(0.5, lost + 1, gained) < level;
  const rest = probes - changed;
  const [a, b] = better ? [changed, rest + 1] : [changed + 1, rest];
  const shares = NORMAL.map((z) => (b ? betaQuantile(normalCdf(z), a, b) : 1));
  const chance = (drop) =>
    shares.reduce((sum, share, i) => {
      const at = (1 + drop / Math.max(share, 1e-12)) / 2;
      return sum + (DENSITY[i] / SUM) * (at >= 1 ? 0 : at <= 0 ? 1 : 1 - betaCdf(at, lost + 1, gained));
    }, 0);
  return crossing((drop) => level - chance(drop), better ? -1 : 0, better ? 0 : 1);
}

/** Where a function that rises from below zero to above it is zero. */
function crossing(rising, low, high) {
  for (let i = 0; i < 50; i++) {
    const middle = (low + high) / 2;
    if (rising(middle) < 0) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

function betaQuantile(p, a, b) {
  return crossing((x) => betaCdf(x, a, b) - p, 0, 1);
}

function normalCdf(z) {
  return z < 0 ? halfGamma((z * z) / 2) / 2 : 1 - halfGamma((z * z) / 2) / 2;
}

/** The upper incomplete gamma function Q(1/2, x), which is erfc of the root of x. */
function halfGamma(x) {
  if (x < 1.5) {
    let term = 1 / 0.5;
    let sum = term;
    for (let n = 1; n < 100; n++) sum += term *= x / (0.5 + n);
    return 1 - (sum * Math.exp(-x) * Math.sqrt(x)) / Math.sqrt(Math.PI);
  }
  let fraction = 0;
  for (let n = 60; n > 0; n--) fraction = (n * (n - 0.5)) / (x + 2 * n + 0.5 - fraction);
  return (Math.exp(-x) * Math.sqrt(x)) / Math.sqrt(Math.PI) / (x + 0.5 - fraction);
}

/** The incomplete beta function, by Lentz's continued fraction (Numerical Recipes, 6.4). */
function betaCdf(x, a, b) {
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  const front = Math.exp(logGamma(a + b) - logGamma(a) - logGamma(b) + a * Math.log(x) + b * Math.log1p(-x));
  return x < (a + 1) / (a + b + 2) ? (front * fractionOf(x, a, b)) / a : 1 - (front * fractionOf(1 - x, b, a)) / b;
}

function fractionOf(x, a, b) {
  const whole = (value) => (Math.abs(value) < 1e-30 ? 1e-30 : value);
  let c = 1;
  let d = 1 / whole(1 - ((a + b) * x) / (a + 1));
  let h = d;
  for (let m = 1; m < 300; m++) {
    for (const term of [
      (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m)),
      (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1)),
    ]) {
      d = 1 / whole(1 + term * d);
      c = whole(1 + term / c);
      h *= d * c;
    }
    if (Math.abs(d * c - 1) < 1e-12) break;
  }
  return h;
}

/** Lanczos, g = 7. */
function logGamma(x) {
  const parts = [
    676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059, 12.507343278686905, -0.13857109526572012,
    9.9843695780195716e-6, 1.5056327351493116e-7,
  ]; // prettier-ignore
  const sum = parts.reduce((total, part, i) => total + part / (x + i), 0.99999999999980993);
  const t = x + 6.5;
  return 0.5 * Math.log(2 * Math.PI) + (x - 0.5) * Math.log(t) - t + Math.log(sum);
}
