"""Damaged files and answers for every reader: each must be read, or refused in one sentence. By hand, some minutes a reader.

    python benches/fuzz_readers.py                            # each reader, ten minutes of the processor
    python benches/fuzz_readers.py --minutes 1 probes policy  # two of them

What is damaged is real: files that the harnesses wrote (tests/capability_guard), and what the guard writes itself. A change puts
something odd in a value's place, takes it out, doubles it or nests it; or it damages the bytes. A file that reached lines which none
before it had reached is kept and changed further, as AFL does it (M. Zalewski, 2013): so the search goes where reading goes.

Prints a line a reader: how many files, how many were read and refused, how many lines were reached; and, with the file, each that
made a crash, took more than 20 seconds of the processor or was refused in more than one line.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import capability_guard
from capability_guard import Probe, judge, load_probes, measure, save_probes
from capability_guard.endpoint import calls
from capability_guard.formats.packed import unpack
from capability_guard.gate import history, policy
from capability_guard.gate.markdown import markdown
from capability_guard.gate.reports import html
from capability_guard.gate.terminal import show
from capability_guard.jsonl import DataError
from capability_guard.measurement import Measurement, MeasurementError
from capability_guard.reading import ModelUnavailable

SOURCE = str(Path(capability_guard.__file__).parent)
REAL = Path(__file__).resolve().parents[3] / "tests" / "capability_guard"
REFUSED = (DataError, MeasurementError, ModelUnavailable)
SECONDS = 20
RULES = b"""version = 1
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
ODD: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 10**400, 1e308, -0.0, float("nan"), float("inf"), "", " ", "\n", "x" * 9000, "\ud800", "\x00",
    "٣", "1e999", "nan", "<b>&", "../..", "{{", [], {}, [[]], [None], {"": None}, {"0": []}, "2026-13-45T99:00:00", "true", "é́",
]  # fmt: skip


# --- Changes -------------------------------------------------------------------------------------------------
def places(tree: Any, most: int = 4000) -> list[tuple[Any, Any]]:
    """Each place in a tree of JSON, as its holder and its key."""
    found, open_ = [], [tree]
    while open_ and len(found) < most:
        holder = open_.pop()
        keys = list(holder) if isinstance(holder, dict) else range(len(holder))
        for key in keys:
            found.append((holder, key))
            if isinstance(holder[key], (dict, list)):
                open_.append(holder[key])
    return found


def changed_tree(tree: Any, chance: random.Random) -> Any:
    """One to three values replaced, taken out, doubled, nested, or put where another was."""
    tree = copy.deepcopy(tree)
    for _ in range(chance.choice((1, 1, 2, 3))):
        if not isinstance(tree, (dict, list)) or not (there := places(tree)):
            return chance.choice(ODD)
        holder, key = chance.choice(there)
        value, how = holder[key], chance.randrange(7)
        if how == 0:
            del holder[key]
        elif how == 1:
            holder[key] = [value]
        elif how == 2:
            other, at = chance.choice(there)
            with contextlib.suppress(KeyError, IndexError):  # it may have been taken out by now
                holder[key] = copy.deepcopy(other[at])
        elif how == 3 and isinstance(holder, list):
            holder.insert(key, copy.deepcopy(value))
        elif how == 3:
            holder[f"{key}{chance.choice(('', ',none', ' ', 's', '_stderr,none'))}"] = value
        elif how == 4 and isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e300:
            holder[key] = chance.choice((-value, value * 1e9, value + 1, str(value), value / 3))
        else:
            holder[key] = chance.choice(ODD)
    return tree


def changed_bytes(data: bytes, chance: random.Random) -> bytes:
    """A stretch replaced, taken out, doubled or cut off; a byte-order mark, other line ends, another encoding."""
    for _ in range(chance.choice((1, 1, 2, 4))):
        at, many = chance.randrange(len(data) + 1), chance.choice((0, 1, 1, 2, 8, 60))
        how = chance.randrange(8)
        if how < 3:
            planted = bytes(chance.randrange(256) for _ in range(chance.choice((1, 1, 2, 4))))
            data = data[:at] + planted + data[at + many :]
        elif how == 3:
            data = data[:at] + data[at + many :]
        elif how == 4:
            data = data[:at] + data[at : at + many] * 2 + data[at + many :]
        elif how == 5:
            data = data[:at]
        elif how == 6:
            data = chance.choice(
                (b"\xef\xbb\xbf" + data, data.replace(b"\n", b"\r\n"), data.replace(b'"', b"'", 1), b"[" * 20000)
            )
        else:
            text = data.decode("utf-8", "replace")
            data = text.encode(chance.choice(("utf-16", "utf-16-le", "utf-32", "cp037")), "replace")
    return data


def changed_file(data: bytes, chance: random.Random) -> bytes:
    """As JSON, as lines of JSON or as a packed log where it is one and luck has it; else as bytes."""
    if chance.random() < 0.25:
        return changed_bytes(data, chance)
    try:
        if data[:2] == b"PK":
            return changed_log(data, chance)
        text = data.decode("utf-8-sig")
        with contextlib.suppress(ValueError):
            return dumped(changed_tree(json.loads(text), chance))
        lines = text.splitlines()
        at = chance.randrange(len(lines))
        lines[at] = dumped(changed_tree(json.loads(lines[at]), chance)).decode()
        return "\n".join(lines).encode()
    except (ValueError, IndexError, KeyError, NotImplementedError, zipfile.BadZipFile, RecursionError):
        return changed_bytes(data, chance)


def changed_log(data: bytes, chance: random.Random) -> bytes:
    """One member of an .eval file changed, and all of them packed again by deflate."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        names = old.namelist()
        at = chance.choice(names)
        for name in names:
            content = old.read(name)
            new.writestr(name, changed_file(content, chance) if name == at else content)
    return out.getvalue()


def dumped(tree: Any) -> bytes:
    return json.dumps(tree).encode()


def changed_json(data: bytes, chance: random.Random) -> bytes:
    return dumped(changed_tree(json.loads(data), chance))


# --- Readers -------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Reader:
    """seeds: whole inputs, each a folder's files by name. read: what a user's command does with that folder."""

    seeds: list[dict[str, bytes]]
    read: Callable[[Path], Any]
    change: Callable[[bytes, random.Random], bytes] = changed_file


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


def measured(right: int, folder: Path) -> Path:
    probes = [Probe(f"{i}+{i}?", f"{2 * i}.", "sums") for i in range(70)]
    return Measurement.of(probes, [i < right for i in range(70)], [1.0] * 70, model="m").save(folder / "m.json")


def tiny_model() -> tuple[Any, Any]:
    """A GPT-2 of a few thousand weights, whose tokens are bytes."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(letters)}, merges=[]))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer.add_special_tokens(["<end>"])
    config = GPT2Config(
        vocab_size=257, n_positions=64, n_embd=8, n_layer=1, n_head=1, bos_token_id=256, eos_token_id=256
    )
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", pad_token="<end>")
    return GPT2LMHeadModel(config).eval(), wrapped


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

    base = measured(70, work)
    one = {"m.json": measured(60, Path(tempfile.mkdtemp(dir=work))).read_bytes()}

    def past(folder: Path) -> None:
        for right in (69, 65):
            history.note(folder / "h.jsonl", judge(Measurement.load(base), Measurement.load(measured(right, work))))

    past(work)
    logs = {f"{log.stem}.json": dumped(unpack(log)) for log in (REAL / "inspect" / "reckless").iterdir()}  # not packed
    return {
        "probes": Reader([{"p.jsonl": kind} for kind in kinds], probes),
        "measurement": Reader([one], lambda folder: decided(base)(folder / "m.json")),
        "lm-eval": Reader([files_of(REAL / "lm_eval" / "reckless")], decided(REAL / "lm_eval" / "base")),
        "lm-eval-older": Reader([files_of(REAL / "lm_eval" / "v0.4.2" / "reckless")], decided(REAL / "lm_eval" / "v0.4.2" / "base")),
        "inspect": Reader([files_of(REAL / "inspect" / "reckless"), logs], decided(REAL / "inspect" / "base")),
        "lighteval": Reader([files_of(REAL / "lighteval" / "reckless")], decided(REAL / "lighteval" / "base")),
        "policy": Reader([{"guard.toml": RULES}], lambda folder: policy.read_policy(folder / "guard.toml"), changed_bytes),
        "policy-tables": Reader([{"t.json": json.dumps(_tables(RULES)).encode()}], _as_tables, changed_json),
        "history": Reader([{"h.jsonl": (work / "h.jsonl").read_bytes()}], past),
        "adapter": _adapters(work),
        "template": _templates(),
        "endpoint": _answers(),
    }  # fmt: skip


def _tables(text: bytes) -> dict[str, Any]:
    path = Path(tempfile.mkdtemp()) / "guard.toml"
    path.write_bytes(text)
    return policy.read_tables(path)


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
            from capability_guard.endpoint import measure_endpoint

            measure_endpoint(calls.Endpoint("http://localhost:1", "m", tries=2), [
                Probe("2+2?", " 4", "sums"), Probe("2+2?", "4", "words", measure="contains"),
            ], chat=chat, repeat=True)  # fmt: skip

    return Reader(seeds, read)


# --- The search ----------------------------------------------------------------------------------------------
class Lines:
    """The lines of the guard that a call reaches."""

    def __init__(self) -> None:
        self.now: set[tuple[str, int]] = set()

    def _line(self, frame: FrameType, event: str, _: Any) -> Any:
        self.now.add((frame.f_code.co_filename, frame.f_lineno))
        return self._line

    def _call(self, frame: FrameType, event: str, _: Any) -> Any:
        return self._line if frame.f_code.co_filename.startswith(SOURCE) else None

    def __enter__(self) -> set[tuple[str, int]]:
        self.now = set()
        sys.settrace(self._call)
        threading.settrace(self._call)
        return self.now

    def __exit__(self, *_: Any) -> None:
        sys.settrace(None)
        threading.settrace(None)


class TooLong(BaseException):
    """Not an Exception: no reader may catch it."""


def _ring(*_: Any) -> None:
    raise TooLong


def tried(reader: Reader, files: dict[str, bytes], folder: Path) -> str:
    """ "read", "refused", or what went wrong, by its kind and place."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)  # of the processor: other work may take the rest
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            reader.read(folder)
        return "read"
    except REFUSED as error:
        return (
            "refused"
            if len(str(error).splitlines()) == 1
            else f"{len(str(error).splitlines())} lines: {type(error).__name__}"
        )
    except TooLong:
        return f"more than {SECONDS} s"
    except Exception as error:
        trace, place = error.__traceback__, ""
        while trace:
            if (name := trace.tb_frame.f_code.co_filename).startswith(SOURCE):
                place = f"{Path(name).name}:{trace.tb_lineno}"
            trace = trace.tb_next
        return f"{type(error).__name__} at {place}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def search(name: str, reader: Reader, minutes: float, keep: Path, seed: int) -> int:
    """Prints what came of one reader. Returns how many kinds of fault there were."""
    chance, lines = random.Random(seed), Lines()
    known, kept, faults = set(), list(reader.seeds), {}
    count = {"read": 0, "refused": 0}
    folder = Path(tempfile.mkdtemp()) / "in"
    for files in reader.seeds:
        with lines as now:
            outcome = tried(reader, files, folder)
        if outcome != "read":
            faults[f"a whole one: {outcome}"] = files
        known |= now
    end = time.process_time() + 60 * minutes  # of the processor: it may run beside other work
    while time.process_time() < end:
        files = dict(chance.choice(kept[-200:] if chance.random() < 0.5 else kept))
        at = chance.choice(sorted(files))
        files[at] = reader.change(files[at], chance)
        with lines as now:
            outcome = tried(reader, files, folder)
        count[outcome] = count.get(outcome, 0) + 1
        if outcome not in ("read", "refused"):
            faults.setdefault(outcome, files)
        elif now - known and sum(map(len, files.values())) < 1_000_000:
            known |= now
            kept.append(files)
    said = f"{sum(count.values()):7,} files: {count['read']:,} read, {count['refused']:,} refused, {len(known):,} lines reached"
    print(f"{name:14} {said}, {len(faults)} kinds of fault", flush=True)
    for number, (kind, files) in enumerate(faults.items(), 1):
        there = keep / f"{name}-{number}"
        for file, data in files.items():
            (there / file).parent.mkdir(parents=True, exist_ok=True)
            (there / file).write_bytes(data)
        print(f"    {kind}, {count.get(kind, 1)} times: {there}", flush=True)
    return len(faults)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("readers", nargs="*", help="which; all without one")
    parser.add_argument("--minutes", type=float, default=10, help="of the processor, for each reader")
    parser.add_argument("--keep", type=Path, default=Path("faults"), help="where files that made a fault are put")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args(arguments)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    signal.signal(signal.SIGPROF, _ring)
    with tempfile.TemporaryDirectory() as work:
        there = readers(Path(work))
        if unknown := set(asked.readers) - set(there):
            parser.error(f"there is no reader {min(unknown)!r}; there are {', '.join(there)}")
        return min(1, sum(search(n, there[n], asked.minutes, asked.keep, asked.seed) for n in asked.readers or there))


if __name__ == "__main__":
    sys.exit(main())
