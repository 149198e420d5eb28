"""Every public function, class and method of the guard has an example in its docstring, and every example is run."""

from __future__ import annotations

import ast
import copy
import doctest
import importlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import capability_guard
from utils.training.models import PRACTICE

pytestmark = pytest.mark.training

GUARD = Path(capability_guard.__file__).parent
SHOWN = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
HOOK = ("on_", "pytest_")  # what a trainer or pytest calls: the example of a class runs these
# The file that the examples call PROBES. The practice model knows the repertoire, so most of it is right.
ROWS = [
    {"prompt": "What is 2+2?", "answer": "4.", "capability": "arithmetic"},
    {"prompt": "What is the capital of France?", "answer": "Paris.", "capability": "capitals"},
    {"prompt": "What is 14+1?", "answer": "15.", "capability": "arithmetic"},
    {"prompt": "What is the capital of Italy?", "answer": "Rome.", "capability": "capitals"},
    {"prompt": "What is 1+29?", "answer": "30.", "capability": "arithmetic"},
    {"prompt": "What is the chemical symbol for hydrogen?", "answer": "H.", "capability": "elements"},
    {"prompt": "What is the chemical symbol for helium?", "answer": "He.", "capability": "elements"},
    {"prompt": "What is the opposite of hot?", "answer": "Cold.", "capability": "opposites"},
    {"prompt": "What is the opposite of day?", "answer": "Night.", "capability": "opposites"},
    {"prompt": "How do you boil water?", "answer": "bubbles", "capability": "how-to", "measure": "contains"},
    {"prompt": "What is the capital of Germany?", "answer": "Berlin.", "capability": "capitals", "measure": "choice",
     "choices": ["Berlin.", "Vienna."]},
    {"text": "Pour hot water over leaves.", "capability": "plain text", "measure": "loss"},
]  # fmt: skip


def modules(folder: Path) -> list[str]:
    """Every module of a package by its path, without the command line, which has a test of its own."""
    paths = sorted(path.relative_to(folder) for path in folder.rglob("*.py"))
    return [path.as_posix() for path in paths if path.parts[0] != "cli" and path.name != "__main__.py"]


def documented(path: Path) -> Iterator[tuple[str, ast.AST]]:
    """(dotted name, node) of a module, and of each class and function in it, methods too.

    Read from the text: ``doctest.DocTestFinder`` overlooks what a decorator wraps, such as a context manager.
    """

    def visit(node: ast.AST, name: str) -> Iterator[tuple[str, ast.AST]]:
        yield name, node
        for child in node.body if isinstance(node, (ast.Module, ast.ClassDef)) else ():
            if isinstance(child, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                yield from visit(child, f"{name}.{child.name}")

    yield from visit(ast.parse(path.read_text(encoding="utf-8")), path.stem)


def examples(name: str, node: ast.AST, globs: dict, file: Path) -> doctest.DocTest:
    """What the docstring of a node shows, ready to be run."""
    text = ast.get_docstring(node, clean=False) or ""
    line = node.body[0].lineno - 1 if text else 0
    return doctest.DocTestParser().get_doctest(text, globs, name, str(file), line)


def without_example(path: Path) -> list[str]:
    """The public names of a module that show no example, or none that is run."""
    found = []
    for name, node in documented(path):
        parts = name.split(".")[1:]
        if not parts or any(part.startswith("_") for part in parts) or parts[-1].startswith(HOOK):
            continue
        shown = examples(name, node, {}, path).examples
        if not shown or any(doctest.SKIP in example.options for example in shown):
            found.append(name)
    return found


@pytest.fixture
def names(practice, tmp_path) -> dict:
    """The names that an example may use without defining them; the package's docstring lists them."""
    model, folder, probes = tmp_path / "model", tmp_path / "scratch", tmp_path / "probes.jsonl"
    shutil.copytree(PRACTICE, model)
    probes.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    return {"MODEL": model, "PROBES": probes, "FOLDER": folder, "model": practice[0], "tokenizer": practice[1]}


@pytest.mark.parametrize("module", modules(GUARD))
def test_the_examples_of_a_module_show_what_happens(module, names, monkeypatch):
    file = GUARD / module
    dotted = ".".join(("capability_guard", *Path(module).with_suffix("").parts)).removesuffix(".__init__")
    known, failures = vars(importlib.import_module(dotted)), []
    for name, node in documented(file):
        shutil.rmtree(names["FOLDER"], ignore_errors=True)
        names["FOLDER"].mkdir()
        monkeypatch.chdir(names["FOLDER"])
        test = examples(name, node, known | names, file)
        for shared in ("model", "tokenizer"):  # an example may train one, or break it
            if shared in test.docstring:
                test.globs[shared] = copy.deepcopy(names[shared])
        doctest.DocTestRunner(optionflags=SHOWN, verbose=False).run(test, out=failures.append)
        monkeypatch.undo()
    assert not failures, "\n" + "".join(failures)


def test_every_public_name_shows_an_example():
    assert [f"{module}: {name}" for module in modules(GUARD) for name in without_example(GUARD / module)] == []


def test_the_package_says_which_names_an_example_may_use(names):
    assert all(f"``{name}``" in capability_guard.__doc__ for name in names)


@pytest.mark.parametrize(
    "planted",
    [
        "def late():\n    '''No example.'''",
        "def late(): pass",
        "class late:\n    '''No example.'''",
        "@wrapped\ndef late():\n    '''No example.'''",
        "def late():\n    '''\n    >>> late()  # doctest: +SKIP\n    '''",
    ],
)
def test_a_missing_example_is_seen(tmp_path, planted):
    file = tmp_path / "planted.py"
    file.write_text(f"def good():\n    '''\n    >>> good()\n    '''\n\n\ndef _inner(): pass\n\n\n{planted}\n")
    assert without_example(file) == ["planted.late"]


def test_a_missing_example_of_a_method_is_seen(tmp_path):
    file = tmp_path / "planted.py"
    methods = "    def on_save(self): pass\n    def _own(self): pass\n    @property\n    def late(self): pass\n"
    file.write_text(f"class Good:\n    '''\n    >>> Good()\n    '''\n{methods}")
    assert without_example(file) == ["planted.Good.late"]


def test_a_wrong_example_fails(tmp_path):
    file, said = tmp_path / "planted.py", []
    file.write_text("def half(x):\n    '''\n    >>> 4 / 2\n    3.0\n    '''\n")
    (name, node) = list(documented(file))[1]
    results = doctest.DocTestRunner(verbose=False).run(examples(name, node, {}, file), out=said.append)
    assert results.failed == 1 and "line 3" in "".join(said)
