"""How a connection to the next hop is protected: the contexts, and what each policy demands.

`none` never begins TLS. `opportunistic` takes what is offered and checks no name. `encrypt` wants TLS and checks no
name. `verify` wants a certificate for the host's name by a CA that is believed. `dane` is RFC 7672: where the DNS
shows TLSA records that DNSSEC proves, the certificate must match them; elsewhere it is `opportunistic`.
"""

from __future__ import annotations

import ssl
from functools import lru_cache
from typing import NamedTuple

from .outcome import RemoteReply

TRUST = {"opportunistic": "encrypted", "encrypt": "encrypted", "verify": "verified"}


class Demand(NamedTuple):
    """What one host must fulfil, and where it was said."""

    policy: str  # none, opportunistic, encrypt or verify
    trust: str = ""  # what a connection that fulfils it is worth; see Link

    @property
    def needed(self) -> bool:
        """Whether a mail may not leave without TLS."""
        return self.policy in ("encrypt", "verify")


def demand(policy: str) -> Demand:
    """What a policy of the settings demands of a host that publishes nothing itself."""
    if policy == "dane":
        policy = "opportunistic"
    return Demand(policy, TRUST.get(policy, "none"))


@lru_cache(maxsize=8)
def context(ca: str, *, verified: bool) -> ssl.SSLContext:
    """The context of a handshake; `ca` is a PEM file, or "" for the system's CAs. Raises OSError."""
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
