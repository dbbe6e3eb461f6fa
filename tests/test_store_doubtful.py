"""Raw mail that brought nothing believed has a bound of its own; what is believed never leaves by it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from store_data import report

from dmarcview import query
from dmarcview.config import Config, Data
from dmarcview.store import Retention, Store
from dmarcview.store.prune import bound_doubtful
from dmarcview.upkeep import Upkeep
from dmarcview_reports.model import Origin, Other, Reading, Refusal, Taken, Verdict

DAY = 86_400
PASS = Verdict("pass", "dkim=pass", "receiver.example.net")
FAIL = Verdict("fail", "dmarc=fail")
WAITS = Verdict("none", "temperror: timeout")
RAW = os.urandom(40_000)
NOTHING = Reading("x", refusals=(Refusal("not_a_report", "It is no report."),))


def refused(number: int) -> Taken:
    """A mail of 40 kB that no compression makes smaller, without a report."""
    return Taken(Origin(f"refused-{number}", 0, "smtp"), RAW + b"%d" % number, NOTHING, FAIL)


def brings(name: str, verdict: Verdict, raw: bytes = RAW) -> Taken:
    """A mail with a report."""
    return Taken(Origin(name, 0, "smtp"), raw, Reading(name, (report("r"),)), verdict)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setattr("dmarcview.store.archive.DOUBT_BYTES", 100_000)  # three mails
    with Store.open(tmp_path / "d") as made:
        yield made


def listed(store: Store) -> dict[str, bool]:
    """What is listed as refused, and whether its raw mail is kept."""
    found = query.refused(store, limit=None)
    return dict(zip(found["input"], found["raw"], strict=True))


def size(store: Store) -> int:
    return sum(path.stat().st_size for path in store.archive.folder.glob("*/*/*-doubt-*.seg"))


def test_the_oldest_refused_mails_leave_when_there_are_too_many(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [time.time()]
    monkeypatch.setattr(store._appender, "clock", lambda: now[0])
    believed = brings("good", PASS, b"a report")
    store.append_many([believed])
    for number in range(12):
        now[0] += 1
        store.append_many([refused(number)])
    assert bound_doubtful(store, 10_000_000) == 0
    assert len(listed(store)) == 12
    assert bound_doubtful(store, 300_000) > 0
    assert size(store) <= 300_000
    assert listed(store) == {f"refused-{n}": True for n in (6, 7, 8, 9, 10, 11)}
    kept = store.raw(report("r").report_key)
    assert kept is not None
    assert kept.raw == b"a report"
    assert query.intake(store).refused == {"not_a_report": 6}


def test_the_segment_that_is_written_to_stays(store: Store) -> None:
    store.append_many([refused(1)])
    assert bound_doubtful(store, 1) == 0
    assert listed(store) == {"refused-1": True}
    store.archive.close()
    assert bound_doubtful(store, 1) > 0
    assert listed(store) == {}
    store.append_many([refused(1)])  # what was forgotten may come again
    assert listed(store) == {"refused-1": True}


def test_rows_of_an_unverified_report_stay_without_its_raw_mail(store: Store) -> None:
    store.append_many([brings("stranger", FAIL)])
    store.archive.close()
    assert bound_doubtful(store, 1) > 0
    assert store.raw(report("r").report_key) is None
    assert len(query.reports(store, query.Filters(verified=False))) == 1


def test_a_mail_that_is_believed_later_is_kept_for_good(store: Store) -> None:
    store.append_many([brings("late", WAITS)])
    store.settle([brings("late", PASS)])
    store.archive.close()
    assert bound_doubtful(store, 1) > 0
    kept = store.raw(report("r").report_key)
    assert kept is not None
    assert (kept.raw, kept.verdict.auth) == (RAW, "pass")


def test_a_copy_that_a_stranger_sent_first_takes_nothing_along(store: Store) -> None:
    store.append_many([brings("stranger", FAIL)])
    store.append_many([brings("owner", PASS)])
    store.archive.close()
    assert bound_doubtful(store, 1) > 0
    store.archive.close()
    found = [kept.origin.name for name in store.archive.segments() for _, kept in store.archive.scan(name)]
    assert found == ["owner"]
    store.reindex(lambda raw, name: Reading(name, (report("r"),)))
    assert list(query.reports(store)["auth"]) == ["pass"]


def test_a_refused_mail_that_a_replay_can_read_is_kept_for_good(store: Store) -> None:
    store.append_many([Taken(Origin("a", 0, "smtp"), RAW, NOTHING, PASS)])
    store.replay(lambda raw, name: Reading(name, (report("r"),)))
    store.archive.close()
    assert bound_doubtful(store, 1) > 0
    kept = store.raw(report("r").report_key)
    assert kept is not None
    assert kept.raw == RAW


def test_refused_mails_have_days_of_their_own_and_failure_reports_stay(tmp_path: Path) -> None:
    now = [1_767_225_600.0]
    other = Reading("x", others=(Other("failure", b"arf", "h"),))
    with Store.open(tmp_path / "d", clock=lambda: now[0]) as store:
        store.append_many([refused(1), brings("good", PASS), Taken(Origin("arf", 0, "smtp"), b"arf", other, PASS)])
        now[0] += 20 * DAY
        store.append_many([refused(2)])
        store.prune(Retention(refused_days=30))
        assert len(listed(store)) == 2
        now[0] += 15 * DAY
        store.prune(Retention(refused_days=30))
        store.archive.close()
        store.prune(Retention(refused_days=30))
        assert listed(store) == {"refused-2": True}
        assert query.intake(store).others == {"failure": 1}
        assert store.raw(report("r").report_key) is not None


def test_upkeep_keeps_the_bound_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dmarcview.store.archive.DOUBT_BYTES", 100_000)
    upkeep = Upkeep(replace(Config(), data=Data(dir=str(tmp_path), refused_mb=1)), None)
    with Store.open(tmp_path) as ingest:
        for number in range(30):
            ingest.append_many([refused(number)])
        assert size(ingest) > 1_200_000
        upkeep.step()
        assert size(ingest) <= 1_000_000
    upkeep.stop()
