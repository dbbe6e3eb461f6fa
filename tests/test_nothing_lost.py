"""Nothing is lost: receiver, ingest and upkeep are killed hundreds of times under load; disks fill and syncs fail."""

from __future__ import annotations

import errno
import os
import random
import socket
import sys
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.context import ForkServerContext
from pathlib import Path
from types import ModuleType

import pytest
from lossless import FAULT, Judge, Killer, Load, Part, context, run_ingest, run_receiver, run_upkeep, watched

KILLS = int(os.environ.get("DMARCVIEW_TEST_KILLS", "210"))  # make soak: more
SEED = int(os.environ.get("DMARCVIEW_TEST_SEED", "0")) or random.SystemRandom().randrange(1, 10**9)
LONGEST = 0.6  # seconds from the start of a part to its end
DRAIN_SECONDS = 60.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def warm(monkeypatch: pytest.MonkeyPatch) -> ForkServerContext:
    # a forked part would run the main program's file again, here pytest: it costs 0.2 s each time
    monkeypatch.setitem(sys.modules, "__main__", ModuleType("__main__"))
    return context()


def parts_of(warm: ForkServerContext, folder: Path, port: int) -> tuple[Part, Part, Part]:
    return (
        Part("receiver", run_receiver, (folder, port), warm),
        Part("ingest", run_ingest, (folder,), warm),
        Part("upkeep", run_upkeep, (folder,), warm),
    )


def drained(judge: Judge, load: Load) -> set[int]:
    """Wait until all that was acknowledged is stored, and return what is stored."""
    deadline = time.monotonic() + DRAIN_SECONDS
    while True:
        found = judge.look()
        if load.acknowledged <= found or time.monotonic() > deadline:
            return found
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_acknowledged_report_is_stored_once_through_hundreds_of_kills(
    tmp_path: Path, warm: ForkServerContext
) -> None:
    print(f"seed {SEED} (DMARCVIEW_TEST_SEED), {KILLS} kills")
    rng = random.Random(SEED)
    began = time.monotonic()
    port = free_port()
    parts = parts_of(warm, tmp_path, port)
    judge = Judge(tmp_path)
    load = Load(port)
    killers = [Killer(part, -(-KILLS // 3), LONGEST, random.Random(rng.random())) for part in parts]
    try:
        with watched(judge.look, 0.1) as counts:
            load.start()
            for killer in killers:
                killer.start()
            for killer in killers:
                killer.join(KILLS * LONGEST + 120)
            load.finish()
        found = drained(judge, load)
    finally:
        for part in parts:
            part.end()
    kills = {part.name: part.kills for part in parts}
    print(
        f"kills {kills}; {len(load.acknowledged)} reports acknowledged, {load.broken} tries broken off, "
        f"put off {dict(load.put_off)}; {counts['checks']} snapshots read ({judge.snapshots_with_files} with files, "
        f"{judge.snapshots_with_pending} with pending rows); {time.monotonic() - began:.0f} s"
    )
    assert sum(kills.values()) >= KILLS
    assert found == load.acknowledged, (
        f"lost {sorted(load.acknowledged - found)[:20]}, never acknowledged {sorted(found - load.acknowledged)[:20]}"
    )
    assert not list((tmp_path / "spool" / "new").iterdir()), "the spool is empty when all is stored"
    assert counts["checks"] > 20
    assert judge.snapshots_with_files
    assert judge.snapshots_with_pending
    for number in rng.sample(sorted(found), 20):
        raw_is_archived(judge, number)
    judge.close()


def raw_is_archived(judge: Judge, number: int) -> None:
    """The mail itself is kept, byte for byte, and found from its report."""
    from lossless import mail, report_id

    from dmarcview.store.engine import Window

    rows = judge.store.engine.rows(
        "select distinct report_key from records where report_id = $id",
        {"id": report_id(number)},
        Window(judge.store.snapshot(), ("main",)),
    )
    kept = judge.store.raw(rows[0][0])
    assert kept is not None
    assert kept.raw.endswith(mail(number)), "the receiver may only add lines on top"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO], ids=["disk full", "sync fails"])
def test_a_failing_disk_puts_mail_off_and_loses_nothing(tmp_path: Path, warm: ForkServerContext, number: int) -> None:
    port = free_port()
    parts = parts_of(warm, tmp_path, port)
    judge = Judge(tmp_path)
    load = Load(port, clients=2)
    try:
        for part in parts:
            part.start()
        with watched(judge.look, 0.1):
            load.start()
            wait_for(lambda: len(load.acknowledged) > 20)
            for _ in range(5):
                before = load.put_off[452]
                fault = tmp_path / FAULT
                fault.with_suffix(".new").write_text(str(number))
                fault.with_suffix(".new").rename(fault)
                wait_for(partial(more_put_off, load, before))
                held = len(load.acknowledged)
                time.sleep(0.2)
                assert len(load.acknowledged) <= held + 2, "no mail is acknowledged that could not be made durable"
                fault.unlink()
                wait_for(partial(more_taken, load, held))
            load.finish()
        found = drained(judge, load)
        for part in parts:
            assert part.process is not None
            assert part.process.exitcode is None, f"{part.name} died of the failing disk"
    finally:
        for part in parts:
            part.end()
    print(f"{len(found)} reports, replies {dict(load.put_off)}")
    assert found == load.acknowledged
    judge.close()


def more_put_off(load: Load, before: int) -> bool:
    return load.put_off[452] > before + 3


def more_taken(load: Load, before: int) -> bool:
    return len(load.acknowledged) > before + 10


def wait_for(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
