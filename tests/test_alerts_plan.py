"""Which messages are due: properties over any life of an incident, and the rules one by one."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmarcview.alerts import plan
from dmarcview.alerts.lane import LONGEST
from dmarcview.alerts.model import CLEARED, OPENED, WORSE
from dmarcview.store import Store, incidents
from dmarcview.store.incidents import DAY, Notice, Row

NOON = 20_000 * DAY + DAY // 2
ROW = Row("dmarc_failing example.org 192.0.2.1", "dmarc_failing", "example.org", "act", 20_000 * DAY, 20_000 * DAY, 10,
          "{}", id=7, known=NOON, changed=NOON)  # fmt: skip
STEP = st.tuples(
    st.integers(60, 2 * DAY),
    st.sampled_from(["", "", "grow", "grow", "leap", "shrink", "ack", "back", "mute", "clear", "again", "down", "up"]),
    st.integers(1, 40),
)


def notice(number: int, kind: str, at: int, weight: int, incident: int = 7) -> Notice:
    """One that the channel took at once."""
    return Notice(number, incident, kind, "mail", at, weight, 1, at, at, "")


def tried(row: Row, waiting: Notice, told: list[Notice], now: int, *, up: bool) -> list[Notice]:
    """A message at its turn: taken, kept, given up, or gone because it is not to be said any more."""
    own = [one for one in told if one.incident_id == waiting.incident_id]
    if waiting.incident_id != row.id or not plan.wanted(row, waiting.kind, own, now):
        return []
    if up:
        return [waiting._replace(done=now)]
    return [waiting if now - waiting.at < LONGEST else waiting._replace(done=now, error="no answer")]


@given(st.lists(STEP, max_size=40), st.randoms(use_true_random=False))
def test_any_life_of_an_incident_keeps_the_rules(steps: list[tuple[int, str, int]], dice: random.Random) -> None:
    row, now, up, told = ROW, NOON, True, list[Notice]()
    for seconds, what, amount in steps:
        now += seconds
        match what:
            case "grow":
                row = replace(row, weight=row.weight + amount)
            case "leap":
                row = replace(row, weight=row.weight * (1 + amount))
            case "shrink":
                row = replace(row, weight=max(0, row.weight - amount))
            case "ack":
                row = replace(row, acked=now)
            case "back":
                row = replace(row, acked=None)
            case "mute":
                row = replace(row, muted_until=now + amount * 3_600)
            case "clear":
                row = replace(row, ended=row.ended or now)
            case "again" if row.ended is not None:
                row = replace(ROW, id=row.id + 1, known=now, weight=amount)
            case "down" | "up":
                up = what == "up"
        told = [
            each
            for one in told
            for each in ([one] if one.done is not None else tried(row, one, told, now, up=up))
        ]  # fmt: skip
        shuffled = dice.sample(told, len(told))
        kind = plan.due(row, shuffled, now)
        assert kind == plan.due(row, told, now), "the order of what was told does not matter"
        if not kind:
            continue
        mine = [one for one in told if one.incident_id == row.id]
        said = [one for one in mine if not one.given_up]
        assert not (row.muted_until or 0) > now
        if kind == CLEARED:
            assert row.ended is not None
            assert any(one.told for one in said), "of what nobody heard of no end is told"
            assert CLEARED not in [one.kind for one in mine]
        else:
            assert row.ended is None
            assert row.acked is None
            assert now - row.known >= plan.GROUP_SECONDS
            assert (kind == OPENED) == (not said)
            alarms = [one for one in told if one.kind != CLEARED]
            today = [one for one in alarms if one.at > now - DAY]
            assert all(row.weight >= 1.5 * one.weight for one in today), "one a day unless it worsens"
            assert not any(one.given_up for one in mine if one.at > now - DAY), "nor sooner what was given up"
            if kind == WORSE:
                assert row.weight >= 1.5 * said[-1].weight
        fresh = Notice(len(told), row.id, kind, "mail", now, row.weight, 0, now, None, "")
        assert plan.wanted(row, kind, mine, now), "what is asked for is not withdrawn at once"
        told.append(fresh._replace(done=now) if up else fresh)


def test_an_incident_waits_a_quarter_of_an_hour_for_its_members() -> None:
    assert plan.due(ROW, [], NOON + 899) == ""
    assert plan.due(ROW, [], NOON + 900) == OPENED


def test_what_cleared_before_it_was_told_is_never_told() -> None:
    assert plan.due(replace(ROW, ended=NOON + 600), [], NOON + 1_000) == ""


@pytest.mark.parametrize(
    ("hours", "weight", "kind"), [(25, 14, ""), (25, 19, ""), (25, 20, WORSE), (3, 29, ""), (3, 30, WORSE)]
)
def test_worse_is_half_as_much_again_and_another_days_worth_and_three_times_on_the_same_day(
    hours: int, weight: int, kind: str
) -> None:
    told = [notice(1, OPENED, NOON + 900, 10)]
    assert plan.due(replace(ROW, weight=weight), told, NOON + 900 + hours * 3_600) == kind


def test_a_fault_that_goes_on_at_its_pace_is_told_less_and_less_often() -> None:
    told: list[Notice] = []
    days = []
    for day in range(60):
        now = NOON + 900 + day * DAY
        if kind := plan.due(replace(ROW, weight=10 * (day + 1)), told, now):
            told.append(notice(day, kind, now, 10 * (day + 1)))
            days.append(day)
    assert days == [0, 1, 2, 4, 7, 11, 17, 26, 40]


def test_an_acknowledged_incident_is_silent_however_it_grows_until_it_clears() -> None:
    told = [notice(1, OPENED, NOON + 900, 10)]
    row = replace(ROW, acked=NOON + 1_000, weight=10_000)
    assert plan.due(row, told, NOON + 5 * DAY) == ""
    assert plan.due(replace(row, ended=NOON + 5 * DAY), told, NOON + 5 * DAY) == CLEARED


def test_a_mute_silences_all_and_ends_by_itself() -> None:
    told = [notice(1, OPENED, NOON + 900, 10)]
    row = replace(ROW, weight=100, muted_until=NOON + 2 * DAY)
    assert plan.due(row, told, NOON + DAY) == ""
    assert plan.due(row, told, NOON + 2 * DAY) == WORSE


def test_a_cause_that_comes_and_goes_is_one_message_a_day() -> None:
    before = [notice(1, OPENED, NOON - 3_600, 10, 6), notice(2, CLEARED, NOON - 600, 10, 6)]
    assert plan.due(ROW, before, NOON + 900) == ""
    assert plan.due(replace(ROW, weight=15), before, NOON + 900) == OPENED
    assert plan.due(ROW, before, NOON - 3_600 + DAY) == OPENED


def test_the_ledger_knows_what_was_said_of_a_cause(tmp_path: Path) -> None:
    ended: Callable[[Row], str] = lambda _: "cleared"  # noqa: E731
    with Store.open(tmp_path) as store:
        first = incidents.settle(store.ledger, [ROW], ended, NOON)[0].row
        incidents.ask(store.ledger, [(first.id, OPENED, "mail", 10)], NOON)
        incidents.settle(store.ledger, [], ended, NOON + 60)
        second = incidents.settle(store.ledger, [ROW], ended, NOON + 120)[0].row
        incidents.ask(store.ledger, [(second.id, OPENED, "mail", 10), (None, "test", "mail", 0)], NOON + 120)
        both = {row.id: said for row, said in incidents.about(store.ledger, NOON + 120, NOON)}
        said = both[second.id]
        assert [(one.incident_id, one.at) for one in said] == [(second.id, NOON + 120), (first.id, NOON)]
        assert both[first.id] == said, "of one cause"
        last = {row.id: told for row, told in incidents.about(store.ledger, NOON + 120, NOON + 100)}
        assert [one.at for one in last[second.id]] == [NOON + 120]
        assert [one.at for one in incidents.about(store.ledger, NOON + 9_999, NOON + 9_999)[0][1]] == [NOON + 120]
        assert incidents.waiting(store.ledger, NOON) == (3, 0)
        incidents.tried(store.ledger, said[0].id, now=NOON + 130, error="no", again=None)
        assert incidents.waiting(store.ledger, NOON) == (2, 1)


def test_what_another_incident_tells_or_explains_is_not_told() -> None:
    opened = [notice(1, OPENED, NOON + 1_000, 10)]
    over = replace(ROW, ended=NOON + 2_000, outcome="taken_up")
    assert plan.due(over, opened, NOON + 3_000) == ""
    assert plan.due(replace(over, outcome="cleared"), opened, NOON + 3_000) == CLEARED
    assert plan.due(replace(over, outcome="usual"), opened, NOON + 3_000) == CLEARED
    explained = replace(ROW, body='{"explained_by": "the key is missing"}')
    assert plan.due(explained, [], NOON + 3_000) == ""
    assert plan.due(ROW, [], NOON + 3_000) == OPENED


def test_what_was_given_up_was_not_told_and_is_asked_for_again_once_a_day() -> None:
    given_up = notice(1, OPENED, NOON + 900, 10)._replace(done=NOON + 32_000, error="no relay answers")
    assert plan.due(ROW, [given_up._replace(done=None)], NOON + 10 * DAY) == "", "what waits goes out some time"
    assert plan.due(replace(ROW, weight=900), [given_up], NOON + DAY) == ""
    assert plan.due(ROW, [given_up], NOON + 900 + DAY) == OPENED
    again = notice(2, OPENED, NOON + 900 + DAY, 10)
    assert plan.due(ROW, [given_up, again], NOON + 900 + 2 * DAY) == ""
    assert plan.due(ROW, [given_up, again._replace(error="no relay answers")], NOON + 2 * DAY) == ""
    assert plan.due(ROW, [given_up._replace(error=f"{incidents.PARTLY}450 b@far.test")], NOON + 10 * DAY) == ""


def test_of_what_was_never_told_no_end_is_told() -> None:
    over = replace(ROW, ended=NOON + 40_000)
    opened = notice(1, OPENED, NOON + 900, 10)
    for unsaid in (opened._replace(done=None), opened._replace(error="no relay answers")):
        assert plan.due(over, [unsaid], NOON + 41_000) == ""
    assert plan.due(over, [opened], NOON + 41_000) == CLEARED


@pytest.mark.parametrize(
    "changed",
    [
        {"acked": NOON},
        {"muted_until": NOON + DAY},
        {"ended": NOON, "outcome": "cleared"},
        {"body": '{"explained_by": "the key is missing"}'},
    ],
)
def test_an_alarm_at_its_turn_is_held_against_what_was_said_and_found_meanwhile(changed: dict[str, Any]) -> None:
    assert plan.wanted(ROW, OPENED, [], NOON + 900)
    for kind in (OPENED, WORSE):
        assert not plan.wanted(replace(ROW, **changed), kind, [], NOON + 900)
