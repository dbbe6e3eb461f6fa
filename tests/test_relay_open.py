"""Neither the relay nor the receiver is an open relay, in whatever form an address is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from relay_taking import DOMAIN, HOST, Taking, mail, taking
from smtp_talk import RUA, Authority, Talk, authority, running
from test_receive_addresses import FOREIGN, FORMS

from dmarcview_relay.settings import ClientLimits, RelayListener
from dmarcview_smtp.settings import Listener

LIMITS = ClientLimits(errors=10**6, commands=10**6, greeting_wait=0, linger_seconds=0.5)
STARTTLS = (RelayListener(port=0, mode="starttls"),)
# those that a list of a whole domain must not let through either
ROUTED = [
    "<victim%foreign.test@example.test>", '<"victim@foreign.test"@example.test>', "<foreign.test!victim@example.test>",
    '<"victim%foreign.test"@example.test>',
    '<"foreign.test!victim"@example.test>', "<@foreign.test:a%b.test@example.test>",
    "<a%b%c@example.test>", "<victim%foreign.test@EXAMPLE.test>", '<"@foreign.test:victim"@example.test>',
    '<"victim@foreign.test\\\\"@example.test>', "<b.test!c.test!victim@example.test>", '<"a b%c"@example.test>',
]  # fmt: skip


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory, ca: Authority) -> Iterator[Taking]:
    """Serves this machine: from one address to one address."""
    path = tmp_path_factory.mktemp("narrow")
    with taking(path, ca=ca, limits=LIMITS, senders=(f"a@{DOMAIN}",), null_sender=True) as relay:
        yield relay


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory, ca: Authority) -> Iterator[Taking]:
    """Serves another network, everybody to everybody; we come from outside."""
    path = tmp_path_factory.mktemp("elsewhere")
    listeners = (*STARTTLS, RelayListener(port=0, mode="starttls", auth="none"))
    with taking(
        path,
        ca=ca,
        limits=LIMITS,
        networks=("192.0.2.0/24",),
        senders=("*",),
        recipients=("*",),
        null_sender=True,
        listeners=listeners,
    ) as relay:
        yield relay


def begun(port: int, ca: Authority, *, tls: bool) -> Talk:
    talk = Talk(port)
    talk.hello()
    if tls:
        assert talk.ask("STARTTLS").startswith("220 ")
        talk.start_tls(ca.client_context())
        talk.ask("EHLO client.test")
    return talk


both_ways = pytest.mark.parametrize("tls", [False, True], ids=["plain", "over TLS"])


@both_ways
@pytest.mark.parametrize("sender", [f"<a@{DOMAIN}>", "<>"])
def test_the_relay_takes_no_form_of_a_recipient_that_is_not_listed(
    narrow: Taking, ca: Authority, sender: str, tls: bool
) -> None:
    assert len(set(FORMS)) >= 60
    with begun(narrow.port, ca, tls=tls) as talk:
        assert talk.ask(f"MAIL FROM:{sender} SMTPUTF8").startswith("250 ")
        for form in FORMS:
            answer = talk.ask(f"RCPT TO:{form}")
            assert answer.startswith(("550 5.7.1 ", "553 5.1.3 ", "555 5.5.4 ", "554 5.4.6 ")), (form, answer)
        assert talk.ask("DATA").startswith("554 5.5.1"), "not one of them was kept"
        assert narrow.count() == 0


@both_ways
def test_the_relay_takes_no_form_of_a_sender_that_is_not_listed(narrow: Taking, ca: Authority, tls: bool) -> None:
    forms = [form for form in FORMS if form != "<>"] + [f"<{RUA}>", f"<a%x.test@{DOMAIN}>", f'<"a@x.test"@{DOMAIN}>']
    with begun(narrow.port, ca, tls=tls) as talk:
        for form in forms:
            answer = talk.ask(f"MAIL FROM:{form} SMTPUTF8")
            assert answer.startswith(("550 5.7.1 ", "553 5.1.3 ", "555 5.5.4 ", "501 5.5.4 ")), (form, answer)
            assert talk.ask(f"RCPT TO:<{RUA}>").startswith("503 "), form
        assert narrow.count() == 0


@both_ways
@pytest.mark.parametrize(("listener", "answer"), [(0, "530 5.7.0 "), (1, "550 5.7.1 ")], ids=["logins", "no logins"])
def test_who_is_outside_can_send_nothing_in_any_form(
    elsewhere: Taking, ca: Authority, tls: bool, listener: int, answer: str
) -> None:
    with begun(elsewhere.ports[listener], ca, tls=tls) as talk:
        for sender in (
            "<>",
            f"<a@{DOMAIN}>",
            f"<{RUA}>",
            f"<postmaster@{HOST}>",
            "<root@localhost>",
            "<a@[127.0.0.1]>",
        ):
            assert talk.ask(f"MAIL FROM:{sender} SMTPUTF8").startswith(answer), sender
        for form in FORMS:
            talk.send(f"MAIL FROM:<a@{DOMAIN}> SMTPUTF8\r\nRCPT TO:{form}\r\nDATA\r\nRSET\r\n".encode())
            said = [talk.reply() for _ in range(4)]
            assert said[0].startswith(answer), (form, said)
            assert [line[:3] for line in said[1:]] == ["503", "503", "250"], (form, said)
        assert elsewhere.count() == 0


@both_ways
def test_a_list_of_a_whole_domain_takes_nobody_who_is_reached_through_it(
    tmp_path: Path, ca: Authority, tls: bool
) -> None:
    with (
        taking(tmp_path, ca=ca, limits=LIMITS, recipients=("@example.test",)) as relay,
        begun(relay.port, ca, tls=tls) as talk,
    ):
        assert talk.ask(f"MAIL FROM:<a@{DOMAIN}>").startswith("250 ")
        for form in ROUTED:
            assert talk.ask(f"RCPT TO:{form}").startswith("550 5.7.1 "), form
        assert talk.ask("RCPT TO:<@foreign.test:anybody@example.test>").startswith("250 "), "a route leads to its end"


@both_ways
def test_a_login_that_failed_opens_nothing(elsewhere: Taking, ca: Authority, tls: bool) -> None:
    with begun(elsewhere.port, ca, tls=tls) as talk:
        assert talk.ask("AUTH PLAIN AGEAYg==").startswith("535 5.7.8 " if tls else "538 5.7.11 ")
        assert talk.ask(f"MAIL FROM:<a@{DOMAIN}> AUTH=<>").startswith("530 5.7.0 "), "AUTH= proves nothing"
        assert talk.ask(f"MAIL FROM:<a@{DOMAIN}> AUTH=a@{DOMAIN}").startswith("530 5.7.0 ")
        assert elsewhere.count() == 0


@both_ways
@pytest.mark.parametrize("sender", [f"<a@{DOMAIN}>", "<>", f"<{RUA}>", f"<{FOREIGN}>"])
def test_the_receiver_takes_no_form_of_a_foreign_recipient(
    receiver: Callable[[], int], ca: Authority, sender: str, tls: bool
) -> None:
    with begun(receiver(), ca, tls=tls) as talk:
        assert talk.ask(f"MAIL FROM:{sender} SMTPUTF8").startswith("250 ")
        for form in (*FORMS, *ROUTED):
            answer = talk.ask(f"RCPT TO:{form}")
            assert answer.startswith(("550 5.7.1 ", "553 5.1.3 ", "555 5.5.4 ")), (form, answer)
        assert talk.ask("DATA").startswith("554 5.5.1"), "not one of them was kept"


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory, ca: Authority) -> Iterator[Callable[[], int]]:
    """The receiver's port; nothing may be in its spool at the end."""
    path = tmp_path_factory.mktemp("receiver")
    with running(path, limits=LIMITS, listeners=(Listener(port=0, mode="starttls"),), **ca.settings) as site:
        yield lambda: site.port
        assert site.mails() == []


def test_what_is_listed_is_taken_so_that_the_refusals_above_mean_something(narrow: Taking, ca: Authority) -> None:
    with begun(narrow.port, ca, tls=True) as talk:
        assert talk.ask(f"MAIL FROM:<a@{DOMAIN}>").startswith("250 ")
        assert talk.ask(f"RCPT TO:<{RUA}>").startswith("250 ")
        before = narrow.count()
        assert talk.data(mail()).startswith("250 2.0.0 Queued as ")
        assert narrow.count() == before + 1
        narrow.run(emptied(narrow))


async def emptied(relay: Taking) -> None:
    """Leave the queue as it was for the other tests, in whatever order they run."""
    from dmarcview_relay.queue_admin import QueueAdmin

    admin = QueueAdmin(relay.folder)
    admin.delete("all")
    admin.close()
