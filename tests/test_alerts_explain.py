"""Known causes silence the alarms that they explain: a table, judged case by case."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmarcview.alerts.explain import RULES, explained
from dmarcview.alerts.model import Finding, Member
from dmarcview.alerts.overdue import EVERYONE
from dmarcview.alerts.words import KINDS

KEY = "selector s1 of example.org"
SPF = "SPF record at example.org"


def finding(kind: str, cause: str = "", **fields: Any) -> Finding:
    values: dict[str, Any] = {
        "domain": "example.org",
        "first_day": date(2026, 3, 10),
        "last_day": date(2026, 3, 12),
        "weight": 7,
        "text": "made up",
        "usual": 0.0,
    } | fields
    return Finding(kind=kind, cause=cause, **values)


def told(*findings: Finding) -> list[str]:
    kept, silenced = explained(findings)
    assert len(kept) + len(silenced) == len(findings)
    return [f"{one.kind} {one.cause}".strip() for one in kept]


@pytest.mark.parametrize("kind", ["dkim_failing", "signed_broken", "dmarc_failing"])
@pytest.mark.parametrize(
    "cause", ["selector s1", KEY, "example.org", "all senders of example.org", "s1 (own hosts)", "several senders"]
)
def test_a_missing_key_explains_the_failures_that_name_it_or_its_domain(kind: str, cause: str) -> None:
    assert told(finding("key_missing", KEY), finding(kind, cause)) == [f"key_missing {KEY}"]


@pytest.mark.parametrize(
    ("kind", "cause", "fields"),
    [
        ("dkim_failing", "selector s2 of example.org", {}),
        ("dkim_failing", "Mailer Inc.", {}),
        ("dkim_failing", "selector s1", {"domain": "example.net"}),
        ("spf_failing", "example.org", {}),
        ("dkim_failing", "selector s1", {"first_day": date(2026, 2, 1)}),
        ("dkim_failing", "selector s1", {"first_day": date(2026, 2, 1), "last_day": date(2026, 2, 9)}),
    ],
)
def test_a_missing_key_explains_nothing_else(kind: str, cause: str, fields: dict[str, Any]) -> None:
    assert len(told(finding("key_missing", KEY), finding(kind, cause, **fields))) == 2


def test_what_dmarc_took_up_of_dkim_and_spf_is_explained_as_they_are() -> None:
    by_key = finding("dmarc_failing", "192.0.2.7", members=(Member(f"DKIM of {KEY}", 5, 5),))
    by_spf = finding("dmarc_failing", "192.0.2.8", members=(Member("SPF of 192.0.2.8", 5, 5),))
    key, spf = finding("key_missing", KEY), finding("spf_lookups", "too many look-ups")
    assert told(key, by_key, by_spf) == [f"key_missing {KEY}", "dmarc_failing 192.0.2.8"]
    assert told(spf, by_key, by_spf) == ["spf_lookups too many look-ups", "dmarc_failing 192.0.2.7"]


def test_a_key_that_was_missing_at_the_first_look_explains_what_began_before() -> None:
    old = finding("dkim_failing", "selector s1", first_day=date(2026, 1, 1))
    assert told(finding("key_missing", KEY, usual=None), old) == [f"key_missing {KEY}"]


def test_a_key_explains_the_failures_of_every_domain_that_it_signs_for() -> None:
    key = finding("key_missing", KEY, members=(Member("example.org", 0, 5), Member("news.example.org", 0, 9)))
    assert told(key, finding("dmarc_failing", "selector s1", domain="news.example.org")) == [f"key_missing {KEY}"]


@pytest.mark.parametrize(
    ("cause", "wanted"),
    [
        (finding("spf_lookups", "too many look-ups"), 1),
        (finding("record_gone", SPF), 1),
        (finding("record_changed", SPF), 1),
        (finding("record_gone", "DMARC record at _dmarc.example.org"), 2),
        (finding("spf_lookups", "too many look-ups", domain="example.net"), 2),
    ],
)
def test_a_broken_spf_record_explains_that_spf_fails(cause: Finding, wanted: int) -> None:
    assert len(told(cause, finding("spf_failing", "192.0.2.0/24"))) == wanted


SILENT = [finding("reporter_silent", name) for name in ("big.example", "small.example")]


def test_that_nobody_reports_on_a_domain_explains_the_silence_of_each_on_that_domain_only() -> None:
    other = finding("reporter_silent", "big.example", domain="example.net")
    assert told(finding("intake_fault", EVERYONE), *SILENT, other) == [
        f"intake_fault {EVERYONE}",
        "reporter_silent big.example",
    ]


@pytest.mark.parametrize("cause", ["mails wait in the spool", "the disk is full", "receive does not run"])
def test_an_intake_that_stands_still_explains_every_silence(cause: str) -> None:
    other = finding("reporter_silent", "big.example", domain="example.net")
    assert told(finding("intake_fault", cause, domain=""), *SILENT, other) == [f"intake_fault {cause}"]


@pytest.mark.parametrize(
    ("cause", "wanted"),
    [
        (finding("intake_fault", "mails wait in the spool", domain=""), 1),
        (finding("queue_stuck", "the relay does not run", domain=""), 1),
        (finding("record_gone", "our address in the DMARC record at _dmarc.example.org"), 1),
        (finding("record_gone", SPF), 2),
        (finding("intake_fault", "the disk is nearly full", domain=""), 2),
    ],
)
def test_that_nobody_reports_has_a_cause_too(cause: Finding, wanted: int) -> None:
    assert len(told(cause, finding("intake_fault", EVERYONE))) == wanted


def test_refused_reports_explain_the_silence_of_who_sent_them() -> None:
    name = "many inputs are refused as not_xml"
    refused = finding("intake_fault", name, domain="", members=(Member("mail.big.example", 9, 9),))
    assert told(refused, *SILENT) == [f"intake_fault {name}", "reporter_silent small.example"]


@pytest.mark.parametrize(
    ("cause", "silent", "wanted"),
    [
        ("the relay does not run", 2, 1),
        ("the relay does not run", 1, 2),
        ("mail to many domains", 2, 1),
        ("mail to example.net", 2, 3),
    ],
)
def test_a_queue_that_stands_still_explains_the_silence_of_several(cause: str, silent: int, wanted: int) -> None:
    assert len(told(finding("queue_stuck", cause, domain=""), *SILENT[:silent])) == wanted


@pytest.mark.parametrize(
    "cause", ["DMARC record at _dmarc.example.org", "our address in the DMARC record at _dmarc.example.org",
              "consent at example.org._report._dmarc.reports.example.net"],
)  # fmt: skip
def test_reporters_that_are_asked_no_more_are_rightly_silent(cause: str) -> None:
    assert told(finding("record_gone", cause), *SILENT) == [f"record_gone {cause}"]


def test_what_is_silenced_stays_a_member_with_its_numbers_and_chains_end_at_the_first_cause() -> None:
    failing = finding("dkim_failing", "selector s1", failed=40, total=50)
    held = finding("mail_held", f"the key of {KEY}", weight=3)
    kept, silenced = explained([*SILENT, failing, held, finding("key_missing", KEY)])
    (key,) = kept
    assert key.members == (
        Member("big.example sends no reports on example.org any more", 7, 0),
        Member("small.example sends no reports on example.org any more", 7, 0),
        Member("DKIM fails for mail of example.org: selector s1", 40, 50),
        Member(f"The relay holds mail back: the key of {KEY}", 3, 0),
    )
    assert {one.by for one in silenced} == {key}
    assert [one.finding for one in silenced] == [*SILENT, failing, held]


def test_a_cause_is_as_grave_as_the_gravest_that_it_explains() -> None:
    changed = finding("record_changed", SPF, weight=1, text="It became: v=spf1 -all.")
    failing = finding("dmarc_failing", "192.0.2.7", weight=900, failed=900, total=1000,
                      members=(Member("SPF of 192.0.2.7", 900, 1000),), last_day=date(2026, 3, 14))  # fmt: skip
    spf = finding("spf_failing", "192.0.2.9", weight=5_000, failed=5_000, total=6_000)
    (kept,), _ = explained([changed, failing, spf])
    assert (kept.kind, kept.level, kept.weight, kept.counts) == ("record_changed", "act", 900, "messages")
    assert (kept.failed, kept.total, kept.last_day) == (900, 1000, date(2026, 3, 14))
    assert kept.text == "It became: v=spf1 -all. With it: Mail of example.org fails DMARC: 192.0.2.7."
    (kept,), _ = explained([changed, spf])
    assert (kept.level, kept.weight, kept.counts) == ("watch", 1, "changes")
    key = finding("key_missing", KEY, weight=2)
    (kept,), _ = explained([key, finding("dmarc_failing", KEY, weight=900, failed=900, total=1000)])
    assert (kept.level, kept.weight, kept.counts) == ("act", 2, "days"), "it asked for action already"


def test_every_kind_of_the_table_is_a_kind_and_no_kind_explains_itself_in_a_circle() -> None:
    assert {kind for pair in RULES for kind in pair} <= set(KINDS)
    pairs = [pair for pair in RULES if pair != ("intake_fault", "intake_fault")]  # a fault explains that nobody reports
    below = {cause: {alarm for c, alarm in pairs if c == cause} for cause, _ in pairs}
    for start in below:
        reached, todo = set(), [start]
        while todo:
            for kind in below.get(todo.pop(), ()):
                if kind not in reached:
                    reached.add(kind)
                    todo.append(kind)
        assert start not in reached


CAUSES = [
    "",
    KEY,
    SPF,
    "selector s2",
    "the relay does not run",
    EVERYONE,
    "mails wait in the spool",
    "big.example",
    "(",
]


@given(st.lists(st.tuples(st.sampled_from(sorted(KINDS)), st.sampled_from(CAUSES)), unique=True, max_size=25))
def test_no_finding_is_lost_whatever_stands_beside_it(which: list[tuple[str, str]]) -> None:
    findings = [finding(*one) for one in which]
    kept, silenced = explained(findings)
    names = [one.fingerprint for one in kept] + [one.finding.fingerprint for one in silenced]
    assert sorted(names) == sorted(one.fingerprint for one in findings)
    assert all(one.by in kept for one in silenced)
    assert sum(len(one.members) for one in kept) == len(silenced)
