"""The service as it runs: three processes that come up, come back, and go."""

from __future__ import annotations

import json
import os
import signal
import smtplib
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

XML = (Path(__file__).parent / "parsedmarc" / "year_end.xml").read_bytes()
CONF = """
[data]
dir = "data"
[receive]
hostname = "mx.example.org"
rua = ["dmarc@example.org"]
[[receive.listeners]]
port = 0
[trust]
check = false
[dns]
reverse = false
[dashboard]
port = 0
"""
PATIENCE = 60.0


def until(check: Callable[[], Any], what: str) -> Any:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        found = check()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {PATIENCE} s: {what}")


def read(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


class Service:
    """A running `dmarcview serve`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.conf = folder / "d.toml"
        self.conf.write_text(CONF)
        self.status = folder / "up.json"
        self.log = (folder / "log").open("wb")
        words = [sys.executable, "-m", "dmarcview", "serve", "--config", str(self.conf), "--status", str(self.status)]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=self.log)
        self.up = until(lambda: read(self.status) or self.process.poll(), "serve is up")
        assert isinstance(self.up, dict), (folder / "log").read_text()

    def now(self, name: str) -> Any:
        return read(self.folder / "data" / "run" / f"{name}.json")

    def send(self, raw: bytes) -> None:
        place = self.now("receive")["listening"][0]
        with smtplib.SMTP(place["host"], place["port"], timeout=20) as client:
            client.sendmail("a@receiver.example.net", ["dmarc@example.org"], raw)

    def messages(self) -> int:
        words = [sys.executable, "-m", "dmarcview", "summary", "--config", str(self.conf), "--json"]
        done = subprocess.run(words, capture_output=True, check=False)
        return int(json.loads(done.stdout)["messages"]) if done.returncode == 0 else -1

    def close(self) -> int:
        if self.process.poll() is None:
            self.process.terminate()
        code = self.process.wait(40)
        if self.process.stdout:
            self.process.stdout.close()
        self.log.close()
        return code


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    made = Service(tmp_path)
    yield made
    made.close()


def mail(number: int) -> bytes:
    head = b"From: a@receiver.example.net\r\nContent-Type: text/xml\r\n\r\n"
    return head + XML.replace(b"4711", b"%d" % number).replace(b"\n", b"\r\n")


def test_a_mail_becomes_a_number_and_a_dead_process_comes_back(service: Service) -> None:
    service.send(mail(1))
    until(lambda: service.messages() == 16, "the first report counts")
    with urllib.request.urlopen(service.up["dashboard"]["url"], timeout=20) as page:
        assert page.status == 200
    for name in ("receive", "ingest"):
        pid = service.now(name)["pid"]
        os.kill(pid, signal.SIGKILL)
        until(lambda: (service.now(name) or {}).get("pid", pid) != pid, f"{name} is back")  # noqa: B023 - asked here
    service.send(mail(2))
    until(lambda: service.messages() == 32, "the second report counts")
    pids = [service.now(name)["pid"] for name in ("receive", "ingest", "dashboard")]
    assert service.close() == 0
    assert not any(map(alive, pids))
    assert list((service.folder / "data" / "run").iterdir()) == []
    log = (service.folder / "log").read_text()
    assert "mail.log" not in log  # aiosmtpd would tell of every connection
    assert "leaked" not in log  # DuckDB, of what a process holds when it ends


def test_faulty_settings_are_not_taken_and_good_ones_are(service: Service) -> None:
    before = service.now("receive")
    service.conf.write_text(CONF + "[nonsense]\n")
    service.process.send_signal(signal.SIGHUP)
    until(lambda: "not reloaded" in (service.folder / "log").read_text(), "the fault is logged")
    assert service.now("receive")["pid"] == before["pid"]
    service.conf.write_text(CONF.replace("mx.example.org", "other.example.org"))
    service.process.send_signal(signal.SIGHUP)
    found = until(
        lambda: now if (now := service.now("receive")) and now["pid"] != before["pid"] else None, "receive is new"
    )
    place = found["listening"][0]
    with smtplib.SMTP(place["host"], place["port"], timeout=20) as client:
        assert b"other.example.org" in client.ehlo()[1]


def test_a_killed_supervisor_leaves_nobody_behind(service: Service) -> None:
    pids = [service.now(name)["pid"] for name in ("receive", "ingest", "dashboard")]
    service.process.kill()
    until(lambda: not any(map(alive, pids)), "the children ended")


def test_a_port_in_use_is_said_and_nothing_stays(tmp_path: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        conf = tmp_path / "d.toml"
        conf.write_text(CONF.replace("[trust]", "", 1).replace("check = false", "").replace(
            "port = 0\n\n", f"port = {taken.getsockname()[1]}\n"))  # fmt: skip
        words = [sys.executable, "-m", "dmarcview", "serve", "--config", str(conf)]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 3
    assert "use" in done.stderr
    assert "Traceback" not in done.stderr
