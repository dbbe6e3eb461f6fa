"""`dmarcview sendmail`, also as `dmarcview-sendmail`: what programs call /usr/sbin/sendmail.

The mail is handed to the relay on this machine. When none answers, or it cannot take mail now, the mail is left in the
relay's drop folder and goes out later. A mail is taken for all of its recipients or for none. Exit codes are those of
sysexits.h.
"""

from __future__ import annotations

import argparse
import getpass
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

from dmarcview.sendmail import session
from dmarcview.sendmail.letter import LetterError, complete, read_input
from dmarcview.sendmail.options import Options, UsageError, read_options
from dmarcview.terminal import safe
from dmarcview_smtp.address import Address, AddressError, read_address

if TYPE_CHECKING:
    from dmarcview.config import Config

OK = 0
USAGE, DATA, NO_USER, UNAVAILABLE, OS_FAULT, AGAIN, NOT_ALLOWED, CONFIG = 64, 65, 67, 69, 71, 75, 77, 78


class _Failed(Exception):
    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code


def run(args: argparse.Namespace) -> int:
    """The command when its words were read by argparse."""
    return main(args.words)


def main(argv: Sequence[str] | None = None) -> int:
    """Run once and return the exit code."""
    words = sys.argv[1:] if argv is None else argv
    try:
        return _run(read_options(words), sys.stdin.buffer)
    except UsageError as error:
        code, why = USAGE, str(error)
    except LetterError as error:
        code, why = DATA, str(error)
    except _Failed as error:
        code, why = error.code, str(error)
    except KeyboardInterrupt:
        code, why = AGAIN, "stopped"
    for line in why.splitlines():
        print(f"sendmail: {safe(line)}", file=sys.stderr)
    return code


def _run(options: Options, source: IO[bytes]) -> int:
    config = _config(options.config)
    if options.speaks_smtp:
        return _speak(config, source)
    hostname = config.relay.hostname or socket.getfqdn()
    sender = _default_sender(hostname) if isinstance(options.sender, str) else options.sender
    raw = read_input(source, dots=options.dots, limit=config.relay.limits.message_bytes)
    letter = complete(raw, sender, options.full_name, to=options.from_header)
    recipients = tuple(dict.fromkeys((*options.recipients, *letter.recipients)))
    if not recipients:
        raise _Failed(USAGE, "no recipients: name them, or use -t for those in the header")
    return _send(config, options, session.Handed(sender, recipients, letter.content), hostname)


def _send(config: Config, options: Options, mail: session.Handed, hostname: str) -> int:
    def say(line: str) -> None:
        if options.verbose:
            print(safe(line), flush=True)

    try:
        talk = session.Session(session.connect(config.relay.listeners), say)
        try:
            talk.hand_in(mail, session.Wishes(options.notify, options.ret, options.envid), hostname)
        finally:
            talk.close()
        return OK
    except session.Unreachable as error:
        why = f"no relay: {error}"
    except session.Declined as error:
        if error.reply.code >= 500:
            raise _Failed(_exit_code(error.reply), str(error)) from None
        why = str(error)
    say(why)
    say(f"left for the relay as {_leave(config, options, mail, why)}")
    return OK


def _leave(config: Config, options: Options, mail: session.Handed, why: str) -> Path:
    """Leave the mail in the folder that the relay takes it from; gives its file. Raises _Failed."""
    from dmarcview.config import data_dir
    from dmarcview_relay import drop
    from dmarcview_relay.envelope import Recipient

    folder = data_dir(config) / "relay" / "drop"
    to = [Recipient(address, options.notify) for address in mail.recipients]
    try:
        return folder / drop.leave(folder, mail.sender, to, mail.content, ret=options.ret, envid=options.envid)
    except drop.DropError as error:
        raise _Failed(DATA, str(error)) from None
    except OSError as error:
        raise _Failed(AGAIN, f"{why}; and the mail cannot be left in {folder}: {error.strerror}") from None


def _speak(config: Config, source: IO[bytes]) -> int:
    try:
        sock = session.connect(config.relay.listeners)
    except session.Unreachable as error:
        print("421 4.3.2 No relay runs here now, try again later\r", flush=True)
        raise _Failed(AGAIN, str(error)) from None
    with sock:
        sock.settimeout(None)
        try:
            session.carry(sock, source, sys.stdout.buffer)
        except OSError as error:
            raise _Failed(AGAIN, f"the relay is gone: {error.strerror or error}") from None
    return OK


def _exit_code(reply: session.Reply) -> int:
    """What of sysexits.h a refusal for good is."""
    enhanced = reply.text.split(" ", 1)[0]
    if enhanced.startswith("5.7."):
        return NOT_ALLOWED
    if reply.stage == "rcpt" and enhanced.startswith("5.1."):
        return NO_USER
    return DATA if enhanced.startswith("5.6.") else UNAVAILABLE


def _config(file: str) -> Config:
    from dmarcview import config

    try:
        return config.load(file or None)
    except config.ConfigError as error:
        raise _Failed(CONFIG, str(error)) from None


def _default_sender(hostname: str) -> Address:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = f"user{os.geteuid()}"
    try:
        return read_address(f"{user}@{hostname}")
    except AddressError as error:
        raise _Failed(USAGE, f"{user}@{hostname} is no sender: {error}; name one with -f") from None
