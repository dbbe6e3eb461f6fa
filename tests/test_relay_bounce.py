"""Reports to senders are what RFC 3464, 6522 and 6533 say, whatever the other side answered."""

from __future__ import annotations

import email
import email.policy
import re
from email.message import EmailMessage, Message
from email.utils import parsedate_to_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmarcview_relay.bounce import DELAYED, FAILED, FULL_BYTES, RELAYED, Author, report
from dmarcview_relay.envelope import BOUNCE, WARNING, Mail, Queued, Recipient
from dmarcview_relay.outcome import REPLY_BYTES, Link, RemoteReply
from dmarcview_relay.status import Told, original, status_code, typed
from dmarcview_smtp.address import Address
from tests.relay_mails import AT, BUSY, LINK, TAKEN, UNKNOWN, address, mail

AUTHOR = Author("mail.example.org")
CONTENT = (
    b"Received: by mail.example.org\r\nFrom: News <news@example.org>\r\nTo: bob@example.net\r\n"
    b"bcc: secret@example.com,\r\n\tmore-secret@example.com\r\nSubject: July\r\nBCC :secret@example.com\r\n"
    b"Resent-Bcc: secret@example.com\r\nMessage-ID: <1@example.org>\r\n\r\nHello Bob,\r\n\r\nBcc: is a field.\r\n"
)
KEPT = ["Received", "From", "To", "Subject", "Message-ID"]
LONG = UNKNOWN._replace(text="No such user\n See https://support.example.net/mail/?p=NoSuchUser\nfor a00-20020 - gsmtp")
WIDE = Address("jörg", "exämple.org")


def told(text: str = "bob@example.net", reply: RemoteReply = UNKNOWN, link: Link = LINK) -> Told:
    return Recipient(address(text)), reply, link


def queued(**more: object) -> Queued:
    return Queued("0abcDEF12345", 7, mail(**more), ())  # type: ignore[arg-type]


def made(*each: Told, action: str = FAILED, content: bytes = CONTENT, **more: object) -> tuple[Mail, EmailMessage]:
    options = {key: more.pop(key) for key in ("full", "until") if key in more}
    envelope, raw = report(queued(**more), content, each or (told(),), action, AUTHOR, now=AT + 60, **options)  # type: ignore[arg-type]
    return envelope, read(raw, envelope)


def read(raw: bytes, envelope: Mail) -> EmailMessage:
    """Parsed, after the checks that hold for each report there is."""
    assert envelope.sender is None
    assert envelope.size == len(raw)
    assert raw.endswith(b"\r\n")
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", raw)
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    assert envelope.eight_bit or raw.isascii()
    message = email.message_from_bytes(raw, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    assert [part.defects for part in message.walk() if part.defects] == []
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"
    assert len(parts(message)) == 3
    assert raw.count(str(message.get_boundary()).encode()) == 5
    return message


def parts(message: Message) -> list[EmailMessage]:
    return list(message.get_payload())  # type: ignore[arg-type]


def blocks(message: Message) -> list[Message]:
    """The fields of the mail, then those of each recipient."""
    status = parts(message)[1]
    if status.get_content_type() == "message/delivery-status":
        return list(status.get_payload())  # type: ignore[arg-type]
    text = status.get_payload(0).as_bytes(policy=email.policy.SMTPUTF8).decode()  # type: ignore[union-attr]
    return [email.message_from_string(block) for block in text.replace("\r\n", "\n").split("\n\n") if block.strip()]


def words(message: Message) -> str:
    return str(parts(message)[0].get_content())


def test_a_bounce_is_a_mail_from_nobody_with_three_parts() -> None:
    envelope, message = made()
    assert envelope.recipients == (Recipient(address("news@example.org")),)
    assert (envelope.kind, envelope.from_domain, envelope.accepted) == (BOUNCE, "mail.example.org", AT + 60)
    assert [part.get_content_type() for part in parts(message)] == [
        "text/plain", "message/delivery-status", "text/rfc822-headers",
    ]  # fmt: skip
    assert message["From"].addresses[0].addr_spec == "MAILER-DAEMON@mail.example.org"
    assert message["To"].addresses[0].addr_spec == "news@example.org"
    assert message["Auto-Submitted"] == "auto-replied"
    assert message["References"] == message["In-Reply-To"] == "<1@example.org>"
    assert message["Message-ID"] == envelope.message_id
    assert parsedate_to_datetime(message["Date"]).timestamp() == AT + 60
    assert message["MIME-Version"] == "1.0"


def test_the_fields_are_those_of_rfc_3464() -> None:
    recipient = Recipient(address("bob@example.net"), ("FAILURE",), "rfc822;Bob+2Bold@example.net")
    _, message = made((recipient, LONG, LINK), envid="QQ+2B314159")
    about, one = blocks(message)
    assert about["Reporting-MTA"] == "dns; mail.example.org"
    assert about["Original-Envelope-Id"] == "QQ+314159"
    assert parsedate_to_datetime(about["Arrival-Date"]).timestamp() == AT
    assert one.keys() == [
        "Original-Recipient", "Final-Recipient", "Action", "Status", "Remote-MTA", "Diagnostic-Code",
        "Last-Attempt-Date",
    ]  # fmt: skip
    assert one["Original-Recipient"] == "rfc822; Bob+old@example.net"
    assert one["Final-Recipient"] == "rfc822; bob@example.net"
    assert (one["Action"], one["Status"]) == ("failed", "5.1.1")
    assert one["Remote-MTA"] == "dns; mx.example.net"
    assert parsedate_to_datetime(one["Last-Attempt-Date"]).timestamp() == AT + 60


def test_the_whole_reply_stands_in_words_and_fields_line_by_line() -> None:
    _, message = made(told(reply=LONG))
    lines = [
        "550-5.1.1 No such user",
        "550-5.1.1 See https://support.example.net/mail/?p=NoSuchUser",
        "550 5.1.1 for a00-20020 - gsmtp",
    ]
    assert [line.strip() for line in words(message).splitlines() if "550" in line] == lines
    assert "mx.example.net [192.0.2.25] said:" in words(message)
    _, raw = report(queued(), CONTENT, [told(reply=LONG)], FAILED, AUTHOR, now=AT)
    assert f"\r\nDiagnostic-Code: smtp; {lines[0]}\r\n {lines[1]}\r\n {lines[2]}\r\nLast-".encode() in raw


def test_our_own_words_are_not_passed_off_as_a_reply() -> None:
    own = RemoteReply(0, "", "no address of example.net answers", "connect", False)
    _, message = made(told(reply=own, link=Link()))
    one = blocks(message)[1]
    assert one["Diagnostic-Code"] == "x-dmarcview; no address of example.net answers"
    assert one["Status"] == "5.0.0"
    assert "Remote-MTA" not in one
    assert "said:" not in words(message)


@pytest.mark.parametrize(
    ("action", "reply", "status"),
    [
        (FAILED, UNKNOWN, "5.1.1"),
        (FAILED, BUSY, "4.7.1"),  # expired
        (FAILED, UNKNOWN._replace(enhanced="2.0.0"), "5.0.0"),
        (FAILED, UNKNOWN._replace(enhanced="5.1.1\r\nX: y"), "5.0.0"),
        (FAILED, UNKNOWN._replace(enhanced="", code=0), "5.0.0"),
        (DELAYED, BUSY._replace(enhanced=""), "4.0.0"),
        (DELAYED, UNKNOWN, "4.0.0"),
        (RELAYED, TAKEN, "2.0.0"),
        (RELAYED, TAKEN._replace(enhanced="5.0.0"), "2.0.0"),
    ],
)
def test_the_status_fits_the_action(action: str, reply: RemoteReply, status: str) -> None:
    assert status_code(reply, action) == status


def test_a_warning_says_until_when_it_is_tried_and_returns_the_header_only() -> None:
    envelope, message = made(told(reply=BUSY), action=DELAYED, until=AT + 432_000, full=True, ret="FULL")
    assert envelope.kind == WARNING
    one = blocks(message)[1]
    assert (one["Action"], one["Status"]) == ("delayed", "4.7.1")
    assert parsedate_to_datetime(one["Will-Retry-Until"]).timestamp() == AT + 432_000
    assert f"tried until {one['Will-Retry-Until']}" in words(message)
    assert parts(message)[2].get_content_type() == "text/rfc822-headers"


def test_a_success_is_told_as_relayed() -> None:
    envelope, message = made(told(reply=TAKEN), action=RELAYED, full=True)
    one = blocks(message)[1]
    assert (one["Action"], one["Status"]) == ("relayed", "2.0.0")
    assert envelope.kind == BOUNCE
    assert parts(message)[2].get_content_type() == "text/rfc822-headers"


# what is returned


@pytest.mark.parametrize(
    ("full", "ret", "kind"),
    [(False, "", "text/rfc822-headers"), (True, "", "message/rfc822"), (True, "HDRS", "text/rfc822-headers"),
     (False, "FULL", "message/rfc822")],
)  # fmt: skip
def test_ret_goes_before_the_setting(full: bool, ret: str, kind: str) -> None:
    _, message = made(full=full, ret=ret)
    returned = parts(message)[2]
    assert returned.get_content_type() == kind
    if kind == "message/rfc822":
        inner = returned.get_payload(0)
        assert isinstance(inner, Message)
        assert inner.keys() == KEPT
    else:
        assert email.message_from_string(str(returned.get_content())).keys() == KEPT


def test_what_asked_for_tls_all_the_way_comes_back_so_and_without_its_text() -> None:
    envelope, message = made(ret="FULL", require_tls=True, full=True)
    assert envelope.require_tls  # RFC 8689 section 5
    assert parts(message)[2].get_content_type() == "text/rfc822-headers"


@pytest.mark.parametrize("full", [False, True])
def test_blind_recipients_are_never_quoted(full: bool) -> None:
    _, raw = report(queued(), CONTENT, [told()], FAILED, AUTHOR, now=AT, full=full)
    assert b"secret" not in raw
    assert (b"Bcc: is a field." in raw) is full
    assert (b"Hello Bob" in raw) is full


def test_a_returned_mail_is_byte_for_byte_what_was_sent() -> None:
    body = b"8-bit \xc3\xa9 \xff\r\n..\r\n--=x=--\r\nFrom here\r\n \t \r\n" + b"long " * 180 + b"\r\n"
    content = b"Subject: raw\r\n\r\n" + body
    envelope, raw = report(queued(), content, [told()], FAILED, AUTHOR, now=AT, full=True)
    assert envelope.eight_bit
    assert not envelope.utf8
    assert b"\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + content + b"\r\n--=" in raw
    read(raw, envelope)


@pytest.mark.parametrize(
    "content", [b"", b"\r\n", b"\r\nbody only\r\n", b"Subject: no body\r\n", b"X: y\r\n\r\nno end"]
)
@pytest.mark.parametrize("full", [False, True])
def test_a_strange_mail_gets_its_report_too(content: bytes, full: bool) -> None:
    made(content=content, full=full)


def test_of_a_very_large_mail_the_header_is_returned() -> None:
    _, message = made(content=CONTENT + b"x\r\n" * (FULL_BYTES // 3), full=True)
    assert parts(message)[2].get_content_type() == "text/rfc822-headers"


# beyond ASCII


def test_a_sender_beyond_ascii_gets_the_forms_of_rfc_6533() -> None:
    content = "From: jörg@exämple.org\r\nSubject: Grüße\r\nBcc: secret@example.com\r\n\r\nHallö\r\n".encode()
    wide = Recipient(Address("björn", "exämple.net"), (), "utf-8;bj\\x{F6}rn@ex\\x{E4}mple.net")
    original_mail = Queued("0abcDEF12345", 7, Mail(WIDE, (wide,), AT, len(content), utf8=True), ())
    for full, kinds in ((False, "message/global-headers"), (True, "message/global")):
        envelope, raw = report(original_mail, content, [(wide, UNKNOWN, LINK)], FAILED, AUTHOR, now=AT, full=full)
        message = read(raw, envelope)
        assert (envelope.utf8, envelope.eight_bit) == (True, True)
        assert envelope.recipients == (Recipient(WIDE),)
        assert [part.get_content_type() for part in parts(message)][1:] == ["message/global-delivery-status", kinds]
        one = raw.decode().split("\r\n\r\n")
        (fields,) = [block for block in one if block.startswith("Original-Recipient: ")]
        assert "Original-Recipient: utf-8; björn@exämple.net\r\nFinal-Recipient: utf-8; björn@exämple.net\r\n" in fields
        assert "To: <jörg@exämple.org>\r\n" in raw.decode()
        assert "Subject: Grüße\r\n" in raw.decode()
        assert b"secret" not in raw
        assert "björn@exämple.net" in words(message)


def test_a_sender_in_ascii_gets_a_report_that_passes_everywhere() -> None:
    content = "From: news@example.org\r\nTo: björn@exämple.net\r\nSubject: Grüße\r\n\r\nHallö\r\n".encode()
    wide = Recipient(Address("bj+örn", "exämple.net"), (), "utf-8;bj\\x{2B}\\x{F6}rn@ex\\x{E4}mple.net")
    envelope, message = made((wide, UNKNOWN, LINK), content=content, full=True, utf8=True)
    assert (envelope.utf8, envelope.eight_bit) == (False, False)
    one = blocks(message)[1]
    expected = "utf-8; bj\\x{2B}\\x{F6}rn@ex\\x{E4}mple.net"
    assert (one["Original-Recipient"], one["Final-Recipient"]) == (expected, expected)
    assert "bj+örn@exämple.net" in words(message)
    returned = parts(message)[2]
    assert returned.get_content_type() == "text/rfc822-headers"
    assert returned.get_content() == content.decode().removesuffix("\r\nHallö\r\n")


def test_addresses_are_typed_and_quoted() -> None:
    assert typed(Address("a b", "example.net"), wide=False) == 'rfc822; "a b"@example.net'
    assert typed(Address("a=\\b", "exämple.net"), wide=False) == 'utf-8; "a\\x{3D}\\x{5C}\\x{5C}b"@ex\\x{E4}mple.net'


# hostile


def assert_whole(message: Message, count: int = 1) -> None:
    """No reply, ORCPT or ENVID began a field or a block of its own."""
    about, *each = blocks(message)
    assert set(about.keys()) <= {"Reporting-MTA", "Original-Envelope-Id", "Arrival-Date", "X-Queue-Id"}
    assert len(each) == count
    for one in each:
        assert len(set(one.keys())) == len(one.keys())
        assert set(one.keys()) <= {"Original-Recipient", "Final-Recipient", "Action", "Status", "Remote-MTA",
                                   "Diagnostic-Code", "Last-Attempt-Date", "Will-Retry-Until"}  # fmt: skip
        assert one["Action"] == "failed"


@pytest.mark.parametrize(
    "text",
    [
        "\x1b[2J\x00\x07\x7f\x9b1m",
        "no\r\nAction: delivered\r\n\r\nFinal-Recipient: rfc822; x@example.com",
        "\n\n\n",
        "   \n\t\n ",
        "",
        "é\xff\udcff\ud800 名 \u202e\u2028\u0085x",
        "x" * REPLY_BYTES,
        "名" * REPLY_BYTES,
        "\n".join("y" * 500 for _ in range(16)),
        "--=boundary=--\n--=boundary=",
    ],
)
@pytest.mark.parametrize("said", [True, False])
def test_a_hostile_reply_stays_inside_its_field(text: str, said: bool) -> None:
    hostile = RemoteReply(550, "5.0.0\n", text, "rcpt", said)
    link = Link(host="mx.example.net\r\nX-Evil: 1\x1b", address="\x00")
    _, message = made(told(reply=hostile, link=link))
    assert_whole(message)
    for sender in (WIDE, address("news@example.org")):
        original_mail = Queued("0abcDEF12345", 7, Mail(sender, (), AT, 1), ())
        read(*reversed(report(original_mail, CONTENT, [told(reply=hostile, link=link)], FAILED, AUTHOR, now=AT)))


@given(st.text(), st.text(), st.text(), st.text(), st.booleans())
def test_nothing_from_outside_can_break_a_report(text: str, host: str, orcpt: str, envid: str, said: bool) -> None:
    recipient = Recipient(address("bob@example.net"), (), f"rfc822;{orcpt}")
    reply = RemoteReply(550, "5.1.1", text, "rcpt", said)
    _, message = made((recipient, reply, Link(host=host)), envid=envid, message_id=f"<{text}>")
    assert_whole(message)


@pytest.mark.parametrize(
    "text",
    ["", "rfc822", "no type", "a b;x", "rf\r\nc;x", "rfc822;a+0D+0AAction:+20x", "utf-8;\\x{D800}\\x{FFFFFF}\\x{0A}"],
)
def test_an_original_recipient_cannot_bring_a_line_of_its_own(text: str) -> None:
    for wide in (True, False):
        assert original(text, wide=wide).isprintable()


def test_a_thousand_failed_recipients_make_one_report_of_bearable_size() -> None:
    long = UNKNOWN._replace(text="\n".join(["why " * 100] * 20))
    all_told = [told(f"user{at}@example.net", long._replace(code=550 + at % 5)) for at in range(1_000)]
    envelope, message = made(*all_told, content=CONTENT)
    assert_whole(message, 1_000)
    assert [str(one["Final-Recipient"]) for one in blocks(message)[1:]] == [
        f"rfc822; user{at}@example.net" for at in range(1_000)
    ]
    assert envelope.size < 1_000_000
    assert "and 180 more, named in the second part" in words(message)
    assert len(words(message)) < 100_000


def test_many_different_replies_are_named_up_to_a_limit() -> None:
    _, message = made(*(told(f"user{at}@example.net", UNKNOWN._replace(text=f"No {at}")) for at in range(50)))
    assert "No 19" in words(message)
    assert "No 20" not in words(message)
    assert "30 more recipients are named in the second part" in words(message)
    assert_whole(message, 50)


# who gets none


def test_the_null_sender_gets_no_report() -> None:
    with pytest.raises(ValueError, match="null sender"):
        report(queued(sender=""), CONTENT, [told()], FAILED, AUTHOR, now=AT)


def test_answers_go_to_the_postmaster_who_is_set() -> None:
    envelope, raw = report(queued(), CONTENT, [told()], FAILED, Author("mail.example.org", "pm@example.com"), now=AT)
    assert read(raw, envelope)["From"].addresses[0].addr_spec == "pm@example.com"
    assert envelope.from_domain == "example.com"


def test_a_strange_message_id_is_not_referred_to() -> None:
    _, message = made(message_id="<a@b>\r\nX-Evil: 1")
    assert message["References"] is None
    assert message["X-Evil"] is None
