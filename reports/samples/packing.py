"""How samples are packed: archives that are the same on every day, and mails put together by hand."""

from __future__ import annotations

import base64
import gzip
import io
import quopri
import tarfile
import zipfile
import zlib

FILE = "receiver.example.net!example.com!1767225600!1767312000.xml"


def gz(data: bytes, name: str = "") -> bytes:
    out = io.BytesIO()
    with gzip.GzipFile(name, "wb", 9, out, mtime=0) as file:
        file.write(data)
    return out.getvalue()


def zipped(*files: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in files:
            archive.writestr(zipfile.ZipInfo(name, (2026, 1, 2, 0, 0, 0)), data, method)
    return out.getvalue()


def encrypted_zip(*files: tuple[str, bytes]) -> bytes:
    data = bytearray(zipped(*files))
    data[6] |= 1
    data[data.rfind(b"PK\x01\x02") + 8] |= 1
    return bytes(data)


def tarred(*files: tuple[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def deflated(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


def b64(data: bytes) -> bytes:
    return base64.encodebytes(data)


HEAD = (
    b"Received: from mx.receiver.example.net (mx.receiver.example.net [198.51.100.7])\n"
    b"\tby mail.example.com with ESMTPS id 4fXk2; Fri, 02 Jan 2026 03:04:05 +0000\n"
    b"From: Example Receiver <noreply@receiver.example.net>\n"
    b"To: dmarc@example.com\n"
    b"Subject: Report Domain: example.com Submitter: receiver.example.net\n Report-ID: <20260101.1>\n"
    b"Date: Fri, 02 Jan 2026 03:04:00 +0000\n"
    b"Message-ID: <20260101.1@receiver.example.net>\n"
    b"MIME-Version: 1.0\n"
)
HELLO = b"Content-Type: text/plain; charset=us-ascii\n\nThis is an aggregate report.\n"


def single(type_: bytes, encoding: bytes, body: bytes, head: bytes = HEAD) -> bytes:
    cte = b"Content-Transfer-Encoding: " + encoding + b"\n" if encoding else b""
    return head + b"Content-Type: " + type_ + b"\n" + cte + b"\n" + body


def multi(*parts: bytes, type_: bytes = b"multipart/mixed", boundary: bytes = b"=_b1", head: bytes = HEAD) -> bytes:
    lines = b"".join(b"--" + boundary + b"\n" + part + (b"" if part.endswith(b"\n") else b"\n") for part in parts)
    return head + b"Content-Type: " + type_ + b'; boundary="' + boundary + b'"\n\n' + lines + b"--" + boundary + b"--\n"


def attached(
    data: bytes, type_: bytes = b"application/gzip", name: str = FILE + ".gz", encoding: bytes = b"base64"
) -> bytes:
    body = {b"base64": b64, b"quoted-printable": quopri.encodestring}.get(encoding, bytes)(data)
    return (
        b"Content-Type: " + type_ + b"\nContent-Transfer-Encoding: " + encoding
        + b'\nContent-Disposition: attachment; filename="' + name.encode() + b'"\n\n' + body
    )  # fmt: skip


def stray(text: bytes) -> bytes:
    return text[:40] + b"!*" + text[40:80] + b"\x00-" + text[80:]
