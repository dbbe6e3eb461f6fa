"""The spool gives back exactly what was acknowledged, to one taker at a time, whatever stops in between."""

from __future__ import annotations

import asyncio
import errno
import io
import multiprocessing
import os
import subprocess
import sys
import time
from dataclasses import replace
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmarcview_reports.errors import SpoolError
from dmarcview_reports.model import Origin
from dmarcview_reports.spool import Spool

ORIGIN = Origin("", 1_700_000_000, "smtp", "192.0.2.1", "mx.test", "a@b.test", ("rua@x.test", "ü@x.test"), "TLSv1.3")


def spool_at(path: Path) -> Spool:
    return Spool(path, reserve=0)


def put(spool: Spool, *mails: bytes) -> list[str]:
    async def main() -> list[str]:
        return list(await asyncio.gather(*(spool.put(ORIGIN, mail) for mail in mails)))

    return asyncio.run(main())


def test_mails_come_out_as_they_went_in(tmp_path: Path) -> None:
    spool = spool_at(tmp_path)
    mails = [b"", b"a\r\n", bytes(range(256)) * 500, b"dmarcview-end 1 1\n", b"x" * 20_000_000]
    names = put(spool, *mails)
    assert len(set(names)) == len(mails)
    found = {}
    for batch in spool.take():
        assert not batch.damaged
        found.update({origin.name: (origin, raw) for origin, raw in batch.items})
        spool.done(batch)
    assert [found[name][1] for name in names] == mails
    assert {replace(origin, name="") for origin, _ in found.values()} == {ORIGIN}
    assert spool.waiting() == 0
    spool.close()


def test_a_mail_in_a_file_is_read_from_its_start(tmp_path: Path) -> None:
    spool = spool_at(tmp_path)
    file = io.BytesIO(b"0123456789" * 300_000)
    file.seek(77)
    asyncio.run(spool.put(ORIGIN, file, 3_000_000))
    [batch] = spool.take()
    assert batch.items[0][1] == file.getvalue()
    spool.close()


def test_a_batch_is_taken_once_until_it_is_given_back(tmp_path: Path) -> None:
    spool, other = spool_at(tmp_path), spool_at(tmp_path)
    put(spool, b"a")
    [batch] = spool.take()
    assert list(spool.take()) == []
    assert list(other.take()) == []
    spool.give_back(batch)
    [again] = other.take()
    assert again.items == batch.items
    other.done(again)
    assert list(spool.take()) == []
    spool.close()


def hold(path: Path, taken: Event) -> None:
    batches = list(Spool(path, reserve=0).take())
    assert len(batches) == 1
    taken.set()
    time.sleep(60)


def test_the_batch_of_a_killed_taker_can_be_taken_again(tmp_path: Path) -> None:
    spool = spool_at(tmp_path)
    put(spool, b"a")
    context = multiprocessing.get_context("spawn")
    taken = context.Event()
    process = context.Process(target=hold, args=(tmp_path, taken))
    process.start()
    try:
        assert taken.wait(30)
        assert list(spool.take()) == []
    finally:
        process.kill()
        process.join()
    [batch] = spool.take()
    assert batch.items[0][1] == b"a"
    spool.close()


def drain(path: Path, out: Path) -> None:
    spool = Spool(path, reserve=0)
    with out.open("ab") as file:
        idle = 0
        while idle < 20:
            idle += 1
            for batch in spool.take():
                idle = 0
                file.writelines(raw + b"\n" for _, raw in batch.items)
                spool.done(batch)
            time.sleep(0.01)


def test_several_takers_share_the_batches_and_none_is_done_twice(tmp_path: Path) -> None:
    spool = spool_at(tmp_path / "spool")
    for at in range(150):
        put(spool, b"%d" % at)
        spool.close()
        spool = spool_at(tmp_path / "spool")
    context = multiprocessing.get_context("spawn")
    outs = [tmp_path / f"out{at}" for at in range(3)]
    takers = [context.Process(target=drain, args=(tmp_path / "spool", out)) for out in outs]
    for taker in takers:
        taker.start()
    for taker in takers:
        taker.join(60)
        assert taker.exitcode == 0
    numbers = sorted(int(line) for out in outs for line in out.read_bytes().split())
    assert numbers == list(range(150))


@given(st.integers(0, 10**6), st.sampled_from(["cut", "flip", "append"]))
def test_a_batch_that_the_disk_changed_gives_its_whole_mails_and_is_kept(seed: int, how: str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        spool = spool_at(path)
        mails = [b"first " * 10, b"second " * 10, b"third " * 10]
        put(spool, *mails)
        spool.close()
        written = b""
        for file in sorted(spool.new.iterdir()):
            content = bytearray(file.read_bytes())
            at = seed % len(content)
            if how == "cut":
                del content[at:]
            elif how == "flip":
                content[at] ^= 0x40
            else:
                content += b"more"
            file.write_bytes(content)
            written += content
        for batch in spool.take():
            assert batch.damaged
            for origin, raw in batch.items:
                assert raw in mails
                assert origin.client == ORIGIN.client
            spool.done(batch)
        assert spool.waiting() == 0
        assert b"".join(file.read_bytes() for file in sorted(spool.bad.iterdir())) == written


@pytest.mark.parametrize("call", ["write", "fdatasync", "fsync"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_when_the_disk_fails_nothing_is_acknowledged_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    spool = spool_at(tmp_path)
    real = getattr(os, call)

    def fail(fd: int, *rest: object) -> object:
        if str(tmp_path) in str(Path(f"/proc/self/fd/{fd}").readlink()):
            raise OSError(number, os.strerror(number))
        return real(fd, *rest)

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(SpoolError) as caught:
        put(spool, b"x" * 1000)
    assert caught.value.errno == number
    assert list(spool.new.iterdir()) == list(spool.tmp.iterdir()) == []
    monkeypatch.undo()
    put(spool, b"after")
    [batch] = spool.take()
    assert batch.items[0][1] == b"after"
    spool.close()


def test_a_mail_is_acknowledged_after_file_name_and_folder_are_synced_in_this_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []

    def note(owner: object, call: str) -> None:
        real = getattr(owner, call)

        def noted(first: object, *rest: object) -> object:
            result = real(first, *rest)
            steps.append(call)
            return result

        monkeypatch.setattr(owner, call, noted)

    note(os, "fdatasync")
    note(Path, "rename")
    note(os, "fsync")
    spool = spool_at(tmp_path)
    put(spool, b"a")
    assert steps == ["fdatasync", "rename", "fsync"]
    spool.close()


def test_a_full_disk_is_refused_by_the_kernel_and_survived(tmp_path: Path) -> None:
    mount = tmp_path / "small"
    mount.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(mount)], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("may not mount a tmpfs here; the same faults are injected above")
    try:
        spool = spool_at(mount)
        put(spool, b"x" * 500_000)
        with pytest.raises(SpoolError) as caught:
            put(spool, b"x" * 3_000_000)
        assert caught.value.errno == errno.ENOSPC
        put(spool, b"y" * 500_000)
        assert sorted(raw[:1] for batch in spool.take() for _, raw in batch.items) == [b"x", b"y"]
        assert list(spool.tmp.iterdir()) == []
        spool.close()
    finally:
        subprocess.run(["umount", "-l", str(mount)], check=True)


def test_a_reserve_of_the_disk_is_left_free(tmp_path: Path) -> None:
    spool = Spool(tmp_path, reserve=1000, free=lambda _: 1500)
    assert spool.has_room(500)
    assert not spool.has_room(501)
    put(spool, b"x" * 400)
    with pytest.raises(SpoolError) as caught:
        put(spool, b"x" * 600)
    assert caught.value.errno == errno.ENOSPC
    spool.close()


def test_what_dead_writers_left_is_swept_and_living_ones_are_let_be(tmp_path: Path) -> None:
    spool_at(tmp_path)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    names = [f"1-{dead.pid}-0", f"2-{os.getppid()}-0", "tmpabc"]
    for name in names:
        (tmp_path / "tmp" / name).write_bytes(b"half")
    spool = spool_at(tmp_path)
    assert [path.name for path in spool.tmp.iterdir()] == [f"2-{os.getppid()}-0"]
    later = Spool(tmp_path, clock=lambda: time.time() + 7200)
    assert list(later.tmp.iterdir()) == []


def test_a_spool_that_cannot_be_used_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SpoolError, match="cannot use the spool"):
        Spool(tmp_path / "file")
    spool = spool_at(tmp_path / "spool")
    spool.close()
    put(spool, b"x")
    spool.close()
    with pytest.raises(SpoolError, match="closed"):
        put(spool, b"x")
