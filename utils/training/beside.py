"""Measure a run beside its training: on a twin of the model, in a thread of its own.

A small model cannot keep two cores busy: forty steps of the practice model take two threads four fifths of what they take
one. So the training gets one core and the monitor another. Measuring is a function of the weights alone, so the figures are
the same, bit for bit; only the training no longer waits for them.
"""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import torch
from transformers import TrainerCallback, TrainerState

from capability_guard.monitor import RegressionMonitor
from capability_guard.weights import Weights, put_back, trained_weights


class Beside(TrainerCallback):
    """Stands in for a monitor in a trainer's callbacks, and lets it measure ``twin`` with copies of the weights.

    twin: the same model once more, with the same names for what is trained; its frozen weights may be the same memory.
    waited: seconds for which the training stood still because of the monitor.
    A run that diverges trains a few steps more until it is stopped; nothing is measured of those. Raises ValueError for a
    monitor with a drop budget, which decides whether the next step is taken.
    """

    def __init__(self, monitor: RegressionMonitor, twin: torch.nn.Module) -> None:
        if monitor.max_drop is not None:
            raise ValueError("A drop budget decides at each checkpoint whether to go on; measure within the training.")
        self.monitor, self.twin, self.waited = monitor, twin.eval(), 0.0
        self._thread = ThreadPoolExecutor(1, "measuring", initializer=torch.set_num_threads, initargs=(1,))
        self._jobs: list[Future] = []
        self._stopped_at: tuple[TrainerState, Weights] | None = None

    def on_train_begin(self, args, state, control, model=None, **kwargs):
        self._send("on_train_begin", args, state, control, model)

    def on_step_end(self, args, state, control, model=None, **kwargs):
        if self.monitor.is_due(state):
            self._send("on_step_end", args, state, control, model)
        for job in [job for job in self._jobs if job.done()]:
            self._jobs.remove(job)
            job.result()  # an error over there is an error here
        if self.monitor.stopped:
            control.should_training_stop = True

    def on_train_end(self, args, state, control, model=None, **kwargs):
        """Wait for what is still to be measured. The last of it asks every probe."""
        self._send("on_train_end", args, state, control, model)
        began = time.perf_counter()
        for job in self._jobs:
            job.result()
        self.waited += time.perf_counter() - began

    def close(self) -> None:
        """Drop what is still to be measured, and end the thread."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _send(self, event: str, args, state, control, model) -> None:
        began = time.perf_counter()
        # The trainer goes on to change its state and its weights: the monitor gets them as they are now.
        now, weights = replace(state, log_history=[]), trained_weights(model)
        control = copy.copy(control)

        def measure() -> None:
            stopped = self._stopped_at is not None
            if stopped and event == "on_step_end":
                return  # the training had gone on meanwhile; the run ended there
            state, values = self._stopped_at if stopped else (now, weights)
            put_back(self.twin, values)
            getattr(self.monitor, event)(args, state, control, model=self.twin)
            if self.monitor.stopped and not stopped:
                self._stopped_at = (state, values)

        self._jobs.append(self._thread.submit(measure))
        self.waited += time.perf_counter() - began


def has_a_core_to_spare() -> bool:
    """Whether a second thread would find a core. Where it would not, measuring beside costs no more than within."""
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    return len(cores) > 1


@contextmanager
def on_one_thread(wanted: bool) -> Iterator[None]:
    """Let torch compute on one thread, where ``wanted``: then neither the machine's cores nor who else uses them move a figure."""
    threads = torch.get_num_threads()
    if wanted:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
