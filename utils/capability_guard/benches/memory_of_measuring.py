"""How much memory `measure` takes beside the weights, at a vocabulary of 256,000: on random weights, in a process of its own.

    python benches/memory_of_measuring.py                            # a shape of 0.5 B in bfloat16, 500 probes, on the CPU
    python benches/memory_of_measuring.py --shape 7b --device cuda   # where there is a GPU for it

Prints the weights, the highest memory while the probes are asked, and their ratio. On the CPU it is resident memory above that of
a process that has imported everything and holds no model; on a GPU, what torch has allocated. What is said of random weights is
nonsense, and costs as much as sense; only the answers are kept short (two tokens), since their memory is there from the first on.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast

from capability_guard import Probe, measure

SHAPES = {  # width, width of the feed-forward layer, layers, heads, heads of keys and values
    "0.5b": (1024, 3584, 16, 16, 8),
    "7b": (4096, 11008, 32, 32, 32),
    "tiny": (64, 128, 2, 2, 2),
}


def model_of(shape: str, vocabulary: int, dtype: torch.dtype, device: str) -> torch.nn.Module:
    """Random weights, made where and in the precision in which they are used."""
    width, inner, layers, heads, pairs = SHAPES[shape]
    config = LlamaConfig(vocab_size=vocabulary, hidden_size=width, intermediate_size=inner, num_hidden_layers=layers,
                         num_attention_heads=heads, num_key_value_heads=pairs, tie_word_embeddings=True)  # fmt: skip
    with torch.device(device):
        return AutoModelForCausalLM.from_config(config, dtype=dtype).eval()


def bytes_as_tokens() -> PreTrainedTokenizerFast:
    """A tokenizer in which each byte is a token."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(letters)}, merges=[]))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer.add_special_tokens(["<end>"])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", pad_token="<end>")


def probes_of(many: int) -> list[Probe]:
    """Sums, a few choices and a few pages of text, whose logits would be the largest."""
    sums = [Probe(f"{i}+{i}?", f"{2 * i}.", "sums") for i in range(many - 10)]
    page = "Water boils at 100 degrees Celsius at the height of the sea, and at 90 degrees on a high mountain. " * 4
    texts = [Probe("", f"{i}. {page}", "texts", measure="loss") for i in range(2)]
    choices = [Probe(f"{i}?", "yes", "choices", measure="choice", choices=("yes", "no")) for i in range(8)]
    return [*sums, *texts, *choices]


def resident(peak: bool = False) -> int:
    """Bytes of memory of this process, or the most that it has had."""
    if sys.platform == "linux":
        lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        return int(lines["VmHWM" if peak else "VmRSS"].split()[0]) * 1024
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size if sys.platform == "darwin" else size * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="0.5b")
    parser.add_argument("--vocabulary", type=int, default=256_000)
    parser.add_argument("--probes", type=int, default=500)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    asked = parser.parse_args()
    tokenizer, dtype = bytes_as_tokens(), getattr(torch, asked.dtype)
    # A small one first: what is imported and set up on the way is no part of it.
    measure(model_of("tiny", 512, dtype, asked.device), tokenizer, probes_of(12), max_new_tokens=2)
    empty = resident()
    model = model_of(asked.shape, asked.vocabulary, dtype, asked.device)
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    on_gpu = asked.device.startswith("cuda")
    before = torch.cuda.memory_allocated() if on_gpu else resident() - empty
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    elif sys.platform == "linux":
        Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here on
    began = time.perf_counter()
    measured = measure(model, tokenizer, probes_of(asked.probes), max_new_tokens=2)
    seconds = time.perf_counter() - began
    peak = torch.cuda.max_memory_allocated() if on_gpu else resident(peak=True) - empty
    size = sum(p.numel() for p in model.parameters()) / 1e9
    print(
        f"{size:.2f} B parameters in {asked.dtype} on {asked.device}, vocabulary {asked.vocabulary:,}, {asked.probes} probes"
    )
    print(
        f"weights {weights / 1e9:.3f} GB, held before {before / 1e9:.3f} GB, at most {peak / 1e9:.3f} GB in {seconds:.0f} s"
    )
    print(f"{peak / weights:.3f} times the weights ({measured.asked['batch']} at once)")
    if asked.json:
        figures = {"parameters": round(size * 1e9), "dtype": asked.dtype, "device": asked.device, "probes": asked.probes,
                   "vocabulary": asked.vocabulary, "seconds": round(seconds, 1), "weights GB": round(weights / 1e9, 3),
                   "peak GB": round(peak / 1e9, 3), "times the weights": round(peak / weights, 3)}  # fmt: skip
        asked.json.write_text(json.dumps(figures))


if __name__ == "__main__":
    main()
