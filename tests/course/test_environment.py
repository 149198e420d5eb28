"""The script behind `make`: what it finds, what it decides, what it says. Nothing is fetched here."""

import ast
import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "utils" / "environment.py"
SETTING_UP = ROOT / "utils" / "course" / "setting_up.py"


def fresh(path: Path):
    """A file as a module that nobody else has."""
    spec = importlib.util.spec_from_file_location(f"{path.stem}_under_test", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def env(tmp_path, monkeypatch):
    """What sets up, at work in a folder of its own that holds the course's requirements."""
    module = fresh(SETTING_UP)
    for name in module.PINS:
        target = tmp_path / name
        target.parent.mkdir(exist_ok=True, parents=True)
        target.write_bytes((ROOT / name).read_bytes())
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "VENV", tmp_path / ".venv")
    monkeypatch.delenv("COURSE_TORCH", raising=False)
    return module


@pytest.fixture
def script(env):
    """The script behind `make`, over that folder."""
    module = fresh(SCRIPT)
    module.setting_up, module.ROOT = env, env.ROOT
    return module


@pytest.fixture
def pip(env, monkeypatch):
    """In place of pip and venv: records the steps and makes a bare .venv with two empty packages."""
    steps = []

    def step(number, what, command, optional=False):
        steps.append((number, command))
        if number == 1:
            subprocess.run([*command, "--without-pip"], check=True)
            version = f"python{sys.version_info.major}.{sys.version_info.minor}"
            site = env.VENV / ("Lib" if os.name == "nt" else f"lib/{version}") / "site-packages"
            for name in ("pip", "datasets"):
                (site / name).mkdir()
                (site / name / "__init__.py").touch()
                info = site / f"{name}-1.0.dist-info"
                info.mkdir()
                (info / "RECORD").write_text(f"{name}/__init__.py,,\n{info.name}/RECORD,,\n")
        return True

    monkeypatch.setattr(env, "step", step)
    return steps


@pytest.fixture
def made(env, pip):
    """An environment that was set up: its package folder. The steps recorded so far are forgotten."""
    env.setup()
    assert [number for number, _ in pip] == [1, 2, 3, 4]
    pip.clear()
    return env.inspect_venv()[1]


def test_second_setup_does_nothing(env, pip, made, capsys):
    capsys.readouterr()
    env.setup()
    assert pip == []
    assert capsys.readouterr().out == "environment ready\n"


def test_course_is_importable_from_anywhere(env, made, tmp_path):
    (tmp_path / "utils").mkdir(exist_ok=True)
    (tmp_path / "utils" / "__init__.py").touch()
    subprocess.run([env.venv_python(), "-I", "-c", "import utils"], check=True, cwd=tmp_path.parent)


@pytest.mark.parametrize("name", ["requirements.txt", "tests/requirements.txt", "binder/torch-cpu.txt"])
def test_changed_requirements_run_pip_again(env, pip, made, name):
    path = env.ROOT / name
    path.write_text("# changed\n" + path.read_text())
    assert not env.is_ready()
    env.setup()
    assert [number for number, _ in pip] == [2, 3, 4] and env.is_ready()


def test_stamp_follows_version_and_torch(env, made, monkeypatch):
    before = env.fingerprint("3.11.1")
    assert before == env.fingerprint("3.11.1") != env.fingerprint("3.12.1")
    with monkeypatch.context() as patch:
        patch.setattr(env, "SETUP_VERSION", env.SETUP_VERSION + 1)
        assert before != env.fingerprint("3.11.1") and not env.is_ready()
    assert env.is_ready()
    monkeypatch.setenv("COURSE_TORCH", "torch==2.11.0")
    assert not env.is_ready()


@pytest.mark.parametrize("stamp", [None, "", "[]", '{"contents": []}', '{"contents": 3, "fingerprint": 4}'])
def test_missing_or_truncated_stamp(env, pip, made, stamp):
    path = env.VENV / env.STAMP
    path.write_text(stamp) if stamp is not None else path.unlink()
    assert not env.is_ready()
    env.setup()
    assert [number for number, _ in pip] == [2, 3, 4] and env.is_ready()
    assert json.loads(path.read_text())["contents"]


def test_deleted_package_is_forgotten_so_that_pip_installs_it(env, pip, made, capsys):
    (made / "datasets" / "__init__.py").unlink()
    (made / "datasets").rmdir()
    (made / "~atasets").mkdir()
    env.setup()
    assert not (made / "datasets-1.0.dist-info").exists() and not (made / "~atasets").exists()
    assert (made / "pip-1.0.dist-info").exists()
    assert "datasets-1.0 is damaged" in capsys.readouterr().out


def test_package_without_record_is_forgotten(env, pip, made):
    (made / "datasets-1.0.dist-info" / "RECORD").unlink()
    env.forget_damaged(made)
    assert not (made / "datasets-1.0.dist-info").exists() and (made / "datasets").exists()


def break_interpreter(env):
    Path(env.venv_python()).unlink()
    if os.name != "nt":
        Path(env.venv_python()).symlink_to("/nonexistent/python3")


def break_pip(env):
    (env.inspect_venv()[1] / "pip" / "__init__.py").write_text("broken(")


def break_into_file(env):
    env.VENV.rename(env.VENV.with_name("aside"))
    env.VENV.write_text("not a folder")


def break_into_empty_folder(env):
    env.VENV.rename(env.VENV.with_name("aside"))
    env.VENV.mkdir()


def break_config(env):
    (env.VENV / "pyvenv.cfg").unlink()


@pytest.mark.parametrize(
    "damage", [break_interpreter, break_pip, break_into_file, break_into_empty_folder, break_config]
)
def test_broken_environment_is_made_anew(env, pip, made, damage):
    damage(env)
    assert env.inspect_venv() is None and not env.is_ready()
    env.setup()
    assert [number for number, _ in pip] == [1, 2, 3, 4] and env.is_ready()


def test_interrupted_setup_leaves_no_stamp(env, script, pip, made, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    (env.ROOT / "requirements.txt").write_text("")
    with monkeypatch.context() as patch:
        patch.setattr(env, "step", interrupted)
        with pytest.raises(SystemExit, match="goes on from here"):
            script.main(["setup"])
    assert not (env.VENV / env.STAMP).exists()
    env.setup()
    assert env.is_ready()


def test_second_setup_waits_for_the_first(env, made, capsys, monkeypatch):
    with env.only_one():
        with open(env.ROOT / ".venv.lock", "a") as other:
            assert not env.try_lock(other)
        answers = iter([False, False, True])
        with monkeypatch.context() as patch:
            patch.setattr(env, "try_lock", lambda handle: next(answers))
            with env.only_one():
                assert "waiting for it" in capsys.readouterr().out
    capsys.readouterr()
    with env.only_one():
        assert capsys.readouterr().out == ""


@pytest.mark.parametrize("version", [(3, 7, 0), (3, 9, 18)])
def test_old_python_is_told_in_one_sentence(env, script, monkeypatch, version):
    monkeypatch.setattr(sys, "version_info", version)
    with pytest.raises(SystemExit, match=r"^The course needs Python 3.10 or newer, .* PYTHON=python3.12`.$"):
        script.main(["setup"])


def test_script_parses_in_old_python():
    """Else an old Python would end with a SyntaxError and not with the sentence."""
    for path in (SCRIPT, SETTING_UP):
        ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 7))


def test_debian_without_ensurepip(env, monkeypatch):
    monkeypatch.setattr(env.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match="sudo apt install python3-venv"):
        env.create_venv()


def test_failing_step_shows_where_and_what(env, capsys):
    code = "print('\\n'.join(f'line {n}' for n in range(40))); raise SystemExit(3)"
    with pytest.raises(SystemExit) as stopped:
        env.step(2, "torch", [sys.executable, "-c", code])
    said = str(stopped.value)
    assert "step 2 of 4 (torch), with status 3" in said and "run the same command again" in said
    assert "line 39" in said and "line 28" in said and "line 27" not in said
    assert env.step(4, "model", [sys.executable, "-c", code], optional=True) is False
    assert capsys.readouterr().out.endswith("4 of 4, model ... not installed\n")


@pytest.mark.parametrize(
    ("system", "nvidia", "cpu"),
    [("Linux", False, True), ("Linux", True, False), ("Darwin", False, False), ("Windows", False, False)],
)
def test_torch_for_each_system(env, monkeypatch, system, nvidia, cpu):
    monkeypatch.setattr(env.platform, "system", lambda: system)
    monkeypatch.setattr(env.shutil, "which", lambda name: "/usr/bin/nvidia-smi" if nvidia else None)
    monkeypatch.setattr(env.os.path, "exists", lambda path: False)
    what, arguments = env.torch_plan()
    assert arguments[-1] == ("binder/torch-cpu.txt" if cpu else "torch==2.13.0")
    assert what == ("torch==2.13.0 (CPU)" if cpu else "torch==2.13.0")
    monkeypatch.setenv("COURSE_TORCH", "torch==2.11.0 --no-deps")
    assert env.torch_plan()[1] == ["torch==2.11.0", "--no-deps"]


@pytest.mark.parametrize(("windows", "tail"), [(False, "bin/python"), (True, "Scripts/python.exe")])
def test_commands_for_each_system(env, script, monkeypatch, windows, tail):
    monkeypatch.setattr(env, "WINDOWS", windows)
    lines = {name: script.commands_for(name, ["-x"]) for name in script.COMMANDS}
    assert all(Path(line[0]) == env.VENV / tail for name in lines for line in lines[name])
    assert lines["setup"] == [] and len(lines["lint"]) == 5
    assert lines["test"][0][1:] == ["-m", "pytest", "-n", "2", "--dist", "loadfile", "-x"]
    assert script.commands_for("test", ["-n", "0"])[0][1:] == ["-m", "pytest", "-n", "0"], (
        "a debugger needs one process"
    )
    assert lines["lab"][0][-2:] == ["-x", "lessons/00_start_here.ipynb"]
    assert f"--ServerApp.root_dir={env.ROOT}" in lines["lab"][0]


def test_isolated_runs_see_neither_hub_nor_settings(env, monkeypatch, tmp_path):
    for name in ("PYTHONPATH", "JUPYTER_PATH", "MPLBACKEND", "JUPYTER_DATA_DIR", "HF_HOME"):
        monkeypatch.setenv(name, "the user's")
    environ = env.environ_for(str(tmp_path))
    assert "the user's" not in environ.values() and environ["HF_HUB_OFFLINE"] == "1"
    assert "PYTHONPATH" not in env.environ_for() and env.environ_for()["MPLBACKEND"] == "the user's"


def test_exit_status_is_passed_on(env, script, made, monkeypatch):
    lines = [[sys.executable, "-c", f"raise SystemExit({status})"] for status in (0, 3, 1)]
    monkeypatch.setattr(script, "commands_for", lambda name, extra: lines)
    assert script.main(["lint"]) == 3


def test_two_workers_take_one_thread_each(env, script, made, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    says = "import os, sys; sys.exit(int(os.environ.get('OMP_NUM_THREADS', 7)))"
    monkeypatch.setattr(script, "commands_for", lambda name, extra: [[sys.executable, "-c", says]])
    assert [script.main(words) for words in (["quick"], ["test"], ["test", "-n", "0"], ["bench"])] == [1, 1, 7, 7]


def test_makefile_and_script_agree(script):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^([a-z-]+): *## ", makefile, flags=re.MULTILINE)
    assert set(targets) == {*script.COMMANDS, "clean", "help"}
    assert set(re.findall(r"environment\.py ([a-z-]+) \$\(ARGS\)", makefile)) == set(script.COMMANDS)
    assert sorted(targets) == sorted(re.search(r"\.PHONY: (.*)", makefile)[1].split())
    assert all(name in script.__doc__ for name in script.COMMANDS)


@pytest.mark.parametrize("name", ["requirements.txt", "tests/requirements.txt"])
def test_requirements_are_bounded_and_annotated(name):
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    wanted = [line for line in lines if line and not line.startswith(("#", "-r "))]
    shape = re.compile(r"([a-z0-9_-]+(\[[a-z]+\])?>=\d[\d.]*,<\d[\d.]*|-e \./utils/capability_guard) +# \S.*")
    assert wanted and [line for line in wanted if not shape.fullmatch(line)] == []


def test_pinned_torch_is_within_the_requirements(env):
    pin = env.torch_plan()[0]
    assert re.match(r"torch==2\.13\.0\b", pin)
    assert "torch>=2.11,<2.16 " in (ROOT / "requirements.txt").read_text(encoding="utf-8")


def test_a_wheelhouse_is_all_that_pip_asks(env, pip, monkeypatch):
    house = env.ROOT / "wheelhouse"
    house.mkdir()
    monkeypatch.setattr(env, "WHEELHOUSE", house)
    with pytest.raises(SystemExit, match="^The folder wheelhouse is made for nothing known"):
        env.setup()
    (house / "made-for.txt").write_text(env.wheelhouse.kind())
    env.setup()
    installs = [command for number, command in pip if number > 1]
    assert len(installs) == 3
    assert all(command[command.index("--no-index") :][1:3] == ["--find-links", str(house)] for command in installs)
    assert not any("-r" in command and "binder/torch-cpu.txt" in command for command in installs)


def test_lowest_versions_get_an_environment_of_their_own(env, script, pip, monkeypatch):
    monkeypatch.setenv("COURSE_TORCH", "")  # put back afterwards
    monkeypatch.setattr(env.platform, "system", lambda: "Linux")
    normal = env.fingerprint("3.11.1")
    script.use_lowest()
    env.setup()
    assert env.VENV == env.ROOT / ".venv-lowest" and env.is_ready() and not (env.ROOT / ".venv").exists()
    torch, others = (command for number, command in pip if number in (2, 3))
    assert torch[-3:] == ["https://download.pytorch.org/whl/cpu", "--no-deps", "torch==2.11"]
    lower = dict(word.split("==") for word in others if "==" in word)
    stated = "\n".join((env.ROOT / name).read_text() for name in env.PINS[:2])
    bounds = re.findall(r"^([a-z0-9_-]+).*?>=([\d.]+),", stated, flags=re.MULTILINE)
    assert lower == dict(bounds) and {"torch", "numpy", "pytest", "codespell"} <= lower.keys()
    assert env.fingerprint("3.11.1") != normal
    assert script.commands_for("test-lowest", ["-x"])[0][1:] == [
        "-m",
        "pytest",
        "-m",
        "not browser",
        "-n",
        "2",
        "--dist",
        "loadfile",
        "-x",
    ]


def read_all(env):
    return "\n".join((env.ROOT / name).read_text(encoding="utf-8") for name in env.PINS)
