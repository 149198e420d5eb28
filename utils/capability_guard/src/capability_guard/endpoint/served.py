"""All probes, asked of a server: several requests under way, the answers kept as they come."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from capability_guard import __version__
from capability_guard.chat import Chat
from capability_guard.conditions import fingerprint_of
from capability_guard.endpoint.calls import Endpoint, EndpointError, call
from capability_guard.endpoint.dialect import Dialect, dialect_of
from capability_guard.endpoint.questions import Asker
from capability_guard.in_parts import Answer, Each, answered
from capability_guard.jsonl import DataError, shown
from capability_guard.matching import MARKING
from capability_guard.measurement import Measurement
from capability_guard.probes import CONTAINS_TOKENS, Probe
from capability_guard.summing_up import summed_up

PART = 8  # times the requests that are under way: after so many answers, they are kept


def measure_endpoint(
    endpoint: Endpoint,
    probes: Sequence[Probe],
    *,
    chat: bool | Chat = False,
    max_new_tokens: int = CONTAINS_TOKENS,
    repeat: bool = False,
    task: Sequence[str] | None = None,
    notes: Sequence[str] = (),
    keep: Path | None = None,
    each: Each | None = None,
) -> Measurement:
    """Ask a model that is served every probe; the arguments are those of ``measure``.

    "exact" is told by echoed log-probabilities where the server gives them, else by greedy completion; "choice", "loss" and ``task``
    need them. chat: through the server's chat interface, whose template is the server's own.
    Raises DataError for what cannot be asked of this server, EndpointError when it does not answer.

    >>> measure_endpoint(Endpoint("http://localhost:9", "m", tries=1), [Probe("2+2?", "4.", "sums")])
    Traceback (most recent call last):
    capability_guard.endpoint.calls.EndpointError: http://localhost:9/v1/completions did not answer (...); is the server up?
    """
    if not probes:
        raise DataError("There are no probes; without them nothing can be measured. Add some.")
    turns = _turns(chat)
    began = time.perf_counter()
    first = next((probe.prompt for probe in probes if probe.prompt), "Hello")
    dialect = dialect_of(endpoint, first, turns is not None, turns.system if turns else None)
    _check(endpoint, probes, dialect, turns is not None, task)
    asker = Asker(endpoint, dialect, turns is not None, turns.system if turns else None, max_new_tokens)
    asked = _circumstances(endpoint, probes, dialect, turns, max_new_tokens)
    places = list(range(len(probes)))
    size = PART * endpoint.requests
    parts = [places[k : k + size] for k in range(0, len(places), size)]

    def ask(part: Sequence[int]) -> list[Answer]:
        pool = ThreadPoolExecutor(endpoint.requests, thread_name_prefix="capability-guard")
        try:
            return list(pool.map(asker.answer, [probes[i] for i in part]))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)  # after an error, what has not begun is not asked

    def key() -> str:
        known = (__version__, asked, list(probes), str(_about(endpoint)))
        return hashlib.sha256(repr(known).encode()).hexdigest()[:16]

    answers = answered(probes, parts, lambda n: ask(parts[n]), keep, key, each)
    again = [answer.right for part in parts for answer in ask(part)] if repeat else None
    return summed_up(
        probes, answers, [*notes, *other_names(endpoint)], model=endpoint.model, chat=turns is not None, asked=asked,
        task=_task(asker, task) if task else None, versions={}, machine=f"served at {endpoint.url}",
        noise=None if again is None else _flips(probes, answers, again), seconds=round(time.perf_counter() - began, 2),
    )  # fmt: skip


def _turns(chat: bool | Chat) -> Chat | None:
    turns = Chat.of(chat)
    if turns is not None and (turns.variables or turns.date):
        raise DataError(
            "A server writes its chat template itself; leave template variables and the date out, or set them there."
        )
    return turns


def _check(
    endpoint: Endpoint, probes: Sequence[Probe], dialect: Dialect, chat: bool, task: Sequence[str] | None
) -> None:
    """Raises DataError where log-probabilities are needed and there are none."""
    needed = {probe.measure for probe in probes} & {"choice", "loss"} | ({"loss"} if task else set())
    if not needed or dialect.echoes:
        return
    why = "its chat interface gives none of a prompt; ask without --chat" if chat else "it gives none"
    raise DataError(
        f'Probes of the measure "{min(needed)}" need the log-probabilities of a prompt, and of {endpoint.url} {why}; ask them of the '
        "model itself, or of a server that echoes them (vLLM does), or leave them out."
    )


def _circumstances(
    endpoint: Endpoint, probes: Sequence[Probe], dialect: Dialect, turns: Chat | None, max_new_tokens: int
) -> dict[str, str]:
    """How the questions were put: as ``conditions.circumstances`` says it of a model that is here."""
    asked = {
        "prompts": fingerprint_of(sorted(probe.prompt or probe.answer for probe in probes)),
        "marking": MARKING,
        "decoding": f"greedy, up to {max_new_tokens} tokens",
        "precision": "as served",
        "quantization": "as served",
        "device": "a server",
        "batch": f"{endpoint.requests} requests at a time",
        "exact": "by echoed log-probabilities" if dialect.echoes and dialect.tops else "by greedy completion",
    }
    if turns is not None:
        asked |= {"template": "the server's own"} | ({"system": turns.system} if turns.system is not None else {})
    return asked


def other_names(endpoint: Endpoint) -> list[str]:
    """A sentence where the server has no model of the name that was asked for, or answered by another: some answer to every name
    with the one model that they have, so that a model would be compared with itself.

    >>> endpoint = Endpoint("http://localhost:9", "tuned", tries=1)
    >>> endpoint.heard.add("base")
    >>> other_names(endpoint)
    ["http://localhost:9/v1 was asked for 'tuned' and answered as 'base': is it the model that you meant?"]
    """
    once = replace(endpoint, tries=1, timeout=min(endpoint.timeout, 10.0))
    listed = [str(one["id"]) for one in _listed(once) if one.get("id")]
    found, asked, doubt = [], shown(endpoint.model), "is it the model that you meant?"
    if listed and not any(_one_name(endpoint.model, name) for name in listed):
        found.append(f"{endpoint.url} has {_few(listed)} and not {asked}, which it answered to: {doubt}")
    if others := sorted(name for name in endpoint.heard if not _one_name(endpoint.model, name)):
        found.append(f"{endpoint.url} was asked for {asked} and answered as {_few(others)}: {doubt}")
    return found


def _one_name(asked: str, other: str) -> bool:
    """Whether two names are of one model: a server may add a day or a version to the name that it was asked for."""
    short, long = sorted((asked, other), key=len)
    added = long.removeprefix(short)
    return asked == other or (added != long and re.fullmatch(r":latest|[-@]v?\d[\d.-]*", added) is not None)


def _few(names: Sequence[str]) -> str:
    return ", ".join(shown(name) for name in names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _listed(endpoint: Endpoint) -> list[dict]:
    """The models that a server says that it has; none where it says nothing."""
    try:
        listed = call(endpoint, "/models").get("data")
    except EndpointError:
        return []
    return [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []


def _about(endpoint: Endpoint) -> Any:
    """What the server says of the model, without what is of the moment; None where it says nothing."""
    own = [one for one in _listed(endpoint) if one.get("id") == endpoint.model]
    kept = ("id", "root", "parent", "owned_by", "meta", "max_model_len")
    return json.dumps({name: own[0].get(name) for name in kept}, sort_keys=True) if own else None


def _flips(probes: Sequence[Probe], answers: Sequence[Answer], again: Sequence[bool | None]) -> dict[str, int]:
    flips = {probe.capability: 0 for probe in probes}
    for probe, answer, other in zip(probes, answers, again, strict=True):
        flips[probe.capability] += answer.right != other
    return flips


def _task(asker: Asker, texts: Sequence[str]) -> dict[str, Any]:
    """The mean loss of the new task's texts, nats a token."""
    with ThreadPoolExecutor(asker.endpoint.requests) as pool:
        found = list(pool.map(asker.answer, [Probe("", text, "task", measure="loss") for text in texts]))
    count, sizes = sum(answer.tokens for answer in found), [answer.bytes for answer in found]
    loss = sum(answer.loss * answer.tokens for answer in found) / count
    return {"loss": round(loss, 6), "texts": len(texts), "fingerprint": fingerprint_of(list(texts)), "tokens": count,
            "bytes": None if None in sizes else sum(sizes)}  # fmt: skip
