"""What is wrong with what domains publish, from the history of looks at the DNS: findings, and nobody is asked.

Only what two looks have seen counts, so that a resolver that stumbles raises no alarm. What a domain publishes at the
first looks is learned, not judged, except where it is wrong in itself: a broken SPF record, a key that is not there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from urllib.parse import urlencode

from dmarcview.dns import spf
from dmarcview.dns.looks import Cost
from dmarcview.dns.records import addresses_of, consents, tags
from dmarcview.organisation import organisational
from dmarcview.store.records_seen import CONSENT, DKIM, DMARC, SPF, SPF_COST, Seen
from dmarcview.terminal import safe
from dmarcview_relay.dkimdns import OK, compare
from dmarcview_relay.keys import SigningKey

from .model import Finding, Member

DAY = 86_400
CHANGED_DAYS = 7  # so long a change is told
WITNESSES = 2  # organisations that must name a selector whose key was never seen: one alone may have made it up
RECENT_DAYS = 2  # a selector that the newest reports of its domain have not named for longer is out of use
GRACE = DAY  # seconds in which a key that was just made need not be in the DNS
TEXT_CHARACTERS = 200  # of a record in a text
LOOKUPS, VOIDS, ERROR = "too many look-ups", "too many void look-ups", "an error in it"
OUR_ADDRESS = "our address"
WHAT = {SPF: "SPF record", SPF_COST: "cost of SPF", DMARC: "DMARC record", DKIM: "DKIM key", CONSENT: "consent"}


@dataclass(frozen=True, slots=True)
class InUse:
    """A DKIM key that mail of a policy domain is signed with: our relay's own, or one that reports tell of."""

    domain: str  # d=
    selector: str
    key: SigningKey | None = None  # when our relay signs with it
    messages: int = 0  # in recent reports
    last_day: date | None = None  # newest report day that has it
    organisations: int = 0  # that reported it

    @property
    def name(self) -> str:
        """The DNS name of its record (RFC 6376 section 3.6.2.1)."""
        return f"{self.selector}._domainkey.{self.domain}"


@dataclass(frozen=True, slots=True)
class Interest:
    """A domain whose records are watched, and its keys in use."""

    domain: str
    keys: tuple[InUse, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The DNS names of its keys."""
        return tuple(key.name for key in self.keys)


Rows = Sequence[Seen]  # of one record, oldest first


def findings(
    history: Iterable[Seen], interests: Iterable[Interest], now: int, rua: Sequence[str] = ()
) -> list[Finding]:
    """What is wrong now. `history` as `records_seen.history` gives it; `rua`: addresses where we take reports."""
    records: dict[tuple[str, str, str], list[Seen]] = {}
    for row in history:
        if row.lasts:
            records.setdefault(row[:3], []).append(row)
    found: list[Finding] = []
    keys: dict[str, tuple[InUse, list[Member], Rows]] = {}  # by their names
    rows: Rows
    for one in interests:
        domain = one.domain
        found += _spf_cost(domain, records.get((domain, SPF_COST, domain), ()))
        found += _record(SPF, domain, records.get((domain, SPF, domain), ()), now)
        dmarc = records.get((domain, DMARC, f"_dmarc.{domain}"), ())
        found += _record(DMARC, domain, dmarc, now, rua)
        for name in consents(domain, dmarc[-1].value) if dmarc else ():
            found += _record(CONSENT, domain, records.get((domain, CONSENT, name), ()), now)
        newest = max((key.last_day for key in one.keys if key.last_day), default=None)
        for key in one.keys:
            rows = records.get((domain, DKIM, key.name), ())
            if rows and _used(key, newest) and _real(key, rows):
                members = keys.setdefault(key.name, (key, [], rows))[1]
                members.append(Member(domain, key.messages, 0))  # how many of them failed is not known here
    for key, members, rows in keys.values():  # one key may sign for several domains
        found += _key(key, members, rows, now)
    return found


def _used(key: InUse, newest: date | None) -> bool:
    """Is it used now? Reports tell of a key for days after its domain has turned to another."""
    if key.key is not None:
        return True
    return key.last_day is not None and newest is not None and newest - key.last_day <= timedelta(days=RECENT_DAYS)


def _real(key: InUse, rows: Rows) -> bool:
    """Is there such a key, by the relay, the DNS or several reporters? A stranger's report may name any selector."""
    return key.key is not None or key.organisations >= WITNESSES or any(row.value for row in rows)


def _spf_cost(domain: str, rows: Rows) -> list[Finding]:
    now = Cost.read(rows[-1].value) if rows else None
    cause = _broken(now) if now else ""
    if now is None or not cause:
        return []
    first, before = _since(rows, lambda value: bool((cost := Cost.read(value)) and _broken(cost)))
    usual = Cost.read(before.value) if before else None
    told = f"It needed {usual.lookups} look-ups then." if usual else ""
    text = f"{_sentences(now.faults)} {_when(first, before)} {told}"
    had = float(usual.lookups) if usual else None
    return [_finding("spf_lookups", domain, cause, rows, first=first, text=text, weight=now.lookups, usual=had)]


def _broken(cost: Cost) -> str:
    """Why receivers give up on an SPF record; "" when they do not."""
    if cost.lookups > spf.LOOKUPS:
        return LOOKUPS
    if cost.voids > spf.VOIDS:
        return VOIDS
    return ERROR if cost.faults else ""


def _record(kind: str, domain: str, rows: Rows, now: int, rua: Sequence[str] = ()) -> list[Finding]:
    """Is a record gone that was there, or not what it was?"""
    if not rows:
        return []
    last, cause = rows[-1], f"{WHAT[kind]} at {rows[-1].name}"
    below = kind == DMARC and domain != organisational(domain)  # its organisation's record covers it
    if not last.value and not below:
        first, before = _since(rows, lambda value: not value)
        if before is None:
            return []
        text = f"It stood there until {_day(before.last)}: {_shown(before.value)}."
        return [
            _finding("record_gone", domain, cause, rows, first=first, text=text, weight=_days(first, now), usual=0.0)
        ]
    if kind == DMARC and (lost := _lost(domain, rows, rua, now)):
        return lost
    changes = [one for one in _changes(rows, with_gone=below) if one[1].first > now - CHANGED_DAYS * DAY]
    if not changes:
        return []
    before, after = changes[-1]
    text = f"On {_day(after.first)} it became: {_shown(after.value)}. Before: {_shown(before.value)}."
    if len(changes) > 1:
        text += f" It changed {len(changes)} times in {CHANGED_DAYS} days."
    first = changes[0][1].first
    return [_finding("record_changed", domain, cause, rows, first=first, text=text, weight=len(changes), usual=0.0)]


def _lost(domain: str, rows: Rows, rua: Sequence[str], now: int) -> list[Finding]:
    """Does a DMARC record that named an address of ours name none any more? Then no report comes."""
    ours = {one.lower() for one in rua}

    def elsewhere(value: str) -> bool:
        return not ours & {one.lower() for one in addresses_of(tags(value).get("rua", ""))}

    first, before = _since(rows, elsewhere)
    if before is None or not elsewhere(rows[-1].value):
        return []
    text = (
        f"So since {_day(first)}: {_shown(rows[-1].value)}. Before: {_shown(before.value)}. "
        f"Reports on {domain} come here no longer."
    )
    cause, weight = f"{OUR_ADDRESS} in the {WHAT[DMARC]} at {rows[-1].name}", _days(first, now)
    return [_finding("record_gone", domain, cause, rows, first=first, text=text, weight=weight, usual=0.0)]


def _changes(rows: Rows, *, with_gone: bool) -> list[tuple[Seen, Seen]]:
    """(before, after) of each change. A record that was gone for a while and came back as it was has not changed."""
    kept = [row for row in rows if row.value or with_gone]
    return [(a, b) for a, b in pairwise(kept) if a.value and a.value != b.value]


def _key(key: InUse, members: Sequence[Member], rows: Rows, now: int) -> list[Finding]:
    cause = f"selector {key.selector} of {key.domain}"
    why = _flaw(key, rows[-1].value)
    if not why:
        changes = [one for one in _changes(rows, with_gone=False) if one[1].first > now - CHANGED_DAYS * DAY]
        if key.key is not None or not changes:  # what our relay signs with is what stands there
            return []
        before, after = changes[-1]
        text = (
            f"On {_day(after.first)} the key became another: {_shown(after.value)}. Before: {_shown(before.value)}. "
            "A service that signs for you may have renewed it."
        )
        return [
            _finding(
                "record_changed", key.domain, f"{WHAT[DKIM]} of {cause}", rows, first=changes[0][1].first, text=text,
                weight=len(changes), usual=0.0, members=members,
            )
        ]  # fmt: skip
    first, before_it = _since(rows, lambda value: bool(_flaw(key, value)))
    if before_it is None and key.key is not None and now - key.key.created < GRACE:
        return []
    use = "The relay signs with it." if key.key is not None else _use(key, members)
    stood = f"Before, it was: {_shown(before_it.value)}." if before_it else ""
    text = f"{_sentences([why])} {_when(first, before_it)} {stood} {use}"
    had = 0.0 if before_it else None
    weight = _days(first, now)
    return [
        _finding("key_missing", key.domain, cause, rows, first=first, text=text, weight=weight, usual=had,
                 members=members)
    ]  # fmt: skip


def _use(key: InUse, members: Sequence[Member]) -> str:
    messages = sum(one.failed for one in members)
    return f"Recent reports have {messages} messages signed with it, the newest of {key.last_day}."


def _flaw(key: InUse, value: str) -> str:
    """What keeps receivers from finding a key (RFC 6376 section 3.6.1); "" when they find one."""
    lines = value.split("\n") if value else []
    if key.key is not None:
        sight = compare(key.key, lines)
        return "" if sight.state == OK else sight.why
    if not lines:
        return f"the DNS shows no key at {key.name}"
    if len(lines) > 1:
        return f"the DNS shows {len(lines)} keys at {key.name}; leave one"
    parts = dict(one.split("=", 1) for one in lines[0].replace(" ", "").split(";") if "=" in one)
    return "" if parts.get("p") else f"the key at {key.name} was withdrawn (empty p=)"


# -- times and words


def _since(rows: Rows, wrong: Callable[[str], bool]) -> tuple[int, Seen | None]:
    """When what is wrong now began, and the row before it; None when it was so at the first look."""
    at = len(rows) - 1
    while at > 0 and wrong(rows[at - 1].value):
        at -= 1
    return rows[at].first, rows[at - 1] if at else None


def _when(first: int, before: Seen | None) -> str:
    if before is None:
        return f"It was so at the first look, on {_day(first)}."
    return f"So since {_day(first)}; on {_day(before.last)} it was in order."


def _days(first: int, now: int) -> int:
    """Whole days that something has lasted, with the first one."""
    return max(0, now - first) // DAY + 1


def _day(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _sentences(parts: Sequence[str]) -> str:
    return " ".join(f"{safe(one[0].upper() + one[1:])[:TEXT_CHARACTERS]}." for one in parts[:3] if one)


def _shown(value: str) -> str:
    text = safe(value.replace("\n", "; "))
    return text if len(text) <= TEXT_CHARACTERS else f"{text[:TEXT_CHARACTERS]}…"


def _finding(
    kind: str, domain: str, cause: str, rows: Rows, *, first: int, text: str, weight: int, usual: float | None,
    members: Sequence[Member] = (),
) -> Finding:  # fmt: skip
    """Days are those of the looks: what the DNS says is known at once, and late by the time between two of them."""
    first_day, last_day = (datetime.fromtimestamp(at, UTC).date() for at in (first, max(first, rows[-1].last)))
    return Finding(
        kind, domain, cause, first_day, last_day, weight, " ".join(text.split()), usual=usual,
        page="/sources", query=f"?{urlencode({'domain': domain})}", members=tuple(members),
    )  # fmt: skip
