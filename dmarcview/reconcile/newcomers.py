"""Who stands behind a source, and since when: what tells a new sender of yours from the many addresses of a forger."""

# ruff: noqa: S608 - SQL is put together from our own constants; values from outside are parameters
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dmarcview.query.filters import DAY, Filters
from dmarcview.query.proven import KNOWN_DAYS, NAMES, NEW_DAYS, SENDER, UNNAMED

if TYPE_CHECKING:
    from dmarcview.store import Store


def table(store: Store, cursor: Any, filters: Filters, now: int) -> None:
    """Table `behind`: domain, source_ip, sender (whom something proves, "" for nobody), new_since (timestamp or null).

    A sender is new when its first mail for the domain came in the last NEW_DAYS of the window, no label names it, and
    the domain was known before. By first mail of all its addresses; an address that nobody stands behind is never new.
    """
    end = min(now, now if filters.end is None else filters.end)
    cursor.register("whose", store.source_table(filters.domains, (*NAMES, "first_seen")))
    cursor.execute(
        f"""
        create temp table behind as
        with named as (
            select domain, source_ip, first_seen, {SENDER} as sender,
                source_class not in {UNNAMED} or "by" = 'user' as old from whose
        ), told as (
            select *, min(first_seen) over (partition by domain, sender) as first,
                bool_or(old) over (partition by domain, sender) as known,
                min(first_seen) over (partition by domain) as began from named
        ) select domain, source_ip, sender, case when sender <> '' and not known
            and first >= $end - {NEW_DAYS * DAY} and first < $end and first >= began + {KNOWN_DAYS * DAY}
            then make_timestamp(first * 1000000) end as new_since from told
        """,
        {"end": end},
    )
    cursor.unregister("whose")
