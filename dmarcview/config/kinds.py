"""What a text in the settings may be: addresses, networks, domains, mailboxes, routes, each brought to one form."""

from __future__ import annotations

import ipaddress
import re
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from urllib.parse import unquote, urlsplit

from dmarcview_smtp.address import AddressError, read_address
from dmarcview_smtp.alabels import a_labels

_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_MAILBOX = re.compile(r"[^\s@\x00-\x1f\x7f<>,;:\"()\[\]\\]{1,64}@([^\s@]+)")
_CHANNEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")
OWN_CHANNELS = ("mail", "webhook")  # of alerts
_PATH_STARTS = ("/", "./", "../", "~")
ROUTE_PORTS: Mapping[str, int] = MappingProxyType({"smtp": 25, "smtps": 465, "lmtp": 24})


class Bad(ValueError):
    """One value that does not fit; the reader adds key and line."""


def check(kind: str, text: str, base: Path | None) -> str:
    """A text as a value of this kind, in its one form; a relative path starts at `base`. Raises Bad."""
    if kind == "path":
        return path(text, base)
    if kind == "senders" and is_path(text):
        return path(text, base)
    return _KINDS[kind](text)


def path(text: str, base: Path | None) -> str:
    """A path of the file is relative to the file; `~` is the user's home."""
    found = Path(text).expanduser()
    return str(found if base is None or found.is_absolute() else base / found)


def domain(text: str) -> str:
    """A domain in lower case, international names in their ASCII form; raises Bad."""
    try:
        name = a_labels(text)
    except UnicodeError:
        raise Bad(f"{text!r} is not a domain name") from None
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in name.split(".")):
        raise Bad(f"{text!r} is not a domain name")
    return name


def server(text: str) -> tuple[str, int]:
    """`192.0.2.1`, `192.0.2.1:5353`, `2001:db8::1` or `[2001:db8::1]:53` as (address, port); raises Bad."""
    host, port = text, "53"
    if text.startswith("["):
        host, _, tail = text[1:].partition("]")
        port = tail.removeprefix(":") or "53"
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    if not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise Bad(f"{text!r} has no usable port")
    return _address(host), int(port)


def is_path(text: str) -> bool:
    """Whether an entry of a list of senders or recipients names a file: it has no @, or begins as paths do."""
    return text != "*" and (text.startswith(_PATH_STARTS) or "@" not in text)


def sender(text: str) -> str:
    """`a@example.org`, `@example.org` for all of a domain, or `*`; domains in A-labels. Raises Bad."""
    if text == "*":
        return text
    if text.startswith("@"):
        return "@" + domain(text[1:])
    return strict_mailbox(text)


def strict_mailbox(text: str) -> str:
    """A mailbox by the grammar of RFC 5321 section 4.1.2, which the relay reads. Raises Bad."""
    try:
        found = read_address(text)
    except AddressError as error:
        raise Bad(f"{text!r} is not a mail address: {error}") from None
    if found.domain.startswith("["):
        raise Bad(f"{text!r} names no domain")
    return str(found._replace(domain=domain(found.domain)))


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        raise Bad(f"{text!r} is not an address or a network, such as 192.0.2.0/24") from None


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text.strip("[]")))
    except ValueError:
        if text == "localhost":
            return "127.0.0.1"
        raise Bad(f"{text!r} is not an IP address; write 0.0.0.0 or :: for all") from None


def _of_version(version: int) -> Callable[[str], str]:
    def address(text: str) -> str:
        try:
            found = ipaddress.ip_address(text)
        except ValueError:
            raise Bad(f"{text!r} is not an IP address") from None
        if found.version != version:
            raise Bad(f"{text!r} is not an IPv{version} address")
        return str(found)

    return address


def _mailbox(text: str) -> str:
    found = _MAILBOX.fullmatch(text)
    if found is None:
        raise Bad(f"{text!r} is not a mail address, such as dmarc@example.org")
    local = text[: found.start(1)]
    return local + domain(found.group(1))


def _server(text: str) -> str:
    host, port = server(text)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _recipient_domain(text: str) -> str:
    if text == "*":
        return text
    if "@" in text:
        raise Bad(f"{text!r} is not a domain; routes go by domain, such as example.org, .example.org or *")
    return "." + domain(text[1:]) if text.startswith(".") else domain(text)


def _fingerprint(text: str) -> str:
    found = text.replace(":", "").lower()
    if not re.fullmatch(r"[0-9a-f]{64}", found):
        raise Bad("is not a SHA-256 fingerprint, 64 hex digits; `openssl x509 -noout -fingerprint -sha256` prints it")
    return found


def _route(text: str) -> str:
    """`mx`, or a URL with its port, such as smtp://mail.example.net:587 and lmtp:///run/dovecot/lmtp."""
    if text == "mx":
        return text
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        raise Bad(f"{text!r} has no usable host and port") from None
    if url.scheme not in ROUTE_PORTS:
        raise Bad(f"{text!r} is not mx, smtp://host:port, smtps://host:port, lmtp://host:port or lmtp:///path")
    if url.username is not None:
        raise Bad("holds a user; write `user` and `password_file` instead")
    if url.query or url.fragment or (url.netloc and url.path not in ("", "/")):
        raise Bad(f"{text!r} has something after host and port")
    if not url.netloc:
        if url.scheme != "lmtp" or not url.path.startswith("/") or url.path == "/":
            raise Bad(f"{text!r} names no host")
        return f"lmtp://{unquote(url.path)}"
    host = url.hostname or ""
    if not host or port == 0:
        raise Bad(f"{text!r} has no usable host and port")
    named = f"[{_of_version(6)(host)}]" if ":" in host else domain(host)
    return f"{url.scheme}://{named}:{port or ROUTE_PORTS[url.scheme]}"


def _url(text: str) -> str:
    if "://" not in text:
        raise Bad(f"{text!r} is not a URL, such as sqlite:////srv/ledger.sqlite")
    return text


def _channel(text: str) -> str:
    """The name of a channel of alerts. Raises Bad."""
    if text in OWN_CHANNELS:
        raise Bad(f"{text!r} is a channel of our own; choose another name")
    if not _CHANNEL.fullmatch(text):
        raise Bad(f"{text!r} is no name of a channel: up to 40 letters, digits, - and _")
    return text


def _web(text: str) -> str:
    """An http or https address without a user: `config show` prints it. Raises Bad."""
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        raise Bad(f"{text!r} has no usable host and port") from None
    if url.scheme not in ("http", "https") or not url.hostname or port == 0:
        raise Bad(f"{text!r} is not an address such as https://hooks.example.org/dmarcview")
    if url.username is not None or url.password is not None:
        raise Bad("holds a user or password, which would be shown; what gets it knows us by the signature")
    if not text.isascii() or any(char.isspace() for char in text) or url.fragment:
        raise Bad(f"{text!r} holds blanks, letters beyond ASCII or a #; write them escaped")
    return text


_KINDS: typing.Final[Mapping[str, Callable[[str], str]]] = MappingProxyType(
    {
        "domain": domain,
        "network": _network,
        "address": _address,
        "ipv4": _of_version(4),
        "ipv6": _of_version(6),
        "mailbox": _mailbox,
        "strict mailbox": strict_mailbox,
        "senders": sender,
        "recipient domain": _recipient_domain,
        "fingerprint": _fingerprint,
        "route": _route,
        "server": _server,
        "url": _url,
        "web": _web,
        "channel": _channel,
    }
)
