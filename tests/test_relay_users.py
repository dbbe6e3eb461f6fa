"""The file of users: written whole and for our eyes only, read again when it changes, kept when it is spoilt."""

from __future__ import annotations

import io
import json
import logging
import os
import stat
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from dmarcview.cli import main
from dmarcview_relay.userfile import UserFile
from dmarcview_relay.users import COST, UserError, UserRules, Users, hashed, made_up, read

RULES = UserRules(("a@example.org", "@example.net"), ("a@example.org",), ("*",), 7)


@pytest.fixture(scope="module")
def seasoned(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A file with alice in it."""
    path = tmp_path_factory.mktemp("users") / "users.json"
    UserFile(path).add("alice", "correct horse", RULES)
    return path.read_bytes()


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    path.chmod(0o600)
    return path


def test_what_is_added_is_read_and_the_password_is_nowhere(tmp_path: Path) -> None:
    path = tmp_path / "relay" / "users.json"
    file = UserFile(path)
    file.add("alice", "correct horse", RULES)
    file.add("laptop", None, UserRules())
    assert b"correct horse" not in path.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["users.json"], "nothing is left beside it"
    users = Users(path)
    assert len(users) == 2
    assert users.rules("alice") == RULES
    alice = users.password("alice").hash
    assert alice.cost >= COST >= 2**15
    assert alice.fits("correct horse")
    assert not alice.fits("correct horsf")
    found = users.find("laptop")
    assert found is not None
    assert found.password is None
    assert not users.password("laptop").hash.fits("")


def test_every_password_has_a_salt_of_its_own() -> None:
    one, two = hashed("correct horse"), hashed("correct horse")
    assert one.hash.salt != two.hash.salt
    assert one.hash.key != two.hash.key
    assert one.scram.salt != two.scram.salt != two.hash.salt


def test_names_that_nobody_has_cost_the_same_and_fit_nothing() -> None:
    nobody = made_up("x", b"seed")
    assert (nobody.hash.cost, nobody.hash.block, nobody.hash.parallel) == hashed("correct horse").hash[1:4]
    assert not nobody.hash.fits("")


def test_passwords_and_rules_change_apart_and_users_go(tmp_path: Path) -> None:
    path = tmp_path / "users.json"
    file, users = UserFile(path), Users(path)
    assert users.find("alice") is None
    file.add("alice", "correct horse", RULES)
    assert users.find("alice") is not None, "a running relay sees it"
    file.set_password("alice", "battery staple")
    assert users.password("alice").hash.fits("battery staple")
    assert users.rules("alice") == RULES
    file.set_rules("alice", UserRules(rate=1))
    assert users.password("alice").hash.fits("battery staple")
    assert users.rules("alice") == UserRules(rate=1)
    file.remove("alice")
    assert users.find("alice") is None
    for act in (file.remove, lambda name: file.set_password(name, "long enough")):
        with pytest.raises(UserError, match="no user alice"):
            act("alice")


def test_one_spelling_of_a_name_and_password_is_kept(tmp_path: Path) -> None:
    file = UserFile(tmp_path / "users.json")
    assert file.add("jose\u0301", "\u2168 secret words", UserRules()) == "jos\u00e9"
    [user] = file.users()
    assert user.password is not None
    assert user.password.hash.fits("IX secret words")
    with pytest.raises(UserError, match="there already"):
        file.add("jos\u00e9", "another one", UserRules())


@pytest.mark.parametrize("name", ["", "a b", "a\x00", "a\nb", "x" * 256, "\U0001f600"])
def test_names_that_not_every_client_can_type_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="name"):
        UserFile(tmp_path / "users.json").add(name, "correct horse", UserRules())
    assert not (tmp_path / "users.json").exists()


@pytest.mark.parametrize("password", ["", "short", "long enough\x00", "\u0627\u0627\u0627\u0627\u0627\u0627abc"])
def test_bad_passwords_are_refused(tmp_path: Path, password: str) -> None:
    with pytest.raises(UserError, match="password"):
        UserFile(tmp_path / "users.json").add("alice", password, UserRules())


def test_writers_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    file = UserFile(tmp_path / "users.json")
    threads = [threading.Thread(target=file.add, args=(f"user{n}", None, UserRules())) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(file.users()) == 12


def test_a_file_that_its_group_may_read_stays_so(tmp_path: Path, seasoned: bytes) -> None:
    path = write(tmp_path / "users.json", seasoned)
    path.chmod(0o640)
    UserFile(path).add("laptop", None, UserRules())
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can write for others")
def test_root_writes_for_the_owner_of_the_folder(tmp_path: Path) -> None:
    os.chown(tmp_path, 65534, 65534)
    UserFile(tmp_path / "users.json").add("laptop", None, UserRules())
    state = (tmp_path / "users.json").stat()
    assert (state.st_uid, state.st_gid) == (65534, 65534)


def spoil(tree: dict[str, Any], where: str, value: Any) -> bytes:
    at = tree
    *path, last = where.split("/")
    for key in path:
        at = at[key]
    at[last] = value
    return json.dumps(tree).encode()


SPOILT = [
    ("version", 2), ("seed", "!"), ("users", []), ("users/alice", 5), ("users/alice/senders", "a@example.org"),
    ("users/alice/senders", [1]), ("users/alice/rate", -1), ("users/alice/rate", True), ("users/alice/scrypt/n", 3),
    ("users/alice/scrypt/n", 2**40), ("users/alice/scrypt/r", 10**9), ("users/alice/scrypt/p", 0),
    ("users/alice/scrypt/salt", ""), ("users/alice/scram-sha-256", None),
    ("users/alice/scram-sha-256/iterations", 10**12), ("users/alice/scram-sha-256/stored", 7),
]  # fmt: skip


@pytest.mark.parametrize(("where", "value"), SPOILT, ids=[f"{where}={value!r}" for where, value in SPOILT])
def test_a_spoilt_file_is_refused_at_the_start_and_leaves_the_old_users_later(
    tmp_path: Path, seasoned: bytes, where: str, value: Any, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path / "users.json", seasoned)
    users = Users(path)
    write(path, spoil(json.loads(seasoned), where, value))
    with pytest.raises(UserError, match=r"users\.json"):
        read(path)
    with caplog.at_level(logging.ERROR):
        assert users.rules("alice") == RULES
    assert "the old users stay" in caplog.text
    write(path, seasoned)
    assert users.rules("alice") == RULES


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"version": 1}'])
def test_what_is_no_file_of_users_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(UserError):
        read(write(tmp_path / "users.json", content))


def test_a_file_that_vanishes_or_is_open_to_others_leaves_the_old_users(tmp_path: Path, seasoned: bytes) -> None:
    path = write(tmp_path / "users.json", seasoned)
    users = Users(path)
    path.unlink()
    assert users.find("alice") is not None
    write(path, seasoned).chmod(0o644)
    with pytest.raises(UserError, match="chmod 640"):
        Users(path)
    with pytest.raises(UserError, match="chmod 640"):
        UserFile(path).remove("alice")


# the command


def say(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


def test_the_command_adds_changes_lists_and_removes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = f"--data={tmp_path}"
    assert main(["user", data]) == 0
    assert "No users yet" in capsys.readouterr().out
    say(monkeypatch, "correct horse\nsecond line")
    assert main(["user", "add", "alice", "--sender=@example.org", "--rate=9", data]) == 0
    assert main(["user", "add", "laptop", "--certificate-only", data]) == 0
    say(monkeypatch, "battery staple\n")
    assert main(["user", "passwd", "alice", data]) == 0
    assert Users(tmp_path / "relay" / "users.json").password("alice").hash.fits("battery staple")
    assert main(["user", "rules", "laptop", "--from=a@example.org", "--recipient=*", data]) == 0
    capsys.readouterr()
    assert main(["user", "list", "--json", data]) == 0
    assert json.loads(capsys.readouterr().out) == [
        {"user": "alice", "password": True, "senders": ["@example.org"], "froms": [], "recipients": [], "rate": 9},
        {
            "user": "laptop",
            "password": False,
            "senders": [],
            "froms": ["a@example.org"],
            "recipients": ["*"],
            "rate": 0,
        },
    ]
    assert main(["user", data]) == 0
    assert "certificate only" in capsys.readouterr().out
    assert main(["user", "remove", "alice", data]) == 0
    assert [user.name for user in UserFile(tmp_path / "relay" / "users.json").users()] == ["laptop"]


@pytest.mark.parametrize(
    ("words", "text", "why"),
    [
        (["add"], "", "needs a name"),
        (["add", "alice"], "short\n", "8 characters"),
        (["add", "alice"], "", "empty"),
        (["add", "alice", "--sender=@@"], "correct horse\n", "@@"),
        (["passwd", "nobody"], "correct horse\n", "no user nobody"),
        (["remove", "nobody"], "", "no user nobody"),
    ],
)
def test_wrong_use_of_the_command_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    words: list[str], text: str, why: str,
) -> None:  # fmt: skip
    say(monkeypatch, text)
    assert main(["user", *words, f"--data={tmp_path}"]) == 2
    assert why in capsys.readouterr().err
