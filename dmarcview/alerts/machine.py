"""What is wrong with this machine: intake, relay and certificates, from values that others have read.

Pure: `machinewatch` reads them. Nothing is told that mends itself within minutes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import NamedTuple

from dmarcview.terminal import safe
from dmarcview_relay.dkimdns import HOLD
from dmarcview_relay.queue_state import Late, Reason
from dmarcview_reports.spool_state import BACKLOG_SECONDS, SpoolState

from .model import Finding, Member

HOUR, DAY = 3_600, 86_400
DOWN_SECONDS = 120.0  # so long a process may be away: the supervisor starts it again within half a minute
HELD_SECONDS = 900.0  # so long mail may wait for a record that was just published
REFUSED_LEAST = 5  # refused inputs of known senders within a day, before they can be unusual
REFUSED_TIMES = 2  # as many times the most of any day before
SINGLE = 3  # most destinations that are told one by one
TEXT_CHARACTERS = 200
SPOOL, FULL, NEARLY_FULL = "mails wait in the spool", "the disk is full", "the disk is nearly full"
DOES_NOT_RUN = " does not run"  # behind the name of a process
NOT_RUNNING, MANY = "the relay does not run", "mail to many domains"
DEAD = "failed, and nobody could be told"


class Refusals(NamedTuple):
    """Inputs of known senders that were refused with one code: in the last 24 hours by sender domain, since when
    (seconds), and on each of the days of 24 hours before that had any."""

    code: str
    now: Mapping[str, int]
    since: float
    before: tuple[int, ...]


class Shown(NamedTuple):
    """A certificate of a section of the settings: when it ends (seconds), or why and since when it cannot be read."""

    section: str
    ends: float
    fault: str = ""
    since: float = 0.0


@dataclass(frozen=True, slots=True)
class Intake:
    """How the half fares that takes reports. `down`: processes of the service that are away, and since when."""

    spool: SpoolState
    free: int  # bytes
    reserve: int  # bytes below which no mail is taken
    low: float  # since when there is little room; 0: there is enough
    down: Mapping[str, float]
    refused: tuple[Refusals, ...] = ()


@dataclass(frozen=True, slots=True)
class Relay:
    """How the half fares that sends. `late` are domains whose mail has waited too long; times are seconds."""

    waiting: int
    down: float  # since when the relay is away; 0: it runs
    late: tuple[Late, ...] = ()
    held: tuple[Reason, ...] = ()
    dead: int = 0
    dead_since: float = 0.0


def intake(found: Intake, now: float) -> list[Finding]:
    """Reports that do not come in."""
    out = []
    spool = found.spool
    if spool.batches and now - spool.oldest > BACKLOG_SECONDS:
        text = (
            f"{spool.mails} mails wait to be stored, the oldest since {_at(spool.oldest)}. Nothing is lost: is "
            "`dmarcview ingest` running, and what does its log say?"
        )
        out.append(_finding("intake_fault", SPOOL, spool.oldest, now, text, weight=spool.mails, page="/intake"))
    if found.low:
        full = found.free < found.reserve
        told = f"{found.free / 1e6:,.0f} MB are free where the data is; below {found.reserve / 1e6:,.0f} MB "
        told += "mail is put off with 452, and it is now." if full else "mail is put off with 452."
        out.append(
            _finding("intake_fault", FULL if full else NEARLY_FULL, found.low, now, told, weight=1, page="/intake")
        )
    for name, since in sorted(found.down.items()):
        if now - since >= DOWN_SECONDS:
            text = f"Under `dmarcview serve` it should run, and it has not since {_at(since)}. Its log says why."
            out.append(_finding("intake_fault", f"{name}{DOES_NOT_RUN}", since, now, text, weight=1, page="/intake"))
    return out + [made for one in found.refused for made in _refused(one, now)]


def _refused(one: Refusals, now: float) -> list[Finding]:
    """More refused inputs of one kind than there ever are: a reporter changed something, or we did."""
    count, most = sum(one.now.values()), max(one.before, default=0)
    if count < REFUSED_LEAST or count <= REFUSED_TIMES * most:
        return []
    senders = sorted(one.now.items(), key=lambda each: (-each[1], each[0]))
    text = (
        f"{count} inputs of senders whose reports counted lately were refused as {one.code} in the last 24 hours, "
        f"since {_at(one.since)}; "
        f"at most {most} a day in the four weeks before. They are kept, and `dmarcview refused replay` reads them "
        "again after a fix."
    )
    members = [Member(safe(name)[:TEXT_CHARACTERS], n, n) for name, n in senders[:10]]
    return [
        _finding("intake_fault", f"many inputs are refused as {one.code}", one.since, now, text, weight=count,
                 usual=float(most), members=members, page="/intake")
    ]  # fmt: skip


def relay(found: Relay, now: float) -> list[Finding]:
    """Mail that does not leave."""
    return _stuck(found, now) + _held(found, now)


def _stuck(found: Relay, now: float) -> list[Finding]:
    if found.down and now - found.down >= DOWN_SECONDS:
        text = f"It has not run since {_at(found.down)}; {found.waiting} recipients wait. Nothing is lost."
        weight = max(1, found.waiting)
        return [_finding("queue_stuck", NOT_RUNNING, found.down, now, text, weight=weight, page="/sent")]
    if len(found.late) > SINGLE:
        count = sum(one.recipients for one in found.late)
        since = min(one.since for one in found.late)
        text = (
            f"{count} recipients at {len(found.late)} domains wait, the oldest mail since {_at(since)}. So many at "
            "once point at this side: its network, its DNS, or a smarthost."
        )
        members = [Member(one.domain, one.recipients, one.recipients) for one in found.late]
        return [_finding("queue_stuck", MANY, since, now, text, weight=count, members=members, page="/sent")]
    out = []
    for one in found.late:
        said = f"It last said: {_shown(one.reply)}" if one.reply else "It was never tried."
        text = f"{one.recipients} recipients wait, the oldest mail since {_at(one.since)}. {said}"
        members, cause = [Member(one.domain, one.recipients, one.recipients)], f"mail to {_shown(one.domain)}"
        out.append(
            _finding("queue_stuck", cause, one.since, now, text, weight=one.recipients, members=members, page="/sent")
        )
    return out


def _held(found: Relay, now: float) -> list[Finding]:
    out = []
    for one in found.held:
        if now - one.since <= HELD_SECONDS:
            continue
        domain, cause, text = "", _shown(one.text), f"{one.recipients} recipients: {_shown(one.text)}."
        if one.text.startswith(HOLD):
            name, _, why = one.text.removeprefix(HOLD).partition(": ")
            domain, _, selector = _shown(name).partition(" ")
            cause = f"the key of selector {selector} of {domain}"
            text = (
                f"{one.recipients} recipients wait, because {_shown(why)}. They leave by themselves once it is there."
            )
        made = _finding("mail_held", cause, one.since, now, text, weight=one.recipients, domain=domain, page="/sent")
        out.append(made)
    if found.dead:
        text = f"{found.dead} recipients lie there until somebody retries, redirects or deletes them."
        out.append(_finding("mail_held", DEAD, found.dead_since or now, now, text, weight=found.dead, page="/sent"))
    return out


def certificates(shown: Sequence[Shown], days: int, now: float) -> list[Finding]:
    """Certificates at their end; `days` before it is time."""
    out = []
    for one in shown:
        left = (one.ends - now) / DAY
        cause = f"[{one.section}]"
        if one.fault:
            text = f"It cannot be read: {_shown(one.fault)}. The old one serves until the next start."
            out.append(_finding("certificate", cause, one.since, now, text, weight=1))
        elif left < days:
            told = f"It ended at {_at(one.ends)}" if left < 0 else f"It ends at {_at(one.ends)}, in {left:.0f} days"
            text = f"{told}. The new file is read without a new start."
            out.append(_finding("certificate", cause, one.ends - days * DAY, now, text, weight=int(days - left) + 1))
    return out


def _finding(
    kind: str, cause: str, first: float, now: float, text: str, *, weight: int, domain: str = "",
    usual: float | None = 0.0, members: Sequence[Member] = (), page: str = "/alerts",
) -> Finding:  # fmt: skip
    return Finding(
        kind, domain, cause, _day(min(first, now)), _day(now), weight, text, usual=usual, page=page,
        members=tuple(members),
    )  # fmt: skip


def _day(at: float) -> date:
    return datetime.fromtimestamp(at, UTC).date()


def _at(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _shown(text: str) -> str:
    """Text from outside, on one line, of bounded length."""
    line = safe(" ".join(text.split()))
    return line if len(line) <= TEXT_CHARACTERS else f"{line[:TEXT_CHARACTERS]}…"
