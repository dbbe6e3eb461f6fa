"""How incidents are said in a few words, the same in the terminal, on the pages and in messages. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from dmarcview.terminal import number, share

from .model import TAKEN_UP, USUAL
from .words import ACT

if TYPE_CHECKING:
    from .model import Finding, Incident

CALM = "Nothing is wrong that alerts know of."
ROUND = 10  # from here on a usual count is said without a part
LEAST_SHOWN, MOST_SHOWN = 0.001, 0.999
SHARES = ("dmarc_failing", "spf_failing", "dkim_failing", "signed_broken")  # whose usual value is a share of failures


def acts(incident: Incident) -> bool:
    """Does it ask for action? What somebody has acknowledged does no longer."""
    return incident.open and incident.acked is None and incident.finding.level == ACT


def verdict(found: Sequence[Incident]) -> str:
    """One sentence on the open ones: `1 incident asks for action, 2 to watch.`"""
    open_ = [one for one in found if one.open]
    if not open_:
        return CALM
    act, acked = sum(map(acts, open_)), sum(one.acked is not None for one in open_)
    watch = len(open_) - act - acked
    if act:
        words = f"{_incidents(act)} ask{'s' * (act == 1)} for action" + (f", {watch} to watch" if watch else "")
    else:
        words = "Nothing asks for action" + (f"; {_incidents(watch)} to watch" if watch else "")
    if acked:
        words += f"; {acked} {'is' if acked == 1 else 'are'} acknowledged"
    return words + "."


def counts(finding: Finding) -> str:
    """What is counted, of how many."""
    if finding.kind == "forged" and finding.total:
        return f"{number(finding.total)} messages, {number(finding.failed)} delivered"
    if finding.total and finding.failed != finding.total:
        return f"{number(finding.failed)} of {number(finding.total)} ({share(finding.failed, finding.total)})"
    return f"{number(finding.weight)} {finding.counts}"


def usual(finding: Finding) -> str:
    """What was usual before; "" when nothing is known of it."""
    if finding.usual is None:
        return ""
    if finding.kind in SHARES:
        return f"{percent(finding.usual)} fail"
    if finding.kind == "reporter_silent":
        return f"reports on {percent(finding.usual)} of days"
    what = f"{finding.words.counts} a day" if finding.kind == "forged" else finding.words.counts
    return f"{_few(finding.usual)} {what}" if finding.usual else "none"


def state(incident: Incident) -> str:
    """What became of it."""
    if incident.ended is not None:
        return f"ended {minute(incident.ended)}" + (f", {ending(incident)}" if ending(incident) else "")
    if incident.acked:
        return f"acknowledged by {incident.acked_by}"
    return f"muted until {minute(incident.muted_until)}" if incident.muted_until else "open"


def ending(incident: Incident) -> str:
    """How it ended when it has not cleared; "" when it has."""
    return {USUAL: "it is usual by now", TAKEN_UP: "another incident tells it"}.get(incident.outcome, "")


def known_after(incident: Incident) -> str:
    """How long it went on before it was known: the reports had to come, and the evidence to be enough."""
    days = (datetime.fromtimestamp(incident.known, UTC).date() - incident.finding.first_day).days
    return "the same day" if days <= 0 else f"{days} day{'s' * (days != 1)}"


def touched(finding: Finding) -> list[tuple[str, str]]:
    """The columns of what a cause touches, as (head, field of `Member`); those that say nothing are left out."""
    failed, total = (any(getattr(one, name) for one in finding.members) for name in ("failed", "total"))
    of = "Reports before" if finding.kind == "reporter_silent" else "Of" if failed else "Messages"
    heads = [("Touches", "name")]
    heads += [("At fault" if total else "Messages", "failed")] if failed else []
    return heads + ([(of, "total")] if total else [])


def minute(seconds: int | None) -> str:
    """`2026-11-05 07:12`, UTC."""
    return datetime.fromtimestamp(seconds or 0, UTC).strftime("%Y-%m-%d %H:%M")


def percent(part: float) -> str:
    """`1.2 %`; a share that is not quite all or nothing never reads 100 or 0."""
    if 0 < part < LEAST_SHOWN:
        return "<0.1 %"
    if MOST_SHOWN < part < 1:
        return ">99.9 %"
    return f"{100 * part:.1f}".removesuffix(".0") + " %"


def _few(value: float) -> str:
    return f"{value:,.0f}" if value >= ROUND else f"{value:.1f}".removesuffix(".0")


def _incidents(count: int) -> str:
    return f"{count} incident{'s' * (count != 1)}"
