"""One connection to a host that takes mail: bytes out, bounded replies in, and a deadline for every wait.

The other side is hostile until it shows otherwise. It may say nothing, too much, too slowly, or something that is no
SMTP; each of these ends the connection, and `Broken` says which.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections import deque
from typing import NamedTuple, cast

from .outcome import REPLY_BYTES, RemoteReply

LINE_BYTES = 4_096  # RFC 5321 section 4.5.3.1.5 allows 512; some hosts say more
REPLY_LINES = 128
WHOLE_REPLY_BYTES = 65_536  # above, the connection ends; of less, REPLY_BYTES are kept
CHUNK = 65_536  # bytes of a large mail that are written before the other side must have taken them
CLOSE_SECONDS = 2.0

_LINE = re.compile(rb"([2-5][0-9][0-9])(?:([ -])(.*))?", re.DOTALL)
_ENHANCED = re.compile(r"([245])\.[0-9]{1,3}\.[0-9]{1,3}(?: +|$)")  # RFC 2034 section 4
_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")


class Broken(Exception):
    """The connection is of no more use. The text continues the sentence `host ...`."""


class Reply(NamedTuple):
    """A reply as it came: the lines without code and line end."""

    code: int
    lines: tuple[bytes, ...]

    def remote(self, stage: str) -> RemoteReply:
        """As a value for people: control bytes replaced, the enhanced code in its own field, at most REPLY_BYTES."""
        texts = [line.decode("utf-8", "replace") for line in self.lines]
        enhanced = ""
        if (match := _ENHANCED.match(texts[0])) and match[1] == str(self.code)[0]:
            enhanced = match[0].rstrip()
            texts = [text.removeprefix(enhanced).lstrip(" ") if text.startswith(enhanced) else text for text in texts]
        text = "\n".join(_CONTROLS.sub("\ufffd", text.replace("\t", " ")) for text in texts)
        if len(text) > REPLY_BYTES or len(self.lines) > 1:
            text = text.encode()[:REPLY_BYTES].decode("utf-8", "ignore")
        return RemoteReply(self.code, enhanced, text, stage)


class Wire(asyncio.Protocol):
    """The protocol of one connection. Replies are asked for in the order of the commands; none may come unasked."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.transport: asyncio.Transport | None = None
        self.broken: Broken | None = None
        self.farewell: Reply | None = None  # a 421 said while nothing was asked
        self._partial = b""
        self._lines: list[bytes] = []
        self._reply_bytes = 0
        self._replies: deque[Reply] = deque()
        self._owed = 1  # replies that may still come; the greeting is the first
        self._waiter: asyncio.Future[None] | None = None
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._paused = False
        self._closed = self._loop.create_future()

    # what the loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self.transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._fail("cut the connection" if exc is None or isinstance(exc, ConnectionError) else f"was lost ({exc})")
        if not self._closed.done():
            self._closed.set_result(None)

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        self._paused = True

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        self._paused = False
        self._wake()

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self.broken:
            return
        if self._partial:
            data = self._partial + data
        start = 0
        while (end := data.find(b"\n", start)) >= 0 and not self.broken:
            self._line(data[start:end])
            start = end + 1
        self._partial = data[start:]
        if len(self._partial) > LINE_BYTES:
            self._fail("sent a line without end")
        if self._replies or self.broken:
            self._wake()

    # what the client calls

    def write(self, data: bytes, replies: int) -> None:
        """Write commands or content; so many replies may come for it. Nothing is written once it is broken."""
        self._owed += replies
        if self.transport and not self.broken:
            self.transport.write(data)

    async def reply(self, seconds: float) -> Reply:
        """The next reply, which must be whole in so many seconds. Raises Broken."""
        while not self._replies:
            if self.broken:
                raise self.broken
            await self._wait(seconds, "did not answer")
        return self._replies.popleft()

    async def flush(self, seconds: float) -> bool:
        """Wait until what was written has left, or the other side speaks: then give False. Raises Broken."""
        while self._paused and not self._replies:
            if self.broken:
                raise self.broken
            await self._wait(seconds, "took no more bytes")
        return not self._replies

    @property
    def idle(self) -> bool:
        """Whether the connection stands and nothing is owed or half said."""
        return not (self.broken or self.farewell or self._owed or self._replies or self._partial or self._lines)

    @property
    def tls(self) -> ssl.SSLObject:
        """The TLS that runs."""
        assert self.transport
        return cast(ssl.SSLObject, self.transport.get_extra_info("ssl_object"))

    async def start_tls(self, context: ssl.SSLContext, host: str, seconds: float) -> None:
        """Begin TLS. Raises Broken, also when bytes stand behind the reply to STARTTLS (RFC 3207 section 6)."""
        if self._partial or self._lines or self._replies:
            self._fail("spoke on in clear where TLS was to begin")
        if self.broken:
            raise self.broken
        assert self.transport
        raw = self.transport
        try:
            made = await self._loop.start_tls(
                raw, self, context, server_hostname=host, ssl_handshake_timeout=seconds, ssl_shutdown_timeout=1.0
            )
        except (OSError, EOFError) as error:  # ssl.SSLError is an OSError
            raw.abort()
            self._fail(tls_fault(error))
            raise Broken(tls_fault(error)) from None
        if made is None:
            self._fail("cut the connection in the TLS handshake")
            raise Broken("cut the connection in the TLS handshake")
        self.transport = made

    def abort(self) -> None:
        """Cut the connection now."""
        self._fail("was left by us")

    async def close(self) -> None:
        """Close in good order, in CLOSE_SECONDS at most."""
        if self.transport and not self.broken:
            self._owed += 1
            self.transport.write(b"QUIT\r\n")
            try:
                await self.reply(CLOSE_SECONDS)
            except Broken:
                pass
        if self.transport:
            self.transport.close()
            done, _ = await asyncio.wait((self._closed,), timeout=CLOSE_SECONDS)
            if not done:
                self.transport.abort()
        self._stop_timer()

    # inside

    def _line(self, line: bytes) -> None:
        line = line.removesuffix(b"\r")
        match = _LINE.fullmatch(line)
        if match is None or len(line) > LINE_BYTES:
            self._fail("answered with what is no SMTP reply: " + _shown(line))
            return
        self._lines.append(match[3] or b"")
        self._reply_bytes += len(line)
        if len(self._lines) > REPLY_LINES or self._reply_bytes > WHOLE_REPLY_BYTES:
            self._fail("sent a reply without end")
        elif match[2] != b"-":
            reply = Reply(int(match[1]), tuple(self._lines))
            self._lines.clear()
            self._reply_bytes = 0
            self._take(reply)

    def _take(self, reply: Reply) -> None:
        if self._owed:
            self._owed -= 1
            self._replies.append(reply)
        elif reply.code == 421 and not self.farewell:  # may come at any time, RFC 5321 section 3.8
            self.farewell = reply
        else:
            self._fail("spoke unasked: " + _shown(b"%d %s" % (reply.code, reply.lines[0])))

    def _fail(self, text: str) -> None:
        if self.broken is None:
            self.broken = Broken(text)
            if self.transport:
                self.transport.abort()
            self._stop_timer()
        self._wake()

    def _wake(self) -> None:
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)

    async def _wait(self, seconds: float, complaint: str) -> None:
        """Sleep until a reply, the end, or the deadline, which breaks the connection."""
        self._deadline = self._loop.time() + seconds
        if self._timer is None or self._timer.when() > self._deadline:
            self._stop_timer()
            self._timer = self._loop.call_at(self._deadline, self._late)
        self._waiter = self._loop.create_future()
        self._complaint = f"{complaint} in {round(seconds, 1):g} s"
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _late(self) -> None:
        """One timer serves many waits: it is set again when it finds that the wait began later."""
        self._timer = None
        if self._waiter is None:
            return
        if self._loop.time() < self._deadline:
            self._timer = self._loop.call_at(self._deadline, self._late)
        else:
            self._fail(self._complaint)

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None


def tls_fault(error: Exception) -> str:
    """What a failed handshake says, for people; continues the sentence `host ...`."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"showed a certificate that does not hold: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"failed in the TLS handshake: {error.reason or 'no reason given'}"
    return "cut the connection in the TLS handshake" if str(error) == "" else f"failed in the TLS handshake: {error}"


def _shown(line: bytes) -> str:
    return _CONTROLS.sub("\ufffd", line[:80].decode("utf-8", "replace"))
