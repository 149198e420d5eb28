"""Run a test file once more on ipywidgets 7.7.1, which is what Colab has."""

import os
import subprocess
import sys

import pytest

SECOND_RUN = "COURSE_OLD_WIDGETS" in os.environ


def run_again(file: str, folder, seconds: int, but: str = "") -> None:
    """In a process of its own, with ipywidgets 7.7.1 in ``folder`` put in front of the installed one.

    but: tests that need not run a second time, as pytest's -k has them.
    """
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder)]
    fetched = subprocess.run([*pip, "ipywidgets==7.7.1", "ipython_genutils"], capture_output=True, text=True)
    if fetched.returncode:
        pytest.skip(f"ipywidgets 7.7.1 cannot be had here: {fetched.stderr.strip().splitlines()[-1]}")
    environ = {**os.environ, "PYTHONPATH": str(folder), "COURSE_OLD_WIDGETS": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--no-header", file]
    command += ["-k", f"not ({but})"] if but else []
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=seconds)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
