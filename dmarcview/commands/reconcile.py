"""`dmarcview reconcile`: what was sent against what receivers reported, for people and as JSON."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from dmarcview.commands import open_store, settings
from dmarcview.commands.ask import catch_up, filters, rows
from dmarcview.commands.complete import as_json
from dmarcview.commands.sent import ship
from dmarcview.exits import TAKEN, Misuse
from dmarcview.terminal import facts, number, print_json, safe, share, table

if TYPE_CHECKING:
    from dmarcview.query import Completeness, Filters
    from dmarcview.reconcile import Reconciled
    from dmarcview.store import Store

NOTHING = "Nothing was sent and nothing reported in this window. `dmarcview doctor` says why none arrives."
MOST_OPEN_DAYS = 10  # days whose completeness is told
WHY = {
    "user": "you said so",
    "envelope": "its reports name the recipients' domains",
    "mx": "by its MX",
    "recipient": "by the recipients' domain",
    "learned": "learned from the counts",
    "guess": "by its MX, no report yet",
}


def run(args: argparse.Namespace) -> int:
    """Coverage by receiver, findings with what to check first, and with --rows each row."""
    from dmarcview.reconcile import reconcile

    if args.result:
        raise Misuse("a comparison of sent and reported takes all results: ask without --result")
    found = settings(args)
    bounds = filters(args, unverified=found.trust.unverified)
    catch_up(found)
    ship(found)
    with open_store(found, read_only=True) as store:
        answer = reconcile(store, bounds, found.reconcile.receivers)
        open_days = _open_days(store, bounds, answer)
    if args.json:
        print_json(
            {
                "totals": _totals(answer),
                "receivers": rows(answer.receivers),
                "findings": _dated(rows(answer.findings), "first_day", "last_day"),
                "open_days": [as_json(day) for day in open_days],
                "rows": _dated(rows(answer.rows), "day"),
            }
        )
    elif not len(answer.rows):
        print(NOTHING)
    else:
        _print(answer, open_days, args.limit or len(answer.rows) + len(answer.findings), args.rows)
    return TAKEN


def _totals(answer: Reconciled) -> dict[str, Any]:
    from dmarcview.reconcile import wilson

    by = answer.receivers
    counted, matched = int(by["counted"].sum()), int(by["matched"].sum())
    low, high = wilson(matched, counted)
    return {
        "sent": int(by["sent"].sum()),
        "reported": int(by["reported"].sum()),
        "counted": counted,
        "matched": matched,
        "coverage": matched / counted if counted else None,
        "low": float(low) if counted else None,
        "high": float(high) if counted else None,
        "open": int(by["open"].sum()),
        "silent": int(by["silent"].sum()),
    }


def _open_days(store: Store, bounds: Filters, answer: Reconciled) -> list[Completeness]:
    """How much of each day that is still open has come in, by the usual reporters."""
    from dmarcview.query import completeness
    from dmarcview.reconcile import OPEN

    days = sorted({when.date() for when in answer.rows.loc[answer.rows["state"] == OPEN, "day"]})
    today = datetime.fromtimestamp(int(store.clock()), UTC).date()
    return [completeness(store, day, bounds) for day in [day for day in days if day <= today][-MOST_OPEN_DAYS:]]


def _dated(lines: list[dict[str, Any]], *names: str) -> list[dict[str, Any]]:
    for one in lines:
        for name in names:
            one[name] = one[name][:10]
    return lines


def _print(answer: Reconciled, open_days: list[Completeness], limit: int, with_rows: bool) -> None:
    from dmarcview.query.complete import words

    total = _totals(answer)
    facts(
        [
            ("sent", f"{number(total['sent'])} accepted by receivers"),
            ("reported", number(total["reported"])),
            ("coverage", _interval(total["matched"], total["counted"], total["low"], total["high"])),
            ("not counted", f"{number(total['open'])} of days that are not complete yet, {number(total['silent'])} to "
                            "receivers that send no reports"),
        ]
    )  # fmt: skip
    for day in open_days:
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
    heads = ("receiver", "sent", "reported", "coverage", "open", "silent", "known")
    table(
        heads,
        [
            (one["receiver"], number(one["sent"]), number(one["reported"]),
             _interval(one["matched"], one["counted"], one["low"], one["high"]) if one["counted"] else "-",
             number(one["open"]), number(one["silent"]), ", ".join(WHY.get(why, why) for why in one["known_by"]))
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
