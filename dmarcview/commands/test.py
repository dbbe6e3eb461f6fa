"""`dmarcview test RCPT`: a tagged mail through the relay (`loop`: see loop.py); `--explain`: its receiver's words."""

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
    from dmarcview.probe import Draft, News, Sent

_COLOURS = {"ok": "\x1b[32m", "warn": "\x1b[33m", "fail": "\x1b[31m"}
DELIVERED = "delivered"


class NotTaken(Misuse):
    """The relay did not take the mail."""


def run(args: argparse.Namespace) -> int:
    """0 when the far host took the mail, or when nothing in the pasted mail is at fault; else 1."""
    if args.explain is not None:
        return _explain(args.explain, as_json=args.json)
    if args.words[:1] == ["loop"]:
        from dmarcview.commands import loop

        return loop.run(args, args.words[1:])
    if args.local or args.wait:
        raise Misuse("--local and --wait are of `dmarcview test loop`")
    if len(args.words) != 1:
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
    config = settings(args)
    sent = hand_in(args, config, draft(args, config, args.words[0]))
    tell(args, f"test {sent.tag} from {sent.sender} to {sent.recipient}, queued as {sent.queue_id}")
    news = watch(args, config, sent)
    if args.json:
        print_json({"tag": sent.tag, "queue_id": sent.queue_id, "from": str(sent.sender), "to": str(sent.recipient),
                    "outcome": news.state, "reply": news.text, "host": news.host, "tls": news.tls})  # fmt: skip
    elif news.state == DELIVERED:
        print(f"Find it there (subject: dmarcview test {sent.tag}), show its original, copy all, and paste it to:\n"
              "  dmarcview test --explain -")  # fmt: skip
    return TAKEN if news.state == DELIVERED else REFUSED


def tell(args: argparse.Namespace, text: str) -> None:
    """A line for people."""
    if not args.json:
        print(safe(text), flush=True)


def draft(args: argparse.Namespace, config: Config, text: str) -> Draft:
    """A tagged mail for this address. Raises Misuse."""
    from dmarcview import probe
    from dmarcview_smtp.address import AddressError, read_address

    try:
        recipient = read_address(text)
    except AddressError as error:
        raise Misuse(f"{text}: {error}") from None
    try:
        return probe.draft(probe.sender_for(config, args.sender or ""), recipient)
    except probe.ProbeError as error:
        raise Misuse(str(error)) from None


def hand_in(args: argparse.Namespace, config: Config, mail: Draft) -> Sent:
    """Give it to the relay. Raises NotTaken, or Misuse when the relay may have taken it and did not say so."""
    from dmarcview import probe
    from dmarcview.sendmail.session import Declined, Unanswered, Unreachable

    def say(line: str) -> None:
        if args.verbose:
            print(safe(line), file=sys.stderr, flush=True)

    try:
        return probe.send(config, mail, say)
    except Unanswered as error:
        raise Misuse(
            f"the relay has the test and did not answer: {error}; `dmarcview queue` shows what it took"
        ) from None
    except Unreachable as error:
        raise NotTaken(f"no relay answers: {error}; start `dmarcview relay` or `dmarcview serve`") from None
    except Declined as error:
        raise NotTaken(f"the relay refused the test: {error}") from None


def watch(args: argparse.Namespace, config: Config, sent: Sent) -> News:
    """Follow it to its end or for --seconds, telling each change. Raises Misuse."""
    from dmarcview import probe
    from dmarcview.service_relay import folder
    from dmarcview_relay.queue_schema import QueueError

    news = probe.News("waiting", "not tried yet")
    try:
        for news in probe.follow(folder(config), sent, args.seconds):
            if news.state == "left":
                news = _stored(config, sent.queue_id) or news  # noqa: PLW2901 - the store knows more
            tell(args, _line(news))
    except QueueError as error:
        raise Misuse(f"its way cannot be followed: {error}") from None
    return news


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
