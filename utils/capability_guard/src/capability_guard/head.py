"""The output layer, a few positions at a time: with a vocabulary of 256,000, a page of logits takes more memory than the model.

A model's forward is called once and as a whole. Only its last layer is met on the way: it gets the hidden states of all
positions, and works on a few at a time, of which no more is kept than what is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import get_ident
from weakref import WeakKeyDictionary

import torch
from torch.nn import functional as F

from capability_guard.encoding import IGNORE, Batch
from capability_guard.forward import (
    input_device,
    picks_positions,
    scored_logits,
    scored_positions,
    undisturbed,
    what_decides,
    without_adapter,
)
from capability_guard.in_step import together

ROOM = {"cpu": 48e6}  # bytes for the logits of one part, by kind of device
ROOM_ELSEWHERE = 256e6
Logits = Callable[[torch.Tensor], torch.Tensor]  # what a model makes of what its output layer says


@dataclass
class Reading:
    """What one pass says at the positions of a batch that are scored, and at each row's last token: [rows, positions] each.

    targets: the tokens that should come, IGNORE where none is scored. chosen: the likeliest tokens. nats: the negative
    log-likelihood of the targets. log_probabilities: over the vocabulary, [at most ``keep``, vocabulary], on the CPU.

    >>> from capability_guard.encoding import encode
    >>> reading = read(model, encode(tokenizer, ["Make tea."])[0])
    >>> reading.targets.shape == reading.chosen.shape == reading.nats.shape
    True
    """

    targets: torch.Tensor
    chosen: torch.Tensor
    nats: torch.Tensor
    log_probabilities: torch.Tensor


def read(model: torch.nn.Module, batch: Batch, keep: int = 0) -> Reading:
    """One pass over a batch. keep: at how many scored positions to keep the log-probabilities.

    >>> from capability_guard.encoding import encode
    >>> from capability_guard.probes import Probe
    >>> reading = read(model, encode(tokenizer, [Probe("What is 2+2?", "4.", "arithmetic")])[0])
    >>> tokenizer.decode(reading.chosen[0, :2]), reading.targets[0].tolist()[-1]
    (' 4', -100)
    """
    targets, columns, asked = scored_positions(batch, behind=True)
    found = _Found(targets[asked], keep)
    logits_of = shaping(model, batch)
    if logits_of is None:
        logits, _ = scored_logits(model, batch, behind=True)
        for part in logits[asked.to(logits.device)].split(_at_once(logits.shape[-1], logits.device)):
            found.add(part)
    else:
        _through_the_head(model, batch, columns, asked, logits_of, found)
    chosen = torch.full(targets.shape, IGNORE)
    nats = torch.zeros(targets.shape)
    chosen[asked], nats[asked] = torch.cat(found.chosen), torch.cat(found.nats)
    kept = torch.cat(found.kept) if found.kept else torch.empty(0)
    return Reading(targets, chosen, nats, kept)


class _Found:
    """What is kept of the logits of each part, which come in the order of the positions."""

    def __init__(self, targets: torch.Tensor, keep: int) -> None:
        self.targets, self.keep, self.at = targets, keep, 0
        self.chosen: list[torch.Tensor] = []
        self.nats: list[torch.Tensor] = []
        self.kept: list[torch.Tensor] = []

    def add(self, logits: torch.Tensor) -> None:
        """logits: [positions, vocabulary]."""
        # float32 whatever the model computes in: a log-softmax over the vocabulary in bfloat16 is good to about two digits.
        logits = logits.float()
        targets = self.targets[self.at : self.at + len(logits)].to(logits.device)
        self.at += len(logits)
        self.chosen.append(logits.argmax(-1).cpu())
        self.nats.append(F.cross_entropy(logits, targets, ignore_index=IGNORE, reduction="none").cpu())
        if self.keep > 0:
            wanted = logits[targets != IGNORE][: self.keep]
            # To the CPU, since a baseline is kept for the whole training run, and the GPU needs its memory for that.
            self.kept.append(F.log_softmax(wanted, dim=-1).cpu())
            self.keep -= len(wanted)


def _through_the_head(
    model: torch.nn.Module, batch: Batch, columns: torch.Tensor, asked: torch.Tensor, logits_of: Logits, found: _Found
) -> None:
    """Call the model, and read what its output layer says at the positions that are asked."""
    device = input_device(model)
    inputs = {"input_ids": batch.ids.to(device), "attention_mask": batch.mask.to(device), "use_cache": False}
    picks = picks_positions(model, batch)
    if picks:
        inputs["logits_to_keep"] = columns.to(device)
    head = without_adapter(model).get_output_embeddings()

    def meet(head: torch.nn.Module, given: tuple) -> tuple:
        hidden = given[0]
        # Tokens of peft's own may stand in front.
        here = hidden if picks else hidden[:, -batch.ids.shape[1] :][:, columns.to(hidden.device)]
        wanted = here[asked.to(here.device)]
        if found.at == 0:
            vocabulary = getattr(head, "out_features", None) or head.weight.shape[0]
            for part in wanted.split(_at_once(vocabulary, hidden.device)):
                found.add(logits_of(head.forward(part[None])[0]))
        return (hidden[:, :1], *given[1:])  # the model goes on with one position, which costs nothing

    with _hook(head.register_forward_pre_hook(_Here(meet))):
        model(**inputs)


def shaping(model: torch.nn.Module, batch: Batch) -> Logits | None:
    """What the model makes of what its output layer says; None where that is not known. Looked at once for each model.

    Nothing, a factor (Cohere, Granite) or a soft cap (Gemma 2): whichever gives the model's own logits on a row.

    >>> from capability_guard.encoding import encode
    >>> shaping(model, encode(tokenizer, ["How do you make tea?"])[0])(torch.tensor([2.0]))
    tensor([2.])
    """
    if together():  # one process might take another way through the model than the others
        return None
    key = what_decides(model)
    known = _known.get(model)
    if known is None or known[0] != key:
        picks_positions(model, batch)  # which refuses a model that does not write from left to right
        known = _known[model] = (key, _try(model, batch))
    return known[1]


_known: WeakKeyDictionary = WeakKeyDictionary()  # model -> (what decides, what it makes of its output layer's words)


def _try(model: torch.nn.Module, batch: Batch) -> Logits | None:
    inner = without_adapter(model)
    head = inner.get_output_embeddings() if hasattr(inner, "get_output_embeddings") else None
    if head is None:
        return None
    seen: list[tuple] = []
    row = batch.ids[:1, : min(8, int(batch.mask[0].sum()))].to(input_device(model))
    with (
        undisturbed(model),
        _hook(head.register_forward_hook(_Here(lambda _, given, said: seen.append((given, said))))),
    ):
        logits = model(input_ids=row, attention_mask=torch.ones_like(row), use_cache=False).logits
    if len(seen) != 1 or not isinstance(seen[0][1], torch.Tensor) or seen[0][1].shape != logits.shape:
        return None
    ((given, said),) = seen
    if not given or not isinstance(given[0], torch.Tensor) or given[0].dim() != 3:
        return None
    said, logits = said.detach(), logits.to(said.device)
    return next((shape for shape in _shapes(inner.config, said, logits) if _alike(shape(said), logits)), None)


def _shapes(config: object, said: torch.Tensor, logits: torch.Tensor) -> Iterator[Logits]:
    yield _as_it_is
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    if cap := getattr(text, "final_logit_softcapping", None):
        yield lambda x: torch.tanh(x / cap) * cap
    for name in ("logit_scale", "logits_scaling", "lm_head_multiplier"):
        if factor := getattr(text, name, None):
            yield lambda x, factor=factor: x * factor
            yield lambda x, factor=factor: x / factor


def _as_it_is(logits: torch.Tensor) -> torch.Tensor:
    return logits


def _alike(one: torch.Tensor, other: torch.Tensor) -> bool:
    return bool(torch.isfinite(other).all()) and torch.equal(one, other)


def _at_once(vocabulary: int, device: torch.device) -> int:
    """Positions whose logits have room: in their own precision, in float32, and as log-probabilities."""
    return max(1, int(ROOM.get(device.type, ROOM_ELSEWHERE) / (12 * max(1, vocabulary))))


class _Here:
    """A hook that this thread's own pass meets: another thread may ask the same model meanwhile, or copy it to train the copy."""

    def __init__(self, do: Callable) -> None:
        self.do, self.thread = do, get_ident()

    def __call__(self, *given: object) -> object:
        return self.do(*given) if get_ident() == self.thread else None

    def __deepcopy__(self, memo: dict) -> Callable:
        return _nothing


def _nothing(*given: object) -> None:
    pass


@contextmanager
def _hook(handle) -> Iterator[None]:
    try:
        yield
    finally:
        handle.remove()
