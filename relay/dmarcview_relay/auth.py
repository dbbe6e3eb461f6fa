"""Logins: PLAIN (RFC 4616), LOGIN, SCRAM-SHA-256 (RFC 7677), EXTERNAL (RFC 4422 appendix A), and who may try.

Whatever was wrong, name or password, the answer and its time are the same. Passwords are never logged; names only when
they are those of users, since people type passwords there.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import secrets
import ssl
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from . import scram
from .certificates import Recogniser
from .lockout import Lockout
from .saslprep import PrepError, saslprep
from .scram import Exchange, ScramError
from .settings import Login, RelaySettings
from .users import Hash, Users

log = logging.getLogger(__name__)

HASHERS = 2  # threads, of 32 MiB each while they hash
WAITING = 200  # checks that may wait for a thread; more are told to come again
PROVED = 1_000  # users whose last good password is known again without the costly hash

Ask = Callable[[bytes], Awaitable[bytes]]  # sends a challenge, gives the client's response


class Malformed(Exception):
    """The client's response is not what the mechanism says."""


class Verdict(Enum):
    """How a login ended."""

    GOOD = "good"
    WRONG = "wrong"
    LOCKED = "locked out"
    BUSY = "busy"


class Outcome(NamedTuple):
    """How a login ended, and whose it was when it was good. `last` goes to the client with the success, if any."""

    verdict: Verdict
    user: str = ""
    last: bytes = b""


class Guard:
    """Checks logins for all connections. Passwords are hashed in a few threads, so that no mail waits for them."""

    def __init__(self, settings: RelaySettings, users: Users, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds and never goes back. Raises OSError or ValueError for a bad file of CAs."""
        self.users = users
        self.lockout = Lockout(settings.login, clock)
        self._recognisers = self.recognisers(settings)
        self._pool = ThreadPoolExecutor(HASHERS, "password")
        self._slots = asyncio.Semaphore(HASHERS)  # held until a guess is counted: the next one in the line sees it
        self._waiting, self._closed = 0, False
        self._checks: set[asyncio.Task[Outcome]] = set()
        self._secret = secrets.token_bytes(32)
        self._proved: OrderedDict[str, bytes] = OrderedDict()

    @property
    def login(self) -> Login:
        """The settings of logins."""
        return self.lockout.login

    def renew(self, settings: RelaySettings, recognisers: dict[str, Recogniser]) -> None:
        """Take other settings, with what `recognisers` made of them; who is locked out stays so."""
        self._recognisers = recognisers
        self.lockout.login = settings.login

    def recognisers(self, settings: RelaySettings) -> dict[str, Recogniser]:
        """Who knows the clients of each file of CAs. Raises OSError or ValueError for a bad one."""
        names = {listener.client_ca for listener in settings.listeners if listener.client_ca}
        return {name: Recogniser(self.users, settings.certificates, Path(name)) for name in names}

    def by_certificate(self, client_ca: str, tls: ssl.SSLObject) -> str:
        """The user whose certificate this client has shown on a listener with these CAs; "" for none."""
        recogniser = self._recognisers.get(client_ca)
        return recogniser.user(tls) if recogniser else ""

    def close(self) -> None:
        """Take no more; called when no connection is left."""
        self._closed = True
        self._pool.shutdown(wait=True, cancel_futures=True)

    async def password(self, address: str, name: str, password: str) -> Outcome:
        """Check a name and password. It goes on when the client leaves, so that each guess is counted."""
        if self._waiting >= WAITING:
            return Outcome(Verdict.BUSY)
        task = asyncio.create_task(self._check(address, name, password))
        self._checks.add(task)
        task.add_done_callback(self._checks.discard)
        return await asyncio.shield(task)

    async def _check(self, address: str, name: str, password: str) -> Outcome:
        try:
            name = saslprep(name)
            password = saslprep(password)
        except PrepError:
            password = ""  # fits nothing, and takes as long
        if self.lockout.locked(address, name):
            return Outcome(Verdict.LOCKED)
        kept = self.users.password(name).hash
        if self._is_proved(name, password, kept):
            return self.settle(address, name, good=True)
        self._waiting += 1
        try:
            async with self._slots:
                return await self._hashed(address, name, password, kept)
        finally:
            self._waiting -= 1

    async def _hashed(self, address: str, name: str, password: str, kept: Hash) -> Outcome:
        if self._closed:
            return Outcome(Verdict.BUSY)
        if self.lockout.locked(address, name):  # by the guesses that were before this one in the line
            return Outcome(Verdict.LOCKED)
        fits = await asyncio.get_running_loop().run_in_executor(self._pool, kept.fits, password)
        user = self.users.find(name)
        good = bool(fits and password and user and user.password and user.password.hash == kept)
        if good:
            self._prove(name, password, kept)
        return self.settle(address, name, good=good)

    def settle(self, address: str, name: str, *, good: bool) -> Outcome:
        """Count how a try ended, and say it in the log."""
        if good:
            self.lockout.passed(address, name)
            return Outcome(Verdict.GOOD, name)
        self.lockout.failed(address, name)
        known = f"user {name}" if self.users.find(name) else "an unknown user"
        log.warning("login failed: client %s, %s", address or "on this machine", known)
        return Outcome(Verdict.WRONG)

    # a password that was good is known again by a keyed hash under a secret of this process

    def _mark(self, password: str, kept: Hash) -> bytes:
        return hmac.digest(self._secret, kept.key + hashlib.sha256(password.encode()).digest(), "sha256")

    def _is_proved(self, name: str, password: str, kept: Hash) -> bool:
        proved = self._proved.get(name, b"")
        return bool(password) and hmac.compare_digest(proved, self._mark(password, kept))

    def _prove(self, name: str, password: str, kept: Hash) -> None:
        self._proved[name] = self._mark(password, kept)
        if len(self._proved) > PROVED:
            self._proved.popitem(last=False)


async def plain(guard: Guard, address: str, initial: bytes | None, ask: Ask) -> Outcome:
    """PLAIN: `[authorisation] NUL name NUL password`. Raises Malformed."""
    message = await ask(b"") if initial is None else initial
    parts = message.split(b"\0")
    if len(parts) != 3:
        raise Malformed
    other, name, password = map(_text, parts)
    if not name or not password or other not in ("", name):  # nobody may act for another
        raise Malformed
    return await guard.password(address, name, password)


async def login(guard: Guard, address: str, initial: bytes | None, ask: Ask) -> Outcome:
    """LOGIN, which no RFC describes: the name, then the password. Raises Malformed."""
    name = _text(await ask(b"Username:") if initial is None else initial)
    password = _text(await ask(b"Password:"))
    if not name or not password:
        raise Malformed
    return await guard.password(address, name, password)


async def scram_sha_256(guard: Guard, address: str, initial: bytes | None, ask: Ask) -> Outcome:
    """SCRAM-SHA-256. Raises Malformed."""
    try:
        exchange = Exchange(await ask(b"") if initial is None else initial)
        name = _text(exchange.name.encode())
        if guard.lockout.locked(address, name):
            return Outcome(Verdict.LOCKED)
        kept = guard.users.password(name)
        final = await ask(exchange.challenge(kept.scram))
        if guard.lockout.locked(address, name):  # by tries in other connections meanwhile
            return Outcome(Verdict.LOCKED)
        proof = exchange.judge(final)
    except ScramError:
        raise Malformed from None
    user = guard.users.find(name)
    good = bool(proof and user and user.password and user.password.scram == kept.scram)
    return guard.settle(address, name, good=good)._replace(last=proof if good and proof else b"")


MECHANISMS = {"PLAIN": plain, "LOGIN": login, scram.NAME: scram_sha_256}


def _text(raw: bytes) -> str:
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise Malformed from None
    if "\0" in text:
        raise Malformed
    return text
