"""Build the page: ``python -m utils.page.build FOLDER``, then ``python -m http.server -d FOLDER``. `make site` does it, too.

The page is plain files, so building is copying them, exporting the model, and writing stored.json: the untouched model as it is
measured, the course's stored runs and its presets, so that the page says the same as the course.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path

from capability_guard.asking import ask, encode_probes, retention, score
from capability_guard.encoding import context_length, encode
from capability_guard.files import write_whole
from capability_guard.probes import live_subset
from utils.page.engine.export import export, rounded_as_packed
from utils.page.one_file import IN_ONE_FILE, in_one_file
from utils.training.answers import answer
from utils.training.config import FineTuneConfig
from utils.training.data import DATA, QUESTIONS, everyday_texts, load_task
from utils.training.finetuning import LIVE_PROBES, LIVE_TEXTS, default_probes
from utils.training.models import load_model
from utils.training.presets import PRACTICE, PREDICT
from utils.training.sweeps import load

HERE = Path(__file__).parent
MODEL = "practice"
MOST = 3_500_000  # bytes that a reader's line has to carry: at 10 Mbit/s they take 2.8 seconds
PACKED = "model.json.gz"  # config.json, tokenizer.json and data.json: a seventh of their size, on a host that packs nothing, too
NOT_LOADED = ("bench.mjs",)  # of the engine's modules
LINK = re.compile(r"\n<!-- course -->.*<!-- /course -->")


def build(folder: str | Path, in_course: bool = False) -> dict[str, int]:
    """Write the page into a folder. in_course: it stands in a folder of the site, and links to it. Gives the bytes of each file.

    Raises ValueError for a page that is larger than what it promises.
    """
    folder = Path(folder)
    (folder / "engine").mkdir(parents=True, exist_ok=True)
    model_bytes = pack_model(folder / "model")
    for path in (*(HERE / "engine").glob("*.mjs"), HERE / "engine" / "engine.wasm"):
        if path.name not in NOT_LOADED:
            shutil.copyfile(path, folder / "engine" / path.name)
    for path in (*HERE.glob("*.mjs"), HERE / "style.css", HERE / "folder.js"):
        shutil.copyfile(path, folder / path.name)
    model_bytes += (folder / "engine" / "engine.wasm").stat().st_size
    page = (HERE / "index.html").read_text(encoding="utf-8")
    page = page if in_course else LINK.sub("", page)
    page = page.replace("</head>", f"{preloads()}</head>")
    stored = stored_runs() | {"model_bytes": model_bytes, "megabytes": ""}
    written = (IN_ONE_FILE, "stored.json", "index.html")  # below, or by an earlier call
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and path.name not in written)
    size += len(json.dumps(stored)) + len(page.encode())
    if size > MOST:
        raise ValueError(f"The page is {size:,} bytes and promises at most {MOST:,}; make it smaller.")
    stored["megabytes"] = f"{size / 1e6:.1f}"
    write_whole(folder / "stored.json", json.dumps(stored, separators=(",", ":"), ensure_ascii=False))
    write_whole(folder / "index.html", page.replace("SIZE", stored["megabytes"]))
    write_whole(folder / IN_ONE_FILE, in_one_file(folder, LINK.sub("", page).replace("SIZE", stored["megabytes"])))
    return {
        path.relative_to(folder).as_posix(): path.stat().st_size for path in sorted(folder.rglob("*")) if path.is_file()
    }


def pack_model(folder: Path) -> int:
    """Write weights.bin and PACKED, which holds all else of the model. Gives their bytes together."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        export(scratch, MODEL)
        shutil.copyfile(Path(scratch) / "weights.bin", folder / "weights.bin")
        rest = {
            name: json.loads((Path(scratch) / f"{name}.json").read_text(encoding="utf-8"))
            for name in ("config", "tokenizer", "data")
        }
    text = json.dumps(rest, separators=(",", ":"), ensure_ascii=False)
    (folder / PACKED).write_bytes(gzip.compress(text.encode(), mtime=0))
    return sum((folder / name).stat().st_size for name in ("weights.bin", PACKED))


def preloads() -> str:
    """Lines for the page's head that name what it begins with, so that it comes at once and not one file after the other."""
    modules = [path.name for path in sorted(HERE.glob("*.mjs"))] + ["engine/config.mjs"]
    lines = [f'<link rel="modulepreload" href="{name}">' for name in modules]
    return "\n".join(['<link rel="preload" as="fetch" crossorigin href="stored.json">', *lines, ""])


@lru_cache(maxsize=1)
def stored_runs() -> dict:
    """What the page knows before it has a model. Not to be changed by who gets it."""
    model, tokenizer = load_model(MODEL, quiet=True)
    model = rounded_as_packed(model)
    longest = context_length(model)
    probes = [probe for probe in default_probes(MODEL) if probe.measure != "loss"]
    right = ask(model, tokenizer, encode_probes(tokenizer, probes, longest)).correct
    chosen = set(live_subset(probes, LIVE_PROBES))
    live = [(probe, outcome) for probe, outcome in zip(probes, right, strict=True) if probe in chosen]
    task = load_task()
    texts = {
        "train_loss": task["train"]["text"],
        "held_out_loss": task["held_out"]["text"],
        "original_loss": everyday_texts(),
    }
    losses = {
        name: score(model, encode(tokenizer, list(lines)[:LIVE_TEXTS], longest)).mean_loss
        for name, lines in texts.items()
    }
    baseline = losses | {
        "retention": sum(outcome for _, outcome in live) / len(live),
        "by_capability": dict(sorted(retention([p for p, _ in live], [o for _, o in live]).items())),
        "outcomes": [bool(outcome) for outcome in right],
        "broken": None,
    }
    lines = (DATA / "sweeps" / "playground-fade.jsonl").read_text(encoding="utf-8").splitlines()
    paths = {row["config"]: row["fade"] for row in map(json.loads, lines)}
    return {
        "defaults": FineTuneConfig(model=MODEL).to_dict(),
        "questions": list(QUESTIONS),
        "answers": answer(model, tokenizer, QUESTIONS),
        "baseline": baseline,
        "grid": [_point(point, paths) for point in load(DATA / "sweeps" / "playground.jsonl")],
        "presets": {name: {"settings": str(PRACTICE[name]), "predict": words} for name, words in PREDICT.items()},
    }


def _point(point, paths: dict[str, list]) -> dict:
    """A stored run, as small as the figures need it. fade: [strength, learned, forgotten], at some strengths."""
    return {
        "settings": str(point.config), "learned": point.learned, "forgotten": point.forgotten, "steps": point.steps,
        "held_out": point.held_out, "retention": point.retention, "fade": paths.get(str(point.config), ()),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    sizes = build(parser.parse_args().folder)
    for file, size in sizes.items():
        print(f"{file:28} {size:>9,} bytes")
    print(f"{'to be loaded':28} {sum(size for file, size in sizes.items() if file != IN_ONE_FILE):>9,} bytes")


if __name__ == "__main__":
    main()
