"""`dmarcview alerts check|list|show|ack|unack|mute|test|backtest`: what is wrong, since when, what to check first."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from dmarcview.alerts import said
from dmarcview.commands import open_store, require_store, settings
from dmarcview.commands.ask import catch_up, iso
from dmarcview.commands.label import who
from dmarcview.exits import REFUSED, TAKEN, Misuse
from dmarcview.terminal import facts, number, print_json, safe, table

if TYPE_CHECKING:
    from dmarcview.alerts.model import Incident
    from dmarcview.config import Config

DAY = 86_400
MUTE_DAYS = 7


def run(args: argparse.Namespace) -> int:
    """Dispatch the actions."""
    actions = {"check": _check, "list": _list, "show": _show, "ack": _ack, "unack": _unack, "mute": _mute,
               "test": _test, "backtest": _backtest}  # fmt: skip
    config = settings(args)
    require_store(config)
    return actions[args.action](args, config)


def _check(args: argparse.Namespace, config: Config) -> int:
    """Look now, the DNS too, and remember. 1 when something that asks for action is open."""
    from dmarcview.alerts import memory, run
    from dmarcview.commands.sent import ship

    catch_up(config)
    ship(config)
    with open_store(config) as store:
        now, watching = int(store.clock()), run.watches(config, store)
        if not args.no_network:
            watching.dns.step()
        run.check(store, config, now, watching)
        found = memory.listed(store.ledger, now, open_only=True)
    _print(found, as_json=args.json)
    return REFUSED if any(map(said.acts, found)) else TAKEN


def _list(args: argparse.Namespace, config: Config) -> int:
    """What is remembered: open incidents, with --all the ended ones, too."""
    from dmarcview.alerts import memory

    with open_store(config, read_only=True) as store:
        found = memory.listed(store.ledger, int(store.clock()), open_only=not args.all, limit=args.limit or None)
    _print(found, as_json=args.json)
    return TAKEN


def _show(args: argparse.Namespace, config: Config) -> int:
    """All that is known of one incident, and the messages about it."""
    from dmarcview.store import incidents

    with open_store(config, read_only=True) as store:
        one = _one(args, store.ledger, int(store.clock()))
        told = incidents.told(store.ledger, one.id)
    finding = one.finding
    if args.json:
        print_json(_as_json(one) | {"messages": [
            {"kind": note.kind, "channel": note.channel, "at": iso(note.at), "tries": note.tries,
             "done": iso(note.done) if note.done else None, "error": note.error} for note in told]})  # fmt: skip
        return TAKEN
    facts([
        ("what", finding.title), ("means", finding.words.meaning), ("found", finding.text),
        ("since", f"{finding.first_day} (when it happened)"), ("until", str(finding.last_day)),
        ("known since", f"{said.minute(one.known)} (when we knew)"), ("counts", said.counts(finding)),
        ("usual", said.usual(finding) or "-"), ("complete", finding.completeness or "-"),
        ("check first", finding.check), ("clears by", finding.words.clears),
        ("page", finding.page + finding.query), ("state", said.state(one)),
    ])  # fmt: skip
    if one.note:
        facts([("note", one.note)])
    if finding.members:
        print()
        columns = said.touched(finding)
        heads = tuple(head.lower() for head, _ in columns)
        lines = [(one.name, *(number(getattr(one, name)) for _, name in columns[1:])) for one in finding.members]
        table(heads, lines, right=heads[1:])
    if told:
        print()
        table(("message", "by", "asked for", "outcome"),
              [(note.kind, note.channel, said.minute(note.at), note.error or ("taken" if note.done else "waits"))
               for note in told])  # fmt: skip
    return TAKEN


def _ack(args: argparse.Namespace, config: Config) -> int:
    """Somebody has seen it."""
    from dmarcview.store import incidents

    with open_store(config) as store:
        now = int(store.clock())
        one = _one(args, store.ledger, now)
        incidents.acknowledge(store.ledger, one.id, author=who(), note=args.note, now=now)
    print(f"{one.id} is acknowledged: nothing more is sent about it until it has ended.")
    return TAKEN


def _unack(args: argparse.Namespace, config: Config) -> int:
    """What was said by `ack` holds no more."""
    from dmarcview.store import incidents

    with open_store(config) as store:
        now = int(store.clock())
        one = _one(args, store.ledger, now)
        if not incidents.take_back(store.ledger, one.id, now=now):
            raise Misuse(f"incident {one.id} is not acknowledged")
    print(f"{one.id} is no longer acknowledged: what is due about it is sent again.")
    return TAKEN


def _mute(args: argparse.Namespace, config: Config) -> int:
    """No messages about this cause for some days, also when it comes back."""
    from dmarcview.store import incidents

    with open_store(config) as store:
        now = int(store.clock())
        one = _one(args, store.ledger, now)
        days = MUTE_DAYS if args.days is None else args.days
        until = now + days * DAY if days else 0
        incidents.mute(store.ledger, one.finding.fingerprint, until, author=who(), note=args.note, now=now)
    print(f"{one.id} is muted until {said.minute(until)}." if until else f"{one.id} is no longer muted.")
    return TAKEN


def _test(args: argparse.Namespace, config: Config) -> int:
    """A test message by every channel; 1 when one did not take it."""
    from dmarcview.alerts import post

    with open_store(config) as store:
        results = post.try_channels(config, store)
    if args.json:
        print_json([one._asdict() for one in results])
    elif not results:
        raise Misuse("no channel is set: name [alerts] mail_to, channels or webhook (docs/alerts.md)")
    else:
        table(
            ("channel", "outcome", ""),
            [(one.channel, "taken" if one.taken else "not taken", one.text) for one in results],
        )
    return TAKEN if all(one.taken for one in results) else REFUSED


def _backtest(args: argparse.Namespace, config: Config) -> int:
    """What the rules would have said on the store's own past, at several thresholds."""
    from dmarcview.alerts import backtest

    with open_store(config, read_only=True) as store:
        found = backtest.run(store, config, int(store.clock()), days=args.days or backtest.DAYS)
    if args.json:
        print_json(backtest.as_json(found))
        return TAKEN
    if not found.days:
        print("There are too few days of reports for a backtest: it needs six weeks.")
        return TAKEN
    print(
        f"{found.days} days up to {found.last_day}, {found.domains} domains, each day judged by what had come by then."
    )
    if found.judged < found.series:
        print(
            f"Of {number(found.series)} series the {number(found.judged)} largest were judged; fewer --days take more."
        )
    print()
    table(
        ("threshold", "incidents", "a domain and month", "days to alarm (median)", ""),
        [(f"{line.threshold:g}", number(line.incidents), f"{line.by_domain_month:.2f}",
          "-" if line.delay is None else f"{line.delay:.0f}", "in use" if line.used else "") for line in found.lines],
        right=("threshold", "incidents", "a domain and month", "days to alarm (median)"),
    )  # fmt: skip
    if found.incidents:
        print(f"\nAt {found.used:g}:")
        table(("alarm on", "since", "kind", "domain", "cause"),
              [(str(one.on), str(one.since), one.kind, one.domain, one.cause) for one in found.incidents])  # fmt: skip
    return TAKEN


def _one(args: argparse.Namespace, ledger: Any, now: int) -> Incident:
    from dmarcview.alerts import memory

    if args.id is None:
        raise Misuse(f"alerts {args.action} needs the number of an incident, as `dmarcview alerts list` shows it")
    found = memory.one(ledger, args.id, now)
    if found is None:
        raise Misuse(f"there is no incident {args.id}; `dmarcview alerts list --all` shows all")
    return found


def _print(found: list[Incident], *, as_json: bool) -> None:
    if as_json:
        print_json([_as_json(one) for one in found])
        return
    if not found:
        print(said.CALM)
        return
    found = sorted(found, key=lambda one: (not one.open, one.open and one.finding.level != "act"))
    table(
        ("id", "", "what", "since", "counts", "state"),
        [(str(one.id), "ACT" if one.finding.level == "act" else "watch", one.finding.title, str(one.finding.first_day),
          said.counts(one.finding), said.state(one)) for one in found],
        right=("id",),
    )  # fmt: skip
    for one in found[:1] if len(found) == 1 else ():
        print(f"\n{safe(one.finding.text)}\nFirst: {safe(one.finding.check)}")
    if len(found) > 1:
        print("\n`dmarcview alerts show ID` has the evidence and what to check first.")


def _as_json(one: Incident) -> dict[str, Any]:
    finding = one.finding
    return {
        "id": one.id, "kind": finding.kind, "level": finding.level, "domain": finding.domain, "cause": finding.cause,
        "title": finding.title, "text": finding.text, "first_day": finding.first_day.isoformat(),
        "last_day": finding.last_day.isoformat(), "weight": finding.weight, "counts": finding.counts,
        "failed": finding.failed, "total": finding.total, "usual": finding.usual,
        "completeness": finding.completeness, "check": finding.check, "clears": finding.words.clears,
        "link": finding.page + finding.query, "members": [member._asdict() for member in finding.members],
        "known": iso(one.known), "changed": iso(one.changed), "ended": iso(one.ended) if one.ended else None,
        "acked": iso(one.acked) if one.acked else None, "acked_by": one.acked_by, "note": one.note,
        "muted_until": iso(one.muted_until) if one.muted_until else None,
    }  # fmt: skip
