"""The demo's surroundings on this machine: a folder with settings and reports, a DNS server, and `dmarcview serve`."""

from __future__ import annotations

import json
import os
import signal
import smtplib
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from dmarcview.demo import dns, networks, outgoing, reports, sign
from dmarcview.demo.mailbox import DOMAIN as FRIENDS
from dmarcview.demo.mailbox import Mailbox
from dmarcview.demo.receivers import NAMED
from dmarcview.demo.story import DOMAINS
from dmarcview.demo.traffic import Made

RCPT = "dmarc@reports.example.org"
CLIENT = "127.0.0.1"
STRANGER = "news@stranger.example"  # envelope of the forged report: no SPF record, aligned with nobody
START_SECONDS = 60.0
STOP_SECONDS = 15.0
SMTP_SECONDS = 20.0


class DemoError(Exception):
    """The demo could not go on; the text says at what, and shows the last lines of the log."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where the running parts listen."""

    smtp: tuple[str, int]
    url: str
    relay: tuple[str, int]


class World:
    """Everything of one demo in one folder; use it as a context manager.

    `port` is the dashboard's, 0 takes a free one; `own` are networks that the settings call ours; `alerts`: does the
    clock of alerts run?
    """

    def __init__(self, folder: Path, *, port: int = 0, own: Sequence[str] = (), alerts: bool = True) -> None:
        self.folder = folder
        self.config = folder / "dmarcview.toml"
        self.data = folder / "data"
        self.reports = folder / "reports"
        self._log = folder / "serve.log"
        self._status = folder / "status.json"
        self._port = port
        self._own = own
        self._alerts = alerts
        self._key = sign.make()
        self.mailbox = Mailbox()  # where the mail goes that leaves
        self.zones: dns.Zones = {}
        self._exit = ExitStack()
        self._serve: subprocess.Popen[bytes] | None = None
        self._places: Places | None = None

    def __enter__(self) -> World:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.zones = dns.zones(
            client=CLIENT, dkim_key=self._key.public, selector=sign.SELECTOR, rua=RCPT, keys=self._relay_keys()
        )
        server = self._exit.enter_context(dns.Server(self.zones))
        self._exit.enter_context(self.mailbox)
        (self.folder / "country.mmdb").write_bytes(networks.countries())
        (self.folder / "asn.mmdb").write_bytes(networks.systems())
        self.config.write_text(self._settings(server.where))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._exit.close()

    def _relay_keys(self) -> dict[str, str]:
        """The key of our own mail, made once, as `dmarcview key new` makes it; its record by its name."""
        from dmarcview_relay.dkimdns import record
        from dmarcview_relay.keys import KeyRing

        ring = KeyRing(self.data / "relay" / "keys")
        found = ring.signing(outgoing.FROM_DOMAIN) or (ring.new(outgoing.FROM_DOMAIN, outgoing.SELECTOR),)
        return {key.name: record(key) for key in found}

    def _settings(self, nameserver: tuple[str, int]) -> str:
        watched = ", ".join(f'"{domain.name}"' for domain in DOMAINS)
        own = ", ".join(f'"{network}"' for network in self._own)
        named = ", ".join(f'"{name}" = "{reporter}"' for name, reporter in NAMED.items())
        return f"""# Written by `dmarcview demo`: as a user would write it, but for the made-up DNS and networks.
[data]
dir = "data"

[domains]
watched = [{watched}]
own_networks = [{own}]

[receive]
rua = ["{RCPT}"]
hostname = "reports.example.org"

[[receive.listeners]]
host = "127.0.0.1"
port = 0

[relay]
hostname = "mail.example.org"
senders = ["@{outgoing.FROM_DOMAIN}"]
recipients = ["@{FRIENDS}"]
plain_recipients = true
listeners = [{{ port = 0 }}]
routes = [{{ to = "smtp://{self.mailbox.where[0]}:{self.mailbox.where[1]}", tls = "none" }}]

[relay.queue]
waits = [2]

[reconcile]
receivers = {{ {named} }}

[dns]
servers = ["{nameserver[0]}:{nameserver[1]}"]
timeout = 2.0

[geo]
country = "country.mmdb"
asn = "asn.mmdb"

[dashboard]
port = {self._port}
title = "dmarcview demo"

[alerts]
check = {"true" if self._alerts else "false"}
"""

    def command(self, *words: str) -> list[str]:
        """Our own command line, with this world's settings."""
        return [sys.executable, "-m", "dmarcview", words[0], "--config", str(self.config), *words[1:]]

    def ask(self, *words: str, allowed: tuple[int, ...] = (0,)) -> Any:
        """Run a command with `--json` and return what it printed."""
        done = subprocess.run(self.command(*words, "--json"), capture_output=True, check=False)
        if done.returncode not in allowed:
            raise DemoError(f"dmarcview {' '.join(words)} ended with {done.returncode}:\n{_tail(done.stderr)}")
        return json.loads(done.stdout)

    def start(self) -> Places:
        """Start `serve` and wait until all of it listens."""
        self.launch()
        return self.up()

    def launch(self) -> None:
        """Start `serve` and go on."""
        self._status.unlink(missing_ok=True)
        with self._log.open("ab") as log:
            self._serve = subprocess.Popen(
                self.command("serve", "--status", str(self._status)),
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the demo, which then stops it in order
            )

    def up(self) -> Places:
        """Wait until all of what was launched listens."""
        assert self._serve is not None, "launched before"
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self._serve.poll() is not None:
                raise DemoError(f"serve ended with {self._serve.returncode}:\n{self.log()}")
            if self._status.is_file():
                self._places = _places(json.loads(self._status.read_bytes()))
                return self._places
            time.sleep(0.05)
        raise DemoError(f"serve was not up after {START_SECONDS:.0f} s:\n{self.log()}")

    @property
    def pid(self) -> int:
        """Process id of `serve`."""
        assert self._serve is not None, "started before"
        return self._serve.pid

    @property
    def places(self) -> Places:
        """Where it listens; only after `start`."""
        assert self._places is not None, "started before"
        return self._places

    def running(self) -> bool:
        """Is `serve` alive?"""
        return self._serve is not None and self._serve.poll() is None

    def stop(self) -> int | None:
        """Stop `serve` in order; its exit code, None when it did not run."""
        if self._serve is None:
            return None
        if self._serve.poll() is None:
            self._serve.send_signal(signal.SIGTERM)
            try:
                self._serve.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(self._serve.pid, signal.SIGKILL)  # its own session: itself and its parts, nothing else
                self._serve.wait()
        code, self._serve = self._serve.returncode, None
        return code

    def log(self) -> str:
        """The last lines that `serve` wrote."""
        return _tail(self._log.read_bytes()) if self._log.is_file() else ""

    def mail(self, made: Made, *, sent: int, signed: bool = True) -> bytes:
        """A report mail, signed by its reporter unless told otherwise."""
        mail = reports.mail(made, RCPT, sent=sent)
        return sign.sign(mail, made.reporter.domain, self._key) if signed else mail

    def send(self, mail: bytes, mail_from: str) -> tuple[int, bytes]:
        """Hand one mail to the receiver by SMTP; the reply to its last dot. Raises OSError and SMTPException."""
        host, port = self.places.smtp
        with smtplib.SMTP(host, port, local_hostname="mail.reporter.example", timeout=SMTP_SECONDS) as client:
            client.ehlo()
            code, text = client.mail(mail_from)
            if code == 250:
                code, text = client.rcpt(RCPT)
            return client.data(mail) if code == 250 else (code, text)

    def hand_over(self, number: int) -> tuple[str, int, bytes]:
        """Give one letter of the shop to the relay: (recipient, code, text). Raises OSError and SMTPException."""
        rcpt, mail = outgoing.letter(number)
        with smtplib.SMTP(*self.places.relay, local_hostname="shop.example.org", timeout=SMTP_SECONDS) as client:
            client.ehlo()
            code, text = client.mail(outgoing.SENDER)
            if code == 250:
                code, text = client.rcpt(rcpt)
            return rcpt, *(client.data(mail) if code == 250 else (code, text))


def _places(status: dict[str, Any]) -> Places:
    first, relay = (status[name]["listening"][0] for name in ("receive", "relay"))
    return Places((first["host"], first["port"]), status["dashboard"]["url"], (relay["host"], relay["port"]))


def _tail(raw: bytes, lines: int = 15) -> str:
    return "\n".join(raw.decode("utf-8", "replace").splitlines()[-lines:])
