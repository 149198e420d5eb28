"""One call from settings to a measured run: TRL's SFTTrainer, peft's LoraConfig, and the monitor, put together.

    result = finetune(FineTuneConfig(learning_rate=5e-3))

Lesson 03 builds the same thing by hand, cell by cell. The same seed gives the same curve.
"""

from __future__ import annotations

import gc
import random
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from weakref import WeakKeyDictionary

import torch
from datasets import Dataset, DatasetDict
from peft import LoraConfig, get_peft_model
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PrinterCallback, Trainer, TrainerCallback
from transformers.utils import logging as hf_logging
from trl import SFTConfig, SFTTrainer

from capability_guard import fade
from capability_guard.curve import Checkpoint
from capability_guard.forward import without_adapter
from capability_guard.jsonl import DataError
from capability_guard.monitor import RegressionMonitor
from capability_guard.probes import Probe, load_probes
from utils.training.answers import answer
from utils.training.beside import Beside, has_a_core_to_spare, on_one_thread
from utils.training.config import FineTuneConfig
from utils.training.data import GENERAL, QUESTIONS, REPERTOIRE, everyday_texts, load_task, replay_texts
from utils.training.models import SHIPPED, fan_in_fan_out, load_model, parameter_counts, working_copy
from utils.training.results import RunResult

LIVE_PROBES = 32  # a checkpoint on these costs a few hundredths of a second; the verdict uses every probe
LIVE_TEXTS = 6
MAX_LENGTH = 128
SMALL = 10_000_000  # parameters: below that, a second thread helps a training step little, and measuring beside it much

# Two runs at once would draw from the one sequence of random numbers that a process has, and fight for its cores.
_one_at_a_time = threading.RLock()


class Cancelled(Exception):
    """Somebody asked the run to end. What it had measured by then went to ``on_checkpoint``."""


def finetune(
    config: FineTuneConfig,
    task: DatasetDict | None = None,
    probes: Sequence[Probe] | None = None,
    *,
    base: tuple[PreTrainedModel, PreTrainedTokenizerBase] | None = None,
    replay: Sequence[str] | None = None,
    live: int | None = LIVE_PROBES,
    early: Sequence[int] = (),
    kl: bool = True,
    max_drop: float | None = None,
    questions: Sequence[str] = QUESTIONS,
    callbacks: Sequence[TrainerCallback] = (),
    on_checkpoint: Callable[[Checkpoint], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
    keep_model: bool = False,
    beside: bool | None = None,
) -> RunResult:
    """Fine-tune a copy of the model and measure what it learns and what it forgets, from step 0.

    task: splits "train" and "held_out" with a column "text"; by default the customer-service dialogues.
    probes, replay: by default those that suit ``config.model``. Replay texts are never measured.
    base: (model, tokenizer) to start from, left untouched; by default ``config.model`` is loaded once and kept.
    live: probes a checkpoint, or None for all of them. early: more steps to measure at. kl: whether to measure it.
    max_drop: stop at this many points, best weights restored.
    callbacks: more of the trainer's own callbacks. keep_model: put the tuned model into ``result.model``.
    cancelled: asked before each forward pass; once it says True, the run ends right there and raises Cancelled.
    beside: measure in a second thread while the training goes on, which calls ``on_checkpoint`` there; by default a small model
    does, where there is a core for it and no drop budget. No figure depends on it.
    A second call in another thread waits for the first: the same seed must give the same curve.
    Raises ValueError or DataError, in one sentence, for settings that cannot work together or a base with an adapter.
    """
    began = time.perf_counter()
    model, tokenizer = base or _untouched(config.model)
    if hasattr(model, "peft_config"):
        raise ValueError(
            "The base model has an adapter in it already, left by an earlier trainer; load it afresh with load_model."
        )
    probes = probes if probes is not None else default_probes(config.model)
    task = task if task is not None else _customer_service()
    rows = training_rows(config, list(task["train"]["text"]), list(replay) if replay is not None else None)
    texts = {
        "train_texts": list(task["train"]["text"]),
        "held_out_texts": list(task["held_out"]["text"]),
        "original_texts": everyday_texts(),
    }
    if live is not None:
        texts = {name: lines[:LIVE_TEXTS] for name, lines in texts.items()}
    known = _baselines.setdefault(model, {})
    key = (_weight_sums(model), tuple(probes), live, *(tuple(lines) for lines in texts.values()))
    monitor = RegressionMonitor(
        tokenizer,
        probes,
        **texts,
        every=config.evaluate_every,
        early=early,
        kl=kl,
        live=live,
        max_drop=max_drop,
        baseline=known.get(key),
        on_checkpoint=on_checkpoint,
    )
    result = RunResult(config, questions=list(questions))
    small = model.num_parameters() < SMALL and model.device.type == "cpu"
    if beside is None:
        beside = small and max_drop is None and has_a_core_to_spare()

    # The run draws its random numbers in a branch of its own: nobody else's sequence moves.
    with _one_at_a_time, on_one_thread(small), torch.random.fork_rng(), _old_objects_left_alone(), \
            tempfile.TemporaryDirectory() as scratch:  # fmt: skip
        result.answers_before = answer(model, tokenizer, questions) if questions else []
        watch = Beside(monitor, twin_of(config, model)) if beside else monitor
        trainer = build_trainer(config, model, tokenizer, rows, [watch, *callbacks], scratch)
        if cancelled is not None:
            for one in (trainer.model, watch.twin) if beside else (trainer.model,):
                _stop_when(cancelled, one)
        result.trainable, result.parameters = parameter_counts(trainer.model)
        try:
            trainer.train()
        except KeyboardInterrupt:
            result.stopped = f"interrupted at step {trainer.state.global_step}"
            if monitor.checkpoints:
                watch.on_train_end(trainer.args, trainer.state, trainer.control, model=trainer.model)
        else:
            if config.strength < 1:  # the curve ends with the weights that are left
                fade(trainer.model, config.strength, base=model if config.method == "full" else None)
                watch.on_train_end(trainer.args, trainer.state, trainer.control, model=trainer.model)
        finally:
            if beside:
                watch.close()
        result.answers_after = answer(trainer.model, tokenizer, questions) if questions else []

    known[key] = monitor.baseline
    judged = [
        i for i, right in enumerate(monitor.before) if right is not None
    ]  # loss probes have a curve, and no verdict
    result.checkpoints = monitor.checkpoints
    result.before, result.after = ([bool(side[i]) for i in judged] for side in (monitor.before, monitor.after))
    result.probes, result.capabilities = [probes[i].prompt for i in judged], [probes[i].capability for i in judged]
    result.stopped = result.stopped or monitor.stopped
    result.seconds_measuring = watch.waited if beside else monitor.seconds_measuring
    result.seconds = time.perf_counter() - began
    if keep_model:
        result.model = trainer.model
    return result


class _LossAlone(SFTTrainer):
    """TRL's trainer without the entropy and the token accuracy that it works out at every step, from all logits."""

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        return Trainer.compute_loss(self, model, {**inputs, "use_cache": False}, return_outputs, num_items_in_batch)


def twin_of(config: FineTuneConfig, model: PreTrainedModel) -> torch.nn.Module:
    """The model that a run trains, once more: to be measured with weights that are put into it."""
    if config.method == "full":
        return working_copy(model, share_weights=False)
    return get_peft_model(working_copy(model, share_weights=True), lora_config(config, model))


def build_trainer(
    config: FineTuneConfig,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[str],
    callbacks: Sequence[TrainerCallback],
    scratch: str | Path,
) -> SFTTrainer:
    """The trainer that ``finetune`` runs, on a copy of the model. ``rows``: the texts in the order of training."""
    on_gpu = torch.cuda.is_available()
    arguments = SFTConfig(
        output_dir=str(scratch),
        max_steps=config.steps,
        per_device_train_batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        seed=config.seed,
        train_sampling_strategy="sequential",  # ``rows`` are shuffled already, with their share of replay in each batch
        dataset_kwargs={"skip_prepare_dataset": True},  # and tokenised
        bf16=False,
        use_cpu=not on_gpu,
        gradient_checkpointing=False,  # saves memory that a small model does not need, and costs a third of the speed
        max_length=MAX_LENGTH,
        save_strategy="no",
        logging_strategy="no",  # the monitor measures; the trainer's own running mean would be a second, rougher curve
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=on_gpu,
    )
    ids = tokenizer(list(rows), truncation=True, max_length=MAX_LENGTH - 1).input_ids
    dataset = Dataset.from_dict({"input_ids": [row + [tokenizer.eos_token_id] for row in ids]})
    torch.manual_seed(config.seed)  # peft draws the adapter before the trainer seeds anything, in some versions of TRL
    level = hf_logging.get_verbosity()
    hf_logging.set_verbosity_error()  # "PAD/BOS/EOS tokens differ ...": true of every run, and no news
    try:
        trainer = _LossAlone(
            model=working_copy(model, share_weights=config.method == "lora"),
            args=arguments,
            train_dataset=dataset,
            processing_class=tokenizer,
            peft_config=lora_config(config, model) if config.method == "lora" else None,
            callbacks=list(callbacks),
        )
    finally:
        hf_logging.set_verbosity(level)
    trainer.remove_callback(PrinterCallback)  # its one line of timings is not what a learner looks for
    return trainer


def lora_config(config: FineTuneConfig, model: PreTrainedModel) -> LoraConfig:
    """peft's settings for this run. GPT-2 stores its weights transposed, and peft is told so."""
    targets = config.target_modules
    return LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,
        use_rslora=config.scaling == "rslora",
        lora_dropout=config.lora_dropout,
        target_modules=targets if targets == "all-linear" else [name.strip() for name in targets.split(",")],
        fan_in_fan_out=fan_in_fan_out(model),
        bias="none",
        task_type="CAUSAL_LM",
    )


def training_rows(config: FineTuneConfig, new_task: list[str], replay: list[str] | None = None) -> list[str]:
    """The texts of the whole run in order: ``steps * batch_size`` of them, each batch with its share of replay.

    New-task rows come in shuffled rounds, so that each is seen equally often. Replay rows likewise.
    """
    rng = random.Random(config.seed)
    if config.examples > len(new_task):
        raise DataError(
            f"examples is {config.examples} and the task has {len(new_task)} rows; ask for fewer, or 0 for all."
        )
    new_task = rng.sample(new_task, config.examples) if config.examples else new_task
    replayed = round(config.replay * config.batch_size)
    if config.replay and not replayed:
        raise ValueError(
            f"replay is {config.replay:g} and batch_size {config.batch_size}: less than half a row a batch. "
            "Raise either."
        )
    new_rows = _rounds(new_task, (config.batch_size - replayed) * config.steps, rng)
    old_rows = (
        _rounds(replay if replay is not None else _replay(config.model), replayed * config.steps, rng)
        if replayed
        else []
    )
    rows = []
    for step in range(config.steps):
        batch = new_rows[step :: config.steps] + old_rows[step :: config.steps]
        rng.shuffle(batch)
        rows += batch
    return rows


def _rounds(texts: list[str], count: int, rng: random.Random) -> list[str]:
    """``count`` texts: shuffled rounds through all of them."""
    rows: list[str] = []
    while len(rows) < count:
        rows += rng.sample(texts, len(texts))
    return rows[:count]


def _stop_when(cancelled: Callable[[], bool], model: torch.nn.Module) -> None:
    """Ask before each forward pass: training, measuring and answering all end within one of them."""

    def check(*_) -> None:
        if cancelled():
            raise Cancelled

    without_adapter(model).register_forward_pre_hook(check)  # ``generate`` calls this one


@contextmanager
def _old_objects_left_alone() -> Iterator[None]:
    """The trainer collects garbage once, among a million objects of imported libraries: a tenth of a short run."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


# Step 0 of the same weights on the same probes is the same figure: it is measured once for each base model.
_baselines: WeakKeyDictionary = WeakKeyDictionary()
_first_sums: WeakKeyDictionary = (
    WeakKeyDictionary()
)  # what the weights of a cached model summed to when it was first used


def _weight_sums(model: PreTrainedModel) -> tuple[float, ...]:
    """A fingerprint that changes when somebody trains the base model itself."""
    with torch.no_grad():
        return tuple(torch.stack([p.double().sum() for p in model.parameters()]).tolist())


# What a process needs again and again is read once. Models are kept one at a time: the next one may be large.
@lru_cache(maxsize=1)
def base_model(name: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    return load_model(name, quiet=True)


def _untouched(name: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """``base_model``, loaded anew if its weights have changed: runs with LoRA share its memory, so that merging the
    adapter of a kept model writes into it."""
    model, tokenizer = base_model(name)
    sums = _weight_sums(model)
    if _first_sums.setdefault(model, sums) != sums:
        base_model.cache_clear()
        model, tokenizer = base_model(name)
        _first_sums[model] = _weight_sums(model)
    return model, tokenizer


@lru_cache(maxsize=1)
def _customer_service() -> DatasetDict:
    return load_task("customer_service")


def default_probes(name: str) -> list[Probe]:
    """The practice models are asked their repertoire; any other model, general knowledge."""
    return list(_probes(_source(name)))


@lru_cache(maxsize=2)
def _probes(source: Path) -> tuple[Probe, ...]:
    return tuple(load_probes(source))


def _replay(name: str) -> list[str]:
    return replay_texts(_source(name))


def _source(name: str) -> Path:
    return REPERTOIRE if name in SHIPPED else GENERAL
