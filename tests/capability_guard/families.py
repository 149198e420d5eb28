"""Small tokenizers in the manner of those that people use, and small models that learned a few facts with them.

Nothing is downloaded: each is trained here on the facts themselves. What matters is how text is cut and put together, not
how large the vocabulary is.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from capability_guard.probes import Probe

RIGHT = [
    ("What is the capital of France?", "Paris."), ("What is the capital of Italy?", "Rome."), ("What is 2+2?", "4."),
    ("What is 950+84?", "1034."), ("What is the opposite of hot?", "Cold."), ("What is the symbol of gold?", "Au."),
]  # fmt: skip
# Learned with another answer than is asked for; the last two begin as the right one does.
WRONG = [
    ("What is the capital of Spain?", "Madrid.", "Lima."), ("What is 9+9?", "18.", "19."), ("What is 7+6?", "13.", "13000."),
    ("What is the opposite of up?", "Down.", "Downwards."),
]  # fmt: skip
PROBES = [Probe(q, a, "facts") for q, a in RIGHT] + [Probe(q, a, "facts") for q, a, _ in WRONG]
LEARNED = [*RIGHT, *((q, said) for q, _, said in WRONG)]
GPT4_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN_WORDS = GPT4_WORDS.replace(r"\p{N}{1,3}", r"\p{N}")
BYTES = [f"<0x{i:02X}>" for i in range(256)]
TEXTS = [f"{q} {a}" for q, a in LEARNED] * 4 + [f"{q} {a}" for q, a, _ in WRONG] + [str(n) for n in range(0, 1100, 7)]


def _trained(raw: Tokenizer, specials: list[str], size: int = 420) -> Tokenizer:
    alphabet = pre_tokenizers.ByteLevel.alphabet() if isinstance(raw.decoder, decoders.ByteLevel) else list("?+. ")
    trainer = trainers.BpeTrainer(
        vocab_size=size + len(specials),
        special_tokens=specials,
        show_progress=False,
        initial_alphabet=alphabet,
        max_token_length=6,
    )
    raw.train_from_iterator(TEXTS, trainer)
    return raw


def _wrapped(raw: Tokenizer, bos: str | None, eos: str, **more) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(tokenizer_object=raw, bos_token=bos, eos_token=eos, **more)


def _byte_level(
    words: str | None, bos: str | None, eos: str, regex: bool = False, extra: tuple[str, ...] = ()
) -> PreTrainedTokenizerFast:
    raw = Tokenizer(models.BPE())
    parts = [pre_tokenizers.Split(Regex(words), "isolated")] if words else []
    raw.pre_tokenizer = pre_tokenizers.Sequence(
        [*parts, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=regex)]
    )
    raw.decoder = decoders.ByteLevel()
    _trained(raw, list(dict.fromkeys(x for x in (bos, eos, *extra) if x)))
    if bos and bos != eos:
        raw.post_processor = processors.TemplateProcessing(f"{bos} $A", special_tokens=[(bos, raw.token_to_id(bos))])
    return _wrapped(raw, bos, eos)


def _sentencepiece(
    normalizer, pre, decoder, extra: tuple[str, ...] = (), bos: str = "<s>", eos: str = "</s>"
) -> PreTrainedTokenizerFast:
    raw = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    # SentencePiece learns within words, whatever is done to a text later.
    raw.pre_tokenizer, raw.decoder = pre_tokenizers.Metaspace(prepend_scheme="first"), decoder
    _trained(raw, ["<unk>", bos, eos, *BYTES, *extra], 320)
    raw.pre_tokenizer = pre
    if normalizer is not None:
        raw.normalizer = normalizer
    raw.post_processor = processors.TemplateProcessing(f"{bos} $A", special_tokens=[(bos, raw.token_to_id(bos))])
    return _wrapped(raw, bos, eos, unk_token="<unk>")


def gpt2():
    return _byte_level(None, "<|endoftext|>", "<|endoftext|>", regex=True)


def llama2_metaspace():
    decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return _sentencepiece(None, pre_tokenizers.Metaspace(prepend_scheme="first"), decoder)


def llama2_prepend():
    normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return _sentencepiece(normalizer, None, decoder)


def llama3():
    return _byte_level(
        GPT4_WORDS, "<|begin_of_text|>", "<|eot_id|>", extra=("<|start_header_id|>", "<|end_header_id|>")
    )


def mistral():
    decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return _sentencepiece(
        None, pre_tokenizers.Metaspace(prepend_scheme="always", split=False), decoder, ("[INST]", "[/INST]")
    )


def gemma():
    decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()])
    pre = pre_tokenizers.Split(" ", "merged_with_previous")
    return _sentencepiece(
        normalizers.Replace(" ", "\u2581"), pre, decoder, ("<start_of_turn>", "<end_of_turn>"), "<bos>", "<eos>"
    )


def qwen():
    return _byte_level(QWEN_WORDS, None, "<|im_end|>", extra=("<|endoftext|>", "<|im_start|>"))


def phi3():
    """Its turn tokens swallow the white space behind them."""
    made = llama2_prepend()
    turns = [
        AddedToken(t, rstrip=True, special=True, normalized=False) for t in ("<|user|>", "<|assistant|>", "<|end|>")
    ]
    made.add_special_tokens({"additional_special_tokens": turns})
    return made


def t5_unigram():
    """Unigram, and an end-of-text token of its own accord behind whatever it is given."""
    raw = Tokenizer(models.Unigram())
    raw.pre_tokenizer, raw.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=300, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False
    )
    raw.train_from_iterator(TEXTS, trainer)
    raw.post_processor = processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", raw.token_to_id("</s>"))])
    return _wrapped(raw, None, "</s>", unk_token="<unk>", pad_token="<pad>")


def bytes_without_spaces():
    """Merges run across spaces and signs: the end of a question may be one token with the beginning of its answer."""
    return _byte_level(None, None, "<|endoftext|>")


def digits_in_threes():
    return _byte_level(r"\p{N}{1,3}(?=(?:\p{N}{3})*(?:\P{N}|$))| ?[^\s\p{N}]+|\s+", "<s>", "</s>")


def bos_twice():
    made = llama3()
    bos = made.bos_token
    made.backend_tokenizer.post_processor = processors.TemplateProcessing(
        f"{bos} {bos} $A", special_tokens=[(bos, made.bos_token_id)]
    )
    return made


FAMILIES = {f.__name__: f for f in (gpt2, llama2_metaspace, llama2_prepend, llama3, mistral, gemma, qwen, phi3, t5_unigram,
                                    bytes_without_spaces, digits_in_threes, bos_twice)}  # fmt: skip

TEMPLATES = {
    "line end": "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}",
    "instruction": "{% for m in messages %}{% if m['role'] == 'user' %}{{ '[INST] ' + m['content'] + ' [/INST]' }}"
    "{% else %}{{ ' ' + m['content'] }}{% endif %}{% endfor %}",
    "date": "{{ strftime_now('%d %b %Y') + ' ' }}{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}",
    "system needed": "{% if messages[0]['role'] != 'system' %}{{ raise_exception('the first turn must be system') }}{% endif %}"
    "{% for m in messages %}{{ m['role'] + '> ' + m['content'] + ' ' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant>' }}{% endif %}",
    "thinking": "{% for m in messages %}{{ '# ' + m['role'] + ' ' + m['content'] + ' ' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '# assistant ' }}"
    "{% if enable_thinking is defined and not enable_thinking %}{{ '<think></think>' }}{% endif %}{% endif %}",
}
BROKEN = {
    "refusing": "{{ raise_exception('Conversation roles must alternate') }}",
    "faulty": "{% for m in messages %}{{ m['content'] }}",
    "undefined": "{{ messages[7]['content'] }}",
}


def tiny(vocabulary: int, **config) -> LlamaForCausalLM:
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=256, **config,
        )
    )  # fmt: skip


def learn(model, rows: list[list[int]], steps: int = 200, rate: float = 4e-3) -> None:
    """Learn rows of tokens by heart, in batches of like length: a third of the time of all at once."""
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=rate)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, steps)
    rows = sorted(rows, key=len)
    size = -(-len(rows) // 4)
    batches = [_padded(rows[start : start + size]) for start in range(0, len(rows), size)]
    model.train()
    for step in range(steps):
        model(**batches[step % len(batches)]).loss.backward()
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    model.eval()


def _padded(rows: list[list[int]]) -> dict[str, torch.Tensor]:
    ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True)
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones(len(row), dtype=torch.long) for row in rows], batch_first=True)
    return {"input_ids": ids, "attention_mask": mask, "labels": ids.masked_fill(mask == 0, -100)}


def trained_rows(tokenizer, chats: dict) -> list[list[int]]:
    """As people train: question and answer tokenised together, and an end behind them; plain and through each template."""
    rows = []
    for question, said in LEARNED:
        rows.append(_without_end(tokenizer, tokenizer(f"{question} {said}").input_ids))
        for template, chat in chats.values():
            tokenizer.chat_template = template
            text = chat.render(tokenizer, question) + chat.before_answer(tokenizer, question, said) + said
            rows.append(tokenizer(text, add_special_tokens=False).input_ids)
    return [[*row, tokenizer.eos_token_id] for row in rows]


def _without_end(tokenizer, ids: list[int]) -> list[int]:
    return ids[:-1] if len(ids) > 1 and ids[-1] == tokenizer.eos_token_id else ids


def spoken(model, tokenizer, prompt: str, chat=None) -> str:
    """What real generation says: from the prompt's own tokens, one at a time, the likeliest; nothing of the guard's in it."""
    ids = (tokenizer(chat.render(tokenizer, prompt), add_special_tokens=False).input_ids if chat
           else _without_end(tokenizer, tokenizer(prompt).input_ids))  # fmt: skip
    if len(ids) > 1 and ids[0] == ids[1] == tokenizer.bos_token_id:
        ids = ids[1:]
    given = len(ids)
    with torch.no_grad():
        for _ in range(14):
            token = model(input_ids=torch.tensor([ids])).logits[0, -1].argmax().item()
            if token == tokenizer.eos_token_id:
                break
            ids = [*ids, token]
    return tokenizer.decode(ids[given:], skip_special_tokens=True)


def saved(tokenizer, folder: Path):
    """The tokenizer as it comes back from its files."""
    tokenizer.save_pretrained(folder)
    return AutoTokenizer.from_pretrained(folder)


@lru_cache(maxsize=1)
def jsonl_rows() -> str:
    return "".join(
        json.dumps({"prompt": p.prompt, "answer": p.answer, "capability": p.capability}) + "\n" for p in PROBES
    )
