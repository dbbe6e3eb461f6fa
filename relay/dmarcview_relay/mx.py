"""Which hosts take mail for a domain: MX records, the null MX, the implicit A, and what is never connected to.

RFC 5321 section 5.1, RFC 7505.
"""

from __future__ import annotations

import asyncio
import ipaddress
import random
import re
import socket
from collections.abc import Callable, Collection, Sequence
from itertools import groupby, zip_longest
from typing import NamedTuple

from .dns import DnsFailure, Resolver
from .outcome import RemoteReply
from .settings import Delivery

MOST_HOSTS = 10  # of a domain's MX hosts so many are looked up, the best first
MOST_RECORDS = 100  # MX records that are read at all
MOST_ADDRESSES = 8  # of one host

_HOST = re.compile(r"(?=.{1,253}\Z)[a-z0-9_](?:[a-z0-9_-]{0,62})(?:\.[a-z0-9_](?:[a-z0-9_-]{0,62}))*")

Own = Callable[[], Collection[tuple[str, int]]]
IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class NoMail(Exception):
    """No host can be tried. `reply` says why, and by its code whether that may change."""

    def __init__(self, code: int, enhanced: str, text: str, stage: str = "dns") -> None:
        super().__init__(text)
        self.reply = RemoteReply(code, enhanced, text, stage, said=False)


class Host(NamedTuple):
    """A host that takes mail; the addresses in the order in which they are tried."""

    name: str  # lower case, without the last dot; of an implicit A the domain itself
    preference: int
    addresses: tuple[str, ...]
    secure: bool = False  # MX and address records were validated by DNSSEC
    base: str = ""  # the name behind all CNAMEs, when that was secure (RFC 7672 section 2.2.2)
    certain: bool = False  # the name is a setting, the domain itself, or of a validated MX record; no forger chose it


async def hosts(
    domain: str, resolver: Resolver, delivery: Delivery, *, hostname: str = "", own: Own = tuple
) -> list[Host]:
    """The hosts for a recipient domain in A-labels, best first, in random order where the preference is the same.

    Raises NoMail, and DnsFailure when the DNS could not be asked.
    """
    if domain.startswith("["):
        return [_literal(domain, delivery, own)]
    if not _HOST.fullmatch(domain):
        raise NoMail(550, "5.1.2", f"{domain or 'an empty name'} is no domain to which mail can go")
    found = await resolver.ask("MX", domain)
    if not found.exists:
        raise NoMail(550, "5.1.2", f"The domain {domain} does not exist")
    records = _records(found.records)
    if records == [(0, "")]:
        raise NoMail(556, "5.1.10", f"The domain {domain} takes no mail: it has a null MX")  # RFC 7505 section 4.2
    named = [(preference, name) for preference, name in records if _HOST.fullmatch(name)]
    if records and not named:
        raise NoMail(550, "5.4.4", f"The MX records of {domain} name no host")
    if not named:
        named = [(0, domain)]
    named = _before_us(named, hostname.lower())
    if not named:
        raise NoMail(554, "5.4.6", f"This host is the best MX of {domain}, so the mail would come back to us", "policy")
    secure = found.secure
    certain = not records or (secure and delivery.dnssec)
    answers = await asyncio.gather(*(_host(*entry, secure, resolver, delivery) for entry in named[:MOST_HOSTS]))
    answers = [each._replace(certain=certain) if isinstance(each, Host) else each for each in answers]
    return _usable(domain, answers, delivery, own)


async def smarthost(name: str, port: int, resolver: Resolver, delivery: Delivery, own: Own = tuple) -> Host:
    """The host that a route names. It may be private, but not our own listener. Raises NoMail (to be tried again:
    a route is a setting, and can be mended), and DnsFailure.
    """
    name = name.rstrip(".").lower()
    try:
        host = Host(name, 0, (str(ipaddress.ip_address(name)),))
    except ValueError:
        if name == "localhost":
            host = Host(name, 0, ordered(("127.0.0.1", "::1"), delivery.family))
        else:
            answer = await _host(0, name, True, resolver, delivery)
            if isinstance(answer, DnsFailure):
                raise answer from None
            host = answer
    if not host.addresses:
        raise NoMail(
            451, "4.4.4", f"The route's host {name} has no address that may be used (family {delivery.family})"
        )
    addresses = tuple(address for address in host.addresses if not listens_here(address, port, own()))
    if not addresses:
        raise NoMail(
            451, "4.4.6", f"The route's host {name} port {port} is this relay itself; mend [[relay.routes]]", "policy"
        )
    return host._replace(addresses=addresses, certain=True)


def ordered(addresses: Sequence[str], family: str) -> tuple[str, ...]:
    """The addresses that the setting allows, in its order. `both` takes the families in turn, IPv6 first."""
    v4 = [address for address in addresses if ":" not in address][:MOST_ADDRESSES]
    v6 = [address for address in addresses if ":" in address][:MOST_ADDRESSES]
    match family:
        case "ipv4":
            return tuple(v4)
        case "ipv6":
            return tuple(v6)
        case "prefer-ipv4":
            return (*v4, *v6)
        case "prefer-ipv6":
            return (*v6, *v4)
    return tuple(address for pair in zip_longest(v6, v4) for address in pair if address)


def listens_here(address: str, port: int, own: Collection[tuple[str, int]]) -> bool:
    """Whether a connection to there would reach a listener of our own."""
    for host, own_port in own:
        if port != own_port:
            continue
        if host in ("", "0.0.0.0", "::", "*"):  # noqa: S104 (compared, not bound)
            if is_local(address):
                return True
        elif _same(host, address):
            return True
    return False


def is_local(address: str) -> bool:
    """Whether the address is one of this machine: only to such a one a socket can be bound."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


def is_private(address: str) -> bool:
    """Whether the address is none of the public internet: loopback, private, link-local, multicast, reserved."""
    ip: IpAddress = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        ip = ip.ipv4_mapped or ip.sixtofour or ip
    return not ip.is_global or ip.is_multicast or ip.is_unspecified


def _records(texts: Sequence[str]) -> list[tuple[int, str]]:
    """(preference, name) in the order to try; a null MX beside others says nothing (RFC 7505 section 3)."""
    found = []
    for text in texts[:MOST_RECORDS]:
        preference, _, name = text.partition(" ")
        if preference.isascii() and preference.isdigit():
            found.append((int(preference), name.strip().rstrip(".").lower()))
    if len(found) > 1:
        found = [entry for entry in found if entry[1]]
    elif found and not found[0][1]:
        return [(0, "")]
    random.shuffle(found)
    return sorted(found, key=lambda entry: entry[0])


def _before_us(named: list[tuple[int, str]], hostname: str) -> list[tuple[int, str]]:
    """Only hosts that are preferred to us, when we are among them (RFC 5321 section 5.1)."""
    ours = [preference for preference, name in named if name == hostname]
    return [entry for entry in named if not ours or entry[0] < min(ours)]


async def _host(preference: int, name: str, secure: bool, resolver: Resolver, delivery: Delivery) -> Host | DnsFailure:
    kinds = [kind for kind, other in (("A", "ipv6"), ("AAAA", "ipv4")) if delivery.family != other]
    answers = await asyncio.gather(*(resolver.ask(kind, name) for kind in kinds), return_exceptions=True)
    addresses: list[str] = []
    failure: DnsFailure | None = None
    base = ""
    for answer in answers:
        if isinstance(answer, DnsFailure):
            failure = answer
        elif isinstance(answer, BaseException):
            raise answer
        else:
            addresses += [text for text in answer.records if _is_address(text)]
            secure = secure and answer.secure
            base = answer.name
    if failure and not addresses:
        return failure
    return Host(name, preference, ordered(addresses, delivery.family), secure and not failure, base or name)


def _usable(domain: str, answers: Sequence[Host | DnsFailure], delivery: Delivery, own: Own) -> list[Host]:
    """The hosts that may be connected to; where none is left, the reason."""
    found = [answer for answer in answers if isinstance(answer, Host)]
    ours = [host.preference for host in found if any(_forbidden(a, delivery, own) == "own" for a in host.addresses)]
    left, private = [], ""
    for host in found:
        if ours and host.preference >= min(ours):
            continue
        addresses = tuple(address for address in host.addresses if not _forbidden(address, delivery, own))
        private = private or next((address for address in host.addresses if address not in addresses), "")
        if addresses:
            left.append(host._replace(addresses=addresses))
    if left:
        return [host for _, group in groupby(left, key=lambda host: host.preference) for host in group]
    for answer in answers:
        if isinstance(answer, DnsFailure):
            raise answer
    if ours:
        raise NoMail(554, "5.4.6", f"The MX of {domain} is this host, so the mail would come back to us", "policy")
    if private:
        text = f"The MX of {domain} has the address {private}, which is not of the public internet"
        raise NoMail(554, "5.4.6", f"{text}; [relay.delivery] private or a route allows it", "policy")
    if delivery.family in ("ipv4", "ipv6"):
        text = (
            f"No host of {domain} has an {delivery.family.replace('ip', 'IP')} address, and family is {delivery.family}"
        )
        raise NoMail(451, "4.4.4", text)
    raise NoMail(550, "5.4.4", f"The domain {domain} has no host with an address to which mail could go")


def _forbidden(address: str, delivery: Delivery, own: Own) -> str:
    """Why an address that the DNS named is not connected to; "" when it may be."""
    if listens_here(address, delivery.port, own()):
        return "own"
    if delivery.private:
        return ""
    return "private" if is_private(address) else "own" if is_local(address) else ""


def _literal(domain: str, delivery: Delivery, own: Own) -> Host:
    """An address literal (RFC 5321 section 4.1.3)."""
    text = domain[1:-1].lower().removeprefix("ipv6:")
    if not _is_address(text):
        raise NoMail(550, "5.1.2", f"{domain} is no address")
    [host] = _usable(domain, [Host(text, 0, (str(ipaddress.ip_address(text)),))], delivery, own)
    return host


def _is_address(text: str) -> bool:
    try:
        return "%" not in text and bool(ipaddress.ip_address(text))
    except ValueError:
        return False


def _same(host: str, address: str) -> bool:
    try:
        return ipaddress.ip_address(host) == ipaddress.ip_address(address)
    except ValueError:
        return host == "localhost" and near_loopback(address)


def near_loopback(address: str) -> bool:
    """Whether an address is of the loopback."""
    return ipaddress.ip_address(address).is_loopback
