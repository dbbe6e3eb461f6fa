"""Signs the demo's report mails with a key made for this run, so that their DKIM is verified and not pretended."""

from __future__ import annotations

import base64
from dataclasses import dataclass

SELECTOR = "demo"
HEADERS = (b"from", b"to", b"subject", b"date", b"message-id", b"mime-version", b"content-type")


@dataclass(frozen=True, slots=True)
class Key:
    """An RSA key: the private half as PEM, the public half as the `p=` of its DNS record (RFC 6376 section 3.6.1)."""

    pem: bytes
    public: str


def make() -> Key:
    """A new 2048-bit key."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    private = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    public = private.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return Key(pem, base64.b64encode(public).decode("ascii"))


def sign(mail: bytes, domain: str, key: Key) -> bytes:
    """The mail with a DKIM signature of `domain` on top."""
    import dkim

    header: bytes = dkim.sign(
        mail,
        SELECTOR.encode(),
        domain.encode(),
        key.pem,
        canonicalize=(b"relaxed", b"relaxed"),
        include_headers=list(HEADERS),
    )
    return header + mail
