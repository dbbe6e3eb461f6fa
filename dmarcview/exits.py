"""How a command ends: its exit codes, and the error for wrong use.

0 all taken or all well, 1 something was refused or failed a check, 2 wrong use, 3 this machine is at fault (disk full,
store out of reach), 130 stopped from the keyboard.
"""

from __future__ import annotations

TAKEN, REFUSED, WRONG_USE, MACHINE = 0, 1, 2, 3
INTERRUPTED = 130


class Misuse(Exception):
    """The command was given something that it cannot use; the text says what to give."""
