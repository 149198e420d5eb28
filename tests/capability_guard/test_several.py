"""Several candidates in one report: what each gets, which is named, how often a bad one is, and what cannot be compared."""

import json
import os
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from capability_guard.cli import main
from capability_guard.gate import judge, lines
from capability_guard.gate.names import short_names
from capability_guard.gate.rule import PASSED, REGRESSED, UNSURE
from capability_guard.gate.several import LEARNED, LOST, judge_all, judge_files
from capability_guard.measurement import Measurement, MeasurementError, Row
from capability_guard.statistics import most_lost


def measured(wrong=0, loss=None, name="tuned", of=200, texts="x", **more) -> Measurement:
    """A measurement of ``of`` sums with so many wrong answers; loss: on the new task."""
    rows = [
        Row(f"{i}?", "yes", "sums", right=i >= wrong, loss=0.1, said="yes" if i >= wrong else "no") for i in range(of)
    ]
    task = None if loss is None else {"loss": loss, "texts": 24, "fingerprint": texts}
    return Measurement(name, rows, task=task, **more)


BASE = measured(loss=3.0, name="base")


def words(choice) -> dict[str, str]:
    return {one.name: one.word for one in choice.candidates}


# --- Which is named ------------------------------------------------------------------------------------------
def test_the_one_that_passed_and_learned_most_is_named():
    choice = judge_all(BASE, {"timid": measured(0, 2.4), "careful": measured(1, 1.2), "hasty": measured(40, 0.3)})
    assert words(choice) == {"timid": PASSED, "careful": PASSED, "hasty": REGRESSED}
    assert (choice.best.name, choice.ranked, choice.word, choice.exit_code) == ("careful", LEARNED, PASSED, 0)
    assert choice.why.startswith(
        "Best within the budget is careful: of the 2 that passed (of 3) it learned most, 60 %, and"
    )
    assert "lost 0.5 points (at most " in choice.why and choice.why.count(". ") == 0, "one sentence"


def test_without_the_new_task_it_is_the_one_that_lost_least_and_the_sentence_says_so():
    choice = judge_all(measured(), {"a": measured(2), "b": measured(1), "c": measured(40)})
    assert (choice.best.name, choice.ranked) == ("b", LOST)
    assert "it lost least, 0.5 points (at most" in choice.why and "what they learned was not measured" in choice.why
    gained = judge_all(measured(30), {"a": measured(29), "b": measured(10)})
    assert gained.best.name == "b" and "it lost least, it gained 10.0 points" in gained.why


def test_where_some_were_not_measured_those_that_were_are_compared():
    choice = judge_all(BASE, {"a": measured(0), "b": measured(1, 2.0), "c": measured(2, 1.0)})
    assert choice.best.name == "c" and choice.why.endswith("; what a learned was not measured.")
    assert choice.notes == ("What a learned was not measured; --task FILE measures it.",)


@pytest.mark.parametrize(
    ("candidates", "best", "says"),
    [
        ({"a": (1, 1.0), "b": (0, 1.0)}, "b", "; a learned as much and lost more."),
        ({"a": (1, 1.0), "b": (1, 1.0)}, "a", "; b did as well, and a was given first."),
        ({"a": (1, None), "b": (1, None), "c": (1, None)}, "a", "; b and c did as well, and a was given first;"),
        ({"a": (1, 3.3), "b": (0, 3.6)}, "a", "though it learned nothing (the loss on the new task rose by 10 %)"),
    ],
)  # fmt: skip
def test_ties_and_candidates_that_learned_nothing(candidates, best, says):
    choice = judge_all(BASE, {name: measured(wrong, loss) for name, (wrong, loss) in candidates.items()})
    assert choice.best.name == best and says in choice.why


def test_the_only_one_that_passed():
    choice = judge_all(BASE, {"a": measured(0, 1.5), "b": measured(40, 0.3)})
    assert (
        choice.why
        == "Best within the budget is a, the only one of 2 that passed: it learned 50 %, and it lost 0.0 points (at most 1.8)."
    )
    assert judge_all(BASE, {"a": measured(0, 1.5)}).why.startswith("Best within the budget is a: it learned 50 %")


def test_none_passed_says_which_comes_nearest_and_what_is_open():
    choice = judge_all(BASE, {"far": measured(8, 1.0), "near": measured(5, 2.0), "bad": measured(40, 0.3)})
    assert (choice.word, choice.exit_code, choice.best) == (UNSURE, 2, None)
    assert choice.why.startswith("None of 3 candidates passed. Nearest comes near: Open: sums. ")
    assert "It takes at least about" in choice.why


def test_all_regressed():
    choice = judge_all(BASE, {"bad": measured(40, 1.0), "worse": measured(80, 0.5)})
    assert (choice.word, choice.exit_code) == (REGRESSED, 1)
    assert choice.why.startswith("All 2 candidates regressed. Nearest comes bad, which lost 20.0 points (at most ")


# --- How often a bad one is named ----------------------------------------------------------------------------
@pytest.mark.parametrize("probes", [100, 200, 300, 600, 1000])
@pytest.mark.parametrize("candidates", [1, 2, 3, 5, 10, 20])
def test_that_any_beyond_the_budget_passes_has_a_chance_of_at_most_alpha(candidates, probes):
    """By the exact binomial chances, just beyond the budget, however the candidates hang together (the sum of their chances)."""
    level = 0.05 / candidates
    most = max((k for k in range(probes // 10) if most_lost(probes, k, 0, level) <= 0.05), default=-1)
    assert candidates * binom.cdf(most, probes, 0.0501) <= 0.05


def lossy(rng, candidates: int, share: float, probes: int, common: float = 0.0) -> list[np.ndarray]:
    """Which probes each candidate loses: ``share`` of them; ``common`` of that is the same for all."""
    both = rng.random(probes) < share * common
    own = (share - share * common) / (1 - share * common)
    return [both | (rng.random(probes) < own) for _ in range(candidates)]


@pytest.mark.training
@pytest.mark.parametrize("common", [0.0, 0.7])
def test_five_just_beyond_the_budget_name_a_best_at_most_one_time_in_twenty(common, monkeypatch):
    """In simulation through the whole rule; and without the correction it would be far more often."""
    # Neither makes a verdict, and both take most of the time: "it takes about so many", and the lower bound.
    monkeypatch.setattr(lines, "_needed", lambda *_: None)
    monkeypatch.setattr(lines.paired, "least_lost", lambda *_: 0.0)
    rng, rounds, named, uncorrected = np.random.default_rng(11), 150, 0, 0
    base = measured(of=100)
    for _ in range(rounds):
        lost = lossy(rng, 5, 0.0501, 100, common)
        candidates = {
            str(i): Measurement(f"m{i}", [Row(f"{j}?", "yes", "sums", right=not gone) for j, gone in enumerate(which)])
            for i, which in enumerate(lost)
        }
        named += judge_all(base, candidates).best is not None
        uncorrected += any(most_lost(100, int(which.sum()), 0, 0.05) <= 0.05 for which in lost)
    assert named / rounds <= 0.05 + 2 * (0.05 * 0.95 / rounds) ** 0.5
    assert uncorrected / rounds > 0.08 > named / rounds, "it can tell"


def test_only_the_upper_bound_is_divided():
    """A candidate that regressed by itself regresses among others, with the same lower bound and p."""
    alone = judge(BASE, measured(20, 1.0)).comparisons[0]
    choice = judge_all(BASE, {str(i): measured(20 + 5 * i, 1.0) for i in range(4)})
    among = choice.candidates[0].decision.comparisons[0]
    assert (among.word, among.p, among.low) == (alone.word, alone.p, alone.low) == (REGRESSED, alone.p, alone.low)
    assert among.high == pytest.approx(100 * most_lost(200, 20, 0, 0.05 / 4)) and among.high > alone.high
    assert choice.rules.candidates == 4 and choice.rules.level == 0.0125


@pytest.mark.parametrize(("candidates", "fewest"), [(1, 59), (2, 72), (5, 90)])
def test_the_price_in_probes(candidates, fewest):
    """As the module and README say; and a line that is open says how many of them it takes."""
    for of, word in ((fewest, PASSED), (fewest - 1, UNSURE)):
        choice = judge_all(measured(of=of), {str(i): measured(0, of=of, name=f"m{i}") for i in range(candidates)})
        assert set(words(choice).values()) == {word}, of
    assert choice.candidates[0].whole.needed == fewest


@pytest.mark.parametrize("certify", ["together", "each"])
def test_the_rules_are_those_of_one(certify):
    rows = [Row(f"{c}{i}?", "yes", c, right=True) for c in ("sums", "art") for i in range(60)]
    base, after = (
        Measurement("base", rows),
        [Row(r.prompt, "yes", r.capability, right=r.prompt != "art3?") for r in rows],
    )
    settings = {"max_drop": 8, "critical": ["sums"], "alpha": 0.1, "certify": certify}
    choice = judge_all(base, [Measurement("a", after), Measurement("b", rows)], **settings)
    one = judge(base, Measurement("a", after), **{**settings, "alpha": 0.05})  # two of them at 0.1
    assert choice.candidates[0].word == one.word and choice.candidates[0].whole.high == one.comparisons[0].high
    assert [one.name for one in choice.candidates] == ["a", "b"]
    for wrong in ({"max_drop": 0}, {"critical": ["poems"]}, {"informational": ["art", "sums"]}, {"certify": "all"}):
        with pytest.raises(MeasurementError):
            judge_all(base, [base], **wrong)
    with pytest.raises(MeasurementError, match="There is no candidate"):
        judge_all(base, [])


def test_losses_of_texts_alone():
    def texts(name, loss):
        return Measurement(name, [Row("", f"text {i}", "wiki", "loss", loss=loss + i % 7 / 1000) for i in range(200)])

    choice = judge_all(texts("base", 2.0), [texts("same", 2.001), texts("worse", 2.5)])
    assert words(choice) == {"same": PASSED, "worse": REGRESSED} and "lost 0.001 nats a token (at most" in choice.why


# --- What cannot be compared ---------------------------------------------------------------------------------
def test_one_that_cannot_be_compared_gets_its_sentence_and_the_others_are_judged():
    others = Measurement("other", [Row("else?", "yes", "sums", right=True)])
    good = measured(1, 1.2, seconds=2.0)
    base = measured(loss=3.0, name="base", seconds=1.0)
    choice = judge_all(base, {"good": good, "other": others, "torn": MeasurementError("torn is not whole."), "again": good,
                              "base": base, "copy": measured(loss=3.0, name="base", seconds=1.0, measured=base.measured),
                              "chat": measured(0, 1.0, chat=True)})  # fmt: skip
    assert [name for name, word in words(choice).items() if word == PASSED] == ["good", "again"]
    assert set(words(choice).values()) == {PASSED, UNSURE}
    whys = {one.name: one.decision.why for one in choice.candidates}
    assert "The probes are not the same" in whys["other"] and whys["torn"] == "torn is not whole."
    assert whys["base"] == "base is a copy of the baseline; a measurement always passes against itself."
    assert "asked without the chat template and the candidate with" in whys["chat"]
    assert [one.copy_of for one in choice.candidates] == [None, None, None, "good", None, None, None]
    assert choice.rules.candidates == 1, "neither a copy nor what cannot be compared takes a share of alpha"
    assert choice.best.name == "good" and "the only one of 6 that passed" in choice.why
    nothing = judge_all(base, {"other": others, "base": base})
    assert nothing.word == UNSURE and nothing.why.startswith(
        "None of 2 candidates could be compared: The probes are not"
    )


def test_a_copy_of_one_that_regressed_does_not_change_the_exit_code():
    bad = measured(40, 1.0, seconds=2.0)
    choice = judge_all(BASE, {"bad": bad, "again": bad})
    assert choice.exit_code == 1 and choice.why.startswith("The only candidate did not pass. Worse by more")


def test_another_base_and_another_task_are_told():
    choice = judge_all(BASE, {"a": measured(0, 1.0, name="llama", adapter="a"), "b": measured(0, 1.0, texts="y"),
                              "c": measured(0, 2.0, name="hub/base", adapter="c")})  # fmt: skip
    assert choice.notes == (
        "a is an adapter of 'llama', and the baseline is of 'base'; judge it against its own base.",
        "What b learned cannot be compared with the baseline: it was measured on other texts, or with another tokenizer.",
    )
    untold = judge_all(measured(name="base"), {"a": measured(0, 1.0), "b": measured(0)})
    assert "was not measured of the baseline" in untold.notes[0] and untold.ranked == LOST


# --- Names ---------------------------------------------------------------------------------------------------
@given(st.lists(st.text(alphabet="ab/\\. (2)", min_size=1, max_size=8), min_size=1, max_size=6))
def test_no_two_names_are_the_same_and_none_is_empty(paths):
    names = short_names(paths)
    assert len(set(names)) == len(names) == len(paths) and all(names)


def test_names_are_short():
    assert short_names(["a/run.json", "b/run.json", "c.json"]) == ["a/run", "b/run", "c"]
    assert short_names(["run", "run", "./run/"]) == ["run", "run (2)", "./run"]
    assert short_names(["org/model", "C:\\tuned\\model2"]) == ["model", "model2"]


# --- The command ---------------------------------------------------------------------------------------------
@pytest.fixture
def files(tmp_path, monkeypatch):
    """The files that the commands below name, in the folder where they run."""
    monkeypatch.chdir(tmp_path)
    for name, (wrong, loss) in {"base": (0, 3.0), "timid": (0, 2.4), "careful": (1, 1.2), "hasty": (40, 0.3), "rash": (60, 0.2),
                                "open": (6, 1.0)}.items():  # fmt: skip
        measured(wrong, loss, name=name, seconds=1.0).save(f"{name}.json")
    return tmp_path


@pytest.mark.parametrize(
    ("candidates", "code", "says"),
    [
        ("timid careful hasty", 0, "PASSED: Best within the budget is careful"),
        ("hasty rash", 1, "REGRESSED: All 2 candidates regressed."),
        ("hasty open", 2, "CANNOT CERTIFY: None of 2 candidates passed. Nearest comes open"),
        ("hasty none", 2, "none: none.json cannot be read (No such file or directory)"),
        ("careful none", 0, "PASSED: Best within the budget is careful, the only one of 2 that passed"),
        ("careful base", 0, "base: base.json is the baseline; a file always passes against itself."),
        ("careful careful", 0, "careful (2): A copy of careful, judged once for both."),
        ("base none", 2, "CANNOT CERTIFY: None of 2 candidates could be compared: base.json is the baseline"),
    ],
)
def test_exit_codes(files, capsys, candidates, code, says):
    assert main(["gate", "base.json", *(f"{name}.json" for name in candidates.split()), "--json", "r.json"]) == code
    printed = capsys.readouterr()
    assert says in printed.out and not printed.err
    report = json.loads((files / "r.json").read_text())
    assert (report["exit_code"], report["schema"], len(report["candidates"])) == (code, 1, len(candidates.split()))


def test_one_table_with_one_row_a_candidate(files, capsys):
    main(["gate", "base.json", "timid.json", "careful.json", "hasty.json"])
    out = capsys.readouterr().out
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in out.splitlines() if line.startswith("│")]
    assert [(row[0], row[1], row[3]) for row in rows] == [
        ("timid", "20 %", "✓ passed"), ("careful", "60 %", "✓ passed, the best"), ("hasty", "90 %", "✗ regressed")]  # fmt: skip
    assert "base  ->  3 candidates" in out and "a chance of 0.05 / 3 only" in out


def test_a_baseline_or_rules_that_cannot_be_used_are_one_sentence(files, capsys):
    for given_, says in ((("none.json", "careful.json", "hasty.json"), "none.json cannot be read"),
                         (("base.json", "careful.json", "hasty.json", "--critical", "poems"), "'poems' is not measured"),
                         (("base.json", "careful.json", "hasty.json", "--max-drop", "0"), "max_drop is 0")):  # fmt: skip
        assert (
            main(["gate", *given_, "--json", "r.json", "--html", "r.html", "--junit", "r.xml", "--markdown", "r.md"])
            == 2
        )
        out = capsys.readouterr().out
        assert (
            out.startswith("? CANNOT CERTIFY: None of the 2 candidates could be judged: ")
            and says in out
            and out.count("\n") == 1
        )
        assert all(
            says.split()[0].strip("'") in (files / name).read_text(encoding="utf-8")
            for name in ("r.json", "r.html", "r.xml")
        )


def test_no_report_replaces_a_candidate(files, capsys):
    before = (files / "hasty.json").read_bytes()
    assert main(["gate", "base.json", "careful.json", "hasty.json", "--json", "hasty.json"]) == 2
    assert "hasty.json is a measurement, and would be overwritten" in capsys.readouterr().err
    assert (files / "hasty.json").read_bytes() == before


def test_links_and_folders(files):
    shutil.copytree(files, files / "runs" / "one")
    os.link(files / "careful.json", files / "link.json")
    choice = judge_files("base.json", ["careful.json", "link.json", "runs/one/careful.json", "runs/one/hasty.json"])
    assert [one.name for one in choice.candidates] == ["careful", "link", "one/careful", "hasty"]
    assert [one.copy_of for one in choice.candidates] == [None, "careful", "careful", None], "the copied file, too"


def test_one_candidate_is_reported_as_before(files, capsys):
    assert main(["gate", "base.json", "careful.json", "--json", "r.json"]) == 0
    report = json.loads((files / "r.json").read_text())
    assert set(report) == {"schema", "verdict", "exit_code", "why", "learned", "rules", "comparisons", "lost", "notes", "baseline",
                           "candidate"}  # fmt: skip
    assert {"max_drop", "max_loss_rise", "critical", "informational", "alpha", "certify"} <= set(report["rules"])
    assert "base  ->  careful" in capsys.readouterr().out


def test_the_help_says_how_the_best_is_chosen(capsys):
    with pytest.raises(SystemExit):
        main(["gate", "--help"])
    out = " ".join(capsys.readouterr().out.split())
    assert "at least one passed, and the best of those is named. 1: all regressed." in out and "alpha / k" in out
    assert "those that are left out count as well" in out
