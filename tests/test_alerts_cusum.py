"""`bbcusum`: what is an incident, when it ends, and that nothing but the set of cells decides."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmarcview.alerts.cusum import METHOD, Cells, Verdicts, judge
from dmarcview.alerts.likelihood import log_gamma, log_likelihood

TODAY = 20_500
Row = tuple[int, int, int, int, int]  # series, days before today, reporter, total, failed


def cells(rows: Iterable[Row]) -> Cells:
    columns = np.array(list(rows), np.int64).reshape(-1, 5).T
    return Cells(columns[0], TODAY - columns[1], columns[2], columns[3], columns[4])


def steady(days: Iterable[int], *, series: int = 0, reporters: int = 3, total: int = 10, failed: int = 0) -> list[Row]:
    """The same counts from each reporter on each of these days before today."""
    return [(series, day, reporter, total, failed) for day in days for reporter in range(reporters)]


def asked(rows: Iterable[Row], series: int = 1, **more: object) -> Verdicts:
    return judge(cells(rows), series, TODAY, **more)  # type: ignore[arg-type] - each test names what it gives


def same(one: Verdicts, other: Verdicts) -> None:
    for field in fields(one):
        np.testing.assert_allclose(getattr(one, field.name), getattr(other, field.name), rtol=1e-9, err_msg=field.name)


def ago(verdicts: Verdicts, name: str, series: int = 0) -> int:
    """How many days before today a named day lies."""
    day = int(getattr(verdicts, name)[series])
    assert day >= 0, f"{name} is no day"
    return TODAY - day


def test_log_gamma_is_that_of_the_standard_library() -> None:
    x = np.geomspace(1e-3, 1e6, 2_000)
    np.testing.assert_allclose(log_gamma(x), [math.lgamma(v) for v in x], rtol=1e-8, atol=1e-8)


def test_the_ratio_of_a_single_message_is_that_of_the_shares() -> None:
    of, total, failed = np.zeros(2, np.int64), np.ones(2), np.array([1.0, 0.0])
    usual, worse = (log_likelihood(of, total, failed, np.array([share]), np.array([49.0])) for share in (0.02, 0.1))
    assert (worse - usual).tolist() == pytest.approx([math.log(0.1 / 0.02), math.log(0.9 / 0.98)])


def test_a_steady_series_is_no_incident() -> None:
    said = asked(steady(range(1, 90), total=10, failed=1))
    assert not said.open[0]
    assert said.p0[0] == pytest.approx(0.1, abs=0.01)
    assert (said.since[0], said.fired[0], said.cleared[0], said.failed[0]) == (-1, -1, -1, 0)


def test_a_sender_of_five_mails_a_day_that_fails_wholly_is_found_by_its_second_day() -> None:
    usual = [(0, day, day % 3, 5, 0) for day in range(3, 60)]
    said = asked([*usual, (0, 2, 0, 2, 2), (0, 2, 1, 3, 3), (0, 1, 0, 4, 4), (0, 1, 2, 1, 1)])
    assert said.open[0]
    assert ago(said, "since") == 2
    assert (said.failed[0], said.total[0], said.reporters[0], said.days[0]) == (10, 10, 3, 2)
    assert said.excess[0] == pytest.approx(10 - 10 * said.p0[0])
    assert said.score[0] <= said.threshold[0] == METHOD.base


def test_one_lump_of_one_reporter_is_no_incident() -> None:
    said = asked([*steady(range(2, 60)), *steady([1], reporters=2), (0, 1, 2, 400, 400)])
    assert not said.open[0]
    assert said.score[0] == pytest.approx(METHOD.clip, abs=2)


def test_a_single_reporter_must_see_it_on_two_days() -> None:
    usual = steady(range(3, 60))
    one, two = ([(0, day, 0, 10, 10) for day in range(1, n)] for n in (2, 3))
    assert not asked([*usual, *one], method=replace(METHOD, threshold=3.0)).open[0]
    assert asked([*usual, *two]).open[0]


def parted(rows: list[Row], part: float) -> Cells:
    """Cells of one reporter, each of which holds so much of a report."""
    return replace(cells(rows), part=np.full(len(rows), part))


def test_a_report_that_lies_on_several_days_is_heard_once() -> None:
    week = [(0, day, 0, 20, 20) for day in range(1, 8)]
    usual = cells(steady(range(8, 60)))
    for part, heard in ((1 / 7, False), (1.0, True)):
        bad = parted(week, part)
        both = Cells(*(np.concatenate([getattr(usual, name), getattr(bad, name)]) for name in
                       ("series", "day", "reporter", "total", "failed")),
                     part=np.concatenate([np.ones(len(usual.day)), np.full(7, part)]))  # fmt: skip
        said = judge(both, 1, TODAY)
        assert bool(said.open[0]) == heard
        assert said.score[0] == pytest.approx(METHOD.total_clip if not heard else METHOD.base)
        low = judge(both, 1, TODAY, method=replace(METHOD, threshold=2.0))
        assert bool(low.open[0]) == heard, "one report is not two, whatever the threshold"


def test_what_speaks_against_a_fault_is_heard_once_as_well() -> None:
    bad = steady([4, 5, 6], reporters=2, failed=8)
    rows = [*steady(range(7, 60), reporters=2), *bad, *((0, day, 2, 500, 0) for day in range(1, 4))]
    whole = cells(rows)
    part = np.where(whole.reporter == 2, 1 / 3, 1.0)
    strong, weak = judge(whole, 1, TODAY), judge(replace(whole, part=part), 1, TODAY)
    assert weak.score[0] == pytest.approx(METHOD.base - METHOD.clip)
    assert strong.score[0] < weak.score[0]


def test_what_has_failed_always_is_no_incident() -> None:
    assert not asked(steady(range(1, 90), total=20, failed=20)).open[0]
    assert not asked(steady(range(1, 12), total=20, failed=20)).open[0]  # young, too


def test_a_young_series_is_not_judged_and_learns() -> None:
    said = asked(steady(range(1, 6), failed=5))
    assert (bool(said.young[0]), bool(said.open[0])) == (True, False)
    said = asked([*steady(range(3, 12)), *steady([1, 2], failed=10)])
    assert (bool(said.young[0]), bool(said.open[0])) == (False, True)


def test_days_without_mail_change_nothing() -> None:
    bad = steady([1, 2], failed=2)
    whole = [*steady(range(3, 80)), *bad]
    weekdays = [row for row in whole if row[1] % 7 not in (4, 5)]
    assert asked(whole).open[0]
    assert asked(weekdays).open[0]
    gap = [*steady(range(13, 80)), *steady([1, 12], failed=2)]
    assert asked(gap).open[0]


def test_it_ends_on_the_second_calm_and_complete_day() -> None:
    rows = [*steady(range(8, 60)), *steady(range(5, 8), failed=10), *steady(range(1, 5))]
    said = asked(rows)
    assert not said.open[0]
    assert (ago(said, "since"), ago(said, "cleared")) == (7, 3)
    assert (said.failed[0], said.total[0]) == (90, 5 * 30)
    day_before = asked([row for row in rows if row[1] > 3])
    assert day_before.open[0]


def test_it_ends_as_soon_when_it_began_small() -> None:
    small, whole = (
        [(0, day, day % 2, 5, failed) for day in days] for days, failed in ((range(14, 20), 2), (range(5, 14), 5))
    )
    said = asked([*((0, day, day % 2, 5, 0) for day in range(20, 80)), *small, *whole,
                  *((0, day, day % 2, 5, 0) for day in range(1, 5))])  # fmt: skip
    assert ago(said, "since") >= 19
    assert not said.open[0]


def test_incomplete_days_are_evidence_but_end_nothing() -> None:
    rows = [*steady(range(8, 60)), *steady(range(5, 8), failed=10), *steady(range(1, 5))]
    assert asked(rows, complete=np.zeros(3, bool)).open[0]
    assert not asked(rows, complete=np.array([False, True, True])).open[0]
    assert asked(rows, complete=np.array([[True, False, False, False]])).open[0]
    assert asked([*steady(range(3, 60)), *steady([1, 2], failed=10)], complete=np.zeros(7, bool)).open[0]


def test_it_ends_when_nothing_more_is_heard_of_it() -> None:
    rows = [*steady(range(20, 60)), *steady(range(16, 20), failed=10)]
    said = asked(rows)
    assert (bool(said.open[0]), ago(said, "cleared")) == (False, 2)
    assert asked([(s, d - 4, r, n, f) for s, d, r, n, f in rows]).open[0]


def test_an_incident_longer_than_the_window_goes_on_from_its_onset() -> None:
    said = asked([*steady(range(41, 95)), *steady(range(1, 41), failed=3)])
    assert said.open[0]
    assert ago(said, "since") == 40
    assert said.p0[0] < 0.01


def test_an_incident_of_months_is_how_things_are() -> None:
    said = asked([*steady(range(81, 98)), *steady(range(1, 81), failed=3)])
    assert (bool(said.open[0]), said.cleared[0]) == (False, -1)


def test_after_it_ended_it_can_come_again() -> None:
    first = [*steady(range(30, 80)), *steady(range(26, 30), failed=10), *steady(range(3, 26))]
    said = asked([*first, *steady([1, 2], failed=10)])
    assert said.open[0]
    assert ago(said, "since") == 2
    assert said.p0[0] < 0.01


def test_the_threshold_grows_with_the_number_of_series() -> None:
    assert judge(cells([]), 0, TODAY).threshold.shape == (0,)
    assert METHOD.level(1) == METHOD.level(10) == METHOD.base == 7
    assert METHOD.level(1_000) == pytest.approx(11.6, abs=0.01)
    assert judge(cells(steady([1])), 1_000, TODAY).threshold[7] == pytest.approx(11.6, abs=0.01)


def test_today_and_what_is_too_old_are_left_out() -> None:
    usual = steady(range(1, 60))
    same(asked([*usual, *steady([0, -1], failed=10), *steady([300], failed=10)]), asked(usual))


@pytest.mark.parametrize(
    ("rows", "series", "words"),
    [([(0, 1, 0, 1, 2)], 1, "more failed"), ([(0, 1, -1, 1, 1)], 1, "negative"), ([(3, 1, 0, 1, 1)], 3, "series 3")],
)
def test_cells_that_cannot_be_are_refused(rows: list[Row], series: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        asked(rows, series)


def test_arrays_of_several_lengths_are_refused() -> None:
    one, two = np.zeros(1, np.int64), np.zeros(2, np.int64)
    with pytest.raises(ValueError, match="lengths"):
        Cells(one, one, one, two, one)


def history(seed: int) -> list[Row]:
    """Some series with an incident somewhere."""
    rng = np.random.default_rng(seed)
    rows: list[Row] = []
    for series in range(3):
        onset, volume, share = int(rng.integers(1, 60)), rng.uniform(0.5, 8), rng.uniform(0, 1)
        for day in range(1, 80):
            for reporter in range(3):
                total = int(rng.poisson(volume))
                failed = int(rng.binomial(total, share if onset - 15 < day <= onset else 0.03))
                rows += [(series, day, reporter, total, failed)] * bool(total)
    return rows


SEEDS = st.integers(0, 10**6)


@settings(max_examples=15, deadline=None)
@given(SEEDS, SEEDS)
def test_order_and_splitting_of_cells_change_nothing(seed: int, other: int) -> None:
    rows, rng = history(seed), np.random.default_rng(other)
    split: list[Row] = []
    for series, day, reporter, total, failed in rows:
        bad = int(rng.integers(0, failed + 1))
        part = bad + int(rng.integers(0, total - failed + 1))
        split += [(series, day, reporter, part, bad), (series, day, reporter, total - part, failed - bad)]
    mixed = [split[place] for place in rng.permutation(len(split))]
    same(asked(mixed, 3), asked(rows, 3))


@settings(max_examples=8, deadline=None)
@given(SEEDS, SEEDS)
def test_order_and_splitting_of_cells_with_parts_change_nothing(seed: int, other: int) -> None:
    rows, rng = history(seed), np.random.default_rng(other)
    part = rng.random(len(rows))
    twice = [(s, d, r, n - n // 2, f - f // 2) for s, d, r, n, f in rows] + [
        (s, d, r, n // 2, f // 2) for s, d, r, n, f in rows if n > 1]  # fmt: skip
    parts = np.concatenate([part, part[[row[3] > 1 for row in rows]]])
    order = rng.permutation(len(twice))
    mixed = replace(cells([twice[place] for place in order]), part=parts[order])
    same(judge(mixed, 3, TODAY), judge(replace(cells(rows), part=part), 3, TODAY))


def test_cells_with_more_than_a_whole_report_are_refused() -> None:
    for part in (-0.1, 1.1):
        with pytest.raises(ValueError, match="report"):
            parted([(0, 1, 0, 1, 1)], part)


@settings(max_examples=10, deadline=None)
@given(SEEDS, st.integers(0, 2))
def test_a_series_is_judged_alike_alone_and_among_others(seed: int, series: int) -> None:
    rows = history(seed)
    alone = asked([(0, *row[1:]) for row in rows if row[0] == series])
    among = asked(rows, 3)
    for field in fields(alone):
        assert getattr(alone, field.name)[0] == pytest.approx(getattr(among, field.name)[series]), field.name
