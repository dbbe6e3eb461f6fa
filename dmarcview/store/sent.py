"""What the relay sent: its rows in the ledger, each once, as long as they are kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
from sqlalchemy import delete, insert, select

from dmarcview_relay.outcome import Attempt

from .ledger import Ledger, bump, counter
from .tables import sent

MESSAGE_ID_CHARACTERS = 500  # PostgreSQL takes no more than 2,704 bytes into an index
PRUNE_AT_ONCE = 20_000  # rows in one transaction, so that the ingest never waits long
DAY = 86_400


def append(ledger: Ledger, instance: str, rows: Sequence[tuple[int, Attempt]]) -> int:
    """Keep these rows of a relay's log by their numbers; those that are known are passed over.

    Gives how many were new. Durable when it returns. Raises StoreFull, StoreBusy, StoreError.
    """
    if not rows:
        return 0
    numbers = [number for number, _ in rows]
    with ledger.write() as conn:
        within = sent.c.number.between(min(numbers), max(numbers))
        known = set(conn.execute(select(sent.c.number).where(sent.c.instance == instance, within)).scalars())
        fresh = {number: attempt for number, attempt in rows if number not in known}
        if fresh:
            conn.execute(insert(sent), [_row(instance, *one) for one in fresh.items()])
            bump(conn, "sent")
    return len(fresh)


def prune(ledger: Ledger, now: int, days: int) -> int:
    """Let rows go that are older than so many days, 0 for none; gives how many went."""
    if not days:
        return 0
    gone = 0
    while True:
        with ledger.write() as conn:
            old = select(sent.c.at).where(sent.c.at < now - days * DAY).order_by(sent.c.at).limit(PRUNE_AT_ONCE)
            edge = conn.execute(
                select(sent.c.at).where(sent.c.at.in_(old)).order_by(sent.c.at.desc()).limit(1)
            ).scalar()
            if edge is None:
                return gone
            gone += conn.execute(delete(sent).where(sent.c.at <= edge)).rowcount
            bump(conn, "sent")


def version(ledger: Ledger) -> int:
    """A number that grows with every change of the rows."""
    with ledger.read() as conn:
        return counter(conn, "sent")


def message_id(text: str) -> str:
    """A Message-ID as the ledger holds it."""
    return _text(text)[:MESSAGE_ID_CHARACTERS]


def _text(text: str) -> str:
    """Text that both kinds of ledger hold: PostgreSQL takes no NUL, neither takes half of a character."""
    if text.isascii() and "\x00" not in text:
        return text
    return text.encode("utf-8", "replace").decode().replace("\x00", "\ufffd")


def _row(instance: str, number: int, attempt: Attempt) -> dict[str, Any]:
    link, reply = attempt.link, attempt.reply
    signed = [[_text(d), _text(s)] for d, s in attempt.dkim]
    domain, selector = signed[0] if signed else ("", "")
    texts = {
        "queue_id": attempt.queue_id,
        "kind": attempt.kind,
        "user": attempt.user,
        "client": attempt.client,
        "sender": attempt.sender,
        "from_domain": attempt.from_domain,
        "dkim_domain": domain,
        "dkim_selector": selector,
        "recipient": attempt.recipient,
        "recipient_domain": attempt.recipient_domain,
        **link._asdict(),
        "enhanced": reply.enhanced,
        "reply": reply.text,
        "stage": reply.stage,
        "outcome": attempt.outcome,
    }
    return {
        "instance": instance,
        "number": number,
        "at": int(attempt.at),
        "message_id": message_id(attempt.message_id),
        "dkim": orjson.dumps(signed).decode(),
        "tries": attempt.tries,
        "code": reply.code,
        "said": reply.said,
        "size": attempt.size,
        **{name: _text(value) for name, value in texts.items()},
    }
