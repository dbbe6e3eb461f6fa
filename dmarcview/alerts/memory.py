"""Incidents as the ledger keeps them: what an evaluation found becomes what is remembered, and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from dmarcview.store import incidents

from .model import CLEARED, OPENED, WORSE, Change, Finding, Incident
from .series import DAY, day_number

if TYPE_CHECKING:
    from dmarcview.store.ledger import Ledger


def settle(ledger: Ledger, findings: Sequence[Finding], now: int) -> list[Change]:
    """Make these what is wrong now: gives what was opened, got worse or better, and what has cleared.

    Those that have ended already are remembered when nothing is known of them: a store of old reports has its history.
    """
    over = [one for one in findings if one.cleared is not None]
    findings = [one for one in findings if one.cleared is None]
    before = {one.fingerprint: one for one in incidents.listed(ledger, now, open_only=True)}
    kept = carried(findings, [finding_of(row) for row in before.values()])
    moved = incidents.settle(ledger, [_row(one) for one in kept], now)
    incidents.remember(ledger, [_past(one, now) for one in over], now)
    how = {"opened": OPENED, "cleared": CLEARED}
    return [Change(how.get(one.how, WORSE if one.row.weight > one.before else "better"), incident(one.row))
            for one in moved]  # fmt: skip


def carried(findings: Sequence[Finding], known: Sequence[Finding]) -> list[Finding]:
    """Findings under the cause by which they are known already, each fingerprint once.

    What is said of a cause sharpens while reports come in: first it is a domain, then a selector. One open incident and
    one new finding of the same kind and domain that share days are the same.
    """
    out: dict[str, Finding] = {}
    places = {(one.kind, one.domain) for one in findings}
    for place in sorted(places):
        fresh = [one for one in findings if (one.kind, one.domain) == place]
        old = [one for one in known if (one.kind, one.domain) == place]
        names = {one.cause for one in fresh}
        gone = [one for one in old if one.cause not in names]
        new = [one for one in fresh if one.cause not in {one.cause for one in old}]
        if len(gone) == len(new) == 1 and gone[0].first_day <= new[0].last_day and _moves(new[0]):
            fresh = [replace(one, cause=gone[0].cause) if one is new[0] else one for one in fresh]
        for one in fresh:
            other = out.get(one.fingerprint)
            out[one.fingerprint] = one if other is None or one.weight > other.weight else other
    return [out[name] for name in sorted(out)]


def _moves(finding: Finding) -> bool:
    """Is its cause found by what explains most, so that it may change its name?"""
    return finding.kind.endswith("_failing")


def listed(ledger: Ledger, now: int, *, open_only: bool = False, limit: int | None = None) -> list[Incident]:
    """Incidents: open ones first, then the ended ones, newest first."""
    return [incident(row) for row in incidents.listed(ledger, now, open_only=open_only, limit=limit)]


def one(ledger: Ledger, number: int, now: int) -> Incident | None:
    """An incident by its number."""
    found = incidents.one(ledger, number, now)
    return None if found is None else incident(found)


def incident(row: incidents.Row) -> Incident:
    """An incident of the ledger."""
    return Incident(
        row.id, finding_of(row), row.known, row.changed, row.ended, row.acked, row.acked_by, row.note, row.muted_until
    )


def finding_of(row: incidents.Row) -> Finding:
    """What was found of it last."""
    return Finding.from_json(row.body)


def _past(finding: Finding, now: int) -> incidents.Row:
    """An incident that is over: it could be known the day after its evidence was enough."""
    assert finding.cleared is not None
    known = day_number(finding.fired or finding.first_day) + 1
    ended = (day_number(finding.cleared) + 1) * DAY
    return replace(_row(finding), known=min(known * DAY, now), ended=min(ended, now))


def _row(finding: Finding) -> incidents.Row:
    return incidents.Row(
        finding.fingerprint, finding.kind, finding.domain, finding.level, day_number(finding.first_day) * DAY,
        day_number(finding.last_day) * DAY, finding.weight, finding.to_json(),
    )  # fmt: skip
