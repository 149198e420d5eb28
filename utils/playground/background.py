"""Threads for the whole process, one that trains, one that fades and one that draws, so that a notebook stays free meanwhile.

Each playground has at most one waiting job with each: a newer job takes the place of an older one that has not
started. That makes quick moves one run, and a picture that came too late no picture at all.
"""

from __future__ import annotations

import atexit
import threading
import time
import weakref
from collections.abc import Callable, Hashable

Job = Callable[[], None]
AT_THE_END = 10  # seconds for which a process that ends waits for a job
ENDING = threading.Event()  # set when the process ends: a job that takes long looks at it


class Background:
    """One daemon thread, started with its first job. Jobs of different owners are done one after the other."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._waiting: dict[Hashable, tuple[float, Job]] = {}
        self._running: Hashable | None = None
        self._errors: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def put(self, owner: Hashable, job: Job, delay: float = 0.0) -> None:
        """Do ``job`` after ``delay`` seconds, in place of the owner's job that still waits, if there is one."""
        with self._changed:
            self._waiting[owner] = (time.monotonic() + delay, job)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._loop, name=self.name, daemon=True)
                self._thread.start()
                atexit.register(self._end)
            self._changed.notify_all()

    def drop(self, owner: Hashable) -> None:
        """Forget the owner's job if it still waits."""
        with self._changed:
            self._waiting.pop(owner, None)
            self._changed.notify_all()

    def others_wait(self, owner: Hashable) -> bool:
        """Whether somebody else has a job that could begin: one that can be put off then gives way."""
        with self._changed:
            now = time.monotonic()
            return any(other is not owner and due <= now for other, (due, _) in self._waiting.items())

    def wait(self, owner: Hashable, timeout: float | None = None) -> bool:
        """Wait until the owner has no job; False when that took longer than ``timeout`` seconds.

        Raises the error in which the owner's last job ended, if it did: in its own thread nobody would see it.
        """
        with self._changed:
            done = self._changed.wait_for(
                lambda: owner not in self._waiting and self._running is not owner, timeout=timeout
            )
        self.check(owner)
        return done

    def check(self, owner: Hashable) -> None:
        """Raise the error in which the owner's last job ended, if it did."""
        with self._changed:
            error = self._errors.pop(owner, None)
        if error is not None:
            raise error

    def _end(self) -> None:
        """At the end of the process: a thread that is cut off within torch would bring the whole process down."""
        ENDING.set()
        with self._changed:
            self._waiting.clear()
            self._changed.wait_for(lambda: self._running is None, timeout=AT_THE_END)

    def _loop(self) -> None:
        while True:
            with self._changed:
                owner, job = self._next()
                self._running = owner
                self._errors.pop(owner, None)
            try:
                job()
            except BaseException as error:  # whatever it was, the next job must find a thread
                with self._changed:
                    self._errors[owner] = error
            with self._changed:
                self._running = None
                self._changed.notify_all()
            del owner, job  # a thread that waits must not keep a closed playground alive

    def _next(self) -> tuple[Hashable, Job]:
        """The job that is due first, once it is due. Called with the lock held."""
        while True:
            now = time.monotonic()
            if self._waiting:
                owner = min(self._waiting, key=lambda key: self._waiting[key][0])
                due, job = self._waiting[owner]
                if due <= now:
                    del self._waiting[owner]
                    return owner, job
                self._changed.wait(due - now)
            else:
                self._changed.wait()


class Foreground:
    """The same, done at once in the thread that asks: for Colab, which shows nothing that another thread draws."""

    def put(self, owner: Hashable, job: Job, delay: float = 0.0) -> None:
        """Do ``job`` now."""
        job()

    def drop(self, owner: Hashable) -> None:
        """Nothing waits here."""

    def wait(self, owner: Hashable, timeout: float | None = None) -> bool:
        """Nothing to wait for."""
        return True

    def others_wait(self, owner: Hashable) -> bool:
        """Nobody waits here."""
        return False

    def check(self, owner: Hashable) -> None:
        """An error was raised where the job was asked for."""


TRAINING = Background("playground-training")
FADING = Background("playground-fading")
DRAWING = Background("playground-drawing")
