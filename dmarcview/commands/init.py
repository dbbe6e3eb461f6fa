"""`dmarcview init`: a settings file to begin with."""

from __future__ import annotations

import argparse
import os
import socket
from pathlib import Path

from dmarcview.config import kinds
from dmarcview.exits import TAKEN, Misuse
from dmarcview.terminal import print_json, safe

TEMPLATE = """\
# Settings of dmarcview. `dmarcview config check` lists every fault with its line.
# All settings with their defaults: docs/reference/config.md

[domains]
watched = [{domains}]  # yours; reports for others are kept apart
# own_networks = ["192.0.2.10"]  # what sends your mail, so that it is known as yours

[receive]  # reports come in; point rua= of your DMARC record here
hostname = "{hostname}"
rua = [{rua}]
# Behind port 25 of this machine, or open it here; with certificate and key, mode = "starttls".
# listeners = [{{ host = "0.0.0.0", port = 25 }}]

[relay]  # mail goes out, signed: programs of this machine hand it to 127.0.0.1 port 2526
hostname = "{hostname}"
senders = [{senders}]  # who may send; make the key with `dmarcview key new {first}`
recipients = ["*"]  # to whom; ["@{first}"] keeps it at home while you try

[relay.care]
# hold_all = true  # take and sign, deliver nothing before `dmarcview queue release all`

[relay.delivery]
# tls = "opportunistic"  # instead of "verify", which waits for hosts whose certificate does not fit
family = "ipv4"  # "both" when the IPv6 address of this host has a PTR record, too
"""


def run(args: argparse.Namespace) -> int:
    """Write the file, unless there is one; 0 when written."""
    domains = [_domain(name) for name in args.domain or [_home()]]
    hostname = _domain(args.hostname or f"mail.{domains[0]}")
    text = settings_text(domains, hostname)
    if args.file == "-":
        print(text, end="")
        return TAKEN
    path = Path(args.file)
    try:
        with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o640), "w", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise Misuse(f"{path} is there already; name another file, or - to print") from None
    if args.json:
        print_json({"file": str(path), "domains": domains, "hostname": hostname})
    else:
        print(f"wrote {safe(path)} for {', '.join(domains)}")
        print(f"next: read it, then `dmarcview key new {domains[0]}`, `dmarcview dns show {domains[0]}`, "
              "`dmarcview serve`")  # fmt: skip
    return TAKEN


def settings_text(domains: list[str], hostname: str) -> str:
    """The file for these domains."""
    return TEMPLATE.format(
        domains=_list(domains),
        hostname=hostname,
        rua=_list([f"dmarc@{domains[0]}"]),
        senders=_list([f"@{name}" for name in domains]),
        first=domains[0],
    )


def _list(texts: list[str]) -> str:
    return ", ".join(f'"{text}"' for text in texts)


def _domain(text: str) -> str:
    try:
        return kinds.domain(text)
    except kinds.Bad as error:
        raise Misuse(str(error)) from None


def _home() -> str:
    """The domain of this machine, as its full name says; else an example to be changed."""
    name = socket.getfqdn().lower()
    _, _, rest = name.partition(".")
    return rest if "." in rest and not rest.endswith(("localdomain", ".arpa", ".local", ".internal")) else "example.org"
