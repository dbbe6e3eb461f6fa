"""Mails a second through a signing relay, end to end: ours against Postfix with OpenDKIM over a unix socket.

    python -m benchmarks.relay_speed [--mails 3000] [--sessions 1 10 50] [--size 5120] [--rounds 3] [--profile FILE]

Both take mail from Postfix's smtp-source, make it durable, sign it with the same RSA-2048 key, and send it to one sink
that answers at once (benchmarks/sink.py). They run in turn in the same run. Before the clock starts, a signature of
each is verified. Printed: best and median of the rounds, end to end and until the last 250, and the ratio of medians.
"""

from __future__ import annotations

import argparse
import mmap
import os
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from .relay_peer import PostfixWithOpenDkim, missing

STALLED_SECONDS = 60.0
CONFIG = """\
[relay]
hostname = "relay.bench.test"
senders = ["@bench.test"]
recipients = ["@sink.test"]
listeners = [{{ port = {port} }}]
[relay.keys]
check = "off"
[relay.queue]
reserve_bytes = 0
[[relay.routes]]
to = "smtp://127.0.0.1:{sink}"
tls = "none"
connections = 20
[relay.limits]
connections_per_client = 200
"""


class Ours:
    """`dmarcview relay` as a process of its own."""

    def __init__(self, folder: Path, key: Path, port: int, sink: int, profile: str = "") -> None:
        folder.mkdir()
        (folder / "config.toml").write_text(CONFIG.format(port=port, sink=sink))
        place = [f"--config={folder / 'config.toml'}", f"--data={folder}"]
        command = [sys.executable, "-m", "dmarcview"]
        make = [*command, "key", "import", str(key), "bench.test", "--selector", "sel", *place]
        subprocess.run(make, check=True, stdout=subprocess.DEVNULL)
        if profile:
            command = [sys.executable, "-m", "cProfile", "-o", profile, "-m", "dmarcview"]
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen([*command, "relay", *place], stdin=subprocess.DEVNULL, stderr=log)

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(30)

    def pids(self) -> list[int]:
        """Its process id, for the CPU time."""
        return [self._process.pid]


class Counter:
    """The sink, and how many mails it has."""

    def __init__(self, folder: Path, port: int) -> None:
        path = folder / "count"
        path.write_bytes(bytes(8))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 8)
        command = [sys.executable, str(Path(__file__).with_name("sink.py")), str(port), str(path)]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        _listening(port)

    @property
    def count(self) -> int:
        return int(struct.unpack("q", self._map[:8])[0])

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


def one_round(port: int, sink: Counter, args: argparse.Namespace, sessions: int) -> tuple[float, float]:
    """Mails a second until the sink has the last, and until the last 250."""
    wanted = sink.count + args.mails
    began = time.perf_counter()
    counts = ["-s", str(sessions), "-m", str(args.mails), "-l", str(args.size)]
    subprocess.run(
        ["smtp-source", "-d", *counts, "-f", "a@bench.test", "-t", "b@sink.test", f"127.0.0.1:{port}"],
        check=True,
        stdin=subprocess.DEVNULL,
    )
    accepted = time.perf_counter()
    seen, at = sink.count, accepted
    while sink.count < wanted:
        if sink.count != seen:
            seen, at = sink.count, time.perf_counter()
        if time.perf_counter() - at > STALLED_SECONDS:
            raise TimeoutError(f"stalled at {args.mails - wanted + seen} of {args.mails}")
        time.sleep(0.005)
    return args.mails / (time.perf_counter() - began), args.mails / (accepted - began)


def main(argv: list[str] | None = None) -> int:
    """Print the table; 1 when a ratio is under its aim, 0 when the peers are missing here."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mails", type=int, default=3_000)
    parser.add_argument("--sessions", type=int, nargs="+", default=[1, 10, 50])
    parser.add_argument("--size", type=int, default=5_120)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=("ours", "postfix"))
    parser.add_argument("--profile", default="", help="write a cProfile of our relay here")
    args = parser.parse_args(argv)
    if faults := missing():
        print(f"   not measured: {'; '.join(faults)}")
        return 0
    worst = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        key = folder / "sel.pem"
        subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, stderr=subprocess.DEVNULL)
        ports = [_free() for _ in range(3)]
        sink = Counter(folder, ports[2])
        makers: dict[str, Callable[[], Ours | PostfixWithOpenDkim]] = {
            "Postfix + OpenDKIM": lambda: PostfixWithOpenDkim(folder / "postfix", key, ports[0], ports[2]),
            "dmarcview relay": lambda: Ours(folder / "ours", key, ports[1], ports[2], args.profile),
        }
        if args.only:
            del makers["dmarcview relay" if args.only == "postfix" else "Postfix + OpenDKIM"]
        relays: dict[str, Ours | PostfixWithOpenDkim] = {}
        places = dict(zip(("Postfix + OpenDKIM", "dmarcview relay"), ports[:2], strict=True))
        try:
            for each, make in makers.items():
                relays[each] = make()
                _listening(places[each])
            for sessions in args.sessions:
                rates: dict[str, list[tuple[float, float]]] = {each: [] for each in relays}
                for _ in range(args.rounds):
                    for each in relays:
                        rates[each].append(one_round(places[each], sink, args, sessions))
                worst = max(worst, _print(sessions, rates))
        finally:
            for relay in relays.values():
                relay.stop()
            sink.stop()
    return worst


def _print(sessions: int, rates: dict[str, list[tuple[float, float]]]) -> int:
    medians = {}
    for name, found in rates.items():
        through, taken = ([pair[n] for pair in found] for n in (0, 1))
        medians[name] = statistics.median(through)
        print(
            f"   {sessions:3} sessions  {name:20} end to end {medians[name]:6.0f}/s (best {max(through):.0f})"
            f"   accepted {statistics.median(taken):6.0f}/s",
            flush=True,
        )
    if len(medians) < 2:
        return 0
    peer, ours = medians.values()
    aim = 1.0 if sessions == 1 else 1.5
    verdict = "" if ours / peer >= aim else f"  UNDER the aim of {aim} x"
    print(f"   {sessions:3} sessions  ratio {ours / peer:.2f} x{verdict}", flush=True)
    return int(bool(verdict))


def _free() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _listening(port: int, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionRefusedError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


if __name__ == "__main__":
    os.environ["PATH"] += os.pathsep + "/usr/sbin"
    raise SystemExit(main())
