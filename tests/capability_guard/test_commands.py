"""`capability-guard compare`, `probes` and the command itself: what is kept, what is measured again, and what is refused."""

import json
import shutil

import pytest
from safetensors.torch import load_file, save_file
from two_adapters import save_harmless_and_harmful

import capability_guard.measuring
from capability_guard import __version__
from capability_guard.cli import main
from capability_guard.measurement import Measurement
from capability_guard.power import probes_needed
from capability_guard.probes import load_probes, save_probes
from utils.training.data import REPERTOIRE
from utils.training.models import PRACTICE, load_model

pytestmark = pytest.mark.training


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("commands")


@pytest.fixture(scope="module")
def probes(folder):
    """Thirty sums and thirty capitals, each of which the practice model knows: enough for 10 points."""
    known = load_probes(REPERTOIRE)
    chosen = [probe for name in ("arithmetic", "capitals") for probe in [p for p in known if p.capability == name][:30]]
    return save_probes(chosen, folder / "probes.jsonl")


@pytest.fixture(scope="module")
def adapters(folder):
    """A LoRA adapter that changes nothing, and one that changes too much."""
    from peft import LoraConfig, get_peft_model

    model, _ = load_model("practice", quiet=True)
    config = LoraConfig(r=2, target_modules=["c_attn"], fan_in_fan_out=True, task_type="CAUSAL_LM")
    adapted = get_peft_model(model, config)
    save_harmless_and_harmful(adapted, folder)
    return folder


@pytest.fixture
def copy(tmp_path):
    """A copy of the practice model that a test may change."""
    return shutil.copytree(PRACTICE, tmp_path / "practice-gpt2")


@pytest.fixture
def keep(tmp_path):
    return tmp_path / "kept"


@pytest.fixture
def compare(adapters, probes, keep, capsys):
    """Run the command in this process: (exit code, stdout, stderr). ``None`` leaves an option out."""

    def call(*more, **given):
        options = {
            "model": PRACTICE,
            "adapter": adapters / "harmless",
            "probes": probes,
            "max-drop": 10,
            "keep": keep,
        } | {name.replace("_", "-"): value for name, value in given.items()}
        named = [f"--{name}={value}" for name, value in options.items() if value is not None]
        code = main(["compare", *named, *map(str, more)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


@pytest.fixture
def asked(monkeypatch):
    """How many probes each measuring asked, in order."""
    counts = []
    measure = capability_guard.measuring.measure

    def counted(model, tokenizer, probes, **about):
        counts.append(len(probes))
        return measure(model, tokenizer, probes, **about)

    monkeypatch.setattr(capability_guard.measuring, "measure", counted)
    return counts


def baselines(keep):
    return sorted(keep.glob("baseline-*.json"))


# --- compare: the verdict ------------------------------------------------------------------------------------
def test_a_harmless_adapter_passes_and_a_harmful_one_does_not(compare, adapters, keep, asked):
    code, out, err = compare()
    assert code == 0 and "PASSED" in out and "The base was measured in" in out and not err
    assert asked == [60, 60] and len(baselines(keep)) == 1
    code, out, _ = compare(adapter=adapters / "harmful")
    assert code == 1 and "REGRESSED: Worse by more than is allowed: arithmetic, capitals." in out
    assert "The base was measured before" in out and asked == [60, 60, 60], "the candidate alone"
    assert Measurement.load(keep / "candidate.json").adapter == str(adapters / "harmful")
    assert Measurement.load(baselines(keep)[0]).adapter is None


def test_the_verdict_is_the_one_of_measure_and_gate(compare, adapters, probes, keep, tmp_path, capsys):
    """The model that the adapter is put on is the one that was just measured: that must leave no trace."""
    report = tmp_path / "r.json"
    code, _, _ = compare("--json", report, adapter=adapters / "harmful")
    for out, more in (("b.json", []), ("c.json", ["--adapter", str(adapters / "harmful")])):
        assert (
            main(["measure", "--model", str(PRACTICE), "--probes", str(probes), "--out", str(tmp_path / out), *more])
            == 0
        )
    other = tmp_path / "other.json"
    assert (
        main(["gate", str(tmp_path / "b.json"), str(tmp_path / "c.json"), "--max-drop", "10", "--json", str(other)])
        == code
    )
    ours, theirs = (json.loads(path.read_text()) for path in (report, other))
    assert ours["comparisons"] == theirs["comparisons"] and [x["prompt"] for x in ours["lost"]] == [
        x["prompt"] for x in theirs["lost"]
    ]
    capsys.readouterr()


def test_a_candidate_of_its_own(compare, copy, keep, asked):
    weights = load_file(copy / "model.safetensors")
    code, out, _ = compare(adapter=None, candidate=copy)
    assert code == 0 and "PASSED" in out and asked == [60, 60]
    assert Measurement.load(keep / "candidate.json").name == str(copy)
    weights["transformer.h.1.mlp.c_fc.weight"].normal_(std=1.0)
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    code, out, _ = compare(adapter=None, candidate=copy)
    assert code == 1 and "REGRESSED" in out and asked == [60, 60, 60]


def test_too_few_probes_cannot_certify(compare):
    code, out, _ = compare("--certify", "each", max_drop=5)
    assert code == 2 and "CANNOT CERTIFY" in out and "It takes at least about" in out


# --- compare: what is kept -----------------------------------------------------------------------------------
def test_the_base_is_measured_again_when_its_weights_change(compare, copy, keep, asked):
    assert compare(model=copy)[0] == 0 and asked == [60, 60]
    moved = copy.rename(copy.with_name("elsewhere"))
    assert compare("--same-base", model=moved)[0] == 0 and asked == [60] * 3, "the same weights in another place"
    weights = load_file(moved / "model.safetensors")
    weights["transformer.h.0.attn.c_attn.bias"][7] += 1e-3
    save_file(weights, moved / "model.safetensors", metadata={"format": "pt"})
    code, out, _ = compare("--same-base", model=moved)
    assert code == 0 and "The base was measured in" in out and asked == [60] * 5 and len(baselines(keep)) == 2


def test_the_base_is_measured_again_when_the_probes_change(compare, probes, keep, asked, tmp_path):
    assert compare()[0] == 0
    fewer = save_probes(load_probes(probes)[1:], tmp_path / "fewer.jsonl")
    code, out, _ = compare(probes=fewer, max_drop=15)
    assert code == 0 and "The base was measured in" in out and asked == [60, 60, 59, 59] and len(baselines(keep)) == 2
    same = shutil.copy(probes, tmp_path / "same.jsonl")
    assert "The base was measured before" in compare(probes=same)[1] and asked == [60, 60, 59, 59, 60]


def test_the_base_is_measured_again_through_the_chat_template(compare, copy, keep, asked):
    settings = json.loads((copy / "tokenizer_config.json").read_text())
    settings["chat_template"] = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    (copy / "tokenizer_config.json").write_text(json.dumps(settings))
    for chat, measured in ((False, 2), (True, 4), (False, 5), (True, 6)):
        compare(*["--chat"] * chat, model=copy)
        assert len(asked) == measured, (chat, asked)
    assert sorted(Measurement.load(path).chat for path in baselines(keep)) == [False, True]


@pytest.mark.parametrize("content", [b"", b"{", b'{"verdict": "passed"}', b"\xff\xfe"])
def test_a_kept_file_that_is_damaged_is_measured_again_and_replaced(compare, keep, asked, content):
    compare()
    (kept,) = baselines(keep)
    kept.write_bytes(content)
    code, out, err = compare()
    assert code == 0 and "The base was measured in" in out and not err and asked == [60] * 4
    assert len(Measurement.load(kept).rows) == 60 and baselines(keep) == [kept]
    assert not list(keep.glob(".*")), "no draft is left"


def test_no_report_replaces_a_measurement_that_is_kept(compare, keep):
    compare()
    for kept in (*baselines(keep), keep / "candidate.json"):
        for kind in ("json", "html", "markdown"):
            code, _, err = compare(f"--{kind}", kept)
            assert code == 2 and f"{kept} is a measurement, and would be overwritten" in err
            assert len(Measurement.load(kept).rows) == 60
    for _ in range(2):  # a report of ours in that folder may be replaced
        code, _, err = compare("--json", keep / "gate.json")
        assert code == 0 and not err and json.loads((keep / "gate.json").read_text())["verdict"] == "passed"


def test_every_report_is_written(compare, tmp_path):
    names = {"json": "r.json", "junit": "r.xml", "html": "r.html", "markdown": "r.md"}
    code, _, _ = compare(*(part for kind, name in names.items() for part in (f"--{kind}", tmp_path / "out" / name)))
    assert code == 0 and {path.name for path in (tmp_path / "out").iterdir()} == set(names.values())
    assert "## ✓ Passed" in (tmp_path / "out" / "r.md").read_text(encoding="utf-8")


# --- compare: what is refused --------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"probes": "none.jsonl"}, "none.jsonl"),
        ({"model": "no-such/model"}, "neither a folder nor to be had"),
        ({"model": " "}, "--model is empty"),
        ({"adapter": ""}, "--adapter is empty"),
        ({"keep": " "}, "--keep is empty"),
        ({"adapter": "nowhere"}, "has no adapter_config.json"),
        ({"adapter": None, "candidate": "no-such/model"}, "neither a folder nor to be had"),
        ({"max_drop": 0}, "max_drop is 0"),
        ({"alpha": 0.7}, "alpha is 0.7"),
        ({"critical": "music"}, "'music' is not measured"),
        ({"critical": "capitals", "informational": "capitals"}, "is named critical and informational"),
        ({"chat": None}, "no chat template"),
    ],
)
def test_a_refusal_is_one_sentence_and_writes_no_report(compare, tmp_path, given, says):
    more = ["--chat"] if "chat" in given else []
    code, _, err = compare(*more, "--json", tmp_path / "r.json", **given)
    assert code == 2 and says in err and err.count("\n") == 1 and err.endswith(".\n"), err
    assert not (tmp_path / "r.json").exists()


def test_rules_that_cannot_be_are_refused_before_anything_is_loaded(compare, asked, monkeypatch):
    monkeypatch.setattr("capability_guard.models.load_model", lambda *a, **b: pytest.fail("a model was loaded"))
    assert compare(max_drop=-1)[0] == compare(probes="none.jsonl")[0] == compare(model="")[0] == 2


def test_a_file_is_no_folder_to_keep_anything_in(compare, keep):
    keep.write_text("mine")
    code, _, err = compare()
    assert code == 2 and f"{keep} is a file; name a folder" in err and keep.read_text() == "mine"


def test_a_folder_that_cannot_be_written_is_named(compare, tmp_path):
    (tmp_path / "file").write_text("")
    code, _, err = compare(keep=tmp_path / "file" / "kept")
    assert code == 2 and "cannot be written" in err and err.count("\n") == 1


@pytest.mark.parametrize("both", [True, False])
def test_an_adapter_or_a_candidate_and_not_both(compare, both, capsys):
    with pytest.raises(SystemExit) as stopped:
        compare(**({"candidate": PRACTICE} if both else {"adapter": None}))
    assert stopped.value.code == 2 and "--candidate" in capsys.readouterr().err


# --- probes --------------------------------------------------------------------------------------------------
def test_a_sound_file_says_what_it_can_show(probes, capsys):
    assert main(["probes", str(probes), "--drop", "10"]) == 0
    out = capsys.readouterr().out
    assert "60 probes." in out and f"takes {probes_needed(10)} of them" in out
    rows = {row[0].strip(): row for line in out.splitlines() if len(row := line.strip("│┃ ").split("│")) == 4}
    assert rows["arithmetic"][1].strip() == "30" and rows["all together"][1].strip() == "60"
    shown = {name: int(row[3].split()[0]) for name, row in rows.items()}
    assert shown["arithmetic"] == shown["capitals"] > shown["all together"] > 0


def test_what_so_few_probes_cannot_show(tmp_path, capsys):
    rows = [{"prompt": f"{i}?", "answer": "yes", "capability": "few"} for i in range(5)]
    rows += [{"text": "Water boils.", "capability": "plain", "measure": "loss"}]
    path = tmp_path / "p.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    assert main(["probes", str(path)]) == 0
    out = capsys.readouterr().out
    assert "none: too few" in out and "by its loss alone" in out


def test_a_faulty_row_is_named(tmp_path, capsys):
    path = tmp_path / "p.jsonl"
    path.write_text(
        '{"prompt": "1?", "answer": "yes", "capability": "x"}\n{"prompt": "2?", "answers": "no", "capability": "x"}\n'
    )
    assert main(["probes", str(path)]) == 2
    err = capsys.readouterr().err
    assert "line 2" in err and "did you mean 'answer'" in err and err.count("\n") == 1
    assert main(["probes", str(tmp_path / "none.jsonl")]) == 2 and capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("drop", ["0", "-1", "101", "nan", "inf", "0.001"])
def test_a_drop_out_of_range(probes, capsys, drop):
    assert main(["probes", str(probes), f"--drop={drop}"]) == 2
    said = capsys.readouterr()
    assert said.err.count("\n") == 1 and "Traceback" not in said.err and not said.out


@pytest.mark.parametrize("drop", ["100", "99.5", "0.1"])
def test_a_drop_at_the_edge(probes, capsys, drop):
    assert main(["probes", str(probes), f"--drop={drop}"]) == 0
    assert f"To see a drop of {drop} points" in capsys.readouterr().out


# --- The command ---------------------------------------------------------------------------------------------
def test_the_version(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0 and capsys.readouterr().out == f"capability-guard {__version__}\n"


@pytest.mark.parametrize("arguments", [["judge"], [], ["gate"], ["compare", "--modle", "x"]])
def test_what_is_no_command_is_refused(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2 and "usage: capability-guard" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["measure", "gate", "compare", "probes", "fade"])
def test_every_command_says_what_its_exit_codes_mean(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    out = capsys.readouterr().out
    assert stopped.value.code == 0 and "Exit code 0" in out and f"capability-guard {command}" in out


def test_a_crash_is_no_verdict(monkeypatch, capsys):
    """Python's own exit code for a crash is 1, which here says "regressed"."""
    monkeypatch.setattr("capability_guard.probes.load_probes", lambda path: 1 / 0)
    assert main(["probes", "p.jsonl"]) == 2 and "ZeroDivisionError" in capsys.readouterr().err


def test_stopped_by_hand(monkeypatch, capsys):
    def stop(path):
        raise KeyboardInterrupt

    monkeypatch.setattr("capability_guard.probes.load_probes", stop)
    assert main(["probes", "p.jsonl"]) == 130 and capsys.readouterr().err.count("\n") == 1
