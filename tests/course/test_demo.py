"""``make demo`` prints what lesson 03 found, and leaves a figure where it says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.training


def test_demo_prints_answers_curve_and_figure(root):
    done = subprocess.run(
        [sys.executable, "-m", "utils.course.demo"], cwd=root, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert "What is the capital of France?" in done.stdout and "Paris." in done.stdout
    assert re.search(r"New-task loss went from \d+\.\d to \d+\.\d; retention from \d+% to \d+%", done.stdout)
    figure = Path(re.search(r"Figure: (.+\.png)", done.stdout).group(1))
    assert figure.read_bytes()[:4] == b"\x89PNG"
