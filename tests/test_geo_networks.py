"""An address finds the innermost of nested networks, and the shipped table answers like its own lines."""

from __future__ import annotations

import ipaddress
import random
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmarcview.geo import NOWHERE, Geo, Place, Table, table
from dmarcview.networks import Address, NetworkMap, Numbers, Range, address, network

LINES = resources.files("dmarcview").joinpath("data", "networks.tsv").read_text(encoding="utf-8").splitlines()
ROWS = [line.split("\t") for line in LINES if line and not line.startswith("#")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.1", Address(4, 0xC0000201)),
        ("::ffff:192.0.2.1", Address(4, 0xC0000201)),
        ("2001:db8::1", Address(6, 0x20010DB8000000000000000000000001)),
        ("::1", Address(6, 1)),
        ("", None),
        ("192.0.2", None),
        ("192.0.2.256", None),
        ("192.0.2.1/32", None),
        ("2001:db8::g", None),
        ("fe80::1%eth0", None),
        ("1.2.3.4\x00", None),
        ("\udcff", None),
    ],
)
def test_address_reads_what_is_one_and_nothing_else(text: str, expected: Address | None) -> None:
    assert address(text) == expected


@given(st.text(max_size=60))
def test_address_raises_on_no_text(text: str) -> None:
    found = address(text)
    assert found is None or found.version in (4, 6)


@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)))
def test_address_agrees_with_the_standard_library(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    wanted = mapped or ip
    assert address(str(ip)) == (wanted.version, int(wanted))


def test_range_must_run_upwards() -> None:
    assert network("192.0.2.3-192.0.2.9") == Range(4, 0xC0000203, 0xC0000209)
    for wrong in ("192.0.2.9-192.0.2.3", "192.0.2.1-2001:db8::1", "nowhere"):
        with pytest.raises(ValueError, match=r".+"):
            network(wrong)


def _nets() -> st.SearchStrategy[list[tuple[int, int]]]:
    """Networks (base, length) within 192.0.0.0/16, so that many nest."""
    pair = st.tuples(st.integers(0, 0xFFFF), st.integers(16, 32))
    return st.lists(pair, max_size=40)


@given(_nets(), st.lists(st.integers(0, 0xFFFF), min_size=1, max_size=40))
def test_innermost_network_answers(nets: list[tuple[int, int]], wanted: list[int]) -> None:
    given_ = [ipaddress.ip_network((0xC0000000 + base, bits), strict=False) for base, bits in nets]
    found = NetworkMap((network(str(net)), index) for index, net in enumerate(given_))
    for low in wanted:
        ip = ipaddress.ip_address(0xC0000000 + low)
        holding = [(net.prefixlen, index) for index, net in enumerate(given_) if ip in net]
        assert found.get(address(str(ip))) == (max(holding)[1] if holding else None)


def test_edges_of_the_address_space_are_no_trouble() -> None:
    found = NetworkMap(
        [(network("0.0.0.0/0"), "all"), (network("255.255.255.255"), "last"), (network("0.0.0.0"), "first")]
    )
    answers = [found.get(address(ip)) for ip in ("0.0.0.0", "0.0.0.1", "255.255.255.254", "255.255.255.255", "::1")]
    assert answers == ["first", "all", "all", "last", None]
    assert NetworkMap().get(address("192.0.2.1")) is None


def test_pieces_of_a_map_are_disjoint_and_answer_like_the_map() -> None:
    found = NetworkMap((network(row[0]), row[3]) for row in ROWS)
    last = {4: -1, 6: -1}
    for span, name in found.pieces():
        assert span.first > last[span.version]
        last[span.version] = span.last
        for number in (span.first, span.last):
            assert found.get(Address(span.version, number)) == name


def test_shipped_table_is_well_formed_and_names_no_network_twice() -> None:
    assert len(ROWS) > 500
    nets = [ipaddress.ip_network(row[0]) for row in ROWS]  # strict: no bit beyond the length
    assert len(set(nets)) == len(nets)
    assert nets == sorted(nets, key=lambda net: (net.version, int(net.network_address), net.prefixlen))
    for _, asn, country, name in ROWS:
        assert name.strip() == name != ""
        assert country == "" or (len(country) == 2 and country.isupper())
        assert (asn == "") == (country == "")
        assert asn == "" or 0 < int(asn) < 1 << 32


def test_shipped_table_answers_like_its_own_lines() -> None:
    """Random addresses within and beside each line, against a plain search for the longest network."""
    rng = random.Random(7489)
    nets = [(ipaddress.ip_network(row[0]), row) for row in ROWS]
    shipped = table()
    for net, _ in rng.sample(nets, 120):
        size = net.num_addresses
        first = int(net.network_address)
        top = (1 << net.max_prefixlen) - 1
        for number in (first, first + size - 1, first + rng.randrange(size), max(0, first - 1), min(top, first + size)):
            ip = (ipaddress.IPv4Address if net.version == 4 else ipaddress.IPv6Address)(number)
            holding = [(other.prefixlen, row) for other, row in nets if other.version == net.version and ip in other]
            expected = NOWHERE
            if holding:
                _, (_, asn, country, name) = max(holding, key=lambda pair: pair[0])
                expected = Place(country or None, int(asn) if asn else None, name)
            if ":" in str(ip) and ip.ipv4_mapped:  # type: ignore[union-attr]
                continue
            assert shipped.place(str(ip)) == expected, ip


def test_documentation_addresses_have_a_name_and_no_country() -> None:
    assert table().place("192.0.2.9") == Place(None, None, "Documentation (RFC 5737)")
    assert table().place("2001:db8::9").country is None


def test_text_that_is_no_address_is_nowhere() -> None:
    assert Geo([table()]).place("no address") == NOWHERE


def test_first_layer_that_knows_a_field_answers_it() -> None:
    countries = Table(["192.0.2.0/24\t\tCH\t"], "countries")
    numbers = Table(["192.0.2.0/25\t64500\tDE\tExample Net", "198.51.100.0/24\t64501\tFR\tOther Net"], "numbers")
    geo = Geo([countries, numbers])
    assert geo.place("192.0.2.1") == Place("CH", 64500, "Example Net")
    assert geo.place("192.0.2.200") == Place("CH", None, None)
    assert geo.place("198.51.100.1") == Place("FR", 64501, "Other Net")
    ips = ["192.0.2.1", "192.0.2.1", "::1", "no address"]
    codes, places = geo.find(ips, Numbers(ips))
    assert [places[code] for code in codes] == [geo.place("192.0.2.1")] * 2 + [NOWHERE] * 2


@given(st.lists(st.one_of(st.ip_addresses().map(str), st.text(max_size=9)), max_size=30))
def test_many_addresses_find_what_each_alone_finds(ips: list[str]) -> None:
    ips += ["0.0.0.0", "255.255.255.255", "::ffff:192.0.2.5", "::", "8.8.8.8"]
    geo = Geo([table()])
    codes, places = geo.find(ips, Numbers(ips))
    assert [places[code] for code in codes] == [geo.place(ip) for ip in ips]
