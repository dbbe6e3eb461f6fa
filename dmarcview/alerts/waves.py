"""Findings of forged mail: unknown sources that send far more in a domain's name than they use to. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from .burst import Counts, judge
from .causes import window_query
from .model import Finding, Member
from .newcomers import MOST_MEMBERS, MOST_SENDERS, OTHERS
from .series import as_day

if TYPE_CHECKING:
    from .likelihood import Bools
    from .series import Loaded

NOBODY = "unknown sources"
GRAVE_SHARE = 0.05  # of a wave that is delivered: from there on the policy does not stop it


def findings(
    found: Loaded, today: int, complete: Bools | None = None, known: Collection[tuple[str, str]] = ()
) -> list[Finding]:  # fmt: skip
    """A finding for each sender of which a wave goes on, or has ended; `today` in days since 1970.

    Of one domain the largest MOST_SENDERS are told each, and the others as one. Pairs of domain and sender that are
    `known` are told as something else.
    """
    cells = found.forged
    bursts = judge(Counts(cells.series, cells.day, cells.total), len(found.volumes), today, complete)
    order = np.argsort(cells.series, kind="stable")
    edges = np.searchsorted(cells.series[order], np.arange(len(found.volumes) + 1))
    out = []
    for place in np.flatnonzero(bursts.open | (bursts.cleared >= 0)).tolist():
        domain, sender = found.volumes[place]
        if (domain, sender) in known:
            continue
        since = int(bursts.since[place])
        ended = int(bursts.cleared[place]) if bursts.cleared[place] >= 0 else None
        until = today - 1 if ended is None else ended
        part = order[edges[place] : edges[place + 1]]
        part = part[(cells.day[part] >= since) & (cells.day[part] <= until)]
        delivered, total, mean = int(cells.failed[part].sum()), int(bursts.total[place]), float(bursts.mean[place])
        reporters = len(np.unique(cells.reporter[part[cells.total[part] > 0]]))
        first, last = as_day(since), as_day(until)
        whom = f"sources behind which {sender} stands" if sender else NOBODY
        out.append(
            Finding(
                kind="forged", domain=domain, cause=sender or NOBODY, first_day=first, last_day=last, weight=total,
                failed=delivered, total=total, usual=round(mean, 1),
                text=f"{total:,} messages of {whom} failed DMARC since {first.day} {first:%b %Y}, up to "
                f"{int(bursts.peak[place]):,} a day where {mean:,.0f} are usual; {delivered:,} were delivered. "
                f"{reporters} reporters saw it.",
                page="/sources", query=window_query(domain, first, last, **{"class": "unknown", "result": "fail"}),
                grave=delivered >= GRAVE_SHARE * total, fired=first, cleared=None if ended is None else last,
            )
        )  # fmt: skip
    return _few(out)


def _few(found: Sequence[Finding]) -> list[Finding]:
    """The findings, of each domain the largest with a name, and the others as one; what has ended apart."""
    groups: dict[tuple[str, bool], list[Finding]] = {}
    for one in found:
        groups.setdefault((one.domain, one.cleared is None), []).append(one)
    out = []
    for _, group in sorted(groups.items()):
        out += [one for one in group if one.cause == NOBODY]
        named = sorted((one for one in group if one.cause != NOBODY), key=lambda one: (-one.weight, one.cause))
        out += named[:MOST_SENDERS]
        if named[MOST_SENDERS:]:
            out.append(_others(named[MOST_SENDERS:]))
    return out


def _others(found: Sequence[Finding]) -> Finding:
    """All of these, of one domain, as one."""
    total, delivered = sum(one.total for one in found), sum(one.failed for one in found)
    first, last = min(one.first_day for one in found), max(one.last_day for one in found)
    domain, usual = found[0].domain, round(sum(one.usual or 0.0 for one in found), 1)
    return replace(
        found[0], cause=OTHERS, first_day=first, last_day=last, weight=total, failed=delivered, total=total,
        usual=usual,
        text=f"{total:,} messages of {len(found)} more senders failed DMARC since {first.day} {first:%b %Y}; "
        f"{delivered:,} were delivered.",
        query=window_query(domain, first, last, **{"class": "unknown", "result": "fail"}),
        grave=delivered >= GRAVE_SHARE * total, fired=first, cleared=found[0].cleared and last,
        members=tuple(Member(one.cause, one.failed, one.total) for one in found[:MOST_MEMBERS]),
    )  # fmt: skip
