"""The playground's remedy: one drop-down and one slider, which the settings string, the lock and the figure follow."""

import pytest

from utils.playground import live, playground
from utils.playground import words as live_words
from utils.playground.figure import LiveFigure
from utils.playground.session import Session
from utils.training import REMEDIES, FineTuneConfig, Remedy, finetune, register

pytestmark = pytest.mark.training
SHORT = dict(steps=4, batch_size=4, evaluate_every=2, learning_rate=1e-2)


@pytest.fixture(autouse=True)
def no_path(monkeypatch):
    monkeypatch.setattr(live, "PATH", ())  # of strengths that nobody asks for here


def test_a_remedy_is_chosen_weighed_and_run():
    play = playground(run=False, **SHORT)
    assert play.remedy.value == "" and play.remedy_weight.disabled
    play.auto.value = False
    play.remedy.value = "kl"
    assert not play.remedy_weight.disabled and (play.remedy_weight.value, play.remedy_weight.max) == (0.3, 3)
    assert "remedy=kl;remedy_weight=0.3" in play.text.value
    play.remedy_weight.value = 0.1 + 0.2 + 0.3  # as steps add up
    assert play.session.config.remedy_weight == 0.6 and play.text.value.endswith("remedy_weight=0.6")
    play.run.click()
    play.wait()
    run = play.session.view().shown
    alone = finetune(run.config, questions=())
    assert run.config.remedy == "kl" and run.result.learned == pytest.approx(alone.learned)
    assert "KL to the base 0.6" in play.described.value
    play.remedy.value = "small_product"  # a far smaller weight, which comes with it
    assert (play.session.config.remedy_weight, play.remedy_weight.value, play.remedy_weight.max) == (2e-3, 2e-3, 0.05)
    play.remedy.value = "dora"
    assert (
        play.session.config.remedy_weight is None
        and play.remedy_weight.disabled
        and "DoRA" in play.session.config.label
    )
    play.method.value = "full"
    play.wait()
    assert "dora is about a LoRA adapter and method is full" in play.status.value
    assert play.method.value == play.session.config.method == "lora"
    play.undo.click()
    assert play.session.config.remedy == "small_product" and play.remedy.value == "small_product"
    play.text.value = "remedy=graded;remedy_weight=0.75"
    assert (play.remedy.value, play.remedy_weight.value) == ("graded", 0.75)
    play.remedy.value = ""
    assert play.session.config == FineTuneConfig() and play.remedy_weight.disabled and play.text.value == "default"


def test_a_locked_remedy_stays():
    play = playground(run=False, lock=("remedy", "remedy_weight"), remedy="kl", **SHORT)
    assert play.remedy.disabled and play.remedy_weight.disabled
    play.remedy_weight.value = 0.9
    play.wait()
    assert play.session.config.remedy_weight == play.remedy_weight.value == 0.3
    assert "remedy_weight is locked at 0.3" in play.status.value


def test_one_of_your_own_is_offered_as_soon_as_it_is_registered():
    play = playground(run=False, **SHORT)
    try:
        register(Remedy("quiet", "small logits", weight=0.01, loss=lambda batch, weight: batch.loss))
        play.undo.click()  # anything that is touched
        assert ("small logits", "quiet") in play.remedy.options
        play.auto.value = False
        play.remedy.value = "quiet"
        assert play.session.config.remedy_weight == 0.01
    finally:
        REMEDIES.pop("quiet", None)


def test_the_figure_and_the_words_say_what_is_true_with_a_remedy():
    for remedy, says in (("", "2 cached runs, not yours"), ("graded", "2 cached runs, none with a remedy")):
        session = Session(FineTuneConfig(remedy=remedy, **SHORT))
        (run,) = session.request()
        session.began(run)
        session.progress(run, 4)
        figure = LiveFigure([(0.5, 1.0), (0.7, 10.0)])
        assert figure.png(session.view())
        assert says in [text.get_text() for text in figure.plane.get_legend().get_texts()]
        done = live_words.status(session.view())
        assert done == "All steps are done. " + (
            "Now the remedy (lower layers turned down), then every probe." if remedy else "Asking every probe."
        )
