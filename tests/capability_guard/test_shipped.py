"""`compare --as-shipped`: a bad merge is blocked, a good one agrees, and so do the quantized, the converted and the served model."""

import importlib.util
import json

import pytest
import torch
from gguf_file import write_gguf
from peft import LoraConfig, get_peft_model
from served_model import OfTransformers, Served

from capability_guard import load_model
from capability_guard.cli import main
from capability_guard.measurement import Measurement, Row
from capability_guard.probes import load_probes, save_probes
from capability_guard.shipped import agreement, judge_shipped
from utils.training.data import REPERTOIRE
from utils.training.models import PRACTICE

LORA = {"r": 2, "target_modules": ["c_attn"], "fan_in_fan_out": True}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A hundred probes, an adapter, the adapter merged as it should be, and merged with a scale that it was not trained with."""
    folder = tmp_path_factory.mktemp("shipped")
    save_probes(load_probes(REPERTOIRE)[:200:2], folder / "probes.jsonl")
    for name, scale in (("merged", 1.0), ("bad", 12.0)):
        model, tokenizer = load_model(PRACTICE)
        adapted = get_peft_model(model, LoraConfig(**LORA))
        torch.manual_seed(0)
        for part, parameter in adapted.named_parameters():
            if "lora_B" in part:
                torch.nn.init.normal_(parameter, std=0.05 * scale)
        if name == "merged":
            adapted.save_pretrained(folder / "adapter")
        adapted.merge_and_unload().save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    write_gguf(folder / "merged", folder / "merged.gguf", bits=8)
    return folder


@pytest.fixture
def ship(folder, capsys):
    """`compare --as-shipped`: (exit code, what it said, the decision). What was trained is measured once for all tests."""

    def call(what, *more):
        report = folder / "r.json"
        report.unlink(missing_ok=True)
        code = main(["compare", f"--model={PRACTICE}", f"--adapter={folder / 'adapter'}", "--same-base", f"--as-shipped={what}",
                     f"--probes={folder / 'probes.jsonl'}", f"--keep={folder / 'kept'}", f"--json={report}", *more])  # fmt: skip
        said = capsys.readouterr()
        return code, said.out + said.err, json.loads(report.read_text()) if report.exists() else {}

    return call


def agreed(decision):
    return next(note for note in decision["notes"] if note.startswith("Trained and shipped agree on"))


@pytest.mark.training
def test_a_good_merge_passes_and_a_bad_one_is_blocked(ship, folder):
    code, said, decision = ship(folder / "merged")
    assert code == 0, said
    assert agreed(decision).startswith(
        "Trained and shipped agree on 100 of 100 probes (100.0 %); 0 flip when the trained model"
    )
    assert "is kept in" in said
    code, said, decision = ship(folder / "bad")
    assert code == 1 and decision["verdict"] == "regressed" and "was measured before" in said, "the trained one, once"


@pytest.mark.training
def test_a_file_for_llama_cpp_and_a_server(ship, folder):
    code, said, decision = ship(folder / "merged.gguf")
    assert code == 0 and int(agreed(decision).split()[5]) >= 99, said
    assert "The two were measured in different quantization (none and GGUF Q8_0)." in decision["notes"]
    for name, wanted in (("merged", 0), ("bad", 1)):
        served = Served(OfTransformers(*load_model(folder / name)), "vllm")
        try:
            code, said, _ = ship(served.url, "--served-name", "mine")
        finally:
            served.close()
        assert code == wanted and {body["model"] for _, body in served.bodies} == {"mine"}, said


@pytest.mark.training
@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed")
def test_quantized_while_it_loads(ship):
    code, said, decision = ship("8bit")
    assert code == 0 and int(agreed(decision).split()[5]) >= 99, said
    assert "The two were measured in different quantization (none and 8bit (bitsandbytes))." in decision["notes"]


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--as-shipped=a", "--adapter=a", "--adapter=b"), "--as-shipped compares one trained model with what ships"),
        (("--as-shipped=a", "--candidate=b"), "--as-shipped compares one trained model with what ships"),
        (("--as-shipped=nowhere.gguf",), "There is no file nowhere.gguf"),
        (("--as-shipped=http://me:secret@host/",), "has a password or a key in its URL"),
    ],
)
def test_what_cannot_be_is_one_sentence(folder, capsys, tmp_path, more, says):
    code = main(
        ["compare", f"--model={PRACTICE}", f"--probes={folder / 'probes.jsonl'}", f"--keep={tmp_path / 'kept'}", *more]
    )
    said = capsys.readouterr().err
    assert code == 2 and says in said and said.count("\n") == 1 and not (tmp_path / "kept").exists()


def test_nothing_to_compare_with_is_a_misuse_of_the_command(folder, capsys, tmp_path):
    with pytest.raises(SystemExit) as stopped:
        main(["compare", f"--model={PRACTICE}", f"--probes={folder / 'probes.jsonl'}", f"--keep={tmp_path / 'kept'}"])
    says = "There is nothing to compare --model with; give --adapter, --candidate or --as-shipped."
    assert stopped.value.code == 2 and says in capsys.readouterr().err and not (tmp_path / "kept").exists()


def two(differing, of=300, flips=None):
    """Trained and shipped: as many are right in both, and so many come out otherwise."""
    half = differing // 2
    wrong = (range(half), range(half, 2 * half))
    rows = [[Row(f"{i}?", "yes", "x", right=i not in side) for i in range(of)] for side in wrong]
    return Measurement("trained", rows[0], noise=None if flips is None else {"x": flips}), Measurement(
        "shipped", rows[1]
    )


@pytest.mark.parametrize(
    ("differing", "flips", "word"),
    [
        (0, None, "passed"),
        (2, None, "passed"),
        (4, None, "regressed"),
        (4, 0, "regressed"),
        (4, 4, "passed"),
        (60, 4, "regressed"),
    ],
)
def test_another_model_is_blocked_though_as_many_are_right(differing, flips, word):
    decision = judge_shipped(*two(differing, flips=flips))
    assert decision.word == word and agreement(*two(differing)).differing == differing
    if word == "regressed" and differing == 4:
        assert decision.why.startswith(
            "It is not the model that was trained: 4 of 300 probes come out otherwise (1.3 %). 1 % may."
        )


def test_a_loss_blocks_as_ever_and_texts_have_no_agreement():
    trained, worse = (Measurement("m", [Row(f"{i}?", "yes", "x", right=i < n) for i in range(300)]) for n in (300, 200))
    assert judge_shipped(trained, worse).word == "regressed"
    texts = [Measurement("m", [Row("", f"{i}.", "x", "loss", loss=1.0) for i in range(60)]) for _ in range(2)]
    assert judge_shipped(*texts).word == "passed"
