"""One finding a cause: which of selector, sender and domain it is, and what it takes with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hypothesis import given
from hypothesis import strategies as st

from dmarcview.alerts.causes import MANY, Ask, Row, findings
from dmarcview.alerts.model import Finding, Member
from dmarcview.alerts.series import Series, as_day, group_of

TODAY = 20_700


def row(
    mechanism: str,
    group: str = "",
    failed: int = 50,
    total: int = 60,
    *,
    domain: str = "example.org",
    ago: int = 5,
    cleared: int = -1,
) -> Row:
    since = TODAY - ago
    return Row(
        Series(domain, mechanism, group), since, since + 1, cleared, failed, total, failed - 0.01 * total, 0.01, 3
    )


def nobody(_: Sequence[Ask]) -> Mapping[Ask, Mapping[str, float]]:
    return {}


def test_a_single_sender_that_fails_is_the_cause() -> None:
    (found,) = findings([row("dmarc"), row("dmarc", "192.0.2.20")], TODAY, nobody)
    assert (found.kind, found.cause, found.domain) == ("dmarc_failing", "192.0.2.20", "example.org")
    assert (found.failed, found.total, found.weight) == (50, 60, 50)
    assert (found.first_day, found.last_day) == (as_day(TODAY - 5), as_day(TODAY - 1))
    assert "50 of 60 messages (83.3 %)" in found.text
    assert "source=example.org~192.0.2.20" in found.query
    assert found.page == "/sources"


def test_senders_that_fail_alike_are_one_finding_of_the_domain() -> None:
    parts = [row("spf", f"192.0.2.{n}", 25, 30) for n in range(4)]
    (found,) = findings([row("spf", failed=100, total=130), *parts], TODAY, nobody)
    assert found.cause == MANY
    assert {member.name for member in found.members} == {f"192.0.2.{n}" for n in range(4)}
    assert found.failed == 100


def test_a_key_behind_several_senders_is_named_by_its_selector() -> None:
    parts = [row("dkim", "192.0.2.1"), row("dkim", "192.0.2.2")]
    other = [row("dkim", domain="example.net", ago=30, cleared=TODAY - 20), row("spf", domain="example.net")]
    asked = []

    def excess(asks: Sequence[Ask]) -> Mapping[Ask, Mapping[str, float]]:
        asked.append(asks)
        return {asks[1]: {"s1 of example.org": 95.0, "s2 of example.org": 1.0, "none": -3.0}}

    *_, found = findings([row("dkim", failed=100, total=130), *parts, *other], TODAY, excess)
    assert asked == [[Ask("example.net", TODAY - 30, TODAY - 20), Ask("example.org", TODAY - 5, TODAY - 1)]]
    assert found.cause == "selector s1 of example.org"


def test_unsigned_mail_is_no_selector() -> None:
    (found,) = findings([row("dkim"), row("dkim", "192.0.2.1")], TODAY, lambda asks: {asks[0]: {"none": 50.0}})
    assert found.cause == "192.0.2.1"


def test_what_shows_in_spf_and_dmarc_is_told_once_as_dmarc() -> None:
    rows = [row("dmarc"), row("dmarc", "192.0.2.20"), row("spf"), row("spf", "192.0.2.20")]
    (found,) = findings(rows, TODAY, nobody)
    assert found.kind == "dmarc_failing"
    assert Member("SPF of 192.0.2.20", 50, 60) in found.members


def test_another_cause_in_the_same_domain_stays_a_finding_of_its_own() -> None:
    rows = [row("dmarc"), row("dmarc", "192.0.2.20"), row("dkim"), row("dkim", "192.0.2.1")]
    found = findings(rows, TODAY, nobody)
    assert [(one.kind, one.cause) for one in found] == [("dkim_failing", "192.0.2.1"), ("dmarc_failing", "192.0.2.20")]


def test_what_has_ended_is_told_apart_from_what_goes_on() -> None:
    past = [row("dmarc", ago=40, cleared=TODAY - 30), row("dmarc", "192.0.2.9", ago=40, cleared=TODAY - 31)]
    older = row("dmarc", "192.0.2.8", ago=50, cleared=TODAY - 45)
    found = findings([row("dmarc"), row("dmarc", "192.0.2.20"), *past, older], TODAY, nobody)
    assert [(one.cause, one.cleared) for one in found] == [
        ("192.0.2.8", as_day(TODAY - 45)), ("192.0.2.9", as_day(TODAY - 30)), ("192.0.2.20", None)]  # fmt: skip
    assert found[1].last_day == as_day(TODAY - 30)
    assert " to " in found[1].text


def test_domains_do_not_mix() -> None:
    rows = [row("dmarc", domain="example.org"), row("dmarc", domain="example.net")]
    assert [one.domain for one in findings(rows, TODAY, nobody)] == ["example.net", "example.org"]


@given(st.permutations([row("dmarc"), row("dmarc", "192.0.2.20"), row("spf"), row("spf", "192.0.2.20"), row("dkim"),
                        row("dkim", "192.0.2.1", 20), row("dkim", "192.0.2.2", 20)]))  # fmt: skip
def test_the_order_of_series_changes_nothing(rows: list[Row]) -> None:
    assert findings(rows, TODAY, nobody) == findings(sorted(rows), TODAY, nobody)


def test_senders_are_grouped_by_service_and_by_network() -> None:
    assert group_of("192.0.2.1", None) == "192.0.2.1"
    assert group_of("192.0.2.1", "Letter Press") == "Letter Press"
    assert group_of("2001:db8:1:2:3::9", None) == group_of("2001:db8:1:2::1", None) == "2001:db8:1:2::/64"


@given(st.builds(Finding, kind=st.sampled_from(["dmarc_failing", "forged"]), domain=st.text(max_size=20),
                 cause=st.text(max_size=20), first_day=st.dates(), last_day=st.dates(),
                 weight=st.integers(0, 2**40), text=st.text(max_size=40), usual=st.none() | st.floats(0, 1),
                 members=st.tuples(st.builds(Member, st.text(max_size=9), st.integers(), st.integers()))))  # fmt: skip
def test_a_finding_survives_the_ledger(finding: Finding) -> None:
    assert Finding.from_json(finding.to_json()) == finding
