"""Each remedy does what its idea says, in numbers; and one of your own is as good as those of the course."""

import copy
import json
import math
import pickle

import pytest
import torch
import torch.nn.functional as F
from datasets import Dataset, DatasetDict
from joblib.externals.loky.backend.reduction import dumps
from transformers import GPT2Config, GPT2LMHeadModel
from trl import SFTConfig, SFTTrainer

from capability_guard.probes import Probe
from capability_guard.weights import trained_weights
from utils.training import REMEDIES, FineTuneConfig, Remedy, RunResult, fader, finetune, register, sweep
from utils.training.finetuning import Cancelled
from utils.training.models import load_model
from utils.training.remedies import SHIPPED, Training, own_texts
from utils.training.remedies.graded import factors
from utils.training.remedies.no_intruders import without_intruders
from utils.training.remedies.small_product import squared_norm
from utils.training.remedies.stem_replay import STEMS
from utils.training.rows import training_rows
from utils.training.sweeps import _run, load
from utils.training.trainer import build_trainer

pytestmark = pytest.mark.training
QUICK = FineTuneConfig(steps=2, batch_size=2, evaluate_every=2, learning_rate=1e-2, lora_dropout=0.0, rank=2)
NEW = [
    f"Agent: your order {word} is on its way."
    for word in ["one", "two", "three", "four", "five", "six", "seven", "eight"]
]
ONES_OWN = ["the cat sat on the mat", "a map of the old town", "rain falls at night"]


@pytest.fixture(scope="module")
def tiny():
    """(model, tokenizer): random weights, two layers; no test may change it."""
    tokenizer = load_model("practice-small", quiet=True)[1]
    torch.manual_seed(0)
    shape = dict(n_layer=2, n_head=2, n_embd=32, n_positions=128, vocab_size=len(tokenizer))
    config = GPT2Config(**shape, embd_pdrop=0, attn_pdrop=0, resid_pdrop=0, bos_token_id=0, eos_token_id=0)
    return GPT2LMHeadModel(config).eval(), tokenizer


@pytest.fixture(autouse=True)
def a_cache_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(own_texts, "cache_folder", lambda: tmp_path)
    monkeypatch.setattr(own_texts, "TEXTS", 20)
    monkeypatch.setattr(own_texts, "TOKENS", 6)


@pytest.fixture
def registry(monkeypatch):
    """What is registered in a test is forgotten after it."""
    before = dict(REMEDIES)
    yield REMEDIES
    REMEDIES.clear()
    REMEDIES.update(before)


def run(tiny, config=QUICK, **options):
    task = DatasetDict({split: Dataset.from_dict({"text": NEW}) for split in ("train", "held_out")})
    probes = [Probe("What is 2+2?", "4.", "arithmetic"), Probe("Name it.", "The old map.", "words")]
    return finetune(config, task, probes, base=tiny, replay=["An old row."], questions=(), **options)


def trainer_for(tiny, config, tmp_path):
    return build_trainer(config, *tiny, NEW[: config.steps * config.batch_size], [], tmp_path)


def batch_of(trainer):
    """(the loss that the trainer would step on, its first batch)."""
    inputs = next(iter(trainer.get_train_dataloader()))
    return trainer.compute_loss(trainer.model, inputs), inputs


def grads(model):
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def shaken(model, seed=0):
    """Random weights in place of what is trained."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            if p.requires_grad:
                p.add_(0.1 * torch.randn_like(p))
    return model


def changes(model):
    """The change of each weight that an adapter makes, by layer, [out, in]."""
    return {
        name: layer.get_delta_weight("default").T if layer.fan_in_fan_out else layer.get_delta_weight("default")
        for name, layer in model.named_modules()
        if hasattr(layer, "get_delta_weight")
    }


# --- All of them ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", REMEDIES)
def test_each_trains_leaves_the_base_alone_and_measures_the_same_beside(tiny, name):
    before = {key: p.clone() for key, p in tiny[0].named_parameters()}
    inside, beside = (run(tiny, QUICK.with_(remedy=name), beside=where) for where in (False, True))
    assert all(torch.equal(p, before[key]) for key, p in tiny[0].named_parameters())
    assert inside.checkpoints[0].kl == pytest.approx(0, abs=1e-6)  # also where the frozen weights are not the base's
    assert math.isfinite(inside.learned) and inside.checkpoints[-1].kl > 0
    assert [c.held_out_loss for c in inside.checkpoints] == [c.held_out_loss for c in beside.checkpoints]


@pytest.fixture(scope="module")
def plain(tiny):
    return run(tiny, keep_model=True)


@pytest.mark.parametrize("name", [remedy.name for remedy in SHIPPED if remedy.weight is not None])
def test_a_weight_of_nothing_is_the_plain_run_to_the_last_bit(tiny, plain, name):
    none = run(tiny, QUICK.with_(remedy=name, remedy_weight=0.0), keep_model=True)
    left, right = trained_weights(plain.model), trained_weights(none.model)
    assert all(torch.equal(left[key], right[key]) for key in left)
    assert len(plain.checkpoints) == len(none.checkpoints)


@pytest.mark.parametrize(
    "name", [remedy.name for remedy in SHIPPED if remedy.loss and remedy.name != "mask_surprising"]
)
def test_a_small_weight_changes_the_loss_little_and_a_large_one_much(tiny, tmp_path, name):
    def loss(weight):
        trainer = trainer_for(tiny, QUICK.with_(remedy=name, remedy_weight=weight), tmp_path)
        return batch_of(shake(trainer))[0].item()

    def shake(trainer):
        shaken(trainer.model)
        return trainer

    most = REMEDIES[name].most
    plain, small, large = loss(0.0), loss(1e-5 * most), loss(most)
    assert small == pytest.approx(plain, rel=1e-3) and abs(large - plain) > 50 * abs(small - plain)


@pytest.mark.parametrize("name", ["kl", "dora", "pissa", "graded", "no_intruders", "average_of_two"])
def test_the_fader_works_after_each(tiny, name):
    """Those that leave a plain adapter are as the first."""
    config = QUICK.with_(remedy=name)
    none, half = (run(tiny, config.with_(strength=strength)).checkpoints for strength in (0.0, 0.5))
    assert none[-1].held_out_loss == pytest.approx(none[0].held_out_loss, rel=1e-5)
    assert abs(none[-1].kl) < 1e-6 < half[-1].kl
    assert name in ("graded", "no_intruders", "average_of_two") or half[-1].kl < half[-2].kl


# --- The loss -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["kl", "kl_off_target", "small_product"])
@pytest.mark.parametrize("method", ["lora", "full"])
def test_an_untouched_model_is_not_pulled(tiny, tmp_path, name, method):
    """What keeps it close to the base has no gradient where it is the base."""
    config = QUICK.with_(method=method)
    found = []
    for some in ({}, {"remedy": name, "remedy_weight": REMEDIES[name].most}):
        trainer = trainer_for(tiny, config.with_(**some), tmp_path)
        loss, _ = batch_of(trainer)
        loss.backward()
        found.append((loss.item(), grads(trainer.model)))
    (plain, left), (other, right) = found
    assert plain == pytest.approx(other, rel=1e-6)
    assert all(torch.allclose(left[key], right[key], atol=1e-5) for key in left) and any(g.any() for g in left.values())


def test_kl_is_that_of_the_curve_and_beside_the_target_it_forgives_the_target(tiny):
    class Some:
        logits, base_logits = torch.randn(2, 5, 9).unbind()
        targets, loss = torch.arange(5), torch.tensor(2.0)

    tuned, base = Some.logits.log_softmax(-1), Some.base_logits.log_softmax(-1)
    by_hand = (base.exp() * (base - tuned)).sum(-1).mean()
    assert REMEDIES["kl"].loss(Some, 0.5).item() == pytest.approx(2 + 0.5 * by_hand.item(), rel=1e-5)
    Some.logits = Some.base_logits.clone()
    Some.logits[range(5), Some.targets] += 7  # the target alone is learned
    assert REMEDIES["kl_off_target"].loss(Some, 1.0).item() == pytest.approx(2, abs=1e-5)
    assert REMEDIES["kl"].loss(Some, 1.0).item() > 3
    Some.logits[:, 8] -= 1  # and another token is unlearned
    assert REMEDIES["kl_off_target"].loss(Some, 1.0).item() > 2.01


def test_the_size_of_the_change_is_that_of_the_product(tiny, tmp_path):
    model = shaken(trainer_for(tiny, QUICK.with_(scaling="rslora"), tmp_path).model)
    whole = sum(change.square().sum() for change in changes(model).values())
    assert squared_norm(model, tiny[0]).item() == pytest.approx(whole.item(), rel=1e-4)
    full = shaken(trainer_for(tiny, QUICK.with_(method="full"), tmp_path).model)
    apart = sum((a - b).square().sum() for a, b in zip(full.parameters(), tiny[0].parameters(), strict=True))
    assert squared_norm(full, tiny[0]).item() == pytest.approx(apart.item(), rel=1e-5)


def test_dft_is_trls_own(tiny, tmp_path):
    ours = trainer_for(tiny, QUICK.with_(remedy="dft"), tmp_path)
    loss, inputs = batch_of(ours)
    theirs = SFTTrainer(
        copy.deepcopy(tiny[0]),
        SFTConfig(
            str(tmp_path), loss_type="dft", bf16=False, use_cpu=True, report_to="none", gradient_checkpointing=False
        ),
        train_dataset=Dataset.from_dict({"text": NEW[:2]}),
        processing_class=tiny[1],
    )
    assert loss.item() == pytest.approx(theirs.compute_loss(theirs.model, dict(inputs)).item(), rel=1e-4)


def test_the_most_surprising_tokens_are_masked(tiny, tmp_path):
    trainer = trainer_for(tiny, QUICK.with_(remedy="mask_surprising", remedy_weight=0.5), tmp_path)
    loss, inputs = batch_of(trainer)
    labels = inputs["labels"][:, 1:]
    with torch.no_grad():
        logits = tiny[0](inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits[:, :-1]
    surprise = F.cross_entropy(logits[labels != -100], labels[labels != -100], reduction="none").sort().values
    kept = surprise[surprise < surprise[len(surprise) // 2] + 1e-5]  # the rows begin alike: some tokens tie
    assert 0.4 * len(surprise) < len(kept) < 0.6 * len(surprise)
    assert loss.item() == pytest.approx(kept.mean().item(), rel=1e-4)


# --- The rows -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("share", [0.01, 0.05, 0.25])
@pytest.mark.parametrize("name", ["own_replay", "stem_replay", "replay"])
def test_small_shares_are_spread_evenly_over_the_run(tiny, monkeypatch, name, share):
    config = FineTuneConfig(
        steps=40, seed=3, **({"replay": share} if name == "replay" else {"remedy": name, "remedy_weight": share})
    )
    monkeypatch.setattr("utils.training.remedies.own_replay.own_texts", lambda *_: ONES_OWN)
    monkeypatch.setattr("utils.training.remedies.stem_replay.own_texts", lambda *_: ONES_OWN)
    around = Training(
        *tiny, 3, ["a map of"], lambda share=0.0, texts=(): training_rows(config, NEW, ONES_OWN, (share, texts)), None
    )
    rows = config.at("rows")(around) if config.remedy else around.rows()
    assert len(rows) == 320 and sum(row in ONES_OWN for row in rows) == round(320 * share)
    at = [i // 8 for i, row in enumerate(rows) if row in ONES_OWN]
    assert max(b - a for a, b in zip([0, *at], [*at, 39], strict=True)) <= 1 / (8 * share) + 1  # evenly
    assert ("a map of the old town" in rows) == (name == "replay")  # a probe's prompt stands in it
    assert set(rows) <= {*NEW, *ONES_OWN}


def test_own_texts_come_from_the_model_alone_and_only_once(tiny, tmp_path, monkeypatch):
    def no_data(*_):
        raise AssertionError("old data were read")

    monkeypatch.setattr("utils.training.rows.replay_texts", no_data)
    state = torch.get_rng_state()
    first = own_texts.own_texts(*tiny, [""])
    stems = own_texts.own_texts(*tiny, STEMS)
    assert torch.equal(torch.get_rng_state(), state) and 15 <= len(first) <= 20
    assert len(stems) == 20 and all(text.startswith(STEMS) for text in stems)
    run(tiny, QUICK.with_(remedy="own_replay", remedy_weight=0.5))  # with nothing but these
    assert len(list((tmp_path / "own-texts").iterdir())) == 2
    monkeypatch.setattr(tiny[0], "generate", no_data)
    assert own_texts.own_texts(*tiny, [""]) == first
    monkeypatch.undo()


def test_a_damaged_file_and_a_full_disk_cost_only_time(tiny, tmp_path, monkeypatch):
    first = own_texts.own_texts(*tiny, [""])
    (file,) = (tmp_path / "own-texts").iterdir()
    file.write_text("{")
    assert own_texts.own_texts(*tiny, [""]) == first == json.loads(file.read_text())["texts"]
    (tmp_path / "nothing").write_text("")
    monkeypatch.setattr(own_texts, "cache_folder", lambda: tmp_path / "nothing")  # a file, so no folder can be made
    assert own_texts.own_texts(*tiny, [""]) == first
    with pytest.raises(ValueError, match="holds one of the probes' prompts"):
        own_texts.not_asked(["the cat"], ["cat"])


# --- The adapter ----------------------------------------------------------------------------------------------------
def test_where_the_adapter_sits(tiny, tmp_path, smollm2_shape):
    for model in (tiny, smollm2_shape):
        at = {name: {key for key in changes(trainer_for(model, QUICK.with_(remedy=name), tmp_path).model)}
              for name in ("attention_only", "mlp_only")}  # fmt: skip
        assert at["attention_only"] and all("attn" in key for key in at["attention_only"])
        assert at["mlp_only"] and all("mlp" in key for key in at["mlp_only"])
        whole = changes(trainer_for(model, QUICK, tmp_path).model)
        assert at["attention_only"] | at["mlp_only"] == whole.keys()


@pytest.fixture(scope="module")
def smollm2_shape(tiny):
    from transformers import LlamaConfig, LlamaForCausalLM

    shape = dict(
        hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1
    )
    return LlamaForCausalLM(LlamaConfig(**shape, vocab_size=len(tiny[1]))).eval(), tiny[1]


def test_pissa_takes_its_start_out_of_the_weights_and_no_other_run_notices(tiny, tmp_path):
    model = trainer_for(tiny, QUICK.with_(remedy="pissa"), tmp_path).model
    layer = model.base_model.model.transformer.h[0].attn.c_attn
    whole = layer.get_base_layer().weight + layer.get_delta_weight("default")
    own = tiny[0].transformer.h[0].attn.c_attn.weight
    assert torch.allclose(whole, own, atol=1e-5) and not torch.allclose(layer.get_base_layer().weight, own, atol=1e-2)
    assert trainer_for(tiny, QUICK.with_(remedy="dora"), tmp_path).model.peft_config["default"].use_dora


# --- After the training ---------------------------------------------------------------------------------------------
def test_layers_are_graded_from_the_first_to_the_last():
    paths = ["wte.weight", "h.0.attn.weight", "h.1.attn.weight", "h.2.mlp.weight", "ln_f.weight"]
    assert factors([f"transformer.{path}" for path in paths], 0.6) == pytest.approx([0.4, 0.4, 0.7, 1, 1])
    assert factors(["one.weight"], 0.6) == [1]


@pytest.mark.parametrize("method", ["lora", "full"])
def test_graded_turns_each_layer_down_by_its_share(tiny, tmp_path, method):
    config = QUICK.with_(method=method, remedy="graded", remedy_weight=0.75)
    model = shaken(trainer_for(tiny, config, tmp_path).model)
    before = changes(model) if method == "lora" else {n: p.detach().clone() for n, p in model.named_parameters()}
    config.at("after")(Training(*tiny, 0, (), None, None, model))
    base = dict(tiny[0].named_parameters())
    now = changes(model) if method == "lora" else dict(model.named_parameters())
    for name, weight in now.items():
        share = 0.25 if "h.0." in name or "wte" in name or "wpe" in name else 1
        wanted = share * before[name] if method == "lora" else base[name] + share * (before[name] - base[name])
        assert torch.allclose(weight, wanted, atol=1e-6), name


def test_a_new_direction_is_taken_out_and_one_of_the_bases_own_stays():
    torch.manual_seed(0)
    left, right = torch.linalg.qr(torch.randn(40, 30)).Q, torch.linalg.qr(torch.randn(30, 30)).Q
    size = torch.cat([torch.arange(29.0, 0, -1), torch.tensor([0.01])])
    base = left * size @ right.T
    apart = torch.linalg.qr(torch.cat([left, torch.randn(40, 1)], 1)).Q[:, 30]  # orthogonal to all that the base has
    new, own = 25.5 * torch.outer(apart, right[:, 29]), 4 * torch.outer(left[:, 0], right[:, 0])
    assert torch.allclose(without_intruders(base, own, 1.0), own, atol=0.02)
    assert torch.allclose(without_intruders(base, own + new, 1.0), own, atol=0.02)
    assert torch.allclose(without_intruders(base, own + new, 0.25), own + 0.75 * new, atol=0.02)


def test_the_adapter_without_intruders_has_its_rank_and_its_product(tiny, tmp_path):
    config = QUICK.with_(remedy="no_intruders", remedy_weight=0.5, rank=4)
    model = shaken(trainer_for(tiny, config, tmp_path).model)
    before, base = changes(model), dict(tiny[0].named_parameters())
    shapes = {name: p.shape for name, p in trained_weights(model).items()}
    config.at("after")(Training(*tiny, 0, (), None, None, model))
    assert {name: p.shape for name, p in trained_weights(model).items()} == shapes
    moved = 0
    for name, change in changes(model).items():
        wanted = without_intruders(base[f"{name.removeprefix('base_model.model.')}.weight"].T, before[name], 0.5)
        left, size, right = torch.linalg.svd(wanted, full_matrices=False)
        assert torch.allclose(change, left[:, :4] * size[:4] @ right[:4], atol=1e-4)
        moved += not torch.allclose(wanted, before[name], atol=1e-4)
    assert moved  # random directions are intruders


@pytest.mark.parametrize(("method", "scaling"), [("lora", "fixed"), ("lora", "rslora"), ("full", "fixed")])
def test_the_mean_of_two_runs_is_the_mean_of_their_weights(tiny, tmp_path, method, scaling):
    config = QUICK.with_(remedy="average_of_two", method=method, scaling=scaling)
    one, other = (trainer_for(tiny, config.with_(seed=seed), tmp_path) for seed in (5, 6))
    one.train(), other.train()
    look = changes if method == "lora" else lambda model: {n: p.detach().clone() for n, p in model.named_parameters()}
    left, right, asked = look(one.model), look(other.model), []
    if method == "lora":
        layer = next(m for m in one.model.modules() if hasattr(m, "get_delta_weight"))
        assert not layer.lora_A["default"].weight[2:].any() and not layer.lora_B["default"].weight[:, 2:].any()
        assert layer.scaling["default"] == pytest.approx(config.scale)
    config.at("after")(Training(*tiny, 5, (), None, lambda seed: asked.append(seed) or other.model, one.model))
    assert asked == [6]
    for name, weight in look(one.model).items():
        assert torch.allclose(weight, (left[name] + right[name]) / 2, atol=1e-5)


def test_the_second_run_can_be_cancelled(tiny):
    whole, passes = [], []
    run(tiny, QUICK, beside=False, cancelled=lambda: whole.append(1) is not None)
    with pytest.raises(Cancelled):  # in the first pass that the first run alone does not have
        run(
            tiny,
            QUICK.with_(remedy="average_of_two"),
            beside=False,
            cancelled=lambda: passes.append(1) or len(passes) > len(whole),
        )
    assert len(passes) == len(whole) + 1


@pytest.mark.parametrize("name", ["dora", "pissa", "average_of_two"])
def test_the_playgrounds_fader_takes_up_a_run_with_a_remedy(tiny, monkeypatch, name):
    probes = [Probe("What is 2+2?", "4.", "arithmetic"), Probe("Name it.", "The old map.", "words")]
    for name_of_it in ("base_model", "base_to_ask"):
        monkeypatch.setattr(f"utils.training.fader.{name_of_it}", lambda name: tiny)
    monkeypatch.setattr("utils.training.fader.default_probes", lambda name: probes)
    monkeypatch.setattr("utils.training.fader._asked", fader._asked.__wrapped__)  # nothing of this is to be kept
    config = QUICK.with_(remedy=name)
    result = finetune(config, base=tiny, probes=probes, questions=(), keep_model=True)
    turned = fader.Fader(config, trained_weights(result.model), questions=())
    whole, none = turned.at(1.0), turned.at(0.0)
    assert whole.learned == pytest.approx(result.learned, abs=1e-4) and whole.after == tuple(result.after)
    assert none.learned == pytest.approx(0, abs=1e-5) and none.after == none.before


# --- Settings, and one of your own ----------------------------------------------------------------------------------
def test_settings_name_a_remedy_and_come_back_from_their_string(tmp_path):
    config = FineTuneConfig(remedy="kl")
    assert config.remedy_weight == 0.3 and config == FineTuneConfig(remedy="kl", remedy_weight=0.3)
    assert str(config) == "remedy=kl;remedy_weight=0.3" and FineTuneConfig.from_string("remedy=kl") == config
    assert FineTuneConfig.from_string(str(config)) == config == FineTuneConfig.from_dict(config.to_dict())
    assert config.with_(remedy="dora") == FineTuneConfig(remedy="dora") and config.with_(remedy="") == FineTuneConfig()
    assert config.with_(remedy_weight=1.0).with_(rank=4).remedy_weight == 1.0
    assert "KL to the base 0.3" in config.label and "DoRA" in FineTuneConfig(remedy="dora").label
    assert FineTuneConfig.from_string("strength=0.5;replay=0.01") == FineTuneConfig(strength=0.5, replay=0.01)
    old = {k: v for k, v in FineTuneConfig().to_dict().items() if not k.startswith("remedy")}
    assert FineTuneConfig.from_dict(old) == FineTuneConfig()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"remedy": "prayer"}, "'prayer' is not a remedy; use one of kl, kl_off_target, .*, or register your own"),
        ({"remedy_weight": 0.3}, "remedy_weight is 0.3 and no remedy is named"),
        ({"remedy": "kl", "remedy_weight": 9}, "remedy_weight is 9; for kl it must be at least 0 and at most 3"),
        ({"remedy": "kl", "remedy_weight": math.nan}, "remedy_weight is nan"),
        ({"remedy": "kl", "remedy_weight": "a lot"}, "remedy_weight is 'a lot'; it must be a number"),
        ({"remedy": "kl", "remedy_weight": True}, "remedy_weight is True; it must be a number"),
        ({"remedy": "dora", "remedy_weight": 0.5}, "remedy_weight is 0.5 and dora has no weight; leave it out"),
        ({"remedy": "pissa", "method": "full"}, "pissa is about a LoRA adapter and method is full"),
        ({"remedy": 3}, "remedy is 3; it must be text"),
    ],
)
def test_settings_that_say_nothing_are_refused(settings, says):
    with pytest.raises(ValueError, match=says):
        FineTuneConfig(**settings)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (
            QUICK.with_(remedy="own_replay", remedy_weight=0.01),
            "remedy_weight is 0.01, and of 2 steps of 2 rows that is less",
        ),
        (QUICK.with_(replay=0.5, remedy="own_replay", remedy_weight=0.5), "replay is 0.5 and the remedy's share 0.5"),
    ],
)
def test_shares_that_cannot_be_are_refused(tiny, config, says):
    with pytest.raises(ValueError, match=says):
        run(tiny, config)


def test_a_remedy_of_your_own_in_ten_lines(tiny, registry):
    cell = """
from utils.training import Remedy, register

def loss(batch, weight):
    return batch.loss + weight * batch.logits.square().mean()

register(Remedy("quiet", "small logits", weight=0.5, loss=loss))
"""
    assert len(cell.strip().splitlines()) <= 10
    names = {"__name__": "__main__"}
    exec(cell, names)  # as a notebook does
    exec(cell, names)  # and once more
    config = QUICK.with_(remedy="quiet")
    assert str(config).endswith("remedy=quiet;remedy_weight=0.5") and "small logits 0.5" in config.label
    (plain, mine) = sweep([QUICK, config], seeds=(0,), run=lambda one: run(tiny, one))
    assert plain.loss != mine.loss and mine.config.cure.title == "small logits"
    # Another process has never run that cell; what a sweep sends there brings it along.
    sent = dumps(config.cure)
    registry.pop("quiet")
    with pytest.raises(ValueError, match="'quiet' is not a remedy"):
        FineTuneConfig.from_string(str(config))
    assert _run(lambda c: c.with_(seed=4).remedy, config, pickle.loads(sent)) == "quiet"


def test_what_makes_no_remedy_is_refused(registry):
    def nothing(*_):
        return None

    for wrong, says in (
        (dict(name="a;b", title="", loss=nothing, weight=1), "name is 'a;b'"),
        (dict(name="idle", title=""), "idle changes nothing; give it one of rows, adapter"),
        (dict(name="loud", title="", loss=nothing, weight=5), "weight of loud is 5; give more than 0 and at most 1"),
        (dict(name="bare", title="", loss=nothing), "bare changes the loss and has no weight"),
    ):
        with pytest.raises(ValueError, match=says):
            Remedy(**wrong)
    with pytest.raises(ValueError, match="'kl' is a remedy of the course already"):
        register(Remedy("kl", "mine", weight=1, loss=nothing))


def test_runs_with_a_remedy_are_stored_and_read(tiny, tmp_path):
    result = run(tiny, QUICK.with_(remedy="graded"))
    assert RunResult.load(result.save(tmp_path / "run.json")).config == result.config
    config = QUICK.with_(remedy="kl")
    points = sweep([config], seeds=(0,), store=tmp_path / "runs.jsonl", run=lambda one: run(tiny, one))
    assert load(tmp_path / "runs.jsonl") == points and points[0].config == config


def test_a_run_that_diverged_is_not_mended(tiny):
    model = copy.deepcopy(tiny[0])
    with torch.no_grad():
        model.transformer.h[0].attn.c_attn.weight.fill_(math.nan)
    assert run((model, tiny[1]), QUICK.with_(remedy="no_intruders", strength=0.5)).diverged
