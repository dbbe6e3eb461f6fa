"""Verifiers of other projects judge our signatures: they pass over awkward mails, and fail once a field is added."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
from dkim_judges import JUDGES, Judge, judge_called, name_server

from dmarcview_relay.dkimdns import Sight, look, record, zone_line
from dmarcview_relay.dns import SystemResolver
from dmarcview_relay.keys import SIGNING, KeyRing
from dmarcview_relay.sign import ALWAYS, Signer

DOMAIN = "example.org"
LONG_DOMAIN = f"{'long-label-' * 4}a.{'another-long-label-' * 3}b.example.org"
HEAD = (
    b"From: =?utf-8?q?A=C3=A4?= <a@example.org>\r\nTo: b@example.net\r\nSubject: A mail\r\n"
    b"Date: Mon, 05 Jan 2026 00:00:00 +0000\r\nMessage-ID: <1@example.org>\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n"
)
NESTED = (
    b"--out\r\nContent-Type: multipart/alternative; boundary=in\r\n\r\n--in\r\nContent-Type: text/plain\r\n\r\nhi\r\n"
    b"--in\r\nContent-Type: message/rfc822\r\n\r\nFrom: c@example.com\r\nSubject: in\r\n\r\nbody  \r\n\r\n--in--\r\n"
    b"\r\n--out--\r\n"
)


def folded_and_doubled() -> bytes:
    """A header with folds of every kind, tabs, and fields that stand twice."""
    return (
        HEAD.replace(b"Subject: A mail\r\n", b"SUBJECT:\r\n\tA  folded\r\n \t subject  \t\r\n")
        + b"Received: from one\r\n by two; Mon, 05 Jan 2026 00:00:01 +0000\r\nComments: first \r\nComments:\tsecond\r\n"
        + b"References: <1@a.example>\r\n\t<2@a.example>\r\n\t<3@a.example>\r\nList-Id:  a list <list.example.org>\r\n"
        + b"List-Unsubscribe: <https://example.org/u>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
        + b"Resent-To: c@example.net\r\nResent-To: d@example.net\r\nList-Post: <mailto:a@example.org>\r\n"
        + b"List-Post: NO\r\nX-Empty:\r\nReply-To: \r\n"
    )


MAILS = {
    "plain": HEAD + b"\r\nHello\r\n",
    "long lines": HEAD + b"\r\n" + (b"x" * 997 + b"\r\n") * 3 + b"y z " * 5_000 + b"\r\n",
    "eight bit": HEAD + "\r\nGrüße, 世界\r\n".encode() + bytes(range(0x80, 0x100)) + b"\r\n",
    "smtputf8": HEAD.replace(b"A mail", "Grüße 世界".encode()).replace(b"b@example", "bö@example".encode())
    + "\r\nüber\r\n".encode(),
    "nested mime": HEAD.replace(b"text/plain; charset=utf-8", b"multipart/mixed;\r\n boundary=out") + b"\r\n" + NESTED,
    "empty body": HEAD + b"\r\n",
    "blanks at the end": HEAD + b"\r\nline  \t \r\n \t\r\nlast \t \r\n\r\n \r\n\r\n",
    "one megabyte": HEAD + b"\r\n" + b"A line  of text\twith blanks inside it, as mails have them \r\n" * 17_000,
    "40,000 blanks in a line": HEAD + b"\r\n" + (b"a" + b" " * 40_000 + b"b\r\n") * 3 + b" " * 40_000 + b"\r\nend\r\n",
    "folded and doubled header": folded_and_doubled() + b"\r\nHello\r\n",
    "tabs": HEAD + b"\r\n\tone\t\ttwo \t three\t\r\n\t\r\n",
    "no final line end": HEAD + b"\r\nno end of line",
    "a final blank without line end": HEAD + b"\r\nno end of line \t ",
    "only line ends": HEAD + b"\r\n" + b"\r\n" * 50,
    "dots": HEAD + b"\r\n.\r\n..\r\n. \r\n",
    "few fields": b"From: a@example.org\r\n\r\nHello\r\n",
    "long domain": HEAD.replace(b"a@example.org", b"a@" + LONG_DOMAIN.encode()) + b"\r\nHello\r\n",
}


class World(NamedTuple):
    ring: KeyRing
    signer: Signer
    port: int
    folder: Path


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Keys of each kind that sign, and a name server that has the records as we print them for a zone file."""
    folder = tmp_path_factory.mktemp("judges")
    ring = KeyRing(folder / "keys")
    keys = [
        ring.new(DOMAIN, "rsa2048"),
        ring.new(DOMAIN, "rsa4096", bits=4096),
        ring.new(DOMAIN, "ed", algorithm="ed25519"),
        ring.new(LONG_DOMAIN, "a-selector-that-is-as-long-as-a-label-may-be-in-a-dns-63-bytesx", bits=2048),
    ]
    ring.update([(key, replace(key, state=SIGNING)) for key in keys])
    with name_server(folder, "\n".join(zone_line(key.name, record(key)) for key in keys)) as port:
        yield World(ring, Signer(ring), port, folder)


@pytest.fixture(scope="module", params=JUDGES)
def judge(request: pytest.FixtureRequest, world: World) -> Iterator[tuple[str, Judge]]:
    folder = world.folder / request.param
    folder.mkdir()
    with judge_called(request.param, folder, world.port) as one:
        yield request.param, one


def delivered(content: bytes) -> bytes:
    """A mail as it arrives: SMTP ends its last line (RFC 5321 section 4.1.1.4)."""
    return content if content.endswith(b"\r\n") else content + b"\r\n"


def rsa_and_known(name: str, verdict: dict[str, str]) -> dict[str, str]:
    """Mail::DKIM knows no Ed25519 and calls such a signature invalid."""
    return {selector: word for selector, word in verdict.items() if name != "mail_dkim" or selector != "ed"}


def test_every_judge_passes_every_signature_of_every_awkward_mail(judge: tuple[str, Judge], world: World) -> None:
    name, ask = judge
    signed = [world.signer.sign(mail, LONG_DOMAIN if case == "long domain" else DOMAIN) for case, mail in MAILS.items()]
    for case, one, verdict in zip(MAILS, signed, ask([delivered(one.content) for one in signed]), strict=True):
        found = rsa_and_known(name, verdict)
        wanted = {selector for _, selector in one.dkim} - ({"ed"} if name == "mail_dkim" else set())
        assert set(found) == wanted, (case, verdict)
        assert set(found.values()) == {"pass"}, (case, verdict)


@pytest.mark.parametrize("where", ["above", "below"])
def test_a_field_that_somebody_adds_breaks_every_signature(judge: tuple[str, Judge], world: World, where: str) -> None:
    name, ask = judge
    signed = world.signer.sign(MAILS["few fields"], DOMAIN).content
    full = world.signer.sign(MAILS["folded and doubled header"], DOMAIN).content
    names = {*ALWAYS, b"list-unsubscribe", b"list-id"}
    mails = []
    for field in sorted(names):
        added = field.title() + b": x@example.com\r\n"
        for mail in (signed, full) if field in ALWAYS else (full,):
            head, _, body = mail.partition(b"\r\n\r\n")
            head = added + head if where == "above" else head + b"\r\n" + added[:-2]
            mails.append(head + b"\r\n\r\n" + body)
    for mail, verdict in zip(mails, ask(mails), strict=True):
        found = rsa_and_known(name, verdict)
        assert "pass" not in found.values(), (mail[:60], verdict)


def test_a_changed_byte_of_the_body_breaks_it(judge: tuple[str, Judge], world: World) -> None:
    name, ask = judge
    content = world.signer.sign(MAILS["plain"], DOMAIN).content
    good, bad = ask([content, content.replace(b"Hello", b"Hullo")])
    assert set(rsa_and_known(name, good).values()) == {"pass"}
    assert "pass" not in bad.values()


def test_a_list_that_only_adds_its_own_fields_breaks_nothing(judge: tuple[str, Judge], world: World) -> None:
    name, ask = judge
    content = world.signer.sign(MAILS["plain"], DOMAIN).content
    added = b"Sender: list-bounces@example.com\r\nList-Id: <list.example.com>\r\nReceived: from a by b; now\r\n"
    (verdict,) = ask([added + content])
    assert set(rsa_and_known(name, verdict).values()) == {"pass"}


def test_the_relay_finds_every_key_at_a_real_name_server(world: World) -> None:
    resolver = SystemResolver([("127.0.0.1", world.port)])

    async def looked() -> list[Sight]:
        return [(await look(key, resolver))[0] for key in world.ring.all()]

    assert asyncio.run(looked()) == [Sight("ok")] * 4
    strange = replace(world.ring.all()[0], selector="other")
    assert asyncio.run(look(strange, resolver))[0].state == "missing"
