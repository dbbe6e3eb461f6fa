"""New settings while the relay runs: nobody is cut off, nothing is lost, and what cannot be used changes nothing."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
from collections import Counter
from pathlib import Path

import pytest
from relay_handing import Caller, hand_in
from relay_servers import FarHost, Table, far
from relay_sink import Sink
from smtp_talk import authority
from test_relay_kill import free_port
from test_relay_worker import Clock, put, relaying, route, sent, settings, until

from dmarcview_relay.dkimdns import record
from dmarcview_relay.keys import SIGNING, KeyRing
from dmarcview_relay.relay import Relay, RelayError
from dmarcview_relay.settings import Care, ClientLimits, Keys, RelayListener, Schedule
from dmarcview_smtp.address import read_address

CLIENTS, MAILS = 8, 25


@pytest.fixture(autouse=True)
def key(tmp_path: Path) -> None:
    KeyRing(tmp_path / "relay" / "keys").new("load.test", "sel")


def test_under_load_reloads_drop_no_connection_and_each_mail_leaves_once(tmp_path: Path) -> None:
    async def story() -> None:
        sinks = [await Sink().start(), await Sink().start()]
        first = settings(route("*", sinks[0].port))
        other = RelayListener(port=free_port())
        second = settings(
            route("*", sinks[1].port, connections=3),
            listeners=(RelayListener(port=0), other),
            limits=ClientLimits(connections=500, idle_seconds=60.0),
            queue=Schedule(reserve_bytes=0, expire_hours=48),
        )
        reloads = 0
        async with relaying(tmp_path, first) as relay:

            async def client(number: int) -> list[str]:
                async with Caller(relay) as caller:
                    said = [await caller.mail(f"c{number}m{at}", f"x{at}@far.test") for at in range(MAILS)]
                    assert (await caller.ask("NOOP")).startswith("250 ")
                    return said

            async def reload() -> None:
                nonlocal reloads
                while True:
                    await relay.reload(second if reloads % 2 == 0 else first)
                    reloads += 1
                    await asyncio.sleep(0.02)

            reloading = asyncio.create_task(reload())
            said = await asyncio.gather(*(client(number) for number in range(CLIENTS)))
            assert not reloading.done()
            reloading.cancel()
            assert {reply[:15] for replies in said for reply in replies} == {"250 2.0.0 Queue"}
            await until(lambda: not relay.queue.count()["mails"])
        assert reloads > 3
        assert all(sink.taken for sink in sinks)
        wanted = Counter(f"c{number}m{at}" for number in range(CLIENTS) for at in range(MAILS))
        assert sinks[0].taken + sinks[1].taken == wanted
        assert {row.tries for row in sent(tmp_path)} == {1}
        for sink in sinks:
            await sink.stop()

    asyncio.run(story())


def test_a_listener_is_added_and_removed_and_who_came_by_it_goes_on(tmp_path: Path) -> None:
    async def story() -> None:
        sink, port, path = await Sink().start(), free_port(), tmp_path / "socket"
        usual = settings(route("*", sink.port))
        more = (RelayListener(port=0), RelayListener(port=port), RelayListener(path=str(path)))
        async with relaying(tmp_path, usual) as relay:
            (before,) = relay.listening
            await relay.reload(dataclasses.replace(usual, listeners=more))
            assert relay.listening == [before, ("127.0.0.1", port), (str(path), 0)]
            assert path.is_socket()
            async with Caller(relay, 1) as caller:
                await relay.reload(usual)
                assert relay.listening == [before]
                assert not path.exists()
                with pytest.raises(ConnectionRefusedError):
                    await asyncio.open_connection("127.0.0.1", port)
                assert (await caller.mail("inside", "x@far.test")).startswith("250 ")
            assert (await hand_in(relay, "first", "x@far.test")).startswith("250 ")
            await until(lambda: sink.taken["inside"] and sink.taken["first"])
            await relay.reload(dataclasses.replace(usual, listeners=more))
            async with Caller(relay, 1) as caller:
                assert (await caller.mail("again", "x@far.test")).startswith("250 ")
        await sink.stop()

    asyncio.run(story())


def test_a_listener_that_turns_from_plain_to_starttls_offers_it_to_who_comes_and_keeps_who_is_there(
    tmp_path: Path,
) -> None:
    ca = authority(tmp_path)

    async def story() -> None:
        plain = settings()
        tls = dataclasses.replace(
            plain, listeners=(RelayListener(port=0, mode="starttls"),), certificate=str(ca.chain), key=str(ca.key)
        )
        async with relaying(tmp_path, plain) as relay:
            place = relay.listening
            async with Caller(relay) as old:
                assert "STARTTLS" not in old.greeting
                with pytest.raises(RelayError, match="certificate"):
                    await relay.reload(dataclasses.replace(tls, certificate="", key=""))
                with pytest.raises(RelayError):
                    await relay.reload(dataclasses.replace(tls, certificate=str(tmp_path / "none.pem")))
                async with Caller(relay) as still:
                    assert "STARTTLS" not in still.greeting
                await relay.reload(tls)
                assert relay.listening == place
                async with Caller(relay) as new:
                    assert "STARTTLS" in new.greeting
                    assert (await new.ask("STARTTLS")).startswith("220 ")
                    await new.start_tls(ca.client_context(), "mx.example.test")
                    assert (await new.mail("new", "x@far.test")).startswith("250 ")
                assert "STARTTLS" not in await old.ask("EHLO load.test")
                assert (await old.mail("old", "x@far.test")).startswith("250 ")
                await relay.reload(plain)
                async with Caller(relay) as third:
                    assert "STARTTLS" not in third.greeting

    asyncio.run(story())


def test_what_waits_for_its_next_try_goes_by_the_route_of_that_moment(tmp_path: Path) -> None:
    async def story() -> None:
        clock, old, new = Clock(), await Sink(defer=1.0).start(), await Sink().start()
        gone = await Sink().start()
        await gone.stop()
        ways = settings(route("dead.test", gone.port), route("*", old.port))
        async with relaying(tmp_path, ways, clock) as relay:
            await put(relay, "deferred", "x@far.test")
            await put(relay, "unreachable", "x@dead.test")
            await until(lambda: len(sent(tmp_path)) == 2)
            before = old.connections
            await relay.reload(settings(route("*", new.port)))
            clock.now += 300
            await until(lambda: new.taken["deferred"] and new.taken["unreachable"])
            await until(lambda: not relay.queue.count()["mails"])
            assert old.connections == before
        await old.stop()
        await new.stop()

    asyncio.run(story())


def test_a_fault_keeps_all_of_the_old_settings(tmp_path: Path) -> None:
    async def faults(relay: Relay, busy: int, free: int) -> None:
        whole = dataclasses.replace(
            relay.settings, senders=("@other.test",), limits=ClientLimits(message_bytes=10), care=Care(hold_all=True)
        )
        usual = whole.listeners
        for wrong, said in (
            ({"listeners": (*usual, RelayListener(port=free), RelayListener(port=busy))}, "in use"),
            ({"listeners": (*usual, RelayListener(port=free), RelayListener(port=0, host="192.0.2.1"))}, "assign"),
            ({"listeners": (*usual, RelayListener(port=free, mode="nonsense"))}, "mode is one of"),
            ({"recipients": (str(free) + "/none",)}, "none"),
            ({"networks": ("10.0.0.0/99",)}, "10.0.0.0/99"),
            ({"hostname": "else.test"}, "name"),
        ):
            before = relay.settings
            with pytest.raises(RelayError, match=said):
                await relay.reload(dataclasses.replace(whole, **wrong))  # type: ignore[arg-type]
            assert relay.settings is before
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", free)

    async def story() -> None:
        sink = await Sink().start()
        with socket.create_server(("127.0.0.1", 0)) as busy:
            async with relaying(tmp_path, settings(route("*", sink.port))) as relay:
                async with Caller(relay) as inside:
                    await faults(relay, busy.getsockname()[1], free_port())
                    assert (await inside.mail("inside", "x@far.test")).startswith("250 ")
                assert (await hand_in(relay, "new", "x@far.test")).startswith("250 ")
                await until(lambda: sink.taken["inside"] and sink.taken["new"])
        await sink.stop()

    asyncio.run(story())


def test_the_reserve_of_the_disk_is_that_of_the_new_settings(tmp_path: Path) -> None:
    async def story() -> None:
        async with relaying(tmp_path, settings(care=Care(hold_all=True))) as relay:
            much = dataclasses.replace(relay.settings, queue=Schedule(reserve_bytes=1 << 60))
            usual = relay.settings
            async with Caller(relay) as caller:
                assert (await caller.mail("one", "x@far.test")).startswith("250 ")
                await relay.reload(much)
                assert (await caller.mail("two", "x@far.test")).startswith("452 4.3.1 ")
                await relay.reload(usual)
                assert (await caller.mail("two", "x@far.test")).startswith("250 ")

    asyncio.run(story())


def test_the_days_of_the_suppression_list_are_those_of_the_new_settings(tmp_path: Path) -> None:
    async def story() -> None:
        async with far(FarHost(answers={"RCPT": b"550 5.1.1 nobody\r\n"})) as host:
            never = settings(route("*", host.port), queue=Schedule(reserve_bytes=0, suppress_days=0))
            async with relaying(tmp_path, never) as relay, Caller(relay) as caller:
                assert (await caller.mail("one", "x@far.test")).startswith("250 ")
                await until(lambda: any(row.message_id == "<one>" for row in sent(tmp_path)))
                assert (await caller.mail("two", "x@far.test")).startswith("250 ")
                await until(lambda: any(row.message_id == "<two>" for row in sent(tmp_path)))
                await relay.reload(dataclasses.replace(never, queue=Schedule(reserve_bytes=0, suppress_days=2)))
                assert (await caller.mail("three", "x@far.test")).startswith("250 ")
                await until(lambda: any(row.message_id == "<three>" for row in sent(tmp_path)))
                await until(lambda: relay.queue.suppressed(read_address("x@far.test")))
                assert (await caller.mail("four", "x@far.test")).startswith("550 5.7.1 No mail is sent to this")

    asyncio.run(story())


def test_a_keys_record_is_believed_for_the_seconds_of_the_new_settings(tmp_path: Path) -> None:
    (one,) = KeyRing(tmp_path / "relay" / "keys").all()
    table = Table({("TXT", one.name): (f'"{record(one)}"',)})

    async def story() -> None:
        checked = settings(keys=Keys(check="hold", check_seconds=1_000.0), care=Care(dry_run=str(tmp_path / "dry")))
        async with relaying(tmp_path, checked, resolver=table) as relay, Caller(relay) as caller:
            await until(lambda: relay.keys.all()[0].state == SIGNING)  # which makes the relay ask anew
            assert (await caller.mail("one", "x@far.test")).startswith("250 ")
            table.records = {}
            assert (await caller.mail("two", "x@far.test")).startswith("250 ")
            assert relay.queue.count()["held"] == 0
            await relay.reload(dataclasses.replace(checked, keys=Keys(check="hold", check_seconds=0.0)))
            assert (await caller.mail("three", "x@far.test")).startswith("250 ")
            assert relay.queue.count()["held"] == 1

    asyncio.run(story())
