"""The part of JSON Schema that the policy's schema uses, and one sentence where something does not fit it.

A whole validator is a package of its own, and its sentences are not for people who write a policy by hand.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from capability_guard.jsonl import shown

KINDS = {"object": dict, "array": list, "string": str, "boolean": bool, "number": (int, float)}
WORDS = {"object": "a table", "array": "a list", "string": "a text", "boolean": "true or false", "number": "a number"}
# Each limit with how it is kept and how it is said.
LIMITS = {
    "minimum": (lambda value, limit: value >= limit, "at least"),
    "maximum": (lambda value, limit: value <= limit, "at most"),
    "exclusiveMinimum": (lambda value, limit: value > limit, "above"),
    "exclusiveMaximum": (lambda value, limit: value < limit, "below"),
}


def fault(value: Any, schema: dict, where: str = "", root: dict | None = None) -> str:
    """What does not fit the schema, in one sentence without its beginning; "" if all does. where: the keys that lead here.

    >>> drop = {"type": "number", "exclusiveMinimum": 0}
    >>> schema = {"type": "object", "properties": {"max_drop": drop}, "additionalProperties": False}
    >>> fault({"max_dorp": 5}, schema)
    "there is no key 'max_dorp'; did you mean 'max_drop'?"
    >>> fault({"max_drop": -1}, schema), fault({"max_drop": 5}, schema)
    ('max_drop is -1; give a number above 0.', '')
    """
    root = schema if root is None else root
    if "$ref" in schema:
        return fault(value, root["$defs"][schema["$ref"].rpartition("/")[2]], where, root)
    if "const" in schema and (value != schema["const"] or isinstance(value, bool)):
        return f"{where} is {shown(value)}; this version of the guard reads {schema['const']!r} alone."
    if "enum" in schema and value not in schema["enum"]:
        return f"{where} is {shown(value)}; give {' or '.join(map(repr, schema['enum']))}."
    kind = schema.get("type")
    if kind and (not isinstance(value, KINDS[kind]) or (kind == "number" and isinstance(value, bool))):
        return f"{where or 'it'} is {shown(value)}; give {WORDS[kind]}."
    if kind == "number":
        return _beyond(value, schema, where)
    if kind in ("string", "array") and len(value) < schema.get("minLength", schema.get("minItems", 0)):
        return f"{where} is empty; give something, or leave it out."
    if kind == "array":
        return next(filter(None, (fault(one, schema["items"], f"one of {where}", root) for one in value)), "")
    return _of_a_table(value, schema, where, root) if kind == "object" else ""


def _beyond(value: float, schema: dict, where: str) -> str:
    if not -1e300 < value < 1e300:  # TOML's inf and nan, and whole numbers that no float can hold
        return f"{where} is {str(value)[:20]}; give a finite number."
    limits = [(name, schema[name]) for name in LIMITS if name in schema]
    if all(LIMITS[name][0](value, limit) for name, limit in limits):
        return ""
    return (
        f"{where} is {value:g}; give a number {' and '.join(f'{LIMITS[name][1]} {limit:g}' for name, limit in limits)}."
    )


def _of_a_table(value: dict, schema: dict, where: str, root: dict) -> str:
    if missing := [name for name in schema.get("required", ()) if name not in value]:
        return (
            f"{missing[0]} is missing; write `{missing[0]} = {schema['properties'][missing[0]].get('const', '...')}`."
        )
    known, others = schema.get("properties", {}), schema.get("additionalProperties", True)
    for name, one in value.items():
        path = f"{where}.{name}" if where else name
        if name not in known and others is False:
            meant = get_close_matches(name, known, n=1, cutoff=0.6)
            nearest = f"did you mean {meant[0]!r}?" if meant else f"the keys are {', '.join(known)}."
            return f"there is no key {shown(name)}{f' in [{where}]' if where else ''}; {nearest}"
        if (found := known.get(name, others)) is not True and (said := fault(one, found, path, root)):
            return said
    return ""
