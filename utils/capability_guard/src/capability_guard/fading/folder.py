"""A folder with a faded adapter or model: written beside the one it comes from, which is only read, and moved into place whole."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from capability_guard.fading.methods import FadingError, why_not
from capability_guard.files import parse_json, read_text

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

RECORD = "fade.json"  # what was done: by it such a folder is known again, and may be replaced
WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
INDEX = "model.safetensors.index.json"  # of the weights in several files
# What training leaves beside a model: of no use without the weights that it belongs to, and often larger than they are.
LEFT = ("optimizer", "scheduler", "rng_state", "trainer_state", "training_args", "scaler", "events.out")
WEIGHTY = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".safetensors")


def settings_of(adapter: str | Path) -> dict[str, Any]:
    """What an adapter's folder says of it. Raises FadingError for one that is not whole, or cannot be faded exactly.

    >>> settings_of(FOLDER)
    Traceback (most recent call last):
    capability_guard.fading.methods.FadingError: ... has no adapter_config.json; an adapter is a folder that save_pretrained wrote, as
    safetensors.
    """
    folder = Path(adapter)
    for file in (CONFIG, WEIGHTS):
        if not (folder / file).is_file():
            raise FadingError(
                f"{adapter} has no {file}; an adapter is a folder that save_pretrained wrote, as safetensors."
            )
    try:
        settings = parse_json(read_text(folder / CONFIG))
        with safe_open(folder / WEIGHTS, "np"):  # of what it holds, only the list is read
            pass
    except OSError as error:
        why = error.strerror or error
        raise FadingError(f"{error.filename or folder} cannot be read ({why}); check its permissions.") from error
    except SafetensorError as error:
        raise FadingError(f"{folder / WEIGHTS} is damaged ({error}); save the adapter again.") from error
    except ValueError as error:
        raise FadingError(f"{folder / CONFIG} is damaged ({error}); save the adapter again.") from error
    if not isinstance(settings, dict):
        raise FadingError(f"{folder / CONFIG} is damaged: it holds no settings; save the adapter again.")
    if why := why_not(settings, str(adapter)):
        raise FadingError(why)
    return settings


def check_place(out: str | Path, sources: list[str]) -> None:
    """Raises FadingError where a folder must not be written, or cannot: now, and not after minutes of measuring.

    sources: what is read. A folder that is there is replaced only if it holds what was written into it by this, and nothing else.

    >>> _ = (FOLDER / "mine.txt").write_text("precious")
    >>> check_place(FOLDER, [])
    Traceback (most recent call last):
    capability_guard.fading.methods.FadingError: ... is there and holds 'mine.txt', which no fading wrote; name another folder.
    """
    place = Path(out).absolute()
    for source in (Path(name).absolute() for name in sources if Path(name).exists()):
        one, other = place.resolve(), source.resolve()
        if one == other or other in one.parents or one in other.parents:
            raise FadingError(f"{out} is, holds or lies in {source.name!r}, which is only read; name another folder.")
    if place.exists() and not place.is_dir():
        raise FadingError(f"{out} is a file; name a folder.")
    if place.is_dir() and (others := sorted(_there(place) - set(_written(place)))):
        raise FadingError(f"{out} is there and holds {others[0]!r}, which no fading wrote; name another folder.")
    parent = place.parent
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise FadingError(f"{out} cannot be written, since {parent} cannot; choose another place.")


def base_of_adapter(model: PreTrainedModel, adapter: str | Path, settings: dict[str, Any]) -> dict[str, torch.Tensor]:
    """The base's weights that this adapter puts its own in place of, copied before it is put on; often none.

    model: the base, without the adapter. settings: as ``settings_of`` gives them.
    Raises FadingError where the base has no such weights, because the adapter brings tokens of its own.

    >>> from peft import LoraConfig, get_peft_model
    >>> from capability_guard.models import load_model
    >>> get_peft_model(load_model(MODEL)[0], LoraConfig(fan_in_fan_out=True, bias="all")).save_pretrained(FOLDER)
    >>> set(base_of_adapter(model, FOLDER, settings_of(FOLDER))) == {n for n, _ in model.named_parameters() if "bias" in n}
    True
    """
    import torch

    ours = dict(model.named_parameters(remove_duplicate=False))
    rows = model.get_input_embeddings().weight.shape[0]
    tokens = settings.get("trainable_token_indices") or settings.get("token_indices") or {}
    indices = tokens if isinstance(tokens, list) else [i for some in tokens.values() for i in some]
    more = f"The adapter {adapter} brings tokens that the base has not"
    remedy = "resize the base's embeddings, save it, and give that as the base (--model), with --same-base"
    if any(int(i) >= rows for i in indices):
        raise FadingError(f"{more}, so there is nothing to mix them with; {remedy}.")
    with safe_open(Path(adapter) / WEIGHTS, "pt") as stored:
        for key in stored.keys():  # noqa: SIM118 - it is no dictionary
            name = key.removeprefix("base_model.model.").replace(".base_layer.", ".")
            if name not in ours or "bias" in name:
                continue
            saved = any(f".{module}." in f".{name}" for module in settings.get("modules_to_save") or ())
            theirs, own = stored.get_tensor(key), ours[name].detach().cpu()
            if saved and theirs.shape != own.shape:
                raise FadingError(f"{more}, so there is nothing to mix them with; {remedy}.")
            # Embeddings that were saved because they were resized: untouched, the first of them are the base's.
            if not saved and not torch.equal(theirs[: len(own)].to(own.dtype), own):
                raise FadingError(
                    f"The adapter {adapter} puts weights of its own in place of the base's {name!r}, whole; merge it into the model "
                    "and fade that against its base (--tuned)."
                )
    return {name: weight.detach().clone() for name, weight in ours.items() if "bias" in name}


def write_adapter(model: PreTrainedModel, adapter: str | Path, out: str | Path, record: dict[str, Any]) -> None:
    """Write the adapter that ``model`` has now, faded, as a copy of the folder ``adapter`` with other weights.

    What the fading did not change is copied bit for bit; what it did is written as float32. record: for ``fade.json``. Raises
    OSError when it cannot be written; then nothing is left there.

    >>> from peft import LoraConfig, get_peft_model
    >>> from capability_guard.fading.turning import fade
    >>> from capability_guard.models import load_model
    >>> get_peft_model(load_model(MODEL)[0], LoraConfig(fan_in_fan_out=True)).save_pretrained(FOLDER / "a")
    >>> tuned, _ = load_model(MODEL, FOLDER / "a")
    >>> with fade(tuned, 0.6):
    ...     write_adapter(tuned, FOLDER / "a", FOLDER / "b", {"strength": 0.6})
    >>> load_model(MODEL, FOLDER / "b")[0].peft_config["default"].r
    8
    """
    from peft import get_peft_model_state_dict
    from safetensors.torch import load_file, save_file

    before, now = load_file(Path(adapter) / WEIGHTS), get_peft_model_state_dict(model)
    tensors = {}
    for name, old in before.items():
        new = now[name].detach().cpu()
        tensors[name] = (
            old if new.to(old.dtype).equal(old) else new.float().contiguous().clone()
        )  # two names may share one
    with _moved_into(Path(out)) as folder:
        _copy_rest(Path(adapter), folder)
        save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
        _write_record(folder, record)


def write_model(model: PreTrainedModel, tuned: str | Path, out: str | Path, record: dict[str, Any]) -> None:
    """Write a whole model that was faded, in the precision of the folder ``tuned`` that it comes from, with the rest of that.

    record, errors: as ``write_adapter``. The model is left in that precision.

    >>> write_model(model, MODEL, FOLDER / "b", {"strength": 1})
    >>> sorted(file.name for file in (FOLDER / "b").iterdir())
    [...'config.json', 'fade.json', ...'model.safetensors', 'tokenizer.json', 'tokenizer_config.json']
    """
    import torch

    kinds = set()
    for file in Path(tuned).glob("*.safetensors"):
        with safe_open(file, "pt") as stored:
            kinds |= {stored.get_slice(name).get_dtype() for name in stored.keys()}  # noqa: SIM118
    narrow = {frozenset(["BF16"]): torch.bfloat16, frozenset(["F16"]): torch.float16}.get(frozenset(kinds))
    if narrow is not None:  # where any weight is float32, all are written so
        model.to(narrow)
    with _moved_into(Path(out)) as folder:
        model.save_pretrained(folder)
        _copy_rest(Path(tuned), folder)
        _write_record(folder, record)


def _there(folder: Path) -> set[str]:
    return {file.relative_to(folder).as_posix() for file in folder.rglob("*") if not file.is_dir()}


def _written(folder: Path) -> list[str]:
    """The files that were written into a folder here, by its record; none where there is no such record."""
    try:
        record = parse_json(read_text(folder / RECORD))
        return [*map(str, record["files"]), RECORD]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _copy_rest(source: Path, folder: Path) -> None:
    """Copy what else lies there: the tokenizer, its template, the licence; not what training left, nor other folders' worth."""
    for file in sorted(source.iterdir()):
        unwanted = file.name in (RECORD, INDEX) or file.name.startswith((".", *LEFT)) or file.suffix in WEIGHTY
        if file.is_file() and not unwanted:
            shutil.copyfile(file, folder / file.name)  # follows a link, as those of the hub's cache
        elif file.is_dir() and file.name == "additional_chat_templates":
            shutil.copytree(file, folder / file.name)


def _write_record(folder: Path, record: dict[str, Any]) -> None:
    whole = {**record, "files": sorted(_there(folder)), "sha256": fingerprint(folder)}
    (folder / RECORD).write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def fingerprint(folder: str | Path) -> str:
    """Of the weights in a folder, by their names and bytes: 64 hexadecimal digits.

    >>> fingerprint(MODEL) == fingerprint(MODEL), len(fingerprint(MODEL))
    (True, 64)
    """
    whole = hashlib.sha256()
    for file in sorted(Path(folder).glob("*.safetensors")):
        whole.update(file.name.encode())
        with file.open("rb") as stream:
            while chunk := stream.read(1 << 20):
                whole.update(chunk)
    return whole.hexdigest()


@contextmanager
def _moved_into(out: Path) -> Iterator[Path]:
    """A folder beside ``out`` to write to, which takes its place at the end; after an error nothing of it is left."""
    out = out.absolute()
    out.parent.mkdir(parents=True, exist_ok=True)
    draft, old = (out.with_name(f".{out.name}.{os.getpid()}.{what}") for what in ("tmp", "old"))
    try:
        draft.mkdir()
        yield draft
        if out.exists():  # checked before: it holds what was written by this alone
            out.rename(old)
        draft.rename(out)
    except SafetensorError as error:  # a full disk, by its own name for it
        raise OSError(str(error)) from error
    except BaseException:
        if old.exists() and not out.exists():
            old.rename(out)
        raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
