"""What becomes of one try: each recipient by its own reply, a broken idle connection by none, a person's word at once.

All far hosts are real sockets, and the clock stands unless it is moved.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from relay_servers import CUT, EXTENSIONS, FarHost, far, serving
from relay_sink import Sink
from test_relay_worker import START, Clock, put, relaying, route, sent, settings, until

from dmarcview_relay.queue_admin import QueueAdmin
from dmarcview_relay.settings import Delivery
from dmarcview_smtp.address import read_address


@pytest.mark.parametrize("extensions", [EXTENSIONS, ()], ids=["pipelined", "one by one"])
def test_recipients_of_one_transaction_are_settled_each_by_its_own_reply(
    tmp_path: Path, extensions: tuple[str, ...]
) -> None:
    replies = [b"250 2.1.5 ok\r\n", b"450-4.2.1 full\r\n450 4.2.1 come again\r\n", b"550 5.7.1 not you\r\n"]

    async def story() -> None:
        clock, home = Clock(), await Sink(keep=True).start()
        async with far(FarHost(extensions, {"RCPT": replies, "END": b"250 2.0.0 taken as 42\r\n"})) as host:
            ways = settings(route("far.test", host.port), route("load.test", home.port))
            async with relaying(tmp_path, ways, clock) as relay:
                await put(relay, "m", "x@far.test", "y@far.test", "z@far.test")
                await until(lambda: home.mails)
                assert len(host.mails) == 1
                assert sum(command.startswith("MAIL ") for command in host.commands) == 1
                rows = {row.tries: row for row in sent(tmp_path) if row.kind == "mail"}
                by_code = {row.reply.code: row for row in sent(tmp_path) if row.kind == "mail"}
                assert {code: (row.outcome, row.reply.text) for code, row in by_code.items()} == {
                    250: ("delivered", "taken as 42"),
                    450: ("deferred", "full\ncome again"),
                    550: ("failed", "not you"),
                }
                assert rows.keys() == {1}
                await until(lambda: relay.queue.count()["mails"] == 1)
                (left,) = relay.queue.waiting()
                assert [str(ticket.recipient.address) for ticket in left.tickets] == ["y@far.test"]
                assert left.tickets[0].next_at == START + 300
                host.answers = {}
                clock.now += 300
                await until(lambda: not relay.queue.count()["mails"])
                assert [command for command in host.commands if command.startswith("RCPT ")][3:] == [
                    "RCPT TO:<y@far.test>"
                ]
            (bounce,) = home.mails
            assert bounce.count(b"\nFinal-Recipient:") == 1
            assert b"rfc822; z@far.test" in bounce
            assert b"550 5.7.1 not you" in bounce
            assert b"y@far.test" not in bounce
        await home.stop()

    asyncio.run(story())


def test_mails_that_come_one_by_one_share_one_connection(tmp_path: Path) -> None:
    async def story() -> None:
        async with far(FarHost()) as host:
            delivery = Delivery(idle=20.0, connect=20.0)
            async with relaying(tmp_path, settings(route("*", host.port), delivery=delivery), Clock()) as relay:
                for number in range(5):
                    await put(relay, f"m{number}", "x@far.test", "y@far.test")
                    await until(lambda n=number: len(sent(tmp_path)) == 2 * n + 2)  # type: ignore[misc]
        assert host.sessions == 1

    asyncio.run(story())


@pytest.mark.parametrize("extensions", [EXTENSIONS, ()], ids=["pipelined", "one by one"])
@pytest.mark.parametrize(
    "second",
    [b"421 4.3.2 enough\r\n" + CUT, b"421 4.3.2 enough\r\n", CUT],
    ids=["421 and the end", "421 and it stays", "a cut"],
)
def test_a_reused_connection_that_ends_at_mail_costs_no_try(
    tmp_path: Path, extensions: tuple[str, ...], second: bytes
) -> None:
    async def story() -> None:
        first = FarHost(extensions, {"MAIL": [b"250 ok\r\n", second]})
        async with far(first) as host, relaying(tmp_path, settings(route("*", host.port)), Clock()) as relay:
            await put(relay, "one", "x@far.test")
            await until(lambda: len(sent(tmp_path)) == 1)
            await put(relay, "two", "y@far.test", "z@far.test")
            await until(lambda: not relay.queue.count()["mails"])
        assert host.sessions == 2
        assert len([mail for mail in host.mails if mail]) == 2  # a lone dot may end a DATA that was let in
        assert [(row.tries, row.outcome) for row in sent(tmp_path)] == [(1, "delivered")] * 3

    asyncio.run(story())


@pytest.mark.parametrize("farewell", [b"", b"421 4.4.2 idle for too long\r\n"], ids=["without a word", "with 421"])
def test_a_connection_that_the_far_host_closed_while_it_was_idle_costs_no_try(tmp_path: Path, farewell: bytes) -> None:
    """The host lets go a moment after each mail, and the relay keeps connections for much longer."""

    async def story() -> None:
        gone, host = asyncio.Event(), FarHost()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if host.sessions:
                await host.serve(reader, writer)
                return
            session = asyncio.create_task(host.serve(reader, writer))
            await gone.wait()
            session.cancel()
            writer.write(farewell)
            writer.close()
            await asyncio.gather(session, return_exceptions=True)

        async with serving(serve) as port:
            delivery = Delivery(idle=20.0, connect=20.0)
            async with relaying(tmp_path, settings(route("*", port), delivery=delivery), Clock()) as relay:
                await put(relay, "one", "x@far.test")
                await until(lambda: len(sent(tmp_path)) == 1)
                gone.set()
                await asyncio.sleep(0.2)  # so that the end is known before the next mail is there
                await put(relay, "two", "x@far.test")
                await until(lambda: not relay.queue.count()["mails"])
        assert host.sessions == 2
        assert [(row.tries, row.outcome) for row in sent(tmp_path)] == [(1, "delivered")] * 2

    asyncio.run(story())


def test_a_host_that_ends_each_session_at_mail_is_not_tried_in_a_circle(tmp_path: Path) -> None:
    async def story() -> None:
        busy = FarHost(answers={"MAIL": b"421 4.3.2 not now\r\n" + CUT})
        async with far(busy) as host, relaying(tmp_path, settings(route("*", host.port)), Clock()) as relay:
            await put(relay, "one", "x@far.test")
            await until(lambda: len(sent(tmp_path)) == 1)
            await asyncio.sleep(0.7)
        assert host.sessions == 1
        assert [(row.tries, row.outcome) for row in sent(tmp_path)] == [(1, "deferred")]

    asyncio.run(story())


@pytest.mark.parametrize("refusal", [b"421 4.7.0 one at a time\r\n", b"554 5.7.0 one at a time\r\n", b""])
def test_a_refused_extra_connection_costs_no_try_while_another_one_stands(tmp_path: Path, refusal: bytes) -> None:
    async def story() -> None:
        refused, host = 0, FarHost(drip=0.002)

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal refused
            if not host.sessions:
                await host.serve(reader, writer)
                return
            refused += 1
            writer.write(refusal)
            await writer.drain()

        async with serving(serve) as port, relaying(tmp_path, settings(route("*", port)), Clock()) as relay:
            await asyncio.gather(*(put(relay, f"m{number}", "x@far.test") for number in range(12)))
            await until(lambda: not relay.queue.count()["mails"])
        assert host.sessions == 1
        assert 1 <= refused < 12
        assert len(host.mails) == 12
        assert [(row.tries, row.outcome) for row in sent(tmp_path)] == [(1, "delivered")] * 12

    asyncio.run(story())


def test_what_a_person_deletes_is_not_tried_again(tmp_path: Path) -> None:
    async def story() -> None:
        clock, sink = Clock(), await Sink(defer=1.0).start()
        async with relaying(tmp_path, settings(route("*", sink.port)), clock) as relay:
            gone = await put(relay, "gone", "x@far.test")
            await put(relay, "stays", "y@far.test")
            await until(lambda: len(sent(tmp_path)) == 2)
            admin = QueueAdmin(tmp_path / "relay")
            assert admin.delete(gone.id) == 1
            admin.close()
            await until(lambda: len(relay.worker._agenda) == 1)
            sink.defer = 0.0
            clock.now += 300
            await until(lambda: sink.taken["stays"])
            await until(lambda: not relay.queue.count()["mails"])
            assert not sink.taken["gone"]
        assert len(sent(tmp_path)) == 3
        await sink.stop()

    asyncio.run(story())


def test_what_a_person_redirects_goes_there_at_once_and_nowhere_else(tmp_path: Path) -> None:
    async def story() -> None:
        clock, old = Clock(), await Sink(defer=1.0).start()
        new = await Sink().start()
        ways = settings(route("far.test", old.port), route("new.test", new.port))
        async with relaying(tmp_path, ways, clock) as relay:
            queued = await put(relay, "m", "x@far.test", "y@far.test")
            await until(lambda: len(sent(tmp_path)) == 2)
            admin = QueueAdmin(tmp_path / "relay")
            assert admin.redirect(queued.id, read_address("z@new.test")) == 2
            admin.close()
            await until(lambda: new.taken["m"])
            await until(lambda: not relay.queue.count()["mails"])
            old.defer = 0.0
            clock.now += 300
            await put(relay, "after", "x@far.test")
            await until(lambda: old.taken["after"])
            assert not old.taken["m"]
        assert new.taken["m"] == 1
        (row,) = (row for row in sent(tmp_path) if row.recipient_domain == "new.test")
        assert (row.tries, row.outcome) == (1, "delivered")
        await old.stop()
        await new.stop()

    asyncio.run(story())


def test_what_a_person_redirects_during_a_try_goes_to_the_new_address_once_and_is_not_tried_at_the_old(
    tmp_path: Path,
) -> None:
    async def story() -> None:
        clock, new, gate = Clock(), await Sink().start(), asyncio.Event()
        old = FarHost(answers={"RCPT": b"450 4.2.1 later\r\n"})

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await gate.wait()
            await old.serve(reader, writer)

        async with serving(serve) as port:
            ways = settings(route("far.test", port), route("new.test", new.port))
            async with relaying(tmp_path, ways, clock) as relay:
                queued = await put(relay, "m", "x@far.test")
                await until(lambda: relay.worker._claimed)
                admin = QueueAdmin(tmp_path / "relay")
                assert admin.redirect(queued.id, read_address("z@new.test")) == 1
                admin.close()
                await until(lambda: new.taken["m"])
                gate.set()
                clock.now += 300
                await asyncio.sleep(0.7)
                assert relay.queue.count()["mails"] == 0
                clock.now += 300
                await asyncio.sleep(0.7)
        assert sum(command.startswith("RCPT") for command in old.commands) <= 1
        assert new.taken["m"] == 1
        await new.stop()

    asyncio.run(story())


def test_what_a_person_retries_is_tried_before_its_time(tmp_path: Path) -> None:
    async def story() -> None:
        sink = await Sink(defer=1.0).start()
        async with relaying(tmp_path, settings(route("*", sink.port)), Clock()) as relay:
            queued = await put(relay, "m", "x@far.test")
            await until(lambda: len(sent(tmp_path)) == 1)
            sink.defer = 0.0
            admin = QueueAdmin(tmp_path / "relay")
            assert admin.retry(queued.id) == 1
            admin.close()
            await until(lambda: sink.taken["m"])
            await until(lambda: not relay.queue.count()["mails"])
        assert [(row.tries, row.outcome) for row in sent(tmp_path)] == [(1, "deferred"), (2, "delivered")]
        await sink.stop()

    asyncio.run(story())
