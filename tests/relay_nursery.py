"""Relays to be killed: `python relay_nursery.py FOLDER PORT SINK-PORT`.

Everything is loaded once; for each line on standard input a child is forked that runs a relay on PORT until somebody
kills it. The child writes its process id when it listens. So a restart costs milliseconds, and a test can afford many.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from dmarcview_relay.relay import Relay
from dmarcview_relay.settings import ClientLimits, Delivery, Keys, RelayListener, RelaySettings, Route, Schedule


def settings(port: int, sink: int) -> RelaySettings:
    """Takes mail of load.test and sends everything to the sink; one that is put off comes again soon."""
    return RelaySettings(
        listeners=(RelayListener(port=port),),
        hostname="relay.load.test",
        senders=("@load.test",),
        recipients=("@far.test",),
        keys=Keys(check="off"),
        queue=Schedule(waits=(1,), reserve_bytes=0),
        delivery=Delivery(connections_per_domain=5),
        routes=(Route(to=f"smtp://127.0.0.1:{sink}", tls="none"),),
        limits=ClientLimits(connections_per_client=200),
    )


async def serve(folder: Path, port: int, sink: int) -> None:
    """Until the end of the process."""
    relay = Relay(settings(port, sink), folder)
    await relay.start()
    print(os.getpid(), flush=True)
    await asyncio.Event().wait()


def main(folder: Path, port: int, sink: int) -> None:
    """Fork on demand."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the dead
    while sys.stdin.readline():
        if os.fork() == 0:
            asyncio.run(serve(folder, port, sink))
            return


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
