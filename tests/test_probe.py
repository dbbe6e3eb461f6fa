"""`dmarcview test`: a tagged mail through a running relay, followed to the far host's last word, and explained."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from relay_sink import Sink

from dmarcview_relay.keys import KeyRing
from dmarcview_relay.relay import Relay
from dmarcview_relay.settings import Care, Keys, RelayListener, RelaySettings, Route


@contextmanager
def running(folder: Path, sink: Sink, **settings: object) -> Iterator[Path]:
    """A relay in a thread of its own; gives the settings file that a command needs to find it."""
    KeyRing(folder / "relay" / "keys").new("from.test", "sel")
    ready, stop = threading.Event(), threading.Event()
    config = folder / "config.toml"

    async def serve() -> None:
        await sink.start()
        relay = Relay(
            RelaySettings(
                listeners=(RelayListener(port=0),),
                hostname="relay.from.test",
                senders=("@from.test",),
                recipients=("@far.test",),
                keys=Keys(check="off"),
                routes=(Route(to=f"smtp://127.0.0.1:{sink.port}", tls="none"),),
                **settings,  # type: ignore[arg-type]
            ),
            folder / "relay",
        )
        await relay.start()
        config.write_text(
            f'[data]\ndir = "{folder}"\n[relay]\nhostname = "relay.from.test"\nsenders = ["@from.test"]\n'
            f'recipients = ["@far.test"]\nlisteners = [{{ port = {relay.listening[0][1]} }}]\n'
        )
        ready.set()
        await asyncio.to_thread(stop.wait)
        await relay.stop()
        await sink.stop()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert ready.wait(20)
        yield config
    finally:
        stop.set()
        thread.join()


def command(*words: str, given: str = "") -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "dmarcview", "test", *words]
    return subprocess.run(line, input=given, capture_output=True, text=True, timeout=60, check=False)


def test_a_test_mail_arrives_tagged_and_signed_and_the_far_hosts_reply_is_told(tmp_path: Path) -> None:
    sink = Sink(keep=True)
    with running(tmp_path, sink) as config:
        done = command("someone@far.test", f"--config={config}", "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["outcome"], told["reply"]) == (0, "delivered", "250 2.0.0 ok")
    mail = sink.mails[0].decode()
    assert f"Subject: dmarcview test {told['tag']}" in mail
    assert mail.startswith("DKIM-Signature:")
    assert told["from"] == "postmaster@from.test"


def test_a_mail_that_waits_is_followed_for_the_given_time_and_its_reason_is_told(tmp_path: Path) -> None:
    with running(tmp_path, Sink(defer=1.0)) as config:
        done = command("someone@far.test", f"--config={config}", "--seconds=2")
    assert done.returncode == 1
    assert "deferred" in done.stdout
    assert "451 4.3.0 later" in done.stdout


def test_a_held_mail_says_why(tmp_path: Path) -> None:
    with running(tmp_path, Sink(), care=Care(hold_all=True)) as config:
        done = command("someone@far.test", f"--config={config}")
    assert done.returncode == 1
    assert "held: hold_all is set" in done.stdout


def test_a_recipient_that_is_not_allowed_is_told_in_the_relays_own_words(tmp_path: Path) -> None:
    with running(tmp_path, Sink()) as config:
        done = command("someone@else.test", f"--config={config}", "-v")
    assert done.returncode == 2
    assert "someone@else.test is not allowed here" in done.stderr
    assert ">>> RCPT TO:<someone@else.test>" in done.stderr


def test_without_a_relay_it_says_how_to_start_one(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text('[relay]\nsenders = ["a@from.test"]\nrecipients = ["*"]\nlisteners = [{ port = 1 }]\n')
    done = command("b@far.test", f"--config={config}", f"--data={tmp_path}")
    assert done.returncode == 2
    assert "start `dmarcview relay`" in done.stderr


@pytest.mark.parametrize(("result", "code"), [("pass", 0), ("fail", 1)])
def test_a_pasted_mail_is_explained_line_by_line(result: str, code: int) -> None:
    given = f"Authentication-Results: mx.far.test; dmarc={result} header.from=from.test; " \
            "dkim=pass header.d=from.test; spf=pass smtp.mailfrom=a@from.test\nFrom: a@from.test\n\n"  # fmt: skip
    done = command("--explain", "-", given=given)
    assert done.returncode == code
    assert f"{result} for from.test" in done.stdout
    assert "\x1b" not in done.stdout


def test_neither_recipient_nor_mail_is_wrong_use() -> None:
    assert command().returncode == 2
