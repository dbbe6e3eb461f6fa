"""A mail with its envelope, as it was accepted and as it lies in the queue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from dmarcview_smtp.address import Address

MAIL, BOUNCE, WARNING = "mail", "bounce", "warning"


class Recipient(NamedTuple):
    """One recipient with its DSN parameters (RFC 3461 section 4); `notify` is () when the client said nothing."""

    address: Address
    notify: tuple[str, ...] = ()  # NEVER, or some of SUCCESS, FAILURE, DELAY
    orcpt: str = ""  # as written: type;xtext


@dataclass(frozen=True, slots=True)
class Mail:
    """What is known of a mail besides its bytes. Signed when it was accepted: what is stored is what leaves."""

    sender: Address | None  # None is the null sender
    recipients: tuple[Recipient, ...]
    accepted: float  # seconds since 1970, UTC
    size: int  # bytes
    kind: str = MAIL
    user: str = ""
    client: str = ""  # IP address, "" is this machine
    from_domain: str = ""
    message_id: str = ""
    dkim: tuple[tuple[str, str], ...] = ()  # d= and s= of each signature
    eight_bit: bool = False  # needs 8BITMIME (RFC 6152)
    utf8: bool = False  # needs SMTPUTF8 (RFC 6531)
    require_tls: bool = False  # RFC 8689
    ret: str = ""  # FULL or HDRS (RFC 3461 section 4.3)
    envid: str = ""  # as written (section 4.4)
    hold: str = ""  # why it waits for a person or for the DNS; "" when it may leave


class Ticket(NamedTuple):
    """One recipient of one queued mail."""

    number: int  # its key in the queue
    recipient: Recipient
    tries: int
    next_at: float  # seconds since 1970; not tried before
    warned: bool  # of the delay


@dataclass(frozen=True, slots=True)
class Queued:
    """A mail in the queue with the recipients that are still to be served."""

    id: str  # as people see it, unique for ever
    number: int  # its key in the queue
    mail: Mail
    tickets: tuple[Ticket, ...]
