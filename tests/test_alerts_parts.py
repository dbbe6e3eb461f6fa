"""One report is one piece of evidence, however long its period; one stranger is one reporter, by whatever names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dmarcview.alerts import parts
from dmarcview.alerts.evaluate import evaluate
from dmarcview.alerts.model import Finding
from dmarcview.alerts.series import load
from dmarcview.config import read
from dmarcview.store.facts import SourceRow
from tests.reconcile_world import seen, told, world
from tests.store_data import D0, DAY

FIRST = D0 // DAY
NOW = D0 + 60 * DAY + DAY // 2
HOST = "192.0.2.99"
BAD = seen("fail", "fail")
REAL = ("far.test", "away.test")


def failing(folder: Path, *extra: Any, real: tuple[str, ...] = REAL, bad_days: int = 0) -> list[Finding]:
    """What is said to fail of a host: by real reporters on the last `bad_days` of 60 days, and by `extra`."""
    reports = [told((HOST, 20, BAD if day >= 60 - bad_days else seen()), day=day, by=by)
               for day in range(60) for by in real]  # fmt: skip
    with world(folder, [], [*reports, *extra], now=NOW) as store:
        store.put_sources([SourceRow("example.org", HOST, "own", first_seen=D0)])
        found = evaluate(store, read("", {}, folder), NOW)
    return [one for one in found if one.cleared is None and one.kind == "dmarc_failing"]


@pytest.mark.parametrize(("day", "days"), [(59, 1), (53, 7), (46, 14), (58.5, 1), (58.3, 1.4)])
def test_one_report_alone_is_no_incident_however_long_its_period(day: float, days: float, tmp_path: Path) -> None:
    assert failing(tmp_path, told((HOST, 140, BAD), day=day, days=days, by="evil.example")) == []


def test_reports_of_many_submitters_of_one_organisation_on_a_day_are_one_report(tmp_path: Path) -> None:
    crowd = [told((HOST, 100, BAD), day=59, by=f"n{n}.evil.example") for n in range(12)]
    assert failing(tmp_path / "one", *crowd) == []
    others = [told((HOST, 100, BAD), day=59, by=f"r{n}.example") for n in range(3)]
    (found,) = failing(tmp_path / "more", *crowd, *others)
    assert "seen by 4 reporters" in found.text


def test_one_reporter_is_heard_with_its_second_day_whatever_its_time_zone(tmp_path: Path) -> None:
    for place, zone in enumerate((0, 1 / 3, 0.5, 2 / 3)):
        folder = tmp_path / str(place)
        usual, bad = [told((HOST, 20, seen()), day=day + zone, by="far.test") for day in range(56)], []
        for day in range(56, 59):
            bad.append(told((HOST, 20, BAD), day=day + zone, by="far.test"))
            found = failing(folder / str(day), *usual, *bad, real=())
            assert bool(found) == (len(bad) >= 2), (zone, len(bad))


def test_a_crowd_of_one_stranger_hides_no_total_failure(tmp_path: Path) -> None:
    """It speaks once a day against all others."""
    crowd = [told((HOST, 40, seen()), day=day, by=f"n{n}.evil.example") for day in range(55, 60) for n in range(10)]
    (found,) = failing(tmp_path, *crowd, real=(*REAL, "third.test"), bad_days=5)
    assert "seen by 3 reporters" in found.text


def test_cells_hold_the_part_of_their_reports_that_lies_on_the_day(tmp_path: Path) -> None:
    reports = [
        told((HOST, 70, seen()), day=30, days=7, by="week.test"),
        *(told((HOST, 30, seen()), day=day + 1 / 3, by="zone.test") for day in range(30, 33)),
        told((HOST, 10, seen()), day=31, by="day.test"),
        told((HOST, 70, seen()), day=30, days=7, by="both.test"),
        told((HOST, 10, seen()), day=31, by="m.both.test"),
        told((HOST, 10, seen()), day=31, by="both.test"),
        told((HOST, 70, seen()), day=30, days=7, by="week.test", domain="example.net"),
        told((HOST, 70, seen()), day=30, days=7, by="day.test", domain="example.net"),
    ]
    with world(tmp_path, [], reports, now=NOW) as store:
        store.put_sources([SourceRow(name, HOST, "own", first_seen=D0) for name in ("example.org", "example.net")])
        found = load(store, FIRST + 60)
        alone = load(store, FIRST + 60, domain="example.org")
    for loaded in (found, alone):
        assert loaded.reporters == ("both.test", "day.test", "week.test", "zone.test")
        cells = loaded.cells
        assert cells.part is not None
        mine = [one.domain == "example.org" and (one.mechanism, one.group) == ("dmarc", "") for one in loaded.series]
        known = {(loaded.reporters[r], d - FIRST): p for s, r, d, p in
                 zip(cells.series.tolist(), cells.reporter.tolist(), cells.day.tolist(), cells.part.tolist(),
                     strict=True) if mine[s]}  # fmt: skip
        week = {("week.test", day): 1 / 7 for day in range(30, 37)}
        both = {("both.test", day): 1.0 if day == 31 else 1 / 7 for day in range(30, 37)}
        zone = {("zone.test", day): part for day, part in ((30, 2 / 3), (31, 1.0), (32, 1.0), (33, 1 / 3))}
        assert known == pytest.approx({**week, **both, **zone, ("day.test", 31): 1.0}, abs=1e-9)


def test_a_period_of_any_length_is_spread_to_one_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    begin = rng.integers(0, 30 * DAY, 500)
    end = begin + rng.integers(0, 20 * DAY, 500)
    who, count = rng.integers(0, 9, 500), rng.integers(1, 4, 500)
    one_by_one = np.zeros((9, 50))
    for w, b, e, n in zip(who.tolist(), begin.tolist(), end.tolist(), count.tolist(), strict=True):
        until = max(e, b + 1)
        for day in range(50):
            shared = min(until, (day + 1) * DAY) - max(b, day * DAY)
            one_by_one[w, day] += n * max(0, shared) / (until - b)
    given = parts.Periods(who, begin, end, count)
    whole = parts.spread(given, 0, 50, 9)
    assert np.allclose(np.where(one_by_one > 0.999, 1.0, one_by_one), whole)
    monkeypatch.setattr(parts, "AT_ONCE", 500)
    assert np.array_equal(parts.spread(given, 0, 50, 9), whole)
    some = parts.spread(given, 10, 15, 9)
    assert np.allclose(some, whole[:, 10:25])
