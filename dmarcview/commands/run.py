"""`dmarcview receive|relay|ingest|dashboard|serve|demo`: what runs until it is stopped."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from dmarcview.commands import settings
from dmarcview.config import Config
from dmarcview.exits import REFUSED, TAKEN, Misuse


def _status(args: argparse.Namespace, config: Config) -> Path:
    from dmarcview.service import run_folder

    return Path(args.status) if args.status else run_folder(config) / f"{args.command}.json"


def _begin(args: argparse.Namespace, **how: bool) -> Config:
    """The settings; from here on the log is as they say."""
    from dmarcview import logs

    logs.begin()
    config = settings(args, **how)
    logs.choose(config)
    return config


def run_receive(args: argparse.Namespace) -> int:
    """Take mail until stopped."""
    from dmarcview import service

    config = _begin(args)
    service.receive(config, _status(args, config), with_parent=args.with_parent)
    return TAKEN


def run_relay(args: argparse.Namespace) -> int:
    """Take mail for sending, and send it, until stopped."""
    from dmarcview import config as configuration
    from dmarcview import service_relay

    config = _begin(args, look=True)
    service_relay.relay(
        config,
        _status(args, config),
        read=lambda: settings(args, look=True),
        file=configuration.find(args.config),
        with_parent=args.with_parent,
    )
    return TAKEN


def run_ingest(args: argparse.Namespace) -> int:
    """Store mails until stopped; with --once 1 when something was refused."""
    from dmarcview import service
    from dmarcview.supervisor import Stop

    config = _begin(args)
    stop = Stop().install(with_parent=args.with_parent)
    refused = service.ingest(config, _status(args, config), stop, once=args.once)
    return REFUSED if args.once and refused else TAKEN


def _pages(args: argparse.Namespace, *, look: bool = False) -> Config:
    """The settings with --listen and --port laid over [dashboard]."""
    config = _begin(args, look=look)
    changes = {name: getattr(args, name) for name in ("listen", "port") if getattr(args, name) is not None}
    if "listen" in changes:
        import ipaddress

        try:
            changes["listen"] = str(ipaddress.ip_address(changes["listen"]))
        except ValueError:
            raise Misuse(f"--listen {changes['listen']}: not an IP address") from None
    return dataclasses.replace(config, dashboard=dataclasses.replace(config.dashboard, **changes))


def run_dashboard(args: argparse.Namespace) -> int:
    """Serve the pages until stopped."""
    from dmarcview import service
    from dmarcview.supervisor import Stop

    config = _pages(args)
    stop = Stop().install(with_parent=args.with_parent)
    service.dashboard(config, _status(args, config), stop, lambda line: args.with_parent or print(line, flush=True))
    return TAKEN


def run_serve(args: argparse.Namespace) -> int:
    """Receiver, relay, ingest and dashboard under one supervisor, until stopped."""
    from dmarcview import service
    from dmarcview.supervisor import Stop

    config = _pages(args, look=True)
    arguments = [
        f"--{name}={value}"
        for name in ("config", "data", "listen", "port")
        if (value := getattr(args, name)) is not None
    ]
    service.serve(config, arguments, Stop().install(with_parent=args.with_parent), _status(args, config),
                  lambda line: print(line, flush=True))  # fmt: skip
    return TAKEN


def run_demo(args: argparse.Namespace) -> int:
    """A made-up year and live mails."""
    from dmarcview.demo.run import run

    return run(port=args.port, check=args.check, keep=args.keep)
