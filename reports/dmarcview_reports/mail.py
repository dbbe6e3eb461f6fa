"""Walks the MIME tree of a mail over its raw bytes: leaves as offsets, bodies decoded one at a time, all of it bounded.

The library's parser makes an object a part and a list a line, so that a mail of a million parts costs gigabytes; it is
also most of the time that a small report takes. This walk is held equal to it by tests on well-formed mail, and is
more patient with broken mail: each repair is a code of `vocab.WARNINGS`.
"""

from __future__ import annotations

import binascii
import re
from typing import NamedTuple

from .errors import Refused
from .settings import Limits

MULTIPART_DEPTH = 20  # most multiparts inside one another in one mail
_PIECES = 1_000  # base64 texts one after the other in one part
_PARAMETERS = 65_536  # bytes of a Content-Type that are looked at
_FALSE_STARTS = 100  # lines that only look like a boundary, a part of mime_parts

# RFC 5322 section 2.2: names of printable bytes but colon; a line that begins with a blank goes on (section 2.2.3).
# Possessive, so that a header of a million lines leaves nothing to go back to.
_HEADERS = re.compile(rb"(?:[!-9;-~]++:[^\n]*+\n(?:[ \t][^\n]*+\n)*+)*+")
_VALUE = re.compile(rb"[^\n]*+(?:\n[ \t][^\n]*+)*+")
_FRONT = re.compile(rb"(?:\xef\xbb\xbf)?[\r\n]*+(?:>?From [^\n]*+\n)?")
_BOUNDARY = re.compile(rb""";\s*boundary\s*=\s*(?:"((?:[^"\\]|\\.)*+)"|([^;\s"]+))""", re.I | re.S)
_REPORT_TYPE = re.compile(rb""";\s*report-type\s*=\s*"?([^";\s]+)""", re.I)
_NAME = re.compile(rb""";\s*(?:file)?name\s*=\s*(?:"((?:[^"\\]|\\.)*+)"|([^;\s"]+))""", re.I | re.S)
_AFTER_BOUNDARY = re.compile(rb"(--)?[ \t]*(?:\r?\n|\r|\Z)")
_GUESS = re.compile(
    rb"(?:\A|\n)--([^\s][^\r\n]{0,198}?)[ \t]{0,20}\r?\n[!-9;-~]{1,60}:"
)  # a line --x that a header follows
_NOT_BASE64 = bytes(b for b in range(256) if not (chr(b).isalnum() and b < 128) and b not in b"+/=")
_DOMAIN = re.compile(rb"@[ \t]*([A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252}[A-Za-z0-9])?)")
_COMMENT = re.compile(rb"\([^()]*\)|\"(?:[^\"\\]|\\.)*+\"", re.S)


class Part(NamedTuple):
    """One part of a mail: where its body lies in the raw bytes, and what its header says."""

    number: str  # "1", "2.1": place in the tree; "" for a mail that is no multipart
    header: bytes
    start: int
    end: int
    type: str  # lower case, without parameters
    parameters: bytes  # of the Content-Type, from the first semicolon on
    cautions: tuple[str, ...] = ()


class Mail(NamedTuple):
    """The leaves of one mail in order, without those of mails inside it."""

    header: bytes
    type: str
    report_type: str  # RFC 6522 report-type, lower case; "" for none
    leaves: tuple[Part, ...]


def looks_like_mail(data: bytes) -> bool:
    """Does it begin with a header field, and is there one in the header that every mail has?"""
    start = _start(data)
    first = _FIRST_NAME.match(data, start)
    if first and first[1].lower() in _USUAL:
        return True
    header = data[start : start + 65_536]
    found = _HEADERS.match(header)
    assert found is not None
    if not found.end() and b"\n" in header:
        return False
    names = b"\n" + (header[: found.end()] or header).lower()
    return any(b"\n" + name in names for name in _USUAL)


_FIRST_NAME = re.compile(rb"([!-9;-~]{1,40}:)")
_USUAL = frozenset({
    b"from:", b"received:", b"content-type:", b"mime-version:", b"subject:", b"date:", b"return-path:",
    b"delivered-to:", b"to:", b"message-id:",
})  # fmt: skip


def _start(data: bytes) -> int:
    """Where the header begins: after a byte order mark, blank lines and one `From ` line of an mbox."""
    found = _FRONT.match(data)
    assert found is not None
    return found.end()


def header_of(raw: bytes) -> bytes:
    """The header of a mail, without what an mbox or an editor put before it."""
    return _split_header(raw, _start(raw), len(raw))[0]


def read_mail(raw: bytes, limits: Limits) -> Mail:
    """The tree of `raw`. Raises Refused: too_many_members (mime_parts), too_deep."""
    start = _start(raw)
    header, body = _split_header(raw, start, len(raw))
    type_, parameters = _content_type(header, "text/plain")
    leaves: list[Part] = []
    _grow(raw, Part("", header, body, len(raw), type_, parameters), 0, leaves, limits)
    report = _REPORT_TYPE.search(parameters) if type_ == "multipart/report" else None
    return Mail(header, type_, report[1].decode("latin-1").lower() if report else "", tuple(leaves))


def _split_header(raw: bytes, start: int, end: int) -> tuple[bytes, int]:
    """(header, start of the body). A line that is no header field ends the header, as a blank line does."""
    found = _HEADERS.match(raw, start, end)
    assert found is not None
    stop = found.end()
    if raw.startswith(b"\r\n", stop, end):
        return raw[start:stop], stop + 2
    if raw.startswith(b"\n", stop, end):
        return raw[start:stop], stop + 1
    if stop < end and raw.find(b"\n", stop, end) < 0 and _HEADERS.match(raw[stop:end] + b"\n").end():  # type: ignore[union-attr]
        return raw[start:end] + b"\n", end  # a header field without line end, and no body
    return raw[start:stop], stop


def field(header: bytes, name: bytes) -> bytes:
    """Value of the first field `name` (lower case), unfolded; b"" when there is none."""
    lower = header.lower()
    at = 0 if lower.startswith(name + b":") else lower.find(b"\n" + name + b":") + 1
    if not at and not lower.startswith(name + b":"):
        return b""
    at += len(name) + 1
    value = _VALUE.match(header, at)
    assert value is not None
    return value[0].replace(b"\r", b"").replace(b"\n", b"").strip()


def _content_type(header: bytes, default: str) -> tuple[str, bytes]:
    """(type, parameters). RFC 2045 section 5.2: text/plain when it is missing or makes no sense."""
    value = field(header, b"content-type")
    if not value:
        return default, b""
    name, semicolon, parameters = value.partition(b";")
    type_ = name.strip().lower().decode("latin-1")
    return (type_ if type_.count("/") == 1 else "text/plain"), semicolon + parameters[:_PARAMETERS]


def _boundary(part: Part) -> bytes:
    found = _BOUNDARY.search(part.parameters)
    if found:
        quoted, bare = found.groups()
        return re.sub(rb"\\(.)", rb"\1", quoted).rstrip() if quoted is not None else bytes(bare)
    if b"boundary*" not in part.parameters.lower():
        return b""
    from email.parser import BytesHeaderParser  # RFC 2231 pieces: rare, and the library knows them

    mail = BytesHeaderParser().parsebytes(b"Content-Type: x/x" + part.parameters + b"\n\n")
    return (mail.get_boundary() or "").encode("latin-1", "replace")


def _grow(raw: bytes, part: Part, depth: int, leaves: list[Part], limits: Limits) -> None:
    """Add the leaves of `part` in order."""
    if part.type.startswith("multipart/"):
        boundary = _boundary(part)
        spans, closed = _spans(raw, part.start, part.end, boundary, limits) if boundary else ([], True)
        cautions = part.cautions
        if not spans:
            guess = _GUESS.search(raw, part.start, part.end)
            if guess:
                spans, closed = _spans(raw, part.start, part.end, guess[1], limits)
                cautions = (*cautions, "wrong_boundary")
        if spans:
            if depth >= MULTIPART_DEPTH:
                raise Refused("too_deep", f"More than {MULTIPART_DEPTH} multiparts inside one another.")
            default = "message/rfc822" if part.type == "multipart/digest" else "text/plain"  # RFC 2046 section 5.1.5
            for index, (start, end) in enumerate(spans, 1):
                header, body = _split_header(raw, start, end)
                type_, inner = _content_type(header, default)
                last = ("missing_boundary",) if not closed and index == len(spans) else ()
                number = f"{part.number}.{index}" if part.number else str(index)
                child = Part(number, header, body, end, type_, inner, (*cautions, *last))
                _grow(raw, child, depth + 1, leaves, limits)
            return
    leaves.append(part)
    if len(leaves) > limits.mime_parts:
        raise _too_many(limits)


def _spans(raw: bytes, start: int, end: int, boundary: bytes, limits: Limits) -> tuple[list[tuple[int, int]], bool]:
    """Where the parts between the boundary lines lie, and whether the closing line came (RFC 2046 section 5.1.1)."""
    delimiter = b"--" + boundary
    spans: list[tuple[int, int]] = []
    opened = -1
    at = start if raw.startswith(delimiter, start, end) else raw.find(b"\n" + delimiter, start, end) + 1
    false_starts = 0
    while at > 0:  # a multipart has a header, so its body never begins at 0
        tail = _AFTER_BOUNDARY.match(raw, at + len(delimiter), end)
        if tail:
            if opened >= 0:
                spans.append((opened, max(opened, _before_line_end(raw, at))))
                if len(spans) > limits.mime_parts:
                    raise _too_many(limits)
            if tail[1]:
                return spans, True
            opened = tail.end()
        else:
            false_starts += 1
            if false_starts > limits.mime_parts * _FALSE_STARTS:
                raise _too_many(limits)
        at = raw.find(b"\n" + delimiter, at + len(delimiter) - 1 if not tail else tail.end() - 1, end) + 1
    if opened >= 0:
        spans.append((opened, end))
    return spans, False


def _before_line_end(raw: bytes, at: int) -> int:
    """The line end before a boundary belongs to the boundary (RFC 2046 section 5.1.1)."""
    return at - 2 if raw[at - 2 : at] == b"\r\n" else at - 1


def _too_many(limits: Limits) -> Refused:
    return Refused(
        "too_many_members",
        f"The mail has more than {limits.mime_parts} MIME parts. Raise [limits] mime_parts if you trust the sender.",
        "mime_parts",
    )


class Body(NamedTuple):
    """The bytes of one leaf, and codes of the repairs."""

    content: bytes
    cautions: tuple[str, ...] = ()


def body(raw: bytes, part: Part) -> Body:
    """The leaf's content, its transfer encoding undone (RFC 2045 section 6); no charset is ever applied."""
    encoding = field(part.header, b"content-transfer-encoding").lower()
    encoded = raw[part.start : part.end]
    if encoding.startswith(b"base64"):
        return decode_base64(encoded)
    if encoding.startswith(b"quoted-printable"):
        return Body(binascii.a2b_qp(encoded))
    return Body(encoded)  # 7bit, 8bit, binary, and whatever else: as it stands


def decode_base64(encoded: bytes) -> Body:
    """Bytes of a base64 text. What is not of its alphabet is left out with `stray_base64` (RFC 2045 section 6.8).

    Padding that is missing, or that stands in the middle because pieces were encoded one by one, costs nothing.
    """
    text = encoded.translate(None, b"\r\n \t")
    try:
        return Body(binascii.a2b_base64(text, strict_mode=True))
    except binascii.Error:
        pass
    bare = text.translate(None, _NOT_BASE64)
    pieces = bare.split(b"=", _PIECES)
    pieces[-1] = pieces[-1].replace(b"=", b"")
    content = b"".join(binascii.a2b_base64(p[: len(p) - (len(p) % 4 == 1)] + b"==") for p in pieces if p)
    return Body(content, ("stray_base64",) if len(bare) != len(text) else ("odd_padding",))


def file_name(part: Part) -> str:
    """The name a part gives itself, for people: printable, at most 120 characters, "" for none."""
    name = ""
    for name_of in (b"content-disposition", b"content-type"):
        value = field(part.header, name_of)
        found = _NAME.search(value)
        if found:
            name = (found[1] if found[1] is not None else found[2]).decode("utf-8", "replace")
        elif b"name*" in value.lower():  # RFC 2231: pieces and charsets, which the library puts together
            from email.parser import BytesHeaderParser

            try:
                name = BytesHeaderParser().parsebytes(b"Content-Disposition:" + value + b"\n\n").get_filename() or ""
            except (ValueError, LookupError, UnicodeError):
                name = ""
        if name:
            break
    return "".join(c for c in name if c.isprintable())[:120]


def from_domain(header: bytes) -> str | None:
    """Domain of the first address in From, lower case, read leniently: it stands in for a name, never for trust."""
    value = field(header, b"from")[:4096]
    if not value:
        return None
    angle = value.rfind(b"<")
    found = _DOMAIN.search(value, angle) if angle >= 0 else None
    found = found or _DOMAIN.search(_COMMENT.sub(b"", value)) or _DOMAIN.search(value)
    return found[1].decode("ascii").lower().strip(".") or None if found else None
