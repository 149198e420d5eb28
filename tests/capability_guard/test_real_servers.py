"""Real servers, started here with a small model: what they say is what the model says. Skipped where they are not installed."""

import importlib.util
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from gguf_file import write_gguf

from capability_guard import load_model, measure
from capability_guard.endpoint import Endpoint, measure_endpoint
from capability_guard.jsonl import DataError
from capability_guard.probes import Probe, load_probes
from utils.training.data import REPERTOIRE
from utils.training.models import PRACTICE

pytestmark = pytest.mark.training
TEMPLATE = "{% for turn in messages %}{{ turn['content'] }} {% endfor %}"  # a question is put as it is
PATIENCE = 300  # seconds for a server to start on a busy machine


def installed(*packages):
    return all(importlib.util.find_spec(package) is not None for package in packages)


@pytest.fixture(scope="module")
def loaded():
    return load_model(PRACTICE)


@pytest.fixture(scope="module")
def probes():
    known = load_probes(REPERTOIRE)[:180:15]
    return [*known, Probe("What is 7+7?", "1", "sums"), Probe(known[0].prompt, "4", "talk", measure="contains")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, loaded):
    """The practice model with a chat template that leaves a question as it is, and as a GGUF file."""
    folder = tmp_path_factory.mktemp("served")
    model, tokenizer = load_model(PRACTICE)
    tokenizer.chat_template = TEMPLATE
    model.save_pretrained(folder / "practice")
    tokenizer.save_pretrained(folder / "practice")
    write_gguf(PRACTICE, folder / "practice.gguf")
    return folder


@pytest.fixture(scope="module")
def transformers_serve(folder):
    if not installed("fastapi", "uvicorn", "openai"):
        pytest.skip("transformers serve is not installed (pip install 'transformers[serving]')")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [Path(sys.executable).with_name("transformers"), "serve", folder / "practice", "--host=127.0.0.1", f"--port={port}",
               "--device", "cpu", "--dtype", "float32"]  # fmt: skip
    log = (folder / "log.txt").open("w")
    process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    url = f"http://127.0.0.1:{port}"
    until = time.monotonic() + PATIENCE
    while True:
        assert process.poll() is None and time.monotonic() < until, (folder / "log.txt").read_text()[-2000:]
        try:
            urllib.request.urlopen(f"{url}/health", timeout=5).read()
            break
        except OSError:
            time.sleep(0.2)
    yield url, str(folder / "practice")
    process.terminate()
    process.wait(30)


@pytest.fixture(scope="module")
def llama_cpp(folder):
    if not installed("xllamacpp"):
        pytest.skip("llama.cpp's server is not installed (pip install xllamacpp)")
    import xllamacpp

    settings = xllamacpp.CommonParams()
    settings.model.path = str(folder / "practice.gguf")
    settings.n_ctx, settings.n_parallel, settings.port = 1024, 4, 0
    if hasattr(settings, "hostnames"):  # of xllamacpp since late in 2026
        settings.hostnames = ["127.0.0.1"]
    else:
        settings.hostname = "127.0.0.1"
    settings.cpuparams.n_threads = 1
    server = xllamacpp.Server(settings)
    yield server.listening_address, settings.model.path
    del server


@pytest.mark.parametrize("server", ["transformers_serve", "llama_cpp"])
def test_completions_of_a_real_server(server, probes, loaded, request):
    url, name = request.getfixturevalue(server)
    plain = measure(*loaded, probes)
    found = measure_endpoint(Endpoint(url, name, requests=3), probes)
    assert [(row.right, row.said) for row in found.rows] == [(row.right, row.said) for row in plain.rows]
    assert found.asked["exact"] == "by greedy completion"
    text = Probe("", "Pour hot water over leaves.", "text", measure="loss")
    with pytest.raises(DataError, match="need the log-probabilities of a prompt, and of .* it gives none"):
        measure_endpoint(Endpoint(url, name), [text])


def test_the_chat_of_transformers_serve(transformers_serve, probes, folder):
    url, name = transformers_serve
    plain = measure(*load_model(folder / "practice"), probes, chat=True)
    found = measure_endpoint(Endpoint(url, name), probes, chat=True)
    assert [row.right for row in found.rows] == [row.right for row in plain.rows] and found.chat


def test_the_chat_of_llama_cpp(llama_cpp, probes):
    """Its template is another one, so only that it answers can be told."""
    url, name = llama_cpp
    found = measure_endpoint(Endpoint(url, name), probes[:3], chat=True)
    assert all(row.right is not None for row in found.rows)
