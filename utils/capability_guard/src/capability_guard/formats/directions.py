"""Which way is better: more of a metric, or less.

The user may say it, or the file. A name says it only where every word of it is known, or where it ends in a measure, since one more
word can turn it round: a "wrong answer" is no answer to be had more of, nor is the success of an attack. Where nothing tells,
nothing is taken for granted: then no loss can be ruled out.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

GIVEN = re.compile(r"^(?P<name>.+):(?P<way>lower|higher)$")
# In old files nothing else tells, nor in those of Inspect. Whole names of the harnesses' own.
LOWER = re.compile(
    r"pct_(stereotype|invalid|female_preferred|male_preferred)|likelihood_diff|difference_male_female|ter|wer|cer|mer"
    r"|((word|byte|token|target|char)_)?perplexity|ppl|bits_per_(byte|char|token|word)|brier(_score)?|ece|mse|mae|rmse|loss|nll"
    r"|edit_distance|hallucination_rate|((word|char|character|token|phoneme|sentence)_)?error_rate|attack_success_rate"
    r"|perspective_api_toxicity_score|toxicity|((amb|disamb)_)?bias_score(_\w+)?"
    r"|(gender|race|racial|ethnic|age|religion|social|political|position)_bias"
)
SCORERS = ("answer", "choice", "pattern", "includes", "math", "model_graded_qa", "model_graded_fact")  # Inspect's own
GOOD = re.compile(
    r"acc|accuracy|[qp]?em|f1|(sacre)?bleu\d*|bleurt|rouge\w{0,4}|chrf|meteor|bert(score)?|comet|mcc|mc[12]|mrr|ndcg|iou|recall"
    r"|precision|match(es)?|exact|correct(ness)?|right|pass(ed)?|success|solved|equiv(alent|alence)?|verif(y|ied)|reward|maj"
)
# What may stand beside a good word and changes nothing.
BESIDE = re.compile(
    r"\d*|a|k|g|n|t|of|at|by|on|the|is|norm|normalized|score|rate|value|mean|avg|average|max|std|strict|loose|flexible|relaxed|quasi"
    r"|prefix|suffix|extractive|extract|model|llm|prompt|inst|instruction|level|any|all|token|word|char|macro|micro|weighted|final"
    r"|overall|total|gold|target|metric|loglikelihood|bytes|mutual|info|single|multi|multiple|sample|samples|text|numeric|number|string"
    r"|regex|json|answer|choice|question|qa|expression|sympy"
)
# Measures that are good of whatever stands before them ("capitals_accuracy"), unless that is something bad.
MEASURE = re.compile(r"acc|accuracy|[qp]?em|f1|bleu|rouge\w{0,4}|chrf")
BAD = re.compile(
    r"(in|un|dis|non|de)\w*|mism\w*|misl\w*|not?|wrong\w*|fail\w*|false\w*|jail\w*|attack\w*|harm\w*|halluc\w*|err\w*|loss\w*|toxic\w*|bias\w*"
    r"|refus\w*|leak\w*|cheat\w*|backdoor\w*|poison\w*|trigger\w*|spoof\w*|malicious|adversar\w*|bad|worst|lies?|lying"
)


def lower_is_better(name: str, said: Any = None) -> bool | None:
    """Whether less of a metric is better; None where nothing tells. said: what the user or the file says of it, if anything.

    >>> lower_is_better("pct_stereotype"), lower_is_better("acc_norm"), lower_is_better("acc", said=False)
    (True, False, True)
    >>> lower_is_better("capitals_accuracy"), lower_is_better("jailbreak_accuracy")
    (False, None)
    >>> [lower_is_better(name) for name in ("harmfulness", "incorrect", "no_answer", "attack_success", "refusal_rate")]
    [None, None, None, None, None]
    """
    if isinstance(said, bool):
        return not said
    name = name.strip().lower()
    if LOWER.fullmatch(name):
        return True
    words = re.split(r"[^a-z0-9]+", name)
    good = [GOOD.fullmatch(word) is not None for word in words]
    known = any(good) and all(is_good or BESIDE.fullmatch(word) for is_good, word in zip(good, words, strict=True))
    measured = MEASURE.fullmatch(words[-1]) is not None and not any(map(BAD.fullmatch, words))
    return False if known or measured or name in SCORERS else None


def directed(text: str) -> tuple[str, bool | None]:
    """A metric as it was asked for, and whether more of it is better, None where that was not said.

    >>> directed("harmfulness:lower"), directed("exact_match,strict-match:higher"), directed("acc")
    (('harmfulness', False), ('exact_match,strict-match', True), ('acc', None))
    """
    found = GIVEN.match(text.strip())
    return (found["name"].strip(), found["way"] == "higher") if found else (text, None)


# At the end of a setting, before what says that values were divided.
_UNKNOWN = ", whether more {} is better is not known"
_MARK = re.compile(r", whether more (.*?) is better is not known")


def unknown(metric: str) -> str:
    """What the setting of a task says where nothing tells which way its metric is better.

    >>> unknown("harmfulness")
    ', whether more harmfulness is better is not known'
    """
    return _UNKNOWN.format(metric)


def undirected(settings: Mapping[str, str]) -> dict[str, str]:
    """The tasks of which nothing tells which way is better, each with how to say it.

    >>> undirected({"safety": "version 1, harmfulness" + unknown("harmfulness"), "arc": "version 1, acc"})
    {'safety': '--metric safety=harmfulness:lower, or :higher'}
    """
    found = {
        task: mark[1].removesuffix(",none") for task, setting in settings.items() if (mark := _MARK.search(setting))
    }
    return {task: f"--metric {shlex.quote(f'{task}={metric}:lower')}, or :higher" for task, metric in found.items()}
