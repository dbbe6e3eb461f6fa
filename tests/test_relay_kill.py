"""The relay is killed at random moments under load: whatever it said 250 to arrives."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import smtp_load
from relay_sink import Sink

from dmarcview_relay.keys import KeyRing

KILLS = 500
SETTLE_SECONDS = 60.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def with_key(folder: Path, domain: str = "load.test") -> Path:
    """A relay's folder with one key in it."""
    KeyRing(folder / "relay" / "keys").new(domain, "sel")
    return folder / "relay"


class Nursery:
    """Starts relays and kills them."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def relay(self) -> int:
        """A relay that listens; its process id."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(b"\n")
        async with asyncio.timeout(30):
            return int(await self._process.stdout.readline())


@asynccontextmanager
async def nursery(folder: Path, port: int, sink: int) -> AsyncIterator[Nursery]:
    script = Path(__file__).with_name("relay_nursery.py")
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(script), str(folder), str(port), str(sink),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield Nursery(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


async def until_quiet(sink: Sink, wanted: set[str]) -> None:
    """Until the sink has all of them, or nothing new has come for long."""
    seen, waited = -1, 0.0
    while not wanted <= sink.taken.keys() and waited < SETTLE_SECONDS:
        await asyncio.sleep(0.05)
        waited = 0.0 if len(sink.taken) != seen else waited + 0.05
        seen = len(sink.taken)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_five_hundred_kills_lose_no_mail_that_was_answered_and_double_only_what_was_in_flight(tmp_path: Path) -> None:
    folder = with_key(tmp_path)
    kills = int(os.environ.get("DMARCVIEW_TEST_KILLS", KILLS))
    chance = random.Random(7)

    async def story() -> tuple[smtp_load.Load, Sink]:
        sink = await Sink(defer=0.05, drop=0.02).start()
        port = free_port()
        load = smtp_load.Load("127.0.0.1", port, "to@far.test", sessions=8, reply_timeout=5.0)
        async with nursery(folder, port, sink.port) as mother:
            sending = asyncio.create_task(smtp_load.run(load))
            for _ in range(kills):
                pid = await mother.relay()
                await asyncio.sleep(chance.uniform(0.0, 0.25))
                os.kill(pid, signal.SIGKILL)
            load.stop.set()
            pid = await mother.relay()
            await sending
            await until_quiet(sink, {f"{number}@load.test" for number in load.acknowledged})
            os.kill(pid, signal.SIGTERM)
        await sink.stop()
        return load, sink

    load, sink = asyncio.run(story())
    promised = {f"{number}@load.test" for number in load.acknowledged}
    doubt = {f"{number}@load.test" for number in load.in_flight}
    assert len(promised) > kills, "hardly any mail was taken: the kills hit nothing"
    assert not promised - sink.taken.keys()
    assert not sink.taken.keys() - promised - doubt, "a mail arrived that nobody sent"
    # A reply that was cut, and each connection (5) that was open at a kill, may have left one mail unsettled.
    repeats = sum(count - 1 for count in sink.taken.values())
    assert repeats <= sum(sink.cut.values()) + 5 * kills
    print(f"{len(promised)} mails, {kills} kills, {repeats} came twice, {sum(sink.cut.values())} replies were cut")
