"""The running relay keeps its keys: an old one while a mail that it signed waits, a new one when it is time."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path

import pytest
from relay_handing import hand_in
from relay_servers import Table
from test_relay_worker import START, Clock, relaying, settings, until

from dmarcview_relay import keeper
from dmarcview_relay.dkimdns import record
from dmarcview_relay.keys import PUBLISHED, RETIRED, RETIRING, SIGNING, KeyRing
from dmarcview_relay.queue_admin import HELD, QueueAdmin
from dmarcview_relay.settings import DAY, Care, Keys

ROTATING = Keys(check="off", rotate_days=90, settle_hours=24, retire_days=7)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "LOOK_SECONDS", 0.05)


def shown(ring: KeyRing) -> Table:
    """A DNS that shows each key of the ring."""
    return Table({("TXT", key.name): (f'"{record(key)}"',) for key in ring.all()})


def states(ring: KeyRing) -> dict[str, str]:
    ring.refresh()
    return {key.selector: key.state for key in ring.all()}


async def looked(table: Table, selector: str) -> None:
    """Wait until the keeper has looked at a key, and done what follows, since now."""
    question = ("TXT", f"{selector}._domainkey.load.test")
    before = table.asked.count(question)
    await until(lambda: table.asked.count(question) >= before + 3)


def test_an_old_key_does_not_retire_while_a_mail_that_it_signed_is_held(tmp_path: Path) -> None:
    async def story() -> None:
        clock = Clock()
        ring = KeyRing(tmp_path / "relay" / "keys", clock=clock)
        ring.new("load.test", "old")
        table = shown(ring)
        keep = dataclasses.replace(settings(care=Care(hold_all=True)), keys=ROTATING)
        async with relaying(tmp_path, keep, clock, resolver=table) as relay:
            await until(lambda: states(ring) == {"old": SIGNING})
            assert (await hand_in(relay, "m", "x@far.test")).startswith("250 ")
            clock.now += 60
            ring.new("load.test", "young")
            table.records = shown(ring).records
            await until(lambda: states(ring) == {"old": SIGNING, "young": PUBLISHED})
            clock.now += DAY + 60
            await until(lambda: states(ring) == {"old": RETIRING, "young": SIGNING})
            clock.now += 30 * DAY
            await looked(table, "old")
            assert states(ring)["old"] == RETIRING
            admin = QueueAdmin(tmp_path / "relay")
            (held,) = admin.found(state=HELD)
            assert relay.queue.signatures() == {("load.test", "old")}
            admin.delete(held.id)
            admin.close()
            await until(lambda: states(ring) == {"old": RETIRED, "young": SIGNING})

    asyncio.run(story())


def test_keys_that_rotate_are_kept_though_mail_is_not_checked_and_others_are_left_alone(tmp_path: Path) -> None:
    async def story() -> None:
        clock = Clock()
        ring = KeyRing(tmp_path / "relay" / "keys", clock=clock)
        ring.new("load.test", "old")
        table = shown(ring)
        alone = settings()
        assert alone.keys == Keys(check="off")
        async with relaying(tmp_path, alone, clock, resolver=table) as relay:
            await asyncio.sleep(0.2)
            assert not table.asked
            await relay.reload(dataclasses.replace(alone, keys=ROTATING))
            await until(lambda: states(ring) == {"old": SIGNING})
            clock.now = START + 91 * DAY
            await until(lambda: len(states(ring)) == 2)
            (made,) = states(ring).keys() - {"old"}
            assert made.startswith("relay-")
            await relay.reload(alone)
            asked = len(table.asked)
            await asyncio.sleep(0.2)
            assert len(table.asked) == asked

    asyncio.run(story())
