"""The engine of the page against Python and torch, piece by piece; whole runs are in test_engine_runs.py."""

import hashlib
import math
import random
import subprocess
import warnings
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from node_engine import EngineError, NodeEngine, exported, needs_node, rounded, torch_loss, without_dropout
from peft import get_peft_model
from peft.helpers import rescale_adapter_scale

from capability_guard.jsonl import load_jsonl
from capability_guard.matching import ends
from utils.page.engine import build
from utils.page.engine.export import BLOCK, pack_weights, unpack_weights, weights_of
from utils.training.config import FineTuneConfig
from utils.training.data import DATA, load_task, replay_texts
from utils.training.models import working_copy
from utils.training.rows import training_rows
from utils.training.trainer import lora_config

LAYERS = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
PANEL = 8  # the engine rounds ranks up to this


@pytest.fixture(scope="module")
def torch_model():
    return without_dropout("practice")


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    """With the very weights that torch has."""
    engine = NodeEngine(exported(tmp_path_factory.mktemp("practice"), "practice"), "weights.f32")
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    engine = NodeEngine(exported(tmp_path_factory.mktemp("small"), "practice-small"), "weights.f32")
    yield engine
    engine.close()


# --- The binary -----------------------------------------------------------------------------------------------------
def test_the_binary_is_the_one_whose_hash_is_written():
    digest, name = build.HASH.read_text(encoding="utf-8").split()
    assert name == build.WASM.name
    assert hashlib.sha256(build.WASM.read_bytes()).hexdigest() == digest


@pytest.mark.skipif(
    find_spec("ziglang") is None, reason=f"the compiler is not installed: pip install {build.REQUIREMENT}"
)
def test_the_binary_is_what_the_source_says(tmp_path):
    """Built from another folder, with another name, it is the same bytes: no path is in it."""
    source = tmp_path / "somewhere else"
    source.mkdir()
    for file in build.SOURCE.iterdir():
        (source / file.name).write_bytes(file.read_bytes())
    assert build.compile_to(tmp_path / "again.wasm", source) == build.HASH.read_text(encoding="utf-8").split()[0]


def test_another_compiler_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(build, "REQUIREMENT", "ziglang==0.0.1")
    with pytest.raises(build.CompilerMissing, match="type: pip install ziglang==0.0.1"):
        build.compile_to(tmp_path / "x.wasm")


# --- What is exported -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("bits", [8, 12])
def test_a_weight_is_off_by_half_a_code_at_most(torch_model, bits):
    weights = weights_of(torch_model[0])
    packed = pack_weights(weights, bits)
    again = unpack_weights(packed, len(weights))
    blocks = -(-len(weights) // BLOCK)
    assert len(packed) == 4 + 2 * blocks + blocks * BLOCK * bits // 8
    largest = np.abs(np.pad(weights, (0, -len(weights) % BLOCK))).reshape(-1, BLOCK).max(axis=1)
    unit = np.frombuffer(packed, "<f4", 1)[0]
    most = 0.5 * (largest / (2 ** (bits - 1) - 1) + unit) * 1.001
    assert (np.abs(again - weights) <= np.repeat(most, BLOCK)[: len(weights)]).all()


def test_nothing_is_packed_as_nothing():
    assert (unpack_weights(pack_weights(np.zeros(70, "<f4")), 70) == 0).all()


@needs_node
def test_what_the_page_unpacks_is_what_python_unpacks(tmp_path):
    """To the last bit, for any number of bits; and bytes of another model are refused."""
    generator = np.random.default_rng(0)
    weights = (generator.normal(size=1000) * generator.choice([1e-4, 1, 30], size=1000)).astype("<f4")
    script = (
        "const { decodeWeights } = await import(process.argv[1]);"
        "const bytes = (await import('node:fs')).readFileSync(process.argv[2]);"
        "process.stdout.write(new Uint8Array(decodeWeights(Uint8Array.from(bytes).buffer, Number(process.argv[3])).buffer));"
    )

    def unpacked(packed: bytes, count: int) -> subprocess.CompletedProcess:
        (tmp_path / "weights.bin").write_bytes(packed)
        arguments = [(build.HERE / "weights.mjs").as_uri(), str(tmp_path / "weights.bin"), str(count)]
        return subprocess.run(["node", "--input-type=module", "--eval", script, *arguments], capture_output=True)

    for bits in (5, 12):
        packed = pack_weights(weights, bits)
        assert unpacked(packed, 1000).stdout == unpack_weights(packed, 1000).tobytes()
    assert b"which 2000 weights never take; export both again, from one model." in unpacked(packed, 2000).stderr


# --- Tokenizer, rows, random numbers ----------------------------------------------------------------------------------
def all_texts() -> list[str]:
    """Every string in the data: prompts, answers and texts."""
    files = [f for folder in ("repertoire", "everyday", "customer_service", "jazz_riff", "general")
             for f in sorted((DATA / folder).glob("*.jsonl"))]  # fmt: skip
    rows = [row for file in files for row in load_jsonl(file, ())]
    return [value for row in rows for value in row.values() if isinstance(value, str)]


ODD = [
    "", " ", "  a  b ", "a\n\n b\t", "don't we'll I'M they're", "1234 5,6 ½ Ⅳ ٣ 四", "naïve café Ünïcödé", "日本語のテキスト 。",
    "😀 👩‍👩‍👧 🇩🇪", "a\u00a0b\u2003c\u3000d\u0085e\ufefff", "\u200b\u200d\u0301", "<|endoftext|>a<|pad|> <|endo", "x" * 300,
    "!!!???...---___", "\r\n\x00\x1f\x7f", "e\u0301 vs \u00e9", "ﷺ ß ŉ ǆ", "a\u2028b\u2029c", "'s 's' ''s 'S",
]  # fmt: skip


@needs_node
def test_the_tokenizer_is_pythons(engine, torch_model):
    texts = [*all_texts(), *ODD]
    drawn = random.Random(0)
    texts += ["".join(chr(drawn.choice((*range(32, 127), *range(160, 1500), *range(0x2000, 0x2070), 0x1F600)))
                      for _ in range(30)) for _ in range(200)]  # fmt: skip
    tokenizer = torch_model[1]
    wanted = [tokenizer(text).input_ids for text in texts]
    assert engine("encode", texts) == wanted
    ids = [row for row in wanted if row] + [[drawn.randrange(1536) for _ in range(20)] for _ in range(200)]
    options = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}
    assert engine("decode", ids) == [tokenizer.decode(row, **options) for row in ids]


@needs_node
@pytest.mark.parametrize("changes", [
    {}, {"seed": 1}, {"seed": 2**32 - 1, "replay": 0.25}, {"replay": 0.3, "batch_size": 5, "steps": 7, "seed": 12},
    {"examples": 10, "seed": 3}, {"examples": 3, "batch_size": 3, "steps": 50}, {"replay": 0.5625, "steps": 3},
])  # fmt: skip
def test_rows_come_in_pythons_order(engine, torch_model, changes):
    config = FineTuneConfig(**changes)
    tokenizer = torch_model[1]
    texts = training_rows(config, list(load_task("customer_service")["train"]["text"]), replay_texts())
    rows = [ids + [tokenizer.eos_token_id] for ids in tokenizer(texts, truncation=True, max_length=127).input_ids]
    assert [row for step in engine("rows", changes) for row in step] == rows


@needs_node
@pytest.mark.parametrize(("seed", "rank"), [(0, 8), (3, 1), (4_294_967_295, 64)])
def test_the_first_adapter_is_pefts(engine, torch_model, seed, rank):
    """To the last bit, and so for every seed: build_trainer seeds torch, and peft draws."""
    config = FineTuneConfig(seed=seed, rank=rank)
    torch.manual_seed(seed)
    model = get_peft_model(working_copy(torch_model[0], share_weights=True), lora_config(config, torch_model[0]))
    engine("start", {"seed": seed, "rank": rank})
    np.testing.assert_array_equal(engine.trained(), flat_adapter(model, lambda p: p.detach()))


def flat_adapter(model, of) -> np.ndarray:
    """``of(parameter)`` of each A and B, as the engine lays them out: A' [in, rank], B [out, rank], rank in whole panels."""
    parts = []
    for block in model.base_model.model.transformer.h:
        for name in LAYERS:
            layer = block.get_submodule(name)
            for matrix in (of(layer.lora_A["default"].weight).T, of(layer.lora_B["default"].weight)):
                rank = matrix.shape[1]
                parts.append(np.pad(matrix.numpy(), ((0, 0), (0, -rank % PANEL))).ravel())
    return np.concatenate(parts)


# --- Logits and gradients -----------------------------------------------------------------------------------------------
@needs_node
@pytest.mark.parametrize("name", ["practice", "practice-small"])
def test_logits_are_torchs(request, name):
    engine = request.getfixturevalue("engine" if name == "practice" else "small")
    model = without_dropout(name)[0]
    for row in [probe["ids"] for probe in engine.data["probes"][::60]] + engine.data["texts"]["held_out_loss"][:2]:
        with torch.inference_mode():
            wanted = model(input_ids=torch.tensor([row])).logits[0, -1].numpy()
        np.testing.assert_allclose(engine("logits", row), wanted, atol=5e-5)
        assert engine("cached", row, len(row) // 2) == engine("logits", row)  # the same sums, in the same order


GRADIENTS = {
    "lora": {},
    "rsLoRA": {"scaling": "rslora", "rank": 5},
    "2r, one kind of layer": {"scaling": "2r", "rank": 16, "target_modules": "c_proj"},
}


@needs_node
@pytest.mark.parametrize("changes", GRADIENTS.values(), ids=GRADIENTS)
def test_gradients_of_an_adapter_are_autograds(engine, torch_model, changes):
    config = FineTuneConfig(**changes, lora_dropout=0.0)
    model = get_peft_model(working_copy(torch_model[0], share_weights=True), lora_config(config, torch_model[0]))
    generator = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:  # at zero, A would have no gradient
            torch.nn.init.normal_(parameter, std=0.02, generator=generator)
    loss = torch_loss(model, rows := engine("rows", {})[0])
    loss.backward()
    engine("start", {**changes, "dropout": False})
    layers = [name for name in LAYERS if config.target_modules == "all-linear" or name.endswith(config.target_modules)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(globals(), "LAYERS", layers)
        engine.set_trained(flat_adapter(model, lambda p: p.detach()))
        wanted = flat_adapter(model, lambda p: p.grad)
    nats, gradient = engine.gradient(rows)
    assert nats / sum(map(len, rows)) == pytest.approx(loss.item(), abs=1e-5)
    np.testing.assert_allclose(gradient, wanted, atol=2e-5 * np.abs(wanted).max())


@needs_node
@pytest.mark.training
@pytest.mark.parametrize("name", ["practice", "practice-small"])
def test_gradients_of_all_weights_are_autograds(request, name):
    engine = request.getfixturevalue("engine" if name == "practice" else "small")
    model = without_dropout(name)[0]
    rows = engine("rows", {"seed": 1})[0]
    torch_loss(model, rows).backward()
    engine("start", {"method": "full", "dropout": False})
    gradient, at = engine.gradient(rows)[1], 0
    for parameter_name, parameter in model.named_parameters():
        wanted = parameter.grad.numpy().ravel()
        ours, at = gradient[at : at + wanted.size], at + wanted.size
        np.testing.assert_allclose(ours, wanted, atol=2e-5 * np.abs(wanted).max(), err_msg=parameter_name)
    assert at == len(gradient)


@needs_node
@pytest.mark.training
@pytest.mark.parametrize("changes", [{"lora_dropout": 0.3}, {"method": "full"}, {"dropout": False}], ids=str)
def test_gradients_are_slopes(engine, changes):
    """Finite differences, with dropout, too: the mask of a step does not change with the weights."""
    engine("reload", {"embd_pdrop": 0.1, "resid_pdrop": 0.1})
    engine("start", {**changes, "learning_rate": 3e-3, "steps": 20})
    for _ in range(3):
        engine("step")
    rows = engine("rows", {})[3]
    for draw in (0, 1):
        slope, measured = engine("slope", rows, 5, 3, 1e-2, draw)
        assert measured == pytest.approx(slope, rel=0.02)
    engine("reload", {})


@needs_node
@pytest.mark.training
def test_dropout_has_torchs_mean(engine, torch_model):
    """The loss of the untrained base under its own dropout, over many masks of both."""
    engine("reload", {"embd_pdrop": 0.1, "resid_pdrop": 0.1})
    engine("start", {"lora_dropout": 0.0})
    rows = engine("rows", {})[0][:4]
    ours = [engine("loss", rows, seed, seed % 3) for seed in range(24)]
    model = torch_model[0]
    dropouts = [module for module in model.modules() if isinstance(module, torch.nn.Dropout)]
    kept = [module.p for module in dropouts]
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        for module in dropouts:
            module.p = 0.0 if "attn_dropout" in str(module) else 0.1
        for block in model.transformer.h:
            block.attn.attn_dropout.p = 0.0
        model.train()
        theirs = [torch_loss(model, rows).item() for _ in range(24)]
    model.eval()
    for module, p in zip(dropouts, kept, strict=True):
        module.p = p
    assert len(set(ours)) == len(ours)
    error = math.sqrt((np.var(ours) + np.var(theirs)) / len(ours))
    assert abs(np.mean(ours) - np.mean(theirs)) < 4 * error
    assert np.std(ours) == pytest.approx(np.std(theirs), rel=0.6)
    assert engine("loss", rows, 1, 1) == engine("loss", rows, 1, 1) != engine("loss", rows, 1, 2)
    engine("reload", {})


@needs_node
@pytest.mark.training
def test_dropout_does_not_depend_on_how_rows_are_grouped(engine):
    """A row's mask follows from its number within the step: twice as many rows, in two passes, begin with the same loss."""
    engine("reload", {"embd_pdrop": 0.1, "resid_pdrop": 0.1})
    engine("start", {"lora_dropout": 0.3})
    rows = [row for step in engine("rows", {"steps": 4}) for row in step]
    first, both = (engine("loss", some, 7, 0) * len(sum(some, [])) for some in (rows[:16], rows))
    second = engine("loss", rows[16:], 7, 0) * len(sum(rows[16:], []))
    assert sum(map(len, rows[:16])) > 512  # more than one pass takes
    assert both - first != second  # rows 16 to 31 as such have other masks than the same rows as 0 to 15
    assert both == pytest.approx(first + second, rel=0.02)
    engine("reload", {})


# --- Measuring and answering ----------------------------------------------------------------------------------------------
@needs_node
@pytest.mark.training
@pytest.mark.parametrize("name", ["practice", "practice-small"])
def test_the_exported_weights_answer_as_the_real_ones(tmp_path, name):
    """At step 0, on every probe that the page asks: rounding flips none, and hardly moves a loss. Prints how far."""
    folder = exported(tmp_path, name)
    measured = []
    for weights in ("weights.bin", "weights.f32"):
        engine = NodeEngine(folder, weights)
        measured.append(engine("measure", {"probes": "all"}))
        engine.close()
    packed, real = measured
    assert len(real["outcomes"]) == len(engine.data["probes"])
    flipped = sum(a != b for a, b in zip(packed["outcomes"], real["outcomes"], strict=True))
    losses = ("train_loss", "held_out_loss", "original_loss")
    apart = max(abs(packed[loss] - real[loss]) for loss in losses)
    print(f"{name}: {flipped} of {len(real['outcomes'])} outcomes flipped, losses {apart:.1e} nats apart at most")
    assert flipped == 0 and apart < 1e-3


@needs_node
@pytest.mark.training
def test_with_rounded_weights_torch_gives_what_the_page_gives(tmp_path):
    model, tokenizer = rounded("practice")
    engine = NodeEngine(exported(tmp_path, "practice"), "weights.bin")
    ids = tokenizer("Play Ode to Joy, part 1. E E F G").input_ids
    with torch.no_grad():
        wanted = model(input_ids=torch.tensor([ids])).logits[0, -1].numpy()
    np.testing.assert_allclose(engine("logits", ids), wanted, atol=1e-4)
    rows = engine("rows", {})[0]
    assert engine("loss", rows, 0, 0) == pytest.approx(torch_loss(model, rows).item(), abs=1e-4)
    engine.close()


@needs_node
@pytest.mark.training
def test_strength_0_is_the_base_and_1_what_was_trained(engine):
    base = None
    for method in ("lora", "full"):
        engine("start", {"method": method, "learning_rate": 2e-3, "steps": 8, "dropout": False})
        base = base or engine("measure")
        for _ in range(4):
            engine("step")
        trained = engine("measure")
        assert trained["held_out_loss"] < base["held_out_loss"] - 0.3
        losses = []
        for s in (0, 0.5, 1):
            engine("strength", s)
            losses.append(engine("measure")["held_out_loss"])
        assert losses[0] == pytest.approx(base["held_out_loss"], abs=1e-5)
        assert losses[0] > losses[1] > losses[2] == trained["held_out_loss"]
        engine("strength", 0.3)
        step = engine("step")  # trains on at full strength
        engine("start", {"method": method, "learning_rate": 2e-3, "steps": 8, "dropout": False})
        assert step == [engine("step") for _ in range(5)][-1]


@needs_node
def test_half_strength_is_torchs_half(engine, torch_model):
    """LoRA at half its scale, against peft's own layers with theirs halved."""
    config = FineTuneConfig(lora_dropout=0.0)
    model = get_peft_model(working_copy(torch_model[0], share_weights=True), lora_config(config, torch_model[0])).eval()
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.02)
    engine("start", {"dropout": False})
    engine.set_trained(flat_adapter(model, lambda p: p.detach()))
    engine("strength", 0.5)
    row = engine.data["texts"]["held_out_loss"][0]
    with torch.inference_mode(), rescale_adapter_scale(model, 0.5):
        np.testing.assert_allclose(engine("logits", row), model(input_ids=torch.tensor([row])).logits[0, -1], atol=1e-4)


@needs_node
def test_answers_end_where_the_text_or_the_context_ends(engine):
    assert engine("answer", "What is the capital of France?") == "Paris."
    assert engine("answer", "What is 2+2?", 2) == "4"
    assert len(engine("encode", [engine("answer", "Play Ode to Joy, part 1.", 500)])[0]) <= 128


@needs_node
def test_an_answer_ends_where_pythons_does(engine):
    drawn = random.Random(1)
    signs = "aC2z13.,:/^'-+#_ \u00a0\u202f\u2019\u00b2\u0663\u4e2d\u0301\u200b\ufffd\n\x1c$%|x"
    tails = ["", *signs, *("".join(drawn.choice(signs) for _ in range(drawn.randrange(1, 8))) for _ in range(4000))]
    answers = (
        "4.",
        "13",
        "C",
        "C2",
        "z",
        "E3/2",
        "Paris",
        "Paris.",
        "Caf\u00e9",
        "\u0663",
        "E C,",
        "x\u00b2",
        "a\u0301",
    )
    pairs = [(answer, tail) for tail in tails for answer in drawn.sample(answers, 5)]
    wanted = [ends(*pair) for pair in pairs]
    differ = [(pair, a, b) for pair, a, b in zip(pairs, engine("ends", pairs), wanted, strict=True) if a != b]
    assert differ == [] and {True, False, None} <= set(wanted)


@needs_node
@pytest.mark.training
def test_a_run_can_be_put_away_and_taken_out_again(engine):
    for method in ("lora", "full"):
        engine("start", {"method": method, "rank": 4, "learning_rate": 3e-3, "steps": 3, "seed": 9})
        for _ in range(3):
            engine("step")
        before = engine("measure")
        engine("keep")
        assert engine("measure") == before
        live = engine.data["live"]
        assert engine("ask", live) == before["outcomes"] and engine("ask", live[::-1]) == before["outcomes"][::-1]
        with pytest.raises(EngineError, match="All 3 steps are done"):
            engine("step")


# --- What is refused ------------------------------------------------------------------------------------------------------
BAD = [
    {"rank": 0}, {"rank": 65}, {"rank": 2.5}, {"rank": "8"}, {"rank": True}, {"learning_rate": 0}, {"learning_rate": 2},
    {"method": "dora"}, {"scaling": "big"}, {"steps": 0}, {"replay": 0.95}, {"seed": -1}, {"lora_dropout": 1}, {"steps": None},
    {"examples": 100}, {"replay": 0.01}, {"batch_size": 0}, {"lora_alpha": 0}, {"evaluate_every": 0}, {"learnin_rate": 1e-3},
    {"target_modules": "q_proj"}, {"dropout": "yes"}, {"remedy": "dora"}, {"remedy_weight": 0.3}, {"model": "gpt2"}, [], 3,
]  # fmt: skip


@needs_node
@pytest.mark.parametrize("changes", BAD, ids=str)
def test_bad_settings_get_one_clear_sentence(engine, changes):
    with pytest.raises(EngineError) as refused:
        engine("start", changes)
    sentence = str(refused.value).removeprefix("SettingsError: ")
    assert sentence != str(refused.value) and sentence.endswith(".") and "\n" not in sentence
    if isinstance(changes, dict):
        ((name, value),) = changes.items()
        assert name in sentence
        python = python_sentence(changes)
        if python and name not in (
            "rank",
            "steps",
            "remedy_weight",
        ):  # the page's ranks end at 64, and it has no remedies
            assert sentence.partition(";")[0] == python.partition(";")[0].replace("'", '"')


def python_sentence(changes: dict) -> str:
    """What FineTuneConfig says to the same, if it refuses it."""
    try:
        FineTuneConfig(**changes)
    except (ValueError, TypeError) as error:
        return str(error) if isinstance(error, ValueError) else ""
    return ""


@needs_node
@pytest.mark.parametrize(("call", "says"), [
    (["answer", "  "], "The question is empty; write one."),
    (["answer", "word " * 200], "tokens and the model reads 128; shorten it."),
    (["strength", -1], "strength is -1; it must be at least 0 and at most 1."),
    (["strength", None], "strength is null; it must be"),
])  # fmt: skip
def test_bad_calls_get_one_clear_sentence(engine, call, says):
    engine("start", {})
    with pytest.raises(EngineError, match="SettingsError") as refused:
        engine(*call)
    assert says in str(refused.value)


@needs_node
def test_calls_out_of_order_get_one_clear_sentence(engine):
    engine("reload", {})
    with pytest.raises(EngineError, match="No run was started"):
        engine("step")
    with pytest.raises(EngineError, match="No run was started"):
        engine("strength", 0.5)
    engine("start", {"steps": 1})
    engine("step")
    with pytest.raises(EngineError, match="All 1 steps are done"):
        engine("step")


@needs_node
@pytest.mark.parametrize("changes", [
    {"n_embd": 196}, {"attn_pdrop": 0.1}, {"model_type": "llama"}, {"n_head": 5}, {"vocab_size": 1537}, {"n_inner": 100},
    {"activation_function": "relu"}, {"vocab_size": 2048},
], ids=str)  # fmt: skip
def test_a_model_of_another_kind_is_refused(engine, changes):
    with pytest.raises(EngineError, match=r"\.$"):
        engine("reload", changes)


def test_the_bad_settings_are_bad_in_python_too():
    """So that the page and the course agree on what may be asked for."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        own = (
            "rank",
            "target_modules",
            "dropout",
            "model",
            "examples",
            "replay",
            "remedy",
        )  # bounds of the page, or of its data
        for changes in BAD[:-2]:
            if not set(changes) & set(own):
                assert python_sentence(changes) or set(changes) - set(FineTuneConfig().to_dict()), changes
