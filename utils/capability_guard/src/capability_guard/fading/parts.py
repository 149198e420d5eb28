"""One weight that is mixed when a model is faded, with what it is at strength 0; and those of a whole model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from capability_guard.fading.methods import FadingError

Base = nn.Module | Mapping[str, torch.Tensor] | str | Path | None  # where the base's own weights are


@dataclass(frozen=True)
class Part:
    """One tensor that is mixed. owner, name: the module that has it as a parameter. base: its values at strength 0; None: zeros.

    >>> part = Part("output", model.lm_head, "weight", None)
    >>> part.weight is model.lm_head.weight
    True
    """

    path: str
    owner: nn.Module
    name: str
    base: torch.Tensor | None

    @property
    def weight(self) -> torch.Tensor:
        """The tensor as it is in the model now.

        >>> Part("output", model.lm_head, "weight", None).weight.shape
        torch.Size([1536, 192])
        """
        return self.owner._parameters[self.name]


def base_weights(base: Base) -> dict[str, torch.Tensor]:
    """The base's weights by name: of a model, a state dict, or what a folder or the hub has. Raises FadingError.

    A weight that is shared stands under each of its names.

    >>> "transformer.wte.weight" in base_weights(MODEL)
    True
    """
    if isinstance(base, nn.Module):
        return dict(base.named_parameters(remove_duplicate=False))
    if isinstance(base, Mapping) and all(isinstance(tensor, torch.Tensor) for tensor in base.values()):
        return dict(base)
    if not isinstance(base, (str, Path)):
        raise FadingError(f"The base is {str(base)[:60]!r}; give a model, its state dict, or a folder.")
    from capability_guard.models import ModelUnavailable, from_folder, from_hub

    folder = Path(base).expanduser()
    try:
        read, source = (from_folder, folder) if folder.is_dir() else (from_hub, str(base))
        return base_weights(read(source, str(base))[0])
    except ModelUnavailable as error:
        raise FadingError(str(error)) from error


def whole_parts(model: nn.Module, base: Base) -> Iterator[Part]:
    """Every weight of a whole model, one that is shared once a name. Raises FadingError where the base is another model, or none.

    >>> import copy
    >>> [part.path for part in whole_parts(model, copy.deepcopy(model)) if part.weight is model.lm_head.weight]
    ['transformer.wte.weight', 'lm_head.weight']
    """
    if base is None:
        raise FadingError(
            "The model has no adapter that acts, so its weights are mixed with the base's; give the base (base=...)."
        )
    if base is model:
        raise FadingError("The base is the tuned model itself; give the model that it was trained from.")
    values = base_weights(base)
    shared: dict[int, list[str]] = {}  # the names of each weight
    for name, weight in model.named_parameters(remove_duplicate=False):
        shared.setdefault(id(weight), []).append(name)
    known = {name for names in shared.values() for name in names} | {name for name, _ in model.named_buffers()}
    if odd := sorted(values.keys() - known):
        raise FadingError(
            f"The base has {odd[0]!r} and the tuned model has not; give the model that it was trained from."
        )
    for name, owner, short in owned(model):
        there = [other for other in shared[id(owner._parameters[short])] if other in values]
        if not there:
            raise FadingError(
                f"The tuned model has {name!r} and the base has not; give the model that it was trained from."
            )
        if any(not torch.equal(values[there[0]], values[other]) for other in there[1:]):
            raise FadingError(
                f"{there[0]!r} and {there[1]!r} are one weight in the tuned model and two in the base; untie them before fading."
            )
        yield Part(name, owner, short, values[there[0]].detach())


def owned(model: nn.Module) -> Iterator[tuple[str, nn.Module, str]]:
    """(whole name, the module that has it, its name there) of each parameter; one that is shared comes once a name.

    >>> next(owned(model))[::2]
    ('transformer.wte.weight', 'weight')
    """
    for path, module in model.named_modules():
        for name, weight in module._parameters.items():
            if weight is not None:
                yield f"{path}.{name}".removeprefix("."), module, name


def check(part: Part) -> None:
    """Raises FadingError for a weight that cannot be mixed.

    >>> check(Part("output", model.lm_head, "weight", base=torch.zeros(1536, 64)))
    Traceback (most recent call last):
    capability_guard.fading.methods.FadingError: The weights 'output' are (1536, 192) in the tuned model and (1536, 64) in the
    base (were tokens added?); give a base of the same size: resize its embeddings, save it, and name that.
    """
    weight, base = part.weight, part.base
    if weight.device.type == "meta" or (base is not None and base.device.type == "meta"):
        raise FadingError(
            f"The weights {part.path!r} were never loaded (they are on the meta device); load the model whole."
        )
    if not weight.is_floating_point():
        raise FadingError(
            f"The weights {part.path!r} are quantized ({str(weight.dtype).removeprefix('torch.')}), and cannot be mixed; load the "
            "model in float32 or bfloat16."
        )
    if base is None:
        return
    if base.shape != weight.shape:
        raise FadingError(
            f"The weights {part.path!r} are {tuple(weight.shape)} in the tuned model and {tuple(base.shape)} in the base (were "
            "tokens added?); give a base of the same size: resize its embeddings, save it, and name that."
        )
    if base.data_ptr() == weight.data_ptr() and base.numel():
        raise FadingError(
            "The base shares its memory with the tuned model, so it was tuned with it; load or copy it apart."
        )
