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
Batch = Sequence[Notice]  # that go out as one message
LONGEST = sum(WAITS)  # seconds that a message waits for a channel that fails


class _Result(NamedTuple):
    """Of one try: why it was not taken, whether to try again, and whether the channel takes nothing now."""

    error: str = ""
    again: bool = False
    channel_fails: bool = False


class Lane:
    """One channel. `start` and `free` are for one thread; no process is held up by a lane that is under way."""

    def __init__(
        self,
        name: str,
        ledger: Ledger,
        send: Callable[[Batch, int], None],
        still: Callable[[Batch, int], Batch],
        ended: threading.Event,
    ) -> None:
        """`send` gives a message to the channel, or raises NotTaken; `still` is asked before what of it is to be said
        yet; `ended` lets the lane end before the next one."""
        self.name, self.taken = name, 0  # of the last start
        self._ledger, self._send, self._still, self._ended = ledger, send, still, ended
        self._thread: threading.Thread | None = None
        self._failed, self._until = 0, 0  # tries in a row that the channel did not take; rests until then

    def free(self, now: int) -> bool:
        """May it start?"""
        rests = 0 < self._until - now <= WAITS[-1]  # a clock that was set back by more keeps no channel waiting
        return not rests and not (self._thread is not None and self._thread.is_alive())

    def start(self, batches: Sequence[Batch], now: int, pause: float = 0.0) -> None:
        """Send these in their order, so many seconds apart, in a thread that no process waits for at its end."""
        self.taken = 0
        self._thread = threading.Thread(
            target=self._empty, args=(batches, now, pause), name=f"alerts-{self.name}", daemon=True
        )
        self._thread.start()

    def join(self, seconds: float) -> None:
        """Wait for what is under way, so long at most."""
        if self._thread is not None:
            self._thread.join(max(0.0, seconds))

    def _empty(self, batches: Sequence[Batch], now: int, pause: float) -> None:
        began = time.monotonic()
        for place, batch in enumerate(batches):
            if self._ended.wait(pause if place else 0):
                return
            at = now + int(time.monotonic() - began)
            try:
                if not (left := self._still(batch, at)):
                    continue
                result = self._try(left, at)
                self._note(left, result, [one for behind in batches[place + 1 :] for one in behind], at)
            except StoreError as error:  # what went out and could not be noted goes out again: not each second
                log.error("%s: %s: %s", self.name, _named(batch), error)
                self._rest(at)
                return
            if result.channel_fails:
                return

    def _try(self, batch: Batch, now: int) -> _Result:
        try:
            self._send(batch, now)
        except NeverTaken as error:
            return _Result(str(error))
        except NotTaken as error:
            return _Result(str(error), again=True, channel_fails=True)
        except Exception as error:  # a fault of ours: other messages go on
            frame = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{Path(frame.filename).name} line {frame.lineno}"
            return _Result(f"a fault of ours: {type(error).__name__} at {place}", again=True)
        return _Result()

    def _note(self, batch: Batch, result: _Result, rest: Sequence[Notice], now: int) -> None:
        """Write down what became of a message, and of those behind it that have waited for long enough."""
        if result.channel_fails:
            self._rest(now)
        elif not result.error:
            self._failed = 0
            self.taken += len(batch)
        over = self._failed > len(WAITS)
        once_more = [
            one for one in batch if result.again and one.tries < len(WAITS) and not (over and one.at <= now - LONGEST)
        ]
        ended = [one for one in batch if one not in once_more]
        behind = [one for one in rest if result.channel_fails and over and one.at <= now - LONGEST]
        again = max(now + WAITS[min(one.tries for one in once_more)], self._until) if once_more else None
        why = result.error.removeprefix(incidents.PARTLY)  # those behind it nobody has
        for some, when, error in ((once_more, again, result.error), (ended, None, result.error), (behind, None, why)):
            if some:
                incidents.tried(self._ledger, *(one.id for one in some), now=now, error=error, again=when)
        if result.error:
            words = "given up" if again is None else f"tried again in {again - now} s"
            more = f" (and {len(behind)} that waited behind it)" if behind else ""
            log.warning("%s: %s%s did not go out, %s: %s", self.name, _named(batch), more, words, result.error)

    def _rest(self, now: int) -> None:
        self._failed += 1
        self._until = now + WAITS[min(self._failed, len(WAITS)) - 1]


def _named(batch: Batch) -> str:
    return f"message {batch[0].id}" if len(batch) == 1 else f"message {batch[0].id} and {len(batch) - 1} in one"
