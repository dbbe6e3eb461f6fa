"""Questions about messages: by day, source, reporter and domain. Every number weighs by `count`, never by records."""

# ruff: noqa: S608 - SQL is put together from our own constants; values from outside are parameters
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from dmarcview.store.engine import Window, frame, release
from dmarcview.store.sums import ALL_SUMS, BY_DISPOSITION, OF_SOURCES, RATES
from dmarcview_reports.schema import COLUMNS

from .filters import SOURCE_CLASS, Filters, chosen, over_periods

if TYPE_CHECKING:
    import pandas as pd

    from dmarcview.store import Store
    from dmarcview.store.counting import Counting

JOIN = "left join sources s on c.domain = s.domain and c.source_ip = s.source_ip"
OF_REPORTERS = f"{RATES}, {BY_DISPOSITION}"
IDENTITIES = 200  # listed of one source
WHO = f"{SOURCE_CLASS} as source_class, s.service, s.service_type, s.country, s.asn, s.as_name, s.reverse_dns"


def window(store: Store, filters: Filters) -> Window:
    """What a question with these filters reads."""
    return Window(store.snapshot(), filters.shelves, filters.begin, filters.end)


def _ask(store: Store, filters: Filters, sql: str, params: dict[str, Any]) -> pd.DataFrame:
    store.rollup.ready_sources(store.ledger)
    return store.engine.frame(sql, params, window(store, filters))


def count(store: Store, filters: Filters, sums: str, answer: Callable[[Counting], Any]) -> Any:
    """The answer to a question about messages, as an Arrow table, or as several of one moment."""
    from dmarcview.store.counting import Counting

    at = window(store, filters)
    with store.rollup.lock:
        store.rollup.ready(store.ledger, at.snapshot)
        found = answer(Counting(store.rollup, at, chosen(filters), sums))
        release()
    return found


def daily(store: Store, filters: Filters = Filters()) -> pd.DataFrame:  # noqa: B008 - frozen
    """One row a UTC day, oldest first, without gaps between the first and the last day that has messages.

    Columns: day (datetime64[s]); messages; dmarc_pass, spf_aligned, dkim_aligned (messages with it); own_pass,
    own_fail, forwarded, unknown_blocked, unknown_delivered, unstated (outcome classes; they sum to messages); none,
    quarantine, reject (what receivers did).
    """
    return _without_gaps(count(store, filters, ALL_SUMS, lambda c: c.by_day()))


def _without_gaps(found: Any) -> pd.DataFrame:
    import pandas as pd

    out = frame(found)
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
    found = count(store, filters, ALL_SUMS, lambda c: c.by_domain())
    return frame(found.sort_by([("messages", "descending"), ("domain", "ascending")]))


def classes(store: Store, filters: Filters = Filters()) -> pd.DataFrame:  # noqa: B008 - frozen
    """One row a policy domain and source class: domain, source_class, then the sums of `domains`."""
    found = count(store, filters, ALL_SUMS, lambda c: c.by_domain(classes=True)).drop(["first_day", "last_day"])
    return frame(found.sort_by([("domain", "ascending"), ("source_class", "ascending")]))


def reporters(store: Store, filters: Filters = Filters()) -> pd.DataFrame:  # noqa: B008 - frozen
    """One row a reporter, most messages first; reporters are told apart by their whole domain.

    Columns: submitter; messages, dmarc_pass, spf_aligned, dkim_aligned; none, quarantine, reject; domains (policy
    domains they report on); first_day, last_day (datetime64[s]).
    """
    return _ranked(count(store, filters, OF_REPORTERS, lambda c: c.by_submitter()))


def _ranked(found: Any) -> pd.DataFrame:
    return frame(found.sort_by([("messages", "descending"), ("submitter", "ascending")]))


def sources(store: Store, filters: Filters = Filters(), *, limit: int | None = 50) -> pd.DataFrame:  # noqa: B008 - frozen
    """One row a source (policy domain and address), most messages first, at most `limit`.

    Columns: domain, source_ip; messages, dmarc_pass, spf_aligned, dkim_aligned; forwarded (messages with an override
    that names a detour); none, quarantine, reject; delivered_fail (failed DMARC and not blocked); reporters;
    first_day, last_day (datetime64[s]); source_class, service, service_type, country, asn, as_name, reverse_dns.
    """
    return _told(store, count(store, filters, OF_SOURCES, lambda c: c.by_source(limit)))


def _told(store: Store, found: Any) -> pd.DataFrame:
    """Sources with who they are."""
    sql = f"select c.*, {WHO} from found c {JOIN} order by messages desc, c.domain, c.source_ip"
    with store.engine.cursor() as cursor:
        cursor.register("found", found)
        return frame(cursor.sql(sql).to_arrow_table())


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


def _identities(store: Store, one: Filters) -> pd.DataFrame:
    """What the records of one source say, as `SourceDetail` lists it."""
    import pandas as pd

    asked = over_periods(one)
    sql = (
        "select disposition, dkim_aligned, spf_aligned, header_from, envelope_from, results, "
        'cast(sum("count") as bigint) as messages, count(distinct (file, report)) as reports from identities c '
        f"where {asked.where} group by all order by messages desc, header_from, envelope_from, disposition, "
        f"dkim_aligned, spf_aligned, results limit {IDENTITIES}"
    )
    found = store.engine.frame(sql, asked.params, window(store, one))
    results = [orjson.loads(text) for text in found.pop("results")]
    for place, name in enumerate(("dkim", "spf", "override_types"), list(found.columns).index("messages")):
        found.insert(place, name, pd.Series([result[name] for result in results], dtype=object))
    return found


def source_detail(store: Store, domain: str, source_ip: str, filters: Filters = Filters()) -> SourceDetail:  # noqa: B008 - frozen
    """All that is known of one source; of `filters`, the days, submitter, result and verified count."""
    from dataclasses import replace

    one = replace(filters, domains=(domain,), source_ip=source_ip, source_class=None)
    total, days, reporters = count(
        store,
        one,
        OF_SOURCES,
        lambda c: (c.by_source(1), c.of(ALL_SUMS).by_day(), c.of(OF_REPORTERS).by_submitter()),
    )
    found = store.source_rows(domain, source_ip)
    return SourceDetail(
        _told(store, total),
        _without_gaps(days),
        _identities(store, one),
        _ranked(reporters),
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
