"""The sendmail command: its options, what it makes of a program's mail, and what it does without a relay."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from relay_door import House, house
from smtp_talk import Authority, authority

from dmarcview.sendmail.letter import LetterError, complete
from dmarcview.sendmail.options import Options, UsageError, read_options
from dmarcview_relay.settings import RelayListener
from dmarcview_smtp.address import Address
from dmarcview_smtp.policy import Client, Transaction
from dmarcview_smtp.replies import Reply

ALICE, BOB = Address("alice", "example.org"), Address("bob", "example.net")
MAIL = b"From: alice@example.org\nSubject: x\n\nhello\n"


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def here(tmp_path: Path, ca: Authority) -> Iterator[House]:
    with house(tmp_path, ca, RelayListener(port=0, mode="plain")) as made:
        settings(tmp_path, made.port)
        yield made


def settings(path: Path, port: int, more: str = "") -> None:
    (path / "dmarcview.toml").write_text(
        f"[data]\ndir = '{path}'\n[relay]\nhostname = 'relay.example.test'\n{more}\n"
        f"listeners = [{{ host = '127.0.0.1', port = {port} }}]\n"
    )


def sendmail(path: Path, *words: str, mail: bytes = MAIL) -> subprocess.CompletedProcess[bytes]:
    """The command as a program runs it, in a folder with its settings."""
    command = [sys.executable, "-m", "dmarcview", "sendmail", *words]
    return subprocess.run(command, input=mail, capture_output=True, timeout=60, check=False, cwd=path)


def test_a_mail_is_handed_in_and_the_dialogue_shown(tmp_path: Path, here: House) -> None:
    done = sendmail(tmp_path, "-v", "-i", "-f", "alice@example.org", "bob@example.net", "carol@example.net")
    assert (done.returncode, done.stderr) == (0, b"")
    shown = done.stdout.decode().splitlines()
    assert shown[0] == "220 relay.example.test ESMTP ready"
    assert ">>> MAIL FROM:<alice@example.org>" in shown
    assert "250 2.0.0 Queued" in shown
    [taken] = here.policy.taken
    assert taken.mail.sender == ALICE
    assert [str(to) for to in taken.mail.recipients] == ["bob@example.net", "carol@example.net"]
    assert taken.content == MAIL.replace(b"\n", b"\r\n")


def test_quiet_when_it_works(tmp_path: Path, here: House) -> None:
    done = sendmail(tmp_path, "-oi", "-oem", "-falice@example.org", "-B8BITMIME", "--", "bob@example.net")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert len(here.policy.taken) == 1


def test_t_takes_the_recipients_of_the_header_and_hides_bcc(tmp_path: Path, here: House) -> None:
    mail = (
        b'To: Bob <bob@example.net>,\n "Last, First" <c@example.net>\nCC: d@example.net\nBcc: e@example.net,\n'
        b"\tf@example.net\nbcc: bob@example.net\nFrom: alice@example.org\n\nBcc: stays@example.net\n"
    )
    done = sendmail(tmp_path, "-t", "-f", "alice@example.org", "g@example.net", mail=mail)
    assert done.returncode == 0, done.stderr
    [taken] = here.policy.taken
    assert [to.local for to in taken.mail.recipients] == ["g", "bob", "c", "d", "e", "f"]
    header, _, body = taken.content.partition(b"\r\n\r\n")
    assert b"bcc" not in header.lower()
    assert b"f@example.net" not in header
    assert body == b"Bcc: stays@example.net\r\n"


def test_dots_at_line_starts_arrive_and_a_single_one_ends_the_mail_unless_i(tmp_path: Path, here: House) -> None:
    mail = MAIL + b".hidden\n..\n.\nafter\n"
    assert sendmail(tmp_path, "-i", "-falice@example.org", "bob@example.net", mail=mail).returncode == 0
    assert sendmail(tmp_path, "-falice@example.org", "bob@example.net", mail=mail).returncode == 0
    whole, cut = (taken.content for taken in here.policy.taken)
    assert whole == mail.replace(b"\n", b"\r\n")
    assert cut == (MAIL + b".hidden\n..\n").replace(b"\n", b"\r\n")


def test_dsn_wishes_and_utf8_reach_the_relay(tmp_path: Path, here: House) -> None:
    mail = "From: alice@example.org\nSubject: \u00e9\n\n\u00e9\n".encode()
    words = ["-N", "success,delay", "-R", "hdrs", "-V", "a+b=c", "-falice@example.org", "bob@example.net"]
    assert sendmail(tmp_path, *words, mail=mail).returncode == 0
    [taken] = here.policy.taken
    assert taken.mail.parameters == {"BODY": "8BITMIME", "SMTPUTF8": None, "RET": "HDRS", "ENVID": "a+2Bb+3Dc"}
    assert taken.mail.recipient_parameters == [{"NOTIFY": "SUCCESS,DELAY"}]


def test_echo_into_sendmail_is_a_whole_mail(tmp_path: Path, here: House) -> None:
    done = sendmail(tmp_path, "-f", "noreply@example.org", "-F", 'The "Shop"', "bob@example.net", mail=b"hello\n")
    assert done.returncode == 0, done.stderr
    [taken] = here.policy.taken
    assert taken.content == b'From: "The \\"Shop\\"" <noreply@example.org>\r\n\r\nhello\r\n'


def test_bs_carries_the_callers_own_words(tmp_path: Path, here: House) -> None:
    talk = (
        b"EHLO client.test\r\nMAIL FROM:<alice@example.org>\r\nRCPT TO:<bob@example.net>\r\nDATA\r\n"
        b"Subject: x\r\n\r\nhello\r\n.\r\nQUIT\r\n"
    )
    done = sendmail(tmp_path, "-bs", mail=talk)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(b"220 relay.example.test")
    assert done.stdout.endswith(b"221 2.0.0 Bye\r\n")
    [taken] = here.policy.taken
    assert taken.content == b"Subject: x\r\n\r\nhello\r\n"
    plain_file = tmp_path / "talk"
    plain_file.write_bytes(talk)
    with plain_file.open("rb") as source:
        command = [sys.executable, "-m", "dmarcview", "sendmail", "-bs"]
        done = subprocess.run(command, stdin=source, capture_output=True, timeout=60, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(here.policy.taken) == 2


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (Reply(550, "5.1.1", "No such user"), 67),
        (Reply(550, "5.7.1", "Not allowed"), 77),
        (Reply(554, "5.4.6", "A loop"), 69),
    ],
)
def test_a_refusal_is_told_with_its_code_and_nothing_is_sent(
    tmp_path: Path, here: House, monkeypatch: pytest.MonkeyPatch, reply: Reply, code: int
) -> None:
    def refuse(client: Client, mail: Transaction, recipient: Address) -> Reply | None:
        return reply if recipient.local == "c" else None

    monkeypatch.setattr(here.policy, "on_rcpt", refuse)
    done = sendmail(tmp_path, "-falice@example.org", "bob@example.net", "c@example.net")
    assert done.returncode == code
    assert done.stderr.decode() == f"sendmail: {reply.code} {reply.enhanced} {reply.text}\n"
    assert here.policy.taken == []


def test_a_mail_that_the_relay_refuses_is_told_as_bad_data(tmp_path: Path, here: House) -> None:
    done = sendmail(tmp_path, "-falice@example.org", "bob@example.net", mail=b"From: a@example.org\nX: \x07\n\nx\n")
    assert done.returncode == 65
    assert done.stderr.startswith(b"sendmail: 550 5.6.0 ")


def drop_folder(path: Path) -> Path:
    folder = path / "relay" / "drop"
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize("verbose", [True, False])
def test_without_a_relay_the_mail_is_left_for_it(tmp_path: Path, verbose: bool) -> None:
    settings(tmp_path, 1)
    folder = drop_folder(tmp_path)
    words = ["-v"] * verbose + ["-f", "", "-N", "never", "-t"]
    done = sendmail(tmp_path, *words, mail=b"To: bob@example.net\nBcc: c@example.net\nFrom: a@example.org\n\nx\ry")
    assert done.returncode == 0, done.stderr
    assert (b"no relay: 127.0.0.1 port 1: Connection refused" in done.stdout) == verbose
    [file] = folder.iterdir()
    envelope, _, content = file.read_bytes().partition(b"\n")
    assert json.loads(envelope) == {
        "sender": "",
        "recipients": [
            {"address": "bob@example.net", "notify": ["NEVER"], "orcpt": ""},
            {"address": "c@example.net", "notify": ["NEVER"], "orcpt": ""},
        ],
        "ret": "",
        "envid": "",
    }
    assert content == b"To: bob@example.net\r\nFrom: a@example.org\r\n\r\nx\r\ny\r\n"


def test_what_a_relay_cannot_take_now_is_left_for_it_too(
    tmp_path: Path, here: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(here.policy, "on_mail", lambda client, mail: Reply(452, "4.3.1", "No room"))
    folder = drop_folder(tmp_path)
    assert sendmail(tmp_path, "-falice@example.org", "bob@example.net").returncode == 0
    assert len(list(folder.iterdir())) == 1


def test_without_relay_and_folder_the_caller_keeps_the_mail(tmp_path: Path) -> None:
    settings(tmp_path, 1)
    done = sendmail(tmp_path, "-falice@example.org", "bob@example.net")
    assert done.returncode == 75
    assert b"cannot be left in" in done.stderr
    done = sendmail(tmp_path, "-bs")
    assert done.returncode == 75
    assert done.stdout.startswith(b"421 4.3.2 ")


@pytest.mark.parametrize(
    "said",
    [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"220 x", b"220-" + b"x" * 5_000, b"220-x\r\n" * 200],
    ids=["nothing", "http", "cut", "endless line", "endless reply"],
)
def test_what_answers_may_be_anything(tmp_path: Path, said: bytes) -> None:
    import socket

    folder = drop_folder(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as server:
        settings(tmp_path, server.getsockname()[1])

        def answer() -> None:
            peer, _ = server.accept()
            with peer:
                peer.sendall(said)

        thread = threading.Thread(target=answer)
        thread.start()
        done = sendmail(tmp_path, "-falice@example.org", "bob@example.net")
        thread.join()
    assert done.returncode == 0, done.stderr
    assert len(list(folder.iterdir())) == 1


@pytest.mark.parametrize(
    ("words", "mail", "code", "why"),
    [
        ([], MAIL, 64, "no recipients"),
        (["-t"], MAIL, 64, "no recipients"),
        (["-Z"], MAIL, 64, "-Z"),
        (["-bd"], MAIL, 64, "dmarcview relay"),
        (["-q15m"], MAIL, 64, "queue retry"),
        (["-f", "a@example.org\nBcc: x@example.net", "b@example.net"], MAIL, 64, "control bytes"),
        (["-F", "x\r\nBcc: y@example.net", "b@example.net"], MAIL, 64, "control bytes"),
        (["-f", "not an address", "b@example.net"], MAIL, 64, "-f not an address"),
        (["-N", "sometimes", "b@example.net"], MAIL, 64, "-N"),
        (["bob"], MAIL, 64, "recipient bob"),
        (["b@example.net>,<c@example.net"], MAIL, 64, "recipient"),
        (["-t"], b"To: everybody: a@example.net;\nFrom: a@example.org\n\n", 65, "recipient"),
        (["-t"], b"To: \xff@example.net\nFrom: a@example.org\n\n", 65, "UTF-8"),
        (["b@example.net"], b"From: a@example.org\n\n\0", 65, "NUL"),
        (["-C", "missing.toml", "b@example.net"], MAIL, 78, "missing.toml"),
    ],
)
def test_what_cannot_be_sent_is_said(tmp_path: Path, words: list[str], mail: bytes, code: int, why: str) -> None:
    settings(tmp_path, 1)
    folder = drop_folder(tmp_path)
    done = sendmail(tmp_path, *words, mail=mail)
    assert done.returncode == code, done.stderr
    assert why in done.stderr.decode()
    assert list(folder.iterdir()) == []


def test_a_mail_above_the_limit_is_refused(tmp_path: Path) -> None:
    settings(tmp_path, 1, "limits = { message_bytes = 1000 }")
    drop_folder(tmp_path)
    done = sendmail(tmp_path, "-falice@example.org", "b@example.net", mail=MAIL + b"x" * 1_000)
    assert done.returncode == 65
    assert b"larger than 1000 bytes" in done.stderr


def test_it_starts_without_the_heavy_libraries() -> None:
    code = (
        "import sys; from dmarcview.commands.sendmail import main; import dmarcview.config; dmarcview.config.load();"
        "heavy = {'pandas', 'duckdb', 'pyarrow', 'sqlalchemy', 'dash', 'numpy', 'aiosmtpd', 'asyncio', 'ssl'};"
        "sys.exit(' '.join(sorted(heavy & set(sys.modules))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr.strip() == ""


# its parts


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ([], Options()),
        (["-ti"], Options(from_header=True, dots=True)),
        (
            ["-oi", "-odb", "-oem", "-O", "Timeout=5", "-G", "-U", "-n", "-m", "-p", "x", "-L", "tag"],
            Options(dots=True),
        ),
        (["-r", "<alice@example.org>"], Options(sender=ALICE)),
        (["-f<>"], Options(sender=None)),
        (["Bob <bob@example.net>", "-v", "alice@example.org"], Options(recipients=(BOB, ALICE), verbose=True)),
        (["-bm", "--", "bob@example.net"], Options(recipients=(BOB,))),
        (["-bs"], Options(speaks_smtp=True)),
        (["-N", "never"], Options(notify=("NEVER",))),
    ],
)
def test_options_as_programs_write_them(words: list[str], options: Options) -> None:
    assert read_options(words) == options


def test_lone_surrogates_of_odd_command_lines_are_refused() -> None:
    with pytest.raises(UsageError):
        read_options(["b\udcff@example.net"])


@pytest.mark.parametrize(
    ("written", "made"),
    [
        (b"", b"From: alice@example.org\r\n\r\n"),
        (b"\n", b"From: alice@example.org\r\n\r\n"),
        (b"hello", b"From: alice@example.org\r\n\r\nhello\r\n"),
        (b"\nA: b\n", b"From: alice@example.org\r\n\r\nA: b\r\n"),
        (b"From alice Mon Jan  1\nA: b\n\nx\n", b"A: b\r\nFrom: alice@example.org\r\n\r\nx\r\n"),
        (b"A: b\n c\nnot a field\n", b"A: b\r\n c\r\nFrom: alice@example.org\r\n\r\nnot a field\r\n"),
        (b"Bcc: a@example.net\n\tb@example.net\nFROM: x\n\ny\n", b"FROM: x\r\n\r\ny\r\n"),
        (b" Bcc: x\nFrom: y\n\n", b"From: alice@example.org\r\n\r\n Bcc: x\r\nFrom: y\r\n\r\n"),
        (b"From: y\r\n\r\na\rb\nc\r\n\r\n", b"From: y\r\n\r\na\r\nb\r\nc\r\n\r\n"),
    ],
)
def test_what_programs_write_becomes_a_mail(written: bytes, made: bytes) -> None:
    assert complete(written, ALICE, "").content == made


def test_names_outside_ascii_are_encoded_words_of_a_lawful_length() -> None:
    from email.header import decode_header, make_header

    name = "J\u00f6rg \U0001f600 " * 12
    header = complete(b"", ALICE, name.strip()).content.decode("ascii")
    assert max(len(line) for line in header.split("\r\n")) < 90
    value = header.removeprefix("From: ").split("\r\n\r\n")[0]
    assert str(make_header(decode_header(value))).startswith(name.strip())


def test_nobody_as_a_group_is_nobody() -> None:
    found = complete(b"To: undisclosed-recipients:;\nCc: bob@example.net\n\n", ALICE, "", to=True)
    assert found.recipients == (BOB,)
    with pytest.raises(LetterError):
        complete(b"To: friends: bob@example.net;\n\n", ALICE, "", to=True)
