"""Answers that take long: one at a time, the old one meanwhile, and nothing asked without end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from dmarcview.dashboard import slowly
from dmarcview.dashboard.slowly import Slowly, Told

PATIENT = 20.0


@pytest.fixture
def slow() -> Iterator[Slowly]:
    one = Slowly(PATIENT)
    yield one
    one.close()


def held(gate: threading.Event, answer: str) -> Callable[[], str]:
    def ask() -> str:
        assert gate.wait(PATIENT)
        return answer

    return ask


def test_an_answer_is_asked_once_a_version(slow: Slowly) -> None:
    calls: list[int] = []
    ask = lambda: calls.append(1) or len(calls)  # noqa: E731
    assert slow.ask("view", 1, ask) == slow.ask("view", 1, ask) == Told(1, True)
    assert slow.finished == len(calls) == 1


def test_the_old_answer_is_told_as_old_until_the_new_one_is_there(
    slow: Slowly, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slowly, "REST", 0)
    gate = threading.Event()
    assert slow.ask("view", 1, lambda: "old") == Told("old", True)
    slow.patience = 0.01
    assert slow.ask("view", 2, held(gate, "new")) == Told("old", False)
    assert slow.ask("other", 2, held(gate, "else")) == Told(None, False)
    gate.set()
    slow.patience = PATIENT
    assert slow.ask("view", 2, held(gate, "never")) == Told("new", True)
    assert slow.ask("other", 2, held(gate, "never")) == Told("else", True)


def test_questions_run_one_after_the_other_and_of_one_view_only_the_newest(
    slow: Slowly, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slowly, "REST", 0)
    running: list[str] = []
    gate = threading.Event()

    def ask(name: str) -> Callable[[], str]:
        def run() -> str:
            running.append(name)
            assert gate.wait(PATIENT)
            return name

        return run

    slow.patience = 0.01
    slow.ask("view", 0, ask("view 0"))
    while not running:
        time.sleep(0.01)
    for version in range(1, 6):
        slow.ask("view", version, ask(f"view {version}"))
        slow.ask("other", version, ask(f"other {version}"))
    gate.set()
    slow.patience = PATIENT
    assert slow.ask("view", 5, ask("late")) == Told("view 5", True)
    assert slow.ask("other", 5, ask("late")) == Told("other 5", True)
    assert running[0] == "view 0"
    assert sorted(running[1:]) == ["other 5", "view 5"]


def test_an_answer_that_took_long_is_left_alone_for_a_while(slow: Slowly) -> None:
    slow.ask("view", 1, lambda: time.sleep(0.2) or "old")
    slow.patience = 0.3
    assert slow.ask("view", 2, lambda: "new") == Told("old", False)
    slow.patience = PATIENT
    assert slow.ask("other", 2, lambda: "at once").fresh  # what nobody has seen yet does not wait
    assert slow.ask("view", 2, lambda: "new") == Told("new", True)


def test_a_fault_is_told_and_not_asked_again_at_once(slow: Slowly, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def broken() -> str:
        calls.append(1)
        raise OSError("the disk is gone")

    for _ in range(3):
        with pytest.raises(OSError, match="the disk is gone"):
            slow.ask("view", 1, broken)
    assert len(calls) == 1
    monkeypatch.setattr(slowly, "ERROR_KEPT", 0.0)
    assert slow.ask("view", 1, lambda: "better") == Told("better", True)


def test_many_views_are_neither_kept_nor_queued_without_end(slow: Slowly) -> None:
    gate = threading.Event()
    slow.patience = 0.0
    for number in range(200):
        slow.ask(number, 1, held(gate, str(number)))
    gate.set()
    slow.patience = PATIENT
    assert slow.ask(199, 1, held(gate, "199")) == Told("199", True)
    slow.close()
    assert slow.finished <= slowly.MOST_JOBS + 1


def test_nothing_is_asked_after_the_end_and_the_end_waits_for_what_runs() -> None:
    slow, done = Slowly(0.01), []
    slow.ask("view", 1, lambda: time.sleep(0.3) or done.append(1))
    slow.close()
    assert done == [1]
    assert slow.ask("other", 1, lambda: "x") == Told(None, False)
