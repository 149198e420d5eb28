"""The example workflow, run step by step in a folder that holds what it says a repository needs: blocked, then passed."""

import json
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import yaml

from capability_guard.probes import load_probes, save_probes
from utils.training.config import FineTuneConfig
from utils.training.data import REPERTOIRE
from utils.training.finetune import finetune
from utils.training.models import PRACTICE
from utils.training.presets import preset

EXAMPLE = Path(__file__).resolve().parent.parent / "utils" / "gate-workflow.yml"


@pytest.fixture(scope="module")
def workflow() -> dict:
    return yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def repository(tmp_path_factory) -> Path:
    """A team's repository: the files that the example names, and probes."""
    folder = tmp_path_factory.mktemp("team")
    (folder / "gate" / "utils").mkdir(parents=True)
    (folder / "utils").mkdir()
    (folder / "utils" / "__init__.py").write_text("raise RuntimeError('this is the team's own package')\n")
    named = re.search(
        r"these files of the course.*?:\n(.*?)#   baseline\.json", EXAMPLE.read_text(encoding="utf-8"), re.DOTALL
    )
    for name in named[1].replace("#", " ").split():
        shutil.copy(EXAMPLE.parent / name, folder / "gate" / "utils" / name)
    save_probes(
        [p for p in load_probes(REPERTOIRE) if p.capability in ("arithmetic", "capitals")], folder / "probes.jsonl"
    )
    return folder


def run_steps(workflow: dict, repository: Path, adapter: str, **others: str) -> dict[str, int]:
    """What GitHub does with the job: each ``run`` in a shell, until one fails; then only what runs always."""
    job = workflow["jobs"]["gate"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHONPATH", "COURSE_"))}
    environment |= {name: str(value) for name, value in job["env"].items()} | {
        "BASELINE": str(PRACTICE),
        "CANDIDATE": str(PRACTICE),
        "ADAPTER": adapter,
        "MAX_DROP": "10",
        **others,
    }
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment["PATH"]])
    codes: dict[str, int] = {}
    for step in job["steps"]:
        failed = any(codes.values())
        if "run" in step and (not failed or step.get("if") == "always()"):
            shell = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
            done = subprocess.run(shell, cwd=repository, env=environment, capture_output=True, text=True, timeout=900)
            codes[step["name"]] = done.returncode
            print(done.stdout, done.stderr)
    return codes


@pytest.mark.skipif(os.name == "nt", reason="the steps are written for a shell that Windows does not have")
@pytest.mark.skipif(sys.version_info < (3, 11), reason="PYTHONSAFEPATH; the example asks for Python 3.12")
def test_a_reckless_adapter_is_blocked_and_a_careful_one_passes(workflow, repository):
    careful = FineTuneConfig(learning_rate=5e-4, replay=0.25)
    for name, config in (("reckless", preset("reckless")), ("careful", careful)):
        finetune(config, keep_model=True).model.save_pretrained(repository / name)
    report = repository / "report"
    blocked = run_steps(workflow, repository, "reckless")
    assert list(blocked.values()) == [0, 0, 0, 1] and list(blocked)[-1] == "Compare"
    assert json.loads((report / "gate.json").read_text())["verdict"] == "regressed"
    assert int(ET.parse(report / "gate.xml").getroot()[0].get("failures")) >= 2
    assert "regressed</strong>" in (report / "gate.html").read_text(encoding="utf-8")

    shutil.move(report / "baseline.json", repository / "baseline.json")  # as the example advises: commit it
    passed = run_steps(workflow, repository, "careful", CRITICAL="")  # every capability decides
    assert list(passed.values()) == [0, 0, 0, 0]
    assert json.loads((report / "gate.json").read_text())["verdict"] == "passed"
    assert "passed</strong>" in (report / "gate.html").read_text(encoding="utf-8")


def test_the_report_is_kept_whatever_the_verdict(workflow):
    last = workflow["jobs"]["gate"]["steps"][-1]
    assert (
        last["if"] == "always()"
        and last["uses"].startswith("actions/upload-artifact@")
        and last["with"]["path"] == "report"
    )
    assert workflow["permissions"] == {"contents": "read"}


def test_the_requirements_are_those_of_the_course(root):
    def bounds(path):
        lines = (line.split("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
        return {line for line in lines if line}

    assert bounds(root / "utils" / "gate-requirements.txt") <= bounds(root / "requirements.txt")


def test_the_example_names_every_file_that_it_needs(repository):
    """No import of the two commands leads out of the folder, at the top of a module or inside a function."""
    there = {path.name for path in (repository / "gate" / "utils").iterdir()}
    for path in (repository / "gate" / "utils").glob("*.py"):
        text = path.read_text(encoding="utf-8")
        text = re.sub(
            r"\ndef decision_table.*?(?=\ndef )", "", text, flags=re.DOTALL
        )  # which is for the course's notebooks
        for name in re.findall(r"^\s*from utils\.(\w+) import", text, re.MULTILINE):
            assert f"{name}.py" in there, f"{path.name} imports {name}"
