"""The package by itself: what its wheel holds, what it imports, and its README, run word for word where there is no course."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

import capability_guard
from capability_guard.cli import _parser
from capability_guard.gate.rule import EXIT, PASSED, UNSURE, judge
from capability_guard.measurement import Measurement, Row
from capability_guard.power import probes_needed
from capability_guard.probes import MEASURES, load_probes, save_probes
from utils.training.data import DATA, REPERTOIRE
from utils.training.models import PRACTICE

pytestmark = pytest.mark.training

GUARD = Path(__file__).resolve().parents[2] / "utils" / "capability_guard"
README = (GUARD / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
SCRIPT, NAMES = (text for kind, text in BLOCKS if kind == "python")
COMMANDS = [line for kind, text in BLOCKS if kind == "bash" for line in text.splitlines()]
# README asks for a table of the reader's own; this one has the two columns that it names.
DATASET = 'from datasets import Dataset\ndataset = Dataset.from_dict({"question": ["Why?"], "reply": ["Because."]})\n'


# --- An environment in which there is no course --------------------------------------------------------------
@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy, so that nothing is left beside the source."""
    folder = tmp_path_factory.mktemp("wheel")
    source = shutil.copytree(GUARD, folder / "source", ignore=shutil.ignore_patterns("__pycache__"))
    pip(sys.executable, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", folder / "built", source)
    (built,) = (folder / "built").iterdir()
    return built


@pytest.fixture(scope="module")
def empty(tmp_path_factory, wheel) -> Path:
    """Python in an environment with the wheel alone. torch and the others are borrowed: a line in a .pth makes a folder
    importable and does not read the .pth files in it, which is where the course's own packages are named."""
    home = tmp_path_factory.mktemp("empty") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True, timeout=120)
    python = home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    pip(sys.executable, f"--python={python}", "install", "--no-deps", "--no-index", wheel)
    installed = Path(output(python, "import sysconfig; print(sysconfig.get_path('purelib'))"))
    borrowed = dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib"))
    (installed / "borrowed.pth").write_text("\n".join(borrowed) + "\n")
    return python


@pytest.fixture(scope="module")
def desk(tmp_path_factory) -> Path:
    """The files that README speaks of, under the names that it gives them."""
    folder = tmp_path_factory.mktemp("desk")
    shutil.copytree(PRACTICE, folder / "my_model")
    shutil.copy(DATA / "customer_service" / "train.jsonl", folder / "my_task.jsonl")
    known = [probe for probe in load_probes(REPERTOIRE) if probe.capability in ("arithmetic", "capitals")]
    save_probes(known, folder / "my_probes.jsonl")
    (policy,) = (text for kind, text in BLOCKS if kind == "toml")
    (folder / "guard.toml").write_text(policy)
    (plugin,) = (text for kind, text in BLOCKS if kind == "text" and "capability_gate" in text)
    (folder / "test_model.py").write_text(plugin)
    return folder


def clean() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COURSE_", "PIP_"))}
    return kept | {"HF_HUB_OFFLINE": "1", "PYTHONUTF8": "1"}


def pip(python, *arguments) -> None:
    command = [str(part) for part in (python, "-m", "pip", "--disable-pip-version-check", *arguments)]
    done = subprocess.run(command, env=clean(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


def output(python, code: str, cwd=None) -> str:
    done = subprocess.run([python, "-c", code], env=clean(), cwd=cwd, capture_output=True, text=True, timeout=600,
                          encoding="utf-8")  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# --- The wheel -----------------------------------------------------------------------------------------------
def test_the_wheel_holds_the_package_its_page_its_licence_and_nothing_else(wheel):
    source = GUARD / "src"
    modules = {path.relative_to(source).as_posix() for path in source.rglob("*.py")}
    about = f"capability_guard-{capability_guard.__version__}.dist-info"
    metadata = {f"{about}/{name}" for name in ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE")}
    with zipfile.ZipFile(wheel) as packed:
        pages = {
            path.relative_to(source).as_posix()
            for path in source.rglob("*.*")
            if path.suffix in (".html", ".json", ".jsonl", ".md")
        }
        assert set(packed.namelist()) == modules | pages | metadata and "capability_guard/gate/report.html" in pages
        assert all(name.startswith("capability_guard") for name in packed.namelist())
        said = packed.read(f"{about}/METADATA").decode()
        assert packed.read(f"{about}/entry_points.txt").decode().split() == [
            "[console_scripts]", "capability-guard=capability_guard.cli:main",
            "[pytest11]", "capability_guard.pytest_plugin=capability_guard.pytest_plugin",
        ]  # fmt: skip
    assert wheel.name == f"capability_guard-{capability_guard.__version__}-py3-none-any.whl"
    assert said.rstrip().endswith(README.rstrip()), "README is the description"
    for needed in ("torch", "transformers", "peft", "numpy", "scipy", "safetensors", "rich", "jinja2"):
        assert re.search(rf"^Requires-Dist: {needed}\b", said, re.MULTILINE), needed


def test_nothing_in_the_package_imports_what_it_does_not_require():
    """Not the course, and not what only the course requires, at the top of a module or inside a function."""
    allowed = {"capability_guard", "torch", "transformers", "peft", "numpy", "scipy", "safetensors", "rich", "jinja2"}
    optional = {"datasets", "IPython", "zstandard", "pyarrow"}  # named in hints, and for notebooks
    optional |= {"tomli", "pytest", "accelerate"}  # on Python 3.10 alone; where its plugin is loaded; peft requires it
    for path in (GUARD / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module] if isinstance(node, ast.ImportFrom) else []
            names += [name.name for name in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                assert name.split(".")[0] in allowed | optional | set(sys.stdlib_module_names), (
                    f"{path.name} imports {name}"
                )


def test_the_environment_has_the_wheel_and_no_course(empty, desk):
    where = Path(output(empty, "import capability_guard; print(capability_guard.__file__)", desk))
    assert empty.parent.parent in where.parents
    gone = "import importlib.util as u; print(u.find_spec('utils'), [p for p in __import__('sys').path if 'capability_guard' in p])"
    assert output(empty, gone, desk) == "None []"


# --- What is imported, and when ------------------------------------------------------------------------------
HEAVY = "print(sorted({'torch', 'transformers', 'peft', 'numpy', 'scipy', 'rich', 'jinja2'} & set(__import__('sys').modules)))"


def test_importing_the_package_imports_nothing_heavy(empty):
    assert output(empty, f"import capability_guard; {HEAVY}") == "[]"
    assert (
        output(empty, f"import capability_guard; dir(capability_guard); capability_guard.__version__; {HEAVY}") == "[]"
    )
    assert "torch" in output(empty, f"import capability_guard; capability_guard.RegressionMonitor; {HEAVY}"), (
        "it can tell"
    )


@pytest.mark.parametrize("command", ["", "gate", "compare", "measure", "probes", "fade"])
def test_a_help_text_imports_nothing_heavy(empty, command):
    code = f"""
from capability_guard.cli import main
try:
    main({[*filter(None, [command]), "--help"]})
except SystemExit as stopped:
    assert not stopped.code
{HEAVY}"""
    assert output(empty, code).splitlines()[-1] == "[]"


def test_a_gate_of_two_files_does_not_wait_for_torch(empty, tmp_path):
    rows = [Row(f"{i}?", "yes", "x", right=True, loss=0.1, said="yes") for i in range(60)]
    for name in ("a", "b"):
        Measurement(name, rows).save(tmp_path / f"{name}.json")
    (tmp_path / "guard.toml").write_text("version = 1")
    code = f"""
from capability_guard.cli import main
reports = ["--html", "r.html", "--markdown", "r.md", "--json", "r.json", "--policy", "guard.toml"]
assert main(["gate", "a.json", "b.json", *reports]) == 0
{HEAVY}"""
    imported = output(empty, code, tmp_path).splitlines()[-1]
    assert "rich" in imported and "torch" not in imported and "transformers" not in imported


def test_the_public_names_are_few_and_each_is_there():
    names = capability_guard.__all__
    assert len(names) <= 14 and len(set(names)) == len(names)
    for name in names:
        value = getattr(capability_guard, name)
        assert value.__doc__ and value.__module__.startswith("capability_guard."), name
        assert name in dir(capability_guard)
    with pytest.raises(AttributeError, match="no attribute 'Regression'"):
        capability_guard.Regression  # noqa: B018


# --- README, word for word -----------------------------------------------------------------------------------
def test_the_training_script_and_the_commands_run_as_they_stand(empty, desk):
    assert sum(map(bool, SCRIPT.splitlines())) == 11, "as README says"
    said = output(empty, SCRIPT, desk).splitlines()[-1]
    assert re.fullmatch(r"lost \d+ of 179 probes and gained \d+, a drop of .*: (held|within noise|regressed)", said)
    assert (desk / "my_adapter" / "adapter_config.json").exists()

    tool = empty.with_name("capability-guard" + empty.suffix)
    ours = [line for line in COMMANDS if line.startswith("capability-guard ")]
    assert [line.split()[:2] for line in ours] == [
        ["capability-guard", name]
        for name in ("probes", "compare", "measure", "measure", "gate", "gate", "gate", "probes", "fade")
    ]
    for line in ours:
        if "another.json" in line:  # another adapter's, which README leaves to the reader
            known = Measurement.load(desk / "candidate.json")
            replace(known, adapter="another_adapter").save(desk / "another.json")
        command = [str(tool), *line.split()[1:]]
        done = subprocess.run(
            command, env=clean(), cwd=desk, capture_output=True, text=True, timeout=600, encoding="utf-8"
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"  # a rate of 2e-5 costs nothing
    (tested,) = (line.split() for line in COMMANDS if line.startswith("pytest "))
    said = subprocess.run([empty, "-m", *tested], env=clean(), cwd=desk, capture_output=True, text=True, timeout=600)
    assert "1 passed" in said.stdout, said.stdout
    assert "179 probes" in subprocess.run([str(tool), *ours[0].split()[1:]], env=clean(), cwd=desk, capture_output=True,
                                          text=True, timeout=600, encoding="utf-8").stdout  # fmt: skip
    assert json.loads((desk / "my_faded" / "fade.json").read_text())["strength"] == 1, "there was nothing to turn down"
    for name in ("report.html", "baseline.json", "candidate.json", "summary.md", "several.html"):
        assert (desk / name).stat().st_size > 500, name
    assert len(list((desk / ".capability-guard").glob("*.json"))) == 2


def test_every_public_name_has_a_line_that_runs(empty, desk):
    assert set(re.findall(r"\bguard\.(\w+)", NAMES)) == set(capability_guard.__all__)
    if not (desk / "my_adapter").exists():  # this test alone: the script above has not run
        output(empty, SCRIPT, desk)
    check = "\nassert table[0].answer == 'Because.' and len(load_more('more_probes.jsonl')) == 180 and own and sum(right) == 179"
    check += "\nassert same == before and len(monitor.probes) == 179 and best.strength == 1 and sum(gentler) > 170"
    said = output(empty, DATASET + NAMES + "\nload_more = guard.load_probes" + check, desk).splitlines()
    assert said[-2].startswith("PASSED: No loss larger than is allowed: arithmetic, capitals") and ": held" in said[-1]


def test_the_example_rows_are_probes_of_every_measure(tmp_path):
    (rows,) = (text for kind, text in BLOCKS if kind == "json")
    path = tmp_path / "p.jsonl"
    path.write_text(rows, encoding="utf-8")
    assert sorted(probe.measure for probe in load_probes(path)) == sorted(MEASURES)


def test_the_numbers_of_probes_are_those_of_the_gate():
    """Of the table in README: one probe fewer cannot pass, and the power is what ``probes`` says."""
    table = [
        tuple(map(int, row)) for row in re.findall(r"^\| (\d+) points \| (\d+) \| (\d+) \|$", README, re.MULTILINE)
    ]
    assert len(table) == 5
    for drop, fewest, power in table:
        for n, word in ((fewest, PASSED), (fewest - 1, UNSURE)):
            rows = [Row(f"{i}?", "yes", "x", right=True, loss=0.1, said="yes") for i in range(n)]
            assert judge(Measurement("a", rows), Measurement("b", rows), max_drop=drop).word == word, (drop, n)
        assert probes_needed(drop) == power


def test_what_readme_names_is_there():
    assert len(README.splitlines()) <= 300
    for target in re.findall(r"\]\(([^)]+)\)", README):
        assert (GUARD / target).exists(), target
    codes = dict(re.findall(r"^\| (\d) \| ([\w ]+) \|", README, re.MULTILINE))
    assert {word: int(code) for code, word in codes.items()} == EXIT
    subcommands = next(action.choices for action in _parser()._actions if action.choices)
    options = {
        option for parser in subcommands.values() for action in parser._actions for option in action.option_strings
    }
    for option in set(re.findall(r"`(--[\w-]+)`", README)):
        assert option in options, option
    pips = [line for line in COMMANDS if line.startswith("pip ")]
    assert any(line.endswith('#subdirectory=utils/capability_guard"') for line in pips) and "not on PyPI" in README
