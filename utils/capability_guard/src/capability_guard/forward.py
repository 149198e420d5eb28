"""One forward pass of a model, disturbing nothing: in evaluation mode, without gradients, only where it is scored."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakKeyDictionary

import torch
from torch.nn import functional as F

from capability_guard.encoding import IGNORE, Batch
from capability_guard.in_step import agreed, together
from capability_guard.jsonl import DataError

LONG_ENOUGH = 32  # tokens on which a forward is tried


@contextmanager
def undisturbed(model: torch.nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; afterwards every module is back in the mode that it was in.

    >>> model.train().training, torch.is_grad_enabled()
    (True, True)
    >>> with undisturbed(model):
    ...     model.training, torch.is_grad_enabled()
    (False, False)
    >>> model.training
    True
    """
    # Module by module: ``model.train()`` at the end would also wake those that your training keeps in evaluation mode, such
    # as a frozen layer with dropout.
    training = [module for module in model.modules() if module.training]
    if training:  # not so inside another ``undisturbed``
        model.eval()
    try:
        # Where a model is split, what is gathered for this pass is used again by the training, which no inference tensor can be.
        with torch.no_grad() if together() else torch.inference_mode():
            yield
    finally:
        for module in training:
            module.training = True  # not .train(), which would reach the modules inside it


def scored_logits(model: torch.nn.Module, batch: Batch, behind: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """(logits, targets) at the positions that predict a scored token: [rows, positions, vocabulary], [rows, positions].

    Only those positions go through the output layer: with a vocabulary of 50,000 that is most of the memory.
    behind: also at each row's last token, which predicts what would come next; there the target is IGNORE.

    >>> from capability_guard.encoding import encode
    >>> from capability_guard.probes import Probe
    >>> logits, targets = scored_logits(model, encode(tokenizer, [Probe("What is 2+2?", "4.", "arithmetic")])[0])
    >>> tokenizer.decode(logits.argmax(-1)[0]), tokenizer.decode(targets[0])  # what it says, and what it should
    (' 4.', ' 4.')
    """
    targets, columns, _ = scored_positions(batch, behind)
    device = input_device(model)
    inputs = {"input_ids": batch.ids.to(device), "attention_mask": batch.mask.to(device)}
    if picks_positions(model, batch):
        logits = model(**inputs, logits_to_keep=columns.to(device), use_cache=False).logits
    else:
        logits = _of_the_tokens(model(**inputs, use_cache=False).logits, batch.ids.shape[1])
        logits = logits[:, columns.to(logits.device)]
    # float32 whatever the model trains in: a log-softmax over the vocabulary in bfloat16 is good to about two digits.
    return logits.float(), targets.to(logits.device)


def scored_positions(batch: Batch, behind: bool = False) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(targets, columns, asked): the tokens that should come at the positions that are kept, [rows, positions], where in the
    rows these positions are, [positions], and at which of them each row is asked anything, [rows, positions].

    behind: also at each row's last token, where the target is IGNORE.

    >>> from capability_guard.encoding import encode
    >>> from capability_guard.probes import Probe
    >>> targets, columns, asked = scored_positions(encode(tokenizer, [Probe("What is 2+2?", "4.", "arithmetic")])[0], behind=True)
    >>> tokenizer.decode(targets[0, :-1]), columns.tolist(), asked.tolist()
    (' 4.', [6, 7, 8, 9], [[True, True, True, True]])
    """
    targets = batch.labels[:, 1:]  # the logits at one position predict the token at the next
    # A position is kept if it is scored in any row. In the other rows its target is IGNORE.
    asked = targets != IGNORE
    if behind:
        targets, asked = F.pad(targets, (0, 1), value=IGNORE), F.pad(asked, (0, 1))
        asked[torch.arange(len(asked)), batch.mask.sum(dim=1) - 1] = True
    columns = asked.any(dim=0).nonzero().squeeze(1)
    return targets[:, columns], columns, asked[:, columns]


def picks_positions(model: torch.nn.Module, batch: Batch) -> bool:
    """Whether the model gives the logits at chosen positions alone, and gives them right. Looked at once for each model.

    A forward that takes ``logits_to_keep`` is not believed: some take it for a number, some drop it, and prompt tuning puts
    tokens of its own in front, so that every position is another one. It is tried on a row, and so is that the model never
    looks ahead. Raises DataError, one sentence, for a model that does: it cannot be asked this way.

    >>> from capability_guard.encoding import encode
    >>> picks_positions(model, encode(tokenizer, ["How do you make tea?"])[0])
    True
    """
    key = what_decides(model)
    known = _tried.get(model)
    if known is None or known[0] != key:
        picks = agreed(_try(model, without_adapter(model), batch))
        if picks is None:  # it gives no numbers now: nothing can be told, and it is looked at again
            return False
        known = _tried[model] = (key, picks)
    return known[1]


def what_decides(model: torch.nn.Module) -> tuple:
    """What decides how a model's forward is to be called: the code that runs, and the adapters on it.

    A library may replace a class's forward after it was made.

    >>> what_decides(model) == what_decides(model)
    True
    """
    inner = without_adapter(model)
    code = getattr(inner.forward, "__func__", inner.forward)
    return code, tuple(sorted(getattr(model, "peft_config", ()))), type(model)


_tried: WeakKeyDictionary = WeakKeyDictionary()  # model -> (what decides, whether it picks positions)


def _try(model: torch.nn.Module, inner: torch.nn.Module, batch: Batch) -> bool | None:
    """One row is read whole, with another last token, and with positions picked; the three must agree."""
    if getattr(getattr(inner, "config", None), "is_encoder_decoder", False):
        raise DataError(_not_causal(inner))
    device = input_device(model)
    length = min(int(batch.mask[0].sum()), LONG_ENOUGH)  # what goes for its beginning goes for a text
    row = batch.ids[:1, :length].to(device)
    other = row.clone()
    other[0, -1] = row[0, 0] if row[0, 0] != row[0, -1] else (row[0, -1] + 1) % 2
    both = torch.cat([row, other])
    with undisturbed(model):
        try:
            read = model(input_ids=both, attention_mask=torch.ones_like(both), use_cache=False).logits
        except TypeError as error:  # before transformers 5, a model that has no cache takes no ``use_cache``
            if "use_cache" not in str(error):
                raise
            raise DataError(_not_causal(inner)) from error
        whole = _of_the_tokens(read, length)
        if not torch.isfinite(whole).all():
            return None
        # In one batch, so that what is read alike is computed alike, to the last bit but for the device's own rounding.
        if not _close(whole[0, :-1], whole[1, :-1], 1e-4):
            raise DataError(_not_causal(inner))
        if "logits_to_keep" not in inspect.signature(inner.forward).parameters or puts_tokens_in_front(model):
            return False
        # Not the last positions, nor as many as there are: a forward that takes the tensor for a number would pass.
        picked = torch.arange(length - 1, device=device)[:: max(1, length // 3)]
        try:
            kept = model(
                input_ids=row, attention_mask=torch.ones_like(row), logits_to_keep=picked, use_cache=False
            ).logits
        except (TypeError, ValueError, RuntimeError, IndexError):
            return False
        return kept.shape[1] == len(picked) and _close(kept[0], whole[0, picked.to(whole.device)], 0.02)


def _close(one: torch.Tensor, other: torch.Tensor, share: float) -> bool:
    """Equal but for rounding: no two further apart than this share of their spread, or 0.02 of it in half precision."""
    share = share if one.dtype == torch.float32 else 0.02
    spread = one.float().std().item() or 1.0
    return one.shape == other.shape and (one.float() - other.to(one.device).float()).abs().max().item() < share * spread


def _of_the_tokens(logits: torch.Tensor, length: int) -> torch.Tensor:
    """The logits of the last ``length`` positions: what stands before them is of tokens that peft put in front."""
    if logits.shape[1] < length:
        raise DataError(
            f"The model gave logits at {logits.shape[1]} positions for {length} tokens, so no token can be told from them; "
            "use a decoder-only language model with its own forward."
        )
    return logits[:, -length:]


def puts_tokens_in_front(model: torch.nn.Module) -> bool:
    """Whether peft puts tokens of its own before the text (prompt tuning, p-tuning, prefix tuning).

    The model is then called with positions that are not the text's.

    >>> puts_tokens_in_front(model)
    False
    """
    return any(getattr(config, "is_prompt_learning", False) for config in getattr(model, "peft_config", {}).values())


def _not_causal(model: torch.nn.Module) -> str:
    return (
        f"{type(model).__name__} is no decoder-only language model (it reads a text as a whole, or with an encoder), so what it "
        "would say next cannot be read off one pass; use one that writes from left to right."
    )


def input_device(model: torch.nn.Module) -> torch.device:
    """Where the model takes its input: the first weight that is really there, since some may lie on disk.

    Raises DataError where none is, and nothing will load them.

    >>> input_device(model)
    device(type='cpu')
    """
    absent = ""
    for name, weight in model.named_parameters():
        if weight.device.type != "meta":
            return weight.device
        absent = absent or name
    if absent and not hasattr(model, "_hf_hook") and not getattr(model, "hf_device_map", None):
        raise DataError(
            f"The weights {absent!r} were never loaded (they are on the meta device); load the model whole."
        )
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def without_adapter(model: torch.nn.Module) -> torch.nn.Module:
    """The model that peft's wrapper holds, or the model itself.

    >>> from peft import LoraConfig, get_peft_model
    >>> without_adapter(get_peft_model(model, LoraConfig(fan_in_fan_out=True))) is model
    True
    """
    return model.get_base_model() if hasattr(model, "get_base_model") else model
