"""`dmarcview test loop [RCPT]`: a probe that is remembered, and what became of each: delivered, awaited, reported."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, Any

from dmarcview.commands import open_store, require_store, settings
from dmarcview.commands.sent import ship
from dmarcview.commands.test import DELIVERED, NotTaken, draft, hand_in, tell, watch
from dmarcview.exits import REFUSED, TAKEN, Misuse
from dmarcview.terminal import print_json, safe

if TYPE_CHECKING:
    from dmarcview.config import Config
    from dmarcview.reconcile.probes import Followed

LOOK_SECONDS = 5.0  # between two looks for news
NOTHING = "No probe was sent yet: `dmarcview test loop RCPT` sends one. Its receiver must be one that sends reports."


def run(args: argparse.Namespace, words: list[str]) -> int:
    """Send one, list them, or run the local loop; 0 unless the probe did not arrive or the local loop is broken."""
    if len(words) > 1:
        raise Misuse("name one recipient: dmarcview test loop RCPT")
    if args.local:
        if words:
            raise Misuse("--local sends to a made-up recipient of its own: leave the address out")
        from dmarcview.demo.closed_loop import run as local

        return local(as_json=args.json)
    config = settings(args)
    return _send(args, config, words[0]) if words else _list(args, config)


def _send(args: argparse.Namespace, config: Config, text: str) -> int:
    from dmarcview.query import search_hash
    from dmarcview.service_relay import folder
    from dmarcview.store import probes

    mail = draft(args, config, text)
    with open_store(config) as store:
        address = str(mail.recipient)
        logged = address if config.relay.plain_recipients else search_hash(folder(config), address)
        probes.put(  # before the mail is out: what cannot be remembered is not sent
            store.ledger,
            probes.Probe(mail.tag, "", int(store.clock()), str(mail.sender), mail.sender.ascii_domain,
                         logged or f"@{mail.recipient.ascii_domain}", mail.recipient.ascii_domain),
        )  # fmt: skip
        try:
            sent = hand_in(args, config, mail)
        except NotTaken:
            probes.forget(store.ledger, mail.tag)
            raise
        probes.taken(store.ledger, mail.tag, sent.queue_id)
    tell(args, f"probe {sent.tag} from {sent.sender} to {address}, queued as {sent.queue_id}")
    news = watch(args, config, sent)
    found = _wait(args, config, sent.tag) if args.wait and news.state == DELIVERED else _found(config, 1, sent.tag)
    if args.json:
        print_json(as_json(found[0]))
    elif not args.wait:
        _print(found[0])
    return TAKEN if news.state == DELIVERED else REFUSED


def _list(args: argparse.Namespace, config: Config) -> int:
    found = _wait(args, config) if args.wait else _found(config, args.limit or None)
    if args.json:
        print_json([as_json(one) for one in found])
    elif not found:
        print(NOTHING)
    elif not args.wait:
        for one in found:
            _print(one)
    return TAKEN


def _found(config: Config, limit: int | None, tag: str | None = None) -> list[Followed]:
    """What is known of the probes now."""
    from dmarcview.reconcile.probes import follow

    require_store(config)
    ship(config)
    with open_store(config, read_only=True) as store:
        found = follow(store, config.reconcile.receivers, limit=limit, tag=tag, verified=not config.trust.unverified)
    return [_queued(config, one) for one in found]


def _queued(config: Config, one: Followed) -> Followed:
    """With the relay's own word on a probe that is still there."""
    from dataclasses import replace

    from dmarcview.probe import news
    from dmarcview.reconcile.probes import OPEN, WAITING
    from dmarcview.service_relay import folder
    from dmarcview_relay.queue_schema import QueueError

    if one.state not in OPEN or one.receiver:
        return one
    try:
        now = news(folder(config), one.probe.queue_id)
    except QueueError:  # another machine's relay, or none any more
        return one
    known = now.state in (WAITING, "held", "deferred")
    return replace(one, state=now.state, host=now.host or one.host, reply=now.text) if known else one


def _wait(args: argparse.Namespace, config: Config, tag: str | None = None) -> list[Followed]:
    """Tell what is known, and then each change, until nothing more is to come."""
    from dmarcview.reconcile.probes import OPEN

    told: dict[str, tuple[Any, ...]] = {}
    while True:
        found = _found(config, args.limit or None, tag)
        for one in found:
            news = (one.state, one.reply, one.reports)
            if told.get(one.probe.tag) != news:
                told[one.probe.tag] = news
                if not args.json:
                    _print(one)
        if not any(one.state in (*OPEN, "held") for one in found):
            return found
        time.sleep(LOOK_SECONDS)


def as_json(one: Followed) -> dict[str, Any]:
    """A probe for programs."""
    probe = one.probe
    return {
        "tag": probe.tag, "queue_id": probe.queue_id, "at": _time(probe.at), "from": probe.sender,
        "to": probe.recipient, "state": one.state, "tried": _time(one.tried), "host": one.host, "source": one.source,
        "reply": one.reply, "receiver": one.receiver, "known_by": one.known_by, "until": _time(one.until),
        "reports": [
            {**told._asdict(), "begin": _time(told.begin), "end": _time(told.end), "spf": dict(told.spf),
             "dkim": dict(told.dkim), "dmarc": dict(told.dmarc)}
            for told in one.reports
        ],
    }  # fmt: skip


def _print(one: Followed) -> None:
    from dmarcview.reconcile.probe_words import counted, known, moment

    probe = one.probe
    print(f"{probe.tag} to {safe(probe.recipient)}, {moment(probe.at)}: {one.state}", flush=True)
    for line in [*known(one), *(line for told in one.reports for line in counted(told))]:
        print(f"    {safe(line)}", flush=True)


def _time(seconds: int | None) -> str | None:
    return None if seconds is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
