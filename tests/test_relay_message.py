"""A mail before it is signed: completed, cleaned, and refused when two readers could see two authors in it."""

# ruff: noqa: E501 (cases of a kind stand together)

from __future__ import annotations

import email
import email.policy
import email.utils
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmarcview_relay.author import AuthorError, read_mailboxes
from dmarcview_relay.message import LOCAL, Prepared, Refused, Trace, normalised, prepare, received
from dmarcview_smtp.address import Address

NOW = 1_767_225_600.0  # 2026-01-01 00:00:00 UTC
WAY = Trace("0123456789AB", "c.test", "192.0.2.1")
GOOD = "From: a@b.test\r\n"


def ready(header: str | bytes, body: bytes = b"x\r\n", trace: Trace = WAY) -> Prepared:
    raw = header.encode() if isinstance(header, str) else header
    return prepare(raw + b"\r\n" + body, trace, hostname="mx.test", now=NOW)


def refusal(header: str | bytes, body: bytes = b"x\r\n") -> str:
    with pytest.raises(Refused) as caught:
        ready(header, body)
    assert (caught.value.reply.code, caught.value.reply.enhanced) == (550, "5.6.0")
    return caught.value.reply.text


# what is added and taken away


def test_date_and_message_id_are_added_below_received_and_the_rest_stays_byte_for_byte() -> None:
    made = ready(f"Subject: a\r\n  b\r\n{GOOD}X-y:z\r\n", b"\r\n. body \r\n\r\n")
    assert re.fullmatch(
        rb"Received: from c\.test \(\[192\.0\.2\.1\]\)\r\n"
        rb"\tby mx\.test with ESMTP id 0123456789AB; Thu, 01 Jan 2026 00:00:00 \+0000\r\n"
        rb"Message-ID: <0123456789AB\.[0-9a-f]{12}@mx\.test>\r\nDate: Thu, 01 Jan 2026 00:00:00 \+0000\r\n"
        rb"Subject: a\r\n  b\r\nFrom: a@b\.test\r\nX-y:z\r\n\r\n\r\n\. body \r\n\r\n",
        made.content,
    ) or pytest.fail(repr(made.content))
    assert made.message_id.encode() in made.content
    assert (made.from_domain, made.froms) == ("b.test", (Address("a", "b.test"),))


def test_what_a_mail_has_itself_is_kept() -> None:
    made = ready(f"{GOOD}date: whenever\r\nMESSAGE-ID: <x@y>\r\n")
    assert made.message_id == "<x@y>"
    assert made.content.count(b"\r\n") == 2 + 3 + 2
    assert b"\r\ndate: whenever\r\nMESSAGE-ID: <x@y>\r\n\r\nx\r\n" in made.content


def test_an_empty_date_or_message_id_is_replaced() -> None:
    made = ready(f"Date: \r\n{GOOD}Message-ID:\r\n  \t\r\n".replace("\r\n  \t", ""))
    read = email.message_from_bytes(made.content)
    assert read.get_all("Date") == ["Thu, 01 Jan 2026 00:00:00 +0000"]
    assert read.get_all("Message-ID") == [made.message_id]


@pytest.mark.parametrize("name", ["Bcc", "BCC", "bcc", "Resent-Bcc", "Return-Path", "return-path"])
def test_hidden_recipients_and_return_paths_are_taken_out_folded_and_doubled(name: str) -> None:
    made = ready(
        f"{name}: s1@h.test,\r\n\ts2@h.test\r\n{GOOD}{name}:s3@h.test\r\nTo: x@y.test\r\n{name}: s4@h.test\r\n"
    )
    assert b"h.test" not in made.content
    assert made.content.endswith(b"From: a@b.test\r\nTo: x@y.test\r\n\r\nx\r\n")


def test_a_field_that_only_looks_like_bcc_stays() -> None:
    made = ready(f"{GOOD}X-Bcc: a\r\nSubject: x\r\n Bcc: y\r\n", b"Bcc: in the body\r\n")
    assert made.content.endswith(b"X-Bcc: a\r\nSubject: x\r\n Bcc: y\r\n\r\nBcc: in the body\r\n")


@pytest.mark.parametrize(
    ("raw", "end"),
    {
        b"From: a@b.test\r\n": b"From: a@b.test\r\n\r\n",
        b"From: a@b.test": b"From: a@b.test\r\n\r\n",
        b"From: a@b.test\r\n\r\nx": b"From: a@b.test\r\n\r\nx\r\n",
        b"From: a@b.test\r\n\r\n": b"From: a@b.test\r\n\r\n",
    }.items(),
)
def test_a_mail_without_body_or_last_line_end_is_closed(raw: bytes, end: bytes) -> None:
    assert prepare(raw, WAY, hostname="mx.test", now=NOW).content.endswith(end)


@pytest.mark.parametrize(
    ("trace", "text"),
    {
        WAY: "from c.test ([192.0.2.1])\r\n\tby mx.test with ESMTP id 0123456789AB; ",
        WAY._replace(
            address="2001:db8::1", extended=False
        ): "from c.test ([IPv6:2001:db8::1])\r\n\tby mx.test with SMTP id",
        WAY._replace(
            tls="TLSv1.3", tls_cipher="X", logged_in=True
        ): "\r\n\t(TLSv1.3, X)\r\n\tby mx.test with ESMTPSA id",
        WAY._replace(protocol="lmtp", logged_in=True): "with LMTPA id",
        WAY._replace(utf8=True, tls="TLSv1.2", tls_cipher="X"): "with UTF8SMTPS id",
        WAY._replace(utf8=True, protocol="lmtp"): "with UTF8LMTP id",
        WAY._replace(helo="exämple.test", address=""): "from unknown (this machine)\r\n\tby",
        WAY._replace(protocol=LOCAL, address=""): "Received: by mx.test id 0123456789AB; Thu, 01 Jan",
    }.items(),
)
def test_the_received_field_says_how_the_mail_came(trace: Trace, text: str) -> None:
    line = received(trace, "mx.test", NOW).decode("ascii")
    assert text in line
    assert re.fullmatch(r"Received: [ -~]+(?:\r\n\t[ -~]+)*\r\n", line)


def test_eight_bit_and_utf8_are_told() -> None:
    assert ready(GOOD)[4:] == (False, False)
    assert ready(GOOD, "ü\r\n".encode())[4:] == (True, False)
    assert ready("From: ü <a@b.test>\r\n")[4:] == (True, True)
    assert ready(f"Return-Path: <ü@b.test>\r\n{GOOD}Bcc: ü@c.test\r\n")[4:] == (False, False), "what is left counts"
    assert ready("From: ü@exämple.test\r\n").from_domain == "xn--exmple-cua.test"
    assert refusal(b"From: \xfc <a@b.test>\r\n") == "The header is neither ASCII nor UTF-8"


# what is refused


@pytest.mark.parametrize(
    ("header", "text"),
    {
        "": "The header has no From field",
        "Subject: x\r\n": "The header has no From field",
        "\r\nFrom: a@b.test\r\n": "The header has no From field",
        "Subject: x\r\n\r\nFrom: a@b.test\r\n": "The header has no From field",
        f"{GOOD}{GOOD}": "The header has two from fields",
        f"{GOOD}X: y\r\nfrom: x@y.test\r\n": "The header has two from fields",
        f"{GOOD}FROM: a@b.test\r\n": "The header has two from fields",
        "From : a@b.test\r\n": "A line of the header is no field",
        "From\t: a@b.test\r\n": "A line of the header is no field",
        f"{GOOD}From : x@y.test\r\n": "A line of the header is no field",
        f"From a@b.test Thu Jan 1\r\n{GOOD}": "A line of the header is no field",
        f" From: x@y.test\r\n{GOOD}": "A line of the header is no field",
        f"{GOOD}nonsense\r\n": "A line of the header is no field",
        f"{GOOD}:x\r\n": "A line of the header is no field",
        f"{GOOD}Fröm: x@y.test\r\n": "A line of the header is no field",
        f"X: y\r\n \r\n{GOOD}": "The header holds a line of blanks",
        f"{GOOD}X: y\r\n\t \t\r\n": "The header holds a line of blanks",
        f"{GOOD}Subject: a\r\nSubject: b\r\n": "The header has two subject fields",
        f"{GOOD}To: a@b\r\nto: c@d\r\n": "The header has two to fields",
        f"{GOOD}Date: x\r\nDate: y\r\n": "The header has two date fields",
        f"{GOOD}Sender: a@b.test\r\nSender: c@d.test\r\n": "The header has two sender fields",
        f"{GOOD}Sender: a@b.test, c@b.test\r\n": "Several authors need a Sender",
        "From: a@b.test, c@b.test\r\n": "Several authors need a Sender",
        "From: a@b.test, c@d.test\r\nSender: a@b.test\r\n": "The authors are of several domains",
        f"From: {', '.join(f'a{at}@b.test' for at in range(21))}\r\nSender: a@b.test\r\n": "The From field has more than",
        "From: a@[192.0.2.1]\r\n": "The From field is not plain",
    }.items(),
)
def test_a_header_that_readers_take_in_different_ways_is_refused(header: str, text: str) -> None:
    assert refusal(header).startswith(text)


# the address list


@pytest.mark.parametrize(
    ("value", "addresses"),
    {
        "a@b.test": ["a@b.test"],
        "<a@b.test>": ["a@b.test"],
        "A <a@b.test>": ["a@b.test"],
        "John Q. Public <a@b.test>": ["a@b.test"],
        '"Doe, John" <a@b.test>': ["a@b.test"],
        '"a \\"b\\" \\\\c" <a@b.test>': ["a@b.test"],
        '"me@x.test via Shop" <a@b.test>': ["a@b.test"],
        "a@b.test (Cron Daemon)": ["a@b.test"],
        "(x) a@b.test (y) (z)": ["a@b.test"],
        "J (work) <a@b.test>": ["a@b.test"],
        "=?utf-8?q?J=C3=BCrgen?= <a@b.test>": ["a@b.test"],
        "=?utf-8?q?Doe=2C?= =?utf-8?b?SsO8cmdlbg==?= <a@b.test>": ["a@b.test"],
        '"=?utf-8?b?SsO8cmdlbg==?=" <a@b.test>': ["a@b.test"],
        "=?iso-2022-jp?b?GyRCRnxLXBsoQg==?= <a@b.test>": ["a@b.test"],
        "a@b.test,c@d.test": ["a@b.test", "c@d.test"],
        'A <a@b.test>, "B, b" <c@d.test> (x), e@f.test': ["a@b.test", "c@d.test", "e@f.test"],
        "Jürgen <jürgen@exämple.test>": ["jürgen@exämple.test"],
        "a.b+c=d@b.test": ["a.b+c=d@b.test"],
    }.items(),
)
def test_plain_mailboxes_are_read(value: str, addresses: list[str]) -> None:
    assert list(map(str, read_mailboxes(value))) == addresses
    assert by_python(value) == [address.lower() for address in addresses]


REFUSED = [
    # none, empty places
    "", " ", "A", "<>", "A <>", ",a@b.test", "a@b.test,", "a@b.test,,c@d.test", "a", "@b.test", "a@", "a@b.test <>",
    # groups, routes, other separators
    "g: a@b.test;", "undisclosed-recipients:;", "a@b.test; c@d.test", "x: a@b.test", "<@r.test:a@b.test>",
    # two addresses in one place
    "a@b.test <c@d.test>", "a@b.test c@d.test", "A <a@b.test> <c@d.test>", "<a@b.test> c@d.test", "A a@b.test",
    "<a@b.test>x", "a@b.test x", "A <a@b.test> B", "<<a@b.test>>", "<a@b.test", "a@b.test>", "<a@b.test>>",
    "<a@b.test,c@d.test>", "a@b.test@c.test", "<a@b.test@c.test>",
    # quoting
    '"a@b.test', '"a" b"c" @b.test', '"a"@b.test', '<"a b"@c.test>', '"a@b.test" ', 'a"b"@c.test',
    '"<x@y.test>" <a@b.test>', '"x@y.test>" <a@b.test>', '"x@y.test, z" <a@b.test>', '"a\\x" <a@b.test>',
    '"x@y.test: z" <a@b.test>', "\\\"a\\\" <a@b.test>", "'x' \\ <a@b.test>", "x;y <a@b.test>", "a,b <c@d.test>",
    # comments
    "a@b.test (c (d))", "a@b.test (x@y.test)", "a@b.test (<x@y.test>)", "a@b.test (x", "a(x)@b.test", "a@(x)b.test",
    "<a@b.test (x)>", "a@b.test (\\))", "a@b.test )", "(a@b.test)", "a (x) @b.test", "a@b(x).test", "a@b.test (x:y)",
    # blanks inside of addresses
    "a @b.test", "a@ b.test", "a@b .test", "< a@b.test>", "<a@b.test >", "a. b@c.test", "a@b. test",
    # encoded words
    "=?utf-8?q?a=40b.test?=", "=?utf-8?b?YUBiLnRlc3Q=?=", "=?utf-8?q?x=40y.test?= <a@b.test>", "<=?utf-8?q?a?=@b.test>",
    "=?utf-8?q?a?=@b.test", "=?utf-8?q?=3Cx=40y.test=3E?= <a@b.test>", "=?utf-8?b?PHhAeS50ZXN0Pg==?= <a@b.test>",
    '"=?utf-8?q?=3Cx?=" <a@b.test>', "=?utf-8?q?x=0d=0aFrom:_x=40y?= <a@b.test>", "=?utf-8?q?x=00?= <a@b.test>",
    "=?utf-8?q?=22x?= <a@b.test>", "=?utf-7?q?+AEA-?= <a@b.test>", "=?x-unknown?q?a?= <a@b.test>", "=?hex?q?41?= <a@b.test>",
    "=?utf-8?b?a?= <a@b.test>", "=?utf-8?x?a?= <a@b.test>", "=?utf-8?q?a b?= <a@b.test>", "=?utf-8?q?a <a@b.test>",
    "a@b.test (=?utf-8?q?=40?=)", "=?utf-8?q?a?= <a@=?utf-8?q?b?=.test>", "=?utf-8?q?a=0Ab?= <a@b.test>",
    # domains and local parts
    "a@b..test", "a@.b.test", "a@b.test.", ".a@b.test", "a.@b.test", "a..b@c.test", "a@[192.0.2.1]", "a@b_c.test",
    f"{'a' * 65}@b.test", "a@-b.test", "a@b.test\u2028", "a\u200b@b.test", "A\u2029 <a@b.test>", "A\x85 <a@b.test>",
    "A\x00 <a@b.test>", "A\x7f <a@b.test>", "A\x1b[0m <a@b.test>", "a\x0b@b.test", "A\n <a@b.test>", ". <a@b.test>", "A . <a@b.test>",
]  # fmt: skip


@pytest.mark.parametrize("value", REFUSED)
def test_what_is_not_plain_is_refused(value: str) -> None:
    with pytest.raises(AuthorError):
        read_mailboxes(value)


def by_python(value: str) -> list[str]:
    """The authors that Python's newer parser sees, in lower case."""
    header = email.policy.SMTP.header_factory("From", value)
    return [address.addr_spec.lower() for address in header.addresses]


def by_python_of_old(value: str) -> list[str]:
    """The authors that Python's older parser sees."""
    return [address.lower() for _, address in email.utils.getaddresses([value]) if address]


def by_the_brackets(value: str) -> str:
    """What a careless reader sees: what stands in the first brackets, else the first word with an at sign."""
    found = re.search(r"<([^>]*)>", value) or re.search(r"([^\s,;:\"()]+@[^\s,;:\"()]+)", value)
    return found[1].lower() if found else ""


PARTS = [
    "a@b.test", "c@d.test", "<a@b.test>", "<c@d.test>", "<", ">", '"', "\\", "(", ")", ",", ";", ":", "@", " ", "\t", ".",
    "x", "Doe", '"Doe, John"', '"x@y.test"', "(x)", "=?utf-8?q?", "?=", "=40", "=3C", "=?utf-8?q?x=40y.test?=", "=?utf-8?b?",
    "eEB5LnRlc3Q=", "\u00fc", "\u2028", "[192.0.2.1]", "b.test", "\x00", "=?utf-8?q?J=C3=BC?=", "g:", "'",
]  # fmt: skip


@settings(max_examples=1_500, deadline=None)
@given(st.lists(st.sampled_from(PARTS), max_size=8).map("".join))
def test_no_other_reader_sees_other_authors_than_ours(value: str) -> None:
    try:
        ours = [str(address).lower() for address in read_mailboxes(value)]
    except AuthorError:
        return
    assert by_python(value) == ours
    assert by_python_of_old(value) == ours
    assert by_the_brackets(value) in ours


@settings(max_examples=500, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_read_cleanly_or_refused(value: str) -> None:
    for text in (value, f"{value} <a@b.test>", f'"{value}" <a@b.test>', f"a@b.test ({value})", f"{value}@b.test"):
        try:
            ours = read_mailboxes(text)
        except AuthorError:
            continue
        assert by_python(text) == [str(address).lower() for address in ours]


NAMES = st.sampled_from(["From", "from", "From ", " From", "Subject", "Sender", "X", "Bcc", "", "From\u00fc"])
VALUES = st.sampled_from(["a@b.test", " a@b.test", "x\r\n y", "", "\r\n a@b.test", "\r\n \r\n", "c@d.test", "\tx"])
ENDS = st.sampled_from(["\r\n"] * 6 + ["\r\n\r\n"])


@settings(max_examples=800, deadline=None)
@given(st.lists(st.tuples(NAMES, st.sampled_from([":"] * 5 + [" :", ""]), VALUES, ENDS), max_size=5))
def test_a_header_that_is_taken_has_one_author_for_python_too(lines: list[tuple[str, str, str, str]]) -> None:
    raw = "".join(map("".join, lines)).encode() + b"\r\nbody\r\n"
    try:
        made = prepare(raw, WAY, hostname="mx.test", now=NOW)
    except Refused:
        return
    for content in (raw, made.content):
        read = email.message_from_bytes(content, policy=email.policy.SMTP)
        assert [str(address.addr_spec) for address in read["From"].addresses] == [str(made.froms[0])]
        assert len(read.get_all("From") or []) == 1
    assert read["Bcc"] is None
    assert read["Date"]
    assert read["Message-ID"]
    assert made.content.count(b"\n") == made.content.count(b"\r") == made.content.count(b"\r\n")


@given(st.binary(max_size=60))
def test_local_mails_get_one_kind_of_line_end(content: bytes) -> None:
    made = normalised(content)
    assert re.sub(rb"\r\n", b"", made) == re.sub(rb"[\r\n]", b"", content)
    assert made.splitlines() == content.splitlines()
    assert normalised(made) == made


def test_very_long_hostile_fields_are_judged_in_linear_time() -> None:
    import time

    def seconds(size: int) -> float:
        began = time.process_time()
        for value in ("a" * size, "a." * size, "a@" * size, "(" * size, '"' + "\\\\" * size, "=?" * size, "<" * size,
                      " " * size, "a, " * size, '"a" ' * size, "=?utf-8?q?" + "=" * size + "?=", "a@b.test," * size):  # fmt: skip
            try:
                ready(f"From: {value}\r\n")
            except Refused:
                continue
        return time.process_time() - began

    seconds(100)
    assert seconds(64_000) < 40 * max(seconds(8_000), 0.01), "eight times the size"
