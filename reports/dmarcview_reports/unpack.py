"""From the bytes of one input to its payloads: what each piece is, is decided by its content and never by a name.

A declared type or a file name is often wrong (gzip called zip, XML called octet-stream), and a sender could lie with
it. Only the tree of a mail is taken from its headers, since nothing else says where a part begins.
"""

from __future__ import annotations

import binascii
import re
import zlib
from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

from . import mail as mime
from .archives import DEFLATE, GZIP, ZLIB, Member, Meter, Unpacked, expand, inflate, is_tar, tar_members
from .errors import Refused
from .mbox import looks_like_mbox, split_bytes
from .model import Refusal
from .settings import Limits
from .zips import zip_members

HEAD = 65_536  # bytes that are looked at to say what something is


class MailFacts(NamedTuple):
    """What the mail around a payload says of itself. `from_domain` is read leniently: a name, no proof."""

    from_domain: str | None


class Payload(NamedTuple):
    """One thing found. `kind` is xml, failure, tls, parsedmarc or unknown; `cautions` are codes of vocab.WARNINGS."""

    where: str  # "part 2 > a.zip > b.xml"; "" for the whole input
    kind: str
    content: bytes
    mail: MailFacts | None = None
    cautions: tuple[str, ...] = ()


def payloads(raw: bytes, limits: Limits) -> Iterator[Payload | Refusal]:
    """All payloads of one input in order, one in memory at a time; a member that cannot be read comes as a Refusal.

    Raises Refused when the input as a whole is refused: empty, too_large.
    """
    if not _VISIBLE.search(raw):
        raise Refused("empty", "The input holds no bytes. Ask the sender to send it again.")
    if len(raw) > limits.xml_bytes:
        raise Refused(
            "too_large",
            f"The input has {len(raw)} bytes. Raise [limits] xml_bytes if you trust it.",
            "xml_bytes",
        )
    yield from _Walk(limits).content(raw, _Place())


def kind_of(data: bytes) -> str:
    """What `data` is: xml, tls, parsedmarc, mail, mbox, gzip, zlib, deflate, bzip2, xz, zip, tar, or unknown."""
    for magic, kind in _MAGIC:
        if data.startswith(magic):
            return kind
    if _REGULAR_XML.match(data, 0, 1024):
        return "xml"
    first = data[:64].lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    if first in (b"{", b"["):
        return _kind_of_json(data)
    if is_tar(data):
        return "tar"
    if first != b"<" and mime.looks_like_mail(data):
        return "mbox" if looks_like_mbox(data) else "mail"
    return "xml" if _is_xml(data) else _kind_of_binary(data)


_VISIBLE = re.compile(rb"\S")
_MAGIC = (
    (b"\x1f\x8b", "gzip"),
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
    (b"PK\x07\x08", "zip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
)
_REGULAR_XML = re.compile(rb"\s*(?:<\?xml[^>]*\?>\s*)?<(?:[A-Za-z_][\w.-]*:)?feedback[\s/>]", re.I)
_FIRST_TAG = re.compile(rb"<(?:[A-Za-z_][\w.-]*:)?([A-Za-z_][\w.-]*)")
_FEEDBACK = re.compile(rb"(?:<|DOCTYPE\s+)(?:[A-Za-z_][\w.-]*:)?feedback\b", re.I)


def _is_xml(data: bytes) -> bool:
    """Is the first element `feedback`? Comments, declarations, junk before it and UTF-16 are looked through."""
    head = data[:HEAD]
    if head[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\x00" in head[:4]:
        head = head.replace(b"\x00", b"")
    if b"<" not in head:
        return False
    before, *comments = head.split(b"<!--")
    text = before + b"".join(comment.partition(b"-->")[2] for comment in comments)
    if b"<!" in text:  # a document type may hold anything; the XML reader refuses it with the right word
        return _FEEDBACK.search(text) is not None
    first = _FIRST_TAG.search(text)
    return first is not None and first[1].lower() == b"feedback"


def _kind_of_json(data: bytes) -> str:
    head = data[: 16 * HEAD]
    if b'"report_metadata"' in head and b'"policy_published"' in head:
        return "parsedmarc"
    if b'"policies"' in head and (b'"organization-name"' in head or b'"report-id"' in head):  # RFC 8460 section 4.4
        return "tls"
    return "unknown"


def _kind_of_binary(data: bytes) -> str:
    """Formats without a sure sign: a header that adds up, or a try on the first bytes."""
    if len(data) > 2 and data[0] & 0x8F == 0x08 and int.from_bytes(data[:2], "big") % 31 == 0 and _inflates(data, ZLIB):
        return "zlib"  # RFC 1950 section 2.2
    if data[:64].isascii():  # packed bytes never are
        return "unknown"
    opened = _inflates(data, DEFLATE)
    return "deflate" if opened.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<" else "unknown"


def _inflates(data: bytes, wrapping: int) -> bytes:
    try:
        return zlib.decompressobj(wrapping).decompress(data[:1024], 256)
    except zlib.error:
        return b""


class _Place(NamedTuple):
    """Where the walk stands: names on the way, archives and mails around, the mail's facts, repairs so far."""

    names: tuple[str, ...] = ()
    archives: int = 0
    mails: int = 0
    mail: MailFacts | None = None
    cautions: tuple[str, ...] = ()

    @property
    def where(self) -> str:
        return " > ".join(self.names)

    def refusal(self, refused: Refused) -> Refusal:
        return Refusal(refused.code, refused.message, self.where)

    def inside(self, name: str, cautions: tuple[str, ...] = ()) -> _Place:
        names = (*self.names, name) if name else self.names
        return self._replace(names=names, cautions=self.cautions + cautions)


class _Walk:
    """One input on its way through archives and mails; holds the running totals."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.parts = 0

    @cached_property
    def meter(self) -> Meter:
        return Meter(self.limits)

    def content(self, data: bytes, place: _Place, kind: str = "") -> Iterator[Payload | Refusal]:
        """Payloads of `data`, whatever it is. Raises nothing: what is refused is yielded."""
        kind = kind or kind_of(data)
        if kind in ("xml", "tls", "unknown") or (kind == "parsedmarc" and not place.mails):
            yield Payload(place.where, kind, data, place.mail, place.cautions)
            return
        try:
            if kind == "mail":
                yield from self.mail(data, place)
            elif kind == "mbox":
                yield from self.mbox(data, place)
            elif kind == "parsedmarc":  # another program's history is the user's to import, never a stranger's to mail
                yield Payload(place.where, "unknown", data, place.mail, place.cautions)
            else:
                yield from self.archive(data, kind, place)
        except Refused as refused:
            yield place.refusal(refused)

    def archive(self, data: bytes, kind: str, place: _Place) -> Iterator[Payload | Refusal]:
        if place.archives >= self.limits.nesting:
            raise Refused(
                "too_deep",
                f"More than {self.limits.nesting} archives inside one another. "
                "Raise [limits] nesting if you trust the sender.",
                "nesting",
            )
        place = place._replace(archives=place.archives + 1)
        stream = self.stream(data, kind)
        if stream is not None:
            if len(stream.content) == 0:
                raise Refused("empty", "The archive holds no bytes. Ask the sender to send it again.")
            yield from self.member(stream.content, place.inside("", stream.cautions))
            return
        members = zip_members(data, self.meter) if kind == "zip" else tar_members(data, self.meter)
        for member in members:
            yield from self.file(member, place)

    def stream(self, data: bytes, kind: str) -> Unpacked | None:
        """The one content of a plain stream; None for an archive of files."""
        if kind in ("zip", "tar"):
            return None
        if kind in ("bzip2", "xz"):
            return expand(data, kind, self.meter)
        return inflate(data, {"gzip": GZIP, "zlib": ZLIB, "deflate": DEFLATE}[kind], self.meter)

    def file(self, member: Member, place: _Place) -> Iterator[Payload | Refusal]:
        place = place.inside(member.name, member.cautions)
        if member.name.startswith("__MACOSX/"):  # what a Mac adds to each file; never a report
            return
        if member.refused is not None:
            yield place.refusal(member.refused)
        elif member.content:
            yield from self.member(member.content, place)

    def member(self, content: bytes, place: _Place) -> Iterator[Payload | Refusal]:
        """Payloads of unpacked `content`, which stays in memory as long as what is inside it is read."""
        self.meter.live += len(content)
        try:
            yield from self.content(content, place)
        finally:
            self.meter.live -= len(content)

    def mbox(self, data: bytes, place: _Place) -> Iterator[Payload | Refusal]:
        for number, mail in enumerate(split_bytes(data, self.limits), 1):
            if number > self.limits.archive_members:
                raise Refused(
                    "too_many_members",
                    f"More than {self.limits.archive_members} mails in an mbox that is inside something else. "
                    "Unpack it and import the mbox, or raise [limits] archive_members.",
                    "archive_members",
                )
            here = place.inside(f"mail {number}")
            if isinstance(mail, Refused):
                yield here.refusal(mail)
            else:
                yield from self.content(mail, here, "mail")

    def mail(self, raw: bytes, place: _Place) -> Iterator[Payload | Refusal]:
        limits = self.limits
        if len(raw) > limits.mail_bytes:
            raise Refused(
                "too_large",
                f"The mail has {len(raw)} bytes. Raise [limits] mail_bytes if you trust the sender.",
                "mail_bytes",
            )
        if place.mails > limits.nesting:
            raise Refused(
                "too_deep",
                f"More than {limits.nesting} mails inside one another. Raise [limits] nesting if you trust the sender.",
                "nesting",
            )
        tree = mime.read_mail(raw, limits)
        self.parts += len(tree.leaves)
        if self.parts > limits.mime_parts:
            raise Refused(
                "too_many_members",
                f"The mails in it have more than {limits.mime_parts} MIME parts. "
                "Raise [limits] mime_parts if you trust the sender.",
                "mime_parts",
            )
        # The outermost mail is the one that was verified; a mail inside it is only what it forwards.
        facts = place.mail or MailFacts(mime.from_domain(tree.header))
        place = place._replace(mail=facts, mails=place.mails + 1)
        if tree.report_type == "feedback-report" or any(p.type == "message/feedback-report" for p in tree.leaves):
            yield Payload(place.where, "failure", raw, facts, place.cautions)  # RFC 5965 section 2
            return
        for part in tree.leaves:
            yield from self.leaf(raw, part, place)

    def leaf(self, raw: bytes, part: mime.Part, place: _Place) -> Iterator[Payload | Refusal]:
        found = mime.body(raw, part)
        content = found.content
        if not content.strip():
            return
        kind = kind_of(content)
        if part.type in ("message/rfc822", "message/global") and kind in ("unknown", "xml", "mbox"):
            kind = "mail"
        elif kind in ("mail", "mbox") and part.type.startswith("text/"):  # a text that quotes a header is no mail
            kind = "xml" if _is_xml(content) else "unknown"
        cautions = found.cautions
        if kind == "unknown":
            content, kind, cautions = _second_look(raw, part, content)
        label = ""
        if part.number:
            dull = kind == "unknown" and part.type.startswith("text/")
            name = "" if dull else mime.file_name(part)
            label = f"part {part.number} {name}" if name else f"part {part.number}"
        yield from self.content(content, place.inside(label, part.cautions + cautions), kind)


_ENCODED = (b"H4sI", b"UEsDB", b"PD94bWwg", b"PGZlZWRi", b"77u/PD94")  # base64 of gzip, zip, <?xml, <feedb, BOM <?xml


def _second_look(raw: bytes, part: mime.Part, content: bytes) -> tuple[bytes, str, tuple[str, ...]]:
    """A body that makes no sense as declared: perhaps it was not encoded, or encoded and not declared so."""
    plain = raw[part.start : part.end].lstrip()
    if plain != content and plain:
        kind = kind_of(plain)
        if kind not in ("unknown", "mail", "mbox"):
            return plain, kind, ("wrong_encoding",)
    if content.lstrip()[:8].startswith(_ENCODED):
        try:
            decoded = mime.decode_base64(content).content
        except binascii.Error:
            return content, "unknown", ()
        kind = kind_of(decoded)
        if kind not in ("unknown", "mail", "mbox"):
            return decoded, kind, ("wrong_encoding",)
    return content, "unknown", ()
