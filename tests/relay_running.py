"""A whole relay in a thread of its own: door, rules, signer, queue and delivery are real. It notes what it signs."""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

from dmarcview_relay.dns import Resolver
from dmarcview_relay.relay import Relay
from dmarcview_relay.settings import RelaySettings
from dmarcview_relay.sign import Signed, Signer

MESSAGE_ID = re.compile(rb"^Message-ID:\s*<([^>]*)>\r?$", re.MULTILINE | re.IGNORECASE)


def message_id(mail: bytes) -> str:
    """The first in a mail, without its brackets."""
    found = MESSAGE_ID.search(mail)
    assert found, mail[:500]
    return found[1].decode()


@dataclass
class RunningRelay:
    """A relay that runs. `signed` holds each mail as the signer gave it, by Message-ID."""

    relay: Relay
    loop: asyncio.AbstractEventLoop
    signed: dict[str, bytes] = field(default_factory=dict)

    def port(self, number: int = 0) -> int:
        """The port of a listener, in the order of the settings."""
        return self.relay.listening[number][1]


@contextlib.contextmanager
def running_relay(settings: RelaySettings, folder: Path, resolver: Resolver) -> Iterator[RunningRelay]:
    """Start it, stop it at the end. No task of it may be left, nor may one have ended by an exception."""
    loop = asyncio.new_event_loop()
    faults: list[dict[str, object]] = []
    loop.set_exception_handler(lambda _loop, context: faults.append(context))
    thread = threading.Thread(target=loop.run_forever, name="relay")
    thread.start()
    running = RunningRelay(Relay(settings, folder, resolver), loop)
    sign = Signer.sign

    def noted(self: Signer, content: bytes, from_domain: str) -> Signed:
        made = sign(self, content, from_domain)
        running.signed[message_id(made.content)] = made.content
        return made

    try:
        with mock.patch.object(Signer, "sign", noted):
            asyncio.run_coroutine_threadsafe(running.relay.start(), loop).result(30)
            try:
                yield running
            finally:
                asyncio.run_coroutine_threadsafe(running.relay.stop(), loop).result(60)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.run_until_complete(loop.shutdown_default_executor())
        left = [task for task in asyncio.all_tasks(loop) if not task.done()]
        loop.close()
    assert not faults, faults
    assert not left, left
