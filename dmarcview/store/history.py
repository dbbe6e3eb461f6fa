"""One report, once as it was mailed and once out of parsedmarc's history: how both are known to be the same.

parsedmarc cuts a report id at `@`, so the identity of what it kept may be another; period, submitter and domain are the
same. Old histories with periods in a local time other than UTC are not known again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection, select

from dmarcview_reports.model import Report, identity_of

from .archive import clean
from .ledger import chunks
from .tables import reports

IMPORTED = "imported"  # the warning on reports of such a history
SHELVES = ("main", "doubt", "apart")


class Said(NamedTuple):
    """What a report says in sum: the same in a report and in what the history kept of it."""

    imported: bool
    messages: int
    dmarc_pass: int
    p: str | None

    def agrees(self, other: Said) -> bool:
        """Are both one report, although one came through a history?"""
        sums = (self.messages, self.dmarc_pass) == (other.messages, other.dmarc_pass)
        return (self.imported or other.imported) and sums and (self.p == other.p or None in (self.p, other.p))


SAID = (reports.c.warning_counts, reports.c.messages, reports.c.dmarc_pass, reports.c.p)


def said_in(warning_counts: str, messages: int, dmarc_pass: int, p: str | None) -> Said:
    """What a report in the ledger says, from the columns SAID."""
    return Said(IMPORTED in orjson.loads(warning_counts), messages, dmarc_pass, p)


def said_by(report: Report) -> Said:
    """What a report that was read says."""
    return Said(imported(report), report.records.messages, passed(report), report.p)


def imported(report: Report) -> bool:
    """Does it come from a history?"""
    return IMPORTED in report.warning_counts


def passed(report: Report) -> int:
    """Messages of a report that passed DMARC."""
    passing = [s.dmarc_pass is True for s in report.records.shapes]
    return sum(n for n, s in zip(report.records.count, report.records.shape, strict=True) if passing[s])


def short(report_id: str) -> str:
    """A report id as parsedmarc cuts it."""
    return report_id.replace("<", "").replace(">", "").partition("@")[0]


def short_identity(report: Report) -> str:
    """The identity that a report has in a history."""
    return identity_of(report.submitter, report.domain, short(report.report_id), report.begin, report.end)


def kin(conn: Connection, found: Iterable[Report], columns: tuple[Any, ...]) -> dict[str, list[Any]]:
    """Reports in the ledger that are one with these, of which one side comes from a history, under another identity.

    By the identity of each, the `columns` of all that are.
    """
    out: dict[str, list[Any]] = {}
    cut: dict[str, set[str]] = {}
    for report in found:
        if imported(report):
            rows = conn.execute(_originals(report.domain, report.submitter, report.begin, report.end, columns)).all()
            out[report.identity] = [r[1:] for r in rows if short(r[0]) == report.report_id != r[0]]
        elif (known_as := short_identity(report)) != report.identity:
            cut.setdefault(known_as, set()).add(report.identity)
    c = reports.c
    for part in chunks(list(cut)):
        for row in conn.execute(select(c.identity, c.warning_counts, *columns).where(c.identity.in_(part))):
            if IMPORTED in orjson.loads(row[1]):
                for identity in cut[row[0]]:
                    out.setdefault(identity, []).append(row[2:])
    return out


def _originals(domain: str, submitter: str, begin: int, end: int, columns: tuple[Any, ...]) -> Any:
    c = reports.c
    period = (c.domain == clean(domain), c.shelf.in_(SHELVES), c.end == end, c.begin == begin)
    return select(c.report_id, *columns).where(*period, c.submitter == clean(submitter))


def originals(conn: Connection, row: Any, columns: tuple[Any, ...]) -> list[Any]:
    """As `kin`, for one row of the ledger's reports that comes from a history."""
    if IMPORTED not in orjson.loads(row["warning_counts"]):
        return []
    found = conn.execute(_originals(row["domain"], row["submitter"], row["begin"], row["end"], columns)).all()
    return [r[1:] for r in found if short(r[0]) == row["report_id"] != r[0]]
