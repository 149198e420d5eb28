"""Catch what fine-tuning makes a language model forget: probes, a monitor, measurements, a gate.

    from capability_guard import RegressionMonitor, compare, load_probes

    monitor = RegressionMonitor(tokenizer, load_probes("probes.jsonl"), every=50)
    trainer = SFTTrainer(model, ..., callbacks=[monitor])
    trainer.train()
    print(compare(monitor.before, monitor.after))

Most docstrings end with an example, and a test runs each of them. An example may use five names without defining them:
``MODEL`` (a folder with a small model), ``PROBES`` (a JSONL file of probes, most of which that model answers), ``model`` and
``tokenizer`` (that model, loaded), and ``FOLDER`` (an empty folder to write to, as a ``pathlib.Path``).

    >>> import capability_guard as guard
    >>> guard.score_probes(model, tokenizer, guard.load_probes(PROBES)[:2]).correct
    [True, True]

To read the code, take it in the order in which it works: ``probes`` (what is asked), ``encoding`` (as tokens), ``forward``
and ``generation`` (one pass, and what comes after it), ``asking`` (right or wrong), ``monitor`` (during training),
``measurement`` and ``measuring`` (as a file), ``statistics`` and ``verdict`` (noise or not), ``gate`` (ship it or not);
then ``fading`` (turned down, it forgets less), ``loading`` and ``reading`` (a model as it ships), ``endpoint`` (one that is
served) and ``shipped`` (is it the one that was trained?).
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

# The public names, and the module that each lives in: nothing else is promised to stay where it is.
_HOME = {
    "Probe": "probes",
    "load_probes": "probes",
    "save_probes": "probes",
    "from_dataset": "probe_sets",
    "self_probes": "probe_sets",
    "score_probes": "asking",
    "load_model": "models",
    "RegressionMonitor": "monitor",
    "Measurement": "measurement",
    "measure": "measuring",
    "judge": "gate",
    "compare": "verdict",
    "fade": "fading.turning",
    "best_strength": "fading.strengths",
}
__all__ = list(_HOME)


def __getattr__(name: str):
    """Import a name when it is first used, so that comparing two files need not wait for torch."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value  # found without this function from now on
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])


if TYPE_CHECKING:  # for editors and type checkers, which do not run the function above
    from capability_guard.asking import score_probes as score_probes
    from capability_guard.fading.strengths import best_strength as best_strength
    from capability_guard.fading.turning import fade as fade
    from capability_guard.gate import judge as judge
    from capability_guard.measurement import Measurement as Measurement
    from capability_guard.measuring import measure as measure
    from capability_guard.models import load_model as load_model
    from capability_guard.monitor import RegressionMonitor as RegressionMonitor
    from capability_guard.probe_sets import from_dataset as from_dataset
    from capability_guard.probe_sets import self_probes as self_probes
    from capability_guard.probes import Probe as Probe
    from capability_guard.probes import load_probes as load_probes
    from capability_guard.probes import save_probes as save_probes
    from capability_guard.verdict import compare as compare
