// Byte-level BPE, the tokenizer of GPT-2 (Radford et al. 2019), from a tokenizer.json in which digits stand one by one.

// What the `tokenizers` library calls white space; JavaScript's \s has U+FEFF besides, and lacks U+0085.
const SPACE = "\\t-\\r \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";
const DIGIT = /(\p{N})/u;
const WORD = new RegExp(
  `'(?:s|t|re|ve|m|ll|d)| ?\\p{L}+| ?\\p{N}+| ?[^${SPACE}\\p{L}\\p{N}]+|[${SPACE}]+(?![^${SPACE}])|[${SPACE}]+`,
  "gu",
);

/** The character that stands for each byte: itself where it can be seen, and otherwise one from U+0100 on. */
function byteCharacters() {
  const seen = (byte) => (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
  let hidden = 0;
  return Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(seen(byte) ? byte : 256 + hidden++));
}

/** Text to tokens and back. */
export class Tokenizer {
  /** @param {object} json - a parsed tokenizer.json. Throws an Error for one of another kind. */
  constructor(json) {
    const before = json.pre_tokenizer?.pretokenizers?.map((part) => part.type).join() ?? json.pre_tokenizer?.type;
    if (json.model?.type !== "BPE" || before !== "Digits,ByteLevel" || json.normalizer) {
      throw new Error(`The tokenizer is ${json.model?.type} with ${before}; export one with BPE, Digits and ByteLevel.`);
    }
    this.ids = new Map(Object.entries(json.model.vocab));
    this.special = new Map(json.added_tokens.map(({ content, id }) => [content, id]));
    this.ranks = new Map(json.model.merges.map((pair, rank) => [pair.join(" "), rank]));
    this.characters = byteCharacters();
    this.bytes = new Map(this.characters.map((character, byte) => [character, byte]));
    this.tokens = new Map([...this.ids].map(([token, id]) => [id, token]));
    const escaped = [...this.special.keys()].map((token) => token.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
    this.specialPattern = new RegExp(`(${escaped.join("|")})`);
    this.known = new Map(); // the tokens of words that were met before
  }

  /** @param {string} text @returns {number[]} its tokens; a special token that is written out counts as one */
  encode(text) {
    return text.split(this.specialPattern).flatMap((part) => {
      if (this.special.has(part)) return [this.special.get(part)];
      return part.split(DIGIT).flatMap((piece) => (piece.match(WORD) ?? []).flatMap((word) => this.word(word)));
    });
  }

  /** @param {number[]} ids @returns {string} their text, without special tokens; half a character becomes U+FFFD */
  decode(ids) {
    const special = new Set(this.special.values());
    const bytes = ids.filter((id) => !special.has(id)).flatMap((id) => [...this.tokens.get(id)].map((c) => this.bytes.get(c)));
    return new TextDecoder("utf-8", { ignoreBOM: true }).decode(Uint8Array.from(bytes));
  }

  word(word) {
    if (!this.known.has(word)) this.known.set(word, this.merge(word));
    return this.known.get(word);
  }

  /** From single bytes, the pair that was merged first in training is merged first, until none is left. */
  merge(word) {
    const parts = [...new TextEncoder().encode(word)].map((byte) => this.characters[byte]);
    for (;;) {
      let best = Infinity;
      let at = -1;
      for (let i = 0; i + 1 < parts.length; i++) {
        const rank = this.ranks.get(`${parts[i]} ${parts[i + 1]}`) ?? Infinity;
        if (rank < best) [best, at] = [rank, i];
      }
      if (at < 0) return parts.map((part) => this.ids.get(part));
      parts.splice(at, 2, parts[at] + parts[at + 1]);
    }
  }
}
