"""What the fuzzer holds against the relay's files: users, the life of keys, dropped mails, allow lists; and records."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.mutation import Target
from dmarcview.dns import spf
from dmarcview_relay.allow import AllowError, AllowList
from dmarcview_relay.dkimdns import compare, txt
from dmarcview_relay.drop import REASON, Drop
from dmarcview_relay.keyfile import ED25519, KeyFault
from dmarcview_relay.keys import LIVES, STATES, KeyRing
from dmarcview_relay.userfile import UserFile
from dmarcview_relay.users import UserError, UserRules, Users
from dmarcview_smtp.address import Address
from dmarcview_smtp.content import Content
from dmarcview_smtp.policy import Client, Policy, Transaction
from dmarcview_smtp.replies import Reply
from dmarcview_smtp.settings import DoorSettings

JSON_TOKENS = (
    b"{", b"}", b"[", b"]", b",", b":", b'"', b"null", b"true", b"-1", b"1e999", b"NaN", b"Infinity", b"0.5",
    b"\\ud800", b"\\u0000", b"\xff", b"[" * 20_000, b"9" * 5_000, b"1" + b"0" * 400, b'""', b"[]", b"{}",
    b"\xef\xbb\xbf", b"version",
)  # fmt: skip
ENVELOPE = {
    "sender": "a@example.org",
    "recipients": [{"address": "b@example.net", "notify": ["NEVER"], "orcpt": "rfc822;b@c.test"}],
    "ret": "HDRS",
    "envid": "Q1",
}
DROPPED = [
    json.dumps(ENVELOPE).encode() + b"\nFrom: a@example.org\nSubject: x\n\nhi\n",
    json.dumps({**ENVELOPE, "sender": "", "ret": "", "envid": ""}).encode() + b"\nFrom: a@b.test\r\n\r\n.\r\n",
]
LISTS = [
    b"# who may\na@example.org\n@example.net  # all\n\n*\n",
    "j\u00fc@ex\u00e4mple.test\r\n@xn--exmple-cua.test".encode(),
]
LIST_TOKENS = (
    b"*",
    b"@",
    b"#",
    b"\n",
    b"\r",
    b"\x85",
    b"%",
    b"!",
    b'"',
    b"\xff",
    b"./x",
    b"\0",
    b"\xe2\x80\xa8",
    b"[192.0.2.1]",
)
RECORDS = [
    b'"v=DKIM1; k=rsa; p=" "MIIB"', b'"v=DKIM1; k=rsa; h=sha256; s=email; t=y; p=AAAA"',
    b"v=spf1 mx a:b.test/24//64 -all",
    b"v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 include:example.org ~all redirect=example.org exp=x.test",
    b"v=spf1 exists:%{i}.example.org ptr ?all",
]  # fmt: skip
RECORD_TOKENS = (
    b"v=spf1 ", b"include:example.org", b"redirect=example.org", b"ip4:", b"ip6:", b"/33", b"//129", b"/", b":", b"-",
    b"+", b"a ", b"mx ", b"%", b'"', b"\\", b"\\300", b"\\34", b";", b"=", b"p=", b"k=", b"v=DKIM1", b" ", b"\\999",
    b"all ", b"mx " * 50,
)  # fmt: skip


def targets(folder: Path) -> list[Target]:
    """The checks; each file lies in a folder of its own below `folder`."""
    users = _users(folder / "users.json")
    lives = _lives(folder / "keys")
    return [
        Target("users", [users], _users_check(folder / "users.json"), JSON_TOKENS),
        Target("keys", [lives, b'{"keys":' + b"[" * 100_000], _keys_check(folder / "keys"), JSON_TOKENS),
        Target("drop", DROPPED, _drop_check(folder / "drop"), JSON_TOKENS),
        Target("allow", LISTS, _allow_check(folder / "list"), LIST_TOKENS),
        Target("records", RECORDS, _records_check(KeyRing(folder / "keys")), RECORD_TOKENS),
    ]


def _users(path: Path) -> bytes:
    file = UserFile(path)
    file.add("alice", "correct horse", UserRules(("@example.org",), (), ("*",), 5))
    file.add("laptop", None, UserRules())
    return path.read_bytes()


def _users_check(path: Path) -> Callable[[bytes], str]:
    def check(data: bytes) -> str:
        """A file of users is taken or refused with UserError; what is taken answers for every name."""
        path.write_bytes(data)
        try:
            users = Users(path)
        except UserError:
            return "refused"
        for name in ("alice", "nobody"):
            hashed, keys = users.password(name)
            rules = users.rules(name)
            if not (8 <= len(hashed.salt) <= 64 and keys.iterations >= 1 and rules.rate >= 0):
                raise AssertionError(f"{hashed} {keys} {rules}")
            json.dumps([rules.senders, rules.froms, rules.recipients])
        return f"{len(users)} users"

    return check


def _lives(folder: Path) -> bytes:
    KeyRing(folder).new("example.org", "s1", algorithm=ED25519)
    return (folder / LIVES).read_bytes()


def _keys_check(folder: Path) -> Callable[[bytes], str]:
    def check(data: bytes) -> str:
        """The lives of keys are taken or refused with KeyFault; a key never leaves what it may be."""
        (folder / LIVES).write_bytes(data)
        ring = KeyRing(folder)
        try:
            ring.refresh()
        except KeyFault:
            return "refused"
        for key in ring.all():
            if key.state not in STATES or not all(0 <= at < 1e12 for at in (key.created, key.since, key.seen)):
                raise AssertionError(f"{key}")
        ring.update([(key, key) for key in ring.all()])
        return "signs" if ring.signing("www.example.org") else "does not sign"

    return check


class _Takes(Policy):
    """Takes everything, and holds it to what is promised of dropped mails."""

    def on_rcpt(self, client: Client, mail: Transaction, recipient: Address) -> Reply | None:  # noqa: ARG002 (as it is called)
        words = [mail.parameters["RET"], mail.parameters["ENVID"], str(mail.sender or ""), str(recipient)]
        if any(char in "\r\n\0" for word in words for char in word or ""):
            raise AssertionError(f"{words}")
        return None

    async def on_message(self, client: Client, mail: Transaction, content: Content) -> Reply:  # noqa: ARG002 (as it is called)
        whole = content.data
        if whole.count(b"\n") != whole.count(b"\r\n") or b"\0" in whole or not 0 < len(mail.recipients) <= 1_000:
            raise AssertionError(f"{mail} {whole!r}")
        return Reply(250, "2.0.0", "taken", "")


def _drop_check(folder: Path) -> Callable[[bytes], str]:
    drop = Drop(folder, _Takes(), DoorSettings(), "relay.example.org", expire_seconds=100.0)

    def check(data: bytes) -> str:
        """A file in the drop folder is taken, or set aside with a reason; it never stays."""
        (folder / "1.mail").write_bytes(data)
        accepted = asyncio.run(drop.take())
        aside = (drop.bad / "1.mail").exists() and (drop.bad / f"1.mail{REASON}").read_text("utf-8") != ""
        if accepted + aside != 1 or (folder / "1.mail").exists():
            raise AssertionError(f"accepted {accepted}, set aside {aside}")
        shutil.rmtree(drop.bad)
        drop.bad.mkdir()
        return "taken" if accepted else "set aside"

    return check


def _allow_check(path: Path) -> Callable[[bytes], str]:
    def check(data: bytes) -> str:
        """A list is taken or refused with AllowError; a routed local part needs an entry of its own or `*`."""
        path.write_bytes(data)
        try:
            allowed = AllowList((str(path),))
        except AllowError:
            return "refused"
        routed = Address("x%y.test", "example.net")
        if allowed.allows(routed) and b"*" not in data and b"%" not in data:
            raise AssertionError("a domain lets a routed address pass")
        return "taken"

    return check


class _Zone:
    """One TXT record at every name, two addresses."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.asked = 0

    def ask(self, kind: str, name: str) -> Sequence[object]:  # noqa: ARG002 (as it is called)
        self.asked += 1
        found: dict[str, Sequence[object]] = {
            "TXT": [self.text.encode()], "A": ["192.0.2.1"], "AAAA": ["2001:db8::1"], "MX": [(10, "mx.example.org")]
        }  # fmt: skip
        return found.get(kind, ())


def _records_check(ring: KeyRing) -> Callable[[bytes], str]:
    [key] = ring.all()

    def check(data: bytes) -> str:
        """Any TXT record is judged: as a key, and as SPF that includes itself, within the look-ups that are walked."""
        text = data.decode("utf-8", "replace")
        sight = compare(key, [txt(text)])
        zone = _Zone(text)
        walk = spf.walk("example.org", zone)
        if walk.record is not None:
            for address in ("192.0.2.1", "2001:db8::1"):
                walk.record.result(address)
        if zone.asked > spf.WALKED * (1 + 2 * spf.EXCHANGERS):
            raise AssertionError(f"{zone.asked} questions")
        return f"{sight.state}, {'SPF' if walk.record else 'no SPF'}"

    return check
