"""The two sides, as tables of one DuckDB connection: `said` (reports), and `cells`, `keys`, `pairs` (the sent log).

A cell is a quarter of an hour, by which periods of every time zone begin and end. The log is read in one pass, each row
as three numbers, and DuckDB does the sums: four times faster than a GROUP BY of so many texts in SQLite.
"""

# ruff: noqa: S608 - SQL is put together from our own constants; values from outside are parameters
from __future__ import annotations

import itertools
from array import array
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import case, func, or_, select

from dmarcview.organisation import organisational
from dmarcview.query import lateness
from dmarcview.query.filters import Filters, over_periods
from dmarcview.query.traffic import window
from dmarcview.store.tables import reports as report_table
from dmarcview.store.tables import sent as sent_table
from dmarcview_relay.outcome import DELIVERED

from .receivers import reporter

if TYPE_CHECKING:
    from dmarcview.store import Store

SLOT = 900  # seconds of a cell
DAY = 86_400
FULL_DAY = DAY - 60  # many periods end one second before midnight
HISTORY = lateness.HISTORY_DAYS * DAY
FETCHED = 10_000  # rows of the ledger at once
_C = sent_table.c
_DETOUR = "list_has_any(override_types, ['forwarded', 'mailing_list', 'trusted_forwarder'])"


@dataclass(frozen=True, slots=True)
class Habit:
    """How an organisation reports on one policy domain; times in seconds."""

    first: int  # begin of its first report
    wait: int  # how long after the end of a day the last report that tells of it may come: see query.lateness


@dataclass(slots=True)
class Habits:
    """Who reports on what: by (policy domain, organisation), and the reporters by name."""

    of: dict[tuple[str, str], Habit] = field(default_factory=dict)
    domains: set[str] = field(default_factory=set)
    reporters: set[str] = field(default_factory=set)

    def policy(self, name: str) -> str:
        """The policy domain of a From domain: the longest that reports name, else the organisational one."""
        labels = name.split(".")
        rests = (".".join(labels[start:]) for start in range(len(labels)))
        return next((rest for rest in rests if rest in self.domains), organisational(name))


def habits(store: Store, filters: Filters, now: int) -> Habits:
    """Every reporter's habits, from all reports that are kept, whatever the window."""
    c = report_table.c
    found = Habits()
    with store.ledger.read() as conn:
        query = select(c.domain, c.submitter, func.min(c.begin)).where(c.shelf.in_(filters.shelves))
        for domain, submitter, first in conn.execute(query.group_by(c.domain, c.submitter)):
            key = (domain, reporter(submitter))
            known = found.of.get(key)
            found.of[key] = Habit(min(first, known.first) if known else first, lateness.USUAL_WAIT)
            found.domains.add(domain)
            found.reporters.add(submitter)
        closed = (c.begin + SLOT) // DAY + 1  # the report that begins in a day is the last one that tells of it
        hour = case((c.received <= closed * DAY, 0), else_=(c.received - closed * DAY) // lateness.HOUR).label("hour")
        late = select(c.domain, c.submitter, hour, func.count())
        late = late.where(c.shelf.in_(filters.shelves), c.auth == "pass", c.end > now - HISTORY)
        late = late.group_by(c.domain, c.submitter, "hour").order_by(c.domain)
        for domain, rows in itertools.groupby(conn.execute(late), key=itemgetter(0)):
            for who, wait in _waits([(reporter(row[1]), row[2], row[3]) for row in rows]).items():
                found.of[domain, who] = replace(found.of[domain, who], wait=wait)
    return found


def _waits(receipts: list[tuple[str, int, int]]) -> dict[str, int]:
    """How long after a day each organisation's reports may come, by (organisation, hour, reports)."""
    import numpy as np

    names = sorted({who for who, _, _ in receipts})
    place = {who: number for number, who in enumerate(names)}
    table = np.zeros((len(names), lateness.HOURS))
    for who, hour, number in receipts:
        table[place[who], min(hour, lateness.HOURS - 1)] += number
    return dict(zip(names, lateness.waits(table).tolist(), strict=True))


def covered(store: Store, filters: Filters, now: int) -> dict[tuple[str, str, int], int]:
    """Seconds of recent days that reports cover, by (policy domain, organisation, day): is a day in already?"""
    c = report_table.c
    query = select(c.domain, c.submitter, c.begin, c.end).distinct()
    query = query.where(c.shelf.in_(filters.shelves), c.end > now - lateness.MOST_WAIT - 2 * DAY)
    periods: dict[tuple[str, str], set[tuple[int, int]]] = {}
    with store.ledger.read() as conn:
        for domain, submitter, begin, end in conn.execute(query):
            periods.setdefault((domain, reporter(submitter)), set()).add((begin, end))
    out: dict[tuple[str, str, int], int] = {}
    earliest = (now - lateness.MOST_WAIT - 2 * DAY) // DAY
    for key, found in periods.items():
        upto = 0  # what lies before is counted already
        for begin, end in sorted(found):
            low, high = max(begin, upto, earliest * DAY), min(end, now + DAY)
            for day in range(low // DAY, -(-high // DAY) if high > low else low // DAY):
                inside = min(high, (day + 1) * DAY) - max(low, day * DAY)
                out[(*key, day)] = out.get((*key, day), 0) + inside
            upto = max(upto, high)
    return out


def load_said(store: Store, cursor: Any, filters: Filters, *, by_report: bool = False) -> None:
    """Table `said`: what reports of the window say, by all that the comparison looks at; and by `report_key`."""
    import pyarrow as pa

    bounds = replace(filters, source_class=None, submitter=None, result=None, source_ip=None)
    asked = over_periods(bounds)
    at = window(store, bounds)
    sql = (
        'select cast(epoch("begin") as bigint) as b, '
        'greatest(cast(epoch("end") as bigint), cast(epoch("begin") as bigint) + 1) as e, '
        f"{'c.report_key, ' if by_report else ''}submitter, c.domain, c.source_ip, "
        "lower(c.header_from) as header_from, lower(c.envelope_to) as envelope_to, "
        "list_transform(dkim, lambda x: {'d': lower(x.domain), 's': lower(x.selector), 'r': x.result}) as signatures, "
        "dkim_aligned, spf_aligned, list_contains(list_transform(spf, lambda x: x.result), 'pass') as spf_passed, "
        f'{_DETOUR} as detour, cast(sum("count") as hugeint) as n from records c where {asked.where} group by all'
    )
    params = {name: value for name, value in asked.params.items() if f"${name}" in sql}
    cursor.execute(f"create temp table spoken as {store.heavy.over(cursor, at, sql)}", params)
    names = [row[0] for row in cursor.execute("select distinct submitter from spoken").fetchall()]
    known = pa.table({"submitter": pa.array(names, pa.string()),
                      "receiver": pa.array([reporter(name) for name in names], pa.string())})  # fmt: skip
    cursor.register("named", known)
    cursor.register("classes", store.source_table(filters.domains, ("domain", "source_ip", "source_class")))
    cursor.execute(
        "create temp table said as select row_number() over () as id, s.* exclude (domain), s.domain, n.receiver, "
        "coalesce(c.source_class, 'unknown') as source_class from spoken s join named n using (submitter) "
        "left join classes c on c.domain = s.domain and c.source_ip = s.source_ip"
    )
    cursor.execute("drop table spoken")


def load_sent(store: Store, cursor: Any, filters: Filters, known: Habits, span: tuple[int | None, int | None]) -> None:
    """Tables of the deliveries between two moments: `cells` (slot, key, pair, n), `keys`, `pairs`, and `alike`.

    `alike` names the first signature of the mails that carry another one, so that a report that tells of the second
    alone finds its mails.
    """
    import pyarrow as pa

    slot = _C.at // SLOT
    columns = (slot, _C.source, _C.from_domain, _C.dkim, _C.host, _C.recipient_domain)
    query = select(*columns).where(_C.outcome == DELIVERED)
    if span[0] is not None:
        query = query.where(_C.at >= span[0])
    if span[1] is not None:
        query = query.where(_C.at < span[1])
    if filters.domains is not None:
        under = [_C.from_domain.endswith("." + name, autoescape=True) for name in filters.domains]
        query = query.where(or_(_C.from_domain.in_(filters.domains), *under))
    keys: dict[tuple[str, str, str], int] = {}
    pairs: dict[tuple[str, str], int] = {}
    slots, key_of, pair_of = array("i"), array("i"), array("i")
    with store.ledger.read() as conn:
        for part in conn.execution_options(yield_per=FETCHED).execute(query).partitions():
            for at, source, name, dkim, host, recipient_domain in part:
                slots.append(at)
                key_of.append(keys.setdefault((source, name, dkim), len(keys)))
                pair_of.append(pairs.setdefault((host, recipient_domain), len(pairs)))
    signatures = [orjson.loads(dkim) for _, _, dkim in keys]
    policies = {name: known.policy(name) for _, name, _ in keys}
    wanted = [filters.domains is None or policies[name] in filters.domains for _, name, _ in keys]
    text = pa.string()
    cursor.register(
        "all_keys",
        pa.table(
            {
                "key": pa.array(range(len(keys)), pa.int32()),
                "source_ip": pa.array([one[0] for one in keys], text),
                "header_from": pa.array([one[1] for one in keys], text),
                "d": pa.array([signed[0][0].lower() if signed else "" for signed in signatures], text),
                "s": pa.array([signed[0][1].lower() if signed else "" for signed in signatures], text),
                "wanted": pa.array(wanted, pa.bool_()),
            }
        ),
    )
    others = [(number, one[0].lower(), one[1].lower()) for number, signed in enumerate(signatures) for one in signed]
    cursor.register(
        "carried",
        pa.table(
            {
                "key": pa.array([one[0] for one in others], pa.int32()),
                "d": pa.array([one[1] for one in others], text),
                "s": pa.array([one[2] for one in others], text),
            }
        ),
    )
    cursor.register(
        "pairs",
        pa.table(
            {
                "pair": pa.array(range(len(pairs)), pa.int32()),
                "host": pa.array([one[0] for one in pairs], text),
                "recipient_domain": pa.array([one[1] for one in pairs], text),
            }
        ),
    )
    numbers = {"slot": slots, "key": key_of, "pair": pair_of}
    cursor.register("rows_sent", pa.table({
        name: pa.Array.from_buffers(pa.int32(), len(column), [None, pa.py_buffer(column)])
        for name, column in numbers.items()
    }))  # fmt: skip
    cursor.execute("create temp table keys as select * exclude (wanted) from all_keys where wanted")
    cursor.execute(
        "create temp table cells as select slot, key, pair, count(*) as n from rows_sent "
        "where key in (select key from keys) group by all"
    )
    cursor.execute(
        "create temp table alike as select k.header_from, c.d, c.s, arg_max((k.d, k.s), (w.n, k.d, k.s)) as first "
        "from carried c join keys k using (key) join (select key, sum(n) as n from cells group by key) w using (key) "
        "group by k.header_from, c.d, c.s"
    )
