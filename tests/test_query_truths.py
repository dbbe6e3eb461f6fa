"""Truths that other tools got wrong (view.md section 3): each is a test of ours."""

from __future__ import annotations

import datetime
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dmarcview import query
from dmarcview.library import Library
from dmarcview.query import Filters
from dmarcview.store import SourceRow, Store
from dmarcview_reports.model import Records
from dmarcview_reports.schema import COLUMNS
from tests.store_data import D0, DAY, records, report, shape, taken


@pytest.fixture(params=["pending", "filed"])
def filled(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[object]:
    """A store into which a test puts reports; asked with pending rows, and with rows in files."""
    with Library.open(tmp_path) as store:

        def put(*reports: object, **more: object) -> Store:
            for i, r in enumerate(reports):
                store.append_many([taken(f"item-{i}-{len(more)}", r, **more)])  # type: ignore[arg-type]
                if request.param == "filed":
                    store.flush()
            return store

        yield put


def test_counts_are_messages_and_not_records(filled) -> None:
    store = filled(report(rows=records(("192.0.2.1", 1000, shape()), ("192.0.2.2", 1, shape(False, False)))))
    day = query.daily(store).iloc[0]
    assert (day["messages"], day["dmarc_pass"]) == (1001, 1000)
    assert query.summary(store)["records"] == 2
    assert query.reporters(store)["messages"].tolist() == [1001]


def test_either_aligned_mechanism_is_a_dmarc_pass(filled) -> None:
    rows = records(
        ("192.0.2.1", 1, shape(True, False)),
        ("192.0.2.2", 10, shape(False, True)),
        ("192.0.2.3", 100, shape(True, True)),
        ("192.0.2.4", 1000, shape(False, False)),
    )
    found = query.summary(filled(report(rows=rows)))
    assert (found["dmarc_pass"], found["spf_aligned"], found["dkim_aligned"]) == (111, 110, 101)


def test_absent_results_are_neither_pass_nor_fail(filled) -> None:
    rows = records(("192.0.2.1", 5, shape(None, None)), ("192.0.2.2", 3, shape(None, False)))
    store = filled(report(rows=rows))
    store.put_sources([SourceRow("example.org", f"192.0.2.{i}", "own") for i in (1, 2)])
    day = query.daily(store).iloc[0]
    assert (day["messages"], day["dmarc_pass"], day["unstated"], day["own_fail"]) == (8, 0, 5, 3)
    assert len(query.reports(store, Filters(result="fail"))) == 1
    assert store.records(result="fail")["count"].tolist() == [3]


def test_several_signatures_multiply_nothing_and_none_is_lost(filled) -> None:
    signers = (("example.org", "rsa", "pass"), ("example.org", "ed", "fail"), ("esp.example", "x", "pass")) * 2
    store = filled(report(rows=records(("192.0.2.1", 7, shape(signers=signers)))))
    assert query.summary(store)["messages"] == 7
    assert len(store.records()["dkim"].iloc[0]) == 6
    facts = store.source_columns().facts(0)
    assert facts.messages == 7
    assert {(n.name, n.selector, n.passed, n.messages) for n in facts.dkim} == {
        ("example.org", "rsa", True, 7),
        ("example.org", "ed", False, 7),
        ("esp.example", "x", True, 7),
    }


def test_two_domains_that_share_an_address_stay_two_sources(filled) -> None:
    store = filled(
        report("a", records(("192.0.2.1", 5, shape()))),
        report("b", records(("192.0.2.1", 9, shape(False, False))), domain="example.net"),
    )
    store.put_sources([SourceRow("example.org", "192.0.2.1", "own"), SourceRow("example.net", "192.0.2.1", "unknown")])
    found = query.sources(store).set_index("domain")
    assert found["messages"].to_dict() == {"example.org": 5, "example.net": 9}
    assert found["source_class"].to_dict() == {"example.org": "own", "example.net": "unknown"}
    assert query.summary(store)["by_class"] == {"own": 5, "third_party": 0, "forwarder": 0, "unknown": 9}


def test_two_from_domains_of_one_address_stay_apart_in_the_detail(filled) -> None:
    rows = records(
        ("192.0.2.1", 5, shape(header_from="a.example.org")), ("192.0.2.1", 4, shape(header_from="b.example.org"))
    )
    detail = query.source_detail(filled(report(rows=rows)), "example.org", "192.0.2.1")
    assert detail.identities["header_from"].tolist() == ["a.example.org", "b.example.org"]
    assert detail.identities["messages"].tolist() == [5, 4]


def test_an_empty_report_is_no_error(filled) -> None:
    store = filled(report(rows=Records()))
    assert query.summary(store)["reports"] == 1
    assert query.summary(store)["messages"] == 0
    assert len(query.daily(store)) == 0
    assert len(query.report_records(store, report(rows=Records()).report_key)) == 0
    assert len(store.records()) == 0
    assert store.check().faults == ()


def test_reporters_of_one_organisation_are_not_thrown_together(filled) -> None:
    store = filled(
        report("a", submitter="google.com", org_name="Google"), report("b", submitter="enterprise.google.com")
    )
    assert query.reporters(store)["submitter"].tolist() == ["enterprise.google.com", "google.com"]


def test_two_half_days_draw_the_same_day_as_one_whole(filled) -> None:
    halves = [
        report(f"h{i}", records(("192.0.2.1", 50, shape())), begin=D0 + i * DAY // 2, end=D0 + (i + 1) * DAY // 2)
        for i in range(6)
    ]
    found = query.daily(filled(*halves))
    assert found["messages"].tolist() == [100, 100, 100]


def test_a_report_that_spans_the_whole_window_is_found(filled) -> None:
    store = filled(report(rows=records(("192.0.2.1", 30, shape())), begin=D0, end=D0 + 30 * DAY))
    middle = Filters(since=datetime.date(2026, 1, 10), until=datetime.date(2026, 1, 12))
    assert query.daily(store, middle)["messages"].tolist() == [1, 1]
    assert len(query.reports(store, middle)) == 1
    assert len(store.records(middle)) == 1
    outside = Filters(since=datetime.date(2026, 1, 31), until=datetime.date(2026, 2, 5))
    assert len(query.reports(store, outside)) == len(store.records(outside)) == len(query.daily(store, outside)) == 0


def test_a_month_of_five_messages_is_spread_without_losing_one(filled) -> None:
    store = filled(report(rows=records(("192.0.2.1", 5, shape())), begin=D0 + 3600, end=D0 + 30 * DAY))
    found = query.daily(store)
    assert found["messages"].sum() == 5
    assert found["messages"].max() == 1


PERIODS = st.tuples(st.integers(0, 20 * DAY), st.integers(0, 9 * DAY), st.lists(st.integers(1, 2**45), max_size=4))


@given(st.lists(PERIODS, min_size=1, max_size=6), st.randoms(use_true_random=False))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_days_sum_to_the_counts_whatever_the_periods_and_the_order(
    tmp_path_factory: pytest.TempPathFactory, periods: list[tuple[int, int, list[int]]], rng: random.Random
) -> None:
    reports = [
        report(
            f"r{i}",
            records(*((f"192.0.2.{n % 3}", count, shape()) for n, count in enumerate(counts))),
            begin=D0 + at,
            end=D0 + at + length,
        )
        for i, (at, length, counts) in enumerate(periods)
    ]
    total = sum(sum(counts) for _, _, counts in periods)
    answers = []
    for _ in range(2):
        order = [*reports, *rng.sample(reports, rng.randint(0, len(reports)))]
        rng.shuffle(order)
        with Library.open(tmp_path_factory.mktemp("order")) as store:
            for i, r in enumerate(order):
                store.append_many([taken(f"i{i}", r)])
                if rng.random() < 0.4:
                    store.flush()
            if rng.random() < 0.5:
                store.compact(all_files=True)
            found = query.daily(store)
            assert int(found["messages"].sum()) == total
            assert query.summary(store)["messages"] == total
            one = query.daily(store, Filters(domains=("example.org",)))
            assert one["messages"].tolist() == found["messages"].tolist()
            answers.append(list(zip(found["day"].astype(str), found["messages"], strict=True)))
    assert answers[0] == answers[1]


def test_outcome_classes_sum_to_all_messages_and_follow_the_class(filled) -> None:
    rows = records(
        ("192.0.2.1", 1, shape()),
        ("192.0.2.1", 2, shape(False, False)),
        ("192.0.2.1", 4, shape(False, False, overrides=("mailing_list",))),
        ("192.0.2.2", 8, shape(True, False)),
        ("192.0.2.3", 16, shape(False, False, "quarantine")),
        ("192.0.2.3", 32, shape(False, False, "none")),
        ("192.0.2.3", 64, shape(False, False, None)),
        ("192.0.2.3", 128, shape(True, False)),
    )
    store = filled(report(rows=rows))
    before = query.daily(store).iloc[0]
    assert before["own_fail"] == 0
    store.put_sources(
        [SourceRow("example.org", "192.0.2.1", "own"), SourceRow("example.org", "192.0.2.2", "forwarder")]
    )
    for filters in (Filters(), Filters(domains=("example.org",))):
        day = query.daily(store, filters).iloc[0]
        assert {o: day[o] for o in query.OUTCOMES} == {
            "own_pass": 1 + 128,
            "own_fail": 2,
            "forwarded": 4 + 8,
            "unknown_blocked": 16,
            "unknown_delivered": 32 + 64,
            "unstated": 0,
        }
        assert day["messages"] == 255
    assert query.daily(store, Filters(source_class="own"))["messages"].tolist() == [7]


def test_records_have_the_public_columns_and_settled_types(filled) -> None:
    store = filled(report())
    store.put_sources([SourceRow("example.org", "192.0.2.1", "own", service="Mail", country="NL", asn=64500)])
    found = store.records()
    assert list(found.columns) == [c.name for c in COLUMNS]
    types = {c.name: str(found[c.name].dtype) for c in COLUMNS}
    assert {types[c.name] for c in COLUMNS if c.type == "text"} == {"str"}
    assert {types[c.name] for c in COLUMNS if c.type == "time"} == {"datetime64[s, UTC]"}
    assert {types[c.name] for c in COLUMNS if c.type == "bool"} == {"boolean"}
    assert (types["count"], types["pct"], types["asn"]) == ("int64", "Int64", "Int64")
    assert found["source_class"].tolist() == ["own", "unknown"]
    assert list(store.records(domains=("nobody.example",)).columns) == [c.name for c in COLUMNS]


def test_completeness_holds_each_reporter_against_its_own_habit(filled) -> None:
    big = [
        report(f"b{d}", records(("192.0.2.1", 90, shape())), begin=D0 + d * DAY, end=D0 + (d + 1) * DAY)
        for d in range(11)
    ]
    small = [
        report(
            f"s{d}",
            records(("192.0.2.1", 10, shape())),
            begin=D0 + d * DAY,
            end=D0 + (d + 1) * DAY,
            submitter="small.example",
        )
        for d in range(10)
    ]
    store = filled(*big, *small)
    found = query.completeness(store, datetime.date(2026, 1, 11))
    assert (found.share, found.arrived, found.expected) == (0.5, 1, 2), "of two, none weighs more than the other"
    assert query.completeness(store, datetime.date(2026, 1, 3)).share is None


def test_a_filter_by_network_or_unknown_word(filled) -> None:
    store = filled(report())
    assert query.sources(store, Filters(source_ip="192.0.2.0/24"))["messages"].tolist() == [5]
    assert query.sources(store, Filters(source_ip="192.0.2.0/30"))["messages"].tolist() == [5]
    for bad, said in (({"source_class": "x"}, "source_class is one of"), ({"result": "x"}, "result is one of"),
                      ({"source_ip": "x"}, "source_ip is an address or a network"), ({"since": "x"}, "since is a day"),
                      ({"until": 20_260_131}, "until is a day")):  # fmt: skip
        with pytest.raises(ValueError, match=said):
            Filters(**bad)
    hostile = Filters(domains=("x'; drop table sources; --",), submitter="' or 1=1 --")
    assert len(query.daily(store, hostile)) == 0


def test_days_and_a_domain_may_be_given_as_text(filled) -> None:
    day = datetime.date(2026, 1, 31)
    asked = Filters(since="2026-01-31", until=datetime.datetime(2026, 1, 31, 9), domains="Example.org.")  # type: ignore[arg-type]
    assert (asked.since, asked.until, asked.domains) == (day, day, ("example.org",))
    assert query.Sent(since="2026-01-31", domains="example.org") == query.Sent(since=day, domains=("example.org",))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="there is no filter domain; there are domains, since"):
        filled(report()).daily(domain="example.org")


def test_selectors_in_use_are_those_of_senders_that_are_vouched_for(filled) -> None:
    twice = (("example.org", "S1", "pass"), ("example.org", "s1", "fail"), ("example.org", "s1", "pass"))
    rows = records(
        ("192.0.2.1", 7, shape(signers=(*twice, ("esp.example", "x", "pass")))),
        ("192.0.2.2", 2, shape(dkim=False, signers=(("example.org", "s1", "fail"), ("example.org", None, "fail")))),
        ("198.51.100.7", 900, shape(signers=(("example.org", "forged", "fail"),))),
    )
    store = filled(report(rows=rows))
    store.put_sources(
        [SourceRow("example.org", "192.0.2.1", "own"), SourceRow("example.org", "192.0.2.2", "third_party")]
    )
    found = query.selectors(store)
    named = found[["dkim_domain", "selector", "messages", "passed"]].itertuples(index=False)
    assert [tuple(one) for one in named] == [("example.org", "s1", 9, 7), ("esp.example", "x", 7, 7)]
    assert set(found["last_day"].dt.strftime("%Y-%m-%d")) == {"2026-01-01"}
    assert (set(found["days"]), set(found["organisations"])) == ({1}, {1})
    assert query.selectors(store, Filters(since=datetime.date(2026, 1, 2))).empty
    assert len(query.selectors(store, limit=1)) == 1
