"""The relay's client against hosts that are good, odd or hostile, on real sockets."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from relay_servers import CONTENT, CUT, EXTENSIONS, QUICK, FarHost, courier, deliver, far, mail, serving, smart, to

from dmarcview_relay.commands import stuffed
from dmarcview_relay.deliver import NotConnected
from dmarcview_relay.envelope import Recipient
from dmarcview_relay.outcome import REPLY_BYTES, RemoteReply
from dmarcview_relay.routes import hop
from dmarcview_relay.settings import Delivery, Route
from dmarcview_smtp.address import Address

NO_PIPELINING = tuple(keyword for keyword in EXTENSIONS if keyword != "PIPELINING")
HASTY = dataclasses.replace(QUICK, connect=0.3, command=0.3, final=0.3)


def talk(host: FarHost, *recipients: str, delivery: Delivery = QUICK, **more: object) -> list[RemoteReply]:
    """Send one mail to the host by a route."""

    async def run() -> list[RemoteReply]:
        async with far(host):
            made = courier(None, delivery, smart(host.port, "lmtp" if host.lmtp else "smtp"))
            return await deliver(made, *recipients, **more)  # type: ignore[arg-type]

    return asyncio.run(run())


def refused(host: FarHost, delivery: Delivery = QUICK) -> RemoteReply:
    """The reason why no session came about."""
    with pytest.raises(NotConnected) as caught:
        talk(host, delivery=delivery)
    return caught.value.reply


@pytest.mark.parametrize("extensions", [EXTENSIONS, NO_PIPELINING], ids=["pipelined", "one by one"])
def test_a_mail_arrives_byte_by_byte_and_the_reply_is_kept(extensions: tuple[str, ...]) -> None:
    host = FarHost(extensions)
    content = b".leading\r\n" + CONTENT + b"..two\r\n.\r\n\r\nend\r\n"
    assert talk(host, content=content) == [RemoteReply(250, "2.0.0", "taken", "body")]
    assert host.mails == [content]
    assert host.commands == [
        "EHLO relay.test",
        f"MAIL FROM:<a@sender.test> SIZE={len(content)}",
        "RCPT TO:<b@far.test>",
        "DATA",
        "QUIT",
    ]


@given(st.lists(st.sampled_from([b".", b"..", b"a", b".a", b"", b"a.", b". "])))
def test_only_the_last_dot_ends_a_mail(lines: list[bytes]) -> None:
    content = b"".join(line + b"\r\n" for line in [*lines, b"end"])
    wire = stuffed(content)
    assert (b"\r\n" + wire).count(b"\r\n.\r\n") == 1
    body = wire.removesuffix(b".\r\n").splitlines(keepends=True)
    assert b"".join(line[1:] if line.startswith(b".") else line for line in body) == content


def test_many_mails_leave_by_one_session_and_a_broken_off_one_is_reset() -> None:
    host = FarHost(answers={"DATA": [b"354 go\r\n", b"451 4.3.0 not now\r\n", b"354 go\r\n"]})

    async def run() -> list[RemoteReply]:
        async with far(host):
            made = courier(None, QUICK, smart(host.port))
            session = await made.connect(hop("far.test", made.settings))
            replies = [reply for _ in range(3) for reply in await session.send(mail(), to("b@far.test"), CONTENT)]
            assert session.usable
            await session.close()
            assert not session.usable
            return replies

    assert [(reply.code, reply.stage) for reply in asyncio.run(run())] == [(250, "body"), (451, "data"), (250, "body")]
    assert host.sessions == 1
    assert host.commands[7] == "RSET"
    assert len(host.mails) == 2


@pytest.mark.parametrize("extensions", [EXTENSIONS, NO_PIPELINING], ids=["pipelined", "one by one"])
def test_each_recipient_has_its_own_reply_with_all_its_lines(extensions: tuple[str, ...]) -> None:
    refusal = b"550-5.1.1 No such user here.\r\n550-5.1.1 Look at\r\n550 5.1.1 https://far.test/why\r\n"
    host = FarHost(extensions, {"RCPT": [b"250 ok\r\n", refusal, b"251 2.1.5 will forward\r\n", b"452 4.2.2 full\r\n"]})
    replies = talk(host, "a@far.test", "b@far.test", "c@far.test", "d@far.test")
    assert [reply.code for reply in replies] == [250, 550, 250, 452]
    assert replies[1] == RemoteReply(550, "5.1.1", "No such user here.\nLook at\nhttps://far.test/why", "rcpt")


@pytest.mark.parametrize("extensions", [EXTENSIONS, NO_PIPELINING], ids=["pipelined", "one by one"])
@pytest.mark.parametrize("data", [b"503 5.5.1 no\r\n", b"354 go on then\r\n"], ids=["refused", "let in"])
def test_all_recipients_refused_and_data_refused_or_let_in(extensions: tuple[str, ...], data: bytes) -> None:
    host = FarHost(extensions, {"RCPT": b"550 5.1.1 no\r\n", "DATA": data})
    assert [str(reply) for reply in talk(host, "a@far.test", "b@far.test")] == ["550 5.1.1 no"] * 2
    assert host.raw == ([b".\r\n"] if data.startswith(b"354") and "PIPELINING" in extensions else [])


@pytest.mark.parametrize("extensions", [EXTENSIONS, NO_PIPELINING], ids=["pipelined", "one by one"])
def test_a_refused_sender_is_the_reply_of_each_recipient(extensions: tuple[str, ...]) -> None:
    answers = {"MAIL": b"550 5.7.1 not you\r\n", "RCPT": b"250 ok\r\n", "DATA": b"354 go\r\n"}
    host = FarHost(extensions, answers)  # it takes recipients nevertheless, which must not deliver an empty mail
    replies = talk(host, "a@far.test", "b@far.test")
    assert [(str(reply), reply.stage) for reply in replies] == [("550 5.7.1 not you", "mail")] * 2
    assert host.mails in ([], [b""])


def test_too_many_recipients_is_to_be_tried_again_whatever_its_code() -> None:
    host = FarHost(answers={"RCPT": [b"250 ok\r\n", b"552 Too many recipients\r\n", b"552 5.2.2 mailbox full\r\n"]})
    codes = [(reply.code, reply.enhanced) for reply in talk(host, "a@far.test", "b@far.test", "c@far.test")]
    assert codes == [(250, "2.0.0"), (452, "4.5.3"), (552, "5.2.2")]


def test_lmtp_has_a_reply_for_each_recipient(tmp_path: Path) -> None:
    host = FarHost(lmtp=True, answers={"END": [b"250 2.1.5 a\r\n", b"452 4.2.2 full\r\n"], "RCPT": [
        b"250 ok\r\n", b"550 5.1.1 no\r\n", b"250 ok\r\n"]})  # fmt: skip
    host.path = str(tmp_path / "lmtp")

    async def run() -> list[RemoteReply]:
        async with far(host):
            made = courier(None, QUICK, Route(to=f"lmtp://{host.path}"))
            return await deliver(made, "a@far.test", "b@far.test", "c@far.test")

    assert [reply.code for reply in asyncio.run(run())] == [250, 550, 452]
    assert host.commands[0] == "LHLO relay.test"


def test_a_host_that_knows_only_helo_is_served() -> None:
    host = FarHost(answers={"EHLO": b"500 what?\r\n"})
    assert talk(host)[0].taken
    assert host.commands[:3] == ["EHLO relay.test", "HELO relay.test", "MAIL FROM:<a@sender.test>"]


def test_dsn_parameters_pass_as_they_were_written_and_only_where_known() -> None:
    people = [Recipient(Address("b", "far.test"), ("SUCCESS", "FAILURE"), "rfc822;B+2B@far.test")]
    what = mail(ret="HDRS", envid="QQ+2B7")

    async def run(host: FarHost) -> bool:
        async with far(host):
            made = courier(None, QUICK, smart(host.port))
            session = await made.connect(hop("far.test", made.settings))
            await session.send(what, people, CONTENT)
            await session.close()
            return session.dsn

    known, unknown = FarHost(), FarHost(("PIPELINING",))
    assert asyncio.run(run(known))
    assert known.commands[1] == f"MAIL FROM:<a@sender.test> SIZE={len(CONTENT)} RET=HDRS ENVID=QQ+2B7"
    assert known.commands[2] == "RCPT TO:<b@far.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;B+2B@far.test"
    assert not asyncio.run(run(unknown))
    assert unknown.commands[1:3] == ["MAIL FROM:<a@sender.test>", "RCPT TO:<b@far.test>"]


@pytest.mark.parametrize(
    ("extensions", "what", "content", "expected"),
    [
        (("SIZE 40",), {}, CONTENT, "552 5.3.4"),
        ((), {"eight_bit": True}, CONTENT, "554 5.6.3"),
        ((), {"utf8": True}, CONTENT, "553 5.6.7"),
        (("REQUIRETLS",), {"require_tls": True}, CONTENT, "550 5.7.10"),
        ((), {}, CONTENT + b"bare\nlf\r\n", "554 5.6.0"),
        ((), {}, CONTENT + b"bare\rcr\r\n", "554 5.6.0"),
        ((), {}, CONTENT + b"nul\0\r\n", "554 5.6.0"),
        ((), {}, CONTENT + b"no end", "554 5.6.0"),
    ],
)
def test_a_mail_that_the_host_cannot_have_fails_with_words_and_is_not_begun(
    extensions: tuple[str, ...], what: dict[str, bool], content: bytes, expected: str
) -> None:
    host = FarHost(extensions)
    [reply] = talk(host, content=content, what=mail(**what))
    assert (str(reply)[:9], reply.said, reply.permanent) == (expected[:9], False, True)
    assert len(reply.text) > 20
    assert host.commands == ["EHLO relay.test", "QUIT"]


def test_eight_bit_and_smtputf8_are_declared() -> None:
    host = FarHost((*EXTENSIONS, "SMTPUTF8"))
    [reply] = talk(host, "pelé@exämple.test", what=mail("é@sender.test", eight_bit=True, utf8=True))
    assert reply.taken
    assert host.commands[1].endswith(" BODY=8BITMIME SMTPUTF8")
    assert host.commands[2] == "RCPT TO:<pelé@exämple.test>"


def test_a_domain_of_unicode_is_said_in_a_labels_where_smtputf8_is_unknown() -> None:
    host = FarHost()
    assert talk(host, "b@exämple.test")[0].taken
    assert host.commands[2] == "RCPT TO:<b@xn--exmple-cua.test>"


def test_no_control_byte_of_an_address_reaches_the_wire() -> None:
    host = FarHost()
    evil = [Recipient(Address("b", "far.test>\r\nRCPT TO:<victim@far.test"))]

    async def run() -> list[RemoteReply]:
        async with far(host):
            made = courier(None, QUICK, smart(host.port))
            session = await made.connect(hop("far.test", made.settings))
            replies = await session.send(mail(), evil, CONTENT)
            await session.close()
            return replies

    assert asyncio.run(run())[0].code == 553
    assert host.commands == ["EHLO relay.test", "QUIT"]


def test_a_large_mail_leaves_in_pieces_and_arrives_whole() -> None:
    host = FarHost(("SIZE 0",))
    content = CONTENT + (b"." * 99 + b"\r\n") * 20_000
    assert talk(host, content=content)[0].taken
    assert host.mails == [content]


# hosts that break the rules


@pytest.mark.parametrize(
    ("verb", "stage", "code"),
    [("greeting", "greeting", 421), ("EHLO", "hello", 421), ("MAIL", "mail", 421), ("RCPT", "rcpt", 421),
     ("DATA", "data", 421), ("END", "body", 421)],
)  # fmt: skip
@pytest.mark.parametrize("answer", [CUT, b"250-half a re" + CUT, b"421 4.3.2 going down\r\n", b""],
                         ids=["cut", "half a reply", "421", "silence"])  # fmt: skip
def test_a_cut_a_421_or_silence_at_any_stage_is_to_be_tried_again(
    verb: str, stage: str, code: int, answer: bytes
) -> None:
    host = FarHost(answers={verb: answer})
    if verb in ("greeting", "EHLO"):
        reply = refused(host, HASTY)
    else:
        [reply] = talk(host, delivery=HASTY)
    assert (reply.code, reply.stage, reply.said) == (code, stage, answer.startswith(b"421"))
    if not reply.said:
        assert reply.enhanced == "4.4.2"
        assert reply.text.startswith("127.0.0.1 ")
        assert ("in 0.3 s" in reply.text) == (not answer)


def test_after_a_421_the_session_is_not_used_again() -> None:
    host = FarHost(answers={"RCPT": b"421 4.7.0 too fast\r\n"})

    async def run() -> None:
        async with far(host):
            made = courier(None, HASTY, smart(host.port))
            session = await made.connect(hop("far.test", made.settings))
            [reply] = await session.send(mail(), to("b@far.test"), CONTENT)
            assert str(reply) == "421 4.7.0 too fast"
            assert not session.usable
            [reply] = await session.send(mail(), to("b@far.test"), CONTENT)
            assert (reply.code, reply.stage, reply.said) == (421, "mail", False)
            await session.close()

    asyncio.run(run())


def test_a_farewell_or_a_cut_between_two_mails_leaves_the_next_untried() -> None:
    async def run(answer: bytes) -> None:
        host = FarHost(answers={"END": b"250 taken\r\n" + answer})
        async with far(host):
            made = courier(None, QUICK, smart(host.port))
            session = await made.connect(hop("far.test", made.settings))
            assert (await session.send(mail(), to("b@far.test"), CONTENT))[0].taken
            await asyncio.sleep(0.05)
            [reply] = await session.send(mail(), to("b@far.test"), CONTENT)
            assert (reply.code, reply.enhanced, reply.stage, reply.said) == (421, "4.4.2", "mail", False)
            assert not session.usable
            await session.close()
            assert len(host.mails) == 1

    for answer in (b"421 4.4.2 idle\r\n", CUT, b"250 once more\r\n", b"what?\r\n"):
        asyncio.run(run(answer))


NONSENSE = {
    "no code": b"hello\r\n",
    "code 199": b"199 x\r\n",
    "code 999": b"999 x\r\n",
    "letters": b"2a0 x\r\n",
    "empty line": b"\r\n",
    "nul": b"\0\0\0\r\n",
    "code and colon": b"250: x\r\n",
    "http": b"HTTP/1.1 400 Bad Request\r\n\r\n",
}


@pytest.mark.parametrize("verb", ["MAIL", "END"])
@pytest.mark.parametrize("answer", NONSENSE.values(), ids=NONSENSE)
def test_what_is_no_reply_ends_the_connection(verb: str, answer: bytes) -> None:
    [reply] = talk(FarHost(answers={verb: answer}))
    assert (reply.code, reply.said) == (421, False)
    assert "no SMTP reply" in reply.text
    assert reply.text.isprintable()


@pytest.mark.parametrize("answer", [b"250 ok\r\n", b"334 more\r\n", b"220 ready\r\n"])
def test_a_positive_reply_that_does_not_fit_data_takes_no_mail(answer: bytes) -> None:
    [reply] = talk(FarHost(answers={"DATA": answer}))
    assert (reply.code, reply.enhanced, reply.said) == (451, "4.5.0", False)


def test_354_instead_of_the_last_word_is_no_success() -> None:
    [reply] = talk(FarHost(answers={"END": b"354 more please\r\n"}))
    assert (reply.code, reply.said) == (451, False)


@pytest.mark.parametrize(
    "answer",
    [b"250-x\r\n" * 5_000, b"2" * 200_000, b"250 " + b"x" * 100_000 + b"\r\n", b"250-" + b"x" * 4_000 + b"\r\n" * 90],
    ids=["endless lines", "a line without end", "a long line", "large lines"],
)
def test_endless_replies_are_cut_off(answer: bytes) -> None:
    [reply] = talk(FarHost(answers={"MAIL": answer}))
    assert (reply.code, reply.said) == (421, False)
    assert len(reply.text) < 300


def test_a_reply_that_drips_has_the_time_of_one_reply() -> None:
    async def run() -> float:
        host = FarHost(drip=0.02, answers={"greeting": b"220-" + b"x" * 1_000 + b"\r\n"})
        async with far(host):
            began = asyncio.get_running_loop().time()
            with pytest.raises(NotConnected, match=r"did not answer in 0\.3 s"):
                await deliver(courier(None, HASTY, smart(host.port)))
            return asyncio.get_running_loop().time() - began

    assert asyncio.run(run()) < 10, "not the 20 s that the drip takes"


@pytest.mark.parametrize("extensions", [EXTENSIONS, NO_PIPELINING], ids=["pipelined", "one by one"])
def test_replies_that_come_slowly_one_by_one_have_a_time_together(extensions: tuple[str, ...]) -> None:
    async def run() -> list[RemoteReply]:
        async with far(FarHost(extensions)) as host:
            delivery = dataclasses.replace(QUICK, final=0.5, command=0.5)
            made = courier(None, delivery, smart(host.port))
            session = await made.connect(hop("far.test", made.settings))
            host.drip = 0.02
            people = to(*(f"b{number}@far.test" for number in range(1_000)))
            async with asyncio.timeout(30):  # not the 280 s of a thousand replies
                replies = await session.send(mail(), people, CONTENT)
            await session.close()
            return replies

    replies = asyncio.run(run())
    assert replies[-1].code == 421
    assert "did not answer in " in replies[-1].text


def test_a_host_that_takes_no_bytes_of_a_large_mail_is_left() -> None:
    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 x\r\n")
        for answer in (b"250 x", b"250 x", b"250 x", b"354 x"):
            await reader.readline()
            writer.write(answer + b"\r\n")
        writer.transport.pause_reading()
        await asyncio.sleep(5)

    async def run() -> RemoteReply:
        async with serving(deaf) as port:
            content = CONTENT + (b"x" * 998 + b"\r\n") * 30_000
            return (await deliver(courier(None, HASTY, smart(port)), content=content))[0]

    reply = asyncio.run(run())
    assert (reply.code, reply.enhanced, reply.stage) == (421, "4.4.2", "data"), "the dot had not left"
    assert "took no more bytes" in reply.text


def test_a_reply_within_the_content_ends_the_writing() -> None:
    async def early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 x\r\n")
        for answer in (b"250 x", b"250 x", b"250 x", b"354 x\r\n552 5.3.4 I have seen enough"):
            await reader.readline()
            writer.write(answer + b"\r\n")
        await asyncio.sleep(0.5)
        writer.transport.abort()

    async def run() -> RemoteReply:
        async with serving(early) as port:
            content = CONTENT + (b"x" * 998 + b"\r\n") * 30_000
            return (await deliver(courier(None, QUICK, smart(port)), content=content))[0]

    assert not asyncio.run(run()).taken


def test_a_reply_of_control_bytes_is_kept_without_them() -> None:
    answer = b"550-5.7.1 \x1b[31mred\x07\r\n550 5.7.1 \xff\xfe\xe2\x80\xa8 caf\xc3\xa9\r\n"
    [reply] = talk(FarHost(answers={"RCPT": answer}))
    assert reply.enhanced == "5.7.1"
    assert reply.text.endswith("café")
    assert all(line.isprintable() for line in reply.text.split("\n"))


def test_of_a_long_reply_a_bounded_part_is_kept() -> None:
    answer = b"550-" + b"y" * 1_000 + b"\r\n"
    [reply] = talk(FarHost(answers={"RCPT": answer * 40 + b"550 end\r\n"}))
    assert reply.code == 550
    assert len(reply.text.encode()) == REPLY_BYTES


@pytest.mark.parametrize("verb", ["greeting", "EHLO"])
def test_a_host_that_wants_no_mail_at_all_is_final_when_it_is_the_only_one(verb: str) -> None:
    answers = {verb: b"554-5.7.1 no mail from you\r\n554 5.7.1 see https://far.test/\r\n", "HELO": b"554 5.7.1 no\r\n"}
    reply = refused(FarHost(answers=answers))
    assert reply.permanent
    assert reply.stage == ("greeting" if verb == "greeting" else "hello")


def test_a_send_that_is_cancelled_leaves_no_session() -> None:
    async def run() -> None:
        host = FarHost(answers={"END": b""})
        async with far(host):
            made = courier(None, QUICK, smart(host.port))
            session = await made.connect(hop("far.test", made.settings))
            task = asyncio.create_task(session.send(mail(), to("b@far.test"), CONTENT))
            while not host.mails:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert not session.usable
            await session.close()

    asyncio.run(run())
