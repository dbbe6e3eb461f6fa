"""Reverse names: believed only when they point back, asked over real UDP, cached, and never in a hurry."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from dmarcview.config import Config
from dmarcview.demo.dns import Server
from dmarcview.reverse import (
    KEPT,
    KEPT_FAILED,
    KEPT_NONE,
    NAMES,
    Asked,
    DnsResolver,
    LookupFailed,
    confirmed_name,
    dns_resolver,
    look_up,
    run,
)
from dmarcview.store import NamedAddress, SourceRow, Store

NOW = 1_790_000_000

ZONES = {
    ("10.2.0.192.in-addr.arpa.", "PTR"): ("Mail.Example.org.",),
    ("mail.example.org.", "A"): ("192.0.2.10",),
    ("20.2.0.192.in-addr.arpa.", "PTR"): ("mail.example.org.",),  # a boast: the name does not point back
    ("30.2.0.192.in-addr.arpa.", "PTR"): ("gone.example.org.",),  # the name has no address
    ("40.2.0.192.in-addr.arpa.", "PTR"): ("b.example.org.", "a.example.org.", "mail.example.org."),
    ("a.example.org.", "A"): ("192.0.2.41",),
    ("b.example.org.", "A"): ("192.0.2.99", "192.0.2.40"),
    ("1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa.", "PTR"): ("six.example.org.",),
    ("six.example.org.", "AAAA"): ("2001:db8::1",),
}


def resolver(server: Server, timeout: float = 5.0) -> DnsResolver:
    config = Config()
    where = f"{server.where[0]}:{server.where[1]}"
    return dns_resolver(replace(config, dns=replace(config.dns, servers=(where,), timeout=timeout)))


@pytest.mark.parametrize(
    ("ip", "name"),
    [
        ("192.0.2.10", "mail.example.org"),
        ("192.0.2.20", None),
        ("192.0.2.30", None),
        ("192.0.2.40", "b.example.org"),
        ("192.0.2.50", None),
        ("2001:db8::1", "six.example.org"),
        ("127.0.0.1", None),
        ("no address", None),
    ],
)
def test_name_is_believed_only_when_it_points_back(ip: str, name: str | None) -> None:
    with Server(ZONES) as server:
        assert asyncio.run(confirmed_name(resolver(server), ip)) == name


def test_answers_expire_by_what_they_said() -> None:
    with Server(ZONES) as server:
        found = asyncio.run(look_up(resolver(server), ["192.0.2.10", "192.0.2.20", "192.0.2.10"], NOW))
    assert found == [
        NamedAddress("192.0.2.10", "mail.example.org", NOW + KEPT),
        NamedAddress("192.0.2.20", None, NOW + KEPT_NONE),
    ]


def test_silent_resolver_is_asked_again_soon_and_holds_nobody_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
        mute.bind(("127.0.0.1", 0))
        config = Config()
        where = f"127.0.0.1:{mute.getsockname()[1]}"
        quiet = dns_resolver(replace(config, dns=replace(config.dns, servers=(where,), timeout=0.2)))
        ips = [f"192.0.2.{n}" for n in range(40)]
        found = asyncio.run(asyncio.wait_for(look_up(quiet, ips, NOW), timeout=20))
    assert found == [NamedAddress(ip, None, NOW + KEPT_FAILED) for ip in ips]


class Told:
    """A resolver whose answers are told; counts how many questions were under way at once."""

    def __init__(self, names: Sequence[str], back: str) -> None:
        self.names, self.back = names, back
        self.asked: list[str] = []
        self.under_way = self.most = 0

    async def pointers(self, ip: str) -> Sequence[str]:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await asyncio.sleep(0)
        self.under_way -= 1
        return self.names

    async def addresses(self, name: str, version: int) -> Sequence[str]:
        self.asked.append(name)
        if name == "broken.example":
            raise LookupFailed(name)
        return [self.back]


def test_address_with_a_thousand_names_costs_few_questions() -> None:
    told = Told([f"n{n:04}.example" for n in range(1_000)], "203.0.113.1")
    assert asyncio.run(confirmed_name(told, "192.0.2.1")) is None
    assert len(told.asked) == NAMES


@pytest.mark.parametrize("name", ["", "a" * 254, "b\x1bc.example", "ü.example", "two words.example"])
def test_odd_names_are_not_even_asked(name: str) -> None:
    told = Told([name], "192.0.2.1")
    assert asyncio.run(confirmed_name(told, "192.0.2.1")) is None
    assert told.asked == []


def test_few_look_ups_are_under_way_at_once() -> None:
    told = Told([], "")
    asyncio.run(look_up(told, [f"192.0.2.{n}" for n in range(100)], NOW, at_once=7))
    assert told.most == 7


def rows(messages: Iterable[tuple[str, int]]) -> list[SourceRow]:
    return [SourceRow("example.org", ip, "unknown", messages=n, last_seen=NOW) for ip, n in messages]


def test_busiest_addresses_come_first_and_fresh_answers_are_not_asked_again(tmp_path: Path) -> None:
    with Server(ZONES) as server, Store.open(tmp_path / "data", clock=lambda: NOW) as store:
        store.put_sources(rows([("192.0.2.10", 5), ("192.0.2.20", 900), ("192.0.2.40", 70)]))
        ask = resolver(server)
        assert run(store, ask, NOW, batch=2) == Asked(asked=2, confirmed=1, waiting=1)
        assert set(store.addresses(["192.0.2.10", "192.0.2.20", "192.0.2.40"])) == {"192.0.2.20", "192.0.2.40"}
        assert run(store, ask, NOW, batch=2) == Asked(asked=1, confirmed=1, waiting=0)
        assert run(store, ask, NOW, batch=2) == Asked(asked=0, confirmed=0, waiting=0)
        assert store.addresses(["192.0.2.10"])["192.0.2.10"].reverse_dns == "mail.example.org"
