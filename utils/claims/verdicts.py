"""The verdict on each claim: decided from the runs, kept as JSON, and shown as the table in the README."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from capability_guard.files import write_whole
from capability_guard.statistics import holm
from utils.claims.experiments import CLAIMS, Claim
from utils.claims.runs import FOLDER
from utils.claims.samples import Table
from utils.claims.statistics import Finding, interval, outcome, verdict
from utils.training.sweeps import Point

FILE = FOLDER / "verdicts.json"
LEAGUE_FILE = FOLDER / "league-verdicts.json"
BEGIN, END = "<!-- verdicts: written by `make claims` -->", "<!-- end of verdicts -->"
SCHEMA = 1


@dataclass(frozen=True)
class Verdict:
    """word: supported, qualified or not shown. findings: one a contrast, in the order of the claim."""

    key: str
    word: str
    findings: tuple[Finding, ...]

    def met(self, claim: Claim) -> tuple[list[Finding], list[Finding]]:
        """(the findings that count and came out as the claim predicts, those that count and did not)."""
        pairs = [(f, f.outcome == c.wanted)
                 for f, c in zip(self.findings, claim.contrasts, strict=True) if f.counts]  # fmt: skip
        return [f for f, met in pairs if met], [f for f, met in pairs if not met]


def decide(tables: dict[str, Table], claims: Sequence[Claim] = CLAIMS) -> dict[str, Verdict]:
    """Every claim by the rule stated in ``experiments``. tables: "practice" and "smollm2"; without the latter, its contrasts
    are "not measured". Holm's correction runs over all contrasts of ``claims`` that count, for each model apart. Claims 1 and
    5 have some in common, which count twice: the correction is stricter than it need be."""
    pairs = [(claim, contrast) for claim in claims for contrast in claim.contrasts]
    found: list[Finding] = []
    for _, c in pairs:
        effect, low, high, p, by_seed = math.nan, math.nan, math.nan, math.nan, ()
        if table := tables.get(c.model):
            effect, low, high, p = interval(table, c.measure)
            by_seed = tuple(round(c.measure(table.sample(seeds=[i])), 2) for i in range(len(table.seeds)))
        found.append(Finding(c.asks, c.unit, c.model, c.counts, effect, low, high, p, by_seed, beyond=c.beyond))
    for model in tables:
        family = [i for i, f in enumerate(found) if f.model == model and f.counts]
        for i, adjusted in zip(
            family, holm([1.0 if math.isnan(found[i].p) else found[i].p for i in family]), strict=True
        ):
            found[i] = replace(found[i], adjusted=adjusted)
    for i, ((_, c), f) in enumerate(zip(pairs, found, strict=True)):
        word = outcome(c, f.low, f.high, f.effect, f.adjusted) if c.model in tables else "not measured"
        found[i] = replace(f, outcome=word if c.counts else "")
    verdicts = {}
    for claim in claims:
        own = tuple(f for (owner, _), f in zip(pairs, found, strict=True) if owner is claim)
        verdicts[claim.key] = Verdict(claim.key, verdict(claim, [f.outcome for f in own if f.counts]), own)
    return verdicts


def tables_of(points: Iterable[Point]) -> dict[str, Table]:
    """Runs by model family: both practice models in one table, since their probes and seeds are the same."""
    groups: dict[str, list[Point]] = {}
    for point in points:
        groups.setdefault("smollm2" if point.config.model == "smollm2" else "practice", []).append(point)
    return {family: Table(group) for family, group in groups.items()}


# --- On disk --------------------------------------------------------------------------------------------------------
def save(verdicts: dict[str, Verdict], path: Path = FILE) -> Path:
    """Write the verdicts, one finding a line."""
    lines = []
    for v in verdicts.values():
        rows = ",\n".join("    " + json.dumps(_plain(asdict(f))) for f in v.findings)
        lines.append(f'  {json.dumps(v.key)}: {{"word": {json.dumps(v.word)}, "findings": [\n{rows}]}}')
    return write_whole(path, f'{{"schema": {SCHEMA}, "claims": {{\n' + ",\n".join(lines) + "\n}}\n")


def load(path: Path = FILE) -> dict[str, Verdict]:
    """Read what ``save`` wrote. Raises ValueError in one sentence when it cannot be read."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["schema"] != SCHEMA:
            raise ValueError(f"{path} has schema {data['schema']!r} and this course reads {SCHEMA}; run `make claims`.")
        return {key: Verdict(key, entry["word"], tuple(_finding(row) for row in entry["findings"]))
                for key, entry in data["claims"].items()}  # fmt: skip
    except (OSError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} holds no verdicts ({error}); run `make claims`.") from error


def _plain(value: object) -> object:
    """Rounded, and None in place of NaN, which JSON has not."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, tuple):
        return [_plain(inner) for inner in value]
    return (None if math.isnan(value) else float(f"{value:.6g}")) if isinstance(value, float) else value


def _finding(row: dict) -> Finding:
    numbers = {
        name: math.nan if row[name] is None else row[name] for name in ("effect", "low", "high", "p", "adjusted")
    }
    by_seed = tuple(math.nan if value is None else value for value in row["by_seed"])
    return Finding(**row | numbers | {"by_seed": by_seed})


# --- In words -------------------------------------------------------------------------------------------------------
def in_words(finding: Finding) -> str:
    """ "Lost at the middle rate, 5e-3: 10.4 points (5.4 to 15.3): shown"; where the claim names a size, that too."""
    if not math.isfinite(finding.effect):
        return f"{finding.asks}: {finding.outcome}"
    effect, low, high = (f"{number:.{2 if finding.unit == 'rho' else 1}f}" for number in finding.whole())
    claimed = f"; more than {finding.beyond:g}{' %' * (finding.unit == '%')} claimed" if finding.beyond else ""
    size = f"rho {effect}" if finding.unit == "rho" else f"{effect} {finding.unit}"
    return f"{finding.asks}: {size} ({low} to {high}{claimed})" + (f": {finding.outcome}" if finding.outcome else "")


def as_table(verdicts: dict[str, Verdict], claims: Sequence[Claim] = CLAIMS) -> str:
    """The table of verdicts as Markdown: for each claim a finding that speaks for it, and the clearest against.

    Both are of the practice models; SmolLM2's are counted in a column of their own.
    """
    rows = ["| | claim | verdict | as claimed | otherwise | on SmolLM2 |", "|---|---|---|---|---|---|"]
    for claim in claims:
        found = verdicts[claim.key]
        met, unmet = found.met(claim)
        shown, asked = (sum(f.model == "smollm2" for f in findings) for findings in (met, met + unmet))
        smollm2 = f"{shown} of {asked} as claimed" if asked else ""
        own = ([f for f in findings if f.model != "smollm2"] for findings in (met, unmet))
        cells = (claim.number, claim.title, f"**{found.word}**", *map(_first, own), smollm2)
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def _first(findings: Sequence[Finding]) -> str:
    """One of some findings, and how many more there are: first a correlation, then what is decided, and what is in points."""
    if not findings:
        return "nothing"
    first = min(findings, key=lambda f: (f.unit != "rho", f.outcome in ("open", "not comparable"), f.unit != "points"))
    more = f"; and {len(findings) - 1} more" if len(findings) > 1 else ""
    return in_words(first).removesuffix(": shown") + more


def write_into(readme: Path, text_of_it: str) -> Path:
    """Put the verdicts between their markers. Raises ValueError where they are missing."""
    text = readme.read_text(encoding="utf-8")
    if BEGIN not in text or END not in text:
        raise ValueError(
            f"{readme} has no place for the verdicts; put the lines {BEGIN!r} and {END!r} where they belong."
        )
    before, rest = text.split(BEGIN, 1)
    return write_whole(readme, f"{before}{BEGIN}\n{text_of_it}\n{END}{rest.split(END, 1)[1]}")
