"""A report that came through parsedmarc's history and the same report as it was mailed are one report."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from dmarcview import query
from dmarcview.store import Store
from dmarcview_reports import reading
from dmarcview_reports.model import Origin, Reading, Taken, Verdict
from dmarcview_reports.settings import Limits

# What parsedmarc 11.1.0 wrote for the two reports beside it.
THEIRS = Path(__file__).parent / "parsedmarc"
HISTORY = (THEIRS / "aggregate.json").read_bytes()
MAILED = tuple(path.read_bytes() for path in sorted(THEIRS.glob("*.xml")))
NOW = 1_735_900_000
PASS = Verdict("pass", "dkim=pass", "receiver.example.net")
FAIL = Verdict("fail", "dmarc=fail")
ANY = query.Filters(verified=False)


def read(raw: bytes, name: str) -> Reading:
    return reading.read(raw, name, Limits(), NOW)


def imported() -> Taken:
    return Taken(Origin("history.json", NOW), HISTORY, read(HISTORY, "history.json"))


def mailed(verdict: Verdict = PASS, edit: tuple[bytes, bytes] = (b"", b"")) -> list[Taken]:
    raws = [raw.replace(*edit, 1) for raw in MAILED]
    return [Taken(Origin(f"{n}", NOW, "smtp"), raw, read(raw, f"{n}"), verdict) for n, raw in enumerate(raws)]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "d", clock=lambda: NOW) as made:
        yield made


def counted(store: Store) -> tuple[int, int, int]:
    """Reports that count, their messages, and reports of any kind that are kept."""
    found = query.summary(store)
    return int(found["reports"]), int(found["messages"]), len(query.reports(store, ANY, apart=True))


@pytest.fixture
def plain(tmp_path: Path) -> tuple[int, int, int]:
    """What the two reports count when they come once."""
    with Store.open(tmp_path / "plain", clock=lambda: NOW) as made:
        made.append_many(mailed())
        found = counted(made)
    assert found[0] == found[2] == 2
    return found


@pytest.mark.parametrize("verdict", [PASS, FAIL])
@pytest.mark.parametrize("flushed", [True, False])
def test_a_mailed_report_that_the_history_has_is_a_duplicate(
    store: Store, plain: tuple[int, int, int], verdict: Verdict, flushed: bool
) -> None:
    store.append_many([imported()])
    if flushed:
        store.flush()
    stored = store.append_many(mailed(verdict))
    assert [(one.reports, one.duplicates, one.conflicts) for one in stored] == [(0, 1, 0), (0, 1, 0)]
    assert counted(store) == plain
    assert list(query.reports(store)["duplicates"]) == [1, 1]


def test_a_history_of_reports_that_were_mailed_is_a_duplicate(store: Store, plain: tuple[int, int, int]) -> None:
    store.append_many(mailed())
    (stored,) = store.append_many([imported()])
    assert (stored.reports, stored.duplicates, stored.conflicts) == (0, 2, 0)
    assert counted(store) == plain


def test_both_at_once_are_one(tmp_path: Path, plain: tuple[int, int, int]) -> None:
    for number, order in enumerate(itertools.permutations([imported(), *mailed()])):
        with Store.open(tmp_path / f"{number}", clock=lambda: NOW) as store:
            store.append_many(order)
            assert counted(store) == plain


@pytest.mark.parametrize("edit", [(b"<count>", b"<count>9"), (b"<p>none", b"<p>reject")])
def test_what_does_not_agree_is_a_conflict_and_does_not_count(
    store: Store, plain: tuple[int, int, int], edit: tuple[bytes, bytes]
) -> None:
    assert sum(edit[0] in raw for raw in MAILED) > 0
    store.append_many([imported()])
    stored = store.append_many(mailed(edit=edit))
    assert sum(one.conflicts for one in stored) > 0
    assert counted(store)[:2] == plain[:2]


def test_report_ids_that_differ_behind_the_at_are_two_reports(store: Store, plain: tuple[int, int, int]) -> None:
    store.append_many(mailed())
    store.append_many(mailed(edit=(b"4711@receiver.example.net", b"4711@other.example.net")))
    assert counted(store)[0] == plain[0] + 1


def test_a_history_takes_the_place_of_what_nobody_vouched_for(store: Store, plain: tuple[int, int, int]) -> None:
    """Else a stranger's forgery with the right sums would count, once the history comes."""
    store.append_many(mailed(FAIL))
    store.append_many([imported()])
    assert counted(store)[:2] == plain[:2]
    assert set(query.reports(store)["auth"]) == {"unknown"}


def test_they_are_one_after_a_reindex_too_with_and_without_the_raw_history(
    store: Store, plain: tuple[int, int, int]
) -> None:
    store.append_many([imported()], keep_raw=False)
    store.append_many(mailed())
    store.reindex(read)
    assert counted(store) == plain
    store.append_many([imported()])
    store.reindex(read)
    assert counted(store) == plain
