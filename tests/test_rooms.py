"""The walls between the rooms: which folder may import which, and no circles. A planted import is seen."""

import ast
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
GUARD = ROOT / "utils" / "capability_guard" / "src"
# A room may import those that stand before it, and nothing else of ours. `course` is above all of them.
FLOORS = ("capability_guard", "training", "figures", "playground", "page", "quiz", "music", "claims", "course")
MAY = {
    "capability_guard": set(),
    "training": {"capability_guard"},
    "figures": {"capability_guard", "training"},
    "playground": {"capability_guard", "training", "figures"},
    "page": {"capability_guard", "training"},
    "quiz": {"capability_guard", "figures"},
    "music": {"training", "figures"},
    "claims": {"capability_guard", "training", "figures", "course"},
    "course": set(FLOORS),
}
ROOMS_OF_A_LESSON = {"capability_guard", "training", "figures", "playground", "quiz", "music", "claims", "course"}


def modules(folder: Path) -> dict[str, Path]:
    """Every module below utils/ by its dotted name; those of the guard by theirs."""
    found = {}
    for path in sorted((folder / "utils").rglob("*.py")):
        inside = (
            path.relative_to(folder / "utils" / "capability_guard" / "src")
            if "src" in path.parts
            else path.relative_to(folder)
        )
        found[".".join(inside.with_suffix("").parts).removesuffix(".__init__")] = path
    return found


def imports(path: Path, known: set[str]) -> set[str]:
    """The modules of ours that a file imports, wherever in it: at the top, inside a function, for types."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: import by the full name, which can be searched for"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return {name for name in found if name in known}


def room(module: str) -> str:
    """ "utils.training.sweeps" -> "training"; "capability_guard.gate.rule" -> "capability_guard"."""
    parts = module.split(".")
    return parts[0] if parts[0] != "utils" else ".".join(parts[1:2])


def breaches(folder: Path) -> list[str]:
    """Each import that goes through a wall, in words."""
    paths = modules(folder)
    found = []
    for module, path in paths.items():
        here = room(module)
        for other in imports(path, set(paths)):
            there = room(other)
            if here in MAY and there in FLOORS and there not in MAY[here] | {here}:
                found.append(f"{module} imports {other}: {here} may not import {there}")
    return found


def circles(folder: Path) -> list[list[str]]:
    """Modules that import each other, directly or by way of others; a package's __init__ stands for itself."""
    paths = modules(folder)
    graph = {name: imports(path, set(paths)) - {name} for name, path in paths.items()}
    packages = {name for name, path in paths.items() if path.name == "__init__.py"}
    # `from utils.training.config import X` names utils.training, too: only its config is meant.
    graph = {
        name: {o for o in others if not (o in packages and name.startswith(f"{o}."))} for name, others in graph.items()
    }
    for name, others in graph.items():
        graph[name] = {o for o in others if not (o in packages and any(x.startswith(f"{o}.") for x in others))}
    found, done = [], set()

    def visit(name: str, trail: list[str]) -> None:
        if name in trail:
            found.append(trail[trail.index(name) :])
        elif name not in done:
            for other in sorted(graph[name]):
                visit(other, [*trail, name])
            done.add(name)

    for name in graph:
        visit(name, [])
    return found


def test_no_import_goes_through_a_wall():
    assert breaches(ROOT) == []


def test_there_are_no_circles():
    assert circles(ROOT) == []


@pytest.mark.parametrize(
    ("file", "line", "says"),
    [
        ("utils/capability_guard/src/capability_guard/asking.py", "from utils.training.data import DATA",
         "capability_guard may not import training"),
        ("utils/training/results.py", "def late():\n    from utils.figures.plots import INK", "training may not import figures"),
        ("utils/figures/tables.py", "import utils.playground.words", "figures may not import playground"),
        ("utils/quiz/questions.py", "from utils.playground import playground", "quiz may not import playground"),
    ],
)  # fmt: skip
def test_a_planted_import_is_seen(tmp_path, file, line, says):
    for path in (ROOT / "utils").rglob("*.py"):
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    planted = tmp_path / file
    planted.write_text(planted.read_text(encoding="utf-8") + f"\n{line}\n", encoding="utf-8")
    assert [breach for breach in breaches(tmp_path) if says in breach]


def test_a_planted_circle_is_seen(tmp_path):
    folder = tmp_path / "utils" / "claims"
    folder.mkdir(parents=True)
    for name, other in (("a", "b"), ("b", "c"), ("c", "a")):
        (folder / f"{name}.py").write_text(f"from utils.claims.{other} import x\n")
    assert circles(tmp_path) == [["utils.claims.a", "utils.claims.b", "utils.claims.c"]]


def test_each_room_says_what_it_is_for():
    folders = {path.parent for path in (ROOT / "utils").rglob("*.py") if path.name != "environment.py"}
    for folder in folders:
        text = (folder / "__init__.py").read_text(encoding="utf-8")
        assert len(ast.get_docstring(ast.parse(text)) or "") > 40, f"{folder.name} does not say what it is for"


def test_lessons_import_from_rooms():
    """A lesson takes what it needs from a room, not from a file in it: three names are all that stand deeper."""
    deeper = set()
    for path in sorted((ROOT / "lessons").glob("*.ipynb")):
        cells = [c for c in json.loads(path.read_text(encoding="utf-8"))["cells"] if c["cell_type"] == "code"]
        code = "\n".join("".join(c["source"]) for c in cells)
        for module, names in re.findall(r"^\s*from ((?:utils|capability_guard)[\w.]*) import (.+)$", code, re.M):
            assert room(module) in ROOMS_OF_A_LESSON, f"{path.name}: {module}"
            if module not in (
                "capability_guard",
                "capability_guard.gate",
                "utils.course.lesson",
                f"utils.{room(module)}",
            ):
                deeper |= {f"{module}.{name.strip()}" for name in names.split(",")}
    assert len(deeper) <= 8, sorted(deeper)


def test_tests_mirror_the_rooms():
    rooms = {path.name for path in (ROOT / "utils").iterdir() if path.is_dir() and path.name != "__pycache__"}
    folders = {
        path.name
        for path in (ROOT / "tests").iterdir()
        if path.is_dir() and path.name not in ("__pycache__", "helpers")
    }
    assert folders == rooms
