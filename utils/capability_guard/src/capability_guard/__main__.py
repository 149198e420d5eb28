"""``python -m capability_guard``: the same as the command ``capability-guard``."""

import sys

from capability_guard.cli import main

if __name__ == "__main__":
    sys.exit(main())
