"""Keys that another signer has used: a PEM file, or all that a `dkimproxy_out.conf` names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from . import keyfile
from .keyfile import KeyFault
from .keys import KeyRing, SigningKey, checked_domain

CONF_BYTES = 1_048_576
KEYS = 200  # most in one file

_WORDS = re.compile(r"^\s*([A-Za-z_]+)\s+(.*?)\s*$")
_DKIM = re.compile(r"\bdkim\s*\(([^)]*)\)", re.IGNORECASE)


class Source(NamedTuple):
    """One key as another signer's configuration names it."""

    domain: str
    selector: str
    file: Path


def take(ring: KeyRing, source: Source) -> SigningKey:
    """Copy a key into the ring; the file stays. It is checked for privacy there, too. Raises KeyFault."""
    return ring.add(source.domain, source.selector, keyfile.read(source.file))


def is_conf(path: Path) -> bool:
    """Whether a file is a configuration and no key. Raises KeyFault."""
    return "-----BEGIN" not in _text(path)


def dkimproxy(path: Path) -> list[Source]:
    """The keys of a `dkimproxy_out.conf`: `domain`, `selector` and `keyfile`, or its `sender_map`. Raises KeyFault."""
    settings: dict[str, str] = {}
    for line in _text(path).splitlines():
        if found := _WORDS.match(line.partition("#")[0]):
            settings.setdefault(found[1].lower(), found[2])
    found_keys = list(_mapped(path, settings)) if "sender_map" in settings else []
    if "domain" in settings:
        missing = [name for name in ("selector", "keyfile") if name not in settings]
        if missing:
            raise KeyFault(f"{path} has a domain but no {' and no '.join(missing)}")
        file = path.parent / settings["keyfile"]
        domains = re.split(r"[,\s]+", settings["domain"])
        found_keys += [Source(checked_domain(name), settings["selector"], file) for name in domains if name]
    if not found_keys:
        raise KeyFault(f"{path} is no PEM key, and no dkimproxy_out.conf that names one")
    if len(found_keys) > KEYS:
        raise KeyFault(f"{path} names more than {KEYS} keys")
    return list(dict.fromkeys(found_keys))


def _mapped(path: Path, settings: dict[str, str]) -> Iterator[Source]:
    """`example.org  dkim(s=selector, key=/path, d=example.org), domainkeys(...)`: what is left out, the file says."""
    table = path.parent / settings["sender_map"]
    for line in _text(table).splitlines():
        pattern, _, rest = line.partition("#")[0].strip().replace("\t", " ").partition(" ")
        for signature in _DKIM.finditer(rest):
            options = dict(part.strip().split("=", 1) for part in signature[1].split(",") if "=" in part)
            domain = options.get("d", pattern.rpartition("@")[2].lstrip("."))
            selector = options.get("s", settings.get("selector", ""))
            file = options.get("key", settings.get("keyfile", ""))
            if not selector or not file:
                raise KeyFault(f"{table}: {pattern} has no selector or no key")
            yield Source(checked_domain(domain), selector, path.parent / file)


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            text = file.read(CONF_BYTES + 1)
    except OSError as error:
        raise KeyFault(f"{path}: {error.strerror}") from None
    if len(text) > CONF_BYTES:
        raise KeyFault(f"{path} is too long")
    return text.decode("utf-8", "replace")
