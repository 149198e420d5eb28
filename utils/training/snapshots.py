"""Keep a run's trained weights at its checkpoints, so that the model can be asked afterwards what it said then.

    snapshots = Snapshots(every=4)
    result = finetune(config, callbacks=[snapshots], keep_model=True)
    snapshots.answers(result.model, tokenizer, ["What is 2+2?"])      # {0: ["4."], 4: [...], ...}

With LoRA a snapshot is as small as the adapter.
"""

from __future__ import annotations

from collections.abc import Sequence

from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback

from capability_guard.weights import Weights, put_back, trained_weights
from utils.training.answers import answer


class Snapshots(TrainerCallback):
    """A copy of every weight that is trained: at step 0, every ``every`` steps, and at the end of the run.

    weights: one set of weights a step. Raises ValueError for an ``every`` below 1.
    """

    def __init__(self, every: int) -> None:
        if every < 1:
            raise ValueError(f"every is {every}; it must be at least 1.")
        self.every = every
        self.weights: dict[int, Weights] = {}

    def on_train_begin(self, args, state, control, model=None, **kwargs):
        self.weights[state.global_step] = trained_weights(model)

    def on_step_end(self, args, state, control, model=None, **kwargs):
        if state.global_step % self.every == 0 and state.global_step < state.max_steps:
            self.weights[state.global_step] = trained_weights(model)

    def on_train_end(self, args, state, control, model=None, **kwargs):
        self.weights[state.global_step] = trained_weights(model)

    @property
    def steps(self) -> list[int]:
        """The steps that there is a snapshot of, from the first to the last."""
        return sorted(self.weights)

    def answers(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        questions: Sequence[str],
        max_new_tokens: int = 24,
    ) -> dict[int, list[str]]:
        """What the model said to each question at each snapshot, by step. The model is then as at the last one.

        model: the one that the run trained, as ``finetune(..., keep_model=True)`` leaves it in ``result.model``.
        """
        said = {}
        for step in self.steps:
            put_back(model, self.weights[step])
            said[step] = answer(model, tokenizer, questions, max_new_tokens)
        return said


class StartFrom(TrainerCallback):
    """Begin a run where an earlier one of the same method and rank stood.

    ``finetune`` measures its step 0 before it calls this: its first checkpoint is still that of the base model.
    """

    def __init__(self, weights: Weights) -> None:
        self.weights = weights

    def on_train_begin(self, args, state, control, model=None, **kwargs):
        put_back(model, self.weights)
