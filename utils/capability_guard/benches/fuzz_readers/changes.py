"""What is changed about a file: something odd in a value's place, taken out, doubled or nested; or the bytes are damaged."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import random
import zipfile
from typing import Any

ODD: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 10**400, 1e308, -0.0, float("nan"), float("inf"), "", " ", "\n", "x" * 9000, "\ud800", "\x00",
    "٣", "1e999", "nan", "<b>&", "../..", "{{", [], {}, [[]], [None], {"": None}, {"0": []}, "2026-13-45T99:00:00", "true", "é́",
]  # fmt: skip


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
