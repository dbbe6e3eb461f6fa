"""What commands say of days that are not complete: named, and left out of rates unless the window was asked for."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from dmarcview.cli import main
from dmarcview.store import Store
from tests.store_data import DAY, records, report, shape, taken

TODAY = int(time.time()) // DAY
GOOD, BAD = shape(True), shape(False, False)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two reporters over 20 days, all mail passes; of yesterday only one has come, and tells of failures."""
    with Store.open(tmp_path) as store:
        for ago in range(20, 0, -1):
            begin = (TODAY - ago) * DAY
            rows = (
                records(("192.0.2.1", 90, GOOD))
                if ago > 1
                else records(("192.0.2.1", 30, GOOD), ("192.0.2.9", 60, BAD))
            )
            one = report(f"big{ago}", rows, begin=begin, end=begin + DAY)
            both = [taken(one.report_id, one, received=begin + DAY + 1)]
            if ago > 1:
                other = report(
                    f"slow{ago}",
                    records(("192.0.2.1", 10, GOOD)),
                    begin=begin,
                    end=begin + DAY,
                    submitter="slow.example",
                )
                both.append(taken(other.report_id, other, received=begin + 2 * DAY))
            store.append_many(both)
    return tmp_path


def told(capsys: Any, *words: str) -> str:
    assert main([*words]) == 0
    return str(capsys.readouterr().out)


def day(ago: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime((TODAY - ago) * DAY))


def test_the_rates_of_a_summary_leave_out_days_that_are_not_complete(data: Path, capsys: Any) -> None:
    text = told(capsys, "summary", "--data", str(data))
    assert "messages  1,990" in text
    assert f"1 day is not complete, and the rates leave out all from {day(1)} on:" in text
    assert f"{day(1)} is 50 % in; usual reporters 1 of 2, slow.example awaited." in text
    assert "DMARC pass       1,900  100.0 %" in text
    found = json.loads(told(capsys, "summary", "--data", str(data), "--json"))
    assert (found["messages"], found["dmarc_pass"]) == (1990, 1930)
    assert [(one["day"], one["complete"], one["expected"]) for one in found["open_days"]] == [(day(1), False, 2)]


def test_a_window_that_was_asked_for_stays_and_says_how_much_of_it_is_open(data: Path, capsys: Any) -> None:
    text = told(capsys, "summary", "--data", str(data), "--since", day(3), "--until", day(-1))
    assert "2 days are not complete:" in text
    assert "DMARC pass         230  79.3 %" in text
    assert "not complete" not in told(capsys, "summary", "--data", str(data), "--until", day(1))


def test_the_rates_of_sources_leave_them_out_and_their_messages_do_not(data: Path, capsys: Any) -> None:
    lines = told(capsys, "sources", "--data", str(data)).splitlines()
    assert lines[1].split()[:2] == ["192.0.2.1", "example.org"]
    assert lines[1].split()[3:6] == ["1,930", "100.0", "%"]
    assert lines[2].split()[3:7] == ["60", "-", "-", "-"]
    assert lines[3].startswith("1 day is not complete, and the rates leave out")
    asked = told(capsys, "sources", "--data", str(data), "--until", day(0)).splitlines()
    assert asked[2].split()[3:6] == ["60", "0.0", "%"]
    assert asked[3] == "1 day is not complete:"


def test_while_no_day_is_complete_the_rates_are_of_what_has_come(tmp_path: Path, capsys: Any) -> None:
    with Store.open(tmp_path) as store:
        begin = (TODAY - 1) * DAY
        store.append_many(
            [
                taken(
                    "r",
                    report("r", records(("192.0.2.1", 5, GOOD)), begin=begin, end=begin + DAY),
                    received=begin + DAY,
                )
            ]
        )
    for command in ("summary", "sources"):
        text = told(capsys, command, "--data", str(tmp_path))
        assert f"1 day is not complete:\n  {day(1)}: no usual reporter is known yet." in text
        assert "100.0 %" in text
