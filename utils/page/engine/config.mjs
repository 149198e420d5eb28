// The settings of a run: the names, the bounds and the sentences of FineTuneConfig in utils/training/config.py.

/** Raised for input that cannot be used. Its message is one sentence: what was wrong, with the value, and what to do. */
export class SettingsError extends Error {
  name = "SettingsError";
}

const LINEAR_LAYERS = ["attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"]; // in the order of the C enum
const CHOICES = { method: ["lora", "full"], scaling: ["fixed", "2r", "rslora"] };
// name: [lowest, highest, whole numbers only]
const RANGES = {
  learning_rate: [0, 1, false],
  rank: [1, 64, true],
  lora_alpha: [1, 4096, true],
  lora_dropout: [0, 0.9, false],
  steps: [1, 1_000_000, true],
  batch_size: [1, 4096, true],
  replay: [0, 0.9, false],
  examples: [0, 10_000_000, true],
  seed: [0, 2 ** 32 - 1, true],
  evaluate_every: [1, 1_000_000, true],
  strength: [0, 1, false],
};
const REMEDY = ["remedy", "remedy_weight"]; // known, so that they can be refused by what they are
const NAMES = ["model", "target_modules", "dropout", ...REMEDY, ...Object.keys(CHOICES), ...Object.keys(RANGES)];

const shown = (value) => (typeof value === "number" ? String(value) : JSON.stringify(value) ?? String(value));

/**
 * The whole settings of a run, checked.
 *
 * The fields are those of FineTuneConfig, and one more: `dropout: false` turns all dropout off, the adapter's and the base's.
 * @param {object} changes - what differs from the defaults
 * @param {object} defaults - of the model that is loaded; data.json brings them
 * @returns {object} frozen, with `scale` (the LoRA scale; null in full fine-tuning) besides
 * @throws {SettingsError} for an unknown name, a wrong type or a value out of range
 */
export function settings(changes, defaults) {
  if (changes === null || typeof changes !== "object" || Array.isArray(changes)) {
    throw new SettingsError(`The settings are ${shown(changes)}; give an object such as {learning_rate: 0.0015}.`);
  }
  const unknown = Object.keys(changes).find((name) => !NAMES.includes(name));
  if (unknown !== undefined) {
    throw new SettingsError(`"${unknown}" is not a setting; use one of ${NAMES.join(", ")}.`);
  }
  const config = { strength: 1, ...defaults, dropout: true, ...changes };
  for (const [name, choices] of Object.entries(CHOICES)) {
    if (!choices.includes(config[name])) {
      throw new SettingsError(`${name} is ${shown(config[name])}; use one of ${choices.join(", ")}.`);
    }
  }
  for (const [name, [low, high, whole]] of Object.entries(RANGES)) checkRange(name, config[name], low, high, whole);
  if (typeof config.dropout !== "boolean") {
    throw new SettingsError(`dropout is ${shown(config.dropout)}; it must be true or false.`);
  }
  if (config.model !== defaults.model) {
    throw new SettingsError(`model is ${shown(config.model)} and "${defaults.model}" is loaded; load the other one first.`);
  }
  for (const name of REMEDY) {
    if (config[name] || config[name] === 0) {
      const where = "leave it out, or run these settings in the course's notebooks";
      throw new SettingsError(`${name} is ${shown(config[name])}, and this page trains without remedies; ${where}.`);
    }
  }
  targetBits(config.target_modules);
  return Object.freeze({ ...config, scale: scaleOf(config) });
}

function checkRange(name, value, low, high, whole) {
  if (typeof value !== "number") {
    throw new SettingsError(`${name} is ${shown(value)}; it must be a ${whole ? "whole number" : "number"}.`);
  }
  const inside = (name === "learning_rate" ? low < value : low <= value) && value <= high; // false for NaN, too
  if (!inside) {
    const least = name === "learning_rate" ? `more than ${low}` : `at least ${low}`;
    throw new SettingsError(`${name} is ${shown(value)}; it must be ${least} and at most ${high}.`);
  }
  if (whole && !Number.isInteger(value)) throw new SettingsError(`${name} is ${shown(value)}; it must be a whole number.`);
}

function scaleOf({ method, scaling, rank, lora_alpha: alpha }) {
  if (method === "full") return null;
  return { fixed: alpha / rank, "2r": 2, rslora: alpha / Math.sqrt(rank) }[scaling];
}

/**
 * Which linear layers of a block get an adapter, one bit each, by the rule of peft: a name stands for each layer that ends with it.
 * @param {string} names - "all-linear", or names with commas between them
 */
export function targetBits(names) {
  if (names === "all-linear") return (1 << LINEAR_LAYERS.length) - 1;
  let bits = 0;
  for (const name of typeof names === "string" ? names.split(",").map((part) => part.trim()) : [""]) {
    const of = LINEAR_LAYERS.map((layer, i) => (name && `.${layer}`.endsWith(`.${name}`) ? 1 << i : 0)).reduce((a, b) => a | b);
    if (!of) throw new SettingsError(`target_modules is ${shown(names)}; use all-linear, or some of ${LINEAR_LAYERS.join(", ")}.`);
    bits |= of;
  }
  return bits;
}
