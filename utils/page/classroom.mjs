// What a class pastes: addresses, settings or results, one a line, become points of one plane. No server is needed for it.

import { Address } from "./address.mjs";

const NUMBER = String.raw`(-?\d+(?:[.,]\d+)?)`;
const LEARNED = new RegExp(String.raw`learned\s+${NUMBER}\s*%`, "i");
const LOST = new RegExp(String.raw`(?:lost|forgot)\s+${NUMBER}`, "i");

/** A finished run on one line, to be pasted into somebody's plane. */
export function resultLine(address, run, strength, faded) {
  const turned = strength < 1 && faded?.whole;
  const { learned, forgotten } = turned ? faded : run.result;
  const settings = address.format({ ...run.config, strength: turned ? strength : 1 });
  return `${settings} | learned ${(100 * learned).toFixed(1)} %, lost ${forgotten.toFixed(1)} points`;
}

/**
 * @param {string} text - one run a line: [name:] address or settings [| learned 69 %, lost 21.2 points]
 * @param {Address} address
 * @param {function(object): object|null} known - learned (share) and forgotten (points) of settings, if they are known here
 * @returns {{points: object[], problems: string[]}} points without a result have learned null
 */
export function readLines(text, address, known) {
  const points = [];
  const problems = [];
  text.split("\n").forEach((raw, i) => {
    const line = raw.trim();
    if (!line) return;
    try {
      points.push(readLine(line, points.length + 1, address, known));
    } catch (error) {
      problems.push(`Line ${i + 1}: ${error.message}`);
    }
  });
  return { points, problems };
}

function readLine(line, number, address, known) {
  const [, said, rest] = /^([^|:=;#]{1,40}):\s+(.*)$/.exec(line) ?? [null, "", line];
  const [run, result = ""] = rest.split("|");
  const text = run.includes("#") ? Address.settingsIn(run.trim().split(/\s/)[0]) : run.trim();
  const config = address.parse(text);
  const [learned, lost] = [LEARNED.exec(result), LOST.exec(result)].map((found) => found && Number(found[1].replace(",", ".")));
  if (result.trim() && (learned === null || lost === null)) {
    throw new Error(`"${result.trim()}" is no result; write: learned 69 %, lost 21.2 points.`);
  }
  const point = { name: said.trim() || String(number), settings: address.format(config), config };
  if (learned !== null) return { ...point, learned, forgotten: lost };
  const here = known(config);
  return { ...point, learned: here ? 100 * here.learned : null, forgotten: here ? here.forgotten : null };
}

/** The pinned runs as a table: the columns of the notebook's. */
export function rows(session) {
  return session.pinned.map((run) => {
    const faded = session.at(run, run.pinStrength);
    const { learned, forgotten } = faded?.whole ? faded : run.result;
    const settings = session.address.format({ ...run.config, strength: faded?.whole ? run.pinStrength : 1 });
    return {
      pin: run.pin, settings, "LoRA scale": run.config.scale === null ? "none" : Number(run.config.scale.toPrecision(6)),
      "learned (% of loss)": (100 * learned).toFixed(1), "forgotten (points)": forgotten.toFixed(1), seconds: run.seconds.toFixed(1),
    }; // prettier-ignore
  });
}

/** As a spreadsheet reads it (RFC 4180). */
export function toCsv(table) {
  const cell = (value) => (/[",\n]/.test(String(value)) ? `"${String(value).replaceAll('"', '""')}"` : String(value));
  return [Object.keys(table[0]), ...table.map(Object.values)].map((row) => `${row.map(cell).join(",")}\r\n`).join("");
}
