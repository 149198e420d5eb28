"""Jupyter in headless Chromium: servers of our own, notebooks opened and run, screenshots to look at."""

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
        for _ in range(240):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60)
                break
            except urllib.error.HTTPError:
                break
            except OSError:
                assert process.poll() is None, (folder / "server.log").read_text()[-2000:]
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()


@contextmanager
def opened(browser, server: str, folder: Path, name: str, settings: Path, size: tuple[int, int]):
    """A page with ``lessons/name`` open in "jupyterlab" or "notebook", all its cells set to run."""
    port = free_port()
    command = [server, "--no-browser", "--allow-root", f"--port={port}", "--IdentityProvider.token=x",
               f"--ServerApp.root_dir={folder}", "--ServerApp.port_retries=0"]  # fmt: skip
    where = {"jupyterlab": "lab/tree", "notebook": "notebooks"}[server]
    with served(command, port, settings, "/api?token=x") as address:
        page = browser.new_page(viewport={"width": size[0], "height": size[1]})
        page.goto(f"{address}/{where}/lessons/{name}?token=x")
        page.locator(".jp-Notebook").wait_for(timeout=60_000)
        time.sleep(3)
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_text("Run All Cells", exact=True).first.click()
        yield page
        page.close()


def go_dark(page) -> None:
    """JupyterLab's dark theme, by its menu."""
    page.get_by_role("menuitem", name="Settings", exact=True).click()
    time.sleep(0.5)
    page.get_by_text("Theme", exact=True).first.hover()
    time.sleep(0.7)
    page.get_by_text("JupyterLab Dark", exact=True).first.click()
    time.sleep(1.5)


def tab_to(page, wanted: str) -> None:
    """Press Tab until ``wanted``, an expression about ``focus``, is true of the element that has the focus."""
    for _ in range(25):
        page.keyboard.press("Tab")
        if page.evaluate(f"(focus => {wanted})(document.activeElement)"):
            return
    raise AssertionError(f"Tab never reached an element with {wanted}")


def look(page, name: str) -> None:
    if SHOTS:
        Path(SHOTS).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(SHOTS) / f"{name}.png")
