"""One look at a whole store: the sample's story is told rightly, and the way in which rows came changes nothing."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from dmarcview.alerts import backtest, memory, signers
from dmarcview.alerts.evaluate import Evaluator, evaluate
from dmarcview.alerts.model import Finding
from dmarcview.config import Config, read
from dmarcview.demo import sample
from dmarcview.library import Library
from dmarcview.store.facts import SourceRow
from tests.reconcile_world import RELAY, mails, seen, told, world
from tests.store_data import D0, DAY

TODAY = date(2026, 11, 28)
NOW = D0 + 60 * DAY + DAY // 2


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> sample.Sample:
    return sample.build(tmp_path_factory.mktemp("sample") / "year", days=100, today=TODAY)


@pytest.fixture(scope="module")
def story(made: sample.Sample) -> list[Finding]:
    with made.open() as store:
        return evaluate(store, made.config, made.now)


def ago(finding: Finding) -> tuple[int, int]:
    return (TODAY - finding.first_day).days, (TODAY - finding.last_day).days


@pytest.mark.slow
def test_what_goes_on_in_the_sample_is_told_and_nothing_else(story: list[Finding]) -> None:
    open_now = {(one.kind, one.cause): one for one in story if one.cleared is None}
    assert set(open_now) == {
        ("dmarc_failing", "192.0.2.20"),
        ("new_source", "quicksurvey.example"),
        ("reporter_silent", "quietpost.example"),
        ("bypass", "192.0.2.20"),
    }
    assert ago(open_now["dmarc_failing", "192.0.2.20"]) == (6, 1)
    assert ago(open_now["new_source", "quicksurvey.example"])[0] == 13
    assert ago(open_now["reporter_silent", "quietpost.example"])[0] == 9


@pytest.mark.slow
def test_what_has_ended_in_the_sample_is_told_with_its_days(story: list[Finding]) -> None:
    over = {(one.kind, one.domain): one for one in story if one.cleared is not None}
    assert set(over) == {("dkim_failing", "example.org"), ("signed_broken", "example.org"), ("forged", "example.com")}
    assert all(one.cause.startswith("selector ") for (kind, _), one in over.items() if kind != "forged")
    assert ago(over["dkim_failing", "example.org"])[0] == ago(over["signed_broken", "example.org"])[0] == 24
    first, last = ago(over["forged", "example.com"])
    assert first == 17
    assert 9 <= last <= 12, "the last day of the wave was 13 days ago, and calm takes two complete days"


@pytest.mark.slow
def test_findings_and_rows_agree(made: sample.Sample, story: list[Finding]) -> None:
    (failing,) = (one for one in story if one.kind == "dmarc_failing")
    with made.open() as store:
        days = store.daily(domains=("example.org",), source_ip="192.0.2.20", since=failing.first_day,
                           until=failing.last_day + timedelta(days=1))  # fmt: skip
    assert failing.total == days["messages"].sum()
    assert failing.failed == days["messages"].sum() - days["dmarc_pass"].sum()


@pytest.mark.slow
def test_a_second_look_finds_no_news(made: sample.Sample, story: list[Finding]) -> None:
    with Library.open(made.data, read_only=False, clock=lambda: made.now) as store:
        assert {change.kind for change in memory.settle(store.ledger, story, made.now)} == {"opened"}
        assert memory.settle(store.ledger, evaluate(store, made.config, made.now), made.now + 60) == []
        assert len(memory.listed(store.ledger, made.now)) == len(story)


@pytest.mark.slow
def test_a_backtest_tells_the_same_incidents_on_the_day_they_could_be_known(made: sample.Sample) -> None:
    with made.open() as store:
        found = backtest.run(store, made.config, made.now, days=30)
    assert [(one.kind, one.domain, (TODAY - one.since).days) for one in found.incidents] == [
        ("dkim_failing", "example.org", 24), ("forged", "example.com", 17), ("forged", "example.com", 13),
        ("dmarc_failing", "example.org", 6)]  # fmt: skip
    assert all(1 <= (one.on - one.since).days <= 2 for one in found.incidents)
    assert [line.threshold for line in found.lines] == sorted(line.threshold for line in found.lines)
    assert [line.incidents for line in found.lines] == sorted((line.incidents for line in found.lines), reverse=True)
    assert [line.used for line in found.lines].count(True) == 1
    assert backtest.as_json(found)["days"] == found.days


def made_up() -> tuple[list[Any], list[Any]]:
    """Sixty days of two senders and two receivers; one sender fails at last, and the relay's key is lost then."""
    deliveries, reports = [], []
    for day in range(60):
        bad = day >= 56
        for host in ("far.test", "away.test"):
            deliveries += mails(9, day, host=f"mx.{host}", recipient_domain=host)
            rows = [
                (RELAY, 9, seen("fail" if bad else "pass")),
                ("192.0.2.99", 8, seen(None, "fail" if bad else "pass")),
            ]
            reports.append(told(*rows, day=day, by=host))
    return deliveries, reports


def look(folder: Path, deliveries: list[Any], batches: list[list[Any]], config: Config) -> list[Finding]:
    with world(folder, deliveries, now=NOW) as store:
        store.put_sources([SourceRow("example.org", ip, "own", first_seen=D0) for ip in (RELAY, "192.0.2.99")])
        for batch in batches:
            store.append_many(batch)
        return evaluate(store, config, NOW)


@pytest.mark.parametrize("shuffle", [random.Random(1), random.Random(2)])
def test_order_duplicates_and_late_reports_change_no_finding(shuffle: random.Random, tmp_path: Path) -> None:
    deliveries, reports = made_up()
    config = read("", {}, tmp_path)
    plain = look(tmp_path / "plain", deliveries, [reports], config)
    mixed = [*reports, *shuffle.sample(reports, 30)]
    shuffle.shuffle(mixed)
    cuts = sorted(shuffle.sample(range(len(mixed)), 3))
    batches = [mixed[a:b] for a, b in zip([0, *cuts], [*cuts, len(mixed)], strict=True)]
    shuffle.shuffle(deliveries)
    assert look(tmp_path / "mixed", deliveries, batches, config) == plain
    assert {(one.kind, one.cause) for one in plain} == {
        ("dmarc_failing", "192.0.2.99"), ("signed_broken", "selector s1 of example.org"),
        ("dkim_failing", "selector s1 of example.org"), ("bypass", "192.0.2.99")}  # fmt: skip


class Clock:
    """A clock by which each look at it takes as long as `step` says."""

    def __init__(self, step: float) -> None:
        self.step, self.now = step, 0.0

    def __call__(self) -> float:
        self.now += self.step
        return self.now


@pytest.mark.parametrize(("seconds", "kept"), [(0.0, False), (36.0, True)])
def test_a_join_that_takes_long_is_made_once_an_hour(seconds: float, kept: bool, tmp_path: Path) -> None:
    deliveries, reports = made_up()
    config, clock = read("", {}, tmp_path), Clock(seconds)
    looks = Evaluator(clock)
    with world(tmp_path / "data", deliveries, reports[:112], now=NOW) as store:
        store.put_sources([SourceRow("example.org", ip, "own", first_seen=D0) for ip in (RELAY, "192.0.2.99")])

        def broken() -> bool:
            return "signed_broken" in {one.kind for one in looks(store, config, NOW)}

        assert not broken()
        store.append_many(reports[112:])
        assert broken() is not kept
        clock.now += 3_600
        assert broken()
        assert looks(store, config, NOW) == evaluate(store, config, NOW)


def test_the_signature_of_what_ended_days_ago_is_looked_for_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = {"eu.example.org": range(30, 36), "example.org": range(57, 60)}
    reports = [told((RELAY, 9, seen("fail" if day in bad[domain] else "pass")), day=day, by=host, domain=domain)
               for domain in bad for day in range(60) for host in ("far.test", "away.test")]  # fmt: skip
    config, looks, asked = read("", {}, tmp_path), Evaluator(), []

    def excess(store: Any, cursor: Any, asks: Any, *, verified: bool) -> Any:
        asked.append([(one.since - D0 // DAY, one.until - D0 // DAY) for one in asks])
        return found(store, cursor, asks, verified=verified)

    found = signers.excess
    monkeypatch.setattr(signers, "excess", excess)
    with world(tmp_path / "data", [], reports, now=NOW) as store:
        store.put_sources([SourceRow(domain, RELAY, "own") for domain in bad])
        first, second = looks(store, config, NOW), looks(store, config, NOW)
    assert first == second
    ended, going = asked[0]
    assert (ended[0], going) == (30, (57, 59))
    assert asked[1] == [going]
    assert [(one.domain, one.cause) for one in first if one.kind == "dkim_failing"] == [
        ("eu.example.org", "selector s1 of example.org"), ("example.org", "selector s1 of example.org")]  # fmt: skip


def test_a_store_without_reports_has_nothing_to_say(tmp_path: Path) -> None:
    with Library.open(tmp_path / "data", read_only=False, clock=lambda: NOW) as store:
        assert evaluate(store, read("", {}, tmp_path), NOW) == []
        assert backtest.run(store, read("", {}, tmp_path), NOW).days == 0


def test_reports_of_strangers_alone_are_no_failing_of_ours(tmp_path: Path) -> None:
    config = read("", {}, tmp_path)
    rows: Callable[[int], Any] = lambda day: told(("203.0.113.7", 3, seen(None, "fail")), day=day)  # noqa: E731
    with world(tmp_path / "data", [], [rows(day) for day in range(60)], now=NOW) as store:
        assert evaluate(store, config, NOW) == []
