"""The drop folder: whole mails only, in order, through the same rules, and never lost."""

from __future__ import annotations

import asyncio
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from relay_taking import DOMAIN, QUICK, Taking, taking
from smtp_talk import RUA

from dmarcview_relay.drop import AGAIN_SECONDS, Drop, DropError, leave
from dmarcview_relay.envelope import Recipient
from dmarcview_relay.settings import Rates
from dmarcview_smtp.address import Address

SENDER = Address("a", DOMAIN)
TO = (Recipient(Address("rua", "example.test")),)
MAIL = b"From: a@client.test\nSubject: x\nBcc: h@example.org\n\n.hello\n"


class Box:
    """A relay with its drop folder; `take` looks into it once."""

    def __init__(self, relay: Taking, path: Path, *, expire: float = 1000.0, message_bytes: int = 25_000_000) -> None:
        import dataclasses

        self.relay = relay
        self.folder = path / "drop"
        self.now = [1_800_000_000.0]
        self.drop = Drop(
            self.folder,
            relay.policy,
            dataclasses.replace(QUICK, message_bytes=message_bytes),
            "mx.example.test",
            expire_seconds=expire,
            clock=lambda: self.now[0],
        )

    def leave(self, content: bytes = MAIL) -> str:
        name = leave(self.folder, SENDER, TO, content, clock=lambda: self.now[0])
        os.utime(self.folder / name, (self.now[0], self.now[0]))
        return name

    def take(self) -> int:
        return self.relay.run(self.drop.take())

    def bad(self) -> dict[str, str]:
        """What was set aside, with its reasons."""
        names = {path.name for path in self.drop.bad.iterdir() if path.suffix == ".mail"}
        return {name: (self.drop.bad / f"{name}.reason").read_text() for name in names}

    def left(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir() if path.name != "bad")


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    with taking(tmp_path) as relay:
        yield Box(relay, tmp_path)


def test_a_mail_that_was_left_is_taken_with_its_envelope_and_the_file_goes(box: Box) -> None:
    recipients = (Recipient(Address("rua", "example.test"), ("NEVER",), "rfc822;x@y.test"),)
    name = leave(box.folder, SENDER, recipients, MAIL, ret="HDRS", envid="Q1")
    assert stat.S_IMODE((box.folder / name).stat().st_mode) == 0o640
    assert box.take() == 1
    assert box.left() == []
    queued, content = box.relay.last()
    assert (queued.sender, queued.recipients) == (SENDER, recipients)
    assert (queued.ret, queued.envid, queued.client, queued.utf8) == ("HDRS", "Q1", "", False)
    assert content.endswith(b"From: a@client.test\r\nSubject: x\r\n\r\n.hello\r\n")
    assert b"Received: by mx.example.test id " in content


def test_each_mail_counts_that_comes_by_the_same_name(box: Box) -> None:
    for _ in range(3):
        (box.folder / box.leave()).rename(box.folder / "same.mail")
        assert box.take() == 1
    assert box.left() == []


def test_mails_are_taken_in_the_order_in_which_they_were_left(box: Box) -> None:
    for at in range(5):
        box.now[0] += 1
        box.leave(b"From: a@client.test\nSubject: %d\n\nx\n" % at)
    assert box.take() == 5
    subjects = [content.split(b"Subject: ")[1][:1] for _, content in box.relay.mails()]
    assert subjects == [b"0", b"1", b"2", b"3", b"4"]


@pytest.mark.parametrize(
    ("sender", "recipient", "content", "reason"),
    [
        (Address("x", "other.test"), RUA, MAIL, "550 5.7.1 Sender x@other.test"),
        (None, RUA, MAIL, "550 5.7.1 The null sender"),
        (SENDER, "x@foreign.test", MAIL, "550 5.7.1 Recipient x@foreign.test"),
        (SENDER, RUA, MAIL.replace(b"a@client", b"a@other"), "550 5.7.1 From a@other.test"),
        (SENDER, RUA, b"no header\n", "550 5.6.0 A line of the header is no field"),
        (SENDER, RUA, b"", "550 5.6.0 The header has no From"),
        (SENDER, RUA, b"From: a@client.test\nX: \x01\n\nx\n", "550 5.6.0 Control byte"),
        (SENDER, RUA, b"Received: x\n" * 51 + MAIL, "554 5.4.6"),
        (SENDER, RUA, b"X: " + b"y" * 200_000 + b"\n" + MAIL, "550 5.6.0 The header of the mail is too long"),
        (SENDER, RUA, b"From: a@client.test\r\nX: a\rFrom: x@y.test\n\nx\n", "550 5.6.0 The header has two from"),
    ],
)
def test_what_the_rules_refuse_is_set_aside_with_the_reason(
    box: Box, sender: Address | None, recipient: str, content: bytes, reason: str
) -> None:
    local, _, domain = recipient.partition("@")
    name = leave(box.folder, sender, (*TO, Recipient(Address(local, domain))), content)
    assert box.take() == 0
    [(found, said)] = box.bad().items()
    assert (found, box.left(), box.relay.count()) == (name, [], 0)
    assert said.startswith(reason)
    assert box.take() == 0


def test_one_refused_recipient_refuses_the_mail_whole(box: Box) -> None:
    leave(box.folder, SENDER, (*TO, Recipient(Address("x", "other.test"))), MAIL)
    assert box.take() == 0
    assert box.relay.count() == 0


def test_what_is_refused_for_now_stays_and_is_tried_again_and_given_up_at_last(tmp_path: Path) -> None:
    room = [0]
    with taking(tmp_path, free=lambda _: room[0]) as relay:
        box = Box(relay, tmp_path)
        name = box.leave()
        assert box.take() == 0
        assert box.left() == [name]
        room[0] = 10**9
        assert box.take() == 0, "not before its time"
        box.now[0] += AGAIN_SECONDS
        assert box.take() == 1
        room[0] = 0
        old = box.leave()
        os.utime(box.folder / old, (box.now[0] - 1001, box.now[0] - 1001))
        assert box.take() == 0
        assert box.bad()[old].startswith("452 4.3.1 ")


def test_the_limits_by_the_hour_count_here_too(tmp_path: Path) -> None:
    with taking(tmp_path, rates=Rates(client_hour=1)) as relay:
        box = Box(relay, tmp_path)
        box.leave()
        box.now[0] += 1
        box.leave()
        assert box.take() == 1
        assert len(box.left()) == 1


def test_a_mail_is_never_seen_before_it_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "drop"
    folder.mkdir()
    calls: list[str] = []
    sync, rename = os.fsync, Path.rename

    def seen_sync(file: int) -> None:
        target = Path(os.readlink(f"/proc/self/fd/{file}"))  # noqa: PTH115 (no path to begin with)
        calls.append("sync folder" if target == folder else "sync file")
        assert not [path for path in folder.iterdir() if path.name[0] != "."] or target == folder
        sync(file)

    def seen_rename(self: Path, target: Path) -> Path:
        calls.append("rename")
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", seen_sync)
    monkeypatch.setattr(Path, "rename", seen_rename)
    leave(folder, SENDER, TO, MAIL)
    assert calls == ["sync file", "rename", "sync folder"]


def test_a_disk_that_fails_leaves_no_half_mail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="No space"):
        leave(tmp_path, SENDER, TO, MAIL)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "line",
    [
        b"", b"nonsense\n", b"[]\n", b"null\n", b"{}\n", b"[" * 100_000 + b"\n", b"\xff\n",
        b'{"sender":"a@client.test","recipients":[],"ret":"","envid":""}\n',
        b'{"sender":"a@client.test","recipients":[{"address":"x","notify":[],"orcpt":""}],"ret":"","envid":""}\n',
        b'{"sender":"a@b\\r\\nx","recipients":[{"address":"rua@example.test","notify":[],"orcpt":""}],"ret":"","envid":""}\n',
        b'{"sender":"","recipients":[{"address":"rua@example.test","notify":["X"],"orcpt":""}],"ret":"","envid":""}\n',
        b'{"sender":"","recipients":[{"address":"rua@example.test","notify":[],"orcpt":"a\\r\\nb"}],"ret":"","envid":""}\n',
        b'{"sender":"","recipients":[{"address":"rua@example.test","notify":[],"orcpt":""}],"ret":"F G","envid":""}\n',
        b'{"sender":"","recipients":[{"address":"rua@example.test","notify":[],"orcpt":""}],"ret":7,"envid":""}\n',
        json.dumps({"sender": "", "ret": "", "envid": "", "recipients":
                    [{"address": f"a{at}@b.test", "notify": [], "orcpt": ""} for at in range(1001)]}).encode() + b"\n",
    ],
)  # fmt: skip
def test_an_envelope_that_is_none_is_set_aside(box: Box, line: bytes) -> None:
    (box.folder / "1.mail").write_bytes(line + MAIL)
    assert box.take() == 0
    assert "envelope" in box.bad()["1.mail"] or "recipients" in box.bad()["1.mail"]


def test_links_pipes_and_folders_are_not_followed(box: Box, tmp_path: Path) -> None:
    name = box.leave()
    secret = tmp_path / "secret"
    (box.folder / name).rename(secret)
    (box.folder / "1.mail").symlink_to(secret)
    os.link(secret, box.folder / "2.mail")
    os.mkfifo(box.folder / "3.mail")
    (box.folder / "4.mail").mkdir()
    assert box.take() == 0
    assert box.relay.count() == 0
    assert set(box.bad()) == {"1.mail", "2.mail", "3.mail"}
    assert box.left() == ["4.mail"], "only its owner could move it"
    assert secret.exists()


def test_a_mail_larger_than_the_limit_is_refused_without_reading_all_of_it(tmp_path: Path) -> None:
    with taking(tmp_path) as relay:
        box = Box(relay, tmp_path, message_bytes=10_000)
        name = box.leave(MAIL + b"x" * 200_000)
        assert box.take() == 0
        assert box.bad()[name].startswith("552 5.3.4")


@pytest.mark.parametrize("content", [b"From: a@client.test\n\n\0", b"\0"])
def test_a_nul_byte_is_refused_where_the_mail_is_left(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(DropError, match="NUL"):
        leave(tmp_path, SENDER, TO, content)
    with pytest.raises(DropError, match="recipients"):
        leave(tmp_path, SENDER, (), MAIL)


def test_a_nul_byte_that_somebody_wrote_by_hand_is_refused_by_the_relay(box: Box) -> None:
    name = box.leave()
    with (box.folder / name).open("ab") as file:
        file.write(b"\0")
    assert box.take() == 0
    assert box.bad()[name].startswith("550 5.6.0 NUL")


def test_unfinished_mails_are_not_taken_and_swept_when_they_are_old(box: Box, tmp_path: Path) -> None:
    for name, age in {".1.mail": 7_200, ".2.mail": 60}.items():
        (box.folder / name).write_bytes(b"half")
        os.utime(box.folder / name, (box.now[0] - age,) * 2)
    assert box.take() == 0
    Box(box.relay, tmp_path)
    assert box.left() == [".2.mail"]


def test_the_folder_lets_its_group_add_and_nobody_else(box: Box) -> None:
    assert stat.S_IMODE(box.folder.stat().st_mode) == 0o3730
    assert box.drop.bad.stat().st_mode & 0o777 == 0o700


def test_it_runs_until_it_is_stopped_and_outlives_a_missing_folder(
    box: Box, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dmarcview_relay.drop.LOOK_SECONDS", 0.01)

    async def run() -> None:
        task = asyncio.ensure_future(box.drop.run())
        aside = box.folder.rename(box.folder.with_name("aside"))
        while "cannot be used" not in caplog.text:  # noqa: ASYNC110 (what is waited for tells nobody)
            await asyncio.sleep(0.01)
        aside.rename(box.folder)
        box.leave()
        while box.left():  # noqa: ASYNC110 (the same)
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])

    box.relay.run(run())
    assert box.relay.count() == 1
