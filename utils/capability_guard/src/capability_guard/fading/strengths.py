"""How far to turn a fine-tuning down: the largest strength that keeps within the budget, and how sure that is.

To choose is to fit. So one half of the probes chooses, and the other, which had no part in it, reports. A strength keeps
within the budget if the gate passes it: its rule then rules a larger loss out, so that the gate is likely to pass the model. The
strengths are tried from below, and the first that does not pass ends the choice, even where a larger one would: the more
strengths may be picked from, the likelier one passes by luck. In this order none is, and no correction is needed: a strength
with a larger true loss is chosen at most as often as the gate passes one, alpha, which is one time in twenty (fixed sequence
testing; Angelopoulos et al. 2021, "Learn then Test", arXiv 2110.01052).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from capability_guard.asking import ask, encode_probes, score
from capability_guard.chat import Chat
from capability_guard.encoding import context_length, encode
from capability_guard.fading.halves import check_half, halves, rules_of_half, whole
from capability_guard.fading.methods import FadingError, checked
from capability_guard.fading.parts import Base, base_weights
from capability_guard.fading.turning import fade
from capability_guard.gate.rule import PASSED, REGRESSED, Decision, Rules, judge_by
from capability_guard.measurement import Measurement
from capability_guard.measuring import measure
from capability_guard.probes import CONTAINS_TOKENS, Probe
from capability_guard.verdict import Verdict, compare

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

STRENGTHS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


@dataclass(frozen=True)
class Step:
    """One strength on the half that chooses. drop: points lost. most: points that may have been lost, at the level alpha.

    passed: whether that is within the budget. learned: share by which the new task's loss fell, if that was measured.

    >>> Step(0.5, drop=1.1, most=3.6, passed=True, learned=0.71).passed
    True
    """

    strength: float
    drop: float
    most: float
    passed: bool
    learned: float | None = None


@dataclass(frozen=True)
class BestStrength:
    """strength: the largest within the budget; 0, the base itself, where none is. curve: each strength that was tried, ascending.

    report: what was lost at that strength on the other half, with its 95 % interval. decision: what the gate says of that half.
    choosing, reporting: how many probes each half has. learned, learned_whole: share by which the new task's loss fell, at that
    strength and at 1.

    >>> verdict = compare([True] * 90, [True] * 89 + [False])
    >>> print(BestStrength(0.5, {}, verdict, Decision(PASSED, ""), 90, 90, learned=0.71, learned_whole=0.76))
    strength 0.5: on the 90 probes that had no part in the choice, 1.1 points are lost (95 % interval -3.3 to 6.0); the new task's
    loss fell by 71 %, and by 76 % at strength 1
    """

    strength: float
    curve: dict[float, Step]
    report: Verdict
    decision: Decision
    choosing: int
    reporting: int
    learned: float | None = None
    learned_whole: float | None = None

    def __str__(self) -> str:
        if not self.strength:
            first = next(iter(self.curve.values()))
            return (
                f"no strength is within the budget: at {first.strength:g}, the lowest, {first.drop:.1f} points are lost, and up to "
                f"{first.most:.1f} may be"
            )
        lost = f"{self.report.drop:.1f} points are lost (95 % interval {self.report.low:.1f} to {self.report.high:.1f})"
        said = f"strength {self.strength:g}: on the {self.reporting} probes that had no part in the choice, {lost}"
        if self.learned is None:
            return said
        falls = f"{self.learned:.0%}, and by {self.learned_whole:.0%} at strength 1".replace("%", " %")
        return f"{said}; the new task's loss fell by {falls}"


def best_strength(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    probes: Sequence[Probe],
    max_drop: float = 5.0,
    *,
    base: Base = None,
    strengths: Sequence[float] = STRENGTHS,
    certain: bool = True,
    task: Sequence[str] | None = None,
    chat: bool | Chat = False,
    max_new_tokens: int = CONTAINS_TOKENS,
    repeat: bool = False,
    base_tokenizer: PreTrainedTokenizerBase | None = None,
    each: Callable[[Step], None] | None = None,
    **rules,
) -> BestStrength:
    """The largest strength at which no more than ``max_drop`` points are lost, chosen on one half of the probes.

    Each strength is tried (``fade``), and the model is as it was afterwards. One half must be able to pass the gate: for 5
    points, 59 probes a half, if none is lost.
    base: as in ``fade``. strengths: what may be chosen. certain: False chooses by the drop as it was seen, which keeps more of
    what was learned and takes fewer probes; the gate may then not certify the model. task: held-out texts of the new task, whose
    loss says what is left of what was learned. chat, max_new_tokens, repeat: as in ``measure``. base_tokenizer: what the base is
    asked with, where the tuned model brings a tokenizer or a template of its own. each: called after each strength. rules: those
    of ``judge``.
    Raises FadingError where the model cannot be faded or the probes can show nothing, DataError for a faulty probe, and
    MeasurementError for rules that cannot be, or a model that gives no numbers.

    >>> from peft import LoraConfig, get_peft_model
    >>> from capability_guard.probes import load_probes
    >>> tuned = get_peft_model(model, LoraConfig(fan_in_fan_out=True))  # untrained, so nothing is lost
    >>> best_strength(tuned, tokenizer, load_probes(PROBES), max_drop=60, strengths=[0.5, 1], informational=["plain text"]).strength
    1.0
    """
    limits = Rules(max_drop=max_drop, **{name: tuple(x) if isinstance(x, list) else x for name, x in rules.items()})
    tried = sorted({checked(strength) for strength in strengths} - {0.0})
    if not tried:
        raise FadingError("There is no strength above 0 to try; give some, as 0.2, 0.5 and 1.")
    limits.check_names({probe.capability for probe in probes})
    if base is not None:
        base = base_weights(base)  # read once, and not for each strength
    choosing, reporting = halves(probes)
    to_choose, to_report = (rules_of_half(half, limits) for half in (choosing, reporting))
    how = {"chat": chat, "max_new_tokens": max_new_tokens}
    asked = _Asked(model, tokenizer, choosing, task, base, **how)
    of_base = asked if base_tokenizer is None else _Asked(model, base_tokenizer, choosing, task, base, **how)
    with fade(model, 0, base=base):
        report = [measure(model, base_tokenizer or tokenizer, reporting, name="base", task=task, repeat=repeat, **how)]
    before, start = of_base.at(0)
    check_half(before, to_choose, certain)
    check_half(report[0], to_report, certain)

    curve: dict[float, Step] = {}
    for strength in tried:
        after, loss = asked.at(strength)
        decision = judge_by(to_choose, before, after)
        line, passed = whole(decision), decision.word == PASSED if certain else within(decision)
        curve[strength] = Step(strength, line.drop, line.high, passed, None if loss is None else 1 - loss / start)
        if each is not None:
            each(curve[strength])
    chosen = 0.0
    for step in curve.values():
        if not step.passed:
            break
        chosen = step.strength

    with fade(model, chosen, base=base):
        name = f"strength {chosen:g}"
        now = (tokenizer if chosen else base_tokenizer) or tokenizer
        report.append(measure(model, now, reporting, name=name, task=task, repeat=repeat, **how))
    outcomes = [[row.right for row in side.rows if limits.decides(row.capability)] for side in report]
    learned = {0.0: None if start is None else 0.0} | {step.strength: step.learned for step in curve.values()}
    if start is not None and 1.0 not in learned:
        learned[1.0] = 1 - asked.at(1)[1] / start
    return BestStrength(chosen, curve, compare(*outcomes), judge_by(to_report, *report), len(choosing), len(reporting),
                        learned[chosen], learned.get(1.0))  # fmt: skip


def within(decision: Decision) -> bool:
    """Whether no more was lost than is allowed, as it was seen: neither in all, nor beyond chance in one capability.

    >>> base, tuned = (Measurement.of([Probe("Hot?", "Cold.", "x")], [right], model=str(right)) for right in (True, False))
    >>> within(judge_by(Rules(), base, base)), within(judge_by(Rules(), base, tuned))
    (True, False)
    """
    return decision.word != REGRESSED and whole(decision).drop <= whole(decision).budget


class _Asked:
    """A model that is asked the same at one strength after another: the questions and texts are made tokens once."""

    def __init__(self, model, tokenizer, probes, task, base, chat, max_new_tokens) -> None:
        self._model, self._tokenizer, self._probes, self._base, self._chat = model, tokenizer, probes, base, bool(chat)
        longest = context_length(model)
        self._tokens = encode_probes(tokenizer, probes, longest, chat, max_new_tokens)
        self._texts = encode(tokenizer, list(task), longest) if task else None

    def at(self, strength: float) -> tuple[Measurement, float | None]:
        """(what is right, without what was said; the loss on the new task, nats a token)."""
        with fade(self._model, strength, base=self._base):
            scores = ask(self._model, self._tokenizer, self._tokens)
            loss = score(self._model, self._texts).mean_loss if self._texts else None
        name = f"strength {strength:g}"
        return Measurement.of(self._probes, scores.correct, scores.loss, model=name, chat=self._chat), loss
