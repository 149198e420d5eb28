"""Jupyter in headless Chromium: servers of our own, notebooks opened and run, screenshots to look at.

Nothing here waits for a time. Each wait is for a thing, ends once that is there, and gives up after ``PATIENCE``.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SHOTS = os.environ.get("COURSE_SCREENSHOTS")  # a folder: keep what the tests saw, to look at
PATIENCE = 300  # seconds; a machine with much else to do takes a minute to import torch
# Where each front end has its notebooks, and what its page holds once the kernel is connected and has nothing to do.
FRONT_ENDS = {
    "lab": ("lab/tree", r"#jp-main-statusbar :text-matches('\\| Idle$')"),
    "notebook": ("notebooks", ".jp-NotebookKernelStatus-fade:empty"),
}


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextmanager
def served(command: list[str], port: int, folder: Path, path: str, python: str = sys.executable):
    """A Jupyter server of our own, with settings of its own, until the end of the block."""
    names = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    environ = {**os.environ, **{name: str(folder / name.lower()) for name in names}, "HF_HUB_OFFLINE": "1"}
    with open(folder / "server.log", "w") as log:
        process = subprocess.Popen([python, "-m", *command], env=environ, stdout=log, stderr=log, cwd=folder)
    try:
        given_up = time.monotonic() + PATIENCE
        while not _answers(f"http://127.0.0.1:{port}{path}"):
            starting = process.poll() is None and time.monotonic() < given_up
            assert starting, f"no server: {(folder / 'server.log').read_text()[-2000:]}"
            time.sleep(0.1)  # asked ten times a second
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=PATIENCE).close()
    except urllib.error.HTTPError:
        return True  # it says no, but it says it
    except OSError:
        return False
    return True


@contextmanager
def jupyter(course: Path, settings: Path):
    """JupyterLab and Notebook 7 on one server, for the notebooks in ``course``."""
    port = free_port()
    command = ["jupyterlab", "--no-browser", "--allow-root", f"--port={port}", "--IdentityProvider.token=x",
               f"--ServerApp.root_dir={course}", "--ServerApp.port_retries=0"]  # fmt: skip
    with served(command, port, settings, "/api?token=x") as address:
        yield Jupyter(address, settings)


class Jupyter:
    """A server, and one kernel for all its notebooks: that takes longest to start, and is not what a page is about."""

    def __init__(self, address: str, settings: Path) -> None:
        self.address, self.settings = address, settings

    def open(self, page, name: str, front_end: str = "lab") -> None:
        """Open ``lessons/name``, with nobody's settings and layout, and wait until its kernel is connected."""
        shutil.rmtree(self.settings / "jupyter_config_dir" / "lab", ignore_errors=True)
        self._give_kernel(name)
        where, connected = FRONT_ENDS[front_end]
        page.goto(f"{self.address}/{where}/lessons/{name}?token=x")
        page.locator(connected).wait_for(state="attached")

    def open_beside(self, page, name: str) -> None:
        """Open ``lessons/name`` in a JupyterLab that is there already, by its menu: that takes a third of the time."""
        self._give_kernel(name)
        choose(page, "File", "Open from Path…")
        page.locator(".jp-Dialog input").fill(f"lessons/{name}")
        page.keyboard.press("Enter")
        page.locator(".lm-TabBar-tab.jp-mod-current", has_text=name).wait_for()
        page.locator(FRONT_ENDS["lab"][1]).wait_for(state="attached")

    def _give_kernel(self, name: str) -> None:
        idle = [kernel["id"] for kernel in self._ask("kernels") if kernel["execution_state"] == "idle"]
        kernel = {"id": idle[0]} if idle else {"name": "python3"}
        self._ask("sessions", {"path": f"lessons/{name}", "name": name, "type": "notebook", "kernel": kernel})

    def _ask(self, what: str, body: dict | None = None):
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(f"{self.address}/api/{what}?token=x", data, timeout=PATIENCE) as answer:
            return json.load(answer)


def choose(page, menu: str, *items: str) -> None:
    """Choose from a menu of the notebook, and from the menus in it, by what they say."""
    page.get_by_role("menuitem", name=menu, exact=True).click()
    for item in items:
        page.locator(".lm-Menu").get_by_text(item, exact=True).click()


def run_all(page) -> None:
    choose(page, "Run", "Run All Cells")


def restart(page, output: str) -> None:
    """Restart the kernel and run all cells, and wait until the old ``output``, a selector, is gone."""
    old = page.locator(output).first.element_handle()
    choose(page, "Kernel", "Restart Kernel and Run All Cells…")
    page.locator(".jp-Dialog button.jp-mod-accept").click()
    page.wait_for_function("old => !old.isConnected", arg=old)


def go_dark(page) -> None:
    """JupyterLab's dark theme, by its menu."""
    choose(page, "Settings", "Theme", "JupyterLab Dark")
    page.locator("body[data-jp-theme-light=false]").wait_for(state="attached")


def tab_to(page, wanted: str, key: str = "Tab") -> None:
    """Press Tab until ``wanted``, an expression about ``focus``, is true of the element that has the focus."""
    for _ in range(25):
        page.keyboard.press(key)
        if page.evaluate(f"(focus => {wanted})(document.activeElement)"):
            return
    raise AssertionError(f"{key} never reached an element with {wanted}")


def look(page, name: str) -> None:
    if SHOTS:
        Path(SHOTS).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(SHOTS) / f"{name}.png")
