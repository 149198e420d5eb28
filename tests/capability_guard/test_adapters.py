"""An adapter is asked as it was trained: its tokens, its template, its base, and once."""

import shutil

import families
import pytest
import torch
from families import PROBES, TEMPLATES, tiny
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import LlamaForCausalLM

from capability_guard.adapters import carries_trained_adapter, same_model, with_adapter
from capability_guard.asking import score_probes
from capability_guard.chat import Chat
from capability_guard.cli import main
from capability_guard.measurement import Measurement, MeasurementError
from capability_guard.models import ModelUnavailable, load_model

pytestmark = pytest.mark.training
ADDED = ["<|im_start|>", "<|im_end|>"]
OWN = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + ' ' + m['content'] + '<|im_end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant ' }}{% endif %}"
)


def taught_by(model, tokenizer, template):
    """Learn the facts through a chat template."""
    tokenizer.chat_template = template
    chat = Chat()
    rows = [tokenizer(chat.render(tokenizer, p.prompt) + chat.before_answer(tokenizer, p.prompt, p.answer) + p.answer,
                      add_special_tokens=False).input_ids + [tokenizer.eos_token_id] for p in PROBES]  # fmt: skip
    families.learn(model, rows, 700, 1e-2)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A folder with a base model that knows its facts through a template of its own."""
    folder = tmp_path_factory.mktemp("base") / "base"
    tokenizer = families.saved(families.gpt2(), folder)
    model = tiny(len(tokenizer), eos_token_id=0, bos_token_id=0)
    taught_by(model, tokenizer, TEMPLATES["line end"])
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "probes.jsonl").write_text(families.jsonl_rows())
    return folder


def adapter_of(base, folder, template, added, **config):
    from transformers import AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(base), LlamaForCausalLM.from_pretrained(base)
    if added:
        tokenizer.add_special_tokens({"additional_special_tokens": ADDED})
        model.resize_token_embeddings(len(tokenizer))
    torch.manual_seed(0)
    lora = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM", **config)
    tuned = get_peft_model(model, lora)
    taught_by(tuned, tokenizer, template)
    scores = score_probes(tuned.eval(), tokenizer, PROBES, chat=True)
    tuned.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return scores


WAYS = {
    "modules to save": {"modules_to_save": ["embed_tokens", "lm_head"]},
    "embeddings saved of themselves": {},
    "trained tokens": {"trainable_token_indices": {"embed_tokens": [421, 422]}},
}


@pytest.mark.parametrize("way", WAYS)
def test_tokens_that_an_adapter_brings(base, tmp_path, way):
    trained = adapter_of(base, tmp_path / "a", OWN, True, **WAYS[way])
    model, tokenizer = load_model(base, tmp_path / "a")
    loaded = score_probes(model, tokenizer, PROBES, chat=True)
    assert len(tokenizer) == 423 and loaded.correct == trained.correct
    assert loaded.loss == pytest.approx(trained.loss, abs=1e-3), "every weight that was trained is there again"
    out = tmp_path / "r.json"
    assert main(["measure", "--model", str(base), "--adapter", str(tmp_path / "a"), "--probes", str(base / "probes.jsonl"),
                 "--out", str(out), "--chat"]) == 0  # fmt: skip
    assert [row.right for row in Measurement.load(out).rows] == trained.correct


def test_the_adapters_own_template_is_used_and_the_gate_says_so(base, tmp_path):
    trained = adapter_of(base, tmp_path / "a", TEMPLATES["instruction"], False)
    files = [tmp_path / "base.json", tmp_path / "tuned.json"]
    probes = ["--probes", str(base / "probes.jsonl"), "--chat"]
    assert main(["measure", "--model", str(base), *probes, "--out", str(files[0])]) == 0
    assert (
        main(["measure", "--model", str(base), "--adapter", str(tmp_path / "a"), *probes, "--out", str(files[1])]) == 0
    )
    before, after = map(Measurement.load, files)
    assert [row.right for row in after.rows] == trained.correct
    assert [row.loss for row in after.rows] == pytest.approx(trained.loss, abs=1e-3), "asked as it was trained"
    assert before.asked["template"] != after.asked["template"]
    from capability_guard.gate import judge

    decision = judge(before, after, max_drop=40)
    assert decision.word != "regressed" and any("each through its own" in note for note in decision.notes)


def test_an_adapter_is_not_put_on_twice(base, tmp_path):
    adapter_of(base, tmp_path / "a", TEMPLATES["line end"], False)
    merged = PeftModel.from_pretrained(LlamaForCausalLM.from_pretrained(base), tmp_path / "a").merge_and_unload()
    both = shutil.copytree(tmp_path / "a", tmp_path / "both")
    merged.save_pretrained(both)
    with pytest.raises(ModelUnavailable, match="beside the model's weights"):
        load_model(both)
    with pytest.raises(MeasurementError, match="beside the adapter, which may be merged into it already"):
        load_model(base, both)
    with pytest.raises(ModelUnavailable, match="is an adapter and no model; give its base"):
        load_model(tmp_path / "a")
    (both / "adapter_config.json").unlink()
    model, tokenizer = load_model(both)
    alone, _ = load_model(base, tmp_path / "a")
    assert (
        score_probes(model, tokenizer, PROBES, chat=True).correct
        == score_probes(alone, tokenizer, PROBES, chat=True).correct
    )


@pytest.mark.parametrize(("one", "other", "same"), [
    ("meta-llama/Llama-3.2-1B", "/models/Llama-3.2-1B", True), ("meta-llama/Llama-3.2-1B", "C:\\\\models\\\\llama-3.2-1b", True),
    ("meta-llama/Llama-3.2-1B", "/cache/models--meta-llama--Llama-3.2-1B/snapshots/0123456789abcdef0123456789abcdef01234567", True),
    ("meta-llama/Llama-3.2-1B", "meta-llama/Llama-3.2-3B", False), ("me/base", "you/base", False), ("me/base", "me/base", True),
    ("/a/final", "/b/final", False), ("/a/run-a/final", "/elsewhere/run-a/final", True),
    ("out/checkpoint-500", "other/checkpoint-500", False),
    ("/x/merged_model", "/y/merged_model", False), ("final_merged_checkpoint", "runs/final_merged_checkpoint", False),
    ("runs/1/model", "runs/2/model", False), ("", "", False),
])  # fmt: skip
def test_two_names_of_one_model(one, other, same):
    assert same_model(one, other) is same is same_model(other, one)


def test_another_folder_that_is_called_final_as_well_is_asked_about(base, tmp_path):
    """Of the same shape, so that nothing else would tell."""
    adapter_of(base, tmp_path / "a", TEMPLATES["line end"], False)
    ours, theirs = (shutil.copytree(base, tmp_path / name / "final") for name in ("ours", "theirs"))
    config = (tmp_path / "a" / "adapter_config.json").read_text().replace(str(base), str(ours))
    (tmp_path / "a" / "adapter_config.json").write_text(config)
    with pytest.raises(
        MeasurementError, match="was trained on '.*ours/final' and the model is '.*theirs/final'.*--same-base"
    ):
        load_model(theirs, tmp_path / "a")
    load_model(theirs, tmp_path / "a", same_base=True)
    load_model(ours, tmp_path / "a")


@pytest.mark.parametrize(
    "settings", ["[]", '{"max_new_tokens": -3}', '{"eos_token_id": ["x", 0, null], "pad_token_id": "x"}', "{"]
)
def test_settings_of_generation_that_are_odd_or_ruined_keep_no_model_from_being_measured(base, tmp_path, settings):
    before = score_probes(*load_model(base), PROBES, chat=True).correct
    folder = shutil.copytree(base, tmp_path / "base")
    (folder / "generation_config.json").write_text(settings)
    model, tokenizer = load_model(folder)
    assert score_probes(model, tokenizer, PROBES, chat=True).correct == before
    assert (
        main(
            [
                "measure",
                "--model",
                str(folder),
                "--probes",
                str(base / "probes.jsonl"),
                "--out",
                str(tmp_path / "r.json"),
                "--chat",
            ]
        )
        == 0
    )


@pytest.mark.parametrize("start", ["pissa", "olora", True, "gaussian"])
def test_an_untouched_adapter_is_a_baseline_however_it_starts(base, start):
    model, tokenizer = load_model(base)
    before = score_probes(model, tokenizer, PROBES, chat=True)
    lora = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=start, task_type="CAUSAL_LM")
    wrapped = get_peft_model(model, lora)
    assert not carries_trained_adapter(wrapped)
    again = score_probes(wrapped.eval(), tokenizer, PROBES, chat=True)
    assert again.correct == before.correct and again.loss == pytest.approx(before.loss, abs=1e-3)


def test_a_trained_adapter_is_no_baseline(base):
    wrapped = get_peft_model(load_model(base)[0], LoraConfig(r=4, target_modules=["q_proj"], task_type="CAUSAL_LM"))
    torch.nn.init.ones_(next(p for name, p in wrapped.named_parameters() if "lora_B" in name))
    assert carries_trained_adapter(wrapped)


def test_an_adapter_whose_base_has_no_name_is_one_sentence(tmp_path):
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": [null]}')
    (tmp_path / "adapter_model.safetensors").write_bytes(b"")
    with pytest.raises(MeasurementError, match="the name of its base model is no text; save the adapter again"):
        with_adapter(None, str(tmp_path), "m")
