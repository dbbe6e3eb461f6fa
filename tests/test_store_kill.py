"""Nothing is lost or doubled when appending, flushing and merging processes are killed at any moment."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import pytest

from dmarcview.library import Library
from tests import store_worker

KILLS = int(os.environ.get("STORE_KILLS", "120"))


@pytest.mark.slow
def test_every_acknowledged_report_is_kept_once_through_a_hundred_kills(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = int(os.environ.get("STORE_SEED", time.time_ns() % 1_000_000))
    rng = random.Random(seed)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.store_worker", "duckdb", "pyarrow.parquet", "pyarrow.compute"])
    store = Library.open(tmp_path)
    kinds = (store_worker.appender, store_worker.appender, store_worker.upkeeper)
    running = [None] * len(kinds)
    snapshots = 0

    def start(slot: int, life: int) -> None:
        running[slot] = context.Process(target=kinds[slot], args=(tmp_path, slot, rng.randrange(life * 30 + 1)))
        running[slot].start()

    try:
        for slot in range(len(kinds)):
            start(slot, 0)
        for kill in range(KILLS):
            time.sleep(rng.uniform(0.01, 0.3))
            slot = rng.randrange(len(kinds))
            process = running[slot]
            assert process.exitcode is None, f"seed {seed}: a worker ended by itself with {process.exitcode}"
            os.kill(process.pid, signal.SIGKILL)
            process.join()
            if kill % 6 == 0:
                found = store.check()  # while the other workers go on
                assert found.faults == (), f"seed {seed}, kill {kill}"
                snapshots += 1
            start(slot, kill)
    finally:
        for process in running:
            if process is not None and process.exitcode is None:
                os.kill(process.pid, signal.SIGKILL)
                process.join()
    acknowledged = (tmp_path / "acknowledged").read_text().split()
    store.flush()
    found = store.check()
    assert found.faults == (), f"seed {seed}"
    kept = set(store.reports()["report_key"])
    lost = set(acknowledged) - kept
    assert not lost, f"seed {seed}: {len(lost)} lost"
    with capsys.disabled():
        print(
            f"\n{KILLS} kills, {len(set(acknowledged))} reports acknowledged, {len(kept)} kept, "
            f"{found.records} records, {snapshots + 1} snapshots whole, {found.files} files"
        )
    store.close()
