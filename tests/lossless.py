"""Load, parts and judges of the kill tests: numbered reports that tell by their number what must be stored of them.

Each part (receiver, ingest, upkeep) is a process forked from a warm server, so that it works after milliseconds, and is
ended by SIGKILL to its own process id.
"""

from __future__ import annotations

import base64
import errno
import gzip
import multiprocessing
import os
import random
import smtplib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

RCPT = "dmarc@example.org"
BEGIN = 1_767_225_600  # 2026-01-01
DAY = 86_400
FAULT = "fault"  # while this file lies in the folder, its errno is what every sync gives

PRELOAD = [
    "dmarcview.store",
    "dmarcview_reports.ingest",
    "dmarcview_reports.reading",
    "dmarcview_reports.receive",
    "dmarcview_reports.spool",
    "duckdb",
    "pandas",
    "pyarrow.parquet",
    "sqlalchemy.dialects.sqlite",
    "zstandard",
]


# --- numbered reports ---------------------------------------------------------------------------------------------


def expected(number: int) -> tuple[int, int]:
    """(records, messages) of report `number`."""
    records = 1 + number % 5
    return records, sum(1 + (number * 7 + k) % 50 for k in range(records))


def report_id(number: int) -> str:
    return f"n{number}@kill.example"


def mail(number: int) -> bytes:
    """The mail of report `number`, always the same bytes."""
    begin = BEGIN + (number % 40) * DAY
    rows = "".join(
        f"<record><row><source_ip>192.0.2.{1 + (number + k) % 250}</source_ip>"
        f"<count>{1 + (number * 7 + k) % 50}</count><policy_evaluated><disposition>none</disposition>"
        f"<dkim>pass</dkim><spf>fail</spf></policy_evaluated></row><identifiers><header_from>example.org</header_from>"
        f"</identifiers><auth_results><dkim><domain>example.org</domain><selector>s{k}</selector><result>pass</result>"
        f"</dkim><spf><domain>b.example</domain><result>fail</result></spf></auth_results></record>"
        for k in range(1 + number % 5)
    )
    xml = (
        f"<feedback><report_metadata><org_name>Kill</org_name><email>r@kill.example</email>"
        f"<report_id>{report_id(number)}</report_id><date_range><begin>{begin}</begin><end>{begin + DAY}</end>"
        f"</date_range></report_metadata><policy_published><domain>example.org</domain><p>none</p>"
        f"</policy_published>{rows}</feedback>"
    )
    body = base64.encodebytes(gzip.compress(xml.encode(), 1, mtime=0)).replace(b"\n", b"\r\n")
    return (
        f"From: r@kill.example\r\nTo: {RCPT}\r\nSubject: Report Domain: example.org Submitter: kill.example"
        f"\r\nMessage-ID: <{number}@kill.example>\r\nMIME-Version: 1.0\r\nContent-Type: application/gzip\r\n"
        f"Content-Transfer-Encoding: base64\r\n\r\n"
    ).encode() + body


# --- load ---------------------------------------------------------------------------------------------------------


@dataclass
class Load:
    """Clients that hand in numbered reports and repeat each one until it is acknowledged, as mail servers do."""

    port: int
    clients: int = 4
    pause: float = 0.02
    acknowledged: set[int] = field(default_factory=set)
    given: int = 0
    broken: int = 0  # tries that ended without a reply
    put_off: Counter[int] = field(default_factory=Counter)  # replies that are not 250, by code
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        for _ in range(self.clients):
            thread = threading.Thread(target=self._run, daemon=True)
            thread.start()
            self._threads.append(thread)

    def finish(self) -> None:
        """Take no new number; return when every number that was begun is acknowledged."""
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), "a client got no 250 for a minute"

    def _next(self) -> int:
        with self._lock:
            self.given += 1
            return self.given

    def _run(self) -> None:
        client: smtplib.SMTP | None = None
        while not self._stop.is_set():
            number = self._next()
            content = mail(number)
            while number not in self.acknowledged:
                client = self._try(client, number, content)
                if client is None:
                    time.sleep(0.03)
            if self.pause:
                time.sleep(self.pause)
        if client is not None:
            client.close()

    def _try(self, client: smtplib.SMTP | None, number: int, content: bytes) -> smtplib.SMTP | None:
        try:
            if client is None:
                client = smtplib.SMTP("127.0.0.1", self.port, local_hostname="kill.example", timeout=10)
                client.ehlo()
            code, _ = client.mail("r@kill.example")
            if code == 250:
                code, _ = client.rcpt(RCPT)
            if code == 250:
                code, _ = client.data(content)
        except (OSError, smtplib.SMTPException, ValueError):
            with self._lock:
                self.broken += 1
            if client is not None:
                client.close()
            return None
        with self._lock:
            if code == 250:
                self.acknowledged.add(number)
                return client
            self.put_off[code] += 1
        client.close()
        return None


# --- parts --------------------------------------------------------------------------------------------------------


def inject(folder: Path) -> None:
    """Make every sync of this process fail with the errno that the fault file holds, as long as it lies there."""
    fault = folder / FAULT

    def failing(real: Callable[[int], None]) -> Callable[[Any], None]:
        def sync(file: Any) -> None:
            if fault.exists():
                number = int(fault.read_text() or errno.EIO)
                raise OSError(number, os.strerror(number))
            real(file)

        return sync

    os.fsync = failing(os.fsync)  # type: ignore[assignment]
    os.fdatasync = failing(os.fdatasync)  # type: ignore[assignment]


def context() -> ForkServerContext:
    """A process that has everything imported, and forks the parts."""
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload(PRELOAD)
    return found


@dataclass
class Part:
    """One process that is killed and started again."""

    name: str
    target: Callable[..., None]
    arguments: tuple[Any, ...]
    context: ForkServerContext
    process: ForkServerProcess | None = None
    kills: int = 0

    def start(self) -> None:
        self.process = self.context.Process(target=self.target, args=self.arguments, name=self.name, daemon=True)
        self.process.start()

    def kill(self) -> None:
        """SIGKILL to its own process id; it must still have been running."""
        process = self.process
        assert process is not None
        assert process.exitcode is None, f"{self.name} ended by itself with {process.exitcode}"
        process.kill()
        process.join()
        process.close()
        self.process = None
        self.kills += 1

    def end(self) -> None:
        """Kill without counting."""
        if self.process is not None:
            self.process.kill()
            self.process.join()
            self.process.close()
            self.process = None


@dataclass
class Killer:
    """Starts a part and kills it at random moments, so many times, then leaves it running."""

    part: Part
    times: int
    longest: float
    rng: random.Random
    failure: BaseException | None = None
    _thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            for _ in range(self.times):
                self.part.start()
                # often early, where files are opened and things are recovered, and often late, in full work
                time.sleep(self.longest * self.rng.random() ** 1.5)
                self.part.kill()
            self.part.start()
        except BaseException as error:
            self.failure = error

    def join(self, seconds: float) -> None:
        assert self._thread is not None
        self._thread.join(seconds)
        if self.failure is not None:
            raise self.failure
        assert not self._thread.is_alive(), f"{self.part.name}: {self.part.kills} kills of {self.times} in time"


@contextmanager
def watched(check: Callable[[], object], pause: float) -> Iterator[Counter[str]]:
    """Run `check` over and over in a thread; its first failure is raised at the end. Yields how often it ran."""
    stop = threading.Event()
    counts: Counter[str] = Counter()
    failures: list[BaseException] = []

    def run() -> None:
        while not stop.is_set() and not failures:
            try:
                check()
                counts["checks"] += 1
            except BaseException as error:
                failures.append(error)
            stop.wait(pause)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield counts
    finally:
        stop.set()
        thread.join(60)
    if failures:
        raise failures[0]


# --- what the parts do --------------------------------------------------------------------------------------------


def run_receiver(folder: Path, port: int, reserve: int = 0) -> None:
    """The receiver of the data folder, until it is killed."""
    import asyncio

    from dmarcview_reports.receive import Receiver, ReceiveSettings
    from dmarcview_reports.spool import Spool
    from dmarcview_smtp.settings import Listener

    inject(folder)

    async def serve() -> None:
        settings = ReceiveSettings(
            listeners=(Listener(port=port),), rua=(RCPT,), hostname="here.example", reserve_bytes=reserve
        )
        receiver = Receiver(settings, Spool(folder / "spool", reserve=reserve))
        await receiver.start()
        await asyncio.Event().wait()

    asyncio.run(serve())


def never(seconds: float) -> bool:
    """Sleep; it is never time to stop."""
    time.sleep(seconds)
    return False


def run_ingest(folder: Path) -> None:
    """Ingest of the data folder, until it is killed."""
    from dmarcview.store import Store
    from dmarcview_reports.ingest import Ingest, IngestSettings
    from dmarcview_reports.spool import Spool

    inject(folder)
    settings = IngestSettings(poll_seconds=0.01, retry_seconds=0.1, batch_mails=20, tries=1000)
    with Store.open(folder) as store:
        ingest = Ingest(Spool(folder / "spool", reserve=0), store, folder / "marks", settings=settings)
        ingest.run(never)


def run_upkeep(folder: Path) -> None:
    """Flush, compact and sweep without a break, until it is killed; faults of the disk are waited out."""
    from dmarcview.store import Store, StoreError

    inject(folder)
    with Store.open(folder) as store:
        while True:
            try:
                store.flush()
                store.compact(all_files=True)
                store.sweep()
            except StoreError:
                time.sleep(0.05)
            time.sleep(0.01)


# --- judges -------------------------------------------------------------------------------------------------------

SEEN = (
    "select report_id, count(*), cast(sum(count) as bigint), count(distinct report_key) from records group by report_id"
)


class Judge:
    """Reads the store as the dashboard does and holds each snapshot to the numbers. Raises AssertionError."""

    def __init__(self, folder: Path) -> None:
        from dmarcview.store import Store

        self.store = Store.open(folder)
        self.most = 0
        self.snapshots_with_files = 0
        self.snapshots_with_pending = 0

    def close(self) -> None:
        self.store.close()

    def look(self) -> set[int]:
        """The numbers of the reports in one snapshot: each whole, each once, in both relations, none forgotten."""
        from dmarcview.store.engine import Window

        snapshot = self.store.snapshot()
        window = Window(snapshot, ("main",))
        rows = self.store.engine.rows(SEEN, {}, window)
        found = set()
        for name, records, messages, keys in rows:
            number = int(name[1:].partition("@")[0])
            assert (records, messages, keys) == (*expected(number), 1), f"report {number} in parts or twice: {rows}"
            found.add(number)
        total = sum(expected(number)[1] for number in found)
        cube = self.store.engine.rows("select coalesce(cast(sum(messages) as bigint), 0) from cube", {}, window)
        assert cube == [(total,)], "records and cube of one snapshot differ"
        assert len(found) >= self.most, "a stored report has gone"
        self.most = len(found)
        self.snapshots_with_files += bool(snapshot.files)
        self.snapshots_with_pending += bool(snapshot.pending)
        return found
