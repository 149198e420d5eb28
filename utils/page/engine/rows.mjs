// Which rows a run trains on, in which order: `training_rows` of utils/training/rows.py, draw for draw.

import { SettingsError } from "./config.mjs";
import { PythonRandom } from "./random.mjs";

/**
 * The rows of a whole run: `steps` batches of `batch_size` rows, each with its share of replay.
 * @param {object} config - as `settings` gives it
 * @param {number[][]} newTask - the rows of the new task, as tokens
 * @param {number[][]} replay - rows of the original domain that are never measured
 * @returns {number[][][]} one list of rows for each step
 * @throws {SettingsError} for settings that cannot work together
 */
export function trainingRows(config, newTask, replay) {
  const random = new PythonRandom(config.seed);
  if (config.examples > newTask.length) {
    const rows = `the task has ${newTask.length} rows`;
    throw new SettingsError(`examples is ${config.examples} and ${rows}; ask for fewer, or 0 for all.`);
  }
  if (config.examples) newTask = random.sample(newTask, config.examples);
  const replayed = roundHalfToEven(config.replay * config.batch_size);
  if (config.replay && !replayed) {
    const both = `replay is ${config.replay} and batch_size ${config.batch_size}`;
    throw new SettingsError(`${both}: less than half a row a batch. Raise either.`);
  }
  const newRows = rounds(newTask, (config.batch_size - replayed) * config.steps, random);
  const oldRows = rounds(replay, replayed * config.steps, random);
  const everyNth = (rows, first) => rows.filter((_, i) => i % config.steps === first);
  return Array.from({ length: config.steps }, (_, step) => {
    const batch = [...everyNth(newRows, step), ...everyNth(oldRows, step)];
    random.shuffle(batch);
    return batch;
  });
}

/** `count` rows: shuffled rounds through all of them, so that each is seen equally often. */
function rounds(rows, count, random) {
  const chosen = [];
  while (chosen.length < count) chosen.push(...random.sample(rows, rows.length));
  return chosen.slice(0, count);
}

/** `round(x)` of Python. */
function roundHalfToEven(x) {
  const below = Math.floor(x);
  if (x - below === 0.5) return below % 2 ? below + 1 : below;
  return Math.round(x);
}
