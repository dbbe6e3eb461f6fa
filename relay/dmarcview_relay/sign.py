"""Signs mails with DKIM (RFC 6376): dkimpy writes tags and hashes headers, `cryptography` does the arithmetic.

dkimpy's RSA is pure Python, ten times slower than the rest of the mail's way, and its relaxed body is quadratic on
runs of blanks. So it is handed the digest of a body that we made canonical, and a key object that signs by itself.
"""

from __future__ import annotations

import base64
import hashlib
import re
import time
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import dkim
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from dkim.canonicalization import CanonicalizationPolicy

from dmarcview_smtp.canonical import relaxed_body

from .keyfile import PrivateKey
from .keys import KeyRing, SigningKey

# Signed once more than they occur, so that nobody can add another one (RFC 6376 section 8.15).
ALWAYS = (
    b"from", b"to", b"cc", b"subject", b"date", b"message-id", b"reply-to", b"mime-version", b"content-type",
    b"content-transfer-encoding", b"in-reply-to", b"references",
)  # fmt: skip
# The same, but only in a mail that has them: a mailing list adds these to what it leaves unchanged otherwise.
WHEN_PRESENT = (
    b"sender", b"list-id", b"list-help", b"list-unsubscribe", b"list-unsubscribe-post", b"list-subscribe",
    b"list-post", b"list-owner", b"list-archive", b"content-id", b"content-description",
)  # fmt: skip
# Those of one who sends a mail again (RFC 5322 section 3.6.6). dkimpy would break other, longer names in two.
RESENT = tuple(b"resent-" + name for name in (b"date", b"from", b"sender", b"to", b"cc", b"message-id", b"reply-to"))
FIELDS = 200  # most header fields that one signature covers
FOLDS_UP_TO = 66  # dkimpy breaks a longer domain or selector in two when it folds

_POLICY = CanonicalizationPolicy.from_c_value(b"relaxed/relaxed")
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_BARE = re.compile(rb"(?<!\r)\n|\r(?!\n)")
# dkimpy skips a line such as `From : x`, and some readers end the header at a line of blanks only.
_READ_IN_TWO_WAYS = re.compile(rb"\A[ \t]|(?:\A|\r\n)(?:From |[ \t]+(?:\r\n|\Z))")


class NoKey(Exception):
    """No key signs for the domain; the text names it."""


class SignError(Exception):
    """The mail cannot be signed as it is; the text says why."""


class Signed(NamedTuple):
    """A mail with its signatures on top, and d= and s= of each."""

    content: bytes
    dkim: tuple[tuple[str, str], ...]


class Signer:
    """Signs with the keys of a ring. May be used by several threads."""

    def __init__(self, ring: KeyRing, *, clock: Callable[[], float] = time.time) -> None:
        self._ring = ring
        self._clock = clock

    def sign(self, content: bytes, from_domain: str) -> Signed:
        """Sign a mail with CR LF line ends for the domain of its From (A-labels). Raises NoKey, SignError."""
        keys = self._ring.signing(from_domain)
        if not keys:
            raise NoKey(f"there is no key for {from_domain}; make one with `dmarcview key new {from_domain}`")
        mail = _Mail(content)
        fields = [mail.signature(key, int(self._clock())) for key in keys]
        return Signed(b"".join((*fields, content)), tuple((key.domain, key.selector) for key in keys))


class _Mail(dkim.DKIM):  # type: ignore[misc]
    """One mail in dkimpy's hands. Only its header is parsed there."""

    def __init__(self, content: bytes) -> None:
        header, _, body = content.partition(b"\r\n\r\n")
        if _CONTROL.search(header) or _BARE.search(header):
            raise SignError("the header holds control bytes or bare line ends")
        if _READ_IN_TWO_WAYS.search(header):
            raise SignError("the header has a line that readers take in different ways")
        try:
            super().__init__(header + b"\r\n\r\n")
        except (dkim.DKIMException, IndexError):
            raise SignError("the header has a line that is no field") from None
        self.hasher = hashlib.sha256
        self._names = _covered(Counter(name.lower() for name, _ in self.headers))
        self._body_hash = base64.b64encode(hashlib.sha256(relaxed_body(body)).digest())

    def signature(self, key: SigningKey, now: int) -> bytes:
        """The DKIM-Signature field of one key, with its line end."""
        assert key.private is not None
        domain, selector = key.domain.encode("ascii"), key.selector.encode("ascii")
        fields = [
            (b"v", b"1"),
            (b"a", f"{key.algorithm}-sha256".encode("ascii")),
            (b"c", _POLICY.to_c_value()),
            (b"d", domain),
            (b"s", selector),
            (b"t", b"%d" % now),
            (b"h", b" : ".join(self._names)),
            (b"bh", self._body_hash),
            (b"b", b"0" * 60),  # dkimpy folds before it, puts the signature here
        ]
        long = max(len(domain), len(selector)) > FOLDS_UP_TO
        self.signature_algorithm = b"ed25519-sha256"  # to dkimpy this means "ask the key object"
        value: bytes = self.gen_header(fields, self._names, _POLICY, b"DKIM-Signature", _Key(key.private), long)
        if long:  # dkimpy leaves it unfolded; a fold where a blank is changes nothing in relaxed form
            value = value.replace(b"; ", b";\r\n ")
        return b"DKIM-Signature: " + value


class _Key:
    """A private key in the shape that dkimpy asks."""

    def __init__(self, key: PrivateKey) -> None:
        self._key = key
        self.signature = b""

    def sign(self, digest: bytes) -> _Key:
        if isinstance(self._key, RSAPrivateKey):
            self.signature = self._key.sign(digest, PKCS1v15(), Prehashed(SHA256()))
        else:
            self.signature = self._key.sign(digest)  # RFC 8463 section 3: the digest is what is signed
        return self


def _covered(present: Counter[bytes]) -> list[bytes]:
    """The h= of a mail, from how often each field occurs."""
    if not present[b"from"]:
        raise SignError("the mail has no From field")
    # RFC 5322 section 3.6, RFC 2045 section 3: readers disagree on which counts, and rspamd fails a signed Cc twice.
    if twice := [name.decode("ascii") for name in (*ALWAYS, b"sender") if present[name] > 1]:
        raise SignError(f"the mail has several fields of a kind that may stand once: {', '.join(twice)}")
    names = [name for name in ALWAYS for _ in range(present[name] + 1)]
    names += [name for name in WHEN_PRESENT if present[name] for _ in range(present[name] + 1)]
    # Whoever resends puts a new block above ours, so these are not closed (RFC 5322 section 3.6.6).
    names += [name for name in RESENT for _ in range(present[name])]
    if len(names) > FIELDS:
        raise SignError(f"the mail has more than {FIELDS} fields to sign")
    return names
