"""`dmarcview user`: who may log in at the relay, and what each may send. A running relay notices at once."""

from __future__ import annotations

import argparse
import getpass
import sys

from dmarcview.commands import settings
from dmarcview.exits import TAKEN, Misuse
from dmarcview.terminal import print_json, table
from dmarcview_relay import allow
from dmarcview_relay.userfile import UserFile
from dmarcview_relay.users import UserError, UserRules

LONGEST_PASSWORD = 1_000  # characters that are read


def run(args: argparse.Namespace) -> int:
    """Dispatch add, passwd, rules, list and remove."""
    from dmarcview.config import data_dir

    file = UserFile(data_dir(settings(args)) / "relay" / "users.json")
    if args.action != "list" and not args.name:
        raise Misuse(f"user {args.action} needs a name")
    try:
        return _list(file, args) if args.action == "list" else _change(file, args)
    except UserError as error:
        raise Misuse(str(error)) from None


def _change(file: UserFile, args: argparse.Namespace) -> int:
    name: str = args.name
    if args.action == "add":
        password = None if args.certificate_only else _password(name)
        name = file.add(name, password, _rules(args))
        how = "may log in with a client certificate only" if password is None else "may log in"
    elif args.action == "passwd":
        file.set_password(name, _password(name))
        how = "has another password"
    elif args.action == "rules":
        file.set_rules(name, _rules(args))
        how = "has these rules only"
    else:
        file.remove(name)
        how = "is removed"
    if args.json:
        print_json({"user": name, "action": args.action})
    else:
        print(f"{name} {how}")
    return TAKEN


def _rules(args: argparse.Namespace) -> UserRules:
    lists = [tuple(words or ()) for words in (args.senders, args.froms, args.recipients)]
    if faults := allow.faults([word for words in lists for word in words]):
        raise Misuse("\n".join(faults))
    return UserRules(lists[0], lists[1], lists[2], args.rate)


def _password(name: str) -> str:
    """A password from the keyboard, twice, or the first line of the input. It is never taken from the command line."""
    if not sys.stdin.isatty():
        return sys.stdin.readline(LONGEST_PASSWORD).rstrip("\r\n")
    first = getpass.getpass(f"Password of {name}: ")
    if getpass.getpass("Once more: ") != first:
        raise Misuse("these are two different passwords")
    return first


def _list(file: UserFile, args: argparse.Namespace) -> int:
    users = file.users()
    if args.json:
        print_json([{"user": one.name, "password": one.password is not None, **one.rules._asdict()} for one in users])
    elif not users:
        print("No users yet. `dmarcview user add NAME` makes one; programs on this machine need none.")
    else:
        lines = [
            (
                one.name,
                "yes" if one.password else "certificate only",
                *(", ".join(words) or "as set for all" for words in one.rules[:3]),
                one.rules.rate or "",
            )
            for one in users
        ]
        table(("user", "password", "senders", "From", "recipients", "an hour"), lines)
    return TAKEN
