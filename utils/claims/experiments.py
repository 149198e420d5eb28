"""The experiments, stated before their results were looked at: what is claimed, what is varied, and what would decide it.

Ten claims. Eight are those of common advice; the last two come from recent papers. Each is taken apart into contrasts:
one number each, with the smallest size that matters, and the direction that the claim predicts. What was changed after the
first results had been seen is listed in data/claims/README.md.

**Runs.** The practice model (2.1 M parameters) and its smaller sibling, seeds 11 to 15; SmolLM2 (135 M), seeds 11 to 13. No
figure of the course had used these seeds when this file was written; the lessons' own runs, of seeds 0 to 2, were known.
A run is ``finetune(config)``: customer-service dialogues, all probes asked before and after.

**Measure.** *Lost*: points of retention lost, per cent of all probes that were right before and are wrong after, less those
gained. *Learned*: per cent by which the loss on all 24 held-out dialogues fell. *Excess*: points lost beyond what the plain
learning-rate curve of the same method loses where it has learned just as much, by a straight line between its rates. A remedy
that forgets less only because it learns less has an excess of zero. The curve bends upwards, so that a straight line lies above
it: what is spared at equal learning comes out too large where few rates lie close, by a few points in the steep part.

**Decision.** For each contrast: a 95 % interval (``statistics.py``) and a two-sided p, corrected by Holm's method over all
contrasts of the same model that count. The interval is over seeds and probes where all probes are asked at the end, as for
*lost*; over seeds alone for the new task's loss, the KL and what is read off within a run.
  - *shown*: p < 0.05 in the predicted direction, and the effect is at least the smallest that matters;
  - *opposite*: the same in the other direction;
  - *too small to matter*: the whole interval, as it is printed, is closer to zero than the smallest that matters;
  - *open*: anything else. More seeds or probes would be needed.
Where the claim predicts no difference, it is *too small to matter* that shows it, and a difference is *differs*. A claim is
*supported* if all its contrasts are shown, *not shown* if none is, and *qualified* otherwise. A null is a result.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from utils.training.config import FineTuneConfig

if TYPE_CHECKING:
    from utils.claims.samples import Sample

SEEDS = {"practice": (11, 12, 13, 14, 15), "smollm2": (11, 12, 13)}
MATTERS = 3.0  # points of retention: what utils/verdict.py, too, takes as the least drop worth a word
BUDGET = 5.0  # points: the drop budget of claim 6 and of "learned within a budget"


@dataclass(frozen=True)
class Contrast:
    """One number that speaks for or against a claim.

    asks: the question, in words. measure: that number, from a sample of the runs. matters: the smallest size that counts.
    predicts: "more" if the claim says that the number is positive, "none" if it says that there is no difference.
    counts: False for a figure that stands beside the claim for comparison and decides nothing.
    beyond: what the measure subtracts since the claim says "more than that"; words and figures add it again.
    """

    asks: str
    measure: Callable[[Sample], float]
    matters: float = MATTERS
    unit: str = "points"
    predicts: str = "more"
    counts: bool = True
    model: str = "practice"
    beyond: float = 0.0

    @property
    def wanted(self) -> str:
        """The outcome that the claim predicts."""
        return "too small to matter" if self.predicts == "none" else "shown"


@dataclass(frozen=True)
class Claim:
    """key: its name in ``claim_card``. number, title: as in the table of verdicts. hypothesis: what is put to the test.

    varied, held: what differs between the runs that are compared, and what does not.
    """

    key: str
    number: str
    title: str
    hypothesis: str
    varied: str
    held: str
    contrasts: tuple[Contrast, ...]


# --- Settings -------------------------------------------------------------------------------------------------------
# Measured at its end; LoRA on all linear layers, r=8, alpha 16, no dropout, 40 steps of 8 rows.
BASE = FineTuneConfig(evaluate_every=40)


def at_rates(base: FineTuneConfig, *rates: float) -> tuple[FineTuneConfig, ...]:
    """The same settings at each of these learning rates."""
    return tuple(base.with_(learning_rate=rate) for rate in rates)


# Dense where it is steep: between 60 and 76 % learned, what "equal learning" costs is read off it.
CURVE = at_rates(BASE, 1e-4, 5e-4, 1.5e-3, 3e-3, 4e-3, 5e-3, 6.3e-3, 8e-3, 1e-2, 1.3e-2, 2e-2)
LORA = {config.learning_rate: config for config in CURVE}
RISING = CURVE[:-1]  # where more is learned at each higher rate: without 2e-2
CAREFUL, MIDDLE, RECKLESS = LORA[1.5e-3], LORA[5e-3], LORA[1.3e-2]
SOURCE = BASE.with_(learning_rate=5e-5, lora_dropout=0.05, target_modules="c_attn", examples=3, batch_size=2, steps=4)
LONGER = (LORA[3e-3].with_(steps=80), CAREFUL.with_(steps=160))
RANKS = (1, 4, 16, 64)
RANK = {
    scaling: {rank: MIDDLE.with_(rank=rank, scaling=scaling) for rank in RANKS} for scaling in ("fixed", "2r", "rslora")
}
REPLAY = {share: RECKLESS.with_(replay=share) for share in (0.125, 0.25, 0.5)}
REPLAY_MIDDLE = MIDDLE.with_(replay=0.25)
FEWER_ROWS = RECKLESS.with_(batch_size=6)  # as many new-task rows a step as with a quarter of replay
FEW = {examples: MIDDLE.with_(examples=examples) for examples in (3, 12)}  # 40 steps: each row is seen more often
FEW_EPOCHS = {12: FEW[12].with_(steps=7), 3: FEW[3].with_(steps=2)}  # as many rounds as 72 rows make in 40 steps
STEPS = {steps: MIDDLE.with_(steps=steps) for steps in (10, 20, 80)}
SMALL = at_rates(BASE.with_(model="practice-small"), 1.5e-3, 3e-3, 5e-3, 8e-3, 1.3e-2)
SMALL_MIDDLE = SMALL[2]
SMALL_FEW = {examples: SMALL_MIDDLE.with_(examples=examples) for examples in (3, 12)}
FULL = at_rates(BASE.with_(method="full"), 1e-4, 3e-4, 6e-4, 1e-3, 1.5e-3, 3e-3)
DENSE = {"reckless": RECKLESS.with_(evaluate_every=2), "middle": MIDDLE.with_(evaluate_every=2)}
# After the reckless run: 12 steps on so many original rows, none of them a probe; 0 goes on with the new task instead.
RECOVER = {rows: MIDDLE.with_(steps=12, examples=rows, evaluate_every=12) for rows in (0, 8, 32)}

_SMOL = FineTuneConfig(
    model="smollm2", lora_dropout=0.05, target_modules="q_proj,v_proj", steps=24, batch_size=4, evaluate_every=12
)
SMOL_CURVE = at_rates(_SMOL, 1e-4, 5e-4, 2e-3, 5e-3)
SMOL = {config.learning_rate: config for config in SMOL_CURVE}
SMOL_REPLAY, SMOL_FEWER_ROWS = SMOL[5e-3].with_(replay=0.25), SMOL[5e-3].with_(batch_size=3)

# What is run, and how: the stores under data/claims/.
MAIN = (*CURVE, SOURCE, *LONGER, *(c for by_rank in RANK.values() for c in by_rank.values()), *REPLAY.values(), REPLAY_MIDDLE,
        FEWER_ROWS, *FEW.values(), *FEW_EPOCHS.values(), *STEPS.values(), *FULL)  # fmt: skip
SMALL_RUNS = (*SMALL, *SMALL_FEW.values())
SMOL_RUNS = (*SMOL_CURVE, SMOL_REPLAY, SMOL_FEWER_ROWS)
# Two settings stand under two names: rsLoRA has alpha-fixed's scale at rank 1, and that of alpha = 2r at rank 64.
WITHOUT_REPLAY = tuple(c for c in MAIN if not c.replay)

# --- The claims -----------------------------------------------------------------------------------------------------
CLAIMS = (
    Claim(
        "forgetting", "1", "New-task loss falls while the original domain suffers",
        hypothesis="Fine-tuning on the new task alone lowers its held-out loss and loses points of retention.",
        varied="the dose: the common tutorial's own settings, then a careful, a middle and a reckless rate",
        held="model, task, probes; for the three rates also the 40 steps of 8 rows and the adapter",
        contrasts=(
            Contrast("New-task loss fell at each of the three rates by at least",
                     lambda s: min(s.learned(c) for c in (CAREFUL, MIDDLE, RECKLESS)), matters=10, unit="% of the loss"),
            Contrast("Lost at the reckless rate, 1.3e-2", lambda s: s.lost(RECKLESS)),
            Contrast("Lost at the middle rate, 5e-3", lambda s: s.lost(MIDDLE)),
            Contrast("Lost at the careful rate, 1.5e-3", lambda s: s.lost(CAREFUL)),
            Contrast("Lost at the tutorial's settings: 5e-5, 3 examples, 4 steps", lambda s: s.lost(SOURCE)),
            Contrast("SmolLM2: new-task loss fell at 5e-4 and at 5e-3 by at least",
                     lambda s: min(s.learned(SMOL[5e-4]), s.learned(SMOL[5e-3])), 10, "% of the loss", model="smollm2"),
            Contrast("SmolLM2: lost at 5e-3", lambda s: s.lost(SMOL[5e-3]), model="smollm2"),
            Contrast("SmolLM2: lost at 5e-4", lambda s: s.lost(SMOL[5e-4]), model="smollm2"),
        ),
    ),
    Claim(
        "rate", "2a", "A lower learning rate forgets less",
        hypothesis="At a lower rate fewer points are lost, and not only because less is learned.",
        varied="the learning rate; for equal learning, more steps make up for the lower rate",
        held="model, task, adapter, batch; the steps in the first two contrasts",
        contrasts=(
            Contrast("Spared by 1.5e-3 instead of 1.3e-2, same steps", lambda s: s.lost(RECKLESS) - s.lost(CAREFUL)),
            Contrast("Spared by 3e-3 instead of 5e-3, same steps", lambda s: s.lost(MIDDLE) - s.lost(LORA[3e-3])),
            Contrast("Spared at equal learning: 3e-3 for 80 steps", lambda s: -s.excess(LONGER[0], CURVE)),
            Contrast("Spared at equal learning: 1.5e-3 for 160 steps", lambda s: -s.excess(LONGER[1], CURVE)),
            # Added after the results were seen: 1.3e-2 and 2e-2 learned equally much and lost 57 and 92 points, so what the curve
            # loses near there cannot be read off.
            Contrast("For comparison: spared at equal learning, curve up to 1.3e-2: 3e-3 for 80 steps",
                     lambda s: -s.excess(LONGER[0], RISING), counts=False),
            Contrast("For comparison: spared at equal learning, curve up to 1.3e-2: 1.5e-3 for 160 steps",
                     lambda s: -s.excess(LONGER[1], RISING), counts=False),
            Contrast("SmolLM2: spared by 5e-4 instead of 5e-3, same steps",
                     lambda s: s.lost(SMOL[5e-3]) - s.lost(SMOL[5e-4]), model="smollm2"),
        ),
    ),
    Claim(
        "rank", "2b", "A smaller rank forgets less",
        hypothesis="Rank 1 loses fewer points than rank 64, however the scale follows from the rank, and at equal learning.",
        varied="the rank, 1 to 64, under three rules for the scale: alpha fixed at 16 (16/r), alpha = 2r (2), rsLoRA (16/root of r)",
        held="rate 5e-3, steps, batch, modules",
        contrasts=(
            Contrast("Spared by rank 1 instead of 64, alpha fixed", lambda s: s.lost(RANK["fixed"][64]) - s.lost(RANK["fixed"][1])),
            Contrast("Spared by rank 1 instead of 64, alpha = 2r", lambda s: s.lost(RANK["2r"][64]) - s.lost(RANK["2r"][1])),
            Contrast("Spared by rank 1 instead of 64, rsLoRA", lambda s: s.lost(RANK["rslora"][64]) - s.lost(RANK["rslora"][1])),
            Contrast("Spared by rank 1 instead of 64, alpha = 2r, at equal learning",
                     lambda s: s.excess(RANK["2r"][64], CURVE) - s.excess(RANK["2r"][1], CURVE)),
            # Added after the first runs were seen: rank 64 learned more than any rate of the curve, so nothing can be read off.
            Contrast("For comparison: spared by rank 1 instead of 16, alpha = 2r, at equal learning",
                     lambda s: s.excess(RANK["2r"][16], CURVE) - s.excess(RANK["2r"][1], CURVE), counts=False),
        ),
    ),
    Claim(
        "replay", "2c", "Replay of the original domain forgets less",
        hypothesis="Old rows in each batch spare points, at equal learning, and not only since they displace new-task rows.",
        varied="the share of replayed rows in each batch; as a control, a smaller batch without any",
        held="model, task, rate, steps, adapter; no replayed row is a probe",
        contrasts=(
            Contrast("Spared by a quarter of replay at 1.3e-2", lambda s: s.lost(RECKLESS) - s.lost(REPLAY[0.25])),
            Contrast("Spared by one row in eight at 1.3e-2", lambda s: s.lost(RECKLESS) - s.lost(REPLAY[0.125])),
            Contrast("Spared by a quarter of replay at 5e-3", lambda s: s.lost(MIDDLE) - s.lost(REPLAY_MIDDLE)),
            Contrast("Spared beyond training on fewer rows", lambda s: s.lost(FEWER_ROWS) - s.lost(REPLAY[0.25])),
            Contrast("Spared by a quarter of replay at equal learning", lambda s: -s.excess(REPLAY[0.25], CURVE)),
            # Added after the results were seen, for the same reason as under "rate".
            Contrast("For comparison: spared by a quarter of replay at equal learning, curve up to 1.3e-2",
                     lambda s: -s.excess(REPLAY[0.25], RISING), counts=False),
            Contrast("SmolLM2: spared by a quarter of replay at 5e-3",
                     lambda s: s.lost(SMOL[5e-3]) - s.lost(SMOL_REPLAY), model="smollm2"),
            Contrast("SmolLM2: spared beyond training on fewer rows",
                     lambda s: s.lost(SMOL_FEWER_ROWS) - s.lost(SMOL_REPLAY), model="smollm2"),
        ),
    ),
    Claim(
        "capacity", "3", "Worse for more capacity on less data",
        hypothesis="3 examples lose more than 72, a larger model loses more than a smaller one, and the larger one suffers more "
        "from few examples.",
        varied="examples (3, 12, 72) with steps held and with epochs held; two model sizes (0.8 M and 2.1 M parameters)",
        held="rate 5e-3, batch, adapter rank; both models know the same repertoire and are asked the same probes",
        contrasts=(
            Contrast("Lost more with 3 examples than with 72, same steps", lambda s: s.lost(FEW[3]) - s.lost(MIDDLE)),
            Contrast("Lost more with 3 examples than with 72, same epochs", lambda s: s.lost(FEW_EPOCHS[3]) - s.lost(MIDDLE)),
            Contrast("Lost more with 3 examples than with 72, equal learning", lambda s: s.excess(FEW[3], CURVE)),
            Contrast("Lost more by the larger model, same rate", lambda s: s.lost(MIDDLE) - s.lost(SMALL_MIDDLE)),
            Contrast("Lost more by the larger model, equal learning", lambda s: s.excess(MIDDLE, SMALL)),
            Contrast("Few examples cost the larger model more than the smaller",
                     lambda s: s.lost(FEW[3]) - s.lost(MIDDLE) - s.lost(SMALL_FEW[3]) + s.lost(SMALL_MIDDLE)),
            Contrast("For comparison: 80 steps lost more than 10, same examples",
                     lambda s: s.lost(STEPS[80]) - s.lost(STEPS[10]), counts=False),
        ),
    ),
    Claim(
        "full", "4", "Without LoRA it is worse",
        hypothesis="Full fine-tuning loses more points than LoRA: at the same rate, each at its best rate, and at equal learning.",
        varied="the method, each over six to eight rates",
        held="model, task, steps, batch",
        contrasts=(
            Contrast("Lost more by full at the same rate, 1.5e-3", lambda s: s.lost(FULL[4]) - s.lost(CAREFUL)),
            Contrast("Lost more by full, each at the rate that learns most",
                     lambda s: s.lost(s.learns_most(FULL)) - s.lost(s.learns_most(CURVE))),
            Contrast("Learned more by LoRA within a budget of 5 points lost",
                     lambda s: s.learned_within(CURVE, BUDGET) - s.learned_within(FULL, BUDGET), unit="% of the loss"),
            Contrast("Lost more by full at 70 % learned", lambda s: s.interpolate(FULL, 70) - s.interpolate(CURVE, 70)),
        ),
    ),
    Claim(
        "threshold", "5", "Above a rate of 1e-4 it happens even with LoRA",
        hypothesis="With LoRA, rates above 1e-4 lose points.",
        varied="the learning rate, from 5 times that line on",
        held="model, task, steps, batch, adapter",
        contrasts=(
            Contrast("Lost at 5e-4", lambda s: s.lost(LORA[5e-4])),
            Contrast("Lost at 1.5e-3", lambda s: s.lost(CAREFUL)),
            Contrast("Lost at 1.3e-2", lambda s: s.lost(RECKLESS)),
            Contrast("For comparison: lost at 1e-4", lambda s: s.lost(LORA[1e-4]), counts=False),
            Contrast("SmolLM2: lost at 5e-4", lambda s: s.lost(SMOL[5e-4]), model="smollm2"),
            Contrast("SmolLM2: lost at 2e-3", lambda s: s.lost(SMOL[2e-3]), model="smollm2"),
            Contrast("SmolLM2: lost at 5e-3", lambda s: s.lost(SMOL[5e-3]), model="smollm2"),
        ),
    ),
    Claim(
        "during", "6", "Look during training, not after it",
        hypothesis="Looking during a reckless run gives what looking after it cannot: a checkpoint within a drop budget of 5 points "
        "that learned most of what the run learned, and a loss that the last checkpoint hides.",
        varied="when one looks: every 2 steps with every probe, or at the end",
        held="the run",
        contrasts=(
            Contrast("Learned by the checkpoint within the budget: share of the whole run's",
                     lambda s: 100 * s.kept(DENSE["reckless"], BUDGET)[0] / s.learned(DENSE["reckless"]) - 50, 0, "%", beyond=50),
            Contrast("Spared by the checkpoint within the budget, against a slower run",
                     lambda s: s.interpolate(CURVE, s.kept(DENSE["reckless"], BUDGET)[0])
                     - s.kept(DENSE["reckless"], BUDGET)[1]),
            Contrast("Lost at the worst moment beyond what is lost at the end", lambda s: s.peak(DENSE["reckless"])),
        ),
    ),
    Claim(
        "kl", "7", "KL to the base model on the new task predicts forgetting",
        hypothesis="Over all settings, the more a run's KL on held-out new-task text, the more points it lost; better than the "
        "amount learned predicts it; and whatever the remedy.",
        varied="everything: rate, rank, scaling, steps, examples, method",
        held="model, task, probes",
        contrasts=(
            Contrast("Rank correlation of KL and points lost, all settings without replay",
                     lambda s: s.correlation("kl", WITHOUT_REPLAY) - 0.8, 0, "rho", beyond=0.8),
            Contrast("That correlation less the one of learned and points lost",
                     lambda s: s.correlation("kl", WITHOUT_REPLAY) - s.correlation("learned", WITHOUT_REPLAY), 0, "rho"),
            Contrast("Spared by replay at equal KL",
                     lambda s: s.interpolate(CURVE, s.kl(REPLAY[0.25]), of="kl") - s.lost(REPLAY[0.25]), predicts="none"),
        ),
    ),
    Claim(
        "recovery", "8", "Much of the loss comes early, and a few original examples recover it",
        hypothesis="A quarter of the steps does more than half of the reckless run's damage, and more than its share of the learning "
        "rate; then 8 original rows in 12 steps recover more than half, and more than 12 further steps of the new task.",
        varied="the moment within the run; then the rows of 12 further steps at 5e-3: 8 original ones, or the new task's",
        held="the damaged model, steps, rate, batch; no original row is a probe",
        contrasts=(
            Contrast("Lost by step 10 of 40: share of the whole loss",
                     lambda s: 100 * s.share_lost_by(DENSE["reckless"], 10) - 50, 0, "%", beyond=50),
            Contrast("The same, against the share of the learning rate that was spent",
                     lambda s: 100 * (s.share_lost_by(DENSE["reckless"], 10) - (1 - 0.75**2)), 0, "%", beyond=43.75),
            Contrast("Recovered by 8 original rows: share of the loss",
                     lambda s: -100 * s.lost(RECOVER[8]) / s.lost(RECKLESS) - 50, 0, "%", beyond=50),
            Contrast("Recovered beyond as many further steps of the new task", lambda s: s.lost(RECOVER[0]) - s.lost(RECOVER[8])),
            Contrast("For comparison: recovered by 32 original rows: share of the loss",
                     lambda s: -100 * s.lost(RECOVER[32]) / s.lost(RECKLESS), 0, "%", counts=False),
        ),
    ),
)  # fmt: skip
