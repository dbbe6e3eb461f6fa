"""What domains published, and when: a row as long as a record stayed the same, from looks at the DNS.

A value that only one look has seen is not history yet: when the next one sees what stood there before, it was a slip of
the DNS and is forgotten. So of each record only the newest row can be unconfirmed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, delete, func, insert, select, update

from .archive import clean
from .ledger import Ledger, bump, chunks, rows
from .tables import records_seen

_C = records_seen.c
SPF, SPF_COST, DMARC, DKIM, CONSENT = KINDS = ("spf", "spf_cost", "dmarc", "dkim", "consent")
LASTING = 120  # seconds between two looks that count as two
VALUE_CHARACTERS = 8_000  # of a record; more is cut, and told apart by its hash
KEPT = 100  # rows of one record; the oldest leave
LISTED = 1_000  # rows that one answer gives
DAY = 86_400


class Observed(NamedTuple):
    """What one look found: the domain it is about, the kind of record, its name in the DNS, its text ("": none)."""

    domain: str
    kind: str
    name: str
    value: str


class Seen(NamedTuple):
    """A record as it stood from the first look until the last one, in seconds; `value` "" is: no record."""

    domain: str
    kind: str
    name: str
    value: str
    first: int
    last: int
    id: int = 0

    @property
    def lasts(self) -> bool:
        """Have two looks found it so?"""
        return self.last - self.first >= LASTING


class Changed(NamedTuple):
    """A record that became another on a day (its first second, UTC); "" is: no record. Times are seconds."""

    day: int
    at: int
    domain: str
    kind: str
    name: str
    before: str
    after: str


def note(ledger: Ledger, looked: Iterable[Observed], now: int) -> int:
    """Keep what a look found; gives how many records are not as they were. Durable when it returns.

    What could not be looked up is left out by the caller: no answer is no observation.
    """
    found = {(clean(one.domain), one.kind, clean(one.name)): _bounded(one.value) for one in looked}
    if not found:
        return 0
    changed = 0
    with ledger.write() as conn:
        known = _by_record(conn, sorted({name for _, _, name in found}))
        for key, value in found.items():
            changed += _settle(conn, key, value, known.get(key, []), now)
        if changed:
            bump(conn, "alerts")
    return changed


def _settle(conn: Connection, key: tuple[str, str, str], value: str, known: list[Seen], now: int) -> bool:
    """One record with its rows, oldest first; True when it is not as it was."""
    last = known[-1] if known else None
    if last is not None and now < last.last:  # an older look that comes late, or a clock that went back
        return False
    if last is not None and last.value == value:
        _move(conn, last, last=now)
        return False
    if last is not None and not last.lasts:
        before = known[-2] if len(known) > 1 else None
        if before is not None and before.value == value:
            conn.execute(delete(records_seen).where(_C.id == last.id))
            _move(conn, before, last=now)
        else:
            _move(conn, last, value=value, first=now, last=now)
        return True
    values = dict(zip(("domain", "kind", "name"), key, strict=True))
    conn.execute(insert(records_seen).values(id=bump(conn, "row") + 1, **values, value=value, first=now, last=now))
    if old := [one.id for one in known[: max(0, len(known) + 1 - KEPT)]]:
        conn.execute(delete(records_seen).where(_C.id.in_(old)))
    return True


def _move(conn: Connection, row: Seen, **values: object) -> None:
    conn.execute(update(records_seen).where(_C.id == row.id).values(**values))


def history(ledger: Ledger, domains: Sequence[str]) -> list[Seen]:
    """All that is known of the records of these domains: by domain, kind and name, oldest first."""
    order = (_C.domain, _C.kind, _C.name, _C.first, _C.id)
    out: list[Seen] = []
    with ledger.read() as conn:
        for part in chunks(sorted({clean(domain) for domain in domains})):
            out += _seen(conn, select(records_seen).where(_C.domain.in_(part)).order_by(*order))
    return out


def newest(ledger: Ledger, domains: Sequence[str]) -> list[Seen]:
    """The newest row of each record of these domains: what the last looks found."""
    place = func.row_number().over(partition_by=(_C.domain, _C.kind, _C.name), order_by=(_C.first.desc(), _C.id.desc()))
    out: list[Seen] = []
    with ledger.read() as conn:
        for part in chunks(sorted({clean(domain) for domain in domains})):
            ranked = select(*_C, place.label("place")).where(_C.domain.in_(part)).subquery()
            out += _seen(conn, select(*(ranked.c[one.name] for one in _C)).where(ranked.c.place == 1))
    return out


def current(ledger: Ledger, domain: str) -> list[Seen]:
    """What the last looks found: one row a record, by kind and name."""
    return list({(one.kind, one.name): one for one in history(ledger, [domain])}.values())


def changes(
    ledger: Ledger, domains: Sequence[str], since: int = 0, until: int | None = None, limit: int = LISTED
) -> list[Changed]:
    """What became another between two moments, newest first: for marks on charts. First looks are no changes."""
    out: list[Changed] = []
    before: Seen | None = None
    for one in history(ledger, domains):
        if before is not None and before[:3] == one[:3] and one.lasts and one.first >= since:
            out.append(Changed(one.first // DAY * DAY, one.first, *one[:3], before.value, one.value))
        before = one
    kept = [one for one in out if until is None or one.at < until]
    return sorted(kept, key=lambda one: (-one.at, *one[2:5]))[:limit]


def prune(ledger: Ledger, now: int, days: int) -> int:
    """Let the rows go that no look has found for so many days, 0 for none; gives how many went."""
    if not days:
        return 0
    with ledger.write() as conn:
        return conn.execute(delete(records_seen).where(_C.last < now - days * DAY)).rowcount


def _by_record(conn: Connection, names: Sequence[str]) -> dict[tuple[str, str, str], list[Seen]]:
    out: dict[tuple[str, str, str], list[Seen]] = {}
    for part in chunks(names):
        query = select(records_seen).where(_C.name.in_(part)).order_by(_C.first, _C.id)
        for one in _seen(conn, query):
            out.setdefault(one[:3], []).append(one)
    return out


def _seen(conn: Connection, query: object) -> list[Seen]:
    return [Seen(**row) for row in rows(conn, query)]


def _bounded(value: str) -> str:
    text = clean(value)
    if len(text) <= VALUE_CHARACTERS:
        return text
    mark = hashlib.sha256(text.encode()).hexdigest()[:16]
    return f"{text[:VALUE_CHARACTERS]}… (cut, {len(text)} characters, sha256 {mark})"
