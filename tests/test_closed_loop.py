"""The closed loop with real receivers: sent by our relay, verified and reported by a real engine, told by our commands.

`make loop` runs this file alone and shows its tables; what happens is in `closed_loop/inside.py`.
"""

from __future__ import annotations

import os
from copy import deepcopy
from dataclasses import replace

import pytest

from tests.closed_loop import expect
from tests.closed_loop.run import ENGINES, Went, around, permitted, programs, table
from tests.closed_loop.scenarios import CONSENTED

SECONDS = 60.0
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=ENGINES)
def went(request: pytest.FixtureRequest) -> Went:
    programs(request.param)
    permitted()
    crowded = os.getloadavg()[0] > (os.cpu_count() or 1)
    found = around(request.param)
    print(f"\n{table(found)}" + (", while others kept the machine busy" if crowded else ""))
    assert found.seconds < SECONDS or crowded
    return found


def test_every_scenario_comes_back_number_for_number(went: Went) -> None:
    assert {name: found[:3] for name, (_, found) in went.lines.items()} == {
        name: wanted[:3] for name, (wanted, _) in went.lines.items()
    }


def test_the_totals_of_all_commands_are_exact(went: Went) -> None:
    assert expect.totals(went.answers) == expect.TOTALS[went.engine]


def test_the_one_missing_record_is_named(went: Went) -> None:
    assert expect.missing(went.answers) == expect.MISSING


def test_the_work_fits_a_slow_machine(went: Went) -> None:
    assert went.cpu < SECONDS


def test_a_number_that_is_wrong_is_seen(went: Went) -> None:
    assert "NO" not in table(went)
    answers = deepcopy(dict(went.answers))
    for row in answers["reconcile"]["rows"]:
        row["reported"] += row["header_from"] == CONSENTED.domain
    [wrong] = [line for line in table(replace(went, answers=answers)).splitlines() if "NO" in line]
    assert wrong.split("  ")[1] == CONSENTED.name
    assert wrong.endswith("NO: 2, 2, own")


def test_where_namespaces_are_not_permitted_it_says_so_and_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="need root"):
        permitted()
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="need root"):
        permitted()
