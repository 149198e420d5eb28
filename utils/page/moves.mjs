// What each control does when it is moved or pressed.

import { Address } from "./address.mjs";
import { readLines, resultLine, rows, toCsv } from "./classroom.mjs";
import { at, RANKS } from "./view.mjs";

const DELAY = 100; // milliseconds that a run waits for the next move: a held arrow key is one run
const NO_GUESS = -5;
const PLAIN = { steps: Number, replay: Number, examples: Number, seed: Number, method: String, scaling: String };

/** What the slider's readout says: 0.01318 on it is 0.013. */
const twoDigits = (value) => Number(value.toPrecision(2));

/** Ties the controls to a session. */
export class Moves {
  /** @param {object} presets - {name: {settings, predict}} */
  constructor(session, view, presets) {
    Object.assign(this, { session, view, presets });
    this.timer = null;
    this.sliders();
    this.more();
    this.buttons();
    this.sharing();
    this.answers();
    window.addEventListener("hashchange", () => this.arrived());
    at("skip").addEventListener("click", (event) => {
      event.preventDefault(); // what stands behind the # is the run, and not a place on the page
      at("figures").focus();
    });
  }

  /** Does it; what was wrong with it is said in the page. */
  tried(action) {
    try {
      action();
      return true;
    } catch (error) {
      this.session.say(error.message);
      return false;
    }
  }

  set(changes) {
    return this.tried(() => this.session.set(changes));
  }

  /** Runs, unless the reader wants to press Run first. */
  start() {
    clearTimeout(this.timer);
    this.view.following = true;
    if (this.session.training !== "ready") this.session.request();
    else if (at("auto").checked) this.timer = setTimeout(() => this.session.request(), DELAY);
  }

  sliders() {
    const wire = (id, read) => {
      const slider = at(id);
      slider.addEventListener("input", () => this.set(read(slider)));
      // Letting go: only then a run starts. The keyboard lets go with each key.
      slider.addEventListener("change", () => this.start());
    };
    wire("learning_rate", (slider) => ({ learning_rate: twoDigits(10 ** Number(slider.value)) }));
    wire("rank", (slider) => ({ rank: RANKS[slider.value] }));
    at("strength").addEventListener("input", (event) => {
      this.view.following = true;
      this.set({ strength: Number(event.target.value) });
    });
  }

  more() {
    for (const [id, kind] of Object.entries(PLAIN)) {
      at(id).addEventListener("change", (event) => {
        const value = kind(event.target.value);
        if (this.set({ [id]: event.target.value === "" ? NaN : value })) this.start();
        else this.session.notify(); // the control goes back to what holds
      });
    }
    at("dropout").addEventListener("change", (event) => this.set({ dropout: event.target.checked }) && this.start());
    at("preset").addEventListener("change", (event) => this.choose(event.target.value));
    at("guess").addEventListener("input", (event) => {
      const points = Number(event.target.value);
      this.session.guess(points === NO_GUESS ? null : points);
    });
  }

  /** Moves the controls, shows what to predict, and waits for Run: a prediction comes before its result. */
  choose(name) {
    const preset = this.presets[name];
    if (!preset) return;
    clearTimeout(this.timer);
    this.tried(() => {
      const { session } = this;
      const config = session.address.parse(preset.settings);
      const kept = Object.fromEntries(session.locked.map((lock) => [lock, session.start[lock]]));
      session.put(session.address.with(config, kept), false);
      at("claim").textContent = `${preset.predict} Mark your guess, then press Run.`;
    });
  }

  buttons() {
    const { session } = this;
    const on = (id, action) => at(id).addEventListener("click", () => this.tried(action));
    on("run", () => {
      clearTimeout(this.timer);
      this.view.following = true;
      if (session.active.length) session.stop();
      else session.request(true);
    });
    on("undo", () => {
      const before = session.address.key(session.config);
      if (session.undo() && session.address.key(session.config) !== before) this.start();
    });
    on("reset", () => {
      session.put(session.start);
      this.start();
    });
    on("band", () => session.requestBand());
    on("pin", () => session.pin());
    on("clear", () => session.unpin());
    on("csv", () => download("playground-runs.csv", "text/csv", toCsv(rows(session))));
    at("pins").addEventListener("click", ({ target }) => target.dataset.unpin && session.unpin(target.dataset.unpin));
  }

  sharing() {
    const { session } = this;
    at("copy").addEventListener("click", () => this.copy(location.href, "The address of this run is copied."));
    at("copy-result").addEventListener("click", () => {
      const { shown, address, config, faded } = session;
      if (shown?.state !== "finished" || shown.result.diverged) return session.say("There is no finished run to copy; press Run first.");
      this.copy(resultLine(address, shown, config.strength, faded), "Your result is copied, as one line.");
    });
    at("text").addEventListener("change", (event) => this.tried(() => session.paste(event.target.value)) && this.start());
    at("show-lines").addEventListener("click", () => this.readClass());
    at("clear-lines").addEventListener("click", () => {
      at("lines").value = at("lines-said").textContent = "";
      session.points = [];
      session.notify();
    });
    at("train-lines").addEventListener("click", () => {
      const missing = session.points.filter((point) => point.learned === null);
      session.requestMany(missing.map((point) => point.config));
    });
  }

  readClass() {
    const { session } = this;
    const known = (config) => session.finished(config)?.result ?? session.stored.exactly(config);
    const { points, problems } = readLines(at("lines").value, session.address, known);
    session.points = points;
    const missing = points.filter((point) => point.learned === null).length;
    const said = `${points.length - missing} of ${points.length} runs are in the plane.`;
    at("lines-said").textContent = [said, missing ? `${missing} came without a result.` : "", ...problems].filter(Boolean).join(" ");
    session.notify();
  }

  /** A class's runs that were trained here have a result now. */
  fillClass() {
    const { session } = this;
    for (const point of session.points) {
      const result = point.learned === null ? session.finished(point.config)?.result : null;
      if (result && !result.diverged) Object.assign(point, { learned: 100 * result.learned, forgotten: result.forgotten });
    }
  }

  answers() {
    at("checkpoint").addEventListener("input", ({ target }) => {
      this.view.following = target.value === target.max;
      this.view.refresh();
    });
  }

  /** Somebody has typed another address, or followed a link to one. */
  arrived() {
    const settings = Address.settingsIn(location.href);
    if (settings === this.session.address.format(this.session.config)) return;
    if (this.tried(() => this.session.paste(settings || "default"))) this.start();
  }

  async copy(words, said) {
    try {
      await navigator.clipboard.writeText(words);
      this.session.say(said);
    } catch {
      this.session.say(`Copy this: ${words}`); // no permission, or a page from a folder
    }
  }
}

function download(name, type, content) {
  const address = URL.createObjectURL(new Blob([content], { type }));
  Object.assign(document.createElement("a"), { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
