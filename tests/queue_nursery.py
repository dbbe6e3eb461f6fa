"""Writers of a queue to be killed: `python queue_nursery.py FOLDER LOG`.

For each line (a seed) on standard input a child is forked that puts and settles mails until somebody kills it; it
writes its process id first. What the queue has answered stands in LOG, a line each, before the child goes on.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import zlib
from pathlib import Path

from dmarcview_relay.queue import Queue
from tests.relay_mails import AT, BUSY, mail, settled

WRITERS = 8


async def write(folder: Path, log: int, seed: int) -> None:
    rng = random.Random(seed)
    queue = Queue(folder, reserve=0)

    def say(*words: object) -> None:
        os.write(log, (" ".join(map(str, words)) + "\n").encode())

    async def one() -> None:
        while True:
            content = rng.randbytes(rng.choice((300, 5_000, 5_000, 5_000, 66_000)))
            put = await queue.put(mail("a@example.net", "b@example.net"), content)
            say("put", put.id, zlib.crc32(content))
            fate = rng.randrange(4)
            if fate == 0:
                continue
            say("ending", put.id)
            if fate == 1:
                await queue.settle(put, [settled(put, 0), settled(put, 1, BUSY, next_at=AT)])
                say("deferred", put.id)
                continue
            bounce = (
                [(mail("a@example.org", sender="", message_id=f"<{put.id}@bounce.test>"), content)] if fate == 2 else []
            )
            await queue.settle(put, [settled(put, 0), settled(put, 1)], bounce)
            say("settled", put.id, len(bounce))

    await asyncio.gather(*(one() for _ in range(WRITERS)))


def main(folder: Path, log: Path) -> None:
    """Fork on demand."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the dead
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    while line := sys.stdin.readline():
        if os.fork() == 0:
            print(os.getpid(), flush=True)
            asyncio.run(write(folder, file, int(line)))
            return


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
