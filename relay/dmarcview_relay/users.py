"""Who may log in: `users.json`, with hashed passwords and with what each user may send.

The file is read again when it changes; a file that cannot be used leaves the old users in force.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from . import scram

log = logging.getLogger(__name__)

LARGEST_FILE = 16_000_000  # bytes
COST, BLOCK, PARALLEL = 2**15, 8, 1  # scrypt: 32 MiB and 60 to 100 ms for each guess
HIGHEST_COST = 2**20
KEY_BYTES = 32
VERSION = 1

_Print = tuple[int, int, int]


class UserError(Exception):
    """The file of users cannot be read or written; the text says why."""


class UserRules(NamedTuple):
    """What one user may send. An empty list is the general one; a filled one narrows it and never widens it."""

    senders: tuple[str, ...] = ()
    froms: tuple[str, ...] = ()
    recipients: tuple[str, ...] = ()
    rate: int = 0  # recipients by the hour; 0 is the general limit


class Hash(NamedTuple):
    """A password as scrypt leaves it (RFC 7914)."""

    salt: bytes
    cost: int
    block: int
    parallel: int
    key: bytes

    def fits(self, password: str) -> bool:
        """Whether it is this password, in a time that does not depend on the answer. Blocks for some 80 ms."""
        made = _scrypt(password, self.salt, self.cost, self.block, self.parallel)
        return hmac.compare_digest(made, self.key)


class Password(NamedTuple):
    """The two things that are kept of a password."""

    hash: Hash
    scram: scram.Keys


@dataclass(frozen=True, slots=True)
class User:
    """One user. Without a password only a client certificate lets it in."""

    name: str
    password: Password | None
    rules: UserRules


class Table(NamedTuple):
    """The whole file. `seed` makes what unknown names are answered with."""

    seed: bytes
    users: dict[str, User]


def _scrypt(password: str, salt: bytes, cost: int, block: int, parallel: int) -> bytes:
    room = 128 * block * (cost + parallel + 2) + 1_048_576
    return hashlib.scrypt(password.encode(), salt=salt, n=cost, r=block, p=parallel, maxmem=room, dklen=KEY_BYTES)


def hashed(password: str) -> Password:
    """What is kept of a password that went through saslprep. Takes some 100 ms."""
    salt = secrets.token_bytes(16)
    key = _scrypt(password, salt, COST, BLOCK, PARALLEL)
    return Password(Hash(salt, COST, BLOCK, PARALLEL, key), scram.derive(password))


def made_up(name: str, seed: bytes) -> Password:
    """A password record for a name that nobody has: the same work, and nothing fits."""
    salt = hmac.digest(seed, b"scrypt:" + name.encode(), "sha256")[:16]
    return Password(Hash(salt, COST, BLOCK, PARALLEL, secrets.token_bytes(KEY_BYTES)), scram.made_up(name, seed))


class Users:
    """The users of a running relay. A missing file is no users."""

    def __init__(self, path: Path) -> None:
        """Raises UserError when the file is there and cannot be used."""
        self._path = path
        self._print = _fingerprint(path)
        self._table = read(path) if self._print else Table(secrets.token_bytes(32), {})

    def _current(self) -> Table:
        now = _fingerprint(self._path)
        if now != self._print:
            self._print = now
            try:
                self._table = read(self._path)
            except UserError as error:
                log.error("%s; the old users stay", error)
            else:
                log.info("%s read again: %d users", self._path, len(self._table.users))
        return self._table

    def find(self, name: str) -> User | None:
        """The user of this very name."""
        return self._current().users.get(name)

    def password(self, name: str) -> Password:
        """What to check a password against; for names without one a record that nothing fits."""
        table = self._current()
        user = table.users.get(name)
        return user.password if user and user.password else made_up(name, table.seed)

    def rules(self, name: str) -> UserRules:
        """What this user may send; the general rules for a name that is gone."""
        user = self.find(name)
        return user.rules if user else UserRules()

    def __len__(self) -> int:
        return len(self._current().users)


def _fingerprint(path: Path) -> _Print | None:
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_mtime_ns, state.st_size, state.st_ino


def read(path: Path) -> Table:
    """The file as values. Raises UserError."""
    try:
        if path.stat().st_mode & 0o007:
            raise UserError(f"{path}: others may use it; chmod 640")
        with path.open("rb") as file:
            raw = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    if len(raw) > LARGEST_FILE:
        raise UserError(f"{path}: too large")
    try:
        tree = json.loads(raw)
        if tree["version"] != VERSION:
            raise UserError(f"{path}: of another version of dmarcview")
        users = {name: _user(name, entry) for name, entry in tree["users"].items()}
        return Table(_bytes(tree["seed"]), users)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UserError(f"{path}: {type(error).__name__}: {error}") from None


def _bytes(text: Any) -> bytes:
    raw = base64.b64decode(text, validate=True)
    if not 8 <= len(raw) <= 64:
        raise ValueError("bytes of a wrong length")
    return raw


def _whole(value: Any, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{value!r} is not a whole number from {least} to {most}")
    return value


def _user(name: str, entry: dict[str, Any]) -> User:
    lists = []
    for key in ("senders", "froms", "recipients"):
        words = entry.get(key, [])
        if type(words) is not list or not all(type(word) is str for word in words):
            raise ValueError(f"{name}: {key} is not a list of words")
        lists.append(tuple(words))
    rules = UserRules(lists[0], lists[1], lists[2], _whole(entry.get("rate", 0), 0, 2**31))
    if "scrypt" not in entry:
        return User(name, None, rules)
    one, two = entry["scrypt"], entry["scram-sha-256"]
    cost = _whole(one["n"], 2, HIGHEST_COST)
    if cost & (cost - 1):
        raise ValueError(f"{name}: n of scrypt is no power of two")
    block, parallel = _whole(one["r"], 1, 32), _whole(one["p"], 1, 16)
    keys = scram.Keys(
        _bytes(two["salt"]),
        _whole(two["iterations"], 1, scram.MOST_ITERATIONS),
        _bytes(two["stored"]),
        _bytes(two["server"]),
    )
    return User(name, Password(Hash(_bytes(one["salt"]), cost, block, parallel, _bytes(one["key"])), keys), rules)
