"""The careful modes of the first days: to one address only, held, into a folder, so many by the day; all by SMTP."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from relay_handing import hand_in
from relay_servers import FarHost, far
from test_relay_worker import START, Clock, relaying, route, sent, settings, until

from dmarcview_relay.keys import KeyRing
from dmarcview_relay.queue_admin import HELD, QueueAdmin
from dmarcview_relay.relay import Relay
from dmarcview_relay.settings import Care, RelaySettings

Story = Callable[[Relay, FarHost, RelaySettings], Coroutine[Any, Any, None]]
DAY = 86_400


def told(folder: Path, care: Care, story: Story, clock: Callable[[], float] = time.time) -> None:
    """Run a relay in that mode, with a host that takes everything; the third argument is the same without the mode."""
    if not (folder / "relay").exists():
        KeyRing(folder / "relay" / "keys").new("load.test", "sel")

    async def run() -> None:
        async with far(FarHost()) as host:
            usual = settings(route("*", host.port))
            async with relaying(folder, settings(route("*", host.port), care=care), clock) as relay:
                await story(relay, host, usual)

    asyncio.run(run())


def rcpts(host: FarHost) -> list[str]:
    return [command[9:-1] for command in host.commands if command.startswith("RCPT TO:<")]


def ended(relay: Relay) -> Callable[[], bool]:
    return lambda: not relay.queue.count()["waiting"]


def test_with_redirect_all_nothing_reaches_a_recipient_and_the_one_address_gets_each_mail_once(tmp_path: Path) -> None:
    async def story(relay: Relay, host: FarHost, _: RelaySettings) -> None:
        assert (await hand_in(relay, "m", "x@far.test", "y@far.test", "z@other.test")).startswith("250 ")
        await until(ended(relay))
        assert rcpts(host) == ["only@here.test"]
        (mail,) = host.mails
        assert mail.count(b"DKIM-Signature:") == 1
        (row,) = sent(tmp_path)
        assert (row.recipient_domain, row.outcome) == ("here.test", "delivered")

    told(tmp_path, Care(redirect_all="only@here.test"), story)


def test_with_hold_all_nothing_leaves_until_it_is_released_also_when_the_mode_ends(tmp_path: Path) -> None:
    async def story(relay: Relay, host: FarHost, usual: RelaySettings) -> None:
        assert (await hand_in(relay, "held", "x@far.test")).startswith("250 ")
        assert relay.queue.count()["held"] == 1
        await relay.reload(usual)
        assert (await hand_in(relay, "free", "y@far.test")).startswith("250 ")
        await until(lambda: len(host.mails) == 1)
        assert relay.queue.count()["held"] == 1
        admin = QueueAdmin(tmp_path / "relay")
        (listed,) = admin.found(state=HELD)
        signed = admin.content(listed.id)
        assert admin.release("far.test") == 1
        admin.close()
        await until(ended(relay))
        assert rcpts(host) == ["y@far.test", "x@far.test"]
        assert host.mails[1] == signed

    told(tmp_path, Care(hold_all=True), story)


def test_a_dry_run_writes_the_signed_mail_into_its_folder_and_connects_to_nobody(tmp_path: Path) -> None:
    folder = tmp_path / "dry"

    async def story(relay: Relay, host: FarHost, usual: RelaySettings) -> None:
        assert (await hand_in(relay, "m", "x@far.test", "y@other.test")).startswith("250 ")
        await until(ended(relay))
        (mail,) = folder.glob("*.eml")
        assert mail.read_bytes().startswith((b"DKIM-Signature:", b"Received:"))
        assert mail.read_bytes().count(b"DKIM-Signature:") == 1
        assert mail.read_bytes().endswith(b"\r\n\r\nhello\r\n")
        (envelope,) = folder.glob("*.envelope")
        assert envelope.read_text().splitlines() == [
            "MAIL FROM:<a@load.test>",
            "RCPT TO:<x@far.test>",
            "RCPT TO:<y@other.test>",
        ]
        assert {(row.link.host, row.reply.said) for row in sent(tmp_path)} == {("dry run", False)}
        assert host.sessions == 0
        await relay.reload(usual)
        assert (await hand_in(relay, "real", "x@far.test")).startswith("250 ")
        await until(lambda: len(host.mails) == 1)
        assert len(list(folder.glob("*.eml"))) == 1

    told(tmp_path, Care(dry_run=str(folder)), story)


def test_the_mail_over_the_cap_of_the_day_is_held_also_after_a_restart_and_the_next_day_is_new(tmp_path: Path) -> None:
    clock = Clock(START - START % DAY + 3_600)

    async def first(relay: Relay, host: FarHost, _: RelaySettings) -> None:
        for name in ("one", "two", "three"):
            assert (await hand_in(relay, name, "x@far.test")).startswith("250 ")
        assert (await hand_in(relay, "other", "y@far.test")).startswith("250 ")
        await until(ended(relay))
        assert sorted(rcpts(host)) == ["x@far.test", "x@far.test", "y@far.test"]
        admin = QueueAdmin(tmp_path / "relay")
        (held,) = admin.found(state=HELD)
        admin.close()
        assert held.message_id == "<three>"
        assert "x@far.test has had 2 mails today" in held.entries[0].hold

    async def second(relay: Relay, host: FarHost, _: RelaySettings) -> None:
        assert (await hand_in(relay, "four", "X@far.test")).startswith("250 ")
        assert relay.queue.count()["held"] == 2
        clock.now += DAY
        assert (await hand_in(relay, "five", "x@far.test")).startswith("250 ")
        await until(lambda: len(host.mails) == 1)
        assert relay.queue.count()["held"] == 2

    told(tmp_path, Care(recipient_day=2), first, clock)
    told(tmp_path, Care(recipient_day=2), second, clock)
