"""Several candidates of one base, measured in turn. The base is loaded once, and again only where an adapter left a trace in it."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from capability_guard.measurement import Measurement, MeasurementError


def measure_in_turn(
    base: Base, probes: Sequence, how: dict[str, Any], files: Sequence[Path]
) -> list[Measurement | MeasurementError]:
    """What each candidate knows, or why it could not be measured; each is kept in its file. Raises OSError.

    how: what ``measure`` takes besides.
    """
    from capability_guard.adapters import check_weights
    from capability_guard.cli.progress import as_it_goes
    from capability_guard.jsonl import DataError
    from capability_guard.measurement import MeasurementError
    from capability_guard.measuring import measure
    from capability_guard.models import ModelUnavailable

    adapters = base.asked.adapter
    given = adapters or base.asked.candidate
    found: list[Measurement | MeasurementError] = []
    for i, (path, file) in enumerate(zip(given, files, strict=True)):
        if (twin := next((j for j in range(i) if same_model(given[j], path)), None)) is not None:
            found.append(found[twin])
            continue
        try:
            candidate, its_tokenizer, about = base.with_adapter(path) if adapters else base.gone_for(path)
            check_weights(candidate)
            measured = measure(candidate, its_tokenizer, probes, **about, **as_it_goes(file), **how)
            measured.save(file)
            found.append(measured)
        except (MeasurementError, DataError, ModelUnavailable) as error:
            found.append(MeasurementError(str(error)))
        candidate = None  # before the next one is loaded
    return found


class Base:
    """The base, to which one adapter after the other is put, or which makes way for a model of its own."""

    def __init__(self, asked: argparse.Namespace, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        self.asked, self.model, self.tokenizer = asked, model, tokenizer
        self.adapted: Any = None
        self.untouched = _state(model)

    def with_adapter(self, folder: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, dict[str, str]]:
        """(the base with this adapter alone, the tokenizer for it, how ``measure`` is to call it)."""
        from capability_guard.adapters import with_adapter
        from capability_guard.cli.how_to_load import loading_of
        from capability_guard.models import load_model, tokenizer_of

        # A kind of adapter that leaves the base alone has nothing to unload, nor has one that was not put on to the end.
        with suppress(AttributeError):
            self.adapted.unload()
        self.model.eval()
        if _state(self.model) != self.untouched:
            self.model = self.adapted = self.untouched = None
            self.model, _ = load_model(self.asked.model, **loading_of(self.asked))
            self.untouched = _state(self.model)
        self.adapted = None
        trust = self.asked.trust_remote_code
        self.adapted = with_adapter(self.model, folder, self.asked.model, self.asked.same_base, trust)
        about = {"name": self.asked.model, "adapter": folder}
        own = None if self.asked.tokenizer else tokenizer_of(folder, trust)
        return self.adapted, own or self.tokenizer, about

    def gone_for(self, name: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, dict[str, str]]:
        """The same of a model of its own. Two whole models need not be in memory at once."""
        from capability_guard.cli.how_to_load import loading_of
        from capability_guard.models import load_model

        self.model = self.untouched = None
        return *load_model(name, **loading_of(self.asked)), {"name": name}


def _state(model: PreTrainedModel) -> list[tuple]:
    """What must be the same for two models to answer alike: the very tensors, untouched since, and the modules around them.

    The tensors themselves are kept here and not copies, since weights need not be in memory twice. torch counts how often each is
    written to.
    """
    tensors = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    modules = [(name, type(one), len(one._forward_hooks), len(one._forward_pre_hooks), vars(one).get("forward"))
               for name, one in model.named_modules()]  # fmt: skip
    weights = [(name, _Only(one), one.data_ptr(), one._version) for name, one in tensors]
    return [*weights, *modules, (model.config.to_json_string(),)]


class _Only:
    """Equal to itself alone: two tensors would be compared number by number."""

    def __init__(self, it: object) -> None:
        self.it = it

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Only) and self.it is other.it

    __hash__ = None


def same_model(one: str, other: str) -> bool:
    """Whether two names are of one model: as files and not as names, since through a link one folder has two."""
    return one == other or (os.path.exists(one) and os.path.exists(other) and os.path.samefile(one, other))
