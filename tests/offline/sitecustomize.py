"""Loaded by Python at its start where this folder is on the path: no connection and no look-up leaves this machine."""

from __future__ import annotations

import sys
from typing import Any

HERE = ("127.", "::1", "localhost")


def _guard(event: str, args: tuple[Any, ...]) -> None:
    if event in ("socket.connect", "socket.sendto"):
        address = args[1]
        outside = isinstance(address, tuple) and not str(address[0]).startswith(HERE)
    elif event == "socket.getaddrinfo":
        outside = bool(args[0]) and not str(args[0]).startswith(HERE)
    else:
        return
    if outside:
        raise OSError(f"offline: {event} {args[1] if event != 'socket.getaddrinfo' else args[0]}")


sys.addaudithook(_guard)
