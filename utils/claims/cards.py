"""``claim_card("rank", runs=[...])``: what is said, what the literature says, what was measured here, and your own runs.

``claim_brief`` says the same in one sentence and a small figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from utils.claims import verdicts
from utils.claims.experiments import CLAIMS, Claim
from utils.claims.figures import plot_claim, plot_claim_in_brief
from utils.claims.in_brief import in_brief
from utils.claims.league import LEAGUE, SEEDS
from utils.claims.league_runs import league_stores
from utils.claims.literature import SOURCES
from utils.claims.runs import plan
from utils.claims.verdicts import Verdict, in_words
from utils.training.results import RunResult
from utils.training.sweeps import Point, load

if TYPE_CHECKING:
    from IPython.display import Markdown

WHOLE = "11_what_holds.ipynb"  # the lesson in which every card stands
STYLE = (
    "<style>.claim-card{border-left:4px solid #9999;padding:.2em 1em;max-width:62em}"
    ".claim-card p{margin:.5em 0 0}.claim-card ul{margin:0}</style>"
)


@dataclass(frozen=True)
class _Shown:
    """What a notebook shows as text with a figure under it, and a terminal as text alone."""

    claim: Claim
    verdict: Verdict
    figure: Figure

    def _ipython_display_(self) -> None:
        from IPython.display import HTML, display

        display(HTML(self._repr_html_()))
        display(self.figure)


@dataclass(frozen=True, repr=False)
class Card(_Shown):
    """A claim with its evidence."""

    yours: tuple[Point, ...] = ()

    def _parts(self) -> dict[str, list[str]]:
        """The text: one list of lines under each heading. What comes from the literature is HTML, the rest is plain."""
        met, unmet = self.verdict.met(self.claim)
        beside = [f for f in self.verdict.findings if not f.counts]
        return {
            "Said": [SOURCES[self.claim.key].said],
            "The literature": [SOURCES[self.claim.key].literature],
            "Measured here, as claimed": [in_words(f) for f in met] or ["Nothing."],
            "Measured here, otherwise": [in_words(f) for f in unmet] or ["Nothing."],
            "For comparison": [in_words(f).removeprefix("For comparison: ") for f in beside],
            "Your runs": [f"{run.config.label}: learned {run.learned:.0%}, forgot {run.forgotten:.1f} points" for run in self.yours],
        }  # fmt: skip

    def _repr_html_(self) -> str:
        parts = ""
        for name, lines in self._parts().items():
            shown = lines if name == "The literature" else [escape(line) for line in lines]
            if shown:
                if len(shown) == 1:
                    parts += f"<p><strong>{name}:</strong> {shown[0]}</p>"
                else:
                    parts += f"<p><strong>{name}:</strong></p><ul>{''.join(f'<li>{line}</li>' for line in shown)}</ul>"
        title = f"Claim {self.claim.number}. {escape(self.claim.title)}: <em>{self.verdict.word}</em>"
        return f'{STYLE}<div class="claim-card"><p><strong>{title}</strong></p>{parts}</div>'

    def __repr__(self) -> str:
        parts = [
            f"{name}: {'; '.join(lines)}" for name, lines in self._parts().items() if lines and name != "The literature"
        ]
        return f"Claim {self.claim.number}. {self.claim.title}: {self.verdict.word}.\n" + "\n".join(parts)


@dataclass(frozen=True, repr=False)
class Brief(_Shown):
    """A claim in one sentence, with its runs in a small figure, and where the rest stands."""

    @property
    def sentence(self) -> str:
        """The verdict, and what was found."""
        return f"{self.claim.title}: {self.verdict.word}. {in_brief(self.claim, self.verdict)}."

    def _repr_html_(self) -> str:
        title, _, rest = escape(self.sentence).partition(". ")
        return f'<p><strong>{title}.</strong> {rest} <a href="{WHOLE}">All that was measured.</a></p>'

    def __repr__(self) -> str:
        return self.sentence


def claim_brief(key: str, runs: Sequence[RunResult | Point] = ()) -> Brief:
    """What ``claim_card`` says, in one sentence and a small figure. Takes and raises the same."""
    claim, verdict, yours = _evidence(key, runs)
    return Brief(claim, verdict, plot_claim_in_brief(claim, verdict, points_of(claim), yours))


def claim_card(key: str, runs: Sequence[RunResult | Point] = ()) -> Card:
    """The card of a claim: "forgetting", "rate", "rank", "replay", "capacity", "full", "threshold", "during", "kl", "recovery",
    "fader", "no_old_data", "own_replay", "placement" or "pairs".

    runs: your own, which are marked among ours; a run that diverged is left out. Raises ValueError for another key.
    """
    claim, verdict, yours = _evidence(key, runs)
    return Card(claim, verdict, plot_claim(claim, verdict, points_of(claim), yours), yours)


def _evidence(key: str, runs: Sequence[RunResult | Point]) -> tuple[Claim, Verdict, tuple[Point, ...]]:
    """(the claim, its verdict, the learner's own runs as points)."""
    claims = {claim.key: claim for claim in (*CLAIMS, *LEAGUE)}
    if key not in claims:
        raise ValueError(f"{key!r} is not a claim of the course; use one of {', '.join(claims)}.")
    yours = tuple(run if isinstance(run, Point) else Point.of(run) for run in runs
                  if isinstance(run, Point) or not run.diverged)  # fmt: skip
    verdict = _verdicts(verdicts.LEAGUE_FILE if key in {claim.key for claim in LEAGUE} else verdicts.FILE)[key]
    return claims[key], verdict, yours


def verdict_table() -> Markdown:
    """Every claim with its verdict, a finding that speaks for it, and the clearest against."""
    from IPython.display import Markdown

    return Markdown(verdicts.as_table(verdicts.load() | verdicts.load(verdicts.LEAGUE_FILE), (*CLAIMS, *LEAGUE)))


@lru_cache(maxsize=2)
def _verdicts(file: Path) -> dict[str, Verdict]:
    return verdicts.load(file)


def points_of(claim: Claim) -> tuple[Point, ...]:
    """The runs that decided a claim: the league has fewer seeds than the first ten."""
    points = stored_points()
    return tuple(point for point in points if point.config.seed in SEEDS) if claim in LEAGUE else points


@lru_cache(maxsize=1)
def stored_points() -> tuple[Point, ...]:
    """Every run that ``make claims`` stored; one that two tables have, once."""
    stores = [*(runs.store for runs in plan().values()), *league_stores().values()]
    return tuple({(p.config, p.steps): p for store in stores if store.exists() for p in load(store)}.values())
