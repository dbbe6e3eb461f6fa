"""The gauges as Prometheus reads them: equal to the store, bounded, escaped, and behind the guard of the pages."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from dashboard_data import TODAY, fill, noon
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from dmarcview import __version__, query
from dmarcview.alerts import gauges, memory
from dmarcview.alerts.model import Finding
from dmarcview.dashboard.app import create_app
from dmarcview.query import Filters
from dmarcview.store import Store, StoreError, incidents
from dmarcview_relay.envelope import Mail, Recipient
from dmarcview_relay.queue import Queue
from dmarcview_smtp.address import read_address

NOW = int(noon(TODAY))
DAY = 86_400
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def read(text: str) -> Samples:
    """Every sample by name and labels."""
    return {
        (one.name, frozenset(one.labels.items())): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[f"dmarcview_{name}", frozenset(labels.items())]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with fill(tmp_path_factory.mktemp("gauges"), days=40) as filled:
        yield filled


@pytest.fixture
def client(store: Store) -> Any:
    return create_app(store, prefix="/mail/").server.test_client()


def scraped(client: Any) -> Samples:
    answer = client.get("/mail/metrics", headers={"Host": "127.0.0.1:8080"})
    assert answer.status_code == 200
    assert answer.content_type.startswith("text/plain; version=")
    return read(answer.get_data(as_text=True))


def test_the_last_complete_day_is_that_of_the_store_and_named(store: Store, client: Any) -> None:
    found = scraped(client)
    day = datetime.fromtimestamp(value(found, "day_timestamp_seconds"), UTC).date()
    assert day == TODAY - timedelta(days=2)
    domains = query.domains(store, Filters(since=day, until=day + timedelta(days=1)))
    for row in domains.to_dict("records"):
        for outcome in query.OUTCOMES:
            assert value(found, "day_messages", domain=row["domain"], outcome=outcome) == row[outcome]
    assert sum(v for (name, _), v in found.items() if name == "dmarcview_day_messages") == domains["messages"].sum()
    assert value(found, "info", version=__version__) == 1


def test_arrival_and_completeness_are_told_as_times_and_shares(store: Store, client: Any) -> None:
    found = scraped(client)
    rows = query.reports(store, limit=None)
    assert value(found, "report_received_timestamp_seconds") == rows["received"].max().timestamp()
    assert value(found, "report_end_timestamp_seconds") == rows["end"].max().timestamp()
    shares = {dict(labels)["days_ago"]: v for (name, labels), v in found.items() if "completeness" in name}
    assert set(shares) == {str(ago) for ago in range(1, 8)}
    assert all(0 <= share <= 1 for share in shares.values())
    assert shares["1"] < shares["2"]


def test_open_incidents_are_counted_by_kind_level_and_domain(store: Store, client: Any) -> None:
    kinds = [("dmarc_failing", "a.example"), ("dmarc_failing", "b.example"), ("certificate", "")]
    found = [Finding(kind, domain, "x", TODAY, TODAY, 1, "") for kind, domain in kinds]
    memory.settle(store.ledger, found, NOW)
    number = incidents.listed(store.ledger, NOW)[0].id
    incidents.acknowledge(store.ledger, number, author="a", note="", now=NOW)
    incidents.mute(store.ledger, found[0].fingerprint, NOW + 60, author="a", note="", now=NOW)
    incidents.ask(store.ledger, [(number, "opened", "mail", 1), (number, "opened", "chat", 1)], NOW)
    incidents.tried(store.ledger, incidents.due(store.ledger, NOW)[0].id, now=NOW, error="no", again=None)
    seen = scraped(client)
    assert value(seen, "incidents_open", kind="dmarc_failing", level="act", domain="a.example") == 1
    assert value(seen, "incidents_open", kind="certificate", level="act", domain="") == 1
    states = {dict(labels)["state"]: v for (name, labels), v in seen.items() if name == "dmarcview_incidents"}
    assert states == {"open": 3, "acknowledged": 1, "muted": 1}
    assert (value(seen, "notices", state="waiting"), value(seen, "notices", state="given_up")) == (1, 1)
    memory.settle(store.ledger, [], NOW + 1)
    assert value(scraped(client), "incidents", state="open") == 0, "a rule can tell none from no answer"


def test_the_relays_queue_and_the_spool_are_told_and_left_out_where_there_is_none(store: Store, client: Any) -> None:
    assert not [name for name, _ in scraped(client) if "relay" in name]
    queue = Queue(store.data / "relay", reserve=0, clock=lambda: float(NOW - 3_600))
    try:
        to = (Recipient(read_address("a@far.test")), Recipient(read_address("b@far.test")))
        mail = Mail(read_address("a@from.test"), to, NOW - 3_600, 5, hold="waits for a key")
        asyncio.run(queue.put(mail, b"x\r\n\r\n"))
        found = scraped(client)
    finally:
        queue.close()
    assert value(found, "relay_recipients", state="held") == 2
    assert value(found, "relay_recipients", state="waiting") == 0
    assert value(found, "relay_oldest_timestamp_seconds") == 0
    assert value(found, "spool_mails") == 0


def test_labels_are_bounded_and_the_rest_is_one_line(tmp_path: Path) -> None:
    many = [Finding("forged", f"d{n:03d}.example", "x", TODAY, TODAY, 1, "") for n in range(200)]
    with Store.open(tmp_path, clock=lambda: float(NOW)) as store:
        memory.settle(store.ledger, many, NOW)
        found = read(gauges.exposition(store, TODAY, {}).decode())
    lines = {dict(labels)["domain"]: v for (name, labels), v in found.items() if name == "dmarcview_incidents_open"}
    assert len(lines) == gauges.DOMAINS + 1
    assert sum(lines.values()) == 200
    assert lines["_other"] == 200 - gauges.DOMAINS


@given(st.text(max_size=400))
def test_no_name_of_a_stranger_breaks_the_text(name: str) -> None:
    made = gauges._gauge("x", "Help.", ((name, "b"), 1), labels=("domain", "kind"))
    registry = gauges.CollectorRegistry()
    registry.register(gauges._Found([made]))
    lines = gauges.generate_latest(registry).decode().split("\n")
    assert [line.split("{")[0] for line in lines] == [
        "# HELP dmarcview_x Help.",
        "# TYPE dmarcview_x gauge",
        "dmarcview_x",
        "",
    ]


def test_every_gauge_has_help_a_unit_and_a_name_by_the_conventions(store: Store, client: Any) -> None:
    text = client.get("/mail/metrics", headers={"Host": "localhost"}).get_data(as_text=True)
    families = list(text_string_to_metric_families(text))
    assert {family.type for family in families} == {"gauge"}
    for family in families:
        assert re.fullmatch(r"dmarcview_[a-z]+(_[a-z]+)*", family.name)
        assert family.documentation.endswith((".", "waits."))
        assert not family.name.endswith(("_total", "_count", "_sum", "_bucket"))
        if max((one.value for one in family.samples), default=0) > 1e9:
            assert family.name.endswith("_timestamp_seconds")


def test_the_docs_name_every_gauge_and_the_sample_rules_no_other(store: Store, client: Any) -> None:
    Queue(store.data / "relay", reserve=0).close()
    text = client.get("/mail/metrics", headers={"Host": "localhost"}).get_data(as_text=True)
    known = {family.name for family in text_string_to_metric_families(text)}
    docs = Path(__file__).parent.parent / "docs"
    named = re.compile(r"dmarcview_[a-z_]+")
    table = (docs / "alerts.md").read_text().partition("## Prometheus")[2]
    assert set(named.findall(table)) == known
    rules = (docs / "operating.md").read_text().partition("### Rules for Prometheus")[2].partition("\n## ")[0]
    assert set(named.findall(rules)) <= known


def test_the_guard_of_the_pages_stands_before_them(client: Any) -> None:
    assert client.get("/mail/metrics", headers={"Host": "evil.test"}).status_code == 421
    assert client.post("/mail/metrics", headers={"Host": "localhost"}).status_code == 405


def test_a_store_that_fails_is_an_error_and_no_empty_answer(
    store: Store, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise StoreError("gone")

    monkeypatch.setattr(incidents, "listed", broken)
    assert client.get("/mail/metrics", headers={"Host": "localhost"}).status_code == 503


def test_an_empty_store_has_gauges_too(tmp_path: Path) -> None:
    with Store.open(tmp_path, clock=lambda: float(NOW)) as store:
        answer = create_app(store).server.test_client().get("/metrics", headers={"Host": "localhost"})
    found = read(answer.get_data(as_text=True))
    assert value(found, "incidents", state="open") == 0
    assert not [name for name, _ in found if "report" in name]
    assert date.fromtimestamp(value(found, "day_timestamp_seconds")) <= TODAY
