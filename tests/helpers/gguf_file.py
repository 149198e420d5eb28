"""A GPT-2 with a byte-level BPE tokenizer as one GGUF file, as llama.cpp's converter would write it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter, LlamaFileType, TokenType, quants
from safetensors.numpy import load_file

CONTEXT = 1024  # transformers' reader takes this for GPT-2 whatever the file says
NAMES = {"ln_1": "attn_norm", "attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output", "ln_2": "ffn_norm", "mlp.c_fc": "ffn_up",
         "mlp.c_proj": "ffn_down"}  # fmt: skip


def write_gguf(model: Path, file: Path, bits: int = 32) -> Path:
    """The model of a folder in 32 bits a weight, or with its matrices in 8."""
    config = json.loads((model / "config.json").read_text())
    writer = GGUFWriter(file, "gpt2")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(config["n_embd"])
    writer.add_feed_forward_length(4 * config["n_embd"])
    writer.add_block_count(config["n_layer"])
    writer.add_head_count(config["n_head"])
    writer.add_layer_norm_eps(config["layer_norm_epsilon"])
    writer.add_file_type(LlamaFileType.ALL_F32 if bits == 32 else LlamaFileType.MOSTLY_Q8_0)
    _add_tokenizer(writer, model, config)
    for name, tensor in load_file(model / "model.safetensors").items():
        _add(writer, name.removeprefix("transformer."), tensor, bits)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def _add_tokenizer(writer: GGUFWriter, model: Path, config: dict) -> None:
    whole = json.loads((model / "tokenizer.json").read_text())
    tokens = sorted(whole["model"]["vocab"], key=whole["model"]["vocab"].get)
    special = {token["content"] for token in whole["added_tokens"]}
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in whole["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")  # each digit by itself, then GPT-2's own pattern
    writer.add_token_list(tokens)
    writer.add_token_types([TokenType.CONTROL if token in special else TokenType.NORMAL for token in tokens])
    writer.add_token_merges(merges)
    writer.add_bos_token_id(config["bos_token_id"])
    writer.add_eos_token_id(config["eos_token_id"])
    writer.add_pad_token_id(config["pad_token_id"])
    writer.add_add_bos_token(False)


def _add(writer: GGUFWriter, name: str, tensor: np.ndarray, bits: int) -> None:
    if name == "wpe.weight":  # the positions that this model never learned
        tensor = np.pad(tensor, ((0, CONTEXT - len(tensor)), (0, 0)))
    kind = name.rpartition(".")[2]
    if name.startswith("h."):
        _, layer, inner = name.removesuffix(f".{kind}").split(".", 2)
        target = f"blk.{layer}.{NAMES[inner]}.{kind}"
        if inner in ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj") and kind == "weight":
            tensor = np.ascontiguousarray(tensor.T)  # GPT-2 keeps [in, out]
    else:
        target = {"wte.weight": "token_embd.weight", "wpe.weight": "position_embd.weight", "ln_f.weight": "output_norm.weight",
                  "ln_f.bias": "output_norm.bias"}[name]  # fmt: skip
    if bits == 8 and tensor.ndim == 2 and target != "position_embd.weight":
        packed = quants.quantize(tensor, GGMLQuantizationType.Q8_0)
        writer.add_tensor(target, packed, raw_dtype=GGMLQuantizationType.Q8_0)
    else:
        writer.add_tensor(target, tensor)
    if target == "token_embd.weight" and bits == 32:
        writer.add_tensor("output.weight", tensor)
