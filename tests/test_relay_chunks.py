"""Mail in counted chunks (RFC 3030): the same checks as after DATA, and no octet of a mail ever taken for a command."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from relay_door import House, house, limits
from smtp_talk import Authority, Talk, authority

from dmarcview_relay.settings import RelayListener
from dmarcview_smtp.content import Chunks, Content
from dmarcview_smtp.settings import DoorSettings

MAIL = b"Subject: x\r\n\r\n.dots.\r\n..\r\n.\r\nQUIT\r\n"
PLAIN = RelayListener(port=0, mode="plain")


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("ca"))


def begun(here: House) -> Talk:
    talk = Talk(here.port)
    assert "CHUNKING" in talk.hello()
    talk.envelope("b@example.net")
    return talk


def chunk(talk: Talk, content: bytes, last: str = "") -> str:
    talk.send(f"BDAT {len(content)}{last}\r\n".encode() + content)
    return talk.reply()


@given(st.lists(st.sampled_from([b"\r\n", b".", b"a", b"\r\n.\r\n", b"\r", b"\n", b""]), max_size=12))
def test_chunks_cut_anywhere_are_the_bytes_that_were_sent(pieces: list[bytes]) -> None:
    whole = b"A: b\r\n\r\n" + b"".join(pieces)
    chunks = Chunks(DoorSettings(), None)
    for piece in (b"A: b\r\n\r\n", *pieces):
        chunks.add(piece)
    chunks.end()
    outcome = chunks.finish("relay.example.test", utf8=False)
    clean = whole.count(b"\r") == whole.count(b"\n") == whole.count(b"\r\n")
    assert isinstance(outcome, Content) == clean
    if isinstance(outcome, Content):
        assert outcome.data == (whole if whole.endswith(b"\r\n") else whole + b"\r\n")


def test_a_mail_in_chunks_arrives_as_it_was_and_the_session_goes_on(tmp_path: Path, ca: Authority) -> None:
    with house(tmp_path, ca, PLAIN) as here, begun(here) as talk:
        for at in range(len(MAIL)):
            assert chunk(talk, MAIL[at : at + 1]) == "250 2.0.0 1 octets taken"
        assert talk.ask("BDAT 0 LAST") == "250 2.0.0 Queued"
        talk.envelope("b@example.net")
        assert chunk(talk, b"A: b\r\n\r\nno end", " last") == "250 2.0.0 Queued"
        talk.envelope("b@example.net")
        assert talk.data(b"A: b\r\n\r\n..x\r\n.\r\n") == "250 2.0.0 Queued"
        assert [taken.content for taken in here.policy.taken] == [
            MAIL, b"A: b\r\n\r\nno end\r\n", b"A: b\r\n\r\n.x\r\n",
        ]  # fmt: skip


def test_a_large_mail_waits_in_a_file_also_when_the_client_leaves(tmp_path: Path, ca: Authority) -> None:
    with house(tmp_path, ca, PLAIN) as here:
        large = b"Subject: x\r\n\r\n" + b"x" * 98 + b"\r\n" + (b"y" * 98 + b"\r\n") * 20_000
        with begun(here) as talk:
            assert chunk(talk, large[:1_000_000]).startswith("250")
            assert chunk(talk, large[1_000_000:], " LAST") == "250 2.0.0 Queued"
        assert here.policy.taken[0].content == large
        with begun(here) as talk:
            assert chunk(talk, large[:1_000_000]).startswith("250")
        with begun(here) as talk:
            assert chunk(talk, large[:1_000_000]).startswith("250")
            assert talk.ask("RSET").startswith("250")
            talk.envelope("b@example.net")
            assert talk.data(b"A: b\r\n\r\nx\r\n.\r\n") == "250 2.0.0 Queued"


def test_chunks_have_their_place_and_are_swallowed_elsewhere(tmp_path: Path, ca: Authority) -> None:
    with house(tmp_path, ca, PLAIN) as here, Talk(here.port) as talk:
        talk.hello()
        assert chunk(talk, b"QUIT\r\n").startswith("503 ")
        assert talk.ask("MAIL FROM:<a@example.org>").startswith("250")
        assert chunk(talk, b"QUIT\r\n", " LAST").startswith("554 ")
        assert talk.ask("RCPT TO:<b@example.net>").startswith("250")
        assert chunk(talk, b"A: b\r\n").startswith("250")
        for command in ("DATA", "RCPT TO:<c@example.net>", "MAIL FROM:<c@example.org>"):
            assert talk.ask(command).startswith("503 ")
        assert chunk(talk, b"\r\nx\r\n", " LAST") == "250 2.0.0 Queued"
        assert [len(taken.mail.recipients) for taken in here.policy.taken] == [1]


@pytest.mark.parametrize("bad", [b"x\ny", b"x\ry", b"x\0y"])
def test_bytes_that_data_refuses_are_refused_here_too(tmp_path: Path, ca: Authority, bad: bytes) -> None:
    with house(tmp_path, ca, PLAIN) as here, begun(here) as talk:
        assert chunk(talk, b"A: b\r\n\r\n" + bad).startswith("550 5.6.0 ")
        assert chunk(talk, b"x\r\n", " LAST").startswith("550 5.6.0 ")
        assert here.policy.taken == []


def test_sizes_have_bounds(tmp_path: Path, ca: Authority) -> None:
    with house(tmp_path, ca, PLAIN, limits=limits(message_bytes=1_000)) as here:
        with begun(here) as talk:
            assert chunk(talk, b"A: b\r\n\r\n" + b"x" * 1_000, " LAST").startswith("552 5.3.4 ")
            assert talk.ask("NOOP").startswith("250"), "the connection is kept"
        for words in ("5000", "99999999999999999999", "-1", "x", "", "1 FIRST", "1 LAST LAST"):
            with begun(here) as talk:
                assert talk.ask(f"BDAT {words}")[:3] in ("552", "501"), words
                assert talk.closed()
        assert here.policy.taken == []


def test_many_chunks_are_one_mail_and_tiny_ones_have_a_bound(tmp_path: Path, ca: Authority) -> None:
    line = b"x" * 62 + b"\r\n"
    with house(tmp_path, ca, PLAIN, limits=limits(commands=20)) as here:
        with begun(here) as talk:
            assert chunk(talk, b"A: b\r\n\r\n").startswith("250")
            for _ in range(50):
                assert chunk(talk, line * 64).startswith("250")
            assert talk.ask("BDAT 0 LAST") == "250 2.0.0 Queued"
        with begun(here) as talk:
            said = [talk.ask("BDAT 0") for _ in range(18)]
            assert said[-1].startswith("421 4.7.0 Too many commands")
        assert len(here.policy.taken) == 1


def test_pipelined_chunks_are_one_mail(tmp_path: Path, ca: Authority) -> None:
    with house(tmp_path, ca, PLAIN) as here, Talk(here.port) as talk:
        talk.hello()
        talk.send(
            b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\n"
            b"BDAT 8\r\nA: b\r\n\r\nBDAT 3 LAST\r\nx\r\nQUIT\r\n"
        )
        assert [talk.reply()[:3] for _ in range(5)] == ["250", "250", "250", "250", "221"]
        assert [taken.content for taken in here.policy.taken] == [b"A: b\r\n\r\nx\r\n"]
