"""Processes to be killed: one settles mails in the relay's queue, one ships their rows into the store."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from dmarcview.shipping import Shipping
from dmarcview.store import Store
from dmarcview_relay.envelope import Mail, Recipient
from dmarcview_relay.queue import Queue, Settled
from dmarcview_smtp.address import Address
from tests.sent_data import attempt


async def relay(folder: Path, name: str) -> None:
    """Put and settle mails; what was settled is written down after the queue has said so."""
    queue = Queue(folder / "relay", reserve=0)
    told = os.open(folder / "acknowledged", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    number = 0
    while True:
        batch = [f"{name}-{number + n}" for n in range(20)]
        number += len(batch)
        await asyncio.gather(*(one(queue, each) for each in batch))
        os.write(told, "".join(f"{each}\n" for each in batch).encode())


async def one(queue: Queue, id: str) -> None:
    """A mail that is delivered at once."""
    mail = Mail(None, (Recipient(Address("a", "example.net")),), 1.0, 4)
    queued = await queue.put(mail, b"x\r\n.")
    await queue.settle(queued, [Settled(queued.tickets[0], attempt(queue_id=id))])


def run_relay(folder: Path, name: str) -> None:
    """Until somebody kills it."""
    asyncio.run(relay(folder, name))


def ship(folder: Path) -> None:
    """Move rows, without a pause."""
    with Store.open(folder) as store:
        shipping = Shipping(folder / "relay", store.ledger)
        while True:
            shipping.step()
