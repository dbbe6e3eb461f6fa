"""What the notebooks ask, on frames that are small enough to check by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmarcview.alerts.cusum import METHOD
from dmarcview.analysis import (
    alignment,
    autopsy,
    charts,
    fleet,
    forwarding,
    identifiers,
    intervals,
    inventory,
    opening,
    renderer,
    reporters,
    sentlog,
    tuning,
    whatif,
)
from dmarcview.library import Library
from dmarcview.reconcile import reconcile, wilson
from tests.reconcile_world import RELAY, mails, seen, told, world
from tests.store_data import D0, DAY

HOSTILE = '\u202e<img src=x onerror="x()">'


@pytest.fixture
def store(tmp_path: Path) -> Any:
    """Two days: the relay's own mail, a good and an unaligned stranger, mail that was forwarded."""
    rows = [
        told((RELAY, 80, seen()), (RELAY, 20, seen("fail")), ("203.0.113.9", 7, seen(None, "fail")), day=day)
        for day in (0, 1)
    ]
    rows.append(told(("198.51.100.9", 10, seen("pass", "fail", d="shop.example")), day=1, by="near.test"))
    rows.append(told(("203.0.113.200", 6, seen("fail", "fail", overrides=("forwarded",))), day=1, by="near.test"))
    with world(tmp_path, mails(100, 0) + mails(100, 1), rows) as found:
        yield found


def flat(store: Library) -> pd.DataFrame:
    return identifiers.identifiers(store.records())


def test_the_identifiers_of_a_record_stand_side_by_side_and_none_is_lost(store: Library) -> None:
    found = flat(store)
    assert list(found.columns) == list(identifiers.COLUMNS)
    assert found["count"].sum() == store.records()["count"].sum() == 230
    stranger = found[found["source_ip"] == "198.51.100.9"].iloc[0]
    assert (stranger["dkim_domain"], stranger["dkim_result"], stranger["sender"]) == (
        "shop.example",
        "pass",
        "shop.example",
    )
    assert not stranger["dkim_relaxed"]
    assert not stranger["dkim_aligned"]
    forwarded = found[found["source_ip"] == "203.0.113.200"].iloc[0]
    assert forwarded["detour"]
    assert forwarded["sender"] == "203.0.113.0/24"


def test_reasons_say_why_mail_failed_and_sum_to_what_failed(store: Library) -> None:
    explained = alignment.explained(flat(store))
    reasons = alignment.reasons(explained)
    assert reasons.to_numpy().sum() == explained.loc[~explained["dmarc_pass"], "count"].sum() == 30
    assert reasons.loc["signed by another domain", "SPF did not pass"] == 10
    assert reasons.loc["not signed", "SPF did not pass"] == 14
    assert reasons.loc["signature failed", "SPF did not pass"] == 6
    parts = alignment.mechanisms(explained)
    assert (parts[list(alignment.MECHANISMS)].sum(axis=1) == parts["messages"]).all()
    assert parts["both"].sum() == 160
    assert parts["SPF alone"].sum() == 40


def test_each_signature_of_a_selector_counts(store: Library) -> None:
    found = alignment.selectors(store.records()).set_index(["dkim_domain", "selector"])
    ours = found.loc[("example.org", "s1")]
    assert (ours["messages"], ours["part"], ours["worst"]) == (206, 160, "fail")
    assert ours["low"] < ours["share"] < ours["high"]
    assert alignment.selectors(store.records().head(0)).empty


def test_the_ways_are_the_outcomes_of_the_pages(store: Library) -> None:
    routed = forwarding.split(flat(store))
    ways = routed.groupby("route")["count"].sum()
    pages = store.daily().sum(numeric_only=True)
    assert ways["forwarded"] == pages["forwarded"] == 6
    assert ways["unknown"] == pages["unknown_blocked"] + pages["unknown_delivered"] == 24
    assert ways["direct"] == pages["own_pass"] + pages["own_fail"] == 200
    without = forwarding.own_rate(routed).set_index("what")["share"]
    assert without["without it"] == 1.0
    assert without["with forwarded mail"] == pytest.approx(200 / 206)


def test_the_policy_hits_what_failed_and_strict_alignment_hits_subdomains(tmp_path: Path) -> None:
    rows = [told((RELAY, 50, seen()), (RELAY, 30, seen(header_from="news.example.org")),
                 ("203.0.113.9", 20, seen(None, "fail")))]  # fmt: skip
    with world(tmp_path, (), rows) as store:
        found = flat(store)
    none, reject = whatif.Policy(), whatif.Policy("reject")
    assert whatif.hit(found, none).empty
    assert whatif.hit(found, reject)["hit"].sum() == 20
    both = whatif.Policy("reject", adkim="s", aspf="s")
    assert whatif.hit(found, both)["hit"].sum() == 50
    lone = whatif.Policy("reject", adkim="s")  # SPF still carries the subdomain
    assert whatif.hit(found, lone)["hit"].sum() == 20
    below = whatif.Policy("reject", sp="none", adkim="s", aspf="s")
    assert whatif.hit(found, below)["hit"].sum() == 20
    absent = whatif.Policy("none", sp="none", np="reject", adkim="s", aspf="s")
    assert whatif.hit(found, absent, absent=["news.example.org"])["hit"].sum() == 30
    steps = whatif.compare(found, whatif.ladder(none))
    sums = steps[["own", "third_party", "forwarder", "unknown"]].sum(axis=1).tolist()
    assert sums == [whatif.hit(found, step)["hit"].sum() for step in whatif.ladder(none)]
    assert (steps["low"] <= steps["high"]).all()


def test_a_policy_says_itself_as_a_record_does() -> None:
    assert str(whatif.Policy("reject", "none", adkim="s")) == "p=reject; sp=none; adkim=s"


def test_strict_alignment_of_a_record_without_results_is_guessed_from_the_receivers_word(store: Library) -> None:
    found = flat(store).assign(told=False)
    judged = whatif.judged(found, whatif.Policy("reject", adkim="s"))
    assert judged["guessed"].all()
    assert (judged["passes"] == found["dmarc_pass"]).all()


def test_an_interval_widens_when_failures_come_in_lumps() -> None:
    even = intervals.by_cell([5, 5, 5, 5], [100] * 4)
    lumps = intervals.by_cell([20, 0, 0, 0], [100] * 4)
    assert even.share == lumps.share == 0.05
    assert even.effect == 1.0
    assert lumps.effect > 10
    assert lumps.low < even.low < even.high < lumps.high
    assert (even.low, even.high) == tuple(float(one) for one in wilson(20, 400))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=12))
def test_an_interval_holds_its_share_and_stays_between_0_and_1(cells: list[tuple[int, int]]) -> None:
    part, whole = [min(a, b) for a, b in cells], [b for _, b in cells]
    found = intervals.by_cell(part, whole)
    if sum(whole):
        assert 0 <= found.low <= found.share + 1e-9
        assert found.share - 1e-9 <= found.high <= 1
    else:
        assert (found.low, found.high) == (0.0, 1.0)


def test_the_inventory_keeps_every_message_and_proposes_by_class(store: Library) -> None:
    sources = store.sources()
    for found in (inventory.inventory(sources), inventory.inventory(sources, flat(store))):
        assert found["messages"].sum() == sources["messages"].sum() == 230
        assert found["dmarc_pass"].sum() == 200
    proposed = inventory.approve_list(found)
    assert proposed["messages"].sum() == 230
    assert set(proposed["action"]) <= {"keep", "repair", "leave", "wait", "approve", "ask", "ignore"}
    assert "shop.example" in set(proposed["sender"])


def test_commands_to_approve_are_quoted_for_the_shell() -> None:
    frame = pd.DataFrame({"service": ["a; rm -rf /", None], "domain": ["example.org", "example.org"]})
    listed = pd.DataFrame({"action": ["approve", "approve"]})
    assert inventory.commands(listed, frame) == ["dmarcview label set 'a; rm -rf /' third_party --domain example.org"]


def test_sent_and_its_parts_keep_their_sums(store: Library) -> None:
    found = reconcile(store)
    totals, days = sentlog.totals(found), sentlog.by_day(found.rows)
    assert totals.sent == 200 == totals.counted + totals.open + totals.silent
    assert (days[["matched", "missing", "awaited", "silent"]].sum(axis=1) == days["sent"]).all()
    assert totals.reported == 230
    assert sentlog.by_selector(found.rows)["dkim_fail"].sum() == 40
    assert sentlog.never_sent(found.findings)["messages"].sum() == totals.never_sent > 0
    assert "200 of them on complete days to receivers that report" in str(totals)


def test_a_reporters_lateness_gaps_and_silence(tmp_path: Path) -> None:
    rows = [told((RELAY, 10, seen()), day=day, late=6 * 3600) for day in range(20) if day not in (7, 8)]
    with world(tmp_path, (), rows) as store:
        found = reporters.with_lateness(store.reports().assign(auth="pass"))
    today = date.fromtimestamp(D0 + 30 * DAY)
    habits = reporters.habits(found, today).iloc[0]
    assert (habits["reports"], habits["days"], habits["span"]) == (18, 18, 20)
    assert habits["median"] == habits["p99"] == 6.0
    assert habits["longest_gap"] == 10
    assert habits["overdue"] > 0
    calendar = reporters.calendar(found)
    assert calendar.shape == (1, 20)
    assert calendar.isna().to_numpy().sum() == 2
    assert reporters.arrived(found).iloc[[5, 7]].iloc[:, 1].tolist() == [0.0, 100.0]


def test_files_tell_no_lateness_and_quirks_are_said_in_words(tmp_path: Path) -> None:
    rows = [told((RELAY, 10, seen()), day=day + 8 / 24, days=0.5) for day in range(6)]
    with world(tmp_path, (), rows) as store:
        found = reporters.with_lateness(store.reports().assign(auth="unknown"))
    assert found["late"].isna().all()
    assert np.isnan(reporters.habits(found, date(2026, 1, 1)).iloc[0]["median"])
    odd = reporters.quirks(found).iloc[0]["odd"]
    assert "periods of 12 hours" in odd
    assert "days begin at 08:00 UTC" in odd


def test_the_league_draws_small_domains_to_the_fleet_and_leaves_outliers_alone() -> None:
    rng = np.random.default_rng(1)
    sizes = np.array([4_000] * 30 + [10] * 2 + [900])
    failed = np.concatenate([rng.binomial(4_000, rng.beta(20, 980, 30)), [1, 0], [500]])
    table = pd.DataFrame({"domain": [f"d{i}" for i in range(33)], "messages": sizes, "failed": failed})
    known = fleet.prior(table)
    assert 0.01 < known.share < 0.03
    league = fleet.league(table).set_index("domain")
    assert league.index[0] == "d32"
    assert league.loc["d32", "share"] == pytest.approx(500 / 900, abs=0.01)
    assert abs(league.loc["d30", "share"] - known.share) < 0.02 < league.loc["d30", "raw"]
    assert fleet.outliers(table).query("outlier")["domain"].tolist() == ["d32"]
    assert league["share"].between(0, 1).all()


@pytest.mark.parametrize("size", [0, 1, 2])
def test_a_fleet_of_hardly_any_domain_is_no_fault(size: int) -> None:
    table = fleet.made_up().head(size)
    assert len(fleet.league(table)) == len(fleet.outliers(table)) == size
    assert fleet.prior(fleet.made_up()) == fleet.prior(fleet.made_up())


def test_latency_is_split_into_what_had_to_happen_and_what_had_to_be_reported() -> None:
    first = 20_000
    days = range(first, first + 60)
    rows = [(day, who, 40, 36 if day >= first + 50 else 1, day + late)
            for day in days for who, late in (("a", 1), ("b", 3))]  # fmt: skip
    cells = pd.DataFrame(rows, columns=["number", "submitter", "total", "failed", "known"])
    cells = cells.assign(day=pd.to_datetime(cells["number"], unit="D"), part=1.0)
    method = replace(METHOD, threshold=8.0)
    finding = _finding(first + 50)
    full = autopsy.trace(cells, method, first + 45, first + 55)
    came = autopsy.trace(cells, method, first + 45, first + 55, arrived=True)
    opened = full[full["open"]]["day"].min()
    assert opened >= pd.Timestamp(first + 50, unit="D")
    assert came[came["open"]]["day"].min() > opened
    fired = int((opened - pd.Timestamp(0)).days)
    found = autopsy.latency(cells, _finding(first + 50, fired), method, first + 59)
    assert found.known is not None
    assert found.decision == fired - (first + 50)
    assert found.decision + found.reports == (found.known - found.began).days
    assert autopsy.latency(cells.assign(known=first + 500), finding, method, first + 59).known is None
    told_by = autopsy.evidence(autopsy.around(cells, finding, first + 59), 0.025, method)
    assert told_by["evidence"].abs().max() <= method.clip
    assert (told_by.loc[told_by["failed"] > 30, "evidence"] > 0).all()


def _finding(day: int, fired: int | None = None) -> Any:
    from dmarcview.alerts.model import Finding
    from dmarcview.alerts.series import as_day

    return Finding("dkim_failing", "example.org", "selector s1.example.org", as_day(day), as_day(day + 5), 10, "",
                   fired=as_day(fired or day))  # fmt: skip


def test_a_higher_threshold_costs_days_and_saves_false_alarms() -> None:
    small = tuning.World(mail=20, fault=0.12, series=25, seed=3)
    curve = tuning.curve(small, (3, 8, 14))
    assert curve["false_alarms"].is_monotonic_decreasing
    assert curve["delay"].is_monotonic_increasing
    assert curve["found"].between(0, 1).all()
    assert curve.equals(tuning.curve(small, (3, 8, 14)))
    assert tuning.choose(curve, 1e9, 1) == 3
    assert tuning.choose(curve.assign(false_alarms=1.0), 0.1, 1) is None


def test_text_of_strangers_is_safe_in_every_label() -> None:
    labels = charts.unique([HOSTILE, HOSTILE, None, "a"])
    assert len(set(labels)) == 4
    assert charts.unique(["a", "a (3)", "a", "a", "a (2)"]) == ["a", "a (3)", "a (2)", "a (4)", "a (2) (2)"]
    assert all("<" not in label and "\u202e" not in label for label in labels)
    rates = pd.DataFrame({"share": [0.5], "low": [0.4], "high": [0.6], "messages": [10]})
    drawn = renderer.Offline().to_mimebundle(charts.points([HOSTILE], rates, "t").to_dict())
    assert "<img" not in str(drawn[renderer.MIME])
    evil = charts.blank("</script><script>alert(1)</script>").to_dict()
    assert renderer.Offline().to_mimebundle(evil)["text/html"].count("</script>") == 1


def test_a_study_of_a_day_that_is_none_says_how_to_write_it() -> None:
    with pytest.raises(ValueError, match="2026-01-31"):
        opening.begin("x", since="yesterday")


def test_an_own_store_is_read_for_its_newest_days_and_never_written(store: Library, monkeypatch: Any) -> None:
    store.flush()
    study = opening.begin(str(store.data))
    assert study.filters.since is not None
    assert "230 messages" in str(study)
    assert not study.sample
    monkeypatch.setattr(opening, "MOST_RECORDS", 1)
    with pytest.raises(ValueError, match="set DOMAINS, SINCE or UNTIL"):
        study.records()
    study.store.close()
