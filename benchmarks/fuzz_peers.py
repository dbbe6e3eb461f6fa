"""What the fuzzer holds against the other side of a connection: replies, logins, policies, records of certificates."""

from __future__ import annotations

import asyncio
import base64
import random
import re
import zlib
from collections.abc import Callable, Coroutine
from typing import Any

from benchmarks.mutation import Target
from dmarcview_relay import dane
from dmarcview_relay.client import Client, Facts, Refused
from dmarcview_relay.client_auth import Credentials, log_in
from dmarcview_relay.dns import Answer
from dmarcview_relay.envelope import Mail, Recipient
from dmarcview_relay.outcome import REPLY_BYTES
from dmarcview_relay.scram import Exchange, Keys, ScramError, derive
from dmarcview_relay.settings import Delivery
from dmarcview_relay.sts import MOST_AGE, MtaSts
from dmarcview_relay.wire import LINE_BYTES, WHOLE_REPLY_BYTES, Broken, Reply, Wire
from dmarcview_smtp.address import Address

NOW = 1_798_761_600.0  # 2027-01-01
PATIENCE = 10.0  # seconds after which a session hangs
PASSWORD = "pencil-of-wood"
CUT = b"\n%%\n"  # parts the messages of one login

HELLO = b"220 mx.test ESMTP\r\n250-mx.test\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-8BITMIME\r\n250 DSN\r\n"
DIALOGUES = [
    HELLO + b"250 2.1.0 ok\r\n250 2.1.5 ok\r\n550-5.1.1 No\r\n550 5.1.1 such user\r\n354 go\r\n250 2.0.0 taken\r\n",
    b"220 mx.test\r\n502 what\r\n250 mx.test\r\n250 ok\r\n452 4.5.3 too many\r\n250 ok\r\n354 go\r\n421 4.3.2 bye\r\n",
    HELLO + b"250 ok\r\n550 5.7.1 no\r\n550 5.7.1 no\r\n354 go\r\n503 5.5.1 no recipients\r\n",
]
DIALOGUE_TOKENS = (
    b"250 ", b"250-", b"421 ", b"550 5.1.1 ", b"354 ", b"220 ", b"\r\n", b"\n", b"\r", b"\0", b"\x1b[2J", b"\xff",
    b"199 ",
    b"600 ", b"25", b"250\r\n", b"5.1.1 ", b"a" * 5_000, b"250-x\r\n" * 140, b"\xc2\x85", b"\xe2\x80\xa8",
    b"250 SIZE 1\r\n",
)  # fmt: skip

NONCE, SERVER_NONCE = "fyko+d2lbbFgONRv9qkxdawL", "3rfcNHYJY1ZVvWVs7j"
KEYS = derive(PASSWORD, b"\x5b\x6d\x99\x68\x9d\x12\x35\x8e", 4_096)
FIRST = f"n,,n=user,r={NONCE}".encode()
LOGIN_TOKENS = (
    CUT, b"n,", b"y,,", b"p=tls-unique,,", b"a=user,", b"n=", b"r=", b",", b"=2C", b"=3D", b"c=biws", b"p=", b"=",
    b"\0", b"\xff", "\u00ad".encode(), "\u0627".encode(), b"e=x", b"m=x,", b"i=4096", b"i=9999999", b"s=", b"v=",
    b"@", b"334 ", b"235 ", b"535 ",
)  # fmt: skip
HOSTS = [  # what a host answers to SCRAM, @ standing for our nonce; none of them knows the password
    CUT.join((b"334 r=@abc,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", b"334 v=AAAA", b"235 ok")),
    CUT.join((b"334 r=@abc,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", b"235 2.7.0 v=rmF9pqV8S7suAoZWja4dJRkFsKQ=")),
]

POLICY = b"version: STSv1\r\nmode: enforce\r\nmx: mx.example.net\r\nmx: *.example.net\r\nmax_age: 604800\r\n"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n"
WEB = [
    HEAD + b"Content-Length: %d\r\n\r\n" % len(POLICY) + POLICY,
    HEAD + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(POLICY), POLICY),
    HEAD + b"Connection: close\r\n\r\n" + POLICY,
]
WEB_TOKENS = (
    b"\r\n", b"\n", b"\r\n\r\n", b"HTTP/1.0 ", b"301 ", b"100 Continue\r\n\r\n", b"Transfer-Encoding: chunked\r\n",
    b"FFFFFFFFFF\r\n",
    b"-1\r\n", b"Content-Length: -1\r\n", b"Content-Length: 99999999999\r\n", b"version: STSv1\n", b"mx: *.\n",
    b"mx: a..b\n",
    b"max_age: 99999999999\n", b"max_age: \xd9\xa3\n", b"mode: none\n", b"mode: testing\n", b"\0", b"\x85", b"*", b":",
    b"X: y\r\n" * 120,
)  # fmt: skip
TLSAS = [b"3 1 1 " + b"ab" * 32, b"2 0 1 " + b"0F " * 32, b"3 0 0 3082010a", b"2 1 2 " + b"cd" * 64]
TLSA_TOKENS = (
    b" ",
    b"0",
    b"1",
    b"2",
    b"3",
    b"-1",
    b"256",
    b"ab",
    b"xyz",
    b"\xd9\xa3",
    b"\0",
    b"_",
    b"+",
    b"\n",
    b"1_0",
)


def targets() -> list[Target]:
    """The checks; they share one loop."""
    exchange = Exchange(FIRST, SERVER_NONCE)
    exchange.challenge(KEYS)
    good = _final(exchange)
    loop = asyncio.Runner()
    return [
        Target("dialogue", DIALOGUES, _in(loop, dialogue), DIALOGUE_TOKENS),
        Target("scram", [FIRST + CUT + good], _scram_check(good), LOGIN_TOKENS),
        Target("smarthost", HOSTS, _in(loop, smarthost), LOGIN_TOKENS),
        Target("sts", WEB, _in(loop, policy), WEB_TOKENS),
        Target("tlsa", TLSAS, _in(loop, tlsa), TLSA_TOKENS),
    ]


def _in(loop: asyncio.Runner, check: Callable[[bytes], Coroutine[Any, Any, str]]) -> Callable[[bytes], str]:
    return lambda data: loop.run(check(data))


class _Far(asyncio.Transport):
    """The other end: it takes everything, and says what the input holds."""

    def __init__(self, wire: Wire) -> None:
        super().__init__()
        self._wire = wire
        self.written = b""
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def abort(self) -> None:
        self.close()

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            asyncio.get_running_loop().call_soon(self._wire.connection_lost, None)

    async def say(self, data: bytes) -> None:
        """In pieces that the input decides, then the end."""
        rng, at = random.Random(zlib.crc32(data)), 0
        while at < len(data) and not self.closed:
            for _ in range(rng.choice((0, 2, 20, 20, 20, 20))):  # a few speak unasked
                if self._wire._owed or self.closed:
                    break
                await asyncio.sleep(0)
            line = data.find(b"\n", at) + 1 - at
            piece = data[at : at + rng.choice((line, line, line, 1, 7, 10_000) if line > 0 else (1, 100, 10_000))]
            at += len(piece)
            self._wire.data_received(piece)
            await asyncio.sleep(0)
            held = len(self._wire._partial) + sum(map(len, self._wire._lines))
            if held > LINE_BYTES + WHOLE_REPLY_BYTES + 10_000:
                raise AssertionError(f"{held} bytes are held")
        self.close()


async def dialogue(data: bytes) -> str:
    """A session ends, with one reply for each recipient that people can read, whatever the host says."""
    wire = Wire()
    far = _Far(wire)
    wire.connection_made(far)
    client = Client(wire, Facts("mx.test", "192.0.2.1"), "relay.test", Delivery())
    recipients = [Recipient(Address(name, "example.net")) for name in ("a", "b")]
    content = b"From: a@example.org\r\n\r\n.x\r\n"
    mail = Mail(Address("a", "example.org"), tuple(recipients), NOW, len(content))
    saying = asyncio.create_task(far.say(data))
    try:
        async with asyncio.timeout(PATIENCE):
            await client.greet()
            await client.hello()
            first = await client.send(mail, recipients, content)
            replies = first + await client.send(mail, recipients[:1], content)
            await client.close()
    except Refused as refused:
        replies, first = [refused.reply], []
    except Broken as broken:
        return f"broken: {str(broken)[:20]}"
    finally:
        wire.abort()
        await saying
    for reply in replies:
        if len(reply.text.encode()) > REPLY_BYTES + 200 or re.search(
            r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]", str(reply)
        ):
            raise AssertionError(f"{reply!r}")
        if reply.taken and (reply.stage != "body" or b"\r\n..x\r\n.\r\n" not in far.written):
            raise AssertionError(f"taken without a mail: {reply!r}")
    if first and len(replies) != 3:
        raise AssertionError(f"{replies}")
    return f"{replies[0].code} {replies[0].stage}"


def _final(exchange: Exchange) -> bytes:
    """The message of a client that knows the password, made from the server's keys and our own arithmetic."""
    import hashlib
    import hmac

    challenge = exchange.challenge(KEYS)
    unproved = f"c={base64.b64encode(b'n,,').decode()},r={NONCE}{SERVER_NONCE}".encode()
    salted = hashlib.pbkdf2_hmac("sha256", PASSWORD.encode(), KEYS.salt, KEYS.iterations)
    key = hmac.digest(salted, b"Client Key", "sha256")
    said = b",".join((FIRST.removeprefix(b"n,,"), challenge, unproved))
    signature = hmac.digest(hashlib.sha256(key).digest(), said, "sha256")
    return unproved + b",p=" + base64.b64encode(bytes(a ^ b for a, b in zip(key, signature, strict=True)))


def _scram_check(good: bytes) -> Callable[[bytes], str]:
    unproved = good.rpartition(b",p=")[0]

    def check(data: bytes) -> str:
        """Only the very messages that were proved let somebody in; all others are refused, or end in ScramError."""
        first, _, final = data.partition(CUT)
        try:
            exchange = Exchange(first, SERVER_NONCE)
            exchange.challenge(Keys(*KEYS))
            proof = exchange.judge(final)
        except ScramError as error:
            return str(error)[:30]
        if proof is not None and (first, final.rpartition(b",p=")[0]) != (FIRST, unproved):
            raise AssertionError("somebody got in with other words")
        return "in" if proof is not None else "wrong password"

    return check


async def smarthost(data: bytes) -> str:
    """No host that does not know the password is believed, and none learns it."""
    answers = data.split(CUT)
    asked: list[str] = []

    async def ask(line: str) -> Reply:
        asked.append(line)
        text = answers[len(asked) - 1] if len(asked) <= len(answers) else b"535 no"
        code, _, rest = text.partition(b" ")
        nonce = base64.b64decode(asked[0].split()[-1]).split(b"r=")[1]
        plain = base64.b64encode(rest.replace(b"@", nonce)) if rest.startswith((b"r=", b"v=")) else rest
        return Reply(int(code) if re.fullmatch(rb"[2-5][0-9]{2}", code) else 500, (plain,))

    fault = await log_in(Credentials("user", PASSWORD), ["SCRAM-SHA-256", "PLAIN"], ask)
    if (
        not fault
        or PASSWORD in fault
        or any(PASSWORD in str(base64.b64decode(line.split()[-1])) for line in asked[1:] if line)
    ):
        raise AssertionError(f"{fault!r} {asked}")
    if len(asked) > 3:
        raise AssertionError(f"{asked}")
    return fault[:30]


class _Names:
    """A DNS with one policy, or one TLSA record."""

    def __init__(self, tlsa: str = "") -> None:
        self._tlsa = tlsa

    async def ask(self, kind: str, name: str) -> Answer:
        found = {"TXT": '"v=STSv1; id=1"', "A": "192.0.2.1", "TLSA": self._tlsa}.get(kind, "")
        return Answer((found,) if found else (), bool(found), kind == "TLSA", 60, name)


class _Web(MtaSts):
    """The policies of a web server that says what the input holds."""

    def __init__(self, data: bytes) -> None:
        super().__init__(_Names(), None, lambda: NOW)
        self._data = data

    async def _get(self, host: str, address: str, delivery: Delivery) -> bytes:  # noqa: ARG002 (as it is called)
        return self._data


async def policy(data: bytes) -> str:
    """A policy, or none: nothing a web server says is a fault of ours."""
    found = await _Web(data).policy("example.net", Delivery(private=True))
    if found is None:
        return "none"
    if found.mode not in ("enforce", "testing", "none") or not NOW <= found.until <= NOW + MOST_AGE:
        raise AssertionError(f"{found}")
    if any(not re.fullmatch(r"(?:\*\.)?[a-z0-9.-]+", name) for name in found.mx) or found.allows(
        "mx.elsewhere.test"
    ) != ("mx.elsewhere.test" in found.mx or "*.elsewhere.test" in found.mx):
        raise AssertionError(f"{found}")
    return found.mode


async def tlsa(data: bytes) -> str:
    """A record that can be used has a usage that counts and a digest of the right length."""
    found = await dane.published(["mx.test"], 25, _Names(data.decode("utf-8", "replace")))
    for record in found.usable:
        if record.usage not in (2, 3) or len(record.data) not in ((32,) if record.matching == 1 else range(1, 70_000)):
            raise AssertionError(f"{record}")
    return "usable" if found.usable else "not usable"
