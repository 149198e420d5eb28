"""Every figure is shown with its words, and the words say what the figure draws."""

import base64
from io import BytesIO

import pytest
from IPython.core.interactiveshell import InteractiveShell
from matplotlib.figure import Figure

from utils.figures import words as figure_words
from utils.figures.movement import plot_movement
from utils.figures.plots import plot_dashboard, plot_dose, plot_guess, plot_plane, plot_run, plot_runs
from utils.figures.words import Picture, in_words
from utils.music.figures import piano_roll, plot_accuracy
from utils.training.config import FineTuneConfig
from utils.training.results import RunResult
from utils.training.sweeps import Point

POINTS = [Point(FineTuneConfig(learning_rate=rate), 0.1, 10 * rate, 3.0, 1.0) for rate in (1, 0.1)]


@pytest.fixture(scope="module")
def run(root):
    return RunResult.load(root / "data" / "quiz-runs" / "A.json")


def test_the_words_are_read_off_the_lines(run):
    words = in_words(plot_run(run))
    first, last = run.checkpoints[0], run.checkpoints[-1]
    for name, share in last.retention.items():
        assert f"{name} {first.retention[name]:.0%} at {first.step}" in words
        assert f"{share:.0%} at {last.step}" in words.split(f"{name} ")[1].split(";")[0]
    assert f"held-out rows {first.held_out_loss:.3g} at 0, {last.held_out_loss:.3g} at {last.step}" in words
    assert "\n" not in words and "(nats per token)" in words


def test_the_turning_points_of_a_long_line_are_said_and_all_points_of_a_short_one():
    figure = Figure()
    axes = figure.subplots()
    axes.plot(range(9), [5, 4, 3, 1, 2, 3, 4, 5, 6], label="dip")
    axes.plot([0, 1, 2], [1, float("nan"), 3], label="gap")
    axes.plot([4], [4], "x", label="a loose point")
    assert in_words(figure) == "Dip 5 at 0, 1 at 3, 6 at 8; gap 1 at 0, 3 at 2."
    figure.alt = "Words of my own."
    assert in_words(figure) == "Words of my own."


def test_every_figure_of_the_course_has_words_about_what_it_draws(run):
    moved = {"one": {"t.h.0.attn.weight": 0.1, "t.h.0.mlp.weight": 0.4}}
    for figure, wanted in (
        (plot_runs([run, run], labels=["one", "two"]), "two 10.3 at 0"),
        (plot_guess(run, {0: 100, 40: 80})[0], "your guess 100% at 0, 80% at 40"),
        (plot_dashboard(run), "held-out rows 10.3 at 0"),
        (plot_plane({"a group": POINTS}, "learning_rate"), "a group -10 at 10, -1 at 10"),
        (plot_dose(POINTS, "A title"), "mean over seeds"),
        (plot_movement(moved), "one: 25 % on average, most in block 0 mlp with 40 %, least in block 0 attn with 10 %."),
        (piano_roll("A piece", "C D E", {"step 8": "C D G"}), "Step 8: 2 of 3 notes right"),
        (plot_accuracy({"alone": {0: [1, 1], 8: [0.5, 0]}}, ["x", "y"], ["x"], "A title"), "x 100% at 0, 50% at 8"),
    ):
        assert wanted in in_words(figure), in_words(figure)


def test_a_notebook_gets_the_picture_as_html_with_its_words_and_as_png():
    shell = InteractiveShell()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figure_words, "get_ipython", lambda: shell)
        figure_words.show_figures_in_words()
    figure = Figure(figsize=(2, 1), dpi=50)
    assert shell.display_formatter.format(figure)[1] == {}, "nothing is drawn in it"
    figure.subplots()
    figure.suptitle('<b> & "quotes"')
    data, metadata = shell.display_formatter.format(figure)
    assert data["text/plain"] == metadata["image/png"]["alt"] == '<b> & "quotes".'
    assert 'alt="&lt;b&gt; &amp; &quot;quotes&quot;."' in data["text/html"] and data["image/png"] in data["text/html"]
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")


def test_outside_of_a_notebook_nothing_happens(monkeypatch):
    monkeypatch.setattr(figure_words, "get_ipython", lambda: None)
    figure_words.show_figures_in_words()


def test_a_picture_is_as_wide_as_its_png():
    figure = Figure(figsize=(2, 1), dpi=50)
    file = BytesIO()
    figure.savefig(file, format="png")
    assert 'width="100"' in Picture(file.getvalue(), "words")._repr_mimebundle_()[0]["text/html"]
