"""The queue as a person sees and changes it, from any process, while the relay runs or not.

The relay looks for such changes twice a second. What it is delivering just then may still be delivered as it was.
"""

# ruff: noqa: S608 - SQL is put together from our own constants; values from outside are parameters

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from dmarcview_smtp.address import Address
from dmarcview_smtp.alabels import a_labels

from . import bodies
from .daycap import key
from .envelope import Recipient, Ticket
from .outcome import RemoteReply
from .queue_rows import MAIL as MAIL_COLUMNS
from .queue_rows import RECIPIENT, Row, places, read_queued, read_ticket, recipient_row
from .queue_schema import BODIES, Gone, QueueError, connect, numbers
from .suppress import ADD, Suppression, row

WAITING, HELD, DEAD = "waiting", "held", "dead"
STATES = (WAITING, HELD, DEAD)
ALL = "all"
_LAST = "last_at, code, enhanced, text, stage, said, host, address"
_STATE = {WAITING: "hold = '' and not dead", HELD: "hold != '' and not dead", DEAD: "dead"}
_HOLD, _DEAD = 6, 10  # places in the rows of `_chosen`
T = TypeVar("T")


class Entry(NamedTuple):
    """One recipient in the queue. Times are seconds since 1970, UTC; `last` is the last reply, None before the first
    try; `host` and `address` are those who gave it."""

    ticket: Ticket
    state: str
    hold: str
    last_at: float
    last: RemoteReply | None
    host: str
    address: str


@dataclass(frozen=True, slots=True)
class Listed:
    """One mail with the recipients that were asked for."""

    id: str
    sender: Address | None
    accepted: float
    size: int
    kind: str
    user: str
    client: str
    from_domain: str
    message_id: str
    entries: tuple[Entry, ...]


class QueueAdmin:
    """Look and change. `which` is an id, a recipient domain, a recipient address, or `all`.

    Each change gives the number of recipients that it met. Raises QueueError; Gone when there is no queue yet.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._link = connect(folder)

    def close(self) -> None:
        """Close the connection."""
        self._link.close()

    # look

    def found(self, which: str = ALL, *, state: str = "", limit: int = 0) -> list[Listed]:
        """Mails, oldest first, with those recipients that fit; `limit` mails at most, 0 is no limit."""
        found: dict[int, list[Row]] = {}
        for each in self._chosen(which, state):
            if each[1] not in found and limit and len(found) >= limit:
                break
            found.setdefault(each[1], []).append(each)
        return [self._listed(mail, rows) for mail, rows in found.items()]

    def show(self, id: str) -> Listed:
        """One mail with all its recipients. Raises Gone."""
        found = self.found(id) if _is_id(id) else []
        if not found:
            raise Gone(f"{id} is not in the queue")
        return found[0]

    def content(self, id: str) -> bytes:
        """The mail itself. Raises Gone."""
        rows = self._read("select content from mail left join body using (number) where id = ?", (id,))
        try:
            if rows:
                return bytes(rows[0][0]) if rows[0][0] is not None else (self._folder / BODIES / id).read_bytes()
        except FileNotFoundError:
            pass
        except OSError as error:
            raise QueueError(f"the body of {id} cannot be read: {error.strerror}") from None
        raise Gone(f"{id} is not in the queue")

    # change

    def retry(self, which: str) -> int:
        """Try at once what waits, and give what is dead another chance from the beginning."""

        def change(rows: Sequence[Row]) -> int:
            chosen = [(each[0],) for each in rows if each[_DEAD] or not each[_HOLD]]
            self._link.executemany("update recipient set next_at = 0, dead = 0, hold = '' where number = ?", chosen)
            return len(chosen)

        return self._changed(which, change)

    def hold(self, which: str, reason: str) -> int:
        """Keep back what waits until it is released."""
        if not reason:
            raise ValueError("say why")
        return self._update(which, WAITING, "hold = ?", reason)

    def release(self, which: str) -> int:
        """Free what is held."""
        return self._update(which, HELD, "hold = ?", "")

    def delete(self, which: str) -> int:
        """Remove recipients, and mails that have none left. Nobody is told."""
        emptied: list[str] = []

        def change(rows: Sequence[Row]) -> int:
            self._link.executemany("delete from recipient where number = ?", [(each[0],) for each in rows])
            for mail in dict.fromkeys(each[1] for each in rows):
                emptied.extend(self._drop(mail))
            return len(rows)

        count = self._changed(which, change)
        bodies.remove(self._folder / BODIES / name for name in emptied)
        return count

    def redirect(self, which: str, address: Address) -> int:
        """Send what is there to this address instead, as one recipient a mail, tried anew."""

        def change(rows: Sequence[Row]) -> int:
            by_mail: dict[int, list[Row]] = {}
            for each in rows:
                by_mail.setdefault(each[1], []).append(each)
            number = numbers(self._link, len(by_mail)) if by_mail else 0
            for at, (mail, old) in enumerate(by_mail.items()):
                first = read_ticket(old[0][:10])
                before = first.recipient
                orcpt = before.orcpt or (f"rfc822;{_xtext(str(before.address))}" if before.address.is_ascii else "")
                ticket = Ticket(number + at, Recipient(address, before.notify, orcpt), 0, 0.0, first.warned)
                self._link.executemany("delete from recipient where number = ?", [(each[0],) for each in old])
                hold = old[0][_HOLD] if all(each[_HOLD] for each in old) else ""
                self._link.execute(
                    f"insert into recipient ({RECIPIENT}) values ({places(RECIPIENT)})",
                    recipient_row(ticket, mail, hold),
                )
            return len(rows)

        return self._changed(which, change)

    # the suppression list

    def suppress(self, address: Address, reason: str, at: float, until: float) -> None:
        """Refuse mail for this address until then."""
        self._transaction(lambda: self._link.execute(ADD, row(address, reason, at, until)))

    def unsuppress(self, address: Address) -> bool:
        """Take it off the list; whether it was on it."""
        sql = "delete from suppressed where address = ?"
        return self._transaction(lambda: self._link.execute(sql, (key(address),)).rowcount) > 0

    def suppressions(self, now: float) -> Sequence[Suppression]:
        """What is on the list now, newest first."""
        sql = "select address, reason, until, at from suppressed where until > ? order by at desc, address"
        return [Suppression(*each) for each in self._read(sql, (now,))]

    # inside

    def _chosen(self, which: str, state: str = "") -> Sequence[Row]:
        """Rows of recipients: RECIPIENT, dead, and the last reply."""
        where, values = ["1" if not state else _STATE[state]], []
        if _is_id(which):
            where.append("mail = (select number from mail where id = ?)")
            values.append(which)
        sql = f"select {RECIPIENT}, dead, {_LAST} from recipient where {' and '.join(where)} order by mail, number"
        rows = self._read(sql, values)
        if which == ALL or _is_id(which):
            return rows
        wanted = which.removeprefix("@")
        if "@" in wanted:
            return [each for each in rows if key(Address(each[2], each[3])) == _key(which)]
        try:
            domain = a_labels(wanted)
        except UnicodeError:  # no mail can be for it
            return []
        return [each for each in rows if Address("", each[3]).ascii_domain == domain]

    def _listed(self, mail: int, rows: Sequence[Row]) -> Listed:
        found = self._read(f"select {MAIL_COLUMNS} from mail where number = ?", (mail,))
        if not found:
            raise Gone("the queue changed meanwhile, look again")
        queued = read_queued(found[0], [each[:10] for each in rows])
        m = queued.mail
        return Listed(
            queued.id, m.sender, m.accepted, m.size, m.kind, m.user, m.client, m.from_domain, m.message_id,
            tuple(_entry(each, ticket) for each, ticket in zip(rows, queued.tickets, strict=True)),
        )  # fmt: skip

    def _update(self, which: str, state: str, change: str, value: str) -> int:
        def run(rows: Sequence[Row]) -> int:
            self._link.executemany(
                f"update recipient set {change} where number = ?", [(value, each[0]) for each in rows]
            )
            return len(rows)

        return self._changed(which, run, state)

    def _drop(self, mail: int) -> Sequence[str]:
        """Delete a mail without recipients; its id, for the file that it may have."""
        if self._read("select 1 from recipient where mail = ?", (mail,)):
            return ()
        names = [name for (name,) in self._read("select id from mail where number = ?", (mail,))]
        self._link.execute("delete from body where number = ?", (mail,))
        self._link.execute("delete from mail where number = ?", (mail,))
        return names

    def _changed(self, which: str, change: Callable[[Sequence[Row]], int], state: str = "") -> int:
        def run() -> int:
            count = change(self._chosen(which, state))
            if count:
                self._link.execute("update meta set value = value + 1 where key = 'outside'")
            return count

        return self._transaction(run)

    def _transaction(self, run: Callable[[], T]) -> T:
        try:
            self._link.execute("begin immediate")
            try:
                result = run()
                self._link.execute("commit")
            except BaseException:
                if self._link.in_transaction:
                    self._link.execute("rollback")
                raise
        except sqlite3.Error as error:
            raise QueueError(f"the queue cannot be changed: {error}") from None
        return result

    def _read(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        try:
            return self._link.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise QueueError(f"the queue cannot be read: {error}") from None


def _is_id(which: str) -> bool:
    """Ids have digits and letters only, 10 to 20 of them; every domain that mail goes to has a dot, or is given as
    `@name`."""
    return which.isascii() and which.isalnum() and 10 <= len(which) <= 20


def _key(text: str) -> str:
    local, _, domain = text.rpartition("@")
    return key(Address(local, domain))


def _xtext(text: str) -> str:
    """RFC 3461 section 4."""
    return "".join(c if "!" <= c <= "~" and c not in "+=" else f"+{ord(c):02X}" for c in text)


def _entry(found: Row, ticket: Ticket) -> Entry:
    hold, dead = found[_HOLD], found[_DEAD]
    last_at, code, enhanced, text, stage, said, host, address = found[11:]
    reply = RemoteReply(code or 0, enhanced or "", text, stage or "", bool(said)) if text is not None else None
    state = DEAD if dead else HELD if hold else WAITING
    return Entry(ticket, state, hold, last_at or 0.0, reply, host or "", address or "")
