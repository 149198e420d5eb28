"""lighteval, without asking the hub for the judges and the file of tasks that are not run, and hashing texts as bytes."""

import pathlib
from importlib.util import find_spec

import xxhash
from huggingface_hub import HfApi

HfApi.list_models = lambda *_, **__: ["there"]
hashed = xxhash.xxh64
xxhash.xxh64 = lambda text=b"": hashed(text.encode() if isinstance(text, str) else text)
tiny = pathlib.Path(find_spec("lighteval").origin).parent / "tasks" / "tasks" / "tinyBenchmarks.pkl"
tiny.touch()  # looked for before it is downloaded, and read only by tasks that are not run here

from lighteval.__main__ import app  # noqa: E402

app()
