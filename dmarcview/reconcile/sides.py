"""The two sides, as tables of one DuckDB connection: `said` (reports), and `cells`, `keys`, `pairs` (the sent log).

A cell is a quarter of an hour, by which periods of every time zone begin and end. The log is read in one pass, each row
as three numbers, and DuckDB does the sums: four times faster than a GROUP BY of so many texts in SQLite.
"""

# ruff: noqa: S608 - SQL is put together from our own constants; values from outside are parameters
from __future__ import annotations

from array import array
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import or_, select

from dmarcview.query.filters import Filters, over_periods
from dmarcview.query.traffic import window
from dmarcview.store.tables import sent as sent_table
from dmarcview_relay.outcome import DELIVERED

from .receivers import reporter

if TYPE_CHECKING:
    from dmarcview.store import Store

SLOT = 900  # seconds of a cell
SLOTS_A_DAY = 96
FETCHED = 10_000  # rows of the ledger at once
_C = sent_table.c
_DETOUR = "list_has_any(override_types, ['forwarded', 'mailing_list', 'trusted_forwarder'])"


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


def load_sent(store: Store, cursor: Any, filters: Filters, span: tuple[int | None, int | None]) -> None:
    """Tables of the deliveries between two moments: `cells` (slot, key, pair, n), `keys`, `pairs`.

    Of the domains asked for and all below; which of these have a policy of their own is seen when the receivers are
    known (`choose`).
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
    text = pa.string()
    cursor.register(
        "read_keys",
        pa.table(
            {
                "key": pa.array(range(len(keys)), pa.int32()),
                "source_ip": pa.array([one[0] for one in keys], text),
                "header_from": pa.array([one[1] for one in keys], text),
                "d": pa.array([signed[0][0].lower() if signed else "" for signed in signatures], text),
                "s": pa.array([signed[0][1].lower() if signed else "" for signed in signatures], text),
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
    cursor.execute("create temp table keys as select * from read_keys")
    cursor.execute("create temp table cells as select slot, key, pair, count(*) as n from rows_sent group by all")


def choose(cursor: Any, domains: tuple[str, ...] | None) -> None:
    """Leave what was sent under these policy domains, None for all, by `habit`; and make the table `alike`.

    `alike` names the first signature of the mails that carry another one, so that a report that tells of the second
    alone finds its mails.
    """
    if domains is not None:
        cursor.execute(
            "create or replace temp table cells as select c.* from cells c join keys k using (key) "
            "join takers t using (pair) join policies p using (header_from) left join habit h on "
            "h.header_from = k.header_from and h.receiver = t.receiver and "
            f"(slot // {SLOTS_A_DAY} + 1) * 86400 > h.first and (slot // {SLOTS_A_DAY} + 1) * 86400 <= h.until "
            "where list_contains($domains, coalesce(h.domain, p.domain))",
            {"domains": list(domains)},
        )
        cursor.execute("delete from keys where key not in (select key from cells)")
    cursor.execute(
        "create temp table alike as select k.header_from, c.d, c.s, arg_max((k.d, k.s), (w.n, k.d, k.s)) as first "
        "from carried c join keys k using (key) join (select key, sum(n) as n from cells group by key) w using (key) "
        "group by k.header_from, c.d, c.s"
    )
