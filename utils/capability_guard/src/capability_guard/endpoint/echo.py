"""The log-probabilities of a prompt, as a server echoes them: which belong to an answer, and what the model would have said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from capability_guard.rows import is_number

AS_LIKELY = 1e-6  # nats: two tokens of one probability are both the likeliest


@dataclass(frozen=True)
class Echo:
    """text: what was sent. tokens: (where each begins in it, how long it is, its log-probability or None for the first, whether it is
    the likeliest or None where that is not said). behind: what the model says behind the text.

    >>> echo = Echo("2+2? 4.", ((0, 4, None, None), (4, 2, -0.1, True), (6, 1, -0.2, True)), " And")
    >>> echo.nats(4), echo.greedy(4)
    ([0.1, 0.2], True)
    """

    text: str
    tokens: tuple[tuple[int, int, float | None, bool | None], ...]
    behind: str = ""

    @property
    def tops(self) -> bool:
        """Whether the server says which token is the likeliest.

        >>> Echo("a b", ((0, 1, None, None), (1, 2, -0.1, None))).tops
        False
        """
        return any(top is not None for *_, top in self.tokens)

    def nats(self, start: int) -> list[float]:
        """The negative log-likelihoods of the tokens that reach beyond ``start``, but for the first, which nothing predicts.

        >>> Echo("2+2? 4.", ((0, 4, None, None), (4, 2, -0.1, True), (6, 1, -0.2, True))).nats(0)
        [0.1, 0.2]
        """
        return [-value for at, length, value, _ in self.tokens if at + length > start and value is not None]

    def greedy(self, start: int) -> bool:
        """Whether a token begins at ``start``, and it and all behind it are the likeliest.

        >>> Echo("2+2? 4.", ((0, 5, None, None), (5, 1, -0.1, True), (6, 1, -0.2, True))).greedy(4)
        False
        """
        behind = [(at, top) for at, length, _, top in self.tokens if at + length > start]
        return bool(behind) and behind[0][0] == start and all(top for _, top in behind)

    def bytes_scored(self) -> int | None:
        """How many bytes of the text its loss is over, in UTF-8: without the first token, where nothing predicts that.

        >>> Echo("2+2? 4.", ((0, 4, None, None), (4, 2, -0.1, True), (6, 1, -0.2, True))).bytes_scored()
        2
        """
        scored = [at for at, _, value, _ in self.tokens if value is not None]
        size = len(self.text[scored[0] :].strip().encode()) if scored else 0
        return size or None


def echo_of(choice: Mapping[str, Any], text: str) -> Echo | None:
    """What a completion echoes of ``text``; None where it holds no log-probabilities of it.

    >>> found = {"tokens": ["2+2?", " 4", " !"], "token_logprobs": [None, -0.5, -1.0], "top_logprobs": [None, {" 5": -0.2}, None]}
    >>> echo_of({"text": "2+2? 4 !", "logprobs": found}, "2+2? 4").greedy(4)
    False
    >>> echo_of({"text": " 4", "logprobs": None}, "2+2?") is None
    True
    """
    found = choice.get("logprobs")
    if not isinstance(found, Mapping) or not isinstance(found.get("tokens"), list):
        return None
    tokens, values = found["tokens"], found.get("token_logprobs")
    if not isinstance(values, list) or len(values) != len(tokens) or len(tokens) < 2:
        return None
    starts = _starts(tokens, found.get("text_offset"), text)
    if starts is None:
        return None
    tops = found.get("top_logprobs")
    tops = tops if isinstance(tops, list) and len(tops) == len(tokens) else [None] * len(tokens)
    ends = [*starts[1:], starts[-1] + len(str(tokens[-1]))]
    rows = []
    for at, end, value, top in zip(starts, ends, values, tops, strict=True):
        if at >= len(text) or end <= 0:  # what the model says behind it, or a mark that the server puts in front
            continue
        value = float(value) if is_number(value) else None
        likeliest = max((x for x in top.values() if is_number(x)), default=None) if isinstance(top, Mapping) else None
        sure = None if likeliest is None or value is None else value >= likeliest - AS_LIKELY
        rows.append((max(0, at), end - max(0, at), value, sure))
    whole = choice.get("text") if isinstance(choice.get("text"), str) else ""
    if not rows or sum(value is not None for _, _, value, _ in rows) < len(rows) - 1:
        return None
    return Echo(text, tuple(rows), whole[len(text) :] if whole.startswith(text) else "")


def _starts(tokens: list, offsets: Any, text: str) -> list[int] | None:
    """Where each token begins in the text; negative for a mark in front of it. None where they do not spell it."""
    spelled = "".join(map(str, tokens))
    shift = spelled.find(text)
    if 0 <= shift <= 40:  # some servers put a begin-of-text mark in front
        starts, at = [], -shift
        for token in tokens:
            starts.append(at)
            at += len(str(token))
        return starts
    # Tokens that are parts of characters do not spell it; then the server's own count is taken, if it covers the text.
    if isinstance(offsets, list) and len(offsets) == len(tokens) and all(type(x) is int for x in offsets):
        covers = offsets == sorted(offsets) and offsets[0] == 0 and offsets[-1] >= len(text)
        return list(offsets) if covers else None
    return None
