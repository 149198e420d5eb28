"""A model that two processes have in parts (FSDP 2 and 1) or whole in each (DDP): asked in step, it says what one process says."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.training
SCRIPT = Path(__file__).with_name("ask_in_step.py")


@pytest.fixture(scope="module")
def seen() -> dict[str, dict]:
    """What the first process saw, by what was tried. One launch for all tests, which has an end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    about = os.environ | {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": "2",
        "OMP_NUM_THREADS": "1",
    }
    both = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT)], env=about | {"RANK": str(rank)}, stdout=subprocess.PIPE, text=True
        )
        for rank in range(2)
    ]
    try:
        said, _ = both[0].communicate(timeout=900)
    finally:
        for one in both:
            one.kill()
    return {line["way"]: line for line in map(json.loads, said.splitlines())}


@pytest.mark.parametrize(("way", "split"), [("fsdp2", True), ("fsdp1", True), ("ddp", False)])
def test_it_says_what_one_process_says_before_training_meanwhile_and_with_its_weights_back(seen, way, split):
    found = seen[way]
    assert found["split"] == split and found["moved"] > 0.1, "the training changes what is said"
    assert len(found["apart"]) == 5 and max(found["apart"]) < 1e-5, found
    assert not found["inference"], "what was gathered to ask can be trained on"


def test_what_one_says_is_known_to_all(seen):
    assert seen["all"]["gathered"] == [0, 1] and seen["all"]["first"] == "from 0"


def test_a_process_that_died_is_a_sentence_within_a_minute(seen):
    assert seen["died"]["said"].startswith(
        "Process 1 is gone or hangs: it never came to the measurement at step 4. Read what"
    )
    assert seen["died"]["seconds"] < 60
