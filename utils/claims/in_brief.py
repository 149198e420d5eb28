"""Each claim's finding in one plain sentence, with the numbers that were measured: for lessons 1 to 7 and for the README.

A number in braces is the effect of the finding at that place; after a minus sign, the same with its sign turned, since the sentence
says "fewer" where the finding counts "more". A sentence that was written for another outcome is refused, not shown.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from utils.claims.experiments import CLAIMS, Claim
from utils.claims.verdicts import Verdict

SENTENCES = {
    "forgetting": "At the reckless rate {1} points were lost, at the careful rate {3}; the new task's loss fell at both",
    "rate": "The careful rate spared {0} of the points that the reckless one lost, and learned less",
    "rank": "With the scale held, rank 1 lost {1} points less than rank 64, and learned less; with alpha fixed, {-0} more",
    "replay": "A quarter of old rows in each batch spared {0} points at the reckless rate; one row in eight spared {1}",
    "capacity": "At equal learning, 3 dialogues cost {2} points more than 72; the larger model did not clearly lose more",
    "full": "At the same rate, full fine-tuning lost {0} points more than LoRA, and learned far more; at 70 % learned, {-3} less",
    "threshold": "At 5e-4 nothing was lost, at 1.5e-3 about {1} point, at 1.3e-2 {2} points: there is no line at 1e-4",
    "during": "The best moment of a reckless run, within its budget, had {0} % of the learning, and was no better than a slower run",
    "kl": "KL rises with what is lost (rank correlation {0}), but at equal KL a run with replay lost {2} points less",
    "recovery": "{0} % of the loss came in the first quarter of the steps; eight old rows brought {2} % of it back",
    "fader": "At 72 % learned, a run at 8e-3, turned down, lost {1} points less than a lower rate of as many steps",
    "no_old_data": "At 72 % learned, a KL term to the base lost {1} points less than a quarter of replay, a penalty on the change {3}",
    "own_replay": "Too close to call: against old rows, text sampled from nothing lost {-0} points more, sampled questions {1} less",
    "placement": "The opposite, if anything: where both had learned 68 %, the MLP lost {-0} points more",
    "pairs": "On top of replay, the fader spared another {0} points where both had learned as much",
}
_PLACE = re.compile(r"\{(-?)(\d+)\}")


def in_brief(claim: Claim, verdict: Verdict) -> str:
    """The sentence of a claim, without its full stop. Raises ValueError where a number has another sign than it was written for."""

    def number(match: re.Match) -> str:
        finding = verdict.findings[int(match[2])]
        effect = finding.whole()[0] * (-1 if match[1] else 1)
        if not effect > -0.5:
            raise ValueError(
                f"{claim.key}: {finding.asks!r} is {finding.effect:.1f} now, and its sentence in utils/claims/in_brief.py says "
                "the contrary; write another one."
            )
        return f"{effect:.2f}" if finding.unit == "rho" else f"{abs(effect):.0f}"

    return _PLACE.sub(number, SENTENCES[claim.key])


def one_line_each(verdicts: dict[str, Verdict], claims: Sequence[Claim] = CLAIMS) -> str:
    """Each claim in one line of Markdown: its verdict, and what was found."""
    return "\n".join(f"- {claim.number}. {claim.title}: **{found.word}**. {in_brief(claim, found)}."
                     for claim in claims if (found := verdicts[claim.key]))  # fmt: skip
