"""Faults of this machine as findings: real spool, queue, certificates and ledger; the clock is ours."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dmarcview.alerts import machinewatch, memory
from dmarcview.alerts.machine import Intake, Refusals, intake
from dmarcview.alerts.machinewatch import Machine
from dmarcview.alerts.model import Finding
from dmarcview.config import read
from dmarcview.store import Store
from dmarcview.supervisor import write_status
from dmarcview_relay.outcome import DEFERRED, FAILED, RemoteReply
from dmarcview_relay.queue import Queue, Settled
from dmarcview_reports.model import Origin, Refusal
from dmarcview_reports.spool import Spool
from dmarcview_reports.spool_state import SpoolState, state
from tests.relay_mails import attempt, mail
from tests.store_data import DAY, report, taken

HOUR = 3_600
CONF = """
[data]
dir = "data"
[relay]
hostname = "mail.example.org"
senders = ["@example.org"]
recipients = ["*"]
"""
MISSING = "dkim example.org s1: the DNS shows no key at s1._domainkey.example.org"
LATER = RemoteReply(451, "4.7.1", "Greylisted\x1b[2J, come back", "rcpt")


class House:
    """A data folder, a ledger and a clock."""

    def __init__(self, folder: Path, url: str | None = None) -> None:
        self.folder, self.data = folder, folder / "data"
        self.now = time.time()
        self.store = Store.open(self.data, url=url, clock=lambda: self.now)
        (self.data / "relay").mkdir(parents=True)
        self.set(CONF)

    def set(self, conf: str) -> None:
        self.watch = Machine(read(conf, {}, self.folder), self.store.ledger, clock=lambda: self.now)

    def findings(self) -> list[Finding]:
        return self.watch.findings()

    def the(self, kind: str) -> Finding:
        (one,) = self.findings()
        assert one.kind == kind
        return one

    def queue(self, *mails: tuple[str, str]) -> Queue:
        """A queue with a mail for each (recipient, reason to hold), accepted now."""
        queue = Queue(self.data / "relay", reserve=0, clock=lambda: self.now)
        for to, hold in mails:
            one = replace(mail(to, hold=hold), accepted=self.now)
            asyncio.run(queue.put(one, b"From: a@example.org\r\n\r\n"))
        return queue


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.store.close()


def test_where_all_is_well_nothing_is_said(house: House) -> None:
    assert house.findings() == []
    house.queue(("b@example.net", "")).close()
    spool = Spool(house.data / "spool", reserve=0)
    asyncio.run(spool.put(Origin("", int(house.now), "smtp"), b"x"))
    spool.close()
    assert house.findings() == []


# -- intake


def test_mails_that_nobody_takes_from_the_spool_are_told_and_counted(house: House) -> None:
    spool = Spool(house.data / "spool", reserve=0)

    async def put() -> None:
        await asyncio.gather(*(spool.put(Origin("", 0, "smtp"), b"x" * n) for n in range(1, 8)))

    asyncio.run(put())
    house.now += 700
    one = house.the("intake_fault")
    assert (one.cause, one.weight, one.words.level) == ("mails wait in the spool", 7, "act")
    for batch in spool.take():
        spool.done(batch)
    spool.close()
    assert house.findings() == []


def test_the_mails_of_a_batch_are_counted_also_when_it_is_damaged(tmp_path: Path) -> None:
    new = tmp_path / "new"
    assert state(tmp_path) == SpoolState(0, 0, 0.0, 0)
    new.mkdir()
    (tmp_path / "bad").mkdir()
    for name, tail in (("1", b"dmarcview-end 1 12\n"), ("2", b""), ("3", b"dmarcview-end 1 x\n")):
        (new / f"{name}.batch").write_bytes(tail)
        os.utime(new / f"{name}.batch", (0, 1_000 + int(name)))
    (tmp_path / "bad" / "4.batch").write_bytes(b"")
    assert state(tmp_path) == SpoolState(3, 14, 1_001.0, 1)


def test_a_disk_without_room_is_told_since_it_was_seen(house: House) -> None:
    began = datetime.fromtimestamp(house.now, UTC).date()
    house.set(CONF + "[receive]\nreserve_mb = 1_000_000_000\n")
    assert house.the("intake_fault").cause == "the disk is full"
    house.now += 3 * DAY
    assert house.the("intake_fault").first_day == began
    nearly = Intake(SpoolState(0, 0, 0.0, 0), 500_000_000, 100_000_000, house.now, {})
    (one,) = intake(nearly, house.now)
    assert one.cause == "the disk is nearly full"
    assert "500 MB are free" in one.text


def test_a_process_of_the_service_that_stays_away_is_told(house: House) -> None:
    run = house.data / "run"
    for name in ("serve", "receive", "ingest", "relay"):
        write_status(run / f"{name}.json", {})
    assert house.findings() == []
    (run / "receive.json").unlink()
    (run / "ingest.json").write_text('{"pid": 999999999}')
    assert house.findings() == [], "the supervisor starts it again"
    house.now += 300
    assert [one.cause for one in house.findings()] == ["ingest does not run", "receive does not run"]
    (run / "serve.json").unlink()
    assert house.findings() == [], "nobody knows what should run where no service does"


def test_a_relay_that_stays_away_is_told_once_whatever_waits(house: House) -> None:
    run = house.data / "run"
    for name in ("serve", "receive", "ingest"):
        write_status(run / f"{name}.json", {})
    assert house.findings() == []
    house.now += 300
    assert house.the("queue_stuck").cause == "the relay does not run"
    house.queue(("b@example.net", ""), ("c@example.com", "")).close()
    house.now += 9 * HOUR
    one = house.the("queue_stuck")
    assert (one.cause, one.weight) == ("the relay does not run", 2)


def test_a_new_start_goes_on_with_what_is_open(house: House) -> None:
    run = house.data / "run"
    write_status(run / "serve.json", {})
    house.now = house.now // DAY * DAY + DAY / 2
    house.set(CONF + "[receive]\nreserve_mb = 1_000_000_000\n")
    assert [one.cause for one in house.findings()] == ["the disk is full"]
    began = house.now
    house.now += 300
    causes = ["the disk is full", "ingest does not run", "receive does not run", "the relay does not run"]
    assert [one.cause for one in house.findings()] == causes
    memory.settle(house.store.ledger, house.findings(), int(house.now))
    house.set(CONF + "[receive]\nreserve_mb = 1_000_000_000\n")
    assert [one.cause for one in house.findings()] == causes
    house.now += 2 * DAY
    house.set(CONF + "[receive]\nreserve_mb = 1_000_000_000\n")
    found = house.findings()
    assert {one.first_day for one in found} == {datetime.fromtimestamp(began + 300, UTC).date()}
    assert memory.settle(house.store.ledger, found, int(house.now)) != []
    assert len(memory.listed(house.store.ledger, int(house.now), open_only=True)) == 4, "none of them ended"
    for name in ("receive", "ingest", "relay"):
        write_status(run / f"{name}.json", {})
    assert [one.cause for one in house.findings()] == ["the disk is full"]


@pytest.fixture
def on_each(ledger_url: str | None, tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path, ledger_url)
    yield made
    made.store.close()


def test_known_senders_whose_reports_are_refused_more_than_ever_are_told(on_each: House) -> None:
    house = on_each

    def refused(count: int, auth: str = "pass", sender: str = "r@Reporter.example") -> None:
        names = [f"{house.now:.0f}-{auth}-{sender}-{n}" for n in range(count)]
        made = [taken(name, auth=auth, refusals=(Refusal("not_xml", "no", ""),)) for name in names]
        house.store.append_many([replace(one, origin=replace(one.origin, mail_from=sender)) for one in made])

    def reported(days_ago: int, auth: str = "pass", sender: str = "noreply@reporter.EXAMPLE") -> None:
        one = taken(
            f"r-{days_ago}-{sender}", report(f"r-{sender}"), auth=auth, received=int(house.now - days_ago * DAY)
        )
        house.store.append_many([replace(one, origin=replace(one.origin, mail_from=sender))])

    reported(30)
    reported(120, sender="x@old.example")
    reported(1, auth="fail", sender="x@forged.example")
    refused(2)
    house.now += 9 * DAY
    refused(50, auth="fail")
    refused(50, sender="spam@signs.example")
    refused(9, sender="x@old.example")
    refused(9, sender="x@forged.example")
    refused(4)
    assert house.findings() == [], "whoever signs mail is authenticated, and known is who brought a report that counts"
    house.now += HOUR
    refused(3)
    one = house.the("intake_fault")
    assert (one.cause, one.weight, one.usual) == ("many inputs are refused as not_xml", 7, 2.0)
    assert one.members == (("reporter.example", 7, 7),)
    house.now += 2 * DAY
    assert house.findings() == []


def test_a_flood_of_strangers_hides_no_refused_report(on_each: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house = on_each
    monkeypatch.setattr(machinewatch, "CELLS", 9)

    def came(name: str, sender: str, *refused: Refusal, at: float) -> None:
        one = taken(name, *([] if refused else [report(name)]), refusals=refused, received=int(at))
        house.store.append_many([replace(one, origin=replace(one.origin, mail_from=sender))])

    no = Refusal("not_xml", "no", "")
    came("known", "noreply@reporter.example", at=house.now - 5 * DAY)
    for n in range(8):
        came(f"lost-{n}", "noreply@reporter.example", no, at=house.now - HOUR)
    for n in range(30):
        came(f"flood-{n}", f"x@n{n}.strangers.example", *[no] * 9, at=house.now - 60)
    assert house.the("intake_fault").members == (("reporter.example", 8, 8),)


@pytest.mark.parametrize(("count", "before", "tells"), [(4, (), 0), (5, (), 1), (9, (5, 1), 0), (11, (5, 1), 1)])
def test_what_is_unusual_is_held_against_the_worst_day_before(count: int, before: tuple[int, ...], tells: int) -> None:
    refusals = Refusals("not_xml", {"reporter.example": count}, 1_800_000_000.0, before)
    found = Intake(SpoolState(0, 0, 0.0, 0), 10**10, 10**8, 0.0, {}, (refusals,))
    assert len(intake(found, 1_800_000_100.0)) == tells


# -- relay


def test_mail_that_waits_too_long_is_told_by_destination_with_the_last_reply(house: House) -> None:
    with closing(house.queue(("b@example.net", ""), ("c@example.net", ""))) as queue:
        queued = asyncio.run(queue.put(replace(mail("d@slow.example"), accepted=house.now), b"x\r\n"))
        ticket = queued.tickets[0]
        tried = attempt(queued, ticket, outcome=DEFERRED, reply=LATER)
        asyncio.run(queue.settle(queued, [Settled(ticket, tried, next_at=house.now + 9 * DAY)]))
    accepted = house.now
    house.now += 3 * HOUR
    assert house.findings() == []
    house.now += 2 * HOUR
    first, second = house.findings()
    assert (first.kind, first.cause, first.weight) == ("queue_stuck", "mail to example.net", 2)
    assert "never tried" in first.text
    assert (second.cause, "Greylisted\\x1b[2J" in second.text) == ("mail to slow.example", True)
    assert first.first_day == datetime.fromtimestamp(accepted, UTC).date()
    house.set(CONF + "[alerts]\nqueue_hours = 12\n")
    assert house.findings() == []


def test_mail_that_waits_for_many_domains_is_one_cause(house: House) -> None:
    house.queue(*((f"a@d{n}.example", "") for n in range(5))).close()
    house.now += 5 * HOUR
    one = house.the("queue_stuck")
    assert (one.cause, one.weight, len(one.members)) == ("mail to many domains", 5, 5)


def test_held_mail_is_told_with_what_frees_it_after_a_while(house: House) -> None:
    house.queue(("b@example.net", MISSING), ("c@example.net", MISSING), ("d@example.net", "held by hand")).close()
    house.now += 600
    assert house.findings() == []
    house.now += 600
    key, hand = house.findings()
    assert (key.kind, key.domain, key.weight) == ("mail_held", "example.org", 2)
    assert key.cause == "the key of selector s1 of example.org"
    assert (hand.domain, hand.cause) == ("", "held by hand")


def test_mail_that_nobody_could_be_told_of_is_told(house: House) -> None:
    with closing(house.queue()) as queue:
        queued = asyncio.run(queue.put(replace(mail(), accepted=house.now), b"x\r\n"))
        ticket = queued.tickets[0]
        asyncio.run(queue.settle(queued, [Settled(ticket, attempt(queued, ticket, outcome=FAILED), dead=True)]))
    one = house.the("mail_held")
    assert (one.cause, one.weight) == ("failed, and nobody could be told", 1)


def test_a_queue_that_cannot_be_read_hides_no_other_fault(house: House) -> None:
    (house.data / "relay" / "queue.sqlite").write_bytes(b"x" * 5_000)
    house.set(CONF + "[receive]\nreserve_mb = 1_000_000_000\n")
    assert house.the("intake_fault").cause == "the disk is full"


# -- certificates


@pytest.fixture
def authority(tmp_path: Path) -> Callable[[], tuple[Path, Path, float]]:
    """A certificate and its key as files, and when it ends."""
    from cryptography import x509

    trustme = pytest.importorskip("trustme")

    def make() -> tuple[Path, Path, float]:
        made = trustme.CA().issue_cert("mail.example.org")
        chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
        chain.write_bytes(made.cert_chain_pems[0].bytes())
        key.write_bytes(made.private_key_pem.bytes())
        return chain, key, x509.load_pem_x509_certificate(chain.read_bytes()).not_valid_after_utc.timestamp()

    return make


@pytest.mark.parametrize("section", ["receive", "relay"])
def test_a_certificate_near_its_end_grows_graver_by_the_day(
    house: House, authority: Callable[[], tuple[Path, Path, float]], section: str
) -> None:
    chain, key, end = authority()
    files = f'certificate = "{chain}"\nkey = "{key}"\n'
    house.set(CONF + files if section == "relay" else f"{CONF}[receive]\n{files}")
    told = []
    for left in (20, 13.5, 1.5, -1):
        house.now = end - left * DAY
        told.append([(one.kind, one.cause, one.weight, one.text.split(" at ")[0]) for one in house.findings()])
    assert told == [
        [],
        [("certificate", f"[{section}]", 1, "It ends")],
        [("certificate", f"[{section}]", 13, "It ends")],
        [("certificate", f"[{section}]", 16, "It ended")],
    ]
    assert house.the("certificate").first_day == datetime.fromtimestamp(end - 14 * DAY, UTC).date()
    chain.write_bytes(b"no certificate")
    assert "cannot be read" in house.the("certificate").text
