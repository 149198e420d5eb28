// Lesson 2's slider: draws and plays what the table under it holds, at the strength that it is moved to.
"use strict";
{
  const section = document.querySelector(".fader");
  const rows = [...section.querySelectorAll("tbody tr")];
  const rolls = [...section.querySelectorAll(".roll")];
  const slider = section.querySelector("input");
  const partials = JSON.parse(section.dataset.partials); // [multiple of the frequency, loudness, decay a second]
  const beat = 60 / section.dataset.tempo; // seconds
  let context = null;
  let playing = null; // a gain that everything that sounds goes through
  let chosen = 0; // the piece that was asked for last

  const take = (piece) => {
    const cell = rows[Math.round(slider.value * (rows.length - 1))].cells[piece + 1];
    return { notes: JSON.parse(cell.dataset.notes), words: cell.querySelector("span").textContent };
  };
  const all = rolls.map((_, piece) => rows.flatMap((row) => JSON.parse(row.cells[piece + 1].dataset.notes)));

  /** Notes as boxes, time to the right and pitch upwards; the same frame at each strength, so that only the notes move. */
  function draw(piece) {
    const { notes, words } = take(piece);
    const svg = rolls[piece].querySelector("svg");
    const end = Math.max(...all[piece].map(([start, beats]) => start + beats));
    const pitches = all[piece].map(([, , pitch]) => pitch);
    const [low, high] = [Math.min(...pitches), Math.max(...pitches)];
    const height = 122 / (high - low + 1);
    svg.replaceChildren(
      ...notes.map(([start, beats, pitch, right]) => {
        const box = document.createElementNS("http://www.w3.org/2000/svg", right ? "rect" : "path");
        const [x, y] = [(640 * start) / end, 4 + (high - pitch) * height];
        const [w, h] = [Math.max((640 * beats) / end - 3, 3), height * 0.9];
        if (right) for (const [name, value] of Object.entries({ x, y, width: w, height: h })) box.setAttribute(name, value);
        else box.setAttribute("d", `M${x},${y}h${w}v${h}h${-w}zM${x},${y}l${w},${h}M${x},${y + h}l${w},${-h}`); // crossed out
        return box;
      }),
    );
    svg.setAttribute("aria-label", `Notes against time: ${words}.`);
    rolls[piece].querySelector(".words").textContent = `${words}.`;
  }

  function show() {
    section.querySelector("output").textContent = Number(slider.value).toFixed(1);
    slider.setAttribute("aria-valuetext", `${slider.value}: ${take(chosen).words}`);
    rolls.forEach((_, piece) => draw(piece));
  }

  /** An electric piano, as utils/music/notes.py has it: partials that decay, the high ones first. */
  async function play(piece) {
    chosen = piece;
    context ??= new AudioContext();
    await context.resume();
    playing?.gain.setTargetAtTime(0, context.currentTime, 0.02);
    playing = new GainNode(context, { gain: 0.25 });
    playing.connect(context.destination);
    const { notes } = take(piece);
    const now = context.currentTime + 0.05;
    for (const [start, beats, pitch] of notes) {
      const [from, until] = [now + start * beat, now + (start + beats) * beat];
      for (const [multiple, loudness, decay] of partials) {
        const tone = new OscillatorNode(context, { frequency: 440 * 2 ** ((pitch - 69) / 12) * multiple });
        const level = new GainNode(context, { gain: 0 });
        level.gain.setValueAtTime(0, from);
        level.gain.linearRampToValueAtTime(loudness, from + 0.006);
        level.gain.setTargetAtTime(0, from + 0.006, 1 / decay);
        level.gain.setTargetAtTime(0, until, 0.03); // the key is let go
        tone.connect(level).connect(playing);
        tone.start(from);
        tone.stop(until + 0.2);
      }
    }
    section.querySelector(".said").textContent = notes.length ? "" : "Not a single note is played.";
    return notes.length;
  }

  slider.addEventListener("input", show);
  slider.addEventListener("change", () => play(chosen)); // letting go is hearing it
  rolls.forEach((roll, piece) => roll.querySelector("button").addEventListener("click", () => play(piece)));
  show();
  section.querySelector(".live").hidden = false;
}
