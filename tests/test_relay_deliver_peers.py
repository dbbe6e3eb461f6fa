"""The relay's client and the mail servers that the world runs: what they stored is what was signed."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from conftest import need
from peer_opensmtpd import opensmtpd
from peer_postfix import Postfix, free_port, postfix, wait_for
from relay_servers import QUICK, FarHost, courier, deliver, far, mail, smart, to, world

from dmarcview_relay.client import Client
from dmarcview_relay.outcome import RemoteReply
from dmarcview_relay.routes import hop

CONTENT = (
    b"From: a@sender.test\r\nTo: b@far.test\r\nSubject: awkward\r\nMessage-ID: <1@sender.test>\r\n"
    b"Date: Mon, 02 Mar 2026 10:00:00 +0000\r\n\r\n"
    b".\r\n..\r\n.a\r\n\r\n  trailing blanks  \r\n" + b"x" * 998 + b"\r\n\t\r\nend\r\n"
)
PATIENT = dataclasses.replace(QUICK, connect=20.0, command=20.0, final=20.0)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """CA, chain and key of mx.far.test."""
    folder = tmp_path_factory.mktemp("certificate")
    ca = trustme.CA()
    leaf = ca.issue_cert("mx.far.test")
    ca.cert_pem.write_to_path(folder / "ca.pem")
    (folder / "chain.pem").write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    leaf.private_key_pem.write_to_path(folder / "key.pem")
    return folder / "ca.pem", folder / "chain.pem", folder / "key.pem"


@pytest.fixture(scope="module")
def server(certificate: tuple[Path, Path, Path]) -> Iterator[Postfix]:
    """A Postfix that offers STARTTLS."""
    _, chain, key = certificate
    settings = {
        "smtpd_tls_security_level": "may",
        "smtpd_tls_chain_files": f"{key}, {chain}",
        "smtpd_tls_received_header": "yes",
        "message_size_limit": "100000",
        "virtual_mailbox_limit": "0",
    }
    with postfix(settings) as running:
        yield running


def test_postfix_stores_what_we_sent_over_verified_tls(server: Postfix, certificate: tuple[Path, Path, Path]) -> None:
    async def run() -> list[RemoteReply]:
        delivery = dataclasses.replace(PATIENT, tls="verify", ca=str(certificate[0]), port=server.port)
        made = courier(world("127.0.0.1"), delivery)
        session = await made.connect(hop("far.test", made.settings))
        assert isinstance(session, Client)
        assert (session.link.host, session.link.tls_trust, session.link.tls_version) == (
            "mx.far.test",
            "verified",
            "TLSv1.3",
        )
        assert {"PIPELINING", "SIZE", "8BITMIME", "DSN"} <= session.extensions.keys()
        replies = []
        for _ in range(3):
            assert session.usable
            replies += await session.send(mail(), to("b@far.test", "c@far.test"), CONTENT)
        await session.close()
        return replies

    replies = asyncio.run(run())
    assert all(re.fullmatch(r"Ok: queued as \w+|2\.0\.0 Ok: queued as \w+", reply.text) for reply in replies), replies
    for stored in server.mails(6):
        head, _, rest = stored.partition(b"From: a@sender.test\n")
        assert b"From: a@sender.test\n" + rest == CONTENT.replace(b"\r\n", b"\n")
        assert b"using TLSv1.3" in head
        assert b"from relay.test (unknown [127.0.0.1])" in head


def test_postfix_refusals_come_whole(server: Postfix, certificate: tuple[Path, Path, Path]) -> None:
    async def run() -> list[RemoteReply]:
        made = courier(None, PATIENT, smart(server.port))
        replies = await deliver(made, "b@far.test", "b@not-far.test", content=CONTENT)
        replies += await deliver(made, content=CONTENT + b"x" * 76 + b"\r\n" * 100_000)
        return replies

    taken, relayed, large = asyncio.run(run())
    assert taken.taken
    assert relayed.taken, "this Postfix relays for loopback"
    assert str(large).startswith("552 5.3.4 127.0.0.1 takes mails of at most 100000 bytes")


def test_postfix_that_trusts_nobody_refuses_each_recipient_by_itself(certificate: tuple[Path, Path, Path]) -> None:
    with postfix({"mynetworks": "192.0.2.1/32", "virtual_mailbox_maps": "inline:{ b@far.test=box/ }"}) as strict:

        async def run() -> list[RemoteReply]:
            return await deliver(courier(None, PATIENT, smart(strict.port)), "b@far.test", "no@far.test", "x@y.test")

        taken, unknown, foreign = asyncio.run(run())
        assert taken.taken
        assert (unknown.code, unknown.enhanced, unknown.stage) == (550, "5.1.1", "rcpt")
        assert "User unknown in virtual mailbox table" in unknown.text
        assert (foreign.code, foreign.enhanced) == (454, "4.7.1")
        assert len(strict.mails(1)) == 1


@contextlib.contextmanager
def sink(*options: str) -> Iterator[int]:
    """Postfix's smtp-sink with these options."""
    port = free_port()
    drop = [] if os.geteuid() else ["-u", "nobody"]
    program = need("smtp-sink", "postfix")
    process = subprocess.Popen([program, *drop, *options, f"127.0.0.1:{port}", "50"], stdout=subprocess.DEVNULL)
    try:
        wait_for(port)
        yield port
    finally:
        process.terminate()
        process.wait(10)


@pytest.mark.parametrize(
    ("options", "code", "stage"),
    [
        ((), 250, "body"),
        (("-p",), 250, "body"),  # no PIPELINING
        (("-e",), 250, "body"),  # no ESMTP at all
        (("-8", "-E"), 250, "body"),
        (("-r", "rcpt"), 450, "rcpt"),
        (("-f", "mail"), 500, "mail"),
        (("-f", "."), 500, "body"),
        (("-q", "data"), 421, "data"),
        (("-q", "."), 421, "body"),
        (("-Q", "rcpt"), 421, "rcpt"),
    ],
)
def test_smtp_sink_in_its_moods(options: tuple[str, ...], code: int, stage: str) -> None:
    with sink(*options) as port:
        [reply] = asyncio.run(deliver(courier(None, PATIENT, smart(port)), content=CONTENT))
        assert (reply.code, reply.stage) == (code, stage), reply


def test_smtp_sink_speaks_lmtp() -> None:
    with sink("-L") as port:
        replies = asyncio.run(deliver(courier(None, PATIENT, smart(port, "lmtp")), "b@far.test", "c@far.test"))
        assert [reply.code for reply in replies] == [250, 250]


def test_opensmtpd_passes_on_what_we_sent(certificate: tuple[Path, Path, Path]) -> None:
    """Debian's build offers TLS and fails in the handshake, with every client: then opportunistic goes in clear."""
    _, chain, key = certificate

    async def run() -> FarHost:
        async with far(FarHost()) as onward:
            manager = opensmtpd(onward.port, chain, key)
            port = await asyncio.to_thread(manager.__enter__)
            try:
                made = courier(None, PATIENT, smart(port, tls="opportunistic"))
                [reply] = await deliver(made, content=CONTENT)
                assert reply.code == 250, reply
                async with asyncio.timeout(40):
                    while not onward.mails:  # noqa: ASYNC110 (another process delivers)
                        await asyncio.sleep(0.05)
            finally:
                await asyncio.to_thread(manager.__exit__, None, None, None)
            return onward

    [passed] = asyncio.run(run()).mails
    head, found, rest = passed.partition(b"From: a@sender.test\r\n")
    assert found + rest == CONTENT
    assert b"from relay.test" in head
