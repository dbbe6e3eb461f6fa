"""The receiver is no relay: in whatever form an address is written, only the configured ones are taken."""

from __future__ import annotations

from pathlib import Path

import pytest
from smtp_talk import RUA, Authority, Running, Talk, authority, running

from dmarcview_reports.receive import Receiver, ReceiveSettings
from dmarcview_reports.spool import Spool
from dmarcview_smtp.settings import DoorSettings, Listener

FOREIGN = "victim@foreign.test"
# ruff: noqa: E501 (forms of a kind stand together)
FORMS = [
    # plain
    f"<{FOREIGN}>", FOREIGN, "<victim>", "<rua>", "rua@example.test", "<@example.test>", "<>", "<<>>", "<victim@localhost>",
    # the percent hack, bangs, quoted @
    "<victim%foreign.test@example.test>", "<victim%foreign.test>", "<victim%foreign.test@[127.0.0.1]>",
    "<victim%foreign.test@mx.example.test>", "<foreign.test!victim>", "<foreign.test!victim@example.test>",
    "<example.test!foreign.test!victim>", '<"victim@foreign.test">', '<"victim@foreign.test"@example.test>',
    '<"rua@example.test"@foreign.test>', '<"victim%foreign.test"@example.test>', '<"foreign.test!victim"@example.test>',
    '<"rua"x@example.test>', '<victim@foreign.test@example.test>', "<victim@foreign.test@>", "<victim@@foreign.test>",
    # source routes lead to where they say
    f"<@example.test:{FOREIGN}>", f"<@mx.example.test,@example.test:{FOREIGN}>", f"<@[127.0.0.1]:{FOREIGN}>",
    f"<@example.test;{FOREIGN}>", "<@example.test:victim>", f"<@foreign.test:{RUA}",
    # brackets
    f"<<{FOREIGN}>>", f"<<{RUA}>>", f"<{RUA}", f"{RUA}>", f"<{RUA}><{FOREIGN}>", f"<{RUA}>,<{FOREIGN}>", f"<{RUA},{FOREIGN}>",
    f"<{RUA}; {FOREIGN}>", f"<{RUA}>{FOREIGN}", f"Rua <{RUA}>",
    # literals
    "<rua@[127.0.0.1]>", "<victim@[192.0.2.1]>", "<victim@[IPv6:2001:db8::1]>", "<rua@127.0.0.1>", "<rua@2130706433>",
    "<postmaster@[192.0.2.1]>", "<postmaster@foreign.test>", "<postmaster%foreign.test>", "<postmaster@>",
    # dots, labels, near misses
    "<rua@example.test.>", "<rua@.example.test>", "<rua@example..test>", "<rua@example.test.foreign.test>",
    "<rua@sub.example.test>", "<rua@xexample.test>", "<rua@example.tes>", "<rua@examp1e.test>", "<rua.@example.test>",
    "<.rua@example.test>", "<rua+x@example.test>", "<xrua@example.test>", "<rua@example_test>",
    # blanks, tabs, comments, control bytes
    f"< {RUA}>", f"<{RUA} >", "<rua @example.test>", "<rua@ example.test>", "<rua\t@example.test>", f"\t<{RUA}>",
    "<rua(comment)@example.test>", f"<(x){RUA}>", f"<{RUA}(x)>", "<rua@example.test\x01>", '<"rua\x7f"@example.test>',
    # encoded words: what the letters decode to is nobody's business
    "<=?utf-8?q?rua?=@example.test>", "<=?utf-8?q?victim=40foreign.test?=@example.test>",
    "<=?utf-8?q?x=0d=0aRCPT_TO:=3cvictim=40foreign.test=3e?=@example.test>", "<=?utf-8?b?cnVhQGV4YW1wbGUudGVzdA==?=>",
    # letters that look alike, and names in other scripts
    "<ruа@example.test>", "<rua@exаmple.test>", "<ｒｕａ@example.test>", "<rua@ｅxample.test>", "<rua@xn--exmple-cua.test>",
    "<rua@exämple.test>", "<rua\u200b@example.test>", "<rua@example\u3002test>", "<rua@example.test\u202e>",
]  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory):
    path = tmp_path_factory.mktemp("relay")
    ca = authority(path)
    limits = DoorSettings(errors=10**6, commands=10**6, greeting_wait=0, linger_seconds=0.5)
    with running(path, limits=limits, listeners=(Listener(port=0, mode="starttls"),), **ca.settings) as started:
        yield started, ca


def test_the_matrix_has_at_least_sixty_forms() -> None:
    assert len(set(FORMS)) == len(FORMS) >= 60


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "over TLS"])
@pytest.mark.parametrize("sender", ["<a@client.test>", "<>", f"<{RUA}>"])
def test_no_form_of_a_foreign_address_is_taken(site: tuple[Running, Authority], sender: str, tls: bool) -> None:
    with Talk(site[0].port) as talk:
        talk.hello()
        if tls:
            talk.ask("STARTTLS")
            talk.start_tls(site[1].client_context())
            talk.ask("EHLO client.test")
        assert talk.ask(f"MAIL FROM:{sender} SMTPUTF8").startswith("250 ")
        for form in FORMS:
            answer = talk.ask(f"RCPT TO:{form}")
            assert answer.startswith(("550 5.7.1 ", "553 5.1.3 ", "555 5.5.4 ")), (form, answer)
        assert talk.ask("DATA").startswith("554 5.5.1"), "not one of them was kept"
        assert site[0].mails() == []


@pytest.mark.parametrize("form", ["a\r\nRCPT TO:<rua@example.test>", "<a@b.test>\r\nRCPT TO:<x@foreign.test>\r\nDATA"])
def test_line_ends_in_an_address_are_only_the_ends_of_lines(site: tuple[Running, Authority], form: str) -> None:
    with Talk(site[0].port) as talk:
        talk.hello()
        talk.ask("MAIL FROM:<a@client.test>")
        talk.send(f"RCPT TO:{form}\r\nNOOP\r\n".encode())
        answers = [talk.reply()]
        while not answers[-1].startswith("250 2.0.0"):
            answers.append(talk.reply())
        assert not any(answer.startswith("354") for answer in answers)


def test_all_three_kinds_of_report_addresses_are_taken(tmp_path: Path) -> None:
    settings = {"rua": ("a@x.test",), "ruf": ("b@y.test",), "tlsrpt": ("c@Z.test", "d@exämple.test")}
    with running(tmp_path, **settings) as started, Talk(started.port) as talk:
        talk.hello()
        talk.ask("MAIL FROM:<> SMTPUTF8")
        for address in (
            "A@X.test",
            "b@y.test",
            "c@z.test",
            "d@xn--exmple-cua.test",
            "d@EXÄMPLE.test",
            "postmaster@z.test",
        ):
            assert talk.ask(f"RCPT TO:<{address}>") == "250 2.1.5 Recipient ok", address
        for address in ("a@y.test", "b@x.test", "a+b@x.test"):
            assert talk.ask(f"RCPT TO:<{address}>").startswith("550 5.7.1")


def test_a_detail_after_the_separator_is_ignored_when_that_is_set(tmp_path: Path) -> None:
    with running(tmp_path, subaddress="+") as started, Talk(started.port) as talk:
        talk.hello()
        talk.ask("MAIL FROM:<>")
        for local, code in {"rua": "250", "rua+client7": "250", "rua+": "250", "+rua": "550", "ruab+x": "550"}.items():
            assert talk.ask(f"RCPT TO:<{local}@example.test>").startswith(code), local


def test_settings_that_cannot_work_are_all_told_at_once(tmp_path: Path) -> None:
    settings = ReceiveSettings(
        listeners=(Listener(mode="tls"),), rua=("rua", "a b@c.test"), ruf=("<x@y.test>",), subaddress="++"
    )
    assert len(settings.faults()) == 5
    with pytest.raises(ValueError, match="'rua' is not an address"):
        Receiver(settings, Spool(tmp_path))


def test_the_default_listens_on_this_machine_only() -> None:
    assert [listener.host for listener in ReceiveSettings().listeners] == ["127.0.0.1"]


def test_every_setting_has_a_help_text() -> None:
    from dataclasses import fields

    for settings in (ReceiveSettings, Listener, DoorSettings):
        for each in fields(settings):
            assert each.metadata["help"].endswith("."), (settings.__name__, each.name)


def test_the_origin_tells_how_a_mail_came(tmp_path: Path) -> None:
    with running(tmp_path) as started, Talk(started.port, source="127.0.0.9") as talk:
        assert talk.reply().startswith("220")
        talk.ask("EHLO mx.reporter.test")
        talk.ask('MAIL FROM:<"odd name"@reporter.test> BODY=8BITMIME')
        talk.ask(f"RCPT TO:<{RUA}>")
        answer = talk.data(b"a: b\r\n\r\nx\r\n.\r\n")
        [(origin, _)] = started.mails()
        assert origin.name == answer.removeprefix("250 2.0.0 Taken as ")
        assert (origin.channel, origin.client, origin.helo, origin.tls) == ("smtp", "127.0.0.9", "mx.reporter.test", "")
        assert (origin.mail_from, origin.rcpt_to) == ('"odd name"@reporter.test', (RUA,))
        assert origin.received > 1_700_000_000
