"""The mail that a program writes to sendmail's input: read to its end, its header completed, its recipients found."""

from __future__ import annotations

import base64
import re
from typing import IO, NamedTuple

from dmarcview_smtp.address import Address

from .options import UsageError, recipients

_FIELD = re.compile(rb"([\x21-\x39\x3b-\x7e]+)[ \t]*:(.*)", re.DOTALL)
_LINE_END = re.compile(rb"\r\n|\r|\n")
_NOBODY = re.compile(r"[^:<>@\",;]*:[ \t]*;")  # `undisclosed-recipients:;`
_TO = (b"to", b"cc", b"bcc")
_HIDDEN = (b"bcc", b"resent-bcc")
_WORD_CHARS = 15  # of an encoded word: 60 octets of UTF-8 at most, 75 with its frame (RFC 2047 section 2)


class LetterError(Exception):
    """The input is no mail that can be sent; the text says why."""


class Letter(NamedTuple):
    """A mail with CR LF line ends and without Bcc, and who its header names as recipients."""

    content: bytes
    recipients: tuple[Address, ...]


def read_input(source: IO[bytes], *, dots: bool, limit: int) -> bytes:
    """All of the input, or up to a line with a single dot when `dots` is not set. Raises LetterError."""
    if dots:
        content = source.read(limit + 1)
    else:
        lines = bytearray()
        while len(lines) <= limit and (line := source.readline(limit + 1)):
            if line in (b".\n", b".\r\n", b"."):
                break
            lines += line
        content = bytes(lines)
    if len(content) > limit:
        raise LetterError(f"the mail is larger than {limit} bytes")
    if b"\0" in content:
        raise LetterError("the mail holds a NUL byte")
    return content


def complete(content: bytes, sender: Address | None, full_name: str, *, to: bool = False) -> Letter:
    """Give the mail its line ends, a From when it has none, and take Bcc away.

    Its recipients are read only when `to` is set; they must be plain then. Raises LetterError.
    """
    lines = _LINE_END.sub(b"\r\n", content).split(b"\r\n")
    if lines and not lines[-1]:
        lines.pop()
    if lines and lines[0].startswith(b"From "):  # of an mbox
        lines = lines[1:]
    fields, rest = _parted(lines)
    named: list[Address] = []
    kept: list[bytes] = []
    has_from = False
    for field in fields:
        match = _FIELD.fullmatch(field)
        assert match is not None
        name = match[1].lower()
        has_from |= name == b"from"
        if to and name in _TO:
            named += _named(match[2])
        if name not in _HIDDEN:
            kept.append(field)
    if not has_from and sender is not None:
        kept.append(b"From: " + author(sender, full_name))
    return Letter(b"".join(line + b"\r\n" for line in (*kept, b"", *rest)), tuple(dict.fromkeys(named)))


def _parted(lines: list[bytes]) -> tuple[list[bytes], list[bytes]]:
    """The fields with their folded lines, and the lines of the body. The header ends where no field stands."""
    fields: list[bytes] = []
    for at, line in enumerate(lines):
        if line[:1] in (b" ", b"\t") and fields and line.strip():
            fields[-1] += b"\r\n" + line
        elif _FIELD.fullmatch(line):
            fields.append(line)
        else:
            return fields, lines[at:] if line else lines[at + 1 :]
    return fields, []


def _named(value: bytes) -> tuple[Address, ...]:
    try:
        text = value.replace(b"\r\n", b"").decode().strip(" \t")
    except UnicodeDecodeError:
        raise LetterError("a field with recipients is not UTF-8") from None
    if not text or _NOBODY.fullmatch(text):
        return ()
    try:
        return recipients(text)
    except UsageError as error:
        raise LetterError(str(error)) from None


def author(address: Address, full_name: str) -> bytes:
    """The value of a From field."""
    if not full_name:
        return str(address).encode()
    if full_name.isascii():
        name = '"' + full_name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    else:
        parts = [full_name[at : at + _WORD_CHARS] for at in range(0, len(full_name), _WORD_CHARS)]
        name = "\r\n ".join(f"=?utf-8?b?{base64.b64encode(part.encode()).decode()}?=" for part in parts)
    return f"{name} <{address}>".encode()
