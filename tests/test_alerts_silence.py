"""Reporters that fell silent: beyond their own habit only."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmarcview.alerts.silence import DAY, Arrivals, Silences, judge

TODAY = 20_500
HOUR = 3_600
Row = tuple[int, int, int]  # reporter, days before today, seconds of arrival after the end of that day


def asked(rows: Iterable[Row], reporters: int = 1, *, today: int = TODAY, hour: int = 12) -> Silences:
    """The verdicts at an hour of a day; arrivals are known from then on, whatever `today` is."""
    columns = np.array(list(rows), np.int64).reshape(-1, 3).T
    day = TODAY - columns[1]
    arrived = np.where(columns[2] < 0, -1, (day + 1) * DAY + columns[2])
    return judge(Arrivals(columns[0], day, arrived), reporters, today * DAY + hour * HOUR)


def daily(days: Iterable[int], *, reporter: int = 0, late: int = 6 * HOUR) -> list[Row]:
    return [(reporter, day, late) for day in days]


def test_who_reports_is_not_silent() -> None:
    said = asked(daily(range(1, 80)))
    assert (bool(said.silent[0]), bool(said.usual[0]), said.everyone) == (False, True, False)
    assert (TODAY - said.last[0], said.overdue[0], said.lateness[0]) == (1, 0, 12 * HOUR)
    assert said.share[0] == pytest.approx(1, abs=0.01)


def test_three_missed_reports_of_a_daily_reporter_are_silence() -> None:
    assert not asked(daily(range(3, 80))).silent[0]
    said = asked(daily(range(4, 80)))
    assert (bool(said.silent[0]), said.overdue[0]) == (True, 3)
    assert said.missed[0] == pytest.approx(3, abs=0.1)
    assert not asked(daily(range(4, 80)), hour=9).silent[0]  # the third is not overdue yet


def test_a_reporter_that_comes_late_is_given_its_time() -> None:
    late = daily(range(6, 80), late=4 * DAY)
    assert not asked(late).silent[0]
    assert asked(late, today=TODAY + 3).silent[0]


def test_one_late_report_in_seventy_is_within_the_habit() -> None:
    rows = [*daily(range(4, 60)), (0, 60, 4 * DAY)]
    assert not asked(rows).silent[0]


def test_a_young_reporter_is_not_missed() -> None:
    assert not asked(daily(range(10, 30))).usual[0]
    assert not asked(daily(range(10, 30))).silent[0]


def test_a_weekly_reporter_is_missed_after_weeks() -> None:
    weekly = daily(range(1, 85, 7))
    for days in range(1, 21):
        assert not asked(weekly, today=TODAY + days).silent[0], days
    assert asked(weekly, today=TODAY + 28).silent[0]


def test_who_leaves_out_weekends_is_not_missed_on_one() -> None:
    weekdays = daily(day for day in range(1, 85) if (TODAY - day) % 7 not in (0, 1))
    for days in range(1, 14):
        rows = [row for row in weekdays if row[1] >= days]
        missed = sum((TODAY - day) % 7 not in (0, 1) for day in range(1, days))
        assert bool(asked(rows).silent[0]) == (missed >= 3), days


def test_who_skips_quiet_days_is_not_missed_soon() -> None:
    rng = np.random.default_rng(7)
    alarms = 0
    for _ in range(300):
        share = rng.uniform(0.1, 0.9)
        alarms += int(asked(daily(day for day in range(1, 90) if rng.random() < share)).silent[0])
    assert alarms <= 3


def test_days_on_which_others_are_silent_too_count_less() -> None:
    others = [row for reporter in range(1, 6) for row in daily(range(4, 80), reporter=reporter)]
    said = asked([*daily(range(4, 80)), *others], 6)
    assert said.silent.sum() == 0
    assert said.everyone
    assert TODAY - said.last_of_all == 4
    busy = [row for reporter in range(1, 6) for row in daily(range(1, 80), reporter=reporter)]
    said = asked([*daily(range(4, 80)), *busy], 6)
    assert said.silent.tolist() == [True, False, False, False, False, False]
    assert not said.everyone


def test_imported_files_tell_nothing_of_lateness() -> None:
    said = asked([(0, day, -1) for day in range(1, 80)])
    assert said.lateness[0] == 2 * DAY + 6 * HOUR
    assert not said.silent[0]


def test_without_reports_nobody_is_silent() -> None:
    said = asked([], 2)
    assert (said.silent.tolist(), said.last.tolist(), said.everyone, said.last_of_all) == (
        [False] * 2,
        [-1] * 2,
        False,
        -1,
    )


def test_arrivals_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="reporter 3"):
        asked([(3, 1, 0)], 2)
    with pytest.raises(ValueError, match="negative"):
        asked([(-1, 1, 0)])
    with pytest.raises(ValueError, match="lengths"):
        Arrivals(np.zeros(1, np.int64), np.zeros(2, np.int64), np.zeros(1, np.int64))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6))
def test_order_and_repetition_change_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = [(int(r), int(d), int(rng.integers(0, 3 * DAY))) for r in range(3) for d in rng.integers(1, 90, 60)]
    mixed = [rows[place] for place in rng.permutation(len(rows))]
    one, other = asked(rows, 3), asked([*mixed, *mixed[:20]], 3)
    for name in ("silent", "last", "overdue", "missed", "lateness", "share", "usual"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), name)
