// Where an answer ends: "13" is not said by "13000", nor "C" by "C++". `could_go_on` and `ends` of capability_guard.matching.

// White space as Python sees it; JavaScript's \s has U+FEFF besides, and lacks the separators of ASCII and U+0085.
const SPACE = "[\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]";
const SPACES = new RegExp(`${SPACE}+`, "u");
const WORD = "[\\p{L}\\p{N}_]";
const LETTER = /^[\p{L}\p{M}\p{N}]/u;
const DECIMAL = "\\p{Decimal_Number}";
const DIGIT = new RegExp(`^${DECIMAL}`, "u");
// Scripts that do not put spaces between words: there, an answer may stand inside a longer run of letters.
const RUN_ON = /^[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\u{20000}-\u{3ffff}]/u;
// Signs behind a word, and behind a number, that may belong to it: what follows them tells.
const UNDECIDED = { word: "'\u2019_+#-", number: "'\u2019_+#-.,:/^" };

// Signs that look alike and mean the same to a reader.
const ALIKE = [
  [/[\u2018\u2019\u201a\u201b\u02bc\u2032`\u00b4]/g, "'"],
  [/[\u201c\u201d\u201e\u201f\u00ab\u00bb\u2033]/g, '"'],
  [/[\u2010-\u2015\u2212\ufe63\uff0d]/g, "-"],
  [/[\u00ae\u2122\u00a9\u2120]/g, " "],
  [/[\u00ad\u200b\u200c\u200d\u2060\ufeff\u200e\u200f]/g, ""],
  [/\u2044/g, "/"],
];
const RAISED = /[\u2070\u00b9\u00b2\u00b3\u2074-\u2079]+/g; // as in 10², which is not 102
const THIN_GROUPS = new RegExp(
  `(?<=${DECIMAL})[\\u00a0\\u2009\\u202f'\\u2019_](?=${DECIMAL}{3}(?!${DECIMAL}))` +
    `|(?<=(?<!${WORD})${DECIMAL}{1,3}) (?=${DECIMAL}{3}(?!${DECIMAL}))`,
  "gu",
);

const GROUP = new RegExp(`^${DECIMAL}{3}(?!${DECIMAL})`, "u");

/** The text without white space at its ends, and with single spaces inside. */
export const folded = (text) => text.split(SPACES).filter(Boolean).join(" ");

/** The text without white space at its beginning. */
export const stripped = (text) => text.replace(new RegExp(`^${SPACE}+`, "u"), "");

/** Whether what comes right behind an answer could make a longer word or number of it. A full stop ends a word, not a number. */
export function couldGoOn(answer) {
  const signs = [...answer];
  const last = signs.at(-1) ?? "";
  if (last === ".") return DIGIT.test(signs.at(-2) ?? "");
  return LETTER.test(last) && !RUN_ON.test(last);
}

/**
 * Whether `answer` ends where `behind` begins, as a reader sees it.
 * @returns {boolean | null} null where it takes more of `behind` to tell
 */
export function ends(answer, behind) {
  const last = [...answer].at(-1) ?? "";
  const next = [...behind];
  const digit = DIGIT.test(last);
  if (digit && "\u00a0\u2009\u202f".includes(next[0] || "none")) { // spaces that stand inside a number, too
    return next.length < 4 ? null : !GROUP.test(next.slice(1).join(""));
  }
  if (!couldGoOn(answer) || !behind || SPACES.test(next[0])) return true;
  if (last === ".") return !DIGIT.test(next[0]);
  const undecided = UNDECIDED[digit ? "number" : "word"];
  if (next.slice(0, 2).includes("\ufffd") || (next.length < 2 && undecided.includes(behind))) return null;
  return edgeBehind(plain(`${digit ? "1" : "x"}${next.slice(0, 60).join("")}.`).slice(1, -1), last, [...answer].length === 1);
}

/** Text as it is compared: one form for each letter, digit and sign, white space folded. */
function plain(text) {
  const alike = (some) => ALIKE.reduce((result, [signs, sign]) => result.replace(signs, sign), some);
  text = text.replace(THIN_GROUPS, ",").replace(RAISED, (digits) => `^${digits.normalize("NFKC")}`);
  text = alike(alike(text).normalize("NFKC"));
  return folded(text.replace(new RegExp(DECIMAL, "gu"), decimal).normalize("NFC"));
}

/** 0 to 9 for a digit of any script: each script has its ten in a row, so the place within the row is the value. */
function decimal(digit) {
  const code = digit.codePointAt(0);
  let first = code;
  while (code - first < 9 && DIGIT.test(String.fromCodePoint(first - 1))) first--;
  return String(code - first);
}

function edgeBehind(behind, last, single) {
  const starts = (pattern) => new RegExp(`^(?:${pattern})`, "u").test(behind);
  if (!behind || !LETTER.test(last) || RUN_ON.test(last)) return true;
  if (starts(`[+#]+(?![\\p{L}\\p{N}_+#])`)) return false; // C++, C#, A+: the sign belongs to the word
  if (starts(`'t(?!${WORD})|_${WORD}`) || (single && starts(`'${WORD}`))) return false; // can is not in can't
  if (single && starts(`-(?!${WORD})`)) return false; // the grade A-
  if (/^\p{N}/u.test(last) && starts(`[.,:/^]${DECIMAL}`)) return false;
  return !LETTER.test(behind) || RUN_ON.test(behind);
}
