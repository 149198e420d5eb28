"""The command line."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from utils.capability_guard.benches.fuzz_readers import __doc__ as about
from utils.capability_guard.benches.fuzz_readers.readers import readers
from utils.capability_guard.benches.fuzz_readers.search import ring, search


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("readers", nargs="*", help="which; all without one")
    parser.add_argument("--minutes", type=float, default=10, help="of the processor, for each reader")
    parser.add_argument("--keep", type=Path, default=Path("faults"), help="where files that made a fault are put")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args(arguments)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    signal.signal(signal.SIGPROF, ring)
    with tempfile.TemporaryDirectory() as work:
        there = readers(Path(work))
        if unknown := set(asked.readers) - set(there):
            parser.error(f"there is no reader {min(unknown)!r}; there are {', '.join(there)}")
        return min(1, sum(search(n, there[n], asked.minutes, asked.keep, asked.seed) for n in asked.readers or there))


if __name__ == "__main__":
    sys.exit(main())
