"""A model's forward is checked and not believed: virtual tokens, logits_to_keep as a number, models that look ahead."""

import families
import pytest
import torch
from families import PROBES, tiny
from peft import PrefixTuningConfig, PromptEncoderConfig, PromptTuningConfig, TaskType, get_peft_model
from transformers import (
    BertConfig,
    BertLMHeadModel,
    DistilBertConfig,
    DistilBertForMaskedLM,
    LlamaForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

from capability_guard.asking import score_probes
from capability_guard.encoding import encode
from capability_guard.forward import input_device, picks_positions
from capability_guard.jsonl import DataError
from capability_guard.probes import Probe

pytestmark = pytest.mark.training

TOKENIZER = families.gpt2()
SMALL = {"vocab_size": len(TOKENIZER), "hidden_size": 32, "num_hidden_layers": 1}


@pytest.fixture(scope="module")
def taught():
    model = tiny(len(TOKENIZER))
    families.learn(model, [TOKENIZER(p.text).input_ids + [0] for p in PROBES], 300)
    assert sum(score_probes(model, TOKENIZER, PROBES).correct) >= 8
    return model


VIRTUAL = {
    "prompt tuning": lambda: PromptTuningConfig(task_type=TaskType.CAUSAL_LM, num_virtual_tokens=6),
    "p-tuning": lambda: PromptEncoderConfig(task_type=TaskType.CAUSAL_LM, num_virtual_tokens=6, encoder_hidden_size=32),
    "prefix tuning": lambda: PrefixTuningConfig(task_type=TaskType.CAUSAL_LM, num_virtual_tokens=4),
}


@pytest.mark.parametrize("kind", VIRTUAL)
def test_virtual_tokens_shift_nothing(kind):
    """Against one pass over the whole row, cut from its end; and against what generation says."""
    torch.manual_seed(0)
    tuned = get_peft_model(tiny(len(TOKENIZER)), VIRTUAL[kind]())
    for parameter in tuned.base_model.parameters():
        parameter.requires_grad = True  # a tiny model learns little by a prompt alone
    families.learn(tuned, [TOKENIZER(p.text).input_ids + [0] for p in PROBES], 350)
    truth = []
    for probe in PROBES:
        asked, answer = TOKENIZER(probe.prompt).input_ids, TOKENIZER(" " + probe.answer).input_ids
        ids = torch.tensor([asked + answer])
        with torch.no_grad():
            logits = tuned(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).logits[0][
                -ids.shape[1] :
            ]
        truth.append(logits[len(asked) - 1 : -1].argmax(-1).tolist() == answer)
    scores = score_probes(tuned, TOKENIZER, PROBES)
    assert scores.correct == truth and sum(truth) >= 5
    spoken = [Probe(p.prompt, p.answer, p.capability, measure="contains") for p in PROBES]
    found = score_probes(tuned, TOKENIZER, spoken).correct
    assert all(f for f, t in zip(found, truth, strict=True) if t), "what it says holds what it knows"


PLAIN = LlamaForCausalLM.forward


def number(self, input_ids=None, attention_mask=None, logits_to_keep=0, **kw):
    """A tensor is taken for a number, and fails."""
    return PLAIN(self, input_ids=input_ids, attention_mask=attention_mask, logits_to_keep=max(0, logits_to_keep), **kw)


def dropped(self, input_ids=None, attention_mask=None, logits_to_keep=0, **kw):
    """All positions come back."""
    return PLAIN(self, input_ids=input_ids, attention_mask=attention_mask, **kw)


def last_ones(self, input_ids=None, attention_mask=None, logits_to_keep=0, **kw):
    """As many as were asked for, but the last ones: the right shape, and wrong."""
    keep = logits_to_keep.numel() if isinstance(logits_to_keep, torch.Tensor) else logits_to_keep
    return PLAIN(self, input_ids=input_ids, attention_mask=attention_mask, logits_to_keep=keep, **kw)


def refused(self, input_ids=None, attention_mask=None, logits_to_keep=None, **kw):
    if logits_to_keep is not None:
        raise TypeError("logits_to_keep is not supported")
    return PLAIN(self, input_ids=input_ids, attention_mask=attention_mask, **kw)


@pytest.mark.parametrize("forward", [number, dropped, last_ones, refused], ids=lambda f: f.__name__)
def test_a_forward_that_does_not_pick_positions_changes_no_outcome(taught, monkeypatch, forward):
    plain = score_probes(taught, TOKENIZER, PROBES)
    monkeypatch.setattr(LlamaForCausalLM, "forward", forward)  # as a library does to a class that is in use already
    again = score_probes(taught, TOKENIZER, PROBES)
    assert again.correct == plain.correct and again.loss == pytest.approx(plain.loss, abs=1e-4)
    assert not picks_positions(taught, encode(TOKENIZER, PROBES)[0])


def test_positions_are_picked_where_they_can_be(taught):
    assert picks_positions(taught, encode(TOKENIZER, PROBES)[0])


@pytest.mark.parametrize("make", [
    lambda: BertLMHeadModel(BertConfig(**SMALL, intermediate_size=32, num_attention_heads=2)),
    lambda: DistilBertForMaskedLM(DistilBertConfig(vocab_size=len(TOKENIZER), dim=32, n_layers=1, n_heads=2, hidden_dim=32)),
    lambda: T5ForConditionalGeneration(T5Config(vocab_size=len(TOKENIZER), d_model=32, d_ff=32, d_kv=8, num_layers=1, num_heads=2)),
], ids=["bert", "masked", "t5"])  # fmt: skip
def test_a_model_that_does_not_write_from_left_to_right_is_one_sentence(make):
    with pytest.raises(DataError) as refused:
        score_probes(make().eval(), TOKENIZER, PROBES[:3])
    assert "no decoder-only language model" in str(refused.value) and "\n" not in str(refused.value)


def test_a_model_without_attention_is_asked_like_any_other():
    model = MambaForCausalLM(
        MambaConfig(vocab_size=len(TOKENIZER), hidden_size=32, num_hidden_layers=1, state_size=4)
    ).eval()
    said = [families.spoken(model, TOKENIZER, p.prompt).lstrip().startswith(p.answer) for p in PROBES]
    assert score_probes(model, TOKENIZER, PROBES).correct == said


def test_a_model_that_diverged_is_not_called_something_else():
    model = tiny(len(TOKENIZER))
    torch.nn.init.constant_(model.model.norm.weight, float("nan"))
    assert not any(score_probes(model, TOKENIZER, PROBES).correct)
    torch.nn.init.constant_(model.model.norm.weight, 1.0)
    assert picks_positions(model, encode(TOKENIZER, PROBES)[0]), "and it is looked at again"


def test_weights_that_were_never_loaded_are_named():
    with torch.device("meta"):
        model = tiny(len(TOKENIZER))
    with pytest.raises(DataError, match="never loaded"):
        input_device(model)


def test_settings_saved_beside_a_model_change_nothing(taught):
    """A repetition penalty, beams, suppressed tokens, a shorter length: generation is the guard's own."""
    spoken = [Probe(p.prompt, p.answer, p.capability, measure="contains") for p in PROBES]
    plain = score_probes(taught, TOKENIZER, spoken).correct
    kept = taught.generation_config.to_dict()
    changes = {"repetition_penalty": 5.0, "num_beams": 4, "suppress_tokens": list(range(20, 120)), "max_length": 5, "do_sample": True,
               "temperature": 9.0, "no_repeat_ngram_size": 1, "num_return_sequences": 2, "min_new_tokens": 30}  # fmt: skip
    taught.generation_config.update(**changes)
    try:
        assert score_probes(taught, TOKENIZER, spoken).correct == plain
        assert all(getattr(taught.generation_config, name) == value for name, value in changes.items()), "and they stay"
    finally:
        taught.generation_config.update(**{name: kept.get(name) for name in changes})


def test_every_end_of_text_that_a_model_names_ends_it(taught):
    model = tiny(len(TOKENIZER))
    families.learn(model, [TOKENIZER(p.text).input_ids + TOKENIZER(" ?").input_ids for p in PROBES], 300)
    from capability_guard.generation import complete

    end = TOKENIZER(" ?").input_ids[0]
    model.generation_config.eos_token_id = [0, end]
    said = complete(model, TOKENIZER, [TOKENIZER(PROBES[0].prompt).input_ids], 30, fold=False)[0]
    assert said.strip().startswith(PROBES[0].answer) and len(TOKENIZER(said).input_ids) < 12
