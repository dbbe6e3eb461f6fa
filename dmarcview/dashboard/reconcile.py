"""Sent against reported as the pages show it: compared once a version and view, by `slowly`, and kept as sums."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING

import pandas as pd

from dmarcview.dashboard import url
from dmarcview.dashboard.frames import Frames
from dmarcview.dashboard.sent import SentFrames
from dmarcview.dashboard.slowly import Slowly, Told
from dmarcview.reconcile.sums import Totals

if TYPE_CHECKING:
    from dmarcview.query import Completeness, Filters
    from dmarcview.reconcile import Reconciled
    from dmarcview.reconcile.probes import Followed


@dataclass(frozen=True, slots=True)
class Compared:
    """A comparison without its rows, which may be many.

    `daily`: day, sent, silent, open, reported, unsent; of these telling (sent to receivers that report) and ours
    (reported of what was sent); and complete, as on every chart. A row for each day of the window. `findings` and
    `receivers` as in `reconcile.Reconciled`, `selectors` as in `reconcile.sums.selectors`.
    """

    totals: Totals
    daily: pd.DataFrame
    findings: pd.DataFrame
    receivers: pd.DataFrame
    selectors: pd.DataFrame
    open_days: tuple[Completeness, ...]


class ReconcileFrames:
    """Comparisons by the views of the pages. `said` is `[reconcile] receivers`."""

    def __init__(self, frames: Frames, said: Mapping[str, str] | None = None) -> None:
        self.frames, self.store, self.said = frames, frames.store, dict(said or {})
        self.sent = SentFrames(frames)
        self.slowly = Slowly()

    def compared(self, view: url.View) -> Told[Compared]:
        """The comparison of a view's window, domain and class, whatever its result."""
        asked, window = self.filters(view), self.window(view)
        hour = int(self.store.clock()) // 3_600  # days become complete without a new report
        version = (self.frames.version(), self.sent.version(), self.frames.today(), hour)
        return self.slowly.ask((asked, window), version, lambda: self._compare(view, asked, window))

    def rows(self, view: url.View) -> pd.DataFrame:
        """`Store.reconcile` of a view: asked anew, for the rows are not kept."""
        rows = self._reconcile(self.filters(view)).rows
        return rows.assign(findings=rows["findings"].map(" ".join))

    def probes(self) -> Told[tuple[Followed, ...]]:
        """The newest probes of the loop, newest first, and what became of them."""
        from dmarcview.reconcile import probes
        from dmarcview.store.probes import newest

        sent = self.sent.version()
        if not self.frames.cached("any probe", sent, lambda: bool(newest(self.store.ledger, 1))):
            return Told((), True)
        version = (self.frames.version(), sent, int(self.store.clock()) // 3_600)
        doubtful = self.frames.doubtful
        return self.slowly.ask(
            "probes", version, lambda: tuple(probes.follow(self.store, self.said, verified=not doubtful))
        )

    def window(self, view: url.View) -> tuple[date, date]:
        """First and last day: as those of what was sent, for days that are still open are shown as such."""
        return self.sent.window(view)

    def filters(self, view: url.View) -> Filters:
        """What the comparison is asked for."""
        return replace(self.frames.filters(view, *self.window(view)), result=None)

    def any_relay(self) -> bool:
        """Was a relay ever set up here: are there its keys, its queue or its log?"""
        return (self.store.data / "relay").exists() or self.sent.any_row()

    def _reconcile(self, asked: Filters) -> Reconciled:
        from dmarcview.reconcile import reconcile

        return reconcile(self.store, asked, self.said)

    def _compare(self, view: url.View, asked: Filters, window: tuple[date, date]) -> Compared:
        from dmarcview.reconcile import sums

        answer = self._reconcile(asked)
        days = pd.date_range(*window, freq="D", unit="s", name="day")
        daily = sums.daily(answer).set_index("day").reindex(days, fill_value=0).reset_index()
        daily = daily.assign(telling=daily["sent"] - daily["silent"], ours=daily["reported"] - daily["unsent"])
        still_open = sums.open_days(self.store, replace(asked, domains=self.frames.awaited(view)), answer)
        return Compared(
            sums.totals(answer), self.frames.marked(view, daily), answer.findings, answer.receivers,
            sums.selectors(answer), tuple(still_open),
        )  # fmt: skip
