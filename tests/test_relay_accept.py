"""Who may send what to whom, on a real socket; what is queued is what was allowed, signed and complete."""

from __future__ import annotations

import email
import email.policy
from pathlib import Path

import pytest
from relay_door import PASSWORD, plain, users_in
from relay_taking import DOMAIN, HOST, keys, mail, send, taking
from smtp_talk import RUA, Authority, Talk, authority

from dmarcview_relay.allow import AllowError
from dmarcview_relay.envelope import Recipient
from dmarcview_relay.settings import Care, Keys, Rates, RelayListener, RelaySettings
from dmarcview_relay.userfile import UserFile
from dmarcview_relay.users import UserRules
from dmarcview_smtp.address import Address

STARTTLS = (RelayListener(port=0, mode="starttls"),)


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("ca"))


def logged_in(talk: Talk, ca: Authority, name: str = "alice", password: str = PASSWORD) -> None:
    talk.hello()
    talk.ask("STARTTLS")
    talk.start_tls(ca.client_context())
    talk.ask("EHLO client.test")
    assert talk.ask(plain(name, password)).startswith("235 ")


def test_a_mail_is_answered_250_with_the_id_under_which_it_lies_signed_in_the_queue(tmp_path: Path) -> None:
    with taking(tmp_path) as relay, Talk(relay.port) as talk:
        talk.hello()
        answer = send(talk, mail("Subject: hello", "Bcc: hidden@example.org"))
        assert answer.startswith("250 2.0.0 Queued as ")
        queued, content = relay.last()
        assert (queued.sender, queued.recipients) == (
            Address("a", DOMAIN),
            (Recipient(Address("rua", "example.test")),),
        )
        assert (queued.from_domain, queued.dkim, queued.size) == (DOMAIN, ((DOMAIN, "s1"),), len(content))
        assert (queued.client, queued.user, queued.hold, queued.kind) == ("127.0.0.1", "", "", "mail")
        assert (queued.eight_bit, queued.utf8, queued.require_tls) == (False, False, False)
        read = email.message_from_bytes(content, policy=email.policy.SMTP)
        assert read.keys() == ["DKIM-Signature", "Received", "Message-ID", "Date", "From", "Subject"]
        assert read["Message-ID"] == queued.message_id
        identity = answer.split()[-1]
        way = read["Received"].replace("\t", " ")
        assert way.startswith(f"from client.test ([127.0.0.1]) by {HOST} with ESMTP id {identity}; ")
        assert b"hidden" not in content
        assert relay.counters == {"accepted": 1, "bytes": len(mail("Subject: hello", "Bcc: hidden@example.org")) - 3}


def test_nothing_is_allowed_by_default(tmp_path: Path) -> None:
    with taking(tmp_path, senders=(), recipients=()) as relay, Talk(relay.port) as talk:
        talk.hello()
        assert talk.ask("MAIL FROM:<a@client.test>") == "550 5.7.1 Sender a@client.test is not allowed here"
        assert talk.ask("MAIL FROM:<>") == "550 5.7.1 The null sender is not allowed here"
        assert relay.counters["sender_not_allowed"] == 2
    with taking(tmp_path / "b", recipients=()) as relay, Talk(relay.port) as talk:
        talk.hello()
        talk.ask("MAIL FROM:<a@client.test>")
        assert talk.ask(f"RCPT TO:<{RUA}>") == f"550 5.7.1 Recipient {RUA} is not allowed here"
        assert relay.count() == 0


@pytest.mark.parametrize(
    ("recipient", "answer"),
    {
        "postmaster": "550 5.7.1 Write the recipient with its domain",
        "a@[192.0.2.1]": "550 5.7.1 No mail is sent to address literals",
        f"a@{HOST}": "554 5.4.6 ",
        f"a@{HOST.upper()}": "554 5.4.6 ",
        "a@foreign.test": "250 ",
    }.items(),
)
def test_some_recipients_are_refused_though_everybody_is_allowed(tmp_path: Path, recipient: str, answer: str) -> None:
    with taking(tmp_path, recipients=("*",)) as relay, Talk(relay.port) as talk:
        talk.hello()
        talk.ask("MAIL FROM:<a@client.test>")
        assert talk.ask(f"RCPT TO:<{recipient}>").startswith(answer)


@pytest.mark.parametrize(
    ("fields", "answer"),
    {
        ("From: b@client.test",): "250 ",
        ("From: b@other.test",): "550 5.7.1 From b@other.test is not allowed here",
        ("From: b@client.test, c@client.test", "Sender: b@client.test"): "250 ",
        ("From: b@client.test", "Sender: c@other.test"): "550 5.7.1 From c@other.test is not allowed here",
        ("From: b@client.test, c@client.test",): "550 5.6.0 Several authors need a Sender",
        ("From: b@sub.client.test",): "550 5.7.1 ",
        ("Subject: nobody",): "550 5.6.0 The header has no From field",
    }.items(),
)
def test_every_author_and_the_sender_field_must_be_allowed(
    tmp_path: Path, fields: tuple[str, ...], answer: str
) -> None:
    with taking(tmp_path) as relay, Talk(relay.port) as talk:
        talk.hello()
        content = "".join(f"{line}\r\n" for line in (*fields, "", "x", ".")).encode()
        assert send(talk, content).startswith(answer)
        assert relay.count() == answer.startswith("250")


def test_froms_of_their_own_replace_the_senders_for_the_from_field(tmp_path: Path) -> None:
    with taking(tmp_path, senders=("bounces@client.test",), froms=("@client.test",)) as relay, Talk(relay.port) as talk:
        talk.hello()
        assert send(talk, mail(), sender="bounces@client.test").startswith("250 ")
        assert send(talk, mail(), sender="a@client.test").startswith("550 5.7.1 Sender")


def test_the_null_sender_is_taken_when_it_is_set_and_its_from_is_judged(tmp_path: Path) -> None:
    with taking(tmp_path, null_sender=True) as relay, Talk(relay.port) as talk:
        talk.hello()
        assert send(talk, mail(), sender="").startswith("250 ")
        assert relay.last()[0].sender is None
        assert send(talk, b"From: x@other.test\r\n\r\nx\r\n.\r\n", sender="").startswith("550 5.7.1 From x@other.test")


def test_who_comes_from_elsewhere_is_told_to_log_in_only_where_that_would_help(tmp_path: Path, ca: Authority) -> None:
    listeners = (*STARTTLS, RelayListener(port=0, mode="starttls", auth="none"), RelayListener(port=0))
    with taking(tmp_path, ca=ca, networks=("192.0.2.0/24",), listeners=listeners) as relay:
        for port, answer in zip(
            relay.ports,
            ("530 5.7.0 Log in first", "550 5.7.1 No mail is taken from your address", "550 5.7.1 "),
            strict=True,
        ):
            with Talk(port) as talk:
                talk.hello()
                assert talk.ask("MAIL FROM:<a@client.test>").startswith(answer)
                assert talk.ask(f"RCPT TO:<{RUA}>").startswith("503 ")
        assert relay.count() == 0


def test_a_login_opens_the_door_from_anywhere(tmp_path: Path, ca: Authority) -> None:
    users_in(tmp_path)
    with (
        taking(tmp_path, ca=ca, networks=(), users=tmp_path / "relay" / "users.json") as relay,
        Talk(relay.port) as talk,
    ):
        logged_in(talk, ca)
        assert send(talk, mail()).startswith("250 ")
        queued, content = relay.last()
        assert queued.user == "alice"
        assert b"ESMTPSA" in content
        assert b"alice" not in content, "who logged in is nobody's business"


def test_the_rules_of_a_user_narrow_and_neither_network_nor_they_themselves_widen(
    tmp_path: Path, ca: Authority
) -> None:
    file = UserFile(tmp_path / "users.json")
    file.add("narrow", PASSWORD, UserRules(senders=("n@client.test",), recipients=("@example.test",)))
    file.add("wide", PASSWORD, UserRules(senders=("*",), recipients=("*",)))
    file.add("author", PASSWORD, UserRules(froms=("x@client.test",)))
    from_n = b"From: n@client.test\r\n\r\nx\r\n.\r\n"
    with taking(tmp_path, ca=ca, users=tmp_path / "users.json", recipients=(RUA, "o@other.test")) as relay:
        with Talk(relay.port) as talk:
            logged_in(talk, ca, "narrow")
            assert send(talk, from_n, sender="n@client.test").startswith("250 ")
            assert send(talk, from_n, sender="a@client.test").startswith("550 5.7.1 Sender a@"), "the network may"
            assert send(talk, mail(), sender="n@client.test").startswith("550 5.7.1 From a@client.test")
            assert send(talk, from_n, sender="n@client.test", recipient="o@other.test").startswith("550 5.7.1 Recip")
            assert send(talk, from_n, sender="n@client.test", recipient="b@example.test").startswith("550 5.7.1 Recip")
        with Talk(relay.port) as talk:
            logged_in(talk, ca, "wide")
            assert send(talk, mail(), sender="x@other.test").startswith("550 5.7.1 Sender")
            assert send(talk, mail(), recipient="x@foreign.test").startswith("550 5.7.1 Recipient")
            assert send(talk, mail(), recipient="o@other.test").startswith("250 ")
        with Talk(relay.port) as talk:
            logged_in(talk, ca, "author")
            assert send(talk, mail()).startswith("550 5.7.1 From a@client.test")


def test_rules_that_change_or_end_count_from_the_next_command(tmp_path: Path, ca: Authority) -> None:
    path = tmp_path / "users.json"
    file = UserFile(path)
    file.add("alice", PASSWORD, UserRules())
    with taking(tmp_path, ca=ca, networks=(), users=path) as relay, Talk(relay.port) as talk:
        logged_in(talk, ca)
        assert send(talk, mail()).startswith("250 ")
        talk.envelope()
        file.set_rules("alice", UserRules(senders=("other@client.test",)))
        assert talk.data(mail()).startswith("550 5.7.1 Sender"), "judged again on what would be queued"
        file.set_rules("alice", UserRules(senders=("/no/such/file",)))
        assert talk.ask("MAIL FROM:<a@client.test>").startswith("451 4.3.5 ")
        file.set_rules("alice", UserRules())
        talk.envelope()
        file.remove("alice")
        assert talk.data(mail()).startswith(("530 5.7.0", "550 5.7.1"))
        assert relay.count() == 1


def test_without_a_key_the_answer_names_the_command_that_makes_one(tmp_path: Path) -> None:
    with taking(tmp_path, key_domains=()) as relay, Talk(relay.port) as talk:
        talk.hello()
        answer = send(talk, mail())
        assert answer.startswith("550 5.7.20 ")
        assert f"dmarcview key new {DOMAIN}" in answer
        assert relay.count() == 0
        keys(relay.folder.parent, DOMAIN)
        relay.policy._signer._ring.refresh()
        assert send(talk, mail()).startswith("250 ")


def test_dsn_parameters_and_needs_go_with_the_mail(tmp_path: Path, ca: Authority) -> None:
    with taking(tmp_path, ca=ca, recipients=("@example.test",)) as relay, Talk(relay.port) as talk:
        talk.hello()
        talk.ask("STARTTLS")
        talk.start_tls(ca.client_context())
        talk.ask("EHLO client.test")
        talk.ask("MAIL FROM:<a@client.test> RET=hdrs ENVID=QQ+3D1 REQUIRETLS SMTPUTF8 BODY=8BITMIME")
        talk.ask(f"RCPT TO:<{RUA}> NOTIFY=success,Delay ORCPT=rfc822;Old@x.test")
        talk.ask("RCPT TO:<jürgen@example.test>")
        talk.ask("RCPT TO:<RUA@example.TEST>")
        talk.ask("RCPT TO:<rua@EXAMPLE.test> NOTIFY=NEVER")
        assert talk.data("From: Jürgen <a@client.test>\r\n\r\nü\r\n.\r\n".encode()).startswith("250 ")
        queued, content = relay.last()
        assert queued.recipients == (
            Recipient(Address("rua", "example.test"), ("SUCCESS", "DELAY"), "rfc822;Old@x.test"),
            Recipient(Address("jürgen", "example.test")),
            Recipient(Address("RUA", "example.TEST")),
        ), "the same mailbox once; a local part may have case elsewhere"
        assert (queued.ret, queued.envid, queued.require_tls) == ("HDRS", "QQ+3D1", True)
        assert (queued.eight_bit, queued.utf8) == (True, True)
        assert b"with UTF8SMTPS id" in content


def test_an_eight_bit_body_is_taken_and_declared_though_the_client_did_not(tmp_path: Path) -> None:
    with taking(tmp_path) as relay, Talk(relay.port) as talk:
        talk.hello()
        assert send(talk, mail(body="grün")).startswith("250 ")
        assert (relay.last()[0].eight_bit, relay.last()[0].utf8) == (True, False)


def test_smtputf8_is_needed_only_by_what_is_not_ascii(tmp_path: Path) -> None:
    with taking(tmp_path) as relay, Talk(relay.port) as talk:
        talk.hello()
        talk.ask("MAIL FROM:<a@client.test> SMTPUTF8")
        talk.ask(f"RCPT TO:<{RUA}>")
        assert talk.data(mail()).startswith("250 ")
        assert not relay.last()[0].utf8


def test_a_host_that_says_helo_is_named_with_smtp(tmp_path: Path) -> None:
    with taking(tmp_path) as relay, Talk(relay.port) as talk:
        talk.hello("HELO")
        send(talk, mail())
        assert f"by {HOST} with SMTP id".encode() in relay.last()[1]


def test_a_large_mail_is_signed_in_a_thread_and_arrives_whole(tmp_path: Path) -> None:
    body = b"".join(b"%06d" % at + b"x" * 70 + b"\r\n" for at in range(20_000))
    with taking(tmp_path) as relay, Talk(relay.port) as talk:
        talk.hello()
        assert send(talk, b"From: a@client.test\r\n\r\n" + body + b".\r\n").startswith("250 ")
        queued, content = relay.last()
        assert content.endswith(b"\r\n\r\n" + body)
        assert queued.size == len(content)


# volume


def test_the_limits_by_the_hour_are_told_apart_and_pass_with_the_hour(tmp_path: Path, ca: Authority) -> None:
    now = [1_000_000 * 3_600.0]
    file = UserFile(tmp_path / "users.json")
    file.add("alice", PASSWORD, UserRules(rate=3))
    with taking(
        tmp_path,
        ca=ca,
        users=tmp_path / "users.json",
        recipients=("*",),
        rates=Rates(user_hour=50, client_hour=5, domain_hour=2),
        clock=lambda: now[0],
    ) as relay:
        with Talk(relay.port) as talk:
            talk.hello()
            for recipient in ("a@one.test", "b@one.test", "a@two.test"):
                assert send(talk, mail(), recipient=recipient).startswith("250 ")
            full = send(talk, mail(), recipient="c@ONE.test")
            assert full == "450 4.7.1 The hour's limit of this domain is reached, try again later"
            talk.ask("MAIL FROM:<a@client.test>")
            for recipient, code in {"a@3.test": "250", "a@4.test": "250", "a@5.test": "450 4.7.1 The hour's"}.items():
                assert talk.ask(f"RCPT TO:<{recipient}>").startswith(code)
            talk.ask("RSET")
            assert send(talk, mail(), recipient="a@6.test").startswith("250 "), "what was not sent is not counted"
            now[0] += 3_600 + 1_800  # half of the hour before is still inside
            for recipient, code in {"c@one.test": "250", "d@one.test": "450 4.7.1"}.items():
                assert send(talk, mail(), recipient=recipient).startswith(code)
        now[0] += 3 * 3_600
        with Talk(relay.port, source="127.0.0.2") as talk:
            logged_in(talk, ca)
            codes = [send(talk, mail(), recipient=f"a@{at}.test")[:3] for at in range(4)]
            assert codes == ["250", "250", "250", "450"], "three by the hour are hers"
        assert relay.counters["rate"] == 4


def test_two_sessions_at_once_cannot_both_have_the_last_place(tmp_path: Path) -> None:
    with (
        taking(tmp_path, rates=Rates(client_hour=1)) as relay,
        Talk(relay.port) as one,
        Talk(relay.port) as two,
    ):
        for talk in (one, two):
            talk.hello()
            talk.envelope()
        assert [talk.data(mail())[:9] for talk in (one, two)] == ["250 2.0.0", "450 4.7.1"]
        assert relay.count() == 1


# care


def test_hold_all_takes_and_signs_and_lets_nothing_go(tmp_path: Path) -> None:
    with taking(tmp_path, care=Care(hold_all=True)) as relay, Talk(relay.port) as talk:
        talk.hello()
        assert send(talk, mail()).startswith("250 ")
        assert relay.mails() == []
        assert relay.holds() == {"hold_all is set"}


def test_redirect_all_sends_everything_to_one_address_and_judges_the_recipients_all_the_same(tmp_path: Path) -> None:
    with (
        taking(tmp_path, recipients=("@example.test",), care=Care(redirect_all="me@client.test")) as relay,
        Talk(relay.port) as talk,
    ):
        talk.hello()
        talk.ask("MAIL FROM:<a@client.test>")
        for at in range(3):
            assert talk.ask(f"RCPT TO:<{at}@example.test>").startswith("250 ")
        assert talk.ask("RCPT TO:<x@other.test>").startswith("550 5.7.1")
        assert talk.data(mail()).startswith("250 ")
        queued, content = relay.last()
        assert queued.recipients == (Recipient(Address("me", DOMAIN)),)
        assert b"example.test;" not in content.split(b"\r\n\r\n")[0].replace(HOST.encode(), b"")


def test_more_mails_to_one_recipient_in_a_day_than_set_are_held(tmp_path: Path) -> None:
    with taking(tmp_path, care=Care(recipient_day=2)) as relay, Talk(relay.port) as talk:
        talk.hello()
        for _ in range(3):
            assert send(talk, mail()).startswith("250 ")
        assert len(relay.mails()) == 2
        assert relay.holds() == {"", f"recipient_day: {RUA} has had 2 mails today"}


@pytest.mark.parametrize(("check", "holds"), {"hold": {"dkim client.test s1: x"}, "warn": {""}, "off": {""}}.items())
def test_a_mail_whose_key_the_dns_does_not_show_waits_when_that_is_set(
    tmp_path: Path, check: str, holds: set[str]
) -> None:
    async def key_hold(dkim: object) -> str:
        assert dkim == ((DOMAIN, "s1"),)
        return "dkim client.test s1: x"

    with taking(tmp_path, key_hold=key_hold, keys=Keys(check=check)) as relay, Talk(relay.port) as talk:
        talk.hello()
        assert send(talk, mail()).startswith("250 ")
        assert relay.holds() == holds


def test_a_suppressed_recipient_is_refused_with_the_reason(tmp_path: Path) -> None:
    from dmarcview_relay.queue_admin import QueueAdmin

    with taking(tmp_path) as relay, Talk(relay.port) as talk:
        admin = QueueAdmin(relay.folder)
        admin.suppress(Address("rua", "example.test"), "550 5.1.1 gone\r\nfor good", 0.0, 2.0**40)
        admin.close()
        talk.hello()
        answer = send(talk, mail())
        assert answer.startswith("550 5.7.1 No mail is sent to this address for now: 550 5.1.1 gone")
        assert talk.ask("NOOP").startswith("250 "), "a line end in a reason is no line end here"


# our own faults


def test_a_full_disk_is_452_and_the_mail_can_be_sent_again(tmp_path: Path) -> None:
    room = [10**9]
    with taking(tmp_path, free=lambda _: room[0]) as relay, Talk(relay.port) as talk:
        talk.hello()
        room[0] = 0
        assert talk.ask("MAIL FROM:<a@client.test>").startswith("452 4.3.1 ")
        room[0] = 10**9
        talk.envelope()
        room[0] = 0
        assert talk.data(mail()).startswith("452 4.3.1 ")
        room[0] = 10**9
        assert send(talk, mail()).startswith("250 ")
        assert relay.count() == 1


def test_settings_that_cannot_be_used_leave_the_old_ones(tmp_path: Path) -> None:
    with taking(tmp_path) as relay, Talk(relay.port) as talk:
        for bad in (
            RelaySettings(senders=("no address@x",)),
            RelaySettings(recipients=("/no/such/file",)),
            RelaySettings(networks=("300.0.0.0/8",)),
            RelaySettings(care=Care(redirect_all="nobody")),
        ):
            with pytest.raises((AllowError, ValueError)):
                relay.policy.configure(bad)
        talk.hello()
        assert send(talk, mail()).startswith("250 ")
        relay.policy.configure(RelaySettings(senders=("b@client.test",), recipients=(RUA,)))
        assert send(talk, mail()).startswith("550 5.7.1 Sender"), "the new ones count at once"


def test_a_unix_socket_counts_as_this_machine(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with taking(tmp_path, listeners=(RelayListener(path=path),)), Talk(0, path=path) as talk:
        talk.hello()
        assert send(talk, mail()).startswith("250 ")
    with (
        taking(tmp_path / "b", networks=("192.0.2.0/24",), listeners=(RelayListener(path=path),)),
        Talk(0, path=path) as talk,
    ):
        talk.hello()
        assert send(talk, mail()).startswith("550 5.7.1 ")


def test_lmtp_gives_a_reply_for_each_recipient(tmp_path: Path) -> None:
    with (
        taking(tmp_path, listeners=(RelayListener(port=0, protocol="lmtp"),), recipients=("*",)) as relay,
        Talk(relay.port) as talk,
    ):
        talk.hello("LHLO")
        talk.ask("MAIL FROM:<a@client.test>")
        for at in range(3):
            talk.ask(f"RCPT TO:<{at}@example.test>")
        first = talk.data(mail())
        assert [first, talk.reply(), talk.reply()] == [first] * 3
        assert b" with LMTP id " in relay.last()[1]
