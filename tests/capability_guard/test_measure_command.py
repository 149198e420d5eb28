"""`capability-guard measure` asks what a team ships, refuses what is damaged in one sentence, and runs none of its code."""

import json
import os
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from capability_guard.cli import main
from capability_guard.measurement import Measurement
from capability_guard.probes import load_probes
from utils.training.data import REPERTOIRE
from utils.training.models import PRACTICE, load_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("check")


@pytest.fixture(scope="module")
def probes(folder):
    """Nine sums."""
    path = folder / "probes.jsonl"
    sums = [p for p in load_probes(REPERTOIRE) if p.capability == "arithmetic"][:9]
    path.write_text(
        "".join(json.dumps({"prompt": p.prompt, "answer": p.answer, "capability": "sums"}) + "\n" for p in sums)
    )
    return path


@pytest.fixture(scope="module")
def adapter(folder):
    """An untrained LoRA adapter for the practice model, whose answers are therefore the model's own."""
    return make_adapter("practice", folder / "adapter")


def make_adapter(base, path):
    from peft import LoraConfig, get_peft_model

    model, _ = load_model(str(base), quiet=True)
    config = LoraConfig(r=2, target_modules=["c_attn"], fan_in_fan_out=True, task_type="CAUSAL_LM")
    get_peft_model(model, config).save_pretrained(path)
    return path


@pytest.fixture
def copy(tmp_path):
    """A copy of the practice model that a test may damage."""
    return shutil.copytree(PRACTICE, tmp_path / "model")


def damage(path, change):
    """Write a safetensors file anew, with its tensors changed."""
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


@pytest.fixture
def run(tmp_path, capsys):
    """Run the command in this process. Returns (exit code, what it said, the file that it was to write)."""

    def call(*arguments):
        out = tmp_path / "out" / "r.json"
        code = main(["measure", *(str(a) for a in arguments), *([] if "--out" in arguments else ["--out", str(out)])])
        said = capsys.readouterr()
        if code:
            assert said.err.count("\n") == 1 and said.err.endswith(".\n"), "one sentence"
            assert not out.exists() and not list(tmp_path.rglob("*.tmp")), "nothing half-written"
        return code, said.err + said.out, out

    return call


def test_a_model_with_and_without_its_adapter(run, probes, adapter):
    code, said, out = run("--model", PRACTICE, "--probes", probes)
    assert code == 0 and "9 probes" in said and "sums" in said and "100%" in said
    alone = Measurement.load(out)
    assert alone.name == str(PRACTICE) and [row.right for row in alone.rows] == [True] * 9 and not alone.chat
    code, _, out = run("--model", PRACTICE, "--adapter", adapter, "--probes", probes)
    both = Measurement.load(out)
    assert code == 0 and both.name == f"{PRACTICE} + {adapter}" and both.fingerprint == alone.fingerprint
    assert [row.loss for row in both.rows] == pytest.approx([row.loss for row in alone.rows], abs=1e-4)


def test_names_are_shown_as_they_are(run, tmp_path):
    rows = [
        {"prompt": "What is 2+2?", "answer": "4.", "capability": name} for name in ("[/sums]", "sums [easy] \x1b[31m")
    ]
    rows[1]["prompt"] = "What is 3+3?"
    (tmp_path / "p.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    code, said, _ = run("--model", PRACTICE, "--probes", tmp_path / "p.jsonl")
    assert code == 0 and "[/sums]" in said and "sums [easy]" in said and "\x1b[31m" not in said


@pytest.mark.parametrize("option", ["--model", "--adapter", "--probes"])
def test_an_empty_name_is_no_default(run, probes, monkeypatch, option):
    monkeypatch.setenv("COURSE_MODEL", "practice")
    given = {"--model": PRACTICE, "--probes": probes} | {option: " "}
    code, said, _ = run(*(part for pair in given.items() for part in pair))
    assert code == 2 and f"{option} is empty" in said


@pytest.mark.parametrize(("file", "content"), [("adapter_config.json", b"{"), ("adapter_config.json", b"[]"),
                                               ("adapter_model.safetensors", b"half")])  # fmt: skip
def test_a_damaged_adapter_is_called_damaged(run, adapter, probes, tmp_path, file, content):
    shutil.copytree(adapter, tmp_path / "a")
    (tmp_path / "a" / file).write_bytes(content)
    code, said, _ = run("--model", PRACTICE, "--adapter", tmp_path / "a", "--probes", probes)
    assert code == 2 and f"{file} is damaged" in said and "save the adapter again" in said


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ("", "has no rows"),
        ("{}\n", "the field 'prompt' is missing"),
        ('{"prompt": "a"', "line 1: not JSON"),
        ('{"prompt": "What?", "answer": " ", "capability": "x"}', "must be text that is not blank"),
        (json.dumps({"prompt": "word " * 400, "answer": "4.", "capability": "x"}), "tokens and the model reads 128"),
        ('{"text": "a", "capability": "x", "measure": "loss"}', "leaves no token to score"),
        ("\ud800", "is not text in UTF-8"),
    ],
)
def test_probes_that_cannot_be_asked(run, tmp_path, rows, says):
    path = tmp_path / "p.jsonl"
    path.write_bytes(rows.encode("utf-8", "surrogatepass"))
    code, said, _ = run("--model", PRACTICE, "--probes", path)
    assert code == 2 and says in said


def test_an_answer_that_tokenises_to_nothing(run, tmp_path, copy):
    """A tokenizer may drop what it does not know: here one that normalises every letter away."""
    tokenizer = json.loads((copy / "tokenizer.json").read_text())
    tokenizer["normalizer"] = {"type": "Replace", "pattern": {"Regex": "[ xyz]"}, "content": ""}
    (copy / "tokenizer.json").write_text(json.dumps(tokenizer))
    path = tmp_path / "p.jsonl"
    path.write_text('{"prompt": "What is 2+2?", "answer": "xyz", "capability": "x"}')
    code, said, _ = run("--model", copy, "--probes", path)
    assert code == 2 and "leaves no token to score; give it a longer answer" in said


def test_chat_without_a_template(run, probes):
    code, said, _ = run("--model", PRACTICE, "--probes", probes, "--chat")
    assert code == 2 and "no chat template" in said


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers(run, copy, probes, value):
    def poison(tensors):
        tensors["transformer.h.2.mlp.c_fc.weight"][3, 5] = value

    damage(copy / "model.safetensors", poison)
    code, said, _ = run("--model", copy, "--probes", probes)
    assert code == 2 and "'transformer.h.2.mlp.c_fc.weight' hold NaN or infinity: the training diverged" in said


def test_numbers_that_overflow(run, copy, probes):
    damage(copy / "model.safetensors", lambda t: t["transformer.ln_f.weight"].fill_(3e38))
    code, said, _ = run("--model", copy, "--probes", probes)
    assert code == 2 and "it diverged, or its weights are damaged" in said


def test_weights_that_are_absent_are_not_made_up(run, copy, probes):
    damage(copy / "model.safetensors", lambda t: t.pop("transformer.h.1.mlp.c_fc.weight"))
    code, said, _ = run("--model", copy, "--probes", probes)
    assert code == 2 and "lacks 1 of its weights, 'transformer.h.1.mlp.c_fc.weight' for one" in said


def test_half_a_weights_file(run, copy, probes):
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100_000])
    code, said, _ = run("--model", copy, "--probes", probes)
    assert code == 2 and "is not a whole model" in said


def test_a_model_that_is_nowhere(run, probes):
    code, said, _ = run("--model", "no-such/model", "--probes", probes)
    assert code == 2 and "neither a folder nor to be had" in said


# --- Adapters ------------------------------------------------------------------------------------------------
def test_an_adapter_for_another_model_of_the_same_shape(run, copy, probes, tmp_path):
    other = copy.rename(tmp_path / "other-model")
    adapter = make_adapter(other, tmp_path / "a")
    code, said, _ = run("--model", PRACTICE, "--adapter", adapter, "--probes", probes)
    assert code == 2 and "was trained on" in said and "other-model" in said and "--same-base" in said
    assert run("--model", PRACTICE, "--adapter", adapter, "--probes", probes, "--same-base")[0] == 0
    assert run("--model", other, "--adapter", adapter, "--probes", probes)[0] == 0


def test_an_adapter_that_does_not_fit(run, adapter, probes, tmp_path):
    from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

    small = tmp_path / "practice-gpt2"  # the same name, another model
    GPT2LMHeadModel(GPT2Config(vocab_size=1460, n_embd=32, n_layer=4, n_head=2, n_positions=128)).save_pretrained(small)
    AutoTokenizer.from_pretrained(PRACTICE).save_pretrained(small)
    code, said, _ = run("--model", small, "--adapter", adapter, "--probes", probes)
    assert code == 2 and "does not fit" in said and "size mismatch" in said


def test_an_adapter_of_which_a_part_is_absent(run, adapter, probes, tmp_path):
    part = shutil.copytree(adapter, tmp_path / "part")
    damage(part / "adapter_model.safetensors", lambda tensors: tensors.pop(min(tensors)))
    code, said, _ = run("--model", PRACTICE, "--adapter", part, "--probes", probes)
    assert code == 2 and "is on one side only" in said


@pytest.mark.parametrize("absent", ["adapter_config.json", "adapter_model.safetensors"])
def test_no_adapter_at_all(run, adapter, probes, tmp_path, absent):
    part = shutil.copytree(adapter, tmp_path / "part")
    (part / absent).unlink()
    code, said, _ = run("--model", PRACTICE, "--adapter", part, "--probes", probes)
    assert code == 2 and f"has no {absent}" in said


def test_an_adapter_with_nan(run, adapter, probes, tmp_path):
    bad = shutil.copytree(adapter, tmp_path / "bad")
    damage(bad / "adapter_model.safetensors", lambda tensors: tensors[min(tensors)].fill_(float("nan")))
    code, said, _ = run("--model", PRACTICE, "--adapter", bad, "--probes", probes)
    assert code == 2 and "hold NaN" in said


# --- Nothing that is read is executed ------------------------------------------------------------------------
class Bomb:
    """Unpickling this writes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_pickled_weights_are_not_opened(run, copy, adapter, probes, tmp_path):
    for place, name in (
        (copy, "model.safetensors"),
        (shutil.copytree(adapter, tmp_path / "a"), "adapter_model.safetensors"),
    ):
        (place / name).unlink()
        torch.save(
            {"weight": Bomb(tmp_path / "executed")},
            place / ("pytorch_model.bin" if place == copy else "adapter_model.bin"),
        )
    assert run("--model", copy, "--probes", probes)[0] == 2
    assert run("--model", PRACTICE, "--adapter", tmp_path / "a", "--probes", probes)[0] == 2
    assert not (tmp_path / "executed").exists()


def test_python_beside_a_model_runs_only_if_you_say_so(run, copy, probes, tmp_path):
    config = json.loads((copy / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoConfig": "mine.Mine", "AutoModelForCausalLM": "mine.Model"}}
    (copy / "config.json").write_text(json.dumps(config))
    code = (
        f"open({str(tmp_path / 'executed')!r}, 'w').close()\n"
        "from transformers import GPT2Config, GPT2LMHeadModel\n"
        "class Mine(GPT2Config):\n    model_type = 'mine'\n"
        "class Model(GPT2LMHeadModel):\n    config_class = Mine\n"
    )
    (copy / "mine.py").write_text(code)
    code, said, _ = run("--model", copy, "--probes", probes)
    assert code == 2 and "comes with Python of its own" in said and not (tmp_path / "executed").exists()
    assert run("--model", copy, "--probes", probes, "--trust-remote-code")[0] == 0
    assert (tmp_path / "executed").exists(), "the same model does run it when it is trusted"


def test_python_that_an_adapter_names_is_not_imported(run, adapter, probes, tmp_path, monkeypatch):
    bad = shutil.copytree(adapter, tmp_path / "bad")
    config = json.loads((bad / "adapter_config.json").read_text())
    (bad / "adapter_config.json").write_text(
        json.dumps({**config, "megatron_config": {}, "megatron_core": "named_module"})
    )
    (tmp_path / "named_module.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'w').close()\n")
    monkeypatch.syspath_prepend(tmp_path)
    code, said, _ = run("--model", PRACTICE, "--adapter", bad, "--probes", probes)
    assert code == 2 and "names Python to run" in said and not (tmp_path / "executed").exists()


# --- The file to write ---------------------------------------------------------------------------------------
def test_places_that_cannot_be_written(run, probes, tmp_path):
    (tmp_path / "file").write_text("")
    for out, says in ((tmp_path, "is a folder"), (tmp_path / "file" / "r.json", "cannot be written")):
        code, said, _ = run("--model", PRACTICE, "--probes", probes, "--out", str(out))
        assert code == 2 and says in said


@pytest.mark.training
@pytest.mark.skipif(os.name == "nt", reason="Windows has no limit on the size of a file")
def test_a_full_disk(tmp_path, probes, root):
    """The limit on a file's size fails the write in the middle, as a full disk does."""
    import resource

    out = tmp_path / "r.json"
    out.write_text("old")
    done = subprocess.run(
        [sys.executable, "-m", "capability_guard", "measure", "--model", PRACTICE, "--probes", probes, "--out", out],
        cwd=root, text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500)), capture_output=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 2 and "cannot be written (File too large); nothing was left there" in done.stderr, (
        done.stderr
    )
    assert out.read_text() == "old" and [f.name for f in tmp_path.iterdir()] == ["r.json"]
