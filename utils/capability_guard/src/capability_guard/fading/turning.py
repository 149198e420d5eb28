"""Turn a fine-tuning down after the training: weights between the base's and the tuned ones, without another step.

At strength s each weight is ``base + s * (tuned - base)``. Often most of what was learned stays, and little of what was
forgotten is lost any more. Sources: WiSE-FT, Wortsman et al. 2021, arXiv 2109.01903, for whole models; Lin et al. 2023,
arXiv 2309.06256, who find it the best of many remedies for what alignment makes a model forget.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from capability_guard.fading.adapter_parts import active_adapters, adapter_parts, merged_adapters
from capability_guard.fading.methods import FadingError, checked
from capability_guard.fading.parts import Base, Part, check, whole_parts
from capability_guard.processes import is_split

# On the module that has the weight, so that it is copied and thrown away with it: {name: (strength, tuned values, CPU)}.
KEPT = "_before_fading"


class fade:
    """Turn a model's adapter, or its whole fine-tuning, down to ``strength``: 0 is the base and 1 the tuned model.

    ``fade(model, 0.6)`` is for good, and ``with fade(model, 0.6):`` for the block, after which each weight is as it was, to the
    last bit. Strengths are absolute: 0.5 and then 1 is the tuned model again. For that a copy of the tuned weights is kept (in
    CPU memory) for as long as they are faded. Train a faded model on, and what it is then is strength 1.

    model: with adapters of peft's, or a whole model, shared with whoever holds it: the weights change in place.
    strength: from 0 to 1. base: what a model without an adapter was trained from, as a model, a state dict, a folder or a
    hub id; an adapter needs it only where it trained biases in place.
    Exact for LoRA with any scaling, AdaLoRA, LoHa, LoKr, trained tokens and ``modules_to_save``, and for whole models. The
    weights are computed in float32 and rounded once; buffers stay as they are. Save the model, and you save it faded.
    Raises FadingError, one sentence, for anything else (DoRA, PiSSA and the like, prompts, an adapter that is merged now).

    >>> from peft import LoraConfig, get_peft_model
    >>> tuned = get_peft_model(model, LoraConfig(fan_in_fan_out=True, init_lora_weights=False)).eval()
    >>> words = tokenizer("What is 2+2?", return_tensors="pt").input_ids
    >>> with fade(tuned, 0), tuned.disable_adapter():
    ...     base = tuned(words).logits
    >>> with fade(tuned, 0):
    ...     torch.equal(tuned(words).logits, base)
    True
    >>> _ = fade(tuned, 0.6)  # from here on, and saved with it
    >>> torch.equal(tuned(words).logits, base)
    False
    """

    def __init__(self, model: nn.Module, strength: float, *, base: Base = None) -> None:
        self.strength = checked(strength)
        self._model = model
        self._parts = parts_of(model, base)
        self._begin()

    def __enter__(self) -> nn.Module:
        if not self._acts:  # the same object, in a second block
            self._begin()
        return self._model

    def __exit__(self, kind: Any, *rest: Any) -> None:
        if kind is None and (merged := merged_adapters(self._model)):
            raise FadingError(
                f"The adapter {merged[0]!r} was merged while it was faded and still is; unmerge it before the block ends."
            )
        self._acts = False
        for part, (before, tuned) in zip(self._parts, self._before, strict=True):
            _write(part, before, tuned)

    def _begin(self) -> None:
        self._before = _as_they_are(self._parts)
        self._acts = True
        try:
            for part, (_, tuned) in zip(self._parts, self._before, strict=True):
                _write(part, self.strength, tuned)
        except BaseException:  # out of memory, or stopped by hand: no model of two halves
            self.__exit__(FadingError)
            raise


def parts_of(model: nn.Module, base: Base = None) -> list[Part]:
    """What is mixed when this model is faded: of its active adapters, or else all of its weights. Raises FadingError.

    base: where the base's weights are, for a model without an adapter or an adapter that trains biases in place: a model,
    a state dict, or the name of a folder or on the hub.

    >>> len(parts_of(model, MODEL)) == len(list(model.parameters()))  # a weight that two names share is mixed once
    True
    """
    if is_split(model) or any(hasattr(weight, "ds_numel") for weight in model.parameters()):
        raise FadingError(
            "The parameters are split over processes (FSDP or DeepSpeed ZeRO-3), so none can mix them; save the model whole, and "
            "fade that."
        )
    names = active_adapters(model)
    found = adapter_parts(model, names, base) if names else whole_parts(model, base)
    parts = list({id(part.weight): part for part in found}.values())
    for part in parts:
        check(part)
    return parts


def mixed(base: torch.Tensor | None, tuned: torch.Tensor, strength: float) -> torch.Tensor:
    """``base + strength * (tuned - base)``, in float32 at least; base None is zero. At 0 and 1 the very bits of one side.

    On the device of ``tuned``. The dtype is that of the computation, or of the side whose bits these are.

    >>> mixed(torch.tensor([1.0]), torch.tensor([3.0]), 0.25)
    tensor([1.5000])
    """
    if strength == 1:
        return tuned
    if strength == 0:
        return torch.zeros_like(tuned) if base is None else base.to(tuned.device)
    wide = torch.promote_types(tuned.dtype, torch.float32)
    tuned = tuned.to(wide)
    if base is None:
        return tuned * strength
    base = base.to(tuned.device, wide)
    # Three steps and no fused one, so that every device comes to the same bits, and what was kept can be told again.
    return base + strength * (tuned - base)


@torch.no_grad()
def _as_they_are(parts: list[Part]) -> list[tuple[float, torch.Tensor]]:
    """(strength, tuned values) of each part now. Weights that an earlier fade did not leave so were trained since, or loaded."""
    kept = [part.owner.__dict__.get(KEPT, {}).get(part.name) for part in parts]
    # All or none: a weight that training left alone must not be taken for faded beside others that are tuned anew.
    if not all(_is_at(part, *known) for part, known in zip(parts, kept, strict=True) if known is not None):
        kept = [None] * len(parts)
    return [known or (1.0, part.weight.detach().to("cpu", copy=True)) for part, known in zip(parts, kept, strict=True)]


def _is_at(part: Part, strength: float, tuned: torch.Tensor) -> bool:
    weight = part.weight
    if tuned.shape != weight.shape:
        return False
    return torch.equal(weight, mixed(part.base, tuned.to(weight.device), strength).to(weight.dtype))


@torch.no_grad()
def _write(part: Part, strength: float, tuned: torch.Tensor) -> None:
    """Put a weight at this strength, and keep what it takes to undo that."""
    part.weight.copy_(mixed(part.base, tuned.to(part.weight.device), strength))
    kept = part.owner.__dict__.setdefault(KEPT, {})
    kept[part.name] = (strength, tuned)
    if strength == 1:  # nothing to undo
        del kept[part.name]
        if not kept:
            del part.owner.__dict__[KEPT]
