"""The answer: rows by day, findings with their evidence, and coverage by receiver; all of the same numbers."""

# ruff: noqa: S608 - SQL is put together from our own constants; values from outside are parameters
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dmarcview.query import sent_first
from dmarcview.query.filters import Filters
from dmarcview.store.engine import frame, release

from . import awaited, habits, join, newcomers, sides, states
from .receivers import Receivers, host_name, learn, organisation
from .states import KEY
from .words import CODES, COLUMNS, COMPLETE, OPEN, SILENT, UNSENT_CODES, wilson

if TYPE_CHECKING:
    import pandas as pd

    from dmarcview.store import Store

EXPLAINED = 10  # sources of a kind with the evidence of their class
MOST_DOMAINS = 20  # recipients' domains that are named of a receiver


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What was sent beside what was reported.

    `rows`: the columns of `COLUMNS`, oldest day first. `findings`: code (of CODES), source_ip, header_from,
    dkim_domain, dkim_selector, receiver, messages, total (of how many), first_day, last_day (datetime64[s]), domain
    (whose policy the reports name; empty where none reports), sender (whom something proves to stand behind the source;
    empty for nobody), new_since (datetime64[s] of a sender that is new; else NaT), matched_by (as in `rows`), evidence
    (list of text, of the reports of all days); in the order of CODES, new senders first, then most messages.
    `receivers`: receiver, sent, reported, counted (sent in complete rows), matched (of these, reported), coverage, low,
    high, open, silent (sent in such rows), hosts, known_by and domains (lists of text: the organisations of MX hosts,
    how the receiver was found, the recipients' domains with most mail); most sent first.
    `logged`: source_ip and header_from as in `rows`, first and domain_first (datetime64[s]: when the whole log, not
    only that of the window, has the first delivery of this source and From, and of this From).
    """

    rows: pd.DataFrame
    findings: pd.DataFrame
    receivers: pd.DataFrame
    logged: pd.DataFrame


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
    known = habits.load(store, filters, now)
    with store.heavy.cursor() as cursor:
        sides.load_said(store, cursor, filters)
        sides.load_sent(store, cursor, filters, span(cursor, filters))
        takers(cursor, known, receivers)
        names = sorted({name for (name,) in cursor.execute("select header_from from keys").fetchall()})
        habits.tables(cursor, known, names)
        sides.choose(cursor, filters.domains)
        mailed(cursor)
        join.signatures(cursor)
        join.behind_nat(cursor)
        join.assign(cursor)
        join.lay(cursor)
        states.lines(cursor, filters)
        cursor.execute("drop table laid")
        asked = cursor.execute("select distinct domain from habit order by domain").fetchall()
        awaited.tables(store, cursor, filters, [domain for (domain,) in asked], now)
        states.states(cursor, now)
        newcomers.table(store, cursor, filters, now)
        out = Reconciled(_rows(cursor), _findings(cursor, store), _receivers(cursor), _logged(cursor, store))
    release()
    return out


def span(cursor: Any, filters: Filters) -> tuple[int | None, int | None]:
    """The seconds of which the sent log is read: those of the window and of the reports that overlap it."""
    low, high = cursor.execute("select min(b), max(e) from said").fetchall()[0]
    begin, end = filters.begin, filters.end
    if begin is not None:
        begin = min(begin, begin if low is None else low) - join.LEEWAY
    if end is not None:
        end = max(end, end if high is None else high) + join.LEEWAY
    return begin, end


def takers(cursor: Any, known: habits.Habits, said: Mapping[str, str] | None) -> None:
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
                    "pair": pa.array([pair for pair, *_ in pairs], pa.int32()),
                    "receiver": pa.array([taker.receiver for taker in found], pa.string()),
                    "known_by": pa.array([taker.known_by for taker in found], pa.string()),
                    "host": pa.array([organisation(host_name(host)) for _, host, _ in pairs], pa.string()),
                    "domain": pa.array([domain for *_, domain in pairs], pa.string()),
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


def mailed(cursor: Any) -> None:
    """Table `mailed`: deliveries by receiver and recipient domain."""
    cursor.execute(
        "create temp table mailed as select receiver, domain, sum(n) as mails from cells join takers using (pair) "
        "group by all"
    )


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
                case when ours and state = '{COMPLETE}' and reported < sent and ({KEY}) in (select ({KEY}) from few)
                    then 'unreported' end
            ], lambda one: one is not null)) as findings
        from days order by day, {KEY}, ours
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
    grouped = f"min(day) as first_day, max(day) as last_day from days where {{}} group by {KEY}"
    ours = f"select '{{}}' as code, {KEY}, {{}} as messages, {{}} as total, {grouped}"
    parts = [
        ours.format("dkim_broken", "sum(dkim_fail)", "sum(reported)", "dkim_fail > 0"),
        ours.format("spf_missed", "sum(spf_fail)", "sum(reported)", "spf_fail > 0"),
        ours.format("more_reported", "any_value(key_reported - key_sent)", "any_value(key_reported)",
                    "ours and key_sent > 0 and key_reported > key_sent"),
        ours.format("other_receiver", "sum(reported)", "sum(reported)", "ours and key_sent = 0"),
        ours.format("unreported", "sum(sent) - sum(reported)", "sum(sent)",
                    f"ours and state = '{COMPLETE}' and ({KEY}) in (select ({KEY}) from few)"),
        f"select kind, {KEY}, sum(reported), sum(reported), min(day), max(day) from lines where kind <> '' "
        f"group by kind, {KEY}",
    ]  # fmt: skip
    order = " ".join(f"when '{code}' then {place}" for place, code in enumerate(CODES))
    found = cursor.sql(
        f"with told as (select *, (select bool_or(by_signature) from lines x where x.ours and "
        f"x.source_ip = y.source_ip) as nat, (select min(domain) from said z where z.source_ip = y.source_ip and "
        f"z.header_from = y.header_from) as domain from ({' union all '.join(parts)}) y) "
        f"select code, t.source_ip, header_from, d as dkim_domain, s as dkim_selector, receiver, messages, total, "
        f"first_day, last_day, coalesce(t.domain, '') as domain, "
        f"case when code in {UNSENT_CODES} then coalesce(b.sender, '') else '' end as sender, "
        f"case when code in {UNSENT_CODES} then b.new_since end as new_since, "
        f"case when code in {UNSENT_CODES} then '' when nat then 'signature' else 'address' end as matched_by "
        f"from told t left join behind b on b.domain = t.domain and b.source_ip = t.source_ip "
        f"order by case code {order} end, new_since is null, messages desc, {_of_t(KEY)}"
    ).to_arrow_table()
    out = frame(found)
    out["evidence"] = _evidence(store, out)
    return out


def _evidence(store: Store, found: pd.DataFrame) -> list[list[str]]:
    """What is known of the sources of each line: of the first of a kind why they have their class, and of NAT."""
    known: dict[str, dict[tuple[str, str], list[str]]] = {}
    evidence = []
    for code, source, domain, by in found[["code", "source_ip", "domain", "matched_by"]].itertuples(index=False):
        of_kind, told = known.setdefault(code, {}), list[str]()
        if by == "signature":
            told = ["The log has another address: found by From and signature, so the relay is behind NAT."]
        elif code in UNSENT_CODES and ((domain, source) in of_kind or len(of_kind) < EXPLAINED):
            if (domain, source) not in of_kind:
                rows = store.source_rows(domain, source)
                of_kind[domain, source] = [str(one["text"]) for row in rows for one in row.evidence]
            told = of_kind[domain, source]
        evidence.append(told)
    return evidence


def _of_t(columns: str) -> str:
    return ", ".join(f"t.{name}" for name in columns.split(", "))


def _receivers(cursor: Any) -> pd.DataFrame:
    found = cursor.sql(
        f"""
        with named as (
            select receiver, list_sort(list(distinct host) filter (where host <> '')) as hosts,
                list_sort(list(distinct known_by)) as known_by from takers group by receiver
        ), most as (
            select receiver, list(domain order by mails desc, domain)[1:{MOST_DOMAINS}] as domains
            from mailed group by receiver
        ), summed as (
            select receiver, sum(sent) as sent, sum(reported) as reported,
                coalesce(sum(sent) filter (where state = '{COMPLETE}'), 0) as counted,
                coalesce(sum(least(sent, reported)) filter (where state = '{COMPLETE}'), 0) as matched,
                coalesce(sum(sent) filter (where state = '{OPEN}'), 0) as open,
                coalesce(sum(sent) filter (where state = '{SILENT}'), 0) as silent
            from days group by receiver
        ) select x.*, coalesce(hosts, []) as hosts, coalesce(known_by, []) as known_by,
            coalesce(domains, []) as domains
        from summed x left join named using (receiver) left join most using (receiver)
        order by sent desc, reported desc, receiver
        """
    ).to_arrow_table()
    out = frame(found)
    low, high = wilson(out["matched"], out["counted"])
    coverage = (out["matched"] / out["counted"].clip(lower=1)).where(out["counted"] > 0)
    place = list(out.columns).index("matched") + 1
    for name, values in (("high", high), ("low", low), ("coverage", coverage)):
        out.insert(place, name, values)
    return out


def _logged(cursor: Any, store: Store) -> pd.DataFrame:
    import pandas as pd

    seen = cursor.execute(
        "select distinct m.source_ip, k.header_from, k.source_ip from keys k join mails m using (key) order by all"
    ).fetchall()
    columns = ["source_ip", "header_from", "first", "domain_first"]
    firsts = sent_first(store, [(name, source) for _, name, source in seen])
    wholes = sent_first(store, [(name, None) for _, name, _ in seen])
    rows = [(*one[:2], *at) for one, *at in zip(seen, firsts, wholes, strict=True)]
    found = pd.DataFrame(rows, columns=columns).groupby(columns[:2], as_index=False).min()
    return found.astype({"source_ip": "str", "header_from": "str"}).astype(dict.fromkeys(columns[2:], "datetime64[s]"))
