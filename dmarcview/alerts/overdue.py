"""Findings of silence: reporters that used to report and are overdue by their own habit, and all of them at once.

A reporter is an organisation, whatever submitters its reports name; it is called by its submitter where it has one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from sqlalchemy import case, func, select

from dmarcview.organisation import reporters
from dmarcview.query.filters import Filters
from dmarcview.store.tables import reports as report_table

from .causes import window_query
from .model import Finding, Member
from .said import percent
from .series import DAY, as_day
from .silence import METHOD, Arrivals, Silences, judge

if TYPE_CHECKING:
    from dmarcview.store import Store

    from .likelihood import Ints

MOST_DOMAINS = 100  # that are looked at one by one, the busiest
MOST_MEMBERS = 20
SEVERAL = 2  # usual reporters of a domain: of one alone, its silence is told
EVERYONE = "no reporter reports"


class Receipt(NamedTuple):
    """What came of one policy domain, submitter and event day (since 1970): seconds of the first and last receipt.

    Both are -1 where none is known: of imports, and of mails that nobody vouches for.
    """

    domain: str
    submitter: str
    day: int
    first: int
    last: int


def load(store: Store, now: int, *, verified: bool = True, days: int = METHOD.history) -> list[Receipt]:
    """What came, of so many days before."""
    c = report_table.c
    day = ((c.begin + c.end) // (2 * DAY)).label("day")
    told = case((c.auth == "pass", c.received))
    query = select(c.domain, c.submitter, day, func.coalesce(func.min(told), -1), func.coalesce(func.max(told), -1))
    query = query.where(c.shelf.in_(Filters(verified=verified).shelves), c.end > now - (days + 2) * DAY)
    with store.ledger.read() as conn:
        return [Receipt(*row) for row in conn.execute(query.group_by(c.domain, c.submitter, day))]


def findings(rows: Sequence[Receipt], now: int) -> list[Finding]:
    """A finding for each reporter that is silent: on all domains, else on single ones. Pure.

    Where all fall silent, on all domains or on one, that is the finding, and the reporters of it are its members.
    """
    domains, domain = _coded(row.domain for row in rows)
    called = reporters(row.submitter for row in rows)
    names, who = _coded(called[row.submitter] for row in rows)
    day, first = (np.array([row[place] for row in rows], np.int64) for place in (2, 3))
    found = judge(Arrivals(who, day, first), len(names), now)
    alone = domains[0] if len(domains) == 1 else ""
    if found.everyone:
        return [_all(found, names, who, now, alone)]
    out = []
    for place in np.flatnonzero(found.silent).tolist():
        counts = np.bincount(domain[who == place], minlength=len(domains))
        ranked = np.lexsort((np.arange(len(counts)), -counts))[:MOST_MEMBERS].tolist()
        members = () if alone else tuple(Member(domains[i], 0, int(counts[i])) for i in ranked if counts[i])
        out.append(_one(found, place, names[place], now, alone, members=members))
    if len(domains) > 1:
        order = np.argsort(domain, kind="stable")
        edges = np.searchsorted(domain[order], np.arange(len(domains) + 1))
        for number in np.lexsort((np.arange(len(domains)), -np.diff(edges)))[:MOST_DOMAINS].tolist():
            part = order[edges[number] : edges[number + 1]]
            part = part[~found.silent[who[part]]]
            codes, local = np.unique(who[part], return_inverse=True)
            out += _of_domain(domains[number], [names[code] for code in codes.tolist()],
                              Arrivals(local, day[part], first[part]), now)  # fmt: skip
    return out


def _of_domain(domain: str, names: list[str], arrivals: Arrivals, now: int) -> list[Finding]:
    """The findings of one domain of several."""
    found = judge(arrivals, len(names), now)
    if found.everyone and int(found.usual.sum()) >= SEVERAL:
        return [_all(found, names, arrivals.reporter, now, domain)]
    return [_one(found, place, names[place], now, domain) for place in np.flatnonzero(found.silent).tolist()]


def _coded(texts: Iterable[str]) -> tuple[list[str], Ints]:
    """The texts that there are, by alphabet, and the place of each one among them."""
    listed = list(texts)
    known = {text: place for place, text in enumerate(sorted(set(listed)))}
    return list(known), np.array([known[text] for text in listed], np.int64)


def _one(found: Silences, place: int, name: str, now: int, domain: str, *, members: tuple[Member, ...] = ()) -> Finding:
    """One reporter is silent."""
    last, today = as_day(found.last[place]), as_day(now // DAY - 1)
    missed, first = round(float(found.missed[place])), last + timedelta(days=1)
    return Finding(
        kind="reporter_silent", domain=domain, cause=name, first_day=first, last_day=max(first, today),
        weight=missed, usual=round(float(found.share[place]), 3),
        text=f"Its newest report is on {last.day} {last:%b %Y}; on about {missed} days since then one was due. "
        f"It used to report on {percent(float(found.share[place]))} of days, within "
        f"{_hours(float(found.lateness[place]))} of their end.",
        page="/reports", query=window_query(domain, last - timedelta(days=7), max(first, today)), members=members,
    )  # fmt: skip


def _all(found: Silences, names: Sequence[str], reporter: Any, now: int, domain: str) -> Finding:
    """All of them are: of this domain, or of all."""
    last, today = as_day(int(found.last_of_all)), as_day(now // DAY - 1)
    first = last + timedelta(days=1)
    counts = np.bincount(reporter, minlength=len(names))
    usual = sorted((-int(counts[place]), names[place]) for place in np.flatnonzero(found.usual).tolist())
    whose, why = "", "The receiver cannot be reached, or the rua address in the DMARC record is not yours any more."
    if domain:
        whose = f" of {domain}"
        why = "The rua address in its DMARC record is not yours any more, or it sends no mail. " + why
    return Finding(
        kind="intake_fault", domain=domain, cause=EVERYONE, first_day=first, last_day=max(first, today),
        weight=(max(first, today) - last).days,
        text=f"All usual reporters{whose} are overdue: the newest report of any is on {last.day} {last:%b %Y}. {why}",
        page="/intake", members=tuple(Member(name, 0, -count) for count, name in usual[:MOST_MEMBERS]),
    )  # fmt: skip


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.0f} hours" if seconds < 2 * DAY else f"{seconds / DAY:.0f} days"
