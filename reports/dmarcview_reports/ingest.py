"""From the spool to the store: take a batch, read each mail, judge it, hand all to the sink, and only then let go.

A crash anywhere repeats the batch, and the sink's dedupe makes that harmless. A mail on which the process itself dies
is noticed by a mark beside the spool (which mail was being read, how often that ended in death) and is set aside.
"""

from __future__ import annotations

import contextlib
import logging
import os
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from . import reading, trust
from .errors import SpoolError
from .model import Origin, Reading, Refusal, Stored, Taken, Verdict
from .settings import Limits

log = logging.getLogger(__name__)

Judge = Callable[[bytes, Origin], Verdict]
NOT_YET = Verdict("none", "temperror: the mail could not be verified in time; it is tried again")


class Batch(Protocol):
    """What `Spool.take` yields: a name, and the mails of one group commit."""

    @property
    def name(self) -> str: ...

    @property
    def items(self) -> Sequence[tuple[Origin, bytes]]: ...


class Source(Protocol):
    """The spool as ingest sees it."""

    def take(self) -> Iterable[Any]:
        """Yield batches that no other process holds."""

    def done(self, batch: Any) -> None:
        """Forget a batch: all of it is stored."""

    def give_back(self, batch: Any) -> None:
        """Let it be taken again."""


class Sink(Protocol):
    """The store as ingest sees it."""

    def append_many(self, taken: Sequence[Taken]) -> Sequence[Stored]:
        """Store all or nothing; when it returns, all of it is durable."""


@dataclass(frozen=True, slots=True)
class IngestSettings:
    """How ingest works; times are seconds."""

    batch_mails: int = 500
    batch_bytes: int = 32_000_000  # and this many bytes of mails; one batch of the spool may go past it
    batch_records: int = 200_000  # and this many records in one transaction; one mail may go past it
    tries: int = 3
    judge_workers: int = 8
    judge_wait: float = 2.0  # a mail becomes visible after this time at most, judged or not
    poll_seconds: float = 0.25
    retry_seconds: float = 5.0  # after the sink or the disk failed
    also_speaks_for: trust.Spokesmen = field(default_factory=dict)  # added to the built-in table


class _Read(NamedTuple):
    """One mail that was read; `verdict` comes later, and is None where nothing is verified."""

    origin: Origin
    raw: bytes
    reading: Reading
    verdict: Future[Verdict] | None


@dataclass(slots=True)
class Counts:
    """What one ingest process has done since it began."""

    mails: int = 0
    reports: int = 0
    refused: int = 0
    duplicates: int = 0
    crashed: int = 0


class Ingest:
    """Moves mails from a spool to a sink. Not thread-safe: one thread, one process at a time for one batch."""

    def __init__(
        self,
        spool: Source,
        sink: Sink,
        marks: Path,
        *,
        judge: Judge | None = None,
        settings: IngestSettings | None = None,
        limits: Limits | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.spool = spool
        self.sink = sink
        self.judge = judge
        self.settings = settings or IngestSettings()
        self.limits = limits or Limits()
        self.clock = clock
        self.counts = Counts()
        self._marks = Marks(marks)
        self._pool: ThreadPoolExecutor | None = None
        self._spokesmen = trust.with_own(self.settings.also_speaks_for)

    def step(self) -> int:
        """Take every batch that waits; returns the number of mails stored. Raises what the sink raises.

        Small batches are stored together: under load one transaction serves many of them. What is held at once is
        bounded in mails and bytes, so that a long backlog costs time and no memory.
        """
        stored = mails = size = 0
        held: list[Batch] = []
        try:
            for batch in self.spool.take():
                held.append(batch)
                mails += len(batch.items)
                size += sum(len(raw) for _, raw in batch.items)
                if mails >= self.settings.batch_mails or size >= self.settings.batch_bytes:
                    stored += self._store(held)
                    mails = size = 0
                del batch  # else the next one is read while this one is still in memory
            stored += self._store(held)
        finally:
            for batch in held:
                self.spool.give_back(batch)
        return stored

    def run(self, stopped: Callable[[float], bool]) -> None:
        """Step until `stopped(seconds)` is true; it sleeps for the seconds, or less when it is time to stop."""
        wait = 0.0
        while not stopped(wait):
            try:
                self.step()
                wait = self.settings.poll_seconds
            except (SpoolError, OSError) as error:
                log.error("spool: %s; trying again", error)
                wait = self.settings.retry_seconds
            except Exception as error:
                if not _may_pass(error):
                    raise
                log.error("store: %s; the mails stay in the spool", error)
                wait = self.settings.retry_seconds

    def close(self) -> None:
        """Let go of the threads; verifications under way end by their own time limits."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
        self._marks.close()

    def _store(self, held: list[Batch]) -> int:
        """Read and store what is held; what is stored is taken off the list.

        Few mails can unpack to many records, so they are stored in pieces; a batch is done after its last piece.
        """
        judged = [self._judgements(batch.items) for batch in held]
        until: float | None = None
        piece: list[_Read] = []
        stored = records = 0
        for batch, verdicts in zip(held, judged, strict=True):
            for one in self._read(batch, verdicts):
                piece.append(one)
                records += sum(len(report.records) for report in one.reading.reports)
                if records >= self.settings.batch_records:
                    self._marks.at(Marks.IDLE)
                    until = until or time.monotonic() + self.settings.judge_wait
                    stored += self._store_piece(piece, until)
                    records = 0
        stored += self._store_piece(piece, until or time.monotonic() + self.settings.judge_wait)
        while held:
            self.spool.done(held[0])
            self._marks.end(held.pop(0).name)
        return stored

    def _store_piece(self, piece: list[_Read], until: float) -> int:
        """Store what was read and take it off the list; the sink makes up for verdicts that are not there by then."""
        wait_for([one.verdict for one in piece if one.verdict is not None], timeout=max(0.0, until - time.monotonic()))
        taken = [
            Taken(one.origin, one.raw, one.reading, trust.of_reports(verdict, one.reading.reports, self._spokesmen))
            for one in piece
            for verdict in [_verdict(one.verdict)]
        ]
        piece.clear()
        self._count(taken, self._append(taken))
        return len(taken)

    def _append(self, taken: Sequence[Taken]) -> Sequence[Stored]:
        """Hand all to the sink. When it fails by a fault of its own on one of them, that one alone is set aside."""
        try:
            return self.sink.append_many(taken)
        except Exception as error:
            if _may_pass(error):
                raise
            log.exception("store: %d mails failed together; they are stored one by one", len(taken))
        stored: list[Stored] = []
        for one in taken:
            try:
                stored += self.sink.append_many([one])
            except Exception as error:
                if _may_pass(error):
                    raise
                log.exception("%s: it cannot be stored; set aside", one.origin.name)
                stored += self.sink.append_many([_unstorable(one, error)])
        return stored

    def _read(self, batch: Batch, verdicts: Sequence[Future[Verdict]] | None) -> Iterator[_Read]:
        poison = self._marks.begin(batch.name, self.settings.tries)
        for number, (origin, raw) in enumerate(batch.items):
            if number in poison:
                self.counts.crashed += 1
                log.error("%s: the reader died on it %d times; set aside", origin.name, self.settings.tries)
                found = _crashed(origin.name, self.settings.tries)
            else:
                self._marks.at(number)
                found = reading.read(raw, origin.name, self.limits, int(self.clock()))
            yield _Read(origin, raw, found, verdicts[number] if verdicts is not None else None)
        self._marks.at(Marks.IDLE)
        self._marks.close()

    def _judgements(self, part: Sequence[tuple[Origin, bytes]]) -> list[Future[Verdict]] | None:
        """Begin the verifications, so that they wait for DNS while the mails are read."""
        if self.judge is None:
            return None
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.settings.judge_workers, thread_name_prefix="judge")
        return [self._pool.submit(self.judge, raw, origin) for origin, raw in part]

    def _count(self, taken: Sequence[Taken], results: Sequence[Stored]) -> None:
        counts = self.counts
        counts.mails += len(taken)
        for stored in results:
            counts.reports += stored.reports
            counts.refused += stored.refused
            counts.duplicates += stored.duplicates


class Marks:
    """Which mail of which batch is being read, in a file that outlives the process, but need not outlive the machine.

    A file a batch: the mail under way (or IDLE) and the deaths on it before, then the mails that were set aside.
    """

    IDLE = -1
    _HEAD = struct.Struct("<qq")
    _ITEM = struct.Struct("<q")

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._fd: int | None = None
        self._deaths = 0
        self._last = self.IDLE

    def begin(self, batch: str, tries: int) -> frozenset[int]:
        """Open the mark of a batch; returns the mails that killed the reader `tries` times."""
        self.close()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(self._path(batch), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        raw = Path(self._path(batch)).read_bytes()
        self._last, self._deaths = self.IDLE, 0
        if len(raw) < self._HEAD.size:
            self._write(self.IDLE, 0)
            return frozenset()
        last, deaths = self._HEAD.unpack_from(raw)
        whole = len(raw) - (len(raw) - self._HEAD.size) % self._ITEM.size
        poison = {number for (number,) in self._ITEM.iter_unpack(raw[self._HEAD.size : whole])}
        if last >= 0:
            self._last, self._deaths = last, deaths + 1
            if self._deaths >= tries:
                poison.add(last)
                os.pwrite(self._fd, self._ITEM.pack(last), whole)
                self._last, self._deaths = self.IDLE, 0
            self._write(self._last, self._deaths)
        return frozenset(poison)

    def at(self, number: int) -> None:
        """Note that mail `number` is being read; IDLE when none is."""
        self._write(number, self._deaths if number == self._last else 0)

    def end(self, batch: str) -> None:
        """The batch is stored: its mark is of no more use."""
        self.close()
        with contextlib.suppress(FileNotFoundError):
            self._path(batch).unlink()

    def close(self) -> None:
        """Close the file; the mark stays."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _write(self, number: int, deaths: int) -> None:
        assert self._fd is not None
        os.pwrite(self._fd, self._HEAD.pack(number, deaths), 0)

    def _path(self, batch: str) -> Path:
        return self.folder / f"{Path(batch).name}.mark"


def _verdict(judged: Future[Verdict] | None) -> Verdict:
    """What became of one verification: its answer, or that there is none yet."""
    if judged is None:
        return Verdict("unknown", "not checked: trust.check is off")
    if judged.cancel() or not judged.done():
        return NOT_YET
    error = judged.exception()
    if error is not None:
        log.error("verification failed: %r", error)
        return Verdict("none", f"permerror: the verifier failed ({type(error).__name__})")
    found = judged.result()
    return NOT_YET if found.waits else found


def _crashed(name: str, tries: int) -> Reading:
    message = f"The reader died on this input {tries} times. Please send it to the maintainers as a bug."
    return Reading(name, refusals=(Refusal("crashed_reader", message),))


def _unstorable(taken: Taken, error: Exception) -> Taken:
    message = f"It was read, and could not be stored ({type(error).__name__}). Please send it to the maintainers."
    return replace(taken, reading=Reading(taken.reading.input, refusals=(Refusal("fault", message),)))


def _may_pass(error: Exception) -> bool:
    """A fault of this machine (of the disk, or in the sink's own error tree), not a bug."""
    return isinstance(error, OSError) or any(kind.__name__ == "StoreError" for kind in type(error).__mro__)
