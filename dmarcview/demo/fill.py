"""Fills a demo with its year: files that are imported, mails that came to the receiver since, and the relay's log.

The receiver is as old as `MAILED` days. Reports from before were kept as files, and an import takes them; later ones
lie in its spool with the second at which they came. What comes today or later is left for the live part.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from datetime import date
from typing import Any, NamedTuple

from dmarcview.demo import folder, loop, postbag, rhythm, sentlog, traffic
from dmarcview.demo.loop import Loop
from dmarcview.demo.story import DOMAINS
from dmarcview.demo.traffic import Made, Truth
from dmarcview.demo.world import CLIENT, RCPT, DemoError, World
from dmarcview.store import Store
from dmarcview_reports.spool import Spool

MAILED = 90
TAKEN_SECONDS = 120.0  # longest wait until ingest has taken what lies in the spool
LOOK_SECONDS = 0.1


class Filled(NamedTuple):
    """What the store must say, of reports alone and beside the sent log."""

    truth: Truth
    loop: Loop


def fill(
    world: World, today: date, *, days: int = traffic.DAYS, mailed: int = MAILED, say: Callable[[str], None] = print
) -> Filled:
    """Make the year and bring it into the store of a world that was launched. Raises DemoError, StoreError, SpoolError.

    The log comes before the reports, and the newer of these before the older: alerts look while they are taken, and
    must neither judge reports alone nor miss the newest. The import and ingest read, each in a process of its own.
    """
    older = [one for one in traffic.year(today, days=days, upto=mailed + 1) if one.arrives < rhythm.midnight(today)]
    filed = prepare(world, older)
    say(f"Made up {filed.reports:,} older reports, kept in files.")
    newer = list(early(today, days=min(days, mailed)))
    world.up()  # it makes the store
    until = min(int(time.time()), rhythm.midnight(today) + rhythm.DAY)
    with Store.open(world.data, watched=[domain.name for domain in DOMAINS]) as store:
        rows = sentlog.put(store, today, days=days, until=until)
        sentlog.remember(store, today)
    say(f"The relay's log is there: {rows:,} tries to deliver.")
    posted = post(world, newer)
    say(f"{posted.reports:,} report mails lie in the spool, each with the time at which it came.")
    told = bring(world)
    say(
        f"Imported {told['reports']:,} reports, {told['records']:,} records; {told['duplicates']} came twice, "
        f"{told['conflicts']} in conflict, {len(told['refused'])} refused."
    )
    taken(world)
    return Filled(posted.plus(filed), loop.count(today, [*older, *newer], days=days, until=until))


def prepare(world: World, made: Iterable[Made]) -> Truth:
    """Write reports as a user has kept them, for `bring`."""
    return folder.write(world.reports, made, RCPT)


def bring(world: World) -> Any:
    """`dmarcview import` of the written folder; some inputs are refused, so it ends with 1."""
    return world.ask("import", str(world.reports), allowed=(0, 1))


def post(world: World, made: Iterable[Made]) -> Truth:
    """Lay reports into the receiver's spool."""
    spool = Spool(world.data / "spool")
    try:
        return postbag.put(spool, made, RCPT, CLIENT)
    finally:
        spool.close()


def taken(world: World) -> None:
    """Wait until ingest has taken all that lies in the spool. Raises DemoError."""
    spool = Spool(world.data / "spool")
    deadline = time.monotonic() + TAKEN_SECONDS
    while spool.waiting():
        if not world.running():
            raise DemoError(f"serve ended:\n{world.log()}")
        if time.monotonic() > deadline:
            raise DemoError(f"mails still lie in the spool after {TAKEN_SECONDS:.0f} s:\n{world.log()}")
        time.sleep(LOOK_SECONDS)


def early(today: date, *, days: int) -> Iterator[Made]:
    """Reports that arrived before today."""
    midnight = rhythm.midnight(today)
    return (made for made in traffic.year(today, days=days) if made.arrives < midnight)


def late(today: date, *, days: int = 10) -> list[Made]:
    """Reports on earlier days that arrive today or later, in the order of their arrival."""
    midnight = rhythm.midnight(today)
    return sorted((m for m in traffic.year(today, days=days) if m.arrives >= midnight), key=lambda m: m.arrives)
