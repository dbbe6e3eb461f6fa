"""Questions about what the relay sent: its log row by row, and totals by day and outcome."""

from __future__ import annotations

import calendar
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import ColumnElement, and_, false, func, literal, or_, select, tuple_, union_all

from dmarcview.store.ledger import chunks
from dmarcview.store.sent import DAY, message_id
from dmarcview.store.tables import sent as _table
from dmarcview_relay.outcome import DEFERRED, DELIVERED, OUTCOMES

from .filters import as_day, as_domains
from .intake import _table as framed

if TYPE_CHECKING:
    import pandas as pd

    from dmarcview.store import Store

FIRSTS = 100  # look-ups by index in one question
_C = _table.c
_LIST: tuple[tuple[str, str, Any], ...] = (
    ("row", "text", _C.instance + "-" + _C.number.cast(_C.instance.type)),
    ("at", "time", _C.at),
    *(
        (name, "text", _C[name])
        for name in (
            "outcome", "queue_id", "message_id", "kind", "user", "client", "sender", "from_domain", "dkim",
            "dkim_domain", "dkim_selector", "recipient", "recipient_domain",
        )
    ),
    ("tries", "int", _C.tries),
    *((name, "text", _C[name]) for name in ("source", "host", "address", "tls_version", "tls_cipher", "tls_trust")),
    ("code", "int", _C.code),
    *((name, "text", _C[name]) for name in ("enhanced", "reply", "stage")),
    ("said", "bool", _C.said),
    ("size", "int", _C.size),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sent:
    """Bounds of a question; None means all.

    `since` is the first UTC day, `until` the day after the last, each a date or its text. `domains` are those of the
    From, `to` is a recipient domain or several, `outcome` one of OUTCOMES. `source` is the address that sent, `hosts`
    are domains of MX hosts, `key` is d= and s= of the first signature (two empty texts: none). `search` is a whole
    queue id, Message-ID, sender or recipient; `hashed` is the recipient of a search as the log has it, see
    `search_hash`.
    """

    domains: tuple[str, ...] | None = None
    since: date | None = None
    until: date | None = None
    to: str | tuple[str, ...] | None = None
    outcome: str | None = None
    search: str | None = None
    hashed: str | None = None
    source: str | None = None
    hosts: tuple[str, ...] | None = None
    key: tuple[str, str] | None = None

    def __post_init__(self) -> None:
        if self.key is not None:
            object.__setattr__(self, "key", tuple(one.lower() for one in self.key))
        for name in ("since", "until"):
            object.__setattr__(self, name, as_day(name, getattr(self, name)))
        if self.domains is not None:
            object.__setattr__(self, "domains", as_domains(self.domains))
        for name in ("to", "hosts"):
            if (given := getattr(self, name)) is not None:
                object.__setattr__(self, name, as_domains(given))
        if self.outcome is not None and self.outcome not in OUTCOMES:
            raise ValueError(f"outcome is one of {', '.join(OUTCOMES)}, not {self.outcome!r}")


def search_hash(folder: Path, text: str) -> str | None:
    """A recipient as the relay of this folder hashes it in its log; None when the text is no address or no relay is."""
    from dmarcview_relay.queue_schema import QueueError
    from dmarcview_relay.sentlog import SentLog
    from dmarcview_smtp.address import AddressError, read_address

    try:
        address = read_address(text.strip().strip("<>"))
        log = SentLog(folder)
    except (AddressError, QueueError):
        return None
    try:
        return log.logged(address, plain=False)
    finally:
        log.close()


def sent(store: Store, asked: Sent = Sent(), *, limit: int | None = 50, row: str | None = None) -> pd.DataFrame:
    """One row a try for one recipient, newest first; `row` names a single one.

    Columns: row (its name), at (time), and those of `dmarcview_relay.outcome.Attempt` and what is in it; dkim is text,
    `d/s` of each signature parted by a blank; reply is the whole last word of the other side, or ours when not `said`.
    """
    query = select(*(column.label(name) for name, _, column in _LIST))
    if row is not None:
        instance, _, number = row.rpartition("-")
        known = number.isascii() and number.isdigit() and len(number) < 19
        query = query.where(and_(_C.instance == instance, _C.number == int(number)) if known else false())
    order = (_C.at.desc(), _C.instance, _C.number.desc())
    if asked.search and limit is not None:  # the newest of each kind of match by its index, then the newest of these
        bounds = _bounds(asked)
        heads = [
            select(_C.instance, _C.number).where(*bounds, one).order_by(*order).limit(limit).subquery()
            for one in _matches(asked.search.strip(), asked.hashed)
        ]
        keys = union_all(*(select(head.c.instance, head.c.number) for head in heads))
        query = query.where(tuple_(_C.instance, _C.number).in_(keys))
    query = query.where(*_where(asked)).order_by(*order).limit(limit)
    with store.ledger.read() as conn:
        found = conn.execute(query).all()
    place = [name for name, _, _ in _LIST].index("dkim")
    rows = [(*one[:place], " ".join("/".join(pair) for pair in orjson.loads(one[place])), *one[place + 1 :])
            for one in found]  # fmt: skip
    return framed(rows, [(name, kind) for name, kind, _ in _LIST])


def sent_daily(store: Store, asked: Sent = Sent()) -> pd.DataFrame:
    """Rows a UTC day: columns day and one for each of OUTCOMES; days without any are left out."""
    import pandas as pd

    day = _C.at // DAY
    query = select(day, _C.outcome, func.count()).where(*_where(asked)).group_by(day, _C.outcome)
    with store.ledger.read() as conn:
        found = conn.execute(query).all()
    days = sorted({int(one[0]) for one in found})
    counts = {(int(when), outcome): int(count) for when, outcome, count in found}
    columns: dict[str, Any] = {"day": pd.to_datetime(days, unit="D").as_unit("s")}
    columns |= {outcome: [counts.get((when, outcome), 0) for when in days] for outcome in OUTCOMES}
    return pd.DataFrame(columns).astype(dict.fromkeys(OUTCOMES, "int64"))


def sent_domains(store: Store) -> list[str]:
    """The domains that mail was sent from, by alphabet."""
    found: list[str] = []
    with store.ledger.read() as conn:  # from one to the next by the index: there are few, and very many rows
        while name := conn.execute(
            select(func.min(_C.from_domain)).where(_C.from_domain > (found or [""])[-1])
        ).scalar():
            found.append(str(name))
    return found


def sent_first(store: Store, mails: Sequence[tuple[str, str | None]]) -> list[int | None]:
    """When the whole log has the first delivery of each From domain and source address, None for any; seconds UTC.

    None where it has none.
    """
    found: dict[int, int | None] = {}
    with store.ledger.read() as conn:
        for part in chunks(list(enumerate(mails)), FIRSTS):
            asked = []
            for place, (domain, source) in part:
                where = [_C.from_domain == domain, _C.outcome == DELIVERED]
                where += [] if source is None else [_C.source == source]
                first = select(func.min(_C.at)).where(*where).scalar_subquery()
                asked.append(select(literal(place), first))
            found |= {int(row[0]): row[1] for row in conn.execute(union_all(*asked))}
    return [found[place] for place in range(len(mails))]


def sent_any(store: Store) -> bool:
    """Whether there is any row."""
    with store.ledger.read() as conn:
        return conn.execute(select(_C.at).limit(1)).first() is not None


def totals(daily: pd.DataFrame) -> dict[str, int]:
    """The sums of `sent_daily`: rows by outcome, and `ended`, all but the deferred ones."""
    sums = {outcome: int(daily[outcome].sum()) for outcome in OUTCOMES}
    return {**sums, "ended": sum(sums.values()) - sums[DEFERRED]}


def _where(asked: Sent) -> list[ColumnElement[bool]]:
    parts = _bounds(asked)
    if asked.search:
        parts.append(or_(*_matches(asked.search.strip(), asked.hashed)))
    return parts


def _bounds(asked: Sent) -> list[ColumnElement[bool]]:
    """All but the search."""
    parts: list[ColumnElement[bool]] = []
    if asked.domains is not None:
        parts.append(_C.from_domain.in_(asked.domains))
    if asked.since is not None:
        parts.append(_C.at >= calendar.timegm(asked.since.timetuple()))
    if asked.until is not None:
        parts.append(_C.at < calendar.timegm(asked.until.timetuple()))
    if asked.to is not None:
        parts.append(_C.recipient_domain.in_(asked.to))
    if asked.source is not None:
        parts.append(_C.source == asked.source)
    if asked.hosts is not None:
        under = [_C.host.endswith("." + name, autoescape=True) for name in asked.hosts]
        parts.append(or_(_C.host.in_(asked.hosts), *under))
    if asked.key is not None:
        parts += [func.lower(_C.dkim_domain) == asked.key[0], func.lower(_C.dkim_selector) == asked.key[1]]
    if asked.outcome is not None:
        parts.append(_C.outcome == asked.outcome)
    return parts


def _matches(text: str, hashed: str | None) -> list[ColumnElement[bool]]:
    """Whole values only, each by an index of its own."""
    bare = text.strip("<>")
    domain = bare.rpartition("@")[2].lower()
    return [
        _C.queue_id == text,
        _C.message_id.in_([message_id(text), message_id(f"<{bare}>")]),
        _C.sender == bare,
        and_(_C.recipient_domain == domain, _C.recipient.in_([bare, *([hashed] if hashed else [])])),
    ]
