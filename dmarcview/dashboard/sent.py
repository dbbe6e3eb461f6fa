"""Questions of the page Sent, kept like the frames, by the version of the sent log."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import pandas as pd

from dmarcview.dashboard import url
from dmarcview.dashboard.frames import Answer, Frames

if TYPE_CHECKING:
    from dmarcview.query import Sent

ROWS = 2_001  # one more than the grid shows, so that it can say that there are more


class SentFrames:
    """What was sent, by the views of the pages; shares the cache of its Frames."""

    def __init__(self, frames: Frames) -> None:
        self.frames, self.store = frames, frames.store

    def version(self) -> int:
        """Grows with every change of the sent log."""
        from dmarcview.store import sent

        return sent.version(self.store.ledger)

    def window(self, view: url.View) -> tuple[date, date]:
        """First and last day: as chosen, else the last days up to now, for what is sent is known at once."""
        if view.since is not None and view.until is not None:
            return view.since, view.until
        today = self.frames.today()
        return today - timedelta(days=view.days - 1), today

    def rows(self, view: url.View, limit: int | None = ROWS) -> pd.DataFrame:
        """`query.sent` of a view, newest first."""
        from dmarcview import query

        asked = self._asked(view)
        return self._cached("sent rows", (asked, limit), lambda: query.sent(self.store, asked, limit=limit))

    def row(self, name: str) -> dict[str, Any] | None:
        """One row by its name; None when it is not there (any more)."""
        from dmarcview import query

        found = query.sent(self.store, row=name, limit=1)
        return None if found.empty else {str(name): value for name, value in found.iloc[0].items()}

    def daily(self, view: url.View) -> pd.DataFrame:
        """`query.sent_daily` of a view, whatever its outcome, a row a day of its window; `complete`: is it over?"""
        from dmarcview import query

        asked, (first, last) = self._asked(replace(view, outcome=None)), self.window(view)

        def ask() -> pd.DataFrame:
            found = query.sent_daily(self.store, asked).set_index("day")
            days = pd.date_range(first, last, freq="D", unit="s", name="day")
            out = found.reindex(days, fill_value=0).reset_index()
            return out.assign(complete=out["day"] < pd.Timestamp(self.frames.today()))

        return self._cached("sent daily", (asked, first, last), ask)

    def domains(self) -> list[str]:
        """The domains that mail was sent from."""
        from dmarcview import query

        return self._cached("sent domains", None, lambda: query.sent_domains(self.store))

    def any_row(self) -> bool:
        """Was anything ever sent?"""
        from dmarcview import query

        return self._cached("sent any", None, lambda: query.sent_any(self.store))

    def probes(self, receivers: Mapping[str, str] | None) -> pd.DataFrame:
        """All probes of the loop and what became of each: `reconcile.probes.table`, newest first.

        `receivers` is the user's word, as in `reconcile.reconcile`.
        """
        from dmarcview.reconcile import probes

        return probes.table(probes.follow(self.store, receivers, limit=None, verified=not self.frames.doubtful))

    def _asked(self, view: url.View) -> Sent:
        from dmarcview.query import Sent, search_hash

        first, last = self.window(view)
        asked = Sent(
            domains=(view.domain,) if view.domain else None,
            since=first,
            until=last + timedelta(days=1),
            to=view.rcpt or None,
            source=view.ip,
            hosts=view.host or None,
            key=view.key,
            outcome=view.outcome,
            search=view.find or None,
        )
        return replace(asked, hashed=search_hash(self.store.data / "relay", view.find)) if view.find else asked

    def _cached(self, name: str, key: Any, ask: Callable[[], Answer]) -> Answer:
        return self.frames.cached(name, (self.version(), key), ask)
