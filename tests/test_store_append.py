"""What the store keeps, counts and refuses, on SQLite and on PostgreSQL."""

from __future__ import annotations

import errno
import multiprocessing
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import update

from dmarcview import query
from dmarcview.library import Library
from dmarcview.store import Store, StoreError, StoreFormat, StoreFull, tables
from dmarcview_reports.model import Other, Refusal
from tests.store_data import D0, DAY, PLAIN, records, report, shape, taken
from tests.store_postgres import fresh_database

Opener = Callable[..., Store]


@pytest.fixture
def opened(ledger_url: str | None, tmp_path: Path) -> Iterator[Opener]:
    with ExitStack() as stack:
        yield lambda **more: stack.enter_context(Library.open(tmp_path / "data", url=ledger_url, **more))


def messages(store: Store, **filters: object) -> int:
    return int(query.summary(store, query.Filters(**filters))["messages"])


def test_a_report_is_kept_once_however_often_it_comes(opened: Opener) -> None:
    store = opened()
    first = store.append_many([taken("a", report())])[0]
    assert (first.reports, first.records, first.messages) == (1, 2, 8)
    again = store.append_many([taken("b", report())])[0]
    assert (again.reports, again.duplicates, again.conflicts) == (0, 1, 0)
    both = store.append_many([taken("c", report("r2")), taken("d", report("r2"))])
    assert [(s.reports, s.duplicates) for s in both] == [(1, 0), (0, 1)]
    assert messages(store) == 16
    store.flush()
    assert messages(store) == 16
    assert store.append_many([taken("e", report())])[0].duplicates == 1
    assert store.check().faults == ()
    assert query.reports(store)["duplicates"].sum() == 3


def test_a_batch_repeated_after_a_crash_changes_nothing(opened: Opener) -> None:
    store = opened()
    batch = [taken("item-1", report(), refusals=(Refusal("bad_xml", "no", "part 2"),))]
    first = store.append_many(batch)
    version = store.version()
    assert store.append_many(batch) == first
    assert len(query.refused(store)) == 1
    assert query.intake(store).duplicates == 0
    assert query.intake(store).inputs == 1
    assert store.version() >= version


def test_a_file_imported_twice_says_duplicate_and_lists_its_refusal_once(opened: Opener) -> None:
    store = opened()
    batch = [taken("a.eml", report(), channel="file", auth="unknown", refusals=(Refusal("bad_xml", "no"),))]
    store.append_many(batch)
    second = store.append_many(batch)[0]
    assert (second.reports, second.duplicates, second.refused) == (0, 1, 1)
    assert len(query.refused(store)) == 1


def test_other_content_under_the_same_identity_is_kept_and_does_not_count(opened: Opener) -> None:
    store = opened()
    store.append_many([taken("a", report())])
    other = report(content="changed")
    assert store.append_many([taken("b", other)])[0].conflicts == 1
    assert messages(store) == 8
    assert len(query.report_records(store, other.report_key)) == 2
    head = query.report(store, other.report_key)
    assert head is not None
    assert (head.apart, head.conflicts) == ("conflict", (report().report_key,))
    store.flush()
    assert messages(store) == 8
    assert len(query.report_records(store, other.report_key)) == 2
    assert len(query.reports(store)) == 1
    assert len(query.reports(store, apart=True)) == 2


def test_a_forged_report_neither_counts_nor_blocks_the_real_one(opened: Opener) -> None:
    store = opened()
    forged = report(rows=records(("203.0.113.66", 1000, shape())), content="forged")
    store.append_many([taken("forged", forged, auth="none")])
    assert messages(store) == 0
    assert messages(store, verified=False) == 1000
    store.flush()
    real = store.append_many([taken("real", report())])[0]
    assert (real.reports, real.conflicts) == (1, 0)
    assert messages(store) == 8
    store.flush()  # the forged rows leave the shelf of those that may count
    assert messages(store, verified=False) == 8
    assert store.check().faults == ()
    assert store.append_many([taken("again", report(content="late forgery"), auth="fail")])[0].conflicts == 1
    assert messages(store, verified=False) == 8


def test_the_same_report_sent_again_and_believed_counts_from_then_on(opened: Opener) -> None:
    store = opened()
    store.append_many([taken("a", report(), auth="none")])
    store.flush()
    assert messages(store) == 0
    assert store.append_many([taken("b", report())])[0].duplicates == 1
    store.flush()
    assert messages(store) == 8
    assert set(store.records()["auth"]) == {"pass"}
    assert store.check().faults == ()


def test_a_report_of_an_unwatched_domain_is_kept_apart_until_the_domain_is_watched(opened: Opener) -> None:
    store = opened(watched=["example.com"])
    stored = store.append_many([taken("a", report()), taken("b", report("r2", domain="mail.example.com"))])
    assert [(s.reports, s.refused) for s in stored] == [(0, 1), (1, 0)]
    assert messages(store) == 8
    store.flush()
    listed = query.refused(store)
    assert listed["code"].tolist() == ["unknown_domain"]
    assert listed["report_key"].tolist() == [report().report_key]
    assert query.intake(store).unknown_domain == 1
    wider = opened(watched=["example.com", "example.org"])
    wider.replay(lambda raw, name: pytest.fail("nothing to read again"))
    wider.flush()
    assert messages(wider) == 16
    assert len(query.refused(wider)) == 0
    assert wider.check().faults == ()


def test_refusals_and_others_are_kept_with_their_bytes(opened: Opener) -> None:
    store = opened()
    refusal = Refusal("not_a_report", "nothing in here", "part 1")
    store.append_many([taken("a", refusals=(refusal,), others=(Other("tls", b"{}", "aa" * 32),))])
    row = query.refused(store).iloc[0]
    assert (row["code"], row["where"], row["raw"]) == ("not_a_report", "part 1", True)
    kept = store.raw_item(int(row["item"]))
    assert kept is not None
    assert kept.raw == b"raw of a"
    assert kept.origin.rcpt_to == ("rua@example.org",)
    assert query.intake(store).others == {"tls": 1}


def test_a_refused_input_is_read_again_by_replay(opened: Opener) -> None:
    store = opened()
    store.append_many([taken(n, refusals=(Refusal("bad_xml", "broken"),)) for n in ("a", "b")])

    def read(raw: bytes, name: str):  # type: ignore[no-untyped-def]
        return taken(name, report()).reading if name == "a" else taken(name, refusals=(Refusal("empty", "x"),)).reading

    stored = store.replay(read)
    assert [(s.reports, s.refused) for s in stored] == [(1, 0), (0, 1)]
    assert query.refused(store)["code"].tolist() == ["empty"]
    assert messages(store) == 8
    assert store.raw(report().report_key) is not None


def test_a_large_call_writes_files_at_once_and_counts_the_same(opened: Opener, tmp_path: Path) -> None:
    store = opened()
    many = records(*((f"10.0.{i // 250}.{i % 250}", 1 + i % 3, shape()) for i in range(2500)))
    months = [report(f"m{i}", many, begin=D0 + i * 40 * DAY, end=D0 + (i * 40 + 1) * DAY) for i in range(3)]
    small = report("small", begin=D0 + 200 * DAY, end=D0 + 201 * DAY)
    stored = store.append_many([taken("bulk", *months, small, channel="file")])[0]
    assert (stored.reports, stored.records) == (4, 7502)
    snapshot = store.snapshot()
    assert len(snapshot.files) == 3
    assert len(snapshot.pending) == 1
    assert messages(store) == 3 * many.messages + 8
    assert store.check().faults == ()


def test_hostile_text_is_kept_readable(opened: Opener) -> None:
    store = opened()
    nasty = "a\x00b\ud800c"
    bad = Refusal("bad_xml", nasty, nasty)
    store.append_many([taken(nasty, report("x", org_name=nasty), raw=b"raw", refusals=(bad,))])
    store.flush()
    assert query.reports(store)["org_name"].tolist() == ["a\ufffdb?c"]
    assert query.refused(store)["message"].tolist() == ["a\ufffdb?c"]


def test_a_newer_format_is_refused_with_what_to_do(opened: Opener, tmp_path: Path) -> None:
    store = opened()
    with store.ledger.write() as conn:
        conn.execute(update(tables.meta).where(tables.meta.c.name == "format").values(value="99"))
    with pytest.raises(StoreFormat, match=r"format 99.*upgrade"):
        opened()


def test_reading_makes_no_store(tmp_path: Path) -> None:
    with pytest.raises(StoreFormat, match="no store"):
        Library.open(tmp_path / "none", read_only=True)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_a_disk_fault_while_archiving_keeps_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    with Library.open(tmp_path) as store:
        store.append_many([taken("before", report("r0"))])

        def fail(fd: int) -> None:
            raise OSError(number, os.strerror(number))

        with monkeypatch.context() as m:
            m.setattr(os, "fdatasync", fail)
            with pytest.raises(StoreFull, match="free disk space"):
                store.append_many([taken("a", report())])
        assert messages(store) == 8
        assert query.intake(store).inputs == 1
        store.append_many([taken("a", report())])
        assert messages(store) == 16
        assert [k.origin.name for s in store.archive.segments() for _, k in store.archive.scan(s)] == ["before", "a"]


def test_a_full_disk_under_the_ledger_keeps_nothing(tmp_path: Path) -> None:
    with Library.open(tmp_path) as store:
        store.append_many([taken("a", report())])
        with store.ledger.engine.connect() as conn:
            pages = conn.exec_driver_sql("pragma page_count").scalar_one()
            conn.exec_driver_sql(f"pragma max_page_count = {pages}")
        big = records(*((f"10.{i // 250}.0.{i % 250}", i + 1, shape(header_from=f"h{i}.example")) for i in range(2000)))

        def append_until_full() -> None:
            for i in range(50):
                store.append_many([taken(f"b{i}", report(f"big{i}", big))])

        with pytest.raises(StoreFull, match="free disk space"):
            append_until_full()
        kept = store.check()
        assert kept.faults == ()
        assert messages(store) == 8 + (kept.reports - 1) * big.messages


def test_a_disk_fault_while_writing_a_file_leaves_rows_pending(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Library.open(tmp_path) as store:
        store.append_many([taken("a", report())])

        def fail(fd: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as m:
            m.setattr(os, "fsync", fail)
            with pytest.raises(StoreFull):
                store.flush()
        assert list((tmp_path / "records").glob("*/*")) == []
        assert messages(store) == 8
        assert store.flush().rows == 2


def _append(data: Path, url: str | None, worker: int) -> None:
    with Library.open(data, url=url) as store:
        for i in range(40):
            shared = report(f"shared-{i}")
            own = report(f"own-{worker}-{i}")
            store.append_many([taken(f"w{worker}-{i}", shared, own)])
            if i % 10 == 9:
                store.flush()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_several_processes_at_once_keep_each_report_once(
    kind: str, tmp_path: Path, postgres: Callable[[], str]
) -> None:
    url = fresh_database(postgres(), uuid.uuid4().hex) if kind == "postgresql" else None
    Library.open(tmp_path, url=url).close()
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_append, args=(tmp_path, url, n)) for n in range(3)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
        assert w.exitcode == 0
    with Library.open(tmp_path, url=url) as store:
        found = store.check()
        assert found.faults == ()
        assert found.reports == 40 + 3 * 40
        assert messages(store) == 160 * PLAIN.messages


def test_a_label_needs_a_known_scope_and_class(opened: Opener) -> None:
    from dmarcview.store import Label

    store = opened()
    with pytest.raises(StoreError, match="scope"):
        store.put_label(Label("planet", "x", "own"))
    store.put_label(Label("ip", "192.0.2.1", "own", "example.org", "me", 5, "why"))
    store.put_label(Label("ip", "192.0.2.1", "forwarder", "example.org", "me", 6))
    (kept,) = store.labels()
    assert (kept.source_class, kept.at) == ("forwarder", 6)
    assert store.remove_label(kept.id)
    assert store.labels() == []
