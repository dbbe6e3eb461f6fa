"""The relay as a whole: front door, policy, signer, queue and delivery in one process and one event loop."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from dmarcview_smtp.connection import Connection
from dmarcview_smtp.entrance import Entrance
from dmarcview_smtp.settings import Listener
from dmarcview_smtp.site import Site
from dmarcview_smtp.tls import Certificate

from .accept import RelayPolicy
from .allow import AllowError
from .auth import Guard
from .bounce import Author
from .deliver import Courier
from .dkimdns import HOLD, KeyWatch, held_for
from .dns import Resolver, SystemResolver
from .door import RelayDoor
from .drop import Drop
from .keeper import Keeper
from .keyfile import KeyFault
from .keys import KeyRing, SigningKey
from .queue import Queue, QueueError
from .returns import Returns
from .routes import RouteError, target
from .sentlog import prune
from .settings import DAY, HOUR, RelayListener, RelaySettings
from .sign import Signer
from .sts import MtaSts
from .users import UserError, Users
from .worker import Worker

log = logging.getLogger(__name__)

LOCK_SECONDS = 5.0  # how long a relay that ends may take to let go of the folder
AGAIN_SECONDS = 5.0  # after a fault of ours ended a part of the relay
UNSHIPPED_DAYS = 30  # so long a row of the sent log waits for a house that takes it
PRUNE_SECONDS = float(HOUR)
HELD_SECONDS = 30.0  # between two looks whether a held mail's key is in the DNS now


class RelayError(Exception):
    """The relay cannot run so; the text says why."""


class Relay:
    """The service. `start` listens and delivers, `stop` ends it gracefully, `reload` swaps the settings.

    counters["accepted"] counts mails, counters["bytes"] their bytes; every other key is a reason for a refusal.
    """

    def __init__(
        self,
        settings: RelaySettings,
        folder: Path,
        resolver: Resolver | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`folder` holds queue, keys and users of this relay; one process at a time serves it."""
        self.settings = settings
        self.counters: Counter[str] = Counter()
        self.listening: list[tuple[str, int]] = []  # address and port, or (path, 0), of each listener
        self.hostname = settings.hostname or socket.getfqdn()
        self._folder = folder
        self._resolver = resolver or SystemResolver(dnssec=settings.delivery.dnssec)
        self._clock = clock
        self._open = ExitStack()  # what is to be closed at the end, the lock last
        self._tasks: list[asyncio.Task[None]] = []
        self._keeping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen, and deliver what waits. Raises RelayError, OSError; nothing runs then."""
        lock = await _locked(self._folder)
        self._open.callback(os.close, lock)
        try:
            self._assemble()
            await self._listen()
        except BaseException:
            self._open.close()
            raise
        works = {"delivery": self.worker.run, "held mails": self._free_held, "drop": self._drop.run, "log": self._prune}
        self._tasks = [asyncio.create_task(_always(name, work)) for name, work in works.items()]
        self._keep()
        for host, port in self.listening:
            log.info("listening on %s", f"{host} port {port}" if port else host)

    def _assemble(self) -> None:
        """Raises RelayError."""
        settings, folder = self.settings, self._folder
        _check_routes(settings)
        try:
            days = settings.queue.suppress_days
            self.queue = Queue(folder, reserve=settings.queue.reserve_bytes, clock=self._clock, suppress=days * DAY)
            self._open.callback(self.queue.close)
            self._users = Users(folder / "users.json")
            self._guard = Guard(settings, self._users)
            self._open.callback(self._guard.close)
            self.keys = KeyRing(folder / "keys", clock=self._clock)
            self.keys.refresh()
        except (QueueError, UserError, KeyFault, OSError, ValueError) as error:
            raise RelayError(str(error)) from None
        self._signer = Signer(self.keys, clock=self._clock)
        self._watch = KeyWatch(self._resolver, settings.keys.check_seconds)
        sts = MtaSts(self._resolver, folder / "mta-sts", self._clock)
        self._courier = Courier(settings, self.hostname, self._resolver, lambda: self.listening, self._clock, sts=sts)
        self.worker = Worker(
            settings,
            self.queue,
            self._courier,
            returns=self._returns(settings),
            logged=lambda ticket: self.queue.logged(ticket.recipient.address, plain=self.settings.plain_recipients),
            clock=self._clock,
        )
        try:
            self._policy = RelayPolicy(
                settings,
                self.hostname,
                self._signer,
                self.queue,
                self.worker.add,
                self._clock,
                self.counters,
                users=self._users,
                key_hold=self._key_hold,
            )
        except (AllowError, ValueError) as error:
            raise RelayError(str(error)) from None

        self._drop = Drop(
            folder / "drop",
            self._policy,
            settings.limits,
            self.hostname,
            expire_seconds=settings.queue.expire_hours * HOUR,
            clock=self._clock,
        )

    async def _listen(self) -> None:
        settings = self.settings
        spill = self._folder / "tmp"
        spill.mkdir(mode=0o700, exist_ok=True)
        self._entrance = Entrance(
            self._policy,
            settings.limits,
            hostname=self.hostname,
            certificate=_certificates(settings),
            spill=spill,
            door=self._door,
        )
        try:
            for listener in settings.listeners:
                self.listening.append(await self._entrance.open(listener))
        except (OSError, ValueError, ssl.SSLError) as error:
            await self._entrance.close(0)
            self.listening.clear()
            raise RelayError(f"cannot listen: {error}") from None

    def _door(self, site: Site) -> Connection:
        return RelayDoor(site, self._guard)

    def _returns(self, settings: RelaySettings) -> Returns:
        return Returns(self._signer, Author(self.hostname, settings.queue.postmaster), settings.queue)

    def _keep(self) -> None:
        """See to the keys by the settings of this moment."""
        settings = self.settings
        if self._keeping is not None:
            self._keeping.cancel()
            self._keeping = None
        if settings.keys.check == "off" and not settings.keys.rotate_days:
            return
        keeper = Keeper(
            self.keys,
            self._resolver,
            settings.keys,
            hostname=self.hostname,
            queue_life=settings.queue.expire_hours * HOUR,
            queued=self.queue.signatures,
            clock=self._clock,
        )
        work = _always("keys", lambda: keeper.run(lambda _: self._watch.forget()))
        self._keeping = asyncio.create_task(work)

    async def stop(self) -> None:
        """Take no more, finish what is under way, close the queue."""
        grace = self.settings.stop_seconds
        await self._entrance.close(grace)
        await self.worker.stop(grace)
        tasks = [*self._tasks, *([self._keeping] if self._keeping else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.listening.clear()
        await asyncio.to_thread(self._open.close)

    async def reload(self, settings: RelaySettings) -> None:
        """Use these settings from now on; no connection is dropped. Raises RelayError, and then the old ones stay."""
        before = self.settings
        if (settings.hostname or socket.getfqdn()) != self.hostname:
            raise RelayError("the host's name cannot change while the relay runs: start it again")
        _check_routes(settings)
        try:
            rules, recognisers = self._policy.rules(settings), self._guard.recognisers(settings)
            self.listening = await self._entrance.change(settings.listeners, settings.limits, _certificates(settings))
        except (AllowError, ValueError, OSError) as error:
            raise RelayError(str(error)) from None
        self.settings = settings
        self._policy.use(rules)
        self._guard.renew(settings, recognisers)
        self._courier.settings = settings
        self._drop.limits = settings.limits
        self._drop.expire_seconds = settings.queue.expire_hours * HOUR
        self.queue.reserve, self.queue.suppress = settings.queue.reserve_bytes, settings.queue.suppress_days * DAY
        self._watch.seconds = settings.keys.check_seconds
        self.worker.reroute(settings, self._returns(settings))
        if (before.keys, before.queue.expire_hours) != (settings.keys, settings.queue.expire_hours):
            self._keep()

    # keys that the DNS does not show

    async def _key_hold(self, dkim: Sequence[tuple[str, str]]) -> str:
        return await self._watch.hold(self._signed_with(dkim))

    def _signed_with(self, dkim: Sequence[tuple[str, str]]) -> list[SigningKey]:
        by_name = {(key.domain, key.selector): key for key in self.keys.all()}
        return [by_name[name] for name in dkim if name in by_name]

    async def _free_held(self) -> None:
        """Let mails go whose key the DNS shows now."""
        while True:
            await asyncio.sleep(HELD_SECONDS)
            try:
                await self.free_held()
            except QueueError as error:
                log.error("held mails stay: %s", error)

    async def _prune(self) -> None:
        """Let old rows of the sent log go that no house has taken, so that the queue's file does not grow for ever."""
        while True:
            try:
                await asyncio.to_thread(prune, self._folder, self._clock() - UNSHIPPED_DAYS * DAY)
            except QueueError as error:
                log.error("the sent log is not pruned: %s", error)
            await asyncio.sleep(PRUNE_SECONDS)

    async def free_held(self) -> int:
        """Look once; how many mails were freed. Raises QueueError."""
        if not self.queue.count()["held"]:
            return 0
        if self.settings.keys.check != "hold":
            return self._freed(await self.queue.release(HOLD), "keys are not checked any more")
        freed = 0
        for key in self.keys.all():
            if not await self._watch.hold([key]):
                freed += self._freed(await self.queue.release(held_for(key)), f"{key.name} is in the DNS")
        return freed

    def _freed(self, found: Sequence[Any], why: str) -> int:
        if found:
            log.info("%d held mails leave: %s", len(found), why)
        for queued in found:
            self.worker.add(queued)
        return len(found)


async def _always(name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Keep a part of the relay going: a fault of ours that ends it is logged whole, and it begins again."""
    while True:
        try:
            await work()
            return
        except Exception:
            log.exception("%s: ended by a fault, begins again in %g s", name, AGAIN_SECONDS)
        await asyncio.sleep(AGAIN_SECONDS)


def _check_routes(settings: RelaySettings) -> None:
    """Raises RelayError for a route that cannot be understood."""
    try:
        for route in settings.routes:
            if route.to != "mx":
                target(route.to)
    except RouteError as error:
        raise RelayError(str(error)) from None


async def _locked(folder: Path) -> int:
    """The lock of the folder, as an open file: it ends with the process. One that is just dying is waited for."""
    try:
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)  # noqa: ASYNC240 (once, before anything runs)
        handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError as error:
        raise RelayError(f"cannot use {folder}: {error.strerror}") from None
    end = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return handle
        except BlockingIOError:
            if time.monotonic() > end:
                os.close(handle)
                raise RelayError(f"another relay serves {folder} already") from None
        await asyncio.sleep(0.02)


def _certificates(settings: RelaySettings) -> Callable[[Listener], Certificate | None]:
    """The certificate of each listener: one pair of files for all, with the CA of its own clients."""
    made: dict[str, Certificate] = {}

    def certificate(listener: Listener) -> Certificate | None:
        if listener.mode == "plain" or not settings.certificate:
            return None
        assert isinstance(listener, RelayListener)
        if listener.client_ca not in made:
            ca = Path(listener.client_ca) if listener.client_ca else None
            made[listener.client_ca] = Certificate(Path(settings.certificate), Path(settings.key), ca)
        return made[listener.client_ca]

    return certificate
