"""`measure` loads what ships: other precisions, quantized weights, a GGUF file, a merged folder, several adapters on one base."""

import importlib.util
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from gguf_file import write_gguf
from peft import LoraConfig, get_peft_model
from two_adapters import save_harmless_and_harmful

import capability_guard.loading
import capability_guard.models
from capability_guard import load_model, measure
from capability_guard.cli import _parser, main
from capability_guard.gate import judge
from capability_guard.measurement import Measurement
from capability_guard.probes import load_probes, save_probes
from utils.training.data import REPERTOIRE
from utils.training.models import PRACTICE

pytestmark = pytest.mark.training

needs_bitsandbytes = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Twelve probes, an adapter that harms and one that does not, the harmful one merged, and GGUF files of the model."""
    folder = tmp_path_factory.mktemp("loading")
    save_probes(load_probes(REPERTOIRE)[:200:17], folder / "probes.jsonl")
    adapted = get_peft_model(load_model(PRACTICE)[0], LoraConfig(r=2, target_modules=["c_attn"], fan_in_fan_out=True))
    save_harmless_and_harmful(adapted, folder)
    adapted.merge_and_unload().save_pretrained(folder / "merged")
    load_model(PRACTICE)[1].save_pretrained(folder / "merged")
    for bits in (32, 8):
        write_gguf(PRACTICE, folder / f"{bits}.gguf", bits)
    return folder


@pytest.fixture(scope="module")
def probes(folder):
    return load_probes(folder / "probes.jsonl")


@pytest.fixture(scope="module")
def plain(probes):
    return measure(*load_model(PRACTICE), probes)


@pytest.fixture
def run(folder, tmp_path, capsys):
    """`measure`, in this process: (exit code, what it said, the file that it was to write)."""

    def call(*arguments, model=PRACTICE, out=tmp_path / "r.json"):
        code = main(["measure", "--model", str(model), "--probes", str(folder / "probes.jsonl"), "--out", str(out),
                     *map(str, arguments)])  # fmt: skip
        said = capsys.readouterr()
        return code, said.err if code else said.out, out

    return call


def rights(measurement):
    return [row.right for row in measurement.rows]


# --- What cannot be is said before anything heavy is imported ------------------------------------------------------
@pytest.mark.parametrize(
    ("given", "says"),
    [
        (("--dtype", "half"), "The dtype is 'half'; use one of float32, bfloat16, float16, auto."),
        (("--quantization", "2bit"), "The quantization is '2bit'; use one of 4bit, 8bit."),
        (("--device", "GPU 1"), "The device is 'GPU 1'; write it as cpu, cuda or cuda:1."),
        (("--device", "cpu", "--device-map", "auto"), "Both a device (cpu) and a device map ('auto') were given"),
        (("--revision", "v2"), "is on this machine, and a revision ('v2') is of a model on the hub"),
        (("--device-map", " "), "--device-map is empty"),
        (("--adapter", "a", "--adapter", "b"), "is one file, and there are 2 adapters; name a folder"),
    ],
)
def test_settings_that_cannot_be(run, given, says):
    code, said, out = run(*given)
    assert code == 2 and says in said and said.count("\n") == 1 and not out.exists()


def test_a_gguf_file_that_is_not_there_or_takes_no_more_quantization(run, folder, monkeypatch):
    assert "There is no file nowhere.gguf" in run(model="nowhere.gguf")[1]
    monkeypatch.setattr(capability_guard.loading, "find_spec", lambda name: object())
    assert "has its own quantization; leave 4bit out" in run("--quantization", "4bit", model=folder / "32.gguf")[1]


@pytest.mark.parametrize(("package", "given"), [("bitsandbytes", ("--quantization", "8bit")), ("gguf", ())])
def test_a_package_that_is_not_there(run, folder, monkeypatch, package, given):
    monkeypatch.setattr(capability_guard.loading, "find_spec", lambda name: None if name == package else object())
    code, said, _ = run(*given, model=folder / "32.gguf" if package == "gguf" else PRACTICE)
    extra = "quantization" if given else "gguf"
    assert code == 2 and f"pip install 'capability-guard[{extra}]'" in said and said.count("\n") == 1


def test_a_refusal_does_not_wait_for_torch(folder):
    arguments = [
        "measure",
        "--model",
        str(PRACTICE),
        "--probes",
        str(folder / "probes.jsonl"),
        "--out",
        "r.json",
        "--dtype",
        "half",
    ]
    code = f"import sys; from capability_guard.cli import main; assert main({arguments}) == 2; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.stdout.strip() == "False", done.stderr


def test_a_device_that_is_not_here(run):
    code, said, _ = run("--device", "xyz")
    assert code == 2 and "The device 'xyz' is not to be had here" in said and said.count("\n") == 1


# --- Precision, device, tokenizer ----------------------------------------------------------------------------------
def test_another_precision_is_recorded_and_noted(run, plain):
    code, _, out = run("--dtype", "bfloat16", "--device", "cpu")
    half = Measurement.load(out)
    assert code == 0 and half.asked["precision"] == "bfloat16" and half.asked["device"] == "cpu"
    assert plain.asked["precision"] == "float32" and rights(half) == rights(plain)
    notes = judge(plain, half, max_drop=20).notes
    assert "The two were measured in different precision (float32 and bfloat16)." in notes
    assert not any("quantization" in note for note in notes)


def test_a_model_in_the_precision_in_which_it_was_saved(tmp_path):
    model, tokenizer = load_model(PRACTICE, dtype="float16")
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert load_model(tmp_path, dtype="auto")[0].dtype == torch.float16
    assert load_model(tmp_path)[0].dtype == torch.float32, "as ever"


def test_spread_by_accelerate(run, plain, probes, tmp_path):
    code, _, out = run("--device-map", "auto")
    assert code == 0 and rights(Measurement.load(out)) == rights(plain)
    where = {"transformer.wte": "cpu", "transformer.wpe": "cpu", "transformer.ln_f": "cpu", "lm_head": "cpu",
             **{f"transformer.h.{i}": "cpu" if i < 2 else "disk" for i in range(4)}}  # fmt: skip
    model, tokenizer = load_model(PRACTICE, device_map=where)
    assert any(weight.device.type == "meta" for weight in model.parameters()), "two layers lie on disk"
    spread = measure(model, tokenizer, probes)
    assert [row.loss for row in spread.rows] == pytest.approx([row.loss for row in plain.rows], abs=1e-4)


def test_another_tokenizer(run, folder, tmp_path, plain):
    own = load_model(PRACTICE)[1]
    own.add_tokens(["tea"])  # in which the model never read it
    own.save_pretrained(tmp_path / "own")
    code, _, out = run("--tokenizer", tmp_path / "own")
    assert code == 0 and Measurement.load(out).asked["tokenizer"] != plain.asked["tokenizer"]
    code, said, _ = run("--tokenizer", tmp_path)
    assert code == 2 and "cannot be read" in said and said.count("\n") == 1


def test_a_revision_of_a_model_on_the_hub_is_asked_for(run):
    code, said, _ = run("--revision", "v2", model="no-such/model")
    assert code == 2 and "neither a folder nor to be had" in said


# --- Quantized -----------------------------------------------------------------------------------------------------
@needs_bitsandbytes
@pytest.mark.parametrize(("bits", "words"), [("4bit", "4bit nf4 (bitsandbytes)"), ("8bit", "8bit (bitsandbytes)")])
def test_quantized_while_it_loads(run, folder, plain, bits, words):
    code, said, out = run("--quantization", bits, "--adapter", folder / "harmless")
    assert code == 0, said
    shipped = Measurement.load(out)
    assert shipped.asked["quantization"] == words and plain.asked["quantization"] == "none"
    assert [row.loss for row in shipped.rows] != [row.loss for row in plain.rows]
    assert sum(a == b for a, b in zip(rights(shipped), rights(plain), strict=True)) >= 10
    assert (
        f"The two were measured in different quantization (none and {words})."
        in judge(plain, shipped, max_drop=20).notes
    )


# --- GGUF ----------------------------------------------------------------------------------------------------------
def test_a_gguf_file_is_the_model_that_it_was_written_from(run, folder, plain):
    for bits, kind, close in ((32, "GGUF F32", 1e-4), (8, "GGUF Q8_0", 0.05)):
        code, said, out = run(model=folder / f"{bits}.gguf")
        assert code == 0, said
        shipped = Measurement.load(out)
        assert rights(shipped) == rights(plain) and shipped.asked["quantization"] == kind
        assert [row.loss for row in shipped.rows] == pytest.approx([row.loss for row in plain.rows], abs=close)


def test_an_adapter_on_a_gguf_file(run, folder, probes):
    trained = measure(*load_model(PRACTICE, folder / "harmful"), probes)
    code, said, out = run("--adapter", folder / "harmful", "--same-base", model=folder / "32.gguf")
    assert code == 0, said
    assert [row.loss for row in Measurement.load(out).rows] == pytest.approx(
        [row.loss for row in trained.rows], abs=1e-3
    )


def test_a_gguf_file_that_is_cut_off(run, folder, tmp_path):
    (tmp_path / "half.gguf").write_bytes((folder / "8.gguf").read_bytes()[:50_000])
    code, said, _ = run(model=tmp_path / "half.gguf")
    assert code == 2 and "is no whole GGUF file" in said and said.count("\n") == 1


# --- Adapters ------------------------------------------------------------------------------------------------------
def test_a_merged_folder_is_its_adapter_on_the_base(run, folder, probes):
    trained = measure(*load_model(PRACTICE, folder / "harmful"), probes)
    code, _, out = run(model=folder / "merged")
    merged = Measurement.load(out)
    assert code == 0 and rights(merged) == rights(trained)
    assert [row.loss for row in merged.rows] == pytest.approx([row.loss for row in trained.rows], abs=1e-3)


def test_several_adapters_on_one_base(run, folder, probes, tmp_path, monkeypatch, capsys):
    torn = shutil.copytree(folder / "harmless", tmp_path / "torn")
    (torn / "adapter_config.json").write_text("{")
    original, loaded = capability_guard.models.load_model, []
    monkeypatch.setattr(capability_guard.models, "load_model", lambda *a, **k: loaded.append(a) or original(*a, **k))
    given = ("--adapter", folder / "harmful", "--adapter", torn, folder / "harmless")
    code, said, out = run(*given, out=tmp_path / "results")
    assert code == 2 and "adapter_config.json is damaged" in said and said.count("\n") == 1 and len(loaded) == 1
    assert sorted(file.name for file in out.iterdir()) == ["harmful.json", "harmless.json"]
    for name in ("harmful", "harmless"):
        alone = measure(*original(PRACTICE, folder / name), probes)
        assert Measurement.load(out / f"{name}.json").rows == alone.rows


def test_compare_takes_an_option_twice_as_it_takes_two_values(folder, tmp_path, capsys):
    report = tmp_path / "r.json"
    main(["compare", "--model", str(PRACTICE), "--probes", str(folder / "probes.jsonl"), "--keep", str(tmp_path / "kept"),
          "--adapter", str(folder / "harmful"), "--adapter", str(folder / "harmless"), "--json", str(report)])  # fmt: skip
    assert [one["name"] for one in json.loads(report.read_text())["candidates"]] == ["harmful", "harmless"]


# --- README --------------------------------------------------------------------------------------------------------
def test_the_lines_on_what_ships_are_commands():
    """Those that need a server, a GGUF file or bitsandbytes; that they work is for the tests above and beside this file."""
    readme = (Path(capability_guard.loading.__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```$", readme, re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.splitlines()]
    assert len(lines) >= 10
    for line in lines:
        asked = _parser().parse_args(shlex.split(line)[1:])
        assert asked.model and asked.probes, line
