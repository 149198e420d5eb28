"""Every reader with what it is given at first: files that the harnesses wrote (tests/capability_guard), and what the guard writes."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import capability_guard
from capability_guard import Probe, judge, load_probes, measure, save_probes
from capability_guard.endpoint import calls, measure_endpoint
from capability_guard.formats.packed import unpack
from capability_guard.gate import history, policy
from capability_guard.gate.markdown import markdown
from capability_guard.gate.reports import html
from capability_guard.gate.terminal import show
from capability_guard.measurement import Measurement
from utils.capability_guard.benches.fuzz_readers.changes import (
    changed_bytes,
    changed_file,
    changed_json,
    changed_tree,
    dumped,
)
from utils.capability_guard.benches.fuzz_readers.search import SOURCE, Reader
from utils.capability_guard.benches.memory_of_measuring import bytes_as_tokens

REAL = Path(__file__).resolve().parents[4] / "tests" / "capability_guard"
RULES = """version = 1
max_drop = 3
alpha = 0.05
certify = "together"
default_tier = "watch"
[tiers.watch]
capabilities = ["style"]
decides = false
[tiers.core]
capabilities = ["sums"]
max_drop = 2
[capabilities.sums]
min_baseline = 50
max_relative_drop = 10
relative_floor = 20
"""


def files_of(folder: Path, pattern: str = "*") -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob(pattern)) if f.is_file()}


def decided(baseline: Path) -> Callable[[Path], Any]:
    """The gate's command, to the last byte that it prints and writes."""

    def read(folder: Path) -> None:
        decision = capability_guard.gate.compare_files(baseline, folder)
        with contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO(), encoding="utf-8")):
            show(decision)
        for words in (html(decision), markdown(decision)):
            words.encode()

    return read


def measured(right: int) -> Measurement:
    probes = [Probe(f"{i}+{i}?", f"{2 * i}.", "sums") for i in range(70)]
    return Measurement.of(probes, [i < right for i in range(70)], [1.0] * 70, model="m")


def tiny_model() -> tuple[Any, Any]:
    """A GPT-2 of a few thousand weights, whose tokens are bytes."""
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=257, n_positions=64, n_embd=8, n_layer=1, n_head=1, bos_token_id=256, eos_token_id=256
    )
    return GPT2LMHeadModel(config).eval(), bytes_as_tokens()


def readers(work: Path) -> dict[str, Reader]:
    """Every reader with what it is given at first. work: a folder for what the seeds need."""
    starter = (Path(SOURCE) / "starter-1.jsonl").read_bytes().splitlines()
    kinds = [
        b"\n".join(starter[:: len(starter) // 12]),
        b'{"instruction": "Add 2 and 2", "input": "", "output": "4"}\n{"instruction": "Name a colour", "output": "red"}',
        b'{"messages": [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]}\n',
        b'{"question": "2+2?", "answer": "4", "capability": "sums"}\n{"question": "3+3?", "answer": "6"}',
        b'{"prompt": "Colour?", "answer": "red", "capability": "c", "measure": "choice", "choices": ["red", "two"], "use": "probe"}',
    ]

    def probes(folder: Path) -> None:
        save_probes(load_probes(folder / "p.jsonl"), folder / "again.jsonl")

    base = measured(70).save(work / "base.json")
    one = {"m.json": measured(60).save(work / "m.json").read_bytes()}
    decisions = [judge(measured(70), measured(right)) for right in (69, 65)]

    def past(folder: Path) -> None:
        for decision in decisions:
            history.note(folder / "h.jsonl", decision)

    past(work)
    logs = {f"{log.stem}.json": dumped(unpack(log)) for log in (REAL / "inspect" / "reckless").iterdir()}  # not packed
    return {
        "probes": Reader([{"p.jsonl": kind} for kind in kinds], probes),
        "measurement": Reader([one], lambda folder: decided(base)(folder / "m.json")),
        "lm-eval": Reader([files_of(REAL / "lm_eval" / "reckless")], decided(REAL / "lm_eval" / "base")),
        "lm-eval-older": Reader([files_of(REAL / "lm_eval" / "v0.4.2" / "reckless")], decided(REAL / "lm_eval" / "v0.4.2" / "base")),
        "inspect": Reader([files_of(REAL / "inspect" / "reckless"), logs], decided(REAL / "inspect" / "base")),
        "lighteval": Reader([files_of(REAL / "lighteval" / "reckless")], decided(REAL / "lighteval" / "base")),
        "policy": Reader([{"guard.toml": RULES.encode()}], lambda folder: policy.read_policy(folder / "guard.toml"), changed_bytes),
        "policy-tables": Reader([{"t.json": dumped(policy.tomllib.loads(RULES))}], _as_tables, changed_json),
        "history": Reader([{"h.jsonl": (work / "h.jsonl").read_bytes()}], past),
        "adapter": _adapters(work),
        "template": _templates(),
        "endpoint": _answers(),
    }  # fmt: skip


def _as_tables(folder: Path) -> None:
    """A policy whose tables are odd: TOML that parses, of any content."""
    found = json.loads((folder / "t.json").read_text())

    def value(x: Any) -> str:
        if isinstance(x, dict):
            return "{" + ", ".join(f"{json.dumps(str(k))} = {value(v)}" for k, v in x.items()) + "}"
        if isinstance(x, list):
            return "[" + ", ".join(map(value, x)) + "]"
        return {True: "true", False: "false", None: '""'}.get(x) if x is None or isinstance(x, bool) else (
            json.dumps(x) if isinstance(x, str) else repr(x))  # fmt: skip

    lines = (
        [f"{json.dumps(str(k))} = {value(v)}" for k, v in found.items()] if isinstance(found, dict) else [value(found)]
    )
    (folder / "guard.toml").write_text("\n".join(lines), encoding="utf-8", errors="surrogatepass")
    policy.read_policy(folder / "guard.toml")


def _adapters(work: Path) -> Reader:
    from peft import LoraConfig, get_peft_model

    from capability_guard.adapters import with_adapter

    model, _ = tiny_model()
    plain = copy.deepcopy(model)
    get_peft_model(model, LoraConfig(r=2, fan_in_fan_out=True)).save_pretrained(work / "adapter")

    def change(data: bytes, chance: random.Random) -> bytes:
        if data[:1] == b"{":
            return changed_file(data, chance)
        size = int.from_bytes(data[:8], "little")  # safetensors: the length of a header, a header, numbers
        if chance.random() < 0.4:
            return changed_bytes(data, chance)
        with contextlib.suppress(ValueError, RecursionError):
            header = dumped(changed_tree(json.loads(data[8 : 8 + size]), chance))
            return len(header).to_bytes(8, "little") + header + data[8 + size :]
        return changed_bytes(data, chance)

    whole = {name: data for name, data in files_of(work / "adapter").items() if not name.endswith(".md")}
    return Reader([whole], lambda folder: with_adapter(copy.deepcopy(plain), str(folder), "m", same_base=True), change)


def _templates() -> Reader:
    from capability_guard.chat import Chat

    model, tokenizer = tiny_model()
    turn = "{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}\n{% endfor %}"
    seeds = [
        turn + "{% if add_generation_prompt %}<assistant>{% endif %}",
        "{% if messages[0].role == 'tool' %}{{ raise_exception('a tool cannot begin') }}{% endif %}" + turn,
        "{{ strftime_now('%d %b %Y') }}"
        + turn
        + "{% if enable_thinking is defined and not enable_thinking %}<think></think>{% endif %}",
    ]

    def read(folder: Path) -> None:
        tokenizer.chat_template = (folder / "t.jinja").read_bytes().decode("utf-8", "replace")
        variables = {"enable_thinking": False} if "enable_thinking" in tokenizer.chat_template else {}
        for chat in (Chat(), Chat(system="Be short.", variables=variables)):
            measure(model, tokenizer, [Probe("2+2?", "4", "sums")], chat=chat, max_new_tokens=1)

    return Reader([{"t.jinja": seed.encode()} for seed in seeds], read, changed_bytes)


def _answers() -> Reader:
    """What a server says: the answers of an echoing one and of one that only completes, changed on their way."""
    lines = {
        "models": {"data": [{"id": "m", "owned_by": "x"}]},
        "completions": {"choices": [{"text": " 4", "finish_reason": "stop", "index": 0}], "usage": {"prompt_tokens": 3}},
        "echo": {"choices": [{"text": "2+2? 4", "logprobs": {
            "tokens": ["2", "+", "2", "?", " 4"], "token_logprobs": [None, -1.0, -1.0, -1.0, -0.1], "text_offset": [0, 1, 2, 3, 4],
            "top_logprobs": [None, {"+": -1.0}, {"2": -1.0}, {"?": -1.0}, {" 4": -0.1}]}}]},
        "chat/completions": {"choices": [{"message": {"role": "assistant", "content": "4"}, "finish_reason": "stop"}]},
    }  # fmt: skip
    seeds = [{f"{name.replace('/', '_')}.json": dumped(answer) for name, answer in lines.items()}]
    seeds += [{name: data for name, data in seeds[0].items() if name != "echo.json"}]

    def read(folder: Path) -> None:
        class Answer(io.BytesIO):
            headers: dict[str, str] = {}

        def opened(request: Any, timeout: float) -> Answer:
            name = request.full_url.split("/v1/")[-1].replace("/", "_")
            asked = json.loads(request.data) if request.data else {}
            name = "echo" if asked.get("echo") and (folder / "echo.json").exists() else name
            file = folder / f"{name}.json"
            if not file.exists():
                raise calls.urllib.error.HTTPError(request.full_url, 404, "no", {}, io.BytesIO(b"{}"))
            return Answer(file.read_bytes())

        calls._opener.open, calls.time.sleep = opened, lambda _: None
        for chat in (False, True):
            measure_endpoint(calls.Endpoint("http://localhost:1", "m", tries=2), [
                Probe("2+2?", " 4", "sums"), Probe("2+2?", "4", "words", measure="contains"),
            ], chat=chat, repeat=True)  # fmt: skip

    return Reader(seeds, read)
