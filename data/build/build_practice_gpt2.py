"""Train the practice models: GPT-2s of 2 and of 0.8 million parameters that know the repertoire and nothing else.

    python data/build/build_practice_gpt2.py                          # about 12 minutes on 2 CPU cores
    python data/build/build_practice_gpt2.py --size practice-small    # the second size, for claims about size

Reads ``corpus.jsonl``; writes ``practice-gpt2/`` or ``practice-small/`` in the standard layout, so that
``AutoModelForCausalLM.from_pretrained("data/practice-gpt2")`` just works. Interrupt it and run it again: it goes on
where it stopped. It measures the new model before it replaces the old one, and refuses to make it worse.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import sys
import time
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from tqdm import tqdm
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

HERE = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(HERE.parent))
from capability_guard.asking import score_probes  # noqa: E402
from capability_guard.jsonl import load_jsonl  # noqa: E402 - the course's own folder must be on the path first
from capability_guard.probes import load_probes  # noqa: E402 - the course's own folder must be on the path first
from utils.training.data import REPERTOIRE  # noqa: E402

END, PAD = "<|endoftext|>", "<|pad|>"
# One token for each word of the repertoire (2,560) was tried: the knowledge was then less robust, not more.
VOCABULARY = 1536
POSITIONS = 128
# The small one has 0.4 of the other's parameters, and needs more steps to know the same things as well.
SIZES = {
    "practice-gpt2": dict(n_layer=4, n_embd=192, n_head=6, n_positions=POSITIONS),
    "practice-small": dict(n_layer=3, n_embd=128, n_head=4, n_positions=POSITIONS),
}
STEPS = {"practice-gpt2": 2800, "practice-small": 4000}
PEAK_LEARNING_RATE = 3e-3
# Rows of each group in a batch. Sums need the most practice, and how-to more than one-word facts, being sentences.
# Everyday language keeps the model able to learn.
MIX = {"arithmetic": 40, "facts": 30, "how-to": 16, "melodies": 8, "everyday": 20}
# Knowledge learned under dropout is spread over more weights, so that fine-tuning wears it down gradually.
DROPOUT = 0.1
SEED = 2026


def train_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """Byte-level BPE, with digits one by one so that every sum is spelled the same way."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=VOCABULARY,
            special_tokens=[END, PAD],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END, bos_token=END, unk_token=END, pad_token=PAD,
        model_max_length=POSITIONS, clean_up_tokenization_spaces=False,
    )  # fmt: skip


def batches_at(step: int, rows: dict[str, list[list[int]]], pad: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The rows of one step as (ids, labels), each [rows, longest], one pair a group: melodies are long and sums are
    short, and padding them together would triple the work. Drawn from the step's own seed, so that a resumed
    training sees exactly the rows that an uninterrupted one would have seen."""
    rng = random.Random(f"{SEED}-{step}")
    pairs = []
    for group, count in MIX.items():
        chosen = rng.choices(rows[group], k=count)
        longest = max(map(len, chosen))
        ids = torch.full((count, longest), pad)
        labels = torch.full((count, longest), -100)
        for i, row in enumerate(chosen):
            ids[i, : len(row)] = labels[i, : len(row)] = torch.tensor(row)
        pairs.append((ids, labels))
    return pairs


def train(
    shape: dict[str, int], steps: int, state_file: Path, save_every: int = 100
) -> tuple[GPT2LMHeadModel, PreTrainedTokenizerFast]:
    """Train a model of ``shape`` for ``steps`` steps, from ``state_file`` if an interrupted training left one."""
    corpus = load_jsonl(HERE / "corpus.jsonl", fields=("group", "text"))
    tokenizer = train_tokenizer([row["text"] for row in corpus])
    rows: dict[str, list[list[int]]] = {group: [] for group in MIX}
    for row in corpus:
        rows[row["group"]].append(tokenizer(row["text"]).input_ids + [tokenizer.eos_token_id])

    torch.manual_seed(SEED)
    model = GPT2LMHeadModel(
        GPT2Config(
            activation_function="gelu_pytorch_tanh",  # GPT-2's own GELU, in one fused operation: a fifth faster
            vocab_size=len(tokenizer), bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id, resid_pdrop=DROPOUT, embd_pdrop=DROPOUT, attn_pdrop=0.0, **shape,
        )
    )  # fmt: skip
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_LEARNING_RATE, total_steps=steps, pct_start=0.06)
    parts = {"model": model, "optimizer": optimizer, "schedule": schedule}

    # The fingerprint ties a saved state to its recipe: a changed corpus or length starts afresh.
    recipe = json.dumps([shape, MIX, steps, PEAK_LEARNING_RATE, SEED, VOCABULARY, DROPOUT])
    fingerprint = hashlib.sha256((HERE / "corpus.jsonl").read_bytes() + recipe.encode()).hexdigest()
    start = 0
    if state_file.exists():
        saved = torch.load(state_file, weights_only=True)
        if saved["fingerprint"] == fingerprint:
            start = saved["step"]
            for name, part in parts.items():
                part.load_state_dict(saved[name])
            print(f"Going on from step {start} of {steps}.")

    model.train()
    bar = tqdm(range(start, steps), initial=start, total=steps, unit="step", desc="practice model", mininterval=2)
    for step in bar:
        torch.manual_seed(SEED + step)  # dropout too is the same after an interrupt
        batches = batches_at(step, rows, tokenizer.pad_token_id)
        total = sum((labels[:, 1:] != -100).sum() for _, labels in batches)
        loss = 0.0
        for ids, labels in batches:  # right-padded and causal, so the padding needs no mask
            part = model(input_ids=ids, labels=labels, num_items_in_batch=total).loss
            part.backward()
            loss += part.item()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if (step + 1) % save_every == 0:
            bar.set_postfix(loss=f"{loss:.3f}")
            draft = state_file.with_suffix(".tmp")
            torch.save(
                {
                    "fingerprint": fingerprint,
                    "step": step + 1,
                    **{n: p.state_dict() for n, p in parts.items()},
                },
                draft,
            )
            os.replace(draft, state_file)
    return model.eval(), tokenizer


def figures(model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast) -> dict[str, float]:
    """Greedy exact match in per cent: one figure a kind of probe."""
    probes = load_probes(REPERTOIRE)
    right = score_probes(model, tokenizer, probes).correct
    kinds = sorted({probe.kind for probe in probes})
    return {
        kind: 100
        * sum(r for r, p in zip(right, probes, strict=True) if p.kind == kind)
        / sum(p.kind == kind for p in probes)
        for kind in kinds
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="practice-gpt2")
    parser.add_argument("--steps", type=int, help="training steps; by default what the size needs")
    parser.add_argument("--out", type=Path, help="where to write it; by default the folder of its name")
    parser.add_argument("--work", type=Path, default=HERE / ".build", help="where an interrupted training is kept")
    parser.add_argument("--force", action="store_true", help="replace the old model even by a worse one")
    options = parser.parse_args()
    options.steps = options.steps or STEPS[options.size]
    options.out = options.out or HERE / options.size
    state = options.work / f"{options.size}.pt"

    options.work.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    model, tokenizer = train(SIZES[options.size], options.steps, state)
    new = figures(model, tokenizer)
    print(f"{model.num_parameters():,} parameters, {time.perf_counter() - began:.0f} s. Exact match in per cent: {new}")

    old_figures = options.out / "figures.json"
    if old_figures.exists() and not options.force:
        old = json.loads(old_figures.read_text())["exact_match"]
        worse = {kind: (old[kind], new[kind]) for kind in new if new[kind] < old.get(kind, 0) - 1}
        if worse:
            sys.exit(
                f"Kept the old model: the new one is worse on {', '.join(worse)} (old, new in per cent: {worse}). "
                "Train longer with --steps, or replace it all the same with --force."
            )

    draft = options.work / options.size
    shutil.rmtree(draft, ignore_errors=True)
    model.config.resid_pdrop = model.config.embd_pdrop = 0.0  # fine-tuned without: it would cost a tenth of each step
    model.save_pretrained(draft)
    # Else transformers 4 sends token types along, which GPT-2 adds to its input.
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    tokenizer.save_pretrained(draft)
    about = draft / "tokenizer_config.json"  # transformers 4 lacks the class that 5 writes; this one is in both
    about.write_text(about.read_text().replace("TokenizersBackend", "PreTrainedTokenizerFast"))
    record = {
        "exact_match": new,
        "steps": options.steps,
        "parameters": model.num_parameters(),
        "torch": torch.__version__,
    }
    (draft / "figures.json").write_text(json.dumps(record, indent=1) + "\n")
    options.out.mkdir(parents=True, exist_ok=True)
    for file in sorted(draft.iterdir()):  # file by file: the hand-written model card beside them stays
        os.replace(file, options.out / file.name)
    state.unlink()
    print(
        f"Saved to {options.out}. Now measure what it teaches: data/build/measure_practice_gpt2.py, or `make claims`."
    )


if __name__ == "__main__":
    main()
