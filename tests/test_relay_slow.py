"""Clients that drip their bytes are cut by the limits of time, and others are served beside them."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest
from relay_handing import Caller, hand_in
from relay_sink import Sink
from test_relay_worker import relaying, route, settings, until

from dmarcview_relay.keys import KeyRing
from dmarcview_relay.settings import ClientLimits

SLOW = 25
LIMITS = ClientLimits(
    idle_seconds=1.5, data_idle_seconds=1.5, data_grace_seconds=0.5, data_bytes_per_second=1_000, linger_seconds=0.2
)


@pytest.mark.parametrize("place", ["in a command", "in the data", "between commands"])
def test_clients_that_drip_are_cut_while_others_are_served(tmp_path: Path, place: str) -> None:
    """The limits are hundredfold smaller than the usual ones, and so are the waits between two bytes."""
    KeyRing(tmp_path / "relay" / "keys").new("load.test", "sel")

    async def drip(caller: Caller) -> str:
        """What it hears at last."""
        if place == "in the data":
            assert (await caller.envelope("slow@far.test")).startswith("354 ")
        elif place == "in a command":
            caller.say(b"MAIL FROM:<")

        async def bytes_of_it() -> None:
            while place != "between commands":
                caller.say(b"x")
                await asyncio.sleep(0.05)

        dripping = asyncio.create_task(bytes_of_it())
        try:
            return await caller.reply()
        finally:
            dripping.cancel()

    async def story() -> None:
        sink = await Sink().start()
        async with relaying(tmp_path, settings(route("*", sink.port), limits=LIMITS)) as relay:
            async with contextlib.AsyncExitStack() as opened:
                callers = [await opened.enter_async_context(Caller(relay)) for _ in range(SLOW)]
                slow = [asyncio.create_task(drip(caller)) for caller in callers]
                served = 0
                while not all(task.done() for task in slow):
                    assert (await hand_in(relay, f"m{served}", "x@far.test")).startswith("250 ")
                    served += 1
                assert {reply[:10] for reply in await asyncio.gather(*slow)} == {"421 4.4.2 "}
                assert relay.counters["timeout"] == SLOW
                await until(lambda: not relay._entrance.gate.inside)
            await until(lambda: len(sink.taken) == served)
            assert served >= 3
            assert relay.counters["accepted"] == served
        await sink.stop()

    asyncio.run(story())
