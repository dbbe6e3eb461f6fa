"""A person sees what waits and why, and holds, frees, redirects or deletes it while the relay runs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from dmarcview.cli import main
from dmarcview_relay.envelope import Queued, Recipient
from dmarcview_relay.queue import Gone, Queue
from dmarcview_relay.queue_admin import DEAD, HELD, QueueAdmin
from tests.relay_mails import AT, BUSY, UNKNOWN, address, mail, settled

LARGE = b"large" * 20_000
HOSTILE = BUSY._replace(text="\x1b]0;owned\x07 line one\n\u202eenil\n\x9b31m\n\ttab")


def run(coroutine):  # type: ignore[no-untyped-def]
    return asyncio.run(coroutine)


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    made = Queue(tmp_path / "relay", reserve=0)
    yield made
    made.close()


@pytest.fixture
def admin(queue: Queue, tmp_path: Path) -> Iterator[QueueAdmin]:
    made = QueueAdmin(tmp_path / "relay")
    yield made
    made.close()


def put(queue: Queue, *addresses: str, content: bytes = b"x\r\n", **more: object) -> Queued:
    found: Queued = run(queue.put(mail(*addresses, **more), content))  # type: ignore[arg-type]
    return found


def waiting(queue: Queue) -> list[str]:
    return [str(ticket.recipient.address) for each in queue.waiting() for ticket in each.tickets]


def test_the_relay_sees_what_others_changed_once_and_not_what_it_did_itself(queue: Queue, admin: QueueAdmin) -> None:
    first = put(queue)
    run(queue.settle(first, [settled(first, 0, BUSY, next_at=AT + 900)]))
    assert not queue.changed()
    assert admin.retry("example.org") == 0
    assert not queue.changed()
    assert admin.retry(first.id) == 1
    assert queue.changed()
    assert not queue.changed()
    assert next(queue.waiting()).tickets[0].next_at == 0


def test_what_is_meant_is_an_id_a_domain_an_address_or_all(queue: Queue, admin: QueueAdmin) -> None:
    one = put(queue, "a@example.net", "b@Example.NET", "c@example.org")
    put(queue, "a@example.net", "jö@exämple.net")

    def found(which: str) -> int:
        return sum(len(each.entries) for each in admin.found(which))

    counts = {"all": 5, one.id: 3, "example.net": 3, "@example.net": 3, "EXAMPLE.ORG": 1, "A@example.net": 2,
              "xn--exmple-cua.net": 1, "exämple.net": 1, "ample.net": 0, "%": 0, "nosuchidhere": 0}  # fmt: skip
    assert {which: found(which) for which in counts} == counts


def test_hold_keeps_back_single_recipients_and_release_frees_them(queue: Queue, admin: QueueAdmin) -> None:
    put(queue, "a@example.net", "c@example.org")
    assert admin.hold("example.net", "by hand: wait") == 1
    assert waiting(queue) == ["c@example.org"]
    assert [entry.hold for entry in admin.found(state=HELD)[0].entries] == ["by hand: wait"]
    assert admin.retry("all") == 1
    assert admin.release("all") == 1
    assert waiting(queue) == ["a@example.net", "c@example.org"]


def test_a_result_that_comes_after_a_hold_or_a_deletion_is_written_all_the_same(
    queue: Queue, admin: QueueAdmin
) -> None:
    held, deleted = put(queue, "a@example.net"), put(queue, "b@example.net")
    admin.hold(held.id, "by hand")
    admin.delete(deleted.id)
    run(queue.settle(held, [settled(held, 0, BUSY, next_at=AT + 1)]))
    run(queue.settle(deleted, [settled(deleted, 0, BUSY, next_at=AT + 1)]))
    (entry,) = admin.show(held.id).entries
    assert (entry.state, entry.last) == (HELD, BUSY)
    assert waiting(queue) == []
    assert queue.count()["sent"] == 2


def test_redirect_joins_the_recipients_of_a_mail_and_a_late_result_does_not_meet_the_new_one(
    queue: Queue, admin: QueueAdmin
) -> None:
    old = put(queue, "a+b@example.net", "c@example.net", "d@example.org")
    assert admin.redirect("example.net", address("new@example.com")) == 2
    assert queue.changed()
    assert waiting(queue) == ["d@example.org", "new@example.com"]
    (found,) = queue.waiting()
    new = found.tickets[1]
    assert new.recipient == Recipient(address("new@example.com"), (), "rfc822;a+2Bb@example.net")
    run(queue.settle(old, [settled(old, 0), settled(old, 1), settled(old, 2)]))
    assert waiting(queue) == ["new@example.com"]


def test_delete_takes_the_body_along(queue: Queue, admin: QueueAdmin, tmp_path: Path) -> None:
    large, small = put(queue, "a@example.net", "b@example.org", content=LARGE), put(queue)
    assert admin.delete("example.net") == 2
    assert admin.content(large.id) == LARGE
    assert admin.delete("all") == 1
    assert list((tmp_path / "relay" / "bodies").iterdir()) == []
    assert queue.count()["mails"] == 0
    for each in (large, small):
        with pytest.raises(Gone):
            run(queue.content(each))
        with pytest.raises(Gone):
            admin.show(each.id)
        with pytest.raises(Gone):
            admin.content(each.id)


def test_the_dead_come_back_with_retry(queue: Queue, admin: QueueAdmin) -> None:
    bounce = put(queue, sender="")
    run(queue.settle(bounce, [settled(bounce, 0, UNKNOWN, dead=True)]))
    assert [each.id for each in admin.found(state=DEAD)] == [bounce.id]
    assert admin.hold("all", "by hand") == 0
    assert admin.retry(bounce.id) == 1
    assert waiting(queue) == ["bob@example.net"]


# the command


def command(tmp_path: Path, *words: str) -> int:
    return main(["queue", *words, "--data", str(tmp_path)])


def test_the_command_shows_whole_replies_and_lets_none_steer_the_terminal(
    queue: Queue, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = put(queue, content=b"Subject: raw\r\n\r\nyes\r\n")
    run(queue.settle(found, [settled(found, 0, HOSTILE, next_at=AT + 900)]))
    assert command(tmp_path, "list") == 0
    assert command(tmp_path, "show", found.id) == 0
    text = capsys.readouterr().out
    assert all(char.isprintable() or char == "\n" for char in text)
    for line in (r"\x1b]0;owned\x07 line one", r"\u202eenil", r"\x9b31m", r"\x09tab", "192.0.2.25", "news@example.org"):
        assert line in text
    assert command(tmp_path, "show", found.id, "--raw") == 0
    assert capsys.readouterr().out == "Subject: raw\r\n\r\nyes\r\n"


def test_the_command_speaks_json(queue: Queue, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = put(queue, "a@example.net", "b@example.org")
    run(queue.settle(found, [settled(found, 0, HOSTILE, next_at=AT + 900)]))
    assert command(tmp_path, "list", "example.net", "--json") == 0
    ((listed),) = json.loads(capsys.readouterr().out)
    assert (listed["id"], listed["bytes"]) == (found.id, 3)
    (recipient,) = listed["recipients"]
    assert recipient["reply"] == {
        "code": 451,
        "enhanced": "4.7.1",
        "text": HOSTILE.text,
        "stage": "rcpt",
        "said_by_host": True,
    }
    assert recipient["tries"] == 1
    assert command(tmp_path, "hold", "all", "--note", "let me see", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"action": "hold", "recipients": 2}
    assert command(tmp_path, "show", found.id, "--json") == 0
    assert {each["hold"] for each in json.loads(capsys.readouterr().out)["recipients"]} == {"by hand: let me see"}


def test_the_command_does_what_it_says_and_tells_when_nothing_fits(
    queue: Queue, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = put(queue, "a@example.net")
    assert command(tmp_path, "hold", found.id) == 0
    assert command(tmp_path, "list", "--state", "held") == 0
    assert found.id in capsys.readouterr().out
    assert command(tmp_path, "release", "example.org") == 1
    assert command(tmp_path, "release", "example.net") == 0
    assert command(tmp_path, "redirect", "all", "me@example.com") == 0
    assert waiting(queue) == ["me@example.com"]
    assert command(tmp_path, "retry", "me@example.com") == 0
    assert command(tmp_path, "delete", found.id, "all") == 0
    assert command(tmp_path, "list") == 0
    assert capsys.readouterr().out.endswith("Nothing is queued.\n")


def test_mail_that_waits_for_a_key_names_the_command_that_prints_the_record(
    queue: Queue, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = put(queue, hold="dkim example.org s1: the DNS shows no key at s1._domainkey.example.org")
    assert command(tmp_path, "show", found.id) == 0
    assert "what to publish  dmarcview dns check example.org" in capsys.readouterr().out


def test_the_command_keeps_the_list_of_suppressed_addresses(
    queue: Queue, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(tmp_path, "suppressed", "add", "Bob@example.net", "ann@example.net", "--note", "asked for it") == 0
    assert queue.suppressed(address("bob@example.net"))
    assert command(tmp_path, "suppressed", "add", "eve@example.net", "--days", "1") == 0
    capsys.readouterr()
    assert command(tmp_path, "suppressed", "--json") == 0
    listed = {each["address"]: each for each in json.loads(capsys.readouterr().out)}
    assert set(listed) == {"bob@example.net", "ann@example.net", "eve@example.net"}
    assert listed["bob@example.net"]["until"] is None
    assert listed["bob@example.net"]["reason"] == "asked for it"
    assert listed["eve@example.net"]["until"]
    assert command(tmp_path, "suppressed", "list") == 0
    assert "for ever" in capsys.readouterr().out
    assert command(tmp_path, "suppressed", "remove", "BOB@example.net") == 0
    assert command(tmp_path, "suppressed", "remove", "bob@example.net") == 1
    assert queue.suppressed(address("bob@example.net")) is None


@pytest.mark.parametrize(
    "words",
    [["show"], ["show", "a", "b"], ["show", "nosuchidhere"], ["hold"], ["redirect", "all"], ["suppressed", "add"],
     ["redirect", "all", "not an address"], ["suppressed", "forget"], ["suppressed", "list", "x"], ["list", "a", "b"]],
)  # fmt: skip
def test_wrong_use_is_told_in_a_sentence(
    queue: Queue, tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(tmp_path, *words) == 2
    assert capsys.readouterr().err.startswith("dmarcview: ")


def test_without_a_queue_nothing_is_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(tmp_path, "list") == 2
    assert "there is no queue in" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
