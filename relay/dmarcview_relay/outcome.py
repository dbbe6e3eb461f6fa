"""What became of a mail: replies of the other side, the end of a try, and the row that the sent log keeps of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

DELIVERED, DEFERRED, FAILED, EXPIRED = "delivered", "deferred", "failed", "expired"
OUTCOMES = (DELIVERED, DEFERRED, FAILED, EXPIRED)
REPLY_BYTES = 8_192  # of a remote reply so much is kept


class RemoteReply(NamedTuple):
    """The last word on one recipient: the other side's whole reply, or ours when it never came to one.

    `stage` is dns, connect, greeting, hello, tls, auth, mail, rcpt, data, body or policy. `text` has its lines parted
    by a line feed, without codes. `said` is False for our own words.
    """

    code: int
    enhanced: str
    text: str
    stage: str
    said: bool = True

    @property
    def taken(self) -> bool:
        """A 2xx reply."""
        return 200 <= self.code < 300

    @property
    def permanent(self) -> bool:
        """A 5xx reply: trying again is of no use."""
        return self.code >= 500

    def __str__(self) -> str:
        """As people read it: `550 5.1.1 No such user`, all lines of it."""
        return " ".join(part for part in (str(self.code), self.enhanced, self.text) if part)


class Link(NamedTuple):
    """The way a mail took: facts of the connection; all empty when there was none."""

    source: str = ""  # our address
    host: str = ""  # MX host or smarthost, as the DNS or the route names it
    address: str = ""  # its IP address, or the path of a unix socket
    tls_version: str = ""
    tls_cipher: str = ""
    tls_trust: str = ""  # none, encrypted, verified, mta-sts or dane


@dataclass(frozen=True, slots=True)
class Attempt:
    """One row of the sent log: one recipient, one try. The names are those of the columns."""

    at: float  # seconds since 1970, UTC
    queue_id: str
    message_id: str
    kind: str  # mail, bounce or warning
    user: str
    client: str  # address of the one who handed it in
    sender: str  # envelope sender, "" is the null sender
    from_domain: str  # of the From field, A-labels, lower case
    dkim: tuple[tuple[str, str], ...]  # d= and s= of each signature
    recipient: str  # local part hashed or plain, as set
    recipient_domain: str
    tries: int  # 1 is the first
    link: Link
    reply: RemoteReply
    outcome: str
    size: int  # bytes
