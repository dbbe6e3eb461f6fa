"""From series that fail to findings: one for each cause, with what it touches as its members. Pure.

One cause shows in many series: a lost key in each sender that signs with it, and in DKIM and DMARC alike. The cause is
the selector, else the group of senders, that explains most of the excess; where neither does, it is the domain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, urlencode

from .model import Finding, Member
from .series import Series, as_day

if TYPE_CHECKING:
    from .cusum import Verdicts

EXPLAINS = 0.8  # of the excess failures
MANY = "several senders"
UNSIGNED = "none"
KINDS = {"dmarc": "dmarc_failing", "spf": "spf_failing", "dkim": "dkim_failing"}
WORDS = {"dmarc": "DMARC", "spf": "SPF", "dkim": "DKIM"}
MOST_MEMBERS = 20
Selectors = Mapping[str, Mapping[str, float]]


class Row(NamedTuple):
    """What is said of one open series."""

    series: Series
    since: int
    failed: int
    total: int
    excess: float
    p0: float
    reporters: int


def opened(series: Sequence[Series], verdicts: Verdicts) -> list[Row]:
    """The series whose incident goes on."""
    return [
        Row(series[i], int(verdicts.since[i]), int(verdicts.failed[i]), int(verdicts.total[i]),
            float(verdicts.excess[i]), float(verdicts.p0[i]), int(verdicts.reporters[i]))
        for i in verdicts.open.nonzero()[0].tolist()
    ]  # fmt: skip


def findings(rows: Sequence[Row], today: int, selectors: Selectors) -> list[Finding]:
    """One finding a cause. `selectors`: by domain, the excess of failed messages of each `selector.domain`.

    A cause that shows in SPF or DKIM and in DMARC is told once, as DMARC's, which decides what becomes of the mail.
    """
    by: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        by.setdefault((row.series.domain, row.series.mechanism), []).append(row)
    found = {key: _cause(part, today, selectors.get(key[0], {})) for key, part in sorted(by.items())}
    out = []
    for (domain, mechanism), one in found.items():
        above = found.get((domain, "dmarc"))
        if mechanism != "dmarc" and above is not None and _same(one, above):
            found[domain, "dmarc"] = _with(above, Member(f"{WORDS[mechanism]} of {one.cause}", one.failed, one.total))
    for (domain, mechanism), one in found.items():
        if mechanism == "dmarc" or (domain, "dmarc") not in found or not _same(one, found[domain, "dmarc"]):
            out.append(one)
    return out


def _cause(rows: Sequence[Row], today: int, selectors: Mapping[str, float]) -> Finding:
    """The finding of one mechanism of one domain."""
    domain, mechanism = rows[0].series.domain, rows[0].series.mechanism
    whole = next((row for row in rows if not row.series.group), None)
    groups = sorted((row for row in rows if row.series.group), key=lambda row: (-row.excess, row.series.group))
    excess = max(whole.excess if whole else 0.0, sum(row.excess for row in groups))
    first = whole or groups[0]
    cause, told = MANY, first
    if groups and groups[0].excess >= EXPLAINS * excess:
        cause, told = groups[0].series.group, groups[0]
    if mechanism == "dkim" and selectors:
        name, most = max(selectors.items(), key=lambda one: (one[1], one[0]))
        if most >= EXPLAINS * sum(max(0.0, one) for one in selectors.values()) > 0 and name != UNSIGNED:
            cause, told = f"selector {name}", first
    since = min(row.since for row in rows if row in (told, first))
    return Finding(
        kind=KINDS[mechanism], domain=domain, cause=cause, first_day=as_day(since), last_day=as_day(today - 1),
        weight=told.failed, failed=told.failed, total=told.total, usual=told.p0,
        text=rate_text(told, WORDS[mechanism]),
        page="/sources", query=window_query(domain, as_day(since), as_day(today - 1), _address(cause)),
        members=tuple(Member(row.series.group, row.failed, row.total) for row in groups[:MOST_MEMBERS]),
    )  # fmt: skip


def _same(part: Finding, above: Finding) -> bool:
    """Do a finding of SPF or DKIM and one of DMARC on the same domain have one cause?"""
    if part.cause == above.cause:
        return True
    inner = {member.name for member in part.members}
    return bool(inner) and inner <= {member.name for member in above.members} | {above.cause}


def _with(finding: Finding, member: Member) -> Finding:
    from dataclasses import replace

    return replace(finding, members=(*finding.members, member)[:MOST_MEMBERS])


def rate_text(row: Row, mechanism: str) -> str:
    """One sentence with the counts and what was usual."""
    since, share = as_day(row.since), row.failed / row.total if row.total else 0.0
    who = f"{row.reporters} reporters" if row.reporters != 1 else "1 reporter"
    return (
        f"{row.failed:,} of {row.total:,} messages ({share:.0%}) failed {mechanism} since {since.day} {since:%b %Y}, "
        f"seen by {who}; usual are {percent(row.p0)}."
    )


def percent(part: float) -> str:
    """A share for people: two digits where it is small."""
    return f"{100 * part:.1f} %" if part < 0.1 else f"{100 * part:.0f} %"


def window_query(domain: str, first: date, last: date, source: str = "", **more: str) -> str:
    """The query string of a page for these days, with the drawer of `source` open if there is one."""
    pairs = {"domain": domain} if domain else {}
    pairs |= {"from": first.isoformat(), "to": last.isoformat(), **more}
    if source and domain:
        pairs["source"] = f"{domain}~{source}"
    return "?" + urlencode(pairs, quote_via=quote, safe="~:")


def _address(cause: str) -> str:
    """The cause where it is a single address, for the page has a drawer for it."""
    import ipaddress

    try:
        return str(ipaddress.ip_address(cause))
    except ValueError:
        return ""
