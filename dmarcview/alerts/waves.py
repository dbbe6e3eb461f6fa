"""Findings of forged mail: unknown sources that send far more in a domain's name than they use to. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .burst import Counts, judge
from .causes import window_query
from .model import Finding
from .series import as_day

if TYPE_CHECKING:
    from .likelihood import Bools
    from .series import Loaded

NOBODY = "unknown sources"
GRAVE_SHARE = 0.05  # of a wave that is delivered: from there on the policy does not stop it


def findings(found: Loaded, today: int, complete: Bools | None = None) -> list[Finding]:
    """A finding for each sender of which a wave goes on, or has ended; `today` in days since 1970."""
    cells = found.forged
    bursts = judge(Counts(cells.series, cells.day, cells.total), len(found.volumes), today, complete)
    out = []
    for place in np.flatnonzero(bursts.open | (bursts.cleared >= 0)).tolist():
        since = int(bursts.since[place])
        ended = int(bursts.cleared[place]) if bursts.cleared[place] >= 0 else None
        until = today - 1 if ended is None else ended
        within = (cells.series == place) & (cells.day >= since) & (cells.day <= until)
        delivered, total, mean = int(cells.failed[within].sum()), int(bursts.total[place]), float(bursts.mean[place])
        reporters = len(np.unique(cells.reporter[within & (cells.total > 0)]))
        first, last, (domain, sender) = as_day(since), as_day(until), found.volumes[place]
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
    return out
