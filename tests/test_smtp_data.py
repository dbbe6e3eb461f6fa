"""What follows DATA: only CR LF . CR LF ends a mail, and a mail with anything like it is refused whole."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from smtp_talk import RUA, Authority, Running, Talk, authority, running

from dmarcview_smtp.content import Collector, Content
from dmarcview_smtp.replies import BARE_LINE_END, Reply
from dmarcview_smtp.settings import DoorSettings, Listener

HEAD = b"From: a@client.test\r\nSubject: smuggle\r\n\r\n"
SMUGGLED = f"MAIL FROM:<evil@client.test>\r\nRCPT TO:<{RUA}>\r\nDATA\r\n{HEAD.decode()}evil\r\n.\r\n".encode()
FALSE_ENDS = {
    "LF.LF": b"\n.\n",
    "LF.CRLF": b"\n.\r\n",
    "CRLF.LF": b"\r\n.\n",
    "CR.CR": b"\r.\r",
    "CR.CRLF": b"\r.\r\n",
    "CRLF.CR": b"\r\n.\r",
    "CR.LF": b"\r.\n",
    "LF.CR": b"\n.\r",
    "CRLF.CRCRLF": b"\r\n.\r\r\n",
    "CRCRLF.CRLF": b"\r\r\n.\r\n",
    "LFCR.LFCR": b"\n\r.\n\r",
    "CRLF.NULCRLF": b"\r\n.\x00\r\n",
    "CRLFNUL.CRLF": b"\r\n\x00.\r\n",
    "NULCRLF.CRLF and more": b"\x00\r\n.x\r\n",
    "LFNUL.NULLF": b"\n\x00.\x00\n",
    "CRNULLF.CRLF": b"\r\x00\n.\r\n",
}


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "over TLS"])
@pytest.mark.parametrize("end", FALSE_ENDS.values(), ids=FALSE_ENDS)
def test_no_other_bytes_end_a_mail(end: bytes, tls: bool, site_with_tls: tuple[object, Authority]) -> None:
    site, ca = site_with_tls
    assert isinstance(site, Running)
    with Talk(site.port) as talk:
        talk.hello()
        if tls:
            assert talk.ask("STARTTLS").startswith("220")
            talk.start_tls(ca.client_context())
            talk.ask("EHLO client.test")
        talk.envelope()
        # a server that ends the mail at the false end would run the commands behind it
        answer = talk.data(HEAD + b"x" + end + SMUGGLED + b"QUIT\r\n")
        assert answer.startswith("550 5.6.0 "), answer
        rest = []
        while line := talk.line():
            rest.append(line)
        assert not [line for line in rest if line.startswith(b"354") or b"Taken" in line], rest
        assert site.mails() == [], "nothing of it was taken"


@pytest.fixture(scope="module")
def site_with_tls(tmp_path_factory: pytest.TempPathFactory):
    path = tmp_path_factory.mktemp("data")
    ca = authority(path)
    with running(path, listeners=(Listener(port=0, mode="starttls"),), **ca.settings) as site:
        yield site, ca


@pytest.mark.parametrize("end", [b"\n.\n", b"\r.\r", b"\n.\r\n"], ids=["LF.LF", "CR.CR", "LF.CRLF"])
def test_a_client_that_believes_in_a_false_end_is_answered_at_once_and_sent_away(tmp_path: Path, end: bytes) -> None:
    with running(tmp_path) as site, Talk(site.port) as talk:
        talk.hello()
        talk.envelope()
        assert talk.data(HEAD + b"x" + end).startswith("550 5.6.0 ")
        assert talk.closed()
        assert site.mails() == []


@pytest.mark.parametrize(
    "content", [b"a\nb\r\n", b"a\rb\r\n", b"a\r\r\n", b"a\x00b\r\n"], ids=["LF", "CR", "CRCRLF", "NUL"]
)
def test_a_bare_line_end_or_nul_refuses_the_mail_and_ends_the_session(tmp_path: Path, content: bytes) -> None:
    with running(tmp_path) as site, Talk(site.port) as talk:
        talk.hello()
        talk.envelope()
        assert talk.data(HEAD + content + b".\r\n").startswith("550 5.6.0 ")
        assert talk.closed()
        assert site.mails() == []


@pytest.mark.parametrize(
    ("sent", "stored"),
    {
        b".\r\n": b"",
        b"\r\n.\r\n": b"\r\n",
        b"..\r\n.\r\n": b".\r\n",
        b"...x\r\n.\r\n": b"..x\r\n",
        b".x\r\n.\r\n": b"x\r\n",
        b"a: b\r\n\r\n..\r\n..\r\nx.\r\n.\r\n": b"a: b\r\n\r\n.\r\n.\r\nx.\r\n",
        b"a: b\r\n\r\n" + b"x" * 5000 + b"\r\n.\r\n": b"a: b\r\n\r\n" + b"x" * 5000 + b"\r\n",
    }.items(),
)
def test_dots_are_unstuffed_and_long_lines_kept(tmp_path: Path, sent: bytes, stored: bytes) -> None:
    with running(tmp_path) as site, Talk(site.port) as talk:
        talk.hello()
        talk.envelope()
        assert talk.data(sent).startswith("250 ")
        assert [raw for _, raw in site.mails()] == [stored]


@pytest.mark.parametrize(
    ("content", "answer"),
    {
        b"a: \x01\r\n\r\nx\r\n": "550 5.6.0 Control byte",
        b"a: \xff\r\n\r\nx\r\n": "250 2.0.0",
        b"a: b\r\n\r\n\xff\x01\r\n": "250 2.0.0",
        b"a: " + b"x" * 200_000 + b"\r\n\r\nx\r\n": "550 5.6.0 The header",
        b"Received: from a by b\r\n" * 51 + b"\r\nx\r\n": "554 5.4.6",
        b"Received: from a by b\r\n" * 50 + b"\r\nx\r\n": "250 2.0.0",
        b"Received: from a\r\n by MX.example.test; x\r\n" * 6 + b"\r\nx\r\n": "554 5.4.6",
        b"Received: from a\r\n by mx.example.test; x\r\n" * 5 + b"\r\nx\r\n": "250 2.0.0",
        b"Received: from a\r\n by mx.example.test.org; x\r\n" * 6 + b"\r\nx\r\n": "250 2.0.0",
    }.items(),
)
def test_headers_are_judged_before_a_mail_is_taken(tmp_path: Path, content: bytes, answer: str) -> None:
    with running(tmp_path) as site, Talk(site.port) as talk:
        talk.hello()
        talk.envelope()
        assert talk.data(content + b".\r\n").startswith(answer)
        assert len(site.mails()) == answer.startswith("250")


def test_a_header_in_utf8_is_taken_when_it_was_declared(tmp_path: Path) -> None:
    with running(tmp_path) as site, Talk(site.port) as talk:
        talk.hello()
        talk.ask("MAIL FROM:<a@c.test> SMTPUTF8")
        talk.ask(f"RCPT TO:<{RUA}>")
        assert talk.data("Subject: jürgen\r\n\r\nx\r\n.\r\n".encode()).startswith("250 ")


def test_a_header_in_utf8_that_was_not_declared_is_refused_on_demand(tmp_path: Path) -> None:
    strict = DoorSettings(eight_bit_headers=False, greeting_wait=0)
    with running(tmp_path, limits=strict) as site, Talk(site.port) as talk:
        talk.hello()
        talk.envelope()
        assert talk.data("Subject: jürgen\r\n\r\nx\r\n.\r\n".encode()).startswith("550 5.6.0 Control byte")
        assert site.mails() == []


@pytest.mark.parametrize("size", [60_000, 400_000, 3_000_000])
def test_a_mail_that_is_too_large_is_refused_at_its_end_and_the_session_goes_on(tmp_path: Path, size: int) -> None:
    limits = DoorSettings(
        message_bytes=50_000 if size < 400_000 else 300_000 if size < 10**6 else 10**6, greeting_wait=0
    )
    with running(tmp_path, limits=limits) as site, Talk(site.port) as talk:
        talk.hello()
        talk.envelope()
        assert talk.data(HEAD + b"x" * 78 + b"\r\n" + (b"x" * 78 + b"\r\n") * (size // 80) + b".\r\n") == (
            "552 5.3.4 Mail larger than allowed"
        )
        talk.envelope()
        assert talk.data(HEAD + b".\r\n").startswith("250 ")


def test_a_large_mail_waits_in_a_file_and_arrives_whole(tmp_path: Path) -> None:
    body = HEAD + b"".join(b".%06d" % at + b"x" * 70 + b"\r\n" for at in range(30_000))
    with running(tmp_path) as site, Talk(site.port) as talk:
        talk.hello()
        talk.envelope()
        assert talk.data(body.replace(b"\r\n.", b"\r\n..") + b".\r\n").startswith("250 ")
        assert [raw for _, raw in site.mails()] == [body]
        assert list(site.spool.tmp.iterdir()) == []


def test_a_line_above_the_cap_refuses_the_mail(tmp_path: Path) -> None:
    limits = DoorSettings(line_bytes=100_000, greeting_wait=0)
    with running(tmp_path, limits=limits) as site, Talk(site.port) as talk:
        talk.hello()
        for length, code in ((99_990, "250"), (100_010, "550 5.6.0 A line"), (900_000, "550 5.6.0 A line")):
            talk.envelope()
            assert talk.data(HEAD + b"x" * length + b"\r\n.\r\n").startswith(code)


# the collector alone, against the plainest rule

LINES = st.lists(st.sampled_from([b"", b".", b"..", b".x", b"abc", b"a: b", b". ."]), max_size=12)
RAW = st.lists(
    st.sampled_from([b"\r\n", b"\n", b"\r", b".", b"x", b"\x00", b"\r\n.", b"..", b"\r\n.\r\n"]), max_size=14
).map(b"".join)


def collect(raw: bytes, cuts: list[int], settings: DoorSettings) -> tuple[Content | Reply | None, bytes, bool]:
    """Feed in pieces; the outcome (None: no end yet), what was left over, and whether it was given up."""
    collector, buffer = Collector(settings, None), bytearray()
    collector.start(buffer)
    edges = [0, *sorted(cut % (len(raw) + 1) for cut in cuts), len(raw)]
    for begin, end in itertools.pairwise(edges):
        buffer += raw[begin:end]
        if collector.scan(buffer):
            return collector.finish("mx", utf8=True), bytes(buffer) + raw[end:], collector.hopeless
    return None, bytes(buffer), False


@given(LINES, st.lists(st.integers(0, 200)), st.sampled_from([1, 20, 10**6]))
def test_stuffed_mails_come_out_as_they_were_however_they_are_cut(
    lines: list[bytes], cuts: list[int], memory: int
) -> None:
    mail = b"".join(line + b"\r\n" for line in lines)
    stuffed = re.sub(rb"(?m)^\.", b"..", mail)
    outcome, rest, _ = collect(stuffed + b".\r\nQUIT\r\n", cuts, DoorSettings(memory_bytes=memory))
    assert isinstance(outcome, Content)
    assert (outcome.data, outcome.size, rest) == (mail, len(mail), b"QUIT\r\n")
    outcome.close()


@given(RAW, st.lists(st.integers(0, 80), max_size=6))
def test_any_bytes_end_only_at_the_true_end(raw: bytes, cuts: list[int]) -> None:
    outcome, rest, hopeless = collect(raw, cuts, DoorSettings())
    at = (b"\r\n" + raw).find(b"\r\n.\r\n")
    mail = (b"\r\n" + raw)[: at + 2] if at >= 0 else b"\r\n" + raw
    broken = b"\0" in mail or bool(re.search(rb"\r(?!\n)|(?<!\r)\n", mail))
    if hopeless:
        assert broken
        assert isinstance(outcome, Reply)
    elif at < 0:
        assert outcome is None
    else:
        assert rest == raw[at + 3 :]
        assert isinstance(outcome, Reply) == broken
        if isinstance(outcome, Content):
            outcome.close()


def test_the_first_fault_is_the_one_that_is_told() -> None:
    outcome, _, _ = collect(b"a\nb\r\n" * 50 + b".\r\n", [3, 9], DoorSettings(message_bytes=20))
    assert outcome == BARE_LINE_END
