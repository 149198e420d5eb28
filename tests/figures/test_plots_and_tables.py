"""Figures and tables show what a run measured, and say it in words too."""

import matplotlib.pyplot as plt
import pytest

from capability_guard.gate.rule import REGRESSED, judge
from capability_guard.measurement import Measurement, Row
from utils.course.lesson import missing_ideas, refusal, start
from utils.figures.fades import plot_fader
from utils.figures.plots import (
    alt_text,
    finding,
    plot_dashboard,
    plot_dose,
    plot_guess,
    plot_plane,
    plot_run,
    plot_runs,
)
from utils.figures.tables import answer_table, capability_table, curve_table, decision_table, result_answers
from utils.training.config import FineTuneConfig
from utils.training.fader import Faded
from utils.training.finetuning import finetune
from utils.training.sweeps import Point


@pytest.fixture(scope="module")
def run(practice):
    return finetune(FineTuneConfig(learning_rate=5e-3, steps=8, evaluate_every=2), base=practice)


def test_the_figure_draws_every_checkpoint_from_step_0(run):
    figure = plot_run(run)
    loss, kept = figure.axes
    lines = {line.get_label(): line for axes in (loss, kept) for line in axes.get_lines()}
    assert set(lines) == {"training rows", "held-out rows", "all together", *run.checkpoints[0].retention}
    for line in lines.values():
        assert list(line.get_xdata()) == [0, 2, 4, 6, 8]
    assert list(lines["all together"].get_ydata()) == [c.accuracy for c in run.checkpoints]
    assert "nats per token" in loss.get_ylabel() and "step" in kept.get_xlabel()
    assert figure.get_suptitle() == finding(run)
    styles = {(line.get_color(), str(line.get_linestyle()), line.get_marker()) for line in lines.values()}
    assert len(styles) == len(lines), "no two curves look the same"
    plt.close(figure)


def test_runs_share_their_axes_and_are_told_apart(run):
    figure = plot_runs([run, run], labels=["one", "two"], title="A title")
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["one", "two"]
    plt.close(figure)


def test_words_carry_the_figures(run):
    words = alt_text(run)
    assert f"{run.checkpoints[-1].accuracy:.0%}" in words
    assert all(name in words for name in run.checkpoints[0].retention)


def test_tables_read_as_text_and_as_escaped_html(run):
    table = answer_table(["a?"], before=["<script>x</script>"], after=["y"])
    assert "<script>x" not in table._repr_html_() and "&lt;script&gt;" in table._repr_html_()
    assert "a?" in repr(table) and "before" in repr(table)
    assert len(result_answers(run).frame) == 3
    frame = capability_table(run).frame
    assert frame["probes"].iloc[-1] == frame["probes"].iloc[:-1].sum() == len(run.probes)
    assert list(curve_table(run).frame["step"]) == [0, 2, 4, 6, 8]


def test_refusals_are_quoted_and_surprises_are_not_hidden(capsys):
    assert refusal(lambda: int("x")).startswith("ValueError: invalid literal")
    assert refusal(lambda: int("x (/usr/lib/y.py)")) == "ValueError: invalid literal for int() with base 10: 'x'"
    with pytest.raises(AssertionError, match="needs an update"):
        refusal(lambda: 1)
    start()
    assert capsys.readouterr().out.startswith("Ready: Python")


def test_a_guess_is_drawn_beside_what_was_measured(run):
    figure, words = plot_guess(run, {0: 100, 4: 90, 8: 80})
    lines = {line.get_label(): line for line in figure.axes[1].get_lines()}
    assert list(lines["your guess"].get_ydata()) == [1.0, 0.9, 0.8]
    off = [abs(100 * share - guess) for share, guess in zip(run.series("accuracy")[1][2::2], (90, 80), strict=True)]
    assert words.endswith(f"Your guess was {sum(off) / 2:.0f} points off on average.")
    with pytest.raises(ValueError, match="The guess for step 4 is 120; give per cent, 0 to 100"):
        plot_guess(run, {4: 120})
    with pytest.raises(ValueError, match="no step from 0 to 8"):
        plot_guess(run, {100: 50})


def test_missing_ideas_are_named():
    ideas = {"a task": "task", "a loss": "worse|lost"}
    assert missing_ideas("Worse at an old TASK.", ideas) == ""
    assert missing_ideas("It is lost.", ideas) == "Not found yet: a task."


def test_the_dashboard_hides_the_original_domain_and_the_dose_shows_every_run(run):
    axes = plot_dashboard(run).axes
    assert len(axes) == 1 and "retention" not in axes[0].get_ylabel()
    points = [
        Point(run.config.with_(learning_rate=rate, seed=seed), 0.5, 10 * rate, 3.0, 1.0)
        for rate in (1, 0.1)
        for seed in (0, 1)
    ]
    dose = plot_dose(points, "A title").axes[0]
    assert dose.get_xscale() == "log" and sum(len(line.get_xdata()) for line in dose.get_lines()[1:]) == 4


def test_a_fader_is_drawn_at_each_strength_and_its_title_names_the_best(run):
    kept = {1.0: 2, 0.5: 9, 0.0: 10}  # of ten probes
    path = [
        Faded(at, 1.0, learned, 0.5, {}, before=(True,) * 10, after=(True,) * n + (False,) * (10 - n))
        for (at, n), learned in zip(kept.items(), (0.8, 0.7, 0.0), strict=True)
    ]
    figure = plot_fader(run, path)
    right = figure.axes[2]
    drawn = right.get_lines()[0]
    assert list(drawn.get_xdata()) == pytest.approx([80, 70, 0]) and list(drawn.get_ydata()) == [20, 90, 100]
    assert {text.get_text() for text in right.texts} == {"1", "0.5", "0"}
    assert "kept 20%. Turned down to 0.5: learned 70%, kept 90%" in figure.get_suptitle()
    points = [Point(run.config, 0.7, 12.0, 3.0, 1.0)]
    plane = plot_plane({"rates": points}, "learning_rate", "A title", fades={"turned down": path}).axes[0]
    assert [list(line.get_ydata()) for line in plane.get_lines() if line.get_label() == "turned down"] == [
        [-80, -10, 0]
    ]


def test_a_decision_of_the_gate_is_a_table_with_its_reasons():
    def measured(model, right):
        return Measurement(model, [Row(f"sum {i}", str(i), "sums", right=i < right) for i in range(100)])

    table = decision_table(judge(measured("old", 99), measured("new", 9)))
    assert table.frame["verdict"].tolist() == [REGRESSED] and "<table" in table._repr_html_()
