"""Which series there are: of domains first, then of the busiest senders, and never more than can be judged at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from dmarcview.alerts import series
from dmarcview.alerts.series import Loaded, Series, Volume
from dmarcview.store.facts import SourceRow
from tests.reconcile_world import seen, told, world
from tests.store_data import D0, DAY

NOW = D0 + 40 * DAY
DOMAINS = [f"d{number}.example" for number in range(4)]


def loaded(folder: Path) -> Loaded:
    """Four domains of five hosts each, and a stranger; the later the domain and the host, the busier it is."""
    reports, rows = [], []
    for place, domain in enumerate(DOMAINS):
        hosts = [(f"192.0.2.{n}", 1 + n + 10 * place, seen()) for n in range(5)]
        reports.append(told(*hosts, ("203.0.113.7", 5, seen(None, "fail")), day=30, domain=domain))
        rows += [SourceRow(domain, host, "own") for host, *_ in hosts]
        rows.append(SourceRow(domain, "203.0.113.7", "unknown", service=f"Shop {place}"))
    with world(folder, [], reports, now=NOW) as store:
        store.put_sources(rows)
        return series.load(store, NOW // DAY)


def test_each_domain_has_a_series_for_all_and_for_each_sender(tmp_path: Path) -> None:
    found = loaded(tmp_path)
    assert len(found.series) == 3 * 4 * 6
    assert len(found.volumes) == 4 * 2
    assert (
        int(found.cells.total[found.cells.series == found.series.index(Series("d1.example", "dmarc", ""))].sum()) == 65
    )


def test_of_too_many_series_those_of_domains_and_of_the_busiest_senders_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(series, "MOST_SERIES", 3 * 6)
    found = loaded(tmp_path)
    assert {(one.domain, one.group) for one in found.series} == {
        *((domain, "") for domain in DOMAINS), ("d3.example", "192.0.2.4"), ("d3.example", "192.0.2.3")}  # fmt: skip
    assert len(found.series) == 18
    monkeypatch.setattr(series, "MOST_SERIES", 5)
    found = loaded(tmp_path / "fewer")
    assert found.volumes[:2] == (Volume("d0.example", ""), Volume("d0.example", "Shop 0"))
    assert [one.sender for one in found.volumes].count("") == 4
    assert found.series == tuple(Series("d3.example", name, "") for name in ("dmarc", "spf", "dkim"))
