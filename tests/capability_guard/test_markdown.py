"""The decision as Markdown: the verdict first, a table, the worst answers folded, and what a model says stays text."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from capability_guard.cli import main
from capability_guard.gate.markdown import MARK, SHOWN, markdown, write_markdown
from capability_guard.gate.rule import UNSURE, Decision, judge
from capability_guard.measurement import Measurement, Row

SIGNS = re.compile("[\u200b\ufffd]")  # what the report itself puts between signs, or in their place
HOSTILE = {
    "a pipe ends no cell": "yes | no || maybe \\| so \\\\| then",
    "backticks open no code": "`code` and ```\nfence\n```",
    "HTML is no element": "<script>alert(1)</script><img src=x onerror=alert(2)><!-- no comment --></details>",
    "entities are not read": "&lt;b&gt; &#64;team &amp;",
    "links lead nowhere": "[click](https://x.test) ![shot](http://x.test/a.png) <https://x.test> [a]: http://x.test",
    "addresses are not linked": "https://x.test www.x.test WWW.X.TEST ftp://x.test mail me@x.test",
    "nobody is called": "@octocat and @team/all, see #12 and owner/repo#7",
    "it is no heading and no list": "# Passed\n\n## Passed\n- [x] done\n> quoted\n---\n1. one",
    "emphasis is not seen": "**bold** _under_ ~~gone~~ __both__ $x^2$",
    "lines do not break": "one\r\ntwo\u2028three\x0bfour\n\n| a | b |\n|---|---|",
    "nothing is turned round": "safe \u202egnp.exe\u202c \u2066x\u2069 \x1b[31mred\x00",
}


def measured(
    model: str, right: int, wrong: int, said: str = "no", name: str = "sums", prompt: str = "What is it?"
) -> Measurement:
    rows = [
        Row(f"{i}: {prompt}", "yes", name, right=i < right, loss=0.1 + (i >= right), said="yes" if i < right else said)
        for i in range(right + wrong)
    ]
    return Measurement(model, rows)


def rendered(text: str) -> str:
    """HTML, as GitHub makes it: CommonMark with tables and strikethrough; a bare HTML block is passed on."""
    return MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(text)


def cells(html: str) -> list[list[str]]:
    """The body rows of every table, cell by cell."""
    return [
        re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL) for row in re.findall(r"<tr>(.*?)</tr>", html, re.DOTALL)
    ]


@pytest.mark.parametrize(("wrong", "word"), [(0, "✓ Passed"), (60, "✗ Regressed"), (4, "? Cannot certify")])
def test_the_verdict_is_what_is_read_first(wrong, word):
    text = markdown(judge(measured("base", 100, 0), measured("tuned", 100 - wrong, wrong), max_drop=5))
    lines = [line for line in text.splitlines() if line]
    assert lines[0] == MARK and lines[1] == f"## {word}" and text.endswith("\n")
    assert "`base` against `tuned`" in text
    assert ("**sums**" in text) == bool(wrong), "a line that did not pass says why"


def test_the_table_has_one_row_a_capability_and_all_its_cells():
    rows = [
        Row(f"{name} {i}", "yes", name, right=True, loss=0.1, said="yes")
        for name in ("sums", "a | b")
        for i in range(80)
    ]
    decision = judge(Measurement("base", rows), Measurement("tuned", rows), informational=["a | b"])
    html = rendered(markdown(decision))
    body = [row for row in cells(html) if row]
    assert [row[0] for row in body] == ["sums", "a | b (informational)"]
    assert all(len(row) == html.count("<th>") == 7 for row in body)
    assert [row[1:4] for row in body] == [["100.0 %", "100.0 %", "0 / 0"]] * 2


def test_the_worst_answers_are_folded_and_no_more_than_ten_are_shown():
    decision = judge(measured("base", 100, 0), measured("tuned", 60, 40))
    text = markdown(decision)
    folded = text[text.index("<details>") : text.index("</details>")]
    assert f"the worst {SHOWN} of 40</summary>" in folded and folded.count("| yes | no |") == SHOWN
    assert text.index("<details>") > text.index("| sums |"), "below the table"
    html = rendered(text)
    assert (
        html.count("<details>") == html.count("</details>") == 1
        and len([row for row in cells(html) if row]) == 1 + SHOWN
    )
    assert "<details>" not in markdown(judge(measured("base", 100, 0), measured("tuned", 100, 0)))


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_what_a_model_says_stays_text(text):
    check(text)


@pytest.mark.training
@given(st.text(alphabet="ab @#|`<>&*_~![]()\\/:.-=+$1\n\r\t\u202e\x00", max_size=60))
def test_whatever_a_model_says_stays_text(text):
    check(text)


def check(text: str) -> None:
    """In an answer, a question, a capability and a model's name: one cell, no element, nobody called, and readable as it was."""
    before = measured("base", 100, 0, prompt=text, name=text if text.strip() else "sums")
    after = Measurement(text, [Row(r.prompt, r.answer, r.capability, right=i < 60, loss=0.1 + (i >= 60), said=text)
                               for i, r in enumerate(before.rows)])  # fmt: skip
    html = rendered(markdown(judge(before, after)))
    assert set(re.findall(r"</?([a-z0-9]+)", html)) <= {
        "h2", "p", "code", "table", "thead", "tbody", "tr", "th", "td", "details", "summary", "ul", "li", "strong", "blockquote",
        "br",
    }, html  # fmt: skip
    assert html.count("<h2>") == 1 and html.count("<li>") == 1 and html.count("<!--") == 1
    body = [row for row in cells(html) if row]
    assert [len(row) for row in body] == [7] + [3] * SHOWN
    said = " ".join(re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", "\ufffd", text).split())
    shown = body[1][2].replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"').replace("&amp;", "&")
    assert shown.replace("\u200b", "") == said, "readable as it was said"
    outside = re.sub(r"<code>.*?</code>", "", html, flags=re.DOTALL)
    assert not re.search(r"@[\w]|#\d|://|(?i:www\.)\w|[\u202a-\u202e\u2066-\u2069]", outside), outside


def test_a_long_answer_is_cut_and_a_name_too():
    text = markdown(judge(measured("b" * 500, 100, 0), measured("tuned", 50, 50, said="x" * 5000)))
    assert max(map(len, text.splitlines())) < 700 and "x" * 297 + "..." in text and "b" * 121 not in text


def test_what_could_not_be_compared_is_one_sentence():
    text = markdown(Decision(UNSURE, "base.json is not JSON; measure again."))
    assert text == f"{MARK}\n\n## ? Cannot certify\n\nbase.json is not JSON; measure again.\n"


def test_it_is_written_whole_and_may_replace_only_an_earlier_one(tmp_path, capsys):
    base, tuned = (
        measured("base", 100, 0).save(tmp_path / "b.json"),
        measured("tuned", 100, 0).save(tmp_path / "t.json"),
    )
    out = tmp_path / "deep" / "gate.md"
    for _ in range(2):
        assert main(["gate", str(base), str(tuned), "--markdown", str(out)]) == 0
    assert out.read_text(encoding="utf-8").startswith(MARK) and list(out.parent.iterdir()) == [out]
    notes = tmp_path / "README.md"
    notes.write_text("# Mine\n")
    assert main(["gate", str(base), str(tuned), "--markdown", str(notes)]) == 2
    assert "is there and no earlier report" in capsys.readouterr().err and notes.read_text() == "# Mine\n"
    assert write_markdown(Decision(UNSURE, "x"), tmp_path / "n.md").read_bytes().count(b"\r") == 0
