"""Ingest: from a real spool into a real store, with slow DNS, a failing store, and mails that kill the reader."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from dmarcview import query
from dmarcview.config import Config, Trust
from dmarcview.store import Store, StoreFull
from dmarcview.upkeep import Late
from dmarcview_reports import reading
from dmarcview_reports.ingest import Ingest, IngestSettings, Judge, Marks
from dmarcview_reports.model import Origin, Stored, Taken, Verdict
from dmarcview_reports.settings import Limits
from dmarcview_reports.spool import Spool

XML = (Path(__file__).parent / "parsedmarc" / "year_end.xml").read_bytes()
REPORTER = "receiver.example.net"
PASS = Verdict("pass", "dkim=pass", REPORTER)
WAITS = Verdict("none", "temperror: timeout")


def mail(number: int) -> bytes:
    """A report mail whose report has an id of its own, 16 messages in it."""
    return b"From: a@receiver.example.net\nContent-Type: text/xml\n\n" + XML.replace(b"4711", b"%d" % number)


def fill(folder: Path, raws: Sequence[bytes]) -> Spool:
    """A spool with these mails in one batch."""
    spool = Spool(folder, reserve=0)

    async def put() -> None:
        origin = Origin("", int(time.time()), "smtp", client="192.0.2.1")
        await asyncio.gather(*(spool.put(origin, raw) for raw in raws))

    asyncio.run(put())
    spool.close()
    return spool


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "d") as made:
        yield made


def ingest(spool: Spool, store: Store, judge: Judge | None = None, **settings: object) -> Ingest:
    changed = IngestSettings(**{"judge_wait": 2.0, **settings})  # type: ignore[arg-type]
    return Ingest(spool, store, spool.path / "marks", judge=judge, settings=changed)


def keep(store: Store, name: str, raw: bytes, verdict: Verdict) -> None:
    """A mail in the store, as ingest leaves it there."""
    now = int(time.time())
    store.append_many([Taken(Origin(name, now, "smtp"), raw, reading.read(raw, name, Limits(), now), verdict)])


def keep_waiting(store: Store, number: int) -> None:
    """A mail in the store whose verification DNS did not let us do."""
    keep(store, f"waits-{number}", mail(number), WAITS)


def late(store: Store, judge: Judge, at: float | None = None, tries: int = 4) -> tuple[Late, list[float]]:
    """What verifies again, and its clock."""
    now = [time.time() if at is None else at]
    return Late(store, judge, replace(Config(), trust=Trust(tries=tries)), lambda: now[0]), now


def messages(store: Store, *, verified: bool = True) -> int:
    return int(query.summary(store, query.Filters(verified=verified))["messages"])


def test_mails_of_the_spool_are_stored_and_leave_it(tmp_path: Path, store: Store) -> None:
    spool = fill(tmp_path / "s", [mail(n) for n in range(5)] + [b"Subject: hello\n\nno report\n"])
    worker = ingest(spool, store, lambda _raw, _origin: PASS)
    assert worker.step() == 6
    worker.close()
    assert (messages(store), spool.waiting()) == (80, 0)
    assert list(query.refused(store)["code"]) == ["not_a_report"]
    assert list((spool.path / "marks").iterdir()) == []


def test_a_stranger_is_stored_but_does_not_count(tmp_path: Path, store: Store) -> None:
    spool = fill(tmp_path / "s", [mail(1)])
    worker = ingest(spool, store, lambda _raw, _origin: Verdict("fail", "dmarc=fail"))
    worker.step()
    worker.close()
    assert (messages(store), messages(store, verified=False)) == (0, 16)


def test_a_stranger_with_a_valid_domain_cannot_report_for_another(tmp_path: Path, store: Store) -> None:
    stranger = Verdict("pass", "dkim=pass", "stranger.example")
    spool = fill(tmp_path / "s", [mail(1)])
    worker = ingest(spool, store, lambda _raw, _origin: stranger)
    worker.step()
    worker.close()
    assert (messages(store), messages(store, verified=False)) == (0, 16)
    assert list(query.reports(store, query.Filters(verified=False))["auth"]) == ["fail"]

    keep_waiting(store, 2)
    again, now = late(store, lambda _raw, _origin: stranger)
    now[0] += 61
    assert again.step() == 0
    assert messages(store) == 0


def test_who_speaks_for_whom_can_be_set(tmp_path: Path, store: Store) -> None:
    spokesman = Verdict("pass", "dkim=pass", "spokesman.example")
    spool = fill(tmp_path / "s", [mail(1)])
    worker = ingest(spool, store, lambda _raw, _origin: spokesman, also_speaks_for={"spokesman.example": (REPORTER,)})
    worker.step()
    worker.close()
    assert messages(store) == 16


def test_slow_dns_holds_nothing_up_and_the_verdict_is_made_up_for(tmp_path: Path, store: Store) -> None:
    answers = threading.Event()

    def judge(_raw: bytes, _origin: Origin) -> Verdict:
        answers.wait(30)
        return PASS

    spool = fill(tmp_path / "s", [mail(n) for n in range(3)])
    worker = ingest(spool, store, judge, judge_wait=0.2)
    began = time.monotonic()
    assert worker.step() == 3
    assert time.monotonic() - began < 5
    assert (messages(store), messages(store, verified=False)) == (0, 48)

    again, now = late(store, lambda _raw, _origin: PASS)
    assert again.step() == 0
    now[0] += 61
    assert again.step() == 3
    assert messages(store) == 48
    answers.set()
    worker.close()


def test_a_mail_that_waits_for_dns_is_verified_after_a_restart(tmp_path: Path) -> None:
    with Store.open(tmp_path / "d") as store:
        keep_waiting(store, 1)
        first, now = late(store, lambda _raw, _origin: WAITS)
        now[0] += 61
        assert first.step() == 0
    with Store.open(tmp_path / "d") as store:
        again, _ = late(store, lambda _raw, _origin: PASS, now[0])
        assert again.step() == 1
        assert messages(store) == 16
        (only,) = query.reports(store).to_dict("records")
        assert (only["auth"], only["duplicates"]) == ("pass", 0)
        head = query.report(store, only["report_key"])
        assert head is not None
        assert head.facts["auth_detail"] == "dkim=pass"
    with Store.open(tmp_path / "d") as store:
        never, now = late(store, lambda _raw, _origin: pytest.fail("it is settled"), now[0] + 61)
        assert never.step() == 0


def test_what_was_believed_late_is_believed_after_a_reindex(store: Store) -> None:
    keep_waiting(store, 1)
    again, now = late(store, lambda _raw, _origin: PASS)
    now[0] += 61
    again.step()
    store.reindex(lambda raw, name: reading.read(raw, name, Limits(), int(time.time())))
    assert messages(store) == 16


def test_a_mail_believed_late_counts_in_the_place_of_a_forgery_that_came_first(store: Store) -> None:
    forged = mail(1).replace(b"<count>", b"<count>9", 1)
    keep(store, "forged", forged, Verdict("fail", "dmarc=fail"))
    keep_waiting(store, 1)
    assert sorted(query.reports(store, query.Filters(verified=False), apart=True)["apart"].isna()) == [False, True]
    again, now = late(store, lambda _raw, _origin: PASS)
    now[0] += 61
    assert again.step() == 1
    assert (messages(store), messages(store, verified=False)) == (16, 16)


def test_mails_older_than_a_week_are_left_as_they_are(store: Store) -> None:
    keep_waiting(store, 1)
    again, now = late(store, lambda _raw, _origin: pytest.fail("it is old"))
    now[0] += 8 * 86_400
    assert again.step() == 0


def test_a_verification_that_dns_fails_is_tried_a_few_times_only(store: Store) -> None:
    from dmarcview.upkeep import RETRY_SECONDS

    asked = []

    def judge(raw: bytes, _origin: Origin) -> Verdict:
        asked.append(raw)
        return WAITS

    keep_waiting(store, 1)
    again, now = late(store, judge, tries=3)
    for _ in range(6):
        now[0] += max(RETRY_SECONDS) + 1
        again.step()
    assert len(asked) == 2  # and once before, at its arrival


def test_a_store_that_fails_leaves_the_mails_in_the_spool(tmp_path: Path, store: Store) -> None:
    class Full:
        fails = 2

        def append_many(self, taken: Sequence[Taken]) -> Sequence[Stored]:
            if self.fails:
                self.fails -= 1
                raise StoreFull("disk full")
            return store.append_many(taken)

    spool = fill(tmp_path / "s", [mail(1)])
    worker = Ingest(spool, Full(), spool.path / "marks", settings=IngestSettings(poll_seconds=0.01, retry_seconds=0.01))
    rounds = iter([False] * 4 + [True])
    worker.run(lambda _seconds: next(rounds))
    worker.close()
    assert (messages(store), spool.waiting()) == (16, 0)


def test_a_batch_that_is_read_twice_counts_once(tmp_path: Path, store: Store) -> None:
    spool = fill(tmp_path / "s", [mail(1), mail(2)])
    saved = {path: path.read_bytes() for path in spool.new.iterdir()}
    worker = ingest(spool, store, lambda _raw, _origin: PASS)
    worker.step()
    for path, raw in saved.items():  # as after a crash between commit and removal
        path.write_bytes(raw)
    worker.step()
    worker.close()
    assert messages(store) == 32
    assert query.intake(store).duplicates == 0


DEADLY = """
import os, sys
from pathlib import Path
from dmarcview.store import Store
from dmarcview_reports import reading
from dmarcview_reports.ingest import Ingest, IngestSettings
from dmarcview_reports.spool import Spool
read = reading.read
def deadly(raw, name, limits, now):
    if b"KILLER" in raw:
        os.kill(os.getpid(), 9)
    return read(raw, name, limits, now)
reading.read = deadly
spool = Spool(Path(sys.argv[1]), reserve=0)
with Store.open(sys.argv[2]) as store:
    worker = Ingest(spool, store, spool.path / "marks", settings=IngestSettings(tries=2))
    worker.step()
    worker.close()
"""


def test_mails_that_kill_the_reader_are_set_aside_and_the_rest_is_stored(tmp_path: Path) -> None:
    raws = [mail(1), b"Subject: KILLER one\n\n", mail(2), b"Subject: KILLER two\n\n", mail(3)]
    spool = fill(tmp_path / "s", raws)
    codes = []
    for _ in range(10):
        words = [sys.executable, "-c", DEADLY, str(spool.path), str(tmp_path / "d")]
        codes.append(subprocess.run(words, check=False).returncode)
        if codes[-1] == 0:
            break
    assert codes == [-9, -9, -9, -9, 0]
    with Store.open(tmp_path / "d") as store:
        assert messages(store) == 48
        assert list(query.refused(store)["code"]) == ["crashed_reader", "crashed_reader"]
        assert all(query.refused(store)["raw"])
    assert spool.waiting() == 0


def test_a_death_outside_of_reading_blames_no_mail(tmp_path: Path) -> None:
    marks = Marks(tmp_path)
    for _ in range(10):
        assert marks.begin("b.batch", 2) == frozenset()
        marks.at(0)
        marks.at(1)
        marks.at(Marks.IDLE)
        marks.close()  # the process dies while it stores


def test_a_mark_that_was_cut_short_is_read_without_harm(tmp_path: Path) -> None:
    for size in range(40):
        (tmp_path / "b.batch.mark").write_bytes(os.urandom(size))
        marks = Marks(tmp_path)
        assert isinstance(marks.begin("b.batch", 3), frozenset)
        marks.close()
