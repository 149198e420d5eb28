"""The playground that a lesson's page embeds: from the lesson's own call, the address that opens the same one in the page.

playground(preset="reckless", lock=("rank",), run=False)  ->  playground/index.html?preset=reckless&lock=rank&run=no
"""

from __future__ import annotations

import ast
from urllib.parse import urlencode

PAGE = "playground/index.html"
NAME = "playground"
START = "careful"  # the preset that the notebook's playground opens with where none is named
OF_THE_ADDRESS = ("preset", "lock", "hide", "run")


def address(source: str) -> str:
    """Where the page's playground opens as a code cell's does; "" for a cell that opens none.

    Raises ValueError for a call that says more than an address can.
    """
    if f"{NAME}(" not in source:
        return ""
    tree = ast.parse(source)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and _name(node) == NAME]
    if not calls:
        return ""
    asked = _arguments(calls[0], tree)
    settings = {name: value for name, value in asked.items() if name not in OF_THE_ADDRESS}
    query = {name: ",".join(asked[name]) for name in ("lock", "hide") if name in asked}
    if asked.get("run") is False:
        query["run"] = "no"
    if "preset" in asked and not settings:  # the page asks for a prediction of it, as the notebook does
        query = {"preset": asked["preset"]} | query
        hash_ = ""
    else:
        from utils.training.presets import preset  # it brings torch, and few cells need it

        config = str(preset(asked.get("preset", START)).with_(**settings))
        hash_ = "" if config == "default" else f"#{config}"
    return PAGE + (f"?{urlencode(query, safe=',')}" if query else "") + hash_


def _name(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else ""


def _arguments(call: ast.Call, tree: ast.AST) -> dict:
    """A call's named arguments, those included that come by ``**name`` from a ``name = dict(...)`` of the same cell."""
    found: dict = {}
    for keyword in call.keywords:
        if keyword.arg is None:
            found |= _arguments(_value_of(keyword.value, tree), tree)
        else:
            try:
                found[keyword.arg] = ast.literal_eval(keyword.value)
            except ValueError:
                written = ast.unparse(keyword)
                raise ValueError(
                    f"{written} in {ast.unparse(call)} is computed, and a page computes nothing; write its value."
                ) from None
    return found


def _value_of(name: ast.expr, tree: ast.AST) -> ast.Call:
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == ast.unparse(name):
            value = node.value
            if isinstance(value, ast.Call) and _name(value) == "dict":
                return value
    raise ValueError(f"**{ast.unparse(name)} is no dict(...) of the same cell; write it as one.")
