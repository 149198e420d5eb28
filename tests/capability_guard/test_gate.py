"""The gate: what passes, what is blocked, what stays open; its reports; and what it does with bad input."""

import json
import math
import re
import subprocess
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capability_guard.cli import main
from capability_guard.gate import compare_files
from capability_guard.gate.reports import html, write_json, write_junit
from capability_guard.gate.rule import PASSED, REGRESSED, TOGETHER, UNSURE, Decision, judge
from capability_guard.gate.several import judge_files
from capability_guard.gate.terminal import show
from capability_guard.measurement import Mean, Measurement, MeasurementError, Row

EVIL = "<script>alert(1)</script><img src=http://x.test/a.png onerror=alert(2)>\x00\x1b[31m\u202e[bold]]]>&amp;"


def measured(model="base", **groups) -> Measurement:
    """A measurement with so many right and wrong answers a capability: ``measured(sums=(98, 2))``."""
    rows = [
        Row(
            f"{name} {i}?",
            "yes",
            name,
            right=i < right,
            loss=0.1 if i < right else 2.0 + i / 100,
            said="yes" if i < right else "no",
        )
        for name, (right, wrong) in groups.items()
        for i in range(right + wrong)
    ]
    return Measurement(model, rows)


def texts(model: str, losses, name="wiki") -> Measurement:
    return Measurement(model, [Row("", f"text {i}", name, "loss", loss=loss) for i, loss in enumerate(losses)])


def lines(decision: Decision) -> dict:
    return {row.name: row for row in decision.comparisons}


# --- The rule ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("after", "max_drop", "word", "says"),
    [
        ((200, 0), 5, PASSED, "more than 1.5 points is ruled out; 5 are allowed"),
        ((150, 50), 5, REGRESSED, "A loss of 25.0 points, beyond chance (p < 0.001); 5 are allowed"),
        ((190, 10), 10, PASSED, "There is a real loss, of 5.0 points (p < 0.001): it is inside the budget"),
        (
            (190, 10),
            5,
            UNSURE,
            "A real loss, of 5.0 points as seen (p < 0.001), may be up to 8.3 points; 5 are allowed",
        ),
        (
            (196, 4),
            2.5,
            UNSURE,
            "A loss of up to 4.5 points cannot be ruled out; 2.5 are allowed. It takes at least about",
        ),
        (
            (196, 4),
            1.5,
            UNSURE,
            "A loss of 2.0 points was seen, but it may be chance (p = 0.062); 1.5 are allowed. It takes at least about 250",
        ),
    ],
)
def test_the_three_verdicts(after, max_drop, word, says):
    decision = judge(measured(sums=(200, 0)), measured("new", sums=after), max_drop=max_drop)
    assert decision.word == word and says in lines(decision)["sums"].why
    assert decision.exit_code == {PASSED: 0, REGRESSED: 1, UNSURE: 2}[word]
    assert decision.why in str(decision) and word.upper() in str(decision)


def test_a_gain_passes():
    decision = judge(measured(sums=(150, 50)), measured("new", sums=(190, 10)))
    assert decision.word == PASSED and lines(decision)["sums"].why == "It got better." and not decision.lost


def test_three_probes_cannot_tell_and_59_can():
    assert judge(measured(sums=(3, 0)), measured("new", sums=(3, 0))).word == UNSURE
    row = lines(judge(measured(sums=(58, 0)), measured("new", sums=(58, 0))))["sums"]
    assert (row.word, row.needed) == (UNSURE, 59) and "at least about 59 such probes to tell (58 asked)" in row.why
    assert judge(measured(sums=(59, 0)), measured("new", sums=(59, 0))).word == PASSED


@pytest.mark.parametrize("known", [0, 4, 10])
def test_a_baseline_that_knows_nothing_cannot_be_certified(known):
    """Otherwise probes that nobody can answer would always pass."""
    decision = judge(measured(sums=(known, 200 - known)), measured("new", sums=(0, 200)))
    assert decision.word == UNSURE and "could not show; ask what it can answer" in decision.why


def test_a_baseline_that_only_guesses_cannot_be_certified():
    def guessing(model):
        return Measurement(
            model, [Row(f"{i}?", "a", "picks", "choice", tuple("abcd"), right=i % 4 == 0) for i in range(200)]
        )

    decision = judge(guessing("old"), guessing("new"))
    assert decision.word == UNSURE and "only 25 % right, of which guessing gives 25 %" in decision.why


def test_tiers():
    before, after = measured(sums=(100, 0), art=(100, 0)), measured("new", sums=(100, 0), art=(20, 80))
    assert judge(before, after).word == REGRESSED
    for tiers in ({"critical": ["sums"]}, {"informational": ["art"]}):
        decision = judge(before, after, **tiers)
        assert (
            decision.word == PASSED and lines(decision)["art"].word == REGRESSED and not lines(decision)["art"].critical
        )
        assert TOGETHER not in lines(decision), "one critical capability is all of them"
    assert TOGETHER in lines(judge(before, after))
    with pytest.raises(MeasurementError, match="'poems' is not measured; the capabilities are art, sums"):
        judge(before, after, critical=["poems"])
    with pytest.raises(MeasurementError, match="named critical and informational"):
        judge(before, after, critical=["art"], informational=["art"])
    with pytest.raises(MeasurementError, match="nothing would decide"):
        judge(before, after, informational=["art", "sums"])


@pytest.mark.parametrize("rules", [{"max_drop": 0}, {"max_drop": -1}, {"max_drop": 100}, {"max_drop": float("nan")},
                                   {"alpha": 0.5}, {"alpha": 0}, {"max_loss_rise": 0}])  # fmt: skip
def test_settings_out_of_range(rules):
    with pytest.raises(MeasurementError, match="give a number above 0 and below"):
        judge(measured(sums=(9, 0)), measured("new", sums=(9, 0)), **rules)


def test_several_capabilities_are_corrected_for():
    """A p of 0.03 by itself is a regression; among twenty rows it is what chance brings."""
    before = measured(**{f"c{i}": (100, 0) for i in range(20)})
    groups = {f"c{i}": (100, 0) for i in range(20)} | {"c0": (94, 6)}
    alone = judge(measured(c0=(100, 0)), measured("new", c0=(94, 6)))
    assert lines(alone)["c0"].p == pytest.approx(2**-6) and alone.word == REGRESSED
    among = lines(judge(before, measured("new", **groups)))["c0"]
    assert among.p > 0.05 and among.word == UNSURE
    assert lines(alone)["c0"].high == among.high, "a bound does not widen with the number of rows"
    assert among.needed > among.probes, "and it says how many would do beside the nineteen others"


def simulated(rng, lost: float, gained: float, capabilities=4, probes=80):
    before = rng.random((capabilities, probes)) < 0.8
    moved = rng.random((capabilities, probes))
    after = np.where(before, moved >= lost / 0.8, moved < gained / 0.2)

    def make(name, outcomes):
        return Measurement(
            name,
            [
                Row(f"{k} {i}?", "a", f"c{k}", right=bool(r))
                for k, row in enumerate(outcomes)
                for i, r in enumerate(row)
            ],
        )

    return make("old", before), make("new", after)


@pytest.mark.training
def test_neither_error_is_more_frequent_than_alpha():
    rng = np.random.default_rng(0)
    alarms = sum(judge(*simulated(rng, 0.08, 0.08), max_drop=1).word == REGRESSED for _ in range(60))
    passes = sum(judge(*simulated(rng, 0.101, 0.0), max_drop=10, critical=["c0"]).word == PASSED for _ in range(60))
    assert alarms <= 7 and passes <= 7  # of 60: two standard deviations above 5 %
    assert sum(judge(*simulated(rng, 0.5, 0.0)).word == REGRESSED for _ in range(10)) == 10, "and it does see"


def test_losses_of_texts():
    rng = np.random.default_rng(1)
    base = rng.uniform(2, 4, 80)
    noise = rng.normal(0, 0.01, 80)
    assert judge(texts("a", base), texts("b", base + noise)).word == PASSED
    worse = judge(texts("a", base), texts("b", base + 0.3 + noise))
    assert worse.word == REGRESSED and "nats a token, beyond chance" in worse.why
    wide = judge(texts("a", base), texts("b", base + rng.normal(0.03, 0.5, 80)))
    assert wide.word == UNSURE and "nats a token cannot be ruled out; 0.05 are allowed" in wide.why
    few = judge(texts("a", base[:4]), texts("b", base[:4]))
    assert few.word == UNSURE and "It takes at least about 59 such probes to tell (4 asked)" in few.why
    assert judge(texts("a", base), texts("b", base + 0.3 + noise), max_loss_rise=2).word == PASSED


def test_a_capability_with_questions_and_texts_has_a_line_for_each():
    both = [Measurement(m, (*measured(wiki=(100, 0)).rows, *texts(m, [1.0] * 9).rows)) for m in ("a", "b")]
    assert set(lines(judge(*both))) == {"wiki", "wiki (loss)"}


def test_means_without_rows_are_compared_unpaired():
    def means(value, error=0.01):
        return Measurement("m", (), means=(Mean("arc", value, error, 2000),))

    assert judge(means(0.8), means(0.79)).word == PASSED
    assert judge(means(0.8), means(0.6)).word == REGRESSED
    assert judge(means(0.8), means(0.77)).word == UNSURE
    assert "standard error of 0" in judge(means(0.8, 0.0), means(0.8)).why
    assert "could not show" in judge(means(0.03), means(0.03)).why
    with pytest.raises(MeasurementError, match="'arc' is in one of the two results only"):
        judge(means(0.8), Measurement("m", (), means=(Mean("piqa", 0.8, 0.01),)))


# --- What does not pair --------------------------------------------------------------------------------------
def test_probe_sets_that_differ_are_refused_with_an_example():
    with pytest.raises(MeasurementError, match=r"1 is missing from the candidate \(as 'sums 9\?'\)"):
        judge(measured(sums=(10, 0)), measured("new", sums=(9, 0)))
    with pytest.raises(MeasurementError, match="2 are missing from the baseline"):
        judge(measured(sums=(8, 0)), measured("new", sums=(10, 0)))
    with pytest.raises(MeasurementError, match="not the same: 9 are missing from the candidate.*, and 9 are missing"):
        judge(measured(sums=(9, 0)), measured("new", art=(9, 0)))


def test_order_does_not_matter():
    before = measured(sums=(80, 20))
    assert judge(before, Measurement("new", before.rows[::-1])).comparisons[0].lost == 0


def test_measured_differently():
    rows = measured(sums=(99, 0)).rows
    with pytest.raises(MeasurementError, match="asked without the chat template and the candidate with"):
        judge(Measurement("a", rows), Measurement("b", rows, chat=True))
    with pytest.raises(MeasurementError, match="arc is 0-shot in the baseline and 5-shot in the candidate"):
        judge(Measurement("a", rows, settings={"arc": "0-shot"}), Measurement("b", rows, settings={"arc": "5-shot"}))
    decision = judge(
        Measurement("a", rows, versions={"torch": "2.11"}, machine="Linux"),
        Measurement("a", rows, versions={"torch": "2.13"}, machine="Darwin", notes=("mind the gap",)),
    )
    told = " ".join(decision.notes)
    assert "torch was 2.11 for the baseline and 2.13" in told and "ran on Linux" in told and "mind the gap" in told
    assert "Both measurements are of 'a'" in told


# --- The command ---------------------------------------------------------------------------------------------
def run(tmp_path, before, after, *more) -> int:
    if isinstance(before, Measurement):
        before = before.save(tmp_path / "before.json")
    if isinstance(after, Measurement):
        after = after.save(tmp_path / "after.json")
    reports = ["--json", tmp_path / "r.json", "--junit", tmp_path / "r.xml", "--html", tmp_path / "r.html"]
    return main(["gate", *(str(x) for x in (before, after, *reports, *more))])


@pytest.mark.parametrize(("after", "code"), [((200, 0), 0), ((100, 100), 1), ((193, 7), 2)])
def test_exit_codes_and_reports_agree(tmp_path, capsys, after, code):
    rule = ("--certify", "each")  # the sums by themselves may have lost more than the budget
    assert (
        run(tmp_path, measured(sums=(200, 0), art=(200, 0)), measured("new", sums=after, art=(200, 0)), *rule) == code
    )
    word = (PASSED, REGRESSED, UNSURE)[code]
    data = json.loads((tmp_path / "r.json").read_text())
    assert (data["verdict"], data["exit_code"], data["schema"]) == (word, code, 1)
    assert len(data["lost"]) == after[1] and data["baseline"]["probes"] == 400 and data["rules"]["max_drop"] == 5
    suite = ET.parse(tmp_path / "r.xml").getroot()[0]
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("3", *{0: "00", 1: "20", 2: "01"}[code])
    assert [case.get("name") for case in suite] == [TOGETHER, "art", "sums"]
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert word in page and re.search(rf"<strong>.*{word}</strong>", page)
    out = capsys.readouterr().out
    assert word.upper() in out and "base  ->  new" in out
    if after[1]:
        assert re.search(r"sums \d+\? +│ yes +│ no ", out), "side by side"


def test_informational_rows_never_fail_in_junit(tmp_path):
    assert (
        run(tmp_path, measured(a=(99, 0), b=(99, 0)), measured("n", a=(99, 0), b=(9, 90)), "--informational", "b") == 0
    )
    case = ET.parse(tmp_path / "r.xml").getroot()[0].find("testcase[@name='b']")
    assert case.find("failure") is None and case.findtext("system-out").startswith("regressed: A loss of 90.9")


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats() | st.text(max_size=5),
    lambda x: st.lists(x, max_size=2) | st.dictionaries(st.text(max_size=5), x, max_size=2),
    max_leaves=4,
)


@pytest.mark.training
@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_change_to_a_file_gets_past_the_checks_and_into_a_crash(tmp_path_factory, data):
    """One value somewhere in a sound file is replaced. Then it is refused in one sentence, or all reports are written."""
    folder = tmp_path_factory.mktemp("changed")
    good = Measurement(
        "a", measured(sums=(70, 0)).rows, means=(Mean("arc", 0.8, 0.01, 99),), notes=("n",), settings={"k": "v"}
    )
    good.save(folder / "a.json")
    content = json.loads((folder / "a.json").read_text())
    place = content
    while isinstance(place, (dict, list)) and place:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else [0, len(place) - 1]))
        if not isinstance(place[key], (dict, list)) or not place[key] or data.draw(st.integers(0, 3)) == 0:
            place[key] = data.draw(anything)
            break
        place = place[key]
    (folder / "b.json").write_text(json.dumps(content))
    try:
        decision = compare_files(folder / "a.json", folder / "b.json")
    except MeasurementError as error:
        assert "\n" not in str(error)
        decision = Decision(UNSURE, str(error))
    html(decision), write_json(decision, folder / "r.json"), write_junit(decision, folder / "r.xml")
    show(decision)


def test_an_axis_of_any_length_has_at_most_seven_marks():
    from capability_guard.gate.reports import _ticks

    assert _ticks(-3.2, 16.1) == [0, 5, 10, 15] and _ticks(-0.012, 0.04) == [-0.01, 0, 0.01, 0.02, 0.03, 0.04]
    for width in (1e-9, 0.3, 7, 3e5, 1e300):
        assert 3 <= len(_ticks(-width, width)) <= 7
    assert _ticks(-1e308, 1e308) == _ticks(0, math.inf) == []
    before, after = texts("old", [1.0] * 9), texts("new", [1e200 + i for i in range(9)])
    assert len(html(judge(before, after))) < 100_000


def test_a_mean_that_is_no_share_is_refused():
    with pytest.raises(MeasurementError, match="The score of 'arc' is 1e[+]300 ± 0.01; both must be from 0 to 1"):
        Measurement("a", (), means=(Mean("arc", 1e300, 0.01, 99),))


@pytest.mark.parametrize(
    ("before", "says"),
    [("{", "is not JSON"), ('{"schema": 9, "rows": []}', "has schema 9, and this version reads up to 1"), ("[]", "no measurement"),
     (None, "cannot be read")],
)  # fmt: skip
def test_unreadable_input_is_exit_2_one_sentence_and_whole_reports(tmp_path, capsys, before, says):
    if before is not None:
        (tmp_path / "before.json").write_text(before)
    assert run(tmp_path, tmp_path / "before.json", measured(sums=(9, 0))) == 2
    printed = capsys.readouterr()
    assert says in printed.out and "Traceback" not in printed.out + printed.err
    assert says in json.loads((tmp_path / "r.json").read_text())["why"]
    case = ET.parse(tmp_path / "r.xml").getroot()[0][0]
    assert says in case.find("error").get("message") and "CANNOT CERTIFY" in printed.out
    assert says in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_a_file_against_itself_proves_nothing(tmp_path, capsys):
    path = measured(sums=(99, 0)).save(tmp_path / "m.json")
    assert run(tmp_path, path, path) == 2 and "always passes against itself" in capsys.readouterr().out


def test_a_report_that_cannot_be_written_blocks(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    good = measured(sums=(99, 0))
    assert run(tmp_path, good, Measurement("new", good.rows), "--html", tmp_path / "file" / "r.html") == 2
    assert "cannot be written" in capsys.readouterr().err


def test_a_report_overwrites_an_earlier_report_and_nothing_else(tmp_path, capsys):
    (tmp_path / "p.jsonl").write_text('{"prompt": "a"}')
    good, new = measured(sums=(99, 0)), Measurement("new", measured(sums=(99, 0)).rows)
    for option, path, says in (("--json", tmp_path / "p.jsonl", "is there and no earlier report"), ("--html", "", "an empty name"),
                               ("--html", tmp_path / "r.json", "Two reports have one name")):  # fmt: skip
        assert run(tmp_path, good, new, option, path) == 2 and says in capsys.readouterr().err
    assert (tmp_path / "p.jsonl").read_text() == '{"prompt": "a"}'
    for _ in range(2):
        assert run(tmp_path, good, new, "--html", tmp_path / "r.html") == 0


def test_wrong_usage_is_exit_2(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["gate", "one.json"])
    assert stopped.value.code == 2
    capsys.readouterr()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of a file")
def test_a_full_disk_leaves_the_old_report_alone(tmp_path, root):
    """The limit on a file's size makes the write fail in the middle, as a full disk does; then kill -9 cannot do worse."""
    import resource

    good = measured(sums=(400, 0))
    before, after = good.save(tmp_path / "a.json"), measured("new", sums=(200, 200)).save(tmp_path / "b.json")
    report = tmp_path / "r.html"
    report.write_text("<!doctype html>the old report")
    done = subprocess.run(
        [sys.executable, "-m", "capability_guard", "gate", before, after, "--html", report],
        cwd=root, capture_output=True, text=True, timeout=300,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)),
    )  # fmt: skip
    assert done.returncode == 2 and "cannot be written" in done.stderr and "Traceback" not in done.stderr
    assert report.read_text() == "<!doctype html>the old report" and sorted(f.name for f in tmp_path.iterdir()) == [
        "a.json",
        "b.json",
        "r.html",
    ]


def test_a_crash_is_not_mistaken_for_a_regression(tmp_path, root):
    """Python's own exit code for an exception is 1."""
    before, after = (
        measured(sums=(9, 0)).save(tmp_path / "a.json"),
        measured("n", sums=(9, 0)).save(tmp_path / "b.json"),
    )
    code = (
        "import runpy, sys, capability_guard.gate as gate\n"
        f"gate.judge, sys.argv = None, ['capability-guard', 'gate', {str(before)!r}, {str(after)!r}]\n"
        "runpy.run_module('capability_guard', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2 and "TypeError" in done.stderr


# --- What models say is text ---------------------------------------------------------------------------------
@pytest.fixture
def evil():
    def make(model, right):
        return Measurement(
            model, [Row(EVIL + str(i), EVIL, EVIL, right=right or i > 60, said=EVIL) for i in range(90)], adapter=EVIL
        )

    return judge(make(EVIL, True), make(EVIL + "2", False))


def test_html_shows_what_models_say_and_does_not_run_it(evil):
    page = html(evil)
    assert "<script" not in page and "<img" not in page and "&lt;script&gt;alert(1)" in page
    assert not re.search(r"""(?:src|href)\s*=|url\(|@import""", page.replace(" src=http://x.test/a.png", ""))
    assert "default-src 'none'" in page and not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f]", page)


def test_junit_json_and_terminal_survive_it(evil, tmp_path, capsys):
    suite = ET.parse(write_junit(evil, tmp_path / "r.xml")).getroot()[0]
    assert "<script>alert(1)</script>" in suite[0].get("name"), "escaped in the file, and itself again when read"
    assert json.loads(write_json(evil, tmp_path / "r.json").read_text())["lost"][0]["after"] == EVIL
    show(evil)
    out = capsys.readouterr().out
    assert "\x00" not in out and "\x1b" not in out and "[bold]]]>" in out, (
        "neither an escape sequence nor rich's own markup"
    )


@pytest.mark.training
@settings(max_examples=30, deadline=None)
@given(st.text(max_size=40), st.text(max_size=40))
def test_any_text_makes_whole_reports(tmp_path_factory, prompt, said):
    def make(model, right):
        return Measurement(model, [Row(prompt, str(i), "c " + prompt, right=right, said=said) for i in range(60)])

    folder = tmp_path_factory.mktemp("any")
    decision = judge(make("a", True), make("b", False))
    ET.parse(write_junit(decision, folder / "r.xml"))
    write_json(decision, folder / "r.json")
    assert html(decision).encode("utf-8").count(b"<script") == 0


def test_the_page_is_in_order_for_a_screen_reader():
    page = html(judge(measured(sums=(99, 1), art=(100, 0)), measured("new", sums=(9, 91), art=(100, 0))))
    levels = [int(level) for level in re.findall(r"<h(\d)", page)]
    assert levels[0] == 1 and levels.count(1) == 1 and all(b - a <= 1 for a, b in zip(levels, levels[1:], strict=False))
    assert page.count("<svg") == page.count('role="img" aria-label="') == 6
    assert "sums: 90.0 points lost, between" in page and '<html lang="en">' in page


# --- A thing always passes against itself ------------------------------------------------------------------------
def test_a_copy_is_told_whatever_its_file_is_called(tmp_path):
    """The notes of another harness's results name the file."""
    data = {"model_name": "base", "results": {"arc": {"acc,none": 0.8, "acc_stderr,none": 0.008}}, "date": 1.0, "n-shot": {},
            "total_evaluation_time_seconds": "12.0"}  # fmt: skip
    folder = tmp_path / "out"
    folder.mkdir()
    file = folder / "results_2026-01-01T00-00-00.000000.json"
    file.write_text(json.dumps(data))
    copy = tmp_path / "copy.json"
    copy.write_text(json.dumps(data))
    for one, other in ((folder, file), (file, folder), (file, copy), (folder, copy)):
        with pytest.raises(MeasurementError, match="is a copy of .*; a file always passes against itself"):
            compare_files(one, other)
    assert judge_files(file, [copy]).candidates[0].word == UNSURE
    copy.write_text(json.dumps({**data, "total_evaluation_time_seconds": "13.0"}))
    assert compare_files(file, copy).word == PASSED


def test_a_model_is_not_compared_with_itself(tmp_path, capsys):
    (tmp_path / "base").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "base")
    for model, named in (("some/model", ["some/model"]), (tmp_path / "base", ["other", tmp_path / "link"])):
        arguments = ["compare", "--model", str(model), "--candidate", *map(str, named), "--probes", "none.jsonl"]
        assert main(arguments) == 2
        said = f"--candidate {named[-1]} is --model; a model always passes against itself."
        assert said in capsys.readouterr().err
