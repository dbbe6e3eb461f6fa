"""The receiver: takes report mails by SMTP and LMTP, and answers 250 only when they are safe in the spool."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dmarcview_smtp.address import Address, AddressError, read_address
from dmarcview_smtp.content import Content
from dmarcview_smtp.entrance import Entrance
from dmarcview_smtp.policy import Client, Policy, Transaction
from dmarcview_smtp.replies import NO_ROOM, Reply
from dmarcview_smtp.settings import DoorSettings, Listener
from dmarcview_smtp.tls import Certificate

from .errors import SpoolError
from .model import Origin
from .spool import Spool

log = logging.getLogger(__name__)

NOT_OURS = Reply(550, "5.7.1", "Only the report addresses of this host take mail here", "not_ours")


def _f(default: Any, help: str) -> Any:
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True, slots=True)
class ReceiveSettings:
    """What the receiver takes, and where it listens."""

    listeners: tuple[Listener, ...] = _f((Listener(),), "Sockets to listen on. The default serves this machine only.")
    hostname: str = _f("", "Name of this host in the dialogue; its own full name when empty.")
    rua: tuple[str, ...] = _f((), "Addresses that take aggregate reports (rua= in DMARC records).")
    ruf: tuple[str, ...] = _f((), "Addresses that take failure reports (ruf= in DMARC records).")
    tlsrpt: tuple[str, ...] = _f((), "Addresses that take TLS reports (rua= in TLS-RPT records).")
    subaddress: str = _f("", "What parts a detail from the name, such as +: rua+x@ is then rua@. Off when empty.")
    certificate: str = _f("", "PEM file with the certificate chain, for modes starttls and tls.")
    key: str = _f("", "PEM file with its private key.")
    reserve_bytes: int = _f(100_000_000, "No mail is taken when less of the disk is free.")
    stop_seconds: float = _f(10.0, "How long mails under way may take at the stop.")
    limits: DoorSettings = field(default_factory=DoorSettings, metadata={"help": "Bounds on clients."})

    def faults(self) -> list[str]:
        """Every fault in these settings, one sentence each."""
        found = []
        for text in (*self.rua, *self.ruf, *self.tlsrpt):
            try:
                read_address(text)
            except AddressError as error:
                found.append(f"{text!r} is not an address: {error}")
        if any(listener.mode != "plain" for listener in self.listeners) and not (self.certificate and self.key):
            found.append("a listener with TLS needs certificate and key")
        if len(self.subaddress) > 1:
            found.append("subaddress is one character")
        return found


class Receiver:
    """The service. `start` listens, `stop` ends it gracefully; `counters` tell what happened since the start.

    counters["accepted"] counts mails, counters["bytes"] their bytes; every other key is a reason for which something
    was refused, such as not_ours, too_big, bare_line_end, no_room, timeout.
    """

    def __init__(self, settings: ReceiveSettings, spool: Spool, *, clock: Callable[[], float] = time.time) -> None:
        """Raises ValueError for settings that cannot work; `settings.faults()` tells all of them."""
        if faults := settings.faults():
            raise ValueError("; ".join(faults))
        self.settings = settings
        self.counters: Counter[str] = Counter()
        self.listening: list[tuple[str, int]] = []  # address and port, or (path, 0), of each listener
        self._hostname = settings.hostname or socket.getfqdn()
        self._spool = spool
        self._clock = clock
        self._entrance: Entrance | None = None

    @property
    def connections(self) -> int:
        """How many clients are connected now."""
        return self._entrance.gate.inside if self._entrance else 0

    async def start(self) -> None:
        """Listen. Raises OSError when a socket or the certificate cannot be used; nothing listens then."""
        settings = self.settings
        certificate = None
        if settings.certificate:
            certificate = await asyncio.to_thread(Certificate, Path(settings.certificate), Path(settings.key))
        policy = ReportPolicy(settings, self._hostname, self._spool, self.counters, self._clock)
        entrance = Entrance(
            policy, settings.limits, hostname=self._hostname, certificate=certificate, spill=self._spool.tmp
        )
        try:
            for listener in settings.listeners:
                self.listening.append(await entrance.open(listener))
        except BaseException:
            await entrance.close(0)
            self.listening.clear()
            raise
        self._entrance = entrance
        for host, port in self.listening:
            log.info("listening on %s", f"{host} port {port}" if port else host)

    async def stop(self) -> None:
        """Take no more, finish what is under way, close. The spool stays open: close it afterwards."""
        if self._entrance is not None:
            await self._entrance.close(self.settings.stop_seconds)
            self._entrance = None
            self.listening.clear()


class ReportPolicy(Policy):
    """Takes mail for the report addresses and postmaster, from anybody, and for nobody else."""

    def __init__(
        self,
        settings: ReceiveSettings,
        hostname: str,
        spool: Spool,
        counters: Counter[str],
        clock: Callable[[], float],
    ) -> None:
        self._accepted = _keys((*settings.rua, *settings.ruf, *settings.tlsrpt))
        domains = {domain for _, domain in self._accepted} | {hostname.lower()}
        self._accepted |= {("postmaster", domain) for domain in (*domains, "")}
        self._subaddress = settings.subaddress
        self._spool = spool
        self._counters = counters
        self._clock = clock

    def on_mail(self, client: Client, mail: Transaction) -> Reply | None:  # noqa: ARG002 (a hook)
        """Refuse early when the disk is full."""
        return None if self._spool.has_room(mail.declared_size) else NO_ROOM

    def on_rcpt(self, client: Client, mail: Transaction, recipient: Address) -> Reply | None:  # noqa: ARG002
        """RFC 5321 section 4.5.1: postmaster is always taken, also without a domain."""
        local, domain = recipient.local.lower(), recipient.ascii_domain
        if self._subaddress and (local, domain) not in self._accepted:
            local = local.partition(self._subaddress)[0]
        return None if (local, domain) in self._accepted else NOT_OURS

    async def on_message(self, client: Client, mail: Transaction, content: Content) -> Reply:
        """Answers after the spool has synced the mail."""
        origin = Origin(
            name="",
            received=int(self._clock()),
            channel=client.protocol,
            client=client.address,
            helo=client.helo,
            mail_from=str(mail.sender) if mail.sender else "",
            rcpt_to=tuple(map(str, mail.recipients)),
            tls=client.tls,
        )
        try:
            item = await self._spool.put(origin, content.file or content.data, content.size)
        except SpoolError as error:
            log.error("%s: mail not taken: %s", client.address, error)
            return NO_ROOM
        self._counters["accepted"] += 1
        self._counters["bytes"] += content.size
        return Reply(250, "2.0.0", f"Taken as {item}")

    def on_reply(self, client: Client, reply: Reply) -> None:
        """Count refusals."""
        self._counters[reply.reason] += 1
        log.debug("%s: %s %s", client.address, reply.code, reply.text)


def _keys(addresses: Iterable[str]) -> set[tuple[str, str]]:
    parsed = map(read_address, addresses)
    return {(address.local.lower(), address.ascii_domain) for address in parsed}
