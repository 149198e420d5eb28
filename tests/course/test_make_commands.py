"""Every command that README and ``make help`` name is run once, at its smallest setting: a typo in one is seen the same day."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

import nbformat
import pytest

from utils import environment
from utils.course import setting_up
from utils.course.maintain.jupyter_pages import free_port

pytestmark = pytest.mark.training
# What each is run with here, and what it then says; None where another test runs it whole.
RUN = {
    "setup": None,  # test_environment.py, test_wheelhouse.py
    "lab": None,  # below: it serves until it is stopped
    "app": None,
    "test": (["-n", "0", "-q", "tests/test_rooms.py"], "passed"),
    "quick": (["-n", "0", "-q", "--collect-only", "-k", "test_rooms or test_verdict"], "tests collected"),
    "demo": None,  # test_demo.py
    "bench": (["--only", "speed", "--rounds", "1", "--log", "{log}"], "finetune / bare loop"),
    "gpu": (["--rehearse", "--part", "memory"], "rows fit"),
    "lint": None,  # CI runs it before the tests
    "lessons": (["{notebook}"], "stored"),
    "claims": (["--folder", "{claims}", "--only", "dense"], "All runs are there"),
    "links": (["--check"], "Every link inside the course leads somewhere."),
    "site": None,  # test_site.py builds it, elsewhere than in _site
    "wheelhouse": None,  # test_wheelhouse.py
    "test-lowest": (["-n", "0", "-q", "tests/test_rooms.py"], "passed"),
}


def line_of(name: str, extra: list[str]) -> list[str]:
    """The command line behind ``make NAME``, with this very Python."""
    return [[sys.executable, *line[1:]] for line in environment.commands_for(name, extra)][-1]


@pytest.mark.parametrize("name", [name for name, how in RUN.items() if how])
def test_a_command_runs(name, root, tmp_path):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("print(1)")])
    nbformat.write(notebook, tmp_path / "small.ipynb")
    shutil.copytree(root / "data" / "claims", tmp_path / "claims")
    extra, says = RUN[name]
    places = {"notebook": tmp_path / "small.ipynb", "claims": tmp_path / "claims", "log": tmp_path / "log.jsonl"}
    extra = [word.format(**places) for word in extra]
    done = subprocess.run(line_of(name, extra), cwd=root, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0 and says in done.stdout, done.stdout[-3000:] + done.stderr[-3000:]


def test_the_bench_of_the_playground_runs(root, tmp_path):
    options = ["--only", "play", "--rounds", "1", "--log", str(tmp_path / "log.jsonl")]
    done = subprocess.run(line_of("bench", options), cwd=root, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0 and "finished run / bare loop" in done.stdout, done.stdout[-3000:] + done.stderr[-3000:]
    assert json.loads((tmp_path / "log.jsonl").read_text())["play"]["finished run / bare loop"] > 0


@pytest.mark.parametrize(("name", "path"), [("lab", "/lab"), ("app", "/")])
def test_a_server_starts_and_stops(name, path, root, tmp_path):
    port = free_port()
    options = {
        "lab": ["--no-browser", f"--port={port}", "--IdentityProvider.token="],
        "app": ["--no-browser", f"--port={port}"],
    }[name]
    environ = setting_up.environ_for(str(tmp_path))
    with open(tmp_path / "log", "w") as log:
        process = subprocess.Popen(line_of(name, options), cwd=root, env=environ, stdout=log, stderr=log)
    try:
        for _ in range(600):  # until it answers, however slow the machine is
            assert process.poll() is None, (tmp_path / "log").read_text()[-3000:]
            try:
                # Voila runs the notebook for each request to its page: that it answers at all is enough.
                urllib.request.urlopen(
                    f"http://127.0.0.1:{port}{path if name == 'lab' else '/voila/static/voila.js'}", timeout=30
                )
                break
            except urllib.error.HTTPError:
                break
            except OSError:
                time.sleep(0.2)
        else:
            raise AssertionError("it never answered")
    finally:
        process.send_signal(signal.SIGTERM if os.name == "nt" else signal.SIGINT)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()


def test_every_command_that_is_named_is_here(root):
    named = set(environment.COMMANDS)
    assert named == set(RUN)
    text = (root / "README.md").read_text(encoding="utf-8") + (root / "CONTRIBUTING.md").read_text(encoding="utf-8")
    used = {word for command in re.findall(r"make ([a-z][a-z -]*)", text) for word in command.split()[:2]}
    assert {"lab", "test", "quick", "lint", "bench"} <= used
    makefile = (root / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE)) - {"help", "clean"}
    assert targets == named
