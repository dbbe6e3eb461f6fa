"""Keys as files: private, imported from others, read again whole or not at all; and `dmarcview key`."""

from __future__ import annotations

import json
import logging
import os
import stat
import subprocess
from pathlib import Path

import pytest
from conftest import need
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from dmarcview.cli import main
from dmarcview_relay import keyfile, keys
from dmarcview_relay.keyfile import KeyFault
from dmarcview_relay.keyimport import Source, dkimproxy, is_conf, take
from dmarcview_relay.keys import KeyRing, checked_domain, checked_selector


@pytest.fixture
def ring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KeyRing:
    monkeypatch.setattr(keys, "LOOK_SECONDS", 0.0)
    return KeyRing(tmp_path / "relay" / "keys")


def pem_file(path: Path, bits: int = 2048, mode: int = 0o600) -> Path:
    key = rsa.generate_private_key(65_537, bits)
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    path.chmod(mode)
    return path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_what_is_made_is_for_its_owner_only_whatever_the_umask(ring: KeyRing) -> None:
    os.umask(0)
    key = ring.new("example.org", "s1")
    assert mode(key.path) == 0o600
    for folder in (key.path.parent, ring.folder, ring.folder.parent):
        assert mode(folder) == 0o700
    assert mode(ring.folder / "keys.json") == 0o600
    assert key.path.read_bytes().startswith(b"-----BEGIN RSA PRIVATE KEY-----\n")
    assert "PRIVATE" not in repr(key)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to others")
def test_what_root_makes_belongs_to_the_user_of_the_data_folder(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    os.chown(data, 12_345, 12_346)
    key = KeyRing(data / "relay" / "keys").new("example.org", "s1")
    for path in (key.path, key.path.parent, data / "relay" / "keys" / "keys.json", data / "relay"):
        assert (path.stat().st_uid, path.stat().st_gid) == (12_345, 12_346)


def test_a_key_survives_its_process_and_a_second_one_of_the_name_is_refused(ring: KeyRing) -> None:
    made = ring.new("Example.ORG.", "S1")
    (found,) = KeyRing(ring.folder).all()
    assert found == made
    assert found.domain == "example.org"
    with pytest.raises(KeyFault, match="already"):
        ring.new("example.org", "s1")
    assert ring.all() == (made,)


def test_keys_that_others_can_read_are_refused_and_group_readable_ones_of_root_are_not(tmp_path: Path) -> None:
    for bad in (0o604, 0o644, 0o660, 0o620):
        with pytest.raises(KeyFault, match="chmod"):
            keyfile.read(pem_file(tmp_path / "key.pem", 1024, bad))
    path = pem_file(tmp_path / "key.pem", 1024, 0o640)
    if os.geteuid() == 0:
        keyfile.read(path)
    fake = os.stat_result((0o100640, *[0] * 3, 1000, 1000, *[0] * 4))
    with pytest.raises(KeyFault, match="chmod 600"):
        keyfile.private_enough(path, fake)


def test_a_symbolic_link_is_followed(ring: KeyRing, tmp_path: Path) -> None:
    folder = ring.folder / "example.org"
    folder.mkdir(parents=True)
    (folder / "linked.pem").symlink_to(pem_file(tmp_path / "elsewhere.pem"))
    (found,) = ring.all()
    assert (found.selector, found.state) == ("linked", "new")


def test_keys_that_receivers_refuse_are_refused(tmp_path: Path) -> None:
    curve = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    locked = rsa.generate_private_key(65_537, 1024).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
    )
    short = subprocess.run([need("openssl", "openssl"), "genrsa", "512"], capture_output=True, check=True).stdout
    for pem, why in (
        (curve, "neither"),
        (locked, "passphrase"),
        (b"nonsense", "PEM"),
        (short, "512 bits"),
    ):
        with pytest.raises(KeyFault, match=why):
            keyfile.parse(pem, "it")
    with pytest.raises(KeyFault, match="1024"):
        keyfile.make("rsa", 1024)
    assert keyfile.parse(pem_file(tmp_path / "weak.pem", 1024).read_bytes(), "it")


def test_a_change_of_the_files_is_taken_whole_or_not_at_all(
    ring: KeyRing, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ring.new("example.org", "s1")
    assert len(ring.all()) == 1
    other = pem_file(tmp_path / "new.pem")
    other.rename(ring.folder / "example.org" / "s2.pem")
    assert len(ring.all()) == 2
    broken = ring.folder / "example.org" / "s3.pem"
    broken.write_bytes(b"half a key")
    broken.chmod(0o600)
    with caplog.at_level(logging.ERROR):
        assert len(ring.all()) == 2
        assert len(ring.all()) == 2
    assert "s3.pem" in ring.fault
    assert len(caplog.records) == 1
    with pytest.raises(KeyFault, match=r"s3\.pem"):
        ring.refresh()
    broken.unlink()
    assert len(ring.all()) == 2
    assert ring.fault == ""
    (ring.folder / "keys.json").write_text('{"keys": [{"domain"')
    assert len(ring.all()) == 2
    assert "keys.json" in ring.fault
    with pytest.raises(KeyFault, match=r"keys\.json"):
        ring.new("example.org", "s4")


@pytest.mark.parametrize(
    "life",
    ['{"keys": [1]}', '{"keys": {}}', "[]", "null", '{"keys": [{"domain": "x"}]}', "\x00", "[" * 100_000],
    ids=["number", "object", "list", "null", "half", "nul", "deep"],
)
def test_no_content_of_the_list_breaks_more_than_the_list(ring: KeyRing, life: str) -> None:
    ring.new("example.org", "s1")
    assert ring.all()
    (ring.folder / "keys.json").write_text(life)
    assert [key.selector for key in ring.all()] == ["s1"]
    assert ring.fault == "" or "keys.json" in ring.fault


def test_two_processes_do_not_lose_each_others_changes(ring: KeyRing) -> None:
    one, two = ring.new("example.org", "s1"), KeyRing(ring.folder).new("example.org", "s2")
    stale = keys.moved(one, "published", one.since + 1)
    ring.update([(one, keys.moved(one, "signing", one.since + 2))])
    ring.update([(one, stale), (two, keys.moved(two, "published", 5.0))])
    assert {key.selector: key.state for key in ring.all()} == {"s1": "signing", "s2": "published"}


@pytest.mark.parametrize(
    "text", ["", "org", "a..org", "-a.org", "a b.org", "../x.org", "a/b.org", "a.org\n", "x" * 250 + ".org"]
)
def test_what_is_no_domain_makes_no_folder(text: str) -> None:
    if text.strip() == "a.org":
        assert checked_domain(text) == "a.org"
        return
    with pytest.raises(KeyFault):
        checked_domain(text)


@pytest.mark.parametrize("text", ["", "../s", "a/b", "a b", ".", "a..b", "-a", "x" * 64])
def test_what_is_no_selector_makes_no_file(text: str) -> None:
    with pytest.raises(KeyFault):
        checked_selector(text)


def test_an_international_domain_is_kept_in_a_labels() -> None:
    assert checked_domain("Bücher.example") == "xn--bcher-kva.example"


# -- import


def test_a_dkimproxy_configuration_brings_all_its_keys(ring: KeyRing, tmp_path: Path) -> None:
    first, second = pem_file(tmp_path / "first.key"), pem_file(tmp_path / "second.key", 1024)
    (tmp_path / "map").write_text(
        "# senders\nexample.net  dkim(s=mapped, key=second.key, a=rsa-sha256), domainkeys(c=nofws)\n"
        f"me@example.com\tdkim(key={first},d=example.com)\n"
    )
    conf = tmp_path / "dkimproxy_out.conf"
    conf.write_text(
        "# specify what address/port DKIMproxy should listen on\nlisten    127.0.0.1:10027\nrelay 127.0.0.1:10028\n"
        "domain    example.org, example.edu\nsignature dkim(c=relaxed)\nkeyfile   first.key\nselector  host1\n"
        "sender_map map\n"
    )
    assert is_conf(conf)
    assert not is_conf(first)
    assert dkimproxy(conf) == [
        Source("example.net", "mapped", second),
        Source("example.com", "host1", first),
        Source("example.org", "host1", first),
        Source("example.edu", "host1", first),
    ]
    for source in dkimproxy(conf):
        take(ring, source)
    assert {(key.domain, key.selector, key.weak) for key in ring.all()} == {
        ("example.net", "mapped", True),
        ("example.com", "host1", False),
        ("example.org", "host1", False),
        ("example.edu", "host1", False),
    }


@pytest.mark.parametrize(
    "text",
    ["", "listen 1\n", "domain example.org\n", "domain example.org\nkeyfile x\n",
     "domain ../x\nkeyfile x\nselector s\n", "sender_map missing\n"],
)  # fmt: skip
def test_a_configuration_without_usable_keys_is_refused(tmp_path: Path, text: str) -> None:
    conf = tmp_path / "conf"
    conf.write_text(text)
    with pytest.raises(KeyFault):
        dkimproxy(conf)


# -- the command


def call(capsys: pytest.CaptureFixture[str], data: Path, *words: str) -> tuple[int, str, str]:
    code = main(["key", *words, "--data", str(data)])
    out, err = capsys.readouterr()
    return code, out, err


def test_the_command_makes_lists_rotates_and_retires(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, _ = call(capsys, tmp_path, "new", "example.org", "--selector", "s1", "--ed25519")
    assert code == 0
    assert "s1._domainkey.example.org. IN TXT (" in out
    assert 's1-ed25519._domainkey.example.org. IN TXT "v=DKIM1; k=ed25519; p=' in out
    code, out, _ = call(capsys, tmp_path, "list", "--json")
    found = {one["selector"]: one for one in json.loads(out)}
    assert (found["s1"]["signs"], found["s1-ed25519"]["signs"]) == (True, False)
    assert "".join(found["s1"]["strings"]) == found["s1"]["record"]
    assert "PRIVATE" not in out
    code, _, err = call(capsys, tmp_path, "rotate", "example.org")
    assert (code, "does not sign yet" in err) == (2, True)
    ring = KeyRing(tmp_path / "relay" / "keys")
    (first,) = ring.signing("example.org")
    ring.update([(first, keys.moved(first, "signing", first.since))])
    code, out, _ = call(capsys, tmp_path, "rotate", "example.org", "--bits", "3072")
    assert (code, "rsa 3072, new" in out) == (0, True)
    code, out, _ = call(capsys, tmp_path, "retire", "example.org", "s1")
    assert (code, "signs no more" in out) == (0, True)
    code, out, _ = call(capsys, tmp_path, "list", "example.org")
    assert "retiring" in out
    assert call(capsys, tmp_path, "show", "example.org", "nosuch")[0] == 2


def test_the_command_imports_and_warns_of_a_short_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = str(pem_file(tmp_path / "old.key", 1024))
    assert call(capsys, tmp_path, "import", path)[0] == 2
    code, out, err = call(capsys, tmp_path, "import", path, "example.org", "--selector", "old")
    assert (code, "1024 bits only" in err) == (0, True)
    assert "old._domainkey.example.org. IN TXT" in out
    assert call(capsys, tmp_path, "import", path, "example.org", "--selector", "old")[0] == 2
    assert call(capsys, tmp_path, "import", str(tmp_path / "none"))[0] == 2


@pytest.mark.parametrize(
    "words", [("new",), ("new", "a", "b", "c"), ("retire", "example.org"), ("rotate", "example.org")]
)
def test_wrong_use_of_the_command_is_said_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = call(capsys, tmp_path, *words)
    assert code == 2
    assert err.startswith("dmarcview: ")
