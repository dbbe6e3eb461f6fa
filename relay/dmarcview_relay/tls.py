"""How a connection to the next hop is protected: the contexts, and what each policy demands.

`none` never begins TLS. `opportunistic` takes what is offered and checks no name. `encrypt` wants TLS and checks no
name. `verify` wants a certificate for the host's name by a CA that is believed. `dane` is `opportunistic` where a
host publishes nothing. What a host or domain publishes only raises a policy (but for `none`, which a person chose):
TLSA records that DNSSEC proves (RFC 7672) come first, then an MTA-STS policy (RFC 8461).
"""

from __future__ import annotations

import ssl
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from .dane import Published, Tlsa
from .outcome import RemoteReply

NOTHING = Published(False, ())


class Demand(NamedTuple):
    """What one host must fulfil, and where it was said."""

    policy: str  # none, opportunistic, encrypt, verify or dane
    trust: str  # what a connection that fulfils it is worth; see Link
    tlsa: tuple[Tlsa, ...] = ()  # of dane: what the certificate must match

    @property
    def needed(self) -> bool:
        """Whether a mail may not leave without TLS."""
        return self.policy in ("encrypt", "verify", "dane")


def demand(policy: str, tlsa: Published = NOTHING, *, enforced: bool = False) -> Demand:
    """What is demanded of a host: by the settings, by its TLSA records, by an enforced MTA-STS policy."""
    if policy == "none":
        return Demand("none", "none")
    if tlsa.usable:
        return Demand("dane", "dane", tlsa.usable)
    if enforced:
        return Demand("verify", "mta-sts")
    if tlsa.present and policy != "verify":  # records that nobody can use still promise TLS, RFC 7672 section 2.2
        return Demand("encrypt", "encrypted")
    if policy == "verify":
        return Demand("verify", "verified")
    return Demand("encrypt" if policy == "encrypt" else "opportunistic", "encrypted")


def context(ca: str, *, verified: bool) -> ssl.SSLContext:
    """The context of a handshake; `ca` is a PEM file, read again when it changes, or "" for the system's CAs.

    Raises OSError.
    """
    return _context(ca, Path(ca).stat().st_mtime_ns if ca and verified else 0, verified)


@lru_cache(maxsize=8)
def _context(ca: str, _changed: int, verified: bool) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.options |= ssl.OP_NO_COMPRESSION
    if not verified:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    elif ca:
        made.load_verify_locations(ca)
    else:
        made.load_default_certs()
    return made


def not_offered(host: str, wanted: Demand, key: str) -> RemoteReply:
    """A host without STARTTLS though TLS is demanded: the mail waits, and people are told what they can do."""
    if wanted.trust == "mta-sts":
        text = f"{host} offers no TLS, but the MTA-STS policy of its domain demands it; only its operator can mend that"
    elif wanted.trust == "dane":
        text = f"{host} offers no TLS, but its TLSA records demand it; only its operator can mend that"
    else:
        text = f"{host} offers no TLS (STARTTLS), and {key} demands it; {_way_out('opportunistic')}"
    return RemoteReply(451, "4.7.10", text, "tls", said=False)


def not_proven(fault: str, wanted: Demand, key: str) -> RemoteReply:
    """A certificate that does not hold."""
    if wanted.trust in ("mta-sts", "dane"):
        text = f"{fault}; the {wanted.trust.upper()} policy of its domain demands one that holds"
    else:
        text = f"{fault}; {key} demands TLS that holds; {_way_out('encrypt')}"
    return RemoteReply(451, "4.7.5", text, "tls", said=False)


def _way_out(policy: str) -> str:
    return f'to send without, add [[relay.routes]] with this domain, to = "mx" and tls = "{policy}" (the mail waits)'
