"""Programs that people send with, the whole relay, servers of the world: what was signed is what arrives."""

from __future__ import annotations

import contextlib
import smtplib
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import dkim
import pytest
from conftest import need, need_perl
from dkim_judges import Judge, judge_called, name_server
from peer_opensmtpd import opensmtpd
from peer_postfix import Postfix, postfix
from relay_running import RunningRelay, message_id, running_relay
from smtp_talk import Authority, authority
from test_relay_sign_judges import DOMAIN, LONG_DOMAIN, MAILS

from dmarcview_relay.dkimdns import record, zone_line
from dmarcview_relay.dns import SystemResolver
from dmarcview_relay.keys import SIGNING, KeyRing
from dmarcview_relay.settings import ClientLimits, Delivery, RelayListener, RelaySettings, Route, Schedule
from dmarcview_relay.userfile import UserFile
from dmarcview_relay.users import UserRules

NAME, PASSWORD = "shop", "a-long-password"
MODES = ("plain", "starttls", "tls")  # the relay's listeners, in this order
WORLDS = ("far.test", "bsd.test")  # a real Postfix by its MX over verified TLS, a real OpenSMTPD by a route
ABOVE = (b"Return-Path:", b"X-Original-To:", b"Delivered-To:", b"Received:")  # what those who pass on or keep add
RUN = b" " * 10_000  # dkimpy's time grows with the square of such a run


@dataclass
class World:
    """All that runs: name server, both far hosts, the relay."""

    relay: RunningRelay
    store: Postfix  # keeps what both far hosts took
    ca: Authority
    folder: Path
    records: dict[bytes, bytes]
    judge: Judge
    numbers: int = 0

    def tagged(self, mail: bytes) -> tuple[bytes, str]:
        """The mail with a Message-ID of its own."""
        self.numbers += 1
        name = f"{self.numbers}@example.org"
        assert b"<1@example.org>" in mail
        return mail.replace(b"<1@example.org>", f"<{name}>".encode(), 1), name

    def arrived(self, *names: str) -> list[bytes]:
        """These mails as the far host kept them, with CR LF."""
        until = time.monotonic() + 40
        while True:
            found = {message_id(mail): mail for mail in self.store.mails(0)}
            if found.keys() >= set(names) or time.monotonic() > until:
                assert found.keys() >= set(names), (set(names) - found.keys(), self.store.log()[-3000:])
                return [found[name].replace(b"\n", b"\r\n") for name in names]
            time.sleep(0.1)

    def signed_and_arrived(self, *names: str) -> list[bytes]:
        """These mails as they were signed, after all that is to be held of them: whole, and believed by all."""
        arrived = self.arrived(*names)
        for name, mail in zip(names, arrived, strict=True):
            assert without_traces(mail) == self.relay.signed[name], name
            if RUN not in mail:
                assert dkim.verify(mail, dnsfunc=self.record), name
        assert self.judge(arrived) == [{"rsa": "pass"}] * len(arrived)
        return [self.relay.signed[name] for name in names]

    def record(self, name: bytes, timeout: float = 5) -> bytes | None:
        """The key's record, for dkimpy."""
        return self.records.get(name.rstrip(b"."))


def without_traces(mail: bytes) -> bytes:
    """The mail without what was put above it on its way."""
    lines = mail.splitlines(keepends=True)
    at = 0
    while lines[at].startswith((*ABOVE, b"\t", b" ")):
        at += 1
    return b"".join(lines[at:])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("world")
    ca = authority(folder)
    ca.issue("localhost")
    ca.ca.cert_pem.write_to_path(folder / "ca.pem")
    far = Authority(ca.ca, folder / "far.pem", folder / "far-key.pem")
    far.issue("mx.far.test")
    ring = KeyRing(folder / "relay" / "keys")
    keys = [ring.new(domain, "rsa") for domain in (DOMAIN, LONG_DOMAIN)]
    ring.update([(key, replace(key, state=SIGNING)) for key in keys])
    UserFile(folder / "relay" / "users.json").add(NAME, PASSWORD, UserRules())
    zone = [zone_line(key.name, record(key)) for key in keys]
    zone += ["far.test. IN MX 10 mx.far.test.", "mx.far.test. IN A 127.0.0.1"]
    untouched = {"local_header_rewrite_clients": ""}  # no fields of its own for mails of this machine
    kept = {
        **untouched,
        "smtpd_tls_security_level": "encrypt",
        "smtpd_tls_chain_files": f"{far.key}, {far.chain}",
        "virtual_mailbox_domains": "far.test",
    }
    (folder / "judge").mkdir()
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(name_server(folder, "\n".join(zone)))
        store = stack.enter_context(postfix(kept))
        behind_bsd = {
            **untouched,
            "virtual_mailbox_domains": "bsd.test",
            "virtual_mailbox_base": f"{store.folder}/mail",
        }
        behind = stack.enter_context(postfix(behind_bsd))
        bsd = stack.enter_context(opensmtpd(behind.port))
        settings = RelaySettings(
            listeners=tuple(
                RelayListener(port=0, mode=mode, auth="none" if mode == "plain" else "required") for mode in MODES
            ),
            hostname="relay.example.org",
            senders=("@example.org", f"@{LONG_DOMAIN}", "@far.test"),
            recipients=("@far.test", "@bsd.test"),
            queue=Schedule(reserve_bytes=0, waits=(1,)),
            delivery=Delivery(ca=str(folder / "ca.pem"), port=store.port, private=True),
            routes=(Route(("bsd.test",), f"smtp://127.0.0.1:{bsd}"),),
            limits=ClientLimits(greeting_wait=0),
            **ca.settings,
        )
        resolver = SystemResolver([("127.0.0.1", port)])
        relay = stack.enter_context(running_relay(settings, folder / "relay", resolver))
        judge = stack.enter_context(judge_called("opendkim", folder / "judge", port))
        records = {key.name.encode(): record(key).encode() for key in keys}
        yield World(relay, store, ca, folder, records, judge)


Way = Callable[[World, str, bytes, str], None]  # hands in a mail by a mode, to a recipient


def options(mail: bytes) -> list[str]:
    """What is said of a mail in MAIL."""
    told = [] if mail.isascii() else ["BODY=8BITMIME"]
    return told if mail.partition(b"\r\n\r\n")[0].isascii() else [*told, "SMTPUTF8"]


def by_smtplib(world: World, mode: str, mail: bytes, recipient: str, sender: str = "a@example.org") -> None:
    context, port = world.ca.client_context(), world.relay.port(MODES.index(mode))
    with contextlib.ExitStack() as stack:
        if mode == "tls":
            client: smtplib.SMTP = stack.enter_context(smtplib.SMTP_SSL("localhost", port, context=context))
        else:
            client = stack.enter_context(smtplib.SMTP("localhost", port))
        if mode == "starttls":
            client.starttls(context=context)
        if mode != "plain":
            client.login(NAME, PASSWORD)
        client.sendmail(sender, [recipient], mail, options(mail))


def by_swaks(world: World, mode: str, mail: bytes, recipient: str) -> None:
    """swaks reads lines with LF, and ends the last one itself."""
    file = world.folder / "swaks.eml"
    file.write_bytes(mail.removesuffix(b"\r\n").replace(b"\r\n", b"\n"))
    port = world.relay.port(MODES.index(mode))
    command = [need("swaks", "swaks"), "--server", "localhost", "--port", str(port), "--helo", "client.example.org"]
    command += ["--from", "a@example.org", "--to", recipient, "--data", f"@{file}", "--pipeline"]
    command += {"plain": [], "starttls": ["-tls"], "tls": ["-tlsc"]}[mode]
    if mode != "plain":
        need_perl("Net::SSLeay", "libnet-ssleay-perl")
        command += ["--tls-verify", "--tls-ca-path", str(world.folder / "ca.pem")]
        command += ["--auth", "LOGIN" if mode == "tls" else "PLAIN", "-au", NAME, "-ap", PASSWORD]
    run(command, b"")


def by_msmtp(world: World, mode: str, mail: bytes, recipient: str) -> None:
    port = world.relay.port(MODES.index(mode))
    command = [need("msmtp", "msmtp"), "--host=localhost", f"--port={port}", "--from=a@example.org"]
    command += ["--file=/dev/null", "--domain=client.example.org"]
    if mode == "plain":
        command += ["--tls=off", "--auth=off"]
    else:
        command += ["--tls=on", f"--tls-starttls={'on' if mode == 'starttls' else 'off'}", "--auth=scram-sha-256"]
        command += [f"--tls-trust-file={world.folder / 'ca.pem'}", f"--user={NAME}", f"--passwordeval=echo {PASSWORD}"]
    run([*command, recipient], mail.replace(b"\r\n", b"\n"))


def run(command: list[str], given: bytes) -> None:
    done = subprocess.run(command, input=given, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@contextlib.contextmanager
def postfix_before(world: World, mode: str) -> Iterator[Postfix]:
    """A Postfix whose relayhost is our relay."""
    if mode != "plain" and not any(Path("/usr/lib").glob("*/sasl2/libscram.so")):
        need("libscram.so", "libsasl2-modules")
    settings = {
        "virtual_mailbox_domains": "",
        "relayhost": f"[localhost]:{world.relay.port(MODES.index(mode))}",
        "smtp_host_lookup": "native",
        "smtp_tls_security_level": "none" if mode == "plain" else "secure",
        "smtp_tls_wrappermode": "yes" if mode == "tls" else "no",
        "smtp_tls_secure_cert_match": "localhost",
        "smtp_tls_CAfile": str(world.folder / "ca.pem"),
        "smtp_sasl_auth_enable": "no" if mode == "plain" else "yes",
        "smtp_sasl_password_maps": f"static:{NAME}:{PASSWORD}",
        "smtp_sasl_security_options": "",
        "smtp_line_length_limit": "0",
        "smtputf8_enable": "yes",
        "message_size_limit": "0",
        "local_header_rewrite_clients": "",
    }
    with postfix(settings) as client:
        try:
            yield client
        finally:
            print(client.log())  # shown when the test fails


def hand_in(client: Postfix, mail: bytes, recipient: str) -> None:
    """To a Postfix."""
    with smtplib.SMTP("127.0.0.1", client.port) as smtp:
        smtp.sendmail("a@example.org", [recipient], mail, options(mail))


def received(mail: bytes) -> str:
    """The topmost Received field of a mail as our relay signed it, in one line."""
    field = mail[mail.index(b"\r\nReceived:") + 2 :]
    return b" ".join(field[: field.index(b"id ")].split()).decode()


BASIC = MAILS["dots"].replace(b"\r\n\r\n", b"\r\n\r\nHello\r\n\r\n", 1) + b".last  \r\n"
PROGRAMS = {"smtplib": by_smtplib, "swaks": by_swaks, "msmtp": by_msmtp}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("program", PROGRAMS)
def test_what_a_program_hands_in_arrives_signed_and_otherwise_unchanged(world: World, program: str, mode: str) -> None:
    names = []
    for far in WORLDS:
        mail, name = world.tagged(BASIC)
        PROGRAMS[program](world, mode, mail, f"b@{far}")
        names.append(name)
    for signed, name in zip(world.signed_and_arrived(*names), names, strict=True):
        assert signed.endswith(BASIC.replace(b"<1@example.org>", f"<{name}>".encode()))
        line = received(signed)
        assert f"with {'ESMTP' if mode == 'plain' else 'ESMTPSA'}" in line
        assert ("(TLSv1.3, " in line) == (mode != "plain")


def corpus(world: World) -> dict[str, bytes]:
    """All awkward mails as they go over the wire, by their Message-IDs; one that has none gets it from the relay."""
    mails = [mail if mail.endswith(b"\r\n") else mail + b"\r\n" for mail in MAILS.values()]
    return {name: mail for mail, name in (world.tagged(mail) for mail in mails if b"Message-ID" in mail)}


@pytest.mark.parametrize("far", WORLDS)
def test_awkward_mails_arrive_as_they_were_handed_in(world: World, far: str) -> None:
    mails = corpus(world)
    if far == "bsd.test":  # OpenSMTPD knows no SMTPUTF8
        mails = {name: mail for name, mail in mails.items() if "SMTPUTF8" not in options(mail)}
    for mail in mails.values():
        by_smtplib(world, "plain", mail, f"b@{far}")
    for signed, (name, mail) in zip(world.signed_and_arrived(*mails), mails.items(), strict=True):
        assert signed.endswith(mail), name


@pytest.mark.parametrize("mode", ["starttls", "tls"])
def test_a_postfix_that_logs_in_at_our_verified_name(world: World, mode: str) -> None:
    with postfix_before(world, mode) as client:
        names = []
        for far in WORLDS:
            mail, name = world.tagged(BASIC)
            hand_in(client, mail, f"b@{far}")
            names.append(name)
        for signed, name in zip(world.signed_and_arrived(*names), names, strict=True):
            assert signed.endswith(BASIC.replace(b"<1@example.org>", f"<{name}>".encode()))
            assert "with ESMTPSA" in received(signed)


def test_awkward_mails_from_a_postfix_arrive_as_they_were_signed(world: World) -> None:
    mails = corpus(world)
    with postfix_before(world, "plain") as client:
        for mail in mails.values():
            hand_in(client, mail, "b@far.test")
        for signed, (name, mail) in zip(world.signed_and_arrived(*mails), mails.items(), strict=True):
            assert signed.endswith(mail), name
            assert "with ESMTP" in received(signed) or "with UTF8SMTP" in received(signed)


def test_a_mail_without_date_and_id_gets_both_under_the_signature(world: World) -> None:
    before = set(world.relay.signed)
    by_smtplib(world, "plain", MAILS["few fields"], "b@far.test")
    (name,) = set(world.relay.signed) - before
    (signed,) = world.signed_and_arrived(name)
    assert signed.endswith(MAILS["few fields"])
    assert signed.count(b"\r\nDate: ") == signed.count(b"\r\nMessage-ID: <") == 1


def test_who_sent_what_a_far_host_cannot_take_gets_a_signed_bounce(world: World) -> None:
    before = set(world.relay.signed)
    mail, name = world.tagged(MAILS["smtputf8"])
    by_smtplib(world, "plain", mail, "b@bsd.test", sender="a@far.test")
    until = time.monotonic() + 30
    while len(found := set(world.relay.signed) - before - {name}) < 1 and time.monotonic() < until:
        time.sleep(0.05)
    (bounce,) = world.signed_and_arrived(*found)
    assert b"<MAILER-DAEMON@relay.example.org>" in bounce
    assert b"5.6.7" in bounce
    assert f"<{name}>".encode() in bounce
