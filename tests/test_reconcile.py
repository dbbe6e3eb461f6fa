"""Sent against reported: each finding from a small world with numbers by hand, and totals that are exact always."""

from __future__ import annotations

import json
import math
import tempfile
import uuid
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmarcview.cli import main
from dmarcview.config import ConfigError
from dmarcview.config import read as read_config
from dmarcview.library import Library
from dmarcview.query import Filters, completeness
from dmarcview.reconcile import CODES, COLUMNS, Reconciled, reconcile, wilson
from dmarcview.reconcile.receivers import Receivers
from dmarcview.store import SourceRow, sent
from dmarcview_relay.outcome import DEFERRED, FAILED
from tests.reconcile_world import KEY, NOW, RELAY, mails, seen, told, world
from tests.store_data import D0, DAY
from tests.store_postgres import fresh_database

EVIDENCE = ({"code": "own_network", "text": "The address lies in 198.51.100.0/24, which you named as yours."},)


def asked(folder: Path, deliveries: Any = (), reports: Any = (), *, now: int = NOW, sources: Any = (),
          receivers: Any = None, **fields: Any) -> Reconciled:  # fmt: skip
    with world(folder, deliveries, reports, now=now) as store:
        if sources:
            store.put_sources(
                [SourceRow("example.org", ip, kind, messages=4, evidence=EVIDENCE)
                 for ip, kind in sources]
            )  # fmt: skip
        return reconcile(store, Filters(**fields), receivers)


def one_row(answer: Reconciled, **fields: Any) -> dict[str, Any]:
    rows = [row for row in answer.rows.to_dict("records") if all(row[name] == value for name, value in fields.items())]
    assert len(rows) == 1, answer.rows
    return rows[0]


def findings(answer: Reconciled) -> list[tuple[str, str, int, int]]:
    picked = answer.findings[["code", "source_ip", "messages", "total"]]
    return [tuple(row) for row in picked.itertuples(index=False, name=None)]


def test_what_was_sent_and_reported_is_covered(tmp_path: Path) -> None:
    answer = asked(tmp_path, mails(10), [told((RELAY, 9, seen()))])
    row = one_row(answer)
    assert list(answer.rows.columns) == list(COLUMNS)
    assert (row["sent"], row["reported"], row["state"], row["matched_by"]) == (10, 9, "complete", "address")
    assert (str(row["day"])[:10], row["source_ip"], row["receiver"]) == ("2026-01-01", RELAY, "far.test")
    assert (row["dkim_domain"], row["dkim_selector"], row["source_class"]) == ("example.org", "s1", "own")
    # Wilson by hand: centre (0.9 + 3.8414/20) / 1.38414 = 0.78899, half 1.959964 sqrt(0.009 + 0.0096036) / 1.38414
    assert row["coverage"] == 0.9
    assert (round(row["low"], 4), round(row["high"], 4)) == (0.5958, 0.9821)
    assert findings(answer) == []


def test_the_interval_holds_its_ends() -> None:
    low, high = wilson([0, 5, 0], [5, 5, 0])
    assert (low[0], high[1], low[2], high[2]) == (0, 1, 0, 1)
    assert round(float(high[0]), 4) == 0.4345  # z^2 / (n + z^2)
    assert round(float(low[1]), 4) == 0.5655


def test_every_kind_of_row_counts_as_sent_that_the_receiver_accepted(tmp_path: Path) -> None:
    more = [*mails(2, kind="bounce", sender=""), *mails(1, kind="warning"), *mails(4, outcome=DEFERRED)]
    answer = asked(tmp_path, [*mails(3), *more, *mails(1, outcome=FAILED)], [told((RELAY, 6, seen()))])
    assert one_row(answer)["sent"] == 6


@pytest.mark.parametrize(
    ("source_class", "shape", "code"),
    [
        ("unknown", seen(None, "fail"), "forged"),
        ("unknown", seen(None, "pass"), "unknown_sender"),
        ("unknown", seen("pass", "fail", selector="other"), "unknown_sender"),
        ("own", seen(None, "pass"), "bypass"),
        ("third_party", seen("pass", "fail", selector="news"), "third_party"),
        ("forwarder", seen("fail", "fail"), "forwarded"),
        ("unknown", seen("pass", "fail"), "forwarded"),
        ("unknown", seen("fail", "fail", overrides=("forwarded",)), "forwarded"),
        ("own", seen("pass", "pass"), "bypass"),
    ],
)
def test_what_was_never_sent_is_told_apart_by_the_class_of_its_source(
    tmp_path: Path, source_class: str, shape: Any, code: str
) -> None:
    reports = [told((RELAY, 10, seen()), ("198.51.100.7", 4, shape))]
    answer = asked(tmp_path, mails(10), reports, sources=[("198.51.100.7", source_class)])
    assert findings(answer) == [(code, "198.51.100.7", 4, 4)]
    row = one_row(answer, source_ip="198.51.100.7")
    assert (row["sent"], row["reported"], row["state"], row["matched_by"]) == (0, 4, "unsent", "")
    assert (row["findings"], row["source_class"]) == ([code], source_class)
    assert math.isnan(row["coverage"])
    assert answer.findings["evidence"][0] == [EVIDENCE[0]["text"]]


def test_own_hosts_of_a_domain_that_the_relay_never_sends_for_go_around_nothing(tmp_path: Path) -> None:
    other = told(("192.0.2.77", 4, seen(None, header_from="example.net")), domain="example.net")
    below = told(("192.0.2.78", 2, seen(None, header_from="shop.example.org")))
    with world(tmp_path, mails(10), [told((RELAY, 10, seen())), other, below]) as store:
        own = [("example.net", "192.0.2.77"), ("example.org", "192.0.2.78"), ("example.org", RELAY)]
        store.put_sources([SourceRow(domain, ip, "own") for domain, ip in own])
        answer = reconcile(store)
    assert findings(answer) == [("bypass", "192.0.2.78", 2, 2), ("elsewhere", "192.0.2.77", 4, 4)]


def test_signed_by_us_and_reported_without_a_good_signature_is_told_with_both_numbers(tmp_path: Path) -> None:
    rows = (RELAY, 6, seen()), (RELAY, 3, seen("fail")), (RELAY, 1, seen(None))
    answer = asked(tmp_path, mails(10), [told(*rows)])
    assert findings(answer) == [("dkim_broken", RELAY, 4, 10)]
    assert one_row(answer)["dkim_fail"] == 4


def test_mail_that_nobody_signed_is_not_a_broken_signature(tmp_path: Path) -> None:
    answer = asked(tmp_path, mails(10, dkim=()), [told((RELAY, 10, seen(None)))])
    assert findings(answer) == []
    assert one_row(answer)["dkim_domain"] == ""


def test_an_address_that_spf_did_not_pass_is_told(tmp_path: Path) -> None:
    answer = asked(tmp_path, mails(10), [told((RELAY, 8, seen()), (RELAY, 2, seen(spf="softfail")))])
    assert findings(answer) == [("spf_missed", RELAY, 2, 10)]
    assert one_row(answer)["spf_fail"] == 2


def test_a_second_signature_alone_still_finds_its_mails(tmp_path: Path) -> None:
    both = (("example.org", "s1"), ("example.org", "e1"))
    answer = asked(tmp_path, mails(5, dkim=both), [told((RELAY, 5, seen(selector="e1")))])
    assert (one_row(answer)["reported"], one_row(answer)["dkim_selector"]) == (5, "s1")
    assert findings(answer) == []


def test_a_key_rotated_in_the_middle_is_two_rows(tmp_path: Path) -> None:
    new = (("example.org", "s2"),)
    rows = (RELAY, 5, seen()), (RELAY, 3, seen("fail", selector="s2")), (RELAY, 2, seen(selector="s2"))
    answer = asked(tmp_path, [*mails(5), *mails(5, dkim=new)], [told(*rows)])
    assert [(r.dkim_selector, r.sent, r.reported, r.dkim_fail) for r in answer.rows.itertuples()] == [
        ("s1", 5, 5, 0),
        ("s2", 5, 5, 3),
    ]
    assert findings(answer) == [("dkim_broken", RELAY, 3, 5)]


def test_reports_without_selectors_are_spread_over_the_keys_of_the_domain(tmp_path: Path) -> None:
    new = (("example.org", "s2"),)
    sent_by_day = [*mails(6), *mails(2, day=1), *mails(4, day=1, dkim=new), *mails(3, dkim=(("example.com", "s1"),))]
    answer = asked(tmp_path, sent_by_day, [told((RELAY, 11, seen(selector="")), (RELAY, 1, seen("fail", selector="")),
                                                (RELAY, 3, seen(d="example.com")), days=2)])  # fmt: skip
    assert [(r.dkim_domain, r.dkim_selector, r.sent, r.reported, r.dkim_fail) for r in answer.rows.itertuples()] == [
        ("example.com", "s1", 3, 3, 0),
        ("example.org", "s1", 6, 6, 0),
        ("example.org", "s1", 2, 2, 0),
        ("example.org", "s2", 4, 4, 1),
    ]
    assert findings(answer) == [("dkim_broken", RELAY, 1, 4)]


def test_a_good_signature_of_our_domain_is_not_broken_where_the_receiver_missed_the_alignment(tmp_path: Path) -> None:
    lost = seen(selector="")._replace(dkim_aligned=False)
    answer = asked(tmp_path, mails(2), [told((RELAY, 2, lost))])
    assert one_row(answer)["dkim_fail"] == 0
    assert findings(answer) == []


def test_a_receiver_that_reports_too_little_is_told(tmp_path: Path) -> None:
    answer = asked(tmp_path, mails(100), [told((RELAY, 50, seen()))])
    assert findings(answer) == [("unreported", RELAY, 50, 100)]
    assert one_row(answer)["findings"] == ["unreported"]


def test_a_few_missing_mails_are_no_finding(tmp_path: Path) -> None:
    answer = asked(tmp_path, mails(3), [told((RELAY, 2, seen()))])
    assert one_row(answer)["coverage"] == pytest.approx(2 / 3)
    assert findings(answer) == []


def test_a_day_without_any_report_of_a_usual_reporter_counts_when_it_is_over(tmp_path: Path) -> None:
    answer = asked(tmp_path, [*mails(20), *mails(20, 1)], [told((RELAY, 20, seen()))])
    assert findings(answer) == [("unreported", RELAY, 20, 40)]
    assert [r.coverage for r in answer.rows.itertuples()] == [1, 0]


def test_receivers_that_never_report_are_left_out_of_the_denominator(tmp_path: Path) -> None:
    silent = mails(30, host="mx.mute.test", recipient_domain="mute.test")
    answer = asked(tmp_path, [*mails(10), *silent], [told((RELAY, 10, seen()))])
    assert findings(answer) == []
    row = one_row(answer, receiver="mute.test")
    assert (row["state"], row["sent"], row["reported"]) == ("silent", 30, 0)
    by = answer.receivers.set_index("receiver")
    assert by.loc["mute.test", ["sent", "counted", "silent"]].tolist() == [30, 0, 30]
    assert math.isnan(by.loc["mute.test", "coverage"])
    assert by.loc["far.test", ["sent", "counted", "matched", "coverage"]].tolist() == [10, 10, 10, 1]


def test_a_receiver_is_silent_before_its_first_report_and_on_domains_it_does_not_report(tmp_path: Path) -> None:
    other = mails(7, 3, from_domain="example.com", dkim=())
    answer = asked(tmp_path, [*mails(10, 0), *mails(10, 3), *other], [told((RELAY, 10, seen()), day=3)])
    assert [(r.header_from, r.state) for r in answer.rows.itertuples()] == [
        ("example.org", "silent"),
        ("example.com", "silent"),
        ("example.org", "complete"),
    ]


def test_a_day_whose_reports_may_still_come_is_open_and_does_not_count(tmp_path: Path) -> None:
    deliveries = [*mails(10, 0), *mails(50, 1)]
    answer = asked(tmp_path, deliveries, [told((RELAY, 10, seen()))], now=D0 + 2 * DAY + 3600)
    assert [(r.state, r.sent) for r in answer.rows.itertuples()] == [("complete", 10), ("open", 50)]
    assert math.isnan(answer.rows["coverage"][1])
    assert answer.receivers.loc[0, ["counted", "open"]].tolist() == [10, 50]
    assert findings(answer) == []


def test_a_day_is_open_as_long_as_the_receiver_used_to_be_late(tmp_path: Path) -> None:
    late = [told((RELAY, 10, seen()), late=5 * DAY)]
    deliveries = [*mails(10, 0), *mails(50, 1)]
    soon = asked(tmp_path / "a", deliveries, late, now=D0 + 6 * DAY)
    assert soon.rows["state"].tolist() == ["complete", "open"]
    after = asked(tmp_path / "b", deliveries, [told((RELAY, 10, seen()), late=5 * DAY)], now=D0 + 8 * DAY)
    assert after.rows["state"].tolist() == ["complete", "complete"]


HOUR = 3_600


def two_a_day(days: int, second: int, *, by: tuple[str, str] = ("far.test", "far.test")) -> tuple[list[Any], list[Any]]:
    """100 mails a day, of which a first report has 60 after 3 hours, and a second one 40 after 10, on so many days."""
    deliveries = [one for day in range(days) for one in mails(100, day)]
    first = [told((RELAY, 60, seen()), day=day, late=3 * HOUR, by=by[0]) for day in range(days)]
    return deliveries, [
        *first,
        *(told((RELAY, 40, seen()), day=day, late=10 * HOUR, by=by[1]) for day in range(second)),
    ]


@pytest.mark.parametrize("by", [("far.test", "far.test"), ("far.test", "more.far.test")])
def test_a_day_is_open_until_the_usual_number_of_its_reports_has_come(tmp_path: Path, by: tuple[str, str]) -> None:
    deliveries, reports = two_a_day(20, 19, by=by)
    now = D0 + 20 * DAY + 4 * HOUR
    with world(tmp_path, deliveries, reports, now=now) as store:
        answer, whole = reconcile(store), completeness(store, date(2026, 1, 20))
        assert answer.rows["state"].tolist() == ["complete"] * 19 + ["open"]
        assert (whole.complete, whole.share) == (False, pytest.approx(0.5, abs=0.11))
        store.append_many([told((RELAY, 40, seen()), day=19, by=by[1], late=10 * HOUR)])
        assert reconcile(store).rows["state"].tolist() == ["complete"] * 20
        assert completeness(store, date(2026, 1, 20)).complete


def test_who_drops_from_two_reports_a_day_to_one_is_awaited_no_longer_than_it_was_ever_late(tmp_path: Path) -> None:
    deliveries, reports = two_a_day(40, 20)
    for day in (20, 30):
        for left, state in ((1, "open"), (0, "complete")):
            now = D0 + (day + 2) * DAY - left
            here = [one for one in reports if one.origin.received <= now]
            rows = asked(tmp_path / f"{day}-{left}", deliveries, here, now=now).rows
            assert rows["state"].tolist()[day] == state
    after = asked(tmp_path / "after", deliveries, reports, now=D0 + 40 * DAY + 4 * HOUR)
    assert after.rows["state"].tolist() == ["complete"] * 40, "half of its days had one: that is usual now"


def test_in_a_zone_of_its_own_a_usual_reporter_has_told_a_day_when_the_last_report_of_it_is_in(tmp_path: Path) -> None:
    """Reports from 16:00 to 16:00 UTC: what left in the evening is told a day later."""
    deliveries = [one for day in range(1, 20) for one in mails(10, day, hour=20)]
    reports = [told((RELAY, 10, seen()), day=day + 16 / 24, late=HOUR) for day in range(1, 20)]
    held = reports[:-1]
    now = D0 + 20 * DAY + 2 * HOUR
    assert asked(tmp_path / "a", deliveries, held, now=now).rows["state"].tolist()[-2:] == ["complete", "open"]
    assert asked(tmp_path / "b", deliveries, reports, now=now).rows["state"].tolist()[-1] == "complete"


ARRIVALS = st.lists(
    st.tuples(st.integers(0, 40), st.integers(1, 3), st.integers(0, 160), st.sampled_from(["far.test", "a.far.test"])),
    max_size=60,
)  # fmt: skip


@settings(max_examples=15, deadline=None)
@given(ARRIVALS, st.integers(8, 40), st.integers(0, 23))
def test_a_row_and_completeness_never_contradict_each_other(arrivals: Any, day: int, hour: int) -> None:
    """Two names of one organisation with reports of UTC days: a usual one is awaited on both sides, or on neither."""
    now = D0 + day * DAY + hour * HOUR
    usual = [told((RELAY, 1, seen()), day=one, late=2 * HOUR) for one in range(day) if one % 3]
    reports = [told((RELAY, 1, seen()), day=one, late=late * HOUR, by=who)
               for one, count, late, who in arrivals for _ in range(count)]  # fmt: skip
    here = [one for one in (*usual, *reports) if one.origin.received <= now]
    with tempfile.TemporaryDirectory() as folder:
        lines = [one for back in range(day) for one in mails(1, back)]
        with world(Path(folder), lines, here, now=now) as store:
            rows = reconcile(store).rows
            for row in rows[rows["sent"] > 0].itertuples():
                one = completeness(store, row.day.date())
                if one.expected and row.state != "silent":
                    assert (row.state == "complete") == (not one.late and not one.awaited), (row, one)


def test_periods_of_another_zone_find_the_days_of_their_mails(tmp_path: Path) -> None:
    """Reports from 07:00 to 07:00 UTC: 4 mails at 03:00 belong to the report of the day before."""
    deliveries = [*mails(6, 0, hour=12), *mails(4, 1, hour=3), *mails(8, 1, hour=12)]
    reports = [told((RELAY, 10, seen()), day=7 / 24), told((RELAY, 8, seen()), day=1 + 7 / 24)]
    answer = asked(tmp_path, deliveries, reports)
    assert [(r.sent, r.reported) for r in answer.rows.itertuples()] == [(6, 6), (12, 12)]
    assert findings(answer) == []


def test_a_report_of_several_days_is_laid_on_the_days_that_had_mail(tmp_path: Path) -> None:
    deliveries = [*mails(1, 0), *mails(20, 2), *mails(9, 3)]
    answer = asked(tmp_path, deliveries, [told((RELAY, 30, seen()), days=7)])
    assert [(r.sent, r.reported) for r in answer.rows.itertuples()] == [(1, 1), (20, 20), (9, 9)]


def test_a_strangers_report_of_a_year_is_no_more_rows_than_it_has_sources_and_days(tmp_path: Path) -> None:
    strange = [(f"198.51.100.{n}", 1000 + n, seen(None, "fail")) for n in range(200)]
    answer = asked(tmp_path, mails(5), [told((RELAY, 5, seen())), told(*strange, days=365, by="stranger.test")])
    rows = answer.rows[answer.rows["receiver"] == "stranger.test"]
    assert len(rows) < 200 + 365
    assert rows.groupby("source_ip")["reported"].sum().to_dict() == {ip: n for ip, n, _ in strange}
    by_day = rows.groupby("day")["reported"].sum()
    assert (len(by_day), by_day.max() - by_day.min()) == (365, 1)


def test_mail_around_midnight_is_no_mail_never_sent(tmp_path: Path) -> None:
    """Delivered at 23:58, noted by the receiver after midnight, in the report of the next day."""
    deliveries = mails(3, 0, hour=23.97)
    answer = asked(tmp_path, deliveries, [told((RELAY, 3, seen()), day=1)])
    assert [(r.sent, r.reported) for r in answer.rows.itertuples()] == [(3, 3)]
    assert findings(answer) == []


def test_more_reported_than_sent_from_our_address_is_told(tmp_path: Path) -> None:
    answer = asked(tmp_path, mails(10), [told((RELAY, 25, seen()))])
    assert findings(answer) == [("more_reported", RELAY, 15, 25)]
    assert one_row(answer)["coverage"] == 1


def test_behind_nat_the_signature_joins_and_the_evidence_says_so(tmp_path: Path) -> None:
    deliveries = mails(10, source="10.0.0.5")
    reports = [
        told(("203.0.113.80", 7, seen()), ("203.0.113.80", 3, seen("fail")), ("198.51.100.9", 2, seen(spf="fail")))
    ]
    answer = asked(tmp_path, deliveries, reports)
    row = one_row(answer, source_ip="203.0.113.80")
    assert (row["sent"], row["reported"], row["matched_by"]) == (10, 10, "signature")
    assert findings(answer) == [
        ("dkim_broken", "203.0.113.80", 3, 10),
        ("forwarded", "198.51.100.9", 2, 2),
    ]
    assert "NAT" in answer.findings["evidence"][0][0]


def test_two_outer_addresses_of_one_relay_are_one_source(tmp_path: Path) -> None:
    reports = [told(("203.0.113.80", 6, seen()), ("203.0.113.81", 4, seen()))]
    row = one_row(asked(tmp_path, mails(10, source="10.0.0.5"), reports))
    assert (row["source_ip"], row["sent"], row["reported"]) == ("203.0.113.80", 10, 10)


def test_a_public_address_that_nobody_reports_is_not_taken_for_one_behind_nat_by_a_forwarder(tmp_path: Path) -> None:
    deliveries = [*mails(10, host="mx.mute.test", recipient_domain="mute.test", source="203.0.113.5")]
    answer = asked(tmp_path, deliveries, [told(("198.51.100.9", 2, seen(spf="fail")))])
    assert findings(answer) == [("forwarded", "198.51.100.9", 2, 2)]


@pytest.mark.parametrize(
    ("host", "domain", "receiver", "known_by"),
    [
        ("aspmx.l.google.com", "hosted.example", "google.com", "mx"),
        ("alt1.gmr-smtp-in.l.googlemail.com", "hosted.example", "google.com", "mx"),
        ("hosted-example.mail.protection.outlook.com", "hosted.example", "microsoft.com", "mx"),
        ("hosted-example.a-v1.mx.microsoft", "hosted.example", "microsoft.com", "mx"),
        ("mta5.am0.yahoodns.net", "yahoo.com", "yahooinc.com", "mx"),
        ("mx1.hoster.test", "gmail.com", "google.com", "recipient"),
        ("mx.messagingengine.com", "hosted.example", "fastmaildmarc.com", "guess"),
        ("mx1.hoster.test", "corp.test", "corp.test", "recipient"),
        ("mx1.hoster.test", "hosted.example", "hoster.test", "guess"),
        ("[203.0.113.9]", "hosted.example", "hosted.example", "guess"),
        ("", "Hosted.example.", "hosted.example", "guess"),
        ("mx.filter.test", "hosted.example", "reports.test", "user"),
        ("mx1.hoster.test", "told.example", "speaker.test", "envelope"),
        ("aspmx.l.google.com", "told.example", "google.com", "mx"),
    ],
)
def test_a_hosted_domain_is_counted_with_its_host(host: str, domain: str, receiver: str, known_by: str) -> None:
    reporters = ["google.com", "microsoft.com", "yahooinc.com", "corp.test"]
    book = Receivers(reporters, {"filter.test": "reports.test"}, {"told.example": "speaker.test"})
    assert book.taker(host, domain) == (receiver, known_by)


@pytest.mark.parametrize("mailbox", ["gmail.com", "outlook.com", "yahoo.com", "live.com", "abuse.aol.com"])
def test_a_report_from_a_mailbox_is_not_one_of_the_host_of_that_mailbox(tmp_path: Path, mailbox: str) -> None:
    host = {"gmail.com": "gmail-smtp-in.l.google.com", "yahoo.com": "mta5.am0.yahoodns.net",
            "abuse.aol.com": "mx-aol.mail.gm0.yahoodns.net"}.get(mailbox, "x.olc.protection.outlook.com")  # fmt: skip
    real = {"l.google.com": "google.com", "yahoodns.net": "yahooinc.com"}
    taker = next((who for end, who in real.items() if host.endswith(end)), "microsoft.com")
    deliveries = mails(10, host=host, recipient_domain=mailbox)
    forged = told((RELAY, 500, seen("fail")), by=mailbox)
    answer = asked(tmp_path, deliveries, [told((RELAY, 10, seen()), by=taker), forged])
    row = one_row(answer, receiver=taker)
    assert (row["sent"], row["reported"], row["dkim_fail"], row["state"]) == (10, 10, 0, "complete")


def daily_world(reported: list[int]) -> tuple[list[Any], list[Any]]:
    """A host whose reports go by another name, beside one that never reports, over five days."""
    counts = [5, 12, 7, 30, 9]
    deliveries = [
        one
        for day, count in enumerate(counts)
        for one in (
            *mails(count, day, host="mx.hoster.test", recipient_domain="a.example"),
            *mails(10, day, host="mx.mute.test", recipient_domain="b.example"),
        )
    ]
    return deliveries, [told((RELAY, n, seen()), day=day, by="dmarc-sender.test") for day, n in enumerate(reported)]


def test_a_receiver_whose_counts_run_like_a_reporters_is_learned(tmp_path: Path) -> None:
    deliveries, reports = daily_world([5, 12, 7, 29, 9])
    answer = asked(tmp_path, deliveries, reports)
    by = answer.receivers.set_index("receiver")
    assert by.loc["dmarc-sender.test", ["sent", "reported", "matched"]].tolist() == [63, 62, 62]
    assert by.loc["dmarc-sender.test", ["hosts", "known_by"]].tolist() == [["hoster.test"], ["learned"]]
    assert by.loc["mute.test", "silent"] == 50
    assert findings(answer) == []


def test_counts_that_do_not_run_alike_teach_nothing_and_the_user_can_say_it(tmp_path: Path) -> None:
    deliveries, reports = daily_world([1, 1, 7, 2, 1])
    answer = asked(tmp_path / "a", deliveries, reports)
    assert findings(answer) == [("other_receiver", RELAY, 12, 12)]
    deliveries, reports = daily_world([1, 1, 7, 2, 1])
    said = asked(tmp_path / "b", deliveries, reports, receivers={"hoster.test": "dmarc-sender.test"})
    assert findings(said) == [("unreported", RELAY, 51, 63)]
    by = said.receivers.set_index("receiver")
    assert by.loc["dmarc-sender.test", "known_by"] == ["user"]


def test_two_receivers_that_look_the_same_are_not_guessed_at(tmp_path: Path) -> None:
    deliveries = [
        one
        for day in range(4)
        for name in ("one", "two")
        for one in mails(3, day, host=f"mx.{name}.test", recipient_domain=f"{name}.example")
    ]
    answer = asked(tmp_path, deliveries, [told((RELAY, 3, seen()), day=day, by="who.test") for day in range(4)])
    assert findings(answer) == [("other_receiver", RELAY, 12, 12)]


def test_a_report_that_names_the_recipients_domain_names_its_receiver(tmp_path: Path) -> None:
    deliveries = mails(5, host="mx.hoster.test", recipient_domain="a.example")
    answer = asked(tmp_path, deliveries, [told((RELAY, 5, seen(envelope_to="a.example")), by="speaker.test")])
    assert one_row(answer)["receiver"] == "speaker.test"
    assert findings(answer) == []


def test_nothing_sent_at_all(tmp_path: Path) -> None:
    answer = asked(tmp_path, (), [told((RELAY, 5, seen()), ("198.51.100.7", 2, seen(None, "fail")))])
    assert (answer.rows["sent"].sum(), answer.rows["reported"].sum()) == (0, 7)
    assert findings(answer) == [("unknown_sender", RELAY, 5, 5), ("forged", "198.51.100.7", 2, 2)]
    assert answer.receivers["coverage"].isna().all()


def test_nothing_reported_at_all(tmp_path: Path) -> None:
    answer = asked(tmp_path, mails(8), ())
    assert (one_row(answer)["state"], one_row(answer)["sent"]) == ("silent", 8)
    assert len(answer.findings) == 0
    assert answer.receivers.loc[0, ["sent", "counted", "silent"]].tolist() == [8, 0, 8]


def test_nothing_at_all(tmp_path: Path) -> None:
    answer = asked(tmp_path)
    assert (len(answer.rows), len(answer.findings), len(answer.receivers)) == (0, 0, 0)
    assert list(answer.rows.columns) == list(COLUMNS)


def test_filters_choose_days_domains_receivers_sources_and_classes(tmp_path: Path) -> None:
    deliveries = [
        *mails(5),
        *mails(6, 1),
        *mails(7, 1, from_domain="shop.example.org"),
        *mails(9, 1, from_domain="x.test"),
    ]
    forged = ("198.51.100.7", 2, seen(None, "fail"))
    shop = RELAY, 7, seen(header_from="shop.example.org")
    reports = [told((RELAY, 5, seen())), told((RELAY, 6, seen()), shop, forged, day=1)]
    with world(tmp_path, deliveries, reports) as store:

        def sums(**fields: Any) -> tuple[int, int]:
            rows = store.reconcile(**fields)
            return int(rows["sent"].sum()), int(rows["reported"].sum())

        assert sums() == (27, 20)
        assert sums(domains=("example.org",)) == (18, 20)
        assert sums(since=date(2026, 1, 2)) == (22, 15)
        assert sums(until=date(2026, 1, 2)) == (5, 5)
        assert sums(submitter="far.test") == (27, 20)
        assert sums(submitter="nobody.test") == (0, 0)
        assert sums(source_ip="198.51.100.0/24") == (0, 2)
        assert sums(source_class="own") == (27, 18)
        with pytest.raises(ValueError, match="all results"):
            store.reconcile(result="fail")


def test_a_subdomain_with_its_own_record_is_not_the_domain_above(tmp_path: Path) -> None:
    deliveries = [*mails(5), *mails(7, from_domain="shop.example.org")]
    shop = told((RELAY, 7, seen(header_from="shop.example.org")), domain="shop.example.org")
    with world(tmp_path, deliveries, [told((RELAY, 5, seen())), shop]) as store:
        assert store.reconcile(domains=("example.org",))["sent"].tolist() == [5]
        assert store.reconcile(domains=("shop.example.org",))["sent"].tolist() == [7]


@pytest.mark.parametrize("domain", ["news.example.org", "a.news.example.org", "org", "example.org"])
def test_a_strangers_report_on_a_subdomain_or_above_changes_no_row_of_another_receiver(
    tmp_path: Path, domain: str
) -> None:
    news, forged = "a.news.example.org", ("203.0.113.9", 1, seen(None, "fail", header_from="a.news.example.org"))
    deliveries = [
        *mails(50, from_domain=news),
        *mails(9, from_domain=news, host="mx.mute.test", recipient_domain="mute.test"),
        *mails(5),
    ]
    real = told((RELAY, 20, seen(header_from=news)), (RELAY, 5, seen()))
    for number, domains in enumerate((None, ("example.org",))):
        plain = asked(tmp_path / f"a{number}", deliveries, [real], domains=domains)
        other = told(forged, by="stranger.test", domain=domain)
        moved = asked(tmp_path / f"b{number}", deliveries, [real, other], domains=domains)
        kept = moved.rows[moved.rows["receiver"] != "stranger.test"]
        assert repr(kept.to_dict("records")) == repr(plain.rows.to_dict("records"))
        assert kept["sent"].sum() == 64
        assert ("unreported", RELAY, 30, 50) in findings(moved)


def test_before_its_own_record_a_subdomain_is_reported_with_the_domain_above(tmp_path: Path) -> None:
    """Its record appears on day 3; the receiver reports it apart from then on."""
    shop = "shop.example.org"
    deliveries = [one for day in range(6) for one in mails(10, day, from_domain=shop)]
    reports = [told((RELAY, 10, seen(header_from=shop)), day=day, domain="example.org" if day < 3 else shop)
               for day in range(6)]  # fmt: skip
    answer = asked(tmp_path / "a", deliveries, reports)
    assert answer.rows["state"].tolist() == ["complete"] * 6
    above = asked(tmp_path / "b", deliveries, reports, domains=("example.org",))
    assert [(row.sent, row.reported) for row in above.rows.itertuples()] == [(10, 10)] * 3
    below = asked(tmp_path / "c", deliveries, reports, domains=(shop,))
    assert [(str(row.day)[:10], row.sent, row.reported) for row in below.rows.itertuples()] == [
        (f"2026-01-{day:02}", 10, 10) for day in (4, 5, 6)
    ]


def test_where_a_receiver_reports_nothing_two_organisations_name_the_policy_domain(tmp_path: Path) -> None:
    shop = "shop.example.org"
    deliveries = mails(7, from_domain=shop, host="mx.mute.test", recipient_domain="mute.test")
    top, one, two = (told((RELAY, 1, seen()), by=who, domain=domain) for who, domain in
                     (("far.test", "example.org"), ("far.test", shop), ("near.test", shop)))  # fmt: skip

    def sums(name: str, *reports: Any) -> tuple[int, int]:
        with world(tmp_path / name, deliveries, reports) as store:
            above, below = (reconcile(store, Filters(domains=(domain,))).rows for domain in ("example.org", shop))
        return int(above["sent"].sum()), int(below["sent"].sum())

    assert sums("none") == (7, 0)
    assert sums("one", top, one) == (7, 0)
    assert sums("two", top, one, two) == (0, 7)
    assert sums("alone", one) == (0, 7)


def test_reports_that_are_not_believed_count_only_when_asked(tmp_path: Path) -> None:
    with world(tmp_path, mails(5)) as store:
        one = told((RELAY, 5, seen()))
        store.append_many([type(one)(one.origin, one.raw, one.reading, type(one.verdict)("fail", "made up"))])
        assert store.reconcile()["reported"].sum() == 0
        assert store.reconcile(verified=False)["reported"].sum() == 5


def test_a_ledger_in_postgresql_gives_the_same_answer(tmp_path: Path, postgres: Callable[[], str]) -> None:
    deliveries = [*mails(9), *mails(4, 1, host="/run/lmtp", dkim=()), *mails(3, from_domain="x%y.test")]
    reports = [told((RELAY, 8, seen()), (RELAY, 1, seen("fail")), ("198.51.100.7", 4, seen(None, "fail")))]
    here = asked(tmp_path / "a", deliveries, reports, domains=("example.org",))
    with Library.open(tmp_path / "b", url=fresh_database(postgres(), uuid.uuid4().hex), clock=lambda: NOW) as store:
        sent.append(store.ledger, "r1", list(enumerate(deliveries, 1)))
        store.append_many(reports)
        there = reconcile(store, Filters(domains=("example.org",)))
    assert findings(here) == [
        ("dkim_broken", RELAY, 1, 9),
        ("unreported", RELAY, 4, 4),
        ("forged", "198.51.100.7", 4, 4),
    ]
    for name in ("rows", "findings", "receivers"):
        assert repr(getattr(here, name).to_dict("records")) == repr(getattr(there, name).to_dict("records"))


SOURCES = st.sampled_from([RELAY, "10.0.0.5", "203.0.113.80", "198.51.100.7"])
NAMES = st.sampled_from(["example.org", "shop.example.org"])
DELIVERIES = st.lists(
    st.tuples(st.integers(0, 5), st.floats(0, 23.9), st.integers(1, 9), SOURCES,
              st.sampled_from(["mx.far.test", "mx.mute.test", "mx.near.test", ""]),
              st.sampled_from([KEY, (), (("example.org", "s2"), ("example.org", "e1"))]), NAMES),
    max_size=6,
)  # fmt: skip
SHAPES = st.builds(seen, st.sampled_from(["pass", "fail", None]), st.sampled_from(["pass", "fail"]),
                   selector=st.sampled_from(["s1", "s2", "e1", "x"]), d=st.sampled_from(["example.org", "other.test"]),
                   overrides=st.sampled_from([(), ("forwarded",)]), header_from=NAMES,
                   envelope_to=st.sampled_from([None, "far.test"]))  # fmt: skip
ROWS = st.lists(st.tuples(SOURCES, st.integers(1, 10**12), SHAPES), min_size=1, max_size=4)
SUBMITTERS = st.sampled_from(["far.test", "reports.far.test", "near.test", "who.test"])
REPORTS = st.lists(
    st.tuples(ROWS, st.integers(-48, 150), st.one_of(st.sampled_from([0, 24, 24 * 7, 24 * 395]), st.integers(1, 200)),
              SUBMITTERS, NAMES),
    max_size=5,
)  # fmt: skip
PAIRS = st.lists(  # two of one organisation, each with a report of its own of each of these days
    st.tuples(ROWS, ROWS, st.integers(0, 4), st.integers(1, 4), NAMES), max_size=2,
)  # fmt: skip


def daily(pairs: Any) -> list[tuple[Any, int, int, str, str]]:
    return [(rows, day * 24, 24, by, domain) for first, second, start, days, domain in pairs
            for day in range(start, start + days)
            for rows, by in ((first, "far.test"), (second, "reports.far.test"))]  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(DELIVERIES, REPORTS, PAIRS, st.randoms(use_true_random=False))
def test_totals_are_exact_whatever_was_sent_and_reported_and_in_whatever_order(
    deliveries: Any, reports: Any, pairs: Any, random: Any
) -> None:
    lines = [one for day, hour, n, source, host, dkim, name in deliveries
             for one in mails(n, day, hour=hour, source=source, host=host, dkim=dkim, from_domain=name)]  # fmt: skip
    reports = [*reports, *daily(pairs)]
    papers = [told(*rows, day=hour / 24, days=hours / 24, by=by, domain=domain)
              for rows, hour, hours, by, domain in reports]  # fmt: skip
    with tempfile.TemporaryDirectory() as a, tempfile.TemporaryDirectory() as b:
        first = asked(Path(a), lines, papers)
        parts = [asked(Path(a), domains=(name,)) for name in ("example.org", "shop.example.org")]
        random.shuffle(lines)
        random.shuffle(papers)
        later = len(papers) // 2
        with world(Path(b), lines, papers[:later]) as store:  # a look in between, and reports that are late
            reconcile(store)
        again = asked(Path(b), (), [*papers[later:], *papers])  # reports that are sent twice count once
    assert first.rows["sent"].sum() == len(lines) == first.receivers["sent"].sum()
    told_of = sum(count for rows, *_ in reports for _, count, _ in rows)
    assert first.rows["reported"].sum() == told_of == first.receivers["reported"].sum()
    known_by = {how for part in (first, *parts) for some in part.receivers["known_by"] for how in some}
    if known_by.isdisjoint({"envelope", "learned"}):  # else its receiver is known by reports of one of them alone
        assert sum(part.rows["sent"].sum() for part in parts) == len(lines), "each mail is under one policy domain"
    assert sum(part.rows["reported"].sum() for part in parts) == told_of
    assert (first.rows["dkim_fail"] <= first.rows["reported"]).all()
    shares = first.rows[["low", "coverage", "high"]].dropna()
    assert ((shares["low"] <= shares["coverage"]) & (shares["coverage"] <= shares["high"])).all()
    assert set(first.findings["code"]) <= set(CODES)
    for name in ("rows", "findings", "receivers"):
        assert repr(getattr(first, name).to_dict("records")) == repr(getattr(again, name).to_dict("records"))


def test_the_command_says_it_for_people_and_for_programs(tmp_path: Path, capsys: Any) -> None:
    file = tmp_path / "dmarcview.toml"
    file.write_text(f'[data]\ndir = "{tmp_path / "data"}"\n[reconcile]\nreceivers = {{ "mx.far.test" = "who.test" }}\n')
    rows = (RELAY, 8, seen()), (RELAY, 2, seen("fail")), ("198.51.100.7", 3, seen(None, "fail"))
    world(tmp_path / "data", mails(10), [told(*rows, by="who.test")]).close()
    assert main(["reconcile", "--config", str(file), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["totals"] | {"low": 0, "high": 0} == {
        "sent": 10, "reported": 13, "counted": 10, "matched": 10, "coverage": 1.0, "low": 0, "high": 0, "open": 0,
        "silent": 0, "signed": 10, "dkim_fail": 2, "unsent": 3,
    }  # fmt: skip
    assert [(one["code"], one["messages"], one["first_day"]) for one in found["findings"]] == [
        ("dkim_broken", 2, "2026-01-01"),
        ("forged", 3, "2026-01-01"),
    ]
    assert [(row["sent"], row["reported"], row["coverage"]) for row in found["rows"]] == [(10, 10, 1), (0, 3, None)]
    assert main(["reconcile", "--config", str(file), "--rows"]) == 0
    text = capsys.readouterr().out
    for part in ("10 accepted by receivers", "100.0 % of 10 (72.2 to 100.0 %)", "you said so",
                 CODES["dkim_broken"].meaning, "example.org/s1", "complete",
                 "Signed by us, reported without a good signature [dkim_broken]: 2 messages in 1 line\n",
                 "Never sent, and nothing passed [forged]: 3 messages in 1 line\n",
                 "`dmarcview dns check example.org`"):  # fmt: skip
        assert part in text
    assert CODES["forged"].check in " ".join(text.split())


def crowd(folder: Path) -> Path:
    """13 keys of which reports lack much, 9 own hosts of another domain, and 12 forgers' addresses."""
    keys = [(("example.org", f"s{n:02}"),) for n in range(13)]
    forgers = [(f"203.0.113.{n}", n, seen(None, "fail")) for n in range(1, 13)]
    hosts = [(f"192.0.2.{n}", n, seen(None, header_from="example.net")) for n in range(101, 110)]
    reports = [told(*((RELAY, 20, seen(selector=key[0][1])) for key in keys), *forgers),
               told(*hosts, domain="example.net")]  # fmt: skip
    world(folder, [one for key in keys for one in mails(50, dkim=key)], reports).close()
    return folder


def test_the_command_says_little_of_what_asks_for_nothing_and_all_when_asked(tmp_path: Path, capsys: Any) -> None:
    data = str(crowd(tmp_path))
    assert main(["reconcile", "--data", data]) == 0
    text = capsys.readouterr().out
    places = [text.index(f"[{code}]") for code in ("unreported", "elsewhere", "forged")]
    assert places == sorted(places), "what asks for action comes first"
    assert shown(text) == [10, 5, 5]
    for more in ("and 3 more", "and 4 more", "and 7 more"):
        assert f"{more}: --limit 0 or --json has all\n" in text
    assert max(len(line) for line in text.splitlines()) <= 120
    for limit, lines in (("0", [13, 9, 12]), ("2", [2, 2, 2])):
        assert main(["reconcile", "--data", data, "--limit", limit]) == 0
        assert shown(capsys.readouterr().out) == lines


def shown(text: str) -> list[int]:
    """How many lines each kind has."""
    return [f"{part}\n".count(" 2026-01-01\n") for part in text.split("\n\n")[2:]]


def test_what_is_known_of_a_source_names_it_and_says_that_it_is_of_all_days(tmp_path: Path, capsys: Any) -> None:
    assert main(["reconcile", "--data", str(crowd(tmp_path))]) == 0
    _, _, known = capsys.readouterr().out.partition("[elsewhere]")
    assert "  How this is known (from the reports of all days, not of this window alone):\n" in known
    for address in range(105, 110):
        assert f"    192.0.2.{address}: {address} of {address} messages passed SPF for example.net." in known
    assert "192.0.2.101:" not in known


def test_a_sender_that_proves_who_it_is_is_new_for_two_weeks_and_a_forger_never(tmp_path: Path) -> None:
    begin = D0
    stranger = seen("pass", "fail", d="survey.test", selector="x")
    reports = [told((RELAY, 1, seen()), ("198.51.100.7", 4, stranger), ("198.51.100.8", 9, seen(None, "fail")), day=30)]

    def new(now: int, since: int, known: int = begin, by: str = "rule") -> list[tuple[str, str, bool]]:
        with world(tmp_path / uuid.uuid4().hex, mails(1, 30), reports, now=now) as store:
            store.put_sources(
                [
                    SourceRow("example.org", RELAY, "own", first_seen=known),
                    SourceRow("example.org", "198.51.100.7", "unknown", by=by, service="Survey", first_seen=since),
                    SourceRow("example.org", "198.51.100.8", "unknown", first_seen=since),
                ]
            )
            found = reconcile(store).findings
        assert found.loc[found["new_since"].notna(), "new_since"].astype("int64").isin([since]).all()
        rows = found[["source_ip", "sender", "new_since"]].itertuples(index=False)
        return [(ip, sender, when == when) for ip, sender, when in rows]

    first, last = ("198.51.100.7", "Survey", True), ("198.51.100.8", "", False)
    day = D0 + 30 * DAY
    assert new(day + DAY, day) == [first, last], "though the other sent more"
    assert new(day + 14 * DAY, day) == [first, last]
    old = [last, ("198.51.100.7", "Survey", False)]
    assert new(day + 15 * DAY, day) == old
    assert new(day + DAY, day, known=day - 13 * DAY) == old, "the domain itself is new"
    assert new(day + DAY, day, by="user") == old, "somebody has named it"


def test_the_command_says_what_is_open(tmp_path: Path, capsys: Any) -> None:
    import time

    today = int(time.time()) // DAY - D0 // DAY
    reports = [told((RELAY, 5, seen()), day=today - back) for back in range(12, 1, -1)]
    world(tmp_path, mails(5, today), reports, now=int(time.time())).close()
    assert main(["reconcile", "--data", str(tmp_path)]) == 0
    assert "is 0 % in; usual reporters 0 of 1, far.test awaited." in capsys.readouterr().out


def test_wrong_use_is_said(tmp_path: Path, capsys: Any) -> None:
    world(tmp_path).close()
    assert main(["reconcile", "--data", str(tmp_path), "--result", "fail"]) == 2
    assert "all results" in capsys.readouterr().err
    assert main(["reconcile", "--data", str(tmp_path)]) == 0
    assert "Nothing was sent and nothing reported" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="not a domain"):
        read_config('[reconcile]\nreceivers = { "a.test" = "no domain" }\n', {}, tmp_path)


def test_the_sent_log_of_another_relay_counts_too(tmp_path: Path) -> None:
    with world(tmp_path, mails(4), [told((RELAY, 9, seen()))]) as store:
        assert isinstance(store, Library)
        sent.append(store.ledger, "r2", list(enumerate(mails(5), 1)))
        assert one_row(reconcile(store))["sent"] == 9
