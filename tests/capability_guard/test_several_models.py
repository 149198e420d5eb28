"""`compare` with several candidates: the base is loaded and measured once, and each adapter is measured as if it were alone."""

import json
import shutil

import pytest
import torch
from peft import LoraConfig, PromptTuningConfig, get_peft_model

import capability_guard.measuring
import capability_guard.models
from capability_guard.cli import main
from capability_guard.measurement import Measurement
from capability_guard.measuring import measure
from capability_guard.models import load_model
from capability_guard.probes import load_probes, save_probes
from utils.training.data import DATA, REPERTOIRE
from utils.training.models import PRACTICE

pytestmark = pytest.mark.training
LORA = {"r": 2, "target_modules": ["c_attn"], "fan_in_fan_out": True}
KINDS = {
    "harmless": LoraConfig(**LORA),
    "harmful": LoraConfig(**LORA),
    "scaled": LoraConfig(**LORA, use_dora=True),
    "saved": LoraConfig(**LORA, modules_to_save=["lm_head"]),  # leaves a trace in the base
    "from-weights": LoraConfig(**LORA, init_lora_weights="pissa"),  # this one, too
    "prompted": PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Sixty probes that the practice model knows, held-out texts of a task, and an adapter of each kind."""
    folder = tmp_path_factory.mktemp("several")
    known = load_probes(REPERTOIRE)
    save_probes([p for name in ("arithmetic", "capitals") for p in [q for q in known if q.capability == name][:30]],
                folder / "probes.jsonl")  # fmt: skip
    rows = (DATA / "customer_service" / "train.jsonl").read_text(encoding="utf-8").splitlines()[:4]
    texts = [json.dumps({"text": " ".join(str(value) for value in json.loads(row).values())}) for row in rows]
    (folder / "task.jsonl").write_text("\n".join(texts) + "\n", encoding="utf-8")
    for name, config in KINDS.items():
        adapted = get_peft_model(load_model(PRACTICE)[0], config)
        torch.manual_seed(len(name))
        for part, parameter in adapted.named_parameters():
            if name == "harmful" and "lora_B" in part:
                torch.nn.init.normal_(parameter, std=0.5)
            elif parameter.requires_grad and not name.startswith("harm"):
                torch.nn.init.normal_(parameter, std=0.02)
        adapted.save_pretrained(folder / name)
    return folder


@pytest.fixture
def compare(folder, tmp_path, capsys):
    def call(*more):
        code = main(["compare", f"--model={PRACTICE}", f"--probes={folder / 'probes.jsonl'}", "--max-drop=10", "--same-base",
                     f"--keep={tmp_path / 'kept'}", *map(str, more)])  # fmt: skip
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


@pytest.fixture
def counts(monkeypatch):
    """How often a model was loaded, and how often one was measured."""
    found = {"load_model": 0, "measure": 0}

    def counting(module, name):
        original = getattr(module, name)

        def counted(*given, **named):
            found[name] += 1
            return original(*given, **named)

        monkeypatch.setattr(module, name, counted)

    counting(capability_guard.models, "load_model")
    counting(capability_guard.measuring, "measure")
    return found


def test_the_base_is_loaded_and_measured_once(compare, folder, tmp_path, counts):
    report = tmp_path / "r.json"
    code, out, err = compare(
        "--adapter", folder / "harmless", folder / "harmful", "--task", folder / "task.jsonl", "--json", report
    )
    assert code == 0 and not err and counts == {"load_model": 1, "measure": 3}
    assert "Best within the budget is harmless, the only one of 2 that passed" in out
    data = json.loads(report.read_text())
    assert [(one["name"], one["verdict"]) for one in data["candidates"]] == [
        ("harmless", "passed"),
        ("harmful", "regressed"),
    ]
    assert all(one["learned"] is not None for one in data["candidates"])
    kept = sorted(file.name for file in (tmp_path / "kept").iterdir())
    assert kept[1:] == ["candidate-1.json", "candidate-2.json"] and kept[0].startswith("baseline-")
    code, _, err = compare(
        "--adapter", folder / "harmless", folder / "harmful", "--json", tmp_path / "kept" / "candidate-2.json"
    )
    assert code == 2 and "is a measurement, and would be overwritten" in err


def test_each_kind_of_adapter_is_measured_as_if_it_were_alone(compare, folder, tmp_path, counts):
    compare("--adapter", *(folder / name for name in KINDS))
    assert counts["load_model"] == 3, "again after those that leave a trace"
    probes = load_probes(folder / "probes.jsonl")
    for i, name in enumerate(KINDS, 1):
        alone = measure(*load_model(PRACTICE, folder / name, same_base=True), probes)
        assert Measurement.load(tmp_path / "kept" / f"candidate-{i}.json").rows == alone.rows, name


def test_one_that_cannot_be_measured_does_not_stop_the_others(compare, folder, tmp_path, counts):
    torn = shutil.copytree(folder / "harmless", tmp_path / "torn")
    (torn / "adapter_model.safetensors").write_bytes(b"torn")
    given = (torn, tmp_path / "nowhere", folder / "harmful", folder / "harmless", folder / "harmless")
    code, out, err = compare("--adapter", *given)
    assert code == 0 and not err and counts["measure"] == 3, "and the same one is not measured twice"
    assert "torn: " in out and "is damaged" in out and "has no adapter_config.json" in out
    assert (
        "harmless (2): A copy of harmless" in out
        and "Best within the budget is harmless, the only one of 4 that passed" in out
    )


def test_models_of_their_own(compare, tmp_path, counts):
    one, two = (shutil.copytree(PRACTICE, tmp_path / name) for name in ("one", "two"))
    code, out, _ = compare("--candidate", one, two)
    assert code == 0 and counts == {"load_model": 3, "measure": 3}
    assert (
        "Best within the budget is one: of the 2 that passed (of 2) it lost least" in out and "two did as well" in out
    )


def test_an_empty_name_among_several_is_refused(compare, folder, counts):
    code, _, err = compare("--adapter", folder / "harmless", "")
    assert code == 2 and "--adapter is empty" in err and counts["load_model"] == 0
