"""Catch what fine-tuning makes a language model forget: probes, a monitor, measurements, a gate.

    from capability_guard import RegressionMonitor, compare, load_probes

    monitor = RegressionMonitor(tokenizer, load_probes("probes.jsonl"), every=50)
    trainer = SFTTrainer(model, ..., callbacks=[monitor])
    trainer.train()
    print(compare(monitor.before, monitor.after))

To read the code, take it in the order in which it works: ``probes`` (what is asked), ``encoding`` (as tokens), ``forward``
and ``generation`` (one pass, and what comes after it), ``asking`` (right or wrong), ``monitor`` (during training),
``measurement`` and ``measuring`` (as a file), ``statistics`` and ``verdict`` (noise or not), ``gate`` (ship it or not).
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

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
}
__all__ = list(_HOME)


def __getattr__(name: str):
    """Import a name when it is first used: whoever only compares two files must not wait for torch."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])


if TYPE_CHECKING:  # for editors and type checkers, which do not run the function above
    from capability_guard.asking import score_probes as score_probes
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
