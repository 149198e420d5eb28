"""`capability-guard fade`: one adapter in, a gentler one out, which the gate takes; or one sentence, and nothing written."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import families
import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, LlamaForCausalLM

import capability_guard.asking
from capability_guard import fade, load_model, load_probes, save_probes, score_probes
from capability_guard.cli import main
from capability_guard.fading.folder import RECORD
from capability_guard.fading.halves import halves
from capability_guard.measurement import Measurement
from utils.training.data import REPERTOIRE
from utils.training.models import PRACTICE
from utils.training.models import load_model as load_practice

pytestmark = pytest.mark.training
LORA = {"r": 2, "target_modules": ["c_attn"], "fan_in_fan_out": True, "task_type": "CAUSAL_LM"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fade")


@pytest.fixture(scope="module")
def probes(folder):
    """160, all known to the practice model: 80 a half, enough for 5 points."""
    known = [probe for probe in load_probes(REPERTOIRE) if probe.capability in ("arithmetic", "capitals")]
    return save_probes(known[:160], folder / "probes.jsonl")


def disturbed(model, spread):
    torch.manual_seed(0)
    for name, weight in model.named_parameters():
        if "lora_B" in name or (weight.requires_grad and "lora" not in name):
            weight.data.add_(torch.randn_like(weight) * spread)
    return model


@pytest.fixture(scope="module")
def adapter(folder):
    """One that forgot much, as a trainer leaves it: with a tokenizer and a template, a checkpoint and an optimizer."""
    path = folder / "adapter"
    model, tokenizer = load_practice("practice", quiet=True)
    torch.manual_seed(4)  # with which the half that reports lost no more than the half that chose
    disturbed(get_peft_model(model, LoraConfig(**LORA)), 0.5).save_pretrained(path)
    tokenizer.save_pretrained(path)
    for name in (
        "optimizer.pt",
        "scheduler.pt",
        "rng_state_0.pth",
        "training_args.bin",
        "trainer_state.json",
        ".hidden",
        "NOTICE",
    ):
        (path / name).write_text("left")
    shutil.copytree(path, path / "checkpoint-10")
    return path


@pytest.fixture
def copy(tmp_path, adapter):
    """A copy of the adapter that a test may change."""
    return shutil.copytree(adapter, tmp_path / "copy")


@pytest.fixture
def run(adapter, probes, tmp_path, capsys):
    """Run the command in this process: (exit code, what it said, where it was to write). ``None`` leaves an option out."""

    def call(*more, **given):
        out = given.get("out", tmp_path / "out" / "faded")
        options = {"model": PRACTICE, "adapter": adapter, "probes": probes, "out": out}
        options |= {name.replace("_", "-"): value for name, value in given.items()}
        there = out.exists()
        capsys.readouterr()  # of what came before
        code = main(["fade", *(f"--{name}={x}" for name, x in options.items() if x is not None), *map(str, more)])
        said = capsys.readouterr()
        if code == 2:
            assert said.err.count("\n") == 1 and said.err.endswith(".\n"), said.err
            assert out.exists() == there and not list(tmp_path.rglob(".*.tmp")), "nothing is written"
        return code, said.err + said.out, out

    return call


def contents(path) -> dict[str, str]:
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return {file.relative_to(path).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def logits(model) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=torch.arange(1, 60)[None]).logits


# --- From an adapter to a gentler one ----------------------------------------------------------------------------
@pytest.fixture(scope="module")
def faded(adapter, probes, folder):
    """(exit code, B), made once."""
    before = contents(adapter)
    command = [
        "fade",
        "--model",
        PRACTICE,
        "--adapter",
        adapter,
        "--probes",
        probes,
        "--out",
        folder / "faded",
        "--max-drop=5",
    ]
    code = main([str(part) for part in command])
    assert contents(adapter) == before, "A is left alone, byte for byte"
    return code, folder / "faded"


def test_the_largest_strength_within_the_budget_is_written(faded, adapter, probes):
    code, out = faded
    record = json.loads((out / RECORD).read_text())
    passed = [step["strength"] for step in record["curve"] if step["passed"]]
    assert code == 0 and 0 < record["strength"] < 1 and record["strength"] == max(passed)
    assert record["curve"][-1]["strength"] == 1 and record["curve"][-1]["drop"] > 50
    assert (record["choosing"], record["reporting"]) == tuple(map(len, halves(load_probes(probes)))) and record[
        "report"
    ]["drop"] <= 5
    assert record["adapter"] == str(adapter) and record["made_by"].startswith("capability-guard ")
    weights, model = load_file(out / "adapter_model.safetensors"), load_file(adapter / "adapter_model.safetensors")
    for name, weight in model.items():
        assert torch.allclose(weights[name], weight * (record["strength"] if "lora_B" in name else 1), rtol=1e-6), name


def test_all_that_belongs_to_the_adapter_is_there_and_what_training_left_is_not(faded, adapter):
    ours, theirs = contents(faded[1]), contents(adapter)
    assert set(ours) == {"adapter_config.json", "adapter_model.safetensors", RECORD, "README.md", "NOTICE", "tokenizer.json",
                         "tokenizer_config.json"} & {*theirs, RECORD}  # fmt: skip
    assert {"adapter_config.json", "tokenizer.json", "NOTICE"} <= set(ours)
    assert all(ours[name] == theirs[name] for name in ours if name not in (RECORD, "adapter_model.safetensors"))
    assert set(json.loads((faded[1] / RECORD).read_text())["files"]) == set(ours) - {RECORD}


def test_loaded_again_it_is_the_model_that_was_faded(faded, adapter, probes):
    strength, asked = json.loads((faded[1] / RECORD).read_text())["strength"], load_probes(probes)
    again, tokenizer = load_model(PRACTICE, faded[1])
    model, _ = load_model(PRACTICE, adapter)
    with fade(model, strength):
        assert torch.allclose(logits(again), logits(model), atol=1e-5)
        assert score_probes(again, tokenizer, asked).correct == score_probes(model, tokenizer, asked).correct
    assert not torch.allclose(logits(again), logits(model), atol=1e-2)


def test_the_gate_takes_it(faded, adapter, probes, tmp_path, capsys):
    about = ["--model", str(PRACTICE), "--probes", str(probes)]
    files = [str(tmp_path / name) for name in ("base.json", "faded.json", "adapter.json")]
    for out, more in zip(files, ([], ["--adapter", str(faded[1])], ["--adapter", str(adapter)]), strict=True):
        assert main(["measure", *about, *more, "--out", out]) == 0
    assert Measurement.load(files[1]).adapter == str(faded[1])
    assert main(["gate", files[0], files[1], "--max-drop", "5"]) == 0
    assert main(["gate", files[0], files[2], "--max-drop", "5"]) == 1
    assert main(["compare", *about, "--adapter", str(faded[1]), "--keep", str(tmp_path / "kept")]) == 0
    capsys.readouterr()


def test_what_it_says(run, faded, probes, tmp_path):
    rows = [{"text": probe.text} for probe in load_probes(probes)[:5]]
    (tmp_path / "task.jsonl").write_text("\n".join(map(json.dumps, rows)))
    code, said, out = run("--as-seen", task=tmp_path / "task.jsonl")
    strength = json.loads((out / RECORD).read_text())["strength"]
    assert (
        code == 0
        and " 0.1: 0.0 points lost, and up to " in said
        and "   1: " in said
        and "not within the budget" in said
    )
    assert (
        f"Strength {strength:g}: on the 80 probes that had no part in the choice" in said
        and f"Written to {out};" in said
    )
    assert "% learned" in said and "the new task's loss" in said and "all critical together" in said
    assert strength > json.loads((faded[1] / RECORD).read_text())["strength"], "by what may be lost it is less"


def test_the_choice_is_that_of_the_function(run, adapter, probes):
    from capability_guard import best_strength

    model, tokenizer = load_model(PRACTICE, adapter)
    best = best_strength(model, tokenizer, load_probes(probes), 20)
    _, _, out = run(max_drop=20)
    record = json.loads((out / RECORD).read_text())
    assert record["strength"] == best.strength and record["report"]["drop"] == best.report.drop


# --- A strength of your own --------------------------------------------------------------------------------------
def test_a_given_strength_asks_nothing(run, adapter, monkeypatch):
    monkeypatch.setattr(capability_guard.asking, "ask", lambda *a: pytest.fail("it was asked"))
    code, said, out = run(probes=None, strength=0.25)
    assert code == 0 and "Written to" in said and json.loads((out / RECORD).read_text())["strength"] == 0.25
    model, _ = load_model(PRACTICE, adapter)
    with fade(model, 0.25):
        assert torch.allclose(logits(load_model(PRACTICE, out)[0]), logits(model), atol=1e-5)


def test_at_0_it_is_the_base_and_at_1_the_adapter_itself(run, adapter, tmp_path):
    assert (
        run(probes=None, strength=0, out=tmp_path / "0")[0] == run(probes=None, strength=1, out=tmp_path / "1")[0] == 0
    )
    assert torch.equal(logits(load_model(PRACTICE, tmp_path / "0")[0]), logits(load_model(PRACTICE)[0]))
    ours, theirs = (load_file(path / "adapter_model.safetensors") for path in (tmp_path / "1", adapter))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_with_a_given_strength_all_probes_report(run, probes):
    code, said, out = run(strength=1)
    assert code == 1 and "More was lost than is allowed" in said and (out / "adapter_model.safetensors").exists()
    record = json.loads((out / RECORD).read_text())
    assert (
        record["reported"][0]["probes"] == len(load_probes(probes))
        and record["verdict"] == "regressed"
        and "curve" not in record
    )
    assert run(strength=0.05)[0] == 0, "an earlier one is replaced"


def test_texts_alone_may_report(run, probes, tmp_path):
    rows = [{"text": probe.text, "capability": "texts", "measure": "loss"} for probe in load_probes(probes)[:80]]
    (tmp_path / "p.jsonl").write_text("\n".join(map(json.dumps, rows)))
    code, said, _ = run(strength=1, probes=tmp_path / "p.jsonl")
    assert code == 1 and "nats a token are lost" in said
    assert run(strength=0, probes=tmp_path / "p.jsonl")[0] == 0
    code, said, _ = run(probes=tmp_path / "p.jsonl", out=tmp_path / "b")
    assert code == 2 and "one half has none with answers" in said


def test_a_half_that_reports_more_than_is_allowed_is_code_1(run, monkeypatch):
    """What chose a strength flatters it: here the other half sees the adapter as it is."""
    import capability_guard.fading.strengths as strengths

    measure = strengths.measure

    def worse(model, tokenizer, probes, **how):
        with fade(model, 0 if how["name"] == "base" else 1):
            return measure(model, tokenizer, probes, **how)

    monkeypatch.setattr(strengths, "measure", worse)
    code, said, out = run()
    assert code == 1 and "More was lost than is allowed" in said and (out / RECORD).exists()


# --- Adapters of other kinds -------------------------------------------------------------------------------------
@pytest.mark.parametrize("more", [{"bias": "all"}, {"modules_to_save": ["lm_head", "ln_f"]}, {"use_rslora": True},
    {"trainable_token_indices": {"wte": [5, 6]}}, {"alpha_pattern": {"h.0.attn.c_attn": 9}}])  # fmt: skip
def test_what_was_trained_beside_lora_is_faded_with_it(run, tmp_path, more):
    model, _ = load_practice("practice", quiet=True)
    disturbed(get_peft_model(model, LoraConfig(**LORA, **more)), 0.2).save_pretrained(tmp_path / "a")
    for strength in (0, 0.4, 1):
        out = tmp_path / f"{strength}"
        assert run(adapter=tmp_path / "a", probes=None, strength=strength, out=out)[0] == 0
    base, whole, half = (
        load_model(PRACTICE)[0],
        load_model(PRACTICE, tmp_path / "a")[0],
        load_model(PRACTICE, tmp_path / "0.4")[0],
    )
    assert torch.equal(logits(load_model(PRACTICE, tmp_path / "0")[0]), logits(base))
    assert torch.allclose(logits(load_model(PRACTICE, tmp_path / "1")[0]), logits(whole), atol=1e-6)
    with fade(whole, 0.4, base=base):
        assert torch.allclose(logits(whole), logits(half), atol=1e-5)
    assert not torch.allclose(logits(half), logits(base), atol=1e-2)


def test_an_adapter_in_half_precision_loses_nothing_by_rounding(run, copy):
    weights = {name: tensor.bfloat16() for name, tensor in load_file(copy / "adapter_model.safetensors").items()}
    save_file(weights, copy / "adapter_model.safetensors", metadata={"format": "pt"})
    _, _, out = run(adapter=copy, probes=None, strength=0.3)
    faded = load_file(out / "adapter_model.safetensors")
    assert {str(x.dtype) for name, x in faded.items() if "lora_A" in name} == {"torch.bfloat16"}
    model, _ = load_model(PRACTICE, copy)
    with fade(model, 0.3):
        assert torch.allclose(logits(load_model(PRACTICE, out)[0]), logits(model), atol=1e-5)


def test_a_faded_adapter_may_be_faded_again(run, adapter, tmp_path):
    once, twice = tmp_path / "once", tmp_path / "twice"
    assert (
        run(probes=None, strength=0.5, out=once)[0] == run(adapter=once, probes=None, strength=0.5, out=twice)[0] == 0
    )
    model, _ = load_model(PRACTICE, adapter)
    with fade(model, 0.25):
        assert torch.allclose(logits(load_model(PRACTICE, twice)[0]), logits(model), atol=1e-5)
    assert json.loads((twice / RECORD).read_text())["faded_before"]["strength"] == 0.5


@pytest.fixture(scope="module")
def small(folder):
    """A folder with a small Llama and its tokenizer."""
    path = folder / "small"
    tokenizer = families.saved(families.gpt2(), path)
    families.tiny(len(tokenizer), eos_token_id=0, bos_token_id=0).save_pretrained(path)
    return path


def with_tokens(base, out, **config):
    """An adapter that brings two tokens of its own."""
    tokenizer, model = AutoTokenizer.from_pretrained(base), LlamaForCausalLM.from_pretrained(base)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    model.resize_token_embeddings(len(tokenizer))
    for part in (model, tokenizer):  # the base with room for them, as a model of its own
        part.save_pretrained(out.with_name("larger"))
    lora = LoraConfig(r=4, target_modules=["q_proj"], task_type="CAUSAL_LM", **config)
    disturbed(get_peft_model(model, lora), 0.3).save_pretrained(out)
    tokenizer.save_pretrained(out)
    return out


@pytest.mark.parametrize("config", [{"modules_to_save": ["embed_tokens", "lm_head"]},
                                    {"trainable_token_indices": {"embed_tokens": [421, 422]}}])  # fmt: skip
def test_trained_tokens_that_the_base_has_not(run, small, tmp_path, config):
    code, said, _ = run(model=small, adapter=with_tokens(small, tmp_path / "a", **config), probes=None, strength=0.5)
    assert code == 2 and "brings tokens that the base has not" in said and "--same-base" in said
    # The way out that it names.
    code, said, out = run("--same-base", model=tmp_path / "larger", adapter=tmp_path / "a", probes=None, strength=0)
    assert code == 0, said
    faded = load_model(tmp_path / "larger", out, same_base=True)[0]
    assert torch.equal(logits(faded), logits(load_model(tmp_path / "larger")[0]))


def test_embeddings_that_were_only_made_longer_are_kept(run, small, tmp_path):
    a = with_tokens(small, tmp_path / "a")
    assert any("embed_tokens" in name for name in load_file(a / "adapter_model.safetensors"))
    code, _, out = run(model=small, adapter=a, probes=None, strength=0)
    assert code == 0 and torch.allclose(
        logits(load_model(small, out)[0])[..., :421], logits(load_model(small)[0]), atol=1e-5
    )
    weights = load_file(a / "adapter_model.safetensors")
    for name in weights:
        if "embed_tokens" in name:
            weights[name][7] += 1  # a row of the base's
    save_file(weights, a / "adapter_model.safetensors", metadata={"format": "pt"})
    code, said, _ = run(model=small, adapter=a, probes=None, strength=0, out=tmp_path / "b")
    assert code == 2 and "puts weights of its own in place of the base's 'model.embed_tokens.weight'" in said


# --- A whole model -----------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def tuned(folder):
    """The practice model, tuned whole, as bfloat16."""
    path = shutil.copytree(PRACTICE, folder / "tuned")
    weights = load_file(path / "model.safetensors")
    torch.manual_seed(0)
    for name, weight in weights.items():
        weights[name] = (
            (weight + torch.randn_like(weight) * 0.3 * weight.std().nan_to_num()).bfloat16()
            if weight.ndim > 1
            else weight
        )
    save_file(
        {name: weight.bfloat16() for name, weight in weights.items()},
        path / "model.safetensors",
        metadata={"format": "pt"},
    )
    (path / "optimizer.pt").write_text("left")
    return path


def test_a_whole_model_is_faded_and_keeps_its_precision(run, tuned, probes, tmp_path, capsys):
    before = contents(tuned)
    code, said, out = run(adapter=None, tuned=tuned, max_drop=5)
    strength = json.loads((out / RECORD).read_text())["strength"]
    assert code == 0 and 0 < strength < 1 and contents(tuned) == before, said
    assert {str(x.dtype) for x in load_file(out / "model.safetensors").values()} == {"torch.bfloat16"}
    assert not (out / "optimizer.pt").exists() and (out / "tokenizer.json").exists()
    base, model = load_model(PRACTICE)[0], load_model(tuned)[0]
    with fade(model, strength, base=base):
        wanted = {name: weight.bfloat16() for name, weight in model.named_parameters()}
    assert all(torch.equal(x.bfloat16(), wanted[name]) for name, x in load_model(out)[0].named_parameters())
    keep = str(tmp_path / "kept")
    assert (
        main(["compare", "--model", str(PRACTICE), "--candidate", str(out), "--probes", str(probes), "--keep", keep])
        == 0
    )
    capsys.readouterr()


def test_a_whole_model_of_another_kind_is_refused(run, small):
    code, said, _ = run(adapter=None, tuned=small)
    assert code == 2 and "give the model that it was trained from" in said


# --- What is refused ---------------------------------------------------------------------------------------------
@pytest.fixture
def unloaded(monkeypatch):
    monkeypatch.setattr("capability_guard.models.load_model", lambda *a, **b: pytest.fail("a model was loaded"))


@pytest.mark.usefixtures("unloaded")
@pytest.mark.parametrize(
    ("given", "says"),
    [
        (
            {"probes": None},
            "There are no probes to choose a strength by; give --probes, or the strength with --strength.",
        ),
        ({"strength": 1.2}, "The strength is 1.2"),
        ({"strength": "nan"}, "The strength is nan"),
        ({"max_drop": 0}, "max_drop is 0"),
        ({"max_drop": 3}, "a half cannot pass even if nothing is lost"),
        ({"critical": "music"}, "'music' is not measured"),
        ({"probes": "none.jsonl"}, "none.jsonl"),
        ({"probes": None, "strength": 0.5, "task": "task.jsonl"}, "--task is measured beside the probes"),
        ({"task": "none.jsonl"}, "none.jsonl"),
        ({"adapter": " "}, "--adapter is empty"),
        ({"out": Path(" ")}, "--out is empty"),
        ({"adapter": "nowhere"}, "nowhere has no adapter_config.json"),
        ({"adapter": None, "tuned": "nowhere"}, "nowhere is no folder"),
        ({"system": "Be short."}, "add --chat"),
        ({"max_new_tokens": 0}, "--max-new-tokens is 0"),
    ],
)
def test_a_slip_is_one_sentence_before_a_model_is_loaded(run, given, says):
    code, said, _ = run(**given)
    assert code == 2 and says in said


@pytest.mark.usefixtures("unloaded")
@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("adapter_config.json", b"{", "adapter_config.json is damaged"),
        ("adapter_config.json", b"[]", "adapter_config.json is damaged"),
        ("adapter_config.json", None, "has no adapter_config.json"),
        ("adapter_model.safetensors", None, "has no adapter_model.safetensors"),
        ("adapter_config.json", b'{"peft_type": "LORA", "use_dora": true}', "is DoRA"),
        ("adapter_config.json", b'{"peft_type": "LORA", "init_lora_weights": "pissa"}', "was started with PiSSA"),
        ("adapter_config.json", b'{"peft_type": "PREFIX_TUNING"}', "is PREFIX_TUNING"),
    ],
)
def test_an_adapter_that_cannot_be_read_or_faded_is_told_before_a_model_is_loaded(run, copy, file, content, says):
    (copy / file).unlink() if content is None else (copy / file).write_bytes(content)
    code, said, _ = run(adapter=copy)
    assert code == 2 and says in said


def test_damaged_weights_are_told_apart(run, copy):
    (copy / "adapter_model.safetensors").write_bytes(b"half")
    code, said, _ = run(adapter=copy)
    assert code == 2 and "adapter_model.safetensors is damaged" in said


def test_an_adapter_that_must_not_be_read(run, copy, monkeypatch):
    def forbidden(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(
        "capability_guard.fading.folder.read_text", forbidden
    )  # whoever may read all cannot be kept from one
    code, said, _ = run(adapter=copy)
    assert code == 2 and "adapter_config.json cannot be read (Permission denied); check its permissions." in said


def test_an_adapter_of_another_base(run, copy):
    config = json.loads((copy / "adapter_config.json").read_text())
    (copy / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": "other/model"}))
    code, said, _ = run(adapter=copy)
    assert code == 2 and "was trained on 'other/model'" in said
    assert run("--same-base", adapter=copy, probes=None, strength=0.5)[0] == 0


def test_probes_that_the_base_does_not_know(run, tmp_path):
    rows = [{"prompt": f"What is {n}+1?", "answer": "a pineapple.", "capability": "sums"} for n in range(160)]
    (tmp_path / "p.jsonl").write_text("\n".join(map(json.dumps, rows)))
    code, said, _ = run(probes=tmp_path / "p.jsonl")
    assert code == 2 and "right, so a loss of more than 5 points could not show; ask what it can answer" in said


def test_where_no_strength_is_small_enough_nothing_is_written(run, copy):
    weights = load_file(copy / "adapter_model.safetensors")
    save_file(
        {n: x * (30 if "lora_B" in n else 1) for n, x in weights.items()},
        copy / "adapter_model.safetensors",
        {"format": "pt"},
    )
    code, said, out = run(adapter=copy)
    assert (
        code == 2
        and "Nothing was written: no strength is within the budget: at 0.1, the lowest," in said
        and not out.exists()
    )


# --- Where it is written -----------------------------------------------------------------------------------------
@pytest.mark.usefixtures("unloaded")
def test_a_folder_with_anything_else_in_it_is_left_alone(run, copy, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("precious")
    (tmp_path / "file").write_text("precious")
    for out, says in ((mine, "holds 'thesis.txt', which no fading wrote"), (tmp_path / "file", "is a file; name a folder"),
                      (copy, "which is only read"), (copy / "inside", "which is only read"), (tmp_path, "which is only read"),
                      (tmp_path / "file" / "x", "cannot be written")):  # fmt: skip
        before = contents(tmp_path)
        code, said, _ = run(adapter=copy, out=out)
        assert code == 2 and says in said and contents(tmp_path) == before, (out, said)


def test_only_what_it_wrote_itself_is_replaced(run):
    for strength in (0.2, 0.6):
        code, _, out = run(probes=None, strength=strength)
        assert code == 0 and json.loads((out / RECORD).read_text())["strength"] == strength
    assert [path.name for path in out.parent.iterdir()] == [out.name], "no draft is left"
    (out / "notes.txt").write_text("mine")
    code, said, _ = run(probes=None, strength=0.3)
    assert (
        code == 2 and "holds 'notes.txt', which no fading wrote" in said and (out / "notes.txt").read_text() == "mine"
    )


def test_an_empty_folder_may_be_filled(run, tmp_path):
    (tmp_path / "empty").mkdir()
    assert run(probes=None, strength=0.2, out=tmp_path / "empty")[0] == 0 and (tmp_path / "empty" / RECORD).exists()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no limit on the size of a file")
def test_a_full_disk_leaves_what_was_there(run, adapter, root):
    import resource

    code, _, out = run(probes=None, strength=0.2)
    before = contents(out)
    command = [
        sys.executable,
        "-m",
        "capability_guard",
        "fade",
        "--model",
        PRACTICE,
        "--adapter",
        adapter,
        "--strength=1",
        "--out",
        out,
    ]
    done = subprocess.run(command, cwd=root, text=True, capture_output=True, timeout=600,
                          preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000)))  # fmt: skip
    assert done.returncode == 2 and "cannot be written" in done.stderr and "nothing was left there" in done.stderr, (
        done.stderr
    )
    assert (
        done.stderr.count("\n") == 1
        and contents(out) == before
        and [path.name for path in out.parent.iterdir()] == [out.name]
    )
