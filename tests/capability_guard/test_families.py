"""``exact`` is what greedy generation says: for each family of tokenizers, plain and through each kind of chat template."""

import families
import pytest
import torch
from families import BROKEN, FAMILIES, LEARNED, PROBES, TEMPLATES, spoken

from capability_guard.asking import score_probes
from capability_guard.chat import Chat
from capability_guard.jsonl import DataError
from capability_guard.measuring import measure
from capability_guard.probes import Probe

pytestmark = pytest.mark.training
CHATS = {
    "line end": Chat(),
    "instruction": Chat(),
    "date": Chat(date="2026-11-28"),
    "system needed": Chat(system="Be short."),
    "thinking": Chat(variables={"enable_thinking": False}),
}


@pytest.fixture(scope="module", params=FAMILIES)
def taught(request, tmp_path_factory):
    """(model, tokenizer) of a family, which has learned its facts."""
    tokenizer = families.saved(FAMILIES[request.param](), tmp_path_factory.mktemp("family"))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    model = families.tiny(len(tokenizer), eos_token_id=tokenizer.eos_token_id, bos_token_id=tokenizer.bos_token_id)
    families.learn(
        model, families.trained_rows(tokenizer, {name: (TEMPLATES[name], chat) for name, chat in CHATS.items()})
    )
    tokenizer.chat_template = None
    yield model, tokenizer
    torch.set_num_threads(threads)


@pytest.mark.parametrize("way", ["plain", *CHATS])
def test_exact_is_what_generation_says(taught, way):
    model, tokenizer = taught
    chat = CHATS.get(way)
    tokenizer.chat_template = TEMPLATES.get(way)
    said = [spoken(model, tokenizer, probe.prompt, chat).lstrip() for probe in PROBES]
    truth = [text.startswith(probe.answer) for text, probe in zip(said, PROBES, strict=True)]
    for side in ("left", "right"):
        tokenizer.padding_side = side
        assert score_probes(model, tokenizer, PROBES, chat or False).correct == truth, said
    measured = measure(model, tokenizer, PROBES, chat=chat or False)
    assert [row.right for row in measured.rows] == truth
    for row in measured.rows:
        assert row.right == row.said.startswith(row.answer), "nothing is marked wrong that was said right"


def test_most_facts_were_learned(taught, request):
    """Else the test above would compare nothing but wrong answers."""
    model, tokenizer = taught
    if "bytes_without_spaces" in request.node.name:
        pytest.skip(
            "its merges run across the cut: trained on whole texts, it says other things after a question's own tokens"
        )
    tokenizer.chat_template = None
    right = score_probes(model, tokenizer, [Probe(q, said, "learned") for q, said in LEARNED]).correct
    assert sum(right) >= len(LEARNED) // 2


def test_contains_agrees_with_what_is_said(taught):
    model, tokenizer = taught
    tokenizer.chat_template = None
    probes = [Probe(p.prompt, p.answer, p.capability, measure="contains") for p in PROBES]
    said = [spoken(model, tokenizer, probe.prompt) for probe in probes]
    right = score_probes(model, tokenizer, probes).correct
    for probe, text, found in zip(probes, said, right, strict=True):
        assert found or probe.answer not in text.split()


@pytest.mark.parametrize("kind", BROKEN)
def test_a_template_that_does_not_render_is_one_sentence(kind):
    tokenizer = FAMILIES["gpt2"]()
    tokenizer.chat_template = BROKEN[kind]
    with pytest.raises(DataError) as refused:
        score_probes(families.tiny(len(tokenizer)), tokenizer, PROBES[:2], chat=True)
    assert str(refused.value).startswith("The chat template does not take the question") and "\n" not in str(
        refused.value
    )


def test_a_template_that_wants_a_system_turn_says_how_to_give_one():
    tokenizer = FAMILIES["gpt2"]()
    tokenizer.chat_template = TEMPLATES["system needed"]
    with pytest.raises(DataError, match="must be system.*give one \\(--system\\)"):
        score_probes(families.tiny(len(tokenizer)), tokenizer, PROBES[:2], chat=True)


def test_the_day_of_a_template_can_be_fixed():
    tokenizer = FAMILIES["gpt2"]()
    tokenizer.chat_template = TEMPLATES["date"]
    assert Chat(date="2024-07-26").render(tokenizer, "Q?").startswith("26 Jul 2024 ")
    tokenizer.chat_template = TEMPLATES["line end"]
    with pytest.raises(DataError, match="writes none"):
        Chat(date="2024-07-26").render(tokenizer, "Q?")
    with pytest.raises(DataError, match="write it as"):
        Chat(date="yesterday")
