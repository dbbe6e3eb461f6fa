"""Country and network of an address, without asking anybody: MMDB files when there are any, else our own table.

Each field is answered by the first layer that knows it: the configured files, files in the usual places, the table
that comes with dmarcview (`data/networks.tsv`: networks that send much mail, and those set apart by the IETF).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from dmarcview.networks import NetworkMap, Numbers, address, network

USUAL_PLACES = ("/usr/share/GeoIP", "/var/lib/GeoIP", "/usr/local/share/GeoIP", "/usr/share/geoip")
USUAL_FILES = (
    "GeoLite2-Country.mmdb",
    "GeoLite2-City.mmdb",
    "GeoLite2-ASN.mmdb",
    "dbip-country-lite.mmdb",
    "dbip-asn-lite.mmdb",
    "ipinfo_lite.mmdb",
)
LONGEST_NAME = 200  # characters of a network's name that are kept
TABLE_DATE = "2026-10"


class Place(NamedTuple):
    """Where an address belongs: ISO 3166 country of the registration, AS number, name of the network."""

    country: str | None = None
    asn: int | None = None
    as_name: str | None = None


NOWHERE = Place()


class Layer(Protocol):
    """Anything that knows places."""

    name: str

    def place(self, ip: str) -> Place:
        """What this layer knows of the address; empty fields when nothing."""
        ...


class GeoError(Exception):
    """A configured geo file cannot be used; the message names it and says what to do."""


class Table:
    """Places of a text table: `network`, `AS number`, `country`, `name`, set apart by tabs; `#` begins a comment."""

    def __init__(self, lines: Iterable[str], name: str = "built-in table") -> None:
        self.name = name
        self._map = NetworkMap(_rows(lines))

    def place(self, ip: str) -> Place:
        """The row of the longest network that holds `ip`."""
        return self._map.get(address(ip)) or NOWHERE

    def find(self, wanted: Numbers) -> tuple[Any, list[Place]]:
        """`place` of many, as `NetworkMap.find` gives it."""
        return self._map.find(wanted)

    def __len__(self) -> int:
        return len(self._map)


def _rows(lines: Iterable[str]) -> Iterable[tuple[Any, Place]]:
    for line in lines:
        if line.startswith("#") or not line.strip():
            continue
        where, asn, country, name = line.rstrip("\n").split("\t")
        yield network(where), Place(country or None, int(asn) if asn else None, name or None)


class Mmdb:
    """Places of a MaxMind DB file of any maker: country files, ASN files, and files with both."""

    def __init__(self, path: Path) -> None:
        import maxminddb

        self.name = str(path)
        try:
            self._reader = maxminddb.open_database(path)
        except (OSError, ValueError, maxminddb.InvalidDatabaseError) as error:
            raise GeoError(
                f"{path} is not a readable MMDB file ({error}): download it again or correct [geo]"
            ) from error
        facts = self._reader.metadata()
        self._only_v4 = facts.ip_version == 4
        self.built = datetime.fromtimestamp(facts.build_epoch, UTC)

    def place(self, ip: str) -> Place:
        """What the file says of `ip`, whichever of the usual field names it uses."""
        where = address(ip)
        if where is None or (where.version == 6 and self._only_v4):
            return NOWHERE
        plain = str(IPv4Address(where.number)) if where.version == 4 and ":" in ip else ip
        found = self._reader.get(plain)
        return read_place(found) if isinstance(found, Mapping) else NOWHERE


def read_place(found: Mapping[str, Any]) -> Place:
    """Place of one MMDB record: the field names of MaxMind, DB-IP and IPinfo; other shapes give empty fields."""
    country = found.get("country") or found.get("registered_country") or found.get("country_code")
    if isinstance(country, Mapping):
        country = country.get("iso_code")
    elif "country_code" in found:
        country = found["country_code"]
    asn = found.get("autonomous_system_number", found.get("asn"))
    name = found.get("autonomous_system_organization") or found.get("as_name") or found.get("name")
    if isinstance(asn, str):
        digits = asn.upper().removeprefix("AS")
        asn = int(digits) if digits.isascii() and digits.isdigit() else None
    if not isinstance(asn, int) or not 0 < asn < 1 << 32:  # RFC 6793
        asn = None
    if not (isinstance(country, str) and len(country) == 2 and country.isascii() and country.isalpha()):
        country = None
    return Place(
        country.upper() if country else None,
        asn,
        name[:LONGEST_NAME] if isinstance(name, str) and name else None,
    )


class Geo:
    """Layers asked in order; each field of the answer comes from the first layer that knows it."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.layers = tuple(layers)

    def place(self, ip: str) -> Place:
        """Country, AS number and AS name of `ip`; None for what no layer knows. The two AS fields stay together."""
        country: str | None = None
        asn: int | None = None
        as_name: str | None = None
        for layer in self.layers:
            found = layer.place(ip)
            country = country or found.country
            if asn is None and (as_name is None or found.asn is not None):
                asn, as_name = found.asn, found.as_name or as_name
            if country and asn is not None:
                break
        return Place(country, asn, as_name)

    def find(self, ips: Sequence[str], wanted: Numbers) -> tuple[Any, list[Place]]:
        """`place` of many: an array with the place of each answer among the distinct answers, and these.

        `wanted` are the same addresses as numbers.
        """
        import numpy as np

        if len(self.layers) == 1 and isinstance(self.layers[0], Table):
            codes, places = self.layers[0].find(wanted)
            return np.where(codes < 0, len(places), codes), [*places, NOWHERE]
        known: dict[Place, int] = {}
        found = [known.setdefault(self.place(ip), len(known)) for ip in ips]
        return np.array(found, dtype=np.int64), list(known)


@cache
def table() -> Table:
    """The table that comes with dmarcview, read once."""
    text = resources.files("dmarcview").joinpath("data", "networks.tsv").read_text(encoding="utf-8")
    return Table(text.splitlines())


def find(places: Sequence[str] = USUAL_PLACES, files: Sequence[str] = USUAL_FILES) -> list[Path]:
    """MMDB files in the usual places, in order of preference, one of each name."""
    found: dict[str, Path] = {}
    for folder in places:
        for file in files:
            path = Path(folder, file)
            if file not in found and path.is_file():
                found[file] = path
    return [found[file] for file in files if file in found]


def open_geo(country: str = "", asn: str = "", *, places: Sequence[str] = USUAL_PLACES) -> Geo:
    """The layers of a configuration: the files named, those found in `places`, the built-in table.

    Raises GeoError for a named file that cannot be read; a found one that cannot be read is left out.
    """
    layers: list[Layer] = [Mmdb(Path(path)) for path in dict.fromkeys((country, asn)) if path]
    for path in find(places):
        try:
            layers.append(Mmdb(path))
        except GeoError:
            continue  # nobody named it; the table below still answers
    return Geo([*layers, table()])
