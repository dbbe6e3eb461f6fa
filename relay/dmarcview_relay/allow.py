"""Allow lists: which addresses may be used. Nothing is allowed that is not listed.

A pattern is an address (`a@example.org`), a domain with its at sign (`@example.org`), `*` for everything, or the path
of a file with one of these a line. Files are read again when they change: whole, or the old lines stay.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from dmarcview_smtp.address import Address, AddressError, read_address

log = logging.getLogger(__name__)

FILE_BYTES = 4_000_000  # largest file of patterns
EVERYBODY = "*"
ROUTING = frozenset("@%!")  # in a local part they may send a mail on to somebody else (RFC 5321 appendix F.2)

_COMMENT = re.compile(r"(?:^|\s)#.*")

_Print = tuple[int, int, int]


class AllowError(ValueError):
    """A pattern or a file of patterns cannot be used; the text says which and why."""


class _Names(NamedTuple):
    """Patterns, ready for comparison."""

    addresses: frozenset[tuple[str, str]]
    domains: frozenset[str]
    everybody: bool

    def hold(self, key: tuple[str, str]) -> bool:
        local, domain = key
        if self.everybody or key in self.addresses:
            return True
        return domain in self.domains and ROUTING.isdisjoint(local)


class AllowList:
    """Some patterns. A `@domain` does not cover local parts that hold `@`, `%` or `!`: list those whole."""

    def __init__(self, patterns: Sequence[str]) -> None:
        """Raises AllowError for the first pattern or file that cannot be used."""
        self.patterns = tuple(patterns)
        self._names = _read_patterns(("", text) for text in patterns if not is_file(text))
        self._files = [_File(Path(text)) for text in patterns if is_file(text)]

    def __bool__(self) -> bool:
        """Whether anything was listed."""
        return bool(self.patterns)

    def allows(self, address: Address) -> bool:
        """Whether a pattern covers the address. Letters in ASCII have no case here, domains compare by A-labels."""
        key = _key(address)
        return self._names.hold(key) or any(file.current().hold(key) for file in self._files)


def is_file(pattern: str) -> bool:
    """Whether a pattern is the path of a file: it begins like one, or holds no at sign."""
    return pattern.startswith(("/", "./", "../")) or ("@" not in pattern and pattern != EVERYBODY)


def faults(patterns: Iterable[str]) -> list[str]:
    """Every pattern that cannot be used, one sentence each. Files are opened."""
    found = []
    for text in patterns:
        try:
            AllowList((text,))
        except AllowError as error:
            found.append(str(error))
    return found


class _File:
    """One file of patterns as it was when it could last be read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._print, self._names = _read_file(path)
        except (OSError, AllowError) as error:
            raise AllowError(_reason(path, error)) from None

    def current(self) -> _Names:
        """The patterns; looks at the file each time, which costs one stat call."""
        try:
            print_ = _fingerprint(self._path.stat())
        except OSError:
            print_ = (0, 0, 0)
        if print_ != self._print:
            try:
                self._print, self._names = _read_file(self._path)
            except (OSError, AllowError) as error:
                self._print = print_
                log.error("not taken, the old list stays: %s", _reason(self._path, error))
            else:
                log.info("%s read again", self._path)
        return self._names


def _read_file(path: Path) -> tuple[_Print, _Names]:
    with path.open("rb") as file:
        before = _fingerprint(os.fstat(file.fileno()))
        data = file.read(FILE_BYTES + 1)
        if _fingerprint(os.fstat(file.fileno())) != before:
            raise AllowError("the file changes while it is read")
    if len(data) > FILE_BYTES:
        raise AllowError(f"the file is larger than {FILE_BYTES} bytes")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise AllowError("the file is not UTF-8") from None
    lines = ((at, _COMMENT.sub("", line).strip()) for at, line in enumerate(text.split("\n"), 1))
    return before, _read_patterns((f"line {at}: ", pattern) for at, pattern in lines if pattern)


def _read_patterns(patterns: Iterable[tuple[str, str]]) -> _Names:
    """From pairs of where a pattern stands, for people, and the pattern."""
    addresses, domains, everybody = set(), set(), False
    for where, text in patterns:
        try:
            if text == EVERYBODY:
                everybody = True
            elif text.startswith("@"):
                domains.add(read_address(f"x{text}").ascii_domain)
            elif EVERYBODY in text:  # an address may hold it, but who writes it means something else
                raise AddressError(f"for a whole domain write @{text.rpartition('@')[2]}")
            else:
                addresses.add(_key(read_address(text)))
        except AddressError as error:
            raise AllowError(f"{where}{text!r} is no address and no @domain: {error}") from None
    return _Names(frozenset(addresses), frozenset(domains), everybody)


def _key(address: Address) -> tuple[str, str]:
    return address.folded_local, address.ascii_domain


def _fingerprint(state: os.stat_result) -> _Print:
    return state.st_mtime_ns, state.st_size, state.st_ino


def _reason(path: Path, error: Exception) -> str:
    hint = f"; if a domain is meant, write @{path.name}" if isinstance(error, FileNotFoundError) and path.suffix else ""
    return f"{path}: {error.strerror if isinstance(error, OSError) else error}{hint}"
