"""The lines of the gate: what was lost in each capability and in all of them, with bounds, a word and its reason.

Right and wrong is compared by the exact tests of pairs, shares and losses by a bound on their differences that trusts no shape,
and means of which no single outcomes are known by the normal distribution. ``rule`` makes one verdict of the lines.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from capability_guard import statistics as paired
from capability_guard.differences import TIMES, fewest_to_pass, mean_rise
from capability_guard.gate.allowed import ALL_MEANS, ALL_SHARES, ALL_TEXTS, TOGETHER, WHOLE, Rules
from capability_guard.gate.comparison import PASSED, REGRESSED, UNSURE, Comparison
from capability_guard.gate.objections import directed, nothing_to_lose, unable
from capability_guard.gate.pairs import Pair, not_made_up, share_of, standing
from capability_guard.measurement import Mean

NONE: Mapping[str, str] = MappingProxyType({})


def grouped(
    pairs: Iterable[Pair], rules: Rules, undirected: Mapping[str, str] = NONE
) -> dict[tuple[str, str], list[Pair]]:
    """The pairs by (capability, kind), critical ones first; and, where several are critical, all of those together.

    kind: "outcomes" (right or wrong), "shares" (how right, from 0 to 1) or "losses" (nats a token). undirected: the capabilities of
    which nothing tells which way is better, with how to say it; they are in no whole.

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
        deciding = [
            rows
            for (capability, kind), rows in groups.items()
            if kind == wanted and rules.decides(capability) and capability not in undirected
        ]
        able = [rows for rows in deciding if wanted == "losses" or not nothing_to_lose(*_known(rows), rules.max_drop)]
        if len(deciding) > 1:
            whole[name, wanted] = [row for rows in able or deciding for row in rows]
    return {**whole, **groups}


def _known(pairs: list[Pair]) -> tuple[float, float]:
    """(per cent that the baseline has right, per cent that guessing would give): of four choices, a quarter."""
    n = len(pairs)
    guessed = sum(1 / len(row.choices) if row.choices else 0 for row, _ in pairs)
    return 100 * sum(share_of(row) for row, _ in pairs) / n, 100 * guessed / n


def decide(
    groups: dict[tuple[str, str], list[Pair]],
    means: list[tuple[Mean, Mean]],
    rules: Rules,
    undirected: Mapping[str, str] = NONE,
) -> list[Comparison]:
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
        judged.append(directed(*compare[kind](label, critical, pairs, rules), undirected.get(name, "")))
    deciding = [both for both in means if rules.decides(both[0].name) and both[0].name not in undirected]
    if len(deciding) > 1:
        judged.append(_unpaired_together(deciding, rules))
    for before, after in means:
        line = _unpaired(before, after, rules.decides(before.name), rules)
        judged.append(directed(*line, undirected.get(before.name, "")))
    tests = sum(row.critical for row, _ in judged)
    # Only lines that can block take part: an informational one can raise no alarm, so it must not cost power either.
    corrected = iter(paired.holm([row.p for row, _ in judged if row.critical]))
    rows = [
        (replace(row, p=next(corrected), alone=row.p) if row.critical else row, objection) for row, objection in judged
    ]
    rows = [(unable(row, objection, rules) if objection else row, objection) for row, objection in rows]
    return [_word(row, objection, rules, tests if row.critical else 1) for row, objection in rows]


def _outcomes(name: str, critical: bool, pairs: list[Pair], rules: Rules) -> tuple[Comparison, str]:
    """Right and wrong, paired."""
    n = len(pairs)
    lost = sum(before.right and not after.right for before, after in pairs)
    gained = sum(after.right and not before.right for before, after in pairs)
    before, guessed = _known(pairs)  # what is right by guessing cannot be lost
    stood = not_made_up(pairs) if name == TOGETHER else gained
    drop, right = 100 * (lost - gained) / n, sum(bool(row.right) for row, _ in pairs)
    budget, high = rules.budget(name).points(
        drop,
        rules.level,
        known=lambda level: 100 * paired.least_share(right, n, level),
        high=lambda level: 100 * paired.most_lost(n, lost, stood, level),
    )
    row = Comparison(
        name, critical, "points", n, before, before - drop, drop, 100 * paired.least_lost(n, lost, gained, rules.alpha), high,
        paired.mcnemar(lost, gained, "greater"), budget, lost, gained,
    )  # fmt: skip
    return row, _objection(row, guessed, rules)


def _shares(name: str, critical: bool, pairs: list[Pair], rules: Rules) -> tuple[Comparison, str]:
    """How right each answer is, from 0 to 1, paired; an outcome that is right or wrong counts as 1 or 0."""
    n = len(pairs)
    falls = [share_of(before) - share_of(after) for before, after in pairs]
    drop, low, _, p = mean_rise(falls, rules.alpha, reach=1.0)
    held = standing(pairs, falls) if name == ALL_SHARES else falls
    budget, high = rules.budget(name).points(
        100 * drop,
        rules.level,
        known=lambda level: 100 * mean_rise([share_of(before) for before, _ in pairs], level, reach=1.0)[1],
        # Equal shares have no spread, and prove no more than equal outcomes.
        high=lambda level: 100 * max(mean_rise(held, level, reach=1.0)[2], paired.most_lost(n, 0, 0, level)),
    )
    before, _ = _known(pairs)
    row = Comparison(name, critical, "points", n, before, before - 100 * drop, 100 * drop, 100 * low, high, p, budget)
    return row, _objection(row, 0, rules)


def _losses(name: str, critical: bool, pairs: list[Pair], rules: Rules) -> tuple[Comparison, str]:
    """Losses of texts, paired."""
    budget = rules.budget(name).max_loss_rise
    n, reach = len(pairs), TIMES * budget
    rises = [after.loss - before.loss for before, after in pairs]
    mean, low, _, p = mean_rise(rises, rules.alpha, reach)
    high = mean_rise(standing(pairs, rises) if name == ALL_TEXTS else rises, rules.level, reach)[2]
    before = sum(row.loss for row, _ in pairs) / n
    return Comparison(name, critical, "nats", n, before, before + mean, mean, low, high, p, budget), ""


def _unpaired(before: Mean, after: Mean, critical: bool, rules: Rules) -> tuple[Comparison, str]:
    """Two means with their standard errors: what is left where no single outcomes are known."""
    name = f"{before.name} (unpaired)"
    errors = before.error, after.error
    return _of_means(name, critical, before.samples, before.value, after.value, after.value, errors, rules)


def _unpaired_together(means: list[tuple[Mean, Mean]], rules: Rules) -> tuple[Comparison, str]:
    """Several means as one: each task counts alike, since of some the number of samples is not known."""
    means = [both for both in means if not nothing_to_lose(100 * both[0].value, 0, rules.max_drop)] or means
    n = len(means)
    before, after = (sum(m.value for m in side) / n for side in zip(*means, strict=True))
    errors = [math.sqrt(sum(m.error**2 for m in side)) / n for side in zip(*means, strict=True)]
    stood = sum(min(b.value, a.value) for b, a in means) / n  # what is gained in one task makes no loss in another good
    if not all(m.error for both in means for m in both):
        errors[0] = 0.0
    return _of_means(ALL_MEANS, True, None, before, after, stood, errors, rules)


def _of_means(
    name: str,
    critical: bool,
    samples: int | None,
    before: float,
    after: float,
    stood: float,
    errors: Sequence[float],
    rules: Rules,
) -> tuple[Comparison, str]:
    """A line from two means, 0 to 1. stood: the candidate's, without what makes no loss good. errors: 0 where one is not known."""
    drop, low, _, p = paired.unpaired(before, after, *errors, rules.alpha)
    budget, high = rules.budget(name).points(
        100 * drop,
        rules.level,
        known=lambda level: 100 * paired.unpaired(before, 0.0, errors[0], 0.0, level)[1],
        high=lambda level: 100 * paired.unpaired(before, stood, *errors, level)[2],
    )
    row = Comparison(
        name, critical, "points", samples, 100 * before, 100 * after, 100 * drop, 100 * low, high, p, budget
    )
    if not all(errors):
        row = replace(row, p=1.0)  # without a spread nothing is beyond chance
        return row, "a standard error of 0 says nothing about other questions; keep the samples (--log_samples)"
    return row, _objection(row, 0, rules)


def _objection(row: Comparison, guessed: float, rules: Rules) -> str:
    """Why no number of such probes could settle a line; "" if some could."""
    return nothing_to_lose(row.before, guessed, row.budget, row.high)


def _word(row: Comparison, objection: str, rules: Rules, tests: int) -> Comparison:
    """The line with its verdict, and the sentence that explains it. tests: how many lines share the chance of a false alarm."""
    points, allowed, real = row.unit == "points", f"{row.budget:.3g} are allowed", row.p <= rules.alpha
    seen, most = (f"{x:.1f} points" if points else f"{x:.3f} nats a token" for x in (row.drop, row.high))
    # In this order: a loss that is certain, then what no number of probes could settle, then a loss that is ruled out.
    if real and row.drop > row.budget:
        return replace(row, word=REGRESSED, why=f"A loss of {seen}, beyond chance ({p_text(row.p)}); {allowed}.")
    if objection:
        return replace(row, word=UNSURE, why=f"{objection[0].upper()}{objection[1:]}.")
    if short_of_baseline(row, rules):
        least = f"{rules.budget(row.name).min_baseline:g}"
        said = f"The baseline has {row.before:.1f} % right, and the policy asks for at least {least}; ask what it can answer."
        return replace(row, word=UNSURE, why=said)
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
        able = row.drop <= row.budget and fewest <= paired.MOST
        return fewest if able and (row.probes or fewest) < fewest else None
    if row.drop > row.budget:
        return paired.probes_to_block(row.probes, row.lost, row.gained, rules.alpha / tests)
    relative = row.budget != rules.budget(row.name).max_drop  # which has half the chance
    level = rules.level / 2 if relative else rules.level
    return paired.probes_to_pass(row.probes, row.lost, row.gained, row.budget / 100, level)


def short_of_baseline(row: Comparison, rules: Rules) -> bool:
    """Whether the baseline has fewer right than the rules ask for.

    >>> row = Comparison("sums", True, "points", 60, 40.0, 40.0, 0, 0, 4.9, 1.0, 5, lost=0)
    >>> short_of_baseline(row, Rules(min_baseline=60)), short_of_baseline(row, Rules())
    (True, False)
    """
    return row.unit == "points" and row.before < rules.budget(row.name).min_baseline


def p_text(value: float) -> str:
    """A p-value for people.

    >>> p_text(0.0312), p_text(2e-9)
    ('p = 0.031', 'p < 0.001')
    """
    return f"p = {value:.3f}" if value >= 0.001 else "p < 0.001"
