"""Waves of forged mail: whose they are, and how many are told."""

from __future__ import annotations

import numpy as np

from dmarcview.alerts.cusum import Cells
from dmarcview.alerts.newcomers import MOST_SENDERS, OTHERS
from dmarcview.alerts.series import Loaded, Volume
from dmarcview.alerts.waves import NOBODY, findings

TODAY = 20_500
Row = tuple[int, int, int, int, int]  # volume, days ago, reporter, messages, delivered


def loaded(senders: list[str], rows: list[Row]) -> Loaded:
    columns = np.array([(0, 50, 0, 0, 0), *rows], np.int64).T
    columns[1] = TODAY - columns[1]
    begun = [(place, TODAY - 50, 0, 0, 0) for place in range(len(senders))]
    cells = Cells(*np.concatenate([columns, np.array(begun, np.int64).T], axis=1))
    volumes = tuple(Volume("example.org", sender) for sender in senders)
    return Loaded((), Cells(*np.zeros((5, 0), np.int64)), volumes, cells, ("far.test", "away.test"))


def test_a_wave_is_told_with_what_was_delivered_and_who_saw_it() -> None:
    rows = [(1, 2, 0, 300, 10), (1, 2, 1, 100, 0), (1, 1, 1, 50, 50), (0, 1, 0, 3, 3)]
    (one,) = findings(loaded(["", "shop.example"], rows), TODAY)
    assert (one.cause, one.weight, one.failed, one.grave) == ("shop.example", 450, 60, True)
    assert "up to 400 a day" in one.text
    assert "2 reporters saw it" in one.text


def test_of_many_waves_of_one_domain_the_largest_are_told_and_the_others_together() -> None:
    senders = ["", *(f"name{n:02}.example" for n in range(30))]
    rows: list[Row] = [(place, 1, 0, 100 + place, place) for place in range(31)]
    told = findings(loaded(senders, rows), TODAY)
    assert {one.cause for one in told} == {NOBODY, OTHERS, *(f"name{n}.example" for n in range(25, 30))}
    assert len(told) == MOST_SENDERS + 2
    (rest,) = (one for one in told if one.cause == OTHERS)
    assert (rest.weight, rest.failed) == (sum(100 + n for n in range(1, 26)), sum(range(1, 26)))
    assert rest.members[0].name == "name24.example"
    assert "25 more senders" in rest.text


def test_who_is_told_as_a_new_sender_is_no_wave() -> None:
    found = loaded(["", "shop.example"], [(1, 1, 0, 300, 10)])
    assert findings(found, TODAY, known={("example.org", "shop.example")}) == []
