"""The raw bytes of every input, kept as zstd frames in append-only segments.

A segment `archive/<YYYY>/<MM>/<DD>-<id>.seg` belongs to one process. A frame holds one line of JSON (origin, verdict,
size) and then the raw bytes, so that a segment explains itself and the ledger can be rebuilt from it.

What brought nothing that is believed lies in segments of its own, `<DD>-doubt-<HHMMSS>-<id>.seg`, each soon full, so
that the oldest can leave when strangers send much.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple

import orjson
import zstandard

from dmarcview_reports.model import Origin, Verdict

from .errors import StoreDamaged, named

LEVEL = 3
READ = 1 << 20
DOUBT = "-doubt-"  # in the names of segments of what is not believed
DOUBT_BYTES = 16_000_000  # after which such a segment is full, and
DOUBT_FRAMES = 10_000  # after so many inputs


class Place(NamedTuple):
    """Where one frame lies; `segment` is relative to the archive folder."""

    segment: str
    start: int
    length: int

    @property
    def doubtful(self) -> bool:
        """Does it lie where the oldest may leave at any time?"""
        return DOUBT in self.segment


class Kept(NamedTuple):
    """One archived input."""

    origin: Origin
    verdict: Verdict
    raw: bytes


def clean(text: str) -> str:
    """Text that both databases can hold: no NUL, no lone surrogate."""
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode()
    return text.replace("\x00", "\ufffd")


def _head(origin: Origin, verdict: Verdict, size: int) -> bytes:
    facts = {
        "name": clean(origin.name),
        "received": origin.received,
        "channel": origin.channel,
        "client": clean(origin.client),
        "helo": clean(origin.helo),
        "mail_from": clean(origin.mail_from),
        "rcpt_to": [clean(r) for r in origin.rcpt_to],
        "tls": origin.tls,
        "auth": verdict.auth,
        "detail": clean(verdict.detail),
        "size": size,
    }
    return orjson.dumps(facts) + b"\n"


def _kept(content: bytes) -> Kept:
    line, _, raw = content.partition(b"\n")
    f = orjson.loads(line)
    origin = Origin(
        f["name"],
        f["received"],
        f["channel"],
        f["client"],
        f["helo"],
        f["mail_from"],
        tuple(f["rcpt_to"]),
        f["tls"],
    )
    if f["size"] != len(raw):
        raise StoreDamaged("an archive frame is shorter than it says; restore a backup of the archive")
    return Kept(origin, Verdict(f["auth"], f["detail"]), raw)


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def make_folder(path: Path) -> None:
    """Create a folder and its parents durably."""
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(exist_ok=True)
    sync_folder(path.parent)


class Writer:
    """Appends to this process's segment of the day; it holds a shared lock on it, so that nobody removes it."""

    def __init__(self, folder: Path, doubtful: bool) -> None:
        self.folder, self.doubtful = folder, doubtful
        self._file: IO[bytes] | None = None
        self._name = ""
        self._day = ""
        self._pid = 0
        self._size = 0
        self._frames = 0

    def append(self, frames: Sequence[bytes], now: int) -> list[Place]:
        """Write frames and make them durable with one fdatasync. Raises OSError; then nothing is left."""
        file = self._segment(now)
        at = self._size
        try:
            _write_all(file, frames)
            os.fdatasync(file.fileno())
        except OSError:
            self._undo(at)
            raise
        places = []
        for frame in frames:
            places.append(Place(self._name, at, len(frame)))
            at += len(frame)
        self._size = at
        self._frames += len(frames)
        return places

    def _segment(self, now: int) -> IO[bytes]:
        day = time.strftime("%Y/%m/%d", time.gmtime(now))
        full = self.doubtful and (self._size >= DOUBT_BYTES or self._frames >= DOUBT_FRAMES)
        if self._file is not None and self._day == day and self._pid == os.getpid() and not full:
            return self._file
        self.close()
        kind = time.strftime(f"{DOUBT}%H%M%S-", time.gmtime(now)) if self.doubtful else "-"
        name = f"{day}{kind}{secrets.token_hex(4)}.seg"
        path = self.folder / name
        make_folder(path.parent)
        self._file = path.open("xb", buffering=0)
        fcntl.flock(self._file, fcntl.LOCK_SH)
        sync_folder(path.parent)
        self._name, self._day, self._pid, self._size, self._frames = name, day, os.getpid(), 0, 0
        return self._file

    def _undo(self, size: int) -> None:
        """Cut a half-written frame off; a segment that cannot be cut is left behind and a new one begun."""
        file, self._file = self._file, None
        if file is None:
            return
        try:
            file.truncate(size)
            file.seek(size)
            self._file = file
        except OSError:
            file.close()

    def close(self) -> None:
        """Let go of the segment; the next append begins a new one."""
        if self._file is not None:
            self._file.close()
            self._file = None


class Archive:
    """Keeps raw bytes in segments, what is believed and what is not apart, and reads any frame of any segment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._writers = (Writer(folder, doubtful=False), Writer(folder, doubtful=True))

    def append(self, inputs: Sequence[Kept], now: int, *, doubtful: bool = False) -> list[Place]:
        """Write one frame an input and make them durable with one fdatasync. Raises StoreFull; then nothing is left."""
        if not inputs:
            return []
        pack = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True, write_content_size=True)
        frames = [pack.compress(_head(k.origin, k.verdict, len(k.raw)) + k.raw) for k in inputs]
        with named("archiving raw mail"):
            return self._writers[doubtful].append(frames, now)

    def read(self, place: Place) -> Kept:
        """One archived input. Raises StoreDamaged."""
        try:
            with (self.folder / place.segment).open("rb") as f:
                f.seek(place.start)
                return _kept(zstandard.ZstdDecompressor().decompress(f.read(place.length)))
        except (OSError, zstandard.ZstdError, ValueError) as e:
            raise StoreDamaged(
                f"raw mail in archive/{place.segment} at {place.start} cannot be read ({e}); restore a backup"
            ) from e

    def segments(self) -> list[str]:
        """Names of all segments, oldest day first."""
        return sorted(str(p.relative_to(self.folder)) for p in self.folder.glob("*/*/*.seg"))

    def scan(self, segment: str) -> Iterator[tuple[Place, Kept]]:
        """Every whole frame of a segment in order; ends at a torn frame, which only a crash leaves, at the end."""
        with (self.folder / segment).open("rb") as f:
            start, rest = 0, b""
            while True:
                whole = _frame(f, rest)
                if whole is None:
                    return
                content, length, rest = whole
                yield Place(segment, start, length), _kept(content)
                start += length

    def close(self) -> None:
        """Let go of the segments; the next append begins new ones."""
        for writer in self._writers:
            writer.close()


def _write_all(file: IO[bytes], frames: Sequence[bytes]) -> None:
    data = memoryview(b"".join(frames))
    while data:
        data = data[file.write(data) :]


def _frame(file: IO[bytes], rest: bytes) -> tuple[bytes, int, bytes] | None:
    unpack = zstandard.ZstdDecompressor().decompressobj()
    parts: list[bytes] = []
    taken = 0
    chunk = rest or file.read(READ)
    while chunk:
        try:
            parts.append(unpack.decompress(chunk))
        except zstandard.ZstdError:
            return None
        taken += len(chunk)
        if unpack.eof:
            left = unpack.unused_data
            return b"".join(parts), taken - len(left), left
        chunk = file.read(READ)
    return None
