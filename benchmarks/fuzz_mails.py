"""What the fuzzer holds against everything that reads or writes a mail: authors, header, signature, bounce, paste."""

from __future__ import annotations

import email
import email.policy
import email.utils
import re
from collections.abc import Callable
from pathlib import Path

import dkim

from benchmarks.mutation import Target
from dmarcview.explain import FIELDS, explain
from dmarcview_relay.author import AuthorError, read_mailboxes
from dmarcview_relay.bounce import DELAYED, FAILED, RELAYED, Author, report
from dmarcview_relay.dkimdns import record
from dmarcview_relay.envelope import Mail, Queued, Recipient
from dmarcview_relay.keys import KeyRing
from dmarcview_relay.message import Refused, Trace, normalised, prepare
from dmarcview_relay.outcome import Link
from dmarcview_relay.sign import Signer, SignError
from dmarcview_relay.wire import Reply
from dmarcview_smtp.address import Address, AddressError, read_address, read_helo, read_parameters, read_path
from dmarcview_smtp.content import judge_header
from dmarcview_smtp.settings import DoorSettings

NOW = 1_798_761_600.0  # 2027-01-01
HOST, DOMAIN = "relay.example.org", "example.org"
TRACE = Trace("0abcDEF12345", "client.example", "192.0.2.9", tls="TLSv1.3", tls_cipher="TLS_AES_256_GCM_SHA384")
DOOR = DoorSettings()
CUT = b"\n%%\n"  # parts the pieces of one input

AUTHORS = [
    b"a@b.test", b"A <a@b.test>", b'"Doe, John" <a@b.test>, c@d.test', b"=?utf-8?q?J=C3=BCrgen?= <a@b.test>",
    b"(x) a@b.test (y)", "J\u00fcrgen <j\u00fcrgen@ex\u00e4mple.test>".encode(), b"a.b+c=d@b.test",
    b'"=?utf-8?b?SsO8cmdlbg==?=" <a@b.test>', b"=?iso-2022-jp?b?GyRCRnxLXBsoQg==?= <a@b.test>",
]  # fmt: skip
AUTHOR_TOKENS = (
    b"<", b">", b'"', b"\\", b"(", b")", b",", b";", b":", b"@", b" ", b"\t", b".", b"x@y.test", b"<x@y.test>",
    b"=?utf-8?q?", b"?=", b"=40", b"=3C", b"=?utf-8?b?eEB5LnRlc3Q=?=", b"\xe2\x80\xa8", b"[192.0.2.1]", b"\0",
    b"\r\n ", b"\xc2\x85", b"'", b"\xef\xbc\xa0", b"\xe2\x80\xae", b"=?utf-8?q?=22?=", b"=?us-ascii*en?q?a?=",
)  # fmt: skip
MAILS = [
    b"From: News <a@example.org>\r\nTo: b@example.net\r\nBcc: c@example.com,\r\n\td@example.com\r\nSubject: July\r\n"
    b"Date: Mon, 05 Jan 2026 00:00:00 +0000\r\nMessage-ID: <1@example.org>\r\n\r\nHello  world \r\n\r\n.x\r\n",
    b"Received: from x by y; Mon, 05 Jan 2026 00:00:00 +0000\r\nFrom: =?utf-8?q?J=C3=BC?= <a@example.org>\r\n"
    b"MIME-Version: 1.0\r\nContent-Type: text/plain;\r\n charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    b"\xc3\xa9\r\n",
    b"Return-Path: <x@y.test>\r\nSender: s@example.org\r\nFrom: a@example.org, b@example.org\r\nList-Id: <l@x>\r\n"
    b"Resent-From: c@example.org\r\nResent-Bcc: d@example.org\r\nDate:\r\nMessage-ID: \r\n\r\n",
    "From: J\u00fcrgen <j\u00fcrgen@example.org>\r\nSubject: \u00fc\r\n\r\n \t \r\nx\r\n".encode(),
]
MAIL_TOKENS = (
    *AUTHOR_TOKENS, b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\r\n \r\n", b"\r\n\t", b"From: x@y.test\r\n",
    b"From : x@y.test\r\n",
    b"from:x@y.test\r\n", b"Bcc: x@y.test\r\n", b"bcc :x\r\n", b"\r\nFrom: x@y.test", b"Sender: x@y.test\r\n",
    b"Date: \r\n",
    b"From x Mon\r\n", b"\r\n.\r\n", b"\x0b", b"\x0c", b"\x1c", b"\xe2\x80\xa8", b"\xff",
    b"Content-Type: multipart/mixed\r\n",
    b"DKIM-Signature: v=1; a=rsa-sha256; d=example.org; s=s1; h=from; bh=; b=\r\n", b"Resent-Bcc: x\r\n", b" " * 300,
)  # fmt: skip
ADDRESSES = [
    b"<a@example.org> SIZE=100 BODY=8BITMIME", b"<>", b"<postmaster>", b"<@r.test,@s.test:a@b.test>",
    b'<"a b\\"c"@b.test>', b"<a@[192.0.2.1]>", b"<a@[IPv6:2001:db8::1]>",
    "<j\u00fc@ex\u00e4mple.test> SMTPUTF8".encode(),
    b"<a@b.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a+2Bb@c.test RET=HDRS ENVID=Q",
]  # fmt: skip
ADDRESS_TOKENS = (
    *AUTHOR_TOKENS,
    b"\r\nRCPT TO:<x@y.test>",
    b"=",
    b"%",
    b"!",
    b"-",
    b"xn--",
    b"..",
    b"[IPv6:",
    b"\xe2\x80\x8d",
)
REPLIES = [
    CUT.join(
        (b"550 5.1.1 No such user\n5.1.1 See https://a.example/?p=1", b"mx.example.net", b"rfc822;b+40c", b"QQ", mail)
    )
    for mail in MAILS
] + [CUT.join((b"450 busy", b"", b"utf-8;\\x{FC}@b.test", b"", MAILS[0]))]
REPLY_TOKENS = (
    *MAIL_TOKENS, CUT, b"5.1.1 ", b"4.0.0", b"2.0.0 ", b"+0D+0A", b"+00", b"\\x{D800}", b"\\x{0A}", b"\\x{110000}",
    b";", b"--",
    b"\xc2\xad", b"a" * 1_200,
)  # fmt: skip
PASTES = [
    b"Authentication-Results: mx.test; dkim=pass header.d=example.org header.s=s1 (2048-bit); spf=fail\r\n"
    b" (x (y)) smtp.mailfrom=a@example.org; dmarc=pass (p=NONE) header.from=example.org; iprev=fail\r\n"
    b"Received: from a.test (a.test [192.0.2.1]) by mx.test with ESMTPS\r\n"
    b" (version=TLS1_3 cipher=TLS_AES_128_GCM_SHA256 bits=128/128); Mon, 05 Jan 2026 00:00:09 +0000\r\n"
    b"Received: by a.test (Postfix, from userid 0) id 1; Mon, 05 Jan 2026 00:00:00 +0000\r\n"
    b"From: A <a@example.org>\r\n",
]
PASTE_TOKENS = (
    *MAIL_TOKENS, b"Received: ", b"Authentication-Results: ", b" by ", b" with ", b"header.d=", b'reason="', b"((((",
    b"dkim=",
    b"+9999", b"-2400", b"Mon, 05 Jan 0000 00:00:00 +0000", b"/ 1 =", b"from from from ",
)  # fmt: skip


def targets(folder: Path) -> list[Target]:
    """The checks; `folder` takes a key."""
    ring = KeyRing(folder / "mail-keys")
    return [
        Target("message", MAILS, _message_check(ring), MAIL_TOKENS),
        Target("authors", AUTHORS, check_authors, AUTHOR_TOKENS),
        Target("address", ADDRESSES, check_address, ADDRESS_TOKENS),
        Target("bounce", REPLIES, check_bounce, REPLY_TOKENS),
        Target("explain", PASTES, check_explain, PASTE_TOKENS),
    ]


def _taken(data: bytes) -> bytes | None:
    """The mail as the door would hand it on; None for one that it refuses."""
    content = normalised(data.replace(b"\0", b""))
    return None if judge_header(content, len(content), DOOR, HOST, utf8=True) else content


def _message_check(ring: KeyRing) -> Callable[[bytes], str]:
    key = ring.new(DOMAIN, "s1")
    signer = Signer(ring)
    answer = record(key).encode()

    def check(data: bytes) -> str:
        """What is taken has one author for every reader, clean line ends, and a signature that dkimpy finds right."""
        content = _taken(data)
        if content is None:
            return "refused by the door"
        try:
            made = prepare(content, TRACE, hostname=HOST, now=NOW)
        except Refused as refused:
            return refused.reply.reason
        _clean_lines(made.content)
        _one_author(made.content, [str(address) for address in made.froms])
        again = prepare(made.content, TRACE, hostname=HOST, now=NOW)
        if not again.content.endswith(made.content) or again[1:] != made[1:]:
            raise AssertionError(f"a second time gives {again.content!r}")
        try:
            signed = signer.sign(made.content, DOMAIN).content
        except SignError as error:
            return f"not signed: {error}"
        if not signed.endswith(made.content) or not dkim.verify(signed, dnsfunc=lambda *_, **__: answer):
            raise AssertionError("dkimpy finds the signature wrong")
        return "signed"

    return check


def _clean_lines(content: bytes) -> None:
    pairs = content.count(b"\r\n")
    if content.count(b"\r") != pairs or content.count(b"\n") != pairs or b"\0" in content:
        raise AssertionError("a bare line end or a NUL")
    if not content.endswith(b"\r\n"):
        raise AssertionError("the last line has no end")


def _one_author(content: bytes, froms: list[str]) -> None:
    """The From as Python's parser of today reads it."""
    read = email.message_from_string(content.decode("utf-8", "replace"), policy=email.policy.SMTP)
    fields = read.get_all("From") or []
    if len(fields) != 1:
        raise AssertionError(f"{len(fields)} From fields")
    authors = [address.addr_spec.lower() for address in fields[0].addresses]
    if authors != [text.lower() for text in froms][: len(authors)] or len(froms) - len(authors) not in (0, 1):
        raise AssertionError(f"Python reads {authors}, we {froms}")
    if any(name.lower() in ("bcc", "resent-bcc", "return-path") for name in read):
        raise AssertionError("a hidden recipient is left")
    if "Date" not in read or "Message-ID" not in read:
        raise AssertionError("no Date or Message-ID")


def check_authors(data: bytes) -> str:
    """Two parsers of Python, and one that looks at brackets only, see the authors that we see."""
    value = data.decode("utf-8", "replace")
    try:
        ours = [str(address).lower() for address in read_mailboxes(value)]
    except AuthorError:
        return "refused"
    new = [one.addr_spec.lower() for one in email.policy.SMTP.header_factory("From", value).addresses]
    old = [address.lower() for _, address in email.utils.getaddresses([value]) if address]
    careless = re.search(r"<([^>]*)>", value) or re.search(r"([^\s,;:\"()]+@[^\s,;:\"()]+)", value)
    if not (new == old == ours and careless and careless[1].lower() in ours):
        raise AssertionError(f"ours {ours}, Python's {new} and {old}, the first {careless and careless[1]!r}")
    return "read"


def check_address(data: bytes) -> str:
    """What is read is written so that it is read alike, in one line, and the rest is what was there."""
    text = data.decode("utf-8", "replace")
    try:
        read_helo(text)
    except AddressError:
        pass
    try:
        address, rest = read_path(text, null=True, bare_postmaster=True)
    except AddressError:
        return "refused"
    if not text.endswith(rest):
        raise AssertionError(f"the rest {rest!r} was not there")
    if address is not None and address.domain:
        written = str(address)
        if read_address(written) != address or re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", written):
            raise AssertionError(f"{address!r} is written as {written!r}")
        if not address.ascii_domain.isascii():
            raise AssertionError(f"{address.ascii_domain!r}")
    try:
        parameters = read_parameters(rest)
    except AddressError:
        return "parameters refused"
    if any(re.search(r"[\x00-\x20\x7f=]", value or "") for value in parameters.values()):
        raise AssertionError(f"{parameters}")
    return "read"


def check_bounce(data: bytes) -> str:
    """Whatever the other side said, the report is a mail of three parts with one block of fields a recipient."""
    said, host, orcpt, envid, content, *_ = [*data.split(CUT, 4), b"", b"", b"", b"", b""]
    taken = _taken(content)
    if taken is None:
        return "refused by the door"
    lines = said[4:].split(b"\n")
    code = int(said[:3]) if re.fullmatch(rb"[2-5][0-9]{2}", said[:3]) else 550
    reply = Reply(code, tuple(lines)).remote("rcpt")
    words = [re.sub(r"[^!-~\u00a1-\U0010ffff]|=", "", text.decode("utf-8", "ignore"))[:500] for text in (orcpt, envid)]
    link = Link("192.0.2.1", host.decode("utf-8", "replace"), "192.0.2.2")
    recipients = [Recipient(Address("b", "example.net"), (), words[0]), Recipient(Address("\u00fc", "example.net"))]
    told = [(recipient, reply, link) for recipient in recipients]
    for sender, full in ((Address("a", DOMAIN), True), (Address("j\u00fc", "ex\u00e4mple.org"), False)):
        mail = Mail(sender, tuple(recipients), NOW, len(taken), envid=words[1], message_id=words[1])
        for action in (FAILED, DELAYED, RELAYED):
            queued = Queued("0abcDEF12345", 1, mail, ())
            envelope, made = report(queued, taken, told, action, Author(HOST), now=NOW, full=full, until=NOW + 9)
            _clean_lines(made)
            _three_parts(made, len(told))
            if max(map(len, made.split(b"\r\n"))) > max(998, *map(len, taken.split(b"\r\n"))):
                raise AssertionError("a line is too long")
            if not (made.isascii() or envelope.eight_bit):
                raise AssertionError("8-bit bytes and no word of it")
    return "reported"


def _three_parts(made: bytes, recipients: int) -> None:
    message = email.message_from_bytes(made)
    parts = message.get_payload()
    if not isinstance(parts, list) or len(parts) != 3 or message.defects:
        raise AssertionError(f"{message.defects}")
    kinds = [part.get_content_type() for part in parts if not isinstance(part, str)]
    if kinds[0] != "text/plain" or not kinds[1].endswith("delivery-status"):
        raise AssertionError(f"{kinds}")
    # Python parses message/delivery-status only; the form for UTF-8 has the same blocks
    raw = made.split(b"delivery-status\r\n", 1)[1].partition(b"\r\n\r\n")[2].partition(b"\r\n--=")[0]
    blocks = raw.split(b"\r\n\r\n")
    if len(blocks) != recipients + 1 or not all(block.count(b"Action: ") == 1 for block in blocks[1:]):
        raise AssertionError(f"{blocks}")
    if not re.fullmatch(rb"(?:[A-Za-z-]+: [^\r\n]+(?:\r\n [^\r\n]+)*(?:\r\n)*)+", raw):
        raise AssertionError(f"{raw!r}")


def check_explain(data: bytes) -> str:
    """Any paste gives some notes, not more than it has fields."""
    notes = explain(data.decode("utf-8", "replace"))
    if not notes or len(notes) > 20 * FIELDS or any(note.state not in ("ok", "warn", "fail") for note in notes):
        raise AssertionError(f"{notes}")
    return notes[0].about
