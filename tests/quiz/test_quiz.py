"""The quiz: its questions and objectives as data, each question answered right and wrong through its widgets, and what
is saved. The same file runs a second time on ipywidgets 7.7.1, which is what Colab has.
"""

import json
import re
from pathlib import Path

import ipywidgets
import pytest
from old_widgets import SECOND_RUN, run_again

from utils.course.maintain import store_lessons
from utils.quiz import widgets as quizzes
from utils.quiz.objectives import course_quiz, read_objectives
from utils.quiz.progress import Progress, default_path
from utils.quiz.questions import RATINGS, QuizError, as_text, read_questions
from utils.quiz.widgets import VIEW, quiz, rich, score
from utils.training import DATA, RunResult

QUESTIONS, OBJECTIVES = course_quiz()
LESSONS = store_lessons.LESSONS
LESSON = LESSONS / "10_quiz.ipynb"


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch) -> Path:
    """Answers of the tests' own, never the learner's."""
    monkeypatch.setenv("COURSE_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(quizzes, "_progress", {})
    return tmp_path / "state" / "quiz.json"


def restarted(monkeypatch) -> None:
    """What a new kernel knows: nothing but the file."""
    monkeypatch.setattr(quizzes, "_progress", {})


def said(widget) -> str:
    return " ".join(re.sub("<[^>]+>", " ", widget.value).split())


def right_and_wrong(question) -> tuple:
    """One right answer and every kind of wrong one, as the widgets take them."""
    if question.kind == "choice":
        return question.right_letter, [letter for letter in question.letters if letter != question.right_letter]
    if question.kind == "order":
        return question.answer, [question.answer[::-1], question.answer[1] + question.answer[0] + question.answer[2:]]
    if question.kind == "number":
        return question.answer, [question.answer + 3 * question.tolerance, *(value for value, _ in question.slips)]
    return "My own words.", []


# --- Every question, through its widgets ------------------------------------------------------------------------
@pytest.mark.parametrize("name", QUESTIONS)
def test_every_question_answered_wrong_then_right(name, state):
    question = QUESTIONS[name]
    card = quiz(name).cards[name]
    right, wrong = right_and_wrong(question)
    for answer in wrong:
        card.input.value = answer
        card.check.click()
        assert quizzes.progress().answers[name] == answer and question.points(answer) == 0
        assert card.feedback.value.startswith('<div role="status"') and re.search(
            "not right|Not right", said(card.feedback)
        )
    card.input.value = right
    card.check.click()
    if question.kind == "text":
        assert said(card.feedback).startswith("Compare yours") and card.rating.layout.display is None
        card.rating.value = RATINGS[0]
        assert "You rated it: I had all of it." in said(card.feedback)
    else:
        assert re.search("is right|Right, all", said(card.feedback)) and card.rating.layout.display == "none"
    for reason in question.reasons():
        assert " ".join(re.sub("<[^>]+>", " ", rich(reason, block=False)).split()) in said(card.feedback), (
            "each is explained"
        )
    assert f'href="{question.link.lesson}"' in card.feedback.value and str(question.link) in said(card.feedback)
    saved = json.loads(state.read_text(encoding="utf-8"))["answers"]
    assert list(saved) == [name] and question.points(saved[name]) == 1


def test_a_known_slip_is_named():
    card = quiz("scale").cards["scale"]
    card.input.value = 4
    card.check.click()
    assert "r / alpha" in said(card.feedback) and "0.25" in said(card.feedback)
    card.input.value = 3
    card.check.click()
    assert "r / alpha" not in said(card.feedback)
    card = quiz("half-drop").cards["half-drop"]
    card.input.value = 22  # within the tolerance of two slips: the nearer one counts
    card.check.click()
    assert "half of the answers" in said(card.feedback) and "half of the steps" not in said(card.feedback)


def test_nothing_is_marked_before_it_is_answered(state):
    for name, wanted in (("one-knob", "Choose an answer"), ("plan", "Write each of the letters A, B, C, D, E, F once"),
                         ("scale", "Type a number"), ("what-happened", "Write your own answer")):  # fmt: skip
        card = quiz(name).cards[name]
        card.check.click()
        assert wanted in said(card.feedback) and not state.exists(), name
    card = quiz("plan").cards["plan"]
    for text in ("DBEAC", "DBEACC", "DBEACFG", "1234"):
        card.input.value = text
        card.check.click()
        assert "Write each of the letters" in said(card.feedback)
    card.input.value = "d, b, e, a, c, f"
    card.check.click()
    assert said(card.feedback).startswith("Right, all of them.")


def test_order_says_which_places_to_look_at():
    card = quiz("first-rate").cards["first-rate"]
    card.input.value = "CDAB"
    card.check.click()
    assert "Not right at place 2, 3." in said(card.feedback)


def test_a_text_is_rated_by_its_writer_and_a_new_text_anew():
    card = quiz("colleague").cards["colleague"]
    card.input.value = "It may have <b>forgotten</b>."
    card.check.click()
    assert rows()["during"] == (0, 1, 2)
    card.rating.value = RATINGS[1]
    assert rows()["during"] == (0.5, 1, 2)
    card.check.click()
    assert rows()["during"] == (0.5, 1, 2), "the same text keeps its rating"
    card.input.value = "More."
    card.check.click()
    assert card.rating.value is None and rows()["during"] == (0, 1, 2)
    card.input.value = "More, and better."
    card.rating.value = RATINGS[0]
    assert card.input.value == "More, and better." and rows()["during"] == (1, 1, 2), "nothing typed is lost"


def test_controls_have_names_of_their_own():
    page = quiz()
    names = [card.check.description for card in page.cards.values()]
    names += [card.input.description for card in page.cards.values() if card.question.kind in ("number", "order")]
    assert len(set(names)) == len(names) and all(names)


# --- Score, restart, reset --------------------------------------------------------------------------------------
def rows() -> dict:
    return {row.objective.id: (row.points, row.answered, row.questions) for row in quizzes.progress().score()}


def answer_all(monkeypatch) -> None:
    for name, card in quiz().cards.items():
        card.input.value = right_and_wrong(QUESTIONS[name])[0]
        card.check.click()
        if QUESTIONS[name].kind == "text":
            card.rating.value = RATINGS[0]


def test_score_per_objective(monkeypatch):
    shown = score()
    assert said(shown.table).count("not answered") == len(OBJECTIVES)
    assert f"0 of {len(QUESTIONS)} answered" in said(shown.note)
    card = quiz("scale").cards["scale"]
    card.input.value = 0.25
    card.check.click()
    assert rows()["rank"] == (1, 1, 2) and "1 of 2, 1 open" in said(shown.table), "it follows at once"
    answer_all(monkeypatch)
    assert all(points == answered == asked for points, answered, asked in rows().values())
    assert f"all {len(QUESTIONS)} of {len(QUESTIONS)}" in said(shown.table)
    assert 'href="04_playground.ipynb"' in shown.table.value and "exercise" in said(shown.table)


def test_answers_survive_a_restart(monkeypatch, state):
    answer_all(monkeypatch)
    before = {name: said(card.feedback) for name, card in quiz().cards.items()}
    saved = state.read_bytes()
    restarted(monkeypatch)
    for name, card in quiz().cards.items():
        assert said(card.feedback) == before[name] != ""
        assert card.input.value == right_and_wrong(QUESTIONS[name])[0]
    assert state.read_bytes() == saved and list(state.parent.iterdir()) == [state], "nothing half written lies about"


def test_reset_asks_once_and_clears_every_card(monkeypatch, state):
    answer_all(monkeypatch)
    page, shown = quiz(), score()
    shown.reset.click()
    assert shown.reset.description == "Yes, delete my answers" and len(quizzes.progress().answers) == len(QUESTIONS)
    page.cards["one-knob"].check.click()
    assert shown.reset.description == "Reset", "an answer in between is a no"
    shown.reset.click()
    shown.reset.click()
    assert json.loads(state.read_text())["answers"] == {} and shown.reset.description == "Reset"
    for card in page.cards.values():
        assert card.feedback.value == "" and card.input.value in (None, "", 0)


def test_two_cells_with_one_question_agree():
    first, second = quiz("scale").cards["scale"], quiz("scale").cards["scale"]
    first.input.value = 0.25
    first.check.click()
    assert second.input.value == 0.25 and second.feedback.value == first.feedback.value


# --- The file ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"schema": 9, "answers": {}}', '{"schema": 1, "answers": [1]}', "\x00\ud800"]
)
def test_a_broken_file_is_one_sentence_and_a_fresh_start(text, state):
    state.parent.mkdir()
    state.write_bytes(text.encode("utf-8", "surrogatepass"))
    page = quiz("scale")
    assert "broken file, so you start afresh" in said(page.note) and said(page.note).count(". ") == 0
    assert quizzes.progress().answers == {} and state.with_name("quiz.json.broken").exists()
    page.cards["scale"].input.value = 0.25
    page.cards["scale"].check.click()
    assert page.note.value == "" and json.loads(state.read_text())["answers"] == {"scale": 0.25}


def test_answers_that_no_longer_fit_are_left_out(state):
    state.parent.mkdir()
    answers = {"gone": "A", "scale": 10**400, "one-knob": "Z", "plan": "AB", "frozen": "B", "drop-points": float("nan"),
               "colleague": {"text": "x", "rating": "great"}, "what-happened": {"text": "x", "rating": None}}  # fmt: skip
    state.write_text(json.dumps({"schema": 1, "answers": answers}))
    assert quizzes.progress().answers == {"frozen": "B", "what-happened": {"text": "x", "rating": None}}


def test_a_folder_that_cannot_be_written_is_said_and_the_quiz_goes_on(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("COURSE_STATE", str(tmp_path / "file" / "below"))
    page = quiz("scale")
    page.cards["scale"].input.value = 0.25
    page.cards["scale"].check.click()
    assert "cannot be saved" in said(page.note) and "0.25 is right" in said(page.cards["scale"].feedback)


def test_where_answers_are_kept(monkeypatch, state):
    assert default_path() == state
    monkeypatch.delenv("COURSE_STATE")
    path = default_path()
    assert path.is_absolute() and "what-did-it-forget" in path.parts and not path.is_relative_to(LESSONS.parent)


def test_only_answers_can_be_saved():
    progress = Progress(default_path(), QUESTIONS, OBJECTIVES)
    with pytest.raises(ValueError, match="'E' is no answer to question 'one-knob'"):
        progress.put("one-knob", "E")
    with pytest.raises(ValueError, match="no answer to question 'scale'"):
        progress.put("scale", float("inf"))


# --- Without widgets --------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", QUESTIONS)
def test_the_text_holds_the_whole_question_and_folds_its_answer(name):
    question = QUESTIONS[name]
    text = as_text(question, 7)
    asked, _, answer = text.partition("<details><summary>Answer</summary>\n\n")
    assert asked.startswith("**Question 7.** " + question.text) and answer.rstrip().endswith("</details>")
    assert all(f"**{x}.** {o.text}" in asked for x, o in zip(question.letters, question.options, strict=True))
    assert not any(reason in asked for reason in question.reasons()), "nothing is given away"
    assert all(reason in answer for reason in question.reasons())
    assert {"choice": f"**{question.right_letter}.**" if question.kind == "choice" else "", "text": str(question.answer),
            "order": ", ".join(str(question.answer)), "number": f"**{question.answer}"[:4]}[question.kind] in answer  # fmt: skip
    assert f"[{question.link}]({question.link.lesson})" in answer


def test_a_page_without_widgets_shows_the_text():
    data = quiz("scale", "plan")._repr_mimebundle_()
    assert data[VIEW]["model_id"] and data["text/markdown"].count("<summary>Answer</summary>") == 2
    text = score()._repr_mimebundle_()["text/markdown"]
    assert all(objective.text in text for objective in OBJECTIVES.values()) and str(default_path()) not in text


def test_the_stored_lesson_asks_every_question_once_in_order_and_can_be_taken_on_paper():
    cells = store_lessons.code_cells(store_lessons.read(LESSON))
    asked = [
        name
        for cell in cells
        for call in re.findall(r"quiz\((.*?)\)", cell.source)
        for name in re.findall('"(.+?)"', call)
    ]
    assert asked == list(QUESTIONS)
    page = "".join(output.get("data", {}).get("text/markdown", "") for cell in cells for output in cell.outputs)
    assert all(as_text(question, i) in page for i, question in enumerate(QUESTIONS.values(), 1)), "run `make lessons`"


def test_text_is_escaped():
    assert rich("a <b> & `x<y`\n\n**c**") == "<p>a &lt;b&gt; &amp; <code>x&lt;y</code></p><p><b>c</b></p>"


@pytest.mark.parametrize("name", QUESTIONS)
def test_no_star_and_no_backtick_is_left_over(name):
    question = QUESTIONS[name]
    for text in (question.text, *question.reasons(), *(option.text for option in question.options)):
        assert not set("*`") & set(rich(text)), text


def test_an_unknown_question_is_named():
    with pytest.raises(ValueError, match="There is no question 'nine'; use one of what-happened, one-knob"):
        quiz("nine")


# --- Questions and objectives as data ---------------------------------------------------------------------------
def test_enough_questions_of_every_kind_and_no_favourite_letter():
    kinds = [question.kind for question in QUESTIONS.values()]
    assert len(kinds) >= 15 and all(kinds.count(kind) >= 2 for kind in ("choice", "number", "order", "text"))
    right = [question.right_letter for question in QUESTIONS.values() if question.kind == "choice"]
    assert all(right.count(letter) <= len(right) // 2 for letter in "ABCD")


@pytest.fixture(scope="module")
def shown_runs() -> dict[str, RunResult]:
    return {letter: RunResult.load(DATA / "quiz-runs" / f"{letter}.json") for letter in "ABC"}


def test_what_is_asked_about_the_three_runs_is_true_of_them(shown_runs):
    steps, kept = shown_runs["A"].series("accuracy")
    half = (kept[0] + kept[-1]) / 2
    i = next(i for i, share in enumerate(kept) if share < half)
    crossed = steps[i - 1] + (steps[i] - steps[i - 1]) * (kept[i - 1] - half) / (kept[i - 1] - kept[i])
    question = QUESTIONS["half-drop"]
    assert abs(crossed - question.answer) <= question.tolerance
    assert QUESTIONS["curve-story"].right_letter == "A" and kept[-1] < 0.5 and shown_runs["A"].learned > 0.75
    wanted = [letter for letter, run in shown_runs.items() if run.learned >= 0.5 and run.forgotten <= 3]
    assert wanted == [QUESTIONS["ship-curve"].right_letter], "the one run that keeps to the rule"
    replayed = [letter for letter, run in shown_runs.items() if run.config.replay]
    assert replayed == [QUESTIONS["which-run"].right_letter]


def test_the_figure_in_words_is_the_figure(shown_runs):
    table = next(cell.source for cell in store_lessons.read(LESSON).cells if cell.id == "curves-words")
    rows = re.findall(r"^\| (\d+) \| (.+) \|$", table, re.MULTILINE)
    assert len(rows) >= 5
    for step, cells in rows:
        points = [next(c for c in run.checkpoints if c.step == int(step)) for run in shown_runs.values()]
        drawn = [text for p in points for text in (f"{p.held_out_loss:.1f}", f"{100 * p.accuracy:.0f} %")]
        assert cells.split(" | ") == drawn, "write the table again, from data/quiz-runs"


def test_objectives_and_questions_cover_each_other():
    assert 10 <= len(OBJECTIVES) <= 20 and all(o.questions and o.exercise for o in OBJECTIVES.values())
    assert sorted(name for o in OBJECTIVES.values() for name in o.questions) == sorted(QUESTIONS)


def headings(path: Path) -> set[str]:
    cells = store_lessons.read(path).cells
    return {line.lstrip("# ") for cell in cells if cell.cell_type == "markdown" for line in cell.source.splitlines()
            if line.startswith("#")}  # fmt: skip


@pytest.mark.parametrize("name", [*QUESTIONS, *OBJECTIVES])
def test_links_lead_somewhere(name):
    link = QUESTIONS[name].link if name in QUESTIONS else OBJECTIVES[name].taught
    assert not link.section or link.section in headings(LESSONS / link.lesson)
    if name in OBJECTIVES and OBJECTIVES[name].exercise:
        lesson, cell = OBJECTIVES[name].exercise
        assert cell in {c.id for c in store_lessons.read(LESSONS / lesson).cells}


GOOD = {"id": "q", "objective": "o", "kind": "choice", "text": "What?", "link": {"lesson": "03_gpt2_lora_demo.ipynb"},
        "options": [{"text": "yes", "right": True, "why": "it is"}, {"text": "no", "why": "it is not"}]}  # fmt: skip
NUMBER = {key: GOOD[key] for key in ("id", "objective", "text", "link")} | {
    "kind": "number", "answer": 2, "tolerance": 0.1, "why": "so"}  # fmt: skip


@pytest.mark.parametrize(
    ("row", "fault"),
    [(GOOD | {"kind": "riddle"}, "Question 'q': its kind is 'riddle'; use one of choice, number, order, text."),
     (GOOD | {"text": " "}, "Question 'q': its text is ' '; write some text."),
     ({k: v for k, v in GOOD.items() if k != "link"}, "Question 'q': it has no 'link'."),
     ({k: v for k, v in GOOD.items() if k != "id"}, "Question 1 of quiz.json: it has no 'id'."),
     (GOOD | {"link": {"lesson": "lesson 3"}}, "Question 'q': its link's lesson is 'lesson 3'; name a notebook"),
     (GOOD | {"options": GOOD["options"][1:]}, "Question 'q': it has 1 options; give 2 to 8."),
     (GOOD | {"options": [GOOD["options"][1], {"text": "maybe", "why": "x"}]}, "0 of its options are right; mark exactly one."),
     (GOOD | {"options": [*GOOD["options"], {"text": "maybe"}]}, "Question 'q': it has no 'why'."),
     (GOOD | {"options": [*GOOD["options"], GOOD["options"][1]]}, "two of its options are the same; change one."),
     (GOOD | {"options": "yes"}, "Question 'q': its options is 'yes'; give a list."),
     (GOOD | {"answr": 1}, "Question 'q': 'answr' is no part of a choice question; remove it."),
     (GOOD | {"kind": "order", "answer": "AA"}, "its answer 'AA' does not name each of AB once."),
     (NUMBER | {"answer": "two"}, "Question 'q': its answer is 'two'; give a number."),
     (NUMBER | {"tolerance": -1}, "its tolerance is below 0; give 0 or more."),
     (NUMBER | {"slips": [{"value": 2.05, "why": "x"}]}, "one of its slips counts as right; move it"),
     ([], "Question 1 of quiz.json is not an object"),
     (None, "is JSON but no list")],
)  # fmt: skip
def test_a_fault_in_a_question_is_one_sentence_that_names_it(row, fault, tmp_path):
    path = tmp_path / "quiz.json"
    path.write_text(json.dumps([row] if row is not None else {}))
    with pytest.raises(QuizError) as error:
        read_questions(path)
    assert fault in str(error.value) and "\n" not in str(error.value)


def test_faults_of_files_ids_and_objectives(tmp_path):
    path = tmp_path / "quiz.json"
    with pytest.raises(QuizError, match="cannot be read"):
        read_questions(path)
    path.write_text(json.dumps([GOOD, GOOD]))
    with pytest.raises(QuizError, match="'q': its id is taken"):
        read_questions(path)
    path.write_text(json.dumps([GOOD]))
    questions = read_questions(path).values()
    taught = {"lesson": "03_gpt2_lora_demo.ipynb"}
    for objectives, fault in (
        ([], "Question 'q': objective 'o' does not list it."),
        (
            [{"id": "o", "text": "x", "taught": taught, "questions": []}],
            "Objective 'o': its questions is []; give a list.",
        ),
        ([{"id": "o", "text": "x", "taught": taught, "questions": ["p"]}], "Objective 'o': there is no question 'p'."),
        ([{"id": "p", "text": "x", "taught": taught, "questions": ["q"]}], "Objective 'p': question 'q' says 'o'."),
        ([{"id": "o", "text": "x", "questions": ["q"]}], "Objective 'o': it has no 'taught'."),
        (["o"], "Objective 'o': "),
    ):
        path.write_text(json.dumps(objectives))
        with pytest.raises(QuizError, match=re.escape(fault)):
            read_objectives(path, questions)


# --- The widgets of Colab ---------------------------------------------------------------------------------------
@pytest.mark.training
@pytest.mark.skipif(SECOND_RUN, reason="this is the second run")
def test_on_the_ipywidgets_of_colab(tmp_path_factory):
    run_again(__file__, tmp_path_factory.mktemp("ipywidgets7"), seconds=300)


@pytest.mark.skipif(not SECOND_RUN, reason="only in the second run")
def test_the_second_run_has_the_old_widgets():
    assert ipywidgets.__version__ == "7.7.1"
