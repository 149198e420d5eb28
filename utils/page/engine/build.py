"""Compile source/*.c to engine.wasm, and write its SHA-256 beside it: ``python -m utils.page.engine.build``.

The compiler is Zig's clang, from the PyPI package that REQUIREMENT names. One version of it gives one sequence of bytes, on
every system and from every folder, so that anybody can tell that the file in the repository is what the source says; a test does.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

HERE = Path(__file__).parent
SOURCE = HERE / "source"
WASM = HERE / "engine.wasm"
HASH = HERE / "engine.wasm.sha256"
REQUIREMENT = "ziglang==0.17.0"
FLAGS = (
    "-target", "wasm32-freestanding", "-std=c11", "-O3", "-msimd128", "-mbulk-memory",
    "-Wall", "-Wextra", "-Werror",
    "-mllvm", "-disable-lsr",  # otherwise each address in an inner loop is added up anew, for lack of a constant offset
    "-nostdlib", "-Wl,--no-entry",  # a library: no main, no C library
    "-Wl,-z,stack-size=65536",
    "-g0", "-Wl,--strip-all",  # neither paths nor names in the file
)  # fmt: skip


class CompilerMissing(Exception):
    """The compiler, or the right version of it, is not installed. The message says what to type."""


def compile_to(path: Path, source: Path = SOURCE) -> str:
    """Compile all C files of a folder to one WebAssembly file. Gives its SHA-256, in hexadecimal.

    Raises CompilerMissing, and CalledProcessError for source that does not compile; the compiler has then said why.
    """
    name, wanted = REQUIREMENT.split("==")
    try:
        installed = version(name)
    except PackageNotFoundError:
        installed = "none"
    if installed.partition(".post")[0] != wanted:  # a post-release packs the same compiler
        raise CompilerMissing(
            f"The compiler is {name} {wanted}, and {installed} is installed; type: pip install {REQUIREMENT}"
        )
    # By name from within the folder: a path would be a part of what is compiled.
    files = sorted(file.name for file in source.glob("*.c"))
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | {"ZIG_GLOBAL_CACHE_DIR": cache, "ZIG_LOCAL_CACHE_DIR": cache}
        command = [sys.executable, "-m", "ziglang", "cc", *FLAGS, "-o", str(path.resolve()), *files]
        subprocess.run(command, cwd=source, env=environment, check=True)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main() -> None:
    draft = WASM.with_name(f".{WASM.name}.{os.getpid()}.tmp")
    try:
        digest = compile_to(draft)
        draft.chmod(0o644)
        os.replace(draft, WASM)
    except CompilerMissing as error:
        sys.exit(str(error))
    finally:
        draft.unlink(missing_ok=True)
    HASH.write_text(f"{digest}  {WASM.name}\n", encoding="utf-8", newline="")
    print(f"{WASM.name}: {WASM.stat().st_size:,} bytes, SHA-256 {digest}")


if __name__ == "__main__":
    main()
