"""Make a probe set of your own: from a table, or from what the untouched model says itself.

probes = from_dataset(dataset, {"prompt": "question", "answer": "reply"}, capability="support")
save_probes(probes, "my_probes.jsonl")         # and load_probes("my_probes.jsonl") reads them again
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from capability_guard.jsonl import DataError
from capability_guard.probes import FIELDS, Probe, probe_of

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def from_dataset(dataset: Dataset, columns: Mapping[str, str], **same: str) -> list[Probe]:
    """One probe from each row of a ``datasets.Dataset``; of rows that are the same, one.

    columns: which column of the table holds which field of a probe, as in {"prompt": "question"}.
    same: fields that are the same for every row, as in capability="history", measure="choice".
    An answer that is a number is an index into the row's choices, as in MMLU.
    Raises DataError that names the row, for a column that is not there, for a row that makes no probe, and for one that asks
    what another did and wants another answer.

    >>> from datasets import Dataset
    >>> table = Dataset.from_dict({"question": ["Which is a metal?"], "options": [["wood", "iron"]], "right": [1]})
    >>> columns = {"prompt": "question", "choices": "options", "answer": "right"}
    >>> from_dataset(table, columns, capability="materials", measure="choice")[0].answer
    'iron'
    """
    check_columns(dataset, columns, same)
    probes: dict[str, Probe] = {}
    for number, row in enumerate(dataset, 1):
        probe = probe_of_table(row, columns, same, f"row {number}")
        # Tables repeat rows, so a repeat is dropped. With another answer, one of the two must be wrong.
        if probes.setdefault(probe.prompt or probe.answer, probe) != probe:
            raise DataError(f"row {number}: asks {probe.prompt[:60]!r} again, with another answer; keep one of them.")
    return list(probes.values())


def check_columns(dataset: Dataset, columns: Mapping[str, str], same: Mapping[str, str]) -> None:
    """Raises DataError for a field that is none of a probe's, and for a column that is not there.

    >>> from datasets import Dataset
    >>> check_columns(Dataset.from_dict({"q": ["Why?"]}), {"prompt": "question"}, {})
    Traceback (most recent call last):
    capability_guard.jsonl.DataError: The dataset has no column 'question'; it has q.
    """
    for field in (*columns, *same):
        if field not in FIELDS:
            raise DataError(f"{field!r} is not a field of a probe; use {', '.join(FIELDS)}.")
    for column in columns.values():
        if column not in dataset.column_names:
            raise DataError(f"The dataset has no column {column!r}; it has {', '.join(dataset.column_names)}.")


def probe_of_table(row: Mapping[str, Any], columns: Mapping[str, str], same: Mapping[str, str], where: str) -> Probe:
    """The probe of a row, whose answer may be an index into its choices. Raises DataError, which begins with ``where``.

    >>> row = {"question": "Which is a metal?", "options": ["wood", "iron"], "right": 1}
    >>> columns = {"prompt": "question", "choices": "options", "answer": "right"}
    >>> probe_of_table(row, columns, {"capability": "materials", "measure": "choice"}, "row 1").answer
    'iron'
    """
    fields = {field: row[column] for field, column in columns.items()} | dict(same)
    index, choices = fields.get("answer"), fields.get("choices")
    if isinstance(index, int) and isinstance(choices, (list, tuple)):
        if not 0 <= index < len(choices):
            raise DataError(f"{where}: the answer is {index} and there are {len(choices)} choices.")
        fields["answer"] = choices[index]
    return probe_of(fields, where)


def self_probes(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    capability: str = "own-answers",
    *,
    chat: bool = False,
    max_new_tokens: int = 24,
) -> list[Probe]:
    """A retention set without any original data: each prompt, with the first sentence that the untouched model answers.

    The answers need not be true. They say what the model did before, so that a change of it can be seen; and the text
    of those that are not measured can be replayed. A prompt is left out if the model does not give its own answer again
    when it is asked as a probe (its sentence may end inside a token).
    prompts: a few words each. max_new_tokens: room for the sentence. Raises DataError when no prompt is left.

    >>> [probe.text for probe in self_probes(model, tokenizer, ["What is 2+2?", "What is the opposite of hot?"])]
    ['What is 2+2? 4.', 'What is the opposite of hot? Cold.']
    """
    from capability_guard.asking import score_probes  # a table needs no torch
    from capability_guard.encoding import prompt_ids
    from capability_guard.generation import complete

    tokens = [prompt_ids(tokenizer, prompt, chat) for prompt in prompts]
    said = complete(model, tokenizer, tokens, max_new_tokens)
    # A sentence ends at the first . ! or ? that blank space follows (not at that of 3.5), and has a letter or digit in it.
    sentences = [re.match(r"(.*?\w.*?[.!?])(?=\s|$)", text) for text in said]
    probes = [Probe(prompt, sentence[1], capability)
              for prompt, sentence in zip(prompts, sentences, strict=True) if sentence]  # fmt: skip
    right = score_probes(model, tokenizer, probes, chat).correct if probes else []
    kept = [probe for probe, again in zip(probes, right, strict=True) if again]
    if not kept:
        raise DataError(
            f"None of the {len(prompts)} prompts got a whole sentence; ask other ones, or allow more tokens."
        )
    return kept
