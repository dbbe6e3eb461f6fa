"""`dmarcview demo --check`: sends known report mails to a fresh store and holds the page's numbers to what was sent.

`check_year` then does the same for some months of the story.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path

from dmarcview.demo import check_year, outgoing, reports, rhythm, traffic
from dmarcview.demo.browser import Browser
from dmarcview.demo.story import DOMAINS, REPORTERS, SENDERS
from dmarcview.demo.traffic import Made
from dmarcview.demo.world import STRANGER, DemoError, World

NEWEST, OLDEST = 3, 23  # ages of the days reported on
SHOWN = 12  # age of the first day on the page; the days before make the reporters usual ones
AT_LAST = 3  # reports that are sent one by one while the page is open
RESENT = 3
LETTERS = 5  # one of them is put off once, one refused
VISIBLE_SECONDS = 5.0  # from 250 to the page
FIRST_SECONDS = 60.0
FORWARDERS = ("203.0.113.200", "2001:db8:f0::25", "203.0.113.208/28")
KINDS = {address: sender.kind for sender in SENDERS for address in sender.addresses}
OWN = tuple(address for address, kind in KINDS.items() if kind in ("own", "service"))
BLOCKED = ("quarantine", "reject")

Numbers = Mapping[str, int | float]


@dataclass(frozen=True, slots=True)
class Expected:
    """What the pages and the summary must say of what was sent."""

    own_pass: int = 0
    own_fail: int = 0
    blocked: int = 0
    delivered: int = 0

    def plus(self, made: Made) -> Expected:
        """With one more report that counts."""
        own_pass, own_fail, blocked, delivered = self.own_pass, self.own_fail, self.blocked, self.delivered
        for record in made.records:
            kind, shape = KINDS[record.source_ip], record.shape
            if kind == "forwarder":
                continue
            if shape.dmarc_pass:
                own_pass += record.count
            elif kind != "spoof":
                own_fail += record.count
            elif shape.disposition in BLOCKED:
                blocked += record.count
            else:
                delivered += record.count
        return replace(self, own_pass=own_pass, own_fail=own_fail, blocked=blocked, delivered=delivered)

    def overview(self) -> dict[str, int | float]:
        """Numbers by the id of their element on the overview."""
        own = self.own_pass + self.own_fail
        return {
            "tile-own-pass": 100 * self.own_pass / own if own else 0,
            "tile-own-fail": self.own_fail,
            "tile-spoof-delivered": self.delivered,
            "tile-spoof-blocked": self.blocked,
        }


def check(place: Path, *, port: int = 0, today: date | None = None) -> int:
    """Prove the demo, live and over some months. 0 when all agrees, 1 when something differs; says what.

    Raises DemoError when something cannot start.
    """
    today = today or datetime.now(UTC).date()
    with Browser() as browser:
        differences = _live(place / "live", browser, today, port)
        differences += check_year.check(place / "year", browser, today)
        differences += [f"the page asked outside: {address}" for address in browser.outside]
    for difference in differences:
        print(f"differs: {difference}")
    if not differences:
        print("All numbers on the pages are those that were sent.")
    return 1 if differences else 0


def _live(place: Path, browser: Browser, today: date, port: int) -> list[str]:
    """Start everything, send, wait, read, compare; what differs."""
    differences: list[str] = []
    with World(place, port=port, own=OWN) as world:
        for network in FORWARDERS:
            world.ask("label", "set", network, "forwarder")
        url = world.start().url
        print(f"serve is up: {url}", flush=True)
        sent = known(today)
        first = rhythm.midnight(today - timedelta(days=SHOWN))
        before, after = sent[:-AT_LAST], sent[-AT_LAST:]
        expected = Expected()
        for made in before:
            _deliver(world, made)
            expected = expected.plus(made) if made.begin >= first else expected
        extra = _deliver_extras(world, before)
        print(f"sent {len(before)} known reports, then {RESENT} again, one forged, one that is no report", flush=True)

        browser.open(f"{url}?from={today - timedelta(days=SHOWN)}&to={today - timedelta(days=NEWEST)}")
        differences += _compare("overview", browser, expected.overview(), FIRST_SECONDS)
        spent = []
        for made in after:
            _deliver(world, made)
            answered = time.monotonic()
            expected = expected.plus(made)
            differences += _compare("overview, live", browser, expected.overview(), FIRST_SECONDS)
            spent.append(time.monotonic() - answered)
        print("from 250 to the open page: " + ", ".join(f"{seconds:.1f} s" for seconds in spent), flush=True)
        if min(spent) > VISIBLE_SECONDS:  # the quickest: other work on this machine is not ours
            differences.append(f"the page took {min(spent):.1f} s to show a report, more than {VISIBLE_SECONDS:.0f} s")

        browser.open(f"{url}intake?from={today - timedelta(days=1)}&to={today + timedelta(days=1)}")
        differences += _compare("intake", browser, _intake(len(sent), extra), FIRST_SECONDS)
        differences += _summary(world, sent)
        differences += _letters(world, browser, url)
    return differences


def _letters(world: World, browser: Browser, url: str) -> list[str]:
    """Hand letters to the relay: they arrive signed at the far host, and the page Sent says what became of each."""
    browser.open(f"{url}sent")
    for number in range(LETTERS):
        rcpt, code, text = world.hand_over(number)
        if code != 250:
            raise DemoError(f"the relay answered {code} {text.decode('utf-8', 'replace')} to a mail for {rcpt}")
    wanted = outgoing.expected(LETTERS)
    found = _compare("sent", browser, wanted, FIRST_SECONDS)
    letters = [mail for mail in world.mailbox.mails if b"Subject: Your order" in mail.split(b"\r\n\r\n")[0]]
    signed = sum(outgoing.verified(mail, world.zones) for mail in letters)
    if (arrived := int(wanted["sent-delivered"] - wanted["sent-failed"])) != len(letters):
        found.append(f"{len(letters)} letters arrived, {arrived} were to")
    if signed != len(letters):
        found.append(f"{signed} of {len(letters)} letters carry a signature that the DNS proves")
    return found


def known(today: date) -> list[Made]:
    """Reports of whole UTC days from reporters that never rest, oldest day first."""
    always = [r for r in REPORTERS if r.window == 0 and not r.silent_since]
    found = []
    for age in range(OLDEST, NEWEST - 1, -1):
        for domain in DOMAINS:
            for reporter in always:
                seed = rhythm.SEED
                while (made := traffic.report(today, age, domain, reporter, seed=seed)) is None:
                    seed += 1  # a day that the reporter skips in this year is taken from another
                found.append(made)
    return found


def _deliver(world: World, made: Made) -> None:
    code, text = world.send(world.mail(made, sent=int(time.time())), made.reporter.email)
    if code != 250:
        raise DemoError(f"the receiver answered {code} {text.decode('utf-8', 'replace')} to a report")


def _deliver_extras(world: World, sent: list[Made]) -> int:
    """Mails that must change no number of the overview; how many there were."""
    now = int(time.time())
    for made in sent[:RESENT]:
        _deliver(world, made)
    fake = reports.forged(sent[0], REPORTERS[0])
    newsletter = reports.compose(
        sender=STRANGER,
        rcpt="dmarc@reports.example.org",
        subject="Ten ways to love your inbox",
        message_id=f"<{now}@stranger.example>",
        date=now,
        text="No report in here.",
    )
    for mail in (world.mail(fake, sent=now, signed=False), newsletter):
        code, text = world.send(mail, STRANGER)
        if code != 250:
            raise DemoError(f"the receiver answered {code} {text.decode('utf-8', 'replace')} to a stranger's mail")
    return RESENT + 2


def _intake(reports_sent: int, extra: int) -> dict[str, int | float]:
    return {
        "intake-received": reports_sent + extra,
        "intake-reports": reports_sent,  # the forged one is kept, but not counted
        "intake-refused-count": 1,
        "intake-duplicates": RESENT,
        "intake-conflicts": 0,
        "intake-unverified": 1,
        "intake-backlog": 0,
    }


def agree(expected: Numbers, shown: Numbers) -> bool:
    """Does the page show every expected number?"""
    return all(name in shown and abs(shown[name] - value) < 1e-6 for name, value in expected.items())


def _compare(page: str, browser: Browser, expected: Numbers, seconds: float) -> list[str]:
    """Wait until the page agrees; else what differs."""
    shown, spent = browser.wait(partial(agree, expected), seconds)
    if agree(expected, shown):
        print(
            f"{page}: {', '.join(f'{name} {value:g}' for name, value in expected.items())} ({spent:.1f} s)", flush=True
        )
        return []
    return [
        f"{page}: {name} shows {shown.get(name, 'nothing')}, sent were {value}"
        for name, value in expected.items()
        if not agree({name: value}, shown)
    ]


def _summary(world: World, sent: list[Made]) -> list[str]:
    told = world.ask("summary")
    truth = traffic.count(sent)
    names = ("messages", "reports", "records", "dmarc_pass", "spf_aligned", "dkim_aligned")
    return [
        f"summary: {name} is {told.get(name)}, sent were {getattr(truth, name)}"
        for name in names
        if told.get(name) != getattr(truth, name)
    ]
