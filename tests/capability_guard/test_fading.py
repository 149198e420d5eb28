"""A fine-tuning that is turned down is exactly between the base and the tuned model, and comes back to the last bit.

What is between is worked out here from the merged weights, by the formula itself. No course and no network.
"""

from __future__ import annotations

import copy
import os

os.environ["HF_HUB_OFFLINE"] = "1"  # before transformers is imported

import peft
import pytest
import torch
from peft import (
    AdaLoraConfig,
    FourierFTConfig,
    IA3Config,
    LNTuningConfig,
    LoHaConfig,
    LoKrConfig,
    LoraConfig,
    OFTConfig,
    PeftModel,
    PrefixTuningConfig,
    PromptEncoderConfig,
    PromptTuningConfig,
    TrainableTokensConfig,
    VeraConfig,
    get_peft_model,
)
from transformers import LlamaConfig, LlamaForCausalLM

from capability_guard import fade
from capability_guard.fading.methods import EXACT, FadingError, checked, why_not
from capability_guard.fading.turning import parts_of

pytestmark = pytest.mark.training  # half a minute
IDS = torch.tensor([[3, 4, 17, 9, 31, 3], [8, 4, 4, 40, 22, 1]])  # with the tokens that are trained below, 3 and 4
SOME = ["q_proj", "v_proj", "down_proj"]
LORA = {"r": 4, "lora_alpha": 16, "target_modules": SOME}
METHODS = {
    "LoRA": lambda: LoraConfig(**LORA, lora_dropout=0.3),
    "rsLoRA": lambda: LoraConfig(**LORA, use_rslora=True),
    "ranks and alphas of their own": lambda: LoraConfig(**LORA, rank_pattern={"q_proj": 2}, alpha_pattern={"v_proj": 5}),
    "LoRA with a bias of its own": lambda: LoraConfig(r=4, target_modules=["q_proj"], lora_bias=True),
    "LoRA that starts at random": lambda: LoraConfig(**LORA, init_lora_weights=False),
    "AdaLoRA": lambda: AdaLoraConfig(target_modules=SOME, total_step=10),
    "LoHa": lambda: LoHaConfig(target_modules=SOME, rank_dropout=0.2),
    "LoKr": lambda: LoKrConfig(target_modules=SOME, r=2),
    "LoKr, both decomposed": lambda: LoKrConfig(target_modules=SOME, r=2, decompose_both=True, decompose_factor=4),
    "modules to save": lambda: LoraConfig(**LORA, modules_to_save=["lm_head", "embed_tokens"]),
    "trained tokens beside LoRA": lambda: LoraConfig(**LORA, trainable_token_indices=[3, 4]),
    "trained tokens alone": lambda: TrainableTokensConfig(token_indices=[3, 4]),
    "all biases": lambda: LoraConfig(**LORA, bias="all"),
    "LoRA's biases": lambda: LoraConfig(**LORA, bias="lora_only"),
}  # fmt: skip


def llama(seed: int = 0, **config) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    sizes = {
        "vocab_size": 50,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
    }
    model = LlamaForCausalLM(LlamaConfig(**sizes, num_key_value_heads=2, attention_bias=True, **config))
    return model.eval().requires_grad_(False)


def trained(model, spread: float = 0.3):
    """What training does to weights: each that is trained goes somewhere else."""
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.add_(torch.randn_like(weight) * spread)
    return model.eval()


def adapted(config, **settings):
    return trained(get_peft_model(llama(**settings), config))


def whole(**settings):
    """A full fine-tuning of ``llama()``."""
    return trained(llama(**settings).requires_grad_(True), 0.05)


@torch.no_grad()
def logits(model) -> torch.Tensor:
    return model(input_ids=IDS).logits


def bits(model) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same_bits(model, before) -> bool:
    return before.keys() == model.state_dict().keys() and all(
        torch.equal(x, before[n]) for n, x in model.state_dict().items()
    )


def mixed_by_hand(base, tuned, strength):
    """The model whose every weight is between, by the formula and in float64."""
    between, ours, theirs = (
        copy.deepcopy(tuned),
        dict(tuned.named_parameters()),
        dict(base.named_parameters(remove_duplicate=False)),
    )
    with torch.no_grad():
        for name, weight in between.named_parameters():
            weight.copy_(theirs[name].double() + strength * (ours[name].double() - theirs[name].double()))
    return between


# --- Between the base and the tuned model ------------------------------------------------------------------------
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_strength_0_is_the_base_and_1_the_tuned_model(method, tied):
    base, tuned = llama(tie_word_embeddings=tied), adapted(METHODS[method](), tie_word_embeddings=tied)
    before, weights = logits(tuned), bits(tuned)
    assert not torch.allclose(logits(base), before, atol=0.01), "it was tuned"
    with fade(tuned, 0, base=base):
        assert torch.equal(logits(tuned), logits(base))
    with fade(tuned, 1, base=base):
        assert torch.equal(logits(tuned), before)
    assert same_bits(tuned, weights)


def test_at_strength_0_a_run_that_diverged_is_the_base():
    for model, base in ((adapted(METHODS["LoRA"]()), llama()), (whole(), llama())):
        with torch.no_grad():
            parts_of(model, base)[0].weight.fill_(float("inf"))
        with fade(model, 0, base=base):
            assert torch.equal(logits(model), logits(base))


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_what_is_between_has_the_mixed_weights(method, tied):
    base, tuned = llama(tie_word_embeddings=tied), adapted(METHODS[method](), tie_word_embeddings=tied)
    with torch.no_grad():
        merged = copy.deepcopy(tuned).merge_and_unload().eval()
    if peft.__version__.startswith("0.15") and method == "LoRA with a bias of its own":
        pytest.skip("this peft merges that bias without its scale")
    assert torch.allclose(logits(merged), logits(tuned), atol=1e-5), "peft's merge is the measure"
    for strength in (0.3, 0.75):
        wanted = logits(mixed_by_hand(base, merged, strength))
        with fade(tuned, strength, base=base):
            assert torch.allclose(logits(tuned), wanted, atol=1e-5)
        with fade(merged, strength, base=base):
            assert torch.allclose(logits(merged), wanted, atol=1e-5)
        assert not torch.allclose(wanted, logits(tuned), atol=1e-3) and not torch.allclose(
            wanted, logits(base), atol=1e-3
        )


def test_experts_that_are_one_tensor():
    """LoRA on parameters that no layer has, as in a mixture of experts; peft has it since 0.18."""
    if "target_parameters" not in LoraConfig.__dataclass_fields__:
        pytest.skip("this peft cannot")
    from transformers import MixtralConfig, MixtralForCausalLM

    def mixtral():
        torch.manual_seed(0)
        sizes = {"vocab_size": 50, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1}
        config = MixtralConfig(**sizes, num_local_experts=4, num_attention_heads=4, num_key_value_heads=2)
        return MixtralForCausalLM(config).eval().requires_grad_(False)

    base = mixtral()
    experts = [name for name, weight in base.named_parameters() if weight.ndim == 3]
    if not experts:
        pytest.skip("these experts are layers")
    tuned = trained(get_peft_model(mixtral(), LoraConfig(r=2, target_modules=[], target_parameters=[experts[-1]])))
    before = logits(tuned)
    merged = copy.deepcopy(tuned).merge_and_unload()
    with fade(tuned, 0.4):
        assert torch.allclose(logits(tuned), logits(mixed_by_hand(base, merged, 0.4)), atol=1e-5)
    with fade(tuned, 0):
        assert torch.equal(logits(tuned), logits(base))
    assert torch.equal(logits(tuned), before) and not torch.allclose(before, logits(base), atol=1e-3)


def test_lora_on_embeddings():
    base, tuned = llama(), adapted(LoraConfig(r=4, target_modules=["embed_tokens"]))
    with torch.no_grad():
        merged = copy.deepcopy(tuned).merge_and_unload()
    with fade(tuned, 0.4):
        assert torch.allclose(logits(tuned), logits(mixed_by_hand(base, merged, 0.4)), atol=1e-5)


def test_every_active_adapter_is_faded_and_no_other():
    base, tuned = llama(), get_peft_model(llama(), LoraConfig(**LORA), "one")
    tuned.add_adapter("two", LoraConfig(r=2, target_modules=["o_proj", "q_proj"]))
    tuned.add_adapter("three", LoraConfig(r=2, target_modules=["o_proj"]))
    for name, weight in tuned.named_parameters():
        weight.requires_grad_("lora_" in name)
    trained(tuned)
    tuned.base_model.set_adapter(["one", "two"])
    idle = {name: weight.clone() for name, weight in tuned.named_parameters() if ".three" in name}
    with torch.no_grad():
        merged = copy.deepcopy(tuned).merge_and_unload()
    fade(tuned, 0.4)
    assert torch.allclose(logits(tuned), logits(mixed_by_hand(base, merged, 0.4)), atol=1e-5)
    assert idle and all(torch.equal(weight, idle[name]) for name, weight in tuned.named_parameters() if name in idle)


def test_an_adapter_without_a_wrapper_around_the_model():
    base, model = llama(), peft.inject_adapter_in_model(LoraConfig(**LORA), llama())
    trained(model)
    with fade(model, 0):
        assert torch.equal(logits(model), logits(base))
    assert not torch.allclose(logits(model), logits(base), atol=0.01)


# --- For the block, and for good ---------------------------------------------------------------------------------
def test_after_the_block_each_weight_is_as_it_was_also_when_it_raises():
    for model, base in ((adapted(METHODS["modules to save"]()), None), (whole(), llama())):
        before, flags = bits(model), [p.requires_grad for p in model.parameters()]
        with pytest.raises(KeyboardInterrupt), fade(model, 0.3, base=base) as inside:
            assert inside is model and not same_bits(model, before)
            raise KeyboardInterrupt
        assert same_bits(model, before) and flags == [p.requires_grad for p in model.parameters()]
        assert not any("fading" in name for module in model.modules() for name in vars(module)), (
            "nothing is left behind"
        )


def test_strengths_are_absolute():
    for model, base in ((adapted(METHODS["rsLoRA"]()), None), (whole(), llama())):
        before = bits(model)
        with fade(model, 0.5, base=base):
            half = bits(model)
        fade(model, 0.8, base=base)
        with fade(model, 0.2, base=base), fade(model, 0.5, base=base):
            assert same_bits(model, half)
        fade(model, 0.5, base=base)
        assert same_bits(model, half)
        fade(model, 0, base=base)
        fade(model, 1, base=base)
        assert same_bits(model, before)


def test_a_block_inside_a_permanent_fade_goes_back_to_that():
    model = adapted(METHODS["AdaLoRA"]())
    fade(model, 0.6)
    before = bits(model)
    with pytest.raises(ZeroDivisionError), fade(model, 0.1):
        with fade(model, 1):
            pass
        raise ZeroDivisionError
    assert same_bits(model, before)


def test_one_object_in_two_blocks():
    model = adapted(METHODS["LoRA"]())
    before, faded = bits(model), fade(model, 0.4)
    at = bits(model)
    for _ in range(2):
        with faded:
            assert same_bits(model, at)
        assert same_bits(model, before)


def test_a_copy_of_a_faded_model_can_be_turned_up_again():
    model = adapted(METHODS["LoHa"]())
    before = bits(model)
    fade(model, 0.5)
    other = copy.deepcopy(model)
    fade(other, 1)
    assert same_bits(other, before) and not same_bits(model, before)


def test_a_faded_model_can_go_to_half_precision_and_back_up():
    model, base = whole(), llama()
    full = bits(model)
    fade(model, 0.5, base=base)
    model.to(torch.bfloat16)
    fade(model, 1, base=base)
    assert same_bits(model, {name: x.to(torch.bfloat16) for name, x in full.items()})


@pytest.mark.parametrize("which", ["all", "one"])
def test_what_is_trained_on_is_the_new_full_strength(which):
    """Even where training left most weights as they were faded."""
    for model, base in ((adapted(METHODS["LoRA"]()), None), (whole(), llama())):
        fade(model, 0.5, base=base)
        with torch.no_grad():
            for weight in [p for p in model.parameters() if p.requires_grad][:: 1 if which == "all" else 1000]:
                weight.add_(0.01)
            parts = parts_of(model, base)
            parts[-1].weight.add_(0.01)
        now = bits(model)
        fade(model, 0.5, base=base)
        assert not same_bits(model, now)
        fade(model, 1, base=base)
        assert same_bits(model, now)


def test_training_goes_on_with_the_same_optimizer():
    model = adapted(METHODS["LoRA"]()).train()
    weights = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=0.1)
    fade(model, 0.5)
    before = [w.detach().clone() for w in weights]
    model(input_ids=IDS, labels=IDS).loss.backward()
    optimizer.step()
    assert [id(p) for p in model.parameters() if p.requires_grad] == [id(w) for w in weights]
    assert all(not torch.equal(w, old) for w, old in zip(weights, before, strict=True))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_it_does_not_matter_whether_gradients_are_on(mode):
    model = adapted(METHODS["LoRA"]())
    before = bits(model)
    with mode(), fade(model, 0.5):
        assert not same_bits(model, before)
    assert same_bits(model, before) and all(p.grad_fn is None and p.is_leaf for p in model.parameters())


# --- Saved -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("method", [name for name in METHODS if "biases" not in name])
def test_a_faded_adapter_is_saved_faded(method, tmp_path):
    model = adapted(METHODS[method]())
    fade(model, 0.4)
    model.save_pretrained(tmp_path)
    again = PeftModel.from_pretrained(llama(), tmp_path).eval()
    assert torch.allclose(logits(again), logits(model), atol=1e-5)
    fade(model, 1)
    assert not torch.allclose(logits(again), logits(model), atol=1e-3)


def test_a_faded_adapter_is_merged_faded():
    model = adapted(METHODS["rsLoRA"]())
    fade(model, 0.4)
    at = logits(model)
    assert torch.allclose(logits(model.merge_and_unload()), at, atol=1e-5)


# --- A whole model -----------------------------------------------------------------------------------------------
def test_the_weights_of_a_whole_model_are_the_formula_s():
    base, model = llama(), whole()
    wanted = mixed_by_hand(base, model, 0.3)
    with fade(model, 0.3, base=base):
        for name, weight in model.named_parameters():
            assert torch.allclose(weight, wanted.get_parameter(name), atol=1e-7), name
    with fade(model, 0, base=base):
        assert all(torch.equal(weight, base.get_parameter(name)) for name, weight in model.named_parameters())


def test_in_bfloat16_the_weights_are_mixed_in_float32_and_rounded_once():
    base, model = llama().to(torch.bfloat16), whole().to(torch.bfloat16)
    b, t = base.lm_head.weight, model.lm_head.weight.clone()
    with fade(model, 0.3, base=base):
        now = model.lm_head.weight.clone()
        assert now.dtype == torch.bfloat16
    assert torch.equal(now, (b.float() + 0.3 * (t.float() - b.float())).to(torch.bfloat16))
    assert not torch.equal(now, b + 0.3 * (t - b)), "rounded at each step, it is another"
    assert torch.equal(model.lm_head.weight, t)


def test_a_weight_with_two_names_is_mixed_once():
    base, model = llama(tie_word_embeddings=True), whole(tie_word_embeddings=True)
    assert model.lm_head.weight is model.model.embed_tokens.weight
    wanted = (base.lm_head.weight + model.lm_head.weight) / 2
    with fade(model, 0.5, base=base):
        assert (
            torch.allclose(model.lm_head.weight, wanted, atol=1e-6)
            and model.lm_head.weight is model.model.embed_tokens.weight
        )


def test_buffers_stay_as_they_are():
    base, model = llama(), whole()
    for number, one in ((1.0, base), (3.0, model)):
        one.register_buffer("seen", torch.tensor(number))
    with fade(model, 0.5, base=base):
        assert model.seen == 3.0
    with fade(model, 0.5, base=base.state_dict()):
        assert model.seen == 3.0


def test_the_base_may_be_a_model_a_state_dict_or_a_folder(tmp_path):
    from families import gpt2

    base, model = llama(tie_word_embeddings=True), whole(tie_word_embeddings=True)
    base.save_pretrained(tmp_path)
    gpt2().save_pretrained(tmp_path)
    found = []
    for one in (base, base.state_dict(), tmp_path, str(tmp_path)):
        with fade(model, 0.4, base=one):
            found.append(bits(model))
        with fade(model, 0, base=one):
            assert torch.equal(logits(model), logits(base))
    assert not same_bits(model, found[0])
    assert all(torch.equal(found[0][name], one[name]) for one in found for name in found[0])


def longer():
    model = llama()
    model.resize_token_embeddings(53, mean_resizing=False)
    return model


def without(name):
    state = llama().state_dict()
    del state[name]
    return state


@pytest.mark.parametrize(
    ("base", "says"),
    [
        (lambda model: None, "has no adapter that acts"),
        (lambda model: model, "shares its memory with the tuned model|is the tuned model itself"),
        (lambda model: model.state_dict(), "shares its memory with the tuned model"),
        (lambda model: longer(), r"are \(50, 32\) in the tuned model and \(53, 32\) in the base"),
        (lambda model: without("lm_head.weight"), "has 'lm_head.weight' and the base has not"),
        (
            lambda model: llama().state_dict() | {"odd": torch.zeros(1)},
            "The base has 'odd' and the tuned model has not",
        ),
        (lambda model: "no/such-model", "neither a folder nor to be had"),
        (lambda model: 7, "The base is '7'; give a model"),
        (lambda model: llama().to("meta"), "were never loaded"),
    ],
)
def test_a_base_that_does_not_fit_is_refused(base, says):
    model = whole()
    before = bits(model)
    with pytest.raises(FadingError, match=says) as error:
        fade(model, 0.5, base=base(model))
    assert str(error.value).endswith(".") and "\n" not in str(error.value) and same_bits(model, before)


def test_one_weight_here_and_two_there_are_refused():
    model, base = whole(tie_word_embeddings=True), llama()
    with pytest.raises(FadingError, match="are one weight in the tuned model and two in the base"):
        fade(model, 0.5, base=base)
    with fade(whole(), 0.5, base=llama(tie_word_embeddings=True)):
        pass  # the other way round, each of the two is mixed with the one


def test_quantized_weights_are_refused():
    model, base = whole(), llama()
    model.lm_head.weight = torch.nn.Parameter(torch.zeros(50, 32, dtype=torch.int8), requires_grad=False)
    with pytest.raises(FadingError, match="are quantized"):
        fade(model, 0.5, base=base)


# --- What cannot be faded ----------------------------------------------------------------------------------------
REFUSED = {
    "DoRA": (lambda: LoraConfig(**LORA, use_dora=True), "is DoRA"),
    "PiSSA": (lambda: LoraConfig(**LORA, init_lora_weights="pissa"), "was started with PiSSA"),
    "PiSSA, fast": (lambda: LoraConfig(**LORA, init_lora_weights="pissa_niter_4"), "was started with PiSSA"),
    "OLoRA": (lambda: LoraConfig(**LORA, init_lora_weights="olora"), "was started with OLoRA"),
    "layers repeated": (lambda: LoraConfig(**LORA, layer_replication=[(0, 2), (1, 2)]), "repeats layers"),
    "VeRA": (lambda: VeraConfig(r=4, target_modules=["q_proj"]), "is VERA"),
    "IA3": (lambda: IA3Config(target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"]), "is IA3"),
    "OFT": (lambda: OFTConfig(r=4, oft_block_size=0, target_modules=["q_proj"]), "is OFT"),
    "FourierFT": (lambda: FourierFTConfig(n_frequency=10, target_modules=["q_proj"]), "is FOURIERFT"),
    "layer norms": (lambda: LNTuningConfig(target_modules=["input_layernorm"]), "is LN_TUNING"),
    "prompt tuning": (lambda: PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3), "is PROMPT_TUNING"),
    "p-tuning": (lambda: PromptEncoderConfig(task_type="CAUSAL_LM", num_virtual_tokens=3), "is P_TUNING"),
    "prefix tuning": (lambda: PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3), "is PREFIX_TUNING"),
    "biases without a base": (lambda: LoraConfig(**LORA, bias="all"), "trained biases in place"),
}  # fmt: skip


@pytest.mark.parametrize("method", REFUSED)
def test_what_cannot_be_faded_is_refused_in_one_sentence(method):
    config, says = REFUSED[method]
    model = adapted(config())
    before = bits(model)
    with pytest.raises(FadingError, match=says) as error:
        fade(model, 0.5)
    said = str(error.value)
    assert said.endswith(".") and "\n" not in said and same_bits(model, before)
    assert any(remedy in said for remedy in ("merge it into the model", "an earlier checkpoint", "give the base")), said


@pytest.mark.parametrize("method", ["DoRA", "PiSSA", "IA3", "VeRA"])
def test_what_is_merged_can_be_faded_instead(method):
    """The way out that the sentence names."""
    base, tuned = llama(), adapted(REFUSED[method][0]())
    at = logits(tuned)
    merged = tuned.merge_and_unload().eval()
    with fade(merged, 0, base=base):
        assert torch.equal(logits(merged), logits(base))
    wanted = logits(mixed_by_hand(base, merged, 0.5))
    with fade(merged, 0.5, base=base):
        assert torch.allclose(logits(merged), wanted, atol=1e-5)
    assert torch.allclose(logits(merged), at, atol=1e-4)


def test_a_merged_adapter_is_refused_until_it_is_taken_out_again():
    model = adapted(METHODS["LoRA"]())
    model.merge_adapter()
    with pytest.raises(FadingError, match=r"is merged into the weights now; call unmerge_adapter\(\)"):
        fade(model, 0.5)
    model.unmerge_adapter()
    before = logits(model)
    with pytest.raises(FadingError, match="was merged while it was faded"), fade(model, 0.5):
        model.merge_adapter()
    model.unmerge_adapter()
    fade(model, 1)
    assert torch.allclose(logits(model), before, atol=1e-5)


@pytest.mark.parametrize("setting", [
    {"peft_type": "XLORA"}, {"peft_type": "BOFT"}, {"peft_type": None}, {"peft_type": "LORA", "init_lora_weights": "corda"},
    {"peft_type": "LORA", "init_lora_weights": "loftq"}, {"peft_type": "LORA", "init_lora_weights": "lora_ga"},
    {"peft_type": "LORA", "init_lora_weights": "mica"}, {"peft_type": "LORA", "alora_invocation_tokens": [1]},
    {"peft_type": "LORA", "use_qalora": True}, {"peft_type": "LORA", "ensure_weight_tying": True},
    {"peft_type": "LOHA", "a_setting_of_tomorrow": 1}, {"peft_type": "LOKR", "init_weights": "svd"},
])  # fmt: skip
def test_settings_that_are_not_known_to_be_exact(setting):
    said = why_not(setting, "a")
    assert said.startswith("The adapter 'a' ") and said.endswith(".") and "\n" not in said


def test_no_setting_of_this_peft_s_stands_in_the_way_by_default():
    defaults = {"LORA": LoraConfig(), "ADALORA": AdaLoraConfig(total_step=10), "LOHA": LoHaConfig(), "LOKR": LoKrConfig(),
                "TRAINABLE_TOKENS": TrainableTokensConfig()}  # fmt: skip
    assert defaults.keys() == EXACT.keys()
    for method, config in defaults.items():
        assert config.peft_type == method and why_not(config.to_dict(), "a") == "", (peft.__version__, method)


@pytest.mark.parametrize(
    "strength", [-0.01, 1.2, float("nan"), float("inf"), True, False, "0.5", None, [0.5], 1 + 1e-9]
)
def test_a_strength_that_is_no_number_from_0_to_1(strength):
    model = adapted(METHODS["LoRA"]())
    before = bits(model)
    with pytest.raises(FadingError) as error:
        fade(model, strength)
    assert (
        repr(strength) in str(error.value) and "from 0 (the base) to 1" in str(error.value) and same_bits(model, before)
    )


def test_other_kinds_of_number():
    import numpy as np

    assert checked(np.float32(0.5)) == checked(0.5) == 0.5 and checked(1) == 1 and isinstance(checked(0), float)


def test_an_error_in_the_middle_leaves_no_model_of_two_halves(monkeypatch):
    import capability_guard.fading.turning as fading

    model, base = whole(), llama()
    before, count, write = bits(model), iter(range(1000)), fading._write

    def failing(part, strength, tuned):
        if next(count) == 3:
            raise MemoryError
        write(part, strength, tuned)

    monkeypatch.setattr(fading, "_write", failing)
    with pytest.raises(MemoryError):
        fade(model, 0.5, base=base)
    assert next(count) > 4 and same_bits(model, before)
