"""The answer: rows by day, findings with their evidence, and coverage by receiver; all of the same numbers."""

# ruff: noqa: S608 - SQL is put together from our own constants; values from outside are parameters
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dmarcview.query.filters import Filters, over_days
from dmarcview.store.engine import frame, release

from . import join, sides
from .receivers import Receivers, learn, organisation
from .words import CODES, COLUMNS, COMPLETE, OPEN, SILENT, UNSENT, wilson

if TYPE_CHECKING:
    import pandas as pd

    from dmarcview.store import Store

UNREPORTED = 0.9  # coverage below which a receiver that reports leaves out too much
EXPLAINED = 50  # findings with the evidence of their source's class
_KEY = "source_ip, header_from, d, s, receiver"
_KINDS = ("bypass", "unknown_sender", "forged", "third_party", "forwarded")


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What was sent beside what was reported.

    `rows`: the columns of `COLUMNS`, oldest day first. `findings`: code (of CODES), source_ip, header_from,
    dkim_domain, dkim_selector, receiver, messages, total (of how many), first_day, last_day (datetime64[s]), evidence
    (list of text); in the order of CODES, most messages first. `receivers`: receiver, sent, reported, counted (sent in
    complete rows), matched (of these, reported), coverage, low, high, open, silent (sent in such rows), hosts and
    known_by (lists of text: the organisations of MX hosts, and how the receiver was found); most sent first.
    """

    rows: pd.DataFrame
    findings: pd.DataFrame
    receivers: pd.DataFrame


def reconcile(
    store: Store,
    filters: Filters = Filters(),  # noqa: B008 - frozen
    receivers: Mapping[str, str] | None = None,
) -> Reconciled:
    """Hold the sent log against the reports; `receivers` is the user's word: MX or recipient domain to reporter domain.

    Of `filters`, `result` cannot be asked (ValueError): a comparison takes all results. `submitter` chooses the
    receiver of that organisation. Days are UTC; of the window, the sum of `sent` is the number of rows delivered, and
    without a window the sum of `reported` is the number of messages in the reports.
    """
    if filters.result is not None:
        raise ValueError("a comparison of sent and reported takes all results: ask without --result")
    now = int(store.clock())
    store.rollup.ready_sources(store.ledger)
    known = sides.habits(store, filters, now)
    with store.engine.cursor() as cursor:
        sides.load_said(store, cursor, filters)
        sides.load_sent(store, cursor, filters, known, _span(cursor, filters))
        _takers(cursor, known, receivers)
        join.signatures(cursor)
        join.behind_nat(cursor)
        join.assign(cursor)
        join.lay(cursor)
        _lines(cursor, filters)
        _states(cursor, store, filters, known, now)
        out = Reconciled(_rows(cursor), _findings(cursor, store), _receivers(cursor))
    release()
    return out


def _span(cursor: Any, filters: Filters) -> tuple[int | None, int | None]:
    """The seconds of which the sent log is read: those of the window and of the reports that overlap it."""
    low, high = cursor.execute("select min(b), max(e) from said").fetchall()[0]
    begin, end = filters.begin, filters.end
    if begin is not None:
        begin = min(begin, begin if low is None else low) - join.LEEWAY
    if end is not None:
        end = max(end, end if high is None else high) + join.LEEWAY
    return begin, end


def _takers(cursor: Any, known: sides.Habits, said: Mapping[str, str] | None) -> None:
    """Table `takers`: the organisation of each pair of MX host and recipient domain."""
    import pyarrow as pa

    told = cursor.execute(
        "select envelope_to, arg_max(submitter, (n, submitter)) from (select envelope_to, submitter, sum(n) as n "
        "from said where (source_ip, header_from) in (select source_ip, header_from from keys) and envelope_to in "
        "(select recipient_domain from pairs) group by all) group by envelope_to"
    ).fetchall()
    book = Receivers(known.reporters, said, dict(told))
    pairs = cursor.execute("select pair, host, recipient_domain from pairs order by pair").fetchall()
    found = [book.taker(host, domain) for _, host, domain in pairs]

    def table() -> None:
        cursor.register(
            "takers",
            pa.table(
                {
                    "pair": pa.array([pair for pair, _, _ in pairs], pa.int32()),
                    "receiver": pa.array([taker.receiver for taker in found], pa.string()),
                    "known_by": pa.array([taker.known_by for taker in found], pa.string()),
                    "host": pa.array([organisation(host) for _, host, _ in pairs], pa.string()),
                }
            ),
        )

    table()
    if learned := learn(cursor):
        found = [
            taker._replace(receiver=learned[taker.receiver], known_by="learned")
            if taker.known_by == "guess" and taker.receiver in learned
            else taker
            for taker in found
        ]
        table()


def _lines(cursor: Any, filters: Filters) -> None:
    """Table `lines`: both sides under each other, of the days and sources asked for."""
    asked = over_days(replace(filters, domains=None, submitter=None, source_class=None))
    where, params = [asked.where], dict(asked.params)
    if filters.submitter is not None:
        where.append("receiver = $receiver")
        params["receiver"] = organisation(filters.submitter)
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
        ) select day, number, {_KEY}, bool_or(by_signature) as by_signature, ours, kind, source_class,
            sum(sent) as sent, sum(reported) as reported, sum(dkim_fail) as dkim_fail, sum(spf_fail) as spf_fail
        from dated c where {" and ".join(f"({part})" for part in where)}
        group by day, number, {_KEY}, ours, kind, source_class having sum(sent) + sum(reported) > 0
        """,
        params,
    )


def _states(cursor: Any, store: Store, filters: Filters, known: sides.Habits, now: int) -> None:
    """Tables `days` (the rows), and `few` (keys of which too little is reported)."""
    import pyarrow as pa

    names = [row[0] for row in cursor.execute("select distinct header_from from lines").fetchall()]
    under: dict[str, list[str]] = {}
    for name in names:
        under.setdefault(known.policy(name), []).append(name)
    habit = [
        (name, who, one.first, one.wait) for (domain, who), one in known.of.items() for name in under.get(domain, ())
    ]
    full = [
        (name, who, day)
        for (domain, who, day), seconds in sides.covered(store, filters, now).items()
        if seconds >= sides.DAY
        for name in under.get(domain, ())
    ]
    texts, numbers = pa.string(), pa.int64()
    for table, columns, kinds, values in (
        ("habit", ("header_from", "receiver", "first", "wait"), (texts, texts, numbers, numbers), habit),
        ("full_days", ("header_from", "receiver", "number"), (texts, texts, numbers), full),
    ):
        arrays = [pa.array([one[i] for one in values], kind) for i, kind in enumerate(kinds)]
        cursor.register(table, pa.table(dict(zip(columns, arrays, strict=True))))
    cursor.execute(
        f"""
        create temp table days as
        with summed as (
            select day, number, {_KEY}, ours, bool_or(by_signature) as by_signature,
                arg_max(source_class, (reported, source_class)) as source_class,
                sum(sent) as sent, sum(reported) as reported,
                sum(dkim_fail) as dkim_fail, sum(spf_fail) as spf_fail,
                list_sort(list(distinct kind) filter (where kind <> '')) as kinds
            from lines group by day, number, {_KEY}, ours
        ) select x.*, case when sent = 0 then '{UNSENT}'
            when h.first is null or (x.number + 1) * 86400 <= h.first then '{SILENT}'
            when $now < (x.number + 1) * 86400 + h.wait and f.number is null then '{OPEN}'
            else '{COMPLETE}' end as state,
            sum(sent) over (partition by {_x(_KEY)}, ours) as key_sent,
            sum(reported) over (partition by {_x(_KEY)}, ours) as key_reported
        from summed x left join habit h using (header_from, receiver)
        left join full_days f on f.header_from = x.header_from and f.receiver = x.receiver and f.number = x.number
        """,
        {"now": now},
    )
    totals = cursor.execute(
        f"select {_KEY}, sum(sent), least(sum(reported), sum(sent)) from days where ours and state = '{COMPLETE}' "
        f"group by {_KEY} having sum(reported) < sum(sent)"
    ).fetchall()
    _, high = wilson([row[6] for row in totals], [row[5] for row in totals])
    few = [row[:5] for row, top in zip(totals, high, strict=True) if top < UNREPORTED]
    fields = ("source_ip", "header_from", "d", "s", "receiver")
    cursor.register("few", pa.table({f: pa.array([row[i] for row in few], texts) for i, f in enumerate(fields)}))


def _x(columns: str) -> str:
    return ", ".join(f"x.{name}" for name in columns.split(", "))


def _rows(cursor: Any) -> pd.DataFrame:
    found = cursor.sql(
        f"""
        select day, source_ip, header_from, d as dkim_domain, s as dkim_selector, receiver, sent, reported, dkim_fail,
            spf_fail, state, case when not ours then '' when by_signature then 'signature' else 'address' end
                as matched_by, source_class,
            list_concat(coalesce(kinds, []), list_filter([
                case when dkim_fail > 0 then 'dkim_broken' end, case when spf_fail > 0 then 'spf_missed' end,
                case when ours and key_sent > 0 and key_reported > key_sent and reported > sent
                    then 'more_reported' end,
                case when ours and key_sent = 0 then 'other_receiver' end,
                case when ours and state = '{COMPLETE}' and reported < sent and ({_KEY}) in (select ({_KEY}) from few)
                    then 'unreported' end
            ], lambda one: one is not null)) as findings
        from days order by day, {_KEY}, ours
        """
    ).to_arrow_table()
    out = frame(found)
    complete = out["state"] == COMPLETE
    matched = out[["sent", "reported"]].min(axis=1)
    low, high = wilson(matched, out["sent"])
    for place, (name, values) in enumerate(
        (("coverage", matched / out["sent"].clip(lower=1)), ("low", low), ("high", high)),
        list(out.columns).index("state") + 1,
    ):
        out.insert(place, name, values)
        out.loc[~complete, name] = float("nan")
    return out[list(COLUMNS)]


def _findings(cursor: Any, store: Store) -> pd.DataFrame:
    grouped = f"min(day) as first_day, max(day) as last_day from days where {{}} group by {_KEY}"
    ours = f"select '{{}}' as code, {_KEY}, {{}} as messages, {{}} as total, {grouped}"
    parts = [
        ours.format("dkim_broken", "sum(dkim_fail)", "sum(reported)", "dkim_fail > 0"),
        ours.format("spf_missed", "sum(spf_fail)", "sum(reported)", "spf_fail > 0"),
        ours.format("more_reported", "any_value(key_reported - key_sent)", "any_value(key_reported)",
                    "ours and key_sent > 0 and key_reported > key_sent"),
        ours.format("other_receiver", "sum(reported)", "sum(reported)", "ours and key_sent = 0"),
        ours.format("unreported", "sum(sent) - sum(reported)", "sum(sent)",
                    f"ours and state = '{COMPLETE}' and ({_KEY}) in (select ({_KEY}) from few)"),
        f"select kind, {_KEY}, sum(reported), sum(reported), min(day), max(day) from lines where kind <> '' "
        f"group by kind, {_KEY}",
    ]  # fmt: skip
    order = " ".join(f"when '{code}' then {place}" for place, code in enumerate(CODES))
    found = cursor.sql(
        f"select code, source_ip, header_from, d as dkim_domain, s as dkim_selector, receiver, messages, total, "
        f"first_day, last_day, (select bool_or(by_signature) from lines x where x.ours and x.source_ip = y.source_ip) "
        f"as nat, (select min(domain) from said z where z.source_ip = y.source_ip and "
        f"z.header_from = y.header_from) as policy from ({' union all '.join(parts)}) y "
        f"order by case code {order} end, messages desc, {_KEY}"
    ).to_arrow_table()
    out = frame(found)
    nat, policies = out.pop("nat").fillna(False).astype(bool).tolist(), out.pop("policy")
    evidence = []
    for place, (code, source, domain) in enumerate(zip(out["code"], out["source_ip"], policies, strict=True)):
        told = []
        if code in _KINDS and place < EXPLAINED:
            rows = store.source_rows(domain, source)
            told = [str(one["text"]) for row in rows for one in row.evidence]
        elif nat[place] and code not in _KINDS:
            told = ["The log has another address: found by From and signature, so the relay is behind NAT."]
        evidence.append(told)
    out["evidence"] = evidence
    return out


def _receivers(cursor: Any) -> pd.DataFrame:
    found = cursor.sql(
        f"""
        with named as (
            select receiver, list_sort(list(distinct host) filter (where host <> '')) as hosts,
                list_sort(list(distinct known_by)) as known_by from takers group by receiver
        ), summed as (
            select receiver, sum(sent) as sent, sum(reported) as reported,
                coalesce(sum(sent) filter (where state = '{COMPLETE}'), 0) as counted,
                coalesce(sum(least(sent, reported)) filter (where state = '{COMPLETE}'), 0) as matched,
                coalesce(sum(sent) filter (where state = '{OPEN}'), 0) as open,
                coalesce(sum(sent) filter (where state = '{SILENT}'), 0) as silent
            from days group by receiver
        ) select x.*, coalesce(hosts, []) as hosts, coalesce(known_by, []) as known_by
        from summed x left join named using (receiver) order by sent desc, reported desc, receiver
        """
    ).to_arrow_table()
    out = frame(found)
    low, high = wilson(out["matched"], out["counted"])
    coverage = (out["matched"] / out["counted"].clip(lower=1)).where(out["counted"] > 0)
    place = list(out.columns).index("matched") + 1
    for name, values in (("high", high), ("low", low), ("coverage", coverage)):
        out.insert(place, name, values)
    return out
