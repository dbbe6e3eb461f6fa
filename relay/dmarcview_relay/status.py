"""The part of a report that programs read: message/delivery-status (RFC 3464) and its form in UTF-8 (RFC 6533).

Whatever comes from outside (replies, ORCPT, ENVID) may hold anything: bytes that are not text are written as escapes,
and no value can begin a field of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime

from dmarcview_smtp.address import Address

from .envelope import Queued, Recipient
from .outcome import Link, RemoteReply

Told = tuple[Recipient, RemoteReply, Link]  # one recipient, the last word on it, and the way to who said it

FAILED, DELAYED, RELAYED = "failed", "delayed", "relayed"  # RFC 3464 section 2.3.3
DIAGNOSTIC_BYTES = 200_000  # of all replies in one report; beyond it each is cut
CUT_CHARACTERS = 200
LINE_OCTETS = 900  # RFC 5322 section 2.1.1 allows 998
_CLASS = {FAILED: "45", DELAYED: "4", RELAYED: "2"}  # an expired mail failed with a 4.x.x
_ENHANCED = re.compile(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}")
_XTEXT = re.compile(r"\+([0-9A-F]{2})")  # RFC 3461 section 4
_EMBEDDED = re.compile(r"\\x\{([0-9A-F]{2,6})\}")  # RFC 6533 section 3
_QCHAR = re.compile(r"[^\x21-\x2a\x2c-\x3c\x3e-\x5b\x5d-\x7e]")
_ATOM = re.compile(r"[A-Za-z0-9.-]+")


def date(at: float) -> str:
    """As RFC 5322 section 3.3 writes it, in UTC."""
    return format_datetime(datetime.fromtimestamp(at, UTC))


def shown(text: str, *, wide: bool) -> str:
    """One line of visible text: what cannot be seen, and beyond ASCII unless `wide`, becomes an escape."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c.isprintable() and (wide or c < "\x7f") else _escape(c) for c in text)


def _escape(char: str) -> str:
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def reply_lines(reply: RemoteReply, *, wide: bool) -> list[str]:
    """The reply as it stood on the wire, line by line; our own words without a code."""
    lines = [shown(line, wide=wide).strip() for line in reply.text.split("\n")]
    if not reply.said:
        return [line for line in lines if line] or ["no reply"]
    enhanced = f"{shown(reply.enhanced, wide=False)} " if reply.enhanced else ""
    last = len(lines) - 1
    return [f"{reply.code}{' ' if at == last else '-'}{enhanced}{line}".rstrip() for at, line in enumerate(lines)]


def status_code(reply: RemoteReply, action: str) -> str:
    """An enhanced code that fits the action (RFC 3464 section 2.3.4)."""
    if _ENHANCED.fullmatch(reply.enhanced) and reply.enhanced[0] in _CLASS[action]:
        return reply.enhanced
    first = str(reply.code)[:1]
    return f"{first if first in _CLASS[action] else _CLASS[action][-1]}.0.0"


def typed(address: Address, *, wide: bool) -> str:
    """`rfc822; a@b`, or RFC 6533 section 3 for an address beyond ASCII."""
    text = str(address)
    if address.is_ascii:
        return f"rfc822; {text}"
    return f"utf-8; {text if wide else _embedded(text)}"


def _embedded(text: str) -> str:
    return _QCHAR.sub(lambda found: f"\\x{{{ord(found.group()):02X}}}", text)


def original(orcpt: str, *, wide: bool) -> str:
    """ORCPT as a field shows it: its type, and its address without the encoding of the SMTP command."""
    kind, semicolon, value = orcpt.partition(";")
    if not semicolon or not _ATOM.fullmatch(kind):
        return ""
    if kind.lower() == "utf-8":
        plain = _EMBEDDED.sub(lambda found: _character(found.group(1)), value)
        plain = plain if wide else _embedded(plain)
    else:
        plain = _XTEXT.sub(lambda found: chr(int(found.group(1), 16)), value)
    return f"{kind}; {shown(plain, wide=wide)}"


def _character(digits: str) -> str:
    code = int(digits, 16)
    return chr(code) if code < 0xD800 or 0xDFFF < code < 0x110000 else "?"


def fields(
    queued: Queued, told: Sequence[Told], action: str, *, hostname: str, now: float, until: float, wide: bool
) -> bytes:
    """The whole part, without its MIME header. `until` is when a delayed mail is given up."""
    lines = [f"Reporting-MTA: dns; {hostname}"]  # RFC 3464 section 2.2.2
    if queued.mail.envid:
        envid = _XTEXT.sub(lambda found: chr(int(found.group(1), 16)), queued.mail.envid)
        lines += _folded("Original-Envelope-Id", [shown(envid, wide=wide)])
    lines += [f"Arrival-Date: {date(queued.mail.accepted)}", f"X-Queue-Id: {queued.id}"]
    left = DIAGNOSTIC_BYTES
    for recipient, reply, link in told:
        lines.append("")
        if first := original(recipient.orcpt, wide=wide):
            lines += _folded("Original-Recipient", [first])
        lines += _folded("Final-Recipient", [typed(recipient.address, wide=wide)])
        lines += [f"Action: {action}", f"Status: {status_code(reply, action)}"]
        if link.host:
            lines += _folded("Remote-MTA", [f"dns; {shown(link.host, wide=wide)}"])
        words = reply_lines(reply, wide=wide)
        if left <= 0:
            words = [words[-1][:CUT_CHARACTERS]]
        left -= sum(map(len, words))
        words[0] = f"{'smtp' if reply.said else 'x-dmarcview'}; {words[0]}"  # section 2.3.6
        lines += _folded("Diagnostic-Code", words)
        lines.append(f"Last-Attempt-Date: {date(now)}")
        if action == DELAYED and until:
            lines.append(f"Will-Retry-Until: {date(until)}")
    return "".join(f"{line}\r\n" for line in lines).encode("utf-8", "replace")


def _folded(name: str, values: Sequence[str]) -> list[str]:
    """A field with a line for each value; none is blank, none too long."""
    pieces = [piece.strip() for value in values for piece in cut(value)]
    first, *more = [piece for piece in pieces if piece] or ["-"]
    return [f"{name}: {first}", *(f" {piece}" for piece in more)]


def cut(line: str) -> Iterator[str]:
    """Pieces of a line that are not too long for a mail."""
    while line:
        piece = line.encode("utf-8", "replace")[:LINE_OCTETS].decode("utf-8", "ignore")
        yield piece
        line = line[len(piece) :]
