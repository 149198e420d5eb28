"""How the threads of a process wait for each other: the one setting that decides whether torch can share a machine.

OpenMP's threads spin while they wait, which is quickest alone and ruinous beside other work: each waits for a turn that
the other's waiting takes up. A short spin costs next to nothing on a quiet machine. It must be set before torch is
imported. Nothing but the standard library is used here.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping

# GNU's OpenMP, in PyTorch's Linux wheels: turns of an empty loop. Intel's and LLVM's, in conda and on Windows and macOS: ms.
BRIEF_WAITING = {"GOMP_SPINCOUNT": "1000", "KMP_BLOCKTIME": "1"}


def wait_briefly(environ: MutableMapping[str, str] = os.environ) -> None:
    """Let OpenMP's threads sleep soon. A variable that is set already, OMP_WAIT_POLICY too, is left as it is.

    environ: the variables to change, those of this process if you name none.

    >>> environ = {"KMP_BLOCKTIME": "200"}
    >>> wait_briefly(environ)
    >>> environ
    {'KMP_BLOCKTIME': '200', 'GOMP_SPINCOUNT': '1000'}
    """
    if "OMP_WAIT_POLICY" not in environ:
        for name, value in BRIEF_WAITING.items():
            environ.setdefault(name, value)
