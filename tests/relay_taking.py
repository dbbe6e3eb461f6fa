"""The taking half of a relay in a thread of its own: door, rules, signer and queue are real, nothing is delivered."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from smtp_talk import RUA, Authority, Talk

from dmarcview_relay import keyfile
from dmarcview_relay.accept import RelayPolicy
from dmarcview_relay.auth import Guard
from dmarcview_relay.door import RelayDoor
from dmarcview_relay.envelope import Mail, Queued
from dmarcview_relay.keys import KeyRing
from dmarcview_relay.queue import Queue
from dmarcview_relay.queue_admin import QueueAdmin
from dmarcview_relay.settings import ClientLimits, RelayListener, RelaySettings
from dmarcview_relay.sign import Signer
from dmarcview_relay.users import Users
from dmarcview_smtp.entrance import Entrance
from dmarcview_smtp.tls import Certificate

HOST = "mx.example.test"
QUICK = ClientLimits(linger_seconds=0.5, greeting_wait=0)
DOMAIN = "client.test"
Result = TypeVar("Result")


@functools.cache
def private_key() -> Any:
    """One RSA key for all tests of this process."""
    return keyfile.make("rsa", 2048)


def keys(path: Path, *domains: str) -> KeyRing:
    """A ring with that key for each domain."""
    ring = KeyRing(path / "keys")
    for domain in domains:
        ring.add(domain, "s1", private_key())
    return ring


@dataclass
class Taking:
    """A relay that takes mail. `port` is of its first listener."""

    settings: RelaySettings
    policy: RelayPolicy
    queue: Queue
    counters: Counter[str]
    loop: asyncio.AbstractEventLoop
    folder: Path
    added: list[tuple[Queued, bytes]]
    ports: list[int] = field(default_factory=list)

    @property
    def port(self) -> int:
        return self.ports[0]

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """In the relay's loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def mails(self) -> list[tuple[Mail, bytes]]:
        """What was handed to the worker, which must be what lies in the queue and may leave; taken out of the list."""

        async def read() -> list[tuple[Mail, bytes]]:
            return [(queued.mail, await self.queue.content(queued)) for queued in self.queue.waiting()]

        found = self.run(read())
        assert found[len(found) - len(self.added) :] == [(queued.mail, content) for queued, content in self.added]
        self.added.clear()
        return found

    def last(self) -> tuple[Mail, bytes]:
        """The newest that may leave."""
        return self.mails()[-1]

    def count(self, what: str = "mails") -> int:
        """How many there are in the queue: mails, or recipients that are waiting or held."""

        async def ask() -> int:
            return self.queue.count()[what]

        return self.run(ask())

    def holds(self) -> set[str]:
        """Why mails are held."""
        admin = QueueAdmin(self.folder)
        try:
            return {entry.hold for line in admin.found() for entry in line.entries}
        finally:
            admin.close()


@contextlib.contextmanager
def taking(
    path: Path,
    *,
    ca: Authority | None = None,
    limits: ClientLimits = QUICK,
    key_domains: Sequence[str] = (DOMAIN,),
    users: Path | None = None,
    clock: Callable[[], float] = time.time,
    free: Callable[[Path], int] | None = None,
    key_hold: Any = None,
    **changes: Any,
) -> Iterator[Taking]:
    """By default: from this machine, from anybody at client.test, to RUA only."""
    changes.setdefault("listeners", (RelayListener(port=0, mode="starttls" if ca else "plain"),))
    changes.setdefault("senders", (f"@{DOMAIN}",))
    changes.setdefault("recipients", (RUA,))
    settings = RelaySettings(hostname=HOST, limits=limits, **changes)
    loop = asyncio.new_event_loop()
    faults: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _loop, context: faults.append(context))
    thread = threading.Thread(target=loop.run_forever, name="relay")
    thread.start()
    added: list[tuple[Queued, bytes]] = []
    table = Users(users or path / "users.json")
    guard = Guard(settings, table)

    async def build() -> tuple[Taking, Entrance]:
        folder = path / "relay"
        queue = Queue(folder, reserve=1_000 if free else 0, clock=clock, free=free)
        counters: Counter[str] = Counter()
        policy = RelayPolicy(
            settings,
            HOST,
            Signer(keys(path, *key_domains), clock=clock),
            queue,
            lambda queued, content: added.append((queued, content)),
            clock,
            counters,
            users=table,
            key_hold=key_hold,
        )
        entrance = Entrance(
            policy,
            limits,
            hostname=HOST,
            certificate=Certificate(ca.chain, ca.key) if ca else None,
            door=lambda site: RelayDoor(site, guard),
        )
        made = Taking(settings, policy, queue, counters, loop, folder, added)
        made.ports = [(await entrance.open(listener))[1] for listener in settings.listeners]
        return made, entrance

    made, entrance = asyncio.run_coroutine_threadsafe(build(), loop).result(30)

    async def end() -> None:
        await entrance.close(2)
        made.queue.close()

    try:
        yield made
    finally:
        asyncio.run_coroutine_threadsafe(end(), loop).result(30)
        guard.close()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.run_until_complete(loop.shutdown_default_executor())
        left = [task for task in asyncio.all_tasks(loop) if not task.done()]
        loop.close()
    assert not faults, faults
    assert not left, left


def mail(*fields: str, body: str = "hello") -> bytes:
    """A mail by a@client.test with these fields, with the end of DATA."""
    return "".join(f"{line}\r\n" for line in (f"From: a@{DOMAIN}", *fields, "", body, ".")).encode()


def send(talk: Talk, content: bytes, *, sender: str = f"a@{DOMAIN}", recipient: str = RUA) -> str:
    """The last reply to one mail, or the first refusal."""
    for command in (f"MAIL FROM:<{sender}>", f"RCPT TO:<{recipient}>"):
        if not (answer := talk.ask(command)).startswith("250 "):
            talk.ask("RSET")
            return answer
    return talk.data(content)
