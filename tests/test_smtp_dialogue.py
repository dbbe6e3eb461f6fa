"""Conversations with the door, word for word: C is the client, S the server, ~ a reply that only begins so, X the end."""

# ruff: noqa: E501 (a conversation is a line)

from __future__ import annotations

import re
import socket
import struct
import time
from pathlib import Path

import pytest
from smtp_talk import QUICK, RUA, Talk, running

from dmarcview_reports.spool import Incoming
from dmarcview_smtp.settings import DoorSettings, Listener

ENVELOPE = (
    f"C EHLO c.test|~ 250-|C MAIL FROM:<a@c.test>|S 250 2.1.0 Sender ok|C RCPT TO:<{RUA}>|S 250 2.1.5 Recipient ok"
)
TALKS = {
    "a mail is taken": f"{ENVELOPE}|C DATA|~ 354 |C Subject: x\r\n\r\nhi\r\n.|~ 250 2.0.0 Taken as |C QUIT|S 221 2.0.0 Bye",
    "verbs have no case": f"C ehlo c.test|~ 250-|C mail from:<a@c.test>|~ 250 |C rcpt to:<{RUA}>|~ 250 |C quit|~ 221 ",
    "HELO offers nothing": "C HELO c.test|S 250 mx.example.test",
    "EHLO offers what there is": "C EHLO c.test|S 250-mx.example.test\n250-PIPELINING\n250-SIZE 25000000\n250-8BITMIME\n"
    "250-SMTPUTF8\n250 ENHANCEDSTATUSCODES",
    "EHLO needs a name": "C EHLO|S 501 5.5.4 Name your host|C EHLO a b|S 501 5.5.4 Name your host",
    "hello comes first": "C MAIL FROM:<a@c.test>|S 503 5.5.1 Say hello first",
    "MAIL comes before RCPT": f"C EHLO c.test|~ 250-|C RCPT TO:<{RUA}>|S 503 5.5.1 MAIL first|C DATA|S 503 5.5.1 MAIL first",
    "one mail at a time": f"{ENVELOPE}|C MAIL FROM:<b@c.test>|S 503 5.5.1 One mail at a time",
    "DATA needs a recipient": "C EHLO c.test|~ 250-|C MAIL FROM:<>|~ 250 |C DATA|S 554 5.5.1 No valid recipients",
    "DATA takes no argument": f"{ENVELOPE}|C DATA now|S 501 5.5.4 This command takes no argument",
    "RSET forgets the mail": f"{ENVELOPE}|C RSET|S 250 2.0.0 Ok|C DATA|S 503 5.5.1 MAIL first",
    "EHLO forgets the mail": f"{ENVELOPE}|C EHLO c.test|~ 250-|C DATA|S 503 5.5.1 MAIL first",
    "the null sender is a sender": f"C EHLO c.test|~ 250-|C MAIL FROM:<>|S 250 2.1.0 Sender ok|C RCPT TO:<{RUA}>|~ 250 ",
    "postmaster needs no domain": "C EHLO c.test|~ 250-|C MAIL FROM:<>|~ 250 |C RCPT TO:<Postmaster>|S 250 2.1.5 Recipient ok",
    "postmaster is there for each domain": "C EHLO c.test|~ 250-|C MAIL FROM:<>|~ 250 |C RCPT TO:<postmaster@example.test>|~ 250 "
    "|C RCPT TO:<postmaster@mx.example.test>|~ 250 |C RCPT TO:<postmaster@other.test>|~ 550 5.7.1",
    "a space after the colon is forgiven": f"C EHLO c.test|~ 250-|C MAIL FROM: <a@c.test>|~ 250 |C RCPT TO: <{RUA}>|~ 250 ",
    "our addresses have no case": "C EHLO c.test|~ 250-|C MAIL FROM:<>|~ 250 |C RCPT TO:<RUA@Example.TEST>|~ 250 ",
    "SIZE is judged at MAIL": "C EHLO c.test|~ 250-|C MAIL FROM:<> SIZE=25000001|S 552 5.3.4 Mail larger than allowed"
    "|C MAIL FROM:<> SIZE=25000000|~ 250 ",
    "SIZE is a number": "C EHLO c.test|~ 250-|C MAIL FROM:<> SIZE=x|~ 501 5.5.4|C MAIL FROM:<> SIZE|~ 501 5.5.4"
    "|C MAIL FROM:<> SIZE=\u0663|~ 501 5.5.4",
    "BODY is one of two": "C EHLO c.test|~ 250-|C MAIL FROM:<> BODY=BINARYMIME|~ 501 5.5.4|C MAIL FROM:<> BODY=8bitmime|~ 250 ",
    "other parameters are not known": f"C EHLO c.test|~ 250-|C MAIL FROM:<> RET=HDRS|S 555 5.5.4 Parameter not known"
    f"|C MAIL FROM:<>|~ 250 |C RCPT TO:<{RUA}> NOTIFY=NEVER|S 555 5.5.4 Parameter not known",
    "UTF-8 needs SMTPUTF8": "C EHLO c.test|~ 250-|C MAIL FROM:<ü@c.test>|S 553 5.6.7 This address needs SMTPUTF8"
    "|C MAIL FROM:<ü@c.test> SMTPUTF8|~ 250 ",
    "VRFY tells nothing": f"C VRFY <{RUA}>|S 252 2.5.0 Cannot verify, send it and see|C VRFY <no@no.test>|~ 252 2.5.0|C VRFY|~ 501 ",
    "EXPN tells nothing": "C EXPN staff|S 502 5.5.1 Command not offered",
    "AUTH is not offered": "C EHLO c.test|~ 250-|C AUTH PLAIN AGEAYg==|S 502 5.5.1 Command not offered",
    "STARTTLS without a certificate": "C EHLO c.test|~ 250-|C STARTTLS|S 502 5.5.1 Command not offered",
    "NOOP does nothing": "C NOOP|S 250 2.0.0 Ok|C NOOP as you like|S 250 2.0.0 Ok",
    "LHLO is LMTP": "C LHLO c.test|S 500 5.5.1 Command not known",
    "an unknown command": "C HELLO c.test|S 500 5.5.1 Command not known|C \u00e9|S 500 5.5.1 Command not known",
    "an empty line": "C |S 500 5.5.1 Command not known",
    "QUIT takes no argument": "C QUIT now|~ 501 |C QUIT|S 221 2.0.0 Bye|X",
    "a web browser": "C GET / HTTP/1.1|~ 554 5.5.1 This is a mail server|X",
    "a form post": "C POST / HTTP/1.1|~ 554 5.5.1|X",
    "a TLS client on the plain port": "C \x16\x03\x01\x02\x00|~ 554 5.5.1|X",
    "a NUL in a command": "C NOOP \x00|~ 500 5.5.2|X",
    "a bare CR in a command": "C NOOP a\rRCPT TO:<x@y.test>|~ 500 5.5.2|X",
    "a bare LF in a command": "C NOOP a\nRCPT TO:<x@y.test>|~ 500 5.5.2|X",
    "a long command": f"C NOOP {'x' * 504}|S 250 2.0.0 Ok|C NOOP {'x' * 506}|S 500 5.5.2 Line too long|C NOOP|~ 250 ",
    "a long RCPT": f"{ENVELOPE}|C RCPT TO:<{'x' * 600}@y.test>|~ 553 5.1.3|C RCPT TO:<{'x' * 1100}@y.test>|S 500 5.5.2 Line too long"
    "|C NOOP|~ 250 ",
    "a very long command": f"C NOOP {'x' * 50_000}|S 500 5.5.2 Line too long|C NOOP|~ 250 ",
    "ten errors": "|".join(["C NONSENSE|S 500 5.5.1 Command not known"] * 10)
    + "|S 421 4.7.0 Too many errors, closing|X",
}


def follow(talk: Talk, script: str) -> None:
    for step in script.split("|"):
        kind, _, text = step.partition(" ")
        if kind == "C":
            talk.send(text.encode() + b"\r\n")
        elif kind == "X":
            assert talk.closed()
        else:
            answer = talk.reply()
            # RFC 2034 section 4: all replies have a code but the greeting, the hellos and the one to DATA
            assert re.match(r"([245])\d\d \1\.\d\.\d+ |220 mx|250[ -]mx|354 ", answer), answer
            assert answer == text if kind == "S" else answer.startswith(text), (script, answer)


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory):
    with running(tmp_path_factory.mktemp("door")) as site:
        yield site.port


@pytest.mark.parametrize("title", TALKS)
def test_the_conversation_goes_as_written(title: str, port: int) -> None:
    with Talk(port) as talk:
        assert talk.reply() == "220 mx.example.test ESMTP ready"
        follow(talk, TALKS[title])


def test_replies_to_a_pipeline_come_in_order(tmp_path: Path) -> None:
    with running(tmp_path) as site, Talk(site.port) as talk:
        talk.hello()
        talk.send(f"MAIL FROM:<a@c.test>\r\nRCPT TO:<x@y.test>\r\nRCPT TO:<{RUA}>\r\nDATA\r\n".encode())
        assert [talk.reply()[:9] for _ in range(4)] == ["250 2.1.0", "550 5.7.1", "250 2.1.5", "354 End d"]
        talk.send(b"a: b\r\n\r\nx\r\n.\r\nRSET\r\nQUIT\r\n")
        assert [talk.reply()[:9] for _ in range(3)] == ["250 2.0.0", "250 2.0.0", "221 2.0.0"]
        assert len(site.mails()) == 1


@pytest.mark.parametrize("pieces", [1, 0], ids=["in one piece", "byte by byte"])
def test_a_whole_session_then_half_close_gets_all_replies_and_one_mail(tmp_path: Path, pieces: int) -> None:
    session = (
        f"EHLO c.test\r\nMAIL FROM:<a@c.test>\r\nRCPT TO:<{RUA}>\r\nDATA\r\nSubject: once\r\n\r\n..dot\r\n.\r\nQUIT\r\n"
    ).encode()
    with running(tmp_path) as site, Talk(site.port) as talk:
        for part in [session] if pieces else [session[at : at + 1] for at in range(len(session))]:
            talk.send(part)
        talk.half_close()
        codes = [talk.reply()[:3] for _ in range(7)]
        assert codes == ["220", "250", "250", "250", "354", "250", "221"]
        assert talk.closed()
        assert [raw for _, raw in site.mails()] == [b"Subject: once\r\n\r\n.dot\r\n"]


def test_half_close_right_after_the_final_dot_is_answered(tmp_path: Path) -> None:
    with running(tmp_path) as site, Talk(site.port) as talk:
        talk.hello()
        talk.envelope()
        assert talk.ask("DATA").startswith("354")
        talk.send(b"a: b\r\n\r\nx\r\n.\r\n")
        talk.half_close()
        assert talk.reply().startswith("250 2.0.0 Taken as ")
        assert talk.closed()
        assert len(site.mails()) == 1


def test_half_close_inside_a_mail_takes_nothing(tmp_path: Path) -> None:
    with running(tmp_path) as site, Talk(site.port) as talk:
        talk.hello()
        talk.envelope()
        talk.ask("DATA")
        talk.send(b"a: b\r\n\r\nx\r\n.\r")
        talk.half_close()
        assert talk.closed()
        assert site.mails() == []


def test_a_mail_whose_sender_resets_the_connection_during_the_commit_is_kept(tmp_path: Path) -> None:
    with running(tmp_path) as site:
        write = site.spool._write

        def slow_write(batch: list[Incoming]) -> list[str]:
            time.sleep(0.4)
            return write(batch)

        site.spool._write = slow_write  # type: ignore[method-assign]
        with Talk(site.port) as talk:
            talk.hello()
            talk.envelope()
            talk.ask("DATA")
            talk.send(b"a: b\r\n\r\nx\r\n.\r\n")
            time.sleep(0.1)
            talk.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        time.sleep(0.1)
        assert site.receiver.connections == 0
        assert site.mails() == []
        time.sleep(0.5)
        assert len(site.mails()) == 1


def test_too_many_recipients_are_told_so_and_the_rest_stays(tmp_path: Path) -> None:
    limits = DoorSettings(recipients=100, greeting_wait=0)
    with running(tmp_path, limits=limits) as site, Talk(site.port) as talk:
        talk.hello()
        assert talk.ask("MAIL FROM:<a@c.test>").startswith("250")
        for _ in range(100):
            assert talk.ask(f"RCPT TO:<{RUA}>").startswith("250")
        assert talk.ask(f"RCPT TO:<{RUA}>") == "452 4.5.3 Too many recipients, send the rest in another mail"
        assert talk.data(b"a: b\r\n\r\nx\r\n.\r\n").startswith("250")
        [(origin, _)] = site.mails()
        assert origin.rcpt_to == (RUA,) * 100


def test_commands_without_a_mail_are_counted_and_a_mail_starts_the_count_again(tmp_path: Path) -> None:
    limits = DoorSettings(commands=8, greeting_wait=0, linger_seconds=0.5)
    with running(tmp_path, limits=limits) as site, Talk(site.port) as talk:
        talk.hello()
        for _ in range(3):
            talk.envelope()
            assert talk.data(b"a: b\r\n\r\nx\r\n.\r\n").startswith("250")
        for _ in range(8):
            assert talk.ask("NOOP").startswith("250")
        assert talk.ask("NOOP").startswith("421 4.7.0 Too many commands")
        assert talk.closed()


def test_an_exception_inside_is_451_and_leaks_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with running(tmp_path) as site, Talk(site.port) as talk:
        site.spool.put = lambda *_: (_ for _ in ()).throw(KeyError("secret"))  # type: ignore[method-assign]
        talk.hello()
        talk.envelope()
        answer = talk.data(b"a: b\r\n\r\nx\r\n.\r\n")
        assert answer.startswith("451 4.3.0 Local error ")
        assert "secret" not in answer
        assert answer.split()[4].rstrip(",") in caplog.text, "the number in the reply finds the error in the log"
        assert talk.ask("NOOP").startswith("250"), "the session goes on"


def test_who_talks_before_the_greeting_is_sent_away(tmp_path: Path) -> None:
    listeners = (Listener(port=0, proxy_peers=("127.0.0.0/8",)),)
    limits = DoorSettings(greeting_wait=0.5, linger_seconds=0.5)
    header = b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 25\r\n"  # only far clients have to wait
    with running(tmp_path, limits=limits, listeners=listeners) as site:
        with Talk(site.port) as talk:
            talk.send(header + b"EHLO spam.test\r\n")
            assert talk.reply() == "554 5.5.1 Wait for the greeting"
            assert talk.closed()
        with Talk(site.port) as talk:
            talk.send(header)
            assert talk.reply().startswith("220 ")


def test_counters_tell_what_was_refused_and_why(tmp_path: Path) -> None:
    with running(tmp_path, limits=QUICK) as site, Talk(site.port) as talk:
        talk.hello()
        talk.envelope()
        talk.ask("RCPT TO:<x@y.test>")
        talk.ask("NONSENSE")
        talk.data(b"a: b\r\n\r\nx\r\n.\r\n")
        assert site.receiver.counters == {"accepted": 1, "bytes": 11, "not_ours": 1, "unknown_command": 1}
