"""Settings of a front door: where it listens, and every limit by name.

Each field carries its help text in `metadata["help"]`; the house makes the configuration reference from it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

MODES = ("plain", "starttls", "tls")
PROTOCOLS = ("smtp", "lmtp")


def _f(default: Any, help: str) -> Any:
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True, slots=True)
class Listener:
    """One socket to listen on: an address and port, or a unix socket."""

    host: str = _f(
        "127.0.0.1", "Address to listen on. Only this machine can reach 127.0.0.1; 0.0.0.0 and :: are everybody."
    )
    port: int = _f(2525, "TCP port; 0 takes a free one.")
    path: str = _f("", "Path of a unix socket; when set, host and port are not used.")
    path_mode: int = _f(0o660, "Permissions of the unix socket.")
    mode: str = _f("plain", "plain, starttls (offered, not demanded) or tls (from the first byte).")
    protocol: str = _f("smtp", "smtp or lmtp (RFC 2033).")
    proxy_peers: tuple[str, ...] = _f((), "Networks of load balancers whose PROXY header is believed (and demanded).")


@dataclass(frozen=True, slots=True)
class DoorSettings:
    """Bounds on clients. Times are seconds, sizes bytes."""

    connections: int = _f(1_000, "Most connections at once.")
    connections_per_client: int = _f(50, "Most connections at once from one IPv4 address or IPv6 /64.")
    commands: int = _f(250, "Most commands since the last accepted mail.")
    errors: int = _f(10, "Most refused commands in one session.")
    recipients: int = _f(100, "Most recipients of one mail; more are answered 452 and can be sent again.")
    command_bytes: int = _f(512, "Longest command line (RFC 5321 section 4.5.3.1.4).")
    path_command_bytes: int = _f(1_024, "Longest MAIL or RCPT line, with its parameters.")
    line_bytes: int = _f(10_000_000, "Longest line of a mail.")
    header_bytes: int = _f(200_000, "Longest header of a mail.")
    message_bytes: int = _f(25_000_000, "Largest mail.")
    memory_bytes: int = _f(256 * 1024, "A mail larger than this waits in a temporary file, not in memory.")
    hops: int = _f(50, "Most Received lines in a mail.")
    own_hops: int = _f(5, "Most Received lines by this very host: more is a loop.")
    eight_bit_headers: bool = _f(
        True,
        "Take 8-bit bytes in headers of mails that did not declare SMTPUTF8: some reporters write the name of "
        "an international domain as it is.",
    )
    greeting_wait: float = _f(
        0.3, "Wait before the greeting; who talks earlier is refused. Never on loopback; 0 is off."
    )
    idle_seconds: float = _f(300.0, "Longest wait for a command (RFC 5321 section 4.5.3.2.7).")
    session_seconds: float = _f(3_600.0, "Longest session; it ends between two commands.")
    data_idle_seconds: float = _f(180.0, "Longest silence inside a mail (RFC 5321 section 4.5.3.2.5).")
    data_seconds: float = _f(1_800.0, "Longest time for one mail.")
    data_grace_seconds: float = _f(60.0, "Time before the least rate counts.")
    data_bytes_per_second: int = _f(100, "Least rate of a mail after the grace time.")
    tls_seconds: float = _f(30.0, "Longest TLS handshake, and longest wait for a PROXY header.")
    linger_seconds: float = _f(2.0, "How long a dismissed client may still read our last words.")
