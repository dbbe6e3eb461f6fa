"""The sums of a comparison, for commands, pages and notebooks alike: in all, by day, by selector, and what is open."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from .words import OPEN, SILENT, wilson

if TYPE_CHECKING:
    import pandas as pd

    from dmarcview.query import Completeness, Filters
    from dmarcview.store import Store

    from .answer import Reconciled

MOST_OPEN_DAYS = 10  # days whose completeness is told


@dataclass(frozen=True, slots=True)
class Totals:
    """Messages. `coverage`, `low` and `high` are between 0 and 1, None while nothing is complete."""

    sent: int
    reported: int
    counted: int  # sent in complete rows
    matched: int  # of these, reported
    coverage: float | None
    low: float | None
    high: float | None
    open: int  # sent, and reports may still come
    silent: int  # sent to receivers that send no reports
    signed: int  # reported of what the relay signed
    dkim_fail: int  # of these, without a good signature of ours
    unsent: int  # reported, and the log has nothing that fits


def totals(answer: Reconciled) -> Totals:
    """The sums of all rows."""
    by, rows = answer.receivers, answer.rows
    counted, matched = int(by["counted"].sum()), int(by["matched"].sum())
    low, high = wilson(matched, counted)
    ours = rows["matched_by"] != ""
    return Totals(
        sent=int(by["sent"].sum()),
        reported=int(by["reported"].sum()),
        counted=counted,
        matched=matched,
        coverage=matched / counted if counted else None,
        low=float(low) if counted else None,
        high=float(high) if counted else None,
        open=int(by["open"].sum()),
        silent=int(by["silent"].sum()),
        signed=int(rows.loc[ours & (rows["dkim_domain"] != ""), "reported"].sum()),
        dkim_fail=int(rows["dkim_fail"].sum()),
        unsent=int(rows.loc[~ours, "reported"].sum()),
    )


def daily(answer: Reconciled) -> pd.DataFrame:
    """One row a day that has any: day, sent, silent and open (of these), reported, unsent (of these)."""
    rows = answer.rows
    split = rows[["day", "sent", "reported"]].assign(
        silent=rows["sent"].where(rows["state"] == SILENT, 0),
        open=rows["sent"].where(rows["state"] == OPEN, 0),
        unsent=rows["reported"].where(rows["matched_by"] == "", 0),
    )
    return split.groupby("day", as_index=False)[["sent", "silent", "open", "reported", "unsent"]].sum()


def selectors(answer: Reconciled) -> pd.DataFrame:
    """One row a key that the relay signed with, most sent first: dkim_domain, dkim_selector, sent, reported, dkim_fail.

    Mail without a signature is the row of two empty texts.
    """
    ours = answer.rows[answer.rows["matched_by"] != ""]
    keys = ["dkim_domain", "dkim_selector"]
    found = ours.groupby(keys, as_index=False)[["sent", "reported", "dkim_fail"]].sum()
    return found.sort_values(["sent", "reported", *keys], ascending=[False, False, True, True], ignore_index=True)


def open_days(store: Store, filters: Filters, answer: Reconciled) -> list[Completeness]:
    """How much of each day has come in of which reports may still come; the newest such days, oldest first."""
    from dmarcview.query import completeness

    days = sorted({when.date() for when in answer.rows.loc[answer.rows["state"] == OPEN, "day"]})
    today = datetime.fromtimestamp(int(store.clock()), UTC).date()
    return [completeness(store, day, filters) for day in [day for day in days if day <= today][-MOST_OPEN_DAYS:]]
