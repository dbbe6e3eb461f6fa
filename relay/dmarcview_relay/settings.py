"""Settings of the relay: who may send what, where it goes, how long it is tried.

Each field carries its help text in `metadata["help"]`; the house makes the configuration reference from it.
Times are seconds unless a name says otherwise, sizes bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from dmarcview_smtp.settings import DoorSettings, Listener

AUTH_MODES = ("none", "optional", "required")
FAMILIES = ("both", "ipv4", "ipv6", "prefer-ipv4", "prefer-ipv6")
TLS_POLICIES = ("none", "opportunistic", "encrypt", "verify", "dane")
KEY_CHECKS = ("hold", "warn", "off")
MINUTE, HOUR, DAY = 60, 3_600, 86_400


def _f(default: Any, help: str) -> Any:
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True, slots=True)
class RelayListener(Listener):
    """One socket on which mail is taken for sending."""

    port: int = _f(2526, "TCP port; 0 takes a free one.")
    auth: str = _f("optional", "none, optional or required. A password is never asked for without TLS.")
    client_ca: str = _f("", "PEM file of a CA whose client certificates count as logins; empty: none is asked for.")


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """A client certificate that counts as a login."""

    fingerprint: str = _f("", "SHA-256 of the certificate in DER, as hex; colons may part it.")
    user: str = _f("", "The user whose rules apply.")


@dataclass(frozen=True, slots=True)
class Login:
    """How passwords are checked, and how guessing is slowed."""

    tries: int = _f(3, "Wrong passwords in one connection before it is closed.")
    delay: float = _f(1.0, "Wait after a wrong password, doubled with each one more.")
    failures: int = _f(10, "Wrong passwords of one user, or from one client, before it is locked out.")
    lockout: float = _f(900.0, "Length of the lockout.")


@dataclass(frozen=True, slots=True)
class Rates:
    """Most mails by the hour; 0 is no limit. Above it 450 is answered, so that the client tries again."""

    user_hour: int = _f(0, "Recipients by the hour of one user.")
    client_hour: int = _f(0, "Recipients by the hour of one client address.")
    domain_hour: int = _f(0, "Recipients by the hour at one recipient domain.")


@dataclass(frozen=True, slots=True)
class Keys:
    """DKIM keys and their life."""

    check: str = _f("hold", "Mail whose key the DNS does not show: hold it, warn and send it, or off.")
    check_seconds: float = _f(300.0, "How long an answer of the DNS about a key is believed.")
    rotate_days: int = _f(0, "Age of a key at which a new one is made; 0 never.")
    settle_hours: float = _f(24.0, "How long a new key must have been seen in the DNS before it signs.")
    retire_days: int = _f(7, "How long the record of an old key must stay published after the switch.")
    ed25519: bool = _f(False, "Make an Ed25519 key beside each new RSA key.")


@dataclass(frozen=True, slots=True)
class Schedule:
    """The queue: when a mail is tried again, and when it is given up."""

    waits: tuple[int, ...] = _f(
        (5 * MINUTE, 10 * MINUTE, 20 * MINUTE, 40 * MINUTE, HOUR, 2 * HOUR, 4 * HOUR),
        "Waits between two tries; the last one repeats.",
    )
    expire_hours: int = _f(120, "Age at which a mail is given up and returned (RFC 5321 section 4.5.4.1: 4-5 days).")
    warn_hours: int = _f(4, "Age at which the sender is told of a delay; 0 never.")
    reserve_bytes: int = _f(100_000_000, "No mail is taken when less of the disk is free.")
    suppress_days: int = _f(7, "Days that an address is refused after its host said there is no such mailbox; 0 never.")
    return_content: str = _f("headers", "What a bounce returns: headers or full.")
    postmaster: str = _f("", "Address that bounces name as their author; empty: MAILER-DAEMON at the host.")


@dataclass(frozen=True, slots=True)
class Delivery:
    """How mail leaves."""

    tls: str = _f("verify", "none, opportunistic, encrypt, verify or dane; MTA-STS of a domain can only raise it.")
    mta_sts: bool = _f(True, "Honour the MTA-STS policies of recipient domains (RFC 8461).")
    ca: str = _f("", "PEM file of the CAs that are believed; empty: the system's.")
    family: str = _f("both", "both, ipv4, ipv6, prefer-ipv4 or prefer-ipv6.")
    source_ipv4: str = _f("", "Address to send from by IPv4; empty: the system chooses.")
    source_ipv6: str = _f("", "Address to send from by IPv6; empty: the system chooses.")
    port: int = _f(25, "Port of the hosts that MX records name.")
    private: bool = _f(False, "Also connect to loopback and private addresses that the DNS names.")
    dnssec: bool = _f(False, "The resolver validates DNSSEC and lies on loopback, so that its AD bit is believed.")
    connections: int = _f(100, "Most connections at once.")
    connections_per_domain: int = _f(10, "Most connections at once to one domain or smarthost.")
    mails_per_connection: int = _f(100, "Most mails in one session.")
    recipients: int = _f(50, "Most recipients in one transaction.")
    per_minute: int = _f(0, "Most mails by the minute to one domain; 0 is no limit.")
    idle: float = _f(3.0, "How long a connection waits for another mail.")
    connect: float = _f(30.0, "Longest wait for a connection and for the greeting.")
    command: float = _f(300.0, "Longest wait for a reply (RFC 5321 section 4.5.3.2).")
    final: float = _f(600.0, "Longest wait for the reply to the final dot (section 4.5.3.2.6).")


@dataclass(frozen=True, slots=True)
class Route:
    """Where mail for some domains goes instead of their MX hosts. The first that fits counts."""

    domains: tuple[str, ...] = _f(("*",), "Recipient domains: `example.org`, `.example.org` (below it) or `*`.")
    to: str = _f("mx", "mx, smtp://host:port, smtps://host:port, lmtp://host:port or lmtp:///path/of/socket.")
    tls: str = _f("", "TLS policy of this route; empty: that of [relay.delivery].")
    user: str = _f("", "User name at the smarthost.")
    password_file: str = _f("", "File whose first line is the password.")
    connections: int = _f(0, "Most connections at once; 0: connections_per_domain.")
    per_minute: int = _f(0, "Most mails by the minute; 0: that of [relay.delivery].")


@dataclass(frozen=True, slots=True)
class Care:
    """For the first days, or when in doubt."""

    dry_run: str = _f("", "Folder into which signed mails are written instead of being delivered.")
    hold_all: bool = _f(False, "Take and sign everything, deliver nothing until it is released.")
    redirect_all: str = _f("", "Address to which everything is delivered instead of its recipients.")
    recipient_day: int = _f(0, "Most mails to one recipient in a day (UTC); more are held. 0 is no limit.")


@dataclass(frozen=True, slots=True)
class ClientLimits(DoorSettings):
    """Bounds on clients. Times are seconds, sizes bytes."""

    # what goes on to others is as the standard has it (RFC 6531 section 3.2)
    eight_bit_headers: bool = _f(False, "Take 8-bit bytes in headers of mails that did not declare SMTPUTF8.")


@dataclass(frozen=True, slots=True)
class RelaySettings:
    """The relay. Everything is refused that is not allowed here."""

    listeners: tuple[RelayListener, ...] = _f(
        (RelayListener(),), "Sockets to listen on. The default serves this machine only."
    )
    hostname: str = _f("", "Name of this host towards others; its own full name when empty.")
    networks: tuple[str, ...] = _f(("127.0.0.0/8", "::1/128"), "Clients that may send without a password.")
    senders: tuple[str, ...] = _f(
        (),
        "Envelope senders that may send: `a@example.org`, `@example.org`, or a path of a file with one a line. "
        "A `@domain` covers no local part with `@`, `%` or `!`, by which mail may go on to others: list those whole.",
    )
    froms: tuple[str, ...] = _f((), "The same for the From field; empty: `senders` decide there too.")
    recipients: tuple[str, ...] = _f(
        (),
        "Recipients that mail may go to, written like `senders`; `*` is everybody, also those with `@`, `%` or `!`."
        " Empty: nobody.",
    )
    null_sender: bool = _f(False, "Whether `<>` may be the envelope sender. From is checked all the same.")
    certificate: str = _f("", "PEM file with the certificate chain; read again when it changes.")
    key: str = _f("", "PEM file with its private key.")
    certificates: tuple[ClientCertificate, ...] = _f(
        (), "Client certificates that count as a login; only listeners with `client_ca` ask for one."
    )
    login: Login = field(default_factory=Login, metadata={"help": "Passwords."})
    rates: Rates = field(default_factory=Rates, metadata={"help": "Limits of volume."})
    keys: Keys = field(default_factory=Keys, metadata={"help": "DKIM keys."})
    queue: Schedule = field(default_factory=Schedule, metadata={"help": "The queue."})
    delivery: Delivery = field(default_factory=Delivery, metadata={"help": "Delivery."})
    routes: tuple[Route, ...] = _f((), "Smarthosts and hand-offs; what fits none goes to its MX.")
    care: Care = field(default_factory=Care, metadata={"help": "Modes for the first days."})
    limits: ClientLimits = field(default_factory=ClientLimits, metadata={"help": "Bounds on clients."})
    stop_seconds: float = _f(10.0, "How long mails under way may take at the stop.")
    plain_recipients: bool = _f(False, "Write whole recipient addresses in the sent log; else local parts are hashed.")
