"""The PROXY header of a load balancer, and LMTP."""

from __future__ import annotations

import smtplib
import socket
import stat
import struct
import time
from pathlib import Path

import pytest
from smtp_talk import RUA, Talk, authority, running

from dmarcview_smtp.settings import DoorSettings, Listener

BALANCER = ("127.0.0.0/30",)
V2 = b"\r\n\r\n\x00\r\nQUIT\n"
MAIL = b"a: b\r\n\r\nx\r\n.\r\n"


def v2(command: int, family: int, body: bytes) -> bytes:
    return V2 + struct.pack("!BBH", 0x20 | command, family, len(body)) + body


V2_INET = v2(1, 0x11, socket.inet_aton("198.51.100.9") + socket.inet_aton("192.0.2.1") + struct.pack("!HH", 4711, 25))
INET6 = socket.inet_pton(socket.AF_INET6, "2001:db8::9") + socket.inet_pton(socket.AF_INET6, "2001:db8::1")
HEADERS = {
    "v1": (b"PROXY TCP4 198.51.100.9 192.0.2.1 4711 25\r\n", "198.51.100.9"),
    "v1 IPv6": (b"PROXY TCP6 2001:db8::9 2001:db8::1 4711 25\r\n", "2001:db8::9"),
    "v1 unknown": (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
    "v2": (V2_INET, "198.51.100.9"),
    "v2 IPv6 with TLV": (v2(1, 0x21, INET6 + struct.pack("!HH", 4711, 25) + b"\x04\x00\x01x"), "2001:db8::9"),
    "v2 mapped": (
        v2(1, 0x21, b"\0" * 10 + b"\xff\xff" + socket.inet_aton("198.51.100.9") + INET6[16:] + b"\0" * 4),
        "198.51.100.9",
    ),
    "v2 local": (v2(0, 0x11, V2_INET[16:]), "127.0.0.1"),
    "v2 unspecified": (v2(1, 0x00, b""), "127.0.0.1"),
}
BROKEN = {
    "none": b"EHLO c.test\r\n",
    "no family": b"PROXY TCP5 198.51.100.9 192.0.2.1 4711 25\r\n",
    "no address": b"PROXY TCP4 mail.test 192.0.2.1 4711 25\r\n",
    "too few": b"PROXY TCP4\r\n",
    "only LF": b"PROXY TCP4 198.51.100.9 192.0.2.1 4711 25\n",
    "endless": b"PROXY TCP4 " + b"1" * 2000,
    "short v2": v2(1, 0x11, b"abc"),
    "v3": V2 + b"\x31\x11\x00\x00",
}


@pytest.mark.parametrize(("header", "address"), HEADERS.values(), ids=HEADERS)
def test_the_real_client_is_recorded(tmp_path: Path, header: bytes, address: str) -> None:
    with running(tmp_path, listeners=(Listener(port=0, proxy_peers=BALANCER),)) as site, Talk(site.port) as talk:
        talk.send(header)
        talk.hello()
        talk.envelope()
        assert talk.data(MAIL).startswith("250 ")
        assert site.mails()[0][0].client == address


@pytest.mark.parametrize("header", BROKEN.values(), ids=BROKEN)
def test_a_balancer_without_a_header_is_not_served(tmp_path: Path, header: bytes) -> None:
    with running(tmp_path, listeners=(Listener(port=0, proxy_peers=BALANCER),)) as site, Talk(site.port) as talk:
        talk.send(header)
        assert talk.line() == b""
        time.sleep(0.05)
        assert site.receiver.connections == 0


def test_a_header_from_anybody_else_is_not_believed(tmp_path: Path) -> None:
    with (
        running(tmp_path, listeners=(Listener(port=0, proxy_peers=("192.0.2.0/24",)),)) as site,
        Talk(site.port) as talk,
    ):
        talk.send(HEADERS["v1"][0])
        assert talk.reply().startswith("220 ")
        assert talk.reply() == "500 5.5.1 Command not known"
        talk.ask("EHLO c.test")
        talk.envelope()
        talk.data(MAIL)
        assert site.mails()[0][0].client == "127.0.0.1"


def test_a_balancer_that_stays_silent_is_cut(tmp_path: Path) -> None:
    limits = DoorSettings(tls_seconds=0.4, linger_seconds=0.3)
    listeners = (Listener(port=0, proxy_peers=BALANCER),)
    with running(tmp_path, limits=limits, listeners=listeners) as site, Talk(site.port) as talk:
        assert talk.reply().startswith("421 4.4.2")
        assert talk.closed()


def test_connections_count_for_the_real_client_not_for_the_balancer(tmp_path: Path) -> None:
    limits = DoorSettings(connections_per_client=1, greeting_wait=0, linger_seconds=0.3)
    with running(tmp_path, limits=limits, listeners=(Listener(port=0, proxy_peers=BALANCER),)) as site:
        talks = [Talk(site.port) for _ in range(3)]
        for talk, host in zip(talks, ("198.51.100.1", "198.51.100.2", "198.51.100.1"), strict=True):
            talk.send(f"PROXY TCP4 {host} 192.0.2.1 1 25\r\n".encode())
        assert [talk.reply()[:3] for talk in talks] == ["220", "220", "421"]
        for talk in talks:
            talk.sock.close()


@pytest.mark.parametrize("together", [True, False], ids=["in one packet", "apart"])
def test_the_header_stands_before_the_tls_handshake(tmp_path: Path, together: bool) -> None:
    import ssl

    ca = authority(tmp_path)
    listeners = (Listener(port=0, mode="tls", proxy_peers=BALANCER),)
    with running(tmp_path, listeners=listeners, **ca.settings) as site, Talk(site.port) as talk:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = ca.client_context().wrap_bio(incoming, outgoing, server_hostname="mx.example.test")
        with pytest.raises(ssl.SSLWantReadError):
            client.do_handshake()
        if together:
            talk.send(V2_INET + outgoing.read())
        else:
            talk.send(V2_INET)
            time.sleep(0.1)
            talk.send(outgoing.read())
        while True:
            incoming.write(talk.sock.recv(65536))
            try:
                client.do_handshake()
                break
            except ssl.SSLWantReadError:
                continue
        talk.send(outgoing.read())
        for _ in range(5):
            try:
                greeting = client.read(1000)
                break
            except ssl.SSLWantReadError:
                incoming.write(talk.sock.recv(65536))
        assert greeting.startswith(b"220 mx.example.test")


def test_lmtp_answers_once_for_each_recipient(tmp_path: Path) -> None:
    listeners = (Listener(port=0, protocol="lmtp"),)
    with running(tmp_path, listeners=listeners, ruf=("ruf@example.test",)) as site, Talk(site.port) as talk:
        assert talk.reply() == "220 mx.example.test LMTP ready"
        assert talk.ask("EHLO c.test").startswith("500 5.5.1")
        assert talk.ask("HELO c.test").startswith("500 5.5.1")
        assert "250-PIPELINING" in talk.ask("LHLO c.test")
        talk.ask("MAIL FROM:<>")
        replies = [talk.ask(f"RCPT TO:<{rcpt}>")[:3] for rcpt in (RUA, "no@no.test", "ruf@example.test")]
        assert replies == ["250", "550", "250"]
        assert talk.data(MAIL).startswith("250 2.0.0 Taken as ")
        assert talk.reply().startswith("250 2.0.0 Taken as ")
        [(origin, _)] = site.mails()
        assert (origin.channel, origin.rcpt_to) == ("lmtp", (RUA, "ruf@example.test"))
        talk.ask("MAIL FROM:<>")
        assert talk.ask("DATA") == "554 5.5.1 No valid recipients"
        talk.ask(f"RCPT TO:<{RUA}>")
        talk.ask("RCPT TO:<ruf@example.test>")
        assert talk.data(b"a: \x01\r\n\r\n.\r\n").startswith("550 5.6.0")
        assert talk.reply().startswith("550 5.6.0"), "refusals too come once for each recipient"
        assert talk.ask("QUIT").startswith("221 ")


def test_lmtp_on_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "lmtp.sock"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()  # what a killed process leaves
    with running(tmp_path, listeners=(Listener(path=str(path), path_mode=0o600, protocol="lmtp"),)) as site:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with smtplib.LMTP(str(path)) as client:
            client.sendmail("a@c.test", RUA, b"Subject: x\r\n\r\nx\r\n")
        [(origin, _)] = site.mails()
        assert (origin.client, origin.channel) == ("", "lmtp")
    assert not path.exists()
