"""One connection: aiosmtpd's life cycle, with input, output, time and TLS of our own (ADR 0002)."""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
import ssl
from typing import Any, cast

from aiosmtpd.smtp import SMTP

from . import replies
from .gate import client_key, is_within, plain_address
from .inbox import Inbox
from .policy import Client, Transaction
from .proxy import read_header
from .replies import Reply
from .site import Site

log = logging.getLogger(__name__)

TLS_HANDSHAKE = 0x16  # first byte of a TLS record that starts a handshake
SKIP_BYTES = 64 * 1024  # of an overlong command line so much is skipped before the client is dismissed
LINGER_BYTES = 1024 * 1024
_NEVER = math.inf


class Dismissed(Exception):
    """The session ends: with our last reply, if there is one."""

    def __init__(self, reply: Reply | None = None) -> None:
        super().__init__()
        self.reply = reply


class Connection(SMTP):
    """Everything about one client but what is said. `Door` adds the dialogue."""

    def __init__(self, site: Site) -> None:
        loop = asyncio.get_running_loop()
        self.command_size_limits: dict[str, int] = {}  # the base class shares one among all sessions
        self.site = site
        self.client: Client
        self.mail = Transaction()
        self._inbox = Inbox()
        self._out: list[bytes] = []
        self._writable = asyncio.Event()
        self._writable.set()
        self._deadline = _NEVER
        self._began = loop.time()
        self._between = False  # waits for a command
        self._leaving = False
        self._secured = False  # TLS runs, or begins
        self.gone = asyncio.Event()
        super().__init__(site.policy, hostname=site.hostname, enable_SMTPUTF8=True, loop=loop)

    async def _converse(self) -> None:
        """The dialogue, until Dismissed."""
        raise NotImplementedError

    # coming and going

    @property
    def _wire(self) -> asyncio.Transport | None:
        """The transport, plain or TLS; None when the connection is gone."""
        return cast("asyncio.Transport | None", self.transport)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has come."""
        self._inbox.attach(cast("asyncio.Transport", transport))
        peer = transport.get_extra_info("peername")
        address = plain_address(peer[0]) if isinstance(peer, tuple) else ""
        self.client = Client(self.loop, address, self.site.listener.protocol)
        self.site.doors.add(self)
        super().connection_made(transport)

    def _create_session(self) -> Client:
        return self.client

    def _set_rset_state(self) -> None:
        self.mail = Transaction()

    def data_received(self, data: bytes) -> None:
        """Bytes from the client."""
        self._inbox.feed(data)

    def eof_received(self) -> bool:
        """The client sends no more, but may read: what it asked for is answered. TLS cannot be half closed."""
        self._inbox.feed_eof()
        return not self._secured

    def pause_writing(self) -> None:
        """The client does not read."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """The client reads again."""
        self._writable.set()

    def connection_lost(self, error: Exception | None) -> None:
        """The client is gone. A mail whose end had come is finished all the same."""
        if self.gone.is_set():
            return
        self.gone.set()
        self._inbox.feed_eof()
        self._writable.set()
        self.site.doors.discard(self)
        super().connection_lost(error)

    def leave(self) -> None:
        """Say 421 and go: now when nothing is under way, else after the mail that is."""
        self._leaving = True
        if self._between:
            self._inbox.wake()

    def abort(self) -> None:
        """Cut the connection."""
        if self._wire is not None:
            self._wire.abort()

    async def _handle_client(self) -> None:
        """The whole session; the task that the base class starts."""
        gate, key = self.site.gate, None
        refusal = gate.enter()
        try:
            if refusal is None:
                await self._identify()
                key = client_key(self.client.address)
                refusal = gate.admit(key)
            if refusal is None:
                await self._part(await self._serve(), wait=True)
            else:
                key = None
                await self._part(refusal, wait=False)
        except OSError as error:  # while the address was not known
            log.info("%s: connection lost: %s", self.client.address, error)
            await self._part(None, wait=False)
        finally:
            gate.leave()
            if key is not None:
                gate.dismiss(key)

    async def _serve(self) -> Reply | None:
        """From the greeting to the end; our last reply, if the client is to hear one."""
        try:
            await self._greet()
            await self._converse()
        except Dismissed as end:
            return end.reply
        except OSError as error:
            log.info("%s: connection lost: %s", self.client.address, error)
        except Exception:
            return self._own_fault()
        return None

    async def _identify(self) -> None:
        """Learn the real address. A peer that is trusted to say it must say it."""
        self._reset_timeout(self.site.settings.tls_seconds)
        if is_within(self.client.address, self.site.proxy_networks):
            address = await read_header(self._inbox)
            self.client.is_known = bool(address)
            self.client.address = address or self.client.address

    async def _greet(self) -> None:
        site, client = self.site, self.client
        if site.listener.mode == "tls":
            await self._start_tls()
        if refusal := site.policy.on_connect(client):
            raise Dismissed(refusal)
        near = client.address.startswith("127.") or client.address in ("", "::1")
        if site.settings.greeting_wait > 0 and not near:
            await self._hold_back(site.settings.greeting_wait)
        self._say(Reply(220, "", f"{site.hostname} {'LMTP' if client.protocol == 'lmtp' else 'ESMTP'} ready"))

    async def _hold_back(self, seconds: float) -> None:
        """Wait before the greeting: who talks before listening is no mail server (RFC 5321 section 4.3.1)."""
        if not self._inbox.buffer:
            try:
                async with asyncio.timeout(seconds):
                    await self._inbox.more()
            except TimeoutError:
                return
        raise Dismissed(replies.TALKED_FIRST if self._inbox.buffer else None)

    async def _part(self, last: Reply | None, *, wait: bool) -> None:
        """Say the last word, and wait a little so that it is read: closing over unread input would reset it away."""
        if last is not None:
            self._say(last)
        self._send()
        self._reset_timeout(None)
        transport = self._wire
        if wait and last is not None and transport is not None and not transport.is_closing():
            if transport.can_write_eof():
                transport.write_eof()
            try:
                async with asyncio.timeout(self.site.settings.linger_seconds):
                    seen = 0
                    while seen < LINGER_BYTES and await self._inbox.more():
                        seen += len(self._inbox.buffer)
                        self._inbox.buffer.clear()
            except TimeoutError:
                pass
        if self.transport is not None:
            self.transport.close()
            self._arm(self.site.settings.linger_seconds, self.abort)

    def _own_fault(self) -> Reply:
        number = secrets.token_hex(4)
        log.exception("%s: error %s in a session", self.client.address, number)
        return replies.local_error(number)

    # time

    def _arm(self, seconds: float, what: Any) -> None:
        if self._timeout_handle is not None:
            self._timeout_handle.cancel()
        if not self.gone.is_set():
            self._timeout_handle = self.loop.call_later(seconds, what)

    def _reset_timeout(self, duration: float | None = None) -> None:
        """Set the time by which what we wait for must have come; None is never.

        The timer is left alone when it comes early, since most waits end long before.
        """
        now = self.loop.time()
        self._deadline = _NEVER if duration is None else now + duration
        handle = self._timeout_handle
        if handle is None or handle.cancelled() or handle.when() > self._deadline:
            self._arm(min(self._deadline - now, self.site.settings.idle_seconds), self._timeout_cb)

    def _timeout_cb(self) -> None:
        left = self._deadline - self.loop.time()
        if left > 0:
            self._arm(min(left, self.site.settings.idle_seconds), self._timeout_cb)
        elif self._wire is not None:
            if self._writable.is_set():
                self._say(replies.TIMEOUT)
                self._send()
                self._wire.close()
                self._arm(self.site.settings.linger_seconds, self.abort)
            else:
                self._wire.abort()

    # input and output

    def _say(self, reply: Reply) -> None:
        """Queue a reply. It leaves before we wait for input, so replies to a pipeline leave together (RFC 2920)."""
        self._out.append(reply.encode())
        if reply.reason:
            self.site.policy.on_reply(self.client, reply)

    def _send(self) -> None:
        if self._out and self._wire is not None:
            self._wire.write(b"".join(self._out))
        self._out.clear()

    async def _flush(self) -> None:
        self._send()
        if not self._writable.is_set():
            await self._writable.wait()

    async def push(self, status: str | bytes) -> None:
        """Send one line at once: how the base class speaks."""
        self._out.append((status if isinstance(status, bytes) else status.encode()) + b"\r\n")
        await self._flush()

    def _longest_line(self) -> int:
        """Most bytes of the line that the input begins with."""
        return self.site.settings.path_command_bytes

    async def _line(self) -> bytes:
        """The next command line with its line end; b"" for one that was too long. Raises Dismissed."""
        buffer = self._inbox.buffer
        while (end := buffer.find(b"\n", 0, longest := self._longest_line())) < 0:
            if len(buffer) >= longest:
                return await self._overlong_line()
            if buffer and buffer[0] == TLS_HANDSHAKE:
                raise Dismissed(replies.NOT_SMTP)
            if self._leaving:
                raise Dismissed(replies.SHUTTING_DOWN)
            await self._flush()
            self._between = True
            alive = await self._inbox.more()
            self._between = False
            if not alive:
                raise Dismissed
        line = bytes(buffer[: end + 1])
        del buffer[: end + 1]
        return line

    async def _overlong_line(self) -> bytes:
        buffer, skipped = self._inbox.buffer, 0
        while (end := buffer.find(b"\n")) < 0:
            skipped += len(buffer)
            buffer.clear()
            if skipped > SKIP_BYTES or not await self._inbox.more():
                raise Dismissed(replies.LINE_TOO_LONG)
        del buffer[: end + 1]
        return b""

    # TLS

    def _tls_context(self) -> ssl.SSLContext:
        assert self.site.certificate is not None
        return self.site.certificate.context

    async def _start_tls(self) -> None:
        """Hand the connection to TLS. Input that is here already is the beginning of the handshake."""
        settings, raw = self.site.settings, self._wire
        assert raw is not None
        raw.pause_reading()  # from here on the client's bytes are for the handshake; start_tls reads again
        self._secured = True
        early = bytes(self._inbox.buffer)
        self._inbox.buffer.clear()
        self._reset_timeout(None)  # the handshake has its own
        shake = asyncio.ensure_future(
            self.loop.start_tls(
                raw,
                self,
                self._tls_context(),
                server_side=True,
                ssl_handshake_timeout=settings.tls_seconds,
                ssl_shutdown_timeout=settings.linger_seconds,
            )
        )
        try:
            if early:
                await _feed_handshake(raw, early)
            transport = await shake
        except OSError as error:  # the transport is closed already, and did not tell us
            log.info("%s: TLS handshake failed: %s", self.client.address, error)
            self.connection_lost(None)
            raise Dismissed from None
        finally:
            shake.cancel()
        if transport is None:  # closed meanwhile
            raise Dismissed
        self.transport = transport
        self._inbox.attach(transport)
        tls = transport.get_extra_info("ssl_object")
        self.client.tls, self.client.tls_cipher = tls.version(), tls.cipher()[0]
        self._reset_timeout(settings.idle_seconds)


async def _feed_handshake(raw: Any, early: bytes) -> None:
    await asyncio.sleep(0)  # start_tls puts its protocol in place,
    await asyncio.sleep(0)  # and the loop connects it, before the socket is read again
    protocol = raw.get_protocol()
    assert isinstance(protocol, asyncio.BufferedProtocol)
    while early:
        room = memoryview(protocol.get_buffer(len(early)))
        count = min(len(room), len(early))
        room[:count] = early[:count]
        protocol.buffer_updated(count)
        early = early[count:]
