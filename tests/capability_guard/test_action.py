"""The GitHub Action, run step by step as a runner does; and the two examples, which name only what there is."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import yaml

from capability_guard.cli import _parser
from capability_guard.measurement import Measurement
from capability_guard.probes import load_probes, save_probes
from utils.training.config import FineTuneConfig
from utils.training.data import REPERTOIRE
from utils.training.finetuning import finetune
from utils.training.models import PRACTICE
from utils.training.presets import preset

pytestmark = pytest.mark.training

GUARD = Path(__file__).resolve().parents[2] / "utils" / "capability_guard"
ACTION = yaml.safe_load((GUARD / "action.yml").read_text(encoding="utf-8"))
STEPS = ACTION["runs"]["steps"]
bash = pytest.mark.skipif(os.name == "nt", reason="a runner brings its own bash to Windows")


# --- A runner ------------------------------------------------------------------------------------------------
def worth(expression: str, known: dict[str, str]):
    """What an expression of GitHub is worth. Only what the action uses is known: names, texts, ==, !=, && and always()."""
    parts = [part.strip() for part in expression.split("&&")]
    if len(parts) > 1:
        return all(worth(part, known) for part in parts)
    if compared := re.fullmatch(r"(.+?)\s*(==|!=)\s*(.+)", expression):
        return (worth(compared[1], known) == worth(compared[3], known)) == (compared[2] == "==")
    if expression == "always()":
        return True
    if text := re.fullmatch(r"'([^']*)'", expression):
        return text[1]
    if re.fullmatch(r"hashFiles\('[^']+'\)", expression):
        return ""
    return known[expression]  # a name that the action does not have is an error


def filled(text, known: dict[str, str]) -> str:
    return re.sub(r"\$\{\{(.*?)\}\}", lambda found: str(worth(found[1].strip(), known)), str(text))


@dataclass
class Done:
    """What came of a job: the exit code of each step that ran, the action's outputs, the summary, and the log."""

    codes: dict[str, int]
    outputs: dict[str, str]
    summary: str
    log: str

    @property
    def failed(self) -> bool:
        return any(self.codes.values())


def run_action(repository: Path, workspace: Path, **given: str) -> Done:
    """What GitHub does with the job: each ``run`` in its shell until one fails, and from then on only what runs always."""
    inputs = {name: str(about.get("default", "")) for name, about in ACTION["inputs"].items()}
    inputs |= {name.replace("_", "-"): value for name, value in given.items()}
    assert inputs.keys() == ACTION["inputs"].keys()
    known = {f"inputs.{name}": value for name, value in inputs.items()}
    known |= {"runner.os": "Linux", "github.run_id": "1", "github.run_attempt": "1",
              "steps.gate.outputs.verdict": "", "steps.gate.outputs.exit-code": ""}  # fmt: skip
    summary, output = workspace / "summary.md", workspace / "output.txt"
    for file in (summary, output):
        file.write_text("")
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHONPATH", "COURSE_"))}
    plain |= {"GITHUB_STEP_SUMMARY": str(summary), "GITHUB_OUTPUT": str(output), "RUNNER_TEMP": str(workspace),
              "GITHUB_ACTION_PATH": str(GUARD), "HF_HUB_OFFLINE": "1",
              "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}  # fmt: skip
    codes: dict[str, int] = {}
    log = ""
    for step in STEPS:
        condition = step.get("if", "")
        runs = bool(worth(condition, known)) if condition else True
        if any(codes.values()) and "always()" not in condition:
            runs = False
        if "uses" in step:
            for value in step["with"].values():
                filled(value, known)
        elif runs and step["name"] != "Install":  # the package is there already
            assert step["shell"] == "bash" and "${{" not in step["run"]
            environment = plain | {name: filled(value, known) for name, value in step.get("env", {}).items()}
            shell = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
            done = subprocess.run(shell, cwd=repository, env=environment, capture_output=True, text=True, timeout=600)
            codes[step["name"]] = done.returncode
            log += done.stdout + done.stderr
            for line in output.read_text().splitlines():
                name, value = line.split("=", 1)
                known[f"steps.{step.get('id')}.outputs.{name}"] = value
            output.write_text("")
    outputs = {name: filled(about["value"], known) for name, about in ACTION["outputs"].items()}
    print(log)
    return Done(codes, outputs, summary.read_text(encoding="utf-8"), log)


@pytest.fixture(scope="module")
def adapters(tmp_path_factory) -> Path:
    """Two adapters for the practice model: one that cost it much, and one that did not."""
    folder = tmp_path_factory.mktemp("adapters")
    careful = FineTuneConfig(learning_rate=5e-4, replay=0.25)
    for name, config in (("reckless", preset("reckless")), ("careful", careful)):
        finetune(config, keep_model=True).model.save_pretrained(folder / name)
    return folder


@pytest.fixture(scope="module")
def repository(tmp_path_factory, adapters) -> Path:
    """A team's repository: probes, adapters, and files of their own that have a module's name."""
    folder = tmp_path_factory.mktemp("team") / "repo"
    shutil.copytree(adapters, folder)
    for name in ("torch", "capability_guard", "json"):
        (folder / f"{name}.py").write_text("raise RuntimeError('this is a file of the team')\n")
    probes = [p for p in load_probes(REPERTOIRE) if p.capability in ("arithmetic", "capitals")]
    save_probes(probes, folder / "probes.jsonl")
    save_probes(probes[:9], folder / "few.jsonl")
    return folder


@pytest.fixture
def run(repository, tmp_path):
    def call(**given: str) -> Done:
        return run_action(repository, tmp_path, **({"model": str(PRACTICE), "probes": "probes.jsonl"} | given))

    return call


# --- What the gate says --------------------------------------------------------------------------------------
@bash
def test_a_reckless_adapter_is_blocked_and_a_careful_one_passes(run, repository):
    report = repository / "capability-report"
    blocked = run(adapter="reckless", max_drop="10", critical="arithmetic, capitals")
    assert blocked.codes == {"Measure and judge": 1, "Put the verdict into the summary": 0}
    assert blocked.outputs == {"verdict": "regressed", "exit-code": "1"}
    assert "## ✗ Regressed" in blocked.summary and "<details>" in blocked.summary and "| capitals |" in blocked.summary
    assert json.loads((report / "gate.json").read_text())["verdict"] == "regressed"
    assert int(ET.parse(report / "gate.xml").getroot()[0].get("failures")) >= 2
    assert "regressed</strong>" in (report / "gate.html").read_text(encoding="utf-8")
    assert "REGRESSED" in (report / "gate.log").read_text(encoding="utf-8")
    assert "The base was measured in" in blocked.log

    passed = run(adapter="careful", max_drop="10")
    assert not passed.failed and passed.outputs == {"verdict": "passed", "exit-code": "0"}
    assert "The base was measured before" in passed.log, "what the base knew is kept"
    assert "## ✓ Passed" in passed.summary and "Regressed" not in passed.summary
    assert json.loads((report / "gate.json").read_text())["verdict"] == "passed"


@bash
def test_a_baseline_that_is_committed(run, repository):
    """The same two verdicts from ``measure`` and ``gate``, and nothing is kept in a cache."""
    kept = repository / ".capability-guard"
    shutil.rmtree(kept, ignore_errors=True)
    done = run(adapter="careful", max_drop="10", baseline="base.json")
    assert done.outputs["exit-code"] == "2" and "The baseline base.json is not there" in done.summary
    command = [
        str(Path(sys.executable).parent / "capability-guard"),
        "measure",
        "--model",
        PRACTICE,
        "--probes",
        "probes.jsonl",
    ]
    subprocess.run([*command, "--out", "base.json"], cwd=repository, check=True, capture_output=True, timeout=600)
    passed = run(adapter="careful", max_drop="10", baseline="base.json", arguments="--same-base\n  --alpha 0.04")
    assert not passed.failed and passed.outputs["verdict"] == "passed" and "## ✓ Passed" in passed.summary
    report = repository / "capability-report"
    assert json.loads((report / "gate.json").read_text())["rules"]["alpha"] == 0.04
    assert Measurement.load(report / "candidate.json").adapter == "careful" and not kept.exists()
    blocked = run(adapter="reckless", max_drop="10", baseline="base.json", informational="arithmetic")
    assert blocked.outputs == {"verdict": "regressed", "exit-code": "1"} and blocked.failed
    rows = {row["name"]: row["critical"] for row in json.loads((report / "gate.json").read_text())["comparisons"]}
    assert rows == {"capitals": True, "arithmetic": False}


@bash
def test_options_that_say_how_to_ask_reach_the_measuring_and_are_held_against_the_baseline(run, repository):
    """Beside a committed baseline the two commands are separate, and each knows only its own options."""
    command = [
        str(Path(sys.executable).parent / "capability-guard"),
        "measure",
        "--model",
        PRACTICE,
        "--probes",
        "said.jsonl",
    ]
    probes = load_probes(repository / "probes.jsonl")[:60]
    save_probes([replace(p, measure="contains") for p in probes], repository / "said.jsonl")
    subprocess.run(
        [*command, "--max-new-tokens", "8", "--out", "said.json"],
        cwd=repository,
        check=True,
        capture_output=True,
        timeout=600,
    )
    given = {"adapter": "careful", "max_drop": "20", "baseline": "said.json", "probes": "said.jsonl"}
    done = run(**given, arguments="--max-new-tokens 8 --repeat-check --alpha 0.04")
    kept = Measurement.load(repository / "capability-report" / "candidate.json")
    assert (
        done.outputs["exit-code"] != "2"
        and kept.asked["decoding"] == "greedy, up to 8 tokens"
        and kept.noise is not None
    )
    assert json.loads((repository / "capability-report" / "gate.json").read_text())["rules"]["alpha"] == 0.04
    other = run(**given, arguments="--max-new-tokens=9")
    assert other.outputs["exit-code"] == "2" and "measure both alike" in other.summary


@bash
def test_what_cannot_be_certified_fails_unless_that_is_allowed(run):
    given = {"adapter": "careful", "probes": "few.jsonl"}
    for allowed, fails in (("false", True), ("true", False)):
        done = run(**given, allow_uncertain=allowed)
        assert done.failed == fails and done.outputs == {"verdict": "cannot certify", "exit-code": "2"}
        assert "## ? Cannot certify" in done.summary and "It takes at least about 59 such probes" in done.summary


@bash
@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"adapter": "a", "candidate": "b"}, "an adapter and a candidate"),
        ({}, "neither an adapter nor a candidate"),
        ({"adapter": "careful", "probes": "none.jsonl"}, "none.jsonl"),
        ({"adapter": "careful", "model": ""}, "--model is empty"),
        ({"adapter": "careful", "max_drop": ""}, "invalid float value"),
        ({"adapter": "careful", "max_drop": "0"}, "max_drop is 0"),
        ({"adapter": "careful", "arguments": "--no-such-option"}, "unrecognized arguments: --no-such-option"),
        (
            {"adapter": "careful", "critical": "capitals", "informational": "capitals"},
            "named critical and informational",
        ),
    ],
)
def test_what_is_refused_fails_with_its_sentence_in_the_summary(run, repository, given, says):
    """Also where uncertainty is allowed: nothing was asked. An earlier verdict is gone."""
    report = repository / "capability-report"
    report.mkdir(exist_ok=True)
    (report / "gate.md").write_text("<!-- capability-guard -->\n## ✓ Passed\n")
    done = run(**given, allow_uncertain="true")
    assert done.failed and done.outputs == {"verdict": "cannot certify", "exit-code": "2"}
    assert done.summary.startswith("## ? Cannot certify\n\nNothing was judged.") and "Passed" not in done.summary
    assert says in done.summary.splitlines()[-1] and done.summary.splitlines()[-1].startswith("    ")


@bash
@pytest.mark.parametrize("evil", ["$(touch owned)", "; touch owned;", '"; touch owned; "', "'; touch owned; '"])
@pytest.mark.parametrize("without", ["candidate baseline", "adapter baseline", "adapter"])
def test_no_input_is_run_as_a_script(run, repository, evil, without):
    given = {name.replace("-", "_"): evil for name in ACTION["inputs"] if name not in without.split()}
    assert run(**given).failed
    assert not list(repository.parent.rglob("owned"))


# --- What the action is made of ------------------------------------------------------------------------------
def test_every_input_is_used_and_none_reaches_a_script_as_text():
    text = (GUARD / "action.yml").read_text(encoding="utf-8")
    for name, about in ACTION["inputs"].items():
        assert re.search(rf"\binputs\.{name}(?![\w-])", text), f"{name} is never used"
        assert about["description"].endswith((".", '".')) and (
            about.get("required") or isinstance(about["default"], str)
        )
    assert set(re.findall(r"\binputs\.([\w-]+)", text)) == set(ACTION["inputs"])
    for step in STEPS:
        assert "${{" not in step.get("run", ""), step["name"]
        assert ("run" in step) == (step.get("shell") == "bash"), step["name"]
        for variable in step.get("env", {}):
            assert f"${variable}" in step["run"], f"{variable} is set and never read"


def test_the_other_actions_are_of_today_and_the_report_is_kept_whatever_the_verdict():
    used = [step["uses"] for step in STEPS if "uses" in step]
    assert used == [
        "actions/setup-python@v6",
        "actions/cache/restore@v5",
        "actions/cache/save@v5",
        "actions/upload-artifact@v7",
    ]
    names = [step["name"] for step in STEPS]
    for step in STEPS[names.index("Measure and judge") + 1 :]:
        assert step["if"].startswith("always()"), step["name"]
    assert STEPS[-1]["with"]["path"].split() == [
        "${{",
        "inputs.report",
        "}}/gate.*",
        "${{",
        "inputs.report",
        "}}/candidate.json",
    ]
    restored, saved = (step["with"] for step in STEPS if step.get("uses", "").startswith("actions/cache/"))
    assert restored["path"] == saved["path"] == ".capability-guard" and restored["key"] == saved["key"]
    assert restored["key"].startswith(restored["restore-keys"]), "the newest of the same model is found again"


@bash
@pytest.mark.parametrize(
    ("system", "gpu", "index"), [("Linux", False, True), ("Linux", True, False), ("macOS", False, False)]
)
def test_it_is_installed_from_its_own_folder(tmp_path, system, gpu, index):
    """The step is run with a ``python`` that writes down what it is asked."""
    tools, source = tmp_path / "bin", tmp_path / "my action"
    tools.mkdir()
    (tools / "python").write_text('#!/bin/sh\npwd > "$OUT"\nprintf "%s\\n" "$@" >> "$OUT"\n')
    if gpu:
        (tools / "nvidia-smi").write_text("#!/bin/sh\n")
    for tool in tools.iterdir():
        tool.chmod(0o755)
    step = next(step for step in STEPS if step["name"] == "Install")
    environment = {"PATH": str(tools), "OUT": str(tmp_path / "out"), "RUNNER_TEMP": str(tmp_path), "RUNNER_OS": system,
                   "GITHUB_ACTION_PATH": str(source)}  # fmt: skip
    shell = [shutil.which("bash"), "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
    subprocess.run(shell, env=environment, cwd="/", check=True, timeout=60)
    where, *asked = (tmp_path / "out").read_text().splitlines()
    cpu = ["--extra-index-url", "https://download.pytorch.org/whl/cpu"] if index else []
    assert where == str(tmp_path) and asked == ["-m", "pip", "install", *cpu, str(source)]


# --- The examples --------------------------------------------------------------------------------------------
def test_the_github_example_is_short_and_names_only_inputs_that_there_are():
    text = (GUARD / "examples" / "gate.yml").read_text(encoding="utf-8")
    workflow = yaml.safe_load(text)
    assert len(text.splitlines()) <= 25 and max(map(len, text.splitlines())) <= 135
    assert workflow["permissions"] == {"contents": "read"} and workflow[True] == "pull_request"
    (job,) = workflow["jobs"].values()
    assert "permissions" not in job
    checkout, guard = job["steps"]
    assert checkout["uses"] == "actions/checkout@v6" and checkout["with"]["persist-credentials"] is False
    assert guard["uses"] == "OWNER/REPO/utils/capability_guard@REF"
    given = set(guard["with"])
    assert given <= set(ACTION["inputs"])
    assert {name for name, about in ACTION["inputs"].items() if about.get("required")} <= given
    assert len(given & {"adapter", "candidate"}) == 1
    for word in ("required", "CODEOWNERS", "orks get no secrets", "4 GB"):
        assert word in text


def test_the_gitlab_example_uses_only_options_that_there_are(tmp_path):
    text = (GUARD / "examples" / "gitlab-ci.yml").read_text(encoding="utf-8")
    (job,) = yaml.safe_load(text).values()
    (command,) = job["script"]
    for name, value in job["variables"].items():
        command = command.replace(f'"${name}"', shlex.quote(value))
    program, *arguments = shlex.split(command)
    assert program == "capability-guard" and "$" not in command
    asked = _parser().parse_args(arguments)  # an option that there is not would exit here
    assert asked.model == job["variables"]["MODEL"] and asked.adapter == ["my_adapter"] and asked.max_drop == 5
    assert job["cache"]["paths"] == [f"{asked.keep}/"] and "$CI_COMMIT_REF_SLUG" in job["cache"]["key"]
    kept = job["artifacts"]
    assert kept["when"] == "always" and kept["reports"]["junit"] == asked.junit
    assert set(kept["paths"]) == {asked.json, asked.html, asked.markdown}
    assert (
        job["before_script"][-1]
        == 'pip install "git+https://github.com/OWNER/REPO@REF#subdirectory=utils/capability_guard"'
    )
    for word in ("CODEOWNERS", "fork", "4 GB"):
        assert word in text
