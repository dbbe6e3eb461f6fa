"""The outbox with real channels: what is sent and when, what a failing channel does to others, what a crash repeats."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import pytest
from alerts_server import Peer, http_peer
from relay_servers import FarHost, world
from sqlalchemy import event
from test_alerts_mail import body, free_port, read, setup, standing

from dmarcview.alerts import bundle, memory, post, relayfault, summary
from dmarcview.alerts.bundle import Told
from dmarcview.alerts.fault import NotTaken
from dmarcview.alerts.lane import LONGEST, WAITS, Lane
from dmarcview.alerts.machine import MANY, NOT_RUNNING
from dmarcview.alerts.model import CLEARED, OPENED, WORSE, Finding, Incident, Member
from dmarcview.alerts.post import Post
from dmarcview.config import Alerts, Config, Dashboard, Domains
from dmarcview.store import Store, StoreError, incidents

NOW = 1_793_862_720
DAY = 86_400
QUARTER = 900
FINDING = Finding(
    "dmarc_failing",
    "example.org",
    "192.0.2.10",
    date(2026, 11, 2),
    date(2026, 11, 3),
    120,
    "It fails.",
    120,
    400,
    0.012,
)
SECRET = "a key of more than sixteen"


class Patient(Post):
    """Whose steps wait until all channels are done."""

    def step(self, now: int, wait: float = 60.0) -> int:
        return super().step(now, wait)


@dataclass
class World:
    """A store, the settings, and the far ends: a mail host, a webhook, and a server that poses as ntfy."""

    store: Store
    config: Config
    mail: FarHost
    hook: Peer
    chat: Peer

    def post(self) -> Post:
        return Patient(self.config, self.store, resolver=world("127.0.0.1"))

    def find(self, *found: Finding, at: int = NOW) -> None:
        memory.settle(self.store.ledger, found, at)

    def errors(self) -> dict[str, str]:
        number = incidents.listed(self.store.ledger, NOW)[0].id
        return {one.channel: one.error for one in incidents.told(self.store.ledger, number)}


@pytest.fixture
def far(tmp_path: Path) -> Iterator[World]:
    with ExitStack() as stack:
        store = stack.enter_context(Store.open(tmp_path, clock=lambda: float(NOW)))
        mail = stack.enter_context(standing(FarHost()))
        hook, chat = stack.enter_context(http_peer()), stack.enter_context(http_peer())
        (tmp_path / "key").write_text(SECRET)
        (tmp_path / "chat.url").write_text(f"ntfy://tk_hush@{chat.place}/alarms?auth=token")
        alerts = Alerts(
            mail_to=("admin@far.test",), channels={"chat": str(tmp_path / "chat.url")},
            webhook=f"http://{hook.place}/hook", webhook_secret_file=str(tmp_path / "key"), link="https://pages.example.org",
        )  # fmt: skip
        config = replace(setup(tmp_path, free_port(), mail.port), alerts=alerts, domains=Domains(("example.org",)))
        yield World(store, config, mail, hook, chat)


def test_every_channel_gets_the_message_once(far: World) -> None:
    made = far.post()
    far.find(FINDING)
    assert (made.ask(NOW + QUARTER), made.step(NOW + QUARTER)) == (3, 3)
    assert (made.ask(NOW + 2 * QUARTER), made.step(NOW + 2 * QUARTER)) == (0, 0)
    assert (len(far.mail.mails), len(far.hook.posted), len(far.chat.posted)) == (1, 1, 1)
    assert "Mail of example.org fails DMARC" in str(read(far.mail.mails[0])["Subject"])
    told = json.loads(far.hook.posted[0].body)
    assert (told["type"], told["data"]["title"]) == ("incident.opened", "Mail of example.org fails DMARC: 192.0.2.10")
    assert json.loads(far.chat.posted[0].body)["title"] == "Mail of example.org fails DMARC: 192.0.2.10"
    assert far.errors() == {"mail": "", "webhook": "", "chat": ""}


def test_what_got_worse_says_what_was_told_and_what_cleared_ends_it(far: World) -> None:
    made = far.post()
    far.find(FINDING)
    made.ask(NOW + QUARTER)
    made.step(NOW + QUARTER)
    far.find(replace(FINDING, weight=500, failed=500, total=900), at=NOW + DAY)
    made.ask(NOW + 2 * DAY)
    made.step(NOW + 2 * DAY)
    far.find(replace(FINDING, cleared=date(2026, 11, 7)), at=NOW + 3 * DAY)
    made.ask(NOW + 3 * DAY)
    made.step(NOW + 3 * DAY)
    told = [json.loads(one.body) for one in far.hook.posted]
    assert [one["type"] for one in told] == ["incident.opened", "incident.worse", "incident.cleared"]
    assert [one["data"]["weight_before"] for one in told] == [0, 120, 500]
    assert "told last: 120" in body(read(far.mail.mails[1]), "plain")
    assert "Cleared: 8 Nov 2026" in body(read(far.mail.mails[2]), "plain")


def test_one_failing_channel_holds_up_no_other_and_is_tried_again_ever_later(far: World) -> None:
    far.hook.answers = [(503, {}, b"later")]
    made = far.post()
    far.find(FINDING)
    now = NOW + QUARTER
    made.ask(now)
    assert made.step(now) == 2
    assert (len(far.mail.mails), len(far.chat.posted)) == (1, 1)
    assert far.errors()["webhook"] == "127.0.0.1 answered 503"
    for wait in WAITS:
        assert made.step(now + wait - 1) == 0
        tries = len(far.hook.posted)
        now += wait
        made.step(now)
        assert len(far.hook.posted) == tries + 1
    made.step(now + 10 * DAY)
    assert len(far.hook.posted) == 1 + len(WAITS), "given up"
    assert incidents.waiting(far.store.ledger, NOW) == (0, 1)
    assert len({one.headers["webhook-id"] for one in far.hook.posted}) == 1


@pytest.fixture
def hang(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """The webhook answers nobody until this is set."""
    let_go = threading.Event()
    monkeypatch.setattr(post.webhook, "send", lambda *_: let_go.wait(60))
    yield let_go
    let_go.set()


def test_many_messages_of_a_channel_that_hangs_delay_no_other(far: World, hang: threading.Event) -> None:
    far.find(FINDING)
    incidents.ask(far.store.ledger, [(1, "opened", "webhook", 1)] * 1_500, NOW)
    incidents.ask(far.store.ledger, [(1, "opened", "mail", 1), (1, "opened", "chat", 1)], NOW + 1)
    made = Post(far.config, far.store, resolver=world("127.0.0.1"))
    begin = time.monotonic()
    made.step(NOW + 1)
    assert time.monotonic() - begin < 10, "no step waits for the slowest"
    until = time.monotonic() + 30
    while not (far.mail.mails and far.chat.posted) and time.monotonic() < until:
        time.sleep(0.05)
    assert (len(far.mail.mails), len(far.chat.posted)) == (1, 1)
    incidents.ask(far.store.ledger, [(1, "worse", "mail", 1)], NOW + 2)
    while len(far.mail.mails) < 2 and time.monotonic() < until:
        made.step(NOW + 2)
    assert len(far.mail.mails) == 2, "and the next step serves the others while it still hangs"


def test_the_end_waits_for_no_channel_that_hangs(far: World, hang: threading.Event) -> None:
    far.find(FINDING)
    incidents.ask(far.store.ledger, [(1, "opened", "webhook", 1)] * 3, NOW)
    made = Post(far.config, far.store)
    made.step(NOW, 0.1)
    begin = time.monotonic()
    made.stop()
    assert time.monotonic() - begin < 5
    hang.set()
    made._lanes["webhook"].join(10)
    assert incidents.waiting(far.store.ledger, NOW) == (2, 0), "what was under way is noted, the others wait"


def test_a_process_ends_at_once_though_a_channel_hangs(tmp_path: Path) -> None:
    code = """
        import sys, threading, time
        from dmarcview.alerts import post, memory
        from dmarcview.alerts.fault import NotTaken
        from dmarcview.config import Alerts, Config
        from dmarcview.store import Store, StoreError, incidents
        store = Store.open(sys.argv[1])
        incidents.ask(store.ledger, [(1, "opened", "webhook", 1)], 1)
        made = post.Post(Config(alerts=Alerts(webhook="http://192.0.2.1/")), store)
        made._send = lambda *_: time.sleep(600)
        made.step(2, 0.1)
        made.stop()
    """
    begin = time.monotonic()
    subprocess.run([sys.executable, "-c", textwrap.dedent(code), str(tmp_path)], check=True, timeout=60)
    assert time.monotonic() - begin < 45


def test_after_a_failure_the_rest_of_the_channel_waits_with_it(far: World) -> None:
    far.hook.answers = [(503, {}, b"later")]
    far.find(FINDING)
    incidents.ask(far.store.ledger, [(1, "opened", "webhook", 1)] * 4, NOW)
    made = far.post()
    for second in range(60):
        made.step(NOW + second)
    assert len(far.hook.posted) == 1
    made.step(NOW + 60)
    assert len(far.hook.posted) == 2
    assert far.hook.posted[0].headers["webhook-id"] != far.hook.posted[1].headers["webhook-id"], "the next one first"
    far.hook.answers = [(200, {}, b"")]
    assert made.step(NOW + 359) == 0
    assert made.step(NOW + 360) == 4


def test_a_clock_that_is_set_back_keeps_no_channel_waiting(far: World) -> None:
    far.hook.answers = [(503, {}, b"later")]
    far.find(FINDING)
    incidents.ask(far.store.ledger, [(1, "opened", "webhook", 1)], NOW)
    made = far.post()
    made.step(NOW + 30 * DAY)
    far.hook.answers = [(200, {}, b"")]
    incidents.ask(far.store.ledger, [(1, "worse", "webhook", 1)], NOW)
    assert made.step(NOW) == 1


def test_what_waited_for_a_channel_all_the_while_is_given_up_with_it(far: World) -> None:
    far.hook.answers = [(503, {}, b"later")]
    far.find(FINDING)
    incidents.ask(far.store.ledger, [(1, "opened", "webhook", 1)] * 20, NOW)
    made, now = far.post(), NOW
    for wait in (0, *WAITS):
        now += wait
        made.step(now)
        incidents.ask(far.store.ledger, [(1, "worse", "webhook", 1)], now + 1)
    assert now == NOW + LONGEST
    assert incidents.waiting(far.store.ledger, NOW) == (len(WAITS) + 1, 20), "what was asked for later waits on"


def test_one_message_that_a_channel_never_takes_keeps_no_other_from_it(
    far: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    far.find(FINDING)
    incidents.ask(far.store.ledger, [(1, "opened", "webhook", 1)] * 3, NOW)
    bad, sent = incidents.due(far.store.ledger, NOW)[0].id, []

    def hook(_: str, __: bytes, name: str, *___: object) -> None:
        sent.append(name)
        if name.endswith(f"_{bad}"):
            raise NotTaken("never this one")

    monkeypatch.setattr(post.webhook, "send", hook)
    made = far.post()
    made.step(NOW)
    made.step(NOW + 60)
    assert len(set(sent)) == 3
    assert incidents.waiting(far.store.ledger, NOW) == (1, 0)


def test_a_crash_after_the_channels_yes_sends_it_again_under_the_same_name(
    far: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    far.find(FINDING)
    made = far.post()
    made.ask(NOW + QUARTER)
    real = incidents.tried

    def dies(*_: object, **__: object) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(incidents, "tried", dies)
    made.step(NOW + QUARTER)
    assert made.step(NOW + QUARTER + 1) == 0, "not again each second"
    monkeypatch.setattr(incidents, "tried", real)
    assert far.post().step(NOW + QUARTER + 1) == 3
    first, second = (read(raw)["Message-ID"] for raw in far.mail.mails)
    assert first == second
    ids = [one.headers["webhook-id"] for one in far.hook.posted]
    assert (len(ids), len(set(ids))) == (2, 1)


def test_recipients_that_have_a_mail_are_spared_the_next_try(far: World) -> None:
    far.mail.answers = {"RCPT": [b"250 ok\r\n", b"450 later\r\n"]}
    far.config = replace(
        far.config, alerts=replace(far.config.alerts, mail_to=("a@far.test", "b@far.test"), channels={}, webhook="")
    )
    made = far.post()
    far.find(FINDING)
    made.ask(NOW + QUARTER)
    assert made.step(NOW + QUARTER) == 0
    assert far.errors() == {"mail": "some recipients have it: b@far.test: 450 later"}
    assert made.step(NOW + QUARTER + 60) == 1
    recipients = [line for line in far.mail.commands if line.startswith("RCPT")]
    assert recipients == ["RCPT TO:<a@far.test>", "RCPT TO:<b@far.test>", "RCPT TO:<b@far.test>"]


def test_recipients_that_have_a_mail_are_spared_it_when_more_has_come_to_it(far: World) -> None:
    far.mail.answers = {"RCPT": [b"250 ok\r\n", b"450 later\r\n"]}
    far.config = replace(
        far.config, alerts=replace(far.config.alerts, mail_to=("a@far.test", "b@far.test"), channels={}, webhook="")
    )
    made = far.post()
    first = [replace(FINDING, domain=f"d{n}.example") for n in range(11)]
    far.find(*first)
    made.ask(NOW + QUARTER)
    assert made.step(NOW + QUARTER) == 0
    far.mail.answers = {}
    far.find(*first, *(replace(FINDING, domain=f"e{n}.example") for n in range(2)), at=NOW + QUARTER)
    made.ask(NOW + 2 * QUARTER)
    assert made.step(NOW + 2 * QUARTER) == 13
    sent = [(str(read(raw)["To"]), str(read(raw)["Subject"]).split("] ")[1]) for raw in far.mail.mails]
    assert sorted(sent) == [
        ("a@far.test, b@far.test", "11 incidents opened"),
        ("a@far.test, b@far.test", "2 incidents opened"),
        ("b@far.test", "11 incidents opened"),
    ]
    assert made._had == {}


def test_what_some_recipients_never_take_is_given_up_told_and_forgotten(far: World) -> None:
    far.mail.answers = {"RCPT": [b"250 ok\r\n", b"450 later\r\n"]}
    far.config = replace(
        far.config, alerts=replace(far.config.alerts, mail_to=("a@far.test", "b@far.test"), channels={}, webhook="")
    )
    made, now = far.post(), NOW + QUARTER
    far.find(FINDING)
    made.ask(now)
    for wait in (0, *WAITS):
        far.mail.answers = {"RCPT": [b"450 later\r\n"]} if wait else far.mail.answers
        now += wait
        made.step(now)
    assert incidents.waiting(far.store.ledger, NOW) == (0, 1)
    assert made.ask(now + 3 * DAY) == 0, "some have heard of it"
    far.mail.answers = {}
    far.find(FINDING, replace(FINDING, domain="other.example"), at=now)
    assert (made.ask(now + DAY), made.step(now + DAY)) == (1, 1)
    assert made._had == {}


def test_a_message_that_was_given_up_is_sent_when_the_channel_is_back(far: World) -> None:
    far.hook.answers = [(503, {}, b"later")]
    far.config = replace(far.config, alerts=replace(far.config.alerts, mail_to=(), channels={}))
    made, now = far.post(), NOW + QUARTER
    far.find(FINDING)
    assert made.ask(now) == 1
    for wait in (0, *WAITS):
        now += wait
        made.step(now)
    assert incidents.waiting(far.store.ledger, NOW) == (0, 1)
    far.hook.answers = [(200, {}, b"")]
    assert made.ask(now + 60) == 0
    assert (made.ask(NOW + QUARTER + DAY), made.step(NOW + QUARTER + DAY)) == (1, 1)
    told = json.loads(far.hook.posted[-1].body)
    assert (told["type"], told["data"]["weight_before"]) == ("incident.opened", 0)
    assert made.ask(NOW + 9 * DAY) == 0


@pytest.mark.parametrize("what", ["ack", "mute", "end"])
def test_a_message_that_waits_is_not_sent_when_nobody_wants_it_any_more(far: World, what: str) -> None:
    far.hook.answers = [(503, {}, b"later")]
    far.config = replace(far.config, alerts=replace(far.config.alerts, mail_to=(), channels={}))
    made, now, ledger = far.post(), NOW + QUARTER, far.store.ledger
    far.find(FINDING)
    made.ask(now)
    assert made.step(now) == 0
    far.hook.answers = [(200, {}, b"")]
    (row,) = incidents.listed(ledger, now)
    match what:
        case "ack":
            incidents.acknowledge(ledger, row.id, author="ann", note="", now=now)
        case "mute":
            incidents.mute(ledger, row.fingerprint, now + DAY, author="ann", note="", now=now)
        case "end":
            far.find(at=now)
    assert made.step(now + 60) == 0
    assert incidents.waiting(ledger, NOW) == (0, 0)
    assert made.ask(now + 120) == 0, "and no end of what nobody heard of"
    assert len(far.hook.posted) == 1
    assert made.ask(now + DAY) == (what == "mute"), "when the mute ends it is told"


def test_one_message_about_many_leaves_out_what_was_acknowledged_while_it_waited(far: World) -> None:
    far.config = replace(far.config, alerts=replace(far.config.alerts, mail_to=(), webhook=""))
    far.chat.answers = [(503, {}, b"later"), (200, {}, b"{}")]
    far.find(*(replace(FINDING, domain=f"d{n}.example") for n in range(12)))
    made = far.post()
    made.ask(NOW + QUARTER)
    made.step(NOW + QUARTER)
    for row in incidents.listed(far.store.ledger, NOW)[:3]:
        incidents.acknowledge(far.store.ledger, row.id, author="ann", note="", now=NOW + QUARTER)
    made.step(NOW + QUARTER + 60)
    titles = [json.loads(one.body)["title"] for one in far.chat.posted]
    assert titles == ["12 incidents opened", "9 incidents opened"]
    assert incidents.waiting(far.store.ledger, NOW) == (0, 0)


def fault(kind: str, cause: str, weight: int = 3, domain: str = "", *members: str) -> Finding:
    day = date(2026, 11, 5)
    return Finding(kind, domain, cause, day, day, weight, "So.", members=tuple(Member(one, 1, 1) for one in members))


def test_mail_about_the_relay_itself_goes_past_it(far: World) -> None:
    far.find(fault("queue_stuck", NOT_RUNNING))
    made = far.post()
    made.ask(NOW + QUARTER)
    made.step(NOW + QUARTER)
    said = body(read(far.mail.mails[0]), "plain")
    assert f"past the relay: the relay may be the fault (Mail waits in the relay: {NOT_RUNNING})" in said


@pytest.mark.parametrize(
    ("found", "past"),
    [
        (fault("queue_stuck", NOT_RUNNING), True),
        (fault("queue_stuck", "mail to slow.example", 900, "", "slow.example"), False),
        (fault("queue_stuck", "mail to far.test", 1, "", "far.test"), True),
        (fault("queue_stuck", MANY, 99, "", "a.example", "b.example", "c.example", "d.example"), False),
        (fault("queue_stuck", MANY, 4, "", "a.example", "b.example", "c.example", "far.test"), True),
        (fault("queue_stuck", MANY, 100, "", "a.example", "b.example", "c.example", "d.example"), True),
        (fault("mail_held", "held by hand"), False),
        (fault("mail_held", "the key of selector s1 of other.example", 3, "other.example"), False),
        (fault("mail_held", "the key of selector s1 of example.org", 3, "example.org"), True),
        (fault("key_missing", "selector s1 of other.example", 3, "other.example", "other.example"), False),
        (fault("key_missing", "selector s1 of example.org", 3, "example.org", "example.org"), True),
        (fault("key_missing", "selector s1 of other.example", 3, "other.example", "example.org"), True),
        (FINDING, False),
    ],
)
def test_only_what_keeps_these_mails_from_leaving_sends_them_past_the_relay(found: Finding, past: bool) -> None:
    assert bool(relayfault.why([FINDING, found], "example.org", ["far.test"])) is past


def test_the_summary_goes_out_once_though_the_process_starts_anew(far: World) -> None:
    monday = 1_793_602_800  # 2 Nov 2026 07:00 UTC
    for minutes in (0, 5, 10, 600):
        made = far.post()
        made.ask(monday + minutes * 60)
        made.step(monday + minutes * 60)
    assert [str(read(raw)["Subject"]).split("] ")[1] for raw in far.mail.mails] == [
        "Your mail in the week from 25 Oct 2026 to 31 Oct 2026"
    ]
    assert not far.hook.posted


def test_no_secret_is_kept_or_logged(far: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "dmarcview")
    far.hook.answers = far.chat.answers = [(401, {}, b"no")]
    far.config = replace(
        far.config, alerts=replace(far.config.alerts, webhook=far.config.alerts.webhook + "?t=tk_hush")
    )
    made = far.post()
    far.find(FINDING)
    made.ask(NOW + QUARTER)
    made.step(NOW + QUARTER)
    assert far.errors()["chat"] == "ntfy: the service answered 401 Unauthorized"
    ours = "".join(record.getMessage() for record in caplog.records if record.name.startswith("dmarcview"))
    assert "webhook: message" in ours
    for text in (ours, *far.errors().values()):
        assert "hush" not in text
        assert SECRET not in text


def test_what_can_never_go_out_does_not_stop_what_can(far: World, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = far.store.ledger
    incidents.ask(ledger, [(99, "opened", "mail", 1), (None, "digest", "mail", 0), (None, "test", "gone", 0)], NOW)

    def broken(*_: object) -> None:
        raise RuntimeError("tk_hush")

    monkeypatch.setattr(summary, "message", broken)
    made = far.post()
    far.find(FINDING)
    made.ask(NOW + QUARTER)
    made.step(NOW + QUARTER)
    made.step(NOW + QUARTER)
    errors = {one.error for one in (*incidents.told(ledger, None), *incidents.told(ledger, 99))}
    assert "[alerts] names no channel gone any more" in errors
    assert "the incident is no longer kept" in errors
    assert any(one.startswith("a fault of ours: RuntimeError at ") and "hush" not in one for one in errors)
    assert len(far.mail.mails) == 1
    assert incidents.waiting(ledger, NOW) == (1, 2), "only our own fault is tried again"


def test_a_test_message_says_of_each_channel_how_it_went(far: World) -> None:
    far.chat.answers = [(404, {}, b"")]
    results = post.try_channels(far.config, far.store, resolver=world("127.0.0.1"))
    assert [(one.channel, one.taken) for one in results] == [("mail", True), ("webhook", True), ("chat", False)]
    assert results[0].text.startswith("past the relay: no relay answers")
    assert results[2].text == "ntfy: the service answered 404 Not Found"
    assert json.loads(far.hook.posted[0].body)["type"] == "test"
    assert str(read(far.mail.mails[0])["Subject"]).endswith("A test of the channel mail")
    assert not incidents.told(far.store.ledger, None), "past the outbox"


def test_without_channels_nothing_is_asked_for(far: World) -> None:
    far.config = replace(far.config, alerts=Alerts())
    far.find(FINDING)
    assert far.post().ask(NOW + DAY) == 0


def test_a_channel_that_is_added_later_hears_of_what_is_open_and_of_its_end_only_who_heard_of_it(far: World) -> None:
    both = far.config
    far.config = replace(both, alerts=replace(both.alerts, channels={}, webhook=""))
    far.find(FINDING)
    made = far.post()
    assert (made.ask(NOW + QUARTER), made.step(NOW + QUARTER)) == (1, 1)
    far.config = replace(both, alerts=replace(both.alerts, channels={}))
    made = far.post()
    assert (made.ask(NOW + 2 * QUARTER), made.step(NOW + 2 * QUARTER)) == (1, 1)
    assert [json.loads(one.body)["type"] for one in far.hook.posted] == ["incident.opened"]
    far.find(at=NOW + DAY)
    far.config = both
    made = far.post()
    assert (made.ask(NOW + DAY), made.step(NOW + DAY)) == (2, 2)
    assert (len(far.mail.mails), len(far.hook.posted), len(far.chat.posted)) == (2, 2, 0)


def test_a_flood_of_incidents_is_one_message_a_channel_and_one_post_each_for_programs(
    far: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(post, "HOOK_PAUSE", 0.02)
    grave = Finding("not_sent", "example.org", "192.0.2.99", date(2026, 11, 2), date(2026, 11, 2), 3, "Forged.", 3, 9)
    many = [
        Finding("forged", "example.org", f"wave {n}", grave.first_day, grave.last_day, 50 + n, "") for n in range(36)
    ]
    far.find(*many, grave)
    made = far.post()
    assert made.ask(NOW + QUARTER) == 3 * 37
    begin = time.monotonic()
    assert made.step(NOW + QUARTER) == 3 * 37
    assert time.monotonic() - begin > 36 * 0.02, "bounded in rate"
    assert (len(far.mail.mails), len(far.hook.posted), len(far.chat.posted)) == (1, 37, 1)
    assert incidents.waiting(far.store.ledger, NOW) == (0, 0)
    assert str(read(far.mail.mails[0])["Subject"]).endswith("37 incidents opened")
    told = json.loads(far.chat.posted[0].body)
    assert told["title"] == "37 incidents opened"
    lines = body(read(far.mail.mails[0]), "plain").splitlines()
    assert lines[2:5] == [
        "1. Reported from our address, never sent by the relay: 192.0.2.99",
        "   Since 2 Nov 2026; 3 of 9 messages (33.3 %)",
        "   https://pages.example.org/alerts",
    ]
    assert lines[5] == "2. A wave of forged mail in the name of example.org: wave 35"
    assert [line for line in lines if line[:1].isdigit()][-1].startswith("20. ")
    assert "and 17 more" in lines
    assert "https://pages.example.org/alerts" in body(read(far.mail.mails[0]), "html")
    far.find()
    assert made.ask(NOW + 2 * QUARTER) == 3 * 37
    made.step(NOW + 2 * QUARTER)
    assert str(read(far.mail.mails[1])["Subject"]).endswith("37 incidents ended")


def test_a_flood_that_is_not_taken_is_tried_again_whole_and_ten_go_one_by_one(far: World) -> None:
    far.config = replace(far.config, alerts=replace(far.config.alerts, webhook="", mail_to=()))
    far.chat.answers = [(503, {}, b"later")]
    old = [replace(FINDING, domain=f"d{n}.example") for n in range(12)]
    far.find(*old)
    made = far.post()
    now = NOW + QUARTER
    made.ask(now)
    for wait in (0, *WAITS):
        now += wait
        made.step(now)
    assert len(far.chat.posted) == 1 + len(WAITS)
    assert incidents.waiting(far.store.ledger, NOW) == (0, 12)
    far.chat.posted.clear()
    far.chat.answers = [(200, {}, b"{}")]
    far.find(*old, *(replace(FINDING, domain=f"e{n}.example") for n in range(10)), at=now)
    made.ask(now + QUARTER)
    far.post().step(now + QUARTER)
    titles = [json.loads(one.body)["title"] for one in far.chat.posted]
    assert len([one for one in titles if "fails DMARC" in one]) == 10


def test_what_opened_and_cleared_while_a_channel_was_away_is_told_as_cleared(far: World) -> None:
    found = [replace(FINDING, domain=f"d{n}.example") for n in range(6)]
    told = [Told(event, incident, 1) for event in (OPENED, CLEARED) for incident in memory_of(found)]
    made = bundle.message([*told, Told(WORSE, replace(told[0].incident, id=99), 7)], "https://pages.example.org/")
    assert made.title == "1 incident got worse, 6 ended"
    assert made.text.count("Cleared: ") == 6
    assert "1. Worse: " in made.text
    assert "told last: 7" in made.text


def memory_of(found: list[Finding]) -> list[Incident]:
    return [Incident(number, one, NOW, NOW, NOW) for number, one in enumerate(found, 1)]


def test_where_nothing_has_changed_it_is_asked_by_the_minute(far: World) -> None:
    far.find(*(replace(FINDING, cause=f"192.0.2.{n}") for n in range(50)))
    asked: list[str] = []
    event.listen(far.store.ledger.engine, "before_cursor_execute", lambda *args: asked.append(args[2]))

    def looks() -> int:
        assert len(asked) <= 3 * 59
        found = sum("FROM incidents JOIN notices" in one for one in asked)
        asked.clear()
        return found

    made = far.post()
    made.ask(NOW)
    assert looks() == 1, "one question for all of them"
    for second in range(59):
        assert made.ask(NOW + second) == 0
    assert looks() == 0
    incidents.mute(far.store.ledger, "x y z", NOW + DAY, author="ann", note="", now=NOW)
    made.ask(NOW + 59)
    assert looks() == 1, "a change is heard at once"
    assert made.ask(NOW + QUARTER) == 150, "and the time that has come"


@pytest.mark.parametrize(
    ("link", "listen", "prefix", "wanted"),
    [
        ("https://a.example/x/", "127.0.0.1", "/", "https://a.example/x/"),
        ("", "127.0.0.1", "/mail/", "http://127.0.0.1:8080/mail"),
        ("", "::1", "/", "http://[::1]:8080/"),
    ],
)
def test_links_lead_to_where_the_pages_are(link: str, listen: str, prefix: str, wanted: str) -> None:
    config = Config(alerts=Alerts(link=link), dashboard=Dashboard(listen=listen, prefix=prefix))
    assert post.base(config) == wanted


def test_what_waits_behind_a_mail_that_some_have_was_told_to_nobody(far: World) -> None:
    far.find(FINDING, replace(FINDING, domain="behind.example"))
    rows = incidents.listed(far.store.ledger, NOW, open_only=True)
    incidents.ask(far.store.ledger, [(row.id, "opened", "mail", row.weight) for row in rows], NOW)
    first, behind = incidents.due(far.store.ledger, NOW)

    def send(_: object, __: int) -> None:
        raise NotTaken(f"{incidents.PARTLY}b@far.test: 450 later")

    lane = Lane("mail", far.store.ledger, send, lambda batch, _: batch, threading.Event())
    for now in (NOW, *(NOW + LONGEST + n for n in range(len(WAITS)))):
        lane.start([[first._replace(tries=len(WAITS))], [behind]], now)
        lane.join(10)
    told = {one.id: one for row in rows for one in incidents.told(far.store.ledger, row.id)}
    assert (told[first.id].told, told[first.id].given_up) == (True, False)
    assert (told[behind.id].told, told[behind.id].given_up, told[behind.id].error) == (
        False, True, "b@far.test: 450 later",
    )  # fmt: skip
