"""What it costs to hand a mail to the next host, in CPU time of the sending process, one session, many mails.

`python benchmarks/client_speed.py [PYTHON]` measures aiosmtplib in turn when PYTHON is an interpreter that has it.
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from dmarcview_relay.deliver import Courier
from dmarcview_relay.dns import Answer
from dmarcview_relay.envelope import Mail, Recipient
from dmarcview_relay.routes import hop
from dmarcview_relay.settings import RelaySettings, Route
from dmarcview_smtp.address import Address

HEAD = b"From: a@example.org\r\nTo: b@example.net\r\nSubject: A mail\r\n\r\n"
LINE = b"A line of text that is about as long as the lines of a mail are.\r\n"
# name, lines of the body, mails of one batch
CASES = (("5 KB", 75, 500), ("100 KB", 1_550, 100), ("1 MB", 15_900, 20))
BATCHES = 5
WANTED = 0.35  # ms, 5 KB

PEER = """
import asyncio, sys, time
from aiosmtplib import SMTP

async def main(port, lines, mails, batches):
    content = {head!r} + {line!r} * lines
    client = SMTP(hostname="127.0.0.1", port=port, start_tls=False, use_tls=False)
    await client.connect()
    best = 1e9
    for _ in range(batches):
        start = time.process_time()
        for _ in range(mails):
            await client.sendmail("a@example.org", ["b@example.net"], content)
        best = min(best, (time.process_time() - start) / mails)
    await client.quit()
    print(best * 1e3)

asyncio.run(main(*map(int, sys.argv[1:])))
"""


class _NoDns:
    """A route by address asks nothing."""

    async def ask(self, kind: str, name: str) -> Answer:
        raise AssertionError((kind, name))


async def ours(port: int, lines: int, mails: int) -> float:
    """Milliseconds of CPU a mail, the best of some batches."""
    content = HEAD + LINE * lines
    settings = RelaySettings(routes=(Route(to=f"smtp://127.0.0.1:{port}"),))
    session = await Courier(settings, "bench.test", _NoDns()).connect(hop("example.net", settings))
    mail = Mail(Address("a", "example.org"), (), 0.0, len(content))
    recipients = [Recipient(Address("b", "example.net"))]
    best = float("inf")
    for _ in range(BATCHES):
        start = time.process_time()
        for _ in range(mails):
            [reply] = await session.send(mail, recipients, content)
            assert reply.taken, reply
        best = min(best, (time.process_time() - start) / mails)
    await session.close()
    return best * 1e3


def theirs(python: str, port: int, lines: int, mails: int) -> float:
    """The same by aiosmtplib."""
    program = PEER.format(head=HEAD, line=LINE)
    numbers = [str(number) for number in (port, lines, mails, BATCHES)]
    return float(subprocess.run([python, "-c", program, *numbers], check=True, capture_output=True, text=True).stdout)


def main(arguments: list[str]) -> int:
    """Print each case; 1 when a small mail costs more than is wanted."""
    slow = False
    sink = Path(__file__).parent / "sink.py"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        counter = Path(folder) / "counter"
        counter.write_bytes(bytes(4096))
        server = subprocess.Popen([sys.executable, sink, str(port), counter])
        try:
            while not _listens(port):
                time.sleep(0.05)
            for name, lines, mails in CASES:
                cost = asyncio.run(ours(port, lines, mails))
                line = f"hand on, {name:7} {cost:7.3f} ms"
                if name == "5 KB":
                    slow = cost > WANTED
                    line += f" (wanted {WANTED}){'  TOO SLOW' if slow else ''}"
                if arguments:
                    peer = theirs(arguments[0], port, lines, mails)
                    line += f"   aiosmtplib {peer:7.3f} ms   {peer / cost:5.1f} x"
                print(line, flush=True)
        finally:
            server.terminate()
            server.wait()
    return int(slow)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
