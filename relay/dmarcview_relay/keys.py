"""The DKIM keys of this host: `<domain>/<selector>.pem` with their life beside them in `keys.json`.

A key is new, published (seen in the DNS), signing, retiring (signs no more, its record must stay) or retired. The
first key of a domain signs at once: there is no older one to wait for. Files that changed are read again; when one of
them cannot be read, all stays as it was and `fault` says why.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dmarcview_smtp.alabels import a_labels
from dmarcview_smtp.files import sync_folder

from . import keyfile
from .keyfile import RSA, KeyFault, PrivateKey

NEW, PUBLISHED, SIGNING, RETIRING, RETIRED = STATES = ("new", "published", "signing", "retiring", "retired")
LIVES = "keys.json"
LOOK_SECONDS = 1.0  # so often at most the files are looked at
LIVES_BYTES = 1_048_576
KEYS = 1_000  # most in one folder

log = logging.getLogger(__name__)

_LIFE = ("state", "created", "since", "seen")  # what is kept of each key beside its file
_NAME = r"[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?"
_SELECTOR = re.compile(rf"{_NAME}(?:\.{_NAME})*")  # RFC 6376 section 3.1: labels of a host name
_DOMAIN = re.compile(rf"{_NAME}(?:\.{_NAME})+")


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One key and where it stands in its life. Times are seconds since 1970, 0 is never."""

    domain: str  # A-labels, lower case
    selector: str
    algorithm: str  # rsa or ed25519
    bits: int
    path: Path
    created: float
    state: str
    since: float = 0.0  # when it came into this state
    seen: float = 0.0  # since when the DNS has shown it, without a gap
    public: str = ""  # the p= of its record
    private: PrivateKey | None = field(default=None, repr=False, compare=False)

    @property
    def name(self) -> str:
        """The DNS name of its record (RFC 6376 section 3.6.2.1)."""
        return f"{self.selector}._domainkey.{self.domain}"

    @property
    def weak(self) -> bool:
        """An RSA key that receivers may not trust."""
        return self.algorithm == RSA and self.bits < keyfile.GOOD_BITS


class KeyRing:
    """All keys of a folder. One may be used by several threads; several processes may change the folder."""

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.time) -> None:
        self.folder = folder
        self.fault = ""  # why the last change of the files was not taken
        self._clock = clock
        self._looked = -LOOK_SECONDS
        self._print: tuple[Any, ...] | None = None
        self._keys: tuple[SigningKey, ...] = ()
        self._private: dict[tuple[Any, ...], PrivateKey] = {}  # by the stamp of the file
        self._choice: dict[str, tuple[SigningKey, ...]] = {}

    def all(self) -> tuple[SigningKey, ...]:
        """Every key, by domain and age."""
        self._look()
        return self._keys

    def signing(self, domain: str) -> tuple[SigningKey, ...]:
        """The keys that sign for a domain in A-labels, RSA first: its own, else those of its nearest parent."""
        self._look()
        name = domain.lower()
        while name:
            if found := self._choice.get(name):
                return found
            name = name.partition(".")[2]
        return ()

    def new(self, domain: str, selector: str, *, algorithm: str = RSA, bits: int = keyfile.GOOD_BITS) -> SigningKey:
        """Make a key. Raises KeyFault."""
        return self.add(domain, selector, keyfile.make(algorithm, bits))

    def add(self, domain: str, selector: str, private: PrivateKey) -> SigningKey:
        """Take a key that was made elsewhere. Raises KeyFault."""
        domain, selector = checked_domain(domain), checked_selector(selector)
        path = self.folder / domain / f"{selector}.pem"
        with self._changing() as lives:
            try:
                keyfile.write(path, private)
            except FileExistsError:
                raise KeyFault(f"{domain} has a key {selector} already; name another selector") from None
            except OSError as error:
                raise KeyFault(f"{path}: {error.strerror}") from None
            now = self._clock()
            key = _described(domain, selector, path, private, {"created": now, "since": now})
            lives[(domain, selector)] = _life(key)
        return key

    def update(self, steps: Iterable[tuple[SigningKey, SigningKey]]) -> None:
        """Write down keys as (before, after); what another process has moved meanwhile stays. Raises KeyFault."""
        with self._changing() as lives:
            for old, new in steps:
                if (lives.get((old.domain, old.selector)) or _life(old)) == _life(old):
                    lives[(new.domain, new.selector)] = _life(new)

    def refresh(self) -> None:
        """Look at the files now. Raises KeyFault when they cannot be taken; what was known stays."""
        self._looked = -LOOK_SECONDS
        self._look()
        if self.fault:
            raise KeyFault(self.fault)

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        try:
            files = self._files()
            seen = tuple(_stamp(path) for path in (self.folder / LIVES, *(path for _, _, path in files)))
            if seen == self._print and not self.fault:
                return
            keys = self._read(files)
        except (KeyFault, OSError) as error:
            if self.fault != str(error):
                log.error("the keys stay as they were: %s", error)
            self.fault = str(error)
            return
        self._keys, self._choice, self._print, self.fault = keys, choices(keys), seen, ""

    def _files(self) -> list[tuple[str, str, Path]]:
        found = [
            (path.parent.name, path.stem, path)
            for path in sorted(self.folder.glob("*/*.pem"))
            if _DOMAIN.fullmatch(path.parent.name) and _SELECTOR.fullmatch(path.stem)
        ]
        if len(found) > KEYS:
            raise KeyFault(f"{self.folder} holds more than {KEYS} keys")
        return found

    def _read(self, files: Iterable[tuple[str, str, Path]]) -> tuple[SigningKey, ...]:
        lives = _load(self.folder / LIVES)
        keys, private = [], {}
        for domain, selector, path in files:
            # A file that somebody put here has no life yet: it begins with the file.
            life = lives.get((domain, selector)) or {"created": path.stat().st_mtime}
            stamp = _stamp(path)
            private[stamp] = self._private.get(stamp) or keyfile.read(path)
            keys.append(_described(domain, selector, path, private[stamp], life))
        self._private = private
        return tuple(sorted(keys, key=lambda key: (key.domain, key.created, key.selector)))

    @contextmanager
    def _changing(self) -> Iterator[dict[tuple[str, str], dict[str, Any]]]:
        """The lives, to be changed; written whole when the block ends well. One process at a time."""
        try:
            keyfile.private_folder(self.folder)
            handle = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
            keyfile.give(handle, self.folder)
        except OSError as error:
            raise KeyFault(f"{self.folder}: {error.strerror}") from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            lives = _load(self.folder / LIVES)
            yield lives
            _save(self.folder / LIVES, lives)
        except OSError as error:
            raise KeyFault(f"{self.folder}: {error.strerror}") from None
        finally:
            os.close(handle)
            self._looked = -LOOK_SECONDS


def checked_domain(text: str) -> str:
    """A domain as the DNS writes it: A-labels, lower case. Raises KeyFault."""
    try:
        domain = a_labels(text.strip())
    except UnicodeError:
        raise KeyFault(f"{text!r} is no domain") from None
    if not _DOMAIN.fullmatch(domain) or len(domain) > 200:  # room for the selector in a name of 253
        raise KeyFault(f"{text!r} is no domain")
    return domain


def checked_selector(text: str) -> str:
    """A selector in lower case. Raises KeyFault."""
    selector = text.strip().lower()
    if not _SELECTOR.fullmatch(selector) or len(selector) > 63:
        raise KeyFault(f"{text!r} is no selector: letters, digits, hyphens and dots, at most 63")
    return selector


def choices(keys: Sequence[SigningKey]) -> dict[str, tuple[SigningKey, ...]]:
    """Who signs for each domain: the signing keys; where there is none yet, the newest one before that state."""
    chosen = {}
    for domain in {key.domain for key in keys}:
        own = [key for key in keys if key.domain == domain]
        signing = [key for key in own if key.state == SIGNING]
        if not signing:
            waiting = [key for key in own if key.state in (NEW, PUBLISHED)]
            # A published one before one that nobody has seen; RSA before Ed25519, which many cannot verify.
            signing = sorted(waiting, key=lambda key: (key.state == PUBLISHED, key.algorithm == RSA, key.created))[-1:]
        if signing:
            chosen[domain] = tuple(sorted(signing, key=lambda key: key.algorithm != RSA))
    return chosen


def _described(domain: str, selector: str, path: Path, private: PrivateKey, life: dict[str, Any]) -> SigningKey:
    created = _time(life.get("created"))
    return SigningKey(
        domain=domain,
        selector=selector,
        algorithm=keyfile.algorithm_of(private),
        bits=keyfile.bits_of(private),
        path=path,
        created=created,
        state=state if (state := life.get("state")) in STATES else NEW,
        since=_time(life.get("since")) or created,
        seen=_time(life.get("seen")),
        public=keyfile.public_of(private),
        private=private,
    )


def _time(value: object) -> float:
    return float(value) if isinstance(value, int | float) and 0 <= value < 1e11 else 0.0


def _life(key: SigningKey) -> dict[str, Any]:
    return {name: getattr(key, name) for name in _LIFE}


def _load(path: Path) -> dict[tuple[str, str], dict[str, Any]]:
    try:
        with path.open("rb") as file:
            text = file.read(LIVES_BYTES + 1)
    except FileNotFoundError:
        return {}
    try:
        if len(text) > LIVES_BYTES:
            raise ValueError
        return {
            (str(one["domain"]), str(one["selector"])): {name: one.get(name) for name in _LIFE}
            for one in json.loads(text)["keys"]
        }
    except (ValueError, TypeError, KeyError, RecursionError):
        raise KeyFault(f"{path} cannot be read; restore it, or move it away: all keys then begin as new") from None


def _save(path: Path, lives: dict[tuple[str, str], dict[str, Any]]) -> None:
    keys = [{**life, "domain": domain, "selector": selector} for (domain, selector), life in sorted(lives.items())]
    draft = path.with_suffix(".new")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        keyfile.give(file.fileno(), path.parent)
        json.dump({"keys": keys}, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync_folder(path.parent)


def _stamp(path: Path) -> tuple[Any, ...]:
    try:
        info = path.stat()
    except FileNotFoundError:
        return (str(path),)
    return (str(path), info.st_mtime_ns, info.st_size, info.st_ino, info.st_mode)


def moved(key: SigningKey, state: str, now: float) -> SigningKey:
    """The key in another state."""
    return replace(key, state=state, since=now)
