"""The sums of a comparison, for commands, pages and notebooks alike: in all, by day, by selector, and what is open."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from .words import OPEN, SILENT, wilson

if TYPE_CHECKING:
    import pandas as pd

    from dmarcview.query import Completeness, Filters
    from dmarcview.store import Store

    from .answer import Reconciled


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
    open: int  # sent, and the receiver's reports may still come
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
    """The days with deliveries that are not complete, by the one rule for all (`query.complete`); oldest first.

    On a day that is complete some rows may be open still: those of reporters too small to wait for.
    """
    from dmarcview.query.complete import RECENT_DAYS, complete_days, each

    rows = answer.rows
    today = datetime.fromtimestamp(int(store.clock()), UTC).date()
    sent = {when.date() for when in rows.loc[rows["sent"] > 0, "day"].unique()}
    recent = [day for day in sent if today - timedelta(days=RECENT_DAYS) <= day <= today]
    if not recent:
        return []
    judged = each(complete_days(store, min(recent), max(recent), filters))
    return [day for day in judged if day.day in sent and not day.complete]
