"""TLS, with certificates that change, and nothing carried over from before it."""

from __future__ import annotations

import asyncio
import logging
import smtplib
import socket
import ssl
import time
from pathlib import Path

import pytest
from smtp_talk import QUICK, RUA, Talk, authority, running

from dmarcview_smtp.settings import DoorSettings, Listener

STARTTLS = (Listener(port=0, mode="starttls"),)
IMPLICIT = (Listener(port=0, mode="tls"),)


def test_starttls_is_offered_once_and_starts_the_session_again(tmp_path: Path) -> None:
    ca = authority(tmp_path)
    with running(tmp_path, listeners=STARTTLS, **ca.settings) as site, Talk(site.port) as talk:
        assert "250 STARTTLS" in talk.hello()
        talk.envelope()
        assert talk.ask("STARTTLS") == "220 2.0.0 Ready to start TLS"
        talk.start_tls(ca.client_context())
        assert talk.ask("MAIL FROM:<a@c.test>") == "503 5.5.1 Say hello first"
        assert "STARTTLS" not in talk.ask("EHLO client.test")
        assert talk.ask("DATA") == "503 5.5.1 MAIL first"
        assert talk.ask("STARTTLS") == "503 5.5.1 TLS runs already"
        talk.envelope()
        assert talk.data(b"a: b\r\n\r\nx\r\n.\r\n").startswith("250 ")
        [(origin, _)] = site.mails()
        assert origin.tls in ("TLSv1.2", "TLSv1.3")


@pytest.mark.parametrize("wait", [0.0, 0.05], ids=["same packet", "later"])
def test_commands_behind_starttls_are_never_obeyed(tmp_path: Path, wait: float) -> None:
    ca = authority(tmp_path)
    with running(tmp_path, listeners=STARTTLS, **ca.settings) as site, Talk(site.port) as talk:
        talk.hello()
        injected = f"EHLO evil.test\r\nMAIL FROM:<evil@c.test>\r\nRCPT TO:<{RUA}>\r\n".encode()
        if wait:
            talk.send(b"STARTTLS\r\n")
            time.sleep(wait)
            talk.send(injected)
            assert talk.reply().startswith("220 ")
        else:
            talk.send(b"STARTTLS\r\n" + injected)
            assert talk.reply() == "503 5.5.1 Nothing may follow STARTTLS, closing"
        assert b"250" not in talk.line(), "nothing but a TLS alert, or the end"
        talk.sock.close()
        time.sleep(0.1)
        assert site.receiver.connections == 0


def test_implicit_tls_and_real_client(tmp_path: Path) -> None:
    ca = authority(tmp_path)
    with running(tmp_path, listeners=IMPLICIT, **ca.settings) as site:
        context = ca.client_context()
        context.check_hostname = False  # smtplib compares with 127.0.0.1
        with smtplib.SMTP_SSL("127.0.0.1", site.port, context=context) as client:
            client.sendmail("a@c.test", RUA, b"Subject: x\r\n\r\nx\r\n")
        [(origin, raw)] = site.mails()
        assert (origin.tls, raw) == ("TLSv1.3", b"Subject: x\r\n\r\nx\r\n")


def test_tls_before_1_2_is_refused(tmp_path: Path) -> None:
    ca = authority(tmp_path)
    with running(tmp_path, listeners=IMPLICIT, **ca.settings) as site:
        context = ca.client_context()
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
        context.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.raises((ssl.SSLError, ConnectionError)), Talk(site.port) as talk:
            talk.start_tls(context)
        time.sleep(0.1)
        assert site.receiver.connections == 0


def test_a_failed_or_silent_handshake_leaves_nothing_behind(tmp_path: Path) -> None:
    ca = authority(tmp_path)
    limits = DoorSettings(tls_seconds=0.5, linger_seconds=0.3, greeting_wait=0)
    with running(tmp_path, limits=limits, listeners=IMPLICIT, **ca.settings) as site:
        with Talk(site.port) as garbage, Talk(site.port) as silent:
            garbage.send(b"EHLO plain.test\r\n")
            assert garbage.closed()
            began = time.monotonic()
            assert silent.closed()
            assert time.monotonic() - began < 3
        time.sleep(0.1)
        assert site.receiver.connections == 0


def serial(port: int, context: ssl.SSLContext) -> int:
    sock = socket.create_connection(("127.0.0.1", port), 5)
    with context.wrap_socket(sock, server_hostname="mx.example.test") as tls:
        found = tls.getpeercert()
        assert found
        return int(str(found["serialNumber"]), 16)


def test_a_new_certificate_is_used_without_restart_and_a_broken_one_is_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    ca = authority(tmp_path)
    context = ca.client_context()
    with running(tmp_path, listeners=IMPLICIT, **ca.settings) as site:
        first = serial(site.port, context)
        with Talk(site.port) as old:
            old.start_tls(context)
            old.hello()
            ca.issue()
            second = serial(site.port, context)
            assert second != first
            assert old.ask("NOOP").startswith("250"), "the old session goes on"
        ca.key.write_bytes(ca.ca.issue_cert("other.test").private_key_pem.bytes())
        assert serial(site.port, context) == second, "a key that does not fit leaves the old pair in use"
        assert "the old one stays" in caplog.text
        complaints = caplog.text.count("the old one stays")
        serial(site.port, context)
        assert caplog.text.count("the old one stays") == complaints, "said once, not at every handshake"
        ca.chain.unlink()
        assert serial(site.port, context) == second
        ca.issue()
        assert serial(site.port, context) not in (first, second)


def test_half_close_over_tls_loses_no_mail(tmp_path: Path) -> None:
    ca = authority(tmp_path)

    async def session(port: int) -> None:
        _, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=ca.client_context(), server_hostname="mx.example.test"
        )
        for command in (
            "EHLO c.test",
            "MAIL FROM:<a@c.test>",
            f"RCPT TO:<{RUA}>",
            "DATA",
            "a: b\r\n\r\nx\r\n.",
            "QUIT",
        ):
            writer.write(command.encode() + b"\r\n")
        await writer.drain()
        writer.close()
        await asyncio.sleep(0.3)

    with running(tmp_path, listeners=IMPLICIT, **ca.settings) as site:
        asyncio.run(session(site.port))
        assert len(site.mails()) == 1


def test_tls_needs_a_certificate(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match="needs certificate and key"),
        running(tmp_path, listeners=STARTTLS, limits=QUICK),
    ):
        pass
