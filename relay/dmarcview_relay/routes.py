"""Where the mail for a domain goes: its MX hosts, a smarthost, an LMTP server, or a folder in a dry run.

Evaluated when a mail is delivered, never before, so that a changed setting counts for what waits in the queue, too.
"""

from __future__ import annotations

import ipaddress
from typing import NamedTuple
from urllib.parse import urlsplit

from .settings import RelaySettings, Route

SMTP_PORT, SMTPS_PORT, LMTP_PORT = 25, 465, 24


class RouteError(ValueError):
    """A route cannot be understood; the text says which and what is possible."""


class Hop(NamedTuple):
    """The next hop of a mail. Mails with the same `key` may share connections."""

    key: str
    kind: str  # mx, smtp, lmtp or folder
    domain: str  # recipient domain, A-labels; "" when the hop is the same for all domains
    host: str = ""
    port: int = SMTP_PORT
    path: str = ""  # unix socket (lmtp) or folder
    implicit_tls: bool = False
    tls: str = "verify"
    user: str = ""
    password_file: str = ""  # read when a connection is made
    connections: int = 10
    per_minute: int = 0  # 0 is no limit


def hop(domain: str, settings: RelaySettings) -> Hop:
    """The next hop for a recipient domain in A-labels. Raises RouteError (`config check` tells the same)."""
    delivery = settings.delivery
    domain = domain.lower()
    if settings.care.dry_run:
        return Hop("folder", "folder", "", path=settings.care.dry_run, tls="none")
    route = next((route for route in settings.routes if _fits(route, domain)), Route())
    connections = route.connections or delivery.connections_per_domain
    per_minute = route.per_minute or delivery.per_minute
    if route.to == "mx":
        tls = route.tls or delivery.tls
        key = f"mx/{domain}/{tls}"
        return Hop(key, "mx", domain, "", delivery.port, tls=tls, connections=connections, per_minute=per_minute)
    kind, host, port, path = target(route.to)
    tls = route.tls or ("none" if near(host) else delivery.tls)
    return Hop(
        f"{route.to}/{route.user}/{tls}",
        "lmtp" if kind == "lmtp" else "smtp",
        "",
        host,
        port,
        path,
        kind == "smtps",
        tls,
        route.user,
        route.password_file,
        connections,
        per_minute,
    )


def target(text: str) -> tuple[str, str, int, str]:
    """Read `smtp://host:port`, `smtps://...`, `lmtp://host:port` or `lmtp:///path`: scheme, host, port, path.

    Raises RouteError.
    """
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise RouteError(f"route {text!r}: {error}") from None
    defaults = {"smtp": SMTP_PORT, "smtps": SMTPS_PORT, "lmtp": LMTP_PORT}
    if parts.scheme == "lmtp" and not parts.netloc and parts.path.startswith("/"):
        return "lmtp", "", 0, parts.path
    if parts.scheme not in defaults or not host or parts.path.strip("/") or "@" in parts.netloc or parts.query:
        raise RouteError(
            f"route {text!r}: write mx, smtp://host:port, smtps://host:port, lmtp://host:port or lmtp:///path"
        )
    return parts.scheme, host, port or defaults[parts.scheme], ""


def near(host: str) -> bool:
    """Whether a host of a route is this machine: a unix socket, localhost or a loopback address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host in ("", "localhost")


def _fits(route: Route, domain: str) -> bool:
    """`example.org`, `.example.org` (below it) or `*`."""
    for pattern in route.domains:
        wanted = pattern.lower()
        if wanted in ("*", domain) or (wanted.startswith(".") and domain.endswith(wanted)):
            return True
    return False
