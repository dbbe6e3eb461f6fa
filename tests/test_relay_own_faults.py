"""A fault of our own in the middle of a delivery: the mail comes again, less and less often, and is never lost."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from dmarcview_relay.bounce import Author
from dmarcview_relay.envelope import Mail, Recipient
from dmarcview_relay.keys import KeyRing
from dmarcview_relay.outcome import Link, RemoteReply
from dmarcview_relay.queue import Queue
from dmarcview_relay.returns import Returns
from dmarcview_relay.routes import Hop
from dmarcview_relay.settings import HOUR, RelaySettings, Schedule
from dmarcview_relay.sign import Signer
from dmarcview_relay.worker import Worker
from dmarcview_smtp.address import Address

CONTENT = b"From: a@from.test\r\n\r\nhello\r\n"


class Broken:
    """A courier whose sessions hit a fault of ours, so many times; then all is well."""

    link = Link()
    usable = True
    dsn = False

    def __init__(self, faults: int) -> None:
        self.faults = faults
        self.tries = 0

    async def connect(self, _hop: Hop) -> Broken:
        return self

    async def send(self, _mail: Mail, recipients: tuple[Recipient, ...], _content: bytes) -> list[RemoteReply]:
        self.tries += 1
        if self.tries <= self.faults:
            raise RuntimeError("a fault of ours")
        return [RemoteReply(250, "2.0.0", "ok", "body")] * len(recipients)

    async def close(self) -> None:
        pass


def story(folder: Path, faults: int, hours: int) -> tuple[int, dict[str, int]]:
    """Let so many hours pass; how often the mail was tried, and what is in the queue then."""
    now = 1_000_000.0

    async def main() -> tuple[int, dict[str, int]]:
        nonlocal now
        settings = RelaySettings(queue=Schedule(waits=(600, 3_600), expire_hours=24))
        queue = Queue(folder, reserve=0, clock=lambda: now)
        courier = Broken(faults)
        returns = Returns(Signer(KeyRing(folder / "keys")), Author("relay.from.test"), settings.queue)
        worker = Worker(
            settings, queue, courier, returns=returns, logged=lambda _: "x", clock=lambda: now  # type: ignore[arg-type]
        )  # fmt: skip
        recipient = Recipient(Address("b", "far.test"))
        mail = Mail(Address("a", "from.test"), (recipient,), now, len(CONTENT), from_domain="from.test")
        worker.add(await queue.put(mail, CONTENT), CONTENT)
        running = asyncio.create_task(worker.run())
        for _ in range(hours * 6):
            await asyncio.sleep(0.02)
            now += HOUR / 6
            worker.nudge()
        await asyncio.sleep(0.1)
        await worker.stop(1.0)
        await running
        count = queue.count()
        queue.close()
        return courier.tries, count

    return asyncio.run(main())


def test_a_mail_that_met_a_fault_of_ours_twice_is_delivered_at_the_third_try(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tries, count = story(tmp_path, faults=2, hours=4)
    assert (tries, count["mails"], count["sent"]) == (3, 0, 1)
    assert sum("a delivery broke" in record.message for record in caplog.records) == 2


def test_a_fault_that_stays_is_met_by_the_schedule_until_the_end_and_keeps_the_mail(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    tries, count = story(tmp_path, faults=10_000, hours=48)
    assert 10 <= tries <= 27, "one after ten minutes, then hourly for a day"
    assert (count["mails"], count["waiting"], count["sent"]) == (1, 1, 0)
