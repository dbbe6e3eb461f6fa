"""Is all well? Each check looks at one thing and says, when it is not well, what to do."""

from __future__ import annotations

import time
from collections.abc import Iterator

from dmarcview import config as configuration
from dmarcview.config import Config
from dmarcview.dns import resolver, texts
from dmarcview.doctor import machine, relay, reports
from dmarcview.doctor.finding import FAIL, OK, WARN, Clock, Finding
from dmarcview_reports.trust_dns import DnsFailure, Resolver

__all__ = ["FAIL", "OK", "WARN", "Finding", "examine"]


def examine(
    config: Config, *, network: bool = True, ask: Resolver | None = None, clock: Clock = time.time
) -> Iterator[Finding]:
    """Run every check in turn; a check never raises. Without `network` nobody outside is asked."""
    folder = configuration.data_dir(config)
    yield from machine.clock_is_set(clock)
    yield from machine.folder_is_quick(folder)
    yield from machine.space(folder, config.receive.reserve_mb * 1_000_000)
    yield from reports.ledger(config, folder)
    yield from reports.spool(folder, clock)
    yield from _ports(config)
    receive = config.receive
    yield from machine.certificate("receive", (receive.certificate, receive.key), receive.listeners, clock)
    yield from reports.geo(config, clock)
    yield from reports.own_addresses(config)
    sends = relay.is_used(config)
    if sends:
        yield from relay.local(config, clock)
    if not network:
        return
    try:
        ask = ask or resolver(config)
        texts("_dmarc.example.org", ask)
    except DnsFailure as error:
        yield Finding(FAIL, "resolver", str(error), "Check the network, or set [dns] servers.")
        return
    yield Finding(OK, "resolver", "answers")
    yield from reports.records(config, ask)
    if sends:
        yield from relay.records(config, ask)


def _ports(config: Config) -> Iterator[Finding]:
    runs = machine.running(configuration.data_dir(config), "receive", "dashboard", "serve")
    for one in config.receive.listeners:
        if not one.path:
            yield machine.port(one.host, one.port, f"[[receive.listeners]] {one.protocol}", in_use=runs)
    yield machine.port(config.dashboard.listen, config.dashboard.port, "[dashboard]", in_use=runs)
