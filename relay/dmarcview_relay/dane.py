"""DANE for SMTP (RFC 7672): TLSA records that DNSSEC proves, and certificates held against them.

Called only for hosts whose MX and address records were secure; an answer that is not secure says nothing.
"""

from __future__ import annotations

import binascii
import datetime
import hashlib
import hmac
import ssl
from collections.abc import Sequence
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.verification import Criticality, ExtensionPolicy, PolicyBuilder, Store, VerificationError

from .dns import Resolver

TRUST_ANCHOR, END_ENTITY = 2, 3  # the usages that count for SMTP, RFC 7672 section 3.1
MOST_RECORDS, MOST_CHAIN = 32, 16

# A private CA need not follow the rules of the web for its leaves; the name and the chain count all the same.
_LEAF = ExtensionPolicy.permit_all().require_present(x509.SubjectAlternativeName, Criticality.AGNOSTIC, None)
_DIGESTS = {1: "sha256", 2: "sha512"}


class Tlsa(NamedTuple):
    """One TLSA record (RFC 6698 section 2.1)."""

    usage: int
    selector: int  # 0 the certificate, 1 its public key
    matching: int  # 0 whole, 1 SHA-256, 2 SHA-512
    data: bytes


class Published(NamedTuple):
    """What a host publishes: whether there are TLSA records at all, and those that can be used."""

    present: bool
    usable: tuple[Tlsa, ...]


async def published(names: Sequence[str], port: int, resolver: Resolver) -> Published:
    """The TLSA records of the first of these names that has some (RFC 7672 section 2.2.2). Raises DnsFailure: then
    the host must not be used, since somebody may be hiding the records (section 2.1.2).
    """
    for name in dict.fromkeys(names):
        found = await resolver.ask("TLSA", f"_{port}._tcp.{name}")
        if found.records and found.secure:
            records = [_read(text) for text in found.records[:MOST_RECORDS]]
            return Published(True, tuple(record for record in records if record))
    return Published(False, ())


def matches(tls: ssl.SSLObject, records: Sequence[Tlsa], names: Sequence[str]) -> bool:
    """Whether the chain that the other side showed fits one of the records; `names` are those it may have."""
    chain = presented(tls)[:MOST_CHAIN]
    if not chain:
        return False
    if any(record.usage == END_ENTITY and _fits(chain[0], record) for record in records):
        return True  # neither name nor date counts, RFC 7672 section 3.1.1
    anchors = [record for record in records if record.usage == TRUST_ANCHOR]
    given = [record.data for record in anchors if (record.selector, record.matching) == (0, 0)]
    roots = [der for der in chain[1:] + given if any(_fits(der, record) for record in anchors)]
    return any(_leads_to(chain, root, name) for root in roots for name in dict.fromkeys(names))


def presented(tls: ssl.SSLObject) -> list[bytes]:
    """The certificates as the other side sent them, in DER, its own first."""
    known: Any = tls
    if hasattr(known, "get_unverified_chain"):
        return list(known.get_unverified_chain())
    # Python 3.13 made this public; before, only the object inside has it.
    certificates = known._sslobj.get_unverified_chain() or ()
    return [ssl.PEM_cert_to_DER_cert(certificate.public_bytes()) for certificate in certificates]


def _read(text: str) -> Tlsa | None:
    """A record in presentation format; None when it cannot be used."""
    fields = text.split(maxsplit=3)
    try:
        usage, selector, matching = (int(field) for field in fields[:3])
        data = binascii.unhexlify("".join(fields[3].split()))
    except (ValueError, IndexError):
        return None
    if usage not in (TRUST_ANCHOR, END_ENTITY) or selector not in (0, 1) or matching not in (0, 1, 2) or not data:
        return None
    if matching and len(data) != hashlib.new(_DIGESTS[matching]).digest_size:
        return None
    return Tlsa(usage, selector, matching, data)


def _fits(der: bytes, record: Tlsa) -> bool:
    try:
        selected = der if record.selector == 0 else _public_key(der)
    except ValueError:  # a certificate or key that nobody can read
        return False
    if record.matching:
        selected = hashlib.new(_DIGESTS[record.matching], selected).digest()
    return hmac.compare_digest(selected, record.data)


def _public_key(der: bytes) -> bytes:
    key = x509.load_der_x509_certificate(der).public_key()
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _leads_to(chain: Sequence[bytes], root: bytes, name: str) -> bool:
    """Whether the chain leads from the leaf, which bears the name, to this trust anchor."""
    try:
        leaf, *between = (x509.load_der_x509_certificate(der) for der in chain)
        store = Store([x509.load_der_x509_certificate(root)])
        now = datetime.datetime.now(datetime.UTC)
        policies = PolicyBuilder().store(store).time(now)
        policies = policies.extension_policies(ca_policy=ExtensionPolicy.webpki_defaults_ca(), ee_policy=_LEAF)
        policies.build_server_verifier(x509.DNSName(name)).verify(leaf, between)
    except (ValueError, VerificationError, x509.UnsupportedGeneralNameType):
        return False
    return True
