"""A cause that many domains share is told once; what they do not share is not mixed."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from dmarcview.alerts.causes import MANY
from dmarcview.alerts.fleet import merged
from dmarcview.alerts.model import Finding, Member

DAY = date(2026, 11, 20)


def finding(number: int, cause: str = "192.0.2.20", kind: str = "dmarc_failing", first: date = DAY) -> Finding:
    return Finding(kind, f"d{number}.example", cause, first, first + timedelta(days=3), 10 + number, "It fails.",
                   10 + number, 40, 0.01)  # fmt: skip


def test_a_host_that_fails_for_many_domains_is_one_finding() -> None:
    (one,) = merged([finding(n) for n in range(40)])
    assert (one.kind, one.domain, one.cause) == ("dmarc_failing", "", "192.0.2.20")
    assert (one.failed, one.total, one.weight) == (sum(range(10, 50)), 1_600, sum(range(10, 50)))
    assert one.title == "Mail of 40 domains fails DMARC: 192.0.2.20"
    assert one.members[0].name == "d39.example"
    assert len(one.domains) == 40
    assert "of 40 domains" in one.text


def test_of_very_many_domains_the_worst_are_listed_and_all_are_known() -> None:
    (one,) = merged([finding(n) for n in range(150)])
    assert (len(one.members), len(one.domains)) == (100, 150)
    assert one.title == "Mail of 150 domains fails DMARC: 192.0.2.20"
    assert Finding.from_json(one.to_json()) == one


def test_what_the_domains_have_taken_up_stands_below_them() -> None:
    inner = (Member("192.0.2.20", 9, 10), Member("SPF of 192.0.2.20", 9, 10))
    (one,) = merged([replace(finding(n), members=inner) for n in range(4)])
    assert one.members[-1] == Member("SPF of 192.0.2.20", 36, 40)
    assert len(one.members) == 5


def test_two_domains_are_told_one_by_one() -> None:
    assert len(merged([finding(1), finding(2)])) == 2


def test_other_kinds_causes_and_days_stay_apart() -> None:
    some = [finding(n) for n in range(3)]
    later = [finding(n, first=DAY + timedelta(days=30)) for n in range(3)]
    assert len(merged([*some, *later])) == 2
    assert len(merged([finding(n, cause=f"192.0.2.{n}") for n in range(5)])) == 5
    assert len(merged([finding(n, cause=MANY) for n in range(5)])) == 5
    assert len(merged([finding(n, kind="key_missing") for n in range(5)])) == 5
    assert len(merged([*some, *(replace(one, cleared=one.last_day) for one in some)])) == 2


def test_a_reporter_that_is_silent_everywhere_is_untouched() -> None:
    one = replace(finding(1, cause="far.test", kind="reporter_silent"), domain="")
    assert merged([one]) == [one]


@given(st.permutations([finding(n) for n in range(5)] + [finding(n, "Letter Press") for n in range(2)]))
def test_order_changes_nothing_and_no_message_is_lost(findings: list[Finding]) -> None:
    out = merged(findings)
    assert out == merged(sorted(findings, key=lambda one: (one.cause, one.domain)))
    assert sum(one.failed for one in out) == sum(one.failed for one in findings)
