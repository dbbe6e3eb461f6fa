"""`dmarcview test RCPT`: a tagged mail through the relay; `--explain`: what its receiver wrote into it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from dmarcview.commands import settings
from dmarcview.config import Config
from dmarcview.exits import REFUSED, TAKEN, Misuse
from dmarcview.terminal import is_tty, print_json, safe

if TYPE_CHECKING:
    from dmarcview.probe import News

_COLOURS = {"ok": "\x1b[32m", "warn": "\x1b[33m", "fail": "\x1b[31m"}
_DELIVERED = "delivered"


def run(args: argparse.Namespace) -> int:
    """0 when the far host took the mail, or when nothing in the pasted mail is at fault; else 1."""
    if args.explain is not None:
        return _explain(args.explain, as_json=args.json)
    if not args.recipient:
        raise Misuse("name the recipient of the test, or give the mail that arrived to --explain FILE (- to paste it)")
    return _send(args)


def _explain(name: str, *, as_json: bool) -> int:
    from dmarcview.explain import FAIL, TEXT_BYTES, explain

    if name == "-":
        if is_tty(sys.stdin):
            print("Paste the whole original of the mail, then press Ctrl-D.", file=sys.stderr)
        raw = sys.stdin.buffer.read(TEXT_BYTES)
    else:
        with Path(name).open("rb") as file:
            raw = file.read(TEXT_BYTES)
    notes = explain(raw.decode("utf-8", "replace"))
    if as_json:
        print_json([note._asdict() for note in notes])
    else:
        for note in notes:
            begin, end = (_COLOURS[note.state], "\x1b[0m") if is_tty(sys.stdout) else ("", "")
            print(f"{begin}{note.state:4}{end}  {note.about:6}  {safe(note.found)}")
            if note.advice:
                print(f"              {safe(note.advice)}")
    return REFUSED if any(note.state == FAIL for note in notes) else TAKEN


def _send(args: argparse.Namespace) -> int:
    from dmarcview import probe
    from dmarcview.sendmail.session import Declined, Unreachable
    from dmarcview.service_relay import folder
    from dmarcview_relay.queue_schema import QueueError
    from dmarcview_smtp.address import AddressError, read_address

    config = settings(args)

    def say(line: str) -> None:
        if args.verbose:
            print(safe(line), file=sys.stderr, flush=True)

    def tell(text: str) -> None:
        if not args.json:
            print(safe(text), flush=True)

    try:
        recipient = read_address(args.recipient)
    except AddressError as error:
        raise Misuse(f"{args.recipient}: {error}") from None
    try:
        sent = probe.send(config, probe.sender_for(config, args.sender or ""), recipient, say)
    except probe.ProbeError as error:
        raise Misuse(str(error)) from None
    except Unreachable as error:
        raise Misuse(f"no relay answers: {error}; start `dmarcview relay` or `dmarcview serve`") from None
    except Declined as error:
        raise Misuse(f"the relay refused the test: {error}") from None
    tell(f"test {sent.tag} from {sent.sender} to {recipient}, queued as {sent.queue_id}")
    news = probe.News("waiting", "not tried yet")
    try:
        for news in probe.follow(folder(config), sent, args.seconds):
            if news.state == "left":
                news = _stored(config, sent.queue_id) or news  # noqa: PLW2901 - the store knows more
            tell(_line(news))
    except QueueError as error:
        raise Misuse(f"its way cannot be followed: {error}") from None
    if args.json:
        print_json({"tag": sent.tag, "queue_id": sent.queue_id, "from": str(sent.sender), "to": str(recipient),
                    "outcome": news.state, "reply": news.text, "host": news.host, "tls": news.tls})  # fmt: skip
    elif news.state == _DELIVERED:
        print(f"Find it there (subject: dmarcview test {sent.tag}), show its original, copy all, and paste it to:\n"
              "  dmarcview test --explain -")  # fmt: skip
    return TAKEN if news.state == _DELIVERED else REFUSED


def _line(news: News) -> str:
    at = f" by {news.host}" if news.host else ""
    tls = f" ({news.tls})" if news.tls else ""
    return f"{news.state}{at}{tls}: {news.text}"


def _stored(config: Config, queue_id: str) -> News | None:
    """The last row of the mail in the store, where ingest has brought it meanwhile."""
    from dmarcview.commands import open_store
    from dmarcview.probe import News
    from dmarcview.query.sent import Sent, sent

    try:
        with open_store(config, read_only=True) as store:
            rows = sent(store, Sent(search=queue_id), limit=1)
    except Misuse:
        return None
    if rows.empty:
        return None
    row = rows.iloc[0]
    tls = " ".join(part for part in (row.tls_version, row.tls_cipher, row.tls_trust) if part)
    return News(str(row.outcome), " ".join(f"{row.code} {row.enhanced} {row.reply}".split()), str(row.host), tls)
