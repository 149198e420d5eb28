// One measurement as the monitor of capability_guard makes it: losses of texts, and which probes are right. A probe is right
// if greedy decoding would begin with its answer, and end it there; one forward pass over prompt and answer nearly always tells.

import { couldGoOn, ends, stripped } from "./ending.mjs";

const TEXTS = ["train_loss", "held_out_loss", "original_loss"];
const BEHIND = 4; // tokens beyond the answer: enough to tell 4.5 from the end of a sentence

/**
 * @param {Program} program
 * @param {Tokenizer} tokenizer
 * @param {object} data - data.json
 * @param {number} end - the token that ends a text
 * @param {boolean} everything - all probes are asked, and not only those on the curve; the curve is of the same ones all the same
 * @returns {object} as `Engine.measure` says, and `broken`: the first loss that is no finite number, or null
 */
export function measure(program, tokenizer, data, end, everything) {
  const asked = everything ? data.probes.map((_, i) => i) : data.live;
  const probes = asked.map((i) => data.probes[i]);
  const texts = TEXTS.flatMap((name) => data.texts[name]);
  const scores = program.score([...probes.map(rowOf), ...texts], [...probes.map((p) => p.prompt_tokens), ...texts.map(() => 1)]);

  const outcomes = probes.map((probe, i) => isRight(program, tokenizer, probe, scores[i], end));
  const live = new Set(data.live);
  const onCurve = asked.flatMap((probe, i) => (live.has(probe) ? [[data.probes[probe].capability, outcomes[i]]] : []));
  const losses = meanLosses(data, scores.slice(probes.length));
  const measured = [...scores.map((score) => score.nats), ...Object.values(losses)];
  return {
    ...losses,
    retention: share(onCurve),
    by_capability: byCapability(onCurve),
    outcomes,
    broken: measured.find((loss) => !Number.isFinite(loss)) ?? null,
  };
}

/**
 * Asks some probes and nothing else.
 * @returns {boolean[]} whether each is right
 */
export function ask(program, tokenizer, probes, end) {
  const scores = program.score(probes.map(rowOf), probes.map((probe) => probe.prompt_tokens));
  return probes.map((probe, i) => isRight(program, tokenizer, probe, scores[i], end));
}

const OPEN = -1; // no token: see Program.score

/** The tokens of a probe; with a place left open behind an answer that could go on, where the likeliest token is asked for. */
const rowOf = ({ ids, answer }) => (couldGoOn(answer) ? [...ids, OPEN] : ids);

/** Nats per token of each group of texts. The first token of a text has nothing before it that could predict it. */
function meanLosses(data, scores) {
  let next = 0;
  const losses = TEXTS.map((name) => {
    const rows = data.texts[name];
    const nats = rows.reduce((sum) => sum + scores[next++].nats, 0);
    return [name, nats / rows.reduce((sum, row) => sum + row.length - 1, 0)];
  });
  return Object.fromEntries(losses);
}

/** What one pass leaves open, as capability_guard.exact settles it: the same text in other tokens, and a word that goes on. */
function isRight(program, tokenizer, { answer, ids, prompt_tokens }, { agreed, instead, after }, end) {
  const own = ids.slice(prompt_tokens);
  const saidSo = instead < 0;
  let over; // whether the answer is over where its text ends; null: not to be told yet
  if (saidSo) {
    over = after < 0 || ends(answer, behind(tokenizer, own, after));
  } else {
    const text = stripped(tokenizer.decode([...own.slice(0, agreed), instead]));
    if (text.startsWith(answer)) over = ends(answer, text.slice(answer.length));
    else if (instead === end || !answer.startsWith(text.replace(/\uFFFD+$/, ""))) return false;
    else over = null; // half a character may yet be whole
  }
  if (over !== null) return over;
  const room = new TextEncoder().encode(answer).length + BEHIND; // a token for each byte, in the worst of cases
  const written = stripped(tokenizer.decode(program.complete(ids.slice(0, prompt_tokens), room, end)));
  if (!written.startsWith(answer)) return saidSo;
  return ends(answer, written.slice(answer.length)) !== false;
}

function behind(tokenizer, own, token) {
  const text = tokenizer.decode(own);
  const both = tokenizer.decode([...own, token]);
  return both.startsWith(text) ? both.slice(text.length) : "";
}

const share = (pairs) => pairs.filter(([, right]) => right).length / pairs.length;

function byCapability(pairs) {
  const names = [...new Set(pairs.map(([capability]) => capability))].sort();
  return Object.fromEntries(names.map((name) => [name, share(pairs.filter(([capability]) => capability === name))]));
}
