"""What a model says when it is not asked anything: sampled once, and kept in a file beside the course's converted models."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from capability_guard.files import write_whole
from utils.training.models import cache_folder, weight_sums

TEXTS, TOKENS, SEED = 256, 48, 0  # texts in all; of at most so many new tokens


def own_texts(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, stems: Sequence[str]) -> list[str]:
    """About ``TEXTS`` texts that the model samples (temperature 1, nothing cut off), as many to each of ``stems``.

    A text begins with its stem; "" is the start of any text. The same weights and stems give the same texts. A disk that cannot
    be written costs the time to sample them again.
    """
    wanted = repr((weight_sums(model), len(tokenizer), list(stems), TEXTS, TOKENS, SEED))
    file = cache_folder() / "own-texts" / f"{hashlib.sha256(wanted.encode()).hexdigest()[:16]}.json"
    with suppress(OSError, ValueError, KeyError):  # not there yet, or damaged: sample them
        return list(json.loads(file.read_text(encoding="utf-8"))["texts"])
    texts = [text for stem in stems for text in _sampled(model, tokenizer, stem, -(-TEXTS // len(stems)))]
    with suppress(OSError):
        write_whole(file, json.dumps({"texts": texts}, ensure_ascii=False, indent=0))
    return texts


def not_asked(texts: Sequence[str], asked: Sequence[str]) -> list[str]:
    """The texts in which no probe's prompt stands: what is measured is never trained on. Raises ValueError if none is left."""
    left = [text for text in texts if not any(prompt in text for prompt in asked)]
    if not left:
        raise ValueError(
            "Each text that the model samples holds one of the probes' prompts; ask fewer probes, or others."
        )
    return left


def _sampled(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, stem: str, count: int) -> list[str]:
    first = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    start = [first, *tokenizer(stem, add_special_tokens=False).input_ids]
    ids = torch.tensor([start] * count, device=model.device)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(SEED)
        said = model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=TOKENS, do_sample=True, temperature=1.0, top_k=0,
            top_p=1.0, pad_token_id=tokenizer.eos_token_id,
        )  # fmt: skip
    texts = (tokenizer.decode(row, skip_special_tokens=True).strip() for row in said[:, 1:])
    return [text for text in texts if text != stem.strip()]
