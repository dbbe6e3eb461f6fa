"""The doctor looks at the half that sends: each fault is told with what to do, and nobody complains of what is well."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dmarcview.config import read
from dmarcview.doctor import FAIL, OK, WARN, Finding, examine
from dmarcview.supervisor import write_status
from dmarcview_relay.dkimdns import record
from dmarcview_relay.envelope import Mail
from dmarcview_relay.keys import KeyRing
from dmarcview_relay.outcome import FAILED
from dmarcview_relay.queue import Queue, Settled
from dmarcview_relay.queue_state import State, reasons, state
from dmarcview_relay.userfile import UserFile
from dmarcview_relay.users import UserRules
from dmarcview_reports.trust_dns import FixedResolver
from tests.relay_mails import attempt, mail

NOW = 1_800_000_000.0
HOUR = 3_600.0
CONF = """
[data]
dir = "data"
[receive]
listeners = [{ port = 0 }]
[dashboard]
port = 0
[relay]
hostname = "mail.example.org"
senders = ["@example.org"]
recipients = ["*"]
listeners = [{ port = PORT }]
[relay.delivery]
source_ipv4 = "192.0.2.25"
"""


def taken(at: float, hold: str = "") -> Mail:
    return replace(mail(hold=hold), accepted=at)


class House:
    """A data folder with settings, and what the doctor says of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.relay = path / "data" / "relay"
        self.relay.mkdir(parents=True)
        self.conf = CONF.replace("PORT", "0")
        self.now = NOW

    def findings(self, answers: dict[tuple[str, str], Any] | None = None) -> list[Finding]:
        config = read(self.conf, {}, self.path)
        ask = FixedResolver(answers or {})
        return list(examine(config, network=answers is not None, ask=ask, clock=lambda: self.now))

    def the(self, name: str, answers: dict[tuple[str, str], Any] | None = None) -> list[Finding]:
        return [one for one in self.findings(answers) if one.check == name]

    def queue(self, *holds: str, at: float = NOW - 60) -> Queue:
        queue = Queue(self.relay, reserve=0, clock=lambda: at)
        for hold in holds:
            asyncio.run(queue.put(taken(at, hold), b"From: a@example.org\r\n\r\n"))
        return queue

    def runs(self) -> None:
        write_status(self.path / "data" / "run" / "relay.json", {"listening": []})


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def test_who_sends_nothing_hears_nothing_of_sending(house: House) -> None:
    house.relay.rmdir()
    house.conf = CONF[: CONF.index("[relay]")]
    assert not [one for one in house.findings({}) if "queue" in one.check or "relay" in one.check]


def test_a_new_relay_needs_a_key_and_nothing_else(house: House) -> None:
    assert house.the("queue") == [Finding(OK, "queue", "there is none yet")]
    [keys] = house.the("keys")
    assert (keys.state, keys.advice) == (WARN, "Make one: `dmarcview key new DOMAIN`.")
    KeyRing(house.relay / "keys").new("example.org", "s1")
    [keys] = house.the("keys")
    assert (keys.state, keys.found) == (OK, "s1 of example.org (new)")


def test_mail_that_waits_is_a_fault_when_no_relay_runs_and_a_worry_when_it_waits_long(house: House) -> None:
    with closing(house.queue("", "")):
        [waits] = house.the("queue")
        assert (waits.state, waits.found) == (FAIL, "2 recipients wait, the oldest for 60 seconds")
        assert "Start" in waits.advice
        house.runs()
        assert house.the("queue")[0].state == OK
        house.now = NOW + 5 * HOUR
        [waits] = house.the("queue")
        assert (waits.state, waits.found) == (WARN, "2 recipients wait, the oldest for 5 hours")


def test_held_mail_is_told_by_its_reasons_and_what_frees_it(house: House) -> None:
    missing = "dkim example.org s1: the DNS shows no key at s1._domainkey.example.org"
    with closing(house.queue(missing, missing, "held by hand")):
        assert house.the("queue") == [Finding(OK, "queue", "nothing waits")]
        first, second = house.the("queue: held")
        assert (first.state, first.found) == (WARN, f"2 recipients: {missing}")
        assert "`dmarcview dns check example.org`" in first.advice
        assert (second.found, "release" in second.advice) == ("1 recipients: held by hand", True)


def test_the_dead_are_told(house: House) -> None:
    with closing(house.queue()) as queue:
        queued = asyncio.run(queue.put(taken(NOW), b"x\r\n"))
        ticket = queued.tickets[0]
        asyncio.run(queue.settle(queued, [Settled(ticket, attempt(queued, ticket, outcome=FAILED), dead=True)]))
    [dead] = house.the("queue: dead")
    assert (dead.state, dead.found) == (WARN, "1 recipients failed and nobody could be told")


def test_a_clock_that_went_back_is_told(house: House) -> None:
    house.queue("", at=NOW + HOUR).close()
    assert [one.state for one in house.the("clock")] == [OK, WARN]


def test_a_queue_that_is_none_of_ours_is_a_fault(house: House) -> None:
    (house.relay / "queue.sqlite").write_bytes(b"x" * 5_000)
    assert [one.state for one in house.the("queue")] == [FAIL]


def test_the_state_of_a_queue_is_counted_beside_its_relay(house: House) -> None:
    with closing(house.queue("dkim x", at=NOW)) as queue:
        asyncio.run(queue.put(taken(NOW + 1), b"x\r\n"))
        asyncio.run(queue.put(taken(NOW + 2), b"x\r\n"))
        assert state(house.relay) == State(3, queue.count()["bytes"], 2, 1, 0, 0, NOW + 1, NOW + 2)
        assert reasons(house.relay, 5) == [("dkim x", 1, NOW)]
        assert reasons(house.relay, 0) == []


def test_a_drop_folder_that_everybody_may_use_is_a_fault(house: House) -> None:
    drop = house.relay / "drop"
    drop.mkdir()
    drop.chmod(0o3730)
    assert [one.state for one in house.the("drop folder")] == [OK]
    drop.chmod(0o1777)
    [finding] = house.the("drop folder")
    assert (finding.state, finding.advice) == (FAIL, f"chmod 3730 {drop}")


def test_mails_that_lie_in_the_drop_folder_or_were_refused_are_told(house: House) -> None:
    bad = house.relay / "drop" / "bad"
    bad.mkdir(parents=True)
    (house.relay / "drop").chmod(0o3730)
    (house.relay / "drop" / "1.mail").write_bytes(b"x")
    (bad / "2.mail").write_bytes(b"x")
    (bad / "2.mail.reason").write_bytes(b"x")
    house.now = (house.relay / "drop" / "1.mail").stat().st_mtime + HOUR
    waits, refused = house.the("drop folder")
    assert (waits.state, waits.found) == (FAIL, "1 mails lie there, the oldest for 60 minutes")
    assert (refused.state, refused.found) == (WARN, "1 mails were refused")


def test_users_and_keys_that_cannot_be_used_are_faults(house: House) -> None:
    UserFile(house.relay / "users.json").add("alice", None, UserRules())
    assert house.the("users") == [Finding(OK, "users", "1")]
    (house.relay / "users.json").chmod(0o644)
    [users] = house.the("users")
    assert (users.state, "chmod 640" in users.found) == (FAIL, True)
    key = KeyRing(house.relay / "keys").new("example.org", "s1")
    key.path.write_bytes(b"no key")
    assert [one.state for one in house.the("keys")] == [FAIL]


def test_less_room_than_the_reserve_is_a_fault(house: House) -> None:
    house.conf += "[relay.queue]\nreserve_bytes = 1_000_000_000_000_000_000\n"
    [room] = house.the("free space for the queue")
    assert (room.state, "452" in room.advice) == (FAIL, True)


def test_a_certificate_near_its_end_is_told(house: House, authority: Callable[[], tuple[Path, Path, float]]) -> None:
    chain, key, end = authority()
    house.conf = house.conf.replace("[relay.delivery]", f'certificate = "{chain}"\nkey = "{key}"\n[relay.delivery]')
    for now, wanted in ((end - 30 * 86_400, OK), (end - 86_400, WARN), (end + 1, FAIL)):
        house.now = now
        assert [one.state for one in house.the("certificate of [relay]")] == [wanted]


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


@contextmanager
def answering(said: bytes) -> Iterator[int]:
    """A port where somebody says this to one client."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:

        def serve() -> None:
            peer, _ = server.accept()
            with closing(peer):
                peer.sendall(said)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        thread.join()


@pytest.mark.parametrize(
    ("said", "wanted", "found"),
    [(b"220 mail.example.org ESMTP\r\n", OK, "answers"), (b"421 busy\r\n", WARN, "421 busy"), (b"", WARN, "closed")],
)
def test_a_listener_of_a_running_relay_must_greet(house: House, said: bytes, wanted: str, found: str) -> None:
    house.runs()
    with answering(said) as port:
        house.conf = CONF.replace("PORT", str(port))
        [finding] = house.the(f"port {port} ([[relay.listeners]] smtp)")
    assert (finding.state, found in finding.found) == (wanted, True)


def test_a_listener_that_nobody_serves_is_a_fault_when_the_relay_runs_and_a_free_port_when_not(house: House) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
    house.conf = CONF.replace("PORT", str(port))
    name = f"port {port} ([[relay.listeners]] smtp)"
    assert house.the(name) == [Finding(OK, name, "127.0.0.1: free")]
    house.runs()
    assert [one.state for one in house.the(name)] == [FAIL]


def test_a_dmarc_record_is_told_once(house: House) -> None:
    def told() -> list[str]:
        return [one.check for one in house.findings({}) if one.check.endswith("_dmarc.example.org")]

    assert told() == ["DMARC _dmarc.example.org"]
    house.conf += '[domains]\nwatched = ["example.org"]\n'
    assert told() == ["_dmarc.example.org"]


def test_the_dmarc_record_of_the_domain_above_counts_for_a_subdomain(house: House) -> None:
    house.conf = house.conf.replace("[receive]", '[receive]\nrua = ["rua@example.com"]')
    text = "v=DMARC1; p=none; rua=mailto:rua@example.com"
    answers: dict[tuple[str, str], Any] = {("TXT", "_dmarc.example.org"): [text.encode()]}
    consent = "example.org._report._dmarc.example.com"
    own = house.conf
    house.conf = own + '[domains]\nwatched = ["news.example.org"]\n'
    counts = Finding(OK, "_dmarc.news.example.org", f"none of its own; that of example.org counts: {text}")
    assert house.the("_dmarc.news.example.org", answers) == [counts]
    assert [one.state for one in house.the(consent, answers)] == [FAIL]
    house.conf = own + '[domains]\nwatched = ["example.org", "news.example.org"]\n'
    assert house.the("_dmarc.news.example.org", answers) == [counts]
    assert [one.state for one in house.the(consent, answers)] == [FAIL], "told once"
    assert [one.state for one in house.the("_dmarc.news.example.org", {})] == [FAIL]


def test_the_records_of_each_sender_are_looked_up_once(house: House) -> None:
    key = KeyRing(house.relay / "keys").new("example.org", "s1")
    house.conf = house.conf.replace('["@example.org"]', '["@example.org", "a@example.net"]')
    answers = {
        ("TXT", "example.org"): [b"v=spf1 ip4:192.0.2.25 ~all"],
        ("TXT", key.name): [record(key).encode()],
        ("PTR", "25.2.0.192.in-addr.arpa"): ["mail.example.org"],
        ("A", "mail.example.org"): ["192.0.2.25"],
    }
    assert house.the("resolver", answers) == [Finding(OK, "resolver", "answers")]
    assert [one.state for one in house.the(f"DKIM {key.name}", answers)] == [OK]
    assert [one.state for one in house.the("SPF example.org", answers)] == [OK]
    assert house.the("PTR 192.0.2.25", answers) == [Finding(OK, "PTR 192.0.2.25", "mail.example.org")]
    [nobody] = house.the("DKIM example.net", answers)
    assert (nobody.state, nobody.found) == (FAIL, "this host has no key that signs for it")
    del answers[("TXT", key.name)]
    [missing] = house.the(f"DKIM {key.name}", answers)
    assert missing.state == FAIL
    assert missing.advice.endswith("`dmarcview dns check example.org` prints the text.")
    answers[("PTR", "25.2.0.192.in-addr.arpa")] = []
    assert [one.state for one in house.the("PTR 192.0.2.25", answers)] == [FAIL]
