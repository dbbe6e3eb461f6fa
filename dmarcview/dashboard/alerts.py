"""Incidents as the pages show them: what is remembered, its evidence, what a person said of it, and the backtest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pandas as pd

from dmarcview.alerts import said
from dmarcview.dashboard import url
from dmarcview.dashboard.frames import Frames
from dmarcview.dashboard.slowly import Slowly, Told
from dmarcview.store import incidents, records_seen, sent

if TYPE_CHECKING:
    from dmarcview.alerts.backtest import Backtest
    from dmarcview.alerts.evidence import Evidence
    from dmarcview.alerts.model import Incident
    from dmarcview.config.settings import Alerts
    from dmarcview.store.incidents import Notice
    from dmarcview.store.records_seen import Changed

AUTHOR = "dashboard"  # there is no login yet: the page itself is the author
HISTORY_DAYS = 90
BACKTEST_DAYS = 90
MUTE_DAYS = 7
MOST_CHANGES = 200
DAY = 86_400


@dataclass(frozen=True, slots=True)
class Known:
    """Open incidents, and those that ended in the last HISTORY_DAYS, newest first."""

    open: tuple[Incident, ...]
    ended: tuple[Incident, ...]


class AlertFrames:
    """What alerts remember, by the views of the pages. `settings` are [alerts]; None where nobody gave them."""

    def __init__(
        self, frames: Frames, settings: Alerts | None = None, receivers: Mapping[str, str] | None = None
    ) -> None:
        self.frames, self.store, self.settings = frames, frames.store, settings
        self.receivers = dict(receivers or {})
        self.slowly = Slowly()
        self._tested: int | None = None  # the store's version that the last backtest was asked for

    @property
    def writable(self) -> bool:
        """May a person acknowledge and mute?"""
        return not self.store.ledger.read_only

    @property
    def off(self) -> bool:
        """Does nobody look by himself?"""
        return self.settings is not None and not self.settings.check

    @property
    def now(self) -> int:
        """The store's clock."""
        return int(self.store.clock())

    def version(self) -> int:
        """Grows with every change of incidents, mutes and what domains publish."""
        return incidents.version(self.store.ledger)

    def known(self, view: url.View) -> Known:
        """The incidents of the domain of a view, and those of no single domain."""
        from dmarcview.alerts import memory

        rows = incidents.lately(self.store.ledger, self.now, self.now - HISTORY_DAYS * DAY)
        found = [memory.incident(row) for row in rows if view.domain is None or row.domain in ("", view.domain)]
        return Known(tuple(one for one in found if one.open), tuple(one for one in found if not one.open))

    def one(self, number: int) -> Incident | None:
        """An incident by its number."""
        from dmarcview.alerts import memory

        return memory.one(self.store.ledger, number, self.now)

    def acting(self) -> int:
        """How many incidents ask for action."""
        return sum(map(said.acts, self.known(url.View()).open))

    def told(self, number: int) -> list[Notice]:
        """The messages about an incident, newest first."""
        return incidents.told(self.store.ledger, number)

    def evidence(self, incident: Incident) -> Evidence | None:
        """The days behind an incident, each with `complete`; None where its kind has none, or while they are compared.

        A comparison of sent and reported may take long: it is asked in a thread of its own.
        """
        from dmarcview.alerts import evidence

        finding = incident.finding
        if not evidence.charted(finding):
            return None

        def ask() -> Evidence | None:
            found = evidence.of(
                self.store, finding, self.now, verified=not self.frames.doubtful, receivers=self.receivers
            )
            if found is None:
                return None
            return replace(found, daily=self.frames.marked(url.View(domain=finding.domain or None), found.daily))

        if finding.kind in evidence.JOINED:
            version = (self.frames.version(), sent.version(self.store.ledger), self.frames.hour())
            return self.slowly.ask(("evidence", finding), version, ask).answer
        return self.frames.cached("evidence", (finding, self.frames.hour()), ask)

    def changes(self, domain: str, daily: pd.DataFrame) -> list[Changed]:
        """What a domain published anew on the days of a chart, newest first; of no domain nothing."""
        if not domain or daily.empty:
            return []
        since, until = (int(day.timestamp()) for day in (daily["day"].min(), daily["day"].max() + pd.Timedelta(days=1)))
        found = records_seen.changes(self.store.ledger, [domain], since, until, MOST_CHANGES)
        return [one for one in found if one.kind != records_seen.SPF_COST]  # it follows from records, and is none

    def acknowledge(self, number: int, note: str) -> bool:
        """Somebody has seen it. False: there is no such incident."""
        return incidents.acknowledge(self.store.ledger, number, author=AUTHOR, note=note, now=self.now)

    def take_back(self, number: int) -> bool:
        """It is acknowledged no more. False: it was not."""
        return incidents.take_back(self.store.ledger, number, now=self.now)

    def mute(self, incident: Incident, days: int) -> int:
        """No messages about its cause for so many days; 0 ends that. Gives the second until which."""
        until = self.now + days * DAY if days else 0
        incidents.mute(
            self.store.ledger, incident.finding.fingerprint, until, author=AUTHOR, note=incident.note, now=self.now
        )
        return until

    def backtest(self, *, ask: bool) -> Told[Backtest] | None:
        """What other thresholds would have said; `ask`: of the store as it is now. None while nobody has asked.

        It takes seconds, so it is asked in a thread of its own, and only when a person wants it.
        """
        if ask:
            self._tested = self.frames.version()
        if self._tested is None:
            return None
        return self.slowly.ask("backtest", (self._tested, self.frames.today()), self._backtest)

    def _backtest(self) -> Backtest:
        from dmarcview.alerts import backtest
        from dmarcview.config import Config
        from dmarcview.config.settings import Alerts, Trust

        config = replace(Config(), alerts=self.settings or Alerts(), trust=Trust(unverified=self.frames.doubtful))
        return backtest.run(self.store, config, self.now, days=BACKTEST_DAYS)
