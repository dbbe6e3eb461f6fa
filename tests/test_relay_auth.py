"""Logins at the relay's door: the mechanisms, the order of things, guessing, certificates, and real clients."""

from __future__ import annotations

import logging
import smtplib
import ssl
import subprocess
import threading
import time
from pathlib import Path

import pytest
import trustme
from conftest import need, need_perl
from relay_door import FAST, PASSWORD, Clock, coded, house, limits, plain, secured
from smtp_talk import Authority, Talk, authority

from dmarcview_relay.lockout import PLACES, Lockout
from dmarcview_relay.scram import derive
from dmarcview_relay.settings import ClientCertificate, Login, RelayListener

WELCOME = "235 2.7.0 Welcome"
WRONG = "535 5.7.8 Wrong name or password"
LOCKED = "454 4.7.0 Too many wrong passwords, try again later"
CLOSING = "421 4.7.0 Too many wrong passwords, closing"
MALFORMED = "501 5.5.2 Not what this mechanism says"
IMPLICIT = RelayListener(port=0, mode="tls")


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("ca"))


def test_logins_are_neither_offered_nor_taken_before_tls(tmp_path: Path, ca: Authority) -> None:
    plain_door = RelayListener(port=0, mode="plain")
    with house(tmp_path, ca, RelayListener(port=0, mode="starttls"), plain_door) as here:
        for port in here.ports:
            with Talk(port) as talk:
                hello = talk.hello()
                assert "AUTH" not in hello
                assert "REQUIRETLS" not in hello
                for command in ("AUTH LOGIN", "AUTH PLAIN", plain("alice", PASSWORD), "auth external ="):
                    assert talk.ask(command) == "538 5.7.11 Start TLS first"


@pytest.mark.parametrize("listener", [RelayListener(port=0, mode="starttls"), IMPLICIT], ids=["starttls", "tls"])
def test_the_mechanisms_are_offered_within_tls(tmp_path: Path, ca: Authority, listener: RelayListener) -> None:
    with house(tmp_path, ca, listener) as here, Talk(here.port) as talk:
        if listener.mode == "tls":
            talk.start_tls(ca.client_context())
            hello = talk.hello()
        else:
            hello = secured(talk, ca)
        assert "\n250 AUTH PLAIN LOGIN SCRAM-SHA-256" in hello
        for line in ("PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "DSN", "REQUIRETLS"):
            assert f"\n250-{line}\n" in hello
        assert talk.ask(plain("alice", PASSWORD)) == WELCOME
        assert "AUTH" not in talk.ask("EHLO client.test"), "once is enough"


def test_a_listener_without_logins_takes_none(tmp_path: Path, ca: Authority) -> None:
    with house(tmp_path, ca, RelayListener(port=0, mode="starttls", auth="none")) as here, Talk(here.port) as talk:
        assert "AUTH" not in secured(talk, ca)
        assert talk.ask(plain("alice", PASSWORD)).startswith("502 ")


def test_a_listener_that_demands_a_login_takes_no_mail_before(tmp_path: Path, ca: Authority) -> None:
    with house(tmp_path, ca, RelayListener(port=0, mode="starttls", auth="required")) as here, Talk(here.port) as talk:
        talk.hello()
        assert talk.ask("MAIL FROM:<a@example.org>").startswith("538 ")
        assert talk.ask("STARTTLS").startswith("220 ")
        talk.start_tls(ca.client_context())
        talk.ask("EHLO client.test")
        assert talk.ask("MAIL FROM:<a@example.org>") == "530 5.7.0 Log in first"
        assert talk.ask(plain("alice", PASSWORD)) == WELCOME
        talk.envelope("x@example.net")
        assert talk.data(b"a: b\r\n\r\nx\r\n.\r\n").startswith("250 ")
        assert [taken.user for taken in here.policy.taken] == ["alice"]


def test_plain_and_login_in_every_form(tmp_path: Path, ca: Authority) -> None:
    with house(tmp_path, ca) as here:
        for steps in (
            [plain("alice", PASSWORD)],
            [plain("alice", PASSWORD, "alice").replace("AUTH PLAIN", "auth plain")],
            ["AUTH PLAIN", coded(f"\0alice\0{PASSWORD}")],
            ["AUTH LOGIN", coded("alice"), coded(PASSWORD)],
            ["AUTH LOGIN " + coded("alice"), coded(PASSWORD)],
        ):
            with Talk(here.port) as talk:
                secured(talk, ca)
                for step in steps[:-1]:
                    assert talk.ask(step).startswith("334 ")
                assert talk.ask(steps[-1]) == WELCOME, steps[0]


def test_the_prompts_of_login_are_the_usual_ones(tmp_path: Path, ca: Authority) -> None:
    with house(tmp_path, ca) as here, Talk(here.port) as talk:
        secured(talk, ca)
        assert talk.ask("AUTH LOGIN") == "334 VXNlcm5hbWU6"
        assert talk.ask(coded("alice")) == "334 UGFzc3dvcmQ6"
        assert talk.ask("*") == "501 5.7.0 Login cancelled"
        assert talk.ask("AUTH PLAIN") == "334 "
        assert talk.ask("*") == "501 5.7.0 Login cancelled"
        assert talk.ask(plain("alice", PASSWORD)) == WELCOME


def test_what_is_no_login_is_said_and_counts_as_no_guess(tmp_path: Path, ca: Authority) -> None:
    cases = {
        "AUTH": "504 5.5.4 Mechanism not offered",
        "AUTH CRAM-MD5": "504 5.5.4 Mechanism not offered",
        "AUTH EXTERNAL =": "504 5.5.4 Mechanism not offered",
        "AUTH SCRAM-SHA-256-PLUS": "504 5.5.4 Mechanism not offered",
        "AUTH PLAIN =": MALFORMED,
        "AUTH PLAIN !!!": MALFORMED,
        "AUTH PLAIN " + coded("alice"): MALFORMED,
        "AUTH PLAIN " + coded("\0alice\0"): MALFORMED,
        "AUTH PLAIN " + coded("\0alice\0x\0y"): MALFORMED,
        "AUTH PLAIN " + coded(b"\0alice\0\xff"): MALFORMED,
        plain("alice", PASSWORD, "bob@example.org"): MALFORMED,
        "AUTH SCRAM-SHA-256 " + coded("p=tls-unique,,n=alice,r=abc"): MALFORMED,
        "AUTH SCRAM-SHA-256 " + coded("n,,n=,r=abc"): MALFORMED,
        "AUTH SCRAM-SHA-256 " + coded("n,a=bob,n=alice,r=abc"): MALFORMED,
    }
    with house(tmp_path, ca, limits=limits(errors=100)) as here, Talk(here.port) as talk:
        secured(talk, ca)
        for command, reply in cases.items():
            assert talk.ask(command) == reply, command
        assert len(here.guard.lockout) == 0
        assert talk.ask(plain("alice", PASSWORD)) == WELCOME


def test_a_login_has_its_place_in_the_session(tmp_path: Path, ca: Authority) -> None:
    with house(tmp_path, ca) as here, Talk(here.port) as talk:
        talk.hello()
        talk.ask("STARTTLS")
        talk.start_tls(ca.client_context())
        assert talk.ask(plain("alice", PASSWORD)) == "503 5.5.1 Say hello first"
        talk.ask("EHLO client.test")
        assert talk.ask("MAIL FROM:<a@example.org>").startswith("250 ")
        assert talk.ask(plain("alice", PASSWORD)) == "503 5.5.1 One mail at a time"
        assert talk.ask("RSET").startswith("250 ")
        assert talk.ask(plain("alice", PASSWORD)) == WELCOME
        assert talk.ask(plain("alice", PASSWORD)) == "503 5.5.1 Logged in already"


def test_a_line_of_12288_octets_is_read_and_a_longer_one_refused(tmp_path: Path, ca: Authority) -> None:
    with house(tmp_path, ca, limits=limits(errors=100), login=Login(tries=9, delay=0)) as here, Talk(here.port) as talk:
        secured(talk, ca)
        room = 12_288 - len("AUTH PLAIN \r\n")
        long = plain("alice", "x" * (room // 4 * 3 - 7))
        assert 12_280 < len(long) <= 12_286
        assert talk.ask(long) == WRONG
        assert talk.ask("AUTH PLAIN " + "A" * 12_300) == "500 5.5.2 Line too long"
        assert talk.ask("AUTH PLAIN").startswith("334")
        assert talk.ask("A" * 12_300) == "500 5.5.6 Line of the login too long"
        assert talk.ask("AUTH LOGIN").startswith("334")
        assert talk.ask(coded("x" * 9_000)).startswith("334")
        assert talk.ask(coded("y" * 9_000)) == WRONG
        assert talk.ask("NOOP " + "A" * 600) == "500 5.5.2 Line too long"
        assert talk.ask(plain("alice", PASSWORD)) == WELCOME


def test_bytes_that_are_no_line_end_the_session(tmp_path: Path, ca: Authority) -> None:
    with house(tmp_path, ca) as here, Talk(here.port) as talk:
        secured(talk, ca)
        talk.ask("AUTH LOGIN")
        talk.send(b"YWxp\nY2U=\r\n")
        assert talk.reply().startswith("500 5.5.2")
        assert talk.closed()


def test_a_wrong_name_and_a_wrong_password_look_the_same(
    tmp_path: Path, ca: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with house(tmp_path, ca, login=Login(tries=20, failures=100, delay=0), limits=limits(errors=100)) as here:
        took: dict[str, list[float]] = {"alice": [], "nobody": [], "laptop": []}
        with Talk(here.port) as talk:
            secured(talk, ca)
            for _ in range(5):
                for name, times in took.items():
                    began = time.perf_counter()
                    assert talk.ask(plain(name, "Tr0ub4dor&3")) == WRONG
                    times.append(time.perf_counter() - began)
        best = {name: min(times) for name, times in took.items()}
        assert max(best.values()) < 3 * min(best.values()), best
        assert min(best.values()) > 0.01, "every one was hashed"
    assert "Tr0ub4dor&3" not in caplog.text
    assert "nobody" not in caplog.text, "it might be a password in the wrong field"
    assert "login failed: client 127.0.0.1, user alice" in caplog.text


def test_the_third_wrong_password_ends_the_connection(tmp_path: Path, ca: Authority) -> None:
    with house(tmp_path, ca) as here, Talk(here.port) as talk:
        secured(talk, ca)
        assert [talk.ask(plain("alice", f"wrong {n}")) for n in range(3)] == [WRONG, WRONG, CLOSING]
        assert talk.closed()
        assert here.policy.reasons["login_wrong"] == 3


def test_the_wait_after_a_wrong_password_grows_and_holds_nobody_else_up(tmp_path: Path, ca: Authority) -> None:
    with house(tmp_path, ca, login=Login(tries=9, delay=0.3)) as here, Talk(here.port) as talk, Talk(here.port) as near:
        secured(talk, ca)
        secured(near, ca)
        took = []
        for _ in range(2):
            talk.send(plain("alice", "wrong").encode() + b"\r\n")
            began = time.perf_counter()
            for _ in range(5):
                assert near.ask("NOOP").startswith("250")
            others = time.perf_counter() - began
            assert talk.reply() == WRONG
            took.append(time.perf_counter() - began)
            assert others < took[-1]
        assert took[0] >= 0.3
        assert took[1] >= 0.6


def test_the_wait_has_an_upper_bound() -> None:
    lockout = Lockout(Login(delay=1.0, failures=1_000), Clock())
    assert [lockout.delay("192.0.2.1", tries) for tries in (1, 2, 3, 60)] == [1, 2, 4, 30]


def test_a_client_that_guesses_is_locked_out_for_a_time(tmp_path: Path, ca: Authority) -> None:
    with house(tmp_path, ca, login=Login(tries=50, failures=4, delay=0), limits=limits(errors=50)) as here:
        with Talk(here.port) as talk:
            secured(talk, ca)
            for n in range(4):
                assert talk.ask(plain(f"name {n}", "wrong")) == WRONG
            assert talk.ask(plain("alice", PASSWORD)) == LOCKED, "even with the right one"
            first = "AUTH SCRAM-SHA-256 " + coded("n,,n=alice,r=abc")
            assert talk.ask(first) == LOCKED
        with Talk(here.port, source="127.0.0.2") as talk:
            secured(talk, ca)
            assert talk.ask(plain("alice", PASSWORD)) == WELCOME, "others are not"
        here.clock.now += 901
        with Talk(here.port) as talk:
            secured(talk, ca)
            assert talk.ask(plain("alice", PASSWORD)) == WELCOME


def test_strangers_lock_a_name_out_but_not_its_owner(tmp_path: Path, ca: Authority) -> None:
    with house(tmp_path, ca, login=Login(tries=50, failures=4, delay=0), limits=limits(errors=50)) as here:
        with Talk(here.port, source="127.0.0.5") as owner:
            secured(owner, ca)
            assert owner.ask(plain("alice", PASSWORD)) == WELCOME
        for n in range(4):
            with Talk(here.port, source=f"127.0.1.{n + 1}") as stranger:
                secured(stranger, ca)
                assert stranger.ask(plain("alice", "guess")) == WRONG
        with Talk(here.port, source="127.0.2.1") as stranger:
            secured(stranger, ca)
            assert stranger.ask(plain("alice", PASSWORD)) == LOCKED
            assert stranger.ask(plain("bob@example.org", "bob's own words")) == WELCOME, "another name"
        with Talk(here.port, source="127.0.0.5") as owner:
            secured(owner, ca)
            assert owner.ask(plain("alice", PASSWORD)) == WELCOME


def test_the_address_of_an_owner_may_not_guess_for_ever_either() -> None:
    clock = Clock()
    lockout = Lockout(Login(failures=3), clock)
    lockout.passed("2001:db8::1", "alice")
    for _ in range(3):
        assert not lockout.locked("2001:db8::2", "alice"), "the same /64"
        lockout.failed("2001:db8::2", "alice")
    assert lockout.locked("2001:db8::1", "alice")
    assert not lockout.locked("2001:db8::1", "bob"), "a slip of alice's locks nobody else out there"
    assert not lockout.locked("192.0.2.7", "alice")


def test_failures_long_ago_are_forgotten() -> None:
    clock = Clock()
    lockout = Lockout(Login(failures=2, lockout=100.0), clock)
    for _ in range(6):
        lockout.failed("192.0.2.1", "alice")
        clock.now += 101
    assert not lockout.locked("192.0.2.1", "alice")


def test_the_table_of_guesses_has_a_bound() -> None:
    lockout = Lockout(Login(), Clock(), entries=1_000)
    for n in range(5_000):
        lockout.failed(f"2001:db8:{n:x}::1", "x" * 200 + str(n))
    assert len(lockout) == 1_000
    for n in range(100):
        lockout.passed(f"192.0.2.{n}", "alice")
    homes = [n for n in range(100) if lockout._keys(f"192.0.2.{n}", "alice") != lockout._keys("203.0.113.1", "alice")
             and len(lockout._keys(f"192.0.2.{n}", "alice")) == 1]  # fmt: skip
    assert homes == list(range(100 - PLACES, 100))


def test_a_guess_counts_when_the_client_does_not_wait_for_the_answer(tmp_path: Path, ca: Authority) -> None:
    with house(tmp_path, ca, login=Login(failures=100, delay=0)) as here:
        for _ in range(5):
            with Talk(here.port) as talk:
                secured(talk, ca)
                talk.send(plain("alice", "wrong").encode() + b"\r\n")
        with Talk(here.port) as talk:  # the line of checks is short: this one comes behind
            secured(talk, ca)
            assert talk.ask(plain("bob@example.org", "wrong")) == WRONG
        deadline = time.monotonic() + 10
        while here.guard._checks and time.monotonic() < deadline:
            time.sleep(0.01)
        [key, _] = here.guard.lockout._keys("127.0.0.1", "")
        assert here.guard.lockout._count(key).failures == 6


def test_guesses_at_the_same_time_are_not_more_guesses(tmp_path: Path, ca: Authority) -> None:
    with house(tmp_path, ca, login=Login(failures=4, delay=0)) as here:
        answers: list[str] = []

        def guess(n: int) -> None:
            with Talk(here.port, timeout=30) as talk:
                secured(talk, ca)
                answers.append(talk.ask(plain("alice", f"guess {n}")))

        threads = [threading.Thread(target=guess, args=(n,)) for n in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(answers) == 16
        assert answers.count(WRONG) <= 5, "two may be hashed at once"


def test_a_removed_user_sends_no_more_and_a_new_password_counts_at_once(tmp_path: Path, ca: Authority) -> None:
    with house(tmp_path, ca, RelayListener(port=0, mode="starttls", auth="required")) as here, Talk(here.port) as talk:
        secured(talk, ca)
        assert talk.ask(plain("alice", PASSWORD)) == WELCOME
        here.file.set_password("alice", "another one")
        with Talk(here.port) as other:
            secured(other, ca)
            assert other.ask(plain("alice", PASSWORD)) == WRONG
            assert other.ask(plain("alice", "another one")) == WELCOME
        assert talk.ask("MAIL FROM:<a@example.org>").startswith("250")
        talk.ask("RSET")
        here.file.remove("alice")
        assert talk.ask("MAIL FROM:<a@example.org>").startswith("5")


def test_the_second_login_with_a_good_password_costs_no_hash(tmp_path: Path, ca: Authority) -> None:
    with house(tmp_path, ca) as here:
        for _ in range(2):
            with Talk(here.port) as talk:
                secured(talk, ca)
                assert talk.ask(plain("alice", PASSWORD)) == WELCOME
        assert here.guard._is_proved("alice", PASSWORD, here.guard.users.password("alice").hash)
        assert not here.guard._is_proved("alice", "", here.guard.users.password("alice").hash)
        assert not here.guard._is_proved("bob@example.org", "", here.guard.users.password("bob@example.org").hash)


# envelope parameters


def test_parameters_of_dsn_auth_and_requiretls_reach_the_policy(tmp_path: Path, ca: Authority) -> None:
    with house(tmp_path, ca) as here, Talk(here.port) as talk:
        secured(talk, ca)
        given = "RET=HDRS ENVID=QQ314159+2Ba AUTH=e+3Dmc2@example.com REQUIRETLS SIZE=10"
        assert talk.ask(f"MAIL FROM:<a@example.org> {given}").startswith("250")
        one = "NOTIFY=success,DELAY ORCPT=rfc822;Bob@example.com"
        assert talk.ask(f"RCPT TO:<b@example.net> {one}").startswith("250")
        assert talk.ask("RCPT TO:<c@example.net> NOTIFY=NEVER").startswith("250")
        assert talk.ask("RCPT TO:<d@example.net>").startswith("250")
        assert talk.data(b"a: b\r\n\r\nx\r\n.\r\n").startswith("250 ")
        [taken] = here.policy.taken
        assert taken.mail.parameters == {
            "RET": "HDRS", "ENVID": "QQ314159+2Ba", "AUTH": "e+3Dmc2@example.com", "REQUIRETLS": None, "SIZE": "10",
        }  # fmt: skip
        assert taken.mail.recipient_parameters == [
            {"NOTIFY": "success,DELAY", "ORCPT": "rfc822;Bob@example.com"}, {"NOTIFY": "NEVER"}, {},
        ]  # fmt: skip


def test_bad_values_of_parameters_are_refused(tmp_path: Path, ca: Authority) -> None:
    with house(tmp_path, ca, limits=limits(errors=100)) as here, Talk(here.port) as talk:
        secured(talk, ca)
        for bad in ("RET=ALL", "RET", "ENVID", "ENVID=a+0D+0Ab", "ENVID=a+b", "ENVID=" + "x" * 101, "AUTH=nobody",
                    "AUTH=a@b+00", "AUTH", "REQUIRETLS=1"):  # fmt: skip
            assert talk.ask(f"MAIL FROM:<a@example.org> {bad}") == "501 5.5.4 Bad value of a parameter", bad
        assert talk.ask("MAIL FROM:<a@example.org> NOTIFY=NEVER").startswith("555")
        assert talk.ask("MAIL FROM:<a@example.org> AUTH=<> ENVID=" + "x" * 100).startswith("250")
        for bad in ("NOTIFY", "NOTIFY=NEVER,DELAY", "NOTIFY=DELAY,DELAY", "NOTIFY=,", "NOTIFY=SOON", "ORCPT",
                    "ORCPT=rfc822", "ORCPT=;a@b", "ORCPT=rfc822;", "ORCPT=rfc822;a+0D+0AX:+20y",
                    "ORCPT=rfc822;" + "x" * 501):  # fmt: skip
            assert talk.ask(f"RCPT TO:<b@example.net> {bad}") == "501 5.5.4 Bad value of a parameter", bad
        assert talk.ask("RCPT TO:<b@example.net> RET=FULL").startswith("555")
        assert talk.ask("RCPT TO:<b@example.net> ORCPT=utf-8;\u00e9@example.net").startswith("501")
        assert talk.ask("RSET").startswith("250")
        talk.ask("MAIL FROM:<a@example.org> SMTPUTF8")
        assert talk.ask("RCPT TO:<b@example.net> ORCPT=utf-8;\u00e9@example.net").startswith("250")


def test_requiretls_is_refused_in_the_clear(tmp_path: Path, ca: Authority) -> None:
    with house(tmp_path, ca) as here, Talk(here.port) as talk:
        assert "\n250 DSN" in talk.hello()
        assert talk.ask("MAIL FROM:<a@example.org> REQUIRETLS").startswith("555")


# client certificates


def _with_certificate(ca: Authority, own: trustme.LeafCert | None) -> ssl.SSLContext:
    context = ca.client_context()
    if own is not None:
        own.configure_cert(context)
    return context


def _is_turned_away(talk: Talk, ca: Authority, own: trustme.LeafCert) -> bool:
    """Whether the handshake with this certificate fails; in TLS 1.3 the client learns it when it reads."""
    try:
        talk.start_tls(_with_certificate(ca, own))
        return not talk.sock.recv(1)
    except (ssl.SSLError, ConnectionError):
        return True


def test_a_certificate_of_the_private_ca_is_a_login(tmp_path: Path, ca: Authority) -> None:
    private = trustme.CA()
    private.cert_pem.write_to_path(tmp_path / "clients.pem")
    listener = RelayListener(port=0, mode="starttls", auth="required", client_ca=str(tmp_path / "clients.pem"))
    with house(tmp_path, ca, listener) as here:
        for names, common, user in (
            (["bob@example.org"], None, "bob@example.org"),
            (["host.example.test"], "laptop", "laptop"),
            (["stranger.example.test"], "nobody", ""),
        ):
            with Talk(here.port) as talk:
                talk.hello()
                talk.ask("STARTTLS")
                talk.start_tls(_with_certificate(ca, private.issue_cert(*names, common_name=common)))
                hello = talk.ask("EHLO client.test")
                assert ("EXTERNAL" in hello) == bool(user)
                if not user:
                    assert talk.ask("MAIL FROM:<a@example.org>") == "530 5.7.0 Log in first"
                    continue
                assert talk.ask("AUTH EXTERNAL " + coded("alice")) == MALFORMED
                assert talk.ask("AUTH EXTERNAL =") == WELCOME
                talk.envelope("x@example.net")
                assert talk.data(b"a: b\r\n\r\nx\r\n.\r\n").startswith("250 ")
                assert here.policy.taken.pop().user == user
        with Talk(here.port) as talk:
            talk.hello()
            talk.ask("STARTTLS")
            talk.start_tls(_with_certificate(ca, None))
            assert "EXTERNAL" not in talk.ask("EHLO client.test"), "none was shown"


def test_a_certificate_of_another_ca_gets_no_session(tmp_path: Path, ca: Authority) -> None:
    private, foreign = trustme.CA(), trustme.CA()
    private.cert_pem.write_to_path(tmp_path / "clients.pem")
    listener = RelayListener(port=0, mode="starttls", client_ca=str(tmp_path / "clients.pem"))
    with house(tmp_path, ca, listener) as here, Talk(here.port) as talk:
        talk.hello()
        talk.ask("STARTTLS")
        assert _is_turned_away(talk, ca, foreign.issue_cert("alice@example.org", common_name="alice"))


def test_a_pinned_certificate_is_a_login_and_signs_for_nobody(tmp_path: Path, ca: Authority) -> None:
    import hashlib

    private = trustme.CA()  # the file holds only what it issued: no CA is believed
    own = private.issue_cert("whoever.example.test")
    other = private.issue_cert("bob@example.org")
    der = ssl.PEM_cert_to_DER_cert(own.cert_chain_pems[0].bytes().decode())
    print_ = hashlib.sha256(der).hexdigest().upper()
    coloned = ":".join(print_[at : at + 2] for at in range(0, 64, 2))
    own.cert_chain_pems[0].write_to_path(tmp_path / "clients.pem")
    listener = RelayListener(port=0, mode="tls", client_ca=str(tmp_path / "clients.pem"))
    pinned = (ClientCertificate(coloned, "laptop"),)
    with house(tmp_path, ca, listener, pinned=pinned) as here:
        with Talk(here.port) as talk:
            talk.start_tls(_with_certificate(ca, own))
            talk.hello()
            talk.envelope("x@example.net")
            assert talk.data(b"a: b\r\n\r\nx\r\n.\r\n").startswith("250 ")
            assert here.policy.taken.pop().user == "laptop"
        with Talk(here.port) as talk:
            assert _is_turned_away(talk, ca, other)


# real clients


def test_smtplib_logs_in_by_plain_and_login(tmp_path: Path, ca: Authority) -> None:
    context = ca.client_context()
    context.check_hostname = False  # smtplib compares with 127.0.0.1
    with house(tmp_path, ca, RelayListener(port=0, mode="starttls"), IMPLICIT) as here:
        with smtplib.SMTP("127.0.0.1", here.ports[0]) as client:
            client.starttls(context=context)
            client.login("alice", PASSWORD)
            client.sendmail("a@example.org", ["b@example.net"], b"Subject: x\r\n\r\nx\r\n")
        with smtplib.SMTP_SSL("127.0.0.1", here.ports[1], context=context) as client:
            client.ehlo()
            client.user, client.password = "bob@example.org", "bob's own words"
            assert client.auth("LOGIN", client.auth_login)[0] == 235
            client.sendmail("bob@example.org", ["b@example.net"], b"Subject: y\r\n\r\ny\r\n")
        assert [taken.user for taken in here.policy.taken] == ["alice", "bob@example.org"]


@pytest.mark.parametrize("mechanism", ["plain", "login", "scram-sha-256"])
def test_msmtp_logs_in(tmp_path: Path, ca: Authority, mechanism: str) -> None:
    msmtp = need("msmtp", "msmtp")
    ca.ca.cert_pem.write_to_path(tmp_path / "root.pem")
    with house(tmp_path, ca, RelayListener(port=0, mode="starttls"), IMPLICIT) as here:
        for port, starttls in zip(here.ports, ("on", "off"), strict=True):
            command = [
                msmtp, "--file=/dev/null", "--host=127.0.0.1", f"--port={port}", "--tls=on", "--tls-certcheck=off",
                f"--tls-starttls={starttls}", f"--auth={mechanism}", "--user=alice",
                f"--passwordeval=echo '{PASSWORD}'", "--from=a@example.org", "b@example.net",
            ]  # fmt: skip
            done = subprocess.run(command, input=b"Subject: x\n\nx\n", capture_output=True, timeout=60, check=False)
            assert done.returncode == 0, done.stderr.decode()
        assert [taken.user for taken in here.policy.taken] == ["alice", "alice"]


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_swaks_logs_in(tmp_path: Path, ca: Authority, mechanism: str) -> None:
    swaks = need("swaks", "swaks")
    need_perl("Net::SSLeay", "libnet-ssleay-perl")
    with house(tmp_path, ca, RelayListener(port=0, mode="starttls")) as here:
        base = [
            swaks, "--server", "127.0.0.1", "--port", str(here.port), "--from", "a@example.org",
            "--to", "b@example.net", "--auth", mechanism, "--auth-user", "alice", "--auth-password",
        ]  # fmt: skip
        done = subprocess.run([*base, PASSWORD, "--tls"], capture_output=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout.decode()
        wrong = subprocess.run([*base, "wrong", "--tls"], capture_output=True, timeout=60, check=False)
        assert wrong.returncode == 28, "no login"
        in_clear = subprocess.run([*base, PASSWORD], capture_output=True, timeout=60, check=False)
        assert in_clear.returncode == 28, "none is offered"
        assert PASSWORD.encode() not in in_clear.stdout
        assert [taken.user for taken in here.policy.taken] == ["alice"]


def test_scram_challenges_for_unknown_names_never_change(tmp_path: Path, ca: Authority) -> None:
    with house(tmp_path, ca, login=FAST) as here, Talk(here.port) as talk:
        secured(talk, ca)
        seen = []
        for name in ("nobody", "nobody", "alice", "laptop"):
            import base64

            reply = talk.ask("AUTH SCRAM-SHA-256 " + coded(f"n,,n={name},r=abc"))
            assert reply.startswith("334 ")
            seen.append(base64.b64decode(reply[4:]).split(b",", 1)[1])
            assert talk.ask("*").startswith("501")
        assert seen[0] == seen[1]
        assert len({len(one) for one in seen}) == 1
        assert derive(PASSWORD, b"x" * 16).iterations == int(seen[2].split(b"i=")[1])
