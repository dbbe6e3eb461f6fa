"""What `dmarcview.open` gives: a store whose questions are methods that return DataFrames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields as fields_of
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from dmarcview import query
from dmarcview.query import Filters
from dmarcview.store import Store

if TYPE_CHECKING:
    import pandas as pd


class Library(Store):
    """A store for people who write Python. `fields` are those of `query.Filters`: `domains=("example.org",)`."""

    def records(self, filters: Filters | None = None, **fields: Any) -> pd.DataFrame:
        """Every counted record as a frame with the columns of `dmarcview_reports.schema.COLUMNS`."""
        return query.records(self, _filters(filters, fields))

    def daily(self, filters: Filters | None = None, **fields: Any) -> pd.DataFrame:
        """Messages a UTC day; the columns of `query.daily`."""
        return query.daily(self, _filters(filters, fields))

    def sources(self, filters: Filters | None = None, **fields: Any) -> pd.DataFrame:
        """One row a source, all of them; the columns of `query.sources`."""
        return query.sources(self, _filters(filters, fields), limit=None)

    def reports(self, filters: Filters | None = None, **fields: Any) -> pd.DataFrame:
        """One row a report, newest first, all of them; the columns of `query.reports`."""
        return query.reports(self, _filters(filters, fields), limit=None)

    def completeness(self, filters: Filters | None = None, *, days: int = 14, **fields: Any) -> pd.DataFrame:
        """How much of each of the last so many days is in, oldest first; the `days` of `query.lateness.Judged`."""
        today = datetime.fromtimestamp(int(self.clock()), UTC).date()
        first, last = today - timedelta(days=days), today - timedelta(days=1)
        return query.complete_days(self, first, last, _filters(filters, fields)).days

    def sent(self, asked: query.Sent | None = None, **fields: Any) -> pd.DataFrame:
        """What the relay sent: one row a try for one recipient, newest first, all of them; the columns of `query.sent`.

        `fields` are those of `query.Sent`: `to="example.net"`.
        """
        return query.sent(self, asked if asked is not None else query.Sent(**_known(query.Sent, fields)), limit=None)

    def probes(self, *, receivers: Mapping[str, str] | None = None, verified: bool = True) -> pd.DataFrame:
        """What became of the probes of `dmarcview test loop`; the columns of `reconcile.probes.table`."""
        from dmarcview.reconcile import probes

        return probes.table(probes.follow(self, receivers, limit=None, verified=verified))

    def reconcile(
        self, filters: Filters | None = None, *, receivers: Mapping[str, str] | None = None, **fields: Any
    ) -> pd.DataFrame:
        """What was sent beside what was reported: a row a day, source, From, selector and receiver, oldest first.

        The columns are those of `reconcile.COLUMNS` (see docs/reference/columns.md); `receivers` names reporters by
        the domain of an MX host or of recipients, as [reconcile] receivers does. `dmarcview.reconcile.reconcile`
        gives findings and receivers, too.
        """
        from dmarcview import reconcile

        return reconcile.reconcile(self, _filters(filters, fields), receivers).rows


def _filters(filters: Filters | None, given: dict[str, Any]) -> Filters:
    """Raises TypeError for a name that is no filter."""
    return filters if filters is not None else Filters(**_known(Filters, given))


def _known(kind: type, given: dict[str, Any]) -> dict[str, Any]:
    names = [field.name for field in fields_of(kind)]
    if wrong := [name for name in given if name not in names]:
        raise TypeError(f"there is no filter {', '.join(wrong)}; there are {', '.join(names)}")
    return given
