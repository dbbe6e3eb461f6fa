"""One mail as it comes after DATA: where it ends, whether it may be taken, where it waits (RFC 5321 section 4.5.2)."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import IO

from .replies import (
    BARE_LINE_END,
    HEADER_BYTES,
    HEADER_TOO_LONG,
    LOOP,
    NO_ROOM,
    NUL_BYTE,
    TEXT_LINE_TOO_LONG,
    TOO_BIG,
    Reply,
)
from .settings import DoorSettings

END = b"\r\n.\r\n"
_UNTRUSTED = (BARE_LINE_END, NUL_BYTE)
_CONTEXT = len(END)  # of a refused mail so much is kept, to see an end that another server would believe in
_FALSE_END = re.compile(rb"(?:\r\n|\r|\n)\x00*\.\x00*(?:\r\n|\r|\n)")
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_FIELD = re.compile(rb"^received[ \t]*:", re.IGNORECASE | re.MULTILINE)


class Content:
    """A whole mail: CR LF line ends, dots unstuffed. `data` holds it, or `file` when it was large."""

    __slots__ = ("_head", "file", "size")

    def __init__(self, head: bytes, size: int, file: IO[bytes] | None) -> None:
        self._head = head
        self.size = size
        self.file = file

    @property
    def data(self) -> bytes:
        """The mail as bytes; a large one is read back from its file."""
        if self.file is None:
            return self._head
        self.file.seek(0)
        return self.file.read()

    def close(self) -> None:
        """Drop the temporary file."""
        if self.file is not None:
            self.file.close()


class Collector:
    """Takes raw input in order and gives a `Content` or the reply that refuses it.

    `start` arms `buffer`, then `scan` is called each time bytes were added to it, until it gives True;
    what follows the mail stays in the buffer. A fault never stops the reading: the end of a refused
    mail is found by the same rule, so nothing in it is ever taken for a command.
    """

    def __init__(self, settings: DoorSettings, spill: Path | None) -> None:
        self.fault: Reply | None = None
        self.hopeless = False  # reading on is of no use
        self.received = 0  # bytes seen, also of a refused mail
        self._settings = settings
        self._spill = spill
        self._held = bytearray()  # one buffer: a list of pieces would cost a client's tiny packets many times over
        self._file: IO[bytes] | None = None
        self._line = 0  # length of the unfinished line
        self._context = b""
        self._head = b""

    @property
    def closes(self) -> bool:
        """Whether the session must end: who sends such a mail may see its end elsewhere than we do."""
        return self.hopeless or self.fault in _UNTRUSTED

    def start(self, buffer: bytearray) -> None:
        """Put the CR LF of the DATA line in front, so that the end looks alike for an empty mail."""
        buffer[:0] = b"\r\n"

    def scan(self, buffer: bytearray) -> bool:
        """Use what is in the buffer; True when the end of the mail was in it, or reading on is hopeless."""
        at = buffer.find(END)
        if at >= 0:
            self._take(bytes(buffer[: at + 2]))
            del buffer[: at + len(END)]
            return True
        # a beginning of END stays, which also keeps CR LF and stuffed dots whole
        keep = next((n for n in range(len(END) - 1, 0, -1) if buffer.endswith(END[:n])), 0)
        piece = bytes(buffer[: len(buffer) - keep])
        del buffer[: len(piece)]
        if piece:
            self._take(piece)
        if keep in (1, 2):  # with the dot it may yet become the true end
            self._look_for_false_end(bytes(buffer))
        return self.hopeless

    def _take(self, piece: bytes) -> None:
        self.received += len(piece)
        if self.fault is None:
            self.fault = self._judge(piece)
        if self.fault is not None:
            self.drop()
            self._look_for_false_end(piece)
            self._context = (self._context + piece)[-_CONTEXT:]
            if self.received > 4 * self._settings.message_bytes:
                self.hopeless = True
            return
        self._keep(self._unstuffed(piece))

    def _unstuffed(self, piece: bytes) -> bytes:
        return piece.replace(b"\r\n.", b"\r\n") if b"\r\n." in piece else piece

    def _look_for_false_end(self, more: bytes) -> None:
        if self.fault in _UNTRUSTED and _FALSE_END.search(self._context + more):
            self.hopeless = True

    def _judge(self, piece: bytes) -> Reply | None:
        pairs = piece.count(b"\r\n")
        if piece.count(b"\n") != pairs or piece.count(b"\r") != pairs:
            return BARE_LINE_END
        if b"\0" in piece:
            return NUL_BYTE
        if self.received - 2 > self._settings.message_bytes:
            return TOO_BIG
        last = piece.rfind(b"\n")
        first = piece.find(b"\n") if last >= 0 else len(piece)
        longest = max(self._line + first, self._longest_line(piece))
        self._line = len(piece) - last - 1 if last >= 0 else self._line + len(piece)
        return TEXT_LINE_TOO_LONG if max(longest, self._line) > self._settings.line_bytes else None

    def _longest_line(self, piece: bytes) -> int:
        if len(piece) <= self._settings.line_bytes:
            return 0
        return max(map(len, piece.split(b"\n")))

    def _keep(self, piece: bytes) -> None:
        held = self._held
        held += piece
        if len(held) <= self._settings.memory_bytes and self._file is None:
            return
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(dir=self._spill)  # noqa: SIM115 (lives as long as the mail)
                self._head = bytes(held[2 : self._settings.header_bytes + 4])
                del held[:2]
            self._file.write(held)
        except OSError:
            self.fault = NO_ROOM
            self.drop()
        held.clear()

    def drop(self) -> None:
        """Forget what is held; a mail that `finish` gave away is not."""
        self._held.clear()
        if self._file is not None:
            self._file.close()
            self._file = None

    def finish(self, hostname: str, *, utf8: bool) -> Content | Reply:
        """The mail, or the reply that refuses it."""
        if self.fault is not None:
            self.drop()
            return self.fault
        if self._file is None:
            whole = bytes(memoryview(self._held)[2:])
            head, size = whole, len(whole)
        else:
            try:
                self._file.flush()
            except OSError:
                self.drop()
                return NO_ROOM
            whole, head, size = b"", self._head, self._file.tell()
        if fault := judge_header(head, size, self._settings, hostname, utf8=utf8):
            self.drop()
            return fault
        file, self._file = self._file, None
        return Content(whole, size, file)


class Chunks(Collector):
    """The same for a mail that comes in counted chunks (RFC 3030): no end is looked for, and no dot is stuffed."""

    def __init__(self, settings: DoorSettings, spill: Path | None) -> None:
        super().__init__(settings, spill)
        self._take(b"\r\n")
        self._cr = b""  # the last byte so far, when it may be half of a line end
        self._ended = True  # whether a line end is the last that came

    def add(self, piece: bytes) -> None:
        """Take the next bytes, wherever they were cut."""
        piece = self._cr + piece
        self._cr = piece[-1:] if piece.endswith(b"\r") else b""
        piece = piece[: len(piece) - len(self._cr)]
        if piece:
            self._ended = piece.endswith(b"\n")
            self._take(piece)

    def end(self) -> None:
        """No more comes: the last line gets its end, as DATA gives it to every mail."""
        if self._cr or not self._ended:
            self._take(self._cr or b"\r\n")

    def _unstuffed(self, piece: bytes) -> bytes:
        return piece


def judge_header(head: bytes, size: int, settings: DoorSettings, hostname: str, *, utf8: bool) -> Reply | None:
    """Refuse a header that other software would read differently, and loops (RFC 5321 section 6.3).

    `head` is the beginning of the mail, at least `header_bytes` of it; `size` the length of the whole.
    """
    end = head.find(b"\r\n\r\n", 0, settings.header_bytes + 4)
    if end < 0 and min(size, len(head)) > settings.header_bytes:
        return HEADER_TOO_LONG
    header = head if end < 0 else head[:end]
    if _CONTROL.search(header) or not (utf8 or settings.eight_bit_headers or header.isascii()):
        return HEADER_BYTES
    lines = [match.start() for match in _FIELD.finditer(header)]
    if len(lines) > settings.hops:
        return LOOP
    if len(lines) > settings.own_hops:
        own = re.compile(rb"\bby\s+" + re.escape(hostname.encode()) + rb"(?![\w.-])", re.IGNORECASE)
        fields = (header[a:b] for a, b in zip(lines, [*lines[1:], len(header)], strict=True))
        if sum(1 for field in fields if own.search(field)) > settings.own_hops:
            return LOOP
    return None
