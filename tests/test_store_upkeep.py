"""Files merge, age out, are backed up, restored and rebuilt, while others write."""

from __future__ import annotations

import datetime
import sqlite3
import sys
import threading
from pathlib import Path

import pytest
from sqlalchemy import inspect

from dmarcview import query
from dmarcview.library import Library
from dmarcview.store import Label, Retention, SourceRow, Store, StoreError, StoreFormat, tables
from dmarcview_reports.model import Reading, Refusal
from tests.store_data import D0, DAY, PLAIN, records, report, shape, taken


class Clock:
    """A clock that stands until moved."""

    def __init__(self, now: float = D0 + 100 * DAY) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def fill(store: Store, n: int, start: int = 0, **more: object) -> None:
    for i in range(start, start + n):
        begin = D0 + i * DAY
        store.append_many(
            [taken(f"i{i}", report(f"r{i}", begin=begin, end=begin + DAY), received=begin + 2 * DAY, **more)]
        )  # type: ignore[arg-type]


def read(raw: bytes, name: str) -> Reading:
    """The reading of the made-up raw bytes: the number in the name decides."""
    if not name.startswith("i"):
        return Reading(name, refusals=(Refusal("not_a_report", "no"),))
    i = int(name[1:])
    return Reading(name, (report(f"r{i}", begin=D0 + i * DAY, end=D0 + i * DAY + DAY),))


def test_merging_changes_no_answer_and_old_files_wait_an_hour(tmp_path: Path) -> None:
    clock = Clock()
    with Library.open(tmp_path, clock=clock) as store:
        for i in range(12):
            fill(store, 1, i)
            store.flush()
        before = query.daily(store)
        held = store.snapshot()
        assert len(held.files) == 12
        done = store.compact()
        assert (done.files_added, done.files_removed) == (1, 12)
        assert len(store.snapshot().files) == 1
        assert query.daily(store).equals(before)
        store.sweep()
        assert len(list((tmp_path / "records").glob("*/*.cube.parquet"))) == 13
        clock.now += 3601
        assert store.sweep().files_removed == 12
        assert query.daily(store).equals(before)
        assert store.check().faults == ()


def test_a_file_that_nobody_lists_is_swept_after_an_hour(tmp_path: Path) -> None:
    clock = Clock()
    with Library.open(tmp_path, clock=clock) as store:
        fill(store, 2)
        store.flush()
        orphan = tmp_path / "records" / "2026-01" / "00ff.parquet"
        orphan.write_bytes(b"half")
        clock.now = orphan.stat().st_mtime + 3000
        store.sweep()
        assert orphan.exists()
        clock.now += 700
        assert store.sweep().files_removed == 1
        assert not orphan.exists()
        assert store.check().faults == ()


def test_flush_is_due_by_rows_or_by_age(tmp_path: Path) -> None:
    clock = Clock()
    with Library.open(tmp_path, clock=clock) as store:
        assert not store.flush_due()
        fill(store, 1)
        assert not store.flush_due()
        clock.now += 60
        assert store.flush_due()
        store.flush()
        many = records(*((f"10.0.{i // 250}.{i % 250}", 1, shape()) for i in range(2500)))
        for i in range(2):
            assert not store.flush_due()
            store.append_many([taken(f"m{i}", report(f"m{i}", many))])
        assert store.flush_due()


@pytest.mark.parametrize("filed", [True, False])
def test_prune_by_age_and_by_domain(tmp_path: Path, filed: bool) -> None:
    clock = Clock(D0 + 50 * DAY)
    with Library.open(tmp_path, clock=clock) as store:
        fill(store, 40)
        for name in ("keep.example", "short.example", "gone.example"):
            store.append_many([taken(name, report(name, domain=name, begin=D0 + 30 * DAY, end=D0 + 31 * DAY))])
        if filed:
            store.flush()
        version = store.version()
        kept = Retention(days=30, domains={"keep.example": 0, "short.example": 5}, forget=("gone.example",))
        store.prune(kept)
        assert store.version() > version
        domains = query.domains(store).set_index("domain")["messages"].to_dict()
        assert domains == {"example.org": 21 * 8, "keep.example": 8}
        assert query.summary(store)["reports"] == 22
        assert store.check().faults == ()
        store.prune(kept)
        assert query.summary(store)["reports"] == 22


def test_raw_bytes_have_a_retention_of_their_own(tmp_path: Path) -> None:
    clock = Clock(D0)
    with Library.open(tmp_path, clock=clock) as store:
        store.append_many([taken("old", report("old"))])
        clock.now += 20 * DAY
        store.append_many([taken("new", report("new"))])
        store.prune(Retention(raw_days=10))
        assert store.raw(report("old").report_key) is None
        kept = store.raw(report("new").report_key)
        assert kept is not None
        assert kept.raw == b"raw of new"
        assert query.summary(store)["reports"] == 2
        assert len(store.archive.segments()) == 1


def writing(data: Path, start: int, stop: threading.Event) -> threading.Thread:
    def work() -> None:
        with Library.open(data) as other:
            n = start
            while not stop.is_set():
                fill(other, 1, n)
                n += 1
                if n % 7 == 0:
                    other.flush()

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_a_backup_of_a_busy_store_is_whole_and_can_be_restored(tmp_path: Path) -> None:
    stop = threading.Event()
    with Library.open(tmp_path / "data") as store:
        fill(store, 20)
        store.flush()
        store.put_label(Label("ip", "192.0.2.1", "own"))
        (tmp_path / "data/spool/new").mkdir(parents=True)
        (tmp_path / "data/spool/new/1.batch").write_bytes(b"waiting")
        thread = writing(tmp_path / "data", 20, stop)
        try:
            for n in range(3):
                store.backup(tmp_path / f"backup{n}")
        finally:
            stop.set()
            thread.join()
        with pytest.raises(StoreError, match="not empty"):
            store.backup(tmp_path / "backup0")
    counts = []
    for n in range(3):
        Store.restore(tmp_path / f"backup{n}", tmp_path / f"restored{n}")
        with Library.open(tmp_path / f"restored{n}") as again:
            assert again.check().faults == ()
            found = query.summary(again)
            assert found["messages"] == found["reports"] * PLAIN.messages
            counts.append(found["reports"])
            assert [x.value for x in again.labels()] == ["192.0.2.1"]
            assert all(again.raw(k) is not None for k in again.reports()["report_key"])
            fill(again, 1, 5000)
        assert (tmp_path / f"restored{n}/spool/new/1.batch").read_bytes() == b"waiting"
    assert counts == sorted(counts)
    assert counts[0] >= 20
    with pytest.raises(StoreError, match="already holds"):
        Store.restore(tmp_path / "backup0", tmp_path / "restored0")
    with pytest.raises(StoreError, match="no backup"):
        Store.restore(tmp_path / "data/archive", tmp_path / "elsewhere")


def test_reindex_rebuilds_everything_from_the_archive_beside_a_writer(tmp_path: Path) -> None:
    stop = threading.Event()
    with Library.open(tmp_path) as store:
        fill(store, 30)
        store.append_many([taken("junk", refusals=(Refusal("bad_xml", "an older reason"),))])
        store.append_many([taken("unkept", report("unkept", domain="kept.example"))], keep_raw=False)
        store.flush()
        store.put_label(Label("ip", "192.0.2.1", "own"))
        store.put_sources([SourceRow("example.org", "192.0.2.1", "own")])
        thread = writing(tmp_path, 30, stop)
        version = store.version()
        try:
            done = store.reindex(read)
        finally:
            stop.set()
            thread.join()
        assert done.carried == 1
        assert store.version() > version
        assert store.check().faults == ()
        numbers = sorted(int(i[1:]) for i in store.reports()["report_id"] if i != "unkept")
        assert numbers == list(range(len(numbers)))
        assert len(numbers) >= 30
        assert query.refused(store)["code"].tolist() == ["not_a_report"]
        assert query.domains(store).set_index("domain")["messages"]["kept.example"] == PLAIN.messages
        assert len(query.report_records(store, report("unkept", domain="kept.example").report_key)) == 2
        assert len(store.labels()) == len(store.source_rows()) == 1
        fill(store, 3, 9000)
        store.flush()
        assert store.check().faults == ()
        assert ("example.org", "192.0.2.1") in store.touched_since(version)


def test_reindex_brings_back_a_lost_ledger(tmp_path: Path) -> None:
    with Library.open(tmp_path) as store:
        fill(store, 12)
    for file in tmp_path.glob("ledger.sqlite*"):
        file.unlink()
    with Library.open(tmp_path) as store:
        assert query.summary(store)["reports"] == 0
        store.reindex(read)
        assert query.summary(store)["messages"] == 12 * PLAIN.messages
        assert store.check().faults == ()


def test_a_torn_frame_at_the_end_of_a_segment_is_left_out(tmp_path: Path) -> None:
    with Library.open(tmp_path) as store:
        fill(store, 3)
        (name,) = store.archive.segments()
    path = tmp_path / "archive" / name
    path.write_bytes(path.read_bytes()[:-5])
    with Library.open(tmp_path) as store:
        assert [k.origin.name for _, k in store.archive.scan(name)] == ["i0", "i1"]


def test_touched_sources_are_those_of_new_reports_only(tmp_path: Path) -> None:
    with Library.open(tmp_path) as store:
        fill(store, 2)
        at = store.version()
        assert store.touched_since(at) == []
        rows = records(("203.0.113.5", 4, shape()))
        store.append_many([taken("x", report("x", rows))])
        assert store.touched_since(at) == [("example.org", "203.0.113.5")]
        store.flush()
        assert ("example.org", "203.0.113.5") in store.touched_since(at)
        store.put_sources([SourceRow("example.org", "203.0.113.5", "own")], upto=store.version())
        assert store.classified() >= at
        store.compact(all_files=True)
        facts = store.source_columns(pairs=[("example.org", "203.0.113.5")]).facts(0)
        assert (facts.messages, facts.days, facts.dkim_aligned) == (4, 1, 4)


def test_a_ledger_of_another_program_is_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "ledger.sqlite") as conn:
        conn.execute("create table reports (x)")
    with pytest.raises(StoreFormat, match="not dmarcview"):
        Library.open(tmp_path)


def test_a_stored_ledger_of_format_1_is_upgraded_and_keeps_its_answers(tmp_path: Path) -> None:
    old = Path(__file__).parent / "data" / "ledger_format1.sql"
    with sqlite3.connect(tmp_path / "ledger.sqlite") as conn:
        conn.executescript(old.read_text())
    conn.close()
    with pytest.raises(StoreFormat, match="older format 1"):
        Library.open(tmp_path, read_only=True)
    with Library.open(tmp_path) as store:
        assert store.ledger.format() == tables.FORMAT
        assert query.summary(store)["messages"] == 2 * PLAIN.messages
        assert query.refused(store)["code"].tolist() == ["bad_xml"]
        fill(store, 1, 7)
        store.flush()
        assert store.check().faults == ()
        assert_indexed(store)


def assert_indexed(store: Library) -> None:
    """Every table has the indexes that it is made with."""
    known = inspect(store.ledger.engine)
    for table in tables.metadata.sorted_tables:
        assert {one["name"] for one in known.get_indexes(table.name)} == {one.name for one in table.indexes}


def test_a_ledger_of_format_5_gets_its_indexes(tmp_path: Path) -> None:
    with Library.open(tmp_path):
        pass
    with sqlite3.connect(tmp_path / "ledger.sqlite") as conn:
        for name in ("sent_source", "incidents_cause"):
            conn.execute(f"drop index {name}")
        conn.execute("update meta set value = '5' where name = 'format'")
    conn.close()
    with Library.open(tmp_path) as store:
        assert store.ledger.format() == tables.FORMAT
        assert_indexed(store)


def test_totals_follow_new_pruned_and_promoted_reports(tmp_path: Path) -> None:
    with Library.open(tmp_path, clock=Clock(D0 + 40 * DAY)) as store:
        assert query.summary(store)["reports"] == 0
        fill(store, 3)
        assert query.summary(store)["reports"] == 3
        store.append_many([taken("doubt", report("doubt"), auth="none")])
        assert query.summary(store)["reports"] == 3
        store.append_many([taken("sure", report("doubt"))])
        assert query.summary(store)["reports"] == 4
        store.append_many([taken("late", report("late", begin=D0 - 9 * DAY, end=D0 - 8 * DAY))])
        assert (query.summary(store)["reports"], query.summary(store)["begin"]) == (5, D0 - 9 * DAY)
        store.prune(Retention(days=40))
        found = query.summary(store)
        assert (found["reports"], found["records"], found["begin"]) == (4, 8, D0)


def test_remembered_totals_of_every_window_are_those_counted_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["dmarcview.query.intake"], "REMEMBERED", 5)
    days = [datetime.date(2026, 1, 1) + datetime.timedelta(n) for n in (0, 3, 9, 40)]
    asked = [
        query.Filters(domains, since, until)
        for domains in (None, ("example.org",))
        for since, until in zip([None, *days], [*days, None], strict=True)
    ]
    steps = (
        lambda s: fill(s, 6),
        lambda s: s.append_many([taken("doubt", report("doubt", begin=D0 + 3 * DAY, end=D0 + 4 * DAY), auth="none")]),
        lambda s: s.append_many([taken("late", report("late", begin=D0 - 9 * DAY, end=D0 + 9 * DAY))]),
        lambda s: s.append_many([taken("sure", report("doubt", begin=D0 + 3 * DAY, end=D0 + 4 * DAY))]),
        lambda s: s.prune(Retention(days=38)),
    )
    with Library.open(tmp_path, clock=Clock(D0 + 41 * DAY)) as store:
        for step in steps:
            step(store)
            with Library.open(tmp_path) as fresh:
                for filters in [*asked, *reversed(asked)]:
                    assert query.summary(store, filters) == query.summary(fresh, filters)
                    fresh.totals.clear()
        assert len(store.totals) == 5
