"""The far side of the demo's outgoing mail: a host that keeps what it is sent, puts off and refuses some of it."""

from __future__ import annotations

import asyncio
import threading
import time
from types import TracebackType
from typing import NamedTuple

from dmarcview.demo.story import Reporter
from dmarcview_reports.model import Origin
from dmarcview_smtp.address import Address
from dmarcview_smtp.content import Content
from dmarcview_smtp.entrance import Entrance
from dmarcview_smtp.policy import Client, Policy, Transaction
from dmarcview_smtp.replies import Reply
from dmarcview_smtp.settings import DoorSettings, Listener

DOMAIN = "friends.example"
REPORTER = Reporter("Friends Mail", DOMAIN, 0, "rfc9990", "gzip", "{number}")  # as which it reports what it took
HOSTNAME = "mx.friends.example"
SLOW, GONE = "slow", "gone"  # how the local parts begin of those who are put off once, and of those who are not there
START_SECONDS = 10.0


class Arrived(NamedTuple):
    """A mail, byte for byte, and how it came."""

    data: bytes
    origin: Origin


class _Desk(Policy):
    """Takes mail for anybody but those who are gone; those who are slow at the second try."""

    def __init__(self) -> None:
        self.arrived: list[Arrived] = []
        self._met: set[str] = set()

    def on_rcpt(self, client: Client, mail: Transaction, recipient: Address) -> Reply | None:  # noqa: ARG002 (a hook)
        if recipient.local.startswith(GONE):
            return Reply(550, "5.1.1", f"No mailbox {recipient.local} here; it was closed last spring", "gone")
        if recipient.local.startswith(SLOW) and recipient.local not in self._met:
            self._met.add(recipient.local)
            return Reply(451, "4.7.1", "We do not know you yet; please come back in a moment", "slow")
        return None

    async def on_message(self, client: Client, mail: Transaction, content: Content) -> Reply:
        origin = Origin(
            f"{len(self.arrived)}", int(time.time()), "smtp", client.address, client.helo, str(mail.sender or "")
        )
        self.arrived.append(Arrived(content.data, origin))
        return Reply(250, "2.0.0", f"Kept as number {len(self.arrived)}, thank you", "kept")


class Mailbox:
    """The host, in a thread of its own; use it as a context manager. `where` tells address and port."""

    def __init__(self) -> None:
        self.where: tuple[str, int] = ("", 0)
        self._desk = _Desk()
        self._loop = asyncio.new_event_loop()
        self._up = threading.Event()
        self._ended = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="demo-mailbox", daemon=True)

    @property
    def mails(self) -> list[bytes]:
        """What has been delivered so far, byte for byte."""
        return [one.data for one in self._desk.arrived]

    @property
    def arrived(self) -> list[Arrived]:
        """The same, with how each came."""
        return list(self._desk.arrived)

    def __enter__(self) -> Mailbox:
        self._thread.start()
        self._up.wait(START_SECONDS)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()
        self._loop.close()

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        entrance = Entrance(self._desk, DoorSettings(), hostname=HOSTNAME)
        self.where = await entrance.open(Listener(port=0))
        self._up.set()
        await self._ended.wait()
        await entrance.close(0)
