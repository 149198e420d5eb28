// A run in writing: `learning_rate=0.005;rank=1` in the address of the page and in the field to paste into. The names are those
// of FineTuneConfig in utils/training/config.py, and one more: dropout.

import { settings, SettingsError } from "./engine/config.mjs";

/** The controls that an address may lock or hide. */
export const CONTROLS = [
  "learning_rate", "rank", "strength", "scaling", "method", "steps", "replay", "examples", "seed", "dropout", "model",
]; // prettier-ignore
const HIDEABLE = [...CONTROLS, "preset", "guess", "class"];

/** Reads, checks and writes settings. */
export class Address {
  /** @param {object} defaults - of the course; the page itself trains without dropout unless it is asked for */
  constructor(defaults) {
    this.defaults = { ...defaults, dropout: false };
  }

  /**
   * Whole settings, checked.
   * @param {object} changes - what differs from the defaults
   * @returns {object} frozen, with `scale` besides
   * @throws {SettingsError} in one sentence
   */
  config(changes = {}) {
    const { scale, ...own } = changes; // what follows from the others is no setting
    return settings({ dropout: false, ...own }, this.defaults);
  }

  /** The same settings with some changed. */
  with(config, changes) {
    return this.config({ ...config, ...changes });
  }

  /** Only what differs from the defaults: the inverse of `parse`. */
  format(config) {
    const changed = Object.keys(this.defaults).filter((name) => config[name] !== this.defaults[name]);
    return changed.map((name) => `${name}=${config[name]}`).join(";") || "default";
  }

  /** What tells runs apart: the settings without what is only done after the training. */
  key(config) {
    return this.format({ ...config, strength: 1 });
  }

  /**
   * @param {string} text - name=value, with ; between
   * @throws {SettingsError} naming the part that cannot be read
   */
  parse(text) {
    const changes = {};
    for (const part of text.split(";").map((each) => each.trim())) {
      if (!part || part === "default") continue;
      const [, name, value] = /^\s*([^=]*?)\s*=\s*(.*)$/.exec(part) ?? [];
      const known = name?.toLowerCase();
      if (name === undefined || !Object.hasOwn(this.defaults, known)) {
        const names = Object.keys(this.defaults).join(", ");
        throw new SettingsError(`"${part}" is not a setting; write name=value with one of ${names}.`);
      }
      changes[known] = this.read(known, value);
    }
    // Who names an adapter's dropout wants it, although the page trains without any by default.
    if (changes.lora_dropout > 0 && changes.dropout === undefined) changes.dropout = true;
    return this.config(changes);
  }

  read(name, value) {
    const kind = typeof this.defaults[name];
    if (kind === "string") return value;
    if (kind === "boolean") {
      if (value === "true" || value === "false") return value === "true";
      throw new SettingsError(`${name} is "${value}"; it must be true or false.`);
    }
    const number = value === "" ? NaN : Number(value);
    if (Number.isNaN(number)) throw new SettingsError(`${name} is "${value}"; it must be a number.`);
    return number;
  }

  /** The settings that stand behind the # of an address; "" where nothing stands there. */
  static settingsIn(address) {
    const at = address.indexOf("#");
    if (at < 0) return "";
    try {
      return decodeURIComponent(address.slice(at + 1));
    } catch {
      return address.slice(at + 1); // a stray % is told as what it is, by parse
    }
  }

  /**
   * What stands behind the ?: `preset=reckless&lock=rank,seed&hide=model&run=no`.
   * @param {string} search
   * @param {string[]} presets - their names
   * @throws {SettingsError} for a preset or a control that there is not
   */
  static wishes(search, presets) {
    const asked = new URLSearchParams(search);
    const list = (name, allowed) => {
      const names = (asked.get(name) ?? "").split(",").map((each) => each.trim()).filter(Boolean); // prettier-ignore
      const unknown = names.find((each) => !allowed.includes(each));
      if (unknown) throw new SettingsError(`${name} has "${unknown}"; use one of ${allowed.join(", ")}.`);
      return names;
    };
    const preset = asked.get("preset");
    if (preset !== null && !presets.includes(preset)) {
      throw new SettingsError(`"${preset}" is not a preset; use one of ${presets.join(", ")}.`);
    }
    const run = asked.get("run");
    if (run !== null && run !== "yes" && run !== "no") throw new SettingsError(`run is "${run}"; write run=yes or run=no.`);
    return { preset, lock: list("lock", CONTROLS), hide: list("hide", HIDEABLE), run };
  }
}
