"""Mails to the sender about its mail: that it failed, that it is delayed, that it was handed on (RFC 3464, RFC 6522).

A report is a mail from the null sender in three parts: words for a person, fields for programs, and the mail or its
header. A sender beyond ASCII gets the forms of RFC 6533, since only SMTPUTF8 reaches it anyway; everybody else gets
plain ASCII, which passes everywhere. Whether a report is due at all is judged before; Bcc is never quoted.
"""

from __future__ import annotations

import quopri
import re
import secrets
import textwrap
from collections.abc import Sequence
from typing import NamedTuple

from dmarcview_smtp.address import Address, AddressError, read_address

from . import status
from .envelope import BOUNCE, WARNING, Mail, Queued, Recipient
from .outcome import Link, RemoteReply
from .status import DELAYED, FAILED, RELAYED, Told, cut, date, reply_lines, shown

__all__ = ["DELAYED", "FAILED", "RELAYED", "Author", "Told", "report"]

FULL_BYTES = 1_000_000  # of a larger mail the header is returned
LISTED = 20  # addresses of one kind, and kinds, that the words for a person name
_BCC = re.compile(rb"(?:resent-)?bcc[ \t]*:", re.IGNORECASE)
_SUBJECT = {FAILED: "Mail not delivered", DELAYED: "Mail delayed, still trying", RELAYED: "Mail handed on"}
_INTRODUCTION = {
    FAILED: "could not be delivered. It will not be tried again.",
    DELAYED: "could not be delivered yet. You need not send it again.",
    RELAYED: "was handed on, and nothing more will be heard of it: the next host sends no reports.",
}


class Author(NamedTuple):
    """Who signs the reports: the name of this host, and an address for answers (empty: MAILER-DAEMON at the host)."""

    hostname: str
    postmaster: str = ""

    @property
    def address(self) -> Address:
        """The From of reports."""
        try:
            return read_address(self.postmaster)
        except AddressError:
            return Address("MAILER-DAEMON", self.hostname)


class _Part(NamedTuple):
    kind: str  # the MIME type with its parameters
    encoding: str
    content: bytes


def report(
    queued: Queued,
    content: bytes,
    told: Sequence[Told],
    action: str,
    author: Author,
    *,
    now: float,
    full: bool = False,
    until: float = 0.0,
) -> tuple[Mail, bytes]:
    """One report about one mail for its sender, ready to be signed and queued.

    `content` is the mail as it was put. `full` returns all of it when it failed and RET said nothing else (RFC 3461
    section 4.3); `until` is when a delayed mail is given up.
    """
    sender = queued.mail.sender
    if sender is None:
        raise ValueError("a mail from the null sender gets no report (RFC 5321 section 6.1)")
    wide = not sender.is_ascii
    fields = status.fields(queued, told, action, hostname=author.hostname, now=now, until=until, wide=wide)
    parts = [
        _words(queued, told, action, author.hostname, until),
        _Part(f"message/{'global-' if wide else ''}delivery-status", _encoding(fields), fields),
        _returned(content, full=action == FAILED and _wants_all(queued.mail, full=full), wide=wide),
    ]
    eight_bit = any(part.encoding == "8bit" for part in parts)
    message_id = f"<{secrets.token_hex(12)}@{author.hostname}>"
    made = _joined(parts, _header(queued.mail, action, author, message_id, now), eight_bit=eight_bit)
    mail = Mail(
        sender=None,
        recipients=(Recipient(sender),),
        accepted=now,
        size=len(made),
        kind=WARNING if action == DELAYED else BOUNCE,
        from_domain=author.address.ascii_domain,
        message_id=message_id,
        eight_bit=eight_bit or wide,
        utf8=wide,
        require_tls=queued.mail.require_tls,  # RFC 8689 section 5
    )
    return mail, made


def _wants_all(mail: Mail, *, full: bool) -> bool:
    """Whether the whole mail is returned; never one that may travel by TLS only (RFC 8689 section 5)."""
    return not mail.require_tls and (mail.ret or ("FULL" if full else "")) == "FULL"


def _header(mail: Mail, action: str, author: Author, message_id: str, now: float) -> list[str]:
    lines = [
        f"From: Mail Delivery System <{author.address}>",
        f"To: <{mail.sender}>",
        f"Subject: {_SUBJECT[action]}",
        f"Date: {date(now)}",
        f"Message-ID: {message_id}",
        "Auto-Submitted: auto-replied",  # RFC 3834 section 5
        "MIME-Version: 1.0",
    ]
    if re.fullmatch(r"<[\x21-\x3b\x3d\x3f-\x7e]{1,900}>", mail.message_id):
        lines += [f"In-Reply-To: {mail.message_id}", f"References: {mail.message_id}"]
    return lines


def _joined(parts: Sequence[_Part], header: list[str], *, eight_bit: bool) -> bytes:
    """The whole mail. The boundary is drawn by lot, so that no returned mail can know it (RFC 2046 section 5.1.1)."""
    boundary = f"={secrets.token_hex(16)}="
    lines = [
        *header,
        f'Content-Type: multipart/report; report-type=delivery-status;\r\n boundary="{boundary}"',  # RFC 6522
        f"Content-Transfer-Encoding: {'8bit' if eight_bit else '7bit'}",
        "",
        "",
    ]
    pieces = ["\r\n".join(lines).encode()]
    for part in parts:
        head = f"--{boundary}\r\nContent-Type: {part.kind}\r\nContent-Transfer-Encoding: {part.encoding}\r\n\r\n"
        pieces += [head.encode(), part.content, b"\r\n"]  # which belongs to the boundary
    pieces.append(f"--{boundary}--\r\n".encode())
    return b"".join(pieces)


def _encoding(content: bytes) -> str:
    return "7bit" if content.isascii() else "8bit"


def _quoted(content: bytes) -> bytes:
    """Quoted-printable (RFC 2045 section 6.7)."""
    return quopri.encodestring(content.replace(b"\r\n", b"\n")).replace(b"\n", b"\r\n")


def _returned(content: bytes, *, full: bool, wide: bool) -> _Part:
    """The third part: the mail, or its header (RFC 6522 section 4 allows it quoted-printable)."""
    header, body = _split(content)
    if full and len(content) <= FULL_BYTES and (wide or header.isascii()):
        whole = header + b"\r\n" + body
        return _Part("message/global" if wide else "message/rfc822", _encoding(whole), whole)
    if wide:
        return _Part("message/global-headers", _encoding(header), header)
    if header.isascii():
        return _Part("text/rfc822-headers", "7bit", header)
    return _Part("text/rfc822-headers; charset=utf-8", "quoted-printable", _quoted(header))


def _split(content: bytes) -> tuple[bytes, bytes]:
    """Header, without blind recipients, and body."""
    if content.startswith(b"\r\n"):
        return b"", content[2:]
    header, _, body = content.partition(b"\r\n\r\n")
    kept, dropped = [], False
    for line in header.removesuffix(b"\r\n").split(b"\r\n"):
        if not line.startswith((b" ", b"\t")):
            dropped = _BCC.match(line) is not None
        if not dropped:
            kept.append(line + b"\r\n")
    return b"".join(kept), body


def _words(queued: Queued, told: Sequence[Told], action: str, hostname: str, until: float) -> _Part:
    """What a person reads: who got nothing, and what their hosts said, word for word."""
    lines = [f"This is the mail system of {hostname}.", ""]
    lines += textwrap.wrap(f"Your mail of {date(queued.mail.accepted)} {_INTRODUCTION[action]}", 76)
    if action == DELAYED and until:
        lines += [f"It is tried until {date(until)}."]
    groups: dict[tuple[RemoteReply, Link], list[Recipient]] = {}
    for recipient, reply, link in told:
        groups.setdefault((reply, link), []).append(recipient)
    for (reply, link), recipients in list(groups.items())[:LISTED]:
        lines.append("")
        lines += [f"  {recipient.address}" for recipient in recipients[:LISTED]]
        if len(recipients) > LISTED:
            lines.append(f"  and {len(recipients) - LISTED} more, named in the second part")
        lines.append("")
        if reply.said:
            at = f" [{link.address}]" if link.address and link.address != link.host else ""
            lines.append(f"    {shown(link.host, wide=True) or 'The other host'}{shown(at, wide=True)} said:")
        for line in reply_lines(reply, wide=True):
            lines += _wrapped(line)
    if len(groups) > LISTED:
        rest = sum(len(recipients) for recipients in list(groups.values())[LISTED:])
        lines += ["", f"  {rest} more recipients are named in the second part, with what was said of them."]
    content = "".join(f"{line}\r\n" for line in lines).encode("utf-8", "replace")
    if content.isascii():
        return _Part("text/plain; charset=us-ascii", "7bit", content)
    return _Part("text/plain; charset=utf-8", "quoted-printable", _quoted(content))


def _wrapped(line: str) -> list[str]:
    """Indented and wrapped between words only, so that a link stays whole; a monster is cut all the same."""
    found = textwrap.wrap(line, 72, break_long_words=False, break_on_hyphens=False)
    return [f"    {short}" for piece in found for short in cut(piece)]
