"""The demo's senders are judged as its story tells of them, without any label."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from dmarcview.config import Config, Geo
from dmarcview.demo import networks, reports, rhythm, traffic
from dmarcview.demo.story import DOMAINS, REPORTERS, SENDERS
from dmarcview.store import Store
from dmarcview.upkeep import classify
from dmarcview_reports import reading
from dmarcview_reports.model import Origin, Taken
from dmarcview_reports.settings import Limits

TODAY = date(2026, 3, 4)
NOW = rhythm.midnight(TODAY)
CLASSES = {
    "own": {"own"},
    "service": {"own", "third_party"},  # without an envelope of its own nothing tells it from a host of ours
    "forwarder": {"forwarder"},
    "spoof": {"unknown"},
}
UNKNOWN = "Quick Survey (new)"  # signed, but not in our name


@pytest.mark.parametrize("domain", ["example.com", "example.org"])
def test_every_sender_of_the_year_has_the_class_that_it_has_in_the_story(tmp_path: Path, domain: str) -> None:
    taken = []
    (ours,) = (one for one in DOMAINS if one.name == domain)
    for age in range(traffic.DAYS, 0, -1):
        for reporter in REPORTERS:
            made = traffic.report(TODAY, age, ours, reporter)
            if made is not None:
                xml = reports.xml(made)
                taken.append(Taken(Origin(f"{age}", NOW), xml, reading.read(xml, f"{age}", Limits(), NOW)))
    (tmp_path / "countries.mmdb").write_bytes(networks.countries())
    (tmp_path / "systems.mmdb").write_bytes(networks.systems())
    geo = Geo(country=str(tmp_path / "countries.mmdb"), asn=str(tmp_path / "systems.mmdb"))
    with Store.open(tmp_path / "d", clock=lambda: NOW) as store:
        store.append_many(taken, keep_raw=False)
        classify(store, replace(Config(), geo=geo), NOW)
        found = {row.source_ip: row.source_class for row in store.source_rows(domain)}
    senders = [sender for sender in SENDERS if sender.domain == domain]
    wrong = {
        (sender.name, address): found.get(address)
        for sender in senders
        for address in sender.addresses
        if found.get(address) not in (CLASSES[sender.kind] if sender.name != UNKNOWN else {"unknown"})
    }
    assert wrong == {}
