"""Which days are in: each domain by its own reporters, however many domains there are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmarcview.alerts.completeness import load
from dmarcview.alerts.model import Finding
from dmarcview.alerts.series import as_day
from dmarcview.query import lateness
from dmarcview.query.complete import recent
from dmarcview.query.filters import Filters
from tests.reconcile_world import seen, told, world
from tests.store_data import D0, DAY

TODAY = D0 // DAY + 40
NOW = TODAY * DAY + DAY // 2
ROW = ("192.0.2.25", 10, seen())


def finding(domain: str) -> Finding:
    return Finding("dmarc_failing", domain, "a", as_day(TODAY - 2), as_day(TODAY - 1), 1, "")


@pytest.mark.parametrize("count", [1, 2, 40])
def test_a_day_of_one_domain_is_open_while_those_of_others_are_in(count: int, tmp_path: Path) -> None:
    reports: list[Any] = []
    for number in range(count):
        until = 39 if number == 0 else 40
        reports += [told(ROW, day=day, domain=f"d{number}.example", late=DAY // 4) for day in range(until)]
    with world(tmp_path, [], reports, now=NOW) as store:
        known = load(store, verified=True)
        names = [f"d{number}.example" for number in range(count)]
        flags = known.flags([*names, "", "unheard.example"])
        assert flags[:, -1].tolist() == [False, *[True] * (count - 1), count == 40, False]
        assert flags[:count, :-1].all()
        for place in {0, count - 1, count + 1}:
            asked = Filters(domains=([*names, "", "unheard.example"][place],))
            assert flags[place].tolist() == [day.complete for day in recent(store, asked)]
        assert known.said(finding("d0.example")).completeness == (
            "9 Feb is 0 % in; usual reporters 0 of 1, far.test late"
        )
        assert known.said(finding("d9.example")).completeness == "all days are in"


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 3))
def test_many_domains_at_once_are_judged_as_each_alone(seed: int, hours: int) -> None:
    rng = np.random.default_rng(seed)
    n = 400
    arrived = pd.DataFrame(
        {
            "domain": rng.choice([f"d{i}.example" for i in range(5)], n),
            "submitter": rng.choice([f"r{i}.example" for i in range(4)], n),
            "day": rng.integers(TODAY - 45, TODAY, n),
            "hour": rng.integers(-1, 60, n),
            "reports": rng.integers(1, 3, n),
            "messages": rng.integers(1, 100, n),
        }
    )
    window = (TODAY - 14, TODAY - 1, TODAY * DAY + hours * 6 * 3600)
    domains, found = lateness.complete(arrived, *window)
    assert domains == sorted(set(arrived["domain"]))
    for domain, row in zip(domains, found, strict=True):
        alone = lateness.judge(arrived[arrived["domain"] == domain], *window).days["complete"]
        assert row.tolist() == alone.tolist()
