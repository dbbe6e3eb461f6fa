"""The table of known senders is well formed, and finds a sender by each of its keys."""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from itertools import pairwise

import pytest

from dmarcview.networks import address, network
from dmarcview.organisation import organisational
from dmarcview.services import RELAYING, SENDING, TYPES, Match, directory, read

SERVICES = directory().services
NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+")
KEYS = [
    (service.name, by, key)
    for service in SERVICES
    for by in ("dkim", "spf", "hosts", "asns", "networks")
    for key in getattr(service, by)
]


def test_about_a_hundred_senders_or_more_are_known_and_each_has_a_key() -> None:
    assert len(SERVICES) >= 100
    assert all(s.dkim or s.spf or s.hosts or s.asns or s.networks for s in SERVICES)


def test_names_are_unique_and_types_are_known() -> None:
    assert not [name for name, n in Counter(s.name.casefold() for s in SERVICES).items() if n > 1]
    assert {s.type for s in SERVICES} == set(TYPES)
    assert set(TYPES) > SENDING | RELAYING


@pytest.mark.parametrize("by", ["dkim", "spf", "hosts", "asns", "networks"])
def test_no_key_belongs_to_two_senders(by: str) -> None:
    assert not [key for key, n in Counter(key for _, kind, key in KEYS if kind == by).items() if n > 1]


def test_domains_are_written_plainly_and_are_no_public_suffix() -> None:
    for name, by, key in KEYS:
        if by in ("dkim", "spf", "hosts"):
            assert NAME.fullmatch(key), (name, key)
            assert "." in organisational(key), (name, key)


def test_sending_ranges_are_networks_and_none_lies_in_another_senders() -> None:
    spans = sorted((network(key), name) for name, by, key in KEYS if by == "networks")
    for name, by, key in KEYS:
        if by == "networks":
            ipaddress.ip_network(key)  # strict: no bit beyond the length
            assert not ipaddress.ip_network(key).is_private, (name, key)
    for (one, _), (two, _) in pairwise(spans):
        assert one.version != two.version or one.last < two.first


def test_every_key_finds_its_sender() -> None:
    for name, by, key in KEYS:
        found = _find(by, key)
        assert found is not None, (name, key)
        assert (found.service.name, found.by) == (name, by.removesuffix("s")), (name, key)


def _find(by: str, key: str | int) -> Match | None:
    known = directory()
    match by:
        case "dkim":
            return known.signer([f"a1.{key}"])
        case "spf":
            return known.operator("192.0.2.1", spf=[f"bounces.{key}".upper()])
        case "hosts":
            return known.operator("192.0.2.1", host=f"mta1.{key}.")
        case "asns":
            return known.operator("192.0.2.1", asn=int(key))
        case _:
            return known.operator(str(key).partition("/")[0])


@pytest.mark.parametrize(
    ("spf", "host", "asn", "name"),
    [
        ("em12.notsendgrid.net", None, None, None),
        ("sendgrid.net.example.org", None, None, None),
        (None, "mail-qt1.google.com.example.org", None, None),
        (None, "o1.ptr.sendgrid.net", None, "SendGrid"),
        (None, "mail-eopbgr80.outbound.protection.outlook.com", None, "Microsoft 365"),
        ("010f.eu-west-1.amazonses.com", None, 16509, "Amazon SES"),
        (None, None, 16509, None),  # a cloud: its customers are not the service
        (None, None, 8075, None),
        (None, None, 15169, None),
    ],
)
def test_likeness_is_no_match_and_a_cloud_is_no_service(
    spf: str | None, host: str | None, asn: int | None, name: str | None
) -> None:
    found = directory().operator("192.0.2.1", host=host, spf=[spf] if spf else [], asn=asn)
    assert (found.service.name if found else None) == name


def test_the_address_says_more_than_the_envelope() -> None:
    found = directory().operator("209.85.220.41", spf=["sendgrid.net"])
    assert found is not None
    assert (found.service.name, found.by) == ("Google", "network")
    assert address("209.85.220.41") is not None


@pytest.mark.parametrize("line", ["only a name", "N\tno such type\ta.example\t\t\t\t", "N\tcrm\ta.example\t\t\tAS12\t"])
def test_wrong_line_of_a_table_is_an_error(line: str) -> None:
    with pytest.raises(ValueError, match=r"line 1|invalid literal"):
        read([line])
