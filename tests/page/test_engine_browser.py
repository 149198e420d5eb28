"""The engine in a web worker of a real browser: the same bits as in node, and it stops and refuses as it says."""

import functools
import http.server
import shutil
import threading

import pytest
from node_engine import EngineError, NodeEngine, exported, needs_node

from utils.course.maintain.jupyter_pages import CHROMIUM
from utils.page.engine import build

pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")]
CONFIG = {"learning_rate": 1.3e-2, "steps": 4, "evaluate_every": 2, "lora_dropout": 0.3}
# Talks to the worker as a page would: call(name, {...}) gives {done} or {error}, and all that was sent on the way.
CLIENT = """
() => new Promise((ready) => {
  const worker = new Worker("worker.mjs", { type: "module" });
  const waiting = new Map();
  worker.onerror = (event) => ready(event.message || "the worker could not be loaded");
  worker.onmessage = ({ data: { id, ...message } }) => {
    const call = waiting.get(id);
    if ("done" in message || "error" in message) call.resolve({ ...message, sent: call.sent });
    else call.sent.push(message), call.on_message?.(message);
  };
  let calls = 0;
  window.call = (name, rest = {}, on_message) => new Promise((resolve) => {
    waiting.set(++calls, { resolve, sent: [], on_message });
    worker.postMessage({ id: calls, call: name, ...rest });
  });
  ready("");
})
"""
ASSETS = {"wasm": "engine.wasm", "config": "config.json", "weights": "weights.bin", "tokenizer": "tokenizer.json",
          "data": "data.json"}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What a page would ship: the exported files and the engine's own beside each other."""
    folder = exported(tmp_path_factory.mktemp("page"), "practice")
    for file in [build.WASM, *build.HERE.glob("*.mjs")]:
        shutil.copy(file, folder)
    (folder / "index.html").write_text("<!doctype html><title>engine</title>", encoding="utf-8")
    return folder


class Quiet(http.server.SimpleHTTPRequestHandler):
    extensions_map = {**http.server.SimpleHTTPRequestHandler.extensions_map, ".mjs": "text/javascript"}

    def log_message(self, *_) -> None:
        pass


@pytest.fixture
def page(browser, folder):
    """An open page with ``call``; the worker has loaded nothing yet."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{server.server_port}/index.html")
        assert page.evaluate(CLIENT) == ""
        yield page
        page.close()
        server.shutdown()


def test_a_run_in_a_worker_is_nodes_to_the_last_bit(page, folder):
    assert page.evaluate("(assets) => call('load', { assets })", ASSETS)["done"] is None
    answer = page.evaluate("(config) => call('run', { config })", CONFIG)
    result = answer["done"]
    assert [m["checkpoint"]["step"] for m in answer["sent"] if "checkpoint" in m] == [0, 2, 4]
    assert [m["loss"] for m in answer["sent"] if "loss" in m] == result["training_loss"]
    half = page.evaluate("call('strength', { s: 0.5 })")["done"]
    said = page.evaluate("call('answer', { prompt: 'What is 2+2?' })")["done"]
    if needs_node.args[0]:
        pytest.skip("it runs; there is no node here to compare it with")
    node = NodeEngine(folder, "weights.bin")
    assert node("run", CONFIG) == result
    node("strength", 0.5)
    assert (node("measure"), node("answer", "What is 2+2?")) == (half, said)
    node.close()


def test_stop_ends_a_run_within_a_step(page):
    page.evaluate("(assets) => call('load', { assets })", ASSETS)
    answer = page.evaluate(
        "() => call('run', { config: { steps: 500, evaluate_every: 500 } }, ({ step }) => step === 2 && call('stop'))"
    )
    assert answer["done"]["stopped"].startswith("stopped at step")
    assert 2 <= len(answer["done"]["training_loss"]) <= 4
    assert page.evaluate("call('answer', { prompt: 'What is the capital of France?' })")["done"].startswith("Paris")


@pytest.mark.parametrize(("call", "rest", "says"), [
    ("run", {"config": {}}, "No model is loaded; load one first."),
    ("train", {}, '"train" is not a call; use one of load, run, stop'),
    ("load", {"assets": {**ASSETS, "data": "nowhere.json"}}, "data could not be read from nowhere.json (404)"),
])  # fmt: skip
def test_errors_come_back_as_one_sentence(page, call, rest, says):
    answer = page.evaluate("([name, rest]) => call(name, rest)", [call, rest])
    assert answer["error"].startswith(says) and "\n" not in answer["error"]


def test_bad_settings_come_back_as_one_sentence(page):
    page.evaluate("(assets) => call('load', { assets })", ASSETS)
    answer = page.evaluate("call('run', { config: { rank: 0 } })")
    assert answer["error"] == "rank is 0; it must be at least 1 and at most 64."
    assert issubclass(EngineError, Exception)
