"""The watch over what domains publish: a DNS that is a table and changes, a real store, real keys of a relay."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event

from dmarcview.alerts import dnswatch
from dmarcview.alerts.dnsdrift import Interest, InUse, findings
from dmarcview.alerts.dnswatch import CONFIRM_SECONDS, Watch, interests, times
from dmarcview.alerts.model import Finding
from dmarcview.config import Config, read
from dmarcview.dns.looks import Cost, look
from dmarcview.store import SourceRow, Store, records_seen
from dmarcview.store.records_seen import CONSENT, DKIM, DMARC, SPF, SPF_COST, Seen
from dmarcview.terminal import safe
from dmarcview_relay.dkimdns import record
from dmarcview_relay.keys import RETIRED, RETIRING, SIGNING, KeyRing, SigningKey, moved
from dmarcview_reports.trust_dns import DnsFailure, FixedResolver
from tests.store_data import D0, DAY, records, report, shape, taken

Answers = dict[tuple[str, str], Sequence[Any] | None]

HOURS = 3_600
LOOK = 6 * HOURS
SPF_A, SPF_B = b"v=spf1 ip4:192.0.2.1 -all", b"v=spf1 ip4:192.0.2.1 ip4:203.0.113.9 -all"
REJECT = b"v=DMARC1; p=reject; rua=mailto:dmarc@reports.example.net"
NONE = b"v=DMARC1; p=none; rua=mailto:dmarc@stranger.example"
CONSENT_NAME = "example.org._report._dmarc.reports.example.net"
KEY = "v=DKIM1; p=QUJD"
NAME = "s1._domainkey.example.org"
CONF = """
[data]
dir = "data"
[domains]
watched = ["example.org"]
[receive]
rua = ["dmarc@reports.example.net"]
"""
RELAY = """
[relay]
hostname = "mail.example.org"
senders = ["@example.org"]
recipients = ["*"]
"""


class World:
    """A store, a DNS and a clock."""

    def __init__(self, folder: Path, conf: str = CONF) -> None:
        self.folder = folder
        self.now = float(D0 + 10 * DAY)
        self.answers: Answers = {
            ("TXT", "example.org"): [SPF_A, b"unrelated"],
            ("TXT", "_dmarc.example.org"): [REJECT],
            ("TXT", CONSENT_NAME): [b"v=DMARC1"],
            ("TXT", NAME): [KEY.encode()],
        }
        self.asked: list[tuple[str, str]] = []
        self.set(conf)
        self.store = Store.open(folder / "data", clock=lambda: self.now)
        self.ring = KeyRing(folder / "data" / "relay" / "keys", clock=lambda: self.now - 30 * DAY)
        self.start()

    def set(self, conf: str) -> None:
        self.config: Config = read(conf, {}, self.folder)

    def start(self) -> None:
        """The process begins anew."""
        self.watch = Watch(self.config, self.store, ask=lambda: self, clock=lambda: self.now)

    def ask(self, kind: str, name: str) -> Sequence[Any]:
        self.asked.append((kind, name))
        return FixedResolver(self.answers).ask(kind, name)

    def after(self, seconds: float) -> list[Finding]:
        """What is wrong when so much time has passed, with a step each few minutes, or hours of days."""
        until = self.now + seconds
        while self.now < until:
            self.now += 3 * HOURS if until - self.now > 4 * HOURS else min(CONFIRM_SECONDS, until - self.now)
            self.watch.step()
        return self.watch.findings()

    def learned(self) -> World:
        """After two quiet days."""
        assert self.after(2 * DAY) == []
        return self

    def reported(
        self, *signers: tuple[str, str, str], day: int = 9, messages: int = 50, by: str = "reporter.example"
    ) -> None:
        """A report of a day on mail of an own source that was signed so."""
        rows = records(("192.0.2.1", messages, shape(signers=signers)))
        one = report(f"{by}{day}", rows, submitter=by, begin=D0 + day * DAY, end=D0 + (day + 1) * DAY)
        self.store.append_many([taken(f"{by}-{day}", one)])
        self.store.put_sources([SourceRow("example.org", "192.0.2.1", "own")])


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.store.close()


def the(found: list[Finding], kind: str) -> Finding:
    (one,) = found
    assert one.kind == kind
    return one


# -- records


def test_the_first_looks_only_learn(world: World) -> None:
    assert world.after(2 * LOOK) == []
    kept = {(one.kind, one.value) for one in records_seen.current(world.store.ledger, "example.org")}
    assert kept == {
        (SPF, SPF_A.decode()),
        (SPF_COST, "0 look-ups, 0 void"),
        (DMARC, REJECT.decode()),
        (CONSENT, "v=DMARC1"),
    }


def test_a_record_that_changed_is_told_after_two_looks_with_old_and_new_for_a_week(world: World) -> None:
    world.learned()
    changed = world.now
    world.answers["TXT", "example.org"] = [SPF_B]
    one = the(world.after(LOOK + 2 * CONFIRM_SECONDS), "record_changed")
    assert (one.domain, one.cause, one.weight, one.usual) == ("example.org", "SPF record at example.org", 1, 0.0)
    assert f"became: {SPF_B.decode()}. Before: {SPF_A.decode()}." in one.text
    assert one.first_day == date.fromtimestamp(changed) or one.first_day == date.fromtimestamp(changed + LOOK)
    assert one.title == "A DNS record changed: SPF record at example.org"
    assert the(world.after(6 * DAY), "record_changed").fingerprint == one.fingerprint
    assert world.after(DAY) == []


def test_a_resolver_that_stumbles_once_raises_no_alarm(world: World) -> None:
    world.learned()
    right = world.answers["TXT", "_dmarc.example.org"]
    for _ in range(6):
        world.answers["TXT", "_dmarc.example.org"] = []
        while ("TXT", "_dmarc.example.org") not in world.asked:
            world.asked.clear()
            assert world.after(60) == []
        world.answers["TXT", "_dmarc.example.org"] = right
        assert world.after(LOOK) == []
        world.asked.clear()
    assert records_seen.changes(world.store.ledger, ["example.org"]) == []


def test_a_dns_that_fails_is_no_observation(world: World) -> None:
    world.learned()
    world.answers = dict.fromkeys(world.answers)
    assert world.after(2 * DAY) == []
    (spf,) = (one for one in records_seen.current(world.store.ledger, "example.org") if one.kind == SPF)
    assert (spf.value, spf.last < world.now - 2 * DAY + LOOK) == (SPF_A.decode(), True)


def test_a_record_that_is_gone_is_grave_until_it_is_back(world: World) -> None:
    world.learned()
    record_before = world.answers.pop(("TXT", "_dmarc.example.org"))
    one = the(world.after(LOOK + 2 * CONFIRM_SECONDS), "record_gone")
    assert (one.words.level, one.cause, one.weight) == ("act", "DMARC record at _dmarc.example.org", 1)
    assert REJECT.decode() in one.text
    assert the(world.after(9 * DAY), "record_gone").weight == 10
    world.answers["TXT", "_dmarc.example.org"] = record_before
    assert world.after(LOOK + 2 * CONFIRM_SECONDS) == [], "what came back as it was has not changed"


def test_a_dmarc_record_that_sends_our_reports_elsewhere_is_as_good_as_gone(world: World) -> None:
    world.learned()
    world.answers["TXT", "_dmarc.example.org"] = [NONE]
    one = the(world.after(LOOK + 2 * CONFIRM_SECONDS), "record_gone")
    assert one.cause == "our address in the DMARC record at _dmarc.example.org"
    assert "Reports on example.org come here no longer." in one.text
    assert the(world.after(9 * DAY), "record_gone").first_day == one.first_day


def test_the_consent_of_the_host_that_takes_reports_is_watched(world: World) -> None:
    world.learned()
    del world.answers["TXT", CONSENT_NAME]
    assert the(world.after(LOOK + 2 * CONFIRM_SECONDS), "record_gone").cause == f"consent at {CONSENT_NAME}"


def test_a_subdomain_without_its_own_record_is_still_covered(tmp_path: Path) -> None:
    world = World(tmp_path, CONF.replace('["example.org"]', '["news.example.org"]'))
    world.answers["TXT", "_dmarc.news.example.org"] = [b"v=DMARC1; p=none"]
    world.learned()
    del world.answers["TXT", "_dmarc.news.example.org"]
    assert the(world.after(LOOK + 2 * CONFIRM_SECONDS), "record_changed").domain == "news.example.org"
    world.store.close()


# -- SPF


def test_an_spf_record_that_grew_over_ten_look_ups_is_told_with_what_it_needed_before(world: World) -> None:
    includes = " ".join(f"include:i{n}.example" for n in range(9))
    world.answers["TXT", "example.org"] = [f"v=spf1 {includes} -all".encode()]
    world.answers |= {("TXT", f"i{n}.example"): [b"v=spf1 ip4:192.0.2.1 -all"] for n in range(12)}
    world.learned()
    world.answers["TXT", "i0.example"] = [b"v=spf1 include:i9.example include:i10.example -all"]
    one = the(world.after(LOOK + 2 * CONFIRM_SECONDS), "spf_lookups")
    assert (one.cause, one.weight, one.usual) == ("too many look-ups", 11, 9.0)
    assert "It needs 11 look-ups; receivers stop at 10" in one.text
    assert "It needed 9 look-ups then." in one.text
    first = one.first_day
    assert the(world.after(3 * DAY), "spf_lookups").first_day == first
    world.answers["TXT", "i0.example"] = [b"v=spf1 ip4:192.0.2.1 -all"]
    assert world.after(LOOK + 2 * CONFIRM_SECONDS) == []


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (b"v=spf1 a:v1.example a:v2.example a:v3.example -all", "too many void look-ups"),
        (b"v=spf1 ipv4:192.0.2.1 -all", "an error in it"),
        (b"v=spf1 include:none.example -all", "an error in it"),
        (b"v=spf1 ptr -all", ""),
    ],
)
def test_an_spf_record_that_is_broken_at_the_first_look_is_told_at_once(world: World, text: bytes, cause: str) -> None:
    world.answers["TXT", "example.org"] = [text]
    found = world.after(2 * CONFIRM_SECONDS)
    assert [one.cause for one in found] == ([cause] if cause else [])
    assert all((one.usual, "at the first look" in one.text) == (None, True) for one in found)


def test_an_spf_record_that_is_gone_is_not_called_broken_as_well(world: World) -> None:
    world.answers["TXT", "example.org"] = [b"v=spf1 ipv4:192.0.2.1 -all"]
    assert the(world.after(DAY), "spf_lookups")
    del world.answers["TXT", "example.org"]
    assert the(world.after(LOOK + 2 * CONFIRM_SECONDS), "record_gone").domain == "example.org"


# -- keys that reports tell of


def test_a_key_in_use_that_vanishes_is_told_within_minutes_of_the_look_that_missed_it(world: World) -> None:
    world.reported(("example.org", "s1", "pass"), day=9)
    world.reported(("example.org", "s1", "pass"), day=10)
    world.after(DAY)
    del world.answers["TXT", NAME]
    while not any(one.value == "" for one in records_seen.current(world.store.ledger, "example.org")):
        assert world.after(60) == []
    one = the(world.after(CONFIRM_SECONDS + 60), "key_missing")
    assert (one.words.level, one.cause, one.domain) == ("act", "selector s1 of example.org", "example.org")
    assert (one.usual, one.weight, one.members) == (0.0, 1, (("example.org", 100, 0),))
    assert KEY in one.text
    assert "100 messages" in one.text
    world.answers["TXT", NAME] = [KEY.encode()]
    assert world.after(LOOK + 2 * CONFIRM_SECONDS) == []


def test_a_key_that_was_withdrawn_or_stands_twice_is_missing_too(world: World) -> None:
    world.reported(("example.org", "s1", "pass"), day=10)
    world.after(LOOK)
    for texts, told in (([b"v=DKIM1; p="], "withdrawn"), ([KEY.encode(), b"v=DKIM1; p=QUJE"], "2 keys")):
        world.answers["TXT", NAME] = texts
        assert told in the(world.after(LOOK + 2 * CONFIRM_SECONDS), "key_missing").text


def test_a_selector_that_its_domain_has_given_up_may_go(world: World) -> None:
    world.answers["TXT", "s2._domainkey.example.org"] = [b"v=DKIM1; p=QUJE"]
    world.reported(("example.org", "s1", "pass"), day=5)
    world.reported(("example.org", "s2", "pass"), day=9)
    world.after(DAY)
    del world.answers["TXT", NAME]
    assert world.after(DAY) == []


def test_a_selector_of_a_forger_is_never_looked_up(world: World) -> None:
    forged = (("example.org", "evil", "fail"), ("example.org", "a b;c", "pass"), ("example.net", "s9", "pass"))
    rows = records(("198.51.100.7", 900, shape(signers=forged)))
    one = report("f", rows, begin=D0 + 9 * DAY, end=D0 + 10 * DAY)
    world.store.append_many([taken("f", one)])
    world.reported(("example.org", "s1", "pass"), *forged[1:])
    world.after(LOOK)
    keys = {name for _, name in world.asked if "_domainkey" in name}
    assert keys == {NAME}


def test_a_key_that_becomes_another_under_its_name_is_worth_a_word(world: World) -> None:
    world.reported(("example.org", "s1", "pass"), day=10)
    world.after(LOOK)
    world.answers["TXT", NAME] = [b"v=DKIM1; p=QUJE"]
    one = the(world.after(LOOK + 2 * CONFIRM_SECONDS), "record_changed")
    assert (one.cause, "renewed" in one.text) == ("DKIM key of selector s1 of example.org", True)


def test_a_selector_that_appears_in_reports_is_looked_up_soon(world: World) -> None:
    world.learned()
    world.reported(("example.org", "s1", "fail"), day=11)
    world.reported(("example.org", "s1", "fail"), day=11, by="second.example")
    world.answers.pop(("TXT", NAME))
    one = the(world.after(HOURS), "key_missing")
    assert (one.usual, "at the first look" in one.text) == (None, True)


@pytest.mark.parametrize("names", [("evil.example",), ("n1.evil.example", "n2.evil.example", "n3.evil.example")])
def test_one_stranger_makes_no_selector_up(world: World, names: tuple[str, ...]) -> None:
    world.learned()
    for by in names:
        world.reported(*(("example.org", f"made{n}", "pass") for n in range(30)), day=11, messages=10**6, by=by)
    assert world.after(2 * HOURS) == []


def test_no_stranger_hides_the_loss_of_a_key_behind_selectors_of_his_own(world: World) -> None:
    for day in (9, 10, 11):
        world.reported(("example.org", "s1", "pass"), day=day)
    world.learned()
    for by in ("one.example", "two.example"):
        world.reported(*(("example.org", f"made{n}", "pass") for n in range(30)), day=11, messages=10**6, by=by)
    world.answers.pop(("TXT", NAME))
    lost = [one for one in world.after(LOOK + 2 * CONFIRM_SECONDS) if one.cause == "selector s1 of example.org"]
    assert the(lost, "key_missing").usual == 0.0


# -- keys of our relay


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[tuple[World, SigningKey]]:
    made = World(tmp_path, CONF + RELAY)
    key = made.ring.new("example.org", "r1")
    made.ring.update([(key, moved(key, SIGNING, made.now - 20 * DAY))])
    made.answers["TXT", key.name] = [record(key).encode()]
    yield made, made.ring.signing("example.org")[0]
    made.store.close()


def test_a_key_that_the_relay_signs_with_must_be_the_one_in_the_dns(relay: tuple[World, SigningKey]) -> None:
    world, key = relay
    world.learned()
    world.answers["TXT", key.name] = [b"v=DKIM1; k=rsa; p=QUJD"]
    one = the(world.after(LOOK + 2 * CONFIRM_SECONDS), "key_missing")
    assert "The DNS shows another key" in one.text
    assert "The relay signs with it." in one.text
    assert one.title == "The key is not in the DNS: selector r1 of example.org"


def test_a_rotation_of_the_relays_own_keys_is_no_alarm(relay: tuple[World, SigningKey]) -> None:
    world, old = relay
    world.learned()
    new = world.ring.new("example.org", "r2")
    assert world.after(DAY) == [], "a new key that does not sign yet need not be there"
    world.answers["TXT", new.name] = [record(new).encode()]
    world.ring.update([(new, moved(new, SIGNING, world.now)), (old, moved(old, RETIRING, world.now))])
    assert world.after(DAY) == []
    (retiring,) = (one for one in world.ring.all() if one.state == RETIRING)
    world.ring.update([(retiring, moved(retiring, RETIRED, world.now))])
    assert world.after(HOURS) == []
    del world.answers["TXT", old.name]
    assert world.after(2 * DAY) == [], "the record of a retired key may go"


def test_a_retiring_key_must_still_stand_there(relay: tuple[World, SigningKey]) -> None:
    world, old = relay
    new = world.ring.new("example.org", "r2")
    world.answers["TXT", new.name] = [record(new).encode()]
    world.ring.update([(new, moved(new, SIGNING, world.now)), (old, moved(old, RETIRING, world.now))])
    world.learned()
    del world.answers["TXT", old.name]
    assert the(world.after(LOOK + 2 * CONFIRM_SECONDS), "key_missing").cause == "selector r1 of example.org"


def test_a_key_renewed_under_its_old_name_is_no_change_once_the_dns_shows_it(relay: tuple[World, SigningKey]) -> None:
    world, old = relay
    world.learned()
    old.path.unlink()
    new = world.ring.new("example.org", "r1")
    world.answers["TXT", new.name] = [record(new).encode()]
    assert world.after(DAY) == []


def test_the_first_key_of_a_domain_has_a_day_to_get_into_the_dns(tmp_path: Path) -> None:
    world = World(tmp_path, CONF + RELAY)
    KeyRing(world.ring.folder, clock=lambda: world.now).new("example.org", "r1")
    assert world.after(20 * HOURS) == []
    assert the(world.after(8 * HOURS), "key_missing").usual is None
    world.store.close()


def test_keys_of_a_relay_that_nobody_may_use_are_not_watched(relay: tuple[World, SigningKey]) -> None:
    world, key = relay
    world.set(CONF)
    world.start()
    del world.answers["TXT", key.name]
    assert world.after(DAY) == []
    assert ("TXT", key.name) not in world.asked


# -- whom, when


def test_the_domains_of_settings_relay_and_reports_are_watched(tmp_path: Path) -> None:
    world = World(tmp_path, CONF.replace('["example.org"]', "[]") + RELAY)
    assert [one.domain for one in interests(world.config, world.store, world.now)] == ["example.org"]
    one = report("n", domain="example.net", begin=D0 + 9 * DAY, end=D0 + 10 * DAY)
    old = report("o", domain="old.example", begin=D0 - 90 * DAY, end=D0 - 89 * DAY)
    world.store.append_many([taken("n", one), taken("o", old)])
    assert [one.domain for one in interests(world.config, world.store, world.now)] == ["example.org", "example.net"]
    world.store.close()


def test_looks_are_as_far_apart_as_the_settings_say_also_over_a_restart(world: World) -> None:
    world.learned()
    while world.watch.step() == 0:
        world.now += 60
    world.start()
    world.asked.clear()
    world.after(LOOK - 120)
    assert world.asked == []
    world.after(180)
    assert ("TXT", "example.org") in world.asked
    world.set(CONF + "[alerts]\ndns_hours = 0\n")
    world.start()
    world.asked.clear()
    assert world.after(DAY) == []
    assert world.asked == []


def test_no_resolver_at_all_is_tried_again_later_and_alarms_nobody(world: World) -> None:
    def none() -> FixedResolver:
        tries.append(world.now)
        raise DnsFailure("the system names no resolver")

    tries: list[float] = []
    world.watch = Watch(world.config, world.store, ask=none, clock=lambda: world.now)
    assert world.after(HOURS) == []
    assert 10 <= len(tries) <= 12


def test_where_nothing_is_due_it_is_asked_twice_a_minute_and_little_is_read(world: World) -> None:
    world.learned()
    world.watch.step()
    statements: list[str] = []
    event.listen(world.store.ledger.engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    for _ in range(60):
        world.now += 1
        world.watch.step()
    asked = [one for one in statements if "records_seen" in one]
    assert 1 <= len(asked) <= 3
    rows = [Seen("example.org", SPF, "example.org", f"v=spf1 ip4:192.0.2.{n} -all", n, n + DAY) for n in range(3)]
    assert times([Interest("example.org")], rows[-1:], {}, LOOK) == [(Interest("example.org"), 2 + DAY + LOOK)]


def test_the_newest_rows_are_the_last_of_each_record(world: World) -> None:
    world.learned()
    world.answers["TXT", "example.org"] = [SPF_B]
    world.after(LOOK + 2 * CONFIRM_SECONDS)
    found = records_seen.newest(world.store.ledger, ["example.org", "none.example"])
    assert sorted(found) == sorted(records_seen.current(world.store.ledger, "example.org"))
    assert (SPF, SPF_B.decode()) in {(one.kind, one.value) for one in found}


def test_a_stop_ends_a_round_between_its_looks_and_no_process_waits_for_one(tmp_path: Path) -> None:
    class Hangs:
        def ask(self, kind: str, name: str) -> Sequence[Any]:
            begun.set()
            let_go.wait(60)
            return []

    begun, let_go = threading.Event(), threading.Event()
    world = World(tmp_path)
    world.watch = Watch(world.config, world.store, ask=Hangs, clock=lambda: world.now)
    step = threading.Thread(target=world.watch.step)
    step.start()
    assert begun.wait(20)
    began = time.monotonic()
    world.watch.stop()
    step.join(20)
    assert time.monotonic() - began < 5
    looks = [one for one in threading.enumerate() if one.name == "alerts-dns-look"]
    assert [one.daemon for one in looks] == [True]
    let_go.set()
    assert records_seen.current(world.store.ledger, "example.org") == []
    world.store.close()


def test_findings_may_be_asked_by_another_thread_than_the_one_that_looks(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []

    def slow(*_: object) -> list[Interest]:
        asked.append(world.now)
        time.sleep(0.2)
        return []

    monkeypatch.setattr(dnswatch, "interests", slow)
    threads = [threading.Thread(target=ask) for ask in (world.watch.findings, world.watch.step) * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(asked) == 1, "the first asks, the others wait for its answer"


def test_a_dns_that_answers_nobody_is_left_alone_after_a_few_domains(tmp_path: Path) -> None:
    many = ", ".join(f'"d{n}.example"' for n in range(100))
    world = World(tmp_path, CONF.replace('"example.org"', many))
    world.answers = {("TXT", f"{at}d{n}.example"): None for n in range(100) for at in ("", "_dmarc.")}
    world.after(120)
    assert len({name for _, name in world.asked}) == 16, "SPF and DMARC of the first eight"
    world.store.close()


# -- the look, and any text


def test_the_cost_of_spf_is_read_as_it_was_written() -> None:
    cost = Cost(12, 3, ("it needs 12 look-ups", "x\ny"))
    assert Cost.read(cost.text) == Cost(12, 3, ("it needs 12 look-ups", "x y"))
    assert Cost.read("") is None
    assert Cost.read("12 look-upsets") is None


@given(st.lists(st.binary(max_size=60).map(lambda tail: b"v=spf1 " + tail) | st.binary(max_size=80), max_size=3))
def test_no_text_of_a_stranger_breaks_the_watch_or_reaches_a_screen_raw(texts: list[bytes]) -> None:
    names = ("example.org", "_dmarc.example.org", NAME, CONSENT_NAME)
    evil: Answers = {("TXT", name): texts for name in names}
    good: Answers = {("TXT", "example.org"): [SPF_A], ("TXT", "_dmarc.example.org"): [REJECT], ("TXT", NAME): [b"p=Q"]}
    one = Interest("example.org", (InUse("example.org", "s1", None, 5, date(2026, 1, 9)),))
    history = [
        Seen(*seen, first, first + DAY)
        for first, answers in ((D0, good), (D0 + 2 * DAY, evil))
        for seen in look("example.org", one.names, FixedResolver(answers))
    ]
    for found in findings(history, [one], D0 + 3 * DAY, ("dmarc@reports.example.net",)):
        assert safe(found.text) == found.text, "nothing hidden is left"
        assert len(found.text) < 1_500
        assert Finding.from_json(found.to_json()) == found


def test_two_changes_in_a_week_are_one_cause_that_grows(world: World) -> None:
    rows = [
        Seen("example.org", SPF, "example.org", f"v=spf1 ip4:192.0.2.{n} -all", D0 + n * DAY, D0 + n * DAY + HOURS)
        for n in range(4)
    ]
    one = the(findings(rows, [Interest("example.org")], D0 + 3 * DAY + HOURS), "record_changed")
    assert (one.weight, one.first_day) == (3, date(2026, 1, 2))
    later = the(findings(rows, [Interest("example.org")], D0 + 9 * DAY), "record_changed")
    assert (later.weight, later.first_day - one.first_day) == (1, timedelta(days=2))


def test_one_key_that_signs_for_two_domains_is_one_cause() -> None:
    key = InUse("example.org", "s1", None, 5, date(2026, 1, 9), 2)
    both = [Interest(domain, (key,)) for domain in ("example.org", "news.example.org")]
    rows = [Seen(one.domain, DKIM, key.name, "", D0, D0 + DAY) for one in both]
    found = the(findings(rows, both, D0 + DAY), "key_missing")
    assert [member.name for member in found.members] == ["example.org", "news.example.org"]
