"""The check of what alerts say of the demo's story sees what is missing, what is too much, and a wrong day."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from dmarcview.demo.check_alerts import Told, differs, wanted

TODAY = date(2026, 11, 28)


def said(one: Told, age: int | None = None) -> dict[str, Any]:
    days = age if age is not None else one.age if one.age is not None else 40
    return {"kind": one.kind, "domain": one.domain, "cause": one.cause, "ended": None if one.open else "2026-11-20",
            "first_day": str(TODAY - timedelta(days=days))}  # fmt: skip


def test_the_whole_story_differs_in_nothing() -> None:
    assert len({one.kind for one in wanted()}) == 6
    assert differs([said(one) for one in wanted()], TODAY) == []


def test_what_nobody_told_and_what_is_told_without_cause_differs() -> None:
    some = sorted(wanted(), key=str)
    extra = Told("queue_stuck", "", "many mails wait", 3, True)
    found = differs([said(one) for one in [*some[1:], extra]], TODAY)
    assert [line.startswith("alerts: nothing says ") for line in found] == [True, False]
    assert "queue_stuck of all domains by many mails wait since 2026-11-25 is told, and is not so" in found[1]


def test_another_first_day_and_an_end_that_did_not_come_differ() -> None:
    wave = next(one for one in wanted() if one.kind == "forged")
    rest = [said(one) for one in wanted() if one != wave]
    assert len(differs([*rest, said(wave, age=(wave.age or 0) - 1)], TODAY)) == 2
    assert len(differs([*rest, said(wave._replace(open=True))], TODAY)) == 2
