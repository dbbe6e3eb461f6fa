"""When the disk is full or broken the queue says so, keeps nothing by half, and goes on when it is well again."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dmarcview_relay import bodies
from dmarcview_relay.queue import Queue, QueueError
from dmarcview_relay.queue_schema import FILE
from tests.relay_mails import BUSY, UNKNOWN, mail, settled

SMALL, LARGE = b"small" * 1_000, b"large" * 20_000


def run(coroutine):  # type: ignore[no-untyped-def]
    return asyncio.run(coroutine)


@contextmanager
def files_end_at(size: int) -> Iterator[None]:
    """No file of this process may grow past so many bytes: a write beyond fails, as on a broken disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    made = Queue(tmp_path, reserve=0)
    yield made
    made.close()


def test_a_failing_write_refuses_the_mails_of_its_batch_and_no_other(queue: Queue, tmp_path: Path) -> None:
    before = [run(queue.put(mail(), each)) for each in (SMALL, LARGE)]
    with files_end_at((tmp_path / f"{FILE}-wal").stat().st_size + 1_000):

        async def many() -> list[object]:
            return await asyncio.gather(*(queue.put(mail(), SMALL) for _ in range(20)), return_exceptions=True)

        answers = run(many())
        assert all(isinstance(each, QueueError) for each in answers), answers
        with pytest.raises(QueueError, match="cannot be written"):
            run(queue.settle(before[0], [settled(before[0], 0, BUSY, next_at=1.0)]))
    assert list(queue.waiting()) == before
    after = run(queue.put(mail(), SMALL))
    run(queue.settle(before[0], [settled(before[0], 0, UNKNOWN)]))
    queue.close()
    again = Queue(tmp_path, reserve=0)
    assert list(again.waiting()) == [before[1], after]
    assert again.count()["sent"] == 1
    assert [run(again.content(each)) for each in (before[1], after)] == [LARGE, SMALL]
    again.close()


def test_a_body_file_that_cannot_be_written_leaves_nothing_behind(queue: Queue, tmp_path: Path) -> None:
    with files_end_at(len(LARGE) - 1), pytest.raises(QueueError, match="File too large"):
        run(queue.put(mail(), LARGE))
    assert [*(tmp_path / "tmp").iterdir(), *(tmp_path / "bodies").iterdir()] == []
    assert list(queue.waiting()) == []
    assert run(queue.content(run(queue.put(mail(), LARGE)))) == LARGE


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
@pytest.mark.parametrize("call", ["fdatasync", "fsync", "rename"])
def test_a_body_file_that_cannot_be_made_durable_is_not_promised(
    queue: Queue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    def broken(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(*((Path, "rename") if call == "rename" else (os, call)), broken)
        with pytest.raises(QueueError, match=os.strerror(number)):
            run(queue.put(mail(), LARGE))
    assert [*(tmp_path / "tmp").iterdir(), *(tmp_path / "bodies").iterdir()] == []
    assert list(queue.waiting()) == []
    assert queue.count()["mails"] == 0


def test_a_body_is_written_synced_renamed_and_its_folder_synced_before_the_commit(
    queue: Queue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    write, fdatasync, fsync, rename = os.write, os.fdatasync, os.fsync, Path.rename

    def name(fd: int) -> str:
        return str(Path(f"/proc/self/fd/{fd}").readlink()).removeprefix(f"{tmp_path}/")

    def spy_write(fd: int, data: bytes) -> int:
        if not name(fd).startswith("/"):
            seen.append(f"write {name(fd)}")
        return write(fd, data[:60_000])  # a short write, as the kernel may do

    monkeypatch.setattr(os, "write", spy_write)
    monkeypatch.setattr(os, "fdatasync", lambda fd: (seen.append(f"sync {name(fd)}"), fdatasync(fd)))
    monkeypatch.setattr(os, "fsync", lambda fd: (seen.append(f"sync {name(fd)}"), fsync(fd)))
    monkeypatch.setattr(Path, "rename", lambda self, to: (seen.append(f"rename to {to.parent.name}"), rename(self, to)))
    assert queue._writer._link
    queue._writer._link.set_trace_callback(
        lambda sql: seen.append(sql.split(" ")[0]) if sql.startswith(("begin", "insert into mail", "commit")) else None
    )
    put = run(queue.put(mail(), LARGE))
    draft = f"tmp/{put.id}"
    files = [f"write {draft}", f"write {draft}", f"sync {draft}", "rename to bodies", "sync bodies"]
    assert seen == [*files, "begin", "insert", "commit"]
    assert run(queue.content(put)) == LARGE


def test_what_a_crash_left_is_removed_and_a_lost_body_waits_for_a_person(queue: Queue, tmp_path: Path) -> None:
    kept, lost = (run(queue.put(mail(), LARGE)) for _ in range(2))
    queue.close()
    (tmp_path / "bodies" / lost.id).unlink()
    (tmp_path / "bodies" / "0nobodysbody").write_bytes(LARGE)
    (tmp_path / "tmp" / "0halfwritten").write_bytes(LARGE)
    again = Queue(tmp_path, reserve=0)
    assert list(again.waiting()) == [kept]
    assert again.count()["dead"] == 1
    assert [each.name for each in (tmp_path / "bodies").iterdir()] == [kept.id]
    assert list((tmp_path / "tmp").iterdir()) == []
    again.close()


def test_a_full_disk_refuses_mail_until_there_is_room(tmp_path: Path) -> None:
    place = tmp_path / "disk"
    place.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("may not mount a tmpfs here; the same faults are injected above")
    try:
        queue = Queue(place, reserve=0, free=lambda _: 1 << 40)
        puts = []

        def fill() -> None:
            for at in range(1_000):
                puts.append(run(queue.put(mail(), (SMALL, LARGE)[at % 2])))

        with pytest.raises(QueueError, match=r"full|No space"):
            fill()
        assert list(queue.waiting()) == puts
        assert {each.name for each in (place / "bodies").iterdir()} == {
            put.id for put in puts if put.mail.size == len(LARGE)
        }
        for put in puts:
            assert run(queue.content(put)) == (SMALL if put.mail.size == len(SMALL) else LARGE)
        bodies.remove([place / "bodies" / puts[1].id])  # room for the journal
        for put in puts:
            run(queue.settle(put, [settled(put)]))
        assert run(queue.put(mail(), SMALL)).mail.size == len(SMALL)
        queue.close()
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_a_queue_that_another_process_holds_too_long_is_not_waited_for_for_ever(queue: Queue, tmp_path: Path) -> None:
    assert queue._writer._link
    queue._writer._link.execute("pragma busy_timeout = 50")
    other = sqlite3.connect(tmp_path / FILE, isolation_level=None)
    other.execute("begin immediate")
    with pytest.raises(QueueError, match="locked"):
        run(queue.put(mail(), SMALL))
    other.execute("rollback")
    other.close()
    assert run(queue.put(mail(), SMALL)).mail.size == len(SMALL)


def test_a_closed_queue_says_so(tmp_path: Path) -> None:
    queue = Queue(tmp_path, reserve=0)
    queue.close()
    with pytest.raises(QueueError, match="closed"):
        run(queue.put(mail(), SMALL))


def test_a_folder_that_cannot_be_written_is_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(QueueError, match="cannot open the queue"):
        Queue(tmp_path / "file" / "relay", reserve=0)
