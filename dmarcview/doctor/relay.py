"""Checks of the half that sends: queue, dropped mails, users, keys, listeners, and the DNS records of each sender."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from dmarcview import config as configuration
from dmarcview.config import Config
from dmarcview.dns.sender import own_addresses, sender_of, sending_domains
from dmarcview.dns.sending import Check, check
from dmarcview.doctor import machine
from dmarcview.doctor.finding import FAIL, OK, WARN, Clock, Finding, day, lasted
from dmarcview_relay.dkimdns import HOLD
from dmarcview_relay.drop import BAD, MAIL
from dmarcview_relay.keyfile import KeyFault
from dmarcview_relay.keys import KeyRing
from dmarcview_relay.queue_schema import Gone, QueueError
from dmarcview_relay.queue_state import Reason, State, reasons, state
from dmarcview_relay.settings import HOUR
from dmarcview_relay.users import UserError, Users
from dmarcview_reports.trust_dns import DnsFailure, Resolver

REASONS = 5  # most reasons of held mails that are told
DOMAINS = 50  # most sending domains that are looked at
DROP_SECONDS = 600.0  # so long a dropped mail may lie
CLOCK_SECONDS = 60.0  # so far a mail may come from the future


def is_used(config: Config) -> bool:
    """Whether anybody may send, or ever did."""
    return bool(config.relay.senders) or _folder(config).is_dir()


def local(config: Config, clock: Clock) -> Iterator[Finding]:
    """What can be seen without asking the DNS."""
    folder, relay = _folder(config), config.relay
    runs = machine.running(folder.parent, "relay")
    yield from machine.space(folder, relay.queue.reserve_bytes, "free space for the queue")
    yield from _queue(config, folder, clock(), runs=runs)
    yield from _drop(folder / "drop", clock())
    yield from _files(folder)
    for one in relay.listeners:
        what = f"[[relay.listeners]] {one.protocol}"
        if runs and (one.path or one.port):
            yield machine.greeting(
                one.path or one.host, 0 if one.path else one.port, what, tls=one.mode == "tls" or bool(one.proxy_peers)
            )
        elif not one.path:
            yield machine.port(one.host, one.port, what, in_use=False)
    yield from machine.certificate(
        "relay", (relay.certificate, relay.key), relay.listeners, clock, "certificate of [relay]"
    )


def records(config: Config, ask: Resolver) -> Iterator[Finding]:
    """What the DNS says of each sending domain: its keys, SPF and DMARC, and the names of the addresses."""
    try:
        ring = KeyRing(_folder(config) / "keys")
        ring.refresh()
    except KeyFault:
        return  # told by `local`
    told = set()
    for domain in sending_domains(config, ring)[:DOMAINS]:
        try:
            sender = sender_of(config, domain, ring=ring)
            if not sender.sources:
                sender = sender._replace(sources=own_addresses(sender.hostname, ask))
            for one in check(sender, ask):
                finding = _finding(one, domain)
                known = one.kind == "DMARC" and domain in config.domains.watched  # told with the reports
                if one.state != "note" and not known and finding[:3] not in told:  # a PTR is the same for each domain
                    told.add(finding[:3])
                    yield finding
        except KeyFault as fault:
            yield Finding(WARN, f"sender {domain}", str(fault))
        except DnsFailure as failure:
            yield Finding(WARN, f"sender {domain}", str(failure), "Try again later.")


def _folder(config: Config) -> Path:
    return configuration.data_dir(config) / "relay"


def _finding(one: Check, domain: str) -> Finding:
    more = f" `dmarcview dns check {domain}` prints the text." if one.publish and one.state != OK else ""
    return Finding(one.state, f"{one.kind} {one.name}", one.found, (one.advice + more).strip())


def _queue(config: Config, folder: Path, now: float, *, runs: bool) -> Iterator[Finding]:
    try:
        found = state(folder)
        why = reasons(folder, REASONS) if found.held else []
    except Gone:
        yield Finding(OK, "queue", "there is none yet")
        return
    except QueueError as error:
        yield Finding(FAIL, "queue", str(error), "Mend the disk, or restore a backup.")
        return
    yield _waiting(found, now, (config.relay.queue.warn_hours or 4) * HOUR, runs=runs)
    yield from (_held(one) for one in why)
    if found.dead:
        advice = "`dmarcview queue list --state dead`; then retry, redirect or delete them."
        yield Finding(WARN, "queue: dead", f"{found.dead} recipients failed and nobody could be told", advice)
    if found.newest > now + CLOCK_SECONDS:
        told = f"a mail in the queue was taken at {day(found.newest)}, and now is {day(now)}"
        yield Finding(WARN, "clock", told, "The clock went back: mails are tried late. Let a time service keep it.")


def _waiting(found: State, now: float, late: float, *, runs: bool) -> Finding:
    if not found.waiting:
        return Finding(OK, "queue", "nothing waits")
    told = f"{found.waiting} recipients wait, the oldest for {lasted(now - found.oldest)}"
    if not runs:
        return Finding(FAIL, "queue", told, "Nothing is lost. Start `dmarcview serve`, or `dmarcview relay`.")
    if now - found.oldest > late:
        return Finding(WARN, "queue", told, "`dmarcview queue list` says what the other hosts answered.")
    return Finding(OK, "queue", told)


def _held(one: Reason) -> Finding:
    told = f"{one.recipients} recipients: {one.text}"
    if one.text.startswith(HOLD):
        domain = one.text.removeprefix(HOLD).partition(" ")[0]
        return Finding(
            WARN, "queue: held", told, f"They leave by themselves once `dmarcview dns check {domain}` is well."
        )
    return Finding(WARN, "queue: held", told, "`dmarcview queue list --state held`; then release or delete them.")


def _drop(folder: Path, now: float) -> Iterator[Finding]:
    """The folder of the sendmail command: whoever may write there may send."""
    name = "drop folder"
    try:
        mode = stat.S_IMODE(folder.stat().st_mode)
        left = [path.stat().st_mtime for path in folder.glob(f"[!.]*{MAIL}")]
    except FileNotFoundError:
        return
    except OSError as error:
        yield Finding(WARN, name, f"{folder}: {error.strerror}", "Run the doctor as the relay's user.")
        return
    bad = 0
    with suppress(OSError):
        bad = sum(path.suffix == MAIL for path in (folder / BAD).iterdir())
    if mode & 0o007:
        yield Finding(FAIL, name, f"mode {mode:o}: every user may use it", f"chmod 3730 {folder}")
    elif left and now - min(left) > DROP_SECONDS:
        told = f"{len(left)} mails lie there, the oldest for {lasted(now - min(left))}"
        yield Finding(FAIL, name, told, "Nothing is lost. Start the relay, or read in its log why they are put off.")
    else:
        yield Finding(OK, name, f"mode {mode:o}, {len(left)} mails")
    if bad:
        yield Finding(WARN, name, f"{bad} mails were refused", f"{folder / BAD} holds them, each with its reason.")


def _files(folder: Path) -> Iterator[Finding]:
    """Users and keys, as the relay would read them."""
    try:
        users = Users(folder / "users.json")
        if len(users):
            yield Finding(OK, "users", str(len(users)))
    except UserError as error:
        yield Finding(FAIL, "users", str(error), "Mend it or restore it; `dmarcview user list` reads it.")
    try:
        ring = KeyRing(folder / "keys")
        ring.refresh()
    except KeyFault as fault:
        yield Finding(FAIL, "keys", str(fault), "A running relay signs with the keys of before.")
        return
    if keys := ring.all():
        yield Finding(OK, "keys", ", ".join(f"{key.selector} of {key.domain} ({key.state})" for key in keys[:20]))
    else:
        yield Finding(WARN, "keys", "there is none", "Make one: `dmarcview key new DOMAIN`.")
