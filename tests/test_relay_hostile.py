"""Hostile and broken input at both doors, the relay's and the receiver's, plain and over TLS: one test a line of the
table that both must pass. What only one of them meets stands at the end."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from relay_door import plain, users_in
from relay_taking import DOMAIN, HOST, Taking, taking
from smtp_talk import RUA, Authority, Running, Talk, authority, running
from test_smtp_data import FALSE_ENDS, HEAD, SMUGGLED

from dmarcview_relay.settings import ClientLimits, RelayListener
from dmarcview_smtp.settings import Listener

MAIL = HEAD + b"hello\r\n.\r\n"
KINDS = ("relay", "receiver")
WAYS = ("plain", "starttls", "tls")
QUICK = ClientLimits(linger_seconds=0.05, greeting_wait=0)
FAR = b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 25\r\n"


@dataclass
class Site:
    """One of the two doors. `mails` gives the bytes of all that were accepted."""

    kind: str
    way: str
    port: int
    ca: Authority
    mails: Callable[[], list[bytes]]
    service: Taking | Running

    def talk(self, source: str = "127.0.0.1") -> Talk:
        """A connection that has said EHLO, in TLS when that is the way."""
        talk = Talk(self.port, source=source)
        if self.way == "tls":
            talk.start_tls(self.ca.client_context())
        talk.hello()
        if self.way == "starttls":
            assert talk.ask("STARTTLS").startswith("220 ")
            talk.start_tls(self.ca.client_context())
            talk.ask("EHLO client.test")
        return talk


@contextlib.contextmanager
def opened(
    kind: str, way: str, path: Path, ca: Authority, limits: ClientLimits = QUICK, proxy_peers: tuple[str, ...] = ()
) -> Iterator[Site]:
    mode = "starttls" if way == "plain" else way
    if kind == "relay":
        listeners = (RelayListener(port=0, mode=mode, proxy_peers=proxy_peers),)
        with taking(path, ca=ca, limits=limits, listeners=listeners) as relay:
            yield Site(kind, way, relay.port, ca, lambda: [content for _, content in relay.mails()], relay)
    else:
        plain_listeners = (Listener(port=0, mode=mode, proxy_peers=proxy_peers),)
        with running(path, limits=limits, listeners=plain_listeners, **ca.settings) as site:
            yield Site(kind, way, site.port, ca, lambda: [raw for _, raw in site.mails()], site)


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module", params=[(kind, way) for kind in KINDS for way in WAYS], ids=" ".join)
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, ca: Authority) -> Iterator[Site]:
    """One door with the usual bounds for the tests that take no mail."""
    kind, way = request.param
    with opened(kind, way, tmp_path_factory.mktemp("door"), ca) as made:
        yield made


@pytest.fixture(params=[(kind, way) for kind in KINDS for way in WAYS], ids=" ".join)
def fresh(request: pytest.FixtureRequest, tmp_path: Path, ca: Authority) -> Iterator[Callable[..., Site]]:
    """Opens a door of its own, with other bounds when given."""
    kind, way = request.param
    with contextlib.ExitStack() as stack:
        yield lambda **changes: stack.enter_context(
            opened(kind, way, tmp_path, ca, dataclasses.replace(QUICK, **changes))
        )


def at(*ways: str) -> list[tuple[str, str]]:
    """Both doors, these ways only."""
    return [(kind, way) for kind in KINDS for way in ways]


# the end of a mail


@pytest.mark.parametrize("end", FALSE_ENDS.values(), ids=FALSE_ENDS)
def test_no_false_end_of_data_lets_commands_in(site: Site, end: bytes) -> None:
    with site.talk() as talk:
        talk.envelope()
        answer = talk.data(HEAD + b"x" + end + SMUGGLED + b"QUIT\r\n")
        assert answer.startswith("550 5.6.0 "), answer
        rest = []
        while line := talk.line():
            rest.append(line)
        assert not [line for line in rest if line.startswith((b"250", b"354"))], rest
    assert site.mails() == []


@pytest.mark.parametrize("bare", [b"a\nb\r\n", b"a\rb\r\n", b"\r\r\n", b"a\x00b\r\n", b"\n", b"\r"], ids=repr)
@pytest.mark.parametrize("where", ["header", "body"])
def test_a_bare_line_end_or_nul_anywhere_refuses_the_mail(site: Site, bare: bytes, where: str) -> None:
    content = b"X: " + bare + HEAD if where == "header" else HEAD + bare
    with site.talk() as talk:
        talk.envelope()
        assert talk.data(content + b"\r\n.\r\n").startswith("550 5.6.0 ")
        assert talk.closed()
    assert site.mails() == []


# TLS


@pytest.mark.parametrize("site", at("plain"), ids=" ".join, indirect=True)
def test_nothing_that_follows_starttls_is_obeyed(site: Site) -> None:
    with Talk(site.port) as talk:
        talk.hello()
        talk.send(f"STARTTLS\r\nMAIL FROM:<a@{DOMAIN}>\r\nRCPT TO:<{RUA}>\r\n".encode())
        assert talk.reply().startswith("503 5.5.1 ")
        assert talk.line() == b""
    with Talk(site.port) as talk:
        talk.hello()
        talk.envelope()
        assert talk.ask("STARTTLS").startswith("220 ")
        talk.start_tls(site.ca.client_context())
        assert talk.ask(f"RCPT TO:<{RUA}>").startswith("503 "), "what was said before is forgotten"
        assert talk.ask(f"MAIL FROM:<a@{DOMAIN}>").startswith("503 "), "the hello, too"
    assert site.mails() == []


@pytest.mark.parametrize("site", at("starttls", "tls"), ids=" ".join, indirect=True)
def test_starttls_inside_of_tls_is_refused(site: Site) -> None:
    with site.talk() as talk:
        assert talk.ask("STARTTLS").startswith("503 5.5.1 ")


def test_passwords_are_not_taken_in_clear(site: Site) -> None:
    with site.talk() as talk:
        offered = "AUTH " in talk.ask("EHLO client.test")
        assert offered == (site.kind == "relay" and site.way != "plain")
        if not offered:
            answer = talk.ask(plain("alice", "secret"))
            assert answer.startswith("538 5.7.11 " if site.kind == "relay" else "502 5.5.1 ")


# commands


@pytest.mark.parametrize(
    ("command", "answer"),
    {
        b"NOOP " + b"x" * 600: "500 5.5.2 ",
        b"NOOP " + b"x" * 60_000: "500 5.5.",
        b"RCPT TO:<" + b"x" * 600 + b"@y.test>": "503 5.5.1",
        b"VRFY <rua@example.test>": "252 2.5.0 ",
        b"VRFY <nobody@example.test>": "252 2.5.0 ",
        b"EXPN staff": "502 5.5.1 ",
        b"MAIL FROM:<a@client.test> SIZE=25000001": "552 5.3.4 ",
        b"MAIL FROM:<a@client.test> SIZE=99999999999999999999999": "501 5.5.4 ",
        b"MAIL FROM:<a@client.test> XYZ=1": "555 5.5.4 ",
        b"MAIL FROM:<a@client.test>\xff": "553 5.1.3 ",
        b"MAIL FROM:<a@client.test\xc3\xa9>": "553 5.6.7 ",
        b"": "500 5.5.1 ",
        b"\xff\xfe": "500 5.5.1 ",
        b"ETRN example.test": "502 5.5.1 ",
        b"DATA": "503 5.5.1 ",
    }.items(),
    ids=lambda value: repr(value)[:40],
)
def test_an_odd_command_is_answered_and_the_session_goes_on(site: Site, command: bytes, answer: str) -> None:
    with site.talk() as talk:
        assert talk.ask(command).startswith(answer)
        assert talk.ask("NOOP").startswith("250 ")


@pytest.mark.parametrize(
    "command",
    [b"GET / HTTP/1.1", b"POST /x HTTP/1.0", b"\x16\x03\x01\x02\x00\x01", b"NOOP \x00", b"NOOP a\rb", b"NOOP a\nb"],
)
def test_another_protocol_or_a_broken_line_ends_the_session(site: Site, command: bytes) -> None:
    with site.talk() as talk:
        assert talk.ask(command).startswith(("554 5.5.1 ", "500 5.5.2 "))
        assert talk.line() == b""


def test_ten_unknown_commands_end_the_session(site: Site) -> None:
    with site.talk() as talk:
        for _ in range(10):
            assert talk.ask("NONSENSE").startswith("500 5.5.1 ")
        assert talk.reply().startswith("421 4.7.0 ")
        assert talk.line() == b""


def test_who_talks_before_the_greeting_is_sent_away(tmp_path: Path, ca: Authority) -> None:
    limits = dataclasses.replace(QUICK, greeting_wait=0.5)
    for kind in KINDS:
        with (
            opened(kind, "plain", tmp_path / kind, ca, limits, ("127.0.0.0/8",)) as site,
            Talk(site.port) as talk,
        ):
            talk.send(FAR + b"EHLO spam.test\r\n")
            assert talk.reply().startswith("554 5.5.1 ")
            assert talk.closed()


# sizes and counts


def test_a_mail_that_is_too_large_is_refused_at_its_end_and_the_session_goes_on(fresh: Callable[..., Site]) -> None:
    site = fresh(message_bytes=50_000)
    with site.talk() as talk:
        for _ in range(2):
            talk.envelope()
            assert talk.data(HEAD + (b"x" * 78 + b"\r\n") * 1_000 + b".\r\n").startswith("552 5.3.4 ")
        talk.envelope()
        assert talk.data(MAIL).startswith("250 2.0.0 ")
    assert len(site.mails()) == 1


def test_long_lines_of_text_are_taken_up_to_the_cap(fresh: Callable[..., Site]) -> None:
    site = fresh(line_bytes=100_000)
    with site.talk() as talk:
        for length, code in ((1_000, "250"), (99_000, "250"), (110_000, "550 5.6.0"), (900_000, "550 5.6.0")):
            talk.envelope()
            assert talk.data(HEAD + b"x" * length + b"\r\n.\r\n").startswith(code)
    assert [mail.endswith(b"\r\n\r\n" + b"x" * length + b"\r\n") for mail, length in zip(
        site.mails(), (1_000, 99_000), strict=True)] == [True, True]  # fmt: skip


def test_more_recipients_than_allowed_are_put_off_and_the_others_served(fresh: Callable[..., Site]) -> None:
    site = fresh(recipients=100)
    with site.talk() as talk:
        talk.ask(f"MAIL FROM:<a@{DOMAIN}>")
        talk.send(f"RCPT TO:<{RUA}>\r\n".encode() * 101)
        answers = [talk.reply()[:9] for _ in range(101)]
        assert answers == ["250 2.1.5"] * 100 + ["452 4.5.3"]
        assert talk.data(MAIL).startswith("250 ")
    assert len(site.mails()) == 1


@pytest.mark.parametrize(
    ("head", "answer"),
    {
        b"Received: from a by b; x\r\n" * 51: "554 5.4.6 ",
        b"Received: from a\r\n by MX.example.test; x\r\n" * 6: "554 5.4.6 ",
        b"X: \x01\r\n": "550 5.6.0 ",
        b"X: \x7f\r\n": "550 5.6.0 ",
        b"X: \xc3\xa9\r\n": "550 5.6.0 ",
        b"X: " + b"y" * 200_001 + b"\r\n": "550 5.6.0 ",
    }.items(),
    ids=lambda value: repr(value)[:30],
)
def test_loops_and_headers_with_odd_bytes_are_refused(site: Site, head: bytes, answer: str) -> None:
    with site.talk() as talk:
        talk.envelope()
        assert talk.data(head + MAIL).startswith(answer)
        assert talk.ask("NOOP").startswith("250 ")
    assert site.mails() == []


def test_fifty_hops_and_eight_bits_in_the_body_are_no_fault(fresh: Callable[..., Site]) -> None:
    site = fresh()
    with site.talk() as talk:
        talk.envelope()
        assert talk.data(b"Received: from a by b; x\r\n" * 50 + HEAD + b"\xff\xfe\r\n.\r\n").startswith("250 ")
    [mail] = site.mails()
    assert mail.endswith(b"\xff\xfe\r\n")


# crowds and the slow


def test_one_client_may_not_have_all_connections_and_others_are_served(fresh: Callable[..., Site]) -> None:
    site = fresh(connections_per_client=3)
    held = [site.talk() for _ in range(3)]
    with Talk(site.port) as talk:
        assert talk.reply().startswith("421 4.7.0 ")
    with site.talk(source="127.0.0.2") as other:
        other.envelope()
        assert other.data(MAIL).startswith("250 ")
    for talk in held:
        talk.sock.close()


def test_there_is_a_limit_for_all_together(fresh: Callable[..., Site]) -> None:
    site = fresh(connections=2)
    with site.talk(), site.talk(), Talk(site.port, source="127.0.0.3") as third:
        assert third.reply().startswith("421 4.3.2 ")


def test_a_silent_client_and_one_that_dribbles_are_cut(fresh: Callable[..., Site]) -> None:
    site = fresh(idle_seconds=0.6, data_idle_seconds=0.6, data_grace_seconds=0.6, data_bytes_per_second=1_000)
    with site.talk() as silent, site.talk() as dribbling, site.talk() as in_data:
        in_data.envelope()
        in_data.ask("DATA")
        with contextlib.suppress(OSError):  # the end may come between two of these
            for _ in range(12):
                dribbling.send(b"N")
                in_data.send(b"X")
                time.sleep(0.1)
        assert silent.reply().startswith("421 4.4.2 ")
        for talk in (dribbling, in_data):
            while line := talk.line():
                assert line.startswith(b"421 4.4.2 ")
    assert site.mails() == []


# ends of connections


@pytest.mark.parametrize("fresh", at("plain"), ids=" ".join, indirect=True)  # TLS cannot be half closed
def test_a_pipelined_session_then_half_close_is_answered_and_its_mail_taken_once(fresh: Callable[..., Site]) -> None:
    site = fresh()
    session = f"EHLO c.test\r\nMAIL FROM:<a@{DOMAIN}>\r\nRCPT TO:<{RUA}>\r\nDATA\r\n".encode() + MAIL + b"QUIT\r\n"
    with Talk(site.port) as talk:
        talk.send(session)
        talk.half_close()
        assert [talk.reply()[:3] for _ in range(7)] == ["220", "250", "250", "250", "354", "250", "221"]
        assert talk.closed()
    assert len(site.mails()) == 1


def test_a_pipeline_is_answered_in_order(fresh: Callable[..., Site]) -> None:
    site = fresh()
    with site.talk() as talk:
        talk.send(f"MAIL FROM:<a@{DOMAIN}>\r\nRCPT TO:<x@y.test>\r\nRCPT TO:<{RUA}>\r\nDATA\r\n".encode())
        assert [talk.reply()[:9] for _ in range(4)] == ["250 2.1.0", "550 5.7.1", "250 2.1.5", "354 End d"]
        talk.send(MAIL + b"RSET\r\nQUIT\r\n")
        assert [talk.reply()[:9] for _ in range(3)] == ["250 2.0.0", "250 2.0.0", "221 2.0.0"]
    assert len(site.mails()) == 1


def test_a_connection_that_is_lost_inside_a_mail_leaves_nothing(fresh: Callable[..., Site]) -> None:
    site = fresh()
    with site.talk() as talk:
        talk.envelope()
        talk.ask("DATA")
        talk.send(HEAD + b"x\r\n.\r")
        talk.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with site.talk() as talk:
        talk.envelope()
        assert talk.data(MAIL).startswith("250 ")
    assert len(site.mails()) == 1


def test_a_connection_that_is_lost_after_the_dot_leaves_the_mail_once_and_whole(fresh: Callable[..., Site]) -> None:
    site = fresh()
    with site.talk() as talk:
        talk.envelope()
        talk.ask("DATA")
        talk.send(MAIL)
        talk.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with site.talk() as talk:
        talk.envelope()
        assert talk.data(HEAD + b"second\r\n.\r\n").startswith("250 ")
    bodies = [mail.partition(b"\r\n\r\n")[2] for mail in site.mails()]
    assert bodies.count(b"second\r\n") == 1
    assert bodies.count(b"hello\r\n") <= 1, "not twice; the reset may have been faster than the dot"
    assert len(bodies) == bodies.count(b"second\r\n") + bodies.count(b"hello\r\n")


# what only one of them meets


def test_postmaster_without_a_domain_is_a_mailbox_of_the_receiver_only(site: Site) -> None:
    with site.talk() as talk:
        talk.ask(f"MAIL FROM:<a@{DOMAIN}>")
        answer = talk.ask("RCPT TO:<Postmaster>")
        assert answer.startswith("250 2.1.5 " if site.kind == "receiver" else "550 5.7.1 ")


AUTHORS = {
    "two": b"From: a@client.test\r\nFrom: x@evil.test\r\n",
    "none": b"Subject: x\r\n",
    "a blank before the colon": b"From : a@client.test\r\n",
    "after the blank line": b"Subject: x\r\n\r\nFrom: a@client.test\r\n",
    "after a line of blanks": b"Subject: x\r\n \r\nFrom: a@client.test\r\n",
    "a group": b"From: friends: a@client.test;\r\n",
    "an encoded address": b"From: =?utf-8?q?a=40client.test?=\r\n",
    "an encoded address before": b"From: =?utf-8?q?x=40evil.test?= <a@client.test>\r\n",
    "brackets in quotes": b'From: "<x@evil.test>" <a@client.test>\r\n',
    "two in one": b"From: a@client.test <x@evil.test>\r\n",
    "a comment with an address": b"From: a@client.test (x@evil.test)\r\n",
    "a route": b"From: <@evil.test:a@client.test>\r\n",
    "folded away": b"From:\r\n \r\n a@client.test\r\n",
    "first line folded": b" x@evil.test\r\nFrom: a@client.test\r\n",
    "another name": b"X-From: a@client.test\r\n",
    "an mbox line": b"From a@client.test Thu Jan  1 00:00:00 2026\r\nFrom: a@client.test\r\n",
}


@pytest.mark.parametrize("header", AUTHORS.values(), ids=AUTHORS)
@pytest.mark.parametrize("way", WAYS)
def test_a_mail_whose_author_can_be_read_in_two_ways_is_not_signed(
    relays: dict[str, Site], way: str, header: bytes
) -> None:
    site = relays[way]
    with site.talk() as talk:
        talk.envelope()
        assert talk.data(header + b"\r\nx\r\n.\r\n").startswith("550 5.6.0 ")
    assert site.mails() == []


@pytest.fixture(scope="module")
def relays(tmp_path_factory: pytest.TempPathFactory, ca: Authority) -> Iterator[dict[str, Site]]:
    with contextlib.ExitStack() as stack:
        yield {way: stack.enter_context(opened("relay", way, tmp_path_factory.mktemp("relay"), ca)) for way in WAYS}


@pytest.mark.parametrize("way", WAYS)
def test_mail_to_the_relay_itself_and_to_literals_is_refused_at_once(tmp_path: Path, ca: Authority, way: str) -> None:
    mode = "starttls" if way == "plain" else way
    with taking(tmp_path, ca=ca, recipients=("*",), listeners=(RelayListener(port=0, mode=mode),)) as relay:
        with Site("relay", way, relay.port, ca, list, relay).talk() as talk:
            talk.ask(f"MAIL FROM:<a@{DOMAIN}>")
            assert talk.ask(f"RCPT TO:<a@{HOST}>").startswith("554 5.4.6 ")
            for literal in ("127.0.0.1", "192.0.2.1", "IPv6:::1", "IPv6:2001:db8::1"):
                assert talk.ask(f"RCPT TO:<a@[{literal}]>").startswith("550 5.7.1 ")
            assert talk.ask("DATA").startswith("554 ")
        assert relay.count() == 0


def test_three_wrong_passwords_end_the_session(tmp_path: Path, ca: Authority) -> None:
    users_in(tmp_path)
    from dmarcview_relay.settings import Login

    with (
        taking(tmp_path, ca=ca, users=tmp_path / "relay" / "users.json", login=Login(delay=0.0)) as relay,
        Site("relay", "starttls", relay.port, ca, list, relay).talk() as talk,
    ):
        answers = [talk.ask(plain("alice", f"guess {at}"))[:9] for at in range(3)]
        assert answers == ["535 5.7.8", "535 5.7.8", "421 4.7.0"]
        assert talk.line() == b""
