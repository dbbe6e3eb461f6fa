"""From series that fail to findings: one for each cause, with what it touches as its members. Pure.

One cause shows in many series: a lost key in each sender that signs with it, and in DKIM and DMARC alike. The cause is
the selector, else the group of senders, that explains most of the excess; where neither does, it is the domain.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, urlencode

from .model import Finding, Member
from .said import percent
from .series import Series, as_day

if TYPE_CHECKING:
    from .cusum import Verdicts

EXPLAINS = 0.8  # of the excess failures
MANY = "several senders"
UNSIGNED = "none"
KINDS = {"dmarc": "dmarc_failing", "spf": "spf_failing", "dkim": "dkim_failing"}
WORDS = {"dmarc": "DMARC", "spf": "SPF", "dkim": "DKIM"}
MOST_MEMBERS = 20
FOREVER = 10**9


class Ask(NamedTuple):
    """Which signature fails in a domain, of the days from `since` to `until` (since 1970)?"""

    domain: str
    since: int
    until: int


Selectors = Callable[[Sequence[Ask]], Mapping[Ask, Mapping[str, float]]]


class Row(NamedTuple):
    """What is said of the last incident of one series; days since 1970, `cleared` -1 while it goes on."""

    series: Series
    since: int
    fired: int
    cleared: int
    failed: int
    total: int
    excess: float
    p0: float
    reporters: int


def told(series: Sequence[Series], verdicts: Verdicts) -> list[Row]:
    """The series that have an incident, or had one that has ended."""
    return [
        Row(series[i], int(verdicts.since[i]), int(verdicts.fired[i]), int(verdicts.cleared[i]),
            int(verdicts.failed[i]), int(verdicts.total[i]), float(verdicts.excess[i]), float(verdicts.p0[i]),
            int(verdicts.reporters[i]))
        for i in (verdicts.open | (verdicts.cleared >= 0)).nonzero()[0].tolist()
    ]  # fmt: skip


def findings(rows: Sequence[Row], today: int, selectors: Selectors) -> list[Finding]:
    """One finding a cause. `selectors` gives the excess of each `selector of domain`, for all that is asked at once.

    A cause that shows in SPF or DKIM and in DMARC is told once, as DMARC's, which decides what becomes of the mail.
    """
    by: dict[tuple[str, str], list[Row]] = {}
    for row in sorted(rows):
        by.setdefault((row.series.domain, row.series.mechanism), []).append(row)
    parts = [part for key in sorted(by) for part in _apart(by[key])]
    asks = [_ask(part, today) for part in parts if part[0].series.mechanism == "dkim"]
    known = selectors(asks) if asks else {}
    domains: dict[str, list[Finding]] = {}
    for part in parts:
        domains.setdefault(part[0].series.domain, []).append(_cause(part, today, known))
    out = [one for found in domains.values() for one in _once(found)]
    return sorted(out, key=lambda one: (one.domain, one.kind, one.first_day))


def _once(found: Sequence[Finding]) -> list[Finding]:
    """The findings of one domain, those of SPF and DKIM that DMARC's have taken up as members of these."""
    parts = [one for one in found if one.kind != KINDS["dmarc"]]
    out = []
    for one in found:
        if one.kind != KINDS["dmarc"]:
            continue
        inner = [part for part in parts if _same(part, one)]
        parts = [part for part in parts if part not in inner]
        names = {KINDS[name]: words for name, words in WORDS.items()}
        members = [Member(f"{names[part.kind]} of {part.cause}", part.failed, part.total) for part in inner]
        out.append(replace(one, members=(*one.members, *members)[:MOST_MEMBERS]))
    return [*out, *parts]


def _apart(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows of one mechanism of one domain, those together that share days; what goes on apart from what has ended."""
    out: list[list[Row]] = []
    until = 0
    for row in sorted(rows, key=lambda row: (row.cleared < 0, row.since, row.series)):
        end = row.cleared if row.cleared >= 0 else FOREVER
        if not out or row.since > until or (out[-1][0].cleared < 0) != (row.cleared < 0):
            out.append([])
            until = 0
        out[-1].append(row)
        until = max(until, end)
    return out


def _ended(rows: Sequence[Row]) -> int | None:
    """The day on which all of them had ended; None while they go on. They do so together, or have all ended."""
    return max(row.cleared for row in rows) if rows[0].cleared >= 0 else None


def _ask(rows: Sequence[Row], today: int) -> Ask:
    ended = _ended(rows)
    return Ask(rows[0].series.domain, min(row.since for row in rows), today - 1 if ended is None else ended)


def _cause(rows: Sequence[Row], today: int, known: Mapping[Ask, Mapping[str, float]]) -> Finding:
    """The finding of one mechanism of one domain over some days."""
    domain, mechanism = rows[0].series.domain, rows[0].series.mechanism
    whole = next((row for row in rows if not row.series.group), None)
    groups = sorted((row for row in rows if row.series.group), key=lambda row: (-row.excess, row.series.group))
    excess = max(whole.excess if whole else 0.0, sum(row.excess for row in groups))
    first = whole or groups[0]
    cause, about = MANY, first
    ended = _ended(rows)
    last = today - 1 if ended is None else ended
    if groups and groups[0].excess >= EXPLAINS * excess:
        cause, about = groups[0].series.group, groups[0]
    if mechanism == "dkim":
        excesses = known.get(_ask(rows, today), {})
        name, most = max(excesses.items(), key=lambda one: (one[1], one[0]), default=(UNSIGNED, 0.0))
        if most >= EXPLAINS * sum(max(0.0, one) for one in excesses.values()) > 0 and name != UNSIGNED:
            cause, about = f"selector {name}", first
    since = min(about.since, first.since)
    return Finding(
        kind=KINDS[mechanism], domain=domain, cause=cause, first_day=as_day(since), last_day=as_day(last),
        weight=about.failed, failed=about.failed, total=about.total, usual=about.p0,
        text=rate_text(about, WORDS[mechanism]),
        page="/sources", query=window_query(domain, as_day(since), as_day(last), _address(cause)),
        members=tuple(Member(row.series.group, row.failed, row.total) for row in groups[:MOST_MEMBERS]),
        fired=as_day(about.fired), cleared=None if ended is None else as_day(ended),
    )  # fmt: skip


def _same(part: Finding, above: Finding) -> bool:
    """Have a finding of SPF or DKIM and one of DMARC one cause: the same senders of a domain on the same days?"""
    if part.domain != above.domain or part.first_day > above.last_day or above.first_day > part.last_day:
        return False
    if (part.cleared is None) != (above.cleared is None):
        return False
    inner = {member.name for member in part.members}
    return part.cause == above.cause or (
        bool(inner) and inner <= {member.name for member in above.members} | {above.cause}
    )


def rate_text(row: Row, mechanism: str) -> str:
    """One sentence with the counts and what was usual."""
    since, share = as_day(row.since), row.failed / row.total if row.total else 0.0
    when = f"since {since.day} {since:%b %Y}"
    if row.cleared >= 0:
        when = f"from {since.day} {since:%b} to {as_day(row.cleared):%d %b %Y}"
    who = f"{row.reporters} reporters" if row.reporters != 1 else "1 reporter"
    return (
        f"{row.failed:,} of {row.total:,} messages ({percent(share)}) failed {mechanism} {when}, seen by {who}; "
        f"usual are {percent(row.p0)}."
    )


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
