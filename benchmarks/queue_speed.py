"""Mails put and settled a second, each durable twice: when it is accepted and when it is delivered.

    python -m benchmarks.queue_speed [--mails 20000] [--writers 50] [--size 5120] [--waiting 10000] [--dir DIR]

Prints wall and CPU rates for one writer and for many, how long a put takes, and how long it takes to find again what
waits after a restart. The disk decides the wall rates; the CPU rate is ours.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import tempfile
import time
from pathlib import Path

from dmarcview_relay.envelope import Mail, Queued, Recipient
from dmarcview_relay.outcome import DELIVERED, Attempt, Link, RemoteReply
from dmarcview_relay.queue import Queue, Settled
from dmarcview_smtp.address import Address

WANTED = 3_000  # puts with their settlements by the second of CPU, with many writers
LINK = Link("192.0.2.1", "mx.example.net", "192.0.2.25", "TLSv1.3", "TLS_AES_256_GCM_SHA384", "verified")
REPLY = RemoteReply(250, "2.0.0", "Ok: queued as 4XyZ", "body")


def mail(number: int, size: int) -> Mail:
    """One of a newsletter."""
    return Mail(
        Address("news", "example.org"), (Recipient(Address(f"reader{number}", "example.net")),), time.time(), size,
        user="shop", client="192.0.2.7", from_domain="example.org", message_id=f"<{number}@example.org>",
        dkim=(("example.org", "s1"),),
    )  # fmt: skip


def delivered(queued: Queued) -> Settled:
    """Its only recipient has it."""
    m, ticket = queued.mail, queued.tickets[0]
    attempt = Attempt(
        time.time(), queued.id, m.message_id, m.kind, m.user, m.client, str(m.sender), m.from_domain, m.dkim,
        str(ticket.recipient.address), "example.net", 1, LINK, REPLY, DELIVERED, m.size,
    )  # fmt: skip
    return Settled(ticket, attempt)


async def put_and_settle(folder: Path, mails: int, writers: int, size: int) -> float:
    """One round; the CPU rate."""
    queue, content, waits = Queue(folder, reserve=0), b"x" * size, []
    numbers = iter(range(mails))

    async def write() -> None:
        for number in numbers:
            begin = time.perf_counter()
            queued = await queue.put(mail(number, size), content)
            waits.append(time.perf_counter() - begin)
            await queue.settle(queued, [delivered(queued)])

    cpu, wall = time.process_time(), time.perf_counter()
    await asyncio.gather(*(write() for _ in range(writers)))
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    queue.close()
    waits.sort()
    p50, p99 = (waits[int(share * (len(waits) - 1))] * 1_000 for share in (0.5, 0.99))
    print(
        f"{writers:3} writers: {mails / wall:6.0f} puts + settles/s, {mails / cpu:6.0f}/s of CPU"
        f" ({cpu / mails * 1_000:.3f} ms each); a put waits {p50:.1f} ms, p99 {p99:.1f}, most {waits[-1] * 1_000:.1f}"
    )
    return mails / cpu


async def restart(folder: Path, mails: int, size: int) -> None:
    """Leave mails behind, and find them again."""
    queue, content = Queue(folder, reserve=0), b"x" * size
    await asyncio.gather(*(queue.put(mail(number, size), content) for number in range(mails)))
    queue.close()
    begin = time.perf_counter()
    queue = Queue(folder, reserve=0)
    found = sum(1 for _ in queue.waiting())
    took = time.perf_counter() - begin
    queue.close()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024
    print(f"{found} mails that wait are found again in {took:.2f} s (peak of this process {peak:.0f} MiB)")


def main(arguments: list[str] | None = None) -> int:
    """Measure; 1 when the CPU rate is below what is wanted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mails", type=int, default=20_000)
    parser.add_argument("--writers", type=int, default=50)
    parser.add_argument("--size", type=int, default=5_120)
    parser.add_argument("--waiting", type=int, default=10_000)
    parser.add_argument("--dir", type=Path, default=None, help="folder on the disk to be measured")
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=args.dir) as name:
        folder = Path(name)
        asyncio.run(put_and_settle(folder / "one", max(1, args.mails // 10), 1, args.size))
        rate = asyncio.run(put_and_settle(folder / "many", args.mails, args.writers, args.size))
        asyncio.run(restart(folder / "restart", args.waiting, args.size))
    print(f"{rate:.0f} puts + settles by the second of CPU (wanted: {WANTED} or more)")
    return int(rate < WANTED)


if __name__ == "__main__":
    raise SystemExit(main())
