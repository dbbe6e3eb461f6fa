"""Answers that take long: one thread asks for them, one after the other, and meanwhile the last one is shown."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

PATIENCE = 0.15  # seconds that a callback waits for an answer
REST = 5  # times as long as an answer took it stays, before the same is asked anew: pages need the processor, too
KEPT = 8  # answers
MOST_JOBS = 16  # questions that wait; an open page asks again for one that was dropped
CLOSE_SECONDS = 15.0
ERROR_KEPT = 5.0  # seconds: an open page does not ask on and on for what fails

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Told(Generic[Answer]):
    """What is known now. `answer` is None while there is none, and old while not `fresh`."""

    answer: Answer | None
    fresh: bool


@dataclass(slots=True)
class _Held:
    version: Hashable = None
    answer: Any = None
    error: Exception | None = None
    done: float = 0.0
    took: float = 0.0


@dataclass(frozen=True, slots=True)
class _Job:
    version: Hashable
    question: Callable[[], Any]


class Slowly:
    """Answers by key and version. `finished` grows with each, so that pages know when to ask again."""

    def __init__(self, patience: float = PATIENCE) -> None:
        self.patience = patience
        self.finished = 0
        self._held: OrderedDict[Hashable, _Held] = OrderedDict()
        self._jobs: dict[Hashable, _Job] = {}  # those that wait, and the one that runs
        self._now: _Job | None = None
        self._running = False
        self._closed = False
        self._moved = threading.Condition()

    def ask(self, key: Hashable, version: Hashable, question: Callable[[], Answer]) -> Told[Answer]:
        """The answer, if it is there within `patience`; else the one of an older version; raises what `question` does.

        Of several versions of one key that wait, only the newest is asked.
        """
        with self._moved:
            held = self._held.get(key)
            if held is None or held.version != version or self._forgotten(held):
                known = self._jobs.get(key)
                if not self._closed and (known is None or known.version != version):
                    self._jobs[key] = _Job(version, question)
                    self._start()
                self._moved.wait_for(lambda: self._has(key, version), self.patience)
                held = self._held.get(key)
            if held is None:
                return Told(None, False)
            self._held.move_to_end(key)
            if held.version == version and held.error is not None:
                raise held.error
            return Told(held.answer, held.version == version)

    def close(self) -> None:
        """Ask nothing more, and wait a while for the question that runs."""
        with self._moved:
            self._closed = True
            self._jobs.clear()
            self._moved.notify_all()
            self._moved.wait_for(lambda: not self._running, CLOSE_SECONDS)

    def _has(self, key: Hashable, version: Hashable) -> bool:
        held = self._held.get(key)
        return self._closed or (held is not None and held.version == version and not self._forgotten(held))

    def _forgotten(self, held: _Held) -> bool:
        return held.error is not None and time.monotonic() - held.done > ERROR_KEPT

    def _start(self) -> None:
        if len(self._jobs) > MOST_JOBS:
            del self._jobs[next(key for key, job in self._jobs.items() if job is not self._now)]
        if self._running:
            self._moved.notify_all()  # the new one may be due before those that wait
        else:
            self._running = True
            threading.Thread(target=self._work, name="slowly", daemon=True).start()

    def _due(self, key: Hashable) -> float:
        held = self._held.get(key)
        return held.done + REST * held.took if held is not None and held.error is None else 0.0

    def _work(self) -> None:
        while True:
            with self._moved:
                self._now = None
                if not self._jobs:
                    self._running = False
                    self._moved.notify_all()
                    return
                key = min(self._jobs, key=self._due)
                wait = self._due(key) - time.monotonic()
                if wait > 0:
                    self._moved.wait(wait)
                    continue
                self._now = job = self._jobs[key]
            self._answer(key, job)

    def _answer(self, key: Hashable, job: _Job) -> None:
        start = time.monotonic()
        answer, error = None, None
        try:
            answer = job.question()
        except Exception as fault:  # it is told to those who ask, in `ask`
            error = fault
        end = time.monotonic()
        with self._moved:
            if self._jobs.get(key) is job:
                del self._jobs[key]
            before = self._held.get(key)
            if error is not None and before is not None:
                answer = before.answer
            self._held[key] = _Held(job.version, answer, error, end, end - start)
            while len(self._held) > KEPT:
                self._held.popitem(last=False)
            self.finished += 1
            self._moved.notify_all()
