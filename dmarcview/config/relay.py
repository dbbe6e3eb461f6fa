"""What `[relay]` may hold: bounds of each setting, settings that rule one another out, and the files that it names."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from dmarcview_relay import allow
from dmarcview_relay.settings import (
    AUTH_MODES,
    FAMILIES,
    KEY_CHECKS,
    TLS_POLICIES,
    Care,
    ClientCertificate,
    Delivery,
    Keys,
    Login,
    RelayListener,
    RelaySettings,
    Route,
    Schedule,
)

Place = tuple[str | int, ...]
Tell = Callable[[Place, str], None]

RULES: Mapping[type, Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        RelayListener: {"auth": {"choices": AUTH_MODES}, "client_ca": {"kind": "path"}},
        ClientCertificate: {"fingerprint": {"kind": "fingerprint"}},
        Login: {"tries": {"low": 1}, "failures": {"low": 1}},
        Keys: {"check": {"choices": KEY_CHECKS}, "check_seconds": {"low": 1}, "retire_days": {"low": 1}},
        Schedule: {
            "waits": {"low": 1},
            "expire_hours": {"low": 1},
            "suppress_days": {"low": 0, "high": 3650},
            "return_content": {"choices": ("headers", "full")},
            "postmaster": {"kind": "strict mailbox"},
        },
        Delivery: {
            "tls": {"choices": TLS_POLICIES},
            "ca": {"kind": "path"},
            "family": {"choices": FAMILIES},
            "source_ipv4": {"kind": "ipv4"},
            "source_ipv6": {"kind": "ipv6"},
            "port": {"low": 1, "high": 65535},
            **{
                name: {"low": 1}
                for name in ("connections", "connections_per_domain", "mails_per_connection", "recipients")
            },
            **{name: {"low": 1} for name in ("connect", "command", "final")},
        },
        Route: {
            "domains": {"kind": "recipient domain"},
            "to": {"kind": "route"},
            "tls": {"choices": ("", *TLS_POLICIES)},
            "password_file": {"kind": "path"},
        },
        Care: {"dry_run": {"kind": "path"}, "redirect_all": {"kind": "strict mailbox"}},
        RelaySettings: {
            "hostname": {"kind": "domain"},
            "networks": {"kind": "network"},
            "senders": {"kind": "senders"},
            "froms": {"kind": "senders"},
            "recipients": {"kind": "senders"},
            "certificate": {"kind": "path"},
            "key": {"kind": "path"},
        },
    }
)


def together(relay: RelaySettings, tell: Tell) -> None:
    """Tell of everything in [relay] that cannot be because of something else there."""
    if bool(relay.certificate) != bool(relay.key):
        missing = "key" if relay.certificate else "certificate"
        tell(("relay", "certificate" if relay.certificate else "key"), f"needs `{missing}` beside it")
    if not relay.listeners:
        tell(("relay", "listeners"), "is empty; leave it out for one on loopback, port 2526")
    for n, listener in enumerate(relay.listeners):
        _listener(relay, listener, ("relay", "listeners", n), tell)
    if relay.senders and not relay.recipients:
        tell(("relay", "senders"), 'may send to nobody; set `recipients`, such as ["*"] for everybody')
    _certificates(relay, tell)
    queue, delivery = relay.queue, relay.delivery
    if not queue.waits:
        tell(("relay", "queue", "waits"), "needs one wait at least")
    if queue.warn_hours >= queue.expire_hours:
        tell(("relay", "queue", "warn_hours"), "must be below `expire_hours`; 0 warns never")
    if delivery.tls == "dane" and not delivery.dnssec:
        tell(("relay", "delivery", "tls"), "'dane' needs `dnssec = true` and a resolver on loopback that validates")
    for n, route in enumerate(relay.routes):
        _route(relay, route, ("relay", "routes", n), tell)
        if any("*" in earlier.domains for earlier in relay.routes[:n]):
            tell(("relay", "routes", n), "is never reached: a route before it takes `*`")


def _certificates(relay: RelaySettings, tell: Tell) -> None:
    if relay.certificates and not any(listener.client_ca for listener in relay.listeners):
        tell(("relay", "certificates", 0), "is asked for by no listener: set `client_ca` on one that speaks TLS")
    for n, one in enumerate(relay.certificates):
        for name in ("fingerprint", "user"):
            if not getattr(one, name):
                tell(("relay", "certificates", n), f"needs `{name}`")
        if one.fingerprint and one.fingerprint in [other.fingerprint for other in relay.certificates[:n]]:
            tell(("relay", "certificates", n, "fingerprint"), "stands twice")


def _listener(relay: RelaySettings, listener: RelayListener, place: Place, tell: Tell) -> None:
    if listener.mode != "plain" and not relay.certificate:
        tell((*place, "mode"), f"{listener.mode!r} needs `certificate` and `key` in [relay]")
    if listener.mode == "plain":
        if listener.auth == "required":
            tell((*place, "auth"), "'required' needs `mode` starttls or tls: a password is never asked for without TLS")
        if listener.client_ca:
            tell((*place, "client_ca"), "needs `mode` starttls or tls: client certificates come by TLS")


def _route(relay: RelaySettings, route: Route, place: Place, tell: Tell) -> None:
    scheme, _, rest = route.to.partition("://")
    if not route.domains:
        tell((*place, "domains"), 'is empty; leave it out for ["*"]')
    if bool(route.user) != bool(route.password_file):
        missing = "password_file" if route.user else "user"
        tell((*place, "user" if route.user else "password_file"), f"needs `{missing}` beside it")
    if route.user and scheme == "mx":
        tell((*place, "user"), "cannot be used at `mx`: a password goes to a smarthost only")
    tls = route.tls or relay.delivery.tls
    if tls == "none" and scheme == "smtps":
        tell((*place, "tls"), "'none' cannot be: smtps:// speaks TLS from the first byte")
    if tls == "none" and route.user and scheme != "smtps" and not _local(rest):
        tell((*place, "tls"), "'none' would send the password in clear")
    if route.tls == "dane" and not relay.delivery.dnssec:
        tell((*place, "tls"), "'dane' needs `dnssec = true` in [relay.delivery]")


def _local(rest: str) -> bool:
    """Whether the host of a route is a unix socket or on loopback."""
    if rest.startswith("/"):
        return True
    host = rest.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def shared_ports(listeners: Mapping[str, Sequence[Any]], tell: Tell) -> None:
    """Tell of two listeners that want the same socket; `listeners` by section."""
    taken: dict[tuple[str, int], str] = {}
    for section, some in listeners.items():
        for n, one in enumerate(some):
            socket = (one.path, -1) if one.path else (one.host, one.port)
            if socket[1] == 0:
                continue
            if socket in taken:
                tell((section, "listeners", n, "path" if one.path else "port"), f"is taken by {taken[socket]}")
            taken.setdefault(socket, f"{section}.listeners[{n}]")


def look(relay: RelaySettings, tell: Tell) -> None:
    """Tell of every file named in [relay] that cannot be read, and of each wrong line in lists of addresses."""
    for place, name in _files(relay):
        fault = _readable(name)
        if fault:
            tell(place, fault)
    for key in ("senders", "froms", "recipients"):
        for n, entry in enumerate(getattr(relay, key)):
            for fault in allow.faults([entry]):
                tell(("relay", key, n), fault)


def _files(relay: RelaySettings) -> Iterator[tuple[Place, str]]:
    named: list[tuple[Place, str]] = [(("relay", name), getattr(relay, name)) for name in ("certificate", "key")]
    named.append((("relay", "delivery", "ca"), relay.delivery.ca))
    named += [(("relay", "listeners", n, "client_ca"), one.client_ca) for n, one in enumerate(relay.listeners)]
    named += [(("relay", "routes", n, "password_file"), one.password_file) for n, one in enumerate(relay.routes)]
    return (one for one in named if one[1])


def _readable(name: str) -> str:
    try:
        with Path(name).open("rb") as file:
            file.read(1)
    except OSError as error:
        return f"{name} cannot be read: {error.strerror}"
    return ""
