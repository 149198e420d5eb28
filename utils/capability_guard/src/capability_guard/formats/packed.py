"""An ``.eval`` log of Inspect AI, which is a zip of JSON files, as the one object that its ``.json`` form is.

Older versions pack it as every zip reader knows; today's use Zstandard, which Python reads from 3.14 on and else a package must.
"""

from __future__ import annotations

import json
import struct
import zipfile
import zlib
from pathlib import Path

from capability_guard.formats.wording import DAMAGE, not_whole
from capability_guard.measurement import MeasurementError

HARNESS = "Inspect AI"
ZIP = b"PK\x03\x04"
ZSTANDARD = 93  # how a zip says so
MOST = 2**30  # bytes of one file in a log: whoever sends more wants to fill the memory


def is_packed(path: Path) -> bool:
    """Whether a file begins as a zip does.

    >>> _ = (FOLDER / "log.eval").write_bytes(b"PK" + bytes([3, 4]))
    >>> is_packed(FOLDER / "log.eval")
    True
    """
    try:
        with path.open("rb") as file:
            return file.read(4) == ZIP
    except OSError:
        return False


def unpack(path: Path) -> dict:
    """The content of an ``.eval`` log, as its ``.json`` form would have it. Raises MeasurementError, one sentence.

    >>> with zipfile.ZipFile(FOLDER / "log.eval", "w") as packed:
    ...     packed.writestr("header.json", '{"status": "success", "eval": {"task": "sums", "model": "base"}}')
    ...     packed.writestr("samples/1_epoch_1.json", '{"id": 1, "epoch": 1, "scores": {"match": {"value": "C"}}}')
    >>> unpack(FOLDER / "log.eval")["samples"][0]["scores"]
    {'match': {'value': 'C'}}
    """
    try:
        with zipfile.ZipFile(path) as packed:
            names = packed.namelist()
            if "header.json" not in names:
                raise MeasurementError(f"{path} was not finished: it has no header.json; run the evaluation again.")
            data = json.loads(_member(packed, "header.json"))
            if not isinstance(data, dict):
                raise TypeError("the header is no object")
            # The last of two entries with one name counts, as for every reader of zips.
            samples = [name for name in dict.fromkeys(names) if name.startswith("samples/")]
            data["samples"] = [_slim(json.loads(_member(packed, name))) for name in samples]
            data["reductions"] = json.loads(_member(packed, "reductions.json")) if "reductions.json" in names else None
            return data
    except MeasurementError:
        raise
    except (*DAMAGE, zipfile.BadZipFile, zlib.error, struct.error, NotImplementedError, EOFError, MemoryError) as error:
        raise not_whole(path, HARNESS, error) from error


def _slim(sample: dict) -> dict:
    """A sample without its transcript, which may be a hundred times as large as all else."""
    return {
        key: value
        for key, value in sample.items()
        if key not in ("events", "events_data", "messages", "store", "timelines")
    }


def _member(packed: zipfile.ZipFile, name: str) -> bytes:
    """One file of a zip. Python reads Zstandard from 3.14 on; before, another package must."""
    info = packed.getinfo(name)
    if info.file_size > MOST or info.compress_size > MOST:
        raise MeasurementError(
            f"{packed.filename}: {name[:60]} has {info.file_size} bytes, which is more than is read here."
        )
    if info.compress_type != ZSTANDARD or hasattr(zipfile, "ZIP_ZSTANDARD"):
        return packed.read(name)
    file = packed.fp
    file.seek(info.header_offset)
    head = file.read(30)
    name_length, extra_length = struct.unpack("<HH", head[26:30])
    file.seek(info.header_offset + 30 + name_length + extra_length)
    data = _unpacked(file.read(info.compress_size), info.file_size, packed.filename)
    if zlib.crc32(data) != info.CRC:
        raise zipfile.BadZipFile(f"bad checksum of {name[:60]!r}")
    return data


def _unpacked(data: bytes, size: int, where: str | None) -> bytes:
    """Zstandard, by whichever package is there: ``zstandard``, or ``pyarrow``, which comes with ``datasets``."""
    try:
        import zstandard

        with zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True) as stream:
            return stream.read(size)
    except ImportError:
        pass
    except zstandard.ZstdError as error:
        raise zipfile.BadZipFile(str(error)) from error
    try:
        import pyarrow
    except ImportError:
        raise MeasurementError(
            f"{where} is packed with Zstandard, which this Python cannot read; `pip install zstandard`, or write it with "
            "`inspect log convert --to json`."
        ) from None
    try:
        with pyarrow.input_stream(pyarrow.BufferReader(data), compression="zstd") as stream:
            return stream.read(size)
    except (OSError, pyarrow.ArrowException) as error:
        raise zipfile.BadZipFile(str(error)) from error
