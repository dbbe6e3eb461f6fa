"""`dmarcview key`: the DKIM keys of this host and the DNS records that they need."""

from __future__ import annotations

import argparse
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dmarcview.commands import settings
from dmarcview.exits import TAKEN, Misuse
from dmarcview.terminal import print_json, safe, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dmarcview.config import Config
    from dmarcview_relay.keys import KeyRing, SigningKey


def run(args: argparse.Namespace) -> int:
    """Dispatch the actions; whatever is wrong with a key is said in one sentence."""
    from dmarcview_relay.keyfile import KeyFault

    config = settings(args)
    ring = ring_of(config)
    try:
        if args.action in ("new", "rotate"):
            return (_new if args.action == "new" else _rotate)(args, config, ring)
        return {"list": _list, "show": _show, "retire": _retire, "import": _import}[args.action](args, ring)
    except KeyFault as fault:
        raise Misuse(str(fault)) from None


def ring_of(config: Config) -> KeyRing:
    """The keys in the data folder."""
    from dmarcview.config import data_dir
    from dmarcview_relay.keys import KeyRing

    return KeyRing(data_dir(config) / "relay" / "keys")


def _hostname(config: Config) -> str:
    return config.relay.hostname or socket.gethostname()


def _domain(args: argparse.Namespace) -> str:
    from dmarcview_relay.keys import checked_domain

    if not args.names:
        raise Misuse(f"key {args.action} needs a domain: dmarcview key {args.action} example.org")
    return checked_domain(args.names[0])


def _at_most(args: argparse.Namespace, most: int) -> None:
    if len(args.names) > most:
        raise Misuse(f"key {args.action} takes {most} name{'' if most == 1 else 's'} at most")


def _list(args: argparse.Namespace, ring: KeyRing) -> int:
    _at_most(args, 1)
    ring.refresh()
    found = [key for key in ring.all() if not args.names or key.domain == _domain(args)]
    if args.json:
        print_json([facts_of(key, ring) for key in found])
    elif not found:
        print("There is no key. `dmarcview key new example.org` makes one.")
    else:
        lines = [
            (key.domain, key.selector, _kind(key), key.state, _day(key.since), "yes" if _signs(key, ring) else "no",
             "weak: rotate it" if key.weak else "")
            for key in found
        ]  # fmt: skip
        table(("domain", "selector", "key", "state", "since", "signs", "note"), lines)
    return TAKEN


def _new(args: argparse.Namespace, config: Config, ring: KeyRing) -> int:
    from dmarcview_relay.keeper import make_keys

    _at_most(args, 1)
    made = make_keys(
        ring,
        _domain(args),
        args.selector or "",
        bits=args.bits or 2048,
        ed25519=args.ed25519 or config.relay.keys.ed25519,
        hostname=_hostname(config),
        now=time.time(),
    )
    return _made(args, ring, made)


def _show(args: argparse.Namespace, ring: KeyRing) -> int:
    _at_most(args, 2)
    ring.refresh()
    found = _chosen(args, ring)
    if args.json:
        print_json([facts_of(key, ring) for key in found])
    else:
        _records(found)
    return TAKEN


def _rotate(args: argparse.Namespace, config: Config, ring: KeyRing) -> int:
    from dmarcview_relay.keeper import successor

    _at_most(args, 1)
    ring.refresh()
    domain = _domain(args)
    own = [key for key in ring.signing(domain) if key.domain == domain]
    if not own:
        raise Misuse(f"{domain} has no key to rotate; `dmarcview key new {domain}` makes one")
    kinds = {key.algorithm for key in own}
    waiting = [
        key
        for key in ring.all()
        if key.domain == domain and key.algorithm in kinds and key.state in ("new", "published")
    ]
    if waiting:
        names = ", ".join(key.selector for key in waiting)
        raise Misuse(f"{domain} has a key that does not sign yet ({names}): publish it, or retire it first")
    return _made(args, ring, [successor(ring, key, _hostname(config), time.time(), args.bits) for key in own])


def _retire(args: argparse.Namespace, ring: KeyRing) -> int:
    from dmarcview_relay.keylife import withdraw

    _at_most(args, 2)
    ring.refresh()
    if len(args.names) < 2:
        raise Misuse("key retire needs domain and selector: dmarcview key retire example.org SELECTOR")
    (key,) = _chosen(args, ring)
    change = withdraw(ring.all(), key, time.time())
    ring.update([change])
    if args.json:
        print_json([facts_of(change.new, ring)])
    elif change.new.state == "retiring":
        print(f"{key.selector} signs no more. Leave its record in the DNS until `dmarcview key list` says retired.")
    else:
        print(f"{key.selector} never signed alone; its record may go.")
    return TAKEN


def _import(args: argparse.Namespace, ring: KeyRing) -> int:
    from dmarcview_relay.keyimport import Source, dkimproxy, is_conf, take

    _at_most(args, 2)
    if not args.names:
        raise Misuse("key import needs a PEM file with its domain and --selector, or a dkimproxy_out.conf")
    path = Path(args.names[0])
    if is_conf(path):
        if len(args.names) > 1 or args.selector:
            raise Misuse(f"{path} names domains and selectors itself: give the file only")
        sources = dkimproxy(path)
    elif len(args.names) < 2 or not args.selector:
        raise Misuse(f"say what the key is for: dmarcview key import {path} example.org --selector SELECTOR")
    else:
        sources = [Source(args.names[1], args.selector, path)]
    return _made(args, ring, [take(ring, source) for source in sources])


def _chosen(args: argparse.Namespace, ring: KeyRing) -> list[SigningKey]:
    domain, selector = _domain(args), args.names[1].lower() if len(args.names) > 1 else args.selector
    found = [key for key in ring.all() if key.domain == domain and selector in (None, key.selector)]
    if not found:
        what = f"{domain} has no key {selector}" if selector else f"{domain} has no key"
        raise Misuse(f"{what}; `dmarcview key list` shows what there is")
    return found


def _made(args: argparse.Namespace, ring: KeyRing, keys: Sequence[SigningKey]) -> int:
    for key in keys:
        if key.weak:
            print(f"dmarcview: key {safe(key.selector)} has {key.bits} bits only; many receivers distrust it: "
                  f"dmarcview key rotate {safe(key.domain)}", file=sys.stderr)  # fmt: skip
    if args.json:
        print_json([facts_of(key, ring) for key in keys])
        return TAKEN
    for key in keys:
        print(f"{key.path}  ({_kind(key)}, {key.state})")
    print("\nPublish:\n")
    _records(keys)
    print(f"\nThen: dmarcview dns check {keys[0].domain}")
    if not all(_signs(key, ring) for key in keys):
        print("The relay lets a new key sign by itself once the DNS has shown it for long enough ([relay.keys]).")
    return TAKEN


def _records(keys: Sequence[SigningKey]) -> None:
    from dmarcview_relay.dkimdns import record, zone_line

    print("\n".join(zone_line(key.name, record(key)) for key in keys))


def facts_of(key: SigningKey, ring: KeyRing) -> dict[str, Any]:
    """A key as programs read it; never its private half."""
    from dmarcview.commands.ask import iso
    from dmarcview_relay.dkimdns import record, strings

    text = record(key)
    return {
        "domain": key.domain,
        "selector": key.selector,
        "algorithm": key.algorithm,
        "bits": key.bits,
        "state": key.state,
        "since": iso(int(key.since)),
        "created": iso(int(key.created)),
        "seen_in_dns_since": iso(int(key.seen)) if key.seen else None,
        "signs": _signs(key, ring),
        "file": str(key.path),
        "name": key.name,
        "record": text,
        "strings": list(strings(text)),
    }


def _signs(key: SigningKey, ring: KeyRing) -> bool:
    return any(one.selector == key.selector for one in ring.signing(key.domain) if one.domain == key.domain)


def _kind(key: SigningKey) -> str:
    return f"{key.algorithm} {key.bits}" if key.algorithm == "rsa" else key.algorithm


def _day(at: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(at))
