"""The questions that pages ask, answered from the store and kept by (version, question); the only door to it here.

Frames that come out are shared between requests: nobody changes them.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar, cast

import pandas as pd

from dmarcview.dashboard import freshness as fresh
from dmarcview.dashboard import theme, url

if TYPE_CHECKING:
    from dmarcview.query import Filters
    from dmarcview.store import Store

KEPT_ANSWERS = 256
GRID_ROWS = 2_001  # one more than a grid shows, so that it can say that there are more
OWN = ("own", "third_party")
_COUNTS = (*(o.key for o in theme.OUTCOMES), "messages", "dmarc_pass", "dkim_aligned", "spf_aligned")

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class SourceView:
    """What the drawer shows; `row` is None when the source sent nothing in the window."""

    row: dict[str, Any] | None
    daily: pd.DataFrame
    identities: pd.DataFrame
    reporters: pd.DataFrame
    label: dict[str, Any] | None


class Frames:
    """Cached questions to one store; safe for the threads of the server."""

    def __init__(
        self,
        store: Store,
        *,
        today: Callable[[], date] | None = None,
        doubtful: bool = False,
        watched: tuple[str, ...] = (),
    ) -> None:
        self.store = store
        self.watched = frozenset(watched)  # days wait for reports on these and what is below them; empty: on all
        self.doubtful = doubtful  # `[trust] unverified`: reports of mails that nobody vouches for count too
        self._today = today or (lambda: datetime.fromtimestamp(store.clock(), UTC).date())
        self._kept: OrderedDict[tuple[Any, ...], Any] = OrderedDict()
        self._lock = threading.Lock()
        self._asking: dict[tuple[Any, ...], threading.Lock] = {}

    def version(self) -> int:
        """Grows when any answer may have changed."""
        return self.store.version()

    def warm(self) -> None:
        """Ask what the first page asks, so that its first visitor waits neither for libraries nor for sums."""
        view = url.View()
        self.any_report()
        for ask in (self.daily, self.own_daily, self.sources, self.domains, self.freshness):
            ask(view)
        self.policies()

    def today(self) -> date:
        """The current UTC day."""
        return self._today()

    def cached(self, name: str, key: Any, ask: Callable[[], Answer]) -> Answer:
        """The answer to a question, asked once a version and day even when several requests want it at once."""
        whole = (self.version(), self.today(), name, key)
        with self._lock:
            if whole in self._kept:
                self._kept.move_to_end(whole)
                return cast("Answer", self._kept[whole])
            gate = self._asking.setdefault(whole, threading.Lock())
        with gate:
            with self._lock:
                if whole in self._kept:
                    return cast("Answer", self._kept[whole])
            try:
                answer = ask()
                with self._lock:
                    self._kept[whole] = answer
                    while len(self._kept) > KEPT_ANSWERS:
                        self._kept.popitem(last=False)
            finally:
                with self._lock:
                    self._asking.pop(whole, None)
        return answer

    # windows

    def filters(self, view: url.View, since: date | None = None, until: date | None = None) -> Filters:
        """The store's filters for a view; both days included, by default the view's own window."""
        from dmarcview.query import Filters

        first, last = self.window(view)
        return Filters(
            domains=(view.domain,) if view.domain else None,
            since=since or first,
            until=(until or last) + timedelta(days=1),
            source_class=view.source_class,
            result=view.result,
            verified=not self.doubtful,
        )

    def every(self) -> Filters:
        """The store's filters for all that counts."""
        from dmarcview.query import Filters

        return Filters(verified=not self.doubtful)

    def domain_frame(self) -> pd.DataFrame:
        """All policy domains over all time, most messages first."""
        from dmarcview import query

        return self.cached("domains", None, lambda: query.domains(self.store, self.every()))

    def domain_names(self) -> list[str]:
        """Names for the filter, by alphabet."""
        return sorted(str(d) for d in self.domain_frame()["domain"])

    def any_report(self) -> bool:
        """Has anything that counts ever come?"""
        from dmarcview import query

        if len(self.domain_frame()):
            return True
        return bool(self.cached("any", None, lambda: query.report_count(self.store, query.Filters(verified=False)) > 0))

    def freshness(self, view: url.View) -> tuple[pd.DataFrame, pd.DataFrame]:
        """(days, reporters) of `query.complete_days` of the strip: for the domain of a view, else for the watched ones.

        Empty when nobody is usual, and nobody has reported on these days. Asked anew each hour: what is late becomes
        silent without a new report.
        """
        from dmarcview import query

        today = self.today()
        first, last = today - timedelta(days=fresh.STRIP_DAYS), today - timedelta(days=1)
        asked = replace(self.every(), domains=self.awaited(view))

        def ask() -> tuple[pd.DataFrame, pd.DataFrame]:
            found = query.complete_days(self.store, first, last, asked)
            return found.days if len(found.reporters) else found.days.head(0), found.reporters

        return self.cached("freshness", (asked, self.hour()), ask)

    def hour(self) -> int:
        """The current hour: what depends on the clock alone is asked anew with each."""
        return int(self.store.clock()) // 3_600

    def open_days(self, view: url.View) -> int:
        """How many days of the window of a view are not complete."""
        since, until = self.window(view)
        days, _ = self.freshness(view)
        inside = (days["day"] >= pd.Timestamp(since)) & (days["day"] <= pd.Timestamp(until))
        return int((inside & ~days["complete"].astype(bool)).sum()) + int(since <= self.today() <= until)

    def awaited(self, view: url.View) -> tuple[str, ...] | None:
        """The domains whose reports make a day of a view complete; None: of all."""
        from dmarcview.store.plan import watched_by

        if view.domain:
            return (view.domain,)
        names = self.domain_names()
        found = tuple(name for name in names if watched_by(name, self.watched))
        return found if 0 < len(found) < len(names) else None

    def last_complete(self, view: url.View) -> date:
        """The day on which the default window of a view ends: complete for the domains that it is about."""

        def ask() -> date:
            known = self.domain_frame()
            oldest = known["first_day"].min().date() if len(known) else None
            newest = known["last_day"].max().date() if len(known) else None
            days, _ = self.freshness(view)
            return fresh.last_complete(days, oldest, newest, self.today())

        return self.cached("last", (view.domain, self.hour()), ask)

    def window(self, view: url.View) -> tuple[date, date]:
        """(first day, last day) of a view, both included."""
        return view.window(self.last_complete(view))

    # traffic

    def daily(self, view: url.View) -> pd.DataFrame:
        """The window of a view by day, without gaps: the counts of `query.daily` and `complete`."""
        return _cut(self._daily(view), *self.window(view))

    def daily_before(self, view: url.View) -> pd.DataFrame:
        """The window of the same length before."""
        since, until = self.window(view)
        return _cut(self._daily(view), *_before(since, until))

    def daily_shown(self, view: url.View) -> pd.DataFrame:
        """As `daily`; a window that ends by default goes on through the days that are not complete yet."""
        since, until = self.window(view)
        return _trimmed(_cut(self._daily(view), since, self._open_end(view, until)))

    def own_daily(self, view: url.View) -> pd.DataFrame:
        """As `daily_shown`, of own and approved sources alone."""
        parts = [
            self.daily_shown(replace(view, source_class=c)).set_index("day")
            for c in OWN if view.source_class in (None, c)
        ]  # fmt: skip
        if not parts:
            return self.daily_shown(view).head(0)
        out, counts = max(parts, key=len).copy(), list(_COUNTS)
        out[counts] = sum(part[counts].reindex(out.index, fill_value=0) for part in parts)
        return out.reset_index()

    def _open_end(self, view: url.View, until: date) -> date:
        recent = until >= self.today() - timedelta(days=fresh.STRIP_DAYS)
        return self.today() - timedelta(days=1) if view.since is None and recent else until

    def _daily(self, view: url.View) -> pd.DataFrame:
        """All days that the charts and tiles of a view need, asked once: its window, the one before, the open days."""
        from dmarcview import query

        since, until = self.window(view)
        first, last = _before(since, until)[0], self._open_end(view, until)
        asked = self.filters(view, first, last)

        def ask() -> pd.DataFrame:
            days = pd.date_range(first, last, freq="D", unit="s")
            found = query.daily(self.store, asked).set_index("day").reindex(days, fill_value=0)
            return self.marked(view, found.rename_axis("day").reset_index())

        return self.cached("daily", (asked, self.hour()), ask)

    def marked(self, view: url.View, daily: pd.DataFrame) -> pd.DataFrame:
        """Days with `complete`: is all of the day in that is still awaited?"""
        strip, _ = self.freshness(view)
        still_open = set(strip.loc[~strip["complete"].astype(bool), "day"]) if len(strip) else set()
        return daily.assign(complete=~daily["day"].isin(still_open) & (daily["day"] < pd.Timestamp(self.today())))

    def sources(self, view: url.View, limit: int | None = GRID_ROWS) -> pd.DataFrame:
        """`query.sources` of a window, most messages first, with `blocked`, `delivered`, `first_seen`, `last_seen`."""
        from dmarcview import query

        asked = self.filters(view)
        return self.cached("sources", (asked, limit), lambda: _named(query.sources(self.store, asked, limit=limit)))

    def source(self, view: url.View, domain: str, ip: str) -> SourceView:
        """All about one source in the window of a view, whatever class and result the view asks for."""
        from dmarcview import query

        since, until = self.window(view)
        asked = replace(self.filters(view), domains=(domain,), source_class=None, result=None, source_ip=None)

        def ask() -> SourceView:
            found = query.source_detail(self.store, domain, ip, asked)
            total = _named(found.total)
            row: dict[str, Any] | None = None
            if len(total):
                row = {str(k): v for k, v in total.iloc[0].to_dict().items()}
                row |= {"by": found.by, "evidence": [str(e.get("text") or e.get("code") or "") for e in found.evidence]}
            days = pd.date_range(since, until, freq="D", unit="s")
            daily = found.daily.set_index("day").reindex(days, fill_value=0).rename_axis("day").reset_index()
            daily = self.marked(replace(view, domain=domain), daily)
            return SourceView(row, daily, _identities(found.identities), found.reporters, self.label(domain, ip))

        return self.cached("source", (asked, ip, self.hour()), ask)

    def domains(self, view: url.View) -> pd.DataFrame:
        """`query.domains` of a window."""
        from dmarcview import query

        asked = self.filters(view)
        return self.cached("by-domain", asked, lambda: query.domains(self.store, asked))

    def policies(self) -> dict[str, str]:
        """Domain -> `p` of the newest report that states one."""
        from dmarcview import query

        def ask() -> dict[str, str]:
            found = query.reports(self.store, self.every(), limit=500)
            stated = found[found["p"].notna()].drop_duplicates("domain")
            return {str(d): str(p) for d, p in zip(stated["domain"], stated["p"], strict=True)}

        return self.cached("policies", None, ask)

    # labels

    def label(self, domain: str, ip: str) -> dict[str, Any] | None:
        """The label that names this very address, for this domain or for all; `source_class`, `author`, `at`."""
        for found in self.store.labels():
            if found.scope == "ip" and found.value == ip and found.domain in (domain, ""):
                at = pd.Timestamp(found.at, unit="s")
                return {"source_class": found.source_class, "author": found.author, "at": at, "id": found.id}
        return None

    def put_label(self, domain: str, ip: str, source_class: str, author: str) -> None:
        """Remember whose a source is, and let the charts know at once; the classifier comes to the same later."""
        from dmarcview.store.facts import Label, SourceRow

        now = int(self.store.clock())
        self.store.put_label(Label("ip", ip, source_class, domain, author, now))
        rows = self.store.source_rows(domain, ip)
        row = rows[0] if rows else SourceRow(domain, ip, source_class, first_seen=now, last_seen=now)
        said: dict[str, object] = {
            "code": "label",
            "text": f"Labelled in the dashboard on {datetime.fromtimestamp(now, UTC):%d %b %Y}.",
        }
        self.store.put_sources([replace(row, source_class=source_class, by="user", evidence=(said,))])

    def forget_label(self, domain: str, ip: str) -> None:
        """Take the label back; the rules decide again at the next classification."""
        found = self.label(domain, ip)
        if found is not None:
            self.store.remove_label(int(found["id"]))


def _before(since: date, until: date) -> tuple[date, date]:
    """The window of the same length before a window; both days of both included."""
    return since - (until - since) - timedelta(days=1), since - timedelta(days=1)


def _cut(daily: pd.DataFrame, since: date, until: date) -> pd.DataFrame:
    inside = (daily["day"] >= pd.Timestamp(since)) & (daily["day"] <= pd.Timestamp(until))
    return daily[inside].reset_index(drop=True)


def _trimmed(daily: pd.DataFrame) -> pd.DataFrame:
    """Without the empty open days at the end: nothing has come for them, not even a part."""
    keep = daily["complete"] | (daily["messages"] > 0)
    last = keep[keep].index.max() if keep.any() else None
    return daily if last is None else daily.loc[:last]


def _named(found: pd.DataFrame) -> pd.DataFrame:
    return found.assign(
        blocked=found["quarantine"] + found["reject"],
        delivered=found["delivered_fail"],
        first_seen=found["first_day"],
        last_seen=found["last_day"],
    )


def _identities(found: pd.DataFrame) -> pd.DataFrame:
    """One DKIM and one SPF identifier a row: a passing one first, since alignment is about what passed."""

    def pick(results: Any) -> dict[str, Any]:
        listed = [] if results is None or isinstance(results, float) else list(results)
        listed.sort(key=lambda r: r.get("result") != "pass")
        return listed[0] if listed else {}

    dkim, spf = [pick(r) for r in found["dkim"]], [pick(r) for r in found["spf"]]
    return pd.DataFrame(
        {
            "header_from": found["header_from"],
            "envelope_from": found["envelope_from"],
            "dkim_domain": [d.get("domain") for d in dkim],
            "selector": [d.get("selector") for d in dkim],
            "spf_domain": [s.get("domain") for s in spf],
            "dkim_aligned": found["dkim_aligned"].astype(object),
            "spf_aligned": found["spf_aligned"].astype(object),
            "disposition": found["disposition"],
            "messages": found["messages"],
        }
    )
