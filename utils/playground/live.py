"""Train the runs of a playground: the same ``finetune`` as everywhere, told to a Session point by point."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import lru_cache

import torch

from capability_guard.weights import Weights, put_back, trained_weights
from utils.figures.words import first_line
from utils.playground.background import ENDING
from utils.playground.runs import Run
from utils.playground.session import Session
from utils.training.answers import answer
from utils.training.config import FineTuneConfig
from utils.training.data import QUESTIONS
from utils.training.fader import STRENGTHS, Fader
from utils.training.finetuning import Cancelled, base_model, base_to_ask, default_probes, finetune
from utils.training.machine import estimate
from utils.training.results import RunResult
from utils.training.snapshots import Snapshots

WORDS_EVERY = 0.5  # seconds between two reports of progress: enough for a reader
ANSWER_TOKENS = 16
EARLY = (2,)  # the first trained point comes after two steps, whatever the distance of the others


class _Steps(Snapshots):
    """Reports progress, and keeps the trained weights at each checkpoint so that the questions can be asked later."""

    def __init__(self, session: Session, run: Run) -> None:
        super().__init__(every=run.config.evaluate_every)
        self.session, self.run, self.reported = session, run, time.monotonic()

    def on_train_begin(self, args, state, control, model=None, **kwargs):
        """Nothing: the answers at step 0 are the base model's, and those are known."""

    def on_train_end(self, args, state, control, model=None, **kwargs):
        """Nothing: the end is the model itself. Of a large one, no copy is made that is not needed."""

    def on_step_end(self, args, state, control, model=None, **kwargs):
        # A large model, whole, three times over would not fit: then only the answers at the end are asked.
        if self.run.config.method == "lora" or self.run.config.model == "practice":
            super().on_step_end(args, state, control, model=model, **kwargs)
            if state.global_step in EARLY and state.global_step < state.max_steps:
                self.weights[state.global_step] = trained_weights(model)
        if time.monotonic() - self.reported > WORDS_EVERY:
            self.reported = time.monotonic()
            self.session.progress(self.run, state.global_step)


def train(
    session: Session,
    runs: Sequence[Run],
    train_one: Callable[..., RunResult] = finetune,
    beside: bool | None = None,
    ended: Callable[[Run], None] = lambda run: None,
) -> None:
    """Train ``runs`` one after the other, then ask the model of the first one the questions, checkpoint by checkpoint.

    beside: as in ``finetune``; False where only the thread that trains can show anything. ended: called with the run on show
    once it has a result.
    An error ends its own run only, and is told to the session in one line.
    """
    to_ask = None
    for run in runs:
        if not session.began(run):
            continue
        steps = _Steps(session, run)
        try:
            result = train_one(
                run.config,
                questions=(),
                callbacks=[steps],
                early=EARLY,
                kl=False,  # the figure does not draw it
                beside=beside,
                on_checkpoint=lambda checkpoint, run=run: session.point(run, checkpoint),
                cancelled=lambda run=run: run.cancelled.is_set() or ENDING.is_set(),
                keep_model=True,
            )
        except Cancelled:
            continue
        except KeyboardInterrupt:
            session.cut(run)
            return
        except Exception as error:
            session.failed(run, in_one_line(error))
            continue
        model, result.model = result.model, None
        if result.stopped and not result.diverged:  # the interrupt button
            session.cut(run)
            return
        session.ended(run, result, trained_weights(model) if model is not None else None)
        if run is runs[0] and model is not None:
            ended(run)
            to_ask = (run, model, steps.weights)
    if to_ask is not None:
        _ask(session, *to_ask)


def _ask(session: Session, run: Run, model: torch.nn.Module, weights: dict[int, Weights]) -> None:
    """The questions at each checkpoint, the last one first: that is the one being looked at."""
    tokenizer = base_model(run.config.model)[1]
    last = run.checkpoints[-1].step
    try:
        session.answered(run, last, answer(model, tokenizer, QUESTIONS, ANSWER_TOKENS))
        session.answered(run, 0, _base_answers(run.config.model))
        for step in sorted(weights, reverse=True):
            put_back(model, weights[step])
            session.answered(run, step, answer(model, tokenizer, QUESTIONS, ANSWER_TOKENS))
    except (Cancelled, KeyboardInterrupt):
        return  # the learner went on to another run
    finally:
        session.asked(run)


PATH = (0.6, 0.8, 0.4, 0.9, 0.7, 0.5, 0.3, 0.2, 0.1, *STRENGTHS[-2:0:-1], 0.0)  # a rough path first, then all of it


def fade_run(session: Session, run: Run, path: bool, others_wait: Callable[[], bool] = lambda: False) -> bool:
    """Turn a finished run down to what the slider says, as often as it moves. path: and to every other strength meanwhile.

    Ends when nothing is left to measure, or when a new run starts. A path that nobody looks at gives way to ``others_wait``;
    whether something of it is left to do is what is given back.
    """
    turn, fader = session.fading, None
    todo, begun = list(dict.fromkeys(PATH)) if path else [], {}
    while session.fading == turn and not ENDING.is_set():
        wanted = session.wanted()
        todo = [strength for strength in todo if not ((known := run.at(strength)) and known.whole)]
        if wanted is not None and wanted[0] is run:
            strength = wanted[1]
        elif todo and others_wait():
            return True
        elif todo:
            strength = todo[0]
        else:
            return False
        weights = run.weights
        if weights is None:
            return False
        fader = fader or Fader(run.config, weights)
        piece = next(begun.setdefault(strength, fader.measure(strength)), None)
        if piece is None:
            del begun[strength]
        elif session.fading == turn:
            session.faded(run, piece)
    return False


@lru_cache(maxsize=1)
def _base_answers(name: str) -> list[str]:
    return answer(*base_to_ask(name), QUESTIONS, ANSWER_TOKENS)


def time_needed(config: FineTuneConfig) -> float:
    """Seconds that a run will take on this machine, from timed passes. Loads the model, so it may take seconds."""
    return estimate([config], *base_model(config.model), probes=len(default_probes(config.model)))[0]


def in_one_line(error: BaseException) -> str:
    """What an error says, as its last line does in a traceback; out of memory comes with what to do about it."""
    line = first_line(error)
    said = f"{type(error).__name__}: {line}" if line else type(error).__name__
    out_of_memory = isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)) or "not enough memory" in str(error)
    if out_of_memory:
        return f"{said} Out of memory: choose a lower rank or LoRA in place of full fine-tuning, or a smaller model."
    return said
