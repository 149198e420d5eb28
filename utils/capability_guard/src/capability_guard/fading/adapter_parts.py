"""Which tensors of an adapter are mixed when it is faded.

Where an adapter changes the weights by a product, it is the factor in which that is linear, and at strength 0 it is zero: LoRA's
B, AdaLoRA's singular values, one factor of LoHa and of LoKr. What an adapter trained in place (``modules_to_save``, tokens,
biases) is mixed with the base's own values, which peft keeps, except those of biases.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from capability_guard.fading.methods import FadingError, why_not
from capability_guard.fading.parts import Base, Part, base_weights, owned

# Where a layer has what it knows of each adapter, by its kind.
HOLDERS = (
    "lora_A",
    "lora_embedding_A",
    "hada_w1_a",
    "lokr_w1",
    "lokr_w1_a",
    "trainable_tokens_delta",
    "modules_to_save",
)


def active_adapters(model: nn.Module) -> list[str]:
    """The names of the adapters that act in a model now; none for a model without any, or with adapters merged and unloaded.

    >>> active_adapters(model)
    []
    """
    from peft import PeftMixedModel, PeftModel

    names = [name for layer in _tuners(model) for name in _active(layer)]
    if isinstance(model, (PeftModel, PeftMixedModel)):  # prompt tuning has no layers
        active = model.active_adapter
        names += [active] if isinstance(active, str) else active
    return list(dict.fromkeys(names))


def merged_adapters(model: nn.Module) -> list[str]:
    """The names of the adapters that are merged into the weights now, and could be taken out again.

    >>> merged_adapters(model)
    []
    """
    return list(dict.fromkeys(name for layer in _tuners(model) for name in getattr(layer, "merged_adapters", ())))


def adapter_parts(model: nn.Module, names: list[str], base: Base = None) -> Iterator[Part]:
    """What is mixed of these adapters, which act in the model. base: needed where biases were trained. Raises FadingError.

    >>> from peft import LoraConfig, get_peft_model
    >>> tuned = get_peft_model(model, LoraConfig(target_modules=["c_proj"], fan_in_fan_out=True, layers_to_transform=[0]))
    >>> [part.path for part in adapter_parts(tuned, ["default"])]
    ['...h.0.attn.c_proj.lora_B.default.weight', '...h.0.mlp.c_proj.lora_B.default.weight']
    """
    if merged := merged_adapters(model):
        raise FadingError(
            f"The adapter {merged[0]!r} is merged into the weights now; call unmerge_adapter() first, or fade the merged model "
            "against its base (base=...)."
        )
    configs = getattr(model, "peft_config", {})
    for name in names:
        settings = configs[name].to_dict() if name in configs else {}
        if why := why_not(settings, name):
            raise FadingError(why)
    for path, module in model.named_modules():
        yield from _of_layer(path, module)
    if any(getattr(configs[name], "bias", "none") != "none" for name in names):
        yield from _of_biases(model, names, base)


def _tuners(model: nn.Module) -> Iterator[nn.Module]:
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils.other import ModulesToSaveWrapper

    return (module for module in model.modules() if isinstance(module, (BaseTunerLayer, ModulesToSaveWrapper)))


def _active(layer: nn.Module) -> list[str]:
    """The adapters that act in this layer, which may have only some of them."""
    active = layer.active_adapter  # a text or a list of them, by peft's version
    active = [active] if isinstance(active, str) else list(active)
    known = [getattr(layer, holder) for holder in HOLDERS if hasattr(layer, holder)]
    return [name for name in active if not known or any(name in holder for holder in known)]


def _of_layer(path: str, layer: nn.Module) -> Iterator[Part]:
    """The parts of one layer of peft's, of each adapter that acts in it."""
    from peft.tuners.adalora.layer import AdaLoraLayer
    from peft.tuners.loha.layer import LoHaLayer
    from peft.tuners.lokr.layer import LoKrLayer
    from peft.tuners.lora.layer import LoraLayer
    from peft.tuners.trainable_tokens.layer import TrainableTokensLayer
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils.other import ModulesToSaveWrapper

    if isinstance(layer, ModulesToSaveWrapper):
        for name in _active(layer)[:1]:  # peft asks the first one alone
            yield from _of_module(f"{path}.modules_to_save.{name}", layer.modules_to_save[name], layer.original_module)
        return
    if not isinstance(layer, BaseTunerLayer):
        return
    for name in _active(layer):
        if isinstance(layer, TrainableTokensLayer):  # whole rows, not their change
            rows = layer.get_base_layer().weight.detach()[layer.token_indices[name]]
            yield Part(f"{path}.trainable_tokens_delta.{name}", layer.trainable_tokens_delta, name, rows)
        elif isinstance(layer, AdaLoraLayer):  # is a LoraLayer too
            yield Part(f"{path}.lora_E.{name}", layer.lora_E, name, None)
        elif isinstance(layer, LoraLayer) and not getattr(layer, "lora_variant", {}).get(name):
            if name in layer.lora_B:
                for tensor in layer.lora_B[name]._parameters:  # its bias is scaled, too
                    if layer.lora_B[name]._parameters[tensor] is not None:
                        yield Part(f"{path}.lora_B.{name}.{tensor}", layer.lora_B[name], tensor, None)
            if name in layer.lora_embedding_B:
                yield Part(f"{path}.lora_embedding_B.{name}", layer.lora_embedding_B, name, None)
        elif isinstance(layer, LoHaLayer):
            yield Part(f"{path}.hada_w1_a.{name}", layer.hada_w1_a, name, None)
        elif isinstance(layer, LoKrLayer):
            first = "lokr_w1" if name in layer.lokr_w1 else "lokr_w1_a"
            yield Part(f"{path}.{first}.{name}", getattr(layer, first), name, None)
        else:
            raise FadingError(
                f"{path} is a layer of peft's for which no factor is known to be exact ({type(layer).__name__})."
            )


def _of_module(path: str, tuned: nn.Module, original: nn.Module) -> Iterator[Part]:
    values = dict(original.named_parameters(remove_duplicate=False))
    for name, owner, short in owned(tuned):
        if name not in values:
            raise FadingError(
                f"{path} has {name!r}, which the base has not; merge the adapter, and fade the whole model."
            )
        yield Part(f"{path}.{name}", owner, short, values[name].detach())


def _of_biases(model: nn.Module, names: list[str], base: Base) -> Iterator[Part]:
    """Biases that an adapter trained in place (bias="all"): peft keeps no copy of the base's."""
    if base is None:
        raise FadingError(
            f"The adapter {names[0]!r} trained biases in place, and peft keeps no copy of the base's; give the base "
            "(base=...), be it a folder, a model or a state dict."
        )
    values = base_weights(base)
    for path, owner, short in owned(model):
        if "bias" not in path or any(own in path for own in ("lora_", ".modules_to_save.", ".original_module.")):
            continue
        name = path.removeprefix("base_model.model.").replace(".base_layer.", ".")
        if name not in values:
            raise FadingError(
                f"The base has no {name!r}, which the adapter trained; give the model that it was trained from."
            )
        yield Part(path, owner, short, values[name].detach())
