"""When a mail is tried again, when its sender is told of the delay, when it is given up (RFC 5321 section 4.5.4.1)."""

from __future__ import annotations

from .envelope import MAIL, Mail, Ticket
from .settings import HOUR, Schedule


def next_try(tries: int, accepted: float, now: float, schedule: Schedule) -> float | None:
    """The time of the next try after `tries` of them, the one that just ended included; None when it was the last.

    All times are seconds since 1970. A mail is tried once more at its very end, and is never given up untried.
    """
    end = accepted + schedule.expire_hours * HOUR
    if now >= end:
        return None
    return min(now + _wait(tries, schedule), end)


def due_at(ticket: Ticket, now: float, schedule: Schedule) -> float:
    """When it is to be tried. A clock that was set back must not make it wait longer than the schedule says."""
    return min(ticket.next_at, now + _wait(ticket.tries, schedule))


def _wait(tries: int, schedule: Schedule) -> float:
    """Seconds between that try and the next; the first one is not waited for."""
    return schedule.waits[min(tries, len(schedule.waits)) - 1] if tries else 0.0


def warns(mail: Mail, ticket: Ticket, now: float, schedule: Schedule) -> bool:
    """Whether the sender is now to be told that this recipient waits (RFC 3461 section 4.1, NOTIFY)."""
    if ticket.warned or not schedule.warn_hours or mail.kind != MAIL or mail.sender is None:
        return False
    if now - mail.accepted < schedule.warn_hours * HOUR:
        return False
    notify = ticket.recipient.notify
    return not notify or "DELAY" in notify


def returns(ticket: Ticket) -> bool:
    """Whether the sender wants to know of a failure."""
    notify = ticket.recipient.notify
    return not notify or "FAILURE" in notify
