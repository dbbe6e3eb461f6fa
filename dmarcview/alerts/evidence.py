"""The days behind an incident: what its series counted before, during and after it, as a chart or a notebook shows it.

The counts are those that the incident was judged by, so their sum over its days is what it says.
"""

# ruff: noqa: S608 - SQL is put together from our own constants; values from outside are parameters
from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dmarcview.organisation import organisational
from dmarcview.query.filters import Filters
from dmarcview.query.traffic import window

from . import causes, joined, overdue, senders, waves
from .newcomers import OTHERS
from .series import DAY, Series, Volume, as_day, day_number, load

if TYPE_CHECKING:
    import pandas as pd

    from dmarcview.store import Store

    from .likelihood import Ints
    from .model import Finding

RATE, VOLUME, MAIL, REPORTS = "rate", "volume", "mail", "reports"
BEFORE_DAYS, AFTER_DAYS = 28, 10  # that are shown around an incident
MOST_DAYS = 150  # of one that has lasted for long, the newest
MECHANISMS = {kind: mechanism for mechanism, kind in causes.KINDS.items()}
JOINED = ("signed_broken", "bypass", "not_sent")  # kinds that a comparison of sent and reported gives
OUR_SIGNATURE = "the relay's signature"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was counted by event day.

    `daily` has a row a day: day (datetime64), total, failed. For a `kind` of RATE these are messages and those that
    failed `mechanism`; for VOLUME messages and those that were delivered; for MAIL messages, and 0; for REPORTS, policy
    domains that were reported on, and 0. `usual` is the usual share of failures (0..1) or the usual total of a day;
    None when it is not known.
    """

    kind: str
    daily: pd.DataFrame
    usual: float | None
    mechanism: str = ""


def charted(finding: Finding) -> bool:
    """Is there such a series?"""
    return finding.cause != OTHERS and finding.kind in (*MECHANISMS, *JOINED, "forged", "new_source", "reporter_silent")


def of(
    store: Store, finding: Finding, now: int, *, verified: bool = True, receivers: Mapping[str, str] | None = None
) -> Evidence | None:
    """The evidence as of `now` (seconds UTC); None for a kind that no series of days was judged for.

    `receivers` is the user's word as in `reconcile`. The kinds of JOINED take as long as a comparison does.
    """
    today = now // DAY
    last = min(today - 1, day_number(finding.last_day) + AFTER_DAYS)
    first = max(day_number(finding.first_day) - BEFORE_DAYS, last - MOST_DAYS + 1)
    if finding.kind == "reporter_silent":
        rows = overdue.load(store, now, verified=verified, days=today - first)
        whose = organisational(finding.cause)
        days = [
            row.day for row in rows
            if organisational(row.submitter) == whose and finding.domain in ("", row.domain)
        ]  # fmt: skip
        counted = np.array(days, np.int64)
        return Evidence(REPORTS, _daily(counted, np.ones_like(counted), np.zeros_like(counted), first, last), None)
    if not charted(finding):
        return None
    if finding.kind in JOINED:
        return _compared(store, finding, (first, last), receivers, verified=verified)
    if finding.kind == "new_source":
        return _arrived(store, finding, (first, last), verified=verified)
    domains = _domains(finding)
    found = load(store, today, verified=verified, history=today - first, domain=finding.domain or None)
    if finding.kind == "forged":
        sender = "" if finding.cause == waves.NOBODY else finding.cause
        cells, places = found.forged, _places(found.volumes, [Volume(domain, sender) for domain in domains])
    else:
        cells, places = found.cells, _places(found.series, _series(found.series, finding, domains))
    of_it = np.isin(cells.series, places)
    daily = _daily(cells.day[of_it], cells.total[of_it], cells.failed[of_it], first, last)
    return Evidence(
        VOLUME if finding.kind == "forged" else RATE, daily, finding.usual,
        causes.WORDS.get(MECHANISMS.get(finding.kind, ""), ""),
    )  # fmt: skip


def _domains(finding: Finding) -> Sequence[str]:
    """Whose mail it is about."""
    return [finding.domain] if finding.domain else finding.domains


def _compared(
    store: Store, finding: Finding, days: tuple[int, int], receivers: Mapping[str, str] | None, *, verified: bool
) -> Evidence:
    """By the comparison of sent and reported, of the days of which the log has all."""
    from dmarcview.reconcile import reconcile

    bounds = Filters(since=as_day(days[0] - joined.LEAD_DAYS), until=as_day(days[1] + 1), verified=verified)
    rows = joined.logged(reconcile(store, bounds, receivers))
    signed = finding.kind == "signed_broken"
    if signed:
        selectors = "selector " + rows["dkim_selector"] + " of " + rows["dkim_domain"]
        rows = rows[(selectors == finding.cause) & (rows["matched_by"] != "")]
        total, failed = rows["reported"], rows["dkim_fail"]
    else:
        judged = joined.bypassing if finding.kind == "bypass" else joined.beyond
        rows = judged(rows[rows["source_ip"] == finding.cause])
        rows = rows[rows["header_from"].isin(_domains(finding))]
        total = (rows["reported"] - rows["sent"]).clip(lower=0)
        failed = total * 0
    day, *counts = (one.to_numpy().astype(np.int64) for one in (rows["day"].dt.date.map(day_number), total, failed))
    daily = _daily(day, counts[0], counts[1], *days)
    if signed:
        return Evidence(RATE, daily, finding.usual, OUR_SIGNATURE)
    return Evidence(MAIL, daily, None)


def _arrived(store: Store, finding: Finding, days: tuple[int, int], *, verified: bool) -> Evidence:
    """The messages of a new sender, whatever became of them."""
    bounds = Filters(since=as_day(days[0]), until=as_day(days[1] + 1), verified=verified)
    sql = (
        "select date_diff('day', date '1970-01-01', c.day) as day, cast(sum(messages) as bigint) as n from cube c "
        "join senders s on s.domain = c.domain and s.source_ip = c.source_ip join chosen on s.sender = chosen.sender "
        "and list_contains(chosen.domains, c.domain) "
        f"where c.day >= date '{bounds.since}' and c.day < date '{bounds.until}' group by all"
    )
    domains = _domains(finding)
    with store.heavy.cursor() as cursor:
        senders.put(store, cursor, finding.domain or None)
        cursor.execute("create temp table chosen (sender varchar, domains varchar[])")
        cursor.execute("insert into chosen values ($sender, $domains)", {"sender": finding.cause, "domains": domains})
        found = cursor.execute(store.heavy.over(cursor, window(store, bounds), sql)).fetchall()
    day, total = (np.array([row[at] for row in found], np.int64) for at in (0, 1))
    return Evidence(MAIL, _daily(day, total, np.zeros_like(total), *days), None)


def _series(series: Sequence[Series], finding: Finding, domains: Iterable[str]) -> list[Series]:
    """The series that a finding of rates tells the counts of: the group that is its cause, else each whole domain."""
    known, out = set(series), []
    for domain in domains:
        whole = Series(domain, MECHANISMS[finding.kind], "")
        group = whole._replace(group=finding.cause)
        out.append(group if group in known else whole)
    return out


def _places(known: Sequence[Hashable], wanted: Iterable[Hashable]) -> list[int]:
    """Where these stand among the known; those that do not are left out."""
    place = {one: number for number, one in enumerate(known)}
    return [place[one] for one in wanted if one in place]


def _daily(day: Ints, total: Ints, failed: Ints, first: int, last: int) -> pd.DataFrame:
    import pandas as pd

    inside = (day >= first) & (day <= last)
    size = max(last - first + 1, 0)
    sums = [np.bincount(day[inside] - first, what[inside], size).astype(np.int64) for what in (total, failed)]
    days = pd.date_range(as_day(first), periods=size, freq="D", unit="s")
    return pd.DataFrame({"day": days, "total": sums[0], "failed": sums[1]})
