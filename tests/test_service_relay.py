"""The relay as a process: started, told new settings, told wrong ones, and run by `serve`."""

from __future__ import annotations

import json
import os
import signal
import smtplib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_service_processes import alive, read, until

from dmarcview.cli import main

CONF = """
[data]
dir = "data"
[receive]
listeners = [{ port = 0 }]
[relay]
hostname = "mail.example.org"
senders = ["@example.org"]
recipients = [RCPTS]
listeners = [{ port = 0 }]
[relay.keys]
check = "off"
[relay.care]
hold_all = true
[trust]
check = false
[dns]
reverse = false
[dashboard]
port = 0
"""
MAIL = b"From: a@example.org\r\nSubject: x\r\n\r\nHello\r\n"


class Running:
    """One `dmarcview` command that runs until it is closed."""

    def __init__(self, folder: Path, command: str) -> None:
        self.folder = folder
        self.conf = folder / "d.toml"
        self.settings('"@far.example"')
        assert main(["key", "new", "example.org", "--selector", "s1", "--config", str(self.conf)]) == 0
        self.log = (folder / "log").open("wb")
        words = [sys.executable, "-m", "dmarcview", command, "--config", str(self.conf)]
        self.process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=self.log)
        self.up = until(lambda: self.status(command) or self.process.poll(), f"{command} is up")
        assert isinstance(self.up, dict), self.said()

    def settings(self, recipients: str) -> None:
        """Write the settings as an editor does: a new file in the old one's place."""
        fresh = self.folder / "new.toml"
        fresh.write_text(CONF.replace("RCPTS", recipients))
        fresh.replace(self.conf)

    def status(self, name: str = "relay") -> Any:
        return read(self.folder / "data" / "run" / f"{name}.json")

    def said(self) -> str:
        return (self.folder / "log").read_text()

    def rcpt(self, address: str) -> int:
        place = self.status()["listening"][0]
        with smtplib.SMTP(place["host"], place["port"], timeout=20) as client:
            client.ehlo()
            client.mail("a@example.org")
            return client.rcpt(address)[0]

    def close(self) -> int:
        if self.process.poll() is None:
            self.process.terminate()
        code = self.process.wait(40)
        self.log.close()
        return code


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[Running]:
    made = Running(tmp_path, "relay")
    yield made
    made.close()


def test_a_mail_is_taken_and_waits_and_the_process_ends_cleanly(relay: Running) -> None:
    assert relay.up["queue"]["mails"] == relay.up["queue"]["oldest"] == 0
    place = relay.up["listening"][0]
    with smtplib.SMTP(place["host"], place["port"], timeout=20) as client:
        client.sendmail("a@example.org", ["b@far.example"], MAIL)
    until(lambda: relay.status()["counters"].get("accepted") == 1, "the status counts the mail")
    assert {name: relay.status()["queue"][name] for name in ("mails", "waiting", "held")} == {
        "mails": 1,
        "waiting": 0,
        "held": 1,
    }
    done = subprocess.run(
        [sys.executable, "-m", "dmarcview", "queue", "list", "--json", "--config", str(relay.conf)],
        capture_output=True,
        check=True,
    )
    assert len(json.loads(done.stdout)) == 1
    assert relay.close() == 0
    assert relay.status() is None


def test_new_settings_are_followed_without_a_word_and_wrong_ones_are_not(relay: Running) -> None:
    pid = relay.up["pid"]
    assert relay.rcpt("b@other.example") == 550
    relay.settings('"@far.example", "@other.example"')
    until(lambda: relay.rcpt("b@other.example") == 250, "the new recipient is taken")
    assert "settings read again: relay.recipients" in relay.said()
    relay.settings('"@exa mple"')
    until(lambda: "not reloaded" in relay.said(), "the fault is told")
    assert "line 9: relay.recipients" in relay.said()
    assert relay.rcpt("b@other.example") == 250
    relay.settings('"no-such-file"')
    until(lambda: relay.said().count("not reloaded") == 2, "a list that is not there is a fault")
    assert relay.rcpt("b@other.example") == 250
    assert relay.status()["pid"] == pid


def test_reload_tells_the_process_and_refuses_wrong_settings_itself(
    relay: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["reload", "--config", str(relay.conf)]
    assert main(words) == 0
    assert "told relay" in capsys.readouterr().out
    until(lambda: "nothing changed in [relay]" in relay.said(), "the relay read its settings")
    relay.settings('"@exa mple"')
    assert main(words) == 2
    assert "line 9: relay.recipients" in capsys.readouterr().err
    relay.settings('"@far.example"')
    relay.close()
    assert main(words) == 1
    assert "nothing that could read them again" in capsys.readouterr().err


def test_reload_leaves_a_foreign_process_with_the_number_of_a_dead_one_alone(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with subprocess.Popen(["sleep", "60"]) as other:
        (tmp_path / "run" / "relay.json").write_text(json.dumps({"pid": other.pid}))
        assert main(["reload", "--data", str(tmp_path)]) == 1
        assert other.poll() is None
        other.kill()


def test_serve_runs_the_relay_and_its_reload_keeps_the_relays_process(tmp_path: Path) -> None:
    service = Running(tmp_path, "serve")
    try:
        assert set(service.up) == {"pid", "receive", "relay", "ingest", "dashboard"}
        pid, receiver = service.status()["pid"], service.status("receive")["pid"]
        service.settings('"@far.example", "@other.example"')
        service.process.send_signal(signal.SIGHUP)
        until(lambda: (service.status("receive") or {}).get("pid", receiver) != receiver, "the receiver is new")
        until(lambda: service.rcpt("b@other.example") == 250, "the relay follows")
        assert service.status()["pid"] == pid
        os.kill(pid, signal.SIGKILL)
        until(lambda: (service.status() or {}).get("pid", pid) != pid, "the relay is back")
        assert service.rcpt("b@other.example") == 250
        pid = service.status()["pid"]
    finally:
        assert service.close() == 0
    assert not alive(pid)


def test_without_senders_serve_starts_no_relay(tmp_path: Path) -> None:
    conf = tmp_path / "d.toml"
    conf.write_text(CONF.replace("RCPTS", '"*"').replace('senders = ["@example.org"]', ""))
    words = [sys.executable, "-m", "dmarcview", "serve", "--config", str(conf)]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            up = until(lambda: read(tmp_path / "data" / "run" / "serve.json") or process.poll(), "serve is up")
            assert set(up) == {"pid", "receive", "ingest", "dashboard"}
        finally:
            process.terminate()
            assert process.wait(40) == 0
