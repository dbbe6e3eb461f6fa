"""Mail about incidents through a real relay, past it to a real far host, and what each way says of itself."""

from __future__ import annotations

import asyncio
import email
import email.policy
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import dkim
import pytest
from relay_running import running_relay
from relay_servers import Certificates, FarHost, Table, far, world

from dmarcview.alerts import mail
from dmarcview.alerts.fault import NotTaken
from dmarcview.alerts.mail import Envelope, Outcome
from dmarcview.alerts.text import Message, document
from dmarcview.config import Alerts, Config, Data, Domains
from dmarcview_relay.keys import KeyRing
from dmarcview_relay.settings import Care, Delivery, Keys, RelayListener, RelaySettings, Route
from dmarcview_smtp.address import read_address

NOW = 1_793_862_720
MESSAGE = Message(
    "Mail of example.org fails DMARC: J\u00f6rg's host", "Counts: 120 of 400 messages\n.\n", document("x", "<p>ok</p>")
)
ADMIN = read_address("admin@far.test")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


def setup(folder: Path, relay_port: int, far_port: int = 25, **more: Any) -> Config:
    """Settings whose relay may be at a port, and whose far hosts are at another."""
    given: dict[str, Any] = {
        "listeners": (RelayListener(port=relay_port),),
        "hostname": "relay.from.test",
        "senders": ("@from.test",),
        "recipients": ("@far.test",),
        "delivery": Delivery(private=True, port=far_port, mta_sts=False),
        "keys": Keys(check="off"),
    }
    return Config(
        data=Data(dir=str(folder)), alerts=Alerts(mail_to=("admin@far.test",)), relay=RelaySettings(**given | more)
    )


def sent(config: Config, resolver: Table | None = None, **more: Any) -> Outcome:
    return mail.send(config, MESSAGE, NOW, "alert-1-2", resolver=resolver or world("127.0.0.1"), **more)


def read(raw: bytes) -> EmailMessage:
    return email.message_from_bytes(raw, policy=email.policy.default)  # type: ignore[return-value]


def body(found: EmailMessage, kind: str) -> str:
    part = found.get_body((kind,))
    assert part is not None
    text: str = part.get_content()
    return text


@contextmanager
def standing(host: FarHost) -> Iterator[FarHost]:
    """A far host in a thread of its own."""
    ready, stop = threading.Event(), threading.Event()

    async def serve() -> None:
        async with far(host):
            ready.set()
            await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert ready.wait(20)
        yield host
    finally:
        stop.set()
        thread.join()


def eventually(true: Callable[[], object]) -> None:
    for _ in range(200):
        if true():
            return
        time.sleep(0.05)
    raise AssertionError("never")


def test_a_mail_goes_through_the_relay_which_signs_and_queues_it(tmp_path: Path) -> None:
    KeyRing(tmp_path / "relay" / "keys").new("from.test", "sel")
    with standing(FarHost()) as host:
        route = (Route(to=f"smtp://127.0.0.1:{host.port}", tls="none"),)
        settings = setup(tmp_path, 0, routes=route).relay
        with running_relay(settings, tmp_path / "relay", Table()) as relay:
            outcome = sent(setup(tmp_path, relay.port()))
            eventually(lambda: host.mails)
    assert outcome.taken == (ADMIN,)
    assert outcome.way.startswith("by the relay: 2.0.0 Queued as ")
    found = read(host.mails[0])
    assert found["DKIM-Signature"]
    assert found["From"] == "dmarcview <alerts@from.test>"
    assert found["Subject"] == "[dmarcview] Mail of example.org fails DMARC: J\u00f6rg's host"
    assert (found["Auto-Submitted"], found["Message-ID"]) == ("auto-generated", "<alert-1-2@from.test>")
    assert body(found, "plain").splitlines() == MESSAGE.text.splitlines()
    assert "<p>ok</p>" in body(found, "html")
    assert not [part for part in found.walk() if part.get_content_maintype() not in ("multipart", "text")]


def test_without_a_relay_it_goes_past_it_signed_and_says_so(tmp_path: Path) -> None:
    key = KeyRing(tmp_path / "relay" / "keys").new("from.test", "sel")
    port = free_port()
    with standing(FarHost()) as host:
        outcome = sent(setup(tmp_path, port, host.port))
    assert (outcome.taken, outcome.fault) == ((ADMIN,), "")
    assert outcome.way.startswith("past the relay: no relay answers")
    found = read(host.mails[0])
    assert str(found["Subject"]).startswith("[dmarcview, past the relay] Mail of")
    why = f"This mail came past the relay: no relay answers (127.0.0.1 port {port}: Connection refused)"
    assert why in body(found, "plain")
    assert why in body(found, "html")
    record = b"v=DKIM1; k=rsa; p=" + key.public.encode()
    answer = {b"sel._domainkey.from.test.": record}
    assert dkim.verify(host.mails[0], dnsfunc=lambda name, timeout=5: answer.get(name))


def test_without_a_key_it_goes_unsigned(tmp_path: Path) -> None:
    with standing(FarHost()) as host:
        sent(setup(tmp_path, free_port(), host.port))
    assert "DKIM-Signature" not in read(host.mails[0])


def test_where_nobody_may_send_by_a_relay_mail_goes_to_the_hosts_at_once_and_has_no_mark(tmp_path: Path) -> None:
    with standing(FarHost()) as host:
        outcome = sent(setup(tmp_path, free_port(), host.port, senders=()), past="mail waits in it")
    assert outcome.way == "to the recipients' hosts"
    assert str(read(host.mails[0])["Subject"]).startswith("[dmarcview] Mail of")
    assert "past the relay" not in host.mails[0].decode()


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"senders": ("@other.test",)}, "it declines the sender (allow it in [relay] senders): 550 5.7.1"),
        ({"recipients": ("@other.test",)}, "a recipient (allow admin@far.test in [relay] recipients): 550 5.7.1"),
    ],
)
def test_a_relay_that_declines_is_gone_past_and_the_mail_says_what_to_allow(
    tmp_path: Path, rule: dict[str, Any], words: str
) -> None:
    KeyRing(tmp_path / "relay" / "keys").new("from.test", "sel")
    with (
        standing(FarHost()) as host,
        running_relay(setup(tmp_path, 0, **rule).relay, tmp_path / "relay", Table()) as relay,
    ):
        sent(setup(tmp_path, relay.port(), host.port))
    assert words in " ".join(body(read(host.mails[0]), "plain").split())


def test_a_relay_that_hangs_is_gone_past(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mail, "RELAY_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent, standing(FarHost()) as host:
        sent(setup(tmp_path, silent.getsockname()[1], host.port))
    said = body(read(host.mails[0]), "plain")
    assert "past the relay: no relay answers (the relay is gone: timed out)" in said


def test_when_the_relay_is_the_fault_it_comes_last(tmp_path: Path) -> None:
    KeyRing(tmp_path / "relay" / "keys").new("from.test", "sel")
    with (
        standing(FarHost()) as host,
        running_relay(setup(tmp_path, 0).relay, tmp_path / "relay", Table()) as relay,
    ):
        direct = sent(setup(tmp_path, relay.port(), host.port), past="mail waits in it")
        through = sent(setup(tmp_path, relay.port(), free_port()), past="mail waits in it")
    assert direct.way == "past the relay: mail waits in it"
    assert through.way.startswith("by the relay")
    assert len(host.mails) == 1
    assert "past the relay: mail waits in it" in body(read(host.mails[0]), "plain")


def test_tls_is_used_where_it_is_offered_though_its_certificate_is_not_proven(tmp_path: Path) -> None:
    with standing(FarHost(tls=Certificates(tmp_path).context("mx.other.test"))) as host:
        sent(setup(tmp_path, free_port(), host.port))
    assert "STARTTLS" in host.commands
    assert len(host.mails) == 1


def test_private_addresses_are_not_gone_to_unless_it_is_allowed(tmp_path: Path) -> None:
    with standing(FarHost()) as host:
        config = setup(tmp_path, free_port(), delivery=Delivery(port=host.port))
        with pytest.raises(NotTaken, match=r"127\.0\.0\.1, which is not of the public internet"):
            sent(config)
    assert not host.sessions


def test_what_some_recipients_have_they_do_not_get_again(tmp_path: Path) -> None:
    with standing(FarHost(answers={"RCPT": [b"250 ok\r\n", b"450 later\r\n"]})) as host:
        config = setup(tmp_path, free_port(), host.port)
        config = replace(config, alerts=Alerts(mail_to=("admin@far.test", "other@far.test")))
        first = sent(config)
        second = sent(config, had=first.taken)
    assert (first.taken, first.fault) == ((ADMIN,), "other@far.test: 450 later")
    assert [str(one) for one in second.taken] == ["other@far.test"]
    assert [line for line in host.commands if line.startswith("RCPT")] == [
        "RCPT TO:<admin@far.test>", "RCPT TO:<other@far.test>", "RCPT TO:<other@far.test>",
    ]  # fmt: skip


def test_the_modes_of_care_hold_past_the_relay_too(tmp_path: Path) -> None:
    port = free_port()
    with pytest.raises(NotTaken, match="hold_all lets no mail leave"):
        sent(setup(tmp_path, port, care=Care(hold_all=True)))
    assert sent(setup(tmp_path, port, care=Care(dry_run=str(tmp_path / "dry")))).taken
    assert len(list((tmp_path / "dry").glob("*.eml"))) == 1
    with standing(FarHost()) as host:
        assert sent(setup(tmp_path, port, host.port, care=Care(redirect_all="all@far.test"))).taken
    assert "RCPT TO:<all@far.test>" in host.commands


def test_nobody_reached_says_both_reasons_and_takes_no_longer_than_it_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mail, "DIRECT_SECONDS", 0.5)
    with standing(FarHost(answers={"EHLO": b""})) as host:
        begin = time.monotonic()
        with pytest.raises(NotTaken, match=r"no relay answers .*; past the relay: not delivered in 0\.5 s"):
            sent(setup(tmp_path, free_port(), host.port))
        assert time.monotonic() - begin < 10


@pytest.mark.parametrize(
    ("given", "senders", "watched", "wanted"),
    [
        ("ops@example.org", ("@from.test",), (), "ops@example.org"),
        ("", ("one@from.test", "@other.test"), ("example.org",), "alerts@other.test"),
        ("", ("one@from.test",), ("example.org",), "one@from.test"),
        ("", ("/etc/senders",), ("example.org",), "alerts@example.org"),
        ("", (), (), "alerts@relay.from.test"),
    ],
)
def test_the_sender_is_one_that_the_relay_allows(
    tmp_path: Path, given: str, senders: tuple[str, ...], watched: tuple[str, ...], wanted: str
) -> None:
    config = setup(tmp_path, 0, senders=senders)
    config = replace(config, alerts=Alerts(mail_from=given), domains=Domains(watched=watched))
    assert str(mail.sender(config)) == wanted


def test_addresses_beyond_ascii_make_a_mail_that_says_so() -> None:
    author, joerg = read_address("alerts@from.test"), read_address("j\u00f6rg@far.test")
    assert "To: j\u00f6rg@far.test".encode() in mail.letter(Envelope(author, (joerg,), MESSAGE, NOW, "x"))
    assert mail.letter(Envelope(author, (ADMIN,), MESSAGE, NOW, "x")).isascii()
