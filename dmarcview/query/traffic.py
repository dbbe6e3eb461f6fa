"""Questions about messages: by day, source, reporter and domain. Every number weighs by `count`, never by records."""

# ruff: noqa: S608 - SQL is put together from our own constants; values from outside are parameters
from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dmarcview.store.engine import Window, frame
from dmarcview.store.sums import AGAIN, ALL_SUMS, BY_DISPOSITION, RATES, outcome
from dmarcview_reports.schema import COLUMNS

from .filters import SOURCE_CLASS, Filters, over_days, over_periods

if TYPE_CHECKING:
    import pandas as pd

    from dmarcview.store import Store

JOIN = "left join sources s on c.domain = s.domain and c.source_ip = s.source_ip"
WHO = f"{SOURCE_CLASS} as source_class, s.service, s.service_type, s.country, s.asn, s.as_name, s.reverse_dns"


def window(store: Store, filters: Filters) -> Window:
    """What a question with these filters reads."""
    return Window(store.snapshot(), filters.shelves, filters.begin, filters.end)


def _ask(store: Store, filters: Filters, sql: str, params: dict[str, Any]) -> pd.DataFrame:
    store.rollup.ready_sources(store.ledger)
    return store.engine.frame(sql, params, window(store, filters))


def _days(store: Store, filters: Filters, keys: str, more: str, order: str) -> pd.DataFrame:
    """All sums by `keys`: from the rollup when it can tell, else from the cube."""
    asked = over_days(filters)
    if (filters.submitter, filters.source_ip, filters.domains, filters.result) == (None,) * 4:
        at = window(store, filters)
        where = asked.where.replace(SOURCE_CLASS, "source_class")
        with store.rollup.lock:
            store.rollup.ready(store.ledger, at.snapshot)
            sql = (
                f"with c as ({store.rollup.view(at)}) select {keys}, {AGAIN}{more} from c where {where} "
                f"group by {keys} order by {order}"
            )
            return store.engine.frame(sql, asked.params, at)
    sql = (
        f"with t as (select c.*, {SOURCE_CLASS} as source_class, {outcome(SOURCE_CLASS)} as outcome "
        f"from cube c {JOIN} where {asked.where}) "
        f"select {keys}, {ALL_SUMS}{more} from t group by {keys} order by {order}"
    )
    return _ask(store, filters, sql, asked.params)


def daily(store: Store, filters: Filters = Filters()) -> pd.DataFrame:  # noqa: B008 - frozen
    """One row a UTC day, oldest first, without gaps between the first and the last day that has messages.

    Columns: day (datetime64[s]); messages; dmarc_pass, spf_aligned, dkim_aligned (messages with it); own_pass,
    own_fail, forwarded, unknown_blocked, unknown_delivered, unstated (outcome classes; they sum to messages); none,
    quarantine, reject (what receivers did).
    """
    import pandas as pd

    out = _days(store, filters, "day", "", "day")
    if len(out) > 1:
        days = pd.date_range(out["day"].iloc[0], out["day"].iloc[-1], freq="D", unit="s")
        if len(days) != len(out):
            out = out.set_index("day").reindex(days, fill_value=0).rename_axis("day").reset_index()
    return out


def domains(store: Store, filters: Filters = Filters()) -> pd.DataFrame:  # noqa: B008 - frozen
    """One row a policy domain, most messages first.

    Columns: domain; messages, dmarc_pass, spf_aligned, dkim_aligned; the outcome classes of `daily`; none, quarantine,
    reject; first_day, last_day (datetime64[s]).
    """
    more = ", min(day) as first_day, max(day) as last_day"
    return _days(store, filters, "domain", more, "messages desc, domain")


def classes(store: Store, filters: Filters = Filters()) -> pd.DataFrame:  # noqa: B008 - frozen
    """One row a policy domain and source class: domain, source_class, then the sums of `domains`."""
    return _days(store, filters, "domain, source_class", "", "domain, source_class")


def reporters(store: Store, filters: Filters = Filters()) -> pd.DataFrame:  # noqa: B008 - frozen
    """One row a reporter, most messages first; reporters are told apart by their whole domain.

    Columns: submitter; messages, dmarc_pass, spf_aligned, dkim_aligned; none, quarantine, reject; domains (policy
    domains they report on); first_day, last_day (datetime64[s]).
    """
    asked = over_days(filters)
    join = JOIN if asked.by_class else ""
    sql = (
        f"select submitter, {RATES}, {BY_DISPOSITION}, count(distinct c.domain) as domains, "
        "min(day) as first_day, max(day) as last_day "
        f"from cube c {join} where {asked.where} group by submitter order by messages desc, submitter"
    )
    return _ask(store, filters, sql, asked.params)


def sources(store: Store, filters: Filters = Filters(), *, limit: int | None = 50) -> pd.DataFrame:  # noqa: B008 - frozen
    """One row a source (policy domain and address), most messages first, at most `limit`.

    Columns: domain, source_ip; messages, dmarc_pass, spf_aligned, dkim_aligned; forwarded (messages with an override
    that names a detour); none, quarantine, reject; delivered_fail (failed DMARC and not blocked); reporters;
    first_day, last_day (datetime64[s]); source_class, service, service_type, country, asn, as_name, reverse_dns.
    """
    asked = over_days(filters)
    where, params = asked.where, asked.params
    join = JOIN if asked.by_class else ""
    if limit is not None:  # the sum alone first: the rest only for those that are shown
        store.rollup.ready_sources(store.ledger)
        top = (
            f"select c.domain, c.source_ip, sum(messages) as n from cube c {join} where {where} "
            f"group by c.domain, c.source_ip order by n desc, c.domain, c.source_ip limit {int(limit)}"
        )
        pairs = [(r[0], r[1]) for r in store.engine.rows(top, params, window(store, filters))]
        where, more = _among(where, pairs)
        params = params | more
    sql = (
        f"with c as (select c.domain, c.source_ip, {RATES}, "
        "cast(coalesce(sum(messages) filter (where forwarded), 0) as bigint) as forwarded, "
        f"{BY_DISPOSITION}, "
        "cast(coalesce(sum(messages) filter (where not coalesce(dkim_aligned or spf_aligned, false) and "
        "coalesce(disposition, 'none') not in ('quarantine', 'reject')), 0) as bigint) as delivered_fail, "
        "count(distinct submitter) as reporters, min(day) as first_day, max(day) as last_day "
        f"from cube c {join} where {where} group by c.domain, c.source_ip) "
        f"select c.*, {WHO} from c {JOIN} order by messages desc, c.domain, c.source_ip"
    )
    return _ask(store, filters, sql, params)


def _among(where: str, pairs: list[tuple[str, str]]) -> tuple[str, dict[str, str]]:
    """Conditions narrowed to these sources: by address first, which the files' statistics can use."""
    if not pairs:
        return "false", {}
    ips = {f"top_ip{i}": ip for i, ip in enumerate(sorted({ip for _, ip in pairs}))}
    both = {f"top_pair{i}": f"{domain} {ip}" for i, (domain, ip) in enumerate(pairs)}
    narrowed = (
        f"{where} and c.source_ip in ({', '.join('$' + n for n in ips)}) "
        f"and c.domain || ' ' || c.source_ip in ({', '.join('$' + n for n in both)})"
    )
    return narrowed, ips | both


@dataclass(frozen=True, slots=True)
class SourceDetail:
    """One source, seen from all sides.

    `total`: one row of `sources` (none when the source has no message in the window). `daily`: as `query.daily`.
    `identities`: disposition, dkim_aligned, spf_aligned, header_from, envelope_from, dkim, spf, override_types (lists
    as in the schema), messages, reports; most messages first. `reporters`: as `query.reporters`. `evidence`: list of
    {"code", "text", ...} of the classification; `by` is "rule" or "user".
    """

    total: pd.DataFrame
    daily: pd.DataFrame
    identities: pd.DataFrame
    reporters: pd.DataFrame
    evidence: tuple[dict[str, object], ...]
    by: str
    confidence: str


def source_detail(store: Store, domain: str, source_ip: str, filters: Filters = Filters()) -> SourceDetail:  # noqa: B008 - frozen
    """All that is known of one source; of `filters`, the days, submitter, result and verified count."""
    from dataclasses import replace

    one = replace(filters, domains=(domain,), source_ip=source_ip, source_class=None)
    asked = over_periods(one)
    sql = (
        "select disposition, dkim_aligned, spf_aligned, header_from, envelope_from, dkim, spf, override_types, "
        'cast(sum("count") as bigint) as messages, count(distinct report_key) as reports from records c '
        f"where {asked.where} group by all order by messages desc, header_from, envelope_from, disposition, "
        "dkim_aligned, spf_aligned limit 200"
    )
    found = store.source_rows(domain, source_ip)
    return SourceDetail(
        sources(store, one),
        daily(store, one),
        _ask(store, one, sql, asked.params),
        reporters(store, one),
        found[0].evidence if found else (),
        found[0].by if found else "rule",
        found[0].confidence if found else "",
    )


def records(store: Store, filters: Filters = Filters(), *, limit: int | None = None) -> pd.DataFrame:  # noqa: B008 - frozen
    """Every record of a report whose period overlaps the window, with the columns of `schema.COLUMNS` in order.

    Sorted by domain, begin, source_ip. Whole reports: a period is not cut at the edge of the window.
    """
    asked = over_periods(filters)
    listed = ", ".join(
        f'c."{col.name}"'
        if col.origin != "house"
        else f"{SOURCE_CLASS} as source_class"
        if col.name == "source_class"
        else f's."{col.name}"'
        for col in COLUMNS
    )
    top = "" if limit is None else f"limit {int(limit)}"
    sql = (
        f"select {listed} from records c {JOIN} where {asked.where} "
        f'order by c.domain, c."begin", c.source_ip, c.report_key {top}'
    )
    return _ask(store, filters, sql, asked.params)


__all__ = ["SourceDetail", "classes", "daily", "domains", "frame", "records", "reporters", "source_detail", "sources"]
