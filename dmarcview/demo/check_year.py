"""The second half of `demo --check`: a store of some months, and whether commands and pages tell its story rightly.

What the relay sent and reporters reported is compared to the last message; what the Overview shows is held against the
days on which the story says that it happened.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from pathlib import Path
from statistics import median
from typing import Any

from dmarcview.dashboard import theme
from dmarcview.demo import check_alerts, fill, loop
from dmarcview.demo.browser import Browser
from dmarcview.demo.fill import Filled
from dmarcview.demo.loop import Loop
from dmarcview.demo.story import EPISODES, REPORTERS, SENDERS
from dmarcview.demo.world import World

DAYS, MAILED = 75, 45  # of these, so many came by mail
SHOWN = 30  # days on the page
RELAYED, ATTACKED = "example.org", "example.com"
LOST_SHARE = 20.0  # percent of own mail with a good signature, at most, while the key is lost; twice that otherwise
WAVE = 10  # times the usual number of blocked messages, at least, on each day of the wave
PAGE_SECONDS = 60.0
HAPPENED = {"dkim_broken", "bypass", "forged", "forwarded", "unreported"}  # to the relayed domain, within SHOWN days
BLOCKED = next(one.name for one in theme.OUTCOMES if one.key == "unknown_blocked")

Table = Sequence[dict[str, str]]


def check(place: Path, browser: Browser, today: date) -> list[str]:
    """Fill a demo in a folder, ask, look, and return what differs. Raises DemoError when something cannot start."""
    with World(place, alerts=False) as world:  # a look amid the import judges half of it; one comes after it, by hand
        world.launch()
        filled = fill.fill(world, today, days=DAYS, mailed=MAILED, say=lambda text: print(text, flush=True))
        found: list[str] = []
        for one in CHECKS:
            found += one(world, browser, filled, today)
    return found


def _reconcile(world: World, browser: Browser, filled: Filled, today: date) -> list[str]:  # noqa: ARG001 - one of CHECKS
    """`dmarcview reconcile` says what was sent and what was reported of it, and what happened in the last month."""
    told = world.ask("reconcile", "--domain", RELAYED)
    found = compare(told, filled.loop)
    since, until = today - timedelta(days=SHOWN), today
    month = world.ask("reconcile", "--domain", RELAYED, "--since", str(since), "--until", str(until))
    found += quiet(month, {one.domain for one in REPORTERS if one.silent_since})
    if not found:
        cells = filled.loop.sent.keys() | filled.loop.reported.keys()
        print(
            f"reconcile: {sum(filled.loop.sent.values()):,} sent, {sum(filled.loop.reported.values()):,} reported, "
            f"{sum(filled.loop.broken.values()):,} with a broken signature, each right in {len(cells):,} days and "
            "receivers",
            flush=True,
        )
    return found


def compare(told: Any, wanted: Loop) -> list[str]:
    """What the JSON of `dmarcview reconcile` says other than it should."""
    found = []
    rows = [one for one in told["rows"] if one["matched_by"]]
    for column, cells in (("sent", wanted.sent), ("reported", wanted.reported)):
        said: Counter[loop.Cell] = Counter()
        for one in rows:
            said[date.fromisoformat(one["day"]), one["receiver"]] += one[column]
        found += [
            f"reconcile: {column} on {day} to {who} is {said[day, who]}, made were {cells[day, who]}"
            for day, who in sorted((+said).keys() | cells.keys())
            if said[day, who] != cells[day, who]
        ]
    failed: Counter[str] = (
        Counter()
    )  # by receiver: within a period that is no UTC day, the day of a failure is not told
    for one in rows:
        failed[one["receiver"]] += one["dkim_fail"]
    broken = wanted.by_receiver(wanted.broken)
    found += [
        f"reconcile: {failed[who]} signatures broke on the way to {who}, made were {broken[who]}"
        for who in sorted(failed.keys() | broken.keys())
        if failed[who] != broken[who]
    ]
    codes: Counter[str] = Counter()
    for one in told["findings"]:
        codes[one["code"]] += one["messages"]
    del codes["unreported"]  # a reporter's skipped day can be much for a receiver of little mail
    right = Counter(wanted.other | {"dkim_broken": sum(broken.values())})
    found += [
        f"reconcile: finding {code} has {codes[code]} messages, made were {right[code]}"
        for code in sorted(codes.keys() | right.keys())
        if codes[code] != right[code]
    ]
    silent = {one["receiver"] for one in told["receivers"] if one["sent"] and one["silent"] == one["sent"]}
    if silent != wanted.silent:
        found.append(f"reconcile: {sorted(silent)} are said to send no reports, true is {sorted(wanted.silent)}")
    return found


def quiet(told: Any, wanted: set[str]) -> list[str]:
    """Whether the month's JSON tells of the reporters that went silent."""
    said = {one["receiver"] for one in told["findings"] if one["code"] == "unreported"}
    return [f"reconcile: {who} went silent, and nothing says that mail to it is not reported" for who in wanted - said]


def _reconcile_page(world: World, browser: Browser, filled: Filled, today: date) -> list[str]:
    """The page Reconcile shows the same numbers, and of the last month what happened and nothing else."""
    wanted, url = filled.loop, world.up().url
    others = sum(wanted.other.values())
    numbers = {
        "reconcile-sent": sum(wanted.sent.values()),
        "reconcile-reported": sum(wanted.reported.values()) + others,
        "reconcile-broken": sum(wanted.broken.values()),
        "reconcile-unsent": others,
    }
    browser.open(f"{url}reconcile?domain={RELAYED}&from={today - timedelta(days=DAYS + 1)}&to={today}")
    shown, _ = browser.wait(lambda seen: numbers.items() <= seen.items(), PAGE_SECONDS)
    found = [
        f"page reconcile: {name} shows {shown.get(name, 'nothing')}, made were {value}"
        for name, value in numbers.items()
        if shown.get(name) != value
    ]
    browser.open(f"{url}reconcile?domain={RELAYED}&from={today - timedelta(days=SHOWN)}&to={today - timedelta(days=1)}")
    browser.text("reconcile-findings", "[id^=finding-]")
    told = {name.removeprefix("finding-") for name in browser.ids("[id^=finding-]")}
    if told != HAPPENED:
        found.append(f"page reconcile: it tells of {sorted(told)}, true is {sorted(HAPPENED)}")
    if not found:
        print("page reconcile: " + ", ".join(f"{name} {value:,}" for name, value in numbers.items()), flush=True)
    return found


def _overview(world: World, browser: Browser, filled: Filled, today: date) -> list[str]:  # noqa: ARG001 - one of CHECKS
    """The Overview shows the lost key, the host outside SPF, the silent reporter, the spoof wave and the new sender."""
    url, span = world.up().url, f"from={today - timedelta(days=SHOWN)}&to={today - timedelta(days=1)}"
    browser.open(f"{url}?domain={RELAYED}&{span}")
    shown = browser.text("overview-attention", "li")
    found = attention(shown, [one.domain for one in REPORTERS if one.silent_since])
    over = [one for one in check_alerts.wanted() if not one.open and one.domain == RELAYED]
    found += [f"overview: nothing says that {one.cause} was at fault" for one in over if one.cause not in shown]
    found += key_lost(browser.table("rate"), days(today, "mail.example.org"))
    browser.open(f"{url}?domain={ATTACKED}&{span}")
    appeared = today - timedelta(days=next(one.since for one in SENDERS if one.name.startswith("Quick Survey")))
    found += forged(browser.table("outcome"), days(today, "strangers"), appeared)
    if not found:
        print("overview: lost key, host outside SPF, silent reporter, spoof wave and new sender are there", flush=True)
    return found


def days(today: date, sender: str) -> list[date]:
    """The days of the newest episode of a sender."""
    newest = min((one for one in EPISODES if one.sender == sender), key=lambda one: one.last)
    return [today - timedelta(days=age) for age in range(newest.first, newest.last - 1, -1)]


def attention(text: str, silent: Sequence[str]) -> list[str]:
    """Whether the list of what needs attention names who should be named."""
    outside = [ip for one in SENDERS if one.name == "web1.example.org" for ip in one.addresses]
    # an incident tells what a list of sources and reporters says while there is none
    wanted = [(f"{who} stopped reporting", f"{who} sends no reports") for who in silent]
    wanted += [(f"{ip} still is in the SPF record", f"fails DMARC: {ip}") for ip in outside]
    return [f"overview: what needs attention says neither {item!r} nor {incident!r}"
            for item, incident in wanted if item not in text and incident not in text]  # fmt: skip


def key_lost(rates: Table, lost: Sequence[date]) -> list[str]:
    """Whether the rate of good signatures fell on the days on which the key was lost, and on no others."""
    shares = {_day(row): float(row["DKIM"].strip("<>%")) for row in rates if _whole(row)}
    found = [f"overview: no DKIM rate is shown on {day}" for day in lost if day not in shares]
    for day, share in sorted(shares.items()):
        if day in lost and share > LOST_SHARE:
            found.append(f"overview: {share} % of the signatures are good on {day}, when the key was lost")
        elif day not in lost and share < 2 * LOST_SHARE:
            found.append(f"overview: only {share} % of the signatures are good on {day}")
    return found


def forged(outcomes: Table, wave: Sequence[date], appeared: date) -> list[str]:
    """Whether blocked mail of unknown sources rose in the wave, and stayed higher by the new sender's after it."""
    blocked = {_day(row): int(row[BLOCKED].replace(",", "")) for row in outcomes if _whole(row)}
    before = [n for day, n in blocked.items() if day < min(wave)]
    after = [n for day, n in blocked.items() if day > max(wave) and day > appeared]
    if not before or not after:
        return ["overview: the days around the spoof wave are not shown"]
    usual = median(before)
    found = [
        f"overview: {blocked.get(day, 0)} blocked messages on {day} are no spoof wave where {usual:.0f} are usual"
        for day in wave
        if blocked.get(day, 0) < WAVE * usual
    ]
    if median(after) < WAVE / 2 * usual:
        found.append(f"overview: after {appeared}, the new sender's mail is not among what is blocked")
    return found


def _day(row: dict[str, str]) -> date:
    return date.fromisoformat(row["Day"][:10])


def _whole(row: dict[str, str]) -> bool:
    return "not complete" not in row["Day"]


def _new_sender(world: World, browser: Browser, filled: Filled, today: date) -> list[str]:  # noqa: ARG001 - one of CHECKS
    """`dmarcview sources` lists the new sender as unknown, with all of its messages."""
    new = next(one for one in SENDERS if one.name.startswith("Quick Survey"))
    wanted = sum(
        record.count
        for made in fill.early(today, days=new.since)
        for record in made.records
        if record.source_ip in new.addresses
    )
    told = world.ask("sources", "--domain", new.domain, "--class", "unknown", "--limit", "0")
    said = sum(one["messages"] for one in told if one["source_ip"] in new.addresses)
    return (
        [] if said == wanted else [f"sources: {said} messages of unknown senders are {new.name}'s, made were {wanted}"]
    )


def _alerts(world: World, browser: Browser, filled: Filled, today: date) -> list[str]:  # noqa: ARG001 - one of CHECKS
    """`dmarcview alerts` names what happened, since when, and nothing that did not."""
    world.ask("alerts", "check", "--no-network", allowed=(0, 1))
    found = check_alerts.differs(world.ask("alerts", "list", "--all"), today)
    if not found:
        print(f"alerts: {len(check_alerts.wanted())} incidents, all of the story and no other", flush=True)
    return found


CHECKS: tuple[Callable[[World, Browser, Filled, date], list[str]], ...] = (
    _reconcile,
    _reconcile_page,
    _alerts,  # what it finds is on the next page
    _overview,
    _new_sender,
)
