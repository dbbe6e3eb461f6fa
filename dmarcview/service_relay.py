"""The relay as a process: started from the settings, given new ones while it runs."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dmarcview import config as configuration
from dmarcview.config import Config, ConfigError
from dmarcview.service import COUNTERS_SECONDS, end_with_parent
from dmarcview.supervisor import ServiceError, write_status

if TYPE_CHECKING:
    from dmarcview_relay.relay import Relay

log = logging.getLogger(__name__)

WATCH_SECONDS = 1.0  # between two looks whether the settings file changed
Read = Callable[[], Config]


def folder(config: Config) -> Path:
    """Where queue, keys and users of the relay lie."""
    return configuration.data_dir(config) / "relay"


def relay(config: Config, status: Path, *, read: Read, file: Path | None = None, with_parent: bool = False) -> None:
    """Take mail for sending, and send it, until SIGTERM. `status` then says `listening`, and counts what came.

    On SIGHUP, and when `file` changes, the settings are read again by `read`; with a fault the old ones stay.
    Raises ServiceError, OSError.
    """
    asyncio.run(_Running(config, status, read, file).run(with_parent))


class _Running:
    def __init__(self, config: Config, status: Path, read: Read, file: Path | None) -> None:
        self.config = config
        self.status = status
        self.read = read
        self.file = file
        self._stamp = _stamp(file)
        self._hangup = False
        self._wake = asyncio.Event()
        self._ending = False

    async def run(self, with_parent: bool) -> None:
        from dmarcview_relay.dns import SystemResolver
        from dmarcview_relay.relay import Relay, RelayError

        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end)
        loop.add_signal_handler(signal.SIGHUP, self._hang_up)
        if with_parent:
            await end_with_parent(loop, self._end)
        dns = self.config.dns
        servers = [configuration.server(one) for one in dns.servers]
        resolver = SystemResolver(servers, dns.timeout, dnssec=self.config.relay.delivery.dnssec)
        try:
            made = Relay(self.config.relay, folder(self.config), resolver)
            await made.start()
        except RelayError as error:
            raise ServiceError(f"relay: {error}") from None
        try:
            await self._serve(made)
        finally:
            self.status.unlink(missing_ok=True)
            await made.stop()
            log.info("stopped")

    async def _serve(self, made: Relay) -> None:
        """Until the end: tell how it fares, and follow the settings."""
        loop = asyncio.get_running_loop()
        told: dict[str, Any] | None = None
        told_at = -COUNTERS_SECONDS
        while not self._ending:
            if told is None or loop.time() - told_at >= COUNTERS_SECONDS:
                told_at = loop.time()
                listening = [{"host": host, "port": port} for host, port in made.listening]
                facts = {"listening": listening, "counters": dict(made.counters), "queue": await self._queue()}
                if facts != told:
                    told = facts
                    write_status(self.status, facts)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), WATCH_SECONDS)
            self._wake.clear()
            stamp = _stamp(self.file)
            if not self._ending and (self._hangup or stamp != self._stamp):
                self._hangup, self._stamp = False, stamp
                await self._reload(made)
                told = None

    async def _queue(self) -> dict[str, float] | None:
        """How much waits, is held or dead, and since when, for alerts; None when it cannot be read now."""
        from dmarcview_relay.queue_schema import QueueError
        from dmarcview_relay.queue_state import state

        try:
            return (await asyncio.to_thread(state, folder(self.config)))._asdict()
        except QueueError:
            return None

    async def _reload(self, made: Relay) -> None:
        from dmarcview_relay.relay import RelayError

        try:
            found = await asyncio.to_thread(self.read)
        except ConfigError as error:
            for line in str(error).splitlines():
                log.error("not reloaded: %s", line)
            return
        changed = changes(self.config.relay, found.relay)
        if folder(found) != folder(self.config):
            log.error("not reloaded: another data folder needs a new start")
            return
        try:
            await made.reload(found.relay)
        except (RelayError, OSError, ValueError) as error:
            log.error("not reloaded: %s", error)
            return
        self.config = found
        log.info("settings read again: %s", ", ".join(changed) or "nothing changed in [relay]")

    def _end(self) -> None:
        self._ending = True
        self._wake.set()

    def _hang_up(self) -> None:
        self._hangup = True
        self._wake.set()


def changes(old: Any, new: Any, place: str = "relay") -> list[str]:
    """The settings that differ, by name: `relay.queue.waits`."""
    found = []
    for field in dataclasses.fields(old):
        before, after = getattr(old, field.name), getattr(new, field.name)
        if dataclasses.is_dataclass(before):
            found += changes(before, after, f"{place}.{field.name}")
        elif before != after:
            found.append(f"{place}.{field.name}")
    return found


def _stamp(file: Path | None) -> tuple[int, ...] | None:
    """What tells one version of a file from the next; None when it is not there."""
    try:
        found = file.stat() if file is not None else None
    except OSError:
        return None
    return None if found is None else (found.st_mtime_ns, found.st_size, found.st_ino)
