"""The command line: parse, call the one function of the command, say its errors in one sentence each.

Each command is one function under `dmarcview.commands`, loaded by name when called. Exit codes: `dmarcview.exits`.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from dmarcview.exits import INTERRUPTED, MACHINE, TAKEN, WRONG_USE, Misuse
from dmarcview.syntax import parser

PRIVATE = 0o027  # what we make is for its owner and group: raw mails and envelope senders are nobody else's


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; argparse itself exits for --help, --version and wrong use."""
    words = sys.argv[1:] if argv is None else argv
    if words[:1] == ["sendmail"]:  # its options are forty years old, and not argparse's
        from dmarcview.commands.sendmail import main as sendmail

        return sendmail(words[1:])
    args = parser().parse_args(words)
    os.umask(os.umask(PRIVATE) | PRIVATE)
    module, _, function = args.function.partition(":")
    run = getattr(importlib.import_module(f"dmarcview.commands.{module}"), function)
    try:
        code: int = run(args)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        print("dmarcview: stopped", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # `dmarcview ... | head`: the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return TAKEN
    except Exception as error:
        code = _known(error)
        if not code:
            raise
        from dmarcview.terminal import safe

        for line in str(error).splitlines() or [type(error).__name__]:
            print(f"dmarcview: {safe(line)}", file=sys.stderr)
        return code


def _known(error: Exception) -> int:
    """The exit code of an error that is said in one sentence; 0 for one that is our own bug."""
    if isinstance(error, Misuse):
        return WRONG_USE
    if type(error).__module__.startswith("dmarcview.config"):
        return WRONG_USE
    if isinstance(error, OSError):
        return MACHINE
    names = {kind.__name__ for kind in type(error).__mro__}
    return MACHINE if names & {"StoreError", "SpoolError", "ServiceError", "QueueError"} else 0
