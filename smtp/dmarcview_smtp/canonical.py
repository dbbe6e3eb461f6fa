"""Canonical bodies of DKIM (RFC 6376 section 3.4), in time linear to their size; the verifier and the signer use them.

dkimpy's own relaxed body is quadratic on runs of blanks. Given a body that is canonical already, its step changes
nothing and is quick, so both wings hand it one of these.
"""

from __future__ import annotations


def with_crlf(text: bytes) -> bytes:
    """Every line end as CR LF."""
    return text.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def simple_body(body: bytes) -> bytes:
    """Simple canonical form of a body with CR LF line ends (RFC 6376 section 3.4.3)."""
    bare = body.rstrip(b"\r\n")
    # Only whole CR LF at the end are empty lines; the tail holds no NUL, so that can stand for one of them.
    tail = body[len(bare) :].replace(b"\r\n", b"\x00").rstrip(b"\x00").replace(b"\x00", b"\r\n")
    return bare + tail + b"\r\n"


def relaxed_body(body: bytes) -> bytes:
    """Relaxed canonical form of a body with CR LF line ends (RFC 6376 section 3.4.4)."""
    body = body.replace(b"\t", b" ")
    while b"  " in body:  # each round halves the longest run
        body = body.replace(b"  ", b" ")
    body = simple_body(body.replace(b" \r\n", b"\r\n").removesuffix(b" "))  # a last line without end is a line too
    return b"" if body == b"\r\n" else body
