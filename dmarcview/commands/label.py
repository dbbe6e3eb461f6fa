"""`dmarcview label`: a person's word on what a source is; it wins over every rule and is remembered."""

from __future__ import annotations

import argparse
import getpass
import ipaddress
import os
import re
import time

from dmarcview.commands import open_store, settings
from dmarcview.commands.ask import iso
from dmarcview.exits import TAKEN, Misuse
from dmarcview.terminal import print_json, table

_ASN = re.compile(r"AS([0-9]{1,10})", re.I)
_DOMAIN = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?\.)+[a-z][a-z0-9-]*[a-z0-9]", re.I)


def run(args: argparse.Namespace) -> int:
    """Dispatch list, set and remove."""
    if args.action == "list":
        return _list(args)
    if not args.target:
        raise Misuse(f"label {args.action} needs an address, a network, a service, an AS number or a DKIM domain")
    return _set(args) if args.action == "set" else _remove(args)


def scope_of(target: str) -> tuple[str, str]:
    """What a target is, as (scope, value): ip, network, asn, dkim (a domain) or service (any other name)."""
    try:
        network = ipaddress.ip_network(target, strict=False)
    except ValueError:
        asn = _ASN.fullmatch(target)
        if asn:
            return "asn", str(int(asn.group(1)))
        return ("dkim", target.lower()) if _DOMAIN.fullmatch(target) else ("service", target)
    if network.num_addresses == 1:
        return "ip", str(network.network_address)
    return "network", str(network)


def who() -> str:
    """The name of who works here, for what is remembered."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.geteuid()}"


def _list(args: argparse.Namespace) -> int:
    with open_store(settings(args), read_only=True) as store:
        labels = store.labels()
    if args.json:
        print_json([{"scope": one.scope, "value": one.value, "class": one.source_class, "domain": one.domain or None,
                     "author": one.author, "at": iso(one.at), "note": one.note} for one in labels])  # fmt: skip
    elif not labels:
        print("No labels yet. `dmarcview label set 192.0.2.1 own` sets one.")
    else:
        lines = [(one.value, one.scope, one.source_class, one.domain or "every domain", one.author,
                  (iso(one.at) or "")[:10], one.note) for one in labels]  # fmt: skip
        table(("target", "kind", "class", "for", "by", "day", "note"), lines)
    return TAKEN


def _set(args: argparse.Namespace) -> int:
    from dmarcview.store import Label
    from dmarcview.upkeep import classify

    if not args.kind:
        raise Misuse("label set needs a class: own, third_party, forwarder or unknown")
    scope, value = scope_of(args.target)
    now = int(time.time())
    config = settings(args)
    domain = args.domain.lower().rstrip(".") if args.domain else ""
    with open_store(config) as store:
        store.put_label(Label(scope, value, args.kind, domain, who(), now, args.note))
        classify(store, config, now, everything=True)
    if args.json:
        print_json({"scope": scope, "value": value, "class": args.kind, "domain": domain or None})
    else:
        print(f"{value} ({scope}) is {args.kind} now" + (f", for {domain}" if domain else ""))
    return TAKEN


def _remove(args: argparse.Namespace) -> int:
    from dmarcview.upkeep import classify

    scope, value = scope_of(args.target)
    domain = args.domain.lower().rstrip(".") if args.domain else None
    config = settings(args)
    with open_store(config) as store:
        found = [one for one in store.labels() if (one.scope, one.value) == (scope, value)
                 and (domain is None or one.domain == domain)]  # fmt: skip
        if not found:
            raise Misuse(f"{args.target}: no such label; `dmarcview label` lists them")
        for one in found:
            store.remove_label(one.id)
        classify(store, config, int(time.time()), everything=True)
    if args.json:
        print_json({"removed": len(found)})
    else:
        print(f"{len(found)} label(s) removed")
    return TAKEN
