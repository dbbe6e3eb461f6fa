"""New senders: organisations that send in a domain's name and were not seen before.

A sender is known by what proves it: its service, who signed its mail, or whose envelope passed SPF (see `senders`). An
address that nobody stands behind is no sender but one of a forger's many: waves of these are told by their volume. Of
the past, HISTORY_DAYS count: what an odd report says of years ago makes nobody an old friend.
"""

# ruff: noqa: S608 - SQL is put together from our own constants; values from outside are parameters
from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from dmarcview.query.filters import Filters
from dmarcview.query.proven import KNOWN_DAYS, NEW_DAYS, UNNAMED
from dmarcview.query.traffic import window
from dmarcview.store.sums import PASSED

from .causes import window_query
from .model import Finding, Member
from .series import HISTORY_DAYS, MOST_GROUPS, as_day, day_number

if TYPE_CHECKING:
    from dmarcview.store import Store

MOST_SENDERS = 5  # new ones of a domain that are findings each, the busiest; the others are one
OTHERS = "several more"
MOST_MEMBERS = 20


class Newcomer(NamedTuple):
    """A new sender of a domain: its first day (since 1970), its messages, how many of them pass DMARC, its addresses.

    `members` are addresses, the busiest first. With `sender` "" it is all beyond the busiest MOST_SENDERS together:
    `number` is how many they are, and `members` are the busiest of these.
    """

    domain: str
    sender: str
    first: int
    messages: int
    passed: int
    number: int
    members: tuple[Member, ...]


def load(store: Store, cursor: Any, today: int, least: int, *, verified: bool = True) -> list[Newcomer]:
    """The senders that are new on the day `today` (since 1970), with at least `least` messages.

    `cursor` has the table `senders`.
    """
    bounds = Filters(since=as_day(today - HISTORY_DAYS), until=as_day(today), verified=verified)
    within = f"c.day >= date '{bounds.since}' and c.day < date '{bounds.until}'"
    joined = "from cube c {} join senders s on s.domain = c.domain and s.source_ip = c.source_ip {}"
    messages = "cast(sum(messages) as bigint)"
    passed = f"coalesce(cast(sum(messages) filter (where {PASSED}) as bigint), 0)"

    def asked(sql: str) -> str:
        return store.heavy.over(cursor, window(store, bounds), sql)

    groups = asked(
        f"with groups as (select c.domain, case when s.named then s.sender else '' end as sender, "
        f"min(c.day) as first, {messages} as n, {passed} as passed, bool_or(s.said or s.class not in {UNNAMED}) as old "
        f"{joined.format('left', f'where {within}')} group by all), "
        "known as (select *, min(first) over (partition by domain) as began from groups) "
        "select *, row_number() over (partition by domain order by n desc, sender) as rank from known "
        f"where sender <> '' and not old and n >= {int(least)} and first >= date '{as_day(today - NEW_DAYS)}' "
        f"and first >= began + {KNOWN_DAYS}"
    )
    cursor.execute(f"create or replace temp table newcomers as {groups}")
    rows = cursor.execute(
        f"select domain, sender, first, n, passed from newcomers where rank <= {MOST_SENDERS} order by all"
    ).fetchall()
    if not rows:
        return []
    addresses: dict[tuple[str, str], list[tuple[str, int, int]]] = {}
    for domain, sender, *address in cursor.execute(asked(
        f"select c.domain, s.sender, c.source_ip, {messages} - {passed} as failed, {messages} as n "
        + joined.format("", "join newcomers f on f.domain = s.domain and f.sender = s.sender")
        + f" where {within} and s.named and f.rank <= {MOST_SENDERS} group by all order by n desc, c.source_ip"
    )).fetchall():  # fmt: skip
        addresses.setdefault((domain, sender), []).append(tuple(address))
    out = []
    for domain, sender, first, n, good in rows:
        listed = addresses[domain, sender]
        members = tuple(Member(*one) for one in listed[:MOST_MEMBERS])
        out.append(Newcomer(domain, sender, day_number(first), n, good, len(listed), members))
    for domain, number, first, n, good, names in cursor.execute(
        "select domain, count(*), min(first), sum(n)::bigint, sum(passed)::bigint, "
        f"list([sender, (n - passed)::varchar, n::varchar] order by rank)[1:{MOST_GROUPS}] from newcomers "
        f"where rank > {MOST_SENDERS} group by domain order by domain"
    ).fetchall():
        others = tuple(Member(name, int(failed), int(total)) for name, failed, total in names)
        out.append(Newcomer(domain, "", day_number(first), n, good, number, others))
    return out


def findings(found: list[Newcomer], today: int) -> list[Finding]:
    """A finding for each of them; `today` in days since 1970. Pure."""
    return [_finding(one, today) for one in sorted(found)]


def names(found: list[Newcomer]) -> set[tuple[str, str]]:
    """The domain and sender of each, of the others too."""
    others = {(one.domain, member.name) for one in found if not one.sender for member in one.members}
    return others | {(one.domain, one.sender) for one in found if one.sender}


def _finding(one: Newcomer, today: int) -> Finding:
    first, last = as_day(one.first), as_day(today - 1)
    address = one.members[0].name if one.sender else ""
    if not one.sender:
        where = f"{one.number} more new senders"
    elif one.number != 1:
        where = f"{one.number} addresses"
    else:
        where = f"the address {address}"
    said = f"{one.passed:,} of them pass DMARC" if one.passed else "none of them pass DMARC"
    return Finding(
        kind="new_source", domain=one.domain, cause=one.sender or OTHERS, first_day=first, last_day=last,
        weight=one.messages, failed=max(0, one.messages - one.passed), total=one.messages,
        text=f"{one.messages:,} messages from {where} since {first.day} {first:%b %Y}; {said}.",
        page="/sources", query=window_query(one.domain, first, last, address), members=one.members[:MOST_MEMBERS],
    )  # fmt: skip
