"""The playground as a page of its own, as `make app` shows it: Voilà in headless Chromium.

In JupyterLab and Notebook 7 it is driven in tests/course/test_jupyter.py.
"""

import os

import pytest
from playground_page import FIGURE, drive, write_notebook

from utils.course.maintain.jupyter_pages import CHROMIUM, free_port, served

pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")]


def test_voila(new_page, root, tmp_path):
    course, settings = tmp_path / "course", tmp_path / "settings"
    for folder in (course / "lessons", settings):
        folder.mkdir(parents=True)
    for name in ("utils", "data"):
        os.symlink(root / name, course / name)
    write_notebook(root, course / "lessons" / "play.ipynb")
    port = free_port()
    command = ["voila", str(course / "lessons" / "play.ipynb"), "--no-browser", f"--port={port}"]
    with served(command, port, settings, "/static/nothing") as address:
        page = new_page(1100, 1500)
        page.goto(address)
        page.locator(FIGURE).wait_for()
        drive(page, "voila")
