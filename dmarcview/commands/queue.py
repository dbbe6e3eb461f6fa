"""`dmarcview queue`: what waits to be delivered - the list, one mail in full, and what a person may do with it."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dmarcview.commands import settings
from dmarcview.commands.ask import iso
from dmarcview.exits import REFUSED, TAKEN, Misuse
from dmarcview.terminal import facts, number, print_json, safe, table

if TYPE_CHECKING:
    from dmarcview_relay.queue_admin import Entry, Listed, QueueAdmin
    from dmarcview_smtp.address import Address

DAY = 86_400
LINE_CHARACTERS = 60  # of the last reply so much stands in the list


def run(args: argparse.Namespace) -> int:
    """Dispatch the actions."""
    from dmarcview.config import data_dir
    from dmarcview_relay.queue_admin import QueueAdmin
    from dmarcview_relay.queue_schema import Gone

    words: list[str] = args.words
    _check(args.action, words)
    try:
        admin = QueueAdmin(data_dir(settings(args)) / "relay")
    except Gone as error:
        raise Misuse(f"{error}; name the data folder with --data, or start the relay once") from None
    try:
        if args.action == "suppressed":
            return _suppressed(admin, args, words)
        if args.action == "list":
            return _list(admin, args, words)
        if args.action == "show":
            return _show(admin, args, words[0])
        return _change(admin, args, words)
    except Gone as error:
        raise Misuse(f"{error}; `dmarcview queue list` shows what is") from None
    finally:
        admin.close()


def _check(action: str, words: Sequence[str]) -> None:
    """Whether the words fit the action. Raises Misuse."""
    if action == "list" and len(words) > 1:
        raise Misuse("queue list takes one id, recipient domain or recipient address at most")
    if action == "show" and len(words) != 1:
        raise Misuse("queue show takes one id from `dmarcview queue list`")
    if action == "redirect" and len(words) != 2:
        raise Misuse("queue redirect takes what (an id, a domain, an address or all) and the new address")
    if action in ("retry", "hold", "release", "delete") and not words:
        raise Misuse(f"queue {action} needs ids, recipient domains or addresses, or the word all")
    if action == "suppressed":
        verb = words[0] if words else "list"
        if verb not in ("list", "add", "remove"):
            raise Misuse(f"queue suppressed {verb}: there are list, add and remove")
        if len(words) > 1 and verb == "list":
            raise Misuse("queue suppressed list takes nothing more")
        if len(words) < 2 and verb != "list":
            raise Misuse(f"queue suppressed {verb} needs addresses")


def _address(text: str) -> Address:
    from dmarcview_smtp.address import AddressError, read_address

    try:
        return read_address(text)
    except AddressError as error:
        raise Misuse(f"{text}: {error}") from None


def _list(admin: QueueAdmin, args: argparse.Namespace, words: Sequence[str]) -> int:
    mails = admin.found(words[0] if words else "all", state=args.state or "", limit=args.limit)
    if args.json:
        print_json([_mail(each) for each in mails])
        return TAKEN
    if not mails:
        print("Nothing is queued." if not words and not args.state else "Nothing in the queue fits.")
        return TAKEN
    now = time.time()
    lines = [
        (mail.id, _span(now - mail.accepted), number(mail.size), mail.sender or "<>", entry.ticket.recipient.address,
         entry.state, entry.ticket.tries, _next(entry, now), _short(_why(entry)))
        for mail in mails for entry in mail.entries
    ]  # fmt: skip
    heads = ("id", "age", "bytes", "from", "to", "state", "tries", "next", "why")
    table(heads, lines, right=("age", "bytes", "tries", "next"))
    if args.limit and len(mails) == args.limit:
        print(f"The first {args.limit} mails; --limit 0 shows all.")
    return TAKEN


def _show(admin: QueueAdmin, args: argparse.Namespace, id: str) -> int:
    from dmarcview_relay.dkimdns import HOLD

    mail = admin.show(id)
    if args.raw:
        content = admin.content(id)
        sys.stdout.flush()
        sys.stdout.buffer.write(content)
        return TAKEN
    if args.json:
        print_json(_mail(mail))
        return TAKEN
    facts(
        [
            ("id", mail.id),
            ("accepted", iso(mail.accepted)),
            ("bytes", number(mail.size)),
            ("kind", mail.kind),
            ("from", mail.sender or "<>"),
            ("signed for", mail.from_domain),
            ("message id", mail.message_id),
            ("handed in by", f"{mail.user} {mail.client}".strip() or "this machine"),
        ]
    )
    for entry in mail.entries:
        print()
        pairs: list[tuple[str, object]] = [("to", entry.ticket.recipient.address), ("state", entry.state)]
        if entry.hold:
            pairs.append(("held because", entry.hold))
            if entry.hold.startswith(HOLD):
                pairs.append(("what to publish", f"dmarcview dns check {mail.from_domain}"))
        pairs += [
            ("tries", entry.ticket.tries),
            ("next try", iso(entry.ticket.next_at) if entry.state == "waiting" else "-"),
        ]
        if entry.last:
            host = f"{entry.host} {entry.address}".strip()
            pairs.append(("last try", f"{iso(entry.last_at)} {host}".strip()))
            pairs += [("|", line) for line in str(entry.last).split("\n")]
        facts(pairs)
    return TAKEN


def _change(admin: QueueAdmin, args: argparse.Namespace, words: Sequence[str]) -> int:
    if args.action == "redirect":
        count = admin.redirect(words[0], _address(words[1]))
    elif args.action == "hold":
        count = sum(admin.hold(each, f"by hand: {args.note}" if args.note else "by hand") for each in words)
    else:
        act = {"retry": admin.retry, "release": admin.release, "delete": admin.delete}[args.action]
        count = sum(act(each) for each in words)
    if args.json:
        print_json({"action": args.action, "recipients": count})
    else:
        done = {"retry": "to be tried at once", "hold": "held", "release": "released", "delete": "deleted",
                "redirect": "redirected"}[args.action]  # fmt: skip
        print(f"{_counted(count, 'recipient')} {done}." if count else "Nothing in the queue fits.")
    return TAKEN if count else REFUSED


def _suppressed(admin: QueueAdmin, args: argparse.Namespace, words: Sequence[str]) -> int:
    verb, texts = (words[0], words[1:]) if words else ("list", [])
    now = time.time()
    if verb == "list":
        found = admin.suppressions(now)
        if args.json:
            print_json([{"address": each.address, "reason": each.reason, "at": iso(each.at),
                         "until": _until(each.until)} for each in found])  # fmt: skip
        elif not found:
            print("No address is suppressed.")
        else:
            lines = [(each.address, (iso(each.at) or "")[:10], (_until(each.until) or "for ever")[:10],
                      each.reason.replace("\n", " ")) for each in found]  # fmt: skip
            table(("address", "since", "until", "why"), lines)
        return TAKEN
    addresses = [_address(text) for text in texts]
    if verb == "add":
        from dmarcview_relay.suppress import FOR_EVER

        until = now + args.days * DAY if args.days else FOR_EVER
        for address in addresses:
            admin.suppress(address, args.note or "by hand", now, until)
        count = len(addresses)
    else:
        count = sum(admin.unsuppress(address) for address in addresses)
    if args.json:
        print_json({"action": verb, "addresses": count})
    else:
        print(f"{_counted(count, 'address', 'es')} {'suppressed' if verb == 'add' else 'suppressed no longer'}.")
    return TAKEN if count == len(addresses) else REFUSED


def _until(at: float) -> str | None:
    from dmarcview_relay.suppress import FOR_EVER

    return None if at >= FOR_EVER else iso(at)


def _mail(mail: Listed) -> dict[str, Any]:
    return {
        "id": mail.id, "accepted": iso(mail.accepted), "bytes": mail.size, "kind": mail.kind,
        "sender": str(mail.sender) if mail.sender else "", "from_domain": mail.from_domain,
        "message_id": mail.message_id, "user": mail.user or None, "client": mail.client or None,
        "recipients": [_entry(each) for each in mail.entries],
    }  # fmt: skip


def _entry(entry: Entry) -> dict[str, Any]:
    last = entry.last
    return {
        "address": str(entry.ticket.recipient.address), "state": entry.state, "hold": entry.hold or None,
        "tries": entry.ticket.tries, "next_at": iso(entry.ticket.next_at) if entry.state == "waiting" else None,
        "last_at": iso(entry.last_at) if last else None, "host": entry.host or None,
        "host_address": entry.address or None,
        "reply": {"code": last.code, "enhanced": last.enhanced, "text": last.text, "stage": last.stage,
                  "said_by_host": last.said} if last else None,
    }  # fmt: skip


def _counted(count: int, what: str, plural: str = "s") -> str:
    return f"{number(count)} {what}{'' if count == 1 else plural}"


def _short(text: str) -> str:
    """A reason as far as the list has room for it."""
    return text if len(text) <= LINE_CHARACTERS else f"{text[: LINE_CHARACTERS - 1]}…"


def _why(entry: Entry) -> str:
    if entry.hold:
        return entry.hold
    return safe(str(entry.last).replace("\n", " ")) if entry.last else ""


def _next(entry: Entry, now: float) -> str:
    if entry.state != "waiting":
        return "-"
    return "now" if entry.ticket.next_at <= now else _span(entry.ticket.next_at - now)


def _span(seconds: float) -> str:
    """`45 s`, `12 min`, `3 h`, `2 d`."""
    whole = max(0, int(seconds))
    for size, unit in ((DAY, "d"), (3_600, "h"), (60, "min")):
        if whole >= 2 * size:
            return f"{whole // size} {unit}"
    return f"{whole} s"
