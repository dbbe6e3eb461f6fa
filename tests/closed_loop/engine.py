"""What an engine is to the loop: milters that judge mail, and a program that mails the reports of what they saw."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

PATIENCE = 30.0
SENDER = "dmarc@example.net"
ORGANISATION = "Example Net"


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine that runs."""

    milters: str  # as Postfix names them
    judged: Callable[[], int]  # mails that its next reports will tell of
    report: Callable[[int], str]  # make the reports and mail them by this port of loopback; what its program said


def listens(port: int, host: str = "127.0.0.1") -> bool:
    """Does anybody listen there?"""
    try:
        socket.create_connection((host, port), 1).close()
    except OSError:
        return False
    return True


def wait(until: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
    """Wait for something that comes by itself."""
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.05)
