"""The starter set is what its script writes, and what its card and README say."""

import sys
from collections import Counter

import pytest

from capability_guard.cli import main
from capability_guard.doubts import doubts
from capability_guard.power import smallest_drop
from capability_guard.probes import STARTER, load_probes, save_probes


@pytest.fixture(scope="module")
def starter():
    return load_probes("starter")


def test_the_file_is_what_its_script_writes(root, starter, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(root / "data" / "build"), *sys.path])
    from build_starter_probes import starter as written

    assert save_probes(written(), tmp_path / "again.jsonl").read_bytes() == STARTER.read_bytes()
    assert STARTER.stat().st_size < 200_000


def test_eight_capabilities_of_eighty(starter):
    counts = Counter(probe.capability for probe in starter)
    assert len(starter) == 640 and set(counts.values()) == {80} and len(counts) == 8
    assert doubts(starter) == []
    card = STARTER.with_suffix(".md").read_text()
    assert all(f"| {name} |" in card for name in counts)
    assert round(smallest_drop(640)) <= 2 and round(smallest_drop(80)) == 10, "as README says"


def test_the_right_choice_stands_in_every_place(starter):
    """A model that always takes the first must not be right more often than by chance."""
    places = Counter(probe.choices.index(probe.answer) for probe in starter if probe.measure == "choice")
    assert sum(places.values()) == 480 and min(places.values()) > 90, places


def test_the_longest_choice_is_not_the_right_one(starter):
    """Nor one that always takes the longest, or the shortest."""
    for pick in (max, min):
        right = sum(pick(p.choices, key=len) == p.answer for p in starter if p.measure == "choice")
        assert right < 480 * 0.4, (pick, right)


def test_the_command_reads_it(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert main(["probes", "starter"]) == 0 and "640 probes." in capsys.readouterr().out
    (tmp_path / "starter").mkdir()
    assert main(["probes", "starter"]) == 2, "a folder of that name comes first"
