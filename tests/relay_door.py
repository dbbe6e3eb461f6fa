"""A relay's front door in a thread of its own, with users of three names and a policy that takes every mail."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import dataclasses
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from relay_taking import QUICK
from smtp_talk import Authority, Talk

from dmarcview_relay.auth import Guard
from dmarcview_relay.door import RelayDoor
from dmarcview_relay.settings import ClientCertificate, Login, RelayListener, RelaySettings
from dmarcview_relay.userfile import UserFile
from dmarcview_relay.users import UserRules, Users
from dmarcview_smtp.address import Address
from dmarcview_smtp.content import Content
from dmarcview_smtp.entrance import Entrance
from dmarcview_smtp.policy import Client, Policy, Transaction
from dmarcview_smtp.replies import Reply
from dmarcview_smtp.tls import Certificate

PASSWORD = "correct horse"
FAST = Login(delay=0.0)


@dataclass
class Taken:
    """One mail as the policy saw it."""

    user: str
    mail: Transaction
    content: bytes


@dataclass
class AnyMail(Policy):
    """Takes everything and remembers it."""

    taken: list[Taken] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)

    def on_rcpt(self, client: Client, mail: Transaction, recipient: Address) -> Reply | None:
        return None

    async def on_message(self, client: Client, mail: Transaction, content: Content) -> Reply:
        self.taken.append(Taken(client.user, mail, content.data))
        return Reply(250, "2.0.0", "Queued")

    def on_reply(self, client: Client, reply: Reply) -> None:
        self.reasons[reply.reason] += 1


@dataclass
class Clock:
    """Time that stands still until it is moved."""

    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class House:
    """A door that runs. `ports` are those of its listeners."""

    ports: list[int]
    policy: AnyMail
    guard: Guard
    clock: Clock
    file: UserFile
    path: Path

    @property
    def port(self) -> int:
        return self.ports[0]


def users_in(path: Path) -> UserFile:
    """alice with the password above, bob whose rules are narrow, laptop without a password."""
    file = UserFile(path / "relay" / "users.json")
    file.add("alice", PASSWORD, UserRules())
    file.add("bob@example.org", "bob's own words", UserRules(senders=("bob@example.org",), rate=5))
    file.add("laptop", None, UserRules())
    return file


@contextlib.contextmanager
def house(
    path: Path,
    ca: Authority,
    *listeners: RelayListener,
    login: Login = FAST,
    limits: Any = QUICK,
    pinned: tuple[ClientCertificate, ...] = (),
) -> Iterator[House]:
    """Open the listeners, a STARTTLS one when none is named, and close them at the end."""
    listeners = listeners or (RelayListener(port=0, mode="starttls"),)
    file = users_in(path)
    settings = RelaySettings(listeners=listeners, login=login, certificates=pinned)
    clock, policy = Clock(), AnyMail()
    users = Users(path / "relay" / "users.json")
    guard = Guard(settings, users, clock)
    loop = asyncio.new_event_loop()
    faults: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _loop, context: faults.append(context))
    thread = threading.Thread(target=loop.run_forever, name="relay")
    thread.start()
    entrance = Entrance(
        policy,
        limits,
        hostname="relay.example.test",
        certificate=Certificate(ca.chain, ca.key),
        door=lambda site: RelayDoor(site, guard),
    )

    async def open_all() -> list[int]:
        return [(await entrance.open(listener))[1] for listener in listeners]

    try:
        ports = asyncio.run_coroutine_threadsafe(open_all(), loop).result(10)
        yield House(ports, policy, guard, clock, file, path / "relay" / "users.json")
    finally:
        asyncio.run_coroutine_threadsafe(entrance.close(1), loop).result(30)
        guard.close()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.run_until_complete(loop.shutdown_default_executor())
        left = [task for task in asyncio.all_tasks(loop) if not task.done()]
        loop.close()
    assert not faults, faults
    assert not left, left


def secured(talk: Talk, ca: Authority) -> str:
    """Start TLS; gives the reply to the EHLO in it."""
    talk.hello()
    assert talk.ask("STARTTLS").startswith("220 ")
    talk.start_tls(ca.client_context())
    return talk.ask("EHLO client.test")


def coded(text: str | bytes) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


def plain(name: str, password: str, other: str = "") -> str:
    """The PLAIN command with its initial response."""
    return "AUTH PLAIN " + coded(f"{other}\0{name}\0{password}")


def limits(**changes: Any) -> Any:
    return dataclasses.replace(QUICK, **changes)
