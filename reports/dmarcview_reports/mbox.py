"""Splits an mbox into its mails, from a stream or from bytes, one mail in memory at a time."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import BinaryIO

from .errors import Refused
from .settings import Limits

_LINE = 65_536  # bytes read at once when a line does not end

# "From ", an address or a dash, a day and a year: what every writer of mboxes puts there (RFC 4155 appendix A).
_FROM_LINE = re.compile(rb"From [^\r\n]{0,1000}\b(?:19|20)\d\d\b[^\r\n]{0,100}\r?\n?\Z")
_QUOTED = re.compile(rb">+From ")


def looks_like_mbox(data: bytes) -> bool:
    """Does it begin with the `From ` line of an mbox?"""
    return data.startswith(b"From ") and _FROM_LINE.match(data[:2048].partition(b"\n")[0]) is not None


def split_bytes(data: bytes, limits: Limits) -> Iterator[bytes | Refused]:
    """`split` over bytes that are in memory already."""
    return split(io.BytesIO(data), limits)


def split(stream: BinaryIO, limits: Limits) -> Iterator[bytes | Refused]:
    """The mails of an mbox, without their `From ` lines and with `>From ` unquoted as mboxrd says.

    A new mail begins at a `From ` line with a year in it, at the start or after a blank line. A mail larger than
    `mail_bytes` comes as Refused too_large, and is skipped without being held.
    """
    held = bytearray()  # not a list: of short lines it would be twenty times as large as they are
    size = 0
    blank, at_start, seen = True, True, False
    while True:
        line = stream.readline(_LINE)
        if at_start and blank and line.startswith(b"From ") and _FROM_LINE.match(line):
            if seen:
                yield _mail(held, size, limits)
            held, size, seen, blank = bytearray(), 0, True, False
            continue
        if not line:
            break
        if at_start:
            blank = line in (b"\n", b"\r\n")
            if line.startswith(b">") and _QUOTED.match(line):
                line = line[1:]
        at_start = line.endswith(b"\n")
        seen = seen or not blank
        size += len(line)
        if size <= limits.mail_bytes:
            held += line
        else:
            held.clear()
    if seen:
        yield _mail(held, size, limits)


def _mail(held: bytearray, size: int, limits: Limits) -> bytes | Refused:
    if size > limits.mail_bytes:
        return Refused(
            "too_large",
            f"The mail has {size} bytes. Raise [limits] mail_bytes if you trust the sender.",
            "mail_bytes",
        )
    return bytes(held)
