"""Which ways of fine-tuning can be faded exactly, told from an adapter's settings alone.

To fade is to take the weights between the base's and the tuned ones. An adapter gives them if its change of the weights is
linear in one of its tensors, and if the base's own weights are still there. Both were read in peft's source for the methods
and the settings below, and a test holds each to the mixed weights. Whatever is not named here is refused: a new setting of
peft's may change either. Nothing heavy is imported here, since a command looks at the settings before it loads a model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real
from typing import Any


class FadingError(ValueError):
    """A model that cannot be faded, or not to this strength: the message says why and what to do.

    >>> raise FadingError("The strength is 1.2; give a number from 0 to 1.")
    Traceback (most recent call last):
    capability_guard.fading.methods.FadingError: The strength is 1.2; give a number from 0 to 1.
    """


MERGE = "merge it into the model and fade that against its base: fade(merged, 0.6, base=...), or --tuned in place of --adapter"
EARLIER = "take an earlier checkpoint of its training instead"
ABOUT = (
    "peft_type",
    "task_type",
    "auto_mapping",
    "peft_version",
    "base_model_name_or_path",
    "revision",
    "inference_mode",
)
WHERE = ("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "modules_to_save")
LORA = (*ABOUT, *WHERE, "r", "lora_alpha", "lora_dropout", "fan_in_fan_out", "bias", "use_rslora", "init_lora_weights",
        "rank_pattern", "alpha_pattern", "megatron_config", "megatron_core", "trainable_token_indices", "eva_config",
        "runtime_config", "lora_bias", "target_parameters", "qalora_group_size", "loftq_config", "corda_config",
        "lora_ga_config")  # fmt: skip
LYCORIS = (*ABOUT, *WHERE, "r", "alpha", "rank_dropout", "module_dropout", "use_effective_conv2d", "init_weights",
           "rank_pattern", "alpha_pattern")  # fmt: skip
# Each method with the settings under which it is exact. The last ones of LORA's say nothing unless another setting does.
EXACT = {
    "LORA": LORA,
    "ADALORA": (
        *LORA,
        "target_r",
        "init_r",
        "tinit",
        "tfinal",
        "deltaT",
        "beta1",
        "beta2",
        "orth_reg_weight",
        "total_step",
    ),
    "LOHA": LYCORIS,
    "LOKR": (*LYCORIS, "decompose_both", "decompose_factor", "rank_dropout_scale"),
    "TRAINABLE_TOKENS": (*ABOUT, "target_modules", "token_indices", "init_weights"),
}
STARTS = (True, False, "gaussian", "eva", "orthogonal", "lycoris")  # they leave the base's weights as they are
CHANGED = {"pissa": "PiSSA", "olora": "OLoRA", "corda": "CorDA", "loftq": "LoftQ", "lora_ga": "LoRA-GA"}
# What an adapter adds to the text or to the activations has no place among the weights, so it cannot be merged either.
UNMERGED = ("PROMPT_TUNING", "MULTITASK_PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING", "CARTRIDGE", "ADAPTION_PROMPT", "XLORA",
            "POLY")  # fmt: skip


def why_not(settings: Mapping[str, Any], name: str) -> str:
    """Why an adapter with these settings cannot be faded exactly, one sentence; "" if it can.

    settings: what adapter_config.json holds, or ``to_dict`` of a peft config. name: what the sentence calls the adapter.

    >>> why_not({"peft_type": "LORA", "r": 8, "lora_alpha": 16, "use_rslora": True}, "my_adapter")
    ''
    >>> why_not({"peft_type": "LORA", "init_lora_weights": "pissa"}, "my_adapter")
    "The adapter 'my_adapter' was started with PiSSA, which changed the base's own weights, so at 0 it is not the base; merge ..."
    """
    method = getattr(settings.get("peft_type"), "value", settings.get("peft_type"))
    begin = f"The adapter {name!r}"
    if method not in EXACT:
        if method in UNMERGED:
            return f"{begin} is {method}, which is no fixed change of the weights, so nothing lies between it and the base; {EARLIER}."
        return f"{begin} is {method}, for which no factor is known to be exact; {MERGE}."
    start = settings.get("init_lora_weights", settings.get("init_weights", True))
    if start not in STARTS and start is not None:
        changed = next((spoken for key, spoken in CHANGED.items() if str(start).lower().startswith(key)), "")
        if changed:
            return f"{begin} was started with {changed}, which changed the base's own weights, so at 0 it is not the base; {MERGE}."
        return f"{begin} was started with {str(start)[:40]!r}, for which no factor is known to be exact; {MERGE}."
    if settings.get("use_dora"):
        return f"{begin} is DoRA, which rescales whole columns as well, so no single factor gives the weights in between; {MERGE}."
    if settings.get("layer_replication"):
        return f"{begin} repeats layers (layer_replication), so at 0 it is a deeper model than the base; {EARLIER}."
    for setting, value in settings.items():
        if value and setting not in EXACT[method]:
            return f"{begin} has the setting {setting}={str(value)[:40]}, for which no factor is known to be exact; {MERGE}."
    return ""


def checked(strength: Any) -> float:
    """The strength as a float. Raises FadingError for what is no number from 0 to 1.

    >>> checked(1.2)
    Traceback (most recent call last):
    capability_guard.fading.methods.FadingError: The strength is 1.2; give a number from 0 (the base) to 1 (the tuned model).
    """
    # To Python, True is the number 1; whoever wrote it meant something else.
    if isinstance(strength, bool) or not isinstance(strength, Real) or not 0 <= strength <= 1 or math.isnan(strength):
        raise FadingError(
            f"The strength is {repr(strength)[:40]}; give a number from 0 (the base) to 1 (the tuned model)."
        )
    return float(strength)
