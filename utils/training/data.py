"""The course's own data: new tasks, everyday text, and where its probes are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from capability_guard.jsonl import DataError, load_jsonl
from capability_guard.probes import load_probes

if TYPE_CHECKING:
    from datasets import DatasetDict

DATA = Path(__file__).resolve().parents[2] / "data"
REPERTOIRE = DATA / "repertoire"  # what the practice models know
GENERAL = DATA / "general"  # what any pretrained model may know
QUESTIONS = ("What is 2+2?", "What is the capital of France?", "How do you boil water?")
TASKS = ("customer_service", "jazz_riff")


def read_texts(path: str | Path) -> list[str]:
    """The ``text`` field of each row of a JSONL file."""
    return [row["text"] for row in load_jsonl(path, ("text",))]


def everyday_texts() -> list[str]:
    """64 held-out everyday sentences and conversations: the original domain's plain language."""
    return read_texts(DATA / "everyday" / "held_out.jsonl")


def load_task(task: str | Path = "customer_service") -> DatasetDict:
    """The new task as a DatasetDict with "train" and "held_out", each with the column "text".

    task: one of TASKS, or a folder of yours with train.jsonl and held_out.jsonl.
    """
    from datasets import Dataset, DatasetDict  # a second to import, and only training needs it

    folder = DATA / task if str(task) in TASKS else Path(task)
    if not folder.is_dir():
        raise DataError(f"{task!r} is neither a task of the course ({', '.join(TASKS)}) nor a folder; check the name.")
    splits = {split: read_texts(folder / f"{split}.jsonl") for split in ("train", "held_out")}
    if both := set(splits["train"]) & set(splits["held_out"]):
        raise DataError(f"{folder}: {min(both)!r} is in train and in held_out; keep it in one of them.")
    return DatasetDict({split: Dataset.from_dict({"text": texts}) for split, texts in splits.items()})


def replay_texts(source: str | Path = REPERTOIRE) -> list[str]:
    """Texts of the original domain that are set aside for replay. None of them is ever measured."""
    return [probe.text for probe in load_probes(source, use="replay")]
