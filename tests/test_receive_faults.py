"""Nothing that was acknowledged is lost: full disks, kill -9 under load, a thousand idle clients."""

from __future__ import annotations

import asyncio
import errno
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import smtp_load
from smtp_talk import RUA, Talk, running

from dmarcview_reports.spool import Spool

SERVICE = """
import asyncio, os, signal, sys
from pathlib import Path
from dmarcview_reports.receive import Receiver, ReceiveSettings
from dmarcview_reports.spool import Spool
from dmarcview_smtp.settings import DoorSettings, Listener

async def main():
    limits = DoorSettings(connections=2000, connections_per_client=2000)
    settings = ReceiveSettings(
        listeners=(Listener(port=int(sys.argv[2])),), hostname="mx.test", rua=(sys.argv[3],), limits=limits
    )
    await Receiver(settings, Spool(Path(sys.argv[1]), reserve=0)).start()
    print("ready", os.getpid(), flush=True)
    await asyncio.Event().wait()

signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for _ in sys.stdin:  # a new life for each line: the fork has everything imported, so it listens at once
    if os.fork() == 0:
        asyncio.run(main())
"""


class Service:
    """A receiver as a process of its own; after each `kill` it can `start` again within milliseconds."""

    def __init__(self, spool: Path, port: int) -> None:
        command = [sys.executable, "-c", SERVICE, str(spool), str(port), RUA]
        self.parent = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        self.pid = 0

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self.parent.communicate()

    def start(self) -> None:
        """Returns when it listens."""
        assert self.parent.stdin is not None
        assert self.parent.stdout is not None
        self.parent.stdin.write(b"go\n")
        word, pid = self.parent.stdout.readline().split()
        assert word == b"ready"
        self.pid = int(pid)

    def kill(self) -> None:
        """kill -9; returns when it is gone."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            while Path(f"/proc/{self.pid}").exists():
                time.sleep(0.002)
            self.pid = 0

    def peak(self) -> int:
        """Most memory ever used, KiB."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_no_kill_loses_an_acknowledged_mail(tmp_path: Path) -> None:
    kills, seed = 60, random.randrange(10**6)
    chance, port = random.Random(seed), free_port()
    load = smtp_load.Load("127.0.0.1", port, RUA, sessions=8, body=b"x" * 78 + b"\r\n" + b"y" * 3000 + b"\r\n")
    lives: list[int] = []

    async def main() -> None:
        clients = asyncio.create_task(smtp_load.run(load))
        for _ in range(kills):
            await asyncio.to_thread(service.start)
            before = len(load.acknowledged)
            await asyncio.sleep(chance.uniform(0.0, 0.25))
            await asyncio.to_thread(service.kill)
            lives.append(len(load.acknowledged) - before)
        load.stop.set()
        await asyncio.to_thread(service.start)
        await asyncio.wait_for(clients, 30)

    with Service(tmp_path, port) as service:
        asyncio.run(main())
    spool = Spool(tmp_path, reserve=0)
    found: Counter[str] = Counter()
    for batch in spool.take():
        assert not batch.damaged
        found.update(smtp_load.number_of(raw) for _, raw in batch.items)
        assert all(raw == load.mail(smtp_load.number_of(raw)) for _, raw in batch.items)
        spool.done(batch)
    assert list(spool.tmp.iterdir()) == [], "half batches of the dead were swept"
    missing = load.acknowledged - set(found)
    assert not missing, (seed, missing)
    assert set(found) <= load.acknowledged | load.in_flight, "nothing is there that was not sent"
    twice = {number for number, times in found.items() if times > 1}
    assert twice <= load.in_flight, (seed, twice)
    assert not load.refused, load.refused[:3]
    assert sum(life > 0 for life in lives) > kills / 4, "most kills hit a receiver at work"
    assert len(load.acknowledged) > kills


def test_a_thousand_idle_clients_cost_little_and_others_are_served(tmp_path: Path) -> None:
    port = free_port()
    idle: list[socket.socket] = []
    with Service(tmp_path, port) as service:
        service.start()
        for at in range(1000):
            sock = socket.create_connection(("127.0.0.1", port), 10, (f"127.0.{at // 250}.{at % 250 + 1}", 0))
            idle.append(sock)
            assert sock.recv(200).startswith(b"220 ")
            sock.sendall(b"EHLO idle.test\r\n")
            assert sock.recv(500).startswith(b"250-")
        began = time.monotonic()
        for _ in range(20):
            with Talk(port) as talk:
                talk.hello()
                talk.envelope()
                assert talk.data(b"a: b\r\n\r\n" + b"x" * 70 + b"\r\n.\r\n").startswith("250 ")
        assert time.monotonic() - began < 10
        assert service.peak() < 150 * 1024, f"{service.peak()} KiB"
        for sock in idle:
            sock.close()


def test_a_flood_without_line_ends_costs_no_memory(tmp_path: Path) -> None:
    port = free_port()
    with Service(tmp_path, port) as service:
        service.start()
        with Talk(port) as talk:
            talk.hello()
            talk.envelope()
            assert talk.ask("DATA").startswith("354")
            block = b"x" * 1_000_000
            with pytest.raises((ConnectionError, TimeoutError)):  # noqa: PT012 (which send fails is the kernel's choice)
                for _ in range(200):
                    talk.send(block)
        assert service.peak() < 100 * 1024, f"{service.peak()} KiB"


def test_a_full_disk_is_452_and_the_mail_can_be_sent_again(tmp_path: Path) -> None:
    room = [0]
    spool = Spool(tmp_path / "spool", reserve=1000, free=lambda _: room[0])
    with running(tmp_path, spool=spool) as site, Talk(site.port) as talk:
        talk.hello()
        assert talk.ask("MAIL FROM:<a@c.test>") == "452 4.3.1 No room for mail now, try again later"
        room[0] = 1020
        assert talk.ask("MAIL FROM:<a@c.test> SIZE=21").startswith("452 4.3.1")
        talk.envelope()
        assert talk.data(b"a: b\r\n\r\n" + b"x" * 50 + b"\r\n.\r\n").startswith("452 4.3.1")
        room[0] = 10**9
        talk.envelope()
        assert talk.data(b"a: b\r\n\r\nx\r\n.\r\n").startswith("250 ")
        assert len(site.mails()) == 1
        assert site.receiver.counters["no_room"] == 3


@pytest.mark.parametrize("large", [False, True], ids=["in memory", "in a file"])
@pytest.mark.parametrize("call", ["write", "fdatasync", "fsync"])
def test_a_disk_that_fails_is_452_and_no_mail_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, large: bool
) -> None:
    real = getattr(os, call)
    broken = [True]

    def fail(fd: int, *rest: object) -> object:
        if broken and "/spool/" in str(Path(f"/proc/self/fd/{fd}").readlink()):
            raise OSError(errno.EIO, "Input/output error")
        return real(fd, *rest)

    monkeypatch.setattr(os, call, fail)
    body = b"a: b\r\n\r\n" + (b"x" * 78 + b"\r\n") * (8000 if large else 1)
    with running(tmp_path) as site, Talk(site.port) as talk:
        talk.hello()
        talk.envelope()
        assert talk.data(body + b".\r\n") == "452 4.3.1 No room for mail now, try again later"
        assert list(site.spool.new.iterdir()) == list(site.spool.tmp.iterdir()) == []
        broken.clear()
        talk.envelope()
        assert talk.data(body + b".\r\n").startswith("250 ")
        assert [raw for _, raw in site.mails()] == [body]


def test_a_temporary_file_that_cannot_be_written_is_452(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tempfile

    def fail(**_: object) -> object:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", fail)
    with running(tmp_path) as site, Talk(site.port) as talk:
        talk.hello()
        talk.envelope()
        assert talk.data(b"a: b\r\n\r\n" + (b"x" * 78 + b"\r\n") * 8000 + b".\r\n").startswith("452 4.3.1")
        talk.envelope()
        assert talk.data(b"a: b\r\n\r\nsmall\r\n.\r\n").startswith("250 ")
