"""The playground's rules, without a widget and without training: whatever happens in whatever order, no curve under
the settings of another run."""

import json
import math
from dataclasses import replace

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from capability_guard.curve import Checkpoint
from utils.playground.figure import frontier
from utils.playground.runs import export
from utils.playground.session import MOST_PINS, Session
from utils.playground.words import answers, headline, in_words, scale, score, status, verdict
from utils.training.config import FineTuneConfig
from utils.training.results import RunResult

pytestmark = pytest.mark.training

RATES = (1e-4, 1e-3, 1e-2)
RANKS = (1, 8)


def mark(config: FineTuneConfig) -> float:
    """A loss that only runs of these very settings have: it shows whose curve a curve is."""
    return 1 + config.learning_rate + config.rank / 1000 + config.seed / 1e6


def checkpoint(config: FineTuneConfig, step: int) -> Checkpoint:
    return Checkpoint(step, 0.1 * step, 0.5, {"sums": 0.5}, 2.0, mark(config) + step, 3.0, 0.1)


def result_of(run, lost: int = 3) -> RunResult:
    points = [*run.checkpoints, checkpoint(run.config, run.config.steps)]
    return RunResult(run.config, points, probes=["a"] * 10, capabilities=["sums"] * 10,
                     before=[True] * 10, after=[False] * lost + [True] * (10 - lost), seconds=1.0)  # fmt: skip


def finish(session: Session, lost: int = 3):
    (run,) = session.request()
    session.began(run)
    session.point(run, checkpoint(run.config, 0))
    session.ended(run, result_of(run, lost))
    return run


class AnyOrder(RuleBasedStateMachine):
    """Changes, runs, stops, points, ends and failures, in any order, also of runs that are long cancelled."""

    def __init__(self):
        super().__init__()
        self.session = Session(FineTuneConfig())
        self.runs = []

    @rule(rate=st.sampled_from(RATES), rank=st.sampled_from(RANKS), go=st.booleans())
    def change(self, rate, rank, go):
        self.session.set(learning_rate=rate, rank=rank)
        if go:
            self.runs += self.session.request()

    @rule(again=st.booleans())
    def run(self, again):
        self.runs += self.session.request(again)

    @rule()
    def band(self):
        self.runs += self.session.request_band()

    @rule()
    def stop(self):
        self.session.stop()

    @rule()
    def undo(self):
        before, could = self.session.config, self.session.can_undo
        assert self.session.undo() is could
        assert (self.session.config != before) is could

    @rule()
    def reset(self):
        self.session.reset()

    @rule(points=st.sampled_from([None, 0, 55, 100]))
    def guess(self, points):
        self.session.guess(points)

    @precondition(lambda self: self.runs)
    @rule(data=st.data())
    def hear_of_a_run(self, data):
        """From the training thread, and maybe late: any run that ever was."""
        run = data.draw(st.sampled_from(self.runs[-6:]), label="run")
        what = data.draw(st.sampled_from(["begin", "point", "point", "end", "fail", "answer", "cut"]), label="what")
        held = run.cancelled.is_set()
        points = len(run.checkpoints)
        if what == "begin":
            assert self.session.began(run) is False or not held
        elif what == "point":
            self.session.point(run, checkpoint(run.config, points))
        elif what == "end":
            self.session.ended(run, result_of(run))
        elif what == "fail":
            self.session.failed(run, "MemoryError")
        elif what == "cut":
            self.session.cut(run)
        else:
            self.session.answered(run, 0, ["yes"] * 3)
        if held:
            assert len(run.checkpoints) == points, "a cancelled run is as it was when it was cancelled"

    @rule()
    def pin(self):
        try:
            self.session.pin()
        except ValueError:
            shown = self.session.view().shown
            assert shown is None or shown.state != "finished" or len(self.session.view().pinned) == MOST_PINS

    @rule()
    def unpin_all(self):
        self.session.unpin()

    @invariant()
    def every_curve_is_that_of_its_own_settings(self):
        view = self.session.view()
        for run in filter(None, (view.shown, view.faint, *view.finished, *view.band)):
            assert all(math.isclose(c.held_out_loss - c.step, mark(run.config)) for c in run.checkpoints)
            assert run.result is None or run.result.config == run.config

    @invariant()
    def what_is_on_show_is_what_the_controls_say(self):
        view = self.session.view()
        assert view.shown is None or view.shown.config == view.config
        assert all(run.config.with_(seed=0) == view.config.with_(seed=0) for run in view.band)
        assert view.faint is None or view.shown is None or view.faint.cancelled is not view.shown.cancelled
        assert not view.remembered or view.shown.state == "finished"

    @invariant()
    def at_most_one_finished_run_for_each_settings_and_pin(self):
        view = self.session.view()
        configs = [run.config for run in view.finished]
        assert len(set(configs)) == len(configs)
        pins = [run.pin for run in view.pinned]
        assert len(set(pins)) == len(pins) <= MOST_PINS

    @invariant()
    def words_can_always_be_found(self):
        view = self.session.view()
        assert headline(view) and status(view) and scale(view) and in_words(view) and score(view)
        assert len(answers(view, 0)) == 3 and verdict(view) is not None


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = hypothesis_settings(max_examples=150, stateful_step_count=40, deadline=None)


def test_a_cancelled_curve_stays_faint_and_a_point_that_comes_late_goes_nowhere():
    session = Session(FineTuneConfig())
    (first,) = session.request()
    session.began(first)
    for step in (0, 4, 8):
        session.point(first, checkpoint(first.config, step))
    session.set(rank=1)
    (second,) = session.request()
    session.point(first, checkpoint(first.config, 12))
    view = session.view()
    assert first.cancelled.is_set() and view.shown.config == second.config and view.shown.checkpoints == []
    assert [c.step for c in view.faint.checkpoints] == [0, 4, 8]


def test_settings_that_were_run_are_remembered_and_can_be_run_again():
    session = Session(FineTuneConfig())
    first = finish(session)
    session.pin()
    session.set(rank=1)
    assert session.view().shown is None
    session.set(rank=8)
    assert session.request() == [] and session.view().remembered
    assert "Remembered" in status(session.view()) and "(remembered)" in headline(session.view())
    (again,) = session.request(again=True)
    session.began(again)
    session.ended(again, result_of(again))
    assert [run.pin for run in session.view().finished] == ["A"] and not session.view().remembered
    assert first not in session.view().finished


def test_a_guess_counts_for_the_next_run_that_finishes():
    session = Session(FineTuneConfig())
    session.guess(90)
    session.request()
    session.set(rank=1)  # cancels: the guess goes on
    run = finish(session)
    assert run.guess == 90 and session.view().score == ((90, 70.0),)
    session.set(rank=2)
    assert finish(session).guess is None and len(session.view().score) == 1
    assert score(session.view()).startswith("You guessed 90 %, and it was 70 %: 20 points off.")
    with pytest.raises(ValueError, match=r"The guess is 101; give per cent"):
        session.guess(101)


def test_a_guess_that_comes_after_the_first_points_is_for_the_next_run():
    session = Session(FineTuneConfig())
    (run,) = session.request()
    session.began(run)
    session.guess(40)
    assert run.guess == 40
    session.point(run, checkpoint(run.config, 0))
    session.point(run, checkpoint(run.config, 4))
    session.guess(10)
    assert run.guess == 40


def test_a_band_runs_the_seeds_that_are_missing_and_says_its_range():
    session = Session(FineTuneConfig())
    finish(session, lost=3)
    runs = session.request_band()
    assert [run.config.seed for run in runs] == [1, 2, 3, 4] and session.view().shown.config.seed == 0
    for lost, run in zip((1, 2, 3, 4), runs, strict=True):
        session.began(run)
        session.ended(run, result_of(run, lost))
    assert len(session.view().band) == 5 and not session.busy
    assert "Over 5 seeds, the drop was 10.0 to 40.0 points." in verdict(session.view())


def test_pins_have_letters_a_limit_and_a_way_out(tmp_path):
    session = Session(FineTuneConfig())
    with pytest.raises(ValueError, match="no finished run to pin"):
        session.pin()
    with pytest.raises(ValueError, match="nothing to export; pin a run first"):
        export(session.view().pinned, tmp_path)
    for rank in range(1, MOST_PINS + 1):
        session.set(rank=rank)
        finish(session)
        session.pin()
    session.set(rank=50)
    finish(session)
    with pytest.raises(ValueError, match="6 runs are pinned; unpin one first"):
        session.pin()
    session.unpin("B")
    assert session.pin() == "B"
    with pytest.raises(ValueError, match="There is no pin 'Z'"):
        session.unpin("Z")
    table, curves = export(session.view().pinned, tmp_path)
    lines = table.read_text().splitlines()
    assert lines[0] == "pin,settings,LoRA scale,learned (% of loss),forgotten (points),seconds" and len(lines) == 7
    rows = json.loads(curves.read_text())
    assert [row["pin"] for row in rows] == list("ABCDEF")
    assert FineTuneConfig.from_string(rows[1]["settings"]) == session.config
    assert export(session.view().pinned, tmp_path)[0].name == "playground-runs-2.csv", (
        "an export never overwrites another"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"playground-runs-{n}.{kind}" for n in (1, 2) for kind in ("csv", "json")
    ]


def test_a_locked_setting_stays_whatever_is_tried():
    session = Session(FineTuneConfig(rank=4), lock=("rank",))
    with pytest.raises(ValueError, match="rank is locked at 4 here"):
        session.set(rank=8)
    with pytest.raises(ValueError, match="rank is locked at 4 here"):
        session.paste("rank=16;learning_rate=0.01")
    session.paste("rank=4;learning_rate=0.01")
    assert session.config.rank == 4 and session.config.learning_rate == 0.01
    with pytest.raises(ValueError, match="'colour' cannot be locked; use one of model, method"):
        Session(FineTuneConfig(), lock=("colour",))


def test_a_bad_value_changes_nothing():
    session = Session(FineTuneConfig())
    for bad in ({"rank": 0}, {"learning_rate": -1.0}, {"colour": 1}):
        with pytest.raises(ValueError):
            session.set(**bad)
    with pytest.raises(ValueError, match="'rank' is not a setting; write name=value"):
        session.paste("rank")
    assert session.config == FineTuneConfig() and not session.can_undo


def test_more_steps_and_other_models_bring_what_suits_them():
    session = Session(FineTuneConfig())
    session.set(steps=160)
    assert session.config.evaluate_every == 16
    session.set(model="smollm2")
    assert (session.config.batch_size, session.config.target_modules, session.config.steps) == (4, "q_proj,v_proj", 24)
    session.set(steps=40)
    assert session.config.evaluate_every == 10
    session.set(model="practice")
    assert session.config == FineTuneConfig()


def test_a_failed_and_a_diverged_run_say_so():
    session = Session(FineTuneConfig())
    (run,) = session.request()
    session.began(run)
    session.failed(run, "MemoryError: Out of memory")
    assert status(session.view()) == "The run failed. MemoryError: Out of memory" and not session.busy
    (run,) = session.request()
    session.began(run)
    session.point(run, checkpoint(run.config, 0))
    broken = replace(checkpoint(run.config, 4), held_out_loss=math.nan)
    result = result_of(run)
    result.checkpoints, result.stopped = [run.checkpoints[0], broken], "the loss was nan at step 4: the run diverged"
    session.ended(run, result)
    view = session.view()
    assert headline(view).startswith(
        "Diverged at step 4"
    ) and "The next run starts from the untouched model." in verdict(view)
    assert "no number" in in_words(view)


def test_frontier_keeps_what_nothing_beats():
    points = [(50, -1), (60, -20), (70, -10), (75, -60), (40, -5)]
    assert frontier(points) == [(50, -1), (70, -10), (75, -60)]
    assert frontier([]) == []
