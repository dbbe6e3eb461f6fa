"""The sent log in the ledger: each row once, as long as it is kept, on SQLite and on PostgreSQL."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import func, inspect, select, text
from sqlalchemy.exc import DataError

from dmarcview.library import Library
from dmarcview.query import sent_first
from dmarcview.store import Store, StoreFull, sent, tables
from dmarcview.store.ledger import counter
from dmarcview.store.ledger import rows as ledger_rows
from dmarcview.store.migrations import upgrade
from dmarcview_relay.outcome import DEFERRED, DELIVERED, FAILED, RemoteReply
from tests.sent_data import LINK, NEVER, attempt
from tests.store_data import D0, DAY, report, taken
from tests.store_postgres import fresh_database

Opener = Callable[..., Store]
NEW_IN_5 = ("probes", "incidents", "mutes", "notices", "records_seen")


@pytest.fixture
def opened(ledger_url: str | None, tmp_path: Path) -> Iterator[Opener]:
    with ExitStack() as stack:
        yield lambda **more: stack.enter_context(Library.open(tmp_path / "data", url=ledger_url, **more))


def kept(store: Store) -> list[tuple[str, int]]:
    with store.ledger.read() as conn:
        found = conn.execute(select(tables.sent.c.instance, tables.sent.c.number))
        return sorted((r[0], r[1]) for r in found)


def test_every_fact_of_a_try_is_a_column(opened: Opener) -> None:
    store = opened()
    tried = attempt(reply=NEVER, outcome=FAILED, tries=3)
    assert sent.append(store.ledger, "relay-a", [(7, tried)]) == 1
    with store.ledger.read() as conn:
        (row,) = ledger_rows(conn, select(tables.sent))
    assert dict(row) == {
        "instance": "relay-a",
        "number": 7,
        "at": int(tried.at),
        "dkim": '[["example.org","s1"],["example.org","e1"]]',
        "dkim_domain": "example.org",
        "dkim_selector": "s1",
        "code": 550,
        "enhanced": "5.1.1",
        "reply": "No such user",
        "stage": "rcpt",
        "said": True,
        **LINK._asdict(),
        **{
            name: getattr(tried, name)
            for name in (
                "queue_id", "message_id", "kind", "user", "client", "sender", "from_domain", "recipient",
                "recipient_domain", "tries", "outcome", "size",
            )
        },
    }  # fmt: skip


def test_a_row_that_comes_again_is_kept_once_and_the_others_are_taken(opened: Opener) -> None:
    store = opened()
    before = sent.version(store.ledger)
    assert sent.append(store.ledger, "a", [(1, attempt()), (3, attempt())]) == 2
    assert sent.version(store.ledger) > before
    assert sent.append(store.ledger, "a", [(1, attempt()), (2, attempt()), (3, attempt()), (9, attempt())]) == 2
    after = sent.version(store.ledger)
    assert sent.append(store.ledger, "a", [(1, attempt()), (9, attempt())]) == 0
    assert sent.append(store.ledger, "a", []) == 0
    assert sent.version(store.ledger) == after
    assert sent.append(store.ledger, "b", [(1, attempt())]) == 1
    assert kept(store) == [("a", 1), ("a", 2), ("a", 3), ("a", 9), ("b", 1)]


def test_what_a_far_host_wrote_is_kept_whatever_its_bytes(opened: Opener) -> None:
    store = opened()
    hostile = RemoteReply(550, "5.0.0\x00", "nul \x00, half \udcff, smile \U0001f600, \x1b[31m\nline", "data")
    tried = attempt(
        reply=hostile, message_id="<" + "\U0001f600" * 3_000 + ">", dkim=(("\udcff.example", "s\x00"),), sender="\x00"
    )
    assert sent.append(store.ledger, "a", [(2**40, tried), (2**40 + 1, attempt(dkim=()))]) == 2
    with store.ledger.read() as conn:
        row, bare = ledger_rows(conn, select(tables.sent).order_by(tables.sent.c.number))
    assert row["reply"] == "nul \ufffd, half ?, smile \U0001f600, \x1b[31m\nline"
    assert row["message_id"] == sent.message_id(tried.message_id)
    assert len(row["message_id"]) == 500
    assert (bare["dkim"], bare["dkim_domain"], bare["dkim_selector"]) == ("[]", "", "")


def test_a_fault_in_a_batch_keeps_none_of_it(opened: Opener) -> None:
    store = opened()
    too_large = attempt(size=2**70)
    with pytest.raises((OverflowError, DataError)):
        sent.append(store.ledger, "a", [(1, attempt()), (2, too_large)])
    assert kept(store) == []
    assert sent.append(store.ledger, "a", [(1, attempt())]) == 1


def test_old_rows_leave_and_none_without_a_number_of_days(opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    store = opened()
    monkeypatch.setattr(sent, "PRUNE_AT_ONCE", 3)
    now = D0 + 500 * DAY
    rows = [(n, attempt(at=D0 + n * DAY)) for n in range(1, 21)] + [(99, attempt(at=D0 + 5 * DAY))]
    sent.append(store.ledger, "a", rows)
    assert sent.prune(store.ledger, now, 0) == 0
    assert sent.prune(store.ledger, now, 490) == 10
    assert kept(store) == [("a", n) for n in range(10, 21)]
    assert sent.prune(store.ledger, now, 490) == 0


def test_backup_restore_and_reindex_carry_the_log(opened: Opener, tmp_path: Path) -> None:
    store = opened()
    store.append_many([taken("r", report())])
    sent.append(store.ledger, "a", [(n, attempt()) for n in range(1, 6)])
    store.backup(tmp_path / "saved")
    Store.restore(tmp_path / "saved", tmp_path / "back")
    with Store.open(tmp_path / "back") as back:
        assert kept(back) == kept(store) == [("a", n) for n in range(1, 6)]
        assert sent.version(back.ledger) == sent.version(store.ledger)
        assert sent.append(back.ledger, "a", [(5, attempt()), (6, attempt())]) == 1
    from dmarcview_reports.model import Reading

    store.reindex(lambda raw, name: Reading(name, (), (), ()))
    assert kept(store) == [("a", n) for n in range(1, 6)]


def test_a_backup_of_an_older_format_is_restored_into_a_database_elsewhere(
    tmp_path: Path, postgres: Callable[[], str]
) -> None:
    with Store.open(tmp_path / "data") as store:
        store.append_many([taken("r", report())])
        store.backup(tmp_path / "saved")
    with sqlite3.connect(tmp_path / "saved" / "ledger.sqlite") as conn:
        for table in ("sent", *NEW_IN_5):
            conn.execute(f"drop table {table}")
        conn.execute("delete from counters where name in ('sent', 'alerts', 'judged')")
        conn.execute("update meta set value = '3' where name = 'format'")
    conn.close()
    before = (tmp_path / "saved" / "ledger.sqlite").read_bytes()
    url = fresh_database(postgres(), uuid.uuid4().hex)
    Store.restore(tmp_path / "saved", tmp_path / "back", url=url)
    assert (tmp_path / "saved" / "ledger.sqlite").read_bytes() == before
    assert not list((tmp_path / "back").glob("ledger*"))
    with Store.open(tmp_path / "back", url=url) as back:
        assert back.ledger.format() == tables.FORMAT
        assert back.check().reports == 1
        assert sent.append(back.ledger, "a", [(1, attempt())]) == 1


def test_a_ledger_of_an_older_format_gets_the_table(tmp_path: Path) -> None:
    old = Path(__file__).parent / "data" / "ledger_format1.sql"
    with sqlite3.connect(tmp_path / "ledger.sqlite") as conn:
        conn.executescript(old.read_text())
    conn.close()
    with Store.open(tmp_path) as store:
        assert sent.append(store.ledger, "a", [(1, attempt())]) == 1
        assert sent.version(store.ledger) == 1
        found = {i["name"] for i in inspect(store.ledger.engine).get_indexes("sent")}
        assert found == {i.name for i in tables.sent.indexes}


def test_the_steps_from_format_3_work_on_both_kinds_of_ledger(opened: Opener) -> None:
    store = opened()
    with store.ledger.write() as conn:
        for name in ("sent", *NEW_IN_5):
            tables.metadata.tables[name].drop(conn)
        conn.execute(tables.counters.delete().where(tables.counters.c.name.in_(["sent", "alerts", "judged"])))
        conn.execute(tables.meta.update().where(tables.meta.c.name == "format").values(value="3"))
    store.ledger.create()
    assert store.ledger.format() == tables.FORMAT
    assert sent.append(store.ledger, "a", [(1, attempt())]) == 1
    with store.ledger.read() as conn:
        assert counter(conn, "alerts") == 0
        for name in NEW_IN_5:
            assert conn.execute(select(func.count()).select_from(tables.metadata.tables[name])).scalar_one() == 0


def test_a_full_disk_is_said_so_and_nothing_is_half_there(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        with store.ledger.engine.connect() as conn:
            pages = conn.exec_driver_sql("pragma page_count").scalar_one()
            conn.exec_driver_sql(f"pragma max_page_count = {pages}")
        many = [(n, attempt(reply=RemoteReply(550, "", "x" * 8_000, "rcpt"))) for n in range(50)]
        with pytest.raises(StoreFull):
            sent.append(store.ledger, "a", many)
        with store.ledger.read() as conn:
            assert conn.execute(select(func.count()).select_from(tables.sent)).scalar_one() == 0


def test_the_first_delivery_of_a_source_and_from_is_found_by_an_index(opened: Opener) -> None:
    store = opened()
    kept = [(0, "192.0.2.1", "a.test", DELIVERED), (5, "192.0.2.1", "a.test", DELIVERED),
            (3, "192.0.2.2", "a.test", DEFERRED), (7, "192.0.2.2", "a.test", DELIVERED),
            (9, "192.0.2.2", "b.test", DELIVERED)]  # fmt: skip
    sent.append(store.ledger, "r", [
        (n, attempt(at=D0 + day * DAY, link=LINK._replace(source=source), from_domain=name, outcome=outcome))
        for n, (day, source, name, outcome) in enumerate(kept, 1)
    ])  # fmt: skip
    asked = [("a.test", "192.0.2.2"), ("b.test", None), ("a.test", None), ("a.test", "192.0.2.9"), ("c.test", None)]
    assert sent_first(store, asked * 40) == [D0 + 7 * DAY, D0 + 9 * DAY, D0, None, None] * 40
    assert sent_first(store, []) == []


def test_looking_up_the_first_delivery_reads_no_row(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store, store.ledger.read() as conn:
        where = "select min(at) from sent where from_domain = 'a.test' and outcome = 'delivered'"
        plans = [str(conn.execute(text(f"explain query plan {where}{more}")).all()) for more in
                 ("", " and source = '192.0.2.1'")]  # fmt: skip
    assert "COVERING INDEX sent_from" in plans[0]
    assert "COVERING INDEX sent_source (from_domain=? AND source=? AND outcome=?)" in plans[1]


def test_a_ledger_of_format_5_gets_the_index(opened: Opener) -> None:
    store = opened()
    with store.ledger.write() as conn:
        conn.execute(text("drop index sent_source"))
        conn.execute(tables.meta.update().where(tables.meta.c.name == "format").values(value="5"))
    upgrade(store.ledger)
    assert store.ledger.format() == tables.FORMAT
    assert "sent_source" in {i["name"] for i in inspect(store.ledger.engine).get_indexes("sent")}
