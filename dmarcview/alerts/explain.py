"""Which fault explains which alarm: what is known from the DNS or from this machine silences the rates that follow.

A silenced finding is not lost: it becomes a member of the one that explains it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from types import MappingProxyType
from typing import NamedTuple

from dmarcview.organisation import aligned
from dmarcview.store.records_seen import CONSENT, DMARC, SPF

from .causes import MANY as MANY_SENDERS
from .causes import WORDS
from .dnsdrift import OUR_ADDRESS, WHAT
from .machine import FULL, MANY, NOT_RUNNING, SPOOL
from .model import Finding, Member
from .overdue import EVERYONE
from .words import ACT

EARLY = timedelta(days=2)  # so long before its cause was seen an alarm may begin: a report's day, and the time of looks
MEMBERS = 50  # most that a finding carries
SEVERAL = 2  # silent reporters of a domain from which on its own mail, and not a reporter, may be the cause
_SELECTOR = re.compile(r"\bselector (\S+)", re.IGNORECASE)
_WORD = re.compile(r"[^\s,;:()\"']+")


class Silenced(NamedTuple):
    """A finding that needs no alarm of its own, and the one that is told instead."""

    finding: Finding
    by: Finding


Silent = Mapping[str, int]  # silent reporters by domain
Rule = Callable[[Finding, Finding, Silent], bool]  # does the first explain the second?


def explained(findings: Sequence[Finding]) -> tuple[list[Finding], list[Silenced]]:
    """Those that are told, each with what it explains among its members; and those that are not."""
    explaining = {kind for kind, _ in RULES}
    causes = [one for one in findings if one.kind in explaining]
    silent: dict[str, int] = {}
    for one in findings:
        if one.kind == "reporter_silent":
            silent[one.domain] = silent.get(one.domain, 0) + 1
    above = {one.fingerprint: found for one in findings if (found := _cause(one, causes, silent))}
    under: dict[str, list[Finding]] = {}
    for one in findings:
        if one.fingerprint in above:
            under.setdefault(_root(one, above).fingerprint, []).append(one)
    kept = {one.fingerprint: _with(one, under.get(one.fingerprint, ())) for one in findings}
    told = [kept[one.fingerprint] for one in findings if one.fingerprint not in above]
    return told, [Silenced(one, kept[name]) for name, members in under.items() for one in members]


def _with(one: Finding, under: Sequence[Finding]) -> Finding:
    """A cause with what it explains. Where that is graver than itself, its level and counts are those of the gravest: a
    change of a record that somebody meant to make is one thing, mail that fails by it another."""
    if not under:
        return one
    members = [Member(each.title, each.failed or each.weight, each.total) for each in under]
    one = replace(one, members=(*one.members, *members)[:MEMBERS])
    worst = max(under, key=lambda each: (each.level == ACT, each.weight))
    if one.level == ACT or worst.level != ACT:
        return one
    return replace(
        one, grave=True, weight=worst.weight, failed=worst.failed, total=worst.total, last_day=worst.last_day,
        text=f"{one.text} With it: {worst.title}.",
    )  # fmt: skip


def _root(one: Finding, above: Mapping[str, Finding]) -> Finding:
    """The end of the chain of causes; the rules run in one direction, so there is one."""
    while one.fingerprint in above:
        one = above[one.fingerprint]
    return one


def _cause(alarm: Finding, causes: Sequence[Finding], silent: Silent) -> Finding | None:
    for cause in causes:
        rule = RULES.get((cause.kind, alarm.kind))
        if rule is not None and rule(cause, alarm, silent) and _in_time(cause, alarm):
            return cause
    return None


def _in_time(cause: Finding, alarm: Finding) -> bool:
    """Did the alarm begin with its cause? Of one that was there at the first look nobody knows when it began."""
    edge = cause.first_day - EARLY
    return alarm.last_day >= edge and (cause.usual is None or alarm.first_day >= edge)


# -- the table


def _key(cause: Finding, alarm: Finding, _: Silent) -> bool:
    """The alarm, or what of DKIM is within it, names the selector; or else the domain, and no other selector."""
    if alarm.domain not in (cause.domain, *(member.name for member in cause.members)):
        return False
    (selector,) = _SELECTOR.findall(cause.cause)[:1] or [""]
    texts = [alarm.cause, *_within(alarm, "dkim")]
    if named := [name.lower().rstrip(",;:") for text in texts for name in _SELECTOR.findall(text)]:
        return selector.lower() in named
    words = {word.lower() for text in texts for word in _WORD.findall(text)}
    return MANY_SENDERS in texts or bool(words & {selector.lower(), cause.domain, alarm.domain})


def _same(cause: Finding, alarm: Finding, _: Silent) -> bool:
    """One selector of one domain."""
    return cause.domain == alarm.domain and cause.cause == alarm.cause


def _spf(cause: Finding, alarm: Finding, _: Silent) -> bool:
    """The record fails, and with it SPF: for DMARC only where SPF is what failed."""
    if cause.domain != alarm.domain or (alarm.kind == "dmarc_failing" and not _within(alarm, "spf")):
        return False
    return cause.kind == "spf_lookups" or cause.cause.startswith(WHAT[SPF])


def _within(alarm: Finding, mechanism: str) -> list[str]:
    """The causes of SPF or DKIM that an alarm of DMARC has taken up (see `causes.findings`)."""
    start = f"{WORDS[mechanism]} of "
    return [member.name.removeprefix(start) for member in alarm.members if member.name.startswith(start)]


def _no_reports(cause: Finding, alarm: Finding, _: Silent) -> bool:
    """Nobody is asked for reports any more, or nobody may send them here."""
    return cause.domain == alarm.domain and cause.cause.startswith((WHAT[DMARC], WHAT[CONSENT], OUR_ADDRESS))


def _everyone(cause: Finding, alarm: Finding, _: Silent) -> bool:
    """Nobody at all reports, and here is why."""
    if alarm.cause != EVERYONE or cause.domain not in ("", alarm.domain):
        return False
    return cause.cause in (SPOOL, FULL, NOT_RUNNING, MANY) or cause.cause.endswith("does not run")


def _no_reports_at_all(cause: Finding, alarm: Finding, silent: Silent) -> bool:
    return alarm.cause == EVERYONE and _no_reports(cause, alarm, silent)


def _intake(cause: Finding, alarm: Finding, _: Silent) -> bool:
    """Nothing comes in at all; or what this reporter sends is refused."""
    if cause.domain not in ("", alarm.domain):
        return False
    if cause.cause in (SPOOL, FULL, EVERYONE) or cause.cause.endswith("does not run"):
        return True
    return any(aligned(member.name, alarm.cause) for member in cause.members)


def _queue(cause: Finding, alarm: Finding, silent: Silent) -> bool:
    """What does not leave is not reported, by anybody."""
    return cause.cause in (NOT_RUNNING, MANY) and silent.get(alarm.domain, 0) >= SEVERAL


def _held(cause: Finding, alarm: Finding, silent: Silent) -> bool:
    return bool(cause.domain) and cause.domain == alarm.domain and silent.get(alarm.domain, 0) >= SEVERAL


RULES: Mapping[tuple[str, str], Rule] = MappingProxyType(
    {
        ("key_missing", "signed_broken"): _key,
        ("key_missing", "dkim_failing"): _key,
        ("key_missing", "dmarc_failing"): _key,
        ("key_missing", "mail_held"): _key,
        ("signed_broken", "dkim_failing"): _same,
        ("spf_lookups", "spf_failing"): _spf,
        ("spf_lookups", "dmarc_failing"): _spf,
        ("record_gone", "spf_failing"): _spf,
        ("record_gone", "dmarc_failing"): _spf,
        ("record_changed", "spf_failing"): _spf,
        ("record_changed", "dmarc_failing"): _spf,
        ("record_gone", "reporter_silent"): _no_reports,
        ("record_gone", "intake_fault"): _no_reports_at_all,
        ("intake_fault", "intake_fault"): _everyone,
        ("queue_stuck", "intake_fault"): _everyone,
        ("intake_fault", "reporter_silent"): _intake,
        ("queue_stuck", "reporter_silent"): _queue,
        ("mail_held", "reporter_silent"): _held,
    }
)
