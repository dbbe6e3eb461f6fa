"""What a host is set up with: the units and their sandboxes, the sample settings, the zone that makes mail believed."""

from __future__ import annotations

import json
import re
import smtplib
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import confined
import pytest
from conftest import need
from dkim_judges import name_server

from dmarcview.config import load
from dmarcview_relay.dkimdns import record, strings
from dmarcview_relay.keys import KeyRing

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "relay" / "deploy"
UNITS = [DEPLOY / "dmarcview-relay.service", ROOT / "reports" / "deploy" / "dmarcview.service"]
ZONE = (DEPLOY / "example.org.zone").read_text()
APEX = "$TTL 3600\n@ IN SOA ns.example.org. host.example.org. 1 3600 600 86400 60\n@ IN NS ns\nns IN A 192.0.2.53\n"
PTR = "25.2.0.192.in-addr.arpa. IN PTR mail.example.org.\n"
REPORT = (ROOT / "tests" / "parsedmarc" / "year_end.xml").read_bytes()
EXPOSURE = 20  # tenths, of systemd's 100
SETTINGS = """
[dns]
reverse = false
servers = ["127.0.0.1:1"]
[receive]
hostname = "reports.example.org"
rua = ["dmarc@reports.example.org"]
listeners = [{ port = 0 }]
[trust]
check = false
[dashboard]
port = 0
[relay]
hostname = "mail.example.org"
senders = ["@example.org"]
recipients = ["*"]
listeners = [{ port = 0 }]
[relay.keys]
check = "off"
[relay.care]
hold_all = true
"""


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "dmarcview", *words]


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(params=UNITS, ids=lambda path: path.name)
def unit(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A unit whose programs are those of this environment."""
    need("systemd-analyze", "systemd")
    given: Path = request.param
    text, count = re.subn(
        "/opt/dmarcview/bin/dmarcview", str(Path(sys.executable).with_name("dmarcview")), given.read_text()
    )
    assert count, "the unit starts something else"
    changed = tmp_path / given.name
    changed.write_text(text)
    return changed


def test_systemd_finds_no_fault_in_a_unit(unit: Path) -> None:
    done = run("systemd-analyze", "verify", "--man=no", str(unit))
    assert (done.returncode, done.stderr) == (0, "")


def test_a_unit_exposes_little(unit: Path) -> None:
    done = run("systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE}", "--no-pager", str(unit))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Overall exposure level" in done.stdout


def until(check: Callable[[], Any], what: Callable[[], str]) -> Any:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if found := check():
            return found
        time.sleep(0.05)
    raise AssertionError(what())


@contextmanager
def sandboxed(unit: Path, folder: Path) -> Iterator[Any]:
    """What the unit starts, in its sandbox: what it said when it was up. It must end well."""
    need("systemd-analyze", "systemd")
    (line,) = confined.service(unit)["ExecStart"]
    name = line.split()[1]
    status, log, settings = folder / "up.json", folder / "log", folder / "dmarcview.toml"
    settings.write_text(SETTINGS)
    words = command(name, "--config", str(settings), "--data", str(folder / "data"), "--status", str(status))
    confine = [sys.executable, str(Path(confined.__file__)), str(unit)]
    with log.open("wb") as out:
        process = subprocess.Popen([*confine, *words], stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        until(lambda: status.exists() or process.poll() is not None, log.read_text)
        assert process.poll() is None, log.read_text()
        yield json.loads(status.read_text())
    finally:
        process.terminate()
        code = process.wait(60)
    assert code == 0, log.read_text()


def hand_over(place: dict[str, Any], recipient: str, mail: bytes) -> None:
    with smtplib.SMTP(place["host"], place["port"], timeout=30) as client:
        client.sendmail("a@example.org", [recipient], mail)


def held(folder: Path) -> list[Any]:
    """What waits in the queue."""
    return list(json.loads(run(*command("queue", "list", "--json", "--data", str(folder / "data"))).stdout))


def with_key(folder: Path) -> None:
    KeyRing(folder / "data" / "relay" / "keys").new("example.org", "sel")


def test_the_sandbox_of_the_tests_bites(tmp_path: Path) -> None:
    need("systemd-analyze", "systemd")
    tries = "import os\ntry: os.setpriority(os.PRIO_PROCESS, 0, 5)\nexcept PermissionError: print('refused')\n"
    for unit in UNITS:
        done = run(sys.executable, str(Path(confined.__file__)), str(unit), sys.executable, "-c", tries)
        assert (done.returncode, done.stdout) == (0, "refused\n"), done.stderr


def test_the_relay_takes_mail_within_its_sandbox(tmp_path: Path) -> None:
    with_key(tmp_path)
    with sandboxed(UNITS[0], tmp_path) as up:
        hand_over(up["listening"][0], "b@far.test", b"From: a@example.org\r\n\r\nHello\r\n" + b"x" * 300_000)
        assert len(held(tmp_path)) == 1


def test_the_whole_service_works_within_its_sandbox(tmp_path: Path) -> None:
    with_key(tmp_path)
    with sandboxed(UNITS[1], tmp_path) as up:
        hand_over(up["relay"]["listening"][0], "b@far.test", b"From: a@example.org\r\n\r\nHello\r\n")
        assert len(held(tmp_path)) == 1
        report = b"From: a@receiver.example.net\r\nContent-Type: text/xml\r\n\r\n" + REPORT.replace(b"\n", b"\r\n")
        hand_over(up["receive"]["listening"][0], "dmarc@reports.example.org", report)

        def messages() -> int:
            done = run(*command("summary", "--data", str(tmp_path / "data"), "--json"))
            return int(json.loads(done.stdout)["messages"]) if done.returncode == 0 else 0

        until(messages, (tmp_path / "log").read_text)
        with urllib.request.urlopen(up["dashboard"]["url"], timeout=30) as page:
            assert page.status == 200
    assert "ended with" not in (tmp_path / "log").read_text()


def test_the_sample_settings_have_no_fault_and_refuse_what_they_do_not_name() -> None:
    sample = DEPLOY / "dmarcview.toml"
    done = run(*command("config", "check", "--config", str(sample)))
    assert done.returncode == 0, done.stdout + done.stderr
    relay = load(sample, {}).relay
    assert relay.recipients == ("admin@example.net", "@example.org")
    assert (relay.senders, relay.delivery.tls, relay.keys.check) == (("@example.org",), "verify", "hold")
    assert [listener.host for listener in relay.listeners] == ["127.0.0.1"]


def test_a_name_server_takes_the_sample_zone(tmp_path: Path) -> None:
    origin, rest = ZONE.split("$ORIGIN example.org.\n")
    (tmp_path / "zone").write_text(f"{origin}$ORIGIN example.org.\n{APEX}{rest}")
    done = run(need("nsd-checkzone", "nsd"), "example.org", str(tmp_path / "zone"))
    assert done.returncode == 0, done.stdout + done.stderr


def test_our_own_check_finds_nothing_wrong_in_the_sample_zone(tmp_path: Path) -> None:
    data = tmp_path / "data"
    key = KeyRing(data / "relay" / "keys").new("example.org", "mail-2026")
    value = " ".join(f'"{text}"' for text in strings(record(key)))
    zone, count = re.subn(r'(?s)(?<=_domainkey       TXT  \( )".*?(?= \))', lambda _: value, ZONE)
    assert count == 1
    settings = tmp_path / "dmarcview.toml"
    with name_server(tmp_path, zone + PTR) as port:
        settings.write_text((DEPLOY / "dmarcview.toml").read_text() + f'\n[dns]\nservers = ["127.0.0.1:{port}"]\n')
        words = ("dns", "check", "example.org", "--source", "192.0.2.25", "--json")
        done = run(*command(*words, "--config", str(settings), "--data", str(data)))
    assert done.returncode == 0, done.stdout + done.stderr
    states = {finding["kind"]: finding["state"] for finding in json.loads(done.stdout)}
    assert [kind for kind, state in states.items() if state == "ok"] == ["SPF", "DKIM", "PTR", "MX", "TLS-RPT"]
    assert states["DMARC"] == "note", "p=none to begin with is told"
