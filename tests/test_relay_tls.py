"""TLS towards next hops: each policy, DANE and MTA-STS, logging in, and hosts that try to get around them."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import hashlib
import logging
import ssl
from collections.abc import Mapping
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from relay_servers import (
    QUICK,
    Certificates,
    FarHost,
    Table,
    courier,
    deliver,
    far,
    mail,
    serving,
    smart,
    world,
)

from dmarcview_relay.client_auth import Credentials, log_in
from dmarcview_relay.deliver import Courier, NotConnected
from dmarcview_relay.outcome import Link, RemoteReply
from dmarcview_relay.routes import hop
from dmarcview_relay.settings import RelaySettings, Route
from dmarcview_relay.sts import MtaSts, PolicyError, read_policy
from dmarcview_relay.wire import Reply

NAME = "mx.far.test"


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)


def over(host: FarHost, policy: str, ca: Path | str = "", table: Table | None = None, **more: bool) -> Link:
    """Deliver to far.test by its MX; give the way. Raises NotConnected."""

    async def run() -> Link:
        async with far(host):
            delivery = dataclasses.replace(QUICK, tls=policy, ca=str(ca), port=host.port, **more)  # type: ignore[arg-type]
            made = courier(table or world("127.0.0.1"), delivery)
            session = await made.connect(hop("far.test", made.settings))
            try:
                [reply] = await session.send(mail(), [], b"x\r\n") or [None]
                assert reply is None
                return session.link
            finally:
                await session.close()

    return asyncio.run(run())


def waits(host: FarHost, policy: str, ca: Path | str = "", table: Table | None = None, **more: bool) -> RemoteReply:
    """No session comes about, and nothing of the mail was said; the mail waits."""
    with pytest.raises(NotConnected) as caught:
        over(host, policy, ca, table, **more)
    assert not caught.value.reply.permanent
    assert not any(command.startswith(("MAIL", "AUTH")) for command in host.commands)
    return caught.value.reply


@pytest.mark.parametrize("policy", ["opportunistic", "encrypt", "verify", "dane"])
def test_tls_runs_and_is_told(policy: str, certificates: Certificates) -> None:
    host = FarHost(tls=certificates.context(NAME))
    link = over(host, policy, certificates.file)
    assert (link.tls_version, link.tls_trust) == ("TLSv1.3", "verified" if policy == "verify" else "encrypted")
    assert link.tls_cipher
    assert host.commands[:3] == ["EHLO relay.test", "STARTTLS", "EHLO relay.test"]


def test_none_never_begins_tls(certificates: Certificates) -> None:
    host = FarHost(tls=certificates.context(NAME))
    assert over(host, "none").tls_trust == "none"
    assert "STARTTLS" not in host.commands


@pytest.mark.parametrize("policy", ["opportunistic", "dane"])
def test_without_an_offer_opportunistic_goes_in_clear_and_never_says_starttls(policy: str) -> None:
    host = FarHost()
    assert over(host, policy) == Link("127.0.0.1", NAME, "127.0.0.1", "", "", "none")
    assert "STARTTLS" not in host.commands


@pytest.mark.parametrize("policy", ["encrypt", "verify"])
def test_without_an_offer_others_wait_and_say_what_to_do(policy: str) -> None:
    reply = waits(FarHost(), policy)
    assert (reply.enhanced, reply.stage) == ("4.7.10", "tls")
    assert f'tls = "{policy}"' in reply.text
    assert "[[relay.routes]]" in reply.text


def test_verify_wants_the_name_and_a_ca_that_is_believed(certificates: Certificates) -> None:
    for context in (certificates.context("other.test"), certificates.context(NAME, ca=trustme.CA())):
        reply = waits(FarHost(tls=context), "verify", certificates.file)
        assert (reply.enhanced, reply.stage) == ("4.7.5", "tls")
        assert "certificate" in reply.text
        assert "[[relay.routes]]" in reply.text
        assert over(FarHost(tls=context), "encrypt", certificates.file).tls_trust == "encrypted"


def test_a_handshake_that_fails_is_done_without_only_where_that_is_allowed(certificates: Certificates) -> None:
    old = certificates.context(NAME)
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    host = FarHost(tls=old)
    assert over(host, "opportunistic").tls_trust == "none"
    assert host.sessions == 2, "the second one in clear"
    assert waits(FarHost(tls=old), "encrypt").enhanced == "4.7.5"


@pytest.mark.parametrize("policy", ["encrypt", "verify"])
@pytest.mark.parametrize(
    "answer", [b"220 go\r\n250 injected\r\n", b"220 go\r\n250-half", b"454 4.7.0 not now\r\n", b"554 5.7.0 never\r\n"]
)
def test_bytes_behind_the_220_or_a_refused_starttls_end_the_session(
    policy: str, answer: bytes, certificates: Certificates
) -> None:
    host = FarHost(tls=certificates.context(NAME), answers={"STARTTLS": answer})
    assert waits(host, policy, certificates.file).stage == "tls"


def test_what_was_offered_before_tls_is_forgotten(certificates: Certificates) -> None:
    host = FarHost(tls=certificates.context(NAME), answers={"EHLO-TLS": b"250 far.test\r\n"})
    over(host, "verify", certificates.file)
    host = FarHost(tls=certificates.context(NAME), answers={"EHLO-TLS": b"250 far.test\r\n"})

    async def run() -> str:
        async with far(host):
            delivery = dataclasses.replace(QUICK, tls="verify", ca=str(certificates.file), port=host.port)
            await deliver(courier(world("127.0.0.1"), delivery))
            return next(command for command in host.commands if command.startswith("MAIL"))

    assert asyncio.run(run()) == "MAIL FROM:<a@sender.test>"


def test_requiretls_needs_a_proven_host_that_knows_it(certificates: Certificates) -> None:
    signed, unsigned = world("127.0.0.1", secure=True), world("127.0.0.1")
    no_mx = Table({("A", "far.test"): ("127.0.0.1",)})

    async def run(dns: Table, policy: str = "verify", offers: str = "REQUIRETLS", *, routed: bool = False) -> str:
        host = FarHost(tls=certificates.context(NAME, "far.test"), extensions=(offers,))
        async with far(host):
            delivery = dataclasses.replace(QUICK, tls=policy, ca=str(certificates.file), port=host.port, dnssec=True)
            routes = (Route(to=f"smtp://{NAME}:{host.port}"),) if routed else ()
            [reply] = await deliver(courier(dns, delivery, *routes), what=mail(require_tls=True))
            assert any(command.endswith(" REQUIRETLS") for command in host.commands) == reply.taken
            return reply.enhanced

    assert asyncio.run(run(signed)) == "2.0.0"
    assert asyncio.run(run(no_mx)) == "2.0.0", "the domain's own name is no claim of the DNS"
    assert asyncio.run(run(unsigned, routed=True)) == "2.0.0", "nor is the name in a route"
    assert asyncio.run(run(unsigned)) == "5.7.10", "whoever forges the MX record has a certificate, too"
    assert asyncio.run(run(signed, "encrypt")) == "5.7.10"
    assert asyncio.run(run(signed, offers="DSN")) == "5.7.30"


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 x\r\n\r\n", b"\x16\x03\x01\x00\x05hello"])
def test_a_server_that_fails_in_the_handshake_leaves_nothing_behind(answer: bytes) -> None:
    async def odd(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(answer)

    async def run() -> RemoteReply:
        async with serving(odd) as port:
            made = courier(None, dataclasses.replace(QUICK, tls="encrypt"), smart(port, "smtps", tls="encrypt"))
            with pytest.raises(NotConnected) as caught:
                await deliver(made)
            return caught.value.reply

    assert asyncio.run(run()).stage == "tls"


def test_tls_from_the_first_byte(certificates: Certificates) -> None:
    async def run(names: str) -> Link:
        async with far(FarHost(tls=certificates.context(names), implicit_tls=True)) as host:
            delivery = dataclasses.replace(QUICK, ca=str(certificates.file))
            made = courier(None, delivery, smart(host.port, "smtps", tls="verify"))
            session = await made.connect(hop("far.test", made.settings))
            await session.close()
            return session.link

    assert asyncio.run(run("127.0.0.1")).tls_trust == "verified"
    with pytest.raises(NotConnected, match="certificate"):
        asyncio.run(run("other.test"))


# DANE


def tlsa(ca_or_leaf: bytes, usage: int, selector: int, matching: int) -> str:
    certificate = x509.load_pem_x509_certificate(ca_or_leaf)
    data = certificate.public_bytes(Encoding.DER)
    if selector:
        data = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if matching:
        data = hashlib.new({1: "sha256", 2: "sha512"}[matching], data).digest()
    return f"{usage} {selector} {matching} {data.hex()}"


def with_tlsa(port: int, *records: str | None, secure: bool = True) -> Table:
    table = world("127.0.0.1", secure=secure)
    given = None if records == (None,) else tuple(record for record in records if record)
    return Table({**table.records, ("TLSA", f"_{port}._tcp.{NAME}"): given}, secure)


def dane(leaf: trustme.LeafCert, *records: str | None, policy: str = "dane", secure: bool = True, offers: bool = True,
         ca: str = "") -> Link | RemoteReply:  # fmt: skip
    """Deliver to a host with this certificate and these TLSA records."""

    async def run() -> Link | RemoteReply:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        leaf.configure_cert(context)
        async with far(FarHost(tls=context if offers else None)) as host:
            delivery = dataclasses.replace(QUICK, tls=policy, port=host.port, dnssec=True, ca=ca)
            made = courier(with_tlsa(host.port, *records, secure=secure), delivery)
            try:
                session = await made.connect(hop("far.test", made.settings))
            except NotConnected as failed:
                return failed.reply
            finally:
                assert not any(command.startswith("MAIL") for command in host.commands)
            await session.close()
            return session.link

    return asyncio.run(run())


@pytest.mark.parametrize("selector", [0, 1])
@pytest.mark.parametrize("matching", [0, 1, 2])
@pytest.mark.parametrize("usage", [2, 3])
def test_a_certificate_that_its_tlsa_record_names_is_proven(usage: int, selector: int, matching: int) -> None:
    ca = trustme.CA()
    between = ca.create_child_ca()
    leaf = between.issue_cert(NAME)
    leaf_pem, between_pem = (blob.bytes() for blob in leaf.cert_chain_pems[:2])
    record = tlsa(between_pem if usage == 2 else leaf_pem, usage, selector, matching)
    link = dane(leaf, "3 1 1 " + "00" * 32, record, policy="verify")
    assert isinstance(link, Link)
    assert link.tls_trust == "dane"
    other = dane(trustme.CA().issue_cert(NAME), record)
    assert isinstance(other, RemoteReply)
    assert other.enhanced == "4.7.5"
    assert "TLSA" in other.text


def test_a_trust_anchor_wants_the_name_and_an_end_entity_does_not() -> None:
    ca = trustme.CA()
    leaf = ca.create_child_ca().issue_cert("other.test")
    leaf_pem, between_pem = (blob.bytes() for blob in leaf.cert_chain_pems[:2])
    assert isinstance(dane(leaf, tlsa(leaf_pem, 3, 1, 1)), Link)
    assert isinstance(dane(leaf, tlsa(between_pem, 2, 1, 1)), RemoteReply)


def test_a_leaf_beside_a_trust_anchor_that_did_not_sign_it_proves_nothing() -> None:
    ca, stranger = trustme.CA(), trustme.CA()
    leaf = stranger.issue_cert(NAME)
    leaf.cert_chain_pems.append(ca.cert_pem)
    assert isinstance(dane(leaf, tlsa(ca.cert_pem.bytes(), 2, 0, 1)), RemoteReply)


def test_with_tlsa_records_tls_cannot_be_stripped() -> None:
    leaf = trustme.CA().issue_cert(NAME)
    record = tlsa(leaf.cert_chain_pems[0].bytes(), 3, 1, 1)
    reply = dane(leaf, record, offers=False, policy="opportunistic")
    assert isinstance(reply, RemoteReply)
    assert "TLSA" in reply.text
    for unusable in ("1 1 1 " + "00" * 32, "3 1 1 0011", "nonsense", "3 9 1 " + "00" * 32):
        assert isinstance(dane(leaf, unusable, offers=False), RemoteReply), "still a promise of TLS"
        link = dane(leaf, unusable)
        assert isinstance(link, Link)
        assert link.tls_trust == "encrypted"


def test_a_tlsa_look_up_that_fails_stops_this_host_only_where_dnssec_runs() -> None:
    leaf = trustme.CA().issue_cert(NAME)
    reply = dane(leaf, None)
    assert isinstance(reply, RemoteReply)
    assert "TLSA" in reply.text
    assert not reply.permanent
    assert isinstance(dane(leaf, None, secure=False), Link), "not even asked"


def test_records_that_dnssec_does_not_prove_count_for_nothing() -> None:
    link = dane(trustme.CA().issue_cert(NAME), "3 1 1 " + "00" * 32, secure=False)
    assert isinstance(link, Link)
    assert link.tls_trust == "encrypted"


# MTA-STS

POLICY = "version: STSv1\r\nmode: enforce\r\nmx: mx.far.test\r\nmx: *.far.test\r\nmax_age: 604800\r\n"


class World:
    """A domain with MTA-STS: its web server, its MX host, and the courier that asks."""

    def __init__(self, certificates: Certificates, folder: Path) -> None:
        self.certificates, self.folder = certificates, folder
        self.body, self.head = POLICY, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n"
        self.id = "1"
        self.web_name = "mta-sts.far.test"
        self.fetched = 0
        self.now = 1_000_000.0
        self.mx_tls: ssl.SSLContext | None = certificates.context(NAME)
        self.policy = "opportunistic"
        self.txt: tuple[str, ...] | None = None

    async def _web(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await writer.start_tls(self.certificates.context(self.web_name))
        request = await reader.readuntil(b"\r\n\r\n")
        assert request.startswith(b"GET /.well-known/mta-sts.txt HTTP/1.1\r\nHost: mta-sts.far.test\r\n")
        self.fetched += 1
        writer.write((self.head + self.body).encode())
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    def go(self, times: int = 1, sts: MtaSts | None = None) -> list[str]:
        """Connect so many times with the same courier; the trusts, or the refusals' enhanced codes."""

        async def run() -> list[str]:
            txt = self.txt if self.txt is not None else (f'"v=STSv1; id={self.id};"',)
            records: Mapping[tuple[str, str], tuple[str, ...] | None] = {
                **world("127.0.0.1").records,
                ("TXT", "_mta-sts.far.test"): txt,
                ("A", "mta-sts.far.test"): ("127.0.0.1",),
            }
            found = []
            async with serving(self._web) as web, far(FarHost(tls=self.mx_tls)) as host:
                delivery = dataclasses.replace(QUICK, tls=self.policy, ca=str(self.certificates.file), port=host.port)
                table = Table(records)
                sts = MtaSts(table, self.folder, lambda: self.now, port=web)
                made = Courier(RelaySettings(delivery=delivery), "relay.test", table, sts=sts)
                for _ in range(times):
                    try:
                        session = await made.connect(hop("far.test", made.settings))
                    except NotConnected as failed:
                        found.append(failed.reply.enhanced + " " + failed.reply.text)
                    else:
                        found.append(session.link.tls_trust)
                        await session.close()
            return found

        return asyncio.run(run())


@pytest.fixture
def sts(certificates: Certificates, tmp_path: Path) -> World:
    return World(certificates, tmp_path / "mta-sts")


def test_an_enforced_policy_raises_the_demand_and_is_fetched_once(sts: World) -> None:
    assert sts.go(3) == ["mta-sts"] * 3
    assert sts.fetched == 1
    sts.mx_tls = None
    [refusal] = sts.go()
    assert refusal.startswith("4.7.10 ")
    assert "MTA-STS" in refusal
    assert sts.fetched == 1, "it was on disk"


def test_a_host_with_a_wrong_certificate_or_name_gets_nothing(sts: World) -> None:
    sts.mx_tls = sts.certificates.context(NAME, ca=trustme.CA())
    assert sts.go()[0].startswith("4.7.5 ")
    sts.mx_tls = sts.certificates.context(NAME)
    sts.body, sts.id = POLICY.replace("far.test", "other.test"), "2"
    assert "names none of its MX hosts (mx.far.test)" in sts.go()[0]


def test_a_policy_outlasts_its_record_and_web_server_until_its_age_ends(sts: World) -> None:
    assert sts.go() == ["mta-sts"]
    sts.txt = ()
    assert sts.go() == ["mta-sts"]
    sts.txt, sts.id, sts.head = None, "2", "HTTP/1.1 404 Not Found\r\n\r\n"
    assert sts.go() == ["mta-sts"]
    sts.now += 604_801
    assert sts.go(2) == ["encrypted"] * 2
    assert sts.fetched == 3, "a failure is not repeated at once"
    assert not list(sts.folder.glob("*.json"))


def test_a_new_id_is_fetched_and_may_end_the_policy(sts: World) -> None:
    assert sts.go() == ["mta-sts"]
    sts.id, sts.body = "2", POLICY.replace("enforce", "none")
    assert sts.go() == ["encrypted"]


@pytest.mark.parametrize("mode", ["testing", "none"])
def test_other_modes_demand_nothing(sts: World, mode: str) -> None:
    sts.body, sts.mx_tls = POLICY.replace("enforce", mode), None
    assert sts.go() == ["none"]


@pytest.mark.parametrize(
    ("head", "body"),
    [
        ("HTTP/1.1 301 Moved\r\nLocation: https://evil.test/\r\n\r\n", POLICY),
        ("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n", POLICY),
        ("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n", POLICY + "x: y\r\n" * 20_000),
        ("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n", "version: STSv2\r\n"),
        ("HTTP/1.1 200 OK\r\n" + "X: y\r\n" * 500 + "\r\n", POLICY),
        ("not http\r\n\r\n", POLICY),
        ("", ""),
    ],
)
def test_what_is_no_policy_is_none(sts: World, head: str, body: str, caplog: pytest.LogCaptureFixture) -> None:
    sts.head, sts.body = head, body
    assert sts.go() == ["encrypted"]
    assert "MTA-STS of far.test: no policy: " in caplog.text


def test_a_web_server_whose_name_is_not_proven_is_not_believed(sts: World) -> None:
    sts.web_name = "evil.test"
    assert sts.go() == ["encrypted"]
    assert sts.fetched == 0


@pytest.mark.parametrize("txt", [('"v=STSv1; id=1"', '"v=STSv1; id=2"'), ('"v=STSv1;"',), ('"v=spf1 -all"',)])
def test_a_record_that_is_doubled_or_without_id_is_none(sts: World, txt: tuple[str, ...]) -> None:
    sts.txt = txt
    assert sts.go() == ["encrypted"]
    assert sts.fetched == 0


def test_files_of_the_cache_that_were_tampered_with_are_dropped(sts: World) -> None:
    sts.folder.mkdir()
    for name, text in {"a.test": "{", "b.test": '{"mode": 1}', "c.test": "[]"}.items():
        (sts.folder / f"{name}.json").write_text(text)
    assert sts.go() == ["mta-sts"]
    assert [path.name for path in sts.folder.glob("*")] == ["far.test.json"]


def test_policies_of_before_count_from_the_first_mails_on(sts: World) -> None:
    assert sts.go() == ["mta-sts"]
    kept = sts.folder / "far.test.json"
    later = MtaSts(Table(), sts.folder, lambda: sts.now)

    async def both() -> list[bool]:
        found = await asyncio.gather(*(later.policy("far.test", QUICK) for _ in range(5)))
        return [policy is not None and policy.mode == "enforce" for policy in found]

    assert asyncio.run(both()) == [True] * 5
    assert kept.exists()


@pytest.mark.parametrize(
    "text",
    [b"[" * 100_000, b"[]", b'{"mode": "enforce", "mx": [], "id": "1", "until": 1%s}' % (b"0" * 400), b"{}", b"\xff"],
    ids=["deep", "list", "huge", "empty", "bytes"],
)
def test_a_policy_that_the_disk_spoiled_is_forgotten(sts: World, text: bytes) -> None:
    sts.folder.mkdir()
    kept = sts.folder / "far.test.json"
    kept.write_bytes(text)
    assert asyncio.run(MtaSts(Table(), sts.folder, lambda: sts.now).policy("far.test", QUICK)) is None
    assert not kept.exists()


def test_a_star_stands_for_one_label() -> None:
    policy = read_policy(POLICY.replace("mx: mx.far.test\r\n", ""), "1", 0.0)
    assert policy.allows("a.far.test")
    assert not policy.allows("a.b.far.test")
    assert not policy.allows("far.test")
    for broken in ("mx: a b\nmax_age: 1", "mx: *\nmax_age: 1", "mx: a.test\nmax_age: -1", "max_age: 1", "mx: a.test"):
        with pytest.raises(PolicyError):
            read_policy(f"version: STSv1\nmode: enforce\n{broken}\n", "1", 0.0)


# logging in


def test_a_password_is_never_sent_or_logged_in_clear(
    certificates: Certificates, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = tmp_path / "secret"
    secret.write_text("pa55word\nsecond line\n")
    token = base64.b64encode(b"\0me\0pa55word").decode()

    async def run(offers: bool, answer: bytes) -> tuple[FarHost, str]:
        host = FarHost(
            extensions=("AUTH PLAIN LOGIN",), tls=certificates.context("smart.test") if offers else None,
            answers={"AUTH": answer},
        )  # fmt: skip
        async with far(host):
            route = dataclasses.replace(
                smart(host.port, tls="opportunistic"), to=f"smtp://smart.test:{host.port}", user="me",
                password_file=str(secret),
            )  # fmt: skip
            made = courier(Table({("A", "smart.test"): ("127.0.0.1",)}), QUICK, route)
            try:
                return host, str((await deliver(made))[0])
            except NotConnected as failed:
                return host, f"{failed.reply.code // 100} {failed.reply.text}"

    host, said = asyncio.run(run(True, b"235 2.7.0 welcome\r\n"))
    assert f"AUTH PLAIN {token}" in host.commands
    assert said.startswith("250")
    host, said = asyncio.run(run(True, f"535 5.7.8 wrong: {token} pa55word\r\n".encode()))
    assert said.startswith("4 "), "a wrong password of ours bounces no mail"
    assert "refused the password of user me: 535 5.7.8 wrong" in said
    assert not any(command.startswith("MAIL") for command in host.commands)
    assert "pa55word" not in caplog.text + said
    assert token not in caplog.text + said
    assert "pa55word" not in repr(Credentials("me", "pa55word"))
    secret.unlink()
    assert "password_file" in asyncio.run(run(True, b"235 x\r\n"))[1]


def test_a_password_waits_where_a_far_smarthost_offers_no_tls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("pa55word")
    monkeypatch.setattr("dmarcview_relay.deliver.near_loopback", lambda _: False)  # no far host is to be had here

    async def run() -> FarHost:
        async with far(FarHost(extensions=("AUTH PLAIN",))) as host:
            made = courier(None, QUICK, smart(host.port, tls="opportunistic", user="me", password_file=str(secret)))
            with pytest.raises(NotConnected, match="the password is not sent in clear"):
                await deliver(made)
            return host

    assert asyncio.run(run()).commands == ["EHLO relay.test", "QUIT"]


def scram(server: list[bytes]) -> tuple[str, list[str]]:
    """Log in at a host that answers so; give the fault and what was said."""
    asked: list[str] = []

    async def ask(line: str) -> Reply:
        asked.append(line)
        text = server[len(asked) - 1]
        code, _, rest = text.partition(b" ")
        nonce = base64.b64decode(asked[0].split()[-1]).split(b"r=")[1]
        if b"@" in rest:
            rest = base64.b64encode(rest.replace(b"@", nonce))
        return Reply(int(code), (rest,))

    return asyncio.run(log_in(Credentials("user", "pencil"), ["SCRAM-SHA-256", "PLAIN"], ask)), asked


@pytest.mark.parametrize(
    ("challenge", "fault"),
    [
        (b"r=@abc,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=1", "rounds"),
        (b"r=@abc,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=999999999", "rounds"),
        (b"r=@,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", "nonce"),
        (b"r=x@,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", "nonce"),
        (b"r=@abc,s=!!,i=4096", "no challenge"),
        (b"@", "no challenge"),
    ],
)
def test_a_host_that_cheats_in_scram_learns_nothing(challenge: bytes, fault: str) -> None:
    said, asked = scram([b"334 " + challenge])
    assert fault in said
    assert len(asked) == 1, "no proof was sent"


def test_a_host_that_does_not_know_the_password_cannot_pretend() -> None:
    challenge = b"334 r=@abc,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    said, _ = scram([challenge, b"334 dj1BQUFB", b"235 ok"])
    assert "did not prove" in said
    said, _ = scram([challenge, b"235 ok"])
    assert "did not prove" in said
    said, asked = scram([b"235 ok"])
    assert "without a proof" in said
    assert len(asked) == 1
    said, asked = scram([challenge, b"535 5.7.8 no"])
    assert "refused the password" in said
    assert len(asked) == 2
