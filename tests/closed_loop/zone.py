"""The world's DNS: what `dmarcview dns show` tells us to publish, the receiver's own records, and nsd for both."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import dns.message
import dns.query
import dns.rdatatype

from tests.closed_loop.namespace import HOP, MX, NAMESERVER, OURS
from tests.dkim_judges import ZONE, name_server

PORT = 53
PUBLISHED = ("SPF", "DKIM", "DMARC", "PTR", "MX")
WORLD = f"""\
mail.example.org. IN A {OURS}
mail.example.org. IN TXT "v=spf1 a -all"
example.net. IN MX 10 mx.example.net.
example.net. IN TXT "v=spf1 ip4:{MX} -all"
_dmarc.example.net. IN TXT "v=DMARC1; p=reject"
mx.example.net. IN A {MX}
mx.example.net. IN TXT "v=spf1 a -all"
{".".join(reversed(MX.split(".")))}.in-addr.arpa. IN PTR mx.example.net.
changed.example.net. IN MX 10 gw.example.net.
gw.example.net. IN A {HOP}
"""


def to_publish(shown: Iterable[dict[str, Any]], kinds: Sequence[str] = PUBLISHED) -> list[str]:
    """The lines for a zone of what `dns show --json` printed."""
    return [one["publish"] for one in shown if one["kind"] in kinds]


class Zone:
    """The zone `.` as nsd serves it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lines: dict[str, None] = {}  # in order, each once

    def add(self, lines: Iterable[str]) -> None:
        """Publish more."""
        self._lines |= dict.fromkeys(lines)

    @contextlib.contextmanager
    def served(self) -> Iterator[None]:
        """A name server for it while the block runs."""
        self._folder.mkdir()
        with name_server(self._folder, self._text(), port=PORT):
            yield

    def again(self) -> None:
        """Let the server read it anew, and wait until it shows the last record."""
        (self._folder / "root.zone").write_text(ZONE + self._text(), encoding="ascii")
        os.kill(int((self._folder / "nsd.pid").read_text()), signal.SIGHUP)
        name = list(self._lines)[-1].partition(" ")[0]
        query = dns.message.make_query(name, dns.rdatatype.TXT)
        until = time.monotonic() + 10
        while not dns.query.udp(query, NAMESERVER, timeout=2, port=PORT).answer:
            assert time.monotonic() < until, f"nsd does not show {name}"
            time.sleep(0.05)

    def _text(self) -> str:
        return WORLD + "\n".join(self._lines) + "\n"
