// One measurement as the monitor of capability_guard makes it: losses of texts, and which probes are right. A probe is right
// if greedy decoding would begin with its answer; one forward pass over prompt and answer tells.

const TEXTS = ["train_loss", "held_out_loss", "original_loss"];

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
  const rows = [...probes.map((probe) => probe.ids), ...texts];
  const scores = program.score(rows, [...probes.map((probe) => probe.prompt_tokens), ...texts.map(() => 1)]);

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

/** The model may say the answer in other tokens than those that were scored: then what it writes decides. */
function isRight(program, tokenizer, { answer, ids, prompt_tokens }, { agreed, instead }, end) {
  if (instead < 0) return true;
  const said = tokenizer.decode([...ids.slice(prompt_tokens, prompt_tokens + agreed), instead]).trimStart();
  if (said.startsWith(answer)) return true; // one token holds the end of the answer and what comes after it
  if (instead === end || !answer.startsWith(said.replace(/\uFFFD+$/, ""))) return false; // half a character may yet be whole
  const room = new TextEncoder().encode(answer).length + 4; // a token for each byte, in the worst of cases
  const written = tokenizer.decode(program.complete(ids.slice(0, prompt_tokens), room, end));
  return written.trimStart().startsWith(answer);
}

const share = (pairs) => pairs.filter(([, right]) => right).length / pairs.length;

function byCapability(pairs) {
  const names = [...new Set(pairs.map(([capability]) => capability))].sort();
  return Object.fromEntries(names.map((name) => [name, share(pairs.filter(([capability]) => capability === name))]));
}
