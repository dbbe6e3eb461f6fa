"""Takes streams and tars apart within limits that run while bytes come out: gzip, zlib, deflate, bzip2, xz, tar.

Sizes that an archive states are never believed: every stream is inflated in slices, and stops at the first of three
bounds of `Meter`. So memory follows our limits and never the sender's numbers.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from typing import NamedTuple, Protocol

from .errors import Refused
from .settings import Limits

RATIO_FREE = 1_000_000  # bytes that may come out of any archive, whatever its ratio
TOTAL_FACTOR = 4  # one input may unpack to this many times xml_bytes in all, one payload after the other
XZ_MEMORY = 64 * 1024 * 1024  # bytes that one xz stream may ask for its dictionary

_CHUNK = 64 * 1024  # packed bytes given to zlib at once: it copies what it leaves over
_SLICE = 1024 * 1024  # most bytes taken from a decompressor at once
_SALVAGE = 1024  # packed bytes at once when a damaged stream is read again
_STREAMS = 10_000  # most gzip members one after the other

GZIP, ZLIB, DEFLATE = 31, 15, -15  # zlib's names for its three wrappings


class Unpacked(NamedTuple):
    """What came out of one stream: the bytes, how many packed bytes it took, codes of `vocab.WARNINGS`."""

    content: bytes
    consumed: int
    cautions: tuple[str, ...] = ()


class Member(NamedTuple):
    """One file of an archive; `refused` says why there is no content."""

    name: str
    content: bytes = b""
    cautions: tuple[str, ...] = ()
    refused: Refused | None = None


class Meter:
    """The running totals of one input. `live` is what the archives around the present one hold, in bytes."""

    __slots__ = ("limits", "live", "total")

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.live = 0
        self.total = 0

    def bound(self, packed: int) -> int:
        """Most bytes that a stream of `packed` bytes may become."""
        limits = self.limits
        room = min(limits.xml_bytes - self.live, limits.xml_bytes * TOTAL_FACTOR - self.total)
        return max(0, min(room, max(RATIO_FREE, limits.expansion_ratio * packed)))

    def over(self, packed: int) -> Refused:
        """Why `bound(packed)` was exceeded, naming the setting to raise."""
        limits = self.limits
        if max(RATIO_FREE, limits.expansion_ratio * packed) <= self.bound(packed):
            return Refused(
                "expansion_ratio",
                f"{packed} packed bytes unpack to more than {limits.expansion_ratio} times as much. "
                "Raise [limits] expansion_ratio if you trust the sender.",
                "expansion_ratio",
            )
        return Refused(
            "too_large",
            f"It unpacks to more than {limits.xml_bytes} bytes, all archives around it counted. "
            "Raise [limits] xml_bytes if you trust the sender.",
            "xml_bytes",
        )

    def charge(self, size: int, packed: int) -> None:
        """Count `size` bytes that came out of `packed`; raises Refused when that was too much."""
        if size > self.bound(packed):
            raise self.over(packed)
        self.total += size


def inflate(packed: bytes, wrapping: int, meter: Meter) -> Unpacked:
    """The content of one zlib-made stream (and of the gzip members that follow it).

    A stream without its end gives what inflates and `cut_archive`; a wrong checksum gives `bad_checksum`; bytes after
    the end give `junk_after_archive`, unless they are zeros. Raises Refused: bad_archive, too_large, expansion_ratio.
    """
    if len(packed) <= _CHUNK:  # nearly every report: one call, no copies
        stream = zlib.decompressobj(wrapping)
        try:
            content = stream.decompress(packed, min(meter.bound(len(packed)), _SLICE) + 1)
        except zlib.error:
            return _salvage(packed, wrapping, meter)
        if stream.eof and not stream.unused_data:
            meter.charge(len(content), len(packed))
            return Unpacked(content, len(packed))
    try:
        return _inflate_long(packed, wrapping, meter)
    except zlib.error:
        return _salvage(packed, wrapping, meter)


def _inflate_long(packed: bytes, wrapping: int, meter: Meter) -> Unpacked:
    view = memoryview(packed)
    out = io.BytesIO()  # its getvalue() hands over the buffer without a copy
    bound = meter.bound(len(packed))
    position, size, streams = 0, 0, 1
    stream = zlib.decompressobj(wrapping)
    rest: bytes | memoryview = b""
    cautions: tuple[str, ...] = ()
    while True:
        if not rest:
            rest = view[position : position + _CHUNK]
            position += len(rest)
            if not rest:
                cautions = ("cut_archive",)
                break
        while True:  # a full slice may leave output behind even when all input is taken
            piece = stream.decompress(rest, _SLICE)
            rest = stream.unconsumed_tail
            out.write(piece)
            size += len(piece)
            if size > bound:
                raise meter.over(len(packed))
            if len(piece) < _SLICE or stream.eof:
                break
        if stream.eof:
            position -= len(stream.unused_data)
            follows = bytes(view[position : position + 3])
            if wrapping != GZIP or follows[:2] != b"\x1f\x8b" or len(follows) < 3:
                break
            streams += 1
            if streams > _STREAMS:
                raise Refused("bad_archive", f"More than {_STREAMS} gzip members. Ask the sender to send it again.")
            stream = zlib.decompressobj(wrapping)
            rest = b""
    meter.total += size
    if not cautions and packed[position:].strip(b"\x00\r\n"):
        cautions = ("junk_after_archive",)
    return Unpacked(out.getvalue(), position, cautions)


def _salvage(packed: bytes, wrapping: int, meter: Meter) -> Unpacked:
    """Read a stream that zlib called damaged again in small steps, and keep all that came before the fault."""
    out = io.BytesIO()
    bound = meter.bound(len(packed))
    stream = zlib.decompressobj(wrapping)
    position, size = 0, 0
    fine = len(packed) - _SALVAGE  # the last steps take one byte each, so that a bad checksum costs no content
    code = "cut_archive"
    try:
        while position < len(packed) and not stream.eof:
            rest = packed[position : position + (_SALVAGE if position + _SALVAGE < fine else 1)]
            position += len(rest)
            while rest:
                piece = stream.decompress(rest, 4096)
                rest = stream.unconsumed_tail
                out.write(piece)
                size += len(piece)
                if size > bound:
                    raise meter.over(len(packed))
    except zlib.error as error:
        if "check" in str(error) and "header" not in str(error):
            code = "bad_checksum"
    if not size:
        raise Refused("bad_archive", "The compressed data is damaged from its start. Ask the sender to send it again.")
    meter.total += size
    return Unpacked(out.getvalue(), position, (code,))


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = ..., /) -> bytes: ...


def expand(packed: bytes, kind: str, meter: Meter) -> Unpacked:
    """The content of a `bzip2` or `xz` stream, under the same bounds as `inflate`."""
    import bz2
    import lzma

    stream: _Decompressor
    stream = bz2.BZ2Decompressor() if kind == "bzip2" else lzma.LZMADecompressor(memlimit=XZ_MEMORY)
    out = io.BytesIO()
    bound = meter.bound(len(packed))
    position, size = 0, 0
    cautions: tuple[str, ...] = ()
    try:
        while not stream.eof:
            chunk = b""
            if stream.needs_input:
                chunk = packed[position : position + _CHUNK]
                position += len(chunk)
                if not chunk:
                    cautions = ("cut_archive",)
                    break
            piece = stream.decompress(chunk, _SLICE)
            out.write(piece)
            size += len(piece)
            if size > bound:
                raise meter.over(len(packed))
    except (OSError, lzma.LZMAError, ValueError):
        cautions = ("cut_archive",)
    if not size:
        raise Refused("bad_archive", f"The {kind} data is damaged. Ask the sender to send it again.")
    if stream.eof:
        position -= len(stream.unused_data)
        if packed[position:].strip(b"\x00\r\n"):
            cautions = ("junk_after_archive",)
    meter.total += size
    return Unpacked(out.getvalue(), position, cautions)


_TAR_BLOCK = 512
_TAR_SKIPPED = b"12345678DKLMNSVXgx"  # types that are no plain file: links, devices, folders, long names, pax headers


def is_tar(data: bytes) -> bool:
    """Does the first block carry a true tar checksum (POSIX.1-1988; also tars from before `ustar`)?"""
    block = data[:_TAR_BLOCK]
    if len(block) < _TAR_BLOCK:
        return False
    stated = _octal(block[148:156])
    return stated is not None and stated > 256 and stated == sum(block) - sum(block[148:156]) + 8 * 32


def tar_members(data: bytes, meter: Meter) -> Iterator[Member]:
    """The plain files of a tar in order. Raises Refused too_many_members."""
    position, blocks = 0, 0
    while position + _TAR_BLOCK <= len(data):
        block = data[position : position + _TAR_BLOCK]
        if not block.strip(b"\x00"):
            return
        size = _octal(block[124:136])
        blocks += 1
        if blocks > meter.limits.archive_members:
            raise too_many_members(meter.limits)
        name = member_name(block[:100].split(b"\x00", 1)[0])
        if size is None or not is_tar(block):
            yield Member(name, refused=Refused("bad_archive", "A header of the tar is damaged. Ask for it again."))
            return
        start = position + _TAR_BLOCK
        position = start + -(-size // _TAR_BLOCK) * _TAR_BLOCK
        if block[156:157] in (b"0", b"\x00", b"7") and not name.endswith("/"):
            end = min(start + size, len(data))
            try:
                meter.charge(end - start, end - start)
            except Refused as refused:
                yield Member(name, refused=refused)
                continue
            yield Member(name, data[start:end], ("cut_archive",) if end < start + size else ())


def _octal(field: bytes) -> int | None:
    if field[:1] == b"\x80":  # GNU: base 256
        return int.from_bytes(field[1:], "big")
    text = field.strip(b" \x00")
    if not text:
        return 0
    return int(text, 8) if text.isdigit() and not text.strip(b"01234567") else None


def too_many_members(limits: Limits) -> Refused:
    """The refusal of an archive with more members than `archive_members`."""
    return Refused(
        "too_many_members",
        f"The archive has more than {limits.archive_members} members. "
        "Raise [limits] archive_members if you trust the sender.",
        "archive_members",
    )


def member_name(raw: bytes) -> str:
    """A name for people, 200 bytes at most, without control characters."""
    return "".join(c if c.isprintable() else "?" for c in raw[:200].decode("utf-8", "replace")) or "unnamed"
