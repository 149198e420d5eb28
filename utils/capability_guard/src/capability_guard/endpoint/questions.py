"""One probe, asked of a server: by the log-probabilities that it echoes where it does, else by what it says."""

from __future__ import annotations

from dataclasses import dataclass

from capability_guard.chat import without_thinking
from capability_guard.endpoint.calls import Endpoint, EndpointError
from capability_guard.endpoint.dialect import Dialect, echoed, said
from capability_guard.endpoint.echo import Echo
from capability_guard.in_parts import Answer
from capability_guard.matching import could_go_on, ends, says
from capability_guard.probes import CONTAINS_TOKENS, Probe

BEYOND = 4  # tokens more than an answer may have, to see whether its last word goes on


@dataclass(frozen=True)
class Asker:
    """A server, how it is spoken to, and how much it may say. chat, system: through its chat interface, after a system turn.

    >>> Asker(Endpoint("http://localhost:8000", "m"), Dialect()).room
    32
    """

    endpoint: Endpoint
    dialect: Dialect
    chat: bool = False
    system: str | None = None
    room: int = CONTAINS_TOKENS

    def answer(self, probe: Probe) -> Answer:
        """What the server answers. Raises EndpointError.

        >>> Asker(Endpoint("http://localhost:9", "m", tries=1), Dialect()).answer(Probe("2+2?", "4.", "sums"))
        Traceback (most recent call last):
        capability_guard.endpoint.calls.EndpointError: http://localhost:9/v1/completions did not answer (...); is the server up?
        """
        if probe.measure == "loss":
            echo = self._echoed(probe.answer)
            nats = echo.nats(0)
            return Answer(None, self._mean(nats), len(nats), "", bytes=echo.bytes_scored())
        if probe.measure == "choice":
            return self._choice(probe)
        return self._contains(probe) if probe.measure == "contains" else self._exact(probe)

    def _choice(self, probe: Probe) -> Answer:
        cost, own = {}, []
        for choice in probe.choices:
            nats = self._echoed(f"{probe.prompt} {choice}").nats(len(probe.prompt))
            cost[choice] = sum(nats) / len(choice)  # per character, as ``ask`` does
            own = nats if choice == probe.answer else own
        right = all(cost[probe.answer] < x for choice, x in cost.items() if choice != probe.answer)
        return Answer(right, self._mean(own), len(own), min(cost, key=cost.get))

    def _contains(self, probe: Probe) -> Answer:
        text, ended = self._said(probe.prompt, self.room + BEYOND)
        text = without_thinking(text)
        if not ended:  # the word in which it was cut off may be another one
            text = text[: len(text.rstrip()) - len(text.split()[-1])] if len(text.split()) > 1 else text
        return Answer(says(probe.answer, text), None, None, " ".join(text.split()), ended=ended)

    def _exact(self, probe: Probe) -> Answer:
        loss, count, begins = None, None, False
        if self.dialect.echoes:
            echo = self._echoed(f"{probe.prompt} {probe.answer}")
            nats = echo.nats(len(probe.prompt))
            loss, count = self._mean(nats), len(nats)
            begins = echo.greedy(len(probe.prompt))
            if begins and (not could_go_on(probe.answer) or (echo.behind and ends(probe.answer, echo.behind))):
                return Answer(True, loss, count, probe.answer)
        text, _ = self._said(probe.prompt, max(self.room, len(probe.answer.encode()) + BEYOND))
        text = text.lstrip()
        there = text.startswith(probe.answer)
        right = there and ends(probe.answer, text[len(probe.answer) :]) is not False
        shown = probe.answer if right else " ".join(text.split())
        in_others = right and self.dialect.tops and not begins
        return Answer(right, loss, count, shown, in_other_tokens=in_others, going_on=there and not right)

    def _mean(self, nats: list[float]) -> float:
        if not nats:
            raise EndpointError(f"{self.endpoint.url} echoed no token of an answer; is another server asked by now?")
        return round(sum(nats) / len(nats), 6)

    def _said(self, prompt: str, room: int) -> tuple[str, bool]:
        return said(self.endpoint, self.dialect, prompt, room, self.chat, self.system)

    def _echoed(self, text: str) -> Echo:
        echo = echoed(self.endpoint, self.dialect, text)
        if echo is None:
            raise EndpointError(
                f"{self.endpoint.url} gave log-probabilities before, and none of {text[:40]!r}; is it another server by now?"
            )
        return echo
