"""Rows of the sent log between queue and store: none lost, none doubled, whoever dies; nothing to take is no fault."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import pytest
from sqlalchemy import func, select

from dmarcview.shipping import Shipping
from dmarcview.store import Store, StoreError, sent, tables
from dmarcview_relay.envelope import Mail, Recipient
from dmarcview_relay.outcome import DEFERRED, FAILED
from dmarcview_relay.queue import Queue, QueueError, Settled
from dmarcview_relay.sentlog import SentLog
from dmarcview_smtp.address import Address
from tests import sent_worker
from tests.sent_data import LATER, NEVER, attempt

KILLS = int(os.environ.get("SHIP_KILLS", "60"))


async def settle(folder: Path, ids: list[str]) -> None:
    queue = Queue(folder, reserve=0)
    for each in ids:
        mail = Mail(None, (Recipient(Address("a", "example.net")), Recipient(Address("b", "example.net"))), 1.0, 4)
        queued = await queue.put(mail, b"x\r\n.")
        first, second = queued.tickets
        deferred = Settled(second, attempt(queue_id=each, reply=LATER, outcome=DEFERRED), next_at=9e9)
        await queue.settle(queued, [Settled(first, attempt(queue_id=each, reply=NEVER, outcome=FAILED)), deferred])
    await asyncio.to_thread(queue.close)


def kept(store: Store) -> list[tuple[str, str]]:
    with store.ledger.read() as conn:
        return sorted((r[0], r[1]) for r in conn.execute(select(tables.sent.c.queue_id, tables.sent.c.outcome)))


def test_without_a_relay_there_is_nothing_to_take(tmp_path: Path) -> None:
    with Store.open(tmp_path / "data") as store:
        assert Shipping(tmp_path / "relay", store.ledger).step() == 0
        (tmp_path / "relay").mkdir()
        assert Shipping(tmp_path / "relay", store.ledger).step() == 0
        assert not list((tmp_path / "relay").iterdir())


def test_every_row_is_moved_in_batches_and_let_go_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dmarcview.shipping.BATCH", 3)
    asyncio.run(settle(tmp_path / "relay", ["one", "two", "three", "four"]))
    with Store.open(tmp_path / "data") as store:
        shipping = Shipping(tmp_path / "relay", store.ledger)
        assert shipping.step() == 8
        assert kept(store) == sorted((each, o) for each in ("one", "two", "three", "four") for o in (FAILED, DEFERRED))
        log = SentLog(tmp_path / "relay")
        assert log.pending(10) == []
        log.close()
        assert shipping.step() == 0


def test_rows_that_came_over_but_were_not_let_go_are_not_doubled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asyncio.run(settle(tmp_path / "relay", ["one", "two"]))
    with Store.open(tmp_path / "data") as store:
        shipping = Shipping(tmp_path / "relay", store.ledger)
        with monkeypatch.context() as broken:

            def full(*_: object) -> None:
                raise QueueError("disk full")

            broken.setattr(SentLog, "shipped", full)
            with pytest.raises(QueueError):
                shipping.step()
        assert len(kept(store)) == 4
        assert shipping.step() == 0
        assert len(kept(store)) == 4
        log = SentLog(tmp_path / "relay")
        assert log.pending(10) == []
        log.close()


def test_a_store_that_fails_leaves_the_rows_with_the_relay_and_the_thread_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dmarcview.shipping.RETRY_SECONDS", 0.01)
    monkeypatch.setattr("dmarcview.shipping.LOOK_SECONDS", 0.01)
    asyncio.run(settle(tmp_path / "relay", ["one"]))
    failures = [StoreError("out of reach"), ValueError("our own bug")]
    right = sent.append

    def append(*given: object) -> int:
        if failures:
            raise failures.pop()
        return right(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(sent, "append", append)
    with Store.open(tmp_path / "data") as store:
        shipping = Shipping(tmp_path / "relay", store.ledger)
        shipping.start()
        try:
            until = time.monotonic() + 30
            while len(kept(store)) < 2 and time.monotonic() < until:
                time.sleep(0.02)
        finally:
            shipping.stop()
        assert not shipping.is_alive()
        assert failures == []
        assert len(kept(store)) == 2


@pytest.mark.slow
def test_nothing_is_lost_or_doubled_through_sixty_kills_of_both_sides(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = int(os.environ.get("SHIP_SEED", time.time_ns() % 1_000_000))
    rng = random.Random(seed)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.sent_worker"])
    store = Store.open(tmp_path)
    running: list[multiprocessing.context.ForkServerProcess] = []

    def start(slot: int, life: int) -> None:
        target, args = ((sent_worker.run_relay, (tmp_path, f"life{life}")), (sent_worker.ship, (tmp_path,)))[slot]
        process = context.Process(target=target, args=args)
        process.start()
        running[slot : slot + 1] = [process]

    def kill(process: multiprocessing.context.ForkServerProcess) -> None:
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()

    try:
        for slot in range(2):
            start(slot, 0)
        for life in range(1, KILLS + 1):
            time.sleep(rng.uniform(0.02, 0.25))
            slot = rng.randrange(2)
            assert running[slot].exitcode is None, f"seed {seed}: a worker ended by itself"
            kill(running[slot])
            start(slot, life)
    finally:
        for process in running:
            if process.exitcode is None:
                kill(process)
    acknowledged = (tmp_path / "acknowledged").read_text().split()
    found = Shipping(tmp_path / "relay", store.ledger).step()
    with store.ledger.read() as conn:
        rows = conn.execute(select(func.count()).select_from(tables.sent)).scalar_one()
        ids = set(conn.execute(select(tables.sent.c.queue_id)).scalars())
    assert rows == len(ids), f"seed {seed}: doubled"
    assert set(acknowledged) <= ids, f"seed {seed}: lost"
    assert found < rows, "the last look moved everything: no row was moved while processes died"
    with capsys.disabled():
        print(f"\n{KILLS} kills, {len(acknowledged)} settlements acknowledged, {rows} rows kept")
    store.close()
