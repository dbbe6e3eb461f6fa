"""What a row of the comparison is: both sides under each other, and what may be said of a day: is it complete?"""

# ruff: noqa: S608 - SQL is put together from our own constants; values from outside are parameters
from __future__ import annotations

from dataclasses import replace
from typing import Any

from dmarcview.query.filters import Filters, over_days

from .receivers import reporter
from .words import COMPLETE, OPEN, SILENT, UNSENT, wilson

UNREPORTED = 0.9  # coverage below which a receiver that reports leaves out too much
KEY = "source_ip, header_from, d, s, receiver"


def lines(cursor: Any, filters: Filters) -> None:
    """Table `lines`: both sides under each other, of the days and sources asked for."""
    asked = over_days(replace(filters, domains=None, submitter=None, source_class=None))
    where, params = [asked.where], dict(asked.params)
    if filters.submitter is not None:
        where.append("receiver = $receiver")
        params["receiver"] = reporter(filters.submitter)
    if filters.source_class is not None:
        where.append("source_class = $source_class")
        params["source_class"] = filters.source_class
    cursor.execute(
        f"""
        create temp table lines as
        with both_sides as (
            select cast(slot // 96 as bigint) as number, source_ip, header_from, d, s, receiver, nat as by_signature,
                true as ours, '' as kind, 'own' as source_class, cast(sum(x.n) as hugeint) as sent,
                0::hugeint as reported, 0::hugeint as dkim_fail, 0::hugeint as spf_fail
            from sent x join kinds_of_mail using (mail) group by all
            union all
            select l.day, coalesce(m.source_ip, l.source_ip), l.header_from, coalesce(m.d, l.d), coalesce(m.s, l.s),
                l.receiver, coalesce(m.nat or l.by_signature, false), m.mail is not null, l.kind,
                case when m.mail is not null then 'own' else l.source_class end, 0::hugeint, sum(l.n),
                coalesce(sum(l.n) filter (where dkim_failed), 0), coalesce(sum(l.n) filter (where spf_failed), 0)
            from laid l left join kinds_of_mail m on m.mail = l.mail group by all
        ), dated as (
            select date '1970-01-01' + cast(number as integer) as day, * from both_sides
        ) select day, number, {KEY}, bool_or(by_signature) as by_signature, ours, kind, source_class,
            sum(sent) as sent, sum(reported) as reported, sum(dkim_fail) as dkim_fail, sum(spf_fail) as spf_fail
        from dated c where {" and ".join(f"({part})" for part in where)}
        group by day, number, {KEY}, ours, kind, source_class having sum(sent) + sum(reported) > 0
        """,
        params,
    )


def states(cursor: Any, now: int) -> None:
    """Tables `days` (the rows), and `few` (keys of which too little is reported)."""
    import pyarrow as pa

    cursor.execute(
        f"""
        create temp table days as
        with summed as (
            select day, number, {KEY}, ours, bool_or(by_signature) as by_signature,
                arg_max(source_class, (reported, source_class)) as source_class,
                sum(sent) as sent, sum(reported) as reported,
                sum(dkim_fail) as dkim_fail, sum(spf_fail) as spf_fail,
                list_sort(list(distinct kind) filter (where kind <> '')) as kinds
            from lines group by day, number, {KEY}, ours
        ) select x.*, case when sent = 0 then '{UNSENT}'
            when h.first is null then '{SILENT}'
            when coalesce(j.open, $now < (x.number + 1) * 86400 + h.wait and f.number is null) then '{OPEN}'
            else '{COMPLETE}' end as state,
            sum(sent) over (partition by {_of_x(KEY)}, ours) as key_sent,
            sum(reported) over (partition by {_of_x(KEY)}, ours) as key_reported
        from summed x left join habit h on h.header_from = x.header_from and h.receiver = x.receiver
            and h.first < (x.number + 1) * 86400 and h.until >= (x.number + 1) * 86400
        left join judged j on j.domain = h.domain and j.receiver = x.receiver and j.number = x.number
        left join full_days f on f.domain = h.domain and f.receiver = x.receiver and f.number = x.number
        """,
        {"now": now},
    )
    totals = cursor.execute(
        f"select {KEY}, sum(sent), least(sum(reported), sum(sent)) from days where ours and state = '{COMPLETE}' "
        f"group by {KEY} having sum(reported) < sum(sent)"
    ).fetchall()
    _, high = wilson([row[6] for row in totals], [row[5] for row in totals])
    few = [row[:5] for row, top in zip(totals, high, strict=True) if top < UNREPORTED]
    fields = ("source_ip", "header_from", "d", "s", "receiver")
    cursor.register("few", pa.table({f: pa.array([row[i] for row in few], pa.string()) for i, f in enumerate(fields)}))


def _of_x(columns: str) -> str:
    return ", ".join(f"x.{name}" for name in columns.split(", "))
