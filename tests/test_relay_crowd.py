"""A crowd of idle clients costs the relay little, and others are served beside it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from smtp_talk import Talk
from test_relay_kill import free_port, with_key

SERVICE = """
import asyncio, sys
from pathlib import Path
from dmarcview_relay.relay import Relay
from dmarcview_relay.settings import ClientLimits, Keys, RelayListener, RelaySettings, Route, Schedule

async def main():
    relay = Relay(RelaySettings(
        listeners=(RelayListener(port=int(sys.argv[2])),), hostname="relay.load.test", senders=("@load.test",),
        recipients=("@far.test",), keys=Keys(check="off"), queue=Schedule(reserve_bytes=0),
        routes=(Route(to="smtp://127.0.0.1:1", tls="none"),),
        limits=ClientLimits(connections=2000, connections_per_client=2000, greeting_wait=0),
    ), Path(sys.argv[1]))
    await relay.start()
    print("ready", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""
MAIL = b"From: a@load.test\r\nSubject: hello\r\n\r\nhello\r\n.\r\n"
MOST_KIB = 150 * 1024


def peak(pid: int) -> int:
    """Most memory ever used, KiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def test_a_thousand_idle_clients_cost_little_and_others_are_served(tmp_path: Path) -> None:
    port, idle = free_port(), []
    command = [sys.executable, "-c", SERVICE, str(with_key(tmp_path)), str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as service:
        try:
            assert service.stdout is not None
            assert service.stdout.readline() == b"ready\n"
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
                    assert talk.ask("MAIL FROM:<a@load.test>").startswith("250 ")
                    assert talk.ask("RCPT TO:<x@far.test>").startswith("250 ")
                    assert talk.ask("DATA").startswith("354 ")
                    talk.send(MAIL)
                    assert talk.reply().startswith("250 2.0.0 Queued")
            took, most = time.monotonic() - began, peak(service.pid)
        finally:
            for sock in idle:
                sock.close()
            os.kill(service.pid, signal.SIGKILL)
    print(f"1,000 idle clients: {most / 1024:.0f} MiB, 20 mails of others in {took:.2f} s")
    assert took < 20
    assert most < MOST_KIB
