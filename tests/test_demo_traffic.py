"""The demo's year: the same from the same seed, told truly, and lifelike where the story says so."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime
from functools import cache

import pytest

from dmarcview.demo import rhythm, traffic
from dmarcview.demo.story import DOMAINS, EPISODES, REPORTERS, SENDERS
from dmarcview.demo.traffic import Made

TODAY = date(2026, 3, 4)
DAYS = 60


@cache
def months() -> tuple[Made, ...]:
    return tuple(traffic.year(TODAY, days=DAYS))


def age(made: Made) -> int:
    middle = (made.begin + made.end) // 2
    return (TODAY - datetime.fromtimestamp(middle, UTC).date()).days


def share(reports: list[Made], sender: str) -> float:
    """DMARC pass share of the mail from one sender's addresses."""
    addresses = next(s.addresses for s in SENDERS if s.name == sender)
    rows = [r for made in reports for r in made.records if r.source_ip in addresses]
    return sum(r.count for r in rows if r.shape.dmarc_pass) / sum(r.count for r in rows)


def of(domain: str, first: int, last: int) -> list[Made]:
    return [made for made in months() if made.domain.name == domain and first >= age(made) >= last]


def test_the_same_seed_makes_the_same_reports_and_another_does_not() -> None:
    short = list(traffic.year(TODAY, days=3))
    assert short == list(traffic.year(TODAY, days=3))
    assert short != list(traffic.year(TODAY, days=3, seed=1))


def test_a_shorter_year_is_the_end_of_a_longer_one() -> None:
    assert list(traffic.year(TODAY, days=5)) == [made for made in months() if made.begin >= _begin_of(5, made)]


def _begin_of(days: int, made: Made) -> int:
    return int(datetime(2026, 3, 4, tzinfo=UTC).timestamp()) - days * 86_400 + made.reporter.window * 3_600


def test_the_truth_is_the_sum_of_the_records() -> None:
    truth = traffic.count(months())
    rows = [(made, record) for made in months() for record in made.records]
    assert truth.reports == len(months())
    assert truth.records == len(rows)
    assert truth.messages == sum(r.count for _, r in rows)
    assert sum(truth.by_disposition.values()) == truth.messages == sum(truth.by_domain.values())
    passed = sum(r.count for _, r in rows if r.shape.dkim_aligned or r.shape.spf_aligned)
    assert truth.dmarc_pass == passed
    assert max(truth.dkim_aligned, truth.spf_aligned) < truth.dmarc_pass < truth.messages


def test_identities_are_all_different_and_periods_are_one_day() -> None:
    keys = Counter((m.reporter.domain, m.domain.name, m.report_id, m.begin, m.end) for m in months())
    assert set(keys.values()) == {1}
    assert {m.end - m.begin for m in months()} == {86_400}
    assert len({m.begin % 86_400 for m in months()}) >= 3, "day windows of several zones"
    assert all(m.arrives > m.end for m in months())


def test_every_address_and_domain_is_reserved_for_documentation() -> None:
    for sender in SENDERS:
        for address in sender.addresses:
            assert address.startswith(("192.0.2.", "198.51.100.", "203.0.113.", "2001:db8:")), address
            assert address.count(".") != 3 or 0 < int(address.rsplit(".", 1)[1]) < 255
        for name in (sender.header_from, sender.envelope_from, *(d for d, _ in sender.signatures)):
            assert name.endswith((".example", "example.org", "example.com", "example.net")), name
    assert all(r.domain.endswith(".example") for r in REPORTERS)


def test_every_episode_names_a_sender_that_exists() -> None:
    assert {(e.domain, e.sender) for e in EPISODES} <= {(s.domain, s.name) for s in SENDERS}
    assert {s.domain for s in SENDERS} == {d.name for d in DOMAINS}


def test_shares_of_outcomes_and_reporters_add_up_to_one() -> None:
    for outcomes in [s.outcomes for s in SENDERS] + [e.outcomes for e in EPISODES if e.outcomes]:
        assert sum(o.share for o in outcomes) == pytest.approx(1)
    assert sum(r.share for r in REPORTERS) == pytest.approx(1, abs=0.02)


def test_the_lost_key_fails_what_is_forwarded_and_spares_what_is_direct() -> None:
    assert share(of("example.org", 24, 20), "campus forwarding") == 0
    assert share(of("example.org", 19, 10), "campus forwarding") > 0.7
    assert share(of("example.org", 24, 20), "mail.example.org") == 1


def test_the_host_that_left_the_spf_record_passes_until_then_and_fails_since() -> None:
    assert share(of("example.org", 30, 8), "web1.example.org") == 1
    assert share(of("example.org", 5, 2), "web1.example.org") == 0


def test_the_spoof_wave_stands_out_and_is_rejected_where_the_policy_is_enforced() -> None:
    def spoofed(first: int, last: int) -> Counter[str]:
        found: Counter[str] = Counter()
        strangers = next(s.addresses for s in SENDERS if s.name == "strangers")
        for made in of("example.com", first, last):
            for record in made.records:
                if record.source_ip in strangers:
                    found[record.shape.disposition or ""] += record.count
        return found

    wave, calm = spoofed(17, 13), spoofed(12, 8)
    assert sum(wave.values()) > 100 * sum(calm.values())
    assert wave["reject"] > 20 * wave["none"] > 0


def test_a_new_sender_appears_unaligned() -> None:
    assert share(of("example.com", 12, 1), "Quick Survey (new)") == 0
    with pytest.raises(ZeroDivisionError):
        share(of("example.com", 40, 15), "Quick Survey (new)")


def test_one_reporter_goes_silent_and_the_others_do_not() -> None:
    last = {}
    for made in months():
        last[made.reporter.domain] = age(made)
    assert last.pop("quietpost.example") == 10
    assert set(last.values()) == {1}


def test_an_office_rests_at_the_weekend() -> None:
    days: Counter[int] = Counter()
    office = next(s.addresses for s in SENDERS if s.name == "Workplace Mail")
    for made in of("example.com", DAYS, 1):
        if made.reporter.window == 0:
            weekday = datetime.fromtimestamp(made.begin, UTC).weekday()
            days[weekday] += sum(r.count for r in made.records if r.source_ip in office)
    assert days[6] * 4 < days[2]


def test_hourly_reports_are_new_and_never_end() -> None:
    hours = traffic.hours(TODAY)
    some = [next(hours) for _ in range(40)]
    assert len({made.report_id for made in some}) == 40
    assert all(made.end - made.begin == 3600 and made.messages > 0 for made in some)
    assert not {made.report_id for made in some} & {made.report_id for made in months()}
    many = sum(next(hours).messages for _ in range(500))  # more than an hour of the demo's
    day = sum(made.messages for made in of("example.com", 2, 1)) + sum(
        made.messages for made in of("example.net", 2, 1)
    )
    assert many < 0.5 * day


def test_counts_follow_their_mean() -> None:
    from random import Random

    for mean in (0.2, 3.0, 200.0):
        rng = Random(1)
        drawn = [rhythm.poisson(rng, mean) for _ in range(20_000)]
        assert sum(drawn) / len(drawn) == pytest.approx(mean, rel=0.06)
        assert min(drawn) >= 0
