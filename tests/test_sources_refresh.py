"""From stored reports to stored classes: the real store, the demo's world, and labels."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from dmarcview.config import Config
from dmarcview.demo import traffic
from dmarcview.demo.story import SENDERS
from dmarcview.geo import Geo, table
from dmarcview.services import directory
from dmarcview.sources import Refreshed, Refresher, refresh
from dmarcview.store import Label, NamedAddress, Store
from dmarcview_reports.model import (
    DkimResult,
    Origin,
    Reading,
    Record,
    Records,
    Report,
    Shape,
    SpfResult,
    Taken,
    Verdict,
)

NOW = 1_790_000_000
DAY = 86_400
TODAY = date(2026, 9, 21)


def report(domain: str, day: int, records: Iterable[Record], submitter: str = "reporter.example") -> Report:
    """A report on the `day`th day before NOW."""
    columns = Records()
    for record in records:
        columns.source_ip.append(record.source_ip)
        columns.count.append(record.count)
        columns.shape.append(len(columns.shapes))
        columns.shapes.append(record.shape)
    begin = (NOW // DAY - day) * DAY
    return _report(submitter, f"{domain}-{day}", begin, begin + DAY, domain, columns)


def _report(submitter: str, id_: str, begin: int, end: int, domain: str, columns: Records) -> Report:
    return Report(
        submitter=submitter, org_name=submitter, org_email=f"x@{submitter}", report_id=id_, begin=begin, end=end,
        schema="rfc7489", generator=None, domain=domain, adkim="r", aspf="r", p="none", sp=None, np=None, pct=100,
        fo=None, testing=None, discovery_method=None, errors=(), records=columns, warnings=(), warning_counts={},
        content_hash=hashlib.sha256(f"{submitter} {id_}".encode()).hexdigest(),
    )  # fmt: skip


def shape(
    domain: str, *, dkim: Sequence[tuple[str, str, str]] = (), spf: tuple[str, str] | None = None,
    overrides: tuple[str, ...] = (), envelope: str | None = None,
) -> Shape:  # fmt: skip
    """Signatures as (domain, selector, result), SPF as (domain, result); alignment follows from them."""
    return Shape(
        "none",
        any(result == "pass" and name.endswith(domain) for name, _, result in dkim),
        spf is not None and spf[1] == "pass" and spf[0].endswith(domain),
        overrides,
        ("",) * len(overrides),
        domain,
        envelope,
        None,
        tuple(DkimResult(name, selector, result, None) for name, selector, result in dkim),
        (SpfResult(spf[0], "mfrom", spf[1], None),) if spf else (),
    )


def keep(store: Store, *reports: Report, auth: str = "unknown") -> None:
    store.append_many(
        [
            Taken(Origin(r.content_hash, NOW), r.content_hash.encode(), Reading(r.report_id, (r,)), Verdict(auth))
            for r in reports
        ],
        keep_raw=False,
    )


def refresher(own_networks: Sequence[str] = (), approved: Sequence[str] = ()) -> Refresher:
    return Refresher(Geo([table()]), directory(), own_networks, approved)


def classes(store: Store) -> dict[tuple[str, str], str]:
    return {(row.domain, row.source_ip): row.source_class for row in store.source_rows()}


@pytest.fixture
def store(tmp_path: Path) -> Iterable[Store]:
    with Store.open(tmp_path / "data", clock=lambda: NOW) as opened:
        yield opened


def test_senders_of_the_demo_world_get_the_class_that_its_story_tells(store: Store) -> None:
    made = list(traffic.year(TODAY, days=30))
    keep(
        store,
        *(_report(m.reporter.domain, m.report_id, m.begin, m.end, m.domain.name, _columns(m.records)) for m in made),
    )
    refresher().run(store, NOW)
    found = classes(store)
    expected = {"forwarder": {"forwarder"}, "spoof": {"unknown"}, "own": {"own"}, "service": {"own", "third_party"}}
    wrong = [
        (sender.domain, sender.name, ip, found[sender.domain, ip])
        for sender in SENDERS
        for ip in sender.addresses
        if (sender.domain, ip) in found
        and not sender.name.startswith("Quick Survey")  # it is not set up for the domain, and nobody approved it
        and found[sender.domain, ip] not in expected[sender.kind]
    ]
    assert not wrong
    assert {found[key] for key in found if key[0] == "example.com"} == {"own", "third_party", "forwarder", "unknown"}


def _columns(records: Iterable[Record]) -> Records:
    columns = Records()
    for record in records:
        columns.source_ip.append(record.source_ip)
        columns.count.append(record.count)
        columns.shape.append(len(columns.shapes))
        columns.shapes.append(record.shape)
    return columns


def test_one_good_signature_among_several_is_a_pass(store: Store) -> None:
    both = shape("example.org", dkim=[("example.org", "ed", "fail"), ("example.org", "rsa", "pass")])
    keep(store, *(report("example.org", day, [Record("192.0.2.1", 40, both)]) for day in range(1, 6)))
    refresher().run(store, NOW)
    (row,) = store.source_rows()
    assert (row.source_class, row.messages) == ("own", 200)
    (reason,) = [e for e in row.evidence if e["code"] == "dkim_aligned"]
    assert (reason["messages"], reason["of"]) == (200, 200)


def test_two_domains_that_share_an_address_are_classified_apart(store: Store) -> None:
    good = shape("example.org", dkim=[("example.org", "s", "pass")], spf=("example.org", "pass"))
    bad = shape("example.com", spf=("example.com", "fail"))
    for day in range(1, 4):
        keep(store, report("example.org", day, [Record("192.0.2.1", 30, good)]))
        keep(store, report("example.com", day, [Record("192.0.2.1", 30, bad)]))
    refresher().run(store, NOW)
    assert classes(store) == {("example.org", "192.0.2.1"): "own", ("example.com", "192.0.2.1"): "unknown"}


def test_own_source_that_lost_its_key_and_spf_yesterday_stays_own(store: Store) -> None:
    good = shape("example.org", dkim=[("example.org", "s", "pass")], spf=("example.org", "pass"))
    bad = shape("example.org", dkim=[("example.org", "s", "permerror")], spf=("example.org", "fail"))
    keep(store, *(report("example.org", day, [Record("192.0.2.1", 30, good)]) for day in range(2, 9)))
    one = refresher()
    one.run(store, NOW)
    keep(store, report("example.org", 1, [Record("192.0.2.1", 400, bad)]))
    done = one.run(store, NOW + 60)
    assert classes(store) == {("example.org", "192.0.2.1"): "own"}
    assert done == Refreshed(looked_at=1, written=1, moved=0)


def test_forged_report_makes_no_source_ours(store: Store) -> None:
    good = shape("example.org", dkim=[("example.org", "s", "pass")], spf=("example.org", "pass"))
    keep(store, report("example.org", 1, [Record("203.0.113.66", 9_000, good)]), auth="fail")
    refresher().run(store, NOW)
    assert classes(store).get(("example.org", "203.0.113.66")) in (None, "unknown")


def test_run_without_news_does_nothing(store: Store) -> None:
    keep(store, report("example.org", 1, [Record("192.0.2.1", 30, shape("example.org"))]))
    one = refresher()
    assert one.run(store, NOW).written == 1
    version = store.version()
    assert one.run(store, NOW + 5) == Refreshed(0, 0, 0)
    assert store.version() == version


def test_label_is_followed_by_the_next_run_remembered_and_given_up_when_removed(store: Store) -> None:
    keep(store, report("example.org", 1, [Record("203.0.113.5", 30, shape("example.org"))]))
    one = refresher()
    one.run(store, NOW)
    store.put_label(Label("ip", "203.0.113.5", "own", domain="example.org", author="ada", at=NOW))
    one.run(store, NOW + 1)
    (row,) = store.source_rows()
    assert (row.source_class, row.by, row.evidence[0]["code"]) == ("own", "user", "label")
    keep(store, report("example.org", 2, [Record("203.0.113.5", 70, shape("example.org"))]))
    refresher().run(store, NOW + 2)
    (row,) = store.source_rows()
    assert (row.source_class, row.messages) == ("own", 100)
    (label,) = store.labels()
    store.remove_label(label.id)
    one.run(store, NOW + 3)
    assert classes(store) == {("example.org", "203.0.113.5"): "unknown"}


def test_new_home_of_a_key_is_learnt_when_more_reports_come(store: Store) -> None:
    """A forwarder seen first looks like a lone sender; once the home is known it is a forwarder."""
    passed_on = shape("example.org", dkim=[("example.org", "s", "pass")], spf=("example.org", "fail"))
    home = shape("example.org", dkim=[("example.org", "s", "pass")], spf=("example.org", "pass"))
    one = refresher()
    keep(store, report("example.org", 3, [Record("203.0.113.5", 10, passed_on)]))
    one.run(store, NOW)
    assert classes(store) == {("example.org", "203.0.113.5"): "own"}
    keep(store, *(report("example.org", day, [Record("192.0.2.1", 900, home)], "other.example") for day in (1, 2)))
    one.run(store, NOW + 3_600)
    assert classes(store) == {("example.org", "203.0.113.5"): "forwarder", ("example.org", "192.0.2.1"): "own"}


def test_confirmed_name_from_the_cache_joins_the_row_and_outlives_its_entry(store: Store) -> None:
    keep(store, report("example.org", 1, [Record("203.0.113.5", 30, shape("example.org"))]))
    one = refresher()
    store.put_addresses([NamedAddress("203.0.113.5", "app7.example.org", NOW + 60)])
    one.run(store, NOW)
    (row,) = store.source_rows()
    assert (row.source_class, row.reverse_dns) == ("own", "app7.example.org")
    store.put_addresses([NamedAddress("203.0.113.5", "app7.example.org", NOW - 60)])
    one.run(store, NOW, everything=True)
    assert store.source_rows() == [row]
    store.put_addresses([NamedAddress("203.0.113.5", None, NOW + 60)])
    one.run(store, NOW, everything=True)
    (row,) = store.source_rows()
    assert (row.source_class, row.reverse_dns) == ("unknown", None)


def test_configuration_is_followed_and_an_import_needs_one_call(store: Store) -> None:
    keep(store, report("example.org", 1, [Record("198.51.100.5", 30, shape("example.org"))]))
    config = Config()
    config = replace(config, domains=replace(config.domains, own_networks=("198.51.100.0/24",)))
    assert refresh(store, config, NOW).moved == 1
    assert classes(store) == {("example.org", "198.51.100.5"): "own"}


def test_large_store_is_done_in_parts_of_whole_domains(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["dmarcview.sources.refresh"], "BATCH", 3)
    for n in range(5):
        domain = f"d{n}.example"
        good = shape(domain, dkim=[(domain, "s", "pass")], spf=(domain, "pass"))
        passed_on = shape(domain, dkim=[(domain, "s", "pass")], spf=(domain, "fail"))
        keep(store, report(domain, 1, [Record("192.0.2.1", 900, good), Record("203.0.113.5", 9, passed_on)]))
    assert refresher().run(store, NOW) == Refreshed(10, 10, 10)
    assert {key[1]: value for key, value in classes(store).items()} == {"192.0.2.1": "own", "203.0.113.5": "forwarder"}
    assert refresher().run(store, NOW) == Refreshed(10, 0, 0)
    assert store.touched_since(store.classified()) == []
