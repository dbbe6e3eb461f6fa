"""Which DKIM keys mail was signed with, as reports say: the selectors in use."""

# ruff: noqa: S608 - SQL is put together from our own constants; values from outside are parameters
from __future__ import annotations

from typing import TYPE_CHECKING

from dmarcview.organisation import organisational

from .filters import SOURCE_CLASS, Filters, over_periods
from .traffic import JOIN, window

if TYPE_CHECKING:
    import pandas as pd

    from dmarcview.store import Store

VOUCHED = "('own', 'third_party')"  # classes whose mail is yours; a forger may name any selector
_PAIR = "{'d': lower(x.domain), 's': lower(x.selector)}"
_NAMED = f"list_distinct(list_transform(dkim, lambda x: {_PAIR}))"
_GOOD = f"list_transform(list_filter(dkim, lambda x: x.result = 'pass'), lambda x: {_PAIR})"


def selectors(store: Store, filters: Filters = Filters(), *, limit: int | None = 1_000) -> pd.DataFrame:  # noqa: B008 - frozen
    """One row a policy domain and signing key that mail of own and third-party sources carried, most messages first.

    Columns: domain, dkim_domain, selector (lower case); messages, passed (messages with a good signature of it);
    last_day (datetime64[s], the newest report's last day that has it); days (on which periods end that have it) and
    organisations (that reported it). Of `filters`, days, domains, submitter and trust count. Signatures without a
    selector, as some reporters write them, are left out.
    """
    asked = over_periods(filters)
    # a signature that stands twice in a record is one: distinct before they become rows
    sql = (
        f'with carried as (select c.domain, submitter, "end", "count", {_NAMED} as named, {_GOOD} as good '
        f"from records c {JOIN} where {asked.where} and {SOURCE_CLASS} in {VOUCHED}), "
        'signed as (select domain, submitter, "end", "count", good, unnest(named) as x from carried) '
        'select domain, x.d as dkim_domain, x.s as selector, cast(sum("count") as bigint) as messages, '
        'cast(coalesce(sum("count") filter (where list_contains(good, x)), 0) as bigint) as passed, '
        'cast(max("end" - interval 1 second) as date) as last_day, '
        'count(distinct cast("end" - interval 1 second as date)) as days, list(distinct submitter) as submitters '
        "from signed where x.s is not null and x.d is not null group by all "
        "order by messages desc, domain, dkim_domain, selector"
    )
    top = "" if limit is None else f" limit {int(limit)}"
    store.rollup.ready_sources(store.ledger)
    found = store.engine.frame(sql + top, asked.params, window(store, filters))
    organisations = [len({organisational(name) for name in names}) for names in found.pop("submitters")]
    return found.assign(organisations=organisations)
