"""What a model says to a few questions, for people to read."""

from __future__ import annotations

from collections.abc import Sequence

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from capability_guard.encoding import prompt_ids
from capability_guard.generation import complete


def answer(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    questions: Sequence[str],
    max_new_tokens: int = 24,
) -> list[str]:
    """What the model says to each question, greedily, one line each. A chat model is asked through its template."""
    prompts = [prompt_ids(tokenizer, question, bool(tokenizer.chat_template)) for question in questions]
    return complete(model, tokenizer, prompts, max_new_tokens)
