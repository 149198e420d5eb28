"""How much is asked at once: the output layer a few positions at a time, and half as much where memory runs out."""

import gc

import pytest
import torch
from transformers import AutoModelForCausalLM, CohereConfig, Gemma2Config, GPT2Config, GraniteConfig, LlamaConfig

import capability_guard.head
from capability_guard import load_model, measure
from capability_guard.asking import score
from capability_guard.encoding import IGNORE, encode
from capability_guard.forward import scored_logits, undisturbed
from capability_guard.head import read, shaping
from capability_guard.jsonl import DataError
from capability_guard.memory import ran_out, read_in_parts, tokens_at_once
from capability_guard.probes import Probe, load_probes
from utils.training.data import REPERTOIRE
from utils.training.models import PRACTICE

pytestmark = pytest.mark.training

SMALL = {"vocab_size": 1536, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
         "num_key_value_heads": 2, "head_dim": 16, "pad_token_id": 1, "eos_token_id": 0, "bos_token_id": 0}  # fmt: skip
KINDS = {
    "plain": LlamaConfig(**SMALL),
    "soft cap": Gemma2Config(**SMALL, final_logit_softcapping=0.5),
    "factor": CohereConfig(**SMALL, logit_scale=0.0625),
    "divisor": GraniteConfig(**SMALL, logits_scaling=8.0),
    "tied": GPT2Config(vocab_size=1536, n_embd=32, n_layer=2, n_head=2),
}


@pytest.fixture(scope="module")
def rows():
    """A text, and probes of several lengths."""
    return ["Water boils at 100 degrees Celsius.", *load_probes(REPERTOIRE)[:120:12]]


@pytest.fixture(scope="module")
def loaded():
    return load_model(PRACTICE)


@pytest.fixture
def batch(loaded, rows):
    (whole,) = encode(loaded[1], rows, tokens_a_batch=10_000)
    return whole


@pytest.mark.parametrize("kind", KINDS)
def test_a_few_positions_at_a_time_are_all_of_them(kind, batch, monkeypatch):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(KINDS[kind]).eval()
    monkeypatch.setitem(capability_guard.head.ROOM, "cpu", 12 * 1536 * 3)  # three positions
    with undisturbed(model):
        logits, targets = scored_logits(model, batch, behind=True)
        assert shaping(model, batch) is not None, "the short way is taken"
        head, seen = model.get_output_embeddings(), []
        handle = head.register_forward_hook(lambda module, given, said: seen.append(said.shape[1]))
        reading = read(model, batch, keep=7)
        handle.remove()
    assert seen == [1], "of all positions, the model itself gets one"
    wanted = targets != IGNORE
    assert torch.equal(reading.targets, targets) and torch.equal(reading.chosen[wanted], logits.argmax(-1)[wanted])
    nats = torch.nn.functional.cross_entropy(logits[wanted], targets[wanted], reduction="none")
    torch.testing.assert_close(reading.nats[wanted], nats, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(reading.log_probabilities, logits[wanted][:7].log_softmax(-1), atol=1e-5, rtol=1e-5)


def test_logits_of_an_unknown_kind_are_read_whole(batch, loaded):
    """Whoever bends the logits in a way of its own is believed, not the output layer."""

    class Own(type(loaded[0])):
        def forward(self, *given, **named):
            out = super().forward(*given, **named)
            out.logits = out.logits.pow(3)
            return out

    model = Own.from_pretrained(PRACTICE).eval()
    with undisturbed(model):
        assert shaping(model, batch) is None
        logits, targets = scored_logits(model, batch, behind=True)
        reading = read(model, batch)
    wanted = targets != IGNORE
    assert torch.equal(reading.chosen[wanted], logits.argmax(-1)[wanted])


# --- Memory that runs out ------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        MemoryError(),
    ],
)
def test_memory_that_ran_out_is_told(error):
    assert ran_out(error) and not ran_out(RuntimeError("expected scalar type Float but found Half"))


@pytest.fixture
def short_of_memory(monkeypatch):
    """The practice model, which fails as a GPU does when it reads more than 60 tokens or writes for more than two."""
    model, tokenizer = load_model(PRACTICE)
    forward, generate = type(model).forward, type(model).generate
    asked = []

    def tight(self, *given, input_ids, **named):
        if input_ids.numel() > 60:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        asked.append(input_ids.numel())
        return forward(self, *given, input_ids=input_ids, **named)

    def narrow(self, *given, input_ids, **named):
        if len(input_ids) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return generate(self, *given, input_ids=input_ids, **named)

    def settle():
        monkeypatch.setattr(type(model), "forward", tight)
        monkeypatch.setattr(type(model), "generate", narrow)
        return model, tokenizer, asked

    return settle


def test_half_as_much_is_asked_and_nothing_else_changes(short_of_memory):
    known = load_probes(REPERTOIRE)[:60:4]
    probes = [
        *known,
        Probe("What is 2+2?", "5.", "sums"),
        *(Probe(p.prompt, p.answer, "said", measure="contains") for p in known[:5]),
    ]
    plain = measure(*load_model(PRACTICE), probes)
    model, tokenizer, asked = short_of_memory()
    tight = measure(model, tokenizer, probes)
    assert [(row.right, row.said) for row in tight.rows] == [(row.right, row.said) for row in plain.rows]
    assert [row.loss for row in tight.rows] == pytest.approx([row.loss for row in plain.rows], abs=1e-5)
    assert plain.asked["batch"] == "up to 384 tokens" and max(asked) <= 60
    assert int(tight.asked["batch"].split()[2]) == tokens_at_once(model) <= 192, "and it is recorded"


def test_a_row_that_does_not_fit_is_one_sentence(short_of_memory):
    model, tokenizer, _ = short_of_memory()
    with pytest.raises(
        DataError, match="Memory ran out on a single row of .. tokens; shorten it, or load the model in fewer"
    ):
        score(model, encode(tokenizer, ["What is the capital of France? " * 9]))


def test_an_error_of_another_kind_is_not_met_by_asking_less(loaded, batch):
    def broken(part):
        raise RuntimeError("shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes"):
        list(read_in_parts(loaded[0], [batch], broken))


def test_several_processes_do_not_part(loaded, batch, monkeypatch):
    """One that asked less alone would leave the others waiting for ever."""
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)

    def full(part):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(torch.OutOfMemoryError):
        list(read_in_parts(loaded[0], [batch], full))


def test_what_is_known_of_a_model_goes_with_it():
    before = len(capability_guard.head._known)
    model = AutoModelForCausalLM.from_config(KINDS["plain"]).eval()
    shaping(model, encode(load_model(PRACTICE)[1], ["Make tea."])[0])
    assert len(capability_guard.head._known) == before + 1
    del model
    gc.collect()
    assert len(capability_guard.head._known) <= before
