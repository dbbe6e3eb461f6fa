"""Findings of silence: reporters that used to report and are overdue by their own habit, and all of them at once."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import select

from dmarcview.query.filters import Filters
from dmarcview.store.tables import reports

from .causes import window_query
from .model import Finding, Member
from .series import DAY, as_day
from .silence import METHOD, Arrivals, judge

if TYPE_CHECKING:
    from dmarcview.store import Store

MOST_DOMAINS = 100  # that are looked at one by one, the busiest
EVERYONE = "no reporter reports"
Row = tuple[str, str, int, int]  # policy domain, submitter, event day, second of receipt or -1


def load(store: Store, now: int, *, verified: bool = True, days: int = METHOD.history) -> list[Row]:
    """What came, of so many days before; receipts are known of mails that were believed."""
    c = reports.c
    query = select(c.domain, c.submitter, c.begin, c.end, c.received, c.auth)
    query = query.where(c.shelf.in_(Filters(verified=verified).shelves), c.end > now - (days + 2) * DAY)
    with store.ledger.read() as conn:
        return [(domain, submitter, (begin + end) // (2 * DAY), received if auth == "pass" else -1)
                for domain, submitter, begin, end, received, auth in conn.execute(query)]  # fmt: skip


def findings(rows: list[Row], now: int) -> list[Finding]:
    """A finding for each reporter that is silent: on all domains, else on single ones. Pure."""
    domains = sorted({row[0] for row in rows})
    alone = domains[0] if len(domains) == 1 else ""
    out, silent = _silent(rows, now, alone)
    if len(domains) > 1:
        counts: dict[str, int] = {}
        for row in rows:
            counts[row[0]] = counts.get(row[0], 0) + 1
        for domain in sorted(domains, key=lambda name: (-counts[name], name))[:MOST_DOMAINS]:
            some, _ = _silent([row for row in rows if row[0] == domain and row[1] not in silent], now, domain)
            out += [one for one in some if one.kind == "reporter_silent"]
    return out


def _silent(rows: list[Row], now: int, domain: str) -> tuple[list[Finding], set[str]]:
    """Findings of these reports as one series a reporter, and the reporters that are silent."""
    names = sorted({row[1] for row in rows})
    numbers = {name: place for place, name in enumerate(names)}
    columns = ([numbers[row[1]] for row in rows], [row[2] for row in rows], [row[3] for row in rows])
    found = judge(Arrivals(*(np.array(column, np.int64) for column in columns)), len(names), now)
    out = []
    if found.everyone:
        out.append(_all(found, now, domain))
    for place in np.flatnonzero(found.silent).tolist():
        last, today = as_day(found.last[place]), as_day(now // DAY - 1)
        missed, first = round(float(found.missed[place])), last + timedelta(days=1)
        per_domain: dict[str, int] = {}
        for row in rows:
            if row[1] == names[place]:
                per_domain[row[0]] = per_domain.get(row[0], 0) + 1
        out.append(
            Finding(
                kind="reporter_silent", domain=domain, cause=names[place], first_day=first, last_day=max(first, today),
                weight=missed, usual=round(float(found.share[place]), 3),
                text=f"Its newest report is on {last.day} {last:%b %Y}; about {missed} that were due since then are "
                f"missing. It used to report on {float(found.share[place]):.0%} of days, within "
                f"{_hours(float(found.lateness[place]))} of their end.",
                page="/reports", query=window_query(domain, last - timedelta(days=7), max(first, today)),
                members=() if domain else tuple(Member(name, 0, count) for name, count in sorted(
                    per_domain.items(), key=lambda one: (-one[1], one[0]))[:20]),
            )
        )  # fmt: skip
    return out, {names[place] for place in np.flatnonzero(found.silent).tolist()}


def _all(found: Any, now: int, domain: str) -> Finding:
    last, today = as_day(int(found.last_of_all)), as_day(now // DAY - 1)
    first = last + timedelta(days=1)
    return Finding(
        kind="intake_fault", domain=domain, cause=EVERYONE, first_day=first, last_day=max(first, today),
        weight=(max(first, today) - last).days,
        text=f"All usual reporters are overdue: the newest report of any is on {last.day} {last:%b %Y}. The receiver "
        "cannot be reached, or the rua address in the DMARC record is not yours any more.",
        page="/intake",
    )  # fmt: skip


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.0f} hours" if seconds < 2 * DAY else f"{seconds / DAY:.0f} days"
