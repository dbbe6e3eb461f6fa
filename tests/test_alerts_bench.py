"""`make bench-alerts`: its simulator, its rules and its score by hand, and a small seeded part of what it must show."""

from __future__ import annotations

from dataclasses import asdict, fields, replace

import numpy as np
import pytest

from benchmarks.alerts import report
from benchmarks.alerts.rules import OURS, PEERS, Mornings, View, alarms, default_rules
from benchmarks.alerts.scenarios import Half, load
from benchmarks.alerts.score import MISSED, Truth, score, truth
from benchmarks.alerts.world import DAYS, WARM, Reports, simulate
from dmarcview.alerts.cusum import Cells

EMPTY = np.zeros(0, np.int64)


def part(name: str, *starts: str) -> Half:
    """A half with only the scenarios whose names start so."""
    half = load(name)
    return replace(half, scenarios=tuple(s for s in half.scenarios if s.name.startswith(starts)))


def view(total: list[int], failed: list[int]) -> View:
    """One series on successive days."""
    columns = (np.array(x, np.float64)[:, None] for x in (total, failed))
    return View(len(total), 1, Cells(EMPTY, EMPTY, EMPTY, EMPTY, EMPTY), *columns)


def test_the_halves_share_neither_seed_nor_world_nor_a_size_of_a_fault() -> None:
    tuning, held_out = load("tuning"), load("held_out")
    assert tuning.seed != held_out.seed
    assert [s.name for s in tuning.scenarios] == [s.name for s in held_out.scenarios]
    for one, other in zip(tuning.scenarios, held_out.scenarios, strict=True):
        assert asdict(one) != asdict(other)
        assert (one.world.volume, one.world.spf, one.world.lump) != (
            other.world.volume,
            other.world.spf,
            other.world.lump,
        )


def test_the_requirements_are_in_the_held_out_half_as_they_are_worded() -> None:
    by_name = {s.name: s for s in load("held_out").scenarios}
    total, ten = by_name[report.TOTAL], by_name[report.TEN]
    assert (total.world.volume, total.share) == (5, 1.0)
    assert (ten.world.volume, ten.share) == (30, 0.10)


def test_the_same_seed_gives_the_same_reports() -> None:
    half = part("held_out", "duplicates", "new service")
    one, other = simulate(half, 2)[0], simulate(half, 2)[0]
    for field in fields(Reports):
        np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name))
    assert not np.array_equal(one.total, simulate(replace(half, seed=1), 2)[0].total)


@pytest.mark.parametrize("scenario", sorted({s.name for s in load("tuning").scenarios}))
def test_reports_of_every_scenario_are_possible(scenario: str) -> None:
    reports, owners = simulate(part("tuning", scenario), 2)
    assert len(owners) == len(reports.onset)
    assert (reports.arrival > reports.day).all()
    assert (reports.failed >= 0).all()
    assert (reports.failed <= reports.total).all()
    assert (reports.failed[2] <= reports.failed[:2].min(axis=0)).all()  # DMARC fails where both do
    assert (reports.day < DAYS).all()


def test_a_fault_fails_what_it_says() -> None:
    reports, owners = simulate(part("tuning", "DKIM key pulled"), 2)
    after = reports.day > reports.onset[reports.run]
    large = np.array([s.world.name == "large" for s in owners])[reports.run]
    share = reports.failed[:, after & large].sum(axis=1) / reports.total[after & large].sum()
    assert share[1] > 0.99
    assert share[0] < 0.2
    before = reports.day < reports.onset[reports.run]
    assert reports.failed[1, before & large].sum() / reports.total[before & large].sum() < 0.05


def test_the_peers_rules_do_what_they_say() -> None:
    flat = [100] * 30
    rules = {
        "10 points": [0] * 28 + [0, 10],
        "15 points, min 100": [0] * 29 + [15],
        "15 points, min 20": [0] * 29 + [15],
        "3 sigma": [0, 1] * 14 + [0, 4],
    }
    for name, failed in rules.items():
        assert PEERS[name](view(flat, failed))[0], name
        failed[-1] -= 3
        assert not PEERS[name](view(flat, failed))[0], name
    assert not PEERS["15 points, min 100"](view([*flat[:-1], 99], [0] * 29 + [99]))[0]
    assert PEERS["15 points, min 20"](view([*flat[:-1], 20], [0] * 29 + [20]))[0]
    assert PEERS["10 points"](view([1, 0, 1], [0, 0, 1]))[0]  # days without mail are passed over


def test_the_score_counts_what_happened() -> None:
    onset = np.array([WARM + 10, MISSED])
    hits = np.array([[True, False, False], [False] * 3])
    report_days = np.zeros((2, DAYS), bool)
    report_days[0, [WARM + 12, WARM + 13]] = True
    true = Truth(onset, hits, np.array([WARM + 12, MISSED]), report_days, np.array([WARM + 10, WARM + 17]))
    held = np.zeros((DAYS - WARM, 2, 3), bool)  # mornings from WARM + 1 on
    held[[3, 4], 0, 1] = True  # two mornings in a row before the fault: one false alarm
    held[12:, 0, 0] = True  # found on the morning of WARM + 13
    held[20, 1, :] = True  # all mechanisms of a quiet domain: one false alarm
    got = score(held, true, np.arange(2))
    mornings = 10 + (DAYS - WARM)  # without a fault under way
    assert got.false_alarms == pytest.approx(2 / (mornings / 30))
    assert (got.faults, got.within, got.second_report) == (1, (0, 1, 1), 1)
    assert got.chance == 1  # the quiet domain alarms in the week
    assert (got.delay, got.report_delay, got.decision_delay, got.messages) == (3, 2, 1, 1)


def test_a_seeded_part_shows_what_the_whole_must_show(capsys: pytest.CaptureFixture[str]) -> None:
    half = part("held_out", report.TOTAL, report.TEN, "quiet", "late batch", "DKIM key")
    reports, owners = simulate(half, 4)
    held, true = alarms(Mornings.of(reports, len(owners)), default_rules()), truth(reports, owners)
    scores = report.overall(held, true, owners)
    report.by_scenario(held, true, owners)
    found = report.musts(held[OURS], true, owners) + report.beside_peers(scores)
    assert report.verdict(found) == 0, capsys.readouterr().out
    assert "ok   false alarms a domain and month" in capsys.readouterr().out
