"""A lane of the outbox: one channel, which sends what is due in a thread of its own and rests after it failed.

After a try that the channel did not take, all of its messages wait: 1, 5 and 30 minutes, 2 and 6 hours, from the start
again once it took one. A message that was tried so often, or that was due all the while, is given up. How long a
channel rests is not kept: a new process tries it at once.
"""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from dmarcview.store import StoreError, incidents
from dmarcview.store.incidents import Notice
from dmarcview.store.ledger import Ledger

from .fault import NeverTaken, NotTaken

log = logging.getLogger(__name__)

WAITS = (60, 300, 1_800, 7_200, 21_600)
LONGEST = sum(WAITS)  # seconds that a message waits for a channel that fails


class _Result(NamedTuple):
    """Of one try: why it was not taken, whether to try again, and whether the channel takes nothing now."""

    error: str = ""
    again: bool = False
    channel_fails: bool = False


class Lane:
    """One channel. `start` and `free` are for one thread; no process is held up by a lane that is under way."""

    def __init__(self, name: str, ledger: Ledger, send: Callable[[Notice, int], None], ended: threading.Event) -> None:
        """`send` gives a message to the channel, or raises NotTaken; `ended` lets the lane end before the next one."""
        self.name, self.taken = name, 0  # of the last start
        self._ledger, self._send, self._ended = ledger, send, ended
        self._thread: threading.Thread | None = None
        self._failed, self._until = 0, 0  # tries in a row that the channel did not take; rests until then

    def free(self, now: int) -> bool:
        """May it start?"""
        return now >= self._until and not (self._thread is not None and self._thread.is_alive())

    def start(self, notices: Sequence[Notice], now: int) -> None:
        """Send these in their order, in a thread that no process waits for at its end."""
        self.taken = 0
        self._thread = threading.Thread(
            target=self._empty, args=(notices, now), name=f"alerts-{self.name}", daemon=True
        )
        self._thread.start()

    def join(self, seconds: float) -> None:
        """Wait for what is under way, so long at most."""
        if self._thread is not None:
            self._thread.join(max(0.0, seconds))

    def _empty(self, notices: Sequence[Notice], now: int) -> None:
        began = time.monotonic()
        for place, notice in enumerate(notices):
            at = now + int(time.monotonic() - began)
            if self._ended.is_set():
                return
            result = self._try(notice, at)
            try:
                self._note(notice, result, notices[place + 1 :], at)
            except StoreError as error:  # what went out and could not be noted goes out again: not each second
                log.error("%s: message %d: %s", self.name, notice.id, error)
                self._rest(at)
                return
            if result.channel_fails:
                return

    def _try(self, notice: Notice, now: int) -> _Result:
        try:
            self._send(notice, now)
        except NeverTaken as error:
            return _Result(str(error))
        except NotTaken as error:
            return _Result(str(error), again=True, channel_fails=True)
        except Exception as error:  # a fault of ours: other messages go on
            frame = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{Path(frame.filename).name} line {frame.lineno}"
            return _Result(f"a fault of ours: {type(error).__name__} at {place}", again=True)
        return _Result()

    def _note(self, notice: Notice, result: _Result, rest: Sequence[Notice], now: int) -> None:
        """Write down what became of a message, and of those behind it that have waited for long enough."""
        if result.channel_fails:
            self._rest(now)
        elif not result.error:
            self._failed = 0
            self.taken += 1
        old = [one for one in (notice, *rest) if one.at <= now - LONGEST] if self._failed > len(WAITS) else []
        again = None
        if result.again and notice.tries < len(WAITS) and notice not in old:
            again = max(now + WAITS[notice.tries], self._until)
        incidents.tried(self._ledger, notice.id, now=now, error=result.error, again=again)
        behind = [one.id for one in old if one is not notice] if result.channel_fails else []
        if behind:
            incidents.tried(self._ledger, *behind, now=now, error=result.error, again=None)
        if result.error:
            words = "given up" if again is None else f"tried again in {again - now} s"
            more = f" (and {len(behind)} that waited behind it)" if behind else ""
            log.warning("%s: message %d%s did not go out, %s: %s", self.name, notice.id, more, words, result.error)

    def _rest(self, now: int) -> None:
        self._failed += 1
        self._until = now + WAITS[min(self._failed, len(WAITS)) - 1]
