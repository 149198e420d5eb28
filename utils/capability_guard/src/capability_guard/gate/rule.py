"""The rule by which two measurements pass, regress, or leave it open. Nothing here prints or writes.

Each critical capability, and all of them together, gets a word of its own:

    regressed       a loss beyond chance (p, corrected for several, is at most alpha), and the drop that was seen is
                    larger than the budget
    passed          the upper bound of the drop is within the budget, even if some of it is a real loss
    cannot certify  everything between: too few probes to tell, and it says how many would do

The whole has regressed if any of them has. When it *passes* is a choice, ``certify``:

    together        the loss over all critical probes together is bounded by the budget, and no capability shows a regression,
                    or a loss beyond the budget that is beyond chance by itself. What is gained in one capability makes no
                    loss in another good. One with too few probes to be certified by itself is named, and does not block
    each            every critical capability is bounded by the budget by itself

The gate makes two kinds of error, and each has a chance of at most alpha. A false alarm: nothing was lost anywhere, and
some row is called regressed. Any row can raise it, so the p-values are corrected for there being several (Holm). A false
pass: more was lost than the budget, of all critical probes ("together") or in some capability ("each"), and the gate passes.
For that the very row of which this is true must pass, so bounds at alpha need no correction (intersection-union test, Berger
1982, doi 10.1080/00401706.1982.10487790). Where the best of several candidates is chosen on the same probes, that chance is
divided among them: ``several`` says how, and why. What "together" may miss is a loss in one small capability; ``unseen_loss``
says how large it can be. Informational capabilities are shown, and decide nothing.

Losses of texts have no largest value, and no bound on a mean can do without one. So these chances hold as long as no text's
loss moves by more than 20 times the budget, or than the one that moved most (``differences``); 59 texts are the fewest that can
pass. Of rises that are rarer and larger still (one text in fifty by 50 times the budget), 100 texts let one in eight pass. Means
without samples are taken for normal.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from scipy.stats import binom

from capability_guard import statistics as paired
from capability_guard.formats.directions import undirected
from capability_guard.gate.allowed import ALL_MEANS, ALL_SHARES, ALL_TEXTS, TOGETHER, WHOLE, Rules
from capability_guard.gate.comparison import EXIT, PASSED, REGRESSED, UNSURE, Comparison
from capability_guard.gate.lines import decide, grouped, p_text, short_of_baseline
from capability_guard.gate.pairs import Lost, notes, pair, pair_means, worst
from capability_guard.gate.texts import task_losses
from capability_guard.measurement import Measurement
from capability_guard.power import smallest_drop

__all__ = [
    "EXIT",
    "PASSED",
    "REGRESSED",
    "TOGETHER",
    "UNSURE",
    "Comparison",
    "Decision",
    "Rules",
    "deciding",
    "judge",
    "judge_by",
    "p_text",
    "unseen_loss",
]


@dataclass(frozen=True)
class Decision:
    """The gate's verdict: ``word`` for people, ``exit_code`` for machines, and all that it rests on.

    >>> print(Decision(PASSED, "No loss larger than is allowed: arithmetic."))
    PASSED: No loss larger than is allowed: arithmetic.
    """

    word: str
    why: str
    rules: Rules = field(default_factory=Rules)
    comparisons: tuple[Comparison, ...] = ()
    lost: tuple[Lost, ...] = ()
    notes: tuple[str, ...] = ()
    baseline: Measurement | None = None
    candidate: Measurement | None = None

    @property
    def learned(self) -> float | None:
        """By how much the new task's loss fell, as a share of what it was: 0.5 means halved. None where it was not measured.

        >>> Decision(PASSED, "No loss larger than is allowed: arithmetic.").learned is None
        True
        """
        losses = task_losses(self.baseline, self.candidate)
        return 1 - losses[1] / losses[0] if losses is not None and losses[0] else None

    @property
    def exit_code(self) -> int:
        """0 passed, 1 regressed, 2 cannot certify.

        >>> Decision(UNSURE, "Open: arithmetic.").exit_code
        2
        """
        return EXIT[self.word]

    def __str__(self) -> str:
        return f"{self.word.upper()}: {self.why}"


def judge(
    baseline: Measurement,
    candidate: Measurement,
    *,
    max_drop: float = 5.0,
    max_loss_rise: float = 0.05,
    critical: Sequence[str] = (),
    informational: Sequence[str] = (),
    alpha: float = 0.05,
    certify: str = "together",
    **more,
) -> Decision:
    """Compare a candidate with its baseline; ``Rules`` says what the settings mean, and what else may be given.

    ``**read_policy("guard.toml")``, from ``capability_guard.gate.policy``, gives all of them from a file.
    Raises MeasurementError, one sentence, when the two cannot be compared: then nothing is certified either.

    >>> from capability_guard.probes import Probe
    >>> probes = [Probe(f"What is {n}+1?", f"{n + 1}.", "arithmetic") for n in range(40)]
    >>> base, tuned = Measurement.of(probes, [True] * 40, model="base"), Measurement.of(probes, [True] * 40, model="tuned")
    >>> print(judge(base, tuned))  # 40 of 40 held, and that is too few to promise 5 points
    CANNOT CERTIFY: 40 probes can show a drop of 20 points or more. Open: arithmetic. A loss of up to 7.2 points cannot be
    ruled out; 5 are allowed. It takes at least about 59 such probes to tell (40 asked).
    """
    rules = Rules(max_drop, max_loss_rise, tuple(critical), tuple(informational), alpha, certify, **more)
    return judge_by(rules, baseline, candidate)


def judge_by(rules: Rules, baseline: Measurement, candidate: Measurement) -> Decision:
    """``judge`` with the settings in one piece. Raises MeasurementError.

    >>> from capability_guard.measurement import Row
    >>> base, tuned = (Measurement(name, [Row("Hot?", "Cold.", "opposites", right=True)] * 60) for name in ("base", "tuned"))
    >>> judge_by(Rules(max_drop=5), base, tuned).word, judge_by(Rules(max_drop=3), base, tuned).word
    ('passed', 'cannot certify')
    """
    rules.check_measured("baseline", baseline)
    rules.check_measured("candidate", candidate)
    pairs = pair(baseline, candidate)
    means = pair_means(baseline, candidate)
    rules.check_names({before.capability for before, _ in pairs} | {before.name for before, _ in means})
    unknown = undirected(baseline.settings)
    comparisons = decide(grouped(pairs, rules, unknown), means, rules, unknown)
    word, why = _verdict([row for row in comparisons if row.critical], rules)
    return Decision(
        word,
        why,
        rules,
        tuple(comparisons),
        tuple(worst(pairs, rules.decides)),
        (*notes(baseline, candidate), *_within_noise(comparisons, baseline, candidate)),
        baseline,
        candidate,
    )


def _verdict(critical: list[Comparison], rules: Rules) -> tuple[str, str]:
    """The word for all of them, and a sentence that names those that it comes from."""
    if rows := [row for row in critical if row.word == REGRESSED]:
        return (
            REGRESSED,
            f"Worse by more than is allowed: {_listed(rows)}. {rows[-1].why if len(rows) == 1 else ''}".strip(),
        )
    if rows := [row for row in deciding(critical, rules) if row.word == UNSURE]:
        return UNSURE, f"{_what_shows(rows)}Open: {_listed(rows)}. {rows[-1].why if len(rows) == 1 else ''}".strip()
    passed = [row for row in critical if row.word == PASSED]
    said = f"No loss larger than is allowed: {_listed(passed)}."
    if unable := [row for row in critical if row.word == UNSURE and row.unable]:
        said += f" Cannot show a loss: {'; '.join(f'{row.name} ({row.unable})' for row in unable[:6])}"
        said += f" and {len(unable) - 6} more." if len(unable) > 6 else "."
    if small := [row for row in critical if row.word == UNSURE and not row.unable]:
        said += f" Too few probes to certify by itself: {'; '.join(_alone(row) for row in small[:6])}"
        said += f" and {len(small) - 6} more." if len(small) > 6 else "."
    return PASSED, said


def deciding(critical: list[Comparison], rules: Rules) -> list[Comparison]:
    """The lines that must pass for the whole to pass. critical: those of the critical capabilities, and the wholes.

    >>> lines = [Comparison(name, True, "points", 60, 100, 100, 0, 0, 4.9, 1.0, 5, lost=0) for name in (TOGETHER, "sums")]
    >>> [[row.name for row in deciding(lines, Rules(certify=each))] for each in ("together", "each")]
    [['all critical together'], ['all critical together', 'sums']]
    """
    # Of each kind the whole, or the only capability; what must pass by itself; and any that looks much worse by itself.
    there = {row.name for row in critical}
    return [
        row
        for row in critical
        if row.name in WHOLE
        or _whole_of(row) not in there
        or rules.alone(row.name)
        or row.blocks
        or short_of_baseline(row, rules)
        or _suspect(row, rules)
    ]


def _whole_of(row: Comparison) -> str:
    """The line of all of its kind together."""
    if row.name.endswith("(unpaired)"):
        return ALL_MEANS
    return ALL_TEXTS if row.unit == "nats" else TOGETHER if row.lost is not None else ALL_SHARES


def _suspect(row: Comparison, rules: Rules) -> bool:
    """More was lost than is allowed, and by itself it is beyond chance: only the correction for many lines keeps it open."""
    return row.drop > row.budget and row.alone <= rules.alpha


def _alone(row: Comparison) -> str:
    """A capability that passes with the others and not by itself, with what it would take."""
    takes = f", it takes about {row.needed}" if row.needed else ""
    return f"{row.name} ({row.probes} asked{takes})" if row.probes is not None else row.name


def _what_shows(rows: list[Comparison]) -> str:
    """With few probes, first what they can see at all."""
    asked = max((row.probes or 0 for row in rows if row.unit == "points"), default=0)
    if not 0 < asked < 100 or any(row.lost is None for row in rows):
        return ""
    return f"{asked} probes can show a drop of {math.ceil(smallest_drop(asked))} points or more. "


def unseen_loss(probes: int, of: int, budget: float = 5.0, alpha: float = 0.05, chance: float = 0.8) -> float:
    """How many points a capability of ``probes`` may lose, unseen with this ``chance``, where all ``of`` are certified together.

    Nothing is lost elsewhere and nothing gained. Unseen: its own line is not beyond chance, and the whole stays within its bound.
    By the exact binomial chances, in steps of half a point.

    >>> unseen_loss(30, of=360)
    10.0
    """
    unseen = 0.0
    for points in (x / 2 for x in range(1, 201)):
        quiet = sum(
            binom.pmf(k, probes, points / 100)
            for k in range(probes + 1)
            if (100 * k / probes <= budget or paired.mcnemar(k, 0, "greater") > alpha)
            and 100 * paired.most_lost(of, k, 0, alpha) <= budget
        )
        if quiet < chance:
            break
        unseen = points
    return unseen


def _within_noise(rows: list[Comparison], baseline: Measurement, candidate: Measurement) -> list[str]:
    """A note on each drop that is no larger than what flips when the same model is only asked in another way."""
    said = []
    for row in rows:
        flips = [
            m.noise.get(row.name, sum(m.noise.values()) if row.name == TOGETHER else 0)
            for m in (baseline, candidate)
            if m.noise
        ]
        if flips and row.lost is not None and 0 < row.lost - row.gained <= max(flips):
            said.append(
                f"{row.name}: {row.lost - row.gained} lost net, and up to {max(flips)} flip when the same model is only asked in "
                "other batches or in bfloat16: the drop is within that noise."
            )
    return said


def learned_text(decision: Decision) -> str:
    """What was gained beside what was lost, in words.

    >>> before, after = ({"loss": loss, "texts": 24, "fingerprint": "x"} for loss in (3.0, 1.2))
    >>> from capability_guard.measurement import Row
    >>> base, tuned = (Measurement("m", [Row("Hot?", "Cold.", "opposites", right=True)] * 60, task=t) for t in (before, after))
    >>> learned_text(judge(base, tuned))
    'the loss on the new task fell from 3.00 to 1.20 nats a token (60 % learned)'
    """
    before, after = task_losses(decision.baseline, decision.candidate)
    moved = "fell" if after < before else "rose" if after > before else "stayed"
    share = f" ({decision.learned:.0%} learned)".replace("%", " %") if after < before else ""
    return f"the loss on the new task {moved} from {before:.2f} to {after:.2f} nats a token{share}"


def _listed(rows: list[Comparison], most: int = 6) -> str:
    names = [row.name for row in rows if row.name not in WHOLE] or [row.name for row in rows]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
