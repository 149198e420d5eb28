"""The playground with its widgets and real training on the practice model. Every control is moved, as a learner would.

The same file runs a second time on ipywidgets 7.7.1, which is what Colab has: see ``test_on_the_ipywidgets_of_colab``.
"""

import gc
import io
import re
import threading
import time

import ipywidgets
import psutil
import pytest
from old_widgets import SECOND_RUN, run_again
from PIL import Image
from transformers import TrainerCallback

from capability_guard.probes import load_probes, save_probes
from utils.playground import live
from utils.playground import words as live_words
from utils.playground.background import Background, Foreground
from utils.playground.controls import CONTROLS, NO_GUESS
from utils.playground.moves import Playground, playground
from utils.training import models, presets
from utils.training.config import FineTuneConfig
from utils.training.data import GENERAL
from utils.training.finetuning import finetune
from utils.training.results import RunResult

pytestmark = pytest.mark.training

# What happens in the threads and in the session: no version of the widgets has a part in it.
WITHOUT_WIDGETS = """run_is_the_one or quick_succession or cancels or stop_ends or preset_moves or fader_turns or fade_path
or seed_band or error or diverging or two_playgrounds or two_hundred or kernel_is_free""".replace("\n", " ")
SHORT = dict(steps=10, evaluate_every=5, batch_size=4)


@pytest.fixture
def play(monkeypatch):
    monkeypatch.setattr(live, "PATH", ())  # of strengths that nobody asks for: they would outlive their test
    made = playground(run=False, **SHORT)
    yield made
    made.session.stop()
    made.wait()


def said(widget) -> str:
    return re.sub("<[^>]+>", "", widget.value)


def until(true, seconds: float = 30) -> None:
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < seconds, "waited in vain"
        time.sleep(0.01)


def shown(play: Playground):
    return play.session.view().shown


def test_letting_go_of_a_slider_trains_and_draws(play):
    before = play.picture.value
    play.learning_rate.value = 5e-3
    play.wait()
    run = shown(play)
    assert run.state == "finished" and run.config == play.session.config == FineTuneConfig(learning_rate=5e-3, **SHORT)
    assert [c.step for c in run.checkpoints] == [0, 2, 5, 10], "the first trained point comes early"
    assert play.picture.value != before and "lr 0.005, r=8 (scale 2)" in play.picture.value, (
        "caption as alternative text"
    )
    assert re.search(r"lost \d+ of 339 probes", said(play.verdict))
    assert play.status.value.startswith('<div role="status"') and "Finished in" in said(play.status)
    assert set(run.answers) == {0, 2, 5, 10} and all(len(said) == 3 for said in run.answers.values())


def test_the_run_is_the_one_that_finetune_makes(play):
    play.learning_rate.value = 5e-3
    play.wait()
    again = finetune(shown(play).config, questions=(), early=live.EARLY)
    assert [c.accuracy for c in again.checkpoints] == [c.accuracy for c in shown(play).checkpoints]
    assert [c.held_out_loss for c in again.checkpoints] == [c.held_out_loss for c in shown(play).checkpoints]
    assert again.after == shown(play).result.after


@pytest.mark.parametrize(
    ("control", "value", "setting"),
    [("learning_rate", 3.02e-3, 3e-3), ("rank", 2, 2), ("scaling", "rslora", "rslora"), ("method", "full", "full"),
     ("steps", 20, 20), ("replay", 0.25, 0.25), ("examples", 6, 6), ("seed", 3, 3)],
)  # fmt: skip
def test_every_control_changes_its_setting_and_the_run(play, control, value, setting):
    play.auto.value = False
    getattr(play, control).value = value
    play.wait()
    assert getattr(play.session.config, control) == setting and shown(play) is None, "nothing ran: auto is off"
    assert control in play.text.value
    play.run.click()
    play.wait()
    assert getattr(shown(play).config, control) == setting and shown(play).state == "finished"
    play.undo.click()
    assert play.session.config == FineTuneConfig(**SHORT) and getattr(play, control).value != value


def test_moves_in_quick_succession_are_one_run(play, monkeypatch):
    began = []
    monkeypatch.setattr(play.session, "began", lambda run, real=play.session.began: began.append(run) or real(run))
    for rank in (1, 2, 4, 16, 32):
        play.rank.value = rank
    play.wait()
    assert [run.config.rank for run in began if not run.cancelled.is_set()] == [32] and len(began) == 1


def test_a_change_cancels_the_run_in_flight_and_its_curve_stays_faint(play):
    play.steps.value = 160
    until(lambda: shown(play) and len(shown(play).checkpoints) > 2)
    first = shown(play)
    play.steps.value = 10
    play.wait()
    view = play.session.view()
    assert first.cancelled.is_set() and view.shown.config.steps == 10 and view.shown.state == "finished"
    assert view.faint.config.steps == 160 and 2 <= len(view.faint.checkpoints) < 12


def test_stop_ends_within_a_step_and_keeps_the_curve(play):
    play.steps.value = 160
    until(lambda: shown(play) and len(shown(play).checkpoints) > 2)
    play.stop.click()
    play.wait()
    assert shown(play).state == "stopped" and len(shown(play).checkpoints) > 2 and shown(play).step < 160
    assert "The curve up to there stays." in said(play.status)


def test_undo_shows_a_remembered_run_at_once_and_it_can_be_run_again(play):
    play.rank.value = 4
    play.wait()
    play.rank.value = 2
    play.wait()
    play.undo.click()
    play.wait()
    assert shown(play).config.rank == 4 and "Remembered" in said(play.status) and play.run.description == "Run again"
    play.run.click()
    play.wait()
    assert "Finished in" in said(play.status)
    play.reset.click()
    play.wait()
    assert play.session.config == FineTuneConfig(**SHORT)
    play.undo.click()
    for _ in range(9):
        play.undo.click()
    assert "There is nothing to undo." in said(play.status) or not play.session.can_undo


@pytest.mark.skipif(SECOND_RUN, reason="slow, and the widgets are the same")
def test_a_real_model_says_how_long_it_takes_and_stops_within_a_step(play, smollm2, tmp_path, monkeypatch):
    save_probes(load_probes(GENERAL)[::10], tmp_path / "probes.jsonl")  # of 130, which take it minutes
    monkeypatch.setattr(models, "GENERAL", tmp_path)
    play.model.value = "smollm2"
    play.wait()
    assert re.search(r"takes about \d+ s here. Press Run.", said(play.status)) and shown(play) is None
    assert play.replay.options == (("0 %", 0.0), ("25 %", 0.25), ("50 %", 0.5)), "in whole rows of a batch of four"
    play.run.click()
    until(lambda: shown(play).step >= 1 and "s left" in said(play.status), 120)
    play.stop.click()
    play.wait()
    assert shown(play).state == "stopped" and shown(play).step < shown(play).config.steps
    play.text.value = "model=smollm2;target_modules=q_proj;steps=2;batch_size=2;evaluate_every=2"
    play.run.click()
    play.wait()
    assert shown(play).state == "finished" and "of 13 probes" in said(play.verdict)


@pytest.mark.parametrize("name", presets.PREDICT)
def test_a_preset_moves_the_controls_and_waits_for_a_guess(play, name):
    play.preset.value = name
    play.wait()
    assert shown(play) is None and play.session.config == presets.preset(name)
    assert presets.PREDICT[name][:30] in said(play.claim) and "press Run" in said(play.claim)


def test_a_guess_is_drawn_and_scored(play):
    play.auto.value = False
    play.rank.value = 2
    play.guess.value = 55
    play.wait()
    assert said(play.score) == "Your guess for the next run: 55 %."
    play.run.click()
    play.wait()
    assert shown(play).guess == 55 and said(play.score).startswith("You guessed 55 %")
    assert "Your guess for the end was 55 %." in said(play.described)
    assert play.guess.value == NO_GUESS, "it is used up"
    play.guess.value = 40
    play.guess.value = NO_GUESS
    assert play.session.view().pending_guess is None


def test_pins_table_export_and_a_string_for_the_neighbour(play, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    play.pin.click()
    play.wait()
    assert "no finished run to pin" in said(play.status)
    play.rank.value = 2
    play.wait()
    play.pin.click()
    play.wait()
    assert play.pins.options == ("A",) and "rank=2" in play.table.value and "<script" not in play.table.value
    play.export.click()
    play.wait()
    assert (tmp_path / "playground-runs-1.csv").exists() and "playground-runs-1.csv" in said(play.status)
    curve = [c.held_out_loss for c in shown(play).checkpoints]

    neighbour = playground(run=False)
    neighbour.text.value = play.text.value
    neighbour.wait()
    assert neighbour.session.config == play.session.config and neighbour.rank.value == 2
    assert [c.held_out_loss for c in shown(neighbour).checkpoints] == curve, "the same string, the same curve"
    neighbour.text.value = "learning_rate=0.0123;rank=5;steps=2;batch_size=2"
    assert neighbour.rank.value == 5 and neighbour.session.config.learning_rate == 0.0123
    neighbour.text.value = "rank=zero"
    neighbour.wait()
    assert "rank is &#x27;zero&#x27;; it must be a whole number." in neighbour.status.value
    assert neighbour.text.value == "rank=zero", "left as it is, to be mended"
    assert neighbour.session.config.rank == 5
    neighbour.text.value = " "
    neighbour.wait()
    assert "The settings are empty; paste some" in said(neighbour.status)
    neighbour.session.stop()

    play.unpin.click()
    assert play.pins.options == ("none",) or play.session.view().pinned == ()
    play.clear.click()
    play.wait()
    assert play.table.value == ""


def test_the_fader_turns_a_finished_run_down_and_trains_nothing(play, monkeypatch):
    assert play.strength.disabled, "there is nothing to turn down yet"
    play.learning_rate.value = 2e-2
    play.wait()
    trained, before = shown(play), play.picture.value
    assert not play.strength.disabled and trained.result.forgotten > 20
    monkeypatch.setattr(play.session, "began", lambda run: pytest.fail("moving the fader trains nothing"))
    play.strength.value = 0.5
    play.wait()
    faded = play.session.view().faded
    assert shown(play).result is trained.result and faded.whole and faded.strength == 0.5
    assert faded.forgotten < trained.result.forgotten / 2 and 0 < faded.learned <= trained.result.learned
    assert "At strength 0.50, learned" in said(play.verdict) and "at strength 0.50" in play.answers.value
    assert play.picture.value != before and "strength=0.5" in play.text.value
    by_hand = finetune(trained.config.with_(strength=0.5), questions=())
    assert faded.learned == pytest.approx(by_hand.learned, abs=1e-6)
    # The two ask in batches of other shapes: an answer that is a tie but for rounding may turn.
    assert sum(one != other for one, other in zip(faded.after, by_hand.after, strict=True)) <= 3
    play.strength.value = 0
    play.wait()
    assert play.session.view().faded.forgotten == 0 and play.session.view().faded.learned == pytest.approx(0, abs=1e-6)
    assert [row[2] for row in live_words.answers(play.session.view(), 10)] == [
        "4.",
        "Paris.",
        "Heat it until it bubbles.",
    ]
    play.pin.click()
    play.wait()
    assert "strength=0.0" in play.table.value
    play.undo.click()
    play.wait()
    assert play.session.config.strength == 1 and "At strength" not in said(play.verdict), "a drag is one step to undo"


def test_the_fade_path_is_drawn_meanwhile_and_dropped_by_a_new_run(play, monkeypatch):
    monkeypatch.setattr(live, "PATH", (0.6, 0.4, 0.2))
    play.learning_rate.value = 2e-2
    play.wait()
    until(lambda: len(live_words.fade_path(shown(play))) > 2, 120)  # 1 and 0 are known
    assert "Turned down after the training, by strength: " in said(
        play.described.__class__(live_words.in_words(play.session.view()))
    )
    first = shown(play)
    play.rank.value = 1
    play.wait()
    play._fading.wait(play, 120)
    assert first.config != shown(play).config and len(first.faded) < 5
    play.undo.click()  # back to the first run, from memory: its fader goes on
    play.wait()
    play.strength.value = 0.15
    play.wait()
    assert play.session.view().faded.strength == 0.15 and shown(play).config == first.config


def test_a_locked_fader_and_a_pasted_strength():
    locked = playground(run=False, lock=("strength",), **SHORT)  # its path gives way to what the other one is asked
    locked.run.click()
    locked.wait()
    assert locked.strength.disabled
    locked.strength.value = 0.4
    locked.wait()
    assert locked.session.config.strength == locked.strength.value == 1 and "strength is locked" in said(locked.status)
    pasted = playground(run=False)
    pasted.text.value = "learning_rate=0.02;steps=10;batch_size=4;evaluate_every=5;strength=0.3"
    pasted.wait()
    assert pasted.strength.value == 0.3 and pasted.session.view().faded.strength == 0.3
    assert shown(pasted).config.strength == 1, "it was trained, and then turned down"


def test_seed_band(play):
    play.band.click()
    play.wait()
    view = play.session.view()
    assert [run.config.seed for run in view.band] == [0, 1, 2, 3, 4] and view.shown.config.seed == 0
    assert "Over 5 seeds, the drop was" in said(play.verdict)


def test_scrubbing_shows_the_answers_of_a_checkpoint(play):
    play.learning_rate.value = 2e-2
    play.wait()
    assert play.checkpoint.max == 3 and play.checkpoint.value == 3 and "at step 10" in play.answers.value
    last = play.answers.value
    play.checkpoint.value = 0
    play.wait()
    assert "at step 0" in play.answers.value and play.answers.value != last and "Paris." in play.answers.value


def test_locked_and_hidden_controls():
    play = playground(preset="reckless", lock=("rank",), hide=("replay", "preset"), run=False, **SHORT)
    assert play.rank.disabled and not play.learning_rate.disabled
    assert play.replay.layout.display == play.preset.layout.display == "none" and play.rank.layout.display is None
    play.rank.value = 1  # the page cannot, but code can try
    play.wait()
    assert play.session.config.rank == play.rank.value == 8 and "rank is locked at 8 here" in said(play.status)
    play.preset.value = "tiny rank, huge scale"
    assert play.session.config.rank == 8 and play.session.config.learning_rate == 5e-3
    with pytest.raises(ValueError, match="'colour' cannot be hidden; use one of learning_rate, rank"):
        playground(hide=("colour",), run=False)
    with pytest.raises(ValueError, match="'brave' is not a preset; use one of careful"):
        playground(preset="brave", run=False)


def test_rank_is_off_while_every_weight_is_trained(play):
    play.auto.value = False
    play.method.value = "full"
    play.wait()
    assert play.rank.disabled and "no adapter" in said(play.scale)
    play.method.value = "lora"
    play.wait()
    assert not play.rank.disabled and "= 16 / 8 = 2" in said(play.scale)


def broken(message):
    def train_one(config, **kwargs) -> RunResult:
        raise message

    return train_one


@pytest.mark.parametrize(
    ("error", "says"),
    [(RuntimeError("something <b>odd</b>\nsecond line"), "RuntimeError: something &lt;b&gt;odd&lt;/b&gt;"),
     (MemoryError(), "Out of memory: choose a lower rank"),
     (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes"), "Out of memory: choose")],
)  # fmt: skip
def test_an_error_in_the_thread_is_shown_where_the_learner_looks(play, monkeypatch, error, says):
    monkeypatch.setattr(
        "utils.playground.moves.train", lambda session, runs, **how: live.train(session, runs, broken(error), **how)
    )
    play.run.click()
    with pytest.raises(RuntimeError):
        play.wait()
    assert says in play.status.value
    monkeypatch.undo()
    play.run.click()
    assert shown(play.wait()).state == "finished", "the next run is clean"


class Poison(TrainerCallback):
    """Makes one weight no number at step 3: what a run looks like that has diverged."""

    def on_step_end(self, args, state, control, model=None, **kwargs):
        if state.global_step == 3:
            next(p for p in model.parameters() if p.requires_grad).data.view(-1)[0] = float("nan")


def test_a_diverging_run_says_so_and_the_next_one_is_clean(play, monkeypatch):
    def poisoned(config, callbacks=(), **kwargs):
        return finetune(config, callbacks=[*callbacks, Poison()], **kwargs)

    monkeypatch.setattr(
        "utils.playground.moves.train", lambda session, runs, **how: live.train(session, runs, poisoned, **how)
    )
    play.run.click()
    play.wait()
    assert "The run diverged: the loss was nan at step 5" in said(play.verdict) and shown(play).result.diverged
    assert shown(play).checkpoints[0].held_out_loss > 5 and "Diverged at step 5" in play.picture.value
    monkeypatch.undo()
    play.rank.value = 4
    assert shown(play.wait()).result.learned > 0 and "Finished" in said(play.status)


def test_in_the_foreground_as_on_colab():
    play = playground(foreground=True, **SHORT)
    assert shown(play).state == "finished", "it ran before the call came back"
    assert isinstance(play._training, Foreground) and play.stop.disabled
    play.rank.value = 4
    assert shown(play).config.rank == 4 and shown(play).state == "finished" and "lr 0.0015, r=4" in play.picture.value


def test_in_the_foreground_the_interrupt_button_is_stop(monkeypatch):
    play = playground(foreground=True, run=False, **SHORT)
    monkeypatch.setattr(play.session, "point", lambda run, c, real=play.session.point: (real(run, c), interrupt(c)))

    def interrupt(c):
        if c.step == 5:
            raise KeyboardInterrupt

    play.run.click()
    assert shown(play).state == "stopped" and [c.step for c in shown(play).checkpoints][:3] == [0, 2, 5]
    assert not play.session.busy and "use the interrupt button of the page" in said(play.note)


def test_two_playgrounds_do_not_mix(play):
    other = playground(run=False, **SHORT)
    play.rank.value, other.rank.value = 2, 4
    play.wait(), other.wait()
    assert shown(play).config.rank == 2 and shown(other).config.rank == 4
    assert "r=2 (scale 8)" in play.picture.value and "r=4 (scale 4)" in other.picture.value
    assert play.session.view().finished[0] is not other.session.view().finished[0]


def test_two_hundred_changes_leak_nothing(play):
    """Memory and threads after the last hundred changes are what they were after the first hundred."""
    process, levels = psutil.Process(), []
    for _ in range(2):
        for i in range(100):
            play.learning_rate.value = (1e-3, 2e-3, 3e-3)[i % 3]
            play.rank.value = (1, 2, 4, 8, 16)[i % 5]
            if i % 10 == 0:
                until(lambda: not play.session.busy or shown(play).state == "running")
                time.sleep(0.1)
        play.wait()
        gc.collect()
        levels.append((process.memory_info().rss / 1e6, threading.active_count(), process.num_threads()))
    (before, threads, native), (after, threads_after, native_after) = levels
    assert threads_after == threads and native_after <= native + 2
    assert after - before < 40, f"{after - before:.0f} MB more"
    assert len(play.session.view().finished) <= 15


def test_a_figure_stays_when_the_widgets_are_gone(play):
    play.run.click()
    picture = play.wait().figure()
    image = Image.open(io.BytesIO(picture.png))
    assert image.size == (990, 627) and len(picture.png) < 150_000 and "retention" in picture.words
    assert len(set(image.convert("L").tobytes())) > 20


def test_the_kernel_is_free_meanwhile(play):
    play.steps.value = 160
    until(lambda: shown(play) and shown(play).state == "running")
    assert sum(range(1000)) == 499500 and shown(play).state == "running"
    play.stop.click()


def test_an_error_in_a_background_job_reaches_who_waits_and_the_next_job_runs():
    thread, owner, done = Background("test"), type("Owner", (), {})(), []
    thread.put(owner, lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        thread.wait(owner, 5)
    thread.put(owner, lambda: done.append("first"), delay=60)
    assert thread.wait(owner, 0.05) is False
    thread.put(owner, lambda: done.append("second"))
    assert thread.wait(owner, 5) and done == ["second"], "the newer job took the place of the older one"
    thread.put(owner, lambda: done.append("third"), delay=60)
    thread.drop(owner)
    assert thread.wait(owner, 5) and done == ["second"]


def test_all_controls_have_names_for_a_screen_reader(play):
    for name in (*CONTROLS, "preset", "guess", "checkpoint", "pins", "text"):
        assert getattr(play, name).description, name


@pytest.mark.skipif(SECOND_RUN, reason="this is the second run")
def test_on_the_ipywidgets_of_colab(tmp_path_factory):
    run_again(__file__, tmp_path_factory.mktemp("ipywidgets7"), seconds=900, but=WITHOUT_WIDGETS)


@pytest.mark.skipif(not SECOND_RUN, reason="only in the second run")
def test_the_second_run_has_the_old_widgets():
    assert ipywidgets.__version__ == "7.7.1"
