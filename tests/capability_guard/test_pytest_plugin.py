"""The fixture ``capability_gate``, in runs of pytest of its own."""

from pathlib import Path

import pytest

import capability_guard
import capability_guard.gate.policy  # here, since each run forgets what it imported, and numpy can be imported once
import capability_guard.gate.terminal  # noqa: F401
from capability_guard.measurement import Measurement, Row

pytest_plugins = ["pytester"]
PLUGIN = "capability_guard.pytest_plugin"


@pytest.fixture
def judged(pytester):
    """Two measurements and a test of one line; gives back what runs it."""
    for name, known in (("base", 100), ("good", 99), ("bad", 60), ("few", 97)):
        rows = []
        for i in range(100):
            answer = f"{i + 1}."
            said = answer if i < known else "Thank you!"
            rows.append(Row(f"What is {i}+1?", answer, "sums", right=i < known, said=said))
        Measurement(name, rows).save(pytester.path / f"{name}.json")

    def run(candidate: str, *more: str, body: str = "pass", sides: bool = True):
        pytester.makepyfile(test_model=f"def test_still_knows(capability_gate):\n    {body}\n")
        given = ["--guard-baseline", "base.json", "--guard-candidate", f"{candidate}.json"] if sides else []
        return pytester.runpytest_inprocess("-p", PLUGIN, "-p", "no:cacheprovider", *given, *more)

    return run


def test_what_is_still_known_passes(judged):
    judged("good").assert_outcomes(passed=1)
    judged("good", body="assert capability_gate(max_drop=5).candidate.name == 'good'").assert_outcomes(passed=1)


def test_what_was_lost_fails_in_words_and_not_in_a_traceback(judged):
    result = judged("bad")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([
        "REGRESSED: Worse by more than is allowed: sums. A loss of 40.0 points, beyond chance (p < 0.001); 5 are allowed.",
        "*✗ sums: 100.0 % before, 60.0 % now; lost 40 and gained 0; drop 40.0 (*",
        "Lost, the worst first (5 of 40):",
        "*'What is 60+1?' was answered '61.', and now 'Thank you!'",
    ])  # fmt: skip
    assert "pytest_plugin.py" not in result.stdout.str() and "Traceback" not in result.stdout.str()


def test_what_cannot_be_certified_fails(judged):
    result = judged("few")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["CANNOT CERTIFY: Open: sums.*"])
    judged("few", body="capability_gate(max_drop=10)").assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("candidate", "more", "body", "says"),
    [
        ("gone", (), "pass", "*gone.json cannot be read*"),
        ("base", (), "pass", "*a file always passes against itself*"),
        ("good", (), "capability_gate(max_dorp=5)", "*max_dorp*"),
        ("good", (), "capability_gate(max_drop=0)", "*max_drop is 0; give a number above 0*"),
        ("good", (), "capability_gate(policy='gone.toml')", "*gone.toml cannot be read*"),
        ("good", (), "capability_gate(policy='guard.toml', max_drop=3)", "*write that into the policy*"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(judged, candidate, more, body, says):
    result = judged(candidate, *more, body=body)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([says])


def test_without_a_model_it_is_skipped_and_with_half_a_pair_it_fails(judged):
    judged("good", sides=False).assert_outcomes(skipped=1)
    result = judged("good", "--guard-candidate", "good.json", sides=False)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*The baseline is missing; give --guard-baseline FILE.*"])


def test_the_configuration_names_files_and_a_policy(judged, pytester):
    pytester.makefile(".toml", guard="version = 1\nmax_drop = 10")
    pytester.makeini("[pytest]\nguard_baseline = base.json\nguard_policy = guard.toml")
    judged("few", "--guard-candidate", "few.json", sides=False).assert_outcomes(passed=1)
    judged("few", "--guard-candidate", "few.json", sides=False, body="capability_gate(max_drop=5)").assert_outcomes(
        failed=1
    )


def test_the_package_brings_it():
    about = (Path(capability_guard.__file__).parents[2] / "pyproject.toml").read_text()
    assert f'[project.entry-points.pytest11]\n"{PLUGIN}" = "{PLUGIN}"' in about
