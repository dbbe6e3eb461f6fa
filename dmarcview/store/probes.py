"""The probes of `dmarcview test loop`: what was sent to learn whether its receiver reports it."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import delete, insert, select, update

from .ledger import Ledger, bump
from .tables import probes

DAY = 86_400


class Probe(NamedTuple):
    """One tagged mail. `at` is when it was made, seconds UTC; `recipient` as the relay's log has it.

    `queue_id` is empty until the relay has taken it.
    """

    tag: str
    queue_id: str
    at: int
    sender: str
    from_domain: str
    recipient: str
    recipient_domain: str


def put(ledger: Ledger, probe: Probe) -> None:
    """Remember one. Raises StoreFull, StoreBusy, StoreError."""
    with ledger.write() as conn:
        conn.execute(insert(probes), [probe._asdict()])
        bump(conn, "sent")


def taken(ledger: Ledger, tag: str, queue_id: str) -> None:
    """The relay has taken it under this id. Raises StoreFull, StoreBusy, StoreError."""
    with ledger.write() as conn:
        conn.execute(update(probes).where(probes.c.tag == tag).values(queue_id=queue_id))
        bump(conn, "sent")


def forget(ledger: Ledger, tag: str) -> None:
    """Let one go that the relay did not take. Raises StoreFull, StoreBusy, StoreError."""
    with ledger.write() as conn:
        conn.execute(delete(probes).where(probes.c.tag == tag))
        bump(conn, "sent")


def newest(ledger: Ledger, limit: int | None = None, tag: str | None = None) -> list[Probe]:
    """At most so many, newest first; with `tag` that one."""
    query = select(*(probes.c[name] for name in Probe._fields)).order_by(probes.c.at.desc(), probes.c.tag)
    if tag is not None:
        query = query.where(probes.c.tag == tag)
    with ledger.read() as conn:
        return [Probe(*row) for row in conn.execute(query.limit(limit))]


def prune(ledger: Ledger, now: int, days: int) -> int:
    """Let those go that are older than so many days, 0 for none; gives how many went."""
    if not days:
        return 0
    with ledger.write() as conn:
        gone = conn.execute(delete(probes).where(probes.c.at < now - days * DAY)).rowcount
        if gone:
            bump(conn, "sent")
    return gone
