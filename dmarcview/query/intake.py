"""Questions about what came in: reports, their records, what was refused or kept apart."""

# ruff: noqa: S608 - SQL is put together from our own constants; values from outside are parameters
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
from sqlalchemy import func, literal, or_, select, union_all

from dmarcview.store.engine import Window, frame
from dmarcview.store.ledger import chunks, counter
from dmarcview.store.plan import APART, UNKNOWN_DOMAIN
from dmarcview.store.tables import items, others, refusals
from dmarcview.store.tables import reports as report_table
from dmarcview_reports.schema import RECORD_COLUMNS

from .filters import Filters, over_periods
from .traffic import JOIN, WHO, window

if TYPE_CHECKING:
    import pandas as pd

    from dmarcview.store import Store

NEWEST = 2  # times as many reports as are wanted are looked through first for those that hold a record
REMEMBERED = 256  # questions whose totals are kept
SUMMARY_TRIES = 5  # a store that changes faster than it is asked gives the last try

_R = report_table.c
_LIST: tuple[tuple[str, str, Any], ...] = (
    ("report_key", "text", _R.report_key),
    ("domain", "text", _R.domain),
    ("submitter", "text", _R.submitter),
    ("org_name", "text", _R.org_name),
    ("report_id", "text", _R.report_id),
    ("begin", "time", _R.begin),
    ("end", "time", _R.end),
    ("received", "time", _R.received),
    ("auth", "text", _R.auth),
    ("schema", "text", _R.schema),
    ("p", "text", _R.p),
    ("records", "int", _R.records),
    ("messages", "int", _R.messages),
    ("dmarc_pass", "int", _R.dmarc_pass),
    ("warnings", "warned", _R.warning_counts),
    ("truncated", "bool", _R.truncated),
    ("duplicates", "int", _R.duplicates),
    ("apart", "text", _R.apart),
    ("input", "text", items.c.name),
    ("channel", "text", items.c.channel),
)
_REFUSED = (
    ("item", "int"), ("received", "time"), ("input", "text"), ("where", "text"), ("code", "text"), ("message", "text"),
    ("channel", "text"), ("client", "text"), ("mail_from", "text"), ("raw", "bool"), ("report_key", "text"),
)  # fmt: skip


def _table(found: Sequence[Sequence[Any]], columns: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """Rows of the ledger as a frame with the settled types."""
    import pyarrow as pa

    types = {"text": pa.string(), "int": pa.int64(), "bool": pa.bool_(), "time": pa.timestamp("s", tz="UTC")}
    values = list(zip(*found, strict=True)) if found else [()] * len(columns)
    arrays = [
        pa.array([sum(orjson.loads(v).values()) for v in vs] if kind == "warned" else vs, types.get(kind, pa.int64()))
        for vs, (_, kind) in zip(values, columns, strict=True)
    ]
    return frame(pa.table(dict(zip([n for n, _ in columns], arrays, strict=True))))


def _overlap(query: Any, filters: Filters) -> Any:
    """The filters that a report as a whole can answer."""
    if filters.end is not None:
        query = query.where(_R.begin < filters.end)
    if filters.begin is not None:
        # an empty period counts at its begin; the first condition lets the index find the rest
        query = query.where(_R.end >= filters.begin, or_(_R.end > filters.begin, _R.begin >= filters.begin))
    if filters.domains is not None:
        query = query.where(_R.domain.in_(filters.domains))
    if filters.submitter is not None:
        query = query.where(_R.submitter == filters.submitter)
    return query


def reports(
    store: Store,
    filters: Filters = Filters(),  # noqa: B008 - frozen
    *,
    limit: int | None = 50,
    offset: int = 0,
    apart: bool = False,
) -> pd.DataFrame:
    """One row a report whose period overlaps the window, latest end first; with `apart`, also those that do not count.

    Columns: report_key, domain, submitter, org_name, report_id; begin, end, received (times); auth, schema, p; records,
    messages, dmarc_pass (messages of the whole report); warnings (how many); truncated; duplicates (times sent again);
    apart (why it does not count: conflict or unknown_domain; missing if it does); input, channel.
    """
    columns = [(n, t) for n, t, _ in _LIST]
    shelves = [*filters.shelves, APART] if apart else list(filters.shelves)
    order = (_R.end.desc(), _R.begin.desc(), _R.report_key)
    query = select(*(c.label(n) for n, _, c in _LIST)).join_from(report_table, items)
    if filters.result or filters.source_ip or filters.source_class:
        keys = _keys_with(store, filters, limit, offset)
        with store.ledger.read() as conn:
            rows = [r for part in chunks(keys) for r in conn.execute(query.where(_R.report_key.in_(part)))]
        place = {key: i for i, key in enumerate(keys)}
        return _table(sorted(rows, key=lambda row: place[row[0]]), columns)
    query = query.order_by(*order).limit(limit).offset(offset)
    if limit is None:
        query = _overlap(query.where(_R.shelf.in_(shelves)), filters)
    else:  # the newest of each shelf by its index, then the newest of these
        heads = [
            _overlap(select(_R.id).where(_R.shelf == s), filters).order_by(*order).limit(limit + offset).subquery()
            for s in shelves
        ]
        query = query.where(_R.id.in_(select(union_all(*(select(h.c.id) for h in heads)).subquery().c.id)))
    with store.ledger.read() as conn:
        return _table(conn.execute(query).all(), columns)


def _keys_with(store: Store, filters: Filters, limit: int | None, offset: int) -> list[str]:
    """Reports that hold a record which the filters choose: of the newest reports first, until there are enough."""
    asked = over_periods(filters)
    join = JOIN if asked.by_class else ""
    top = "" if limit is None else f"limit {int(limit)} offset {int(offset)}"
    store.rollup.ready_sources(store.ledger)
    at, tried = window(store, filters), (limit or 0) + offset
    while True:
        cut = None
        if limit is not None:
            tried *= NEWEST
            with store.ledger.read() as conn:
                query = _overlap(select(_R.end).where(_R.shelf.in_(filters.shelves)), filters)
                cut = conn.execute(query.order_by(_R.end.desc()).limit(1).offset(tried)).scalar()
        newer = "" if cut is None else 'and "end" >= to_timestamp($cut)'
        sql = (
            f'select report_key from (select distinct report_key, "begin", "end" from records c {join} '
            f'where {asked.where} {newer}) order by "end" desc, "begin" desc, report_key {top}'
        )
        begin = at.begin if cut is None else max(cut - 1, at.begin or 0)
        found = store.engine.rows(sql, {**asked.params, "cut": cut}, Window(at.snapshot, at.shelves, begin, at.end))
        if cut is None or len(found) == limit:
            return [r[0] for r in found]


def submitters(store: Store) -> list[str]:
    """Every reporter of whom a report is kept, by alphabet."""
    with store.ledger.read() as conn:
        return [str(name) for (name,) in conn.execute(select(_R.submitter).distinct().order_by(_R.submitter))]


def report_count(store: Store, filters: Filters = Filters(), *, apart: bool = False) -> int:  # noqa: B008 - frozen
    """How many reports `reports` would list without a limit, by the filters that a whole report can answer."""
    shelves = [*filters.shelves, APART] if apart else list(filters.shelves)
    query = _overlap(select(func.count()).select_from(report_table).where(_R.shelf.in_(shelves)), filters)
    with store.ledger.read() as conn:
        return int(conn.execute(query).scalar_one())


@dataclass(frozen=True, slots=True)
class ReportHead:
    """One report without its records: `facts` by column name of the ledger, and what was repaired."""

    facts: dict[str, Any]
    warnings: tuple[tuple[str, str], ...]  # (code, place)
    warning_counts: dict[str, int]
    errors: tuple[str, ...]
    apart: str | None
    conflicts: tuple[str, ...]  # keys of reports with the same identity


def report(store: Store, report_key: str) -> ReportHead | None:
    """The head of a report; None when there is none with that key."""
    with store.ledger.read() as conn:
        query = select(report_table, items.c.name.label("input"), items.c.channel, items.c.client, items.c.helo,
                       items.c.mail_from, items.c.auth_detail, items.c.id.label("item"),
                       items.c.segment.is_not(None).label("raw")).join_from(report_table, items)  # fmt: skip
        row = conn.execute(query.where(_R.report_key == report_key)).mappings().one_or_none()
        if row is None:
            return None
        same = select(_R.report_key).where(_R.identity == row["identity"], _R.report_key != report_key)
        conflicts = tuple(r[0] for r in conn.execute(same.order_by(_R.report_key)))
    facts = dict(row)
    warnings = tuple((c, w) for c, w in orjson.loads(facts.pop("warnings")))
    counts = orjson.loads(facts.pop("warning_counts"))
    errors = tuple(orjson.loads(facts.pop("errors")))
    return ReportHead(facts, warnings, counts, errors, facts["apart"], conflicts)


def report_records(store: Store, report_key: str) -> pd.DataFrame:
    """The records of one report, also of one that does not count: the record and house columns of the schema.

    Most messages first.
    """
    head = report(store, report_key)
    begin, end, shelves = 0, 0, ("main", "doubt", APART)
    domain = ""
    if head is not None:
        begin, end, domain = head.facts["begin"], head.facts["end"], head.facts["domain"]
    listed = ", ".join(f'c."{n}"' for n in RECORD_COLUMNS)
    sql = (
        f"select {listed}, {WHO} from records c {JOIN} where c.domain = $domain and c.report_key = $key "
        'order by c."count" desc, c.source_ip, c.header_from'
    )
    store.rollup.ready_sources(store.ledger)
    at = Window(store.snapshot(), shelves, begin, max(end, begin + 1))
    return store.engine.frame(sql, {"key": report_key, "domain": domain}, at)


def refused(
    store: Store,
    *,
    limit: int | None = 50,
    offset: int = 0,
    code: str | None = None,
    since: int | None = None,
    until: int | None = None,
) -> pd.DataFrame:
    """What did not become rows, newest first: refusals, and reports kept apart as `unknown_domain`.

    Received from the second `since` on and before the second `until`.

    Columns: item (number for `Store.raw_item`), received (time), input, where (member of the input), code, message,
    channel, client, mail_from, raw (are the bytes kept?), report_key (of a report kept apart, else missing).
    """
    kept = items.c.segment.is_not(None)
    plain = select(
        items.c.id.label("item"), items.c.received.label("at"), items.c.name, refusals.c.member, refusals.c.code,
        refusals.c.message, items.c.channel, items.c.client, items.c.mail_from, kept.label("kept"),
        literal(None).label("report_key"), refusals.c.id.label("n"),
    ).join_from(refusals, items)  # fmt: skip
    apart = select(
        items.c.id, items.c.received, items.c.name, literal("").label("member"), literal(UNKNOWN_DOMAIN),
        literal("a report for ") + _R.domain + literal(", which is not watched; add it to [domains] to count it"),
        items.c.channel, items.c.client, items.c.mail_from, kept, _R.report_key, _R.id,
    ).join_from(report_table, items).where(_R.shelf == APART, _R.apart == UNKNOWN_DOMAIN)  # fmt: skip
    if code is not None:
        plain = plain.where(refusals.c.code == code)
    both = plain if code not in (None, UNKNOWN_DOMAIN) else union_all(plain, apart)
    sub = both.subquery()
    query = select(*list(sub.c)[:-1]).order_by(sub.c.at.desc(), sub.c.item.desc(), sub.c.n.desc())
    query = query.where(*_between(sub.c.at, since, until))
    if limit is not None:
        query = query.limit(limit).offset(offset)
    with store.ledger.read() as conn:
        return _table(conn.execute(query).all(), _REFUSED)


@dataclass(frozen=True, slots=True)
class Intake:
    """How much came in and what became of it, over all time or between two moments."""

    inputs: int
    reports: int  # that count
    unverified: int  # reports of mails that nobody vouches for
    duplicates: int
    conflicts: int
    unknown_domain: int
    refused: dict[str, int]  # by code
    others: dict[str, int]  # failure and TLS reports
    last_received: int | None  # seconds


def _between(column: Any, since: int | None, until: int | None) -> list[Any]:
    return ([] if since is None else [column >= since]) + ([] if until is None else [column < until])


def intake(store: Store, since: int | None = None, until: int | None = None) -> Intake:
    """The numbers of the intake page: of what came from the second `since` on and before the second `until`."""
    with store.ledger.read() as conn:
        q = select(func.count(), func.sum(items.c.duplicates), func.sum(items.c.conflicts), func.max(items.c.received))
        r = select(_R.shelf, _R.apart, func.count()).group_by(_R.shelf, _R.apart)
        f = select(refusals.c.code, func.count()).group_by(refusals.c.code).order_by(refusals.c.code)
        o = select(others.c.kind, func.count()).group_by(others.c.kind).order_by(others.c.kind)
        q, r = q.where(*_between(items.c.received, since, until)), r.where(*_between(_R.received, since, until))
        f, o = f.where(*_between(refusals.c.at, since, until)), o.where(*_between(others.c.at, since, until))
        n, duplicates, conflicts, last = conn.execute(q).one()
        shelves = [(s, a, c) for s, a, c in conn.execute(r)]
        return Intake(
            inputs=n,
            reports=sum(c for s, _, c in shelves if s == "main"),
            unverified=sum(c for s, _, c in shelves if s == "doubt"),
            duplicates=int(duplicates or 0),
            conflicts=int(conflicts or 0),
            unknown_domain=sum(c for _, a, c in shelves if a == UNKNOWN_DOMAIN),
            refused=_by_name(conn.execute(f).all()),
            others=_by_name(conn.execute(o).all()),
            last_received=last,
        )


def newest(store: Store, *, verified: bool = True) -> tuple[int, int] | None:
    """(when the newest report that counts came, when the latest period of all ended), in seconds; None without any."""
    with store.ledger.read() as conn:
        found = []
        for shelf in Filters(verified=verified).shelves:
            came = select(func.max(_R.received)).where(_R.shelf == shelf, _R.apart.is_(None))
            ended = select(func.max(_R.end)).where(_R.shelf == shelf)
            found.append((conn.execute(came).scalar(), conn.execute(ended).scalar()))
    known = [(int(came), int(ended)) for came, ended in found if came is not None and ended is not None]
    return (max(came for came, _ in known), max(ended for _, ended in known)) if known else None


def _by_name(found: Sequence[Any]) -> dict[str, int]:
    return {name: int(n) for name, n in found}


class _Totals(NamedTuple):
    reports: int
    records: int
    begin: int | None
    end: int | None


def _totals(store: Store, filters: Filters) -> _Totals:
    """Number, records, first begin and last end of the reports that overlap the window.

    They are remembered, and only newer reports are added, until an epoch ends: reports left or moved.
    """
    query = select(func.count(), func.coalesce(func.sum(_R.records), 0), func.min(_R.begin), func.max(_R.end))
    query = _overlap(query.select_from(report_table).where(_R.shelf.in_(filters.shelves)), filters)
    asked = (filters.shelves, filters.domains, filters.submitter, filters.since, filters.until)
    with store.ledger.read() as conn:
        epoch, version = counter(conn, "epoch"), counter(conn, "version")
        known = store.totals.pop(asked, None)
        if known is None or known[0] != epoch:
            found = _Totals(*conn.execute(query).one())
        else:
            found = _Totals(*known[2])
            if version != known[1]:
                new = _Totals(*conn.execute(query.where(_R.version > known[1])).one())
                begins = [b for b in (found.begin, new.begin) if b is not None]
                ends = [e for e in (found.end, new.end) if e is not None]
                found = _Totals(
                    found.reports + new.reports,
                    found.records + new.records,
                    min(begins, default=None),
                    max(ends, default=None),
                )
        for old in list(store.totals)[: 1 - REMEMBERED]:  # asked longest ago
            store.totals.pop(old, None)
        store.totals[asked] = (epoch, version, tuple(found))
    return found


def summary(store: Store, filters: Filters = Filters()) -> dict[str, Any]:  # noqa: B008 - frozen
    """The object of `dmarcview summary --json`.

    messages, dmarc_pass, spf_aligned, dkim_aligned (messages on the days of the window); reports, records (of reports
    that overlap it); begin, end (first begin and last end of these, seconds, or None); by_disposition {none,
    quarantine, reject}; by_class {own, third_party, forwarder, unknown} (messages).
    """
    from .traffic import classes

    for _ in range(SUMMARY_TRIES):
        version = store.version()
        found = classes(store, filters)
        n, rows, begin, end = _totals(store, filters)
        if store.version() == version:  # messages and reports are of one moment
            break
    total = {c: int(found[c].sum()) for c in found.columns[2:]}
    by_class = found.groupby("source_class")["messages"].sum()
    return {
        "messages": total["messages"],
        "reports": n,
        "records": rows,
        "dmarc_pass": total["dmarc_pass"],
        "spf_aligned": total["spf_aligned"],
        "dkim_aligned": total["dkim_aligned"],
        "begin": begin,
        "end": end,
        "by_disposition": {d: total[d] for d in ("none", "quarantine", "reject")},
        "by_class": {c: int(by_class.get(c, 0)) for c in ("own", "third_party", "forwarder", "unknown")},
    }
