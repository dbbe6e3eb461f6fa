"""Which of the newest days are in, for each domain: what may clear an incident, and what a message says of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from dmarcview.query.complete import RECENT_DAYS, Completeness, recent, words
from dmarcview.query.filters import Filters

if TYPE_CHECKING:
    from dmarcview.store import Store

    from .likelihood import Bools
    from .model import Finding

EACH = 20  # domains that are asked for one by one; of more, all are taken together


@dataclass(frozen=True, slots=True)
class Complete:
    """The newest days, oldest first, by domain; "" is all domains together."""

    days: dict[str, list[Completeness]]

    def of(self, domain: str) -> list[Completeness]:
        """The newest days of a domain."""
        return self.days.get(domain, self.days[""])

    def flags(self, domains: Sequence[str]) -> Bools:
        """Is each day complete? Shape (domains, days), as `cusum.judge` takes it."""
        rows = [[day.complete for day in self.of(domain)] for domain in domains]
        return np.array(rows, dtype=np.bool_).reshape(len(domains), RECENT_DAYS)

    def said(self, finding: Finding) -> Finding:
        """The finding with what is to be said of the newest day that is not complete; else that all are in."""
        if finding.cleared is not None or finding.completeness:
            return finding
        still = [day for day in self.of(finding.domain) if not day.complete and day.expected]
        if not still:
            return replace(finding, completeness="all days are in")
        day = still[-1].day
        return replace(finding, completeness=f"{day.day} {day:%b} is {words(still[-1])}")


def load(store: Store, domains: Iterable[str], *, verified: bool) -> Complete:
    """Judge the newest days of these domains as of the store's clock."""
    names = sorted(set(domains))
    every = Filters(verified=verified)
    found = {"": recent(store, every)}
    if 1 < len(names) <= EACH:
        found |= {name: recent(store, replace(every, domains=(name,))) for name in names}
    return Complete(found)
