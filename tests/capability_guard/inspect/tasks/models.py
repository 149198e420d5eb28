"""Two small models beside each other: ``base-model``, a copy of the practice model, and ``reckless-model``, with noise on every
matrix: a stand-in for a fine-tuning that went wrong. Both get a chat template, the question as it is, since they have none."""

import json
import shutil
import sys

import torch
from safetensors.torch import load_file, save_file

for name, share in (("base-model", 0.0), ("reckless-model", 0.5)):
    shutil.copytree(sys.argv[1], name)
    torch.manual_seed(0)
    weights = load_file(f"{name}/model.safetensors")
    for tensor in weights.values():
        if tensor.ndim == 2:
            tensor += share * tensor.std() * torch.randn_like(tensor)
    save_file(weights, f"{name}/model.safetensors", metadata={"format": "pt"})
    with open(f"{name}/tokenizer_config.json", encoding="utf-8") as file:
        config = json.load(file)
    config["chat_template"] = "{% for m in messages %}{{ m.content }}{% endfor %}"
    with open(f"{name}/tokenizer_config.json", "w", encoding="utf-8") as file:
        json.dump(config, file)
