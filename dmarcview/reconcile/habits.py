"""Who reports on which domain, since when, and how late: what is known of each receiver from all reports that are kept.

Each receiver finds the policy of a From domain by itself, so each is asked for its own: the nearest domain above on
which it had reported by that day. No word of a stranger moves what another receiver says.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import case, func, select

from dmarcview.organisation import organisational
from dmarcview.query import lateness
from dmarcview.query.complete import LAST
from dmarcview.query.filters import DAY, Filters
from dmarcview.store.tables import reports as report_table

from .receivers import reporter

if TYPE_CHECKING:
    from dmarcview.store import Store

HISTORY = lateness.HISTORY_DAYS * DAY
WITNESSES = 2  # organisations that must name a policy domain below the organisational one
EVER = 1 << 62  # a second that never comes


@dataclass(frozen=True, slots=True)
class Habit:
    """How an organisation reports on one policy domain; times in seconds."""

    first: int  # begin of its first report
    wait: int  # how long after the end of a day the last report that tells of it may come: see query.lateness


class Span(NamedTuple):
    """The days that end after `first`, and not after `until`: an organisation reports them under `domain`."""

    domain: str
    first: int
    until: int
    wait: int


@dataclass(slots=True)
class Habits:
    """Who reports on what: by policy domain and organisation, and the reporters by name."""

    of: dict[str, dict[str, Habit]] = field(default_factory=dict)
    reporters: set[str] = field(default_factory=set)

    def spans(self, name: str) -> Iterator[tuple[str, Span]]:
        """Under which domain each organisation reports the mail of a From domain, and when."""
        until: dict[str, int] = {}
        for domain in _upwards(name):
            for who, habit in self.of.get(domain, {}).items():
                if habit.first < until.get(who, EVER):
                    yield who, Span(domain, habit.first, until.get(who, EVER), habit.wait)
                    until[who] = habit.first

    def span(self, name: str, who: str, end: int) -> Span | None:
        """The same of one organisation and of the day that ends at this second."""
        found = (one for said, one in self.spans(name) if said == who and one.first < end <= one.until)
        return next(found, None)

    def policy(self, name: str) -> str:
        """The policy domain of a From domain, for receivers that report on none of those above it.

        The nearest that two organisations name; else the organisational one, unless reports name another and not it.
        """
        top = organisational(name)
        named = [domain for domain in _upwards(name) if domain in self.of and len(domain) >= len(top)]
        sure = [domain for domain in named if len(self.of[domain]) >= WITNESSES]
        return next(iter(sure or ([] if top in named else named)), top)


def load(store: Store, filters: Filters, now: int) -> Habits:
    """Every reporter's habits, from all reports that are kept, whatever the window."""
    c = report_table.c
    found = Habits()
    with store.ledger.read() as conn:
        query = select(c.domain, c.submitter, func.min(c.begin)).where(c.shelf.in_(filters.shelves))
        for domain, submitter, first in conn.execute(query.group_by(c.domain, c.submitter)):
            on, who = found.of.setdefault(domain, {}), reporter(submitter)
            on[who] = Habit(min(first, on[who].first) if who in on else first, lateness.USUAL_WAIT)
            found.reporters.add(submitter)
        closed = LAST + 1
        hour = case((c.received <= closed * DAY, 0), else_=(c.received - closed * DAY) // lateness.HOUR).label("hour")
        late = select(c.domain, c.submitter, hour, func.count())
        late = late.where(c.shelf.in_(filters.shelves), c.auth == "pass", c.end > now - HISTORY)
        late = late.group_by(c.domain, c.submitter, "hour").order_by(c.domain)
        for domain, rows in itertools.groupby(conn.execute(late), key=itemgetter(0)):
            on = found.of[domain]
            for who, wait in _waits([(reporter(row[1]), row[2], row[3]) for row in rows]).items():
                on[who] = replace(on[who], wait=wait)
    return found


def tables(cursor: Any, known: Habits, names: Iterable[str]) -> None:
    """Tables `habit` (header_from, receiver, domain, first, until, wait) and `policies` (header_from, domain)."""
    import pyarrow as pa

    text, number = pa.string(), pa.int64()
    names = list(names)
    rows = [(name, who, *span) for name in names for who, span in known.spans(name)]
    columns = {"header_from": text, "receiver": text, "domain": text, "first": number, "until": number, "wait": number}
    cursor.register(
        "habit",
        pa.table({name: pa.array([row[i] for row in rows], kind) for i, (name, kind) in enumerate(columns.items())}),
    )
    policies = [known.policy(name) for name in names]
    cursor.register("policies", pa.table({"header_from": pa.array(names, text), "domain": pa.array(policies, text)}))


def _upwards(name: str) -> Iterator[str]:
    """A name and all above it, nearest first."""
    labels = name.split(".")
    return (".".join(labels[start:]) for start in range(len(labels)))


def _waits(receipts: list[tuple[str, int, int]]) -> dict[str, int]:
    """How long after a day each organisation's reports may come, by (organisation, hour, reports)."""
    import numpy as np

    names = sorted({who for who, _, _ in receipts})
    place = {who: number for number, who in enumerate(names)}
    table = np.zeros((len(names), lateness.HOURS))
    for who, hour, number in receipts:
        table[place[who], min(hour, lateness.HOURS - 1)] += number
    return dict(zip(names, lateness.waits(table).tolist(), strict=True))
