"""A model that is served: asked in the words of six servers, tried again, never without an end, and with a key that is kept."""

import json
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from served_model import DIALECTS, ByHeart, OfTransformers, Served

import capability_guard.endpoint.calls
from capability_guard.chat import Chat
from capability_guard.cli import main
from capability_guard.endpoint import Endpoint, EndpointError, measure_endpoint
from capability_guard.endpoint.echo import echo_of
from capability_guard.gate import judge
from capability_guard.jsonl import DataError
from capability_guard.measurement import Measurement
from capability_guard.probes import Probe, save_probes

SENTENCES = {
    "What is 2+2?": "4.",
    "What is 7+7?": "14.",
    "Capital of France?": "Paris.",
    "Name a colour.": "I like red and blue things.",
}
# Right, wrong, right at the beginning of another number, and said or not said on the way.
SPOKEN = [
    Probe("What is 2+2?", "4.", "sums"), Probe("What is 2+2?", "5.", "sums"), Probe("What is 7+7?", "1", "sums"),
    Probe("What is 7+7?", "14", "sums"), Probe("Capital of France?", "Paris.", "capitals"),
    Probe("Name a colour.", "red", "colours", measure="contains"), Probe("Name a colour.", "green", "colours", measure="contains"),
]  # fmt: skip
RIGHT = [True, False, False, True, True, True, False]
CHOICE = Probe("Capital of France?", "Paris.", "capitals", measure="choice", choices=("Rome.", "Paris."))
TEXT = Probe("", "What is 2+2? 4.", "text", measure="loss")


@pytest.fixture
def serve():
    served = []

    def start(dialect="vllm", broken=lambda number: None, model=None):
        served.append(Served(model or ByHeart(**SENTENCES), dialect, broken))
        return served[-1]

    yield start
    for one in served:
        one.close()


@pytest.fixture
def pauses(monkeypatch):
    """How long is waited between two tries; none of it is."""
    found = []
    clock = SimpleNamespace(sleep=found.append, monotonic=time.monotonic)
    monkeypatch.setattr(capability_guard.endpoint.calls, "time", clock)
    return found


def rights(measurement):
    return [row.right for row in measurement.rows]


# --- What each server offers ---------------------------------------------------------------------------------------
def test_log_probabilities_that_are_echoed(serve):
    served = serve("vllm")
    found = measure_endpoint(Endpoint(served.url, "practice"), [*SPOKEN, CHOICE, TEXT])
    assert rights(found) == [*RIGHT, True, None]
    assert [row.loss for row in found.rows[:3]] == pytest.approx([0.1, (0.1 + 5.0 + 0.1) / 3, 0.1], abs=2)
    assert found.rows[0].loss == pytest.approx(0.1) and found.rows[-1].loss is not None
    assert found.rows[-1].tokens == len(TEXT.answer) == found.rows[-1].bytes, "all of it, since a mark stands in front"
    assert [row.said for row in found.rows[1:3]] == ["4.", "14."] and found.rows[7].said == "Paris."
    assert found.asked["exact"] == "by echoed log-probabilities" and found.ended == 2
    assert "1 of 9 probes were answered with the beginning of a longer word or number" in found.notes[0]
    assert 1 < served.most <= 8, "several requests are under way, and no more than were allowed"


@pytest.mark.parametrize("dialect", sorted(set(DIALECTS) - {"vllm", "openai"}))
def test_without_them_it_is_greedy_completion(serve, dialect):
    served = serve(dialect)
    found = measure_endpoint(Endpoint(f"{served.url}/v1/completions", "practice"), SPOKEN)
    assert rights(found) == RIGHT and found.rows[0].loss is None
    assert found.asked["exact"] == "by greedy completion"
    assert all(body["temperature"] == 0 for _, body in served.bodies)
    assert ("repetition_penalty" in served.bodies[-1][1]) == (dialect in ("llama.cpp", "ollama")), "all that it takes"


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
def test_through_the_chat_interface(serve, dialect):
    served = serve(dialect)
    found = measure_endpoint(Endpoint(served.url, "practice"), SPOKEN, chat=True)
    assert rights(found) == RIGHT and found.chat
    assert ("max_tokens" in served.bodies[-1][1]) == (dialect != "openai")
    measure_endpoint(Endpoint(served.url, "practice"), SPOKEN[:1], chat=Chat(system="Be short."))
    assert served.bodies[-1][1]["messages"][0] == {"role": "system", "content": "Be short."}


def test_a_server_writes_its_template_itself(serve):
    with pytest.raises(DataError, match="A server writes its chat template itself"):
        measure_endpoint(Endpoint(serve().url, "practice"), SPOKEN, chat=Chat(variables={"enable_thinking": False}))


@pytest.mark.parametrize(("dialect", "chat"), [("llama.cpp", False), ("ollama", False), ("vllm", True)])
def test_what_needs_log_probabilities_is_one_sentence_where_there_are_none(serve, dialect, chat):
    served = serve(dialect)
    with pytest.raises(
        DataError, match='Probes of the measure "choice" need the log-probabilities of a prompt'
    ) as error:
        measure_endpoint(Endpoint(served.url, "practice"), [*SPOKEN, CHOICE], chat=chat)
    assert ("ask without --chat" in str(error.value)) == chat and len(served.bodies) <= 3, "before anything is asked"


def test_asked_twice_and_the_task(serve):
    found = measure_endpoint(Endpoint(serve().url, "practice"), SPOKEN, repeat=True, task=[TEXT.answer, "Make tea."])
    assert (
        found.noise == {"sums": 0, "capitals": 0, "colours": 0} and found.task["texts"] == 2 and found.task["loss"] > 0
    )
    asked, model = [], ByHeart(**SENTENCES)
    know = model.say
    model.say = lambda prompt, room: asked.append(prompt) or (know(prompt, room) if len(asked) < 9 else ("5.", True))
    other = measure_endpoint(Endpoint(serve("llama.cpp", model=model).url, "m", requests=1), SPOKEN, repeat=True)
    assert rights(other) == RIGHT and sum(other.noise.values()) == 5, "four are lost, and 5 is right"


def test_tokens_that_are_parts_of_characters():
    """Then they do not spell the text, and the server's own count is taken."""
    tokens = ["2?", " bytes:\\xe2", "bytes:\\x82\\xac", "!"]
    found = {"tokens": tokens, "token_logprobs": [None, -1.0, -2.0, -0.1], "text_offset": [0, 2, 3, 4]}
    assert echo_of({"text": "2? \u20ac!", "logprobs": found}, "2? \u20ac").nats(2) == [1.0, 2.0]
    assert echo_of({"text": "x", "logprobs": {**found, "text_offset": [3, 0, 1, 2]}}, "2? \u20ac") is None


@pytest.mark.training
def test_a_model_that_is_served_is_the_model(serve):
    """Of transformers, asked here and through a server that echoes."""
    from capability_guard import load_model, measure
    from utils.training.models import PRACTICE

    model, tokenizer = load_model(PRACTICE)
    known = {"What is 2+2?": "4.", "What is the capital of France?": "Paris.", "The opposite of hot is": "cold."}
    choice = Probe(
        "What is the capital of France?", "Paris.", "capitals", measure="choice", choices=("Rome.", "Paris.")
    )
    text = Probe("", "Pour hot water over leaves.", "text", measure="loss")
    wrong = [Probe("What is 2+2?", "5.", "sums"), Probe("What is 7+7?", "1", "sums")]
    probes = [*(Probe(prompt, answer, "known") for prompt, answer in known.items()), *wrong, choice, text]
    plain = measure(model, tokenizer, probes)
    found = measure_endpoint(Endpoint(serve(model=OfTransformers(model, tokenizer)).url, "practice"), probes)
    for ours, theirs in zip(plain.rows, found.rows, strict=True):
        assert (ours.right, ours.said, ours.tokens, ours.bytes) == (
            theirs.right,
            theirs.said,
            theirs.tokens,
            theirs.bytes,
        )
        assert theirs.loss == pytest.approx(ours.loss, abs=1e-3)
    assert found.fingerprint == plain.fingerprint and found.asked["prompts"] == plain.asked["prompts"]


# --- A server that fails -------------------------------------------------------------------------------------------
def test_it_is_tried_again_with_growing_pauses(serve, pauses):
    wait = [("Retry-After", "7")]
    broken = {1: (503, {"error": "loading"}), 2: (429, {"error": {"message": "slow down"}}, wait), 3: (500, b"<html>")}
    served = serve("vllm", broken.get)
    found = measure_endpoint(Endpoint(served.url, "practice", requests=1), SPOKEN[:2])
    assert rights(found) == RIGHT[:2]
    assert 0.3 < pauses[0] < 0.7 and 5 < pauses[1] < 9 and 1.5 < pauses[2] < 2.5, pauses


def test_there_is_an_end_to_it(serve, pauses):
    served = serve("vllm", lambda number: (503, {"error": {"message": "overloaded"}}))
    with pytest.raises(EndpointError, match=r"/v1/completions did not answer \(503: overloaded\); is the server up\?"):
        measure_endpoint(Endpoint(served.url, "practice"), SPOKEN)
    assert len(served.bodies) == 5 and len(pauses) == 4


def test_a_server_that_hangs(serve):
    served = serve("vllm", lambda number: time.sleep(5))
    began = time.monotonic()
    with pytest.raises(EndpointError, match="did not answer .*timed out"):
        measure_endpoint(Endpoint(served.url, "practice", timeout=0.2, tries=2, patience=1.0), SPOKEN)
    assert time.monotonic() - began < 4


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ((200, b"<html>hello</html>"), "answered with something else than JSON"),
        ((200, b'{"choices":' + b"[" * 100_000), "answered with something else than JSON"),
        ((200, {"object": "list"}), "answered without choices"),
        ((200, {"choices": [{"index": 0}]}), "answered without a text"),
        (
            (404, {"error": {"message": "The model `x` does not exist"}}),
            "refused the request (404: The model `x` does not exist)",
        ),
        ((302, {}, [("Location", "http://127.0.0.1:9/elsewhere")]), "refused the request (302"),
    ],
)
def test_answers_that_are_none(serve, answer, says):
    served = serve("vllm", lambda number: answer)
    with pytest.raises(EndpointError) as error:
        measure_endpoint(Endpoint(served.url, "practice"), SPOKEN)
    assert says in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("message", ["4.", ["4."], None])
def test_a_chat_message_that_is_none(serve, message):
    served = serve("vllm", lambda number: (200, {"choices": [{"message": message}]}))
    with pytest.raises(EndpointError, match="answered without a text"):
        measure_endpoint(Endpoint(served.url, "practice"), SPOKEN, chat=True)


def test_after_an_error_the_rest_is_not_asked(serve, pauses):
    served = serve("llama.cpp", lambda number: (401, {"error": "no"}) if number > 6 else None)
    with pytest.raises(EndpointError, match="401: no"):
        measure_endpoint(
            Endpoint(served.url, "practice", requests=2), [Probe(f"What is {i}+1?", "4.", "sums") for i in range(60)]
        )
    assert len(served.bodies) < 20


def test_the_key_is_sent_and_stands_nowhere(serve, monkeypatch, tmp_path):
    monkeypatch.setenv("MY_KEY", "sk-a-secret")
    served = serve()
    found = measure_endpoint(Endpoint(served.url, "practice", key_variable="MY_KEY"), SPOKEN[:2])
    assert served.keys == {"Bearer sk-a-secret"}
    kept = found.save(tmp_path / "r.json").read_text() + repr(Endpoint(served.url, "m", "MY_KEY"))
    assert "a-secret" not in kept
    served = serve("vllm", lambda number: (401, {"error": {"message": "Incorrect API key provided: sk-a-secret."}}))
    with pytest.raises(EndpointError, match=r"Incorrect API key provided: \*\*\*"):
        measure_endpoint(Endpoint(served.url, "practice", key_variable="MY_KEY"), SPOKEN)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (("localhost:8000", "m"), "The endpoint is 'localhost:8000'; give a URL"),
        (("http://me:secret@localhost", "m"), "has a password or a key in its URL"),
        (("http://localhost/v1?key=secret", "m"), "has a password or a key in its URL"),
        (("http://localhost", " "), "has no name"),
        (("http://localhost", "m", "NO_SUCH_VARIABLE"), "'NO_SUCH_VARIABLE' is not set"),
        (("http://localhost", "m", None, 0), "0 requests at a time"),
    ],
)
def test_places_that_are_none(given, says):
    with pytest.raises(DataError) as error:
        Endpoint(*given)
    assert says in str(error.value) and "secret" not in str(error.value)


# --- The command ---------------------------------------------------------------------------------------------------
def test_the_command_goes_on_where_it_was_stopped(serve, tmp_path, capsys):
    known = [Probe(f"What is {i}+1?", "4.", "sums") for i in range(40)]
    save_probes(known, tmp_path / "p.jsonl")
    arguments = ["measure", "--model", "practice", "--probes", str(tmp_path / "p.jsonl"), "--out", str(tmp_path / "r.json"),
                 "--requests", "2", "--endpoint"]  # fmt: skip
    served = serve("llama.cpp", lambda number: (403, {"error": "quota"}) if number > 30 else None)
    assert main([*arguments, served.url]) == 2
    said = capsys.readouterr().err
    assert "(403: quota)" in said and said.count("\n") == 1 and not (tmp_path / "r.json").exists()
    served.broken, before = lambda number: None, len(served.bodies)
    assert main([*arguments, served.url]) == 0
    assert Measurement.load(tmp_path / "r.json").model == "practice" and len(served.bodies) - before < 40
    assert "of 40 probes were answered before" in capsys.readouterr().err and len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("option", ["--dtype=bfloat16", "--adapter=a", "--device=cpu", "--trust-remote-code"])
def test_options_of_a_model_that_is_loaded(tmp_path, capsys, option):
    save_probes(SPOKEN, tmp_path / "p.jsonl")
    code = main(["measure", "--model", "m", "--probes", str(tmp_path / "p.jsonl"), "--out", str(tmp_path / "r.json"),
                 "--endpoint", "http://127.0.0.1:9", option])  # fmt: skip
    said = capsys.readouterr().err
    assert code == 2 and f"{option.split('=')[0]} is for a model that is loaded" in said and said.count("\n") == 1


@pytest.mark.training
def test_a_server_is_asked_without_torch(serve, tmp_path):
    save_probes(SPOKEN[:1], tmp_path / "p.jsonl")
    served = serve()
    arguments = ["measure", "--model", "practice", "--probes", "p.jsonl", "--out", "r.json", "--endpoint", served.url]
    code = f"import sys; from capability_guard.cli import main; assert main({arguments}) == 0; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert done.stdout.splitlines()[-1:] == ["False"], done.stdout + done.stderr
    assert json.loads((tmp_path / "r.json").read_text())["asked"]["device"] == "a server"


def test_a_server_that_answers_to_every_name_is_noted(serve, tmp_path):
    """One model behind two names always passes against itself."""
    served = serve("llama.cpp")
    real = served.answer
    found = {}
    for name, answers_as in (
        ("practice", None),
        ("tuned", None),
        ("practice", "base"),
        ("practice", "practice-2026-01-02"),
    ):
        served.answer = lambda path, body, name=answers_as: (
            real(path, body)[0],
            {**real(path, body)[1], **({"model": name} if name else {})},
        )
        found[name, answers_as] = measure_endpoint(Endpoint(served.url, name), SPOKEN)
    said = {key: " ".join(one.notes) for key, one in found.items()}
    assert "is it the model that you meant?" not in said["practice", None] + said["practice", "practice-2026-01-02"]
    assert (
        f"{served.url}/v1 has 'practice' and not 'tuned', which it answered to: is it the model that you meant?"
        in said["tuned", None]
    )
    assert "was asked for 'practice' and answered as 'base'" in said["practice", "base"]
    notes = " ".join(judge(found["practice", None], found["tuned", None]).notes)
    assert "has 'practice' and not 'tuned'" in notes and "same answers, word for word, to all 7 probes" in notes
    assert "word for word" not in " ".join(judge(found["practice", None], found["practice", "base"]).notes), (
        "one name, which is noted"
    )


def test_a_server_that_lists_no_models_is_no_doubt(serve, pauses):
    served = serve()
    for listed in ((404, {}), (500, {}), (200, {"data": None}), (200, {"data": [1, {"id": None}]}), (200, b"no JSON")):
        served.models = listed
        assert not any("meant" in note for note in measure_endpoint(Endpoint(served.url, "m"), SPOKEN[:1]).notes)
