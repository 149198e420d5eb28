"""How a model is loaded: precision, quantization, device, revision. Checked before anything heavy is imported."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from capability_guard.jsonl import DataError, shown

DTYPES = ("float32", "bfloat16", "float16", "auto")
QUANTIZATIONS = ("4bit", "8bit")
DEVICE = re.compile(r"[a-z]{2,}(:\d+)?")


@dataclass(frozen=True)
class Loading:
    """How the weights of a model are read, and where they are put.

    dtype: "float32" (the default), "bfloat16", "float16", or "auto" for the precision in which they were saved.
    quantization: "4bit" (NF4) or "8bit", by bitsandbytes, computed in ``dtype``, or bfloat16 without one.
    device: as "cpu" or "cuda:1"; without it, the GPU where there is one. device_map: "auto" spreads the layers over the GPUs, the
    memory and the disk, as accelerate does; a dict of yours will do.
    revision: of a model on the hub, a branch, tag or commit. tokenizer: another folder or hub id than the model's own.
    trust_remote_code: run Python that comes with the model; otherwise none runs.
    Raises DataError, one sentence, for what cannot be.

    >>> Loading(dtype="bfloat16").precision
    'bfloat16'
    >>> Loading(dtype="half")
    Traceback (most recent call last):
    capability_guard.jsonl.DataError: The dtype is 'half'; use one of float32, bfloat16, float16, auto.
    """

    dtype: str | None = None
    quantization: str | None = None
    device: str | None = None
    device_map: str | Mapping[str, Any] | None = None
    revision: str | None = None
    tokenizer: str | Path | None = None
    trust_remote_code: bool = False

    def __post_init__(self) -> None:
        for name, known in (("dtype", DTYPES), ("quantization", QUANTIZATIONS)):
            value = getattr(self, name)
            if value is not None and value not in known:
                raise DataError(f"The {name} is {shown(value)}; use one of {', '.join(known)}.")
        if self.device is not None and not DEVICE.fullmatch(str(self.device)):
            raise DataError(f"The device is {shown(self.device)}; write it as cpu, cuda or cuda:1.")
        if self.device is not None and self.device_map is not None:
            raise DataError(
                f"Both a device ({self.device}) and a device map ({shown(self.device_map)}) were given; give one of them."
            )
        if self.quantization is not None and find_spec("bitsandbytes") is None:
            raise DataError(
                f"Quantization to {self.quantization} is done by bitsandbytes, which is not installed; run "
                "`pip install 'capability-guard[quantization]'`."
            )

    @property
    def precision(self) -> str:
        """The dtype in which the weights are read, or in which quantized ones are computed with.

        >>> Loading().precision, Loading(quantization="4bit").precision
        ('float32', 'bfloat16')
        """
        return self.dtype or ("bfloat16" if self.quantization else "float32")

    def check(self, name: str) -> None:
        """Raises DataError where these settings do not go with the model of this name.

        >>> Loading(revision="main").check(MODEL)
        Traceback (most recent call last):
        capability_guard.jsonl.DataError: ... is on this machine, and a revision ('main') is of a model on the hub; leave it out.
        """
        place = Path(str(name).strip()).expanduser()
        if self.revision is not None and place.exists():
            raise DataError(
                f"{name} is on this machine, and a revision ({shown(self.revision)}) is of a model on the hub; leave it out."
            )
        if not is_gguf(name):
            return
        if not place.is_file():
            raise DataError(f"There is no file {name}; give the path of a GGUF file on this machine.")
        if find_spec("gguf") is None:
            raise DataError(
                f"{name} is a GGUF file, and the package that reads it is not installed; run `pip install 'capability-guard[gguf]'`."
            )
        if self.quantization is not None:
            raise DataError(
                f"{name} is a GGUF file, which has its own quantization; leave {self.quantization} out, or give the model itself."
            )


def is_gguf(name: str | Path) -> bool:
    """Whether a model is named that is one GGUF file, as llama.cpp reads it.

    >>> is_gguf("models/my_model.Q4_K_M.gguf"), is_gguf("my_model")
    (True, False)
    """
    return str(name).strip().lower().endswith(".gguf")
