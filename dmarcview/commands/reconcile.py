"""`dmarcview reconcile`: what was sent against what receivers reported, for people and as JSON."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from dmarcview.commands import open_store, settings
from dmarcview.commands.ask import catch_up, filters, rows
from dmarcview.commands.complete import as_json
from dmarcview.commands.sent import ship
from dmarcview.exits import TAKEN, Misuse
from dmarcview.terminal import facts, number, print_json, safe, share, table

if TYPE_CHECKING:
    from dmarcview.query import Completeness
    from dmarcview.reconcile import Reconciled

NOTHING = "Nothing was sent and nothing reported in this window. `dmarcview doctor` says why none arrives."


def run(args: argparse.Namespace) -> int:
    """Coverage by receiver, findings with what to check first, and with --rows each row."""
    from dmarcview.reconcile import reconcile
    from dmarcview.reconcile.sums import open_days, totals

    if args.result:
        raise Misuse("a comparison of sent and reported takes all results: ask without --result")
    found = settings(args)
    bounds = filters(args, unverified=found.trust.unverified)
    catch_up(found)
    ship(found)
    with open_store(found, read_only=True) as store:
        answer = reconcile(store, bounds, found.reconcile.receivers)
        still_open = open_days(store, bounds, answer)
    total = asdict(totals(answer))
    if args.json:
        print_json(
            {
                "totals": total,
                "receivers": rows(answer.receivers),
                "findings": _dated(rows(answer.findings), "first_day", "last_day"),
                "open_days": [as_json(day) for day in still_open],
                "rows": _dated(rows(answer.rows), "day"),
            }
        )
    elif not len(answer.rows):
        print(NOTHING)
    else:
        _print(answer, total, still_open, args.limit or len(answer.rows) + len(answer.findings), args.rows)
    return TAKEN


def _dated(lines: list[dict[str, Any]], *names: str) -> list[dict[str, Any]]:
    for one in lines:
        for name in names:
            one[name] = one[name][:10]
    return lines


def _print(
    answer: Reconciled, total: dict[str, Any], still_open: list[Completeness], limit: int, with_rows: bool
) -> None:
    from dmarcview.query.complete import words

    facts(
        [
            ("sent", f"{number(total['sent'])} accepted by receivers"),
            ("reported", number(total["reported"])),
            ("coverage", _interval(total["matched"], total["counted"], total["low"], total["high"])),
            ("not counted", f"{number(total['open'])} of days that are not complete yet, {number(total['silent'])} to "
                            "receivers that send no reports"),
        ]
    )  # fmt: skip
    for day in still_open:
        print(f"{day.day} is {words(day, safe)}." if day.expected else f"{day.day} is open: {words(day)}.")
    print()
    _receivers(rows(answer.receivers), limit)
    _findings(_dated(rows(answer.findings), "first_day", "last_day"), limit)
    if with_rows:
        _rows(_dated(rows(answer.rows), "day"), limit)


def _interval(part: int, whole: int, low: float | None, high: float | None) -> str:
    if not whole or low is None or high is None:
        return "- (nothing complete to compare)"
    return f"{share(part, whole)} of {number(whole)} ({100 * low:.0f} to {100 * high:.0f} %)"


def _receivers(lines: list[dict[str, Any]], limit: int) -> None:
    from dmarcview.reconcile.words import KNOWN_BY

    heads = ("receiver", "sent", "reported", "coverage", "open", "silent", "known")
    table(
        heads,
        [
            (one["receiver"], number(one["sent"]), number(one["reported"]),
             _interval(one["matched"], one["counted"], one["low"], one["high"]) if one["counted"] else "-",
             number(one["open"]), number(one["silent"]), ", ".join(KNOWN_BY.get(why, why) for why in one["known_by"]))
            for one in lines[:limit]
        ],
        right=("sent", "reported", "open", "silent"),
    )  # fmt: skip
    _more(lines, limit)


def _findings(lines: list[dict[str, Any]], limit: int) -> None:
    from dmarcview.reconcile import CODES

    for code, words in CODES.items():
        some = [one for one in lines if one["code"] == code]
        if not some:
            continue
        print(f"\n{code}: {number(sum(one['messages'] for one in some))} messages. {words.meaning}")
        print(f"First: {words.check}")
        table(
            ("messages", "of", "source", "from", "signed by", "receiver", "days"),
            [
                (number(one["messages"]), number(one["total"]), one["source_ip"], one["header_from"],
                 _signer(one), one["receiver"], " to ".join(dict.fromkeys((one["first_day"], one["last_day"]))))
                for one in some[:limit]
            ],
            right=("messages", "of"),
        )  # fmt: skip
        _more(some, limit)
        for text in dict.fromkeys(text for one in some[:limit] for text in one["evidence"]):
            print(f"  {safe(text)}")


def _rows(lines: list[dict[str, Any]], limit: int) -> None:
    print()
    heads = ("day", "source", "from", "signed by", "receiver", "sent", "reported", "state", "coverage", "findings")
    table(
        heads,
        [
            (one["day"], one["source_ip"], one["header_from"],
             _signer(one), one["receiver"], number(one["sent"]), number(one["reported"]), one["state"],
             "-" if one["coverage"] is None else share(one["coverage"], 1), " ".join(one["findings"]))
            for one in lines[:limit]
        ],
        right=("sent", "reported", "coverage"),
    )  # fmt: skip
    _more(lines, limit)


def _signer(one: dict[str, Any]) -> str:
    return f"{one['dkim_domain']}/{one['dkim_selector']}" if one["dkim_domain"] else "nobody"


def _more(lines: list[dict[str, Any]], limit: int) -> None:
    if len(lines) > limit:
        print(f"The first {number(limit)} of {number(len(lines))}; --limit 0 shows all.")
