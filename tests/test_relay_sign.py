"""Signing: the bytes that are hashed are dkimpy's own, every kind of key signs, and no mail is signed that readers take
in different ways."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import dkim
import pytest
from dkim.canonicalization import Relaxed, Simple
from dkim.util import parse_tag_value
from hypothesis import given, settings
from hypothesis import strategies as st

from dmarcview_relay.dkimdns import record
from dmarcview_relay.keys import RETIRING, SIGNING, KeyRing, SigningKey
from dmarcview_relay.sign import NoKey, Signer, SignError
from dmarcview_smtp.canonical import relaxed_body, simple_body, with_crlf

MAIL = (
    b"From: a@example.org\r\nTo: b@example.net\r\nSubject: hi\r\nDate: Mon, 05 Jan 2026 00:00:00 +0000\r\n"
    b"Message-ID: <1@example.org>\r\n\r\nHello  world \r\n\r\n"
)
NOW = 1_767_600_000


@pytest.fixture
def ring(tmp_path: Path) -> KeyRing:
    return KeyRing(tmp_path / "keys")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Signer, SigningKey]:
    """A signer for many examples, and its key."""
    ring = KeyRing(tmp_path_factory.mktemp("kept") / "keys")
    return Signer(ring), ring.new("example.org", "s1")


def signer(ring: KeyRing) -> Signer:
    return Signer(ring, clock=lambda: NOW)


def tags(content: bytes) -> dict[bytes, bytes]:
    value = content.partition(b":")[2].partition(b"\r\nFrom:")[0]
    return dict(parse_tag_value(value.replace(b"\r\n", b"")))


bodies = st.lists(st.sampled_from([b" ", b"\t", b"\r\n", b"\r\n", b"a", b"b ", b"\x0b", b"\x0c", b".", b"\x80"])).map(
    b"".join
)


@settings(deadline=None)
@given(bodies | st.binary(max_size=60).map(with_crlf))
def test_our_canonical_bodies_are_those_of_dkimpy(body: bytes) -> None:
    if body.endswith((b" ", b"\t")):  # dkimpy leaves a blank there, since its pattern wants a line end
        body += b"\r\n"
    assert relaxed_body(body) == Relaxed.canonicalize_body(body)
    assert simple_body(body) == Simple.canonicalize_body(body)
    assert relaxed_body(relaxed_body(body)) == relaxed_body(body)


def test_the_tags_are_those_that_receivers_agree_on(ring: KeyRing) -> None:
    ring.new("example.org", "s1")
    signed = signer(ring).sign(MAIL, "example.org")
    assert signed.content.endswith(MAIL)
    assert signed.dkim == (("example.org", "s1"),)
    found = tags(signed.content)
    assert {name: found[name] for name in (b"v", b"a", b"c", b"d", b"s", b"t")} == {
        b"v": b"1",
        b"a": b"rsa-sha256",
        b"c": b"relaxed/relaxed",
        b"d": b"example.org",
        b"s": b"s1",
        b"t": str(NOW).encode(),
    }
    assert not {b"i", b"l", b"x"} & set(found)
    assert max(len(line) for line in signed.content.split(b"\r\n")) <= 78


def test_singletons_are_signed_once_more_than_they_occur(ring: KeyRing) -> None:
    ring.new("example.org", "s1")
    names = [name.strip() for name in tags(signer(ring).sign(MAIL, "example.org").content)[b"h"].split(b":")]
    for name in (b"from", b"to", b"subject", b"date", b"message-id"):
        assert names.count(name) == 2
    for name in (b"cc", b"reply-to", b"mime-version", b"content-type", b"content-transfer-encoding", b"in-reply-to"):
        assert names.count(name) == 1
    assert b"list-id" not in names
    listed = signer(ring).sign(b"List-Id: <l.example.org>\r\nSender: c@example.org\r\n" + MAIL, "example.org").content
    names = [name.strip() for name in tags(listed)[b"h"].split(b":")]
    assert names.count(b"list-id") == names.count(b"sender") == 2


@pytest.mark.parametrize("bits", [2048, 3072, 4096])
def test_dkimpy_verifies_what_each_length_of_key_signed(ring: KeyRing, bits: int) -> None:
    key = ring.new("example.org", "s1", bits=bits)
    content = signer(ring).sign(MAIL, "example.org").content
    assert dkim.verify(content, dnsfunc=lambda _, **__: record(key).encode())
    assert not dkim.verify(content.replace(b"Hello", b"Hullo"), dnsfunc=lambda _, **__: record(key).encode())


def test_rsa_and_ed25519_sign_side_by_side(ring: KeyRing) -> None:
    keys = [ring.new("example.org", "e", algorithm="ed25519"), ring.new("example.org", "r")]
    ring.update([(key, replace(key, state=SIGNING)) for key in keys])
    signed = signer(ring).sign(MAIL, "example.org")
    assert signed.dkim == (("example.org", "r"), ("example.org", "e"))
    assert signed.content.count(b"DKIM-Signature: ") == 2
    assert b"a=ed25519-sha256" in signed.content


def test_a_subdomain_is_signed_by_its_nearest_parent_that_has_a_key(ring: KeyRing) -> None:
    ring.new("example.org", "far")
    ring.new("b.example.org", "near")
    sign = signer(ring).sign
    assert sign(MAIL, "a.B.example.org").dkim == (("b.example.org", "near"),)
    assert sign(MAIL, "c.example.org").dkim == (("example.org", "far"),)
    with pytest.raises(NoKey, match=r"example\.net"):
        sign(MAIL, "example.net")
    with pytest.raises(NoKey):
        sign(MAIL, "notexample.org")


def test_a_retiring_key_signs_no_more(ring: KeyRing) -> None:
    key = ring.new("example.org", "old")
    ring.update([(key, replace(key, state=RETIRING))])
    with pytest.raises(NoKey):
        signer(ring).sign(MAIL, "example.org")


@pytest.mark.parametrize(
    "header",
    [
        b"To: b@example.net\r\n",
        b"From: a@example.org\r\nFrom: b@example.org\r\n",
        b"From: a@example.org\r\nFrom : b@example.org\r\n",
        b"From: a@example.org\r\nfrom\t: b@example.org\r\n",
        b"From: a@example.org\r\nSubject: one\r\nsubject: two\r\n",
        b"From: a@example.org\r\nCc: c@example.net\r\nCc: d@example.net\r\n",
        b" folded: first\r\nFrom: a@example.org\r\n",
        b"From: a@example.org\r\n \r\nSubject: after a line of blanks\r\n",
        b"From: a@example.org\r\nSubject: nul\x00\r\n",
        b"From: a@example.org\r\nSubject: feed\x0c\r\n",
        b"From: a@example.org\r\nSubject: bare\rreturn\r\n",
        b"From: a@example.org\nSubject: bare\r\n",
        b"From mbox Mon Jan  5 00:00:00 2026\r\nFrom: a@example.org\r\n",
        b"From: a@example.org\r\nno field\r\n",
        b"From: a@example.org\r\n" + b"Resent-To: a@example.net\r\n" * 300,
        b"\r\nFrom: a@example.org\r\n",
        b"",
    ],
)
def test_a_header_that_readers_take_in_different_ways_is_not_signed(ring: KeyRing, header: bytes) -> None:
    ring.new("example.org", "s1")
    with pytest.raises(SignError):
        signer(ring).sign(header + b"\r\nbody\r\n", "example.org")


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_what_is_promised(kept: tuple[Signer, SigningKey], header: bytes) -> None:
    try:
        content = kept[0].sign(header + b"\r\n\r\nbody\r\n", "example.org").content
    except SignError:
        return
    assert dkim.verify(content, dnsfunc=lambda _, **__: record(kept[1]).encode())


@pytest.mark.parametrize("name", [b"Resent-From", b"Resent-" + b"B" * 300, b"resent-x" * 9])
def test_a_field_of_any_name_leaves_the_signature_right(kept: tuple[Signer, SigningKey], name: bytes) -> None:
    content = kept[0].sign(name + b": c@example.org\r\n" + MAIL, "example.org").content
    assert dkim.verify(content, dnsfunc=lambda _, **__: record(kept[1]).encode())


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([b"Subject", b"To", b"X-A", b"Received", b"Comments", b"List-Id"]),
            st.lists(st.sampled_from([b"a", b" ", b"\t", b"\r\n ", b"\r\n\t", b"\xc3\xa4", b":"])).map(b"".join),
        ),
        max_size=6,
    )
)
def test_whatever_header_is_signed_verifies(kept: tuple[Signer, SigningKey], fields: list[tuple[bytes, bytes]]) -> None:
    header = b"".join(name + b":" + value + b"\r\n" for name, value in (*fields, (b"From", b" a@example.org")))
    try:
        content = kept[0].sign(header + b"\r\nbody\r\n", "example.org").content
    except SignError:
        return
    assert dkim.verify(content, dnsfunc=lambda _, **__: record(kept[1]).encode())
