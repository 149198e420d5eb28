"""The reports of several candidates: JSON, JUnit, Markdown and the page agree, and what a file is called stays text."""

import json
import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from capability_guard.cli import main
from capability_guard.gate.markdown import MARK, markdown_several
from capability_guard.gate.plane import NARROW, WIDE, Point, plane
from capability_guard.gate.several import judge_all, unable
from capability_guard.gate.several_reports import html, write_json, write_junit
from capability_guard.gate.terminal import show_several
from capability_guard.measurement import Measurement, MeasurementError, Row

EVIL = "<script>alert(1)</script>|`x`@team #12 [bold]\x00\x1b[31m\u202e http://x.test"


def measured(wrong=0, loss=None, name="tuned", of=200, said="no") -> Measurement:
    rows = [Row(f"{i}? {said}", "yes", f"sums {said}", right=i >= wrong, loss=0.1, said="yes" if i >= wrong else said)
            for i in range(of)]  # fmt: skip
    return Measurement(name, rows, task=loss and {"loss": loss, "texts": 24, "fingerprint": "x"}, seconds=1.0)


BASE = measured(loss=3.0, name="base")
FOUR = {
    "timid": measured(0, 2.4),
    "careful": measured(1, 1.2),
    "hasty": measured(40, 0.3),
    "torn": MeasurementError("It is torn."),
}
BAD = {"hasty": measured(40, 0.3), "open": measured(6, 1.0)}


def test_json_has_every_candidate_with_all_that_a_single_one_has(tmp_path):
    report = json.loads(write_json(judge_all(BASE, FOUR), tmp_path / "r.json").read_text())
    assert (report["verdict"], report["exit_code"], report["best"], report["ranked_by"]) == (
        "passed",
        0,
        "careful",
        "learned",
    )
    assert report["rules"]["candidates"] == 3 and report["rules"]["level"] == pytest.approx(0.05 / 3)
    assert [(one["name"], one["verdict"], one["learned"]) for one in report["candidates"]] == [
        ("timid", "passed", pytest.approx(0.2)), ("careful", "passed", pytest.approx(0.6)),
        ("hasty", "regressed", pytest.approx(0.9)), ("torn", "cannot certify", None)]  # fmt: skip
    hasty, torn = report["candidates"][2:]
    assert hasty["whole"]["drop"] == 20 and len(hasty["lost"]) == 40 and hasty["comparisons"][0]["word"] == "regressed"
    assert torn["whole"] is None and torn["why"] == "It is torn." and report["baseline"]["model"] == "base"


@pytest.mark.parametrize(
    ("candidates", "counts", "kinds"),
    [
        (FOUR, ("4", "0", "0", "2"), ["system-out", "system-out", "skipped", "skipped"]),
        (BAD, ("2", "1", "1", "0"), ["failure", "error"]),
    ],
)
def test_junit_fails_only_where_the_command_does(tmp_path, candidates, counts, kinds):
    """A job that shows failed tests beside an exit code of 0 would block what the gate let through."""
    suite = ET.parse(write_junit(judge_all(BASE, candidates), tmp_path / "r.xml")).getroot()[0]
    assert tuple(suite.get(name) for name in ("tests", "failures", "errors", "skipped")) == counts
    cases = suite.findall("testcase")
    assert [case[0].tag for case in cases] == kinds and [case.get("name") for case in cases] == list(candidates)
    assert suite.findtext("system-out") == judge_all(BASE, candidates).why


def rendered(text: str) -> str:
    return MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(text)


def test_markdown_has_one_row_a_candidate_and_folds_each():
    text = markdown_several(judge_all(BASE, FOUR))
    assert text.startswith(f"{MARK}\n\n## ✓ Passed\n\nBest within the budget is careful") and text.endswith("\n")
    first = rendered(text[: text.index("<details>")])
    rows = [re.findall(r"<td>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", first, re.DOTALL)][1:]
    assert [(row[0], row[1], row[3]) for row in rows] == [
        ("timid", "20 %", "✓ passed"), ("careful", "60 %", "✓ passed, the best"), ("hasty", "90 %", "✗ regressed"),
        ("torn", "", "? cannot certify")]  # fmt: skip
    assert re.findall(r"<summary>(.*?)</summary>", text) == ["✓ timid", "✓ careful", "✗ hasty"]
    assert "- **torn**: It is torn." in text and "a chance of 0.05 / 3 only" in text
    assert text.count("<details>") == text.count("</details>") == 3


def test_the_page_names_the_best_and_folds_each():
    page = html(judge_all(BASE, FOUR))
    assert page.count("<details>") == 3 and page.count('class="plane') == 2 and page.count('<tr class="best">') == 1
    told = re.search(r'aria-label="(What 3 candidates learned and lost.*?)"', page)[1]
    assert told.startswith(
        "What 3 candidates learned and lost. careful, the best: learned 60 %, lost 0.5 points (at most "
    )
    levels = [int(level) for level in re.findall(r"<h(\d)", page)]
    assert levels[0] == 1 and levels.count(1) == 1 and all(b - a <= 1 for a, b in zip(levels, levels[1:], strict=False))
    assert page.count("<svg") == page.count('role="img" aria-label="') + page.count('class="sign"')
    assert not re.search(r"""<script|(?:src|href)\s*=|url\(|@import""", page)


def test_where_learning_was_not_measured_there_is_a_line_for_each():
    page = html(judge_all(measured(), FOUR))
    assert 'class="plane' not in page and "hasty: 20.0 points lost, between" in page
    assert page.count(">not known<") == 4 + 1, "learned of four, lost of one"


def test_where_nothing_could_be_judged_the_page_is_short():
    page = html(unable(["a.json", "b.json"], "base.json is not JSON; measure again."))
    assert "base.json is not JSON" in page and "<details>" not in page and "<figure" not in page


def test_what_files_and_models_are_called_stays_text(tmp_path, capsys):
    base = measured(loss=3.0, name=EVIL, said=EVIL)
    choice = judge_all(base, {EVIL: measured(1, 1.0, EVIL, said=EVIL), "b" + EVIL: measured(60, 0.9, said=EVIL)})
    page = html(choice)
    assert "<script" not in page and "&lt;script&gt;" in page and not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f]", page)
    suite = ET.parse(write_junit(choice, tmp_path / "r.xml")).getroot()[0]
    assert "<script>alert(1)</script>" in suite[0].get("name")
    write_json(choice, tmp_path / "r.json")
    seen = rendered(markdown_several(choice))
    assert "<script" not in seen and not re.search(
        r"@team|#12|://|[\u202a-\u202e]", re.sub(r"<code>.*?</code>", "", seen)
    )
    assert (
        seen.count("<summary>") == 2
        and seen.count("<h2>") == 1
        and "\\" not in re.findall(r"<summary>(.*?)</summary>", seen)[0]
    )
    show_several(choice)
    assert not re.search(r"[\x00\x1b]", capsys.readouterr().out)


def test_all_reports_are_written_and_may_replace_earlier_ones(tmp_path, capsys):
    files = [str(one.save(tmp_path / f"{name}.json")) for name, one in (("base", BASE), *list(FOUR.items())[:3])]
    names = {"json": "r.json", "junit": "r.xml", "html": "r.html", "markdown": "r.md"}
    options = [part for kind, name in names.items() for part in (f"--{kind}", str(tmp_path / "out" / name))]
    for more in ([], [], files[:0]):
        assert main(["gate", *files, *options, *more]) == 0
    assert main(["gate", *files[:3], *options]) == 0 and main(["gate", *files[:2], *options]) == 0, "one after several"
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(names.values())
    capsys.readouterr()


# --- The plane -----------------------------------------------------------------------------------------------
def overlap(one, other) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


WORDS = st.sampled_from(("passed", "regressed", "cannot certify"))
points = st.lists(
    st.tuples(st.text(min_size=1, max_size=30), st.integers(-50, 100), st.integers(-100, 900), WORDS),
    min_size=1, max_size=16,
)  # fmt: skip


@settings(deadline=None)
@given(points, st.sampled_from((0.05, 1.0, 5.0, 20.0)))
def test_no_label_covers_another_or_a_mark_and_all_stays_inside(given_, budget):
    chosen = [Point(name, learned, lost / 10, lost / 10 - 1.5, lost / 10 + 2.5, word, best=not i)
              for i, (name, learned, lost, word) in enumerate(given_)]  # fmt: skip
    for size in (WIDE, NARROW):
        drawn = plane(chosen, budget, size)
        left, top, right, bottom = drawn["frame"]
        boxes = [label["box"] for label in drawn["labels"]]
        marks = [(one["x"] - 7, one["y"] - 7, one["x"] + 7, one["y"] + 7) for one in drawn["marks"]]
        assert not any(overlap(a, b) for i, a in enumerate(boxes) for b in boxes[:i])
        assert not any(overlap(a, b) for a in boxes for b in marks)
        assert all(
            left <= one["x"] <= right and top <= y <= bottom
            for one in drawn["marks"]
            for y in (one["y"], one["low"], one["high"])
        )
        assert all(min(a, b) >= 0 and c <= size.width and d <= size.height for a, b, c, d in boxes)
        assert drawn["numbered"] or sum(label["count"] for label in drawn["labels"]) == len(chosen), (
            "every name or none"
        )
        assert top < drawn["budget"] < bottom and 2 <= len(drawn["down"]) <= 7 and 2 <= len(drawn["across"]) <= 7


def test_names_that_are_long_or_many_are_numbers_and_the_table_says_whose():
    long = {"a" * 40: measured(0, 1.5), "b": measured(1, 1.2)}
    page = html(judge_all(BASE, long))
    assert re.search(r'<text class="name[^>]*>1</text>', page) and re.search(r"1 <bdi>a{40}</bdi>", page)
    drawn = plane([Point(f"n{i}", 10 * i, i, i - 1, i + 1, "passed") for i in range(9)], 5.0, WIDE)
    assert (
        drawn["numbered"] and [label["text"] for label in sorted(drawn["labels"], key=lambda one: one["x"])][0] == "1"
    )


def test_equals_share_a_label_and_the_best_is_on_top():
    drawn = plane([Point("a", 50, 1, 0, 2, "passed"), Point("b", 50, 1, 0, 2, "passed", best=True)], 5.0, WIDE)
    assert [(label["text"], label["best"]) for label in drawn["labels"]] == [("a, b", True)]


def test_numbers_without_an_end_are_not_drawn():
    page = html(judge_all(BASE, {"a": measured(0, 1e300), "b": measured(0, 1.0)}))
    assert 'class="plane' not in page and "a: 0.0 points lost" in page and len(page) < 60_000 and "-999 %" in page
