"""What alerts remember, in the ledger: incidents, mutes, and the messages about them that go out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, func, insert, select, update

from .archive import clean
from .ledger import Ledger, bump, chunks, counter, rows
from .tables import counters, incidents, mutes, notices

_C = incidents.c
_N = notices.c
KEPT_NOTICES_DAYS = 90
DAY = 86_400
PARTLY = "some recipients have it: "  # begins the error of a message that others did not take
GRAVEST = "act"  # `alerts.words.ACT`, which is above this layer


@dataclass(frozen=True, slots=True)
class Row:
    """One incident as the ledger has it; times in seconds, days as their first second, `body` JSON of the finding."""

    fingerprint: str
    kind: str
    domain: str
    level: str
    first_day: int
    last_day: int
    weight: int
    body: str
    id: int = 0
    known: int = 0
    changed: int = 0
    ended: int | None = None
    outcome: str = ""  # of an ended one: cleared, usual or taken_up
    acked: int | None = None
    acked_by: str = ""
    note: str = ""
    muted_until: int | None = None


class Moved(NamedTuple):
    """What `settle` did with one incident: opened, changed or ended, and its weight before (0: it is new)."""

    how: str
    row: Row
    before: int


class Notice(NamedTuple):
    """One message that is to go out by one channel, or went, or was given up."""

    id: int
    incident_id: int | None
    kind: str
    channel: str
    at: int
    weight: int
    tries: int
    due: int
    done: int | None
    error: str

    @property
    def given_up(self) -> bool:
        """Did nobody get it, and is it not tried any more? What some of its recipients have was told."""
        return self.done is not None and self.error != "" and not self.error.startswith(PARTLY)

    @property
    def told(self) -> bool:
        """Has it gone out, to some of its recipients at least?"""
        return self.error.startswith(PARTLY) or (self.done is not None and self.error == "")


def version(ledger: Ledger) -> int:
    """A number that grows with every change of incidents and mutes."""
    with ledger.read() as conn:
        return counter(conn, "alerts")


def settle(
    ledger: Ledger, found: Sequence[Row], ends: Callable[[Row], str], now: int, version: int = 0
) -> list[Moved]:  # fmt: skip
    """Make these the open incidents: new ones are opened, known ones brought up to date, the others end.

    One transaction. `found` has each fingerprint once; of rows with `known` 0 those that are not open are left alone.
    `ends` gives the outcome of one that ends. What did not change is not written, nor given back. One that comes to be
    of the gravest level is acknowledged no more: that was of something less. `version` is that of the store that was
    judged: when a newer one has been settled meanwhile, nothing is done.
    """
    out: list[Moved] = []
    with ledger.write() as conn:
        if version < counter(conn, "judged"):
            return []
        conn.execute(update(counters).where(counters.c.name == "judged").values(value=version))
        known = {row.fingerprint: row for row in _rows(conn, _C.ended.is_(None), now)}
        for one in found:
            fresh = _cleaned(one)
            old = known.pop(fresh["fingerprint"], None)
            if old is None and one.known:
                number = bump(conn, "row") + 1
                stamps = {"id": number, "known": one.known, "changed": now, "outcome": "", "acked_by": "", "note": ""}
                conn.execute(insert(incidents).values(fresh | stamps))
                out.append(Moved("opened", _one(conn, number, now), 0))
            elif old is not None and any(getattr(old, name) != value for name, value in fresh.items()):
                rises = fresh["level"] == GRAVEST != old.level
                values = fresh | {"changed": now} | ({"acked": None, "acked_by": ""} if rises else {})
                conn.execute(update(incidents).where(_C.id == old.id).values(values))
                out.append(Moved("changed", _one(conn, old.id, now), old.weight))
        for old in known.values():
            values = {"ended": now, "outcome": ends(old), "changed": now}
            conn.execute(update(incidents).where(_C.id == old.id).values(values))
            out.append(Moved("ended", _one(conn, old.id, now), old.weight))
        if out:
            bump(conn, "alerts")
    return out


def remember(ledger: Ledger, past: Sequence[tuple[Row, bool]], now: int) -> int:
    """Keep incidents that are over and that nobody saw while they went on; gives how many are new.

    `known` and `ended` of each are as given. One of the same cause that shares a day with it is the same; where the
    second value is True, any of the same kind and domain is.
    """
    with ledger.read() as conn:
        fresh = [one for one, moves in past if not _is_known(conn, one, moves)]
    if not fresh:
        return 0
    with ledger.write() as conn:
        for one in fresh:
            stamps = {"id": bump(conn, "row") + 1, "known": one.known, "ended": one.ended, "outcome": "cleared"}
            more = {"changed": now, "acked_by": "", "note": ""}
            conn.execute(insert(incidents).values(_cleaned(one) | stamps | more))
        bump(conn, "alerts")
    return len(fresh)


def _is_known(conn: Connection, one: Row, moves: bool) -> bool:
    values = _cleaned(one)
    same = (_C.kind == values["kind"], _C.domain == values["domain"], _C.first_day <= one.last_day,
            _C.last_day >= one.first_day)  # fmt: skip
    exact = () if moves else (_C.fingerprint == values["fingerprint"],)
    return conn.execute(select(_C.id).where(*same, *exact).limit(1)).first() is not None


def listed(ledger: Ledger, now: int, *, open_only: bool = False, limit: int | None = None) -> list[Row]:
    """Incidents: open ones first, then the ended ones, newest first."""
    with ledger.read() as conn:
        condition = _C.ended.is_(None) if open_only else True
        return _rows(conn, condition, now, limit)


def lately(ledger: Ledger, now: int, since: int) -> list[Row]:
    """Those that are open, were found or have ended since then, in the order of `listed`."""
    with ledger.read() as conn:
        return _rows(conn, _lately(since), now)


def one(ledger: Ledger, number: int, now: int) -> Row | None:
    """An incident by its number."""
    with ledger.read() as conn:
        found = _rows(conn, _C.id == number, now)
        return found[0] if found else None


def acknowledge(ledger: Ledger, number: int, *, author: str, note: str, now: int) -> bool:
    """Somebody has seen it: no more messages about it until it ends. False: there is no such incident."""
    with ledger.write() as conn:
        values = {"acked": now, "acked_by": clean(author), "note": clean(note), "changed": now}
        done = conn.execute(update(incidents).where(_C.id == number).values(values)).rowcount == 1
        if done:
            bump(conn, "alerts")
    return done


def take_back(ledger: Ledger, number: int, *, now: int) -> bool:
    """It is acknowledged no more; the note stays. False: no incident of this number is acknowledged."""
    with ledger.write() as conn:
        given = (_C.id == number, _C.acked.is_not(None))
        values = {"acked": None, "acked_by": "", "changed": now}
        done = conn.execute(update(incidents).where(*given).values(values)).rowcount == 1
        if done:
            bump(conn, "alerts")
    return done


def mute(ledger: Ledger, fingerprint: str, until: int, *, author: str, note: str, now: int) -> None:
    """No messages about this cause until then, also when it comes back; `until` 0 ends the mute."""
    fingerprint = clean(fingerprint)
    with ledger.write() as conn:
        conn.execute(delete(mutes).where(mutes.c.fingerprint == fingerprint))
        if until:
            values = {"fingerprint": fingerprint, "until": until, "author": clean(author), "at": now}
            conn.execute(insert(mutes).values(values | {"note": clean(note)}))
        bump(conn, "alerts")


def ask(ledger: Ledger, new: Sequence[tuple[int | None, str, str, int]], now: int) -> None:
    """Let messages go out: (incident or None, kind, channel, weight). Durable when it returns."""
    if not new:
        return
    with ledger.write() as conn:
        for number, kind, channel, weight in new:
            conn.execute(
                insert(notices).values(
                    id=bump(conn, "row") + 1, incident_id=number, kind=kind, channel=clean(channel), at=now,
                    weight=weight, tries=0, due=now, done=None, error="",
                )
            )  # fmt: skip
        conn.execute(delete(notices).where(_N.done < now - KEPT_NOTICES_DAYS * DAY))


def due(ledger: Ledger, now: int, limit: int = 100, but: Collection[str] = ()) -> list[Notice]:
    """Messages whose time has come, at most `limit` of each channel but these: least tried first, then oldest."""
    order = (_N.tries, _N.at, _N.id)
    place = func.row_number().over(partition_by=_N.channel, order_by=order).label("place")
    waits = (_N.done.is_(None), _N.due <= now, _N.channel.not_in(but))
    first = select(*_N, place).where(*waits).subquery()
    query = select(*(first.c[one.name] for one in _N)).where(first.c.place <= limit)
    with ledger.read() as conn:
        return [Notice(**row) for row in rows(conn, query.order_by(first.c.tries, first.c.at, first.c.id))]


def withdraw(ledger: Ledger, numbers: Sequence[int]) -> None:
    """Take messages out of the outbox that are not to be sent any more, as if nobody had asked for them."""
    with ledger.write() as conn:
        for part in chunks(numbers):
            conn.execute(delete(notices).where(_N.id.in_(part), _N.done.is_(None)))


def waits(ledger: Ledger, numbers: Collection[int]) -> set[int]:
    """Those of these messages that are still to go out."""
    with ledger.read() as conn:
        query = (select(_N.id).where(_N.id.in_(part), _N.done.is_(None)) for part in chunks(list(numbers)))
        return {found for one in query for found in conn.execute(one).scalars()}


def tried(ledger: Ledger, *numbers: int, now: int, error: str, again: int | None) -> None:
    """What became of a try of these: no `error` is success; else tried again at `again`, None gives them up."""
    ended = None if error and again is not None else now
    values = {"tries": _N.tries + 1, "done": ended, "error": clean(error)[:1_000], "due": again or now}
    with ledger.write() as conn:
        for part in chunks(numbers):
            conn.execute(update(notices).where(_N.id.in_(part)).values(values))


def told(ledger: Ledger, number: int | None, kind: str | None = None, since: int = 0) -> list[Notice]:
    """Messages about an incident (None: those of no incident) that were asked for, newest first."""
    with ledger.read() as conn:
        which = _N.incident_id.is_(None) if number is None else _N.incident_id == number
        query = select(notices).where(which, _N.at >= since).order_by(_N.at.desc(), _N.id.desc())
        if kind is not None:
            query = query.where(_N.kind == kind)
        return [Notice(**row) for row in rows(conn, query)]


def about(ledger: Ledger, now: int, since: int) -> list[tuple[Row, list[Notice]]]:
    """Incidents as `lately` gives them, each with the messages about it and with those since then about earlier ones of
    the same cause; newest first."""
    causes = select(_C.fingerprint).where(_lately(since))
    query = select(*_N, _C.fingerprint).join_from(incidents, notices, _N.incident_id == _C.id)
    query = query.where(_C.fingerprint.in_(causes), (_N.at >= since) | _lately(since))
    said: dict[str, list[Notice]] = {}
    with ledger.read() as conn:
        recent = _rows(conn, _lately(since), now)
        for found in rows(conn, query.order_by(_N.at.desc(), _N.id.desc())):
            values = dict(found)
            said.setdefault(values.pop("fingerprint"), []).append(Notice(**values))
    return [
        (row, [one for one in said.get(row.fingerprint, ()) if one.incident_id == row.id or one.at >= since])
        for row in recent
    ]


def waiting(ledger: Ledger, since: int) -> tuple[int, int]:
    """(messages that have not gone out yet, those that were given up since then, for some of their recipients too)."""
    with ledger.read() as conn:
        open_ = conn.execute(select(func.count()).where(_N.done.is_(None))).scalar_one()
        given_up = conn.execute(select(func.count()).where(_N.done >= since, _N.error != "")).scalar_one()
    return int(open_), int(given_up)


def prune(ledger: Ledger, now: int, days: int) -> int:
    """Let incidents go that ended longer ago, with `days` 0 none, and mutes that are over; how many incidents went."""
    with ledger.write() as conn:
        conn.execute(delete(mutes).where(mutes.c.until < now))
        gone = conn.execute(delete(incidents).where(_C.ended < now - days * DAY)).rowcount if days else 0
        if gone:
            bump(conn, "alerts")
    return gone


def _lately(since: int) -> Any:
    return _C.ended.is_(None) | (_C.ended >= since) | (_C.known >= since)


def _rows(conn: Connection, condition: Any, now: int, limit: int | None = None) -> list[Row]:
    muted = select(mutes.c.until).where(mutes.c.fingerprint == _C.fingerprint, mutes.c.until > now).scalar_subquery()
    query = select(*incidents.c, muted.label("muted_until")).where(condition)
    order = (_C.ended.is_not(None), _C.known.desc(), _C.id.desc())
    return [Row(**row) for row in rows(conn, query.order_by(*order).limit(limit))]


def _one(conn: Connection, number: int, now: int) -> Row:
    return _rows(conn, _C.id == number, now)[0]


def _cleaned(row: Row) -> dict[str, Any]:
    """The columns that an evaluation says."""
    names = ("fingerprint", "kind", "domain", "level", "first_day", "last_day", "weight", "body")
    return {n: clean(v) if isinstance(v := getattr(row, n), str) else v for n in names}
