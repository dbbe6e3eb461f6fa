"""What can go wrong in the inbound wing, and whose fault it is.

ReportsError
├── Refused      the input is at fault, for good: a stable code and one sentence that says what to do
└── SpoolError   this machine is at fault, for now (disk full, fsync failed): answer 4xx and try again
"""

from __future__ import annotations


class ReportsError(Exception):
    """Base of every error that this package raises on purpose."""


class Refused(ReportsError):
    """One input, or one member of it, that can never become rows.

    `code` is one of `vocab.REFUSALS`; `message` says what was found and what to do;
    `setting` names the limit to raise when the refusal is of a limit, else "".
    """

    def __init__(self, code: str, message: str, setting: str = "") -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.setting = setting


class SpoolError(ReportsError):
    """The spool could not make a mail durable (`errno` when the system gave one); nothing was acknowledged."""

    def __init__(self, message: str, errno: int | None = None) -> None:
        super().__init__(message)
        self.errno = errno
