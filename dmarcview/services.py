"""Known senders of mail: which service runs an address, and which service signed a message.

The table is `data/services.tsv`. A signature tells who signed, not who delivered: a forwarded message still carries the
signature of the service that first sent it. So operator and signer are two questions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import NamedTuple

from dmarcview.networks import NetworkMap, address, network

TYPES: Mapping[str, str] = MappingProxyType(
    {
        "mailbox": "Keeps mailboxes, and sends what their owners write or forward.",
        "transactional": "Sends single messages for programs: receipts, codes, notices.",
        "marketing": "Sends newsletters and campaigns.",
        "crm": "Sends for sales and customer records.",
        "helpdesk": "Sends answers of a support desk.",
        "saas": "Sends for an application that its customers use.",
        "gateway": "Filters mail on its way in or out.",
        "forwarder": "Passes mail on to another mailbox.",
        "list": "Runs mailing lists.",
    }
)
SENDING = frozenset({"transactional", "marketing", "crm", "helpdesk", "saas"})  # send only for who asked them to
RELAYING = frozenset({"forwarder", "list"})  # pass on what others sent
DEEPEST = 6  # labels of a name that are compared; no key has more
COLUMNS = ("name", "type", "dkim", "spf", "hosts", "asns", "networks")


class Service(NamedTuple):
    """One row of the table; each of the keys may be empty, not all."""

    name: str
    type: str
    dkim: tuple[str, ...]  # signing domains
    spf: tuple[str, ...]  # envelope domains
    hosts: tuple[str, ...]  # ends of confirmed reverse names
    asns: tuple[int, ...]  # networks that carry this service alone
    networks: tuple[str, ...]  # its own sending ranges


class Match(NamedTuple):
    """A service, the kind of key that found it (`network`, `host`, `spf`, `asn`, `dkim`), and the key."""

    service: Service
    by: str
    key: str


class Directory:
    """All known services, by each of their keys."""

    def __init__(self, services: Iterable[Service]) -> None:
        self.services = tuple(services)
        self.by_name = {service.name.casefold(): service for service in self.services}
        self._dkim = {key: service for service in self.services for key in service.dkim}
        self._spf = {key: service for service in self.services for key in service.spf}
        self._hosts = {key: service for service in self.services for key in service.hosts}
        self._asns = {key: service for service in self.services for key in service.asns}
        self.networks = NetworkMap((network(key), service) for service in self.services for key in service.networks)

    def operator(
        self, ip: str, *, host: str | None = None, spf: Iterable[str] = (), asn: int | None = None
    ) -> Match | None:
        """Who runs the address: by its network, its confirmed name, an SPF domain that passed, or its AS."""
        if service := self.networks.get(address(ip)):
            return Match(service, "network", ip)
        if match := _under(self._hosts, "host", host):
            return match
        for domain in spf:
            if match := _under(self._spf, "spf", domain):
                return match
        if asn is not None and (service := self._asns.get(asn)):
            return Match(service, "asn", f"AS{asn}")
        return None

    def signer(self, dkim: Iterable[str]) -> Match | None:
        """The first of these signing domains (their signatures passed) that belongs to a known service."""
        for domain in dkim:
            if match := _under(self._dkim, "dkim", domain):
                return match
        return None


def _under(table: Mapping[str, Service], by: str, name: str | None) -> Match | None:
    """The longest entry that `name` is or lies under."""
    if not name:
        return None
    labels = name.rstrip(".").lower().split(".")[-DEEPEST:]
    for start in range(len(labels) - 1):  # no key is a single label
        rest = ".".join(labels[start:])
        if service := table.get(rest):
            return Match(service, by, rest)
    return None


def read(lines: Iterable[str]) -> list[Service]:
    """Rows of a table in the form of `data/services.tsv`. ValueError names the line that is wrong."""
    found = []
    for number, line in enumerate(lines, 1):
        if line.startswith("#") or not line.strip():
            continue
        fields = line.rstrip("\n").split("\t")
        if tuple(fields) == COLUMNS:
            continue
        if len(fields) != len(COLUMNS) or fields[1] not in TYPES:
            raise ValueError(f"line {number}: not {len(COLUMNS)} fields, or a type that is not known")
        name, kind, dkim, spf, hosts, asns, networks = fields
        keys = (tuple(dkim.split()), tuple(spf.split()), tuple(hosts.split()))
        found.append(Service(name, kind, *keys, tuple(int(asn) for asn in asns.split()), tuple(networks.split())))
    return found


@cache
def directory() -> Directory:
    """The table that comes with dmarcview, read once."""
    text = resources.files("dmarcview").joinpath("data", "services.tsv").read_text(encoding="utf-8")
    return Directory(read(text.splitlines()))
