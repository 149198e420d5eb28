"""Does an answer stand in what a model says? As a reader would see it, not as a substring.

Numbers are numbers: 4 is not in 4.5, in 4,000 or in -4, and 29 is in $29.00. Words end where a reader sees them end: C is not in
C++, can is not in can't, and Café is found however its é is encoded. Case, quotation marks and kinds of dashes do not count.
"""

from __future__ import annotations

import re
import unicodedata
from fractions import Fraction
from functools import lru_cache

# Of what counts as right. It rises with each change that can make an answer wrong that was right, or right that was wrong:
# 2: an "exact" answer is looked at to the end of its last word or number; marks of thinking may be special tokens.
MARKING = "2"

# Signs that look alike and mean the same to a reader.
_ALIKE = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u201a\u201b\u02bc\u2032`\u00b4", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u201f\u00ab\u00bb\u2033", '"'),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe63\uff0d", "-"),
        **dict.fromkeys("\u00ae\u2122\u00a9\u2120", " "),  # NFKC would write "TM" at the end of a name
        **dict.fromkeys("\u00ad\u200b\u200c\u200d\u2060\ufeff\u200e\u200f", None),  # are not seen at all
        "\u2044": "/",
    }
)
# 70 000, with a space that cannot break or, behind one to three digits, with a plain one.
_THIN_GROUPS = re.compile(
    r"(?<=\d)[\u00a0\u2009\u202f'\u2019_](?=\d{3}(?!\d))"
    r"|(?:(?<=\b\d)|(?<=\b\d\d)|(?<=\b\d\d\d)) (?=\d{3}(?!\d))"
)
_RAISED = re.compile("[\u2070\u00b9\u00b2\u00b3\u2074-\u2079]+")  # as in 10\u00b2, which is not 102

# One number: sign, digits with their groups, decimals; then what makes it another number: a fraction, a time, a power of ten.
_NUMBER = re.compile(
    r"(?P<sign>(?<![\w)])[+-]\s?(?=[$\u20ac\u00a3\u00a5]?\d|\.\d)|(?:(?<=\s)|^)(?:minus|negative)\s)?"
    r"[$\u20ac\u00a3\u00a5]?\s?(?<![\w.,])"
    r"(?P<digits>\d{1,3}(?:,\d{2,3})*,\d{3}(?!\d)(?:\.\d+)?|\d{1,3}(?:\.\d{3}){2,}(?!\d)(?:,\d+)?|\d{1,3}(?:\.\d{3})+,\d+"
    r"|\d+\.\d+|\d+,\d+(?![,\d])|\d+|\.\d+)"
    r"(?P<power>e[+-]?\d+(?!\w)|\s?(?:\u00d7|x|\*)\s?10\^?(?P<exponent>-?\d+)(?!\w))?"
    r"(?P<fraction>\s?/\s?\d+(?![\w/.]))?"
    r"(?P<unit>\s?(?:%|per\s?cent(?!\w)))?"
    r"(?P<scale>\s?(?:k|thousand|million|billion|trillion|mn|bn|hundred)(?!\w))?"
    r"(?P<rest>[.,:/^-]?\w| \d+/\d)?"
)
_SCALES = {
    "k": 10**3,
    "thousand": 10**3,
    "million": 10**6,
    "mn": 10**6,
    "billion": 10**9,
    "bn": 10**9,
    "trillion": 10**12,
    "hundred": 100,
}
# Directly behind a number, these letters are its unit; others make it part of a word (15th, 3D).
_UNITS = "km|cm|mm|nm|kg|mg|hz|khz|mhz|ghz|kb|mb|gb|tb|kw|kwh|mph|ml|am|pm|usd|eur|gbp|g|s|h|v|w|l|c|f|min|sec|°c|°f"
_UNIT_BEHIND = re.compile(rf"(?:{_UNITS})(?!\w)")
# What else may stand behind a number. Matched at a place and not in a slice: a slice copies the rest of the text.
_POWER_OR_MIXED, _STOPS = re.compile(r"\^| \d+/"), re.compile(r"[.,:/-]\D|-")
_GOES_ON, _CHAIN = re.compile(r"\d|[.,:/]\d"), re.compile(r"[\d.,:/]*")

# Signs behind a word, and behind a number, that may belong to it: what follows them tells.
_UNDECIDED = {False: "'\u2019_+#-", True: "'\u2019_+#-.,:/^"}

# Scripts that do not put spaces between words, or glue endings on: there, an answer may stand inside a longer run of letters.
_RUN_ON = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\U00020000-\U0003ffff]"
)
_PREFIXES = re.compile(
    r"(?<!\w)(?:[\u0648\u0641\u0628\u0644\u0643]?(?:\u0627\u0644)?|[\u05d5\u05d4\u05d1\u05dc\u05de\u05e9\u05db]{0,2})$"
)


def says(answer: str, said: str) -> bool:
    """Whether ``answer`` stands in ``said``, as whole numbers and whole words.

    A full stop that ends the answer need not be there.

    >>> says("4", "The answer is 4."), says("4", "It is 4.5 metres."), says("70000", "a profit of $70,000")
    (True, False, True)
    >>> says("C", "C++ is it"), says("can", "I can't"), says("paris", "**Paris**")
    (False, False, True)
    """
    # Case counts where the answer is a letter or an abbreviation: US is not in "let us see", nor A in "I am a model".
    letters = [c for c in answer if c.isalpha()]
    fold = not (0 < len(letters) <= 3 and all(c.isupper() for c in letters))
    wanted, text = plain(answer, fold), plain(said, fold)
    wanted = wanted.rstrip(".!? ") or wanted
    if not wanted:  # nothing but signs that cannot be seen
        return answer in said
    number = _NUMBER.fullmatch(wanted)
    if number and not number["rest"]:
        return _number_in(number, text)
    return any(_whole(text, found.start(), wanted) for found in re.finditer(f"(?={re.escape(wanted[:40])})", text))


def could_go_on(answer: str) -> bool:
    """Whether what comes right behind an answer could make a longer word or number of it. A full stop ends a word, not a number.

    >>> [could_go_on(answer) for answer in ("13", "Paris", "Paris.", "13.", "13 km.", "$")]
    [True, True, False, True, False, False]
    """
    last = answer[-1:]
    if last == ".":
        return answer[-2:-1].isdecimal()
    return bool(last) and _letter(last) and not _RUN_ON.match(last)


def ends(answer: str, behind: str) -> bool | None:
    """Whether ``answer`` ends where ``behind`` begins, as a reader sees it. None where it takes more of ``behind`` to tell.

    >>> ends("13", "000"), ends("13", " km"), ends("Paris", "ian"), ends("13.", "5"), ends("13.", "")
    (False, True, False, False, True)
    >>> ends("13", "."), ends("13", ".5"), ends("13", ". It")
    (None, False, True)
    """
    digit = answer[-1:].isdecimal()
    if digit and behind[:1] in ("\u00a0", "\u2009", "\u202f"):  # spaces that stand inside a number, too
        return None if len(behind) < 4 else not re.match(r"\d{3}(?!\d)", behind[1:])
    if not could_go_on(answer) or not behind or behind[0].isspace():
        return True
    if answer[-1] == ".":
        return not behind[0].isdecimal()
    if "\ufffd" in behind[:2] or (len(behind) < 2 and behind in _UNDECIDED[digit]):
        return None
    # In plain form with something before and behind it, so that no space is lost, and behind a number as it would be.
    return _edge_behind(plain(f"{'1' if digit else 'x'}{behind[:60]}.", fold=False)[1:-1], answer[-1], answer)


@lru_cache(maxsize=4096)
def plain(text: str, fold: bool = True) -> str:
    """Text as it is compared: one form for each letter, digit and sign, white space folded. fold: in small letters.

    >>> plain("\u201cSTRASSE\u201d \u2212\u0663")
    '"strasse" -3'
    """
    text = _RAISED.sub(lambda digits: "^" + unicodedata.normalize("NFKC", digits[0]), _THIN_GROUPS.sub(",", text))
    text = unicodedata.normalize("NFKC", text.translate(_ALIKE)).translate(_ALIKE)
    text = "".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in text)
    return " ".join(unicodedata.normalize("NFC", text.casefold() if fold else text).split())


# --- Numbers -------------------------------------------------------------------------------------------------
def _number_in(wanted: re.Match, text: str) -> bool:
    value = _value(wanted)
    return any(_value(found) == value and (found["unit"] or not wanted["unit"]) for found in _numbers(text))


def _numbers(text: str):
    """Each number of a text that stands by itself: not inside a word, a date, a version or a time."""
    at = 0
    while found := _NUMBER.search(text, at):
        end = found.start("rest")
        if end < 0:
            yield found
            at = found.end()
            continue
        at = end
        if _POWER_OR_MIXED.match(text, end):  # 5^2 and 3 1/2 are other numbers
            at = end + 2
        elif _GOES_ON.match(text, end):
            chain = text[found.start("digits") : _CHAIN.match(text, end).end()]
            at = found.start("digits") + len(chain)
            if re.fullmatch(
                r"\d+(,\d+)+,?", chain
            ):  # 2,4,6,8 is a list; 4:30, 1.2.3 and 11/2/2024 are other kinds of things
                yield from (_NUMBER.fullmatch(part) for part in chain.split(",") if part)
        elif _STOPS.match(text, end) or _UNIT_BEHIND.match(text, end):
            yield found  # the end of a sentence, "4-year-old", "4-5", "4km"


def _value(found: re.Match) -> Fraction:
    digits = found["digits"]
    if re.fullmatch(r"\d{1,3}(?:,\d{2,3})*,\d{3}(?:\.\d+)?", digits):  # 4,000.5 or 1,00,000
        digits = digits.replace(",", "")
    elif re.fullmatch(r"\d{1,3}(?:\.\d{3})+,\d+|\d{1,3}(?:\.\d{3}){2,}", digits):  # 4.000,5 or 1.234.567
        digits = digits.replace(".", "").replace(",", ".")
    # Not cut before this: half a group would be no number. Python refuses to read more than 4,300 digits, and nobody asks for them.
    value = Fraction(digits.replace(",", ".")[:4000])
    if found["fraction"] and (below := int(re.sub(r"\D", "", found["fraction"])[:4000])):
        value /= below
    if power := found["power"]:
        exponent = int((found["exponent"] or power[1:])[:9])
        value *= Fraction(10) ** max(-400, min(400, exponent))
    if found["scale"]:
        value *= _SCALES[found["scale"].strip()]
    return -value if (found["sign"] or "").strip() in ("-", "minus", "negative") else value


# --- Words ---------------------------------------------------------------------------------------------------
def _whole(text: str, start: int, wanted: str) -> bool:
    """Whether ``wanted`` stands at ``start``, and begins and ends where a reader sees a word begin and end."""
    end = start + len(wanted)
    # The cheap look at what stands before goes first: a long answer is compared only where it could begin.
    return (
        _edge_before(text[max(0, start - 60) : start], wanted[0], len(wanted) == 1)
        and text.startswith(wanted, start)
        and _edge_behind(text[end : end + 60], wanted[-1], wanted)
    )


def _edge_before(before: str, first: str, single: bool) -> bool:
    if not before or not _letter(first) or _RUN_ON.match(first):
        return True
    last = before[-1]
    if last == "'" and len(before) > 1 and _letter(before[-2]) and single:
        return False  # the d of I'd
    if last == "_" and len(before) > 1 and _letter(before[-2]):
        return False  # snake_case is one word; _Paris_ is emphasis
    if first.isdigit() and re.search(r"\d[.,]$|(?<!\w)-$", before):
        return False  # the 4 of 0.4 km, of -4 km
    return not _letter(last) or bool(_RUN_ON.match(last)) or bool(_PREFIXES.search(before) and not last.isascii())


def _edge_behind(behind: str, last: str, wanted: str) -> bool:
    if not behind or not _letter(last) or _RUN_ON.match(last):
        return True
    if re.match(r"[+#]+(?![\w+#])", behind):  # C++, C#, A+: the sign belongs to the word
        return False
    if re.match(r"'t(?!\w)|_\w", behind) or (len(wanted) == 1 and re.match(r"'\w", behind)):  # can is not in can't
        return False
    if len(wanted) == 1 and re.match(r"-(?!\w)", behind):  # the grade A-
        return False
    if last.isdigit() and re.match(r"[.,:/^]\d", behind):
        return False
    return not _letter(behind[0]) or bool(_RUN_ON.match(behind[0]))


def _letter(sign: str) -> bool:
    """Letters, digits, and the marks that scripts put on letters."""
    return unicodedata.category(sign)[0] in "LMN"
