"""Our side of the loop, as a user has it: a settings file, keys by `dmarcview key`, two services, and the commands."""

from __future__ import annotations

import contextlib
import io
import json
import os
import smtplib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dmarcview.cli import main
from tests.closed_loop.namespace import OURS
from tests.dkim_judges import process

RUA = "rua@example.org"
RELAY = ("127.0.0.1", 2526)
SETTINGS = """\
[data]
dir = "data"

[domains]
watched = {watched}

[receive]
hostname = "mail.example.org"
rua = ["{rua}"]
listeners = [{{ host = "{ours}", port = 25 }}]

[relay]
hostname = "mail.example.org"
senders = {senders}
recipients = {recipients}

[relay.keys]
check_seconds = 1
settle_hours = 0

[relay.queue]
waits = [1]

[relay.delivery]
source_ipv4 = "{ours}"
private = true  # the networks of documentation are nobody's
tls = "opportunistic"
connections_per_domain = 1  # OpenDKIM has died of ten at a time
idle = 0.2
"""


class Failed(Exception):
    """A command of ours did not end as it should; the text is what it said."""


class Ours:
    """The settings in a folder, and everything that is done with them."""

    def __init__(self, folder: Path, domains: Sequence[str], recipients: Sequence[str]) -> None:
        self.folder = folder
        self._config = folder / "dmarcview.toml"
        folder.mkdir()
        senders = [f"@{domain}" for domain in domains]
        self._config.write_text(
            SETTINGS.format(
                watched=json.dumps(domains, ensure_ascii=False), rua=RUA, ours=OURS,
                senders=json.dumps(senders, ensure_ascii=False), recipients=json.dumps(recipients),
            ),
            encoding="utf-8",
        )  # fmt: skip

    def run(self, *words: str, allowed: Sequence[int] = (0,)) -> str:
        """Run a command to its end; what it printed. Raises Failed.

        In this process: thirty interpreters would take longer to start than all of the loop takes.
        """
        said = io.StringIO()
        umask = os.umask(0o022)
        try:
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                code = main([words[0], "--config", str(self._config), *words[1:]])
        finally:
            os.umask(umask)
        if code not in allowed:
            raise Failed(f"dmarcview {' '.join(words)} ended with {code}:\n{said.getvalue()}")
        return said.getvalue()

    def ask(self, *words: str, allowed: Sequence[int] = (0,)) -> Any:
        """Run a command with --json."""
        return json.loads(self.run(*words, "--json", allowed=allowed))

    @contextlib.contextmanager
    def service(self, name: str) -> Iterator[None]:
        """`dmarcview relay` or `receive` while the block runs, once it listens."""
        up = self.folder / "data/run" / f"{name}.json"
        command = [sys.executable, "-m", "dmarcview", name, "--config", str(self._config)]
        with process(command, up.exists, self.folder / f"{name}.log"):
            yield

    def hand_over(self, sender: str, recipient: str, mails: Sequence[bytes]) -> None:
        """Give mails to the relay, as a program of ours would."""
        plain = sender.isascii()
        with smtplib.SMTP(*RELAY, local_hostname="localhost") as client:
            for mail in mails:
                client.sendmail(sender, [recipient], mail, mail_options=() if plain else ("SMTPUTF8",))
