"""A session with the relay on this machine: one mail handed in, or the caller's own words carried to and fro."""

from __future__ import annotations

import re
import selectors
import socket
from collections.abc import Callable, Sequence
from typing import IO, NamedTuple

from dmarcview_relay.settings import RelayListener
from dmarcview_smtp.address import Address

CONNECT_SECONDS, REPLY_SECONDS = 5.0, 300.0
LINE_BYTES, REPLY_LINES = 4_096, 100
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 (told apart, not listened on)
_DOT = re.compile(rb"^\.", re.MULTILINE)


class Unreachable(Exception):
    """No relay answers here; the text says why."""


class Unanswered(Unreachable):
    """The relay fell silent when it had the whole mail: it may have taken it."""


class Reply(NamedTuple):
    """A reply of the relay, and to which command."""

    code: int
    text: str  # without the code
    stage: str


class Declined(Exception):
    """The relay does not take the mail."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(f"{reply.code} {reply.text}")
        self.reply = reply


class Handed(NamedTuple):
    """A mail with its envelope; the null sender is None."""

    sender: Address | None
    recipients: tuple[Address, ...]
    content: bytes


class Wishes(NamedTuple):
    """What is asked for beside the delivery (RFC 3461)."""

    notify: tuple[str, ...] = ()
    ret: str = ""
    envid: str = ""


def usable(listeners: Sequence[RelayListener]) -> list[RelayListener]:
    """The listeners that a program on this machine can use without a password; those without TLS first."""
    found = [one for one in listeners if one.protocol == "smtp" and one.auth != "required" and not one.proxy_peers]
    return sorted(found, key=lambda one: one.mode == "tls")


def connect(listeners: Sequence[RelayListener]) -> socket.socket:
    """A connection to the first that answers. Raises Unreachable."""
    why = "no listener of [relay] is for programs on this machine"
    for one in usable(listeners):
        place = one.path or f"{_EVERYWHERE.get(one.host, one.host)} port {one.port}"
        try:
            if one.path:
                sock = socket.socket(socket.AF_UNIX)
                sock.settimeout(CONNECT_SECONDS)
                sock.connect(one.path)
            else:
                sock = socket.create_connection((_EVERYWHERE.get(one.host, one.host), one.port), CONNECT_SECONDS)
            if one.mode == "tls":
                sock = _in_tls(sock)
        except OSError as error:
            why = f"{place}: {error.strerror or error}"
            continue
        sock.settimeout(REPLY_SECONDS)
        return sock
    raise Unreachable(why)


def _in_tls(sock: socket.socket) -> socket.socket:
    """TLS to this very machine: there is nobody between, so no name is checked."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(sock)


class Session:
    """One connection in our own words. Every method raises Unreachable when the relay falls silent."""

    def __init__(self, sock: socket.socket, say: Callable[[str], object]) -> None:
        """`say` gets each line of the dialogue for people."""
        self._sock = sock
        self._file = sock.makefile("rb")
        self._say = say

    def hand_in(self, mail: Handed, wishes: Wishes, hostname: str) -> Reply:
        """Hand in one mail for all its recipients, or none. Raises Declined, Unreachable, Unanswered."""
        sender, recipients, content = mail
        self._reply("greeting")
        offered = {line.split(" ")[0].upper() for line in self._ask(f"EHLO {hostname}", "hello").text.split("\n")[1:]}
        head = content.split(b"\r\n\r\n", 1)[0]
        words = ["BODY=8BITMIME"] if not content.isascii() and "8BITMIME" in offered else []
        if not (head.isascii() and all(one.is_ascii for one in (*recipients, *([sender] if sender else [])))):
            words.append("SMTPUTF8")
        to: list[str] = []
        if "DSN" in offered:
            words += [f"RET={wishes.ret}"] * bool(wishes.ret) + [f"ENVID={wishes.envid}"] * bool(wishes.envid)
            to += [f"NOTIFY={','.join(wishes.notify)}"] * bool(wishes.notify)
        self._ask(" ".join([f"MAIL FROM:<{sender or ''}>", *words]), "mail")
        for recipient in recipients:
            self._ask(" ".join([f"RCPT TO:<{recipient}>", *to]), "rcpt")
        self._ask("DATA", "data")
        try:
            self._send(_DOT.sub(b"..", content) + b".\r\n")
            self._say(f">>> {len(content)} bytes of mail, and the final dot")
            final = self._reply("content")
        except Unreachable as error:
            raise Unanswered(str(error)) from None
        try:
            self._ask("QUIT", "quit")
        except (Declined, Unreachable):
            pass  # the mail is queued already
        return final

    def close(self) -> None:
        """End the connection."""
        self._file.close()
        self._sock.close()

    def _send(self, data: bytes) -> None:
        try:
            self._sock.sendall(data)
        except OSError as error:
            raise Unreachable(f"the relay is gone: {error.strerror or error}") from None

    def _ask(self, line: str, stage: str) -> Reply:
        self._say(f">>> {line}")
        self._send(line.encode() + b"\r\n")
        return self._reply(stage)

    def _reply(self, stage: str) -> Reply:
        lines: list[str] = []
        while len(lines) < REPLY_LINES:
            try:
                raw = self._file.readline(LINE_BYTES)
            except OSError as error:
                raise Unreachable(f"the relay is gone: {error.strerror or error}") from None
            line = raw.decode("utf-8", "replace").rstrip("\r\n")
            if not raw.endswith(b"\n") or not re.match(r"[2-5][0-9][0-9](?:[ -]|$)", line):
                raise Unreachable("the relay is gone" if not raw else "what answers is no mail server")
            self._say(line)
            lines.append(line[4:])
            if line[3:4] != "-":
                reply = Reply(int(line[:3]), "\n".join(lines), stage)
                if reply.code >= 400:
                    raise Declined(reply)
                return reply
        raise Unreachable("what answers is no mail server")


def carry(sock: socket.socket, source: IO[bytes], out: IO[bytes]) -> None:
    """Carry bytes both ways until the relay closes: the caller speaks SMTP itself (-bs). Raises OSError."""
    with selectors.DefaultSelector() as ready:
        ready.register(sock, selectors.EVENT_READ)
        try:
            ready.register(source, selectors.EVENT_READ)
        except PermissionError:  # a plain file is always ready
            sock.sendall(source.read())
            sock.shutdown(socket.SHUT_WR)
        while True:
            for key, _ in ready.select():
                if key.fileobj is sock:
                    if not (data := sock.recv(65_536)):
                        return
                    out.write(data)
                    out.flush()
                elif data := source.read1(65_536):  # type: ignore[attr-defined]
                    sock.sendall(data)
                else:
                    ready.unregister(source)
                    sock.shutdown(socket.SHUT_WR)
