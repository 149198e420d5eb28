// Opens the playground: reads the address, draws step 0 from what is stored, and loads the model beside it.
//
//     await playground.run({ learning_rate: 0.005, rank: 1, seed: 0, dropout: false })   // for tests, and for the curious

import { Address } from "./address.mjs";
import { Client, Lab } from "./client.mjs";
import { assets, getJson, isMetered, startWorker, whatIsMissing } from "./load.mjs";
import { Moves } from "./moves.mjs";
import { Session } from "./session.mjs";
import { Stored } from "./stored.mjs";
import { at, html, View } from "./view.mjs";

const json = await getJson("stored.json");
const address = new Address(json.defaults);
const stored = new Stored(json, address);

/** The settings to open with, and what is locked or hidden; a bad address is told, and the page opens with the defaults. */
function asked() {
  const wishes = { preset: null, lock: [], hide: [], run: null };
  let start = address.config();
  try {
    Object.assign(wishes, Address.wishes(location.search, Object.keys(json.presets)));
    if (wishes.preset) start = address.parse(json.presets[wishes.preset].settings);
    const settings = Address.settingsIn(location.href);
    if (settings) start = address.parse(settings);
    return { ...wishes, start, trouble: "" };
  } catch (error) {
    return { ...wishes, start, trouble: `The address cannot be read: ${error.message}` };
  }
}

const { start, preset, lock, hide, run, trouble } = asked();
const session = new Session(address, stored, start, lock);
const view = new View(session);
const moves = new Moves(session, view, json.presets);
const missing = whatIsMissing();
let lab = null;
session.notify = () => {
  moves.fillClass();
  lab?.wake();
  view.refresh();
};

for (const element of document.querySelectorAll("[data-control]")) {
  element.hidden = element.dataset.control.split(" ").every((name) => hide.includes(name));
}
document.documentElement.classList.toggle("embedded", window !== window.parent);
at("preset").append(html("option", { value: "" }, "choose …"), ...Object.keys(json.presets).map((name) => html("option", {}, name)));
const wide = matchMedia("(min-width: 48rem)");
const unfold = () => {
  if (wide.matches) at("loss-fold").open = true; // on a desk there is room for both curves
};
wide.addEventListener("change", unfold);
unfold();
at("loss-fold").addEventListener("toggle", () => view.refresh());
if (preset) {
  at("preset").value = preset;
  at("predict").open = true;
  at("claim").textContent = `${json.presets[preset].predict} Mark your guess, then press Run.`;
}
if (trouble) session.say(trouble);

const opened = load();

/** Loads the model, first asking where each megabyte costs. Meanwhile the stored runs answer the sliders. */
async function load() {
  const [note, button, bar] = [at("download").querySelector("p"), at("load"), at("progress")];
  if (missing) {
    session.training = "impossible";
    at("download").hidden = false;
    note.textContent = missing;
    button.hidden = true;
    session.request();
    session.say(trouble || session.notice);
    return;
  }
  if (isMetered()) {
    session.training = "asking";
    at("download").hidden = false;
    note.textContent = "You are on a metered line. Until the model is loaded, the sliders show the course's stored runs.";
    button.textContent = `Load the model (${json.megabytes} MB)`;
    session.request();
    await new Promise((resolve) => button.addEventListener("click", resolve, { once: true }));
  }
  at("download").hidden = false;
  note.textContent = `Loading the model: ${json.megabytes} MB.`;
  [button.hidden, bar.hidden] = [true, false];
  try {
    lab = new Lab(new Client(startWorker()), session); // its modules come while the weights do
    await lab.load(await assets((bytes) => (bar.value = bytes / json.model_bytes)), stored.baseline);
  } catch (error) {
    session.training = "impossible";
    note.textContent = `The model could not be loaded: ${error.message} The sliders show the course's stored runs; load the page again to train.`;
    bar.hidden = true;
    session.request();
    return;
  }
  at("download").hidden = true;
  if (session.shown?.stored) session.show(null, false);
  session.notice = trouble;
  // A preset asks for a prediction first; anything else is run at once.
  if (run !== "no" && (!preset || run === "yes") && !trouble) session.request();
  else session.notify();
}

globalThis.playground = {
  session,
  /** Resolves once the page can train, or never will. */
  ready: opened,
  /** How often each call to the worker was made. */
  get calls() {
    return { ...lab?.client.count };
  },
  /**
   * Runs these settings as the sliders would, and waits for the end.
   * @param {object} changes - by the names of FineTuneConfig, and dropout
   * @returns {Promise<object>} the series `steps`, `held_out_loss`, `retention` and more, as Engine.run gives them
   */
  async run(changes = {}) {
    await opened;
    if (session.training !== "ready") throw new Error(missing || "The model is not loaded.");
    session.put(address.config(changes), false);
    session.request(true);
    const [mine] = session.active;
    while (mine.state === "waiting" || mine.state === "running") await new Promise((resolve) => setTimeout(resolve, 20));
    if (mine.state !== "finished") throw new Error(mine.trouble || "Another run was started before this one ended.");
    return mine.series;
  },
};
