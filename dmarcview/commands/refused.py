"""`dmarcview refused`: what did not become rows - the list, one in full, and reading it again."""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING

from dmarcview.commands import open_store, settings
from dmarcview.commands.ask import iso, rows
from dmarcview.exits import REFUSED, TAKEN, Misuse
from dmarcview.terminal import facts, number, print_json, table

if TYPE_CHECKING:
    from dmarcview.config import Config
    from dmarcview.store import Store

SNIPPET = 300  # bytes of a raw input that a person is shown


def run(args: argparse.Namespace) -> int:
    """Dispatch list, show and replay."""
    found = settings(args)
    numbers = [_number(text) for text in args.ids]
    if args.action == "list" and numbers:
        raise Misuse("list takes no numbers; `dmarcview refused show NUMBER` shows one")
    if args.action == "show" and len(numbers) != 1:
        raise Misuse("show takes one number from the list")
    with open_store(found, read_only=args.action != "replay") as store:
        if args.action == "replay":
            return _replay(args, store, found, numbers)
        return _show(args, store, numbers[0]) if args.action == "show" else _list(args, store)


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise Misuse(f"{text}: not a number from the list")
    return int(text)


def _list(args: argparse.Namespace, store: Store) -> int:
    from dmarcview import query

    found = rows(query.refused(store, limit=args.limit or None, code=args.code))
    if args.json:
        print_json(found)
        return TAKEN
    if not found:
        print("Nothing was refused.")
        return TAKEN
    lines = [(one["item"], (one["received"] or "")[:10], one["code"], one["input"], one["message"]) for one in found]
    table(("no.", "day", "code", "input", "what to do"), lines, right=("no.",))
    if args.limit and len(found) == args.limit:
        print(f"The first {args.limit}; --limit 0 shows all.")
    return TAKEN


def _show(args: argparse.Namespace, store: Store, item: int) -> int:
    from dmarcview import query

    found = [one for one in rows(query.refused(store, limit=None)) if one["item"] == item]
    if not found:
        raise Misuse(f"{item}: no such number among the refused")
    kept = store.raw_item(item)
    if args.raw:
        if kept is None:
            raise Misuse(f"{item}: its raw input is not kept; see [data] archive_days")
        sys.stdout.flush()
        sys.stdout.buffer.write(kept.raw)
        return TAKEN
    if args.json:
        print_json(found)
        return TAKEN
    one = found[0]
    facts(
        [
            ("input", one["input"]),
            ("received", one["received"]),
            ("came by", f"{one['channel']} {one['client']}"),
            ("from", one["mail_from"]),
            *[(f"refused {each['code']}", f"{each['where']} {each['message']}".strip()) for each in found],
            ("bytes", number(len(kept.raw)) if kept else "not kept"),
        ]
    )
    if kept:
        begin = kept.raw[:SNIPPET].decode("utf-8", "backslashreplace")
        print()
        for line in begin.splitlines():
            facts([("|", line)])
    return TAKEN


def _replay(args: argparse.Namespace, store: Store, config: Config, numbers: list[int]) -> int:
    from dmarcview import query
    from dmarcview.upkeep import classify
    from dmarcview_reports import reading
    from dmarcview_reports.model import Reading

    if args.code and not numbers:
        numbers = sorted({one["item"] for one in rows(query.refused(store, limit=None, code=args.code))})
        if not numbers:
            raise Misuse(f"--code {args.code}: nothing was refused with this code")
    now = int(time.time())

    def read(raw: bytes, name: str) -> Reading:
        return reading.read(raw, name, config.limits, now)

    stored = store.replay(read, numbers or None)
    classify(store, config, now)
    left = len(query.refused(store, limit=None))
    result = {
        "read": len(stored),
        "reports": sum(one.reports for one in stored),
        "records": sum(one.records for one in stored),
        "messages": sum(one.messages for one in stored),
        "still_refused": left,
        "at": iso(now),
    }
    if args.json:
        print_json(result)
    else:
        facts([("read again", number(result["read"])), ("new reports", number(result["reports"])),
               ("still refused", number(left))])  # fmt: skip
    return REFUSED if left else TAKEN
