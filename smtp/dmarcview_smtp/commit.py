"""Group commit: many wait, one writes, one sync makes all of them durable.

A sync costs the same for one mail as for a hundred. One thread takes whatever waits, writes it as one batch, and
wakes everybody; what comes meanwhile is the next batch. So no mail waits for a timer, and a lone one for no one.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Closed(RuntimeError):
    """The committer takes nothing any more."""


@dataclass(slots=True)
class _Waiting(Generic[Item, Result]):
    item: Item
    size: int
    patient: bool
    future: asyncio.Future[Result]


class GroupCommitter(Generic[Item, Result]):
    """Hands batches to `write`, which runs in one thread and returns one result an item, in order.

    What `write` raises is raised to everybody in that batch: nothing of it counts as written. All who wait
    belong to one event loop. Items that are put as `patient` may wait `patience` seconds for others, so that they
    share a sync that is due anyway instead of asking for one of their own.
    """

    def __init__(
        self,
        write: Callable[[list[Item]], Sequence[Result]],
        *,
        batch_items: int,
        batch_bytes: int,
        name: str,
        patience: float = 0.0,
    ) -> None:
        self._patience = patience
        self._write = write
        self._batch_items = batch_items
        self._batch_bytes = batch_bytes
        self._queue: queue.SimpleQueue[_Waiting[Item, Result] | None] = queue.SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    async def put(self, item: Item, size: int, *, patient: bool = False) -> Result:
        """Wait until the item is durable. Cancelling the wait does not undo the write.

        Raises what `write` raises, or Closed.
        """
        if self._closed:
            raise Closed("closed")
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._queue.put(_Waiting(item, size, patient, future))
        return await future

    def close(self) -> None:
        """Write what waits, then end the thread. Blocks until then."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        held: _Waiting[Item, Result] | None = None
        while (first := held or self._queue.get()) is not None:
            batch, held, last = self._gather(first)
            self._commit(batch)
            if last:
                return

    def _gather(
        self, first: _Waiting[Item, Result]
    ) -> tuple[list[_Waiting[Item, Result]], _Waiting[Item, Result] | None, bool]:
        """What waits now, up to the limits; the one that did not fit; whether the end was among it."""
        batch, size = [first], first.size
        patient = first.patient
        until = time.monotonic() + self._patience
        while len(batch) < self._batch_items:
            try:
                waiting = self._queue.get(timeout=max(0.0, until - time.monotonic()) if patient else 0.0)
            except queue.Empty:
                break
            if waiting is None:
                return batch, None, True
            if size + waiting.size > self._batch_bytes:
                return batch, waiting, False
            batch.append(waiting)
            size += waiting.size
            patient = patient and waiting.patient
        return batch, None, False

    def _commit(self, batch: list[_Waiting[Item, Result]]) -> None:
        results: Sequence[Result] = ()
        error: BaseException | None = None
        try:
            results = self._write([waiting.item for waiting in batch])
        except Exception as caught:  # whatever it is belongs to those who wait
            error = caught
        try:
            batch[0].future.get_loop().call_soon_threadsafe(_settle, batch, results, error)
        except RuntimeError:  # the loop is closed: nobody waits any more
            pass


def _settle(batch: list[_Waiting[Item, Result]], results: Sequence[Result], error: BaseException | None) -> None:
    for index, waiting in enumerate(batch):
        if waiting.future.done():  # cancelled
            continue
        if error is not None:
            waiting.future.set_exception(error)
        else:
            waiting.future.set_result(results[index])
