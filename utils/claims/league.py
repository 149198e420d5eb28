"""The league of remedies, stated before any of its runs was made: claims 9 to 13, with the rule of ``experiments.py``.

**Runs.** Practice model, seeds 11 to 13: the plain curve, each remedy at four rates, full fine-tuning, and the smaller sibling;
SmolLM2, seeds 11 to 13: the plain curve, the fader, and the five remedies that spared most at 72 % learned on the practice model
(``best``). A run is measured once, at its end: every probe, and all 24 held-out dialogues. What only changes finished weights
(a strength, graded, no_intruders) is read off the trained run of the same seed; nothing is trained for it.
Known by then: the prototypes of most of these remedies with dropout 0.3 and two other seeds, and some figures without dropout.

**Measure.** *Spared*: the points that the plain curve loses where it has learned so much, less those that the remedy's own curve
loses there; each by a straight line between settings in the order of what they learned. A remedy's curve is over four rates; the
fader's is over nine strengths of one rate. Such a line lies above what a setting in between would lose: with four rates to the
plain curve's ten, that errs against the remedy. On the practice model "so much" is 72 %; elsewhere it is what a named plain
setting learned. Both come from the new task's loss alone: no probe of these runs has chosen a rate, a strength or a weight. The
weights are the remedies' defaults, and they and 72 % come from prototypes that looked at forgetting; a weight that suits better
may exist. A curve ends at the setting that learns most. (Changed after results were seen: see data/claims/README.md.) A curve
that never learns so much, or always more, is *not comparable*: nothing can be read off. A setting of which a seed diverged is
left out of its curve.

**Decision.** As in ``experiments.py``; Holm's correction runs over all contrasts below that count, for each model. Where a claim
says "nearly as good", it is that at most 3 points more are lost (``NEARLY``): the interval has to clear that line.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from utils.claims.experiments import BASE, MATTERS, SMOL_CURVE, Claim, Contrast, at_rates
from utils.training.config import FineTuneConfig
from utils.training.remedies import REMEDIES

if TYPE_CHECKING:
    from utils.claims.samples import Sample

Curve = tuple[FineTuneConfig, ...]
AT = 72.0  # per cent learned, where the league of the practice model is read off
NEARLY = MATTERS  # points
STRENGTHS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
RATES = (5e-3, 8e-3, 1.3e-2, 2e-2)  # of a remedy
FEWER = RATES[:3]  # of a small share of replay: it learns as much as the plain run
SEEDS = (11, 12, 13)  # as many as were run so far; five are planned, and `make claims` adds them when they stand here


def faded(trained: FineTuneConfig) -> Curve:
    """One trained run at each strength."""
    return tuple(trained.with_(strength=strength) for strength in STRENGTHS)


# --- Settings -------------------------------------------------------------------------------------------------------
PLAIN = at_rates(BASE, 1.5e-3, 3e-3, 4e-3, 4.5e-3, 5e-3, 5.7e-3, 6.5e-3, 8e-3, 1.3e-2, 2e-2)
SHARES = {0.01: FEWER, 0.05: FEWER, 0.25: RATES}  # of replay, with the rates of each
REAL = {share: at_rates(BASE.with_(replay=share), *rates) for share, rates in SHARES.items()}
OWN, STEMS = (
    {share: at_rates(BASE.with_(remedy=remedy, remedy_weight=share), *rates) for share, rates in SHARES.items()}
    for remedy in ("own_replay", "stem_replay")
)
_PISSA_RATES = (2e-4, 5e-4, 1e-3, 2e-3, 4e-3)  # it starts with the largest part of each weight in its hands
_RATES_OF = {"pissa": _PISSA_RATES, "dft": RATES[:2], "mask_surprising": RATES[:2]}  # two learn too little at any rate
WITH = {name: at_rates(BASE.with_(remedy=name), *_RATES_OF.get(name, RATES))
        for name in REMEDIES if name not in ("own_replay", "stem_replay")}  # fmt: skip
STRONGER = {name: at_rates(BASE.with_(remedy=name, remedy_weight=1.0), *RATES) for name in ("graded", "no_intruders")}
TRAINED = {rate: BASE.with_(learning_rate=rate) for rate in (8e-3, 1.3e-2, 2e-2)}  # for the fader
FADED = {rate: faded(config) for rate, config in TRAINED.items()}
RECKLESS = FADED[1.3e-2]  # the preset's rate: the one that counts
REPLAY_FADED = faded(TRAINED[1.3e-2].with_(replay=0.25))
KL_FADED = faded(TRAINED[1.3e-2].with_(remedy="kl"))

FULL = at_rates(BASE.with_(method="full"), 3e-4, 5e-4, 8e-4, 1e-3, 1.5e-3, 3e-3)
FULL_AT, FULL_FADED = FULL[2], faded(BASE.with_(method="full", learning_rate=1.5e-3))
_SMALL = BASE.with_(model="practice-small")
SMALL = at_rates(_SMALL, 1.5e-3, 2e-3, 3e-3, 4e-3, 5e-3, 6.5e-3, 8e-3, 1.3e-2)
SMALL_AT, SMALL_FADED = SMALL[4], faded(_SMALL.with_(learning_rate=1.3e-2))

_SMOL = SMOL_CURVE[0].with_(evaluate_every=24)  # 24 steps of 4 rows, LoRA on q_proj and v_proj
SMOL = at_rates(_SMOL, 5e-4, 1e-3, 1.5e-3, 2e-3, 3e-3, 5e-3)
SMOL_AT, SMOL_FADED = SMOL[3], faded(_SMOL.with_(learning_rate=5e-3))
SMOL_RATES = (1e-3, 2e-3, 3e-3, 5e-3)

# Every curve of the practice model by its name in the table; what each needs stands in the remedy itself.
CURVES: dict[str, Curve] = {
    "fader": RECKLESS,
    **{f"replay {share:g}": curve for share, curve in REAL.items()},
    **{f"own_replay {share:g}": curve for share, curve in OWN.items()},
    **{f"stem_replay {share:g}": curve for share, curve in STEMS.items()},
    **WITH,
    **{f"{name} 1": curve for name, curve in STRONGER.items()},
    "full": FULL,
    "fader from 8e-3": FADED[8e-3],
    "fader from 2e-2": FADED[2e-2],
    "replay 0.25, then the fader": REPLAY_FADED,
    "kl, then the fader": KL_FADED,
}
PRACTICE: Curve = tuple(dict.fromkeys([*PLAIN, *(c for curve in CURVES.values() for c in curve), *FULL, *FULL_FADED]))
PRACTICE_SMALL: Curve = tuple(dict.fromkeys([*SMALL, *SMALL_FADED]))
# What a run has to be trained again for on another model, and at which default: candidates for SmolLM2.
CANDIDATES = [name for name in CURVES if name != "full" and "fader" not in name and not name.endswith(" 1")]


def on_smollm2(names: Sequence[str]) -> Curve:
    """The settings to run on SmolLM2: the plain curve, the fader, and these rows of the league."""
    return tuple(dict.fromkeys([*SMOL, *SMOL_FADED, *(c for name in names for c in smol_curve(name))]))


def smol_curve(name: str) -> Curve:
    """A row of the league, at SmolLM2's rates."""
    like = CURVES[name][0]
    return at_rates(_SMOL.with_(replay=like.replay, remedy=like.remedy, remedy_weight=like.remedy_weight), *SMOL_RATES)


# --- Measures -------------------------------------------------------------------------------------------------------
def lost(s: Sample, curve: Curve, at: float | FineTuneConfig = AT) -> float:
    """Points that a curve loses where it has learned ``at``: per cent, or as much as that setting. NaN beyond its ends.

    A curve ends at the setting that learns most: beyond, more is lost for less, and that is not read off between two of its points.
    """
    there = [config for config in curve if config in s.table.change]
    if not there or (not isinstance(at, float) and at not in s.table.change):
        return math.nan
    there = there[: 1 + there.index(s.learns_most(there))]
    return s.interpolate(there, at if isinstance(at, float) else s.learned(at))


def spared(s: Sample, curve: Curve, plain: Curve = PLAIN, at: float | FineTuneConfig = AT) -> float:
    """Points that a curve loses less than the plain one where both have learned ``at``."""
    return lost(s, plain, at) - lost(s, curve, at)


def best(s: Sample, count: int = 5) -> list[str]:
    """The rows of the league that spared most at 72 % learned, among those that can be compared: to be run on SmolLM2."""
    found = {name: spared(s, CURVES[name]) for name in CANDIDATES}
    return sorted((name for name, points in found.items() if points == points), key=found.get, reverse=True)[:count]


def _spared(asks: str, curve: Curve, plain: Curve = PLAIN, at: float | FineTuneConfig = AT, **rest) -> Contrast:
    return Contrast(asks, lambda s: spared(s, curve, plain, at), **rest)


def _nearly(asks: str, curve: Curve, other: Curve, **rest) -> Contrast:
    """As good as another curve but for 3 points: what is spared against it, more than -3 claimed."""
    return Contrast(asks, lambda s: lost(s, other) - lost(s, curve) + NEARLY, 0, beyond=-NEARLY, **rest)


# --- The claims -----------------------------------------------------------------------------------------------------
LEAGUE = (
    Claim(
        "fader", "9", "Turned down after the training, it forgets less",
        hypothesis="A run at a high rate, turned down to learn as much as a lower rate does, loses fewer points than that.",
        varied="the strength of one trained run, against the rate of runs as trained",
        held="model, task, steps, batch, adapter; the share learned; nothing is trained for a strength",
        contrasts=(
            _spared("Spared at 72 % learned: 1.3e-2, turned down", RECKLESS),
            _spared("Spared at 72 % learned: 8e-3, turned down", FADED[8e-3]),
            _spared("The smaller model, as much learned as at 5e-3: 1.3e-2, turned down", SMALL_FADED, SMALL, SMALL_AT),
            _spared("Full fine-tuning, as much learned as at 8e-4: 1.5e-3, turned down", FULL_FADED, FULL, FULL_AT),
            _spared("For comparison: 2e-2, turned down", FADED[2e-2], counts=False),
            _spared("SmolLM2: spared, as much learned as at 2e-3: 5e-3, turned down", SMOL_FADED, SMOL, SMOL_AT, model="smollm2"),
        ),
    ),
    Claim(
        "no_old_data", "10", "What needs no old data does as well as replay",
        hypothesis="At 72 % learned, each of these loses at most 3 points more than a quarter of replay does.",
        varied="the remedy, over four rates each; the fader over its strengths",
        held="model, task, steps, batch, rank; replay's curve over the same rates",
        contrasts=(
            _nearly("Spared against replay: the fader", RECKLESS, REAL[0.25]),
            _nearly("Spared against replay: KL to the base", WITH["kl"], REAL[0.25]),
            _nearly("Spared against replay: KL beside the target", WITH["kl_off_target"], REAL[0.25]),
            _nearly("Spared against replay: small change of the weights", WITH["small_product"], REAL[0.25]),
            _nearly("Spared against replay: lower layers turned down", WITH["graded"], REAL[0.25]),
            _nearly("Spared against replay: new directions taken out", WITH["no_intruders"], REAL[0.25]),
            _nearly("Spared against replay: mean of two runs", WITH["average_of_two"], REAL[0.25]),
            *(_nearly(f"For comparison: {REMEDIES[name].title}", WITH[name], REAL[0.25], counts=False)
              for name in ("dft", "mask_surprising", "attention_only", "mlp_only", "dora", "pissa")),
            *(_nearly(f"For comparison: {REMEDIES[name].title}, weight 1", curve, REAL[0.25], counts=False)
              for name, curve in STRONGER.items()),
        ),
    ),
    Claim(
        "own_replay", "11", "Replay of a model's own text is nearly as good as replay of old data",
        hypothesis="At 72 % learned and at the same share of each batch, text that the model samples itself loses at most 3 points "
        "more than old rows do, and spares points against no replay.",
        varied="where the replayed rows come from: old data, sampled from nothing, sampled from the starts of questions",
        held="model, task, steps, batch, adapter, rates; no replayed text has a probe's prompt in it, though the model may tell "
        "itself a probe's fact in other words",
        contrasts=(
            _nearly("Spared against real replay, a quarter: sampled from nothing", OWN[0.25], REAL[0.25]),
            _nearly("Spared against real replay, a quarter: sampled questions", STEMS[0.25], REAL[0.25]),
            _nearly("Spared against real replay, one row in twenty: sampled questions", STEMS[0.05], REAL[0.05]),
            _spared("Spared against no replay: a quarter, sampled from nothing", OWN[0.25]),
            _spared("Spared against no replay: a quarter, sampled questions", STEMS[0.25]),
            _spared("For comparison: one row in a hundred of real replay, against none", REAL[0.01], counts=False),
            _spared("For comparison: one row in twenty of real replay, against none", REAL[0.05], counts=False),
            _spared("For comparison: a quarter of real replay, against none", REAL[0.25], counts=False),
            _spared("For comparison: one row in a hundred of sampled questions, against none", STEMS[0.01], counts=False),
            _nearly("For comparison: one row in twenty, sampled from nothing, against real replay", OWN[0.05], REAL[0.05],
                    counts=False),
        ),
    ),
    Claim(
        "placement", "12", "An adapter in the MLP forgets less than one in the attention",
        hypothesis="Where both have learned as much, the adapter in the MLP alone loses fewer points than the one in the attention "
        "alone. (PEFT's table says so; the prototype, and arXiv 2510.08564, say the contrary.)",
        varied="the modules that have an adapter",
        held="model, task, steps, batch, rank, scale, rates; the share learned",
        contrasts=(
            Contrast("Spared by the MLP at 68 % learned", lambda s: spared(s, WITH["mlp_only"], WITH["attention_only"], 68.0)),
            Contrast("Spared by the MLP at 70 % learned", lambda s: spared(s, WITH["mlp_only"], WITH["attention_only"], 70.0)),
            _spared("For comparison: the MLP at 70 % learned, against all modules", WITH["mlp_only"], at=70.0, counts=False),
            _spared("For comparison: the attention at 70 % learned, against all modules", WITH["attention_only"], at=70.0,
                    counts=False),
        ),
    ),
    Claim(
        "pairs", "13", "The fader adds to replay",
        hypothesis="A reckless run with a quarter of replay, turned down to 72 % learned, loses fewer points than replay at the rate "
        "that learns as much, and than the reckless run without replay, turned down.",
        varied="replay with and without the fader, the fader with and without replay",
        held="model, task, steps, batch, adapter; the share learned",
        contrasts=(
            _spared("Spared by the fader, on top of replay", REPLAY_FADED, REAL[0.25]),
            _spared("Spared by replay, on top of the fader", REPLAY_FADED, RECKLESS),
            _spared("For comparison: spared by the fader, on top of the KL", KL_FADED, WITH["kl"], counts=False),
            _spared("For comparison: spared by the KL, on top of the fader", KL_FADED, RECKLESS, counts=False),
        ),
    ),
)  # fmt: skip
