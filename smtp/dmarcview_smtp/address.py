"""Strict mailbox addresses and command parameters (RFC 5321 section 4.1.2, RFC 6531 section 3.3).

An address is a pair of values from here on. Nothing is decoded, repaired or folded: what the
grammar does not allow is refused, so no parser behind us can read something else in it.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from typing import NamedTuple

from .alabels import LABEL_OCTETS, a_labels

LOCAL_OCTETS = 64  # RFC 5321 section 4.5.3.1.1
DOMAIN_OCTETS = 255  # RFC 5321 section 4.5.3.1.2
ADDRESS_OCTETS = 254  # a path of 256 with its brackets, RFC 5321 section 4.5.3.1.3

# Said by what is not in them: classes that list the whole of Unicode cost 0.1 s to compile. `_clean` sees to the rest.
_ATEXT = r"[^\x00-\x20\"(),.:;<>@\[\\\]\x7f]"
_DOT_STRING = rf"{_ATEXT}+(?:\.{_ATEXT}+)*"
_QUOTED = r'"(?:[^\x00-\x1f"\\\x7f]|\\[\x20-\x7e])*"'
_NO_LDH = r"\x00-,./:-@\[-`{-\x7f"  # no letter, digit or hyphen
_LABEL = rf"[^-{_NO_LDH}](?:[^{_NO_LDH}]*[^-{_NO_LDH}])?"
_DOMAIN = rf"{_LABEL}(?:\.{_LABEL})*"
_LITERAL = r"\[[A-Za-z0-9:.]+\]"
_ROUTE = rf"(?:@{_DOMAIN}(?:,@{_DOMAIN})*:)?"
_PATH = re.compile(rf"<{_ROUTE}(?P<local>{_DOT_STRING}|{_QUOTED})@(?P<domain>{_DOMAIN}|{_LITERAL})>")
_BARE_POSTMASTER = re.compile(r"<postmaster>", re.IGNORECASE)
_PLAIN_LOCAL = re.compile(_DOT_STRING)
_HELO = re.compile(rf"{_DOMAIN}|{_LITERAL}|[A-Za-z0-9_.\-]+")
_KEYWORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9\-]*")
_VALUE = re.compile(r"[^\x00-\x20=\x7f]+")
_JOINERS = "\u200c\u200d"  # part of ordinary words in several scripts
_FORBIDDEN_CATEGORIES = {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Zs"}


class AddressError(ValueError):
    """What was written is not an address or parameter; the text says why and may be shown to the client."""


class Address(NamedTuple):
    """A mailbox. `local` is without quotes; `domain` is as written, or `[literal]`, or "" for the bare `postmaster`."""

    local: str
    domain: str

    def __str__(self) -> str:
        """The mailbox in RFC 5321 form, quoted where it must be."""
        local = self.local
        if not _PLAIN_LOCAL.fullmatch(local):
            local = '"' + local.replace("\\", "\\\\").replace('"', '\\"') + '"'
        return f"{local}@{self.domain}" if self.domain else local

    @property
    def is_ascii(self) -> bool:
        """Whether it can be used without SMTPUTF8."""
        return self.local.isascii() and self.domain.isascii()

    @property
    def folded_local(self) -> str:
        """The local part for comparison, in lower case when it is ASCII: no letter of another script becomes one."""
        return self.local.lower() if self.local.isascii() else self.local

    @property
    def ascii_domain(self) -> str:
        """The domain in lower case and A-labels, for comparison. Raises UnicodeError for what was not read here."""
        return a_labels(self.domain)


def read_path(text: str, *, null: bool = False, bare_postmaster: bool = False) -> tuple[Address | None, str]:
    """Read `<path>` at the start of `text`; give the address and what follows the bracket.

    The null path `<>` gives None where `null` allows it; `<postmaster>` without a domain passes where
    `bare_postmaster` allows it (RFC 5321 section 4.5.1). A source route is dropped (appendix C).
    Raises AddressError.
    """
    if match := _PATH.match(text):
        rest = text[match.end() :]
        local, domain = match["local"], match["domain"]
        if local.startswith('"'):
            local = re.sub(r"\\(.)", r"\1", local[1:-1])
        return _checked(Address(local, domain), match["local"]), rest
    if null and text.startswith("<>"):
        return None, text[2:]
    if bare_postmaster and (match := _BARE_POSTMASTER.match(text)):
        return Address("postmaster", ""), text[match.end() :]
    raise AddressError("write the address as <local@domain>")


def read_address(text: str) -> Address:
    """Read a mailbox without brackets, as a configuration writes it. Raises AddressError."""
    address, rest = read_path(f"<{text}>")
    if rest or address is None:
        raise AddressError("one address only")
    return address


def read_parameters(text: str) -> dict[str, str | None]:
    """Read what follows a path: ` KEY=value KEY`. Keywords come in upper case, values as written.

    Raises AddressError.
    """
    if not text:
        return {}
    if text[0] != " ":
        raise AddressError("a space parts the address from its parameters")
    found: dict[str, str | None] = {}
    for word in text.split(" "):
        if not word:
            continue
        keyword, equals, value = word.partition("=")
        if not _KEYWORD.fullmatch(keyword) or (equals and not _VALUE.fullmatch(value)):
            raise AddressError("a parameter is written KEYWORD or KEYWORD=value")
        if keyword.upper() in found:
            raise AddressError("a parameter may stand once")
        found[keyword.upper()] = value if equals else None
    return found


def read_helo(text: str) -> str:
    """Check the name a client gives itself: a domain, an address literal or a host name. Raises AddressError.

    Underscores pass, since many real hosts send them; blanks, brackets and control bytes do not.
    """
    if not _HELO.fullmatch(text) or len(text.encode()) > DOMAIN_OCTETS or not _clean(text):
        raise AddressError("name your host")
    return text


def _checked(address: Address, written_local: str) -> Address:
    """Apply the limits and the rules that the pattern cannot say."""
    local, domain = address
    if not (_clean(local) and _clean(domain)):
        raise AddressError("the address holds characters that no address has")
    octets = len(written_local.encode())
    if octets > LOCAL_OCTETS or len(domain.encode()) > DOMAIN_OCTETS:
        raise AddressError("the address is too long")
    if octets + 1 + len(domain.encode()) > ADDRESS_OCTETS:
        raise AddressError("the address is too long")
    if domain.startswith("["):
        _check_literal(domain[1:-1])
    elif not domain.isascii() and _changes(domain):
        raise AddressError("the domain holds characters that no domain has")
    else:
        _check_labels(address)
    return address


def _check_labels(address: Address) -> None:
    try:
        labels = address.ascii_domain.split(".")
    except UnicodeError as error:
        raise AddressError(str(error)) from None
    if any(len(label) > LABEL_OCTETS for label in labels):
        raise AddressError("a label of the domain is too long")


def _changes(domain: str) -> bool:
    """Whether some software reads letters or dots in it that do not stand there (RFC 5891 section 4.2): a Kelvin sign
    is a small `k` to whoever folds case, an ideographic full stop a dot."""
    written = unicodedata.is_normalized("NFKC", domain) and unicodedata.is_normalized("NFKC", domain.lower())
    return not written or "\u3002" in domain


def _check_literal(text: str) -> None:
    """RFC 5321 section 4.1.3; other tags than IPv6 are unknown to us."""
    try:
        if text[:5].lower() == "ipv6:":
            ipaddress.IPv6Address(text[5:])
        else:
            ipaddress.IPv4Address(text)
    except ValueError:
        raise AddressError("the address literal is not an IP address") from None


def _clean(text: str) -> bool:
    if text.isascii():
        return True
    return not any(
        ord(char) > 0x7F and char not in _JOINERS and unicodedata.category(char) in _FORBIDDEN_CATEGORIES
        for char in text
    )
