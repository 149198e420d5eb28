"""Rows of other people's data sets as rows of probes: conversations, instructions, questions.

What a row means is taken over where there is one way to read it. Where there are several, one sentence says what to do.
"""

from __future__ import annotations

from typing import Any

from capability_guard.jsonl import DataError

# (where the question stands, where its answer stands), as the common data sets call them.
PAIRS = (
    ("instruction", "output"),
    ("question", "answer"),
    ("prompt", "completion"),
    ("prompt", "response"),
    ("input", "output"),
)
SPEAKERS = {"user": "user", "human": "user", "assistant": "assistant", "gpt": "assistant", "system": "system"}


def as_probe_row(row: dict[str, Any], where: str, capability: str) -> dict[str, Any]:
    """The row with ``prompt``, ``answer`` and ``capability``; a row that has a prompt and an answer, or a text, is left as it is.

    capability: the name for rows that have none. Raises DataError, starting with ``where``, for a conversation of many turns.

    >>> turns = [{"role": "user", "content": "What is 2+2?"}, {"role": "assistant", "content": "4."}]
    >>> as_probe_row({"messages": turns}, "line 1", "sums")
    {'prompt': 'What is 2+2?', 'answer': '4.', 'capability': 'sums'}
    >>> as_probe_row({"instruction": "Add.", "input": "2+2", "output": "4."}, "line 2", "sums")["prompt"]
    'Add.\\n2+2'
    """
    if ("prompt" in row and "answer" in row) or "text" in row:
        return row
    for name in ("messages", "conversations", "conversation"):
        if isinstance(row.get(name), list):
            found = _conversation(row[name], name, where)
            break
    else:
        pair = next((p for p in PAIRS if all(isinstance(row.get(field), str) for field in p)), None)
        if pair is None:
            return row
        more = row.get("input") if pair[0] == "instruction" else None
        found = {
            "prompt": f"{row[pair[0]]}\n{more}" if isinstance(more, str) and more.strip() else row[pair[0]],
            "answer": row[pair[1]],
        }
    kept = {field: row[field] for field in ("kind", "use", "measure", "choices") if field in row}
    return {**found, "capability": row.get("capability") or capability, **kept}


def _conversation(turns: list, name: str, where: str) -> dict[str, str]:
    said = []
    for turn in turns:
        speaker = SPEAKERS.get(str(turn.get("role", turn.get("from")))) if isinstance(turn, dict) else None
        text = turn.get("content", turn.get("value")) if isinstance(turn, dict) else None
        if speaker is None or not isinstance(text, str):
            raise DataError(
                f'{where}: {name!r} has the turn {str(turn)[:60]!r}; a turn is {{"role": "user", "content": "..."}}.'
            )
        said.append((speaker, text))
    if [speaker for speaker, _ in said] != ["user", "assistant"]:
        has = ", ".join(speaker for speaker, _ in said) or "no turns"
        raise DataError(
            f"{where}: {name!r} has {has}; a probe is one question and its answer. Give the row as prompt and answer, and a system "
            "turn for all of them with --system."
        )
    return {"prompt": said[0][1], "answer": said[1][1]}
