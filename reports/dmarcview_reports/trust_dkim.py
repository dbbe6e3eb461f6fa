"""Verifies the DKIM signatures of one mail with dkimpy, in bounded time: keys by cryptography, canonical bodies ours.

dkimpy's own RSA is pure Python and its relaxed body is quadratic on runs of blanks. It is given a body that is
canonical already, on which its own step changes nothing, and a key object that answers by itself.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any, NamedTuple

import dkim
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key
from dkim.util import InvalidTagValueList, parse_tag_value

from dmarcview_smtp.canonical import relaxed_body, simple_body, with_crlf

from .trust_dns import DnsFailure, Resolver

SIGNATURES = 5  # most that are looked at, from the top
SIGNATURE_BYTES = 16_384  # longest signature field
HEADER_BYTES = 262_144  # longest header of a mail whose signatures are looked at
HEADER_FIELDS = 1_000
SIGNED_FIELDS = 200  # most names in h=
RSA_BITS = range(1024, 8193)  # RFC 8301 section 3.2; more costs time and proves no more

_BLANK_LINE = re.compile(rb"\r?\n\r?\n")
_LONG_RUN = re.compile(rb"\s{200}")  # dkimpy's patterns are quadratic on runs of white space


class Signature(NamedTuple):
    """What one signature came to. `result` is a word of RFC 8601 section 2.7.1."""

    result: str
    domain: str = ""
    selector: str = ""
    reason: str = ""


class _Rejected(Exception):
    """A signature that cannot count; args are the result and the reason."""


def signatures(raw: bytes, resolver: Resolver) -> list[Signature]:
    """Results of the first signatures, in the order of the header. Raises nothing."""
    end = _BLANK_LINE.search(raw, 0, HEADER_BYTES + 4)
    stop = end.start() if end else len(raw)
    if stop > HEADER_BYTES or raw.count(b"\n", 0, stop) > HEADER_FIELDS:
        return [Signature("permerror", reason="the header is too long")]
    try:
        verifier = _Verifier(raw, resolver)
        count = sum(name.lower() == b"dkim-signature" for name, _ in verifier.headers)
        return [verifier.judge(index) for index in range(min(count, SIGNATURES))]
    except (dkim.DKIMException, IndexError, ValueError) as error:
        return [Signature("permerror", reason=f"the header cannot be read: {type(error).__name__}")]


class _Verifier(dkim.DKIM):  # type: ignore[misc]
    """dkimpy's verification with our keys and bodies put in."""

    def __init__(self, raw: bytes, resolver: Resolver) -> None:
        self._resolver = resolver
        self._plain = b""
        self._bodies: dict[bytes, bytes] = {}
        super().__init__(raw)

    def set_message(self, message: bytes) -> None:
        """Split at the first blank line; dkimpy would make a list of all lines of the body."""
        end = _BLANK_LINE.search(message)
        super().set_message(message[: end.start()] + b"\r\n\r\n" if end else message)
        self._plain = with_crlf(message[end.end() :]) if end else self.body

    def judge(self, index: int) -> Signature:
        """Verify the signature at `index`, containing whatever the library raises."""
        self.domain, self.selector = b"", b""
        result, reason = "fail", ""
        try:
            value = [value for name, value in self.headers if name.lower() == b"dkim-signature"][index]
            if len(value) > SIGNATURE_BYTES or _LONG_RUN.search(value):
                raise _Rejected("permerror", "the signature is too long")
            if self.verify(index, self._key):
                result = "pass"
            else:
                reason = "the signature does not match"
        except _Rejected as rejected:
            result, reason = rejected.args
        except DnsFailure as failure:
            result, reason = "temperror", str(failure)
        except dkim.ValidationError as error:
            result = "fail" if "body hash" in str(error) else "permerror"
            reason = "the body was changed" if result == "fail" else "the signature is malformed"
        except (dkim.DKIMException, InvalidTagValueList, binascii.Error, ValueError, KeyError, IndexError) as error:
            result, reason = "permerror", f"the signature is malformed: {type(error).__name__}"
        return Signature(result, _text(self.domain), _text(self.selector), reason)

    def verify_sig(self, sig: dict[bytes, bytes], include_headers: list[bytes], sig_header: Any, dnsfunc: Any) -> bool:
        """One signature whose tags are in order. Overrides dkimpy's step that fetches the key."""
        if len(include_headers) > SIGNED_FIELDS:
            raise _Rejected("permerror", "it signs too many fields")
        if sig[b"a"] not in (b"rsa-sha256", b"ed25519-sha256"):  # RFC 8301 section 3.1
            raise _Rejected("policy", "its algorithm is no longer accepted")
        if b"from" not in include_headers:  # RFC 6376 section 5.4
            raise _Rejected("permerror", "it does not sign From")
        canonical = sig.get(b"c", b"simple/simple").partition(b"/")[2] or b"simple"
        self.body = self._body(canonical)
        if b"l" in sig and int(sig[b"l"] or b"0") < len(self.body):  # RFC 6376 section 8.2: the rest could be anyone's
            raise _Rejected("policy", "it leaves a part of the body unsigned")
        key: _Key = dnsfunc(sig)
        self.pk, self.keysize, self.ktag, self.seqtlsrpt = key, 0, b"ed25519", False  # "ask the key object"
        return bool(self.verify_sig_process(sig, include_headers, sig_header, dnsfunc)) and key.valid

    def _key(self, sig: dict[bytes, bytes]) -> _Key:
        name = _text(sig[b"s"] + b"._domainkey." + sig[b"d"])
        records = self._resolver.ask("TXT", name)
        if not records:
            raise _Rejected("permerror", "there is no key")
        return public_key(records[0], sig)

    def _body(self, canonical: bytes) -> bytes:
        if canonical not in self._bodies:
            canonicalise = relaxed_body if canonical == b"relaxed" else simple_body
            self._bodies = {canonical: canonicalise(self._plain)}  # one at a time: a body may be large
        return self._bodies[canonical]


class _Key:
    """A public key in the shape that dkimpy asks; `valid` says what the last question came to."""

    def __init__(self, key: RSAPublicKey | Ed25519PublicKey) -> None:
        self._key = key
        self.valid = False

    def verify(self, digest: bytes, signature: bytes) -> None:
        self.valid = False
        try:
            if isinstance(self._key, Ed25519PublicKey):
                self._key.verify(signature, digest)  # RFC 8463 section 3: the digest is what is signed
            else:
                self._key.verify(signature, digest, PKCS1v15(), Prehashed(SHA256()))
            self.valid = True
        except InvalidSignature:
            self.valid = False


def public_key(record: bytes, sig: dict[bytes, bytes]) -> _Key:
    """The key of a DNS record, if it may be used for the signature (RFC 6376 section 3.6.1); raises _Rejected."""
    try:
        tags = parse_tag_value(record)
        data = base64.b64decode(re.sub(rb"\s+", b"", tags[b"p"]))
    except (InvalidTagValueList, KeyError, binascii.Error, IndexError):
        raise _Rejected("permerror", "the key record is malformed") from None
    kind = tags.get(b"k", b"rsa").lower()
    flags = [flag.strip() for flag in tags.get(b"t", b"").split(b":")]
    services = [service.strip() for service in tags.get(b"s", b"*").split(b":")]
    hashes = [name.strip() for name in tags.get(b"h", b"sha256").split(b":")]
    if tags.get(b"v", b"DKIM1") != b"DKIM1" or kind != sig[b"a"].partition(b"-")[0] or b"sha256" not in hashes:
        raise _Rejected("permerror", "the key is of another kind")
    if b"*" not in services and b"email" not in services:
        raise _Rejected("permerror", "the key is not for mail")
    if b"s" in flags and b"i" in sig and sig[b"i"].rpartition(b"@")[2].lower() != sig[b"d"].lower():
        raise _Rejected("permerror", "the key is not for subdomains")
    if not data:
        raise _Rejected("fail", "the key was revoked")
    try:
        key = Ed25519PublicKey.from_public_bytes(data) if kind == b"ed25519" else load_der_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        raise _Rejected("permerror", "the key cannot be read") from None
    if isinstance(key, RSAPublicKey):
        if key.key_size not in RSA_BITS:
            raise _Rejected("policy", f"the key has {key.key_size} bits")
    elif not isinstance(key, Ed25519PublicKey):
        raise _Rejected("permerror", "the key is of another kind")
    return _Key(key)


def _text(value: Any) -> str:
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value or "")
    return "".join(c for c in text.strip().lower()[:253] if c.isprintable())
