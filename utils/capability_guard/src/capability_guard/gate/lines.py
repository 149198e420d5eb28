"""The lines of the gate: what was lost in each capability and in all of them, with bounds, a word and its reason.

Right and wrong is compared by the exact tests of pairs, shares and losses by a bound on their differences that trusts no shape,
and means of which no single outcomes are known by the normal distribution. ``rule`` makes one verdict of the lines.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from capability_guard import statistics as paired
from capability_guard.differences import TIMES, fewest_to_pass, mean_rise
from capability_guard.gate.pairs import Pair, not_made_up, share_of, standing
from capability_guard.jsonl import shown
from capability_guard.measurement import Mean, MeasurementError

PASSED, REGRESSED, UNSURE = "passed", "regressed", "cannot certify"
# 2 is also what the commands return for a file or setting that is wrong: whatever could not be tested must not pass.
EXIT = {PASSED: 0, REGRESSED: 1, UNSURE: 2}
TOGETHER = "all critical together"
ALL_TEXTS = "all critical texts together"
ALL_SHARES = "all critical shares together"
ALL_MEANS = "all critical means together"
WHOLE = (TOGETHER, ALL_SHARES, ALL_TEXTS, ALL_MEANS)
ENDINGS = (" (unpaired)", " (loss)")  # of the gate's own lines


@dataclass(frozen=True)
class Rules:
    """max_drop: points (per cent of the probes) that a capability may lose. max_loss_rise: nats per token that the loss
    of a text may rise by. critical, informational: names of capabilities; whatever neither names is critical, unless
    ``critical`` names some. alpha: the chance of a false alarm, and of a false pass. certify: "together" or "each",
    as ``rule`` says. Raises MeasurementError.

    >>> Rules(max_drop=0)
    Traceback (most recent call last):
    capability_guard.rows.MeasurementError: max_drop is 0; give a number above 0 and below 100: 0 cannot be certified.
    """

    max_drop: float = 5.0
    max_loss_rise: float = 0.05
    critical: tuple[str, ...] = ()
    informational: tuple[str, ...] = ()
    alpha: float = 0.05
    certify: str = "together"

    def __post_init__(self) -> None:
        # Where nothing changed, the upper bound of the drop is above 0 however many probes there are: 0 could not pass.
        for name, most in (("max_drop", 100), ("max_loss_rise", math.inf), ("alpha", 0.5)):
            value = getattr(self, name)
            if not 0 < value < most:
                raise MeasurementError(
                    f"{name} is {value:g}; give a number above 0 and below {most:g}: 0 cannot be certified."
                )
        if self.certify not in ("together", "each"):
            raise MeasurementError(f'certify is {self.certify!r}; give "together" or "each".')
        if both := set(self.critical) & set(self.informational):
            raise MeasurementError(f"{shown(min(both))} is named critical and informational; choose one.")

    @property
    def level(self) -> float:
        """By what chance the upper bound of a drop may be wrong. A loss is beyond chance where p is at most ``alpha``, always.

        >>> Rules(alpha=0.01).level  # of one candidate; where several are judged, ``several`` divides it among them
        0.01
        """
        return self.alpha

    def check_names(self, names: set[str]) -> None:
        """Raises MeasurementError for a name that is not measured: it would match nothing, and what was meant would not decide.

        >>> Rules(critical=("sums",)).check_names({"sums", "capitals"})
        """
        if taken := [name for name in sorted(names) if name in WHOLE or name.endswith(ENDINGS)]:
            raise MeasurementError(
                f"{shown(taken[0])} is what the gate calls a line of its own; give that capability another name."
            )
        if unknown := (set(self.critical) | set(self.informational)) - names:
            raise MeasurementError(
                f"{shown(min(unknown))} is not measured; the capabilities are {', '.join(name[:60] for name in sorted(names)[:20])}."
            )
        if not any(self.decides(name) for name in names):
            raise MeasurementError("Every capability is informational, so nothing would decide; name a critical one.")

    def decides(self, capability: str) -> bool:
        """Whether a capability is critical.

        >>> Rules(informational=["style"]).decides("style"), Rules(critical=["safety"]).decides("style")
        (False, False)
        >>> Rules().decides("style")
        True
        """
        return capability in self.critical if self.critical else capability not in self.informational


@dataclass(frozen=True)
class Comparison:
    """One line of the gate. unit "points": before, after and drop are per cent of the probes; "nats": mean loss, and
    drop is its rise. low, high: bounds of the drop. p: for a loss, corrected where the line decides.

    lost, gained: probes that changed, None where only means are known. needed: about how many probes would settle it.
    budget: what the drop may be, in the same unit. word, why: the verdict on this line, and its reason in a sentence.
    alone: p before it was corrected for there being several lines.

    >>> from capability_guard.measurement import Measurement, Row
    >>> before, after = (Measurement("m", [Row("Hot?", "Cold.", "opposites", right=x)] * 60) for x in (True, False))
    >>> from capability_guard.gate import judge
    >>> row = judge(before, after).comparisons[0]
    >>> row.name, row.before, row.after, row.drop, row.word
    ('opposites', 100.0, 0.0, 100.0, 'regressed')
    """

    name: str
    critical: bool
    unit: str
    probes: int | None
    before: float
    after: float
    drop: float
    low: float
    high: float
    p: float
    budget: float
    lost: int | None = None
    gained: int | None = None
    needed: int | None = None
    word: str = UNSURE
    why: str = ""
    alone: float = 1.0


def grouped(pairs: Iterable[Pair], rules: Rules) -> dict[tuple[str, str], list[Pair]]:
    """The pairs by (capability, kind), critical ones first; and, where several are critical, all of those together.

    kind: "outcomes" (right or wrong), "shares" (how right, from 0 to 1) or "losses" (nats a token).

    >>> from capability_guard.measurement import Row
    >>> rows = [Row(f"{name} {i}?", "yes", name, right=True) for name in ("sums", "art") for i in range(9)]
    >>> {name: len(pairs) for (name, kind), pairs in grouped([(row, row) for row in rows], Rules()).items()}
    {'all critical together': 18, 'art': 9, 'sums': 9}
    """
    kinds = {"loss": "losses", "share": "shares"}
    groups: dict[tuple[str, str], list[Pair]] = {}
    for before, after in pairs:
        groups.setdefault((before.capability, kinds.get(before.measure, "outcomes")), []).append((before, after))
    groups = dict(sorted(groups.items(), key=lambda item: (not rules.decides(item[0][0]), item[0])))
    # Together they see what none of them sees alone: a small loss everywhere. What the baseline does not know can lose nothing,
    # and would only dilute what the others lose.
    whole = {}
    for name, wanted in ((TOGETHER, "outcomes"), (ALL_SHARES, "shares"), (ALL_TEXTS, "losses")):
        deciding = [rows for (capability, kind), rows in groups.items() if kind == wanted and rules.decides(capability)]
        able = [rows for rows in deciding if wanted == "losses" or not _nothing_to_lose(*_known(rows), rules)]
        if len(deciding) > 1:
            whole[name, wanted] = [row for rows in able or deciding for row in rows]
    return {**whole, **groups}


def _known(pairs: list[Pair]) -> tuple[float, float]:
    """(per cent that the baseline has right, per cent that guessing would give): of four choices, a quarter."""
    n = len(pairs)
    guessed = sum(1 / len(row.choices) if row.choices else 0 for row, _ in pairs)
    return 100 * sum(share_of(row) for row, _ in pairs) / n, 100 * guessed / n


def decide(groups: dict[tuple[str, str], list[Pair]], means: list[tuple[Mean, Mean]], rules: Rules) -> list[Comparison]:
    """Every line with its verdict, the critical ones and the wholes first. groups: as ``grouped`` gives them.

    >>> from capability_guard.measurement import Row
    >>> rows = [Row(f"{i}?", "yes", "sums", right=True) for i in range(60)]
    >>> [(line.name, line.word) for line in decide(grouped([(row, row) for row in rows], Rules()), [], Rules())]
    [('sums', 'passed')]
    """
    judged = []  # (line, why no number of such probes could settle it, if so)
    compare = {"outcomes": _outcomes, "shares": _shares, "losses": _losses}
    for (name, kind), pairs in groups.items():
        critical = name in WHOLE or rules.decides(name)
        # A capability may have questions and texts; these are two lines, since points and nats cannot be added.
        label = (
            f"{name} (loss)"
            if kind == "losses" and any((name, other) in groups for other in ("outcomes", "shares"))
            else name
        )
        judged.append(compare[kind](label, critical, pairs, rules))
    deciding = [both for both in means if rules.decides(both[0].name)]
    if len(deciding) > 1:
        judged.append(_unpaired_together(deciding, rules))
    judged += [_unpaired(before, after, rules.decides(before.name), rules) for before, after in means]
    tests = sum(row.critical for row, _ in judged)
    # Only lines that can block take part: an informational one can raise no alarm, so it must not cost power either.
    corrected = iter(paired.holm([row.p for row, _ in judged if row.critical]))
    rows = [
        (replace(row, p=next(corrected), alone=row.p) if row.critical else row, objection) for row, objection in judged
    ]
    return [_word(row, objection, rules, tests if row.critical else 1) for row, objection in rows]


def _outcomes(name: str, critical: bool, pairs: list[Pair], rules: Rules) -> tuple[Comparison, str]:
    """Right and wrong, paired."""
    n = len(pairs)
    lost = sum(before.right and not after.right for before, after in pairs)
    gained = sum(after.right and not before.right for before, after in pairs)
    before, guessed = _known(pairs)  # what is right by guessing cannot be lost
    stood = not_made_up(pairs) if name == TOGETHER else gained
    row = Comparison(
        name, critical, "points", n, before, before + 100 * (gained - lost) / n, 100 * (lost - gained) / n,
        100 * paired.least_lost(n, lost, gained, rules.alpha), 100 * paired.most_lost(n, lost, stood, rules.level),
        paired.mcnemar(lost, gained, "greater"), rules.max_drop, lost, gained,
    )  # fmt: skip
    return row, _nothing_to_lose(before, guessed, rules, row.high)


def _shares(name: str, critical: bool, pairs: list[Pair], rules: Rules) -> tuple[Comparison, str]:
    """How right each answer is, from 0 to 1, paired; an outcome that is right or wrong counts as 1 or 0."""
    n = len(pairs)
    falls = [share_of(before) - share_of(after) for before, after in pairs]
    drop, low, _, p = mean_rise(falls, rules.alpha, reach=1.0)
    held = standing(pairs, falls) if name == ALL_SHARES else falls
    # Equal shares have no spread, and prove no more than equal outcomes.
    high = max(mean_rise(held, rules.level, reach=1.0)[2], paired.most_lost(n, 0, 0, rules.level))
    before, _ = _known(pairs)
    row = Comparison(
        name, critical, "points", n, before, before - 100 * drop, 100 * drop, 100 * low, 100 * high, p, rules.max_drop
    )
    return row, _nothing_to_lose(before, 0, rules, row.high)


def _losses(name: str, critical: bool, pairs: list[Pair], rules: Rules) -> tuple[Comparison, str]:
    """Losses of texts, paired."""
    n, reach = len(pairs), TIMES * rules.max_loss_rise
    rises = [after.loss - before.loss for before, after in pairs]
    mean, low, _, p = mean_rise(rises, rules.alpha, reach)
    high = mean_rise(standing(pairs, rises) if name == ALL_TEXTS else rises, rules.level, reach)[2]
    before = sum(row.loss for row, _ in pairs) / n
    return Comparison(name, critical, "nats", n, before, before + mean, mean, low, high, p, rules.max_loss_rise), ""


def _unpaired(before: Mean, after: Mean, critical: bool, rules: Rules) -> tuple[Comparison, str]:
    """Two means with their standard errors: what is left where no single outcomes are known."""
    drop, low, high, p = _apart(before.value, after.value, before.error, after.error, rules)
    row = Comparison(
        f"{before.name} (unpaired)", critical, "points", before.samples, 100 * before.value, 100 * after.value,
        100 * drop, 100 * low, 100 * high, p, rules.max_drop,
    )  # fmt: skip
    if not before.error or not after.error:
        return row, "a standard error of 0 says nothing about other questions; keep the samples (--log_samples)"
    return row, _nothing_to_lose(row.before, 0, rules, row.high)


def _apart(before: float, after: float, error_before: float, error_after: float, rules: Rules) -> tuple[float, ...]:
    """``unpaired``, each bound at its own level."""
    drop, low, _, p = paired.unpaired(before, after, error_before, error_after, rules.alpha)
    return drop, low, paired.unpaired(before, after, error_before, error_after, rules.level)[2], p


def _unpaired_together(means: list[tuple[Mean, Mean]], rules: Rules) -> tuple[Comparison, str]:
    """Several means as one: each task counts alike, since of some the number of samples is not known."""
    means = [both for both in means if not _nothing_to_lose(100 * both[0].value, 0, rules)] or means
    n = len(means)
    sides = [
        (sum(m.value for m in side) / n, math.sqrt(sum(m.error**2 for m in side)) / n)
        for side in zip(*means, strict=True)
    ]
    (before, error_before), (after, error_after) = sides
    drop, low, _, p = _apart(before, after, error_before, error_after, rules)
    stood = sum(min(b.value, a.value) for b, a in means) / n  # what is gained in one task makes no loss in another good
    high = _apart(before, stood, error_before, error_after, rules)[2]
    row = Comparison(
        ALL_MEANS, True, "points", None, 100 * before, 100 * after, 100 * drop, 100 * low, 100 * high, p, rules.max_drop
    )
    if not all(m.error for both in means for m in both):
        return row, "a standard error of 0 says nothing about other questions; keep the samples (--log_samples)"
    return row, _nothing_to_lose(row.before, 0, rules, row.high)


def _nothing_to_lose(before: float, guessed: float, rules: Rules, high: float = 0.0) -> str:
    """Why these probes can show no loss beyond the budget: the baseline itself does not know them. "" if it does.

    high: the upper bound of the drop; below 0 it is certain that the candidate knows more, and nothing was lost.
    """
    if before - guessed > rules.max_drop or high < 0:
        return ""
    by_chance = f", of which guessing gives {guessed:.0f} %" if guessed else ""
    return (
        f"the baseline itself has only {before:.0f} % right{by_chance}, so a loss of more than "
        f"{rules.max_drop:g} points could not show; ask what it can answer"
    )


def _word(row: Comparison, objection: str, rules: Rules, tests: int) -> Comparison:
    """The line with its verdict, and the sentence that explains it. tests: how many lines share the chance of a false alarm."""
    points, allowed, real = row.unit == "points", f"{row.budget:g} are allowed", row.p <= rules.alpha
    seen, most = (f"{x:.1f} points" if points else f"{x:.3f} nats a token" for x in (row.drop, row.high))
    # In this order: what no number of probes could settle, then a loss that is certain, then one that is ruled out.
    if objection:
        return replace(row, word=UNSURE, why=f"{objection[0].upper()}{objection[1:]}.")
    if real and row.drop > row.budget:
        return replace(row, word=REGRESSED, why=f"A loss of {seen}, beyond chance ({p_text(row.p)}); {allowed}.")
    if row.high <= row.budget:
        held = f"A loss of more than {most} is ruled out; {allowed}." if row.high >= 0 else "It got better."
        note = f" There is a real loss, of {seen} ({p_text(row.p)}): it is inside the budget." if real else ""
        return replace(row, word=PASSED, why=held + note)
    if row.drop > row.budget:
        left = f"A loss of {seen} was seen, but it may be chance ({p_text(row.p)}); {allowed}"
    elif real:
        left = f"A real loss, of {seen} as seen ({p_text(row.p)}), may be up to {most}; {allowed}"
    else:
        left = f"A loss of up to {most} cannot be ruled out; {allowed}"
    needed = _needed(row, rules, tests)
    more = (
        f"It takes at least about {needed} such probes to tell ({row.probes} asked)"
        if needed
        else "More probes would tell"
    )
    return replace(row, word=UNSURE, why=f"{left}. {more}.", needed=needed)


def _needed(row: Comparison, rules: Rules, tests: int) -> int | None:
    """About how many probes would settle a line that is open. To block it takes a p that is small enough even if it is the
    smallest of all ``tests``, which Holm multiplies by their number."""
    if row.lost is None:  # how much more of them would scatter is not known: so many it takes if they do not at all
        fewest = fewest_to_pass(row.budget / 100 if row.unit == "points" else 1 / TIMES, rules.level)
        return fewest if row.drop <= row.budget and (row.probes or fewest) < fewest else None
    if row.drop > row.budget:
        return paired.probes_to_block(row.probes, row.lost, row.gained, rules.alpha / tests)
    return paired.probes_to_pass(row.probes, row.lost, row.gained, row.budget / 100, rules.level)


def p_text(value: float) -> str:
    """A p-value for people.

    >>> p_text(0.0312), p_text(2e-9)
    ('p = 0.031', 'p < 0.001')
    """
    return f"p = {value:.3f}" if value >= 0.001 else "p < 0.001"
