"""`dmarcview prune|reindex|backup|restore`: the store kept, rebuilt, copied."""

from __future__ import annotations

import argparse
import dataclasses
import shutil
import time
from pathlib import Path
from typing import Any

from dmarcview.commands import open_store, settings
from dmarcview.exits import TAKEN, Misuse
from dmarcview.terminal import facts, print_json

RELAY = "relay"  # the folder below the data folder, and below a backup


def _say(args: argparse.Namespace, result: dict[str, Any]) -> int:
    if args.json:
        print_json(result)
    else:
        facts([(name.replace("_", " "), f"{value:,}" if isinstance(value, int) else value)
               for name, value in result.items()])  # fmt: skip
    return TAKEN


def run_prune(args: argparse.Namespace) -> int:
    """Delete what is past its retention; the settings say what, the options go before them."""
    from dmarcview.upkeep import bound, prune_sent, retention

    found = settings(args)
    policy = retention(found)
    if args.days is not None:
        policy = dataclasses.replace(policy, days=args.days)
    if args.archive_days is not None:
        policy = dataclasses.replace(policy, raw_days=args.archive_days)
    if not (policy.days or policy.raw_days or policy.domains or policy.refused_days):
        raise Misuse("nothing says how long to keep: set [data] retention_days or archive_days, or give --days")
    with open_store(found) as store:
        done = store.prune(policy)
        bound(store, found)
        gone = prune_sent(store, found)
        store.sweep()
    return _say(args, {**dataclasses.asdict(done), "sent": gone})


def run_reindex(args: argparse.Namespace) -> int:
    """Read every archived input again and rebuild ledger and files from it."""
    from dmarcview.upkeep import classify
    from dmarcview_reports import reading
    from dmarcview_reports.model import Reading

    found = settings(args)
    now = int(time.time())

    def read(raw: bytes, name: str) -> Reading:
        return reading.read(raw, name, found.limits, now)

    with open_store(found) as store:
        done = store.reindex(read)
        classify(store, found, now, everything=True)
    return _say(args, dataclasses.asdict(done))


def run_backup(args: argparse.Namespace) -> int:
    """Copy the store, and what the relay has, into a new folder."""
    from dmarcview.config import data_dir
    from dmarcview_relay import backup

    target = Path(args.folder).absolute()
    found = settings(args)
    relay = target.with_name(f"{target.name}.relay")
    if relay.exists():
        raise Misuse(f"{relay} is left from a run that was broken off; remove it")
    with open_store(found, read_only=True) as store:
        try:
            # before the store's: what the relay hands over meanwhile is then in both, and counts once
            saved = backup.save(data_dir(found) / RELAY, relay)
            store.backup(target)
            if saved:
                relay.rename(target / RELAY)
        finally:
            shutil.rmtree(relay, ignore_errors=True)
    return _say(args, {"backup": str(target), "relay": "with its queue and keys" if saved else "none"})


def run_restore(args: argparse.Namespace) -> int:
    """Make the store of --data, or of the settings, from a backup; there must be none yet."""
    from dmarcview.config import data_dir
    from dmarcview.store import Store
    from dmarcview_relay import backup

    found = settings(args)
    source = Path(args.folder)
    if not source.is_dir():
        raise Misuse(f"{source}: no such folder")
    relay = data_dir(found) / RELAY
    if relay.is_dir() and any(relay.iterdir()):
        raise Misuse(f"{relay} is not empty; move it away, or name another folder with --data")
    Store.restore(source, data_dir(found), url=found.data.url or None)
    held = backup.restore(source / RELAY, relay) if (source / RELAY).is_dir() else 0
    with open_store(found, read_only=True) as store:
        checked = store.check()
    if checked.faults:
        raise Misuse("the backup is not whole:\n" + "\n".join(checked.faults))
    told = {"restored": str(data_dir(found)), "reports": checked.reports, "records": checked.records}
    return _say(args, {**told, "held": held})
