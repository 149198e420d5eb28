"""Lesson 08: each error has its mend and its row in the table, and the helpers say clearly what they find."""

import re
import warnings
from types import SimpleNamespace

import pytest
import torch
from accelerate.utils import find_executable_batch_size

from utils.course import errors
from utils.course.maintain import store_lessons

pytestmark = pytest.mark.training

NOTEBOOK = store_lessons.read(store_lessons.LESSONS / "08_error_recovery.ipynb")
CELLS = {cell.id: cell.source for cell in NOTEBOOK.cells}
PARTS = re.findall(r"^## (\d+)\.", "\n".join(CELLS.values()), flags=re.MULTILINE)


def test_each_part_raises_an_error_and_mends_it():
    kinds = ("about", "error", "read", "mend")
    names = {kind: [i.removeprefix(f"{kind}-") for i in CELLS if i.startswith(f"{kind}-")] for kind in kinds}
    assert names["about"] == names["error"] == names["read"] == names["mend"]
    assert [str(number) for number in range(1, len(names["error"]) + 1)] == PARTS
    for name, number in zip(names["error"], PARTS, strict=True):
        assert CELLS[f"about-{name}"].startswith(f"## {number}. ")
        assert "**Cause:**" in CELLS[f"read-{name}"], name
        checks = "assert" in CELLS[f"mend-{name}"] or 'filterwarnings("error"' in CELLS[f"mend-{name}"]
        assert checks, f"mend-{name} does not check itself"


def test_most_parts_ask_for_a_prediction():
    asking = [name for name in CELLS if name.startswith("about-") and "**predict" in CELLS[name].lower()]
    assert len(asking) > 0.7 * len(PARTS)


def test_the_table_has_a_row_for_each_part():
    rows = [line.strip("|").split("|") for line in CELLS["table"].splitlines() if line.startswith("|")][2:]
    assert len(rows) >= 10 and [part for row in rows for part in re.findall(r"\d+", row[-1])] == PARTS
    assert all(len(row) == 3 and all(entry.strip() for entry in row) for row in rows)


def test_one_whole_traceback_is_stored():
    whole = [cell for cell in NOTEBOOK.cells if "raises-exception" in cell.metadata.get("tags", [])]
    assert [output.ename for cell in whole for output in cell.outputs] == ["RuntimeError"]


def test_the_solution_passes_the_check_and_half_of_it_does_not(capsys):
    space = {}
    for name in ("parts", "trainer", "error-targets"):
        exec(CELLS[name], space)
    targets, asked = re.findall(r"`(\w+=[^`]+)`", CELLS["solution"])  # which the learner puts into the cell
    half = re.sub(r"target_modules=\[.*?\]", targets, CELLS["exercise"])
    solution = half.replace("eval_steps=2", f"{asked}, eval_steps=2")
    assert len({CELLS["exercise"], half, solution}) == 3
    for script, said in (
        (CELLS["exercise"], "NoMatchingPeftModuleError|ValueError"),
        (half, "not one held-out loss"),
        (solution, r"^Fixed\..* 2 held-out losses"),
    ):
        exec(script, space)
        assert re.search(said, errors.check_script(space["script"]))


def trainer(**log):
    history = [{name: value} for name, values in log.items() for value in values]
    return SimpleNamespace(state=SimpleNamespace(log_history=history))


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (None, "returned NoneType"),
        (trainer(), "Nothing was trained"),
        (trainer(loss=[2.0]), "not one held-out loss"),
        (trainer(loss=[2.0], eval_loss=[float("nan")]), "not a finite number"),
        (trainer(loss=[2.0, 1.0], eval_loss=[1.5]), "Fixed. Training loss 2.00 -> 1.00, and 1 held-out losses."),
    ],
)
def test_check_script_says_what_is_wrong(result, said):
    assert said in errors.check_script(lambda: result)


def test_check_script_of_one_that_raises():
    assert errors.check_script(lambda: 1 / 0) == "Not yet. It raises ZeroDivisionError: division by zero"


def test_logged():
    assert errors.logged(trainer(loss=[2.004, 1.0], eval_loss=[3.0]), "loss") == [2.0, 1.0]


def test_warned_finds_the_warning_on_its_subject():
    def act():
        warnings.warn("another thing", FutureWarning, stacklevel=1)
        warnings.warn("the weights are odd\nand more", UserWarning, stacklevel=1)

    assert errors.warned(act, about="weights") == "UserWarning: the weights are odd"
    with pytest.raises(AssertionError, match="no longer does"):
        errors.warned(act, about="biases")


def test_tight_memory_refuses_bad_settings():
    with pytest.raises(ValueError, match="rows is 0"), errors.tight_memory(rows=0):
        pass


def test_without_a_gpu_the_same_error_is_raised_and_recovered_from(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    sizes = iter([32, 8, 4])
    tried = []
    with errors.tight_memory(rows=10) as allow:
        with pytest.raises(torch.cuda.OutOfMemoryError, match="lesson raises this itself above 10 rows"):
            allow(11)

        def step(batch_size):
            tried.append(batch_size)
            allow(batch_size)
            return batch_size

        assert find_executable_batch_size(step, 64, lambda: next(sizes))() == 8
    assert tried == [64, 32, 8]


def test_with_a_gpu_its_memory_is_limited_and_given_back(monkeypatch):
    """The calls that a GPU would get, in their order; CUDA itself is not here."""
    calls = []
    pretend = {
        "is_available": lambda: True,
        "current_device": lambda: 0,
        "get_per_process_memory_fraction": lambda: 0.9,
        "get_device_properties": lambda device: SimpleNamespace(total_memory=2**30),
        "memory_reserved": lambda: 2**28,
        "set_per_process_memory_fraction": calls.append,
        "empty_cache": lambda: calls.append("empty"),
    }
    for name, function in pretend.items():
        monkeypatch.setattr(torch.cuda, name, function)
    with pytest.raises(KeyError), errors.tight_memory(megabytes=256) as allow:
        allow(10**9)
        raise KeyError
    assert calls == ["empty", 0.5, 0.9, "empty"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
def test_a_real_gpu_refuses_and_recovers():
    before = torch.cuda.get_per_process_memory_fraction()
    sizes = iter([64, 1])
    with errors.tight_memory(megabytes=256) as allow:

        def step(batch_size):
            allow(batch_size)
            return torch.zeros(batch_size, 2**20, device="cuda").shape[0]  # 4 MB a row

        with pytest.raises(torch.cuda.OutOfMemoryError, match="out of memory"):
            step(512)
        assert find_executable_batch_size(step, 512, lambda: next(sizes))() in (1, 64)
    assert torch.cuda.get_per_process_memory_fraction() == before
