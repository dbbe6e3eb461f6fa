"""Changes to `users.json`: whole or not at all, one at a time, readable by nobody else."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .saslprep import PrepError, saslprep
from .users import VERSION, Table, User, UserError, UserRules, hashed, read

LONGEST_NAME = 255  # octets, RFC 4616 section 2
SHORTEST_PASSWORD = 8
PRIVATE = 0o600
_KEPT_MODE = 0o640  # bits of a present file that a new one keeps


class UserFile:
    """The file as an administrator changes it. Every method raises UserError when it cannot."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def users(self) -> list[User]:
        """All of them, by name."""
        return sorted(self._read().users.values(), key=lambda user: user.name)

    def add(self, name: str, password: str | None, rules: UserRules) -> str:
        """A new user; None is one that has only a client certificate. Gives the name as it is kept."""
        name = checked_name(name)
        secret = None if password is None else hashed(checked_password(password))

        def change(users: dict[str, User]) -> None:
            if name in users:
                raise UserError(f"{name} is there already; `dmarcview user passwd {name}` sets another password")
            users[name] = User(name, secret, rules)

        self._change(change)
        return name

    def set_password(self, name: str, password: str) -> None:
        """Another password; the rules stay."""
        secret = hashed(checked_password(password))

        def change(users: dict[str, User]) -> None:
            users[name] = User(name, secret, _known(users, name).rules)

        self._change(change)

    def set_rules(self, name: str, rules: UserRules) -> None:
        """Other rules; the password stays."""

        def change(users: dict[str, User]) -> None:
            users[name] = User(name, _known(users, name).password, rules)

        self._change(change)

    def remove(self, name: str) -> None:
        """Let nobody in by this name."""

        def change(users: dict[str, User]) -> None:
            _known(users, name)
            del users[name]

        self._change(change)

    def _read(self) -> Table:
        if not self._path.exists():
            return Table(secrets.token_bytes(32), {})
        return read(self._path)

    def _change(self, change: Callable[[dict[str, User]], None]) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with _alone(self._path.parent) as folder:
                table = self._read()
                change(table.users)
                self._write(table, folder)
        except OSError as error:
            raise UserError(f"{self._path}: {error.strerror}") from None

    def _write(self, table: Table, folder: int) -> None:
        users = {name: _entry(user) for name, user in table.users.items()}
        tree = {"version": VERSION, "seed": _text(table.seed), "users": users}
        whole = json.dumps(tree, indent=1, ensure_ascii=False).encode()
        mode, owner, group = PRIVATE, -1, -1
        try:
            state = self._path.stat()
            mode, owner, group = state.st_mode & _KEPT_MODE | PRIVATE, state.st_uid, state.st_gid
        except FileNotFoundError:
            state = self._path.parent.stat()
            owner, group = state.st_uid, state.st_gid
        temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        temporary.unlink(missing_ok=True)
        try:
            with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE), "wb") as file:
                if os.geteuid() == 0:  # the relay, which runs as the folder's owner, must be able to read it
                    os.fchown(file.fileno(), owner, group)
                os.fchmod(file.fileno(), mode)
                file.write(whole)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._path)
            os.fsync(folder)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[int]:
    """Hold the folder for one writer; the lock ends with the process. Gives its descriptor."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def checked_name(name: str) -> str:
    """A name that every mechanism can carry. Raises UserError."""
    try:
        prepared = saslprep(name, stored=True)
    except PrepError as error:
        raise UserError(f"the name cannot be used: {error}") from None
    if len(prepared.encode()) > LONGEST_NAME or any(char.isspace() for char in prepared):
        raise UserError(f"a name has no blanks and at most {LONGEST_NAME} octets")
    return prepared


def checked_password(password: str) -> str:
    """A password in the one spelling that is hashed. Raises UserError."""
    try:
        prepared = saslprep(password, stored=True)
    except PrepError as error:
        raise UserError(f"the password cannot be used: {error}") from None
    if len(prepared) < SHORTEST_PASSWORD:
        raise UserError(f"a password has {SHORTEST_PASSWORD} characters or more")
    return prepared


def _known(users: dict[str, User], name: str) -> User:
    if name not in users:
        raise UserError(f"no user {name}; `dmarcview user list` shows them")
    return users[name]


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _entry(user: User) -> dict[str, Any]:
    entry: dict[str, Any] = {}
    if user.password is not None:
        one, two = user.password
        entry["scrypt"] = {
            "n": one.cost, "r": one.block, "p": one.parallel, "salt": _text(one.salt), "key": _text(one.key),
        }  # fmt: skip
        entry["scram-sha-256"] = {
            "iterations": two.iterations, "salt": _text(two.salt), "stored": _text(two.stored),
            "server": _text(two.server),
        }  # fmt: skip
    for key in ("senders", "froms", "recipients"):
        if words := getattr(user.rules, key):
            entry[key] = list(words)
    if user.rules.rate:
        entry["rate"] = user.rules.rate
    return entry
