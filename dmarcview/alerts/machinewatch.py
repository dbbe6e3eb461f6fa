"""The watch over this machine: reads spool, disk, processes, refusals, queue, certificates for `machine` to judge."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, func, literal, select

from dmarcview.certificates import CertificateFault, ends
from dmarcview.config import data_dir
from dmarcview.room import LOW_BYTES, free_bytes
from dmarcview.store import incidents
from dmarcview.store.plan import MAIN
from dmarcview.store.tables import items, refusals, reports
from dmarcview.supervisor import lives
from dmarcview_relay import queue_state
from dmarcview_relay.queue_schema import Gone, QueueError
from dmarcview_reports import spool_state

from . import machine
from .machine import DAY, HOUR, Intake, Refusals, Relay, Shown
from .model import Finding

if TYPE_CHECKING:
    from dmarcview.config import Config
    from dmarcview.store.ledger import Ledger

MEGA = 1_000_000
REASONS = DOMAINS = 20  # most that are read
BEFORE_DAYS = 28
REPORTER_DAYS = 90  # so long a sender is known by a report of his that counted
CELLS = 10_000  # most counts that are read, by code, sender and day: the largest

log = logging.getLogger(__name__)


class Machine:
    """Reads, and says what is wrong; remembers since when, where a fault has no date of its own. One thread uses it.

    A new one goes on with the incidents that are open: what was away for long is not taken for what just left.
    """

    def __init__(self, config: Config, ledger: Ledger, *, clock: Callable[[], float] = time.time) -> None:
        self._config, self._ledger, self._clock = config, ledger, clock
        self._folder = data_dir(config)
        self._since: dict[str, float] = {}
        self._begun = False

    def findings(self) -> list[Finding]:
        """What is wrong now. What cannot be read is logged and left out. Raises StoreError."""
        now = self._clock()
        if not self._begun:
            self._since, self._begun = open_since(self._ledger, int(now)), True
        self._look(now)
        found = machine.certificates(self._shown(now), self._config.alerts.certificate_days, now)
        try:
            found += machine.intake(self._intake(now), now)
        except OSError as error:
            log.error("the intake cannot be looked at: %s", error)
        try:
            found += machine.relay(self._relay(now), now)
        except QueueError as error:
            log.error("%s", error)
        return found

    def _look(self, now: float) -> None:
        """Which processes are away that `serve` should run. Where each runs by itself, nobody knows which should."""
        run = self._folder / "run"
        names = ["receive", "ingest", *(["relay"] if self._config.relay.senders else [])]
        runs = lives(run / "serve.json")
        for name in names:
            self._seen(name, runs and not lives(run / f"{name}.json"), now)

    def _seen(self, what: str, wrong: bool, now: float) -> float:
        """Remember since when something is wrong; 0 when it is not."""
        if not wrong:
            self._since.pop(what, None)
            return 0.0
        return self._since.setdefault(what, now)

    def _intake(self, now: float) -> Intake:
        free, reserve = free_bytes(self._folder), self._config.receive.reserve_mb * MEGA
        return Intake(
            spool_state.state(self._folder / "spool"),
            free,
            reserve,
            self._seen("room", free < max(LOW_BYTES, reserve), now),
            {name: since for name, since in self._since.items() if name in ("receive", "ingest")},
            refused(self._ledger, now),
        )

    def _relay(self, now: float) -> Relay:
        folder = self._folder / "relay"
        try:
            state = queue_state.state(folder)
        except Gone:  # nobody has sent yet
            return Relay(0, self._since.get("relay", 0.0))
        late = now - self._config.alerts.queue_hours * HOUR
        return Relay(
            state.waiting,
            self._since.get("relay", 0.0),
            tuple(queue_state.late(folder, late, DOMAINS)) if state.waiting and state.oldest < late else (),
            tuple(queue_state.reasons(folder, REASONS)) if state.held else (),
            state.dead,
            queue_state.buried(folder) if state.dead else 0.0,
        )

    def _shown(self, now: float) -> list[Shown]:
        sections = (("receive", self._config.receive), ("relay", self._config.relay))
        found = [shown(name, one.certificate, one.key) for name, one in sections if one.certificate]
        return [one._replace(since=self._seen(f"[{one.section}]", bool(one.fault), now)) for one in found]


def open_since(ledger: Ledger, now: int) -> dict[str, float]:
    """Since when, at the latest, the faults are that have no date of their own, by the open incidents."""
    found: dict[str, float] = {}
    for row in incidents.listed(ledger, now, open_only=True):
        if row.kind not in ("intake_fault", "queue_stuck", "certificate"):
            continue
        cause = Finding.from_json(row.body).cause
        if cause == machine.NOT_RUNNING:
            found["relay"] = row.known - machine.DOWN_SECONDS
        elif cause in (machine.FULL, machine.NEARLY_FULL):
            found["room"] = row.known
        elif cause.endswith(machine.DOES_NOT_RUN):
            found[cause.removesuffix(machine.DOES_NOT_RUN)] = row.known - machine.DOWN_SECONDS
        elif row.kind == "certificate":
            found[cause] = row.known
    return found


def shown(section: str, chain: str, key: str) -> Shown:
    """A section's certificate, or why it cannot be read."""
    try:
        return Shown(section, ends(chain, key).timestamp())
    except CertificateFault as fault:
        return Shown(section, 0.0, str(fault))


def refused(ledger: Ledger, now: float) -> tuple[Refusals, ...]:
    """What of known senders was refused in the last 24 hours, by code, beside the four weeks before.

    That a sender is authenticated is little: everybody who signs mail is. Those count whose reports counted lately, and
    the database tells them apart, so that a flood of others hides nothing.
    """
    c, domain = refusals.c, _domain(ledger)
    ago = (literal(int(now)) - c.at) // DAY
    counted = (reports.c.shelf == MAIN, reports.c.apart.is_(None), reports.c.received > now - REPORTER_DAYS * DAY)
    known = select(domain).join_from(reports, items).where(*counted, items.c.auth == "pass")
    query = select(c.code, domain, ago, func.count(), func.min(c.at)).join_from(refusals, items)
    query = query.where(c.at > now - (BEFORE_DAYS + 1) * DAY, items.c.auth == "pass", domain.in_(known))
    query = query.group_by(c.code, domain, ago).order_by(func.count().desc(), c.code, domain, ago).limit(CELLS)
    lately = select(c.id).where(c.at > now - DAY).limit(machine.REFUSED_LEAST)
    with ledger.read() as conn:
        if len(conn.execute(lately).all()) < machine.REFUSED_LEAST:
            return ()
        found = conn.execute(query).all()
    today: dict[str, dict[str, int]] = {}
    since: dict[str, float] = {}
    before: dict[str, dict[int, int]] = {}
    for code, sender, days, count, first in found:
        if days <= 0:
            now_of = today.setdefault(code, {})
            now_of[sender] = now_of.get(sender, 0) + count
            since[code] = min(first, since.get(code, first))
        else:
            days_of = before.setdefault(code, {})
            days_of[days] = days_of.get(days, 0) + count
    return tuple(
        Refusals(code, found_now, since[code], tuple(before.get(code, {}).values()))
        for code, found_now in sorted(today.items())
    )


def _domain(ledger: Ledger) -> ColumnElement[str]:
    """The domain of an envelope sender, as SQL."""
    place = func.instr if ledger.sqlite else func.strpos
    return func.lower(func.substr(items.c.mail_from, place(items.c.mail_from, "@") + 1))
