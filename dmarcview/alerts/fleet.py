"""One cause that hits many domains is one finding: a shared host, a service, a campaign. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .causes import MANY, WORDS, window_query
from .model import Finding, Member
from .newcomers import OTHERS
from .said import percent

DOMAINS = 3  # from so many on they are told together
KINDS = frozenset({"dmarc_failing", "spf_failing", "dkim_failing", "forged", "new_source", "bypass", "not_sent"})
MOST_MEMBERS, MOST_TAKEN_UP = 100, 10  # that are shown
MECHANISMS = tuple(f"{words} of " for words in WORDS.values())  # so `causes` names what one of DMARC has taken up


def merged(findings: Sequence[Finding]) -> list[Finding]:
    """The findings, with those of one kind and cause on at least DOMAINS domains and overlapping days as one.

    What goes on and what has ended stay apart. "Several senders" and others that are not named are no cause that
    domains could share.
    """
    groups: dict[tuple[str, str, bool], list[Finding]] = {}
    out = []
    for one in findings:
        if one.kind in KINDS and one.cause not in (MANY, OTHERS) and one.domain:
            groups.setdefault((one.kind, one.cause, one.cleared is None), []).append(one)
        else:
            out.append(one)
    for group in groups.values():
        for part in _together(group):
            out += part if len({one.domain for one in part}) < DOMAINS else [_one(part)]
    return sorted(out, key=lambda one: (one.kind, one.domain, one.cause, one.first_day))


def _together(group: Sequence[Finding]) -> list[list[Finding]]:
    """Parts of a group whose days overlap."""
    out: list[list[Finding]] = []
    for one in sorted(group, key=lambda one: (one.first_day, one.domain)):
        if out and one.first_day <= max(other.last_day for other in out[-1]):
            out[-1].append(one)
        else:
            out.append([one])
    return out


def _one(part: Sequence[Finding]) -> Finding:
    """All of these as one finding, on no single domain; its members are the domains, the most failures first, and then
    what of SPF and DKIM those of DMARC have taken up."""
    ranked = sorted(part, key=lambda one: (-one.weight, one.domain))
    failed, total = sum(one.failed for one in part), sum(one.total for one in part)
    first, last = min(one.first_day for one in part), max(one.last_day for one in part)
    share = f" ({percent(failed / total)})" if total else ""
    domains = sorted({one.domain for one in part})
    members = [Member(one.domain, one.failed, one.total) for one in ranked[:MOST_MEMBERS]]
    return replace(
        ranked[0], domain="", first_day=first, last_day=last, weight=sum(one.weight for one in part), failed=failed,
        total=total, usual=None, grave=any(one.grave for one in part), query=window_query("", first, last),
        text=f"{failed:,} of {total:,} messages{share} of {len(domains):,} domains since {first.day} {first:%b %Y}. "
        f"Most of {ranked[0].domain}: {ranked[0].text}",
        members=(*members, *_taken_up(part)), domains=tuple(domains),
        fired=min((one.fired for one in part if one.fired), default=None),
        cleared=max((one.cleared for one in part if one.cleared), default=None),
    )  # fmt: skip


def _taken_up(part: Sequence[Finding]) -> list[Member]:
    """What of SPF and DKIM the findings have taken up, by name, the most failures first."""
    sums: dict[str, tuple[int, int]] = {}
    for name, failed, total in (member for one in part for member in one.members):
        if name.startswith(MECHANISMS):
            before = sums.get(name, (0, 0))
            sums[name] = (before[0] + failed, before[1] + total)
    ranked = sorted(sums, key=lambda name: (-sums[name][0], name))
    return [Member(name, *sums[name]) for name in ranked[:MOST_TAKEN_UP]]
