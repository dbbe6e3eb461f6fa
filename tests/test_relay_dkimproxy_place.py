"""Our relay where dkimproxy stood, between two ports of a running OpenSMTPD, by the very lines of docs/migrating.md."""

from __future__ import annotations

import contextlib
import json
import re
import smtplib
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dkim
import pytest
from conftest import need
from dkim_judges import judge_called, name_server, process
from peer_opensmtpd import smtpd
from peer_postfix import Postfix, free_port, postfix

from dmarcview.config import read
from dmarcview.config.reader import settings_paths
from dmarcview_relay.dkimdns import record, zone_line
from dmarcview_relay.keys import KeyRing

PAGE = (Path(__file__).parent.parent / "docs" / "migrating.md").read_text()
HOST = "mail.example.org"
PLACE = PAGE.partition("### Only in the place of dkimproxy")[2].partition("\n## ")[0]
MAIL = (
    b"From: %s\r\nTo: b@far.test\r\nSubject: through both\r\nDate: Mon, 05 Jan 2026 00:00:00 +0000\r\n"
    b"Message-ID: <%s@example.org>\r\n\r\n.\r\nline  \r\n.last\r\n"
)
DKIMPROXY = """\
listen    127.0.0.1:10027
relay     127.0.0.1:10028
domain    example.org
signature dkim(c=relaxed)
keyfile   private.key
selector  mail
"""


def block(kind: str) -> str:
    """The one block of that kind which the page shows for this place."""
    (found,) = re.findall(rf"```{kind}\n(.*?)```", PLACE, re.S)
    return str(found)


def changed(text: str, *changes: tuple[str, str]) -> str:
    """The text with each of these, which must be there once, written otherwise."""
    for old, new in changes:
        assert text.count(old) == 1, f"the page does not say {old!r} once"
        text = text.replace(old, new)
    return text


@dataclass
class Place:
    """What runs."""

    port: int  # where programs of the machine hand in their mail
    far: Postfix  # the world: b@far.test, and a@example.org for the bounces
    folder: Path
    dns: int
    log: Path
    records: dict[bytes, bytes]

    def arrived(self, count: int) -> list[bytes]:
        """All that the world has, with CR LF."""
        try:
            return [mail.replace(b"\n", b"\r\n") for mail in self.far.mails(count)]
        except AssertionError as error:
            raise AssertionError(self.log.read_text() + (self.folder / "relay.log").read_text()) from error


def dmarcview(*words: str) -> subprocess.CompletedProcess[str]:
    """The command."""
    return subprocess.run(
        [sys.executable, "-m", "dmarcview", *words], capture_output=True, text=True, timeout=60, check=False
    )


def listening(port: int) -> bool:
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    return False


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """OpenSMTPD, the relay as a process of its own with the key that dkimproxy had, a name server, and the world."""
    need("smtpctl", "opensmtpd, unpacked beside Postfix by tests/peer_opensmtpd.sh")
    here, to_us, to_them = free_port(), free_port(), free_port()
    openssl = [need("openssl", "openssl"), "genrsa", "-out", str(tmp_path / "private.key"), "2048"]
    subprocess.run(openssl, check=True, capture_output=True, timeout=60)
    (tmp_path / "dkimproxy_out.conf").write_text(DKIMPROXY)
    data = ["--data", str(tmp_path / "data")]
    taken = dmarcview("key", "import", str(tmp_path / "dkimproxy_out.conf"), *data)
    assert taken.returncode == 0, taken.stdout + taken.stderr
    (key,) = KeyRing(tmp_path / "data" / "relay" / "keys").all()
    boxes = {
        "virtual_mailbox_domains": "far.test, example.org",
        "virtual_mailbox_maps": "inline:{ b@far.test=box/, a@example.org=box/ }",
        "local_header_rewrite_clients": "",
    }
    with contextlib.ExitStack() as stack:
        far = stack.enter_context(postfix(boxes))
        dns = stack.enter_context(name_server(tmp_path, zone_line(key.name, record(key))))
        ports = (("10027", str(to_us)), ("10028", str(to_them)))
        settings = tmp_path / "dmarcview.toml"
        settings.write_text(changed(block("toml"), *ports) + f'\n[dns]\nservers = ["127.0.0.1:{dns}"]\n')
        arguments = [sys.executable, "-m", "dmarcview", "relay", "--config", str(settings), *data]
        stack.enter_context(process(arguments, lambda: listening(to_us), tmp_path / "relay.log"))
        onward = (
            ("listen on lo\n", f"listen on lo port {here}\n"),
            ('"out" relay\n', f'"out" relay host smtp://127.0.0.1:{far.port}\n'),
        )
        log = stack.enter_context(smtpd(changed(block("conf"), *ports, *onward), [here, to_them], HOST))
        yield Place(here, far, tmp_path, dns, log, {key.name.encode(): record(key).encode()})


def test_opensmtpd_sends_what_we_signed_and_its_bounces_are_signed_too(place: Place) -> None:
    one, two, three = (
        MAIL % pair for pair in ((b"a@example.org", b"1"), (b"a@example.org", b"2"), (b"a@elsewhere.test", b"3"))
    )
    with smtplib.SMTP("127.0.0.1", place.port) as client:
        client.sendmail("a@example.org", ["b@far.test"], one)
        client.sendmail("a@example.org", ["nobody@far.test"], two)
        client.sendmail("a@example.org", ["b@far.test"], three)
    mails = place.arrived(3)
    for mail in mails:
        header = mail.partition(b"\r\n\r\n")[0]
        assert header.count(b"DKIM-Signature:") == 1
        assert header.count(b"by mail.example.org with ESMTP id 8") <= 1
        assert dkim.verify(mail, dnsfunc=lambda name, timeout=5: place.records.get(name.rstrip(b".")))
    (place.folder / "judge").mkdir()
    with judge_called("mail_dkim", place.folder / "judge", place.dns) as judge:
        assert judge(mails) == [{"mail": "pass"}] * 3
    delivered, *bounces = sorted(mails, key=lambda mail: b"\r\nFrom: Mailer Daemon" in mail)
    assert delivered.endswith(one), "OpenSMTPD changed what it passed on"
    assert all(b"From: Mailer Daemon <MAILER-DAEMON@mail.example.org>" in bounce for bounce in bounces)
    refused, unknown = sorted(bounces, key=lambda bounce: b"5.1.1" in bounce)
    assert b"b@far.test: 550 5.7.1 From a@elsewhere.test is not allowed here" in refused
    assert b"nobody@far.test: 550 5.1.1" in unknown
    left = dmarcview("queue", "list", "--json", "--data", str(place.folder / "data"))
    assert json.loads(left.stdout) == [], left.stdout + left.stderr


@pytest.mark.parametrize("text", re.findall(r"```toml\n(.*?)```", PAGE, re.S))
def test_the_settings_that_the_page_shows_are_accepted(text: str, tmp_path: Path) -> None:
    assert read(text, {}, tmp_path).relay.hostname == HOST


def test_the_settings_that_the_tables_name_exist() -> None:
    known = {".".join(path) for path in settings_paths()}
    named = re.findall(r"`\[(relay\.[a-z.]+)\] ([a-z_0-9]+)(?:`| =)", PAGE)
    assert len(named) > 5
    for place, name in named:
        assert f"{place}.{name}" in known, f"[{place}] {name}"
