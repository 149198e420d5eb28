"""TRL's SFTTrainer and peft's LoraConfig for one config, with what its remedy changes about them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PrinterCallback, Trainer, TrainerCallback
from transformers.utils import logging as hf_logging
from trl import SFTConfig, SFTTrainer

from capability_guard.fading.methods import why_not
from utils.training.config import FineTuneConfig
from utils.training.models import fan_in_fan_out, working_copy
from utils.training.remedies import Batch

MAX_LENGTH = 128


class _LossAlone(SFTTrainer):
    """TRL's trainer without what it works out at every step and nobody here looks at: entropy and token accuracy from all logits, and
    the number of operations, for which it counts the parameters again.

    change: what a remedy makes of a batch's loss. base: the untouched model, which it may ask.
    """

    change: Callable[[Batch], torch.Tensor] | None = None
    base: PreTrainedModel | None = None

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        inputs = {**inputs, "use_cache": False}
        if self.change is None:
            return Trainer.compute_loss(self, model, inputs, return_outputs, num_items_in_batch)
        loss, outputs = Trainer.compute_loss(self, model, inputs, True, num_items_in_batch)
        loss = self.change(Batch(model, self.base, inputs, outputs, loss))
        return (loss, outputs) if return_outputs else loss

    def floating_point_ops(self, inputs) -> int:
        return 0


def twin_of(config: FineTuneConfig, model: PreTrainedModel) -> torch.nn.Module:
    """The model that a run trains, once more: to be measured with weights that are put into it."""
    twin = _copy(config, model)
    return twin if config.method == "full" else get_peft_model(twin, lora_config(config, model))


def ready_to_fade(model: torch.nn.Module) -> torch.nn.Module:
    """What ``fade`` can turn down exactly: the model or, where no factor on its adapter would do, the adapter merged into it.

    A merged model is mixed with its base, as a whole.
    """
    settings = getattr(model, "peft_config", {}).get("default")
    return model if settings is None or not why_not(settings.to_dict(), "default") else model.merge_and_unload()


def _copy(config: FineTuneConfig, model: PreTrainedModel) -> PreTrainedModel:
    """A copy to train on. The base's memory is shared where nothing will write to it: full fine-tuning does, PiSSA does at its
    start, and so does an adapter that must be merged to be faded."""
    frozen = config.method == "lora" and not why_not(lora_config(config, model).to_dict(), "default")
    return working_copy(model, share_weights=frozen)


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
            model=_copy(config, model),
            args=arguments,
            train_dataset=dataset,
            processing_class=tokenizer,
            peft_config=lora_config(config, model) if config.method == "lora" else None,
            callbacks=list(callbacks),
        )
    finally:
        hf_logging.set_verbosity(level)
    trainer.remove_callback(PrinterCallback)  # its one line of timings is not what a learner looks for
    if start := config.at("start"):
        start(trainer.model)
    trainer.change, trainer.base = config.at("loss"), model
    return trainer


def lora_config(config: FineTuneConfig, model: PreTrainedModel) -> LoraConfig:
    """peft's settings for this run. GPT-2 stores its weights transposed, and peft is told so."""
    targets = config.target_modules
    settings = dict(
        r=config.rank,
        lora_alpha=config.alpha,
        use_rslora=config.scaling == "rslora",
        lora_dropout=config.lora_dropout,
        target_modules=targets if targets == "all-linear" else [name.strip() for name in targets.split(",")],
        fan_in_fan_out=fan_in_fan_out(model),
        bias="none",
        task_type="CAUSAL_LM",
    )
    if change := config.at("adapter"):
        settings = change(settings, model)
    return LoraConfig(**settings)
