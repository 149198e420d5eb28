"""What a server offers: which settings it takes, and whether it gives the log-probabilities of a prompt. Tried, not looked up."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from capability_guard.endpoint.calls import Endpoint, EndpointError, Refused, call
from capability_guard.endpoint.echo import Echo, echo_of

# Greedy decoding, in the words of several servers. A model's own settings (a repetition penalty beside its weights, which vLLM and
# Ollama take up) are overruled where that can be said. The most that a server takes is used.
GREEDY = ({"temperature": 0, "seed": 0, "top_p": 1, "frequency_penalty": 0, "presence_penalty": 0},
          {"temperature": 0, "seed": 0}, {"temperature": 0})  # fmt: skip
BEYOND_THE_STANDARD = {"top_k": 1, "repetition_penalty": 1.0, "repeat_penalty": 1.0}
FORMS = ({**GREEDY[0], **BEYOND_THE_STANDARD}, *GREEDY)
NOT_TAKEN = (400, 404, 405, 415, 422, 501)


@dataclass(frozen=True)
class Dialect:
    """How a server is spoken to. settings: those of greedy decoding that it takes. room: what it calls the most tokens to write.

    echoes: whether it gives the log-probabilities of a prompt. tops: with them, the likeliest token at each place.

    >>> Dialect(settings={"temperature": 0}, room="max_tokens", echoes=False).tops
    False
    """

    settings: dict[str, Any] = field(default_factory=dict)
    room: str = "max_tokens"
    echoes: bool = False
    tops: bool = False


def dialect_of(endpoint: Endpoint, prompt: str, chat: bool, system: str | None = None) -> Dialect:
    """Try what the server takes, with a short question. Raises EndpointError where it takes nothing.

    >>> dialect_of(Endpoint("http://localhost:9", "m", tries=1), "Hello", chat=False)
    Traceback (most recent call last):
    capability_guard.endpoint.calls.EndpointError: http://localhost:9/v1/completions did not answer (...); is the server up?
    """
    refused: Refused | None = None
    for room in ("max_tokens", "max_completion_tokens") if chat else ("max_tokens",):
        for settings in FORMS:
            try:
                said(endpoint, Dialect(settings, room), prompt, 1, chat, system)
            except Refused as error:
                if error.code not in NOT_TAKEN:
                    raise
                refused = refused or error
                continue
            echo = None if chat else _echo(endpoint, Dialect(settings, room), prompt)
            return Dialect(settings, room, echo is not None, echo is not None and echo.tops)
    raise EndpointError(str(refused))


def _echo(endpoint: Endpoint, dialect: Dialect, prompt: str) -> Echo | None:
    try:
        return echoed(endpoint, dialect, f"{prompt} and so on")
    except EndpointError:  # it does not take it, or fails over it
        return None


def said(
    endpoint: Endpoint, dialect: Dialect, prompt: str, room: int, chat: bool, system: str | None = None
) -> tuple[str, bool]:
    """(what the model says to a prompt, whether it came to an end by itself). Raises EndpointError.

    >>> said(Endpoint("http://localhost:9", "m", tries=1), Dialect(), "Hello", 1, chat=True)
    Traceback (most recent call last):
    capability_guard.endpoint.calls.EndpointError: http://localhost:9/v1/chat/completions did not answer (...); is the server up?
    """
    body: dict[str, Any] = {"model": endpoint.model, dialect.room: room, **dialect.settings}
    if chat:
        first = [] if system is None else [{"role": "system", "content": system}]
        answer = call(endpoint, "/chat/completions", body | {"messages": [*first, {"role": "user", "content": prompt}]})
    else:
        answer = call(endpoint, "/completions", body | {"prompt": prompt})
    choice = only_choice(endpoint, answer)
    holder = choice.get("message") if chat else choice
    text = holder.get("content" if chat else "text") if isinstance(holder, dict) else None
    if text is None and chat and isinstance(holder, dict):  # all room went into thinking, which is kept apart
        text = ""
    if not isinstance(text, str):
        raise EndpointError(
            f"{endpoint.url} answered without a text ({str(choice)[:60]}); is it an OpenAI-compatible server?"
        )
    return text, choice.get("finish_reason") not in ("length", "max_tokens")


def echoed(endpoint: Endpoint, dialect: Dialect, text: str) -> Echo | None:
    """The tokens of a text with their log-probabilities, and one more that the model says; None where the server gives none.

    Raises EndpointError.

    >>> echoed(Endpoint("http://localhost:9", "m", tries=1), Dialect(), "Hello")
    Traceback (most recent call last):
    capability_guard.endpoint.calls.EndpointError: http://localhost:9/v1/completions did not answer (...); is the server up?
    """
    body = {"model": endpoint.model, "prompt": text, dialect.room: 1, **dialect.settings, "echo": True, "logprobs": 1}
    return echo_of(only_choice(endpoint, call(endpoint, "/completions", body)), text)


def only_choice(endpoint: Endpoint, answer: dict[str, Any]) -> dict[str, Any]:
    """The first of an answer's choices; the name of the model that gave it is kept. Raises EndpointError where there is none.

    >>> only_choice(Endpoint("http://localhost:9", "m"), {"choices": [{"text": "4."}]})["text"]
    '4.'
    """
    if isinstance(answer.get("model"), str):
        endpoint.heard.add(answer["model"])
    choices = answer.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise EndpointError(
            f"{endpoint.url} answered without choices ({str(answer)[:60]}); is it an OpenAI-compatible server?"
        )
    return choices[0]
