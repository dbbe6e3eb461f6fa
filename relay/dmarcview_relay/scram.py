"""SCRAM-SHA-256, the server's side: the password never crosses the wire, and is not kept (RFC 5802, RFC 7677).

Channel binding is not offered: Python gives no `tls-exporter` (RFC 9266), which TLS 1.3 needs.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from typing import NamedTuple

from .saslprep import PrepError, saslprep

NAME = "SCRAM-SHA-256"
ITERATIONS = 65_536  # 4,096 at least (RFC 7677 section 4); libsasl, so Postfix, computes no more than this
SALT_BYTES = 16
MOST_ITERATIONS = 10_000_000
_HASH = "sha256"

_SASLNAME = r"(?:[\x01-\x2b\x2d-\x3c\x3e-\U0010ffff]|=2C|=3D)+"
_FIRST = re.compile(rf"(?P<gs2>(?P<bind>[ny]|p=[A-Za-z0-9.\-]+),(?:a=(?P<other>{_SASLNAME}))?,)(?P<bare>.*)", re.DOTALL)
_BARE = re.compile(rf"n=(?P<name>{_SASLNAME}),r=(?P<nonce>[\x21-\x2b\x2d-\x7e]+)(?:,[A-Za-z]=[^\x00,]+)*")
_FINAL = re.compile(
    r"(?P<unproved>c=(?P<bind>[A-Za-z0-9+/=]+),r=(?P<nonce>[\x21-\x2b\x2d-\x7e]+)(?:,[A-Za-z]=[^\x00,]+)*)"
    r",p=(?P<proof>[A-Za-z0-9+/=]+)"
)


class ScramError(ValueError):
    """The client's message is not what RFC 5802 section 7 says, or asks for what is not offered."""


class Keys(NamedTuple):
    """What is kept of a password: nobody can log in with it elsewhere, but who has it may guess (section 9)."""

    salt: bytes
    iterations: int
    stored: bytes
    server: bytes


def _mac(key: bytes, text: bytes) -> bytes:
    return hmac.digest(key, text, _HASH)


def derive(password: str, salt: bytes | None = None, iterations: int = ITERATIONS) -> Keys:
    """Keys of a password that went through saslprep (RFC 5802 section 3). Takes some 25 ms."""
    salt = secrets.token_bytes(SALT_BYTES) if salt is None else salt
    salted = hashlib.pbkdf2_hmac(_HASH, password.encode(), salt, iterations)
    stored = hashlib.sha256(_mac(salted, b"Client Key")).digest()
    return Keys(salt, iterations, stored, _mac(salted, b"Server Key"))


def made_up(name: str, seed: bytes) -> Keys:
    """Keys for a name that nobody has: the same at each try, so that the answer tells nothing; no password fits."""
    said = name.encode()
    return Keys(
        _mac(seed, b"salt:" + said)[:SALT_BYTES],
        ITERATIONS,
        _mac(seed, b"stored:" + said),
        _mac(seed, b"server:" + said),
    )


class Exchange:
    """One login. Read the client's first message, find the keys of `name`, give the challenge, judge the final one."""

    def __init__(self, first: bytes, nonce: str = "") -> None:
        """Raises ScramError. `nonce` is ours; a random one when empty."""
        try:
            text = first.decode()
        except UnicodeDecodeError:
            raise ScramError("not UTF-8") from None
        whole = _FIRST.fullmatch(text)
        bare = _BARE.fullmatch(whole["bare"]) if whole else None
        if whole is None or bare is None:
            raise ScramError("not a client-first-message")
        if whole["bind"].startswith("p="):
            raise ScramError("channel binding is not offered")
        self.name = _name(bare["name"])
        if whole["other"] is not None and _name(whole["other"]) != self.name:
            raise ScramError("nobody may act for another")
        self._gs2 = whole["gs2"]
        self._bare = whole["bare"]
        self._nonce = bare["nonce"] + (nonce or secrets.token_urlsafe(18))
        self._challenge = ""
        self._keys: Keys | None = None

    def challenge(self, keys: Keys) -> bytes:
        """The server-first-message."""
        self._keys = keys
        self._challenge = f"r={self._nonce},s={base64.b64encode(keys.salt).decode()},i={keys.iterations}"
        return self._challenge.encode()

    def judge(self, final: bytes) -> bytes | None:
        """The server-final-message when the client knows the password, else None. Raises ScramError."""
        assert self._keys is not None
        try:
            match = _FINAL.fullmatch(final.decode("ascii"))
            bind = base64.b64decode(match["bind"], validate=True) if match else b""
            proof = base64.b64decode(match["proof"], validate=True) if match else b""
        except (UnicodeDecodeError, binascii.Error):
            match, bind, proof = None, b"", b""
        if match is None or len(proof) != hashlib.sha256().digest_size:
            raise ScramError("not a client-final-message")
        if bind != self._gs2.encode() or not hmac.compare_digest(match["nonce"], self._nonce):
            raise ScramError("the messages do not belong together")
        said = f"{self._bare},{self._challenge},{match['unproved']}".encode()
        signature = _mac(self._keys.stored, said)
        client_key = bytes(a ^ b for a, b in zip(proof, signature, strict=True))
        if not hmac.compare_digest(hashlib.sha256(client_key).digest(), self._keys.stored):
            return None
        return b"v=" + base64.b64encode(_mac(self._keys.server, said))


def _name(text: str) -> str:
    try:
        return saslprep(text.replace("=2C", ",").replace("=3D", "="))
    except PrepError as error:
        raise ScramError(f"no name: {error}") from None
