"""Delivery by destination: nothing is lost, nobody is delayed by others, and every try comes at its time."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from relay_sink import Sink

from dmarcview_relay.dns import Resolver
from dmarcview_relay.envelope import Queued, Recipient
from dmarcview_relay.outcome import Attempt
from dmarcview_relay.queue_admin import DEAD, QueueAdmin
from dmarcview_relay.relay import Relay, RelayError
from dmarcview_relay.sentlog import SentLog
from dmarcview_relay.settings import Delivery, Keys, RelayListener, RelaySettings, Route, Schedule
from dmarcview_smtp.address import read_address
from tests.relay_mails import mail

CONTENT = b"From: a@load.test\r\nMessage-ID: <%s>\r\nSubject: hello\r\n\r\nhello\r\n"
START = 1_800_000_000.0


@dataclasses.dataclass
class Clock:
    now: float = START

    def __call__(self) -> float:
        return self.now


def route(domain: str, port: int, **more: int) -> Route:
    return Route((domain,), f"smtp://127.0.0.1:{port}", tls="none", **more)


def settings(*routes: Route, **changes: object) -> RelaySettings:
    made = RelaySettings(
        listeners=(RelayListener(port=0),),
        hostname="relay.load.test",
        senders=("@load.test",),
        recipients=("*",),
        keys=Keys(check="off"),
        queue=Schedule(reserve_bytes=0),
        delivery=Delivery(idle=0.5, connect=60.0),
        routes=routes,
        stop_seconds=0.2,
    )
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]


@asynccontextmanager
async def relaying(
    folder: Path, wanted: RelaySettings, clock: Callable[[], float] = time.time, *, resolver: Resolver | None = None
) -> AsyncIterator[Relay]:
    relay = Relay(wanted, folder / "relay", resolver, clock=clock)
    await relay.start()
    try:
        yield relay
    finally:
        await relay.stop()


async def put(relay: Relay, name: str, *recipients: str, deliver: bool = True, **more: object) -> Queued:
    """Queue a mail as the policy would."""
    parts = mail(*recipients, sender=str(more.pop("sender", "a@load.test")), message_id=f"<{name}>")
    who = tuple(Recipient(read_address(each), tuple(more.get("notify", ()))) for each in recipients)  # type: ignore[arg-type]
    whole = dataclasses.replace(parts, accepted=relay._clock(), recipients=who)
    queued = await relay.queue.put(whole, CONTENT % name.encode())
    if deliver:
        relay.worker.add(queued)
    return queued


async def until(true: Callable[[], object], seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110 (what is waited for has no event)
            await asyncio.sleep(0.02)


def sent(folder: Path) -> list[Attempt]:
    log = SentLog(folder / "relay")
    try:
        return [attempt for _, attempt in log.pending(100_000)]
    finally:
        log.close()


def test_dead_domains_with_thousands_of_mails_delay_no_other(tmp_path: Path) -> None:
    async def story() -> float:
        names = [f"dead{number}.test" for number in range(40)]
        dead = {name: await Sink(hang=True).start() for name in names}
        good = await Sink().start()
        delivery = Delivery(connections=20, connect=60.0)
        ways = [route(name, sink.port) for name, sink in dead.items()]
        async with relaying(tmp_path, settings(*ways, route("good.test", good.port), delivery=delivery)) as relay:
            await put(relay, "first", "x@good.test")
            await until(lambda: good.taken["first"])
            for start in range(0, 5_000, 500):
                await asyncio.gather(*(put(relay, f"d{start + n}", "x@dead0.test") for n in range(500)))
            await asyncio.gather(*(put(relay, f"o{n}", f"x@{name}") for n, name in enumerate(names)))
            await until(lambda: dead["dead0.test"].connections)
            began = time.monotonic()
            await put(relay, "second", "x@good.test")
            await until(lambda: good.taken["second"])
            took = time.monotonic() - began
            assert relay.queue.count()["mails"] >= 5_040
        for sink in (*dead.values(), good):
            await sink.stop()
        return took

    print(f"beside 40 dead domains: {asyncio.run(story()):.3f} s")


def test_what_is_deferred_is_tried_when_the_schedule_says_and_not_before(tmp_path: Path) -> None:
    async def story() -> None:
        clock, sink = Clock(), await Sink(defer=1.0).start()
        queue = Schedule(waits=(300, 600), expire_hours=1, warn_hours=0, reserve_bytes=0)
        async with relaying(tmp_path, settings(route("*", sink.port), queue=queue), clock) as relay:
            await put(relay, "m", "x@far.test")
            await until(lambda: len(sent(tmp_path)) == 1)
            for tries, at in enumerate((300, 900, 1_500, 2_100, 2_700, 3_300, 3_600), 1):
                clock.now = START + at - 1
                await asyncio.sleep(0.6)
                assert len(sent(tmp_path)) == tries
                clock.now = START + at
                await until(lambda n=tries: len(sent(tmp_path)) > n)  # type: ignore[misc]
            await until(lambda: any(each.kind == "bounce" for each in sent(tmp_path)))
        rows = [each for each in sent(tmp_path) if each.kind == "mail"]
        assert [each.at - START for each in rows[1:]] == [300, 900, 1_500, 2_100, 2_700, 3_300, 3_600]
        assert [each.outcome for each in rows] == ["deferred"] * 7 + ["expired"]
        await sink.stop()

    asyncio.run(story())


def test_hosts_that_defer_and_cut_get_everything_in_the_end(tmp_path: Path) -> None:
    async def story() -> None:
        clock, sink = Clock(), await Sink(defer=0.3, drop=0.05).start()
        async with relaying(tmp_path, settings(route("*", sink.port)), clock) as relay:
            names = [f"m{number}" for number in range(300)]
            await asyncio.gather(*(put(relay, name, "x@far.test") for name in names))
            async with asyncio.timeout(30):
                while relay.queue.count()["mails"]:
                    await asyncio.sleep(0.1)
                    clock.now += 300
            assert sink.taken.keys() == set(names)
            assert sum(sink.taken.values()) - len(names) == sum(sink.cut.values())
        await sink.stop()

    asyncio.run(story())


def test_the_sender_is_warned_once_and_a_bounce_of_a_bounce_is_dead(tmp_path: Path) -> None:
    async def story() -> None:
        clock, sink = Clock(), await Sink(defer=1.0).start()
        queue = Schedule(waits=(3_600,), expire_hours=8, warn_hours=4, reserve_bytes=0)
        async with relaying(tmp_path, settings(route("*", sink.port), queue=queue), clock) as relay:
            await put(relay, "told", "x@far.test")
            await put(relay, "never", "y@far.test", notify=("NEVER",))
            await put(relay, "null", "z@far.test", sender="")
            for hour in range(20):
                clock.now = START + hour * 3_600
                await asyncio.sleep(0.3)
            await until(lambda: not relay.queue.count()["waiting"])
            admin = QueueAdmin(tmp_path / "relay")
            dead = sorted(each.kind for each in admin.found(state=DEAD))
            admin.close()
        kinds = {(each.kind, each.queue_id) for each in sent(tmp_path)}
        assert sorted(kind for kind, _ in kinds) == ["bounce", "mail", "mail", "mail", "warning"]
        assert dead == ["bounce", "mail", "warning"]
        await sink.stop()

    asyncio.run(story())


def test_a_mail_that_the_queue_was_read_with_before_it_was_added_is_delivered_once(tmp_path: Path) -> None:
    async def story() -> None:
        sink = await Sink().start()
        async with relaying(tmp_path, settings(route("*", sink.port))) as relay:
            queued = await put(relay, "once", "x@far.test", deliver=False)
            await relay.worker._read_again()
            relay.worker.add(queued)
            await until(lambda: not relay.queue.count()["mails"])
            await asyncio.sleep(0.3)
            assert sink.taken["once"] == 1
            assert len(sent(tmp_path)) == 1
        await sink.stop()

    asyncio.run(story())


def test_what_a_person_held_during_a_try_is_not_tried_again_until_it_is_released(tmp_path: Path) -> None:
    async def story() -> None:
        clock, sink = Clock(), await Sink(defer=1.0).start()
        async with relaying(tmp_path, settings(route("*", sink.port)), clock) as relay:
            gate = asyncio.Event()
            write = relay.queue.settle

            async def slow(*values: object) -> object:
                await gate.wait()
                return await write(*values)  # type: ignore[arg-type]

            relay.queue.settle = slow  # type: ignore[assignment]
            queued = await put(relay, "m", "x@far.test")
            await until(lambda: sink.connections)
            admin = QueueAdmin(tmp_path / "relay")
            admin.hold(queued.id, "wait")
            await until(lambda: relay.worker._withdrawn)
            gate.set()
            await until(lambda: len(sent(tmp_path)) == 1)
            clock.now += 100_000
            await asyncio.sleep(0.8)
            assert len(sent(tmp_path)) == 1
            sink.defer = 0.0
            admin.release(queued.id)
            admin.close()
            await until(lambda: sink.taken["m"])
        await sink.stop()

    asyncio.run(story())


def test_what_a_person_retries_is_tried_at_once_also_where_no_connection_could_be_made(tmp_path: Path) -> None:
    async def story() -> None:
        clock, sink = Clock(), await Sink().start()
        await sink.stop()
        async with relaying(tmp_path, settings(route("*", sink.port)), clock) as relay:
            queued = await put(relay, "m", "x@far.test")
            await until(lambda: len(sent(tmp_path)) == 1)
            await sink.start(sink.port)
            admin = QueueAdmin(tmp_path / "relay")
            assert admin.retry(queued.id) == 1
            admin.close()
            await until(lambda: sink.taken["m"])
            assert [attempt.tries for attempt in sent(tmp_path)] == [1, 2]
        await sink.stop()

    asyncio.run(story())


def test_a_clock_that_was_set_back_makes_nothing_wait_longer_than_the_schedule(tmp_path: Path) -> None:
    async def story() -> None:
        clock, sink = Clock(), await Sink(defer=1.0).start()
        async with relaying(tmp_path, settings(route("*", sink.port)), clock) as relay:
            await put(relay, "m", "x@far.test")
            await until(lambda: len(sent(tmp_path)) == 1)
            clock.now -= 10 * 86_400
            await asyncio.sleep(1.2)
            sink.defer = 0.0
            await asyncio.sleep(0.6)
            assert not sink.taken
            clock.now += 301
            await until(lambda: sink.taken["m"])
        await sink.stop()

    asyncio.run(story())


def test_the_pace_of_a_destination_is_kept_also_when_mails_come_one_by_one(tmp_path: Path) -> None:
    async def story() -> None:
        sink = await Sink().start()
        async with relaying(tmp_path, settings(route("*", sink.port, per_minute=120))) as relay:
            for number in range(4):
                await put(relay, f"m{number}", "x@far.test")
                await asyncio.sleep(0.05)
            await until(lambda: len(sink.taken) == 4)
        times = sorted(each.at for each in sent(tmp_path))
        assert times[-1] - times[0] >= 1.4  # three gaps of half a second
        await sink.stop()

    asyncio.run(story())


def test_connections_are_reused_up_to_their_limit_and_recipients_share_a_transaction(tmp_path: Path) -> None:
    async def story() -> None:
        sink = await Sink().start()
        delivery = Delivery(connections_per_domain=1, mails_per_connection=5, idle=2.0)
        async with relaying(tmp_path, settings(route("*", sink.port), delivery=delivery)) as relay:
            for number in range(15):
                await put(relay, f"m{number}", "x@far.test", "y@far.test", "z@other.test")
            await until(lambda: not relay.queue.count()["mails"])
        assert sink.connections == 3
        assert set(sink.taken.values()) == {1}
        assert len(sent(tmp_path)) == 45
        await sink.stop()

    asyncio.run(story())


def test_a_changed_route_takes_what_waits_and_a_bad_one_changes_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        hang, good = await Sink(hang=True).start(), await Sink().start()
        async with relaying(tmp_path, settings(route("*", hang.port))) as relay:
            for number in range(3):
                await put(relay, f"m{number}", "x@far.test")
            await until(lambda: hang.connections)
            before = relay.settings
            with pytest.raises(RelayError, match="nonsense"):
                await relay.reload(settings(Route(to="nonsense")))
            assert relay.settings is before
            listener = relay.listening[0]
            await relay.reload(settings(route("*", good.port)))
            assert relay.listening[0] == listener
            await until(lambda: len(good.taken) == 3)
        await hang.stop()
        await good.stop()

    asyncio.run(story())


def test_keys_that_cannot_be_read_stop_the_start_and_leave_the_folder_free(tmp_path: Path) -> None:
    async def story() -> None:
        (tmp_path / "relay" / "keys").mkdir(parents=True)
        bad = tmp_path / "relay" / "keys" / "keys.json"
        bad.write_text("{")
        with pytest.raises(RelayError, match=r"keys\.json"):
            async with relaying(tmp_path, settings()):
                pass
        bad.unlink()
        async with relaying(tmp_path, settings()):
            pass

    asyncio.run(story())


def test_rows_that_no_house_took_leave_the_log_after_a_month_and_younger_ones_stay(tmp_path: Path) -> None:
    async def story() -> None:
        clock, sink = Clock(), await Sink().start()
        for days in (0, 20, 40):
            clock.now = START + days * 86_400
            async with relaying(tmp_path, settings(route("*", sink.port)), clock) as relay:
                await put(relay, f"day{days}", "x@far.test")
                await until(lambda: not relay.queue.count()["mails"])
                await until(lambda d=days: d < 40 or all(each.at > START for each in sent(tmp_path)))  # type: ignore[misc]
        assert [each.message_id for each in sent(tmp_path)] == ["<day20>", "<day40>"]
        await sink.stop()

    asyncio.run(story())
