"""What runs says in its log: for people or as JSON, and nothing from outside steers a terminal or begins a line."""

from __future__ import annotations

import io
import json
import logging
import sys

import pytest

from dmarcview.config import read
from dmarcview.logs import Json, Plain
from dmarcview_relay import maillog
from dmarcview_relay.envelope import Mail, Queued, Recipient, Ticket
from dmarcview_relay.outcome import DEFERRED, Attempt, Link, RemoteReply
from dmarcview_smtp.address import Address

EVIL = "no\r\nERROR root: forged\x1b[2J\u202e"


def attempt(reply: str) -> Attempt:
    link = Link("192.0.2.1", "mx.far.test", "192.0.2.2", "TLSv1.3", "TLS_AES_128_GCM_SHA256", "verified")
    return Attempt(
        at=0.0, queue_id="Q1", message_id="<m@x>", kind="mail", user="", client="", sender="a@x.test",
        from_domain="x.test", dkim=(("x.test", "s"),), recipient="0123@far.test", recipient_domain="far.test", tries=2,
        link=link, reply=RemoteReply(451, "4.3.0", reply, "body"), outcome=DEFERRED, size=10,
    )  # fmt: skip


def written(formatter: logging.Formatter, say: object) -> str:
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(formatter)
    maillog.log.addHandler(handler)
    maillog.log.setLevel(logging.INFO)
    try:
        say()  # type: ignore[operator]
    finally:
        maillog.log.removeHandler(handler)
        maillog.log.setLevel(logging.NOTSET)
    return out.getvalue()


def test_a_try_is_one_line_with_host_tls_and_the_whole_reply() -> None:
    line = written(Plain(), lambda: maillog.tried(attempt("later\nplease")))
    assert line == (
        "INFO dmarcview_relay.mail: Q1: deferred to=<0123@far.test> host=mx.far.test[192.0.2.2] tls=verified try=2: "
        "451 4.3.0 later please\n"
    )


def test_as_json_its_facts_are_fields() -> None:
    told = json.loads(written(Json(), lambda: maillog.tried(attempt("later"))))
    assert (told["event"], told["queue_id"], told["code"], told["tries"]) == ("deferred", "Q1", 451, 2)
    assert told["tls"] == "TLSv1.3 TLS_AES_128_GCM_SHA256 verified"
    assert told["level"] == "info"


@pytest.mark.parametrize("formatter", [Plain(), Json()])
def test_a_hostile_reply_stays_one_line_without_controls(formatter: logging.Formatter) -> None:
    text = written(formatter, lambda: maillog.tried(attempt(EVIL)))
    assert text.count("\n") == 1
    assert text.rstrip("\n").isprintable()
    assert "\u202e" not in text


def test_a_mail_that_is_taken_is_told_with_its_hold() -> None:
    mail = Mail(Address("a", "x.test"), (Recipient(Address("b", "far.test")),), 0.0, 10, hold="dkim x.test s: missing")
    queued = Queued("Q1", 1, mail, (Ticket(1, mail.recipients[0], 0, 0.0, False),))
    line = written(Plain(), lambda: maillog.taken(queued))
    assert "Q1: taken from=<a@x.test>" in line
    assert "held: dkim x.test s: missing" in line
    assert "b@far.test" not in line


def test_a_traceback_is_kept_in_both_forms() -> None:
    try:
        raise ValueError(EVIL)
    except ValueError:
        record = logging.getLogger("x").makeRecord("x", logging.ERROR, "f", 1, "broke", (), sys.exc_info())
    assert "Traceback" in Plain().format(record)
    assert "\x1b" not in Plain().format(record)
    assert "ValueError" in json.loads(Json().format(record))["traceback"]


def test_the_settings_choose() -> None:
    assert read("[log]\njson = true\nlevel = 'warning'\n").log.json
