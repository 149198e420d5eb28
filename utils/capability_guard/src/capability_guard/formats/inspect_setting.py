"""How a log of Inspect AI came about: what must be the same in two, so that only the models differ."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from capability_guard.formats.metrics import Outcomes
from capability_guard.formats.wording import brief, ending, text_of

# What of the generation moves a score.
GENERATION = ("temperature", "top_p", "top_k", "max_tokens", "reasoning_effort", "reasoning_tokens", "system_message", "stop_seqs",
              "frequency_penalty", "presence_penalty", "logit_bias", "best_of", "num_choices", "effort")  # fmt: skip
LIMITS = ("message_limit", "token_limit", "time_limit", "working_limit")  # of one sample, after which it is cut off
# Of a solver's parameters, those that say which model is asked, or change no answer.
NO_MATTER = (
    "model",
    "models",
    "seed",
    "max_connections",
    "max_retries",
    "timeout",
    "attempt_timeout",
    "cache",
    "cache_prompt",
    "batch",
)


def samples_of(data: dict) -> list[dict]:
    """The samples of a log, each epoch once: one that was run again replaces what failed.

    >>> samples_of({"samples": [{"id": 1, "epoch": 1}, {"id": 1, "epoch": 2}, {"id": 1, "epoch": 1, "scores": {}}]})
    [{'id': 1, 'epoch': 1, 'scores': {}}, {'id': 1, 'epoch': 2}]
    """
    found = {json.dumps([sample["id"], sample.get("epoch")]): sample for sample in data.get("samples") or ()}
    return list(found.values())


def epochs_of(data: dict) -> int:
    """How often each sample was asked: as was planned, or more often where a log does not say.

    >>> epochs_of({"eval": {"config": {"epochs": 2}}}), epochs_of({"eval": {}, "samples": [{"id": 1}]})
    (2, 1)
    """
    planned = (data["eval"].get("config") or {}).get("epochs")
    seen: dict[str, int] = {}
    for sample in samples_of(data):
        name = json.dumps(sample["id"])
        seen[name] = seen.get(name, 0) + 1
    return max([planned if isinstance(planned, int) else 1, *seen.values()])


def reducer_of(data: dict, scorer: str) -> str:
    """How the epochs of a sample became one score, "" where that is not said.

    >>> reducer_of({"reductions": [{"scorer": "match", "reducer": "max"}]}, "match")
    'max'
    """
    named = [
        str(r.get("reducer") or "")
        for r in data.get("reductions") or ()
        if str(r.get("scorer")) == scorer.split(",")[0]
    ]
    return named[0] if named else ""


def arguments_of(spec: dict) -> list[str]:
    """The arguments of the task. Older logs do not tell those that were given from those that it has anyway.

    >>> arguments_of({"task_args": {"subject": "law"}})
    ['subject law']
    """
    given = spec.get("task_args_passed") or spec.get("task_args") or {}
    return [f"{name} {brief(value)}" for name, value in sorted(given.items())]


def setting_of(data: dict, used: str, outcome: Outcomes) -> str:
    """What must be the same in two logs: the task's version and arguments, and how the answers were made and graded.

    >>> steps = [{"solver": "generate", "params": {"temperature": 0.0}}]
    >>> setting_of({"eval": {"task_version": 1}, "plan": {"steps": steps}}, "match", Outcomes("bits", (1.0,)))
    'version 1, scorer match, temperature 0.0, solver generate'
    """
    spec, plan = data["eval"], data.get("plan") or {}
    config, steps = spec.get("config") or {}, [*(plan.get("steps") or ()), *filter(None, [plan.get("finish")])]
    made = {**(spec.get("model_generate_config") or {}), **(plan.get("config") or {})}
    for step in steps:
        made |= {name: value for name, value in _parameters(step).items() if name in GENERATION}
    words = [f"version {spec.get('task_version')}", f"scorer {used}"]
    if epochs_of(data) > 1:
        words.append(f"{epochs_of(data)} epochs, {reducer_of(data, used) or 'mean'}")
    words += [f"limit {brief(config['limit'])}"] if config.get("limit") else []
    words += [f"{name} {brief(config[name])}" for name in LIMITS if config.get(name) is not None]
    words += [f"{name} {brief(made[name])}" for name in GENERATION if made.get(name) is not None]
    words += [*arguments_of(spec), *_strictness(spec, used)]
    words += ["solver " + "+".join(_solver(step, str(spec.get("model"))) for step in steps)] if steps else []
    return ", ".join(words) + ending(outcome, used)


def _parameters(step: dict) -> dict[str, Any]:
    """Those of a solver, with what older logs keep apart."""
    given = {**(step.get("params") or {}), **(step.get("params_passed") or {})}
    apart = given.pop("kwargs", None)
    return {**given, **(apart if isinstance(apart, dict) else {})}


def _solver(step: dict, model: str) -> str:
    """Its name, and six digits that change with its parameters: another template, or room to think aloud, moves a score as training
    does. Left out are the model itself, what was said already, and what is the same as nothing."""

    def bare(value: Any) -> Any:
        if isinstance(value, dict):
            kept = {str(name): bare(one) for name, one in value.items() if str(name) not in NO_MATTER}
            return {name: one for name, one in kept.items() if one not in (None, False, "", [], {})}
        if isinstance(value, list):
            return [bare(one) for one in value]
        return "" if value == model else value

    own = bare({name: value for name, value in _parameters(step).items() if name not in GENERATION})
    own = {name: value for name, value in own.items() if (name, value) != ("tool_calls", "loop")}  # as it always was
    if not own:
        return str(step.get("solver"))
    text = json.dumps(own, sort_keys=True, default=str)
    return f"{step.get('solver')} (parameters {hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:6]})"


def _strictness(spec: dict, used: str) -> list[str]:
    """How the scorer was set, and which model graded, if one did: the same answers may be right to one and wrong to another."""
    scorer = next((s for s in spec.get("scorers") or () if str(s.get("name")).split("/")[-1] == used.split(",")[0]), {})
    words = [f"{name} {brief(value)}" for name, value in sorted((scorer.get("options") or {}).items())]
    roles = spec.get("model_roles") or {}
    return words + [f"{role} {text_of(about.get('model', about) if isinstance(about, dict) else about)[:200]}"
                    for role, about in sorted(roles.items())]  # fmt: skip
