"""Composition: from settings to a receiver, an ingest, a dashboard, and to all of them under one supervisor."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dmarcview import config as configuration
from dmarcview.config import Config
from dmarcview.supervisor import Child, ServiceError, Stop, Supervisor, write_status

if TYPE_CHECKING:
    from dmarcview_reports.ingest import IngestSettings, Judge
    from dmarcview_reports.receive import ReceiveSettings
    from dmarcview_reports.spool import Spool

log = logging.getLogger(__name__)

MEGA = 1_000_000
COUNTERS_SECONDS = 5.0  # how old the counters in the receiver's status file may be
STOP_SECONDS = 5.0  # longest wait for pages under way
JUDGE_WAIT = 2.0  # seconds that a batch waits for verdicts; 250 to visible must stay below 5


def run_folder(config: Config) -> Path:
    """Where running processes say that they are up."""
    return configuration.data_dir(config) / "run"


def spool(config: Config) -> Spool:
    """The spool of the data folder. Raises SpoolError."""
    from dmarcview_reports.spool import Spool

    return Spool(configuration.data_dir(config) / "spool", reserve=config.receive.reserve_mb * MEGA)


def receive_settings(config: Config) -> ReceiveSettings:
    """The wing's settings from ours. Raises ServiceError when they cannot work."""
    from dmarcview_reports.receive import ReceiveSettings

    ours = config.receive
    found = ReceiveSettings(
        listeners=ours.listeners,
        hostname=ours.hostname,
        rua=ours.rua,
        ruf=ours.ruf,
        tlsrpt=ours.tlsrpt,
        subaddress=ours.subaddress,
        certificate=ours.certificate,
        key=ours.key,
        reserve_bytes=ours.reserve_mb * MEGA,
        limits=dataclasses.replace(ours.door, message_bytes=config.limits.mail_bytes),
    )
    if faults := found.faults():
        raise ServiceError("\n".join(f"[receive] {fault}" for fault in faults))
    return found


def ingest_settings(config: Config) -> IngestSettings:
    """The wing's settings from ours."""
    from dmarcview_reports.ingest import IngestSettings

    return IngestSettings(
        batch_mails=config.ingest.batch_mails,
        tries=config.ingest.tries,
        judge_workers=config.trust.workers,
        judge_wait=min(JUDGE_WAIT, config.trust.seconds),
        poll_seconds=config.ingest.poll_seconds,
        also_speaks_for=config.trust.also_speaks_for,
    )


def judge(config: Config) -> Judge | None:
    """How a report mail is verified; None when it is not."""
    if not config.trust.check:
        return None
    from dmarcview.dns import resolver
    from dmarcview_reports.model import Origin, Verdict
    from dmarcview_reports.trust import verify

    ask = resolver(config)

    def verdict(raw: bytes, origin: Origin) -> Verdict:
        return verify(raw, origin, ask, seconds=config.trust.seconds)

    return verdict


def receive(config: Config, status: Path, *, with_parent: bool = False) -> None:
    """Take mail until SIGTERM. `status` then says `listening`, and counts what came. Raises ServiceError, OSError."""
    settings = receive_settings(config)
    asyncio.run(_receive(config, settings, status, with_parent))


async def _receive(config: Config, settings: ReceiveSettings, status: Path, with_parent: bool) -> None:
    from dmarcview_reports.receive import Receiver

    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    loop.add_signal_handler(signal.SIGHUP, lambda: None)
    if with_parent:
        await end_with_parent(loop, ended.set)
    box = spool(config)
    receiver = Receiver(settings, box)
    await receiver.start()
    listening = [{"host": host, "port": port} for host, port in receiver.listening]
    try:
        counted = None
        while not ended.is_set():
            counters = dict(receiver.counters)
            if counters != counted:
                counted = counters
                write_status(status, {"listening": listening, "counters": counters})
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), COUNTERS_SECONDS)
    finally:
        status.unlink(missing_ok=True)  # noqa: ASYNC240 - one unlink
        await receiver.stop()
        await asyncio.to_thread(box.close)
        log.info("stopped; %d mails taken", receiver.counters["accepted"])


async def end_with_parent(loop: asyncio.AbstractEventLoop, end: Callable[[], None]) -> None:
    """Call `end` when standard input ends."""

    class Watch(asyncio.Protocol):
        def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (asyncio's name)
            end()

    await loop.connect_read_pipe(Watch, sys.stdin)


def ingest(config: Config, status: Path, stop: Stop, *, once: bool = False) -> int:
    """Move mails from the spool to the store until the stop; with `once`, until the spool is empty.

    Returns the number of refused inputs. Raises StoreError when the store cannot be opened.
    """
    from dmarcview.alerts.run import Alerts
    from dmarcview.shipping import Shipping
    from dmarcview.upkeep import Upkeep, classify, open_store
    from dmarcview_reports.ingest import Ingest

    verdict = judge(config)
    store = open_store(config)
    upkeep = None if once else Upkeep(config, verdict)
    alerts = Alerts(config, open_store(config)) if config.alerts.check and not once else None
    shipping = Shipping(configuration.data_dir(config) / "relay", store.ledger)
    worker = Ingest(
        spool(config),
        store,
        configuration.data_dir(config) / "spool" / "marks",
        judge=verdict,
        settings=ingest_settings(config),
        limits=config.limits,
    )
    try:
        if upkeep is None:
            worker.step()
            shipping.step()
            classify(store, config, int(store.clock()))
        else:
            upkeep.start()
            shipping.start()
            if alerts is not None:
                alerts.start()
            write_status(status, {})
            worker.run(stop)
    finally:
        status.unlink(missing_ok=True)
        worker.close()
        shipping.stop()
        if alerts is not None:
            alerts.stop()
        if upkeep is not None:
            upkeep.stop()
        store.close()
    log.info("stopped; %d mails stored, %d new reports", worker.counts.mails, worker.counts.reports)
    return worker.counts.refused


def dashboard(config: Config, status: Path, stop: Stop, announce: Callable[[str], object]) -> None:
    """Serve the pages until the stop. `status` then says the `url`. Raises StoreError, OSError."""
    from dmarcview.dashboard.app import create_app
    from dmarcview.dashboard.serve import Server

    pages = config.dashboard
    server = Server(create_app(config), pages.listen, pages.port, pages.threads, alone=True)
    thread = threading.Thread(target=server.run, name="pages", daemon=True)
    thread.start()
    try:
        write_status(status, {"url": server.url})
        announce(f"pages: {server.url}")
        while not stop(60.0):
            pass
    finally:
        status.unlink(missing_ok=True)
        server.stop()
        thread.join(STOP_SECONDS)


def serve(config: Config, arguments: Sequence[str], stop: Stop, status: Path, announce: Callable[[str], None]) -> None:
    """Run receiver, relay, ingest and dashboard as processes until the stop; the relay when somebody may send.

    `arguments` are the options that every child gets (--config, --data, --port). Raises ServiceError when one of them
    does not come up.
    """
    from dmarcview.upkeep import open_store

    receive_settings(config)
    open_store(config).close()  # made or migrated once, before three processes meet in it
    run = run_folder(config)
    shared = [one for one in arguments if not one.startswith(("--port=", "--listen="))]
    children = [
        Child("receive", ["receive", *shared], run / "receive.json"),
        Child("ingest", ["ingest", *shared], run / "ingest.json"),
        Child("dashboard", ["dashboard", *arguments], run / "dashboard.json"),
    ]

    def with_relay(found: Config) -> None:
        if found.relay.senders and "relay" not in (child.name for child in children):
            children.insert(1, Child("relay", ["relay", *shared], run / "relay.json", reloads=True))

    def usable() -> bool:
        found = _usable(arguments)
        if found is not None:
            with_relay(found)
        return found is not None

    with_relay(config)
    supervisor = Supervisor(children, stop, check=usable)
    try:
        found = supervisor.start()
        if not stop.ending:
            write_status(status, found)
            _announce(found, announce)
        supervisor.watch()
    finally:
        status.unlink(missing_ok=True)
        supervisor.end()


def _announce(found: dict[str, dict[str, Any]], announce: Callable[[str], None]) -> None:
    for name, words in (("receive", "mail"), ("relay", "mail to be sent")):
        for one in found.get(name, {}).get("listening", ()):
            announce(f"{words}: {one['host']}" + (f" port {one['port']}" if one["port"] else ""))
    announce(f"pages: {found['dashboard']['url']}")


def _usable(arguments: Sequence[str]) -> Config | None:
    """The settings as they are now; None when they have a fault, which is logged, and the old ones stay."""
    path = next((a.partition("=")[2] for a in arguments if a.startswith("--config=")), None)
    try:
        return configuration.load(path, look=True)
    except configuration.ConfigError as error:
        for line in str(error).splitlines():
            log.error("not reloaded: %s", line)
        return None
