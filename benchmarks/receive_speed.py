"""Report mails accepted a second, durable before 250: our receiver against a bare aiosmtpd with a group commit.

    python benchmarks/receive_speed.py [--mails 3000] [--sessions 10] [--size 5120] [--rounds 5]

Both servers run as processes of their own, in turn, with the same client in the same run: Postfix's smtp-source when
it is installed, else a client of this file. The bare server keeps no limits, checks nothing, and appends to one file.
Prints the best and the median of the rounds, the CPU time of each server, and the ratio of the medians.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

RECIPIENT = "rua@bench.test"


class BareGroup:
    """One journal, one writer thread at a time, one fdatasync for all that wait."""

    def __init__(self, folder: Path) -> None:
        self.fd = os.open(folder / "journal", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        self.pool = ThreadPoolExecutor(1)
        self.waiting: list[tuple[bytes, asyncio.Future[None]]] = []
        self.busy: asyncio.Task[None] | None = None

    def commit(self, mails: list[bytes]) -> None:
        os.write(self.fd, b"".join(mails))
        os.fdatasync(self.fd)

    async def pump(self) -> None:
        while self.waiting:
            batch, self.waiting = self.waiting, []
            await asyncio.get_running_loop().run_in_executor(self.pool, self.commit, [mail for mail, _ in batch])
            for _, future in batch:
                if not future.done():
                    future.set_result(None)
        self.busy = None

    async def add(self, mail: bytes) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.append((mail, future))
        if self.busy is None:
            self.busy = asyncio.create_task(self.pump())
        await future


async def serve_bare(port: int, folder: Path) -> None:
    from aiosmtpd.smtp import SMTP

    group = BareGroup(folder)

    class Handler:
        async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 (its name)
            await group.add(envelope.content)
            return "250 2.0.0 ok"

    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(Handler(), hostname="bench.test", loop=loop), "127.0.0.1", port)
    await server.serve_forever()


async def serve_ours(port: int, folder: Path) -> None:
    from dmarcview_reports.receive import Receiver, ReceiveSettings
    from dmarcview_reports.spool import Spool
    from dmarcview_smtp.settings import Listener

    settings = ReceiveSettings(listeners=(Listener(port=port),), hostname="bench.test", rua=(RECIPIENT,))
    await Receiver(settings, Spool(folder)).start()
    await asyncio.Event().wait()


SERVERS = {"bare aiosmtpd": serve_bare, "dmarcview": serve_ours}


async def send(port: int, sessions: int, mails: int, size: int) -> None:
    """The client of this file: what smtp-source -d does."""
    body = b"Subject: bench\r\n\r\n" + (b"x" * 78 + b"\r\n") * (size // 80) + b".\r\n"

    async def session(count: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)

        async def say(command: bytes) -> None:
            writer.write(command)
            while (await reader.readuntil(b"\n"))[3:4] == b"-":
                pass

        await say(b"")
        await say(b"EHLO bench.test\r\n")
        for _ in range(count):
            for command in (b"MAIL FROM:<a@bench.test>\r\n", f"RCPT TO:<{RECIPIENT}>\r\n".encode(), b"DATA\r\n", body):
                await say(command)
        await say(b"QUIT\r\n")
        writer.close()

    await asyncio.gather(*(session(mails // sessions) for _ in range(sessions)))


def client(port: int, args: argparse.Namespace) -> None:
    source = shutil.which("smtp-source") or shutil.which("smtp-source", path="/usr/sbin")
    if source is None:
        asyncio.run(send(port, args.sessions, args.mails, args.size))
        return
    reuse = ["-d"] if args.reuse else []
    counts = ["-s", str(args.sessions), "-m", str(args.mails), "-l", str(args.size)]
    command = [source, *reuse, *counts, "-f", "a@bench.test", "-t", RECIPIENT, f"127.0.0.1:{port}"]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def one_round(name: str, args: argparse.Namespace) -> tuple[float, float]:
    """Mails a second, and the server's CPU milliseconds a mail."""
    with tempfile.TemporaryDirectory(dir=args.dir) as folder, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        server = subprocess.Popen([sys.executable, __file__, "--serve", name, "--port", str(port), "--dir", folder])
        try:
            for _ in range(500):
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except ConnectionRefusedError:
                    time.sleep(0.02)
            before, began = _cpu_seconds(server.pid), time.perf_counter()
            client(port, args)
            passed = time.perf_counter() - began
            return args.mails / passed, (_cpu_seconds(server.pid) - before) * 1000 / args.mails
        finally:
            server.send_signal(signal.SIGKILL)
            server.wait()


def _cpu_seconds(pid: int) -> float:
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def main(arguments: list[str] | None = None) -> int:
    """Print both servers' rates and the ratio of the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mails", type=int, default=3000)
    parser.add_argument("--sessions", type=int, default=10)
    parser.add_argument("--size", type=int, default=5120)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--one-each", dest="reuse", action="store_false", help="one mail per connection")
    parser.add_argument("--dir", type=Path, default=None, help="folder on the disk to be measured")
    parser.add_argument("--serve", choices=SERVERS, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.serve:
        warnings.simplefilter("ignore")
        asyncio.run(SERVERS[args.serve](args.port, args.dir))
        return 0
    results: dict[str, list[tuple[float, float]]] = {name: [] for name in SERVERS}
    for _ in range(args.rounds):
        for name in SERVERS:
            results[name].append(one_round(name, args))
    medians = {}
    for name, rounds in results.items():
        rates = [rate for rate, _ in rounds]
        medians[name] = statistics.median(rates)
        cpu = statistics.median(cpu for _, cpu in rounds)
        print(f"{name:14} median {medians[name]:7.0f} mails/s   best {max(rates):7.0f}   CPU {cpu:.3f} ms a mail")
    print(f"ratio {medians['dmarcview'] / medians['bare aiosmtpd']:.2f} (wanted: 0.7 or more)")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
