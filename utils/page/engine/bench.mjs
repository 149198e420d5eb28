// The engine's part of bench.py: does what each line of standard input says, and prints the milliseconds that it took, once
// around the clock and once of the processor.
//
//     node bench.mjs FOLDER METHOD        FOLDER: what export.py wrote

import { readFile } from "node:fs/promises";
import { createInterface } from "node:readline";

import { Engine } from "./engine.mjs";

const [folder, method] = process.argv.slice(2);
const file = (path) => readFile(path).then((bytes) => bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
const json = (name) => readFile(`${folder}/${name}`, "utf8").then(JSON.parse);
const engine = await Engine.load({
  wasm: await file(new URL("engine.wasm", import.meta.url)),
  weights: await file(`${folder}/weights.bin`),
  config: await json("config.json"),
  tokenizer: await json("tokenizer.json"),
  data: await json("data.json"),
});
const settings = { method, dropout: false, steps: 1000 };
engine.start(settings);

const calls = {
  step: () => engine.step(),
  measure: () => engine.measure(),
  // Runs one after the other in one instance: what a reader does who stays for an hour. Prints the memory, in bytes.
  runs: (count) => {
    for (let seed = 0; seed < count; seed++) {
      engine.start({ method: seed % 2 ? "full" : "lora", rank: 1 + (seed % 64), seed });
      engine.step();
    }
    return engine.program.bytes;
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const [call, argument] = line.split(" ");
  const [wall, cpu] = [performance.now(), process.cpuUsage().user];
  const result = calls[call](Number(argument));
  console.log(performance.now() - wall, (process.cpuUsage().user - cpu) / 1000, typeof result === "number" ? result : "");
}
