"""Takes zip files apart by hand, because the number and sizes that it states are checked before use."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from .archives import DEFLATE, Member, Meter, Unpacked, expand, inflate, member_name, too_many_members
from .errors import Refused
from .settings import Limits


class _Entry(NamedTuple):
    """One line of a zip's central directory (APPNOTE 4.3.12)."""

    name: str
    flags: int
    method: int
    crc: int
    packed: int
    offset: int


_CENTRAL = struct.Struct("<4s6H3I5H2I")
_LOCAL = struct.Struct("<4s5H3I2H")
_END = struct.Struct("<4s4H2IH")
_END64 = struct.Struct("<4sQ2H2I4Q")
_ENCRYPTED = 0x1 | 0x40 | 0x2000  # APPNOTE 4.4.4, bits 0, 6 and 13
_SIZES_FOLLOW = 0x8  # bit 3: the local header does not know the sizes


def zip_members(data: bytes, meter: Meter) -> Iterator[Member]:
    """The files of a zip, by its central directory, or by its local headers when the directory was cut off.

    Folders are left out; a damaged or encrypted member comes as a refusal beside the good ones.
    Raises Refused for the whole: too_many_members, bad_archive (members overlap; nothing readable).
    """
    entries = _directory(data, meter.limits)
    if entries is None:
        yield from _members_of_cut_zip(data, meter)
        return
    end = 0
    for entry in sorted(entries, key=lambda e: e.offset):
        if entry.offset < end:
            raise Refused("bad_archive", "Members of the zip overlap, as no honest packer makes them.")
        end = entry.offset + _LOCAL.size + entry.packed
    for entry in entries:
        if entry.name.endswith("/") and not entry.packed:
            continue
        try:
            start = _content_start(data, entry.offset)
            yield _member(data[start : start + entry.packed], entry, meter)
        except Refused as refused:
            yield Member(entry.name, refused=refused)


def _directory(data: bytes, limits: Limits) -> list[_Entry] | None:
    """The central directory, or None when there is none to read."""
    at = data.rfind(b"PK\x05\x06")
    if at < 0 or at + _END.size > len(data):
        return None
    _, _, _, _, _, size, offset, _ = _END.unpack_from(data, at)
    if 0xFFFFFFFF in (size, offset):  # zip64, APPNOTE 4.3.14
        at64 = data.rfind(b"PK\x06\x06", 0, at)
        if at64 >= 0 and at64 + _END64.size <= at:
            *_, size, offset = _END64.unpack_from(data, at64)
            at = at64
    before = max(0, at - size - offset)  # bytes in front of the archive shift every offset
    position = before + offset
    entries: list[_Entry] = []
    while data[position : position + 4] == b"PK\x01\x02" and position + _CENTRAL.size <= len(data):
        if len(entries) >= limits.archive_members:
            raise too_many_members(limits)
        f = _CENTRAL.unpack_from(data, position)
        flags, method, crc, packed, plain, local = f[3], f[4], f[7], f[8], f[9], f[16]
        position += _CENTRAL.size
        name, extra = data[position : position + f[10]], data[position + f[10] : position + f[10] + f[11]]
        position += f[10] + f[11] + f[12]
        packed, local = _zip64_sizes(extra, plain, packed, local)
        entries.append(_Entry(member_name(name), flags, method, crc, packed, local + before))
    return entries or None


def _zip64_sizes(extra: bytes, plain: int, packed: int, local: int) -> tuple[int, int]:
    """Packed size and offset, from the zip64 extra field when the short fields are full (APPNOTE 4.5.3)."""
    while len(extra) >= 4:
        tag, size = struct.unpack_from("<2H", extra)
        field, extra = extra[4 : 4 + size], extra[4 + size :]
        if tag != 1:
            continue
        longs = [int.from_bytes(field[i : i + 8], "little") for i in range(0, len(field) - 7, 8)]
        if plain == 0xFFFFFFFF and longs:
            longs.pop(0)
        if packed == 0xFFFFFFFF and longs:
            packed = longs.pop(0)
        if local == 0xFFFFFFFF and longs:
            local = longs.pop(0)
    return packed, local


def _content_start(data: bytes, offset: int) -> int:
    if data[offset : offset + 4] != b"PK\x03\x04" or offset + _LOCAL.size > len(data):
        raise Refused("bad_archive", "A member of the zip is not where its directory says. Ask for it again.")
    f = _LOCAL.unpack_from(data, offset)
    return int(offset + _LOCAL.size + f[9] + f[10])


def _member(packed: bytes, entry: _Entry, meter: Meter) -> Member:
    if entry.flags & _ENCRYPTED or entry.method == 99:
        raise Refused("encrypted_archive", "The zip asks for a password. Ask the sender for one without.")
    if entry.method == 0:
        meter.charge(len(packed), len(packed))
        found = Unpacked(packed, len(packed), ("cut_archive",) if len(packed) < entry.packed else ())
    elif entry.method == 8:
        found = inflate(packed, DEFLATE, meter)
    elif entry.method == 12:
        found = expand(packed, "bzip2", meter)
    else:
        raise Refused("bad_archive", f"The zip is packed by method {entry.method}; ask the sender for deflate.")
    cautions = found.cautions
    if not cautions and zlib.crc32(found.content) != entry.crc:
        cautions = ("bad_checksum",)
    return Member(entry.name, found.content, cautions)


def _members_of_cut_zip(data: bytes, meter: Meter) -> Iterator[Member]:
    position, count = 0, 0
    while data[position : position + 4] == b"PK\x03\x04" and position + _LOCAL.size <= len(data):
        count += 1
        if count > meter.limits.archive_members:
            raise too_many_members(meter.limits)
        f = _LOCAL.unpack_from(data, position)
        flags, method, crc, packed = f[2], f[3], f[6], f[7]
        name = member_name(data[position + _LOCAL.size : position + _LOCAL.size + f[9]])
        start = position + _LOCAL.size + f[9] + f[10]
        if flags & _ENCRYPTED:
            yield Member(
                name, refused=Refused("encrypted_archive", "The zip asks for a password. Ask for one without.")
            )
            return
        try:
            if method == 8 and (flags & _SIZES_FOLLOW or start + packed > len(data)):
                found = inflate(data[start:], DEFLATE, meter)
                position = start + found.consumed
                position += 16 if data[position : position + 4] == b"PK\x07\x08" else 0
                yield Member(name, found.content, ("cut_archive",))
                continue
            member = _member(data[start : start + packed], _Entry(name, flags, method, crc, packed, position), meter)
            yield member._replace(cautions=("cut_archive",))
        except Refused as refused:
            yield Member(name, refused=refused)
        position = max(start + packed, position + _LOCAL.size)
    if not count:
        raise Refused("bad_archive", "The zip has no directory and no member. Ask the sender to send it again.")
