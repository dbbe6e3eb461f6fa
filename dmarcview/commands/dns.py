"""`dmarcview dns`: what a sending domain must publish, whether it does, and what it published when."""

from __future__ import annotations

import argparse
import os
import sys
import textwrap
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from dmarcview.commands import settings
from dmarcview.exits import REFUSED, TAKEN, Misuse
from dmarcview.terminal import is_tty, print_json, safe, width

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dmarcview.config import Config
    from dmarcview.dns.sending import Check
    from dmarcview.store.records_seen import Seen
    from dmarcview_reports.trust_dns import Resolver

_COLOURS = {"ok": "\x1b[32m", "note": "\x1b[36m", "warn": "\x1b[33m", "fail": "\x1b[31m"}
_MARGIN = " " * 16
_READABLE = 110  # columns after which lines are hard to follow


def run(args: argparse.Namespace, ask: Resolver | None = None) -> int:
    """Print what to publish, or every finding with what to publish; check gives 1 when something is wrong."""
    from dmarcview.dns import resolver
    from dmarcview.dns.sender import own_addresses, sender_of
    from dmarcview.dns.sending import FAIL, check, wanted
    from dmarcview_relay.keyfile import KeyFault
    from dmarcview_reports.trust_dns import DnsFailure

    config = settings(args)
    if args.action == "history":
        return _history(args, config)
    try:
        sender = sender_of(config, args.domain, args.source or ())
        if args.action == "show":
            return _show(args, list(wanted(sender)))
        ask = ask or resolver(config)
        if not sender.sources:
            sender = sender._replace(sources=own_addresses(sender.hostname, ask))
        checks = list(check(sender, ask))
    except KeyFault as fault:
        raise Misuse(str(fault)) from None
    except ValueError as error:
        raise Misuse(f"--source: {error}") from None
    except DnsFailure as failure:
        raise OSError(str(failure)) from None
    if args.json:
        print_json([one._asdict() for one in checks])
    else:
        _print(checks)
    return REFUSED if any(one.state == FAIL for one in checks) else TAKEN


def _history(args: argparse.Namespace, config: Config) -> int:
    """Every record that the looks of alerts have found, as long as it stood, oldest first."""
    from dmarcview.commands import open_store
    from dmarcview.store import records_seen
    from dmarcview_relay.keyfile import KeyFault
    from dmarcview_relay.keys import checked_domain

    try:
        domain = checked_domain(args.domain)
    except KeyFault as fault:
        raise Misuse(str(fault)) from None
    with open_store(config, read_only=True) as store:
        found = records_seen.history(store.ledger, [domain])
    if args.json:
        print_json(
            [one._asdict() | {"first": _moment(one.first), "last": _moment(one.last), "lasts": one.lasts}
             for one in found]
        )  # fmt: skip
    elif found:
        _print_history(found)
    else:
        hours = config.alerts.dns_hours
        when = f"every {hours:g} hours while `dmarcview serve` runs" if hours else "never: set [alerts] dns_hours"
        print(f"Nothing is known of {domain} yet. Its records are looked at {when}.")
    return TAKEN


def _print_history(found: Sequence[Seen]) -> None:
    """Record by record: from the first look that found it so until the last one, UTC, and its text."""
    room = min(width(), _READABLE) if is_tty(sys.stdout) else 10_000
    before = None
    for one in found:
        if one[:3] != before:
            print(f"{one.kind:<9} {safe(one.name)}")
        before = one[:3]
        text = (one.value.replace("\n", "; ") or "no record") + ("" if one.lasts else " (seen once)")
        first, *rest = _wrapped(text, room - 28) or [""]
        print(f"  {_moment(one.first)} to {_moment(one.last)}  {first}")
        for line in rest:
            print(" " * 40 + line)


def _moment(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M")


def _show(args: argparse.Namespace, checks: Sequence[Check]) -> int:
    found = [one for one in checks if one.publish]
    if args.json:
        print_json([{"kind": one.kind, "name": one.name, "publish": one.publish} for one in found])
        return TAKEN
    for one in checks:
        plain = one.kind in ("DKIM", "MX") and one.publish  # their advice is on what the DNS shows now
        print(f"; {one.kind}" + (f": {safe(one.advice)}" if one.advice and not plain else ""))
        records, _, file = one.publish.partition("\n\n")
        if records:
            print("\n".join(safe(line) for line in records.splitlines()))
        for line in file.splitlines():  # the text of a file: a comment, so that all of this can go into a zone
            print(f";   {safe(line)}")
        print()
    return TAKEN


def _print(checks: Sequence[Check]) -> None:
    colours = is_tty(sys.stdout) and "NO_COLOR" not in os.environ
    room = min(width(), _READABLE) if is_tty(sys.stdout) else 10_000
    for one in checks:
        begin, end = (_COLOURS[one.state], "\x1b[0m") if colours else ("", "")
        head = f"{one.name}: {one.found}" if one.kind in ("DKIM", "DMARC", "PTR") else one.found
        first, *rest = _wrapped(head, room) or [""]
        print(f"{begin}{one.state:<5}{end} {one.kind:<9} {first}")
        for line in (*rest, *_wrapped(one.advice, room)):
            print(_MARGIN + line)
        for line in one.publish.splitlines():
            print(f"{_MARGIN}  {safe(line)}".rstrip())
    wrong = sum(one.state == "fail" for one in checks)
    print(f"\n{wrong} of {len(checks)} are wrong." if wrong else "\nNothing is wrong.")


def _wrapped(text: str, room: int) -> list[str]:
    return textwrap.wrap(safe(text), room - len(_MARGIN), break_long_words=False, break_on_hyphens=False)
