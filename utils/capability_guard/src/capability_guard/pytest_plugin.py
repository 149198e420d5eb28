"""A pytest plugin: the fixture ``capability_gate`` fails a test where the candidate forgot too much.

    def test_still_knows(capability_gate):
        capability_gate(max_drop=5)

    pytest --guard-baseline baseline.json --guard-candidate candidate.json

It is loaded in every run of pytest, so nothing is imported before a test asks for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from capability_guard.gate import Decision

SIDES = ("baseline", "candidate")
SHOWN = 5  # lost answers in a failure


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("capability-guard", "what a fine-tuned model forgot")
    for side in SIDES:
        words = f"the {side}'s measurement, or its results of another harness; also guard_{side} in the configuration"
        group.addoption(f"--guard-{side}", metavar="FILE", help=words)
        parser.addini(f"guard_{side}", f"what --guard-{side} is where it is not given", default="")
    parser.addini("guard_policy", "a policy file, whose rules hold where a test gives none of its own", default="")


@pytest.fixture(name="capability_gate")
def _capability_gate(request: pytest.FixtureRequest) -> Gate:
    """Judge the candidate against the baseline: call it with the rules of ``judge``. A test that does not is judged at its end."""
    return Gate(request.config)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Iterator[None]:
    found = yield
    gate = getattr(pyfuncitem, "funcargs", {}).get("capability_gate")
    if isinstance(gate, Gate) and not gate.asked:
        gate()
    return found


class Gate:
    """What the fixture is: called with rules, it gives back the decision or fails the test.

    >>> from types import SimpleNamespace
    >>> from capability_guard.measurement import Measurement, Row
    >>> rows = [Row(f"{i}+1?", str(i + 1), "sums", right=True) for i in range(60)]
    >>> options = {f"--guard-{side}": Measurement(side, rows).save(FOLDER / f"{side}.json") for side in SIDES}
    >>> Gate(SimpleNamespace(getoption=options.get, getini=lambda name: ""))(max_drop=5).word
    'passed'
    """

    def __init__(self, config: pytest.Config) -> None:
        self.config, self.asked = config, False

    def __call__(self, policy: str | None = None, **rules: Any) -> Decision:
        """The decision, if it passed; else the test fails with what was lost. rules: those of ``judge``. policy: a file of them."""
        self.asked = True
        said = _failure_or_decision(self.config, policy, rules)
        if isinstance(said, str):
            pytest.fail(said, pytrace=False)
        return said


def _failure_or_decision(config: pytest.Config, policy: str | None, rules: dict[str, Any]) -> Decision | str:
    from capability_guard.gate import compare_files
    from capability_guard.gate.policy import read_policy
    from capability_guard.gate.rule import PASSED
    from capability_guard.jsonl import DataError
    from capability_guard.measurement import MeasurementError

    files = {
        side: config.getoption(f"--guard-{side}") or _beside(config, config.getini(f"guard_{side}")) for side in SIDES
    }
    if not any(files.values()):
        pytest.skip("no model to judge: give --guard-baseline FILE and --guard-candidate FILE")
    if missing := next((side for side in SIDES if not files[side]), None):
        return f"The {missing} is missing; give --guard-{missing} FILE."
    policy = policy or (None if rules else _beside(config, config.getini("guard_policy")))
    if policy and rules:
        return f"The test gives the policy {policy} and {next(iter(rules))}; write that into the policy."
    try:
        decision = compare_files(files["baseline"], files["candidate"], **(read_policy(policy) if policy else rules))
    except (MeasurementError, DataError, TypeError) as error:
        return f"CANNOT CERTIFY: {error}"
    return decision if decision.word == PASSED else in_words(decision)


def _beside(config: pytest.Config, name: str) -> str:
    """A file that the configuration names, which lies beside the configuration."""
    return str(config.rootpath / name) if name else ""


def in_words(decision: Decision) -> str:
    """The failure: the verdict, a line for each capability, and the worst answers.

    >>> from capability_guard.gate.rule import judge
    >>> from capability_guard.measurement import Measurement, Row
    >>> def row(i, right):
    ...     return Row(f"{i}+1?", str(i + 1), "sums", right=right, said=str(i + 1) if right else "?")
    >>> def known(n):
    ...     return Measurement("m", [row(i, i < n) for i in range(60)])
    >>> print(in_words(judge(known(60), known(52))))
    REGRESSED: Worse by more than is allowed: sums. A loss of 13.3 points, beyond chance (p = 0.004); 5 are allowed.
      ✗ sums: 100.0 % before, 86.7 % now; lost 8 and gained 0; drop 13.3 (3.8 to 22.8)
    Lost, the worst first (5 of 8):
      '52+1?' was answered '53', and now '?'
      ...
    """
    from capability_guard.gate.reports import SYMBOL, clean
    from capability_guard.gate.terminal import cells

    lines = [str(decision)]
    for row in decision.comparisons:
        name, before, after, changed, drop, _, _, _ = cells(row)
        lost = f"; lost {changed.replace(' / ', ' and gained ')}" if changed else ""
        lines.append(f"  {SYMBOL[row.word]} {name}: {before} before, {after} now{lost}; drop {drop}")
    if decision.lost:
        lines.append(f"Lost, the worst first ({min(SHOWN, len(decision.lost))} of {len(decision.lost)}):")
        lines += [
            f"  {_short(x.prompt or x.answer)} was answered {_short(x.before)}, and now {_short(x.after)}"
            for x in decision.lost[:SHOWN]
        ]
    lines += [f"Note: {note}" for note in decision.notes]
    return clean("\n".join(lines))


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
