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
from dmarcview.terminal import facts, interval, number, paragraph, print_json, safe, share, table

if TYPE_CHECKING:
    from dmarcview.query import Completeness
    from dmarcview.reconcile import Reconciled

LIMIT, WANTED, CALM = 50, 10, 5  # lines of a table; of a kind that asks for action, and of one that does not
MOST_TEXTS, MOST_KNOWN = 2, 5  # sentences of evidence of a source, and sources of a kind
DAYS = ("first_day", "last_day", "new_since")
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
                "findings": _dated(rows(answer.findings), *DAYS),
                "open_days": [as_json(day) for day in still_open],
                "rows": _dated(rows(answer.rows), "day"),
            }
        )
    elif not len(answer.rows):
        print(NOTHING)
    else:
        _print(answer, total, still_open, args.limit, args.rows)
    return TAKEN


def _dated(lines: list[dict[str, Any]], *names: str) -> list[dict[str, Any]]:
    for one in lines:
        for name in names:
            one[name] = one[name] and one[name][:10]
    return lines


def _print(
    answer: Reconciled, total: dict[str, Any], still_open: list[Completeness], limit: int | None, with_rows: bool
) -> None:
    from dmarcview.query.complete import words

    sent, reported, unsent, awaited, mute = (
        number(total[name]) for name in ("sent", "reported", "unsent", "open", "silent")
    )
    facts(
        [
            ("sent", f"{sent} accepted by receivers"),
            ("reported", f"{reported}; {unsent} of them fit nothing in the relay's log"),
            ("coverage", _coverage(total) if total["counted"] else "- (nothing complete to compare)"),
            ("not counted", f"{awaited} whose reports are awaited, {mute} to receivers that send no reports"),
        ]
    )
    for day in still_open:
        paragraph(f"{day.day} is {words(day, safe)}." if day.expected else f"{day.day} is open: {words(day)}.")
    _receivers(rows(answer.receivers), _most(limit, LIMIT))
    lines = _dated(rows(answer.findings), *DAYS)
    for code in dict.fromkeys(one["code"] for one in lines):
        _kind(code, [one for one in lines if one["code"] == code], limit)
    if with_rows:
        _rows(_dated(rows(answer.rows), "day"), _most(limit, LIMIT))


def _most(limit: int | None, usual: int) -> int | None:
    """How many lines are shown; None for all."""
    return usual if limit is None else limit or None


def _coverage(one: dict[str, Any]) -> str:
    part = f"{share(one['matched'], one['counted'])} of {number(one['counted'])}"
    return f"{part} ({interval(one['low'], one['high'])})"


def _receivers(lines: list[dict[str, Any]], most: int | None) -> None:
    from dmarcview.reconcile.words import KNOWN_BY

    mute = [one for one in lines if one["sent"] and one["silent"] == one["sent"] and not one["reported"]]
    telling = [one for one in lines if one["sent"] and one not in mute]
    if telling or mute:
        print()
    if telling:
        table(
            ("receiver", "sent", "coverage (95 % interval)", "awaited", "all reported", "how it was found"),
            [
                (one["receiver"], number(one["sent"]), _coverage(one) if one["counted"] else "-", number(one["open"]),
                 number(one["reported"]), ", ".join(KNOWN_BY.get(why, why) for why in one["known_by"]))
                for one in telling[:most]
            ],
            right=("sent", "awaited", "all reported"),
        )  # fmt: skip
        _more(telling, most)
    if mute:
        names = ", ".join(f"{safe(one['receiver'])} ({number(one['sent'])})" for one in mute[:most])
        rest = f" and {number(len(mute) - most)} more" if most and len(mute) > most else ""
        paragraph(f"Send no reports, so not counted: {names}{rest}.")


def _kind(code: str, lines: list[dict[str, Any]], limit: int | None) -> None:
    from dmarcview.reconcile.words import CODES, NEW_CHECK, first_check

    words = CODES[code]
    amount = f"{number(sum(one['messages'] for one in lines))} messages in {number(len(lines))} lines"
    print(f"\n{words.title} [{code}]: {amount.replace(' in 1 lines', ' in 1 line')}")
    paragraph(words.meaning, indent="  ")
    check = first_check(code, (one["domain"] for one in lines), (one["source_ip"] for one in lines))
    paragraph(f"First: {check}", indent="  ")
    new = [one for one in lines if one["new_since"]]
    most = _most(limit, CALM if words.calm else WANTED)
    senders = list(dict.fromkeys((one["sender"], one["new_since"]) for one in new))
    for sender, since in senders[:most]:
        paragraph(f"New: {sender}, since {since}. {NEW_CHECK}", indent="  ")
    if most and len(senders) > most:
        paragraph(f"And {number(len(senders) - most)} more new senders.", indent="  ")
    half = -(-most // 2) if most else len(new)  # the busiest of the others are seen, too
    shown = [*new[:half], *(one for one in lines if not one["new_since"]), *new[half:]][:most]
    _lines(shown)
    _more(lines, most)
    _known(shown)


def _lines(some: list[dict[str, Any]]) -> None:
    """The lines of a kind; columns in which none says anything are left out."""
    parted = any(one["messages"] != one["total"] for one in some)
    new = any(one["new_since"] for one in some)
    columns: dict[str, Any] = {
        "messages": lambda one: number(one["messages"]),
        **({"of reported": lambda one: number(one["total"])} if parted else {}),
        "sent from": lambda one: one["source_ip"],
        "From": lambda one: one["header_from"],
        "signed by": _signer,
        "receiver": lambda one: one["receiver"],
        "days": _span,
        **({"new since": lambda one: one["new_since"] or ""} if new else {}),
    }
    table(list(columns), [[tell(one) for tell in columns.values()] for one in some], right=("messages", "of reported"))


def _span(one: dict[str, Any]) -> str:
    """`2026-11-04 to 11-10`; the year is said again when it is another."""
    first, last = one["first_day"], one["last_day"]
    return first if first == last else f"{first} to {last[5:] if first[:4] == last[:4] else last}"


def _known(some: list[dict[str, Any]]) -> None:
    """What is known of the first sources, each once."""
    from dmarcview.reconcile.words import UNSENT_CODES

    told = {(one["source_ip"], one["domain"]): one["evidence"][:MOST_TEXTS] for one in some if one["evidence"]}
    if not told:
        return
    whole = " (from the reports of all days, not of this window alone)" if some[0]["code"] in UNSENT_CODES else ""
    print(f"  How this is known{whole}:")
    several = len({source for source, _ in told}) < len(told)
    for source, domain in list(told)[:MOST_KNOWN]:
        name = f"{source} for {domain}" if several else source
        paragraph(f"{name}: {' '.join(told[source, domain])}", indent="    ")


def _rows(lines: list[dict[str, Any]], most: int | None) -> None:
    print()
    heads = ("day", "sent from", "From", "signed by", "receiver", "sent", "reported", "state", "coverage", "findings")
    table(
        heads,
        [
            (one["day"], one["source_ip"], one["header_from"],
             _signer(one), one["receiver"], number(one["sent"]), number(one["reported"]), one["state"],
             "-" if one["coverage"] is None else share(one["coverage"], 1), " ".join(one["findings"]))
            for one in lines[:most]
        ],
        right=("sent", "reported", "coverage"),
    )  # fmt: skip
    _more(lines, most)


def _signer(one: dict[str, Any]) -> str:
    return f"{one['dkim_domain']}/{one['dkim_selector']}" if one["dkim_domain"] else "nobody"


def _more(lines: list[dict[str, Any]], most: int | None) -> None:
    if most is not None and len(lines) > most:
        print(f"and {number(len(lines) - most)} more: --limit 0 or --json has all")
