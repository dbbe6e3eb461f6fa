"""Keeps the keys of a host by itself: looks at the DNS, moves each key on in its life, makes successors in time."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection

from . import keyfile
from .dkimdns import DIFFERS, MISSING, OK, UNKNOWN, compare, look, txt
from .dns import DnsFailure, Resolver, SystemResolver
from .keyfile import ED25519, RSA
from .keylife import Change, Signature, advance, due, selector_for
from .keys import RETIRED, KeyRing, SigningKey
from .settings import HOUR, Keys

NAME_SERVERS = 8  # most that are asked about one key
LABELS = 12  # most labels gone up in search of the zone's name servers
LOOK_SECONDS = HOUR / 4  # between two looks
AT_ONCE = 8  # keys looked at together

log = logging.getLogger(__name__)

Direct = Callable[[str], Resolver]


def direct(address: str) -> Resolver:
    """A resolver that asks one name server."""
    return SystemResolver([(address, 53)], timeout=5.0)


class Keeper:
    """Moves the keys of a ring. `queued` gives the signatures of mails that still wait."""

    def __init__(
        self,
        ring: KeyRing,
        resolver: Resolver,
        settings: Keys,
        *,
        hostname: str,
        queue_life: float,
        queued: Callable[[], Collection[Signature]] = tuple,
        ask_directly: Direct | None = direct,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._ring = ring
        self._resolver = resolver
        self._settings = settings
        self._hostname = hostname
        self._queue_life = queue_life
        self._queued = queued
        self._direct = ask_directly
        self._clock = clock

    async def run(self, changed: Callable[[list[Change]], None] = lambda _: None) -> None:
        """Until cancelled. A fault is logged, and the next turn tries again."""
        while True:
            try:
                if changes := await self.turn():
                    changed(changes)
            except (keyfile.KeyFault, OSError) as error:
                log.warning("the keys could not be kept: %s", error)
            await asyncio.sleep(LOOK_SECONDS)

    async def turn(self) -> list[Change]:
        """Look once and write down what moved. Raises KeyFault."""
        now = self._clock()
        for old in due(self._ring.all(), now, self._settings.rotate_days):
            new = await asyncio.to_thread(successor, self._ring, old, self._hostname, now)
            log.warning("key %s of %s is old; publish the record of %s", old.selector, old.domain, new.selector)
        keys = [key for key in self._ring.all() if key.state != RETIRED]
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(key: SigningKey) -> str:
            async with gate:
                return await sight(key, self._resolver, self._direct)

        states = await asyncio.gather(*(one(key) for key in keys))
        sights = {(key.domain, key.selector): state for key, state in zip(keys, states, strict=True)}
        changes = advance(
            keys, sights, now, self._settings, queue_life=self._queue_life, queued=frozenset(self._queued())
        )
        if changes:
            await asyncio.to_thread(self._ring.update, changes)
        for change in changes:
            if text := str(change):
                log.info("%s", text)
        return changes


async def sight(key: SigningKey, resolver: Resolver, ask_directly: Direct | None) -> str:
    """What the DNS shows of a key: ok only when our resolver and each of the zone's servers that answers show it."""
    seen, answer = await look(key, resolver)
    if seen.state != OK or answer is None or ask_directly is None:
        return seen.state
    name = answer.name or key.name  # a CNAME may have led to another zone
    servers = await _name_servers(name, resolver)
    states = await asyncio.gather(*(_at(key, name, ask_directly(address)) for address in servers))
    return next((state for state in (DIFFERS, MISSING) if state in states), OK)


async def _at(key: SigningKey, name: str, resolver: Resolver) -> str:
    try:
        answer = await resolver.ask("TXT", name)
    except DnsFailure:
        return UNKNOWN
    return compare(key, [txt(one) for one in answer.records]).state


async def _name_servers(name: str, resolver: Resolver) -> list[str]:
    """Addresses of the servers of the zone that holds a name; none when they cannot be found."""
    zone = name
    try:
        for _ in range(LABELS):
            zone = zone.partition(".")[2]
            if "." not in zone:
                return []
            if hosts := (await resolver.ask("NS", zone)).records:
                break
        else:
            return []
        found: list[str] = []
        for host in hosts[:NAME_SERVERS]:
            for kind in ("A", "AAAA"):
                found += (await resolver.ask(kind, host.rstrip("."))).records[:1]
        return found[:NAME_SERVERS]
    except DnsFailure:
        return []


def make_keys(
    ring: KeyRing, domain: str, selector: str = "", *, bits: int, ed25519: bool, hostname: str, now: float
) -> list[SigningKey]:
    """New keys of a domain: RSA, and Ed25519 beside it when wanted. Raises KeyFault."""
    taken = {key.selector for key in ring.all()}
    selector = selector or selector_for(hostname, now, taken)
    keys = [ring.new(domain, selector, algorithm=RSA, bits=bits)]
    if ed25519:
        keys.append(ring.new(domain, f"{selector}-ed25519"[-63:], algorithm=ED25519))
    return keys


def successor(ring: KeyRing, old: SigningKey, hostname: str, now: float, bits: int | None = None) -> SigningKey:
    """A new key of the same kind, at least as long unless `bits` says otherwise. Raises KeyFault."""
    taken = {key.selector for key in ring.all()}
    ending = "-ed25519" if old.algorithm == ED25519 else ""
    bits = bits or next((bits for bits in keyfile.NEW_BITS if bits >= old.bits), keyfile.NEW_BITS[-1])
    return ring.new(old.domain, selector_for(hostname, now, taken, ending), algorithm=old.algorithm, bits=bits)
