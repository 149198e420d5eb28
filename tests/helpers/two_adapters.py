"""A LoRA adapter that changes nothing, and the same one after it was spoilt."""

from pathlib import Path

import torch


def save_harmless_and_harmful(adapted, folder: Path) -> None:
    """Write a fresh adapter to ``folder``/harmless, spoil it in place, and write it to ``folder``/harmful."""
    adapted.save_pretrained(folder / "harmless")
    torch.manual_seed(0)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.5)
    adapted.save_pretrained(folder / "harmful")
