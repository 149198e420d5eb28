"""What a model goes on to say, greedily."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from capability_guard.encoding import pad_id
from capability_guard.forward import undisturbed

ROWS_AT_ONCE = 16  # prompts that are completed together


def complete(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[Sequence[int]], max_new_tokens: int
) -> list[str]:
    """What the model goes on to say, greedily, after each prompt (its tokens), white space folded.

    Prompts of one length are completed together: no padding, so the rows cannot disturb each other.
    """
    said = [""] * len(prompts)
    by_length: dict[int, list[int]] = {}
    for i, prompt in enumerate(prompts):
        by_length.setdefault(len(prompt), []).append(i)
    chunks = [same[k : k + ROWS_AT_ONCE] for same in by_length.values() for k in range(0, len(same), ROWS_AT_ONCE)]
    with undisturbed(model):
        for chunk in chunks:
            ids = torch.tensor([prompts[i] for i in chunk], device=model.device)
            output = model.generate(
                input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=max_new_tokens, do_sample=False,
                pad_token_id=pad_id(tokenizer),
            )  # fmt: skip
            for i, row in zip(chunk, output[:, ids.shape[1] :], strict=True):
                said[i] = " ".join(tokenizer.decode(row, skip_special_tokens=True).split())
    return said
