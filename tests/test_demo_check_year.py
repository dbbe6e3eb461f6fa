"""The demo's check of its story sees what is wrong: each judgement is given an answer with one fault in it."""

from __future__ import annotations

from collections import Counter
from copy import deepcopy
from datetime import date, timedelta
from typing import Any

import pytest

from dmarcview.demo import check_year
from dmarcview.demo.loop import Loop

DAY = date(2026, 3, 2)
WANTED = Loop(
    sent=Counter({(DAY, "a.example"): 9, (DAY, "b.example"): 4}),
    reported=Counter({(DAY, "a.example"): 9}),
    broken=Counter({(DAY, "a.example"): 2}),
    other=Counter({"bypass": 5}),
)


def row(who: str, sent: int, reported: int, broken: int = 0, by: str = "address") -> dict[str, Any]:
    return {"day": str(DAY), "receiver": who, "sent": sent, "reported": reported, "dkim_fail": broken, "matched_by": by}


TOLD: dict[str, Any] = {
    "rows": [
        row("a.example", 6, 5, 2),
        row("a.example", 3, 4),
        row("b.example", 4, 0),
        row("a.example", 0, 5, by=""),
    ],
    "findings": [
        {"code": "dkim_broken", "receiver": "a.example", "messages": 2},
        {"code": "bypass", "receiver": "a.example", "messages": 5},
        {"code": "unreported", "receiver": "a.example", "messages": 1},
    ],
    "receivers": [
        {"receiver": "a.example", "sent": 9, "silent": 0},
        {"receiver": "b.example", "sent": 4, "silent": 4},
    ],
}


def test_an_answer_that_is_right_passes() -> None:
    assert check_year.compare(TOLD, WANTED) == []
    assert check_year.quiet(TOLD, {"a.example"}) == []


@pytest.mark.parametrize(
    ("place", "number", "field", "value", "words"),
    [
        ("rows", 0, "sent", 7, "sent on 2026-03-02 to a.example is 10, made were 9"),
        ("rows", 1, "reported", 3, "reported on 2026-03-02 to a.example is 8, made were 9"),
        ("rows", 2, "receiver", "c.example", "sent on 2026-03-02 to c.example is 4, made were 0"),
        ("rows", 0, "dkim_fail", 1, "1 signatures broke on the way to a.example, made were 2"),
        ("findings", 1, "messages", 4, "finding bypass has 4 messages, made were 5"),
        ("findings", 1, "code", "forged", "finding forged has 5 messages, made were 0"),
        ("receivers", 1, "silent", 3, "[] are said to send no reports, true is ['b.example']"),
    ],
)
def test_a_wrong_number_is_told(place: str, number: int, field: str, value: Any, words: str) -> None:
    told = deepcopy(TOLD)
    told[place][number][field] = value
    assert any(words in one for one in check_year.compare(told, WANTED))


def test_a_silent_reporter_of_which_nothing_is_said_is_told() -> None:
    assert len(check_year.quiet(TOLD, {"b.example"})) == 1


def month() -> list[date]:
    return [DAY - timedelta(days=age) for age in range(30)]


def rates(lost: list[date]) -> list[dict[str, str]]:
    rows = [{"Day": str(day), "DKIM": "4.2%" if day in lost else ">99.9%"} for day in month()]
    return [{"Day": f"{DAY + timedelta(days=1)} (not complete)", "DKIM": "0%"}, *rows]


def test_a_key_is_lost_on_its_days_and_on_no_others() -> None:
    lost = month()[10:15]
    assert check_year.key_lost(rates(lost), lost) == []
    assert "good on" in check_year.key_lost(rates(lost[1:]), lost)[0]
    assert "only 4.2 %" in check_year.key_lost(rates([*lost, month()[3]]), lost)[0]
    assert "no DKIM rate" in check_year.key_lost(rates(lost), [DAY - timedelta(days=40)])[0]


def blocked(wave: list[date], after: int) -> list[dict[str, str]]:
    numbers = {day: "5,082" if day in wave else "12" if day < min(wave) else str(after) for day in month()}
    return [{"Day": str(day), check_year.BLOCKED: number} for day, number in numbers.items()]


def test_a_wave_is_as_long_as_the_story_says_and_the_new_sender_stays() -> None:
    wave = month()[10:15]
    appeared = wave[0]
    assert check_year.forged(blocked(wave, 100), wave, appeared) == []
    assert "no spoof wave" in check_year.forged(blocked(wave[1:], 100), wave, appeared)[0]
    assert "new sender" in check_year.forged(blocked(wave, 12), wave, appeared)[0]
    assert "not shown" in check_year.forged([], wave, appeared)[0]


def test_the_list_names_who_should_be_named() -> None:
    good = "First: Check that 192.0.2.20 still is in the SPF record of example.org. quietpost.example stopped reporting"
    assert check_year.attention(good, ["quietpost.example"]) == []
    told = "Mail of example.org fails DMARC: 192.0.2.20 quietpost.example sends no reports on all domains any more"
    assert check_year.attention(told, ["quietpost.example"]) == []
    assert len(check_year.attention("No source fails.", ["quietpost.example"])) == 2


def test_the_days_of_the_story_are_those_of_its_newest_episode() -> None:
    found = check_year.days(DAY, "strangers")
    assert found == [DAY - timedelta(days=age) for age in (17, 16, 15, 14, 13)]
