"""New senders: organisations that send in a domain's name and were never seen before. Pure over the table of sources.

A sender is known by its service, else by who signed its mail or whose envelope it carried. An address that nobody
stands behind is no sender but one of a forger's many: waves of these are told by their volume.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import NamedTuple

from .causes import window_query
from .model import Finding, Member
from .series import as_day, stands_behind

NEW_DAYS = 14  # how long a sender is new
KNOWN_DAYS = 14  # of reports on a domain before its first day, else everything is new
NAMES = ("domain", "source_ip", "source_class", "by", "service", "signature", "envelope", "first_seen", "messages",
         "both", "spf_aligned", "dkim_aligned")  # fmt: skip
CLASSES = ("unknown", "third_party")
MOST_MEMBERS = 20
DAY = 86_400


class Source(NamedTuple):
    """One source, the columns NAMES of `Store.source_table`; times in seconds, counts in messages."""

    domain: str
    source_ip: str
    source_class: str
    by: str
    service: str | None
    signature: str | None
    envelope: str | None
    first_seen: int
    messages: int
    both: int
    spf_aligned: int
    dkim_aligned: int

    @property
    def sender(self) -> str:
        """Who stands behind it; "" is nobody."""
        return stands_behind(self.service, self.signature, self.envelope)


def findings(sources: Iterable[Source], today: int, least: int) -> list[Finding]:
    """A finding for each new sender with at least `least` messages; `today` in days since 1970."""
    groups: dict[tuple[str, str], list[Source]] = {}
    began: dict[str, int] = {}
    for one in sources:
        began[one.domain] = min(began.get(one.domain, one.first_seen), one.first_seen)
        if one.sender:
            groups.setdefault((one.domain, one.sender), []).append(one)
    out = []
    for (domain, sender), members in sorted(groups.items()):
        first = min(one.first_seen for one in members)
        messages = sum(one.messages for one in members)
        new = first // DAY >= today - NEW_DAYS and first - began[domain] >= KNOWN_DAYS * DAY
        if not new or messages < least or any(one.by == "user" or one.source_class not in CLASSES for one in members):
            continue
        out.append(_finding(domain, sender, sorted(members, key=lambda one: (-one.messages, one.source_ip)),
                            as_day(first // DAY), as_day(today - 1)))  # fmt: skip
    return out


def _finding(domain: str, sender: str, members: list[Source], first: date, last: date) -> Finding:
    messages = sum(one.messages for one in members)
    passed = sum(one.spf_aligned + one.dkim_aligned - one.both for one in members)
    where = f"{len(members)} addresses" if len(members) != 1 else f"the address {members[0].source_ip}"
    said = "none of them pass DMARC" if not passed else f"{passed:,} of them pass DMARC"
    return Finding(
        kind="new_source", domain=domain, cause=sender, first_day=first, last_day=last, weight=messages,
        failed=max(0, messages - passed), total=messages,
        text=f"{messages:,} messages from {where} since {first.day} {first:%b %Y}; {said}.",
        page="/sources", query=window_query(domain, first, last, members[0].source_ip),
        members=tuple(Member(one.source_ip, one.messages - one.spf_aligned - one.dkim_aligned + one.both,
                             one.messages) for one in members[:MOST_MEMBERS]),
    )  # fmt: skip
