"""The MIME walk finds what the library's parser finds on well-formed mail, and more on broken mail."""

import base64
import email
import email.policy
import quopri
from email.message import Message
from email.mime.application import MIMEApplication
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmarcview_reports import mail as mime
from dmarcview_reports import mbox
from dmarcview_reports.errors import Refused
from dmarcview_reports.settings import Limits

LIMITS = Limits()


@st.composite
def leaves(draw: st.DrawFn) -> Message:
    content = draw(st.binary(max_size=200))
    how = draw(st.sampled_from(["base64", "text", "quoted-printable", "8bit"]))
    if how == "base64":
        return MIMEApplication(content, draw(st.sampled_from(["gzip", "zip", "octet-stream"])))
    if how == "text":
        return MIMEText(draw(st.text(st.characters(codec="ascii", exclude_characters="\r"), max_size=200)))
    part = Message()
    part["Content-Type"] = "text/xml"
    part["Content-Transfer-Encoding"] = how
    clean = content.replace(b"\r", b"").replace(b"\x00", b"")
    part.set_payload((quopri.encodestring(clean) if how != "8bit" else clean).decode("ascii", "surrogateescape"))
    return part


@st.composite
def trees(draw: st.DrawFn, depth: int = 0) -> Message:
    if depth >= 3 or draw(st.booleans()):
        return draw(leaves())
    root = MIMEMultipart(draw(st.sampled_from(["mixed", "alternative", "related", "report"])))
    for _ in range(draw(st.integers(1, 4))):
        root.attach(draw(trees(depth=depth + 1)))
    return root


def leaf_bytes(message: Message) -> list[tuple[str, bytes]]:
    return [
        (part.get_content_type(), part.get_payload(decode=True) or b"")  # type: ignore[misc]
        for part in message.walk()
        if not part.is_multipart()
    ]


@settings(max_examples=300, deadline=None)
@given(trees(), st.booleans())
def test_walk_equals_the_library_on_well_formed_mail(tree: Message, crlf: bool) -> None:
    tree["From"] = "Example <noreply@example.net>"
    tree["Subject"] = "Report"
    policy = email.policy.compat32.clone(linesep="\r\n" if crlf else "\n", mangle_from_=False)
    raw = tree.as_bytes(policy=policy)
    library = email.message_from_bytes(raw)
    ours = mime.read_mail(raw, LIMITS)
    assert [(leaf.type, mime.body(raw, leaf).content) for leaf in ours.leaves] == leaf_bytes(library)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300), st.integers(1, 90))
def test_base64_is_read_as_it_was_written(content: bytes, width: int) -> None:
    text = base64.b64encode(content)
    lines = b"\r\n".join(text[i : i + width] for i in range(0, len(text), width))
    assert mime.decode_base64(lines) == (content, ())
    assert mime.decode_base64(lines.replace(b"=", b"")).content == content
    assert mime.decode_base64(b"!" + lines + b"~").content == content


@given(st.lists(st.binary(min_size=1, max_size=50), min_size=1, max_size=5))
def test_base64_pieces_with_their_own_padding_are_joined(pieces: list[bytes]) -> None:
    text = b"\n".join(base64.b64encode(piece) for piece in pieces)
    assert mime.decode_base64(text).content == b"".join(pieces)


@pytest.mark.parametrize(
    ("value", "domain"),
    [
        (b"noreply@example.net", "example.net"),
        (b"Example <noreply@EXAMPLE.net>", "example.net"),
        (b'"a@example.org" <noreply@example.net>', "example.net"),
        (b"noreply@example.net (someone@example.org)", "example.net"),
        (b"=?utf-8?q?Caf=C3=A9?=\r\n <noreply@sub.example.net>", "sub.example.net"),
        (b"nobody", None),
        (b"", None),
    ],
)
def test_from_domain(value: bytes, domain: str | None) -> None:
    assert mime.from_domain(b"Subject: x@example.com\nFrom: " + value + b"\n") == domain


def test_gzip_under_a_charset_keeps_every_byte() -> None:
    content = bytes(range(256)).replace(b"\n", b"")
    raw = b"From: a@example.net\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n" + content
    (leaf,) = mime.read_mail(raw, LIMITS).leaves
    assert mime.body(raw, leaf).content == content


@pytest.mark.parametrize(
    ("raw", "setting"),
    [
        (b"From: a\nContent-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\n" * 1002, "mime_parts"),
        (b"From: a\nContent-Type: multipart/mixed; boundary=b\n\n" + b"--bx\n" * 100_002, "mime_parts"),
    ],
)
def test_too_many_parts_are_refused_with_the_setting(raw: bytes, setting: str) -> None:
    with pytest.raises(Refused) as refused:
        mime.read_mail(raw, LIMITS)
    assert refused.value.setting == setting
    assert setting in refused.value.message


def test_multiparts_nested_without_end_are_refused() -> None:
    raw = b"From: a\n" + b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(mime.MULTIPART_DEPTH + 1)
    )
    with pytest.raises(Refused, match="too_deep"):
        mime.read_mail(raw, LIMITS)


def test_a_boundary_that_begins_another_is_not_taken_for_it() -> None:
    inner = b"Content-Type: multipart/mixed; boundary=bb\n\n--bb\n\none\n--bb--\n"
    raw = b"From: a\nContent-Type: multipart/mixed; boundary=b\n\n--b\n" + inner + b"--b\n\ntwo\n--b--\n"
    bodies = [mime.body(raw, leaf).content for leaf in mime.read_mail(raw, LIMITS).leaves]
    assert bodies == [b"one", b"two"]


MBOX = (
    b"From a@example.net Fri Jan  2 03:04:05 2026\nFrom: a@example.net\n\none\n>From here\nFrom there\n\n"
    b"From b@example.net Fri Jan  2 03:04:06 2026\nFrom: b@example.net\n\ntwo\n"
)


def test_mbox_is_split_at_from_lines_and_unquoted() -> None:
    assert list(mbox.split_bytes(MBOX, LIMITS)) == [
        b"From: a@example.net\n\none\nFrom here\nFrom there\n\n",
        b"From: b@example.net\n\ntwo\n",
    ]


def test_mail_too_large_in_an_mbox_is_refused_alone() -> None:
    big = b"From c@example.net Fri Jan  2 03:04:07 2026\n\n" + b"x" * 100_000 + b"\n\n"
    found = list(mbox.split_bytes(big + MBOX, Limits(mail_bytes=50_000)))
    assert isinstance(found[0], Refused)
    assert found[0].setting == "mail_bytes"
    assert len(found) == 3
