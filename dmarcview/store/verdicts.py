"""Inputs and their verdicts as the ledger has them: who sent what, and which mails still wait for an answer of DNS."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection, select

from dmarcview_reports.model import WAITING, Origin, Verdict

from .archive import Place
from .ledger import chunks, counter
from .tables import items

Key = tuple[str, str, str]  # channel, name and hash of the raw bytes: what makes an input known


class Unsettled(NamedTuple):
    """An input with reports whose verification failed for the moment."""

    item: int
    received: int  # seconds, UTC


def unsettled(conn: Connection, after: int, since: int, limit: int) -> tuple[list[Unsettled], int]:
    """Up to `limit` of them with a number over `after` and received from `since` on, and up to where was looked."""
    c = items.c
    waits = (c.auth == "none", c.auth_detail.startswith(WAITING, autoescape=True))
    holds = c.reports + c.duplicates + c.conflicts > 0
    query = select(c.id, c.received).where(c.id > after, c.received >= since, *waits, holds, c.segment.is_not(None))
    found = [Unsettled(*row) for row in conn.execute(query.order_by(c.id).limit(limit))]
    return found, found[-1].item if len(found) == limit else counter(conn, "item")


def origin_of(row: Any) -> Origin:
    """How the input of a row of `items` came."""
    return Origin(
        row["name"],
        row["received"],
        row["channel"],
        row["client"],
        row["helo"],
        row["mail_from"],
        tuple(orjson.loads(row["rcpt_to"])),
        row["tls"],
    )


def verdict_of(row: Any) -> Verdict:
    """What was last found about the input of a row of `items`."""
    return Verdict(row["auth"], row["auth_detail"])


def place_of(row: Any) -> Place | None:
    """Where the raw bytes of a row of `items` are kept."""
    return None if row["segment"] is None else Place(row["segment"], row["start"], row["length"])


def verdicts(conn: Connection, hashes: Sequence[str]) -> dict[Key, Verdict]:
    """The last verdicts on the inputs with these raw bytes."""
    found: dict[Key, Verdict] = {}
    for part in chunks(hashes):
        for row in conn.execute(select(items).where(items.c.raw_hash.in_(part))).mappings():
            found[(row["channel"], row["name"], row["raw_hash"])] = verdict_of(row)
    return found
