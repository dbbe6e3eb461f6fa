"""The backtest: which reports were there on a day, and that its work is bounded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dmarcview.alerts import backtest
from dmarcview.alerts.cusum import Cells
from dmarcview.alerts.overdue import Receipt
from dmarcview.alerts.series import Loaded, Series, Volume
from dmarcview.config import read
from dmarcview.dashboard.pages import backtest as page
from dmarcview.store.facts import SourceRow
from tests.reconcile_world import seen, told, world
from tests.store_data import D0, DAY

DAY_0 = D0 // DAY
NOW = D0 + 60 * DAY + DAY // 2


def loaded(rows: list[tuple[int, int, int, int, int]]) -> Loaded:
    """Series of two domains and of senders of the first; `rows`: series, day, reporter, total, failed."""
    names = [("a.example", ""), ("b.example", ""), ("a.example", "192.0.2.1"), ("a.example", "192.0.2.2")]
    cells = Cells(*np.array(rows, np.int64).T)
    return Loaded(tuple(Series(domain, "dmarc", group) for domain, group in names), cells,
                  tuple(Volume(*one) for one in names), cells, ("far.test", "real.example"))  # fmt: skip


def test_a_report_counts_from_the_day_of_its_receipt_on() -> None:
    found = loaded([(0, 100, 0, 7, 1), (0, 100, 1, 9, 2), (1, 100, 1, 4, 0)])
    midnight = 103 * DAY
    receipts = [
        Receipt("a.example", "far.test", 100, midnight - 1, midnight - 1),
        Receipt("a.example", "m1.real.example", 100, midnight - DAY, midnight - DAY),
        Receipt("a.example", "m2.real.example", 100, midnight, midnight),
        Receipt("b.example", "real.example", 100, -1, -1),  # an import
    ]
    came = backtest._came(found, receipts)
    assert [backtest._then(found, came, day).cells.total.tolist() for day in (100, 101, 102, 103)] == [
        [], [4], [7, 4], [7, 9, 4]]  # fmt: skip
    assert backtest._then(found, came, 102).forged.total.tolist() == [7, 4]


def test_of_too_many_series_those_of_domains_and_then_the_largest_are_judged() -> None:
    found = loaded([(0, 100, 0, 7, 1), (1, 100, 1, 9, 2), (2, 100, 0, 2, 1), (3, 100, 0, 5, 0)])
    found = replace(found, cells=replace(found.cells, part=np.array([0.1, 0.2, 0.3, 0.4])))
    few = backtest._largest(found, 3)
    assert [(one.domain, one.group) for one in few.series] == [("b.example", ""), ("a.example", ""),
                                                              ("a.example", "192.0.2.2")]  # fmt: skip
    assert list(zip(few.cells.series.tolist(), few.cells.total.tolist(), strict=True)) == [(1, 7), (0, 9), (2, 5)]
    assert few.cells.part is not None
    assert few.cells.part.tolist() == [0.1, 0.2, 0.4]
    assert few.volumes == tuple(Volume(one.domain, one.group) for one in few.series)
    assert backtest._largest(found, 0).series == ()


def test_a_large_store_is_judged_by_its_largest_series_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts = [f"192.0.2.{n}" for n in range(9)]
    reports = [told(*((host, 20 + n, seen("fail", "fail") if day > 56 else seen()) for n, host in enumerate(hosts)),
                    day=day, by=by) for day in range(60) for by in ("far.test", "away.test")]  # fmt: skip
    walked = []
    real = backtest.judge
    monkeypatch.setattr(
        backtest, "judge", lambda cells, series, *a, **b: walked.append(series) or real(cells, series, *a, **b)
    )
    with world(tmp_path, [], reports, now=NOW) as store:
        store.put_sources([SourceRow("example.org", host, "own", first_seen=D0) for host in hosts])
        config = read("", {}, tmp_path)
        whole = backtest.run(store, config, NOW)
        assert (whole.judged, whole.series) == (30, 30)
        walked.clear()
        monkeypatch.setattr(backtest, "MOST_WALKS", 12 * whole.days)
        few = backtest.run(store, config, NOW)
    assert (few.judged, few.series, few.used, few.days) == (12, 30, whole.used, whole.days)
    assert sum(walked) == 4 * 12 * few.days
    assert (
        {(one.kind, one.since) for one in few.incidents} == {(one.kind, one.since) for one in whole.incidents} != set()
    )
    assert "Of 30 series the 12 largest were judged." in str(page.drawn(few, 0))
    assert "largest" not in str(page.drawn(whole, 0))
