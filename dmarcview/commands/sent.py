"""`dmarcview sent`: what the relay sent, and what became of it."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any

from dmarcview.commands import open_store, require_store, settings
from dmarcview.commands.ask import rows, span
from dmarcview.config import data_dir
from dmarcview.exits import TAKEN
from dmarcview.terminal import facts, number, print_json, share, table

if TYPE_CHECKING:
    from dmarcview.config import Config
    from dmarcview.query import Sent

NOTHING = "Nothing was sent in this window. `dmarcview relay` sends for those whom [relay] senders names."


def run(args: argparse.Namespace) -> int:
    """Rows, newest first; a search shows each with the whole reply; --daily totals."""
    from dmarcview import query

    found = settings(args)
    asked = _asked(args, found)
    ship(found)
    with open_store(found, read_only=True) as store:
        if args.daily:
            return _daily(args, rows(query.sent_daily(store, asked)))
        lines = rows(query.sent(store, asked, limit=args.limit or None))
    if args.json:
        print_json(lines)
    elif not lines:
        print(NOTHING if not args.search else "No row has this queue id, Message-ID, sender or recipient.")
    elif args.search:
        for one in lines:
            _whole(one)
    else:
        _table(lines)
    if not args.json and args.limit and len(lines) == args.limit:
        print(f"The first {args.limit}; --limit 0 shows all.")
    return TAKEN


def _asked(args: argparse.Namespace, config: Config) -> Sent:
    from dmarcview.query import Sent, search_hash

    since, until = span(args)
    return Sent(
        domains=tuple(args.domain) if args.domain else None,
        since=since,
        until=until,
        to=args.to,
        outcome=args.outcome,
        search=args.search,
        hashed=search_hash(data_dir(config) / "relay", args.search) if args.search else None,
    )


def ship(config: Config) -> None:
    """Take what the relay has logged since the ingest last looked, where we may."""
    from dmarcview.shipping import Shipping
    from dmarcview.store import StoreError
    from dmarcview_relay.queue_schema import FILE, QueueError

    queue = data_dir(config) / "relay" / FILE
    if not queue.exists() or queue.stat().st_uid != os.geteuid():  # a question makes no store, but for a relay of ours
        require_store(config)
    try:
        with open_store(config) as store:
            Shipping(data_dir(config) / "relay", store.ledger).step()
    except (StoreError, QueueError):  # we may only read: the ingest does this
        return


def _table(lines: list[dict[str, Any]]) -> None:
    heads = ("time (UTC)", "outcome", "id", "from", "to", "try", "host", "reply")
    table(
        heads,
        [
            (one["at"][:16].replace("T", " "), one["outcome"], one["queue_id"], one["sender"] or "<>",
             one["recipient"], one["tries"], one["host"], reply(one).replace("\n", " "))
            for one in lines
        ],
        right=("try",),
    )  # fmt: skip


def _whole(one: dict[str, Any]) -> None:
    """One row with all that is known."""
    tls = " ".join(part for part in (one["tls_version"], one["tls_cipher"], one["tls_trust"]) if part)
    first, *more = reply(one).split("\n")
    facts(
        [
            ("time", f"{one['at']} (try {one['tries']})"),
            ("outcome", one["outcome"]),
            ("queue id", one["queue_id"]),
            ("message id", one["message_id"]),
            ("from", f"{one['sender'] or '<>'} (From: {one['from_domain']})"),
            ("to", one["recipient"]),
            ("signed by", one["dkim"] or "nobody"),
            ("handed in by", " ".join(part for part in (one["user"], one["client"]) if part) or "this machine"),
            ("host", f"{one['host']} [{one['address']}]" if one["host"] else "none reached"),
            ("TLS", tls or "none"),
            (f"{'they' if one['said'] else 'we'} said", first),
            *(("", line) for line in more),
        ]
    )
    print()


def reply(one: dict[str, Any]) -> str:
    """The whole last word, with its codes: `550 5.1.1 No such user`."""
    return " ".join(part for part in (str(one["code"] or ""), one["enhanced"], one["reply"]) if part)


def _daily(args: argparse.Namespace, days: list[dict[str, Any]]) -> int:
    from dmarcview_relay.outcome import DEFERRED, DELIVERED, OUTCOMES

    for one in days:
        one["day"] = one["day"][:10]
    if args.json:
        print_json(days)
        return TAKEN
    if not days:
        print(NOTHING)
        return TAKEN
    lines = []
    for one in days:
        ended = sum(one[name] for name in OUTCOMES if name != DEFERRED)
        lines.append((one["day"], *(number(one[name]) for name in OUTCOMES), share(one[DELIVERED], ended)))
    table(("day", *OUTCOMES, "delivered of ended"), lines, right=(*OUTCOMES, "delivered of ended"))
    return TAKEN
