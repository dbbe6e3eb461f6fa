"""MMDB files of several makers: configured, found in the usual places, damaged, and odd in their fields."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dmarcview.demo import networks
from dmarcview.geo import NOWHERE, GeoError, Mmdb, Place, open_geo, read_place, table


def write(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    return str(path)


def test_configured_files_answer_before_the_built_in_table(tmp_path: Path) -> None:
    country = write(tmp_path / "c.mmdb", networks.countries())
    asn = write(tmp_path / "a.mmdb", networks.systems())
    geo = open_geo(country, asn, places=())
    found = geo.place("192.0.2.10")
    assert found.country is not None
    assert found.asn is not None
    assert 64496 <= found.asn <= 64511
    assert found.as_name != table().place("192.0.2.10").as_name
    assert geo.place("209.85.220.41") == Place("US", 15169, "Google")  # the table fills what the files leave out
    assert geo.place("::ffff:192.0.2.10") == found


def test_one_file_named_twice_is_opened_once(tmp_path: Path) -> None:
    both = write(tmp_path / "both.mmdb", networks.systems())
    assert [layer.name for layer in open_geo(both, both, places=()).layers] == [both, "built-in table"]


def test_files_in_the_usual_places_are_found(tmp_path: Path) -> None:
    near, far = tmp_path / "near", tmp_path / "far"
    near.mkdir()
    far.mkdir()
    write(near / "GeoLite2-ASN.mmdb", networks.systems())
    write(far / "GeoLite2-ASN.mmdb", b"shadowed by the nearer one")
    write(far / "GeoLite2-Country.mmdb", networks.countries())
    geo = open_geo(places=(str(near), str(far), str(tmp_path / "absent")))
    assert [Path(layer.name).parent.name for layer in geo.layers[:2]] == ["far", "near"]
    assert geo.place("192.0.2.10").country is not None


def test_damaged_file_in_a_usual_place_is_left_out(tmp_path: Path) -> None:
    write(tmp_path / "GeoLite2-ASN.mmdb", b"not a database")
    geo = open_geo(places=(str(tmp_path),))
    assert [layer.name for layer in geo.layers] == ["built-in table"]


@pytest.mark.parametrize("content", [b"", b"not a database", None])
def test_named_file_that_cannot_be_read_is_an_error_that_names_it(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "named.mmdb"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(GeoError, match=r"named\.mmdb is not a readable MMDB file.*\[geo\]"):
        open_geo(str(path), places=())


def test_text_that_is_no_address_is_nowhere(tmp_path: Path) -> None:
    assert Mmdb(Path(write(tmp_path / "a.mmdb", networks.systems()))).place("no address") == NOWHERE


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"country": {"iso_code": "CH"}}, Place("CH")),
        ({"registered_country": {"iso_code": "CH"}}, Place("CH")),
        ({"country": {"names": {"en": "Nowhere"}}}, NOWHERE),
        ({"country_code": "ch", "country": "Switzerland"}, Place("CH")),
        ({"country": "CH"}, Place("CH")),
        ({"country_code": "Switzerland"}, NOWHERE),
        (
            {"autonomous_system_number": 64500, "autonomous_system_organization": "Example"},
            Place(None, 64500, "Example"),
        ),
        ({"asn": "AS64500", "as_name": "Example", "country_code": "DE"}, Place("DE", 64500, "Example")),
        ({"asn": "64500"}, Place(None, 64500)),
        ({"asn": "none"}, NOWHERE),
        ({"asn": -3, "as_name": 7, "country": 9}, NOWHERE),
        ({"asn": 1 << 40, "as_name": "n" * 1_000}, Place(None, None, "n" * 200)),
        ({}, NOWHERE),
    ],
)
def test_fields_of_every_maker_are_read_and_nonsense_is_left_out(record: dict[str, Any], expected: Place) -> None:
    assert read_place(record) == expected
