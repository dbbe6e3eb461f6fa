"""Processes that the kill test of the store starts and kills."""

from __future__ import annotations

import os
import random
from pathlib import Path

from dmarcview.store import Store
from tests.store_data import D0, DAY, records, report, shape, taken


def made(worker: int, n: int):  # type: ignore[no-untyped-def]
    """The n-th report of a worker: a function of both, so a repeated call brings the same report."""
    seed = random.Random(worker * 1_000_003 + n)
    rows = records(*((f"10.0.{worker}.{i}", seed.randint(1, 9), shape()) for i in range(seed.randint(1, 12))))
    begin = D0 + seed.randrange(3) * 20 * DAY
    return report(f"{worker}-{n}", rows, begin=begin, end=begin + DAY)


def bulk(worker: int, n: int):  # type: ignore[no-untyped-def]
    """A report so large that its call writes a file at once."""
    rows = records(*((f"10.{worker}.{i // 250}.{i % 250}", 1 + i % 3, shape()) for i in range(5_001)))
    return report(f"{worker}-{n}-bulk", rows)


def appender(data: Path, worker: int, start: int) -> None:
    """Append until killed; write a line for each report that the store acknowledged."""
    log = os.open(data / "acknowledged", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    with Store.open(data) as store:
        n = start
        while True:
            batch = [made(worker, n + i) for i in range(1 + n % 4)]
            if n % 40 == 7:
                batch.append(bulk(worker, n))
            store.append_many([taken(f"{r.report_id}", r) for r in batch])
            os.write(log, "".join(r.report_key + "\n" for r in batch).encode())
            n += len(batch)


def upkeeper(data: Path, _worker: int, _start: int) -> None:
    """Flush, merge and sweep until killed."""
    with Store.open(data) as store:
        while True:
            store.flush()
            store.compact(all_files=True)
            store.sweep()
