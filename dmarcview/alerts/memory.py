"""Incidents as the ledger keeps them: what an evaluation found becomes what is remembered, and back."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from dmarcview.store import incidents

from .causes import KINDS, MANY
from .model import BETTER, CHANGED, CLEARED, OPENED, TAKEN_UP, USUAL, WORSE, Change, Finding, Incident
from .series import DAY, day_number

if TYPE_CHECKING:
    from dmarcview.store.ledger import Ledger

RATES = frozenset(KINDS.values())  # kinds whose cause may come to be known better
JUDGED = RATES | {"forged", "signed_broken"}  # kinds of which a judgement says when they have cleared


def settle(
    ledger: Ledger,
    findings: Sequence[Finding],
    now: int,
    *,
    explained: Sequence[Finding] = (),
    version: int = 0,
    keep_days: int = 0,
) -> list[Change]:
    """Make these what is wrong now: gives what was opened, got worse or better, and what has ended, and how.

    Those of `findings` that have ended already are remembered when nothing is known of them, unless they are past
    `keep_days`: a store of old reports has its history. `explained` are wrong as well, by a cause that is among the
    findings: they open no incident, and do not end one. `version` is that of the store that was judged.
    """
    over = [one for one in findings if one.cleared is not None]
    before = [finding_of(row) for row in incidents.listed(ledger, now, open_only=True)]
    weights = {one.fingerprint: one.weight for one in before}
    told = carried([one for one in findings if one.cleared is None], before)
    names = {one.fingerprint for one in told}
    others = [one for one in carried(explained, before) if one.fingerprint not in names]
    rows = [_row(one, now) for one in told]
    rows += [_row(replace(one, weight=weights.get(one.fingerprint, one.weight)), 0) for one in others]
    moved = incidents.settle(ledger, rows, lambda row: ending(finding_of(row), told, over), now, version)
    edge = now - keep_days * DAY if keep_days else 0
    past = [(_past(one, now), one.kind in RATES) for one in over]
    incidents.remember(ledger, [one for one in past if (one[0].ended or now) >= edge], now)
    return [Change(_how(one), incident(one.row)) for one in moved]


def _how(moved: incidents.Moved) -> str:
    if moved.how == "ended":
        return moved.row.outcome
    if moved.how == "opened":
        return OPENED
    return WORSE if moved.row.weight > moved.before else BETTER if moved.row.weight < moved.before else CHANGED


def ending(gone: Finding, told: Sequence[Finding], over: Sequence[Finding]) -> str:
    """How an incident ends that is not among the findings any more.

    Another finding may tell it now: of DMARC, of many domains, of a new sender. One that a judgement follows has
    cleared only when the judgement says so; else it has gone on for so long that it is taken for usual.
    """
    if any(_tells(one, gone) for one in told):
        return TAKEN_UP
    if gone.kind not in JUDGED:
        return CLEARED
    same = [one for one in over if one.kind == gone.kind and gone.domain in (one.domain, *one.domains)]
    return CLEARED if any(one.last_day >= gone.first_day for one in same) else USUAL


def _tells(one: Finding, gone: Finding) -> bool:
    """Does a finding tell what an incident told under another name?"""
    if one.fingerprint == gone.fingerprint or one.last_day < gone.first_day:
        return False
    members = {member.name for member in one.members}
    if one.cause == gone.cause and (one.kind == gone.kind or {one.kind, gone.kind} == {"forged", "new_source"}):
        return _touches(one, gone.domain, members)
    taken_up = any(name.endswith(f" of {gone.cause}") for name in members)
    return one.kind == KINDS["dmarc"] and gone.kind in RATES and taken_up and _touches(one, gone.domain, members)


def _touches(one: Finding, domain: str, members: Collection[str]) -> bool:
    """Is a domain that of a finding, or one of the many of it? "" stands for many that are told one by one now."""
    return domain in ("", one.domain) or (not one.domain and (domain in one.domains or domain in members))


def carried(findings: Sequence[Finding], known: Sequence[Finding]) -> list[Finding]:
    """Findings under the name by which they are known already, each fingerprint once.

    What is said of a cause of rates sharpens while reports come in: first several senders, then a selector. One open
    incident and one new finding of the same kind and domain that share days are the same, unless both name a sender.
    """
    out: dict[str, Finding] = {}
    for place in sorted({(one.kind, one.domain) for one in findings}):
        fresh = [one for one in findings if (one.kind, one.domain) == place]
        old = [one for one in known if (one.kind, one.domain) == place]
        causes = {one.cause for one in fresh}
        gone = [one for one in old if one.cause not in causes and (one.name or one.cause) not in causes]
        new = [one for one in fresh if one.cause not in {name for other in old for name in (other.cause, other.name)}]
        if len(gone) == len(new) == 1 and _same(gone[0], new[0]):
            fresh = [replace(one, name=gone[0].name or gone[0].cause) if one is new[0] else one for one in fresh]
        names = {one.cause: one.name for one in old if one.name}
        for one in fresh:
            kept = one if one.name or one.cause not in names else replace(one, name=names[one.cause])
            other = out.get(kept.fingerprint)
            out[kept.fingerprint] = kept if other is None or kept.weight > other.weight else other
    return [out[name] for name in sorted(out)]


def _same(gone: Finding, new: Finding) -> bool:
    """Is a new finding the incident that is not found under its cause any more?"""
    sharpens = any(cause == MANY or cause.startswith("selector ") for cause in (gone.cause, new.cause))
    return new.kind in RATES and sharpens and gone.first_day <= new.last_day


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
        row.id, finding_of(row), row.known, row.changed, row.ended, row.outcome, row.acked, row.acked_by, row.note,
        row.muted_until,
    )  # fmt: skip


def finding_of(row: incidents.Row) -> Finding:
    """What was found of it last."""
    return Finding.from_json(row.body)


def _past(finding: Finding, now: int) -> incidents.Row:
    """An incident that is over: it could be known the day after its evidence was enough."""
    assert finding.cleared is not None
    known = day_number(finding.fired or finding.first_day) + 1
    ended = (day_number(finding.cleared) + 1) * DAY
    return replace(_row(finding, min(known * DAY, now)), ended=min(ended, now))


def _row(finding: Finding, known: int) -> incidents.Row:
    return incidents.Row(
        finding.fingerprint, finding.kind, finding.domain, finding.level, day_number(finding.first_day) * DAY,
        day_number(finding.last_day) * DAY, finding.weight, finding.to_json(), known=known,
    )  # fmt: skip
