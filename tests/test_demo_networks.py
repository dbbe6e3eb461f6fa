"""The demo's MMDB files: read back with the library that users' databases are read with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import maxminddb

from dmarcview.demo import networks
from dmarcview.demo.story import SENDERS


def opened(tmp_path: Path, content: bytes) -> Any:
    path = tmp_path / "demo.mmdb"
    path.write_bytes(content)
    return maxminddb.open_database(path)


def test_every_sender_has_a_country_and_a_network(tmp_path: Path) -> None:
    with opened(tmp_path, networks.countries()) as countries:
        for sender in SENDERS:
            for address in sender.addresses:
                assert len(countries.get(address)["country"]["iso_code"]) == 2, address
    with opened(tmp_path, networks.systems()) as systems:
        for sender in SENDERS:
            for address in sender.addresses:
                assert 64496 <= systems.get(address)["autonomous_system_number"] <= 64511, address


def test_every_network_is_found_at_both_ends_with_its_own_value(tmp_path: Path) -> None:
    import ipaddress

    with opened(tmp_path, networks.systems()) as systems:
        for network in networks.NETWORKS:
            whole = ipaddress.ip_network(network.prefix)
            for address in (whole[0], whole[-1]):
                found = systems.get(address)
                assert found["autonomous_system_organization"] == network.owner


def test_an_address_outside_is_unknown_and_the_metadata_is_whole(tmp_path: Path) -> None:
    with opened(tmp_path, networks.countries()) as countries:
        assert countries.get("8.8.8.8") is None
        assert countries.get("2001:db9::1") is None
        metadata = countries.metadata()
        assert (metadata.ip_version, metadata.record_size, metadata.languages) == (6, 32, ["en"])
        assert metadata.build_epoch == networks.EPOCH


def test_long_texts_are_encoded_with_their_own_size_byte() -> None:
    assert networks.encode("x" * 28)[:1] == bytes([2 << 5 | 28])
    assert networks.encode("x" * 40)[:2] == bytes([2 << 5 | 29, 11])
