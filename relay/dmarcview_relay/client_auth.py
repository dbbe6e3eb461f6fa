"""Logging in at a smarthost: SCRAM-SHA-256 (RFC 5802, RFC 7677), PLAIN (RFC 4616) or LOGIN, the best that is offered.

Passwords go nowhere but to the wire; what the other side answers is cleaned of them before anybody reads it.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from .wire import Reply

MOST_ITERATIONS = 1_000_000  # a hostile host would have us compute for ever
FEWEST_ITERATIONS = 4_096  # RFC 7677 section 4

Ask = Callable[[str], Awaitable[Reply]]


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user and a password, which no repr shows."""

    user: str
    password: str = field(repr=False)


class _Fault(Exception):
    """The exchange failed; the text continues the sentence `host ...`."""


async def log_in(credentials: Credentials, offered: list[str], ask: Ask) -> str:
    """Log in; give "" or why it failed, as it continues the sentence `host ...`."""
    for name, mechanism in (("SCRAM-SHA-256", _scram), ("PLAIN", _plain), ("LOGIN", _login)):
        if name in offered:
            try:
                reply = await mechanism(credentials, ask)
                if reply.code != 235:
                    raise _Fault(f"refused the password of user {credentials.user}: {_clean(reply, credentials)}")
            except _Fault as fault:
                return str(fault)
            return ""
    return (
        f"offers no way to log in that we know (SCRAM-SHA-256, PLAIN, LOGIN), but: {' '.join(offered)[:200] or 'none'}"
    )


async def _plain(credentials: Credentials, ask: Ask) -> Reply:
    return await ask("AUTH PLAIN " + _b64(f"\0{credentials.user}\0{credentials.password}"))


async def _login(credentials: Credentials, ask: Ask) -> Reply:
    reply = await ask("AUTH LOGIN")
    for word in (credentials.user, credentials.password):
        if reply.code != 334:
            return reply
        reply = await ask(_b64(word))
    return reply


async def _scram(credentials: Credentials, ask: Ask, nonce: str = "") -> Reply:
    nonce = nonce or secrets.token_urlsafe(24)
    name = credentials.user.replace("=", "=3D").replace(",", "=2C")
    first = f"n={name},r={nonce}"
    reply = await ask("AUTH SCRAM-SHA-256 " + _b64("n,," + first))
    if reply.code == 235:
        raise _Fault("let us in without a proof that it knows the password (SCRAM-SHA-256)")
    if reply.code != 334:
        return reply
    challenge = _decoded(reply)
    fields = _fields(challenge)
    try:
        salt, rounds = base64.b64decode(fields["s"], validate=True), int(fields["i"])
    except (KeyError, ValueError, binascii.Error):
        raise _Fault("answered SCRAM-SHA-256 with no challenge") from None
    if not fields.get("r", "").startswith(nonce) or len(fields["r"]) == len(nonce):
        raise _Fault("answered SCRAM-SHA-256 with a nonce that is not ours")
    if not FEWEST_ITERATIONS <= rounds <= MOST_ITERATIONS:
        raise _Fault(f"asks for {rounds} rounds of SCRAM-SHA-256, outside {FEWEST_ITERATIONS} to {MOST_ITERATIONS}")
    last = f"c={_b64('n,,')},r={fields['r']}"
    signed = ",".join((first, challenge, last)).encode()
    password = credentials.password.encode()  # the other side says how long this takes, up to half a second
    salted = await asyncio.to_thread(hashlib.pbkdf2_hmac, "sha256", password, salt, rounds)
    key = _mac(salted, b"Client Key")
    proof = bytes(a ^ b for a, b in zip(key, _mac(hashlib.sha256(key).digest(), signed), strict=True))
    reply = await ask(_b64(f"{last},p={base64.b64encode(proof).decode()}"))
    proven = reply
    if reply.code == 334:
        reply = await ask("")
    elif reply.code != 235:
        return reply
    expected = base64.b64encode(_mac(_mac(salted, b"Server Key"), signed)).decode()
    if reply.code == 235 and not hmac.compare_digest(_fields(_decoded(proven)).get("v", ""), expected):
        raise _Fault("did not prove that it knows the password (SCRAM-SHA-256)")
    return reply


def _fields(text: str) -> dict[str, str]:
    return {part[:1]: part[2:] for part in text.split(",") if part[1:2] == "="}


def _decoded(reply: Reply) -> str:
    """The base64 of a 334, or of a 235 behind its enhanced code."""
    words = reply.lines[0].split()
    try:
        return base64.b64decode(words[-1] if words else b"", validate=True).decode("ascii")
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _clean(reply: Reply, credentials: Credentials) -> str:
    """The reply without what could show the password."""
    text = str(reply.remote("auth"))
    whole = f"\0{credentials.user}\0{credentials.password}"
    for secret in (credentials.password, _b64(credentials.password), _b64(whole)):
        if secret:
            text = text.replace(secret, "***")
    return text


def _mac(key: bytes, message: bytes) -> bytes:
    return hmac.new(key, message, "sha256").digest()


def _b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
