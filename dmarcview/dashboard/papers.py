"""Reports, intake and refusals as the pages show them, kept by version like the frames."""

from __future__ import annotations

import calendar
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from dmarcview.dashboard import url
from dmarcview.dashboard.frames import Frames
from dmarcview.dashboard.pages.intake import Counts

if TYPE_CHECKING:
    from dmarcview_reports.settings import Limits

REPORT_ROWS = 2_000
REFUSED_ROWS = 1_000
MOST_NAMES = 20  # of one organisation: a stranger may have any number, and each is asked for
MOST_KEY = 64  # characters; keys are 24 hex digits
XML_SLICE = 65_536  # bytes of a download at a time
BELIEVED = ("pass", "unknown")


class Papers:
    """Questions about inputs and reports; shares the cache of its Frames."""

    def __init__(self, frames: Frames, spool: Path | None = None, limits: Limits | None = None) -> None:
        self.frames, self.store = frames, frames.store
        self.spool = spool if spool is not None else frames.store.data / "spool"
        self.limits = limits

    def reports(self, view: url.View, limit: int | None = REPORT_ROWS) -> pd.DataFrame:
        """`query.reports` of a window, those that do not count included, with `standing`; latest received first.

        `by` of a view is a reporter or its organisation, and `ip` an address that the reports tell of.
        """
        from dmarcview import query

        asked = self.frames.filters(view)
        until = None if view.since is None else asked.until
        asked = replace(asked, verified=False, until=until, source_ip=view.ip)
        each = [asked] if view.by is None else [replace(asked, submitter=name) for name in self.reporters(view.by)]

        def ask() -> pd.DataFrame:
            lists = [query.reports(self.store, one, limit=limit, apart=True) for one in each]
            found = lists[0] if len(lists) == 1 else pd.concat(lists, ignore_index=True)
            standing = [
                a if isinstance(a, str) and a else self.standing(v)
                for a, v in zip(found["apart"], found["auth"], strict=True)
            ]
            found = found.assign(standing=standing).sort_values(
                ["received", "end", "report_key"], ascending=[False, False, True], ignore_index=True
            )
            return found if limit is None else found.head(limit)

        return self.frames.cached("reports", (asked, view.by, limit), ask)

    def reporters(self, name: str) -> list[str]:
        """The reporters of this name or organisation, at most MOST_NAMES; the name itself while there is none."""
        from dmarcview import query
        from dmarcview.reconcile.receivers import reporter

        known = self.frames.cached("submitters", None, lambda: query.submitters(self.store))
        return [name] if name in known else [one for one in known if reporter(one) == name][:MOST_NAMES] or [name]

    def standing(self, auth: str) -> str:
        """Whether a report with this verdict on its mail counts: a key of `pages.reports.STANDINGS`."""
        if auth in BELIEVED:
            return "counted"
        return "doubtful" if self.frames.doubtful else "unverified"

    def report(self, key: str) -> tuple[dict[str, Any], pd.DataFrame] | None:
        """(facts, records) of one report as `pages.report.body` takes them; None when there is none."""
        from dmarcview import query

        head = query.report(self.store, key[:MOST_KEY])
        if head is None:
            return None
        facts = dict(head.facts)
        for name in ("begin", "end", "received"):
            facts[name] = pd.Timestamp(facts[name], unit="s", tz="UTC")
        facts |= {
            "standing": head.apart or self.standing(facts["auth"]),
            "warning_list": head.warnings,
            "errors": head.errors,
        }
        return facts, query.report_records(self.store, key[:MOST_KEY])

    def xml(self, key: str) -> bytes | None:
        """The XML of a report out of the archived input; None when it is not kept."""
        from dmarcview import query
        from dmarcview_reports.settings import Limits
        from dmarcview_reports.unpack import Payload, payloads

        head = query.report(self.store, key[:MOST_KEY])
        kept = self.store.raw(key[:MOST_KEY]) if head is not None else None
        if head is None or kept is None:
            return None
        import hashlib

        for found in payloads(kept.raw, self.limits or Limits()):
            if isinstance(found, Payload) and hashlib.sha256(found.content).hexdigest() == head.facts["content_hash"]:
                return found.content
        return None

    def days_of_receipt(self, view: url.View) -> tuple[date, date | None]:
        """(first day, last day) by which intake is shown; a window that ends by default is open: mail comes now."""
        first, last = self.frames.window(view)
        return first, last if view.until is not None else None

    def intake(self, view: url.View) -> Counts:
        """What came in on the days of the window, and what waits now."""
        from dmarcview import query

        bounds = _seconds(*self.days_of_receipt(view))

        def ask() -> Counts:
            found = query.intake(self.store, *bounds)
            return Counts(
                inputs=found.inputs,
                reports=found.reports,
                refused=sum(found.refused.values()),
                duplicates=found.duplicates,
                conflicts=found.conflicts,
                failure=found.others.get("failure", 0),
                tls=found.others.get("tls", 0),
                unverified=found.unverified,
                unknown_domain=found.unknown_domain,
                newest=pd.Timestamp(found.last_received, unit="s", tz="UTC") if found.last_received else None,
            )

        counts: Counts = self.frames.cached("intake", bounds, ask)
        return counts._replace(backlog=self.backlog())

    def refused(self, view: url.View) -> pd.DataFrame:
        """`query.refused` of the days of the window, newest first."""
        from dmarcview import query

        since, until = _seconds(*self.days_of_receipt(view))

        def ask() -> pd.DataFrame:
            return query.refused(self.store, limit=REFUSED_ROWS, since=since, until=until)

        return self.frames.cached("refused", (since, until), ask)

    def backlog(self) -> int:
        """Batches of acknowledged mail that nobody has read yet."""
        try:
            return sum(1 for entry in (self.spool / "new").iterdir() if entry.suffix == ".batch")
        except OSError:
            return 0


def _seconds(first: date, last: date | None) -> tuple[int, int | None]:
    """The first second of the first day, and the one after the last day."""
    end = None if last is None else calendar.timegm((last + timedelta(days=1)).timetuple())
    return calendar.timegm(first.timetuple()), end


def slices(content: bytes) -> Iterator[bytes]:
    """A body piece by piece."""
    for start in range(0, len(content), XML_SLICE):
        yield content[start : start + XML_SLICE]
