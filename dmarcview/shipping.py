"""Rows of the sent log on their way from the relay's queue into the store.

A row is let go on the one side after it is durable on the other, and the other knows it by relay and number: whoever
dies in between, it is neither lost nor doubled.
"""

from __future__ import annotations

import logging
import threading
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from dmarcview.store import StoreError, sent

if TYPE_CHECKING:
    from dmarcview.store.ledger import Ledger

log = logging.getLogger(__name__)

BATCH = 1_000  # rows in one transaction
LOOK_SECONDS = 1.0  # between two looks for new rows
RETRY_SECONDS = 10.0  # after one of the sides failed
STOP_SECONDS = 15.0  # longest wait for the batch under way


class Shipping(threading.Thread):
    """Runs beside the ingest. A relay that does not run, or never did, is no fault: there is nothing to take then."""

    def __init__(self, folder: Path, ledger: Ledger) -> None:
        """`folder` is the relay's."""
        super().__init__(name="shipping", daemon=True)
        self._folder = folder
        self._ledger = ledger
        self._ended = threading.Event()

    def run(self) -> None:
        """Until `stop`: take what is there."""
        from dmarcview_relay.queue_schema import QueueError

        wait = 0.0
        while not self._ended.wait(wait):
            try:
                self.step()
                wait = LOOK_SECONDS
            except (StoreError, QueueError) as error:
                log.error("sent log: %s; the rows stay in the relay's queue", error)
                wait = RETRY_SECONDS
            except Exception:  # one bad row must not end the service of all others, unseen
                log.exception("sent log: the rows stay in the relay's queue")
                wait = RETRY_SECONDS

    def stop(self) -> None:
        """End after the batch under way."""
        self._ended.set()
        if self.is_alive():
            self.join(STOP_SECONDS)

    def step(self) -> int:
        """Take every row that is there now; gives how many were new to the store. Raises StoreError, QueueError."""
        from dmarcview_relay.queue_schema import Gone
        from dmarcview_relay.sentlog import SentLog

        try:
            source = SentLog(self._folder)
        except Gone:
            return 0
        fresh = 0
        with closing(source):
            while rows := source.pending(BATCH):
                fresh += sent.append(self._ledger, source.instance, rows)
                source.shipped(rows[-1][0])
                if self._ended.is_set() or len(rows) < BATCH:
                    break
        return fresh
