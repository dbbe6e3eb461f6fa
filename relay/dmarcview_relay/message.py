"""What is done to a mail before it is signed: its header is judged, completed and cleaned; its body is never touched.

Its header is read by the plainest rule, and refused when other software could read it otherwise.
"""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import NamedTuple

from dmarcview_smtp.address import Address
from dmarcview_smtp.replies import Reply

from .author import AuthorError, read_mailboxes

# At most one of each (RFC 5322 section 3.6, RFC 2045): readers differ in which of two they believe.
SINGLE = frozenset((
    "from", "sender", "reply-to", "to", "cc", "subject", "date", "message-id", "in-reply-to", "references",
    "mime-version", "content-type", "content-transfer-encoding",
))  # fmt: skip
DROPPED = frozenset(("bcc", "resent-bcc", "return-path"))  # sections 3.6.3 and 3.6.7
AUTHORS = 20  # most addresses in a From field
COMPLETED = frozenset(("date", "message-id"))  # RFC 6409 sections 8.2 and 8.3
LOCAL = "local"  # the protocol of mails that were handed in without a dialogue
MESSAGE_ID_BYTES = 998  # RFC 5322 section 2.1.1

_FIELD = re.compile(rb"([!-9;-~]+):([^\r\n]*(?:\r\n[ \t][^\r\n]*)*)\r\n")
_BLANK_LINE = re.compile(rb"\r\n[ \t]+(?=\r\n)")
_LINE_END = re.compile(rb"\r\n|\r|\n")


class Refused(Exception):
    """The mail is not taken."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.text)
        self.reply = reply


class Trace(NamedTuple):
    """How the mail came, for its Received field (RFC 5321 section 4.4). The user's name is not told."""

    queue_id: str
    helo: str = ""
    address: str = ""  # IP address; "" is this machine
    protocol: str = "smtp"  # smtp, lmtp or LOCAL
    extended: bool = True  # EHLO, not HELO
    tls: str = ""  # version
    tls_cipher: str = ""
    logged_in: bool = False
    utf8: bool = False


class Prepared(NamedTuple):
    """A mail ready to be signed."""

    content: bytes
    from_domain: str  # A-labels, lower case
    froms: tuple[Address, ...]  # of From, and Sender's
    message_id: str  # with its brackets
    eight_bit: bool
    utf8: bool  # its header is not ASCII


def normalised(content: bytes) -> bytes:
    """Line ends as CR LF, for mails that a local program wrote; the last line gets one, too."""
    text = _LINE_END.sub(b"\r\n", content)
    return text if text.endswith(b"\r\n") or not text else text + b"\r\n"


def prepare(content: bytes, trace: Trace, *, hostname: str, now: float) -> Prepared:
    """Judge and complete a mail; `now` in seconds since 1970. Raises Refused.

    Its line ends are CR LF, and the door has judged its bytes (`dmarcview_smtp.content.judge_header`).
    """
    header, body = _parted(content)
    fields, kept = _read(header)
    froms, senders = fields["from"], fields["sender"]
    if not froms:
        raise _refused("The header has no From field", "bad_from")
    authors = _mailboxes("From", froms[0])
    authorised = _mailboxes("Sender", senders[0]) if senders else ()
    if len(authorised) > 1 or (len(authors) > 1 and not authorised):
        raise _refused("Several authors need a Sender, and only one (RFC 5322 section 3.6.2)", "bad_from")
    added = [received(trace, hostname, now)]
    message_id = "".join(fields["message-id"])[:MESSAGE_ID_BYTES]
    if not message_id:
        message_id = f"<{trace.queue_id}.{secrets.token_hex(6)}@{hostname}>"
        added.append(f"Message-ID: {message_id}\r\n".encode())
    if not "".join(fields["date"]):
        added.append(f"Date: {_date(now)}\r\n".encode())
    whole = b"".join((*added, *kept, body))
    utf8 = not all(part.isascii() for part in kept)
    return Prepared(whole, _one_domain(authors), (*authors, *authorised), message_id, not whole.isascii(), utf8)


def received(trace: Trace, hostname: str, now: float) -> bytes:
    """The Received field of this host."""
    lines = []
    if trace.protocol != LOCAL:
        literal = f"[{'IPv6:' if ':' in trace.address else ''}{trace.address}]" if trace.address else "this machine"
        lines.append(f"from {trace.helo if trace.helo.isascii() else 'unknown'} ({literal})")
    if trace.tls:
        lines.append(f"({trace.tls}, {trace.tls_cipher})")
    lines.append(f"by {hostname}{_with(trace)} id {trace.queue_id}; {_date(now)}")
    return ("Received: " + "\r\n\t".join(lines) + "\r\n").encode()


def _with(trace: Trace) -> str:
    """The protocol by its registered name (RFC 3848, RFC 6531 section 4.3)."""
    if trace.protocol == LOCAL:
        return ""
    secured = ("S" if trace.tls else "") + ("A" if trace.logged_in else "")
    name = "LMTP" if trace.protocol == "lmtp" else "SMTP"
    if trace.utf8:
        return f" with UTF8{name}{secured}"
    if name == "SMTP" and trace.extended:
        name = "ESMTP"
    return f" with {name}{secured if name != 'SMTP' else ''}"


def _date(now: float) -> str:
    return format_datetime(datetime.fromtimestamp(int(now), UTC))


def _parted(content: bytes) -> tuple[bytes, bytes]:
    """The header with the end of its last line, and the body with the blank line before it."""
    if not content.endswith(b"\r\n"):
        content += b"\r\n"
    if content.startswith(b"\r\n"):
        return b"", content
    end = content.find(b"\r\n\r\n")
    return (content, b"\r\n") if end < 0 else (content[: end + 2], content[end + 2 :])


def _read(header: bytes) -> tuple[dict[str, list[str]], list[bytes]]:
    """The values of the fields that may stand once, unfolded; and the parts of the header that stay."""
    if _BLANK_LINE.search(header):
        raise _refused("The header holds a line of blanks", "bad_header")
    fields: dict[str, list[str]] = {name: [] for name in SINGLE}
    kept: list[bytes] = []
    begin = at = 0
    while field := _FIELD.match(header, at):  # a search would look for a colon from each byte of a long line anew
        at = field.end()
        name = field[1].decode("ascii").lower()
        values = fields.get(name)
        if values is None:
            drop = name in DROPPED
        elif values:
            raise _refused(f"The header has two {name} fields", "bad_header")
        else:
            values.append(_unfolded(field[2]))
            drop = not values[0] and name in COMPLETED
        if drop:
            kept.append(header[begin : field.start()])
            begin = at
    if at != len(header):
        raise _refused("A line of the header is no field: a name, a colon at once, a value", "bad_header")
    kept.append(header[begin:])
    return fields, kept


def _unfolded(value: bytes) -> str:
    try:
        return value.replace(b"\r\n", b"").strip(b" \t").decode()
    except UnicodeDecodeError:
        raise _refused("The header is neither ASCII nor UTF-8", "header_bytes") from None


def _mailboxes(name: str, value: str) -> tuple[Address, ...]:
    try:
        found = read_mailboxes(value)
    except AuthorError as error:
        raise _refused(f"The {name} field is not plain: {error}", "bad_from") from None
    if len(found) > AUTHORS:
        raise _refused(f"The {name} field has more than {AUTHORS} addresses", "bad_from")
    return found


def _one_domain(authors: tuple[Address, ...]) -> str:
    """The domain that DMARC looks at; with two of them there would be none (RFC 7489 section 6.6.1)."""
    domains = {author.ascii_domain for author in authors}
    if len(domains) > 1:
        raise _refused("The authors are of several domains", "bad_from")
    domain = domains.pop()
    if domain.startswith("["):
        raise _refused("The author has no domain, only an address literal", "bad_from")
    return domain


def _refused(text: str, reason: str) -> Refused:
    return Refused(Reply(550, "5.6.0", text, reason))
