"""A policy: what a team allows to be lost, in one TOML file that is reviewed and versioned like code.

    version = 1
    max_drop = 5                      # points, of all critical probes together
    default_tier = "watch"            # of capabilities that no tier names

    [tiers.critical]
    capabilities = ["arithmetic", "capitals"]
    max_relative_drop = 10            # per cent of what the baseline has right; a budget of one's own is certified by itself

    [tiers.watch]
    decides = false

    [capabilities.arithmetic]
    max_drop = 3

What a capability's own table leaves open its tier says, and what that leaves open the top of the file. Of an absolute and a relative
budget, both must be kept. ``policy.schema.json`` beside this file is the JSON schema, for editors. Nothing heavy is imported.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from capability_guard.files import read_text
from capability_guard.gate.allowed import OTHERS, Budget, Rules
from capability_guard.gate.schema import fault
from capability_guard.jsonl import DataError, shown
from capability_guard.measurement import Measurement
from capability_guard.probes import load_probes

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SCHEMA = Path(__file__).with_name("policy.schema.json")
OWN = ("max_drop", "max_loss_rise", "max_relative_drop", "relative_floor", "min_baseline")  # what a budget is made of
LOOSE = {"min_baseline", "relative_floor"}  # which alone make no budget


def read_policy(path: str | Path) -> dict[str, Any]:
    """The settings of ``judge`` that a policy file gives. Raises DataError, one sentence, for a file that is none.

    >>> text = 'version = 1\\nmax_drop = 3\\n[tiers.watch]\\ncapabilities = ["style"]\\ndecides = false'
    >>> _ = (FOLDER / "guard.toml").write_text(text)
    >>> rules = read_policy(FOLDER / "guard.toml")
    >>> rules["max_drop"], rules["informational"]
    (3, ('style',))
    """
    return rules_of_policy(read_tables(path), path)


def read_tables(path: str | Path) -> dict[str, Any]:
    """The file as it stands, checked against the schema. Raises DataError.

    >>> _ = (FOLDER / "guard.toml").write_text("version = 1\\nmax_dorp = 3")
    >>> read_tables(FOLDER / "guard.toml")
    Traceback (most recent call last):
    capability_guard.jsonl.DataError: ...guard.toml: there is no key 'max_dorp'; did you mean 'max_drop'?
    """
    try:
        tables = tomllib.loads(read_text(path).replace("\r\n", "\n"))
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); check the path.") from error
    except (ValueError, RecursionError) as error:  # not TOML, or not text
        raise DataError(f"{path} is not TOML ({str(error).splitlines()[0]}); correct that line.") from error
    if said := fault(tables, json.loads(SCHEMA.read_text(encoding="utf-8"))):
        raise DataError(f"{path}: {said}")
    return tables


def rules_of_policy(tables: dict[str, Any], path: str | Path) -> dict[str, Any]:
    """The settings of ``judge`` from tables that fit the schema. path: of the file, which the probes lie beside.

    Raises DataError for a capability in two tiers, for a default tier that is not there, and for probes that cannot be read.

    >>> rules = rules_of_policy({"version": 1, "capabilities": {"sums": {"max_drop": 2}}}, "guard.toml")
    >>> rules["budgets"]["sums"].max_drop, rules["budgets"]["sums"].alone
    (2, True)
    """
    tiers, own = tables.get("tiers", {}), tables.get("capabilities", {})
    tier_of: dict[str, str] = {}
    for tier, table in tiers.items():
        for name in table.get("capabilities", ()):
            if (other := tier_of.setdefault(name, tier)) != tier:
                raise DataError(f"{path}: {shown(name)} is in the tiers {other!r} and {tier!r}; name it in one.")
    default = tables.get("default_tier")
    if default is not None and default not in tiers:
        raise DataError(f"{path}: default_tier is {default!r}; the tiers are {', '.join(tiers) or 'none'}.")
    _no_contradiction(tiers, own, tier_of, default, path)
    rest = tiers.get(default, {})
    budgets = {name: _budget(tables, tiers[tier_of[name]] if name in tier_of else rest, own.get(name, {}))
               for name in dict.fromkeys((*tier_of, *own))}  # fmt: skip
    if rest:
        budgets[OTHERS] = _budget(tables, rest, {})
    critical = [
        name for name in budgets if name != OTHERS and tiers.get(tier_of.get(name, default), {}).get("decides", True)
    ]
    shown_only = [name for name in budgets if name not in (*critical, OTHERS)]
    decides = rest.get("decides", True)  # what no tier names
    if not decides and not critical:
        raise DataError(f"{path}: no tier decides, so nothing would; let one decide.")
    passed_on = ("max_drop", "max_loss_rise", "max_relative_drop", "relative_floor", "min_baseline", "alpha", "certify",
                 "precision", "repeat_check")  # fmt: skip
    found = {name: tables[name] for name in passed_on if name in tables}
    found |= {"critical": () if decides else tuple(critical), "informational": tuple(shown_only) if decides else ()}
    if probes := probes_of(tables, path):
        asked = load_probes(probes)
        unanswered = [None if probe.measure == "loss" else False for probe in asked]
        found["probes"] = Measurement.of(asked, unanswered, [0.0] * len(asked), model="").fingerprint
    return found | {"budgets": budgets}


def _no_contradiction(tiers: dict, own: dict, tier_of: dict[str, str], default: str | None, path: str | Path) -> None:
    """Raises DataError where something has a budget of its own and decides nothing: one of the two was not meant."""
    of_tiers = ((f"[tiers.{name}]", name, table) for name, table in tiers.items())
    of_capabilities = ((f"[capabilities.{name}]", tier_of.get(name, default), table) for name, table in own.items())
    for where, tier, table in (*of_tiers, *of_capabilities):
        given = [key for key in (*OWN, "certify") if key in table]
        if given and not tiers.get(tier, {}).get("decides", True):
            raise DataError(
                f"{path}: {where} has {given[0]} = {table[given[0]]!r}, and the tier {shown(tier)} decides nothing; leave {given[0]} "
                "out, or let a tier that decides have it."
            )


def probes_of(tables: dict[str, Any], path: str | Path) -> Path | None:
    """Where the probes of a policy lie: beside it, unless it says otherwise.

    >>> probes_of({"version": 1, "probes": "my_probes.jsonl"}, "team/guard.toml").as_posix()
    'team/my_probes.jsonl'
    """
    return Path(path).parent / tables["probes"] if "probes" in tables else None


def _budget(top: dict[str, Any], tier: dict[str, Any], own: dict[str, Any]) -> Budget:
    """Of one capability: its own table, then its tier's, then the top's. A budget of its own is certified by itself."""
    said = {**top, **tier, **own}
    certify = own.get("certify", tier.get("certify"))
    closer = (set(tier) | set(own)) & set(OWN) - LOOSE
    alone = certify == "each" if certify is not None else True if closer else None
    defaults = Rules()
    return Budget(**{name: said.get(name, getattr(defaults, name)) for name in OWN}, alone=alone)
