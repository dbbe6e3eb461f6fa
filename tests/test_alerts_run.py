"""The clock of alerts, and the commands: from a report that comes in to a message that goes out."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from dmarcview.alerts import memory, run
from dmarcview.alerts.evaluate import evaluate
from dmarcview.alerts.model import Finding
from dmarcview.cli import main
from dmarcview.config import Config, read
from dmarcview.library import Library
from dmarcview.store import StoreError
from dmarcview.store.facts import SourceRow
from dmarcview_reports.trust_dns import FixedResolver
from tests.alerts_server import Peer, http_peer
from tests.reconcile_world import seen, told
from tests.store_data import D0, DAY

DAYS = 50
BEGIN = float(D0 + DAYS * DAY + DAY // 2)
OURS = "192.0.2.10"
CONF = """
[data]
dir = "data"
[domains]
watched = ["example.org"]
own_networks = ["192.0.2.0/24"]
[alerts]
webhook = "http://127.0.0.1:{port}/hook"
webhook_secret_file = "secret"
"""


FAULT = Finding("intake_fault", "", "the disk is full", date(2026, 2, 20), date(2026, 2, 20), 1, "It is full.")


@dataclass
class World:
    """A store with weeks of good mail, a clock, a DNS, and a webhook that somebody listens on."""

    folder: Path
    config: Config
    store: Library
    hook: Peer
    first: int = 0  # day of its first reports, counted from D0
    now: float = BEGIN
    answers: dict[tuple[str, str], Sequence[Any]] = field(default_factory=dict)

    def report(self, day: int, result: str = "pass", signature: str | None = None) -> None:
        for by in ("far.test", "away.test"):
            row = (OURS, 30, seen(signature, result))
            self.store.append_many([told(row, day=day + self.first, by=by)])

    def failing(self) -> None:
        """Two more days, on which all of it fails, as two receivers say."""
        for day in (DAYS, DAYS + 1):
            self.report(day, "fail")
        self.now = BEGIN + 2 * DAY

    def alerts(self) -> run.Alerts:
        store = Library.open(self.folder / "data", read_only=False, clock=lambda: self.now)
        return run.Alerts(self.config, store, ask=lambda: FixedResolver(self.answers), clock=lambda: self.now)

    def open_now(self) -> list[tuple[str, str]]:
        found = memory.listed(self.store.ledger, int(self.now), open_only=True)
        return [(one.finding.kind, one.finding.cause) for one in found]

    def posted(self) -> list[tuple[str, str]]:
        bodies = [json.loads(one.body) for one in self.hook.posted]
        return [(body["type"], body["data"]["kind"]) for body in bodies]


@contextmanager
def made_up(folder: Path, first: int = 0, signature: str | None = None) -> Iterator[World]:
    with http_peer() as hook:
        text = CONF.replace("{port}", str(hook.port))
        (folder / "secret").write_text("a secret of some length")
        (folder / "dmarcview.toml").write_text(text)
        made: World
        with Library.open(folder / "data", read_only=False, clock=lambda: made.now) as store:
            made = World(folder, read(text, {}, folder), store, hook, first, BEGIN + first * DAY)
            for day in range(DAYS):
                made.report(day, signature=signature)
            store.put_sources([SourceRow("example.org", OURS, "own", first_seen=D0)])
            yield made


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with made_up(tmp_path) as made:
        yield made


def test_a_failure_that_comes_in_is_judged_told_and_ends(world: World) -> None:
    world.failing()
    alerts = world.alerts()
    assert not alerts.step(), "more may come in the next seconds"
    world.now += run.QUIET + 1
    assert alerts.step()
    assert world.open_now() == [("dmarc_failing", OURS)]
    alerts._send()
    assert world.hook.posted == [], "its members may still gather"
    world.now += 1_000
    alerts._send()
    alerts._send()
    assert [kind for _, kind in world.posted()] == ["dmarc_failing"]
    for day in range(DAYS + 2, DAYS + 10):
        world.report(day)
        world.now = D0 + (day + 1) * DAY + DAY // 2
    assert alerts.step()
    assert world.open_now() == []
    alerts._send()
    assert [kind for _, kind in world.posted()] == ["dmarc_failing", "dmarc_failing"]
    assert len({name for name, _ in world.posted()}) == 2
    alerts.stop()


def test_a_fault_of_this_machine_does_not_wait_for_the_hour(world: World) -> None:
    alerts = world.alerts()
    alerts.step()
    world.now += run.QUIET + 1
    assert alerts.step()
    world.now += 120
    assert not alerts.step()
    alerts.watching.machine.findings = lambda: [FAULT]  # type: ignore[method-assign]
    world.now += 120
    assert alerts.step()
    assert world.open_now() == [("intake_fault", "the disk is full")]
    alerts.stop()


def test_a_fault_of_this_machine_waits_for_a_look_that_rests_or_fails_and_is_not_lost(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    alerts = world.alerts()
    alerts.step()
    world.now += 120
    assert alerts.step()
    alerts._next = world.now + 300  # as after a look that took 30 s
    world.now += 70
    alerts.watching.machine.findings = lambda: [FAULT]  # type: ignore[method-assign]
    assert not alerts.step(), "it rests"
    world.now += 300
    real, broken = run.check, iter([True, False])

    def check(*args: Any) -> Any:
        if next(broken):
            raise StoreError("the ledger is locked")
        return real(*args)

    monkeypatch.setattr(run, "check", check)
    with pytest.raises(StoreError):
        alerts.step()
    world.now += 10
    assert alerts.step()
    assert world.open_now() == [("intake_fault", "the disk is full")]
    alerts.stop()


def test_a_clock_that_was_set_back_stops_nothing(world: World) -> None:
    alerts = world.alerts()
    alerts.step()
    world.now += run.QUIET + 1
    assert alerts.step()
    world.now -= 3 * DAY
    world.report(DAYS - 1)
    assert not alerts.step()
    world.now += run.QUIET + 1
    assert alerts.step()
    alerts.stop()


def test_without_news_it_looks_by_the_hour(world: World) -> None:
    alerts = world.alerts()
    alerts.step()
    world.now += run.QUIET + 1
    assert alerts.step()
    world.now += run.HOURLY / 2
    assert not alerts.step()
    world.now += run.HOURLY / 2
    assert alerts.step()
    alerts.stop()


def test_news_without_end_are_judged_all_the_same(world: World) -> None:
    alerts = world.alerts()
    looked = []
    for second in range(0, 80, 4):
        world.store.append_many([told((OURS, 1, seen(None)), day=1, by=f"r{second}.test")])
        looked.append(alerts.step())
        world.now += 4
    assert 1 <= sum(looked) <= 2
    alerts.stop()


def test_a_missing_key_stands_for_what_it_makes_fail(tmp_path: Path) -> None:
    name = ("TXT", "s1._domainkey.example.org")
    with made_up(tmp_path, signature="pass") as world:
        world.answers |= {("TXT", "example.org"): [b"v=spf1 ip4:192.0.2.0/24 -all"], name: [b"v=DKIM1; p=MAo="]}
        watching = run.watches(world.config, world.store, ask=lambda: FixedResolver(world.answers),
                               clock=lambda: world.now)  # fmt: skip
        for _ in range(3):
            watching.dns.step()
            world.now += 4 * 3_600
        assert run.check(world.store, world.config, int(world.now), watching) == []
        del world.answers[name]
        for day in (DAYS, DAYS + 1):
            world.report(day, signature="fail")
            world.now = D0 + (day + 1) * DAY + DAY // 2
            watching.dns.step()
        assert [one.kind for one in evaluate(world.store, world.config, int(world.now))] == ["dkim_failing"]
        run.check(world.store, world.config, int(world.now), watching)
        (one,) = memory.listed(world.store.ledger, int(world.now), open_only=True)
        assert (one.finding.kind, one.finding.cause) == ("key_missing", "selector s1 of example.org")
        assert any("DKIM fails" in member.name for member in one.finding.members)


def test_the_threads_run_and_end(world: World) -> None:
    world.failing()
    store = Library.open(world.folder / "data", read_only=False)
    began = time.monotonic()
    alerts = run.Alerts(world.config, store, ask=lambda: FixedResolver({}),
                        clock=lambda: BEGIN + 2 * DAY + 100 * (time.monotonic() - began))  # fmt: skip
    alerts.start()
    until = time.monotonic() + 60
    while not world.posted() and time.monotonic() < until:
        time.sleep(0.05)
    alerts.stop()
    assert [kind for _, kind in world.posted()] == ["dmarc_failing"]
    assert not alerts.is_alive()


def ask(world: World, capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    capsys.readouterr()
    assert main(["alerts", *words, "--config", str(world.folder / "dmarcview.toml")]) == code
    return capsys.readouterr().out


def test_the_commands_list_show_acknowledge_and_mute(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert "Nothing is wrong" in ask(world, capsys, "list")
    world.failing()
    watching = run.watches(world.config, world.store, ask=lambda: FixedResolver({}), clock=lambda: world.now)
    run.check(world.store, world.config, int(world.now), watching)
    (one,) = json.loads(ask(world, capsys, "list", "--json"))
    number = str(one["id"])
    assert (one["kind"], one["cause"], one["failed"], one["total"]) == ("dmarc_failing", OURS, 120, 120)
    shown = ask(world, capsys, "show", number)
    for words in ("120 of 120", "when it happened", "when we knew", "dmarcview sources --domain example.org", "usual"):
        assert words in shown
    ask(world, capsys, "ack", number, "--note", "mended soon")
    ask(world, capsys, "mute", number, "--days", "2")
    assert "acknowledged by" in ask(world, capsys, "show", number)
    (one,) = json.loads(ask(world, capsys, "list", "--json"))
    assert one["note"] == "mended soon"
    assert one["acked"] is not None
    assert one["muted_until"] is not None
    assert "no longer acknowledged" in ask(world, capsys, "unack", number)
    (one,) = json.loads(ask(world, capsys, "list", "--json"))
    assert (one["acked"], one["acked_by"], one["note"]) == (None, "", "mended soon")
    ask(world, capsys, "unack", number, code=2)
    ask(world, capsys, "mute", number, "--days", "0")
    assert json.loads(ask(world, capsys, "show", number, "--json"))["muted_until"] is None


def test_check_says_by_its_exit_code_whether_somebody_must_act(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    today = int(time.time() - D0) // DAY
    with made_up(tmp_path, today - DAYS - 2) as world:
        world.failing()
        assert OURS in ask(world, capsys, "check", "--no-network", code=1)
        number = str(json.loads(ask(world, capsys, "list", "--json"))[0]["id"])
        ask(world, capsys, "ack", number)
        assert OURS in ask(world, capsys, "check", "--no-network")
        ask(world, capsys, "unack", number)
        assert OURS in ask(world, capsys, "check", "--no-network", code=1)


def test_check_of_a_store_in_order_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with made_up(tmp_path, int(time.time() - D0) // DAY - DAYS) as world:
        assert "Nothing is wrong" in ask(world, capsys, "check", "--no-network")


def test_a_test_message_goes_by_every_channel_and_wrong_use_is_told(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "taken" in ask(world, capsys, "test")
    assert len(world.hook.posted) == 1
    world.hook.answers = [(500, {}, b"no")]
    assert "not taken" in ask(world, capsys, "test", code=1)
    ask(world, capsys, "show", code=2)
    ask(world, capsys, "ack", "99", code=2)


def test_nothing_is_judged_where_alerts_are_off(tmp_path: Path) -> None:
    config = read("[alerts]\ncheck = false", {}, tmp_path)
    assert replace(config.alerts, check=True) == read("", {}, tmp_path).alerts
