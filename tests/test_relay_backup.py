"""A backup has what the relay has: queue, keys, users, dropped mails; and nothing of it leaves twice unasked."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from dmarcview.cli import main
from dmarcview.store import Store
from dmarcview_relay import backup
from dmarcview_relay.drop import FOLDER_MODE
from dmarcview_relay.keys import KeyRing
from dmarcview_relay.queue import Queue
from dmarcview_relay.queue_admin import ALL, HELD, WAITING, QueueAdmin
from dmarcview_relay.queue_schema import QueueError
from dmarcview_relay.sentlog import SentLog
from dmarcview_relay.userfile import UserFile
from dmarcview_relay.users import UserRules, Users
from tests.relay_mails import mail, settled

SMALL, LARGE = b"From: a@example.org\r\n\r\nsmall\r\n", b"large line\r\n" * 10_000


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    made = Queue(tmp_path / "data" / "relay", reserve=0)
    yield made
    made.close()


def put(queue: Queue, content: bytes = SMALL, hold: str = ""):  # type: ignore[no-untyped-def]
    return asyncio.run(queue.put(mail(hold=hold), content))


def test_what_is_restored_is_what_was_there_and_waits_for_a_person(queue: Queue, tmp_path: Path) -> None:
    small, large, held = put(queue), put(queue, LARGE), put(queue, hold="dkim example.org s1: not there")
    key = KeyRing(queue.folder / "keys").new("example.org", "s1")
    UserFile(queue.folder / "users.json").add("alice", None, UserRules())
    (queue.folder / "drop" / "bad").mkdir(parents=True)
    (queue.folder / "drop" / "1.mail").write_bytes(b"dropped")
    (queue.folder / "drop" / ".2.mail").write_bytes(b"half")
    assert backup.save(queue.folder, tmp_path / "saved")
    assert backup.restore(tmp_path / "saved", tmp_path / "again") == 3

    with closing(QueueAdmin(tmp_path / "again")) as admin:
        assert [each.id for each in admin.found(ALL, state=HELD)] == [small.id, large.id, held.id]
        assert {entry.hold for each in admin.found(ALL) for entry in each.entries} == {backup.HELD}
        assert (admin.content(small.id), admin.content(large.id)) == (SMALL, LARGE)
        assert admin.release(ALL) == 3
    with closing(Queue(tmp_path / "again", reserve=0)) as again:
        assert [each.id for each in again.waiting()] == [small.id, large.id, held.id]
    assert KeyRing(tmp_path / "again" / "keys").signing("example.org")[0].public == key.public
    assert Users(tmp_path / "again" / "users.json").find("alice")
    assert stat.S_IMODE((tmp_path / "again" / "drop").stat().st_mode) == FOLDER_MODE
    assert [path.name for path in (tmp_path / "again" / "drop").iterdir()] == ["1.mail"]


def test_only_the_owner_may_read_a_backup(queue: Queue, tmp_path: Path) -> None:
    put(queue, LARGE)
    KeyRing(queue.folder / "keys").new("example.org", "s1")
    backup.save(queue.folder, tmp_path / "saved")
    found = [tmp_path / "saved", *(tmp_path / "saved").rglob("*")]
    assert len(found) >= 7
    assert {stat.S_IMODE(path.stat().st_mode) for path in found} == {0o600, 0o700}


def test_a_number_of_the_sent_log_is_never_used_again_after_a_restore(queue: Queue, tmp_path: Path) -> None:
    backup.save(queue.folder, tmp_path / "saved")
    backup.restore(tmp_path / "saved", tmp_path / "again")
    numbers = []
    with closing(Queue(tmp_path / "again", reserve=0)) as again:
        for one in (queue, again):
            queued = put(one)
            asyncio.run(one.settle(queued, [settled(queued)]))
            with closing(SentLog(one.folder)) as log:
                numbers.append((log.instance, [number for number, _ in log.pending(10)]))
    (first, [lost]), (second, [fresh]) = numbers
    assert first == second
    assert fresh > lost + 1_000_000


def test_a_mail_that_leaves_while_it_is_copied_leaves_the_copy_too(queue: Queue, tmp_path: Path) -> None:
    gone, stays = put(queue, LARGE), put(queue, LARGE)
    (queue.folder / "bodies" / gone.id).unlink()
    backup.save(queue.folder, tmp_path / "saved")
    assert backup.restore(tmp_path / "saved", tmp_path / "again") == 1
    with closing(QueueAdmin(tmp_path / "again")) as admin:
        assert [each.id for each in admin.found(ALL, state=HELD)] == [stays.id]


def test_a_busy_queue_is_copied_as_it_was_at_one_moment(queue: Queue, tmp_path: Path) -> None:
    ended = threading.Event()

    def busy() -> None:
        async def run() -> None:
            while not ended.is_set():
                for queued in [await queue.put(mail(), content) for content in (SMALL, LARGE)]:
                    await queue.settle(queued, [settled(queued)])

        asyncio.run(run())

    put(queue)
    thread = threading.Thread(target=busy)
    thread.start()
    try:
        for n in range(10):
            backup.save(queue.folder, tmp_path / f"saved{n}")
    finally:
        ended.set()
        thread.join()
    for n in range(10):
        assert backup.restore(tmp_path / f"saved{n}", tmp_path / f"again{n}") >= 1
        with closing(sqlite3.connect(tmp_path / f"again{n}" / "queue.sqlite")) as link:
            assert link.execute("pragma integrity_check").fetchone() == ("ok",)
        with closing(QueueAdmin(tmp_path / f"again{n}")) as admin:
            assert all(admin.content(each.id) in (SMALL, LARGE) for each in admin.found(ALL))


def test_without_a_relay_there_is_nothing_to_save_and_a_place_that_is_taken_stays(queue: Queue, tmp_path: Path) -> None:
    assert not backup.save(tmp_path / "nothing", tmp_path / "saved")
    assert not (tmp_path / "saved").exists()
    backup.save(queue.folder, tmp_path / "saved")
    with pytest.raises(QueueError, match="not empty"):
        backup.restore(tmp_path / "saved", queue.folder)


def test_the_commands_take_the_relay_along(queue: Queue, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    queued = put(queue)
    Store.open(tmp_path / "data").close()
    data, saved, again = (str(tmp_path / name) for name in ("data", "new/saved", "again"))
    assert main(["backup", saved, "--data", data, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["relay"] == "with its queue and keys"
    assert not list(tmp_path.glob("new/*.relay"))
    assert main(["restore", saved, "--data", again, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["held"] == 1
    with closing(QueueAdmin(tmp_path / "again" / "relay")) as admin:
        assert [each.id for each in admin.found(ALL)] == [queued.id]
        assert not admin.found(ALL, state=WAITING)
    assert main(["restore", saved, "--data", data]) == 2
    assert "not empty" in capsys.readouterr().err
