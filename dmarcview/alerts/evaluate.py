"""One look at a store: everything that its rows say is wrong at a moment. The same rows give the same findings."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from dmarcview.query.filters import Filters

from . import causes, completeness, fleet, joined, newcomers, overdue, senders, signers, waves
from .cusum import METHOD, judge
from .series import DAY, as_day, read

if TYPE_CHECKING:
    from dmarcview.config import Config
    from dmarcview.store import Store

    from .causes import Ask
    from .completeness import Complete
    from .model import Finding

JOINED_DAYS = 60  # of sent and reported that are laid beside each other
QUICK = 5.0  # seconds: a comparison that takes less is made at every look, so that it never lags behind the rates
REST = 100  # times as long as a slower one took, its findings are kept
LONGEST = 3_600.0  # seconds that they are kept
SETTLED_DAYS = 4  # after its end the signature that was the cause of an incident is no longer looked for


class _Joined(NamedTuple):
    """Findings of the join, the day they are of, and until when they are kept, by the clock."""

    findings: list[Finding]
    today: int
    until: float


class Evaluator:
    """Looks again and again, and keeps from one look to the next what is slow to find and hardly changes.

    That is what the join of the sent log says, for up to an hour; and of incidents that ended days ago, which signature
    was the cause. `clock` counts seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._joined: _Joined | None = None
        self._signers: dict[Ask, Mapping[str, float]] = {}

    def __call__(self, store: Store, config: Config, now: int) -> list[Finding]:
        """See `evaluate`."""
        today = now // DAY
        verified = not config.trust.unverified
        known = completeness.load(store, verified=verified)
        with store.heavy.cursor() as cursor:
            senders.put(store, cursor)
            found = read(store, cursor, today, verified=verified)
            fresh = newcomers.load(store, cursor, today, config.alerts.new_source_messages, verified=verified)
            method = replace(METHOD, threshold=config.alerts.threshold or None)
            complete = known.flags([one.domain for one in found.series])
            rows = causes.told(found.series, judge(found.cells, len(found.series), today, complete, method))

            def selectors(asks: Sequence[Ask]) -> Mapping[Ask, Mapping[str, float]]:
                new = [one for one in asks if one.until >= today - SETTLED_DAYS or one not in self._signers]
                kept = {one: self._signers[one] for one in asks if one in self._signers}
                self._signers = kept | signers.excess(store, cursor, new, verified=verified)
                return self._signers

            out = causes.findings(rows, today, selectors)
        out += newcomers.findings(fresh, today)
        complete = known.flags([one.domain for one in found.volumes])
        out += waves.findings(found, today, complete, newcomers.names(fresh))
        out += self._join(store, config, today, known)
        silent = overdue.findings(overdue.load(store, now, verified=verified), now)
        return [*map(known.said, fleet.merged(out)), *silent]

    def _join(self, store: Store, config: Config, today: int, known: Complete) -> list[Finding]:
        """What sent and reported say together, where anything was sent."""
        from dmarcview.query import sent_any
        from dmarcview.reconcile import reconcile

        if not sent_any(store):
            return []
        began = self._clock()
        if self._joined is not None and self._joined.today == today and began < self._joined.until:
            return self._joined.findings
        bounds = Filters(since=as_day(today - JOINED_DAYS), until=as_day(today), verified=not config.trust.unverified)
        compared = reconcile(store, bounds, config.reconcile.receivers)
        found = joined.findings(compared, today, known.flags([""])[0])
        ended = self._clock()
        took = ended - began
        self._joined = _Joined(found, today, ended + min(LONGEST, REST * took if took > QUICK else 0.0))
        return found


def evaluate(store: Store, config: Config, now: int) -> list[Finding]:
    """What is wrong at `now` (seconds UTC), by reports and sent log, and what was and has ended (`cleared`).

    Of the days before today; what ended weeks ago is forgotten. Nothing is kept from an earlier look.
    """
    return Evaluator()(store, config, now)
