"""`dmarcview demo`: makes the year, imports it, starts everything, then sends report mails while the page is open."""

from __future__ import annotations

import json
import shutil
import signal
import smtplib
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, date, datetime
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from dmarcview.demo import fill, reports, rhythm, traffic
from dmarcview.demo.story import REPORTERS, STORY
from dmarcview.demo.traffic import Made
from dmarcview.demo.world import STRANGER, DemoError, World

PAUSE, CALM_PAUSE = 3.0, 15.0  # seconds between two live mails, at first and later
LIVELY = 60  # mails
FORGED_EVERY = 8  # one mail in so many is a stranger's
LETTER_EVERY = 2  # after so many report mails one leaves by the relay
MARK = "demo.json"  # tells a kept demo from somebody's folder
COMPARED = ("messages", "reports", "records", "dmarc_pass", "spf_aligned", "dkim_aligned")


class Live(NamedTuple):
    """One mail of the live part: a report as its reporter signs it, or a stranger's forgery of one."""

    made: Made
    forged: bool


def run(*, port: int | None = None, check: bool = False, keep: str | None = None) -> int:
    """Run the demo until Ctrl-C, or with `check` until it is proven; returns the exit code.

    0 all well, 1 the page differs from what was sent, 2 wrong use, 3 something could not start.
    """
    with ExitStack() as stack:
        if keep is None:
            place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dmarcview-demo-")))
        else:
            place = Path(keep)
            if place.is_dir() and any(place.iterdir()) and not (place / MARK).is_file():
                print(f"dmarcview: {place} is not empty and holds no demo; name a new folder", file=sys.stderr)
                return 2
        try:
            if check:
                from dmarcview.demo.check import check as prove

                return prove(place, port=port or 0)
            return show(place, port=port or 0)
        except DemoError as error:
            print(f"dmarcview: {error}", file=sys.stderr)
            return 3


def show(place: Path, *, port: int, today: date | None = None) -> int:
    """The demo for a person."""
    started = time.monotonic()
    stop = threading.Event()
    today = today or datetime.now(UTC).date()

    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with World(place, port=port) as world:
            kept = (place / MARK).is_file()
            world.launch()  # it starts while the year is written, on the other core
            if kept:
                print(f"Found the demo that was kept in {place}.", flush=True)
            else:
                fill.fill(
                    world, today, say=lambda text: print(f"{text} ({time.monotonic() - started:.1f} s)", flush=True)
                )
                (place / MARK).write_text(json.dumps({"day": today.isoformat(), "seed": rhythm.SEED}))
            if stop.is_set():
                return 0
            url = world.up().url
            print(f"\n  Open {url}\n\n  Up after {time.monotonic() - started:.0f} s. Ctrl-C ends it.", flush=True)
            print(f"  Ask it from another terminal: {command()} summary --config {world.config}")
            print("\n  What to look for:")
            for age, what in STORY:
                print(f"    {age:3} days ago  {what}")
            print("\n  Report mails now arrive over SMTP, and a shop's letters leave by the relay; the numbers move:",
                  flush=True)  # fmt: skip
            for number, live in enumerate(lives(today, int(time.time()))):
                if stop.wait(PAUSE if number < LIVELY else CALM_PAUSE):
                    break
                if not world.running():
                    raise DemoError(f"serve ended:\n{world.log()}")
                _tell(live, send(world, live))
                if number % LETTER_EVERY == 0:
                    print(hand_over(world, number // LETTER_EVERY), flush=True)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    print("\nStopped.")
    return 0


def command() -> str:
    """How a person calls this very program."""
    name = shutil.which("dmarcview")
    return "dmarcview" if name else str(Path(sys.executable).with_name("dmarcview"))


def lives(today: date, now: int) -> Iterator[Live]:
    """The mails of the live part, without end: late reports in turn with hourly ones, and forgeries in between.

    A report whose period is not over `now` is left out.
    """
    waiting, hours = (made for made in fill.late(today) if made.end <= now), traffic.hours(today)
    turns = (made for pair in zip(chain(waiting, hours), hours) for made in pair)  # noqa: B905 - no end
    for number, made in enumerate(turns, 1):
        yield Live(made, False)
        if number % FORGED_EVERY == 2:
            yield Live(reports.forged(made, REPORTERS[0]), True)


def send(world: World, live: Live) -> tuple[int, bytes]:
    """Send one live mail now; the receiver's last reply, 0 when it could not be reached."""
    mail = world.mail(live.made, sent=int(time.time()), signed=not live.forged)
    try:
        return world.send(mail, STRANGER if live.forged else live.made.reporter.email)
    except (OSError, smtplib.SMTPException) as error:
        return 0, str(error).encode()


def hand_over(world: World, number: int) -> str:
    """Give the relay one letter; the line that says so."""
    try:
        rcpt, code, text = world.hand_over(number)
    except (OSError, smtplib.SMTPException) as error:
        rcpt, code, text = "the relay", 0, str(error).encode()
    said = text.decode("utf-8", "replace") if code != 250 else "signed and on its way; see the page Sent"
    return f"    {datetime.now(UTC):%H:%M:%S}  {code}  our letter to {rcpt}: {said}"


def _tell(live: Live, reply: tuple[int, bytes]) -> None:
    who = "a stranger as " + live.made.reporter.name if live.forged else live.made.reporter.name
    when, n = datetime.fromtimestamp(live.made.begin, UTC), live.made.messages
    forged = " (forged: will be shown as unverified)" if live.forged else ""
    print(
        f"    {datetime.now(UTC):%H:%M:%S}  {reply[0]}  {who}: {live.made.domain.name}, {when:%d %b}, "
        f"{n:,} message{'s' * (n != 1)}{forged}",
        flush=True,
    )
