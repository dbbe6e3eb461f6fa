"""The weekly summary by mail: when it is due, and its figures.

A week is the seven days that end two days before the summary: by then most reports on them have come, and each day is
in one summary. Its completeness is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from dmarcview import query
from dmarcview.query import Completeness, Filters
from dmarcview.store import incidents

from . import memory
from .model import Incident
from .words import ACT

if TYPE_CHECKING:
    from dmarcview.config import Alerts, Config
    from dmarcview.store import Store

DAY = 86_400
DAYS, LAG_DAYS = 7, 2
DOMAINS = 20
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


@dataclass(frozen=True, slots=True)
class Line:
    """One domain, or all: messages of the week; `_before` those of the week before."""

    domain: str
    messages: int = 0
    own: int = 0
    own_pass: int = 0
    own_before: int = 0
    pass_before: int = 0
    delivered: int = 0
    blocked: int = 0


@dataclass(frozen=True, slots=True)
class Week:
    """All that a summary says. `coverage`: (reported, of so many sent); None without a sent log. `complete` is of the
    last day.
    """

    first: date
    last: date
    total: Line
    lines: tuple[Line, ...]  # largest first
    more: int  # domains that are left out
    coverage: tuple[int, int] | None
    complete: Completeness
    open: tuple[Incident, ...]
    opened: int
    ended: tuple[Incident, ...]  # within the week, by whatever outcome


def due(settings: Alerts, last: int | None, now: int) -> bool:
    """Is a summary due? `last` is when one was asked for. Once a week, and when that moment was missed, on that day."""
    if settings.digest == "off" or not settings.mail_to:
        return False
    at = datetime.fromtimestamp(now, UTC)
    today = at.replace(hour=settings.digest_hour, minute=0, second=0, microsecond=0)
    moment = today - timedelta(days=(at.weekday() - WEEKDAYS.index(settings.digest)) % 7)
    if moment > at:
        moment -= timedelta(days=7)
    begin = int(moment.timestamp())
    return now - begin < DAY and (last is None or last < begin)


def gather(store: Store, config: Config, now: int) -> Week:
    """The week's figures, of what counts."""
    last = datetime.fromtimestamp(now, UTC).date() - timedelta(days=LAG_DAYS)
    first = last - timedelta(days=DAYS - 1)
    span = Filters(since=first, until=last + timedelta(days=1), verified=not config.trust.unverified)
    before = replace(span, since=first - timedelta(days=DAYS), until=first)
    lines = _lines(store, span, before)
    told = [memory.incident(row) for row in incidents.lately(store.ledger, now, now - DAYS * DAY)]
    return Week(
        first, last, _sum(lines), tuple(lines[:DOMAINS]), max(0, len(lines) - DOMAINS), _coverage(store, config, span),
        query.completeness(store, last, Filters(verified=span.verified)),
        tuple(sorted((one for one in told if one.open), key=lambda one: (one.finding.level != ACT, -one.known))),
        sum(one.known >= now - DAYS * DAY for one in told), tuple(one for one in told if not one.open),
    )  # fmt: skip


def _lines(store: Store, span: Filters, before: Filters) -> list[Line]:
    """Largest first; domains of the week before alone come last."""
    then = {
        str(row["domain"]): (int(row["own_pass"] + row["own_fail"]), int(row["own_pass"]))
        for row in query.domains(store, before).to_dict("records")
    }
    out = []
    for row in query.domains(store, span).to_dict("records"):
        own, passed = then.pop(str(row["domain"]), (0, 0))
        out.append(
            Line(str(row["domain"]), int(row["messages"]), int(row["own_pass"] + row["own_fail"]), int(row["own_pass"]),
                 own, passed, int(row["unknown_delivered"]), int(row["unknown_blocked"]))
        )  # fmt: skip
    return [*out, *(Line(name, own_before=own, pass_before=passed) for name, (own, passed) in then.items())]


def _sum(lines: Sequence[Line]) -> Line:
    names = ("messages", "own", "own_pass", "own_before", "pass_before", "delivered", "blocked")
    return Line("", **{name: sum(getattr(line, name) for line in lines) for name in names})


def _coverage(store: Store, config: Config, span: Filters) -> tuple[int, int] | None:
    if not query.sent_any(store):
        return None
    from dmarcview.reconcile import reconcile

    found = reconcile(store, span, config.reconcile.receivers).receivers
    return int(found["matched"].sum()), int(found["counted"].sum())
