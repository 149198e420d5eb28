"""What is doubtful about a sound probe set, in words: it can be asked, and what comes of it may say less than it seems to."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING

from capability_guard.matching import could_go_on, says

if TYPE_CHECKING:
    from capability_guard.probes import Probe
    from capability_guard.rows import Row

LONGEST = 1000  # characters of a text that is looked at closely
ENDS_OF_WORDS = re.compile(r"[.,;:!?\"'()\[\]*]+(?!\w)|(?<!\w)[\"'(\[*]+")


def doubts(probes: Sequence[Probe | Row]) -> list[str]:
    """One sentence for each kind of doubt there is, with how many probes it is about and an example.

    >>> from capability_guard.probes import Probe
    >>> probes = [Probe("What is 6+7?", "13", "sums"), Probe("Is Rome in Italy?", "Rome", "places", measure="contains")]
    >>> print(*doubts(probes))
    1 of 1 exact answers has no end, as '13': a model may say more words after it and be right; end it with a full stop if none may
    follow. 1 answer of a "contains" probe stands in its own question, as 'Rome' in 'Is Rome in Italy?': a model that only repeats
    the question is right.
    """
    return [*without_end(probes), *in_the_question(probes), *asked_again(probes)]


def asked_again(probes: Sequence[Probe | Row]) -> list[str]:
    """A sentence on probes that ask what another asks, but for case, spaces and punctuation; none where there are none.

    >>> from capability_guard.probes import Probe
    >>> print(*asked_again([Probe(prompt, "4.", "sums") for prompt in ("What is 2+2?", "what is  2+2", "What is 2-2?")]))
    1 probe asks what another does but for case, spaces or punctuation, as 'what is  2+2': such probes are right and wrong together,
    so the bounds are narrower than they should be.
    """
    seen: set[tuple] = set()
    again = []
    for probe in probes:
        key = (
            probe.capability,
            probe.measure,
            bare(probe.prompt),
            bare(probe.answer),
            tuple(map(bare, probe.choices)),
        )
        if key in seen:
            again.append(probe.prompt or probe.answer)
        seen.add(key)
    if not again:
        return []
    many = f"{len(again)} probes ask what others do" if len(again) > 1 else "1 probe asks what another does"
    return [
        f"{many} but for case, spaces or punctuation, as {_short(again[0])}: such probes are right and wrong together, so the bounds "
        "are narrower than they should be."
    ]


def bare(text: str) -> str:
    """Without case, spaces and the punctuation of sentences. What stands inside a word or number counts: 2-2 is not 2+2.

    >>> bare("What is  2+2?"), bare("what is 2-2")
    ('what is 2+2', 'what is 2-2')
    """
    if len(text) > LONGEST:  # a page with examples in it: who copies one does not change its full stops
        return text
    return " ".join(ENDS_OF_WORDS.sub(" ", unicodedata.normalize("NFKC", text).casefold()).split())


def without_end(probes: Sequence[Probe | Row]) -> list[str]:
    """A sentence on answers after which more words may follow; none where there are none.

    >>> from capability_guard.probes import Probe
    >>> print(*without_end([Probe("What is 6+7?", "13", "sums"), Probe("What is 6+8?", "14.", "sums")]))
    1 of 2 exact answers has no end, as '13': a model may say more words after it and be right; end it with a full stop if none may
    follow.
    """
    exact = [probe.answer for probe in probes if probe.measure == "exact"]
    # A full stop ends a number as well: whether more digits follow is looked at.
    endless = [answer for answer in exact if could_go_on(answer) and not answer.endswith(".")]
    if not endless:
        return []
    has, ends = ("have", "them") if len(endless) > 1 else ("has", "it")
    return [
        f"{len(endless)} of {len(exact)} exact answers {has} no end, as {_short(endless[0])}: a model may say more words after it and "
        f"be right; end {ends} with a full stop if none may follow."
    ]


def in_the_question(probes: Sequence[Probe | Row]) -> list[str]:
    """A sentence on "contains" probes that are right if the question is only repeated; none where there are none.

    >>> from capability_guard.probes import Probe
    >>> print(*in_the_question([Probe("Is Rome in Italy?", "Rome", "places", measure="contains")]))
    1 answer of a "contains" probe stands in its own question, as 'Rome' in 'Is Rome in Italy?': a model that only repeats the
    question is right.
    """
    inside = [probe for probe in probes if probe.measure == "contains" and says(probe.answer, probe.prompt)]
    if not inside:
        return []
    many = (
        f'{len(inside)} answers of "contains" probes stand in their own questions'
        if len(inside) > 1
        else '1 answer of a "contains" probe stands in its own question'
    )
    return [
        f"{many}, as {_short(inside[0].answer)} in {_short(inside[0].prompt)}: a model that only repeats the question is right."
    ]


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")
