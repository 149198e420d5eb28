"""Requests to a server: tried again with growing pauses, never without an end, and with a key that stands in no message."""

from __future__ import annotations

import http.client
import json
import os
import random
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from typing import Any

from capability_guard.files import parse_json
from capability_guard.jsonl import DataError, shown
from capability_guard.rows import MeasurementError

AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})  # what may be otherwise a moment later
KEY = "OPENAI_API_KEY"  # the variable that most clients read
LARGEST = 64_000_000  # bytes of an answer
ENDS = ("/chat/completions", "/completions", "/models")  # of a URL that somebody copied whole


class EndpointError(MeasurementError):
    """A server that does not answer, or not as it should: one sentence.

    >>> raise EndpointError("http://localhost:8000/v1 did not answer in 60 s; is the server up?")
    Traceback (most recent call last):
    capability_guard.endpoint.calls.EndpointError: http://localhost:8000/v1 did not answer in 60 s; is the server up?
    """

    may_pass = True  # what was answered until then is kept


class Refused(EndpointError):
    """A request that the server did not take. code: of HTTP.

    >>> Refused(422, "there is no field echo").code
    422
    """

    def __init__(self, code: int, said: str) -> None:
        super().__init__(said)
        self.code = code


@dataclass(frozen=True)
class Endpoint:
    """Where a model is served, and how patiently it is asked.

    url: as "http://localhost:8000"; without a path, "/v1" is added. model: its name on the server. key_variable: the environment
    variable that holds the key; without one, OPENAI_API_KEY where it is set. requests: how many are under way at once.
    timeout: seconds that one try may take. tries: of one request. patience: seconds that all its tries may take together.
    Raises DataError, one sentence, for what is no such place.

    >>> Endpoint("http://localhost:8000/", "my-model").url
    'http://localhost:8000/v1'
    """

    url: str
    model: str
    key_variable: str | None = None
    requests: int = 8
    timeout: float = 120.0
    tries: int = 5
    patience: float = 600.0
    heard: set[str] = field(default_factory=set, init=False, compare=False, repr=False)  # the names that it answered by

    def __post_init__(self) -> None:
        parts = urllib.parse.urlsplit(self.url.strip())
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise DataError(f"The endpoint is {shown(self.url)}; give a URL, as http://localhost:8000.")
        if parts.username or parts.password or parts.query:
            raise DataError(
                f"The endpoint at {parts.hostname} has a password or a key in its URL; put the key into an environment variable."
            )
        if not self.model.strip():
            raise DataError("The model on the endpoint has no name; give the one that the server knows it by.")
        if self.requests < 1 or self.tries < 1 or self.timeout <= 0:
            raise DataError(
                f"{self.requests} requests at a time, {self.tries} tries of {self.timeout} s each; all must be above 0."
            )
        if self.key_variable is not None and not os.environ.get(self.key_variable):
            raise DataError(
                f"The environment variable {self.key_variable!r} is not set; set it to the key, or leave it out."
            )
        path = parts.path.rstrip("/")
        for end in ENDS:
            path = path.removesuffix(end)
        object.__setattr__(self, "url", f"{parts.scheme}://{parts.netloc}{path or '/v1'}")

    @property
    def key(self) -> str:
        """The key, read from the environment each time, so that nothing holds it.

        >>> Endpoint("http://localhost:8000", "m").key == os.environ.get("OPENAI_API_KEY", "")
        True
        """
        return os.environ.get(self.key_variable or KEY, "").strip()


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None  # it would take the key to another place


_opener = urllib.request.build_opener(_NoRedirect)


def call(endpoint: Endpoint, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """What the server answers, as JSON. path: as "/completions". body: without one it is a GET.

    Raises Refused for a request that it does not take, EndpointError when it does not answer however often it is tried.

    >>> call(Endpoint("http://localhost:9", "m", tries=1), "/models")
    Traceback (most recent call last):
    capability_guard.endpoint.calls.EndpointError: http://localhost:9/v1/models did not answer (...); is the server up?
    """
    began, why = time.monotonic(), ""
    for turn in range(endpoint.tries):
        left = endpoint.patience - (time.monotonic() - began)
        if left <= 0:
            break
        wait = 0.5 * 2**turn
        try:
            return _once(endpoint, path, body, min(endpoint.timeout, left))
        except urllib.error.HTTPError as error:
            why = f"{error.code}: {_message(endpoint, error)}"
            if error.code not in AGAIN:
                raise Refused(error.code, f"{endpoint.url}{path} refused the request ({why}).") from None
            wait = max(wait, _asked_to_wait(error))
        except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
            why = _clean(endpoint, str(getattr(error, "reason", "") or error) or type(error).__name__)
        left = endpoint.patience - (time.monotonic() - began)
        if turn + 1 < endpoint.tries:
            time.sleep(max(0.0, min(wait * random.uniform(0.75, 1.25), left)))  # not all of them again at one moment
    raise EndpointError(f"{endpoint.url}{path} did not answer ({why}); is the server up?") from None


def _once(endpoint: Endpoint, path: str, body: dict[str, Any] | None, timeout: float) -> dict[str, Any]:
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if key := endpoint.key:
        headers["Authorization"] = f"Bearer {key}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{endpoint.url}{path}", data, headers)
    with _opener.open(request, timeout=timeout) as answer:
        raw = answer.read(LARGEST + 1)
    try:
        found = parse_json(raw)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise EndpointError(
            f"{endpoint.url}{path} answered with something else than JSON; is it an OpenAI-compatible server, and its URL right?"
        )
    return found


def _message(endpoint: Endpoint, error: urllib.error.HTTPError) -> str:
    """What the server says of it, on one line."""
    try:
        raw = error.read(4000).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException):
        raw = ""
    try:
        found = parse_json(raw)
    except ValueError:
        found = {}
    said = found.get("error", found.get("detail", found.get("message", ""))) if isinstance(found, dict) else ""
    said = said.get("message", "") if isinstance(said, dict) else said
    return _clean(endpoint, str(said or error.reason or "no reason given"))


def _clean(endpoint: Endpoint, text: str) -> str:
    """Without the key, which some servers repeat; on one line, and not too long."""
    if key := endpoint.key:
        text = text.replace(key, "***")
    return " ".join(text.split())[:200].rstrip(".")


def _asked_to_wait(error: urllib.error.HTTPError) -> float:
    """Seconds, as the server asks for, and at most a minute."""
    try:
        return min(60.0, max(0.0, float(error.headers.get("Retry-After", 0))))
    except (TypeError, ValueError):  # a date, which few send
        return 0.0
