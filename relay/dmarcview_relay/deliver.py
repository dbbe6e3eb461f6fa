"""Connections to next hops: which host and address is tried, with which protection, and what a failure means."""

from __future__ import annotations

import asyncio
import errno
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from .client import Client, Facts, Refused
from .client_auth import Credentials
from .dane import matches, published
from .dns import DnsFailure, Resolver
from .dry_run import FolderSession
from .envelope import Mail, Recipient
from .mx import Host, NoMail, Own, hosts, near_loopback, smarthost
from .outcome import Link, RemoteReply
from .routes import Hop
from .settings import RelaySettings
from .sts import MtaSts, Policy
from .tls import NOTHING, Demand, context, demand, not_offered, not_proven
from .wire import Broken, Wire

log = logging.getLogger(__name__)

MOST_TRIES = 10  # addresses that one call of `connect` tries
BAD_SECONDS = 600.0  # so long an address that did not answer is tried after all others
MOST_BAD = 1_000


class NotConnected(Exception):
    """No host could be reached that would take mail; nothing was tried."""

    def __init__(self, reply: RemoteReply, link: Link) -> None:
        super().__init__(str(reply))
        self.reply = reply
        self.link = link


class Session(Protocol):
    """A connection over which mails can leave, one after the other."""

    @property
    def link(self) -> Link:
        """The way that the mails take."""
        ...

    @property
    def usable(self) -> bool:
        """Whether another mail may be sent."""
        ...

    @property
    def dsn(self) -> bool:
        """Whether the other side reports success itself (RFC 3461), so that we do not."""
        ...

    async def send(self, mail: Mail, recipients: Sequence[Recipient], content: bytes) -> list[RemoteReply]:
        """One transaction; a reply for each recipient, in their order. Never raises for faults of the other side."""
        ...

    async def close(self) -> None:
        """The end. Never raises."""
        ...


class _Target(NamedTuple):
    """One address to try: an IP address, or the path of a unix socket."""

    host: Host
    address: str
    enforced: bool = False  # by an MTA-STS policy of the domain


class Courier:
    """Makes connections. One instance serves all destinations; `settings` may be replaced at any time."""

    def __init__(
        self,
        settings: RelaySettings,
        hostname: str,
        resolver: Resolver,
        own: Own = tuple,
        clock: Callable[[], float] = time.time,
        *,
        sts: MtaSts | None = None,
    ) -> None:
        self.settings = settings
        self._hostname = hostname
        self._resolver = resolver
        self._own = own
        self._clock = clock
        self._sts = sts or MtaSts(resolver, None, clock)
        self._bad: dict[str, float] = {}

    async def connect(self, hop: Hop) -> Session:
        """A session with the first host that would take mail. Raises NotConnected."""
        if hop.kind == "folder":
            return FolderSession(Path(hop.path))
        try:
            credentials = await self._credentials(hop)
            targets = await self._targets(hop)
        except NoMail as error:
            raise NotConnected(error.reply, Link(host=hop.host)) from None
        except DnsFailure as error:
            text = f"the DNS could not be asked for now: {error}"
            raise NotConnected(RemoteReply(451, "4.4.3", text, "dns", said=False), Link(host=hop.host)) from None
        failures: list[tuple[RemoteReply, Link]] = []
        for target in targets[:MOST_TRIES]:
            link = Link(host=target.host.name, address=target.address)
            try:
                return await self._session(hop, target, credentials)
            except Refused as refused:
                log.info("%s [%s]: %s", link.host, link.address, refused.reply)
                failures.append((refused.reply, link))
        temporary = [failure for failure in failures if not failure[0].permanent]
        raise NotConnected(*(temporary or failures)[0])

    async def _credentials(self, hop: Hop) -> Credentials | None:
        if not hop.user:
            return None
        try:
            text = await asyncio.to_thread(Path(hop.password_file).read_text, "utf-8")
            password = text.splitlines()[0] if text else ""
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8"
            raise NoMail(454, "4.7.0", f"cannot read password_file {hop.password_file}: {reason}", "auth") from None
        return Credentials(hop.user, password)

    async def _targets(self, hop: Hop) -> list[_Target]:
        """All addresses in the order in which they are tried; those that lately did not answer come last."""
        delivery = self.settings.delivery
        if hop.path:
            if any(host == hop.path for host, _ in self._own()):
                raise NoMail(451, "4.4.6", f"The route's socket {hop.path} is this relay itself", "policy")
            return [_Target(Host("localhost", 0, (hop.path,)), hop.path)]
        enforced = False
        if hop.kind == "mx":
            found = await hosts(hop.domain, self._resolver, delivery, hostname=self._hostname, own=self._own)
            if delivery.mta_sts and hop.tls != "none":
                policy = await self._sts.policy(hop.domain, delivery)
                enforced = policy is not None and policy.mode == "enforce"
                if enforced and policy:
                    found = _allowed(found, policy, hop.domain)
        else:
            found = [await smarthost(hop.host, hop.port, self._resolver, delivery, self._own)]
        now = self._clock()
        targets = [_Target(host, address, enforced) for host in found for address in host.addresses]
        return sorted(targets, key=lambda target: self._bad.get(target.address, 0.0) > now)

    async def _demand(self, hop: Hop, target: _Target) -> Demand:
        """What this host must fulfil. Raises Refused when its TLSA records cannot be had, and nobody else's."""
        host = target.host
        records = NOTHING
        if host.secure and self.settings.delivery.dnssec and hop.tls != "none":
            try:
                records = await published((host.base, host.name), hop.port, self._resolver)
            except DnsFailure as error:
                text = f"the TLSA records of {host.name} cannot be had for now, so it is not used: {error}"
                raise Refused(RemoteReply(451, "4.7.5", text, "dns", said=False)) from None
        return demand(hop.tls, records, enforced=target.enforced)

    # one address

    async def _session(self, hop: Hop, target: _Target, credentials: Credentials | None) -> Client:
        """Raises Refused."""
        wanted = await self._demand(hop, target)
        try:
            return await self._opened(hop, target, wanted, credentials)
        except _HandshakeFailed as failed:
            if wanted.needed or hop.implicit_tls:
                raise Refused(failed.reply) from None
            log.info("%s: TLS failed, so in clear: %s", target.host.name, failed.reply)
            return await self._opened(hop, target, Demand("none", "none"), credentials)

    async def _opened(self, hop: Hop, target: _Target, wanted: Demand, credentials: Credentials | None) -> Client:
        wire = await self._connected(hop, target)
        facts = Facts(target.host.name, target.address, hop.kind == "lmtp", target.host.certain)
        client = Client(wire, facts, self._hostname, self.settings.delivery)
        try:
            await self._started(client, wire, hop, target, wanted)
            if credentials:
                self._may_log_in(client, target)
                await client.log_in(credentials)
        except BaseException:
            await asyncio.shield(client.close())
            raise
        return client

    async def _started(self, client: Client, wire: Wire, hop: Hop, target: _Target, wanted: Demand) -> None:
        """Greeting, EHLO and TLS."""
        delivery = self.settings.delivery
        name = target.host.name
        key = f'tls = "{hop.tls}"'
        try:
            protection = context(delivery.ca, verified=wanted.policy == "verify")
        except OSError as error:
            text = f"cannot read [relay.delivery] ca {delivery.ca}: {error.strerror or error}"
            raise Refused(RemoteReply(454, "4.7.5", text, "tls", said=False)) from None
        if hop.implicit_tls:
            try:
                await wire.start_tls(protection, name, delivery.connect)
            except Broken as broken:
                raise _HandshakeFailed(not_proven(f"{name} {broken}", wanted, key)) from None
            self._prove(client, wire, target, wanted, key)
        await client.greet()
        await client.hello()
        if hop.implicit_tls or wanted.policy == "none":
            return
        if "STARTTLS" in client.extensions:
            try:
                await client.start_tls(protection, name)
            except Refused as refused:
                if refused.reply.stage != "tls":
                    raise
                raise _HandshakeFailed(not_proven(refused.reply.text, wanted, key)) from None
            self._prove(client, wire, target, wanted, key)
        elif wanted.needed:
            raise Refused(not_offered(name, wanted, key))

    def _prove(self, client: Client, wire: Wire, target: _Target, wanted: Demand, key: str) -> None:
        """Note what the connection is worth; with DANE the certificate is judged here, else it was in the handshake."""
        host = target.host
        if wanted.tlsa and not matches(wire.tls, wanted.tlsa, (host.base or host.name, host.name)):
            fault = f"{host.name} showed a certificate that matches none of its TLSA records"
            raise _HandshakeFailed(not_proven(fault, wanted, key))
        client.secured("encrypted" if wanted.policy == "none" else wanted.trust)

    def _may_log_in(self, client: Client, target: _Target) -> None:
        """A password goes over TLS, or does not leave this machine."""
        if client.link.tls_version or "/" in target.address or near_loopback(target.address):
            return
        text = f"{target.host.name} offers no TLS, and the password is not sent in clear"
        raise Refused(RemoteReply(454, "4.7.0", text, "auth", said=False))

    async def _connected(self, hop: Hop, target: _Target) -> Wire:
        """Raises Refused."""
        loop = asyncio.get_running_loop()
        delivery = self.settings.delivery
        source = delivery.source_ipv6 if ":" in target.address else delivery.source_ipv4
        try:
            async with asyncio.timeout(delivery.connect):
                if hop.path:
                    _, wire = await loop.create_unix_connection(Wire, hop.path)
                else:
                    local = (source, 0) if source else None
                    _, wire = await loop.create_connection(Wire, target.address, hop.port, local_addr=local)
        except (OSError, TimeoutError) as error:
            self._note_bad(target.address)
            raise Refused(self._unreachable(hop, target, source, error)) from None
        self._bad.pop(target.address, None)
        return wire

    def _note_bad(self, address: str) -> None:
        if len(self._bad) >= MOST_BAD:
            now = self._clock()
            self._bad = {known: until for known, until in self._bad.items() if until > now}
            if len(self._bad) >= MOST_BAD:
                self._bad.clear()
        self._bad[address] = self._clock() + BAD_SECONDS

    def _unreachable(self, hop: Hop, target: _Target, source: str, error: OSError) -> RemoteReply:
        where = hop.path or f"{target.host.name} [{target.address}] port {hop.port}"
        if error.errno == errno.EADDRNOTAVAIL and source:
            text = f"source address {source} is not of this machine; mend [relay.delivery]"
        elif isinstance(error, TimeoutError):
            text = f"no connection to {where}: no answer in {self.settings.delivery.connect:g} s"
        else:
            text = f"no connection to {where}: {error.strerror if error.strerror else error}"
        return RemoteReply(451, "4.4.1", text, "connect", said=False)


def _allowed(found: list[Host], policy: Policy, domain: str) -> list[Host]:
    """The hosts that the domain's MTA-STS policy names (RFC 8461 section 4.1). Raises NoMail to be tried again."""
    allowed = [host for host in found if policy.allows(host.name)]
    if not allowed:
        names = ", ".join(host.name for host in found)
        text = f"the MTA-STS policy of {domain} names none of its MX hosts ({names}); only its operator can mend that"
        raise NoMail(451, "4.7.5", text, "policy")
    return allowed


class _HandshakeFailed(Exception):
    """TLS was offered and did not come about; another connection may do without it."""

    def __init__(self, reply: RemoteReply) -> None:
        super().__init__(str(reply))
        self.reply = reply
