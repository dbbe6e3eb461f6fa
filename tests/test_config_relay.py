"""The settings of the relay: what works, what cannot be and on which line, the environment, and `init`."""

from __future__ import annotations

from pathlib import Path

import pytest

from dmarcview import config
from dmarcview.cli import main
from dmarcview.config.reader import read
from dmarcview.config.show import toml
from dmarcview_relay.settings import RelaySettings

WHOLE = """
[relay]
hostname = "Mail.Example.org"
senders = ["@bücher.example", "A.b@Example.org"]
recipients = ["*"]
certificate = "chain.pem"
key = "key.pem"
listeners = [{ port = 587, host = "0.0.0.0", mode = "starttls", auth = "required", client_ca = "ca.pem" }]
[relay.queue]
waits = [60, 120]
[relay.delivery]
tls = "verify"
[relay.care]
redirect_all = "me@example.org"
[[relay.certificates]]
fingerprint = "AA:BB:CC:DD:AA:BB:CC:DD:AA:BB:CC:DD:AA:BB:CC:DD:AA:BB:CC:DD:AA:BB:CC:DD:AA:BB:CC:DD:AA:BB:CC:DD"
user = "printer"
[[relay.routes]]
domains = ["Example.org", ".example.org"]
to = "lmtp:///run/dovecot/lmtp"
tls = "verify"
[[relay.routes]]
to = "smtps://smart.example.net"
user = "u"
password_file = "/etc/password"
"""
# a listener that asks for client certificates, and one that is pinned
ASKING = 'certificate = "c.pem"\nkey = "k.pem"\n[[relay.listeners]]\nmode = "tls"\nclient_ca = "ca.pem"\n'
PINNED = f'[[relay.certificates]]\nfingerprint = "{"ab" * 32}"\nuser = "u"\n'


def told(text: str, *, look: bool = False, base: Path | None = None) -> list[str]:
    with pytest.raises(config.ConfigError) as caught:
        read(text, {}, base, look=look)
    return [str(fault) for fault in caught.value.faults]


def test_without_a_word_the_relay_serves_loopback_and_lets_nobody_send() -> None:
    found = read("").relay
    assert found == RelaySettings()
    assert [(one.host, one.port) for one in found.listeners] == [("127.0.0.1", 2526)]
    assert found.senders == found.recipients == ()


def test_a_whole_relay_is_read_with_each_value_in_its_one_form() -> None:
    found = read(WHOLE, base=Path("/etc")).relay
    assert found.hostname == "mail.example.org"
    assert found.senders == ("@xn--bcher-kva.example", "A.b@example.org")
    assert found.certificate == "/etc/chain.pem"
    assert found.queue.waits == (60, 120)
    assert found.certificates[0].fingerprint == "aabbccdd" * 8
    assert [route.to for route in found.routes] == ["lmtp:///run/dovecot/lmtp", "smtps://smart.example.net:465"]
    assert found.routes[0].domains == ("example.org", ".example.org")


def test_what_show_prints_of_a_relay_reads_back_to_the_same() -> None:
    found = read(WHOLE, base=Path("/etc"))
    assert read(toml(found)) == found
    assert read(toml(found, changed=True)) == found


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        ('senders = ["a b@example.org"]', "line 2: relay.senders: 'a b@example.org' is not a mail address"),
        ('senders = ["@exa mple.org"]', "line 2: relay.senders: 'exa mple.org' is not a domain name"),
        ('senders = ["a@[192.0.2.1]"]', "line 2: relay.senders: 'a@[192.0.2.1]' names no domain"),
        ('senders = ["=?utf-8?q?a=0d=0a?=@example.org,b"]', "line 2: relay.senders: "),
        ('recipients = [""]', "line 2: relay.recipients: must not hold an empty text"),
        ('senders = ["@example.org"]', "line 2: relay.senders: may send to nobody; set `recipients`"),
        ('networks = ["10.0.0.0/33"]', "line 2: relay.networks: "),
        ('certificate = "c.pem"', "line 2: relay.certificate: needs `key` beside it"),
        ('key = "k.pem"', "line 2: relay.key: needs `certificate` beside it"),
        ("listeners = []", "line 2: relay.listeners: is empty"),
        ('[[relay.listeners]]\nmode = "starttls"', "line 3: relay.listeners[0].mode: 'starttls' needs `certificate`"),
        ('[[relay.listeners]]\nauth = "required"', "line 3: relay.listeners[0].auth: 'required' needs `mode`"),
        ('[[relay.listeners]]\nauth = "always"', "line 3: relay.listeners[0].auth: 'always' is not one of none,"),
        ('[[relay.listeners]]\nclient_ca = "ca.pem"', "line 3: relay.listeners[0].client_ca: needs `mode`"),
        ("[[relay.listeners]]\nport = 2525", "line 3: relay.listeners[0].port: is taken by receive.listeners[0]"),
        ("[[relay.listeners]]\n[[relay.listeners]]", "line 3: relay.listeners[1].port: is taken by relay.listeners[0]"),
        ('[relay.care]\nredirect_all = "nobody"', "line 3: relay.care.redirect_all: 'nobody' is not a mail address"),
        ("[relay.queue]\nwaits = []", "line 3: relay.queue.waits: needs one wait"),
        ("[relay.queue]\nwaits = [0]", "line 3: relay.queue.waits: 0 is below the least value, 1"),
        ("[relay.queue]\nexpire_hours = 3", "line 2: relay.queue.warn_hours: must be below `expire_hours`"),
        ('[relay.queue]\nreturn_content = "all"', "line 3: relay.queue.return_content: "),
        ('[relay.queue]\npostmaster = "postmaster"', "line 3: relay.queue.postmaster: "),
        ('[relay.keys]\ncheck = "maybe"', "line 3: relay.keys.check: "),
        ('[relay.delivery]\ntls = "dane"', "line 3: relay.delivery.tls: 'dane' needs `dnssec = true`"),
        ('[relay.delivery]\ntls = "always"', "line 3: relay.delivery.tls: 'always' is not one of none,"),
        ('[relay.delivery]\nsource_ipv4 = "::1"', "line 3: relay.delivery.source_ipv4: '::1' is not an IPv4 address"),
        ('[relay.delivery]\nfamily = "ipv5"', "line 3: relay.delivery.family: "),
        ("[relay.delivery]\nconnections = 0", "line 3: relay.delivery.connections: 0 is below"),
        ('[[relay.routes]]\nto = "http://x.example:1"', "line 3: relay.routes[0].to: 'http://x.example:1' is not mx, "),
        ('[[relay.routes]]\nto = "smtp://"', "line 3: relay.routes[0].to: 'smtp://' names no host"),
        ('[[relay.routes]]\nto = "lmtp:///"', "line 3: relay.routes[0].to: "),
        ('[[relay.routes]]\nto = "smtp://x.example:99999"', "line 3: relay.routes[0].to: "),
        ('[[relay.routes]]\nto = "smtp://x.example:0"', "line 3: relay.routes[0].to: "),
        ('[[relay.routes]]\nto = "smtp://u:p@x.example:25"', "line 3: relay.routes[0].to: holds a user"),
        ('[[relay.routes]]\nto = "smtp://x.example:25/y"', "line 3: relay.routes[0].to: "),
        ('[[relay.routes]]\ndomains = ["a@example.org"]', "line 3: relay.routes[0].domains: "),
        ("[[relay.routes]]\ndomains = []", "line 3: relay.routes[0].domains: is empty"),
        (
            '[[relay.routes]]\nuser = "u"\nto = "smtp://x.example:25"',
            "line 3: relay.routes[0].user: needs `password_file`",
        ),
        (
            '[[relay.routes]]\nuser = "u"\npassword_file = "p"',
            "line 3: relay.routes[0].user: cannot be used at `mx`",
        ),
        (
            '[[relay.routes]]\nto = "smtps://x.example:465"\ntls = "none"',
            "line 4: relay.routes[0].tls: 'none' cannot be",
        ),
        (
            '[[relay.routes]]\nto = "smtp://x.example:25"\ntls = "none"\nuser = "u"\npassword_file = "p"',
            "line 4: relay.routes[0].tls: 'none' would send the password in clear",
        ),
        ('[[relay.routes]]\ntls = "dane"', "line 3: relay.routes[0].tls: 'dane' needs `dnssec = true`"),
        ("[[relay.routes]]\n[[relay.routes]]", "line 3: relay.routes[1]: is never reached"),
        (f"{ASKING}[[relay.certificates]]\nuser = 'u'", "line 7: relay.certificates[0]: needs `fingerprint`"),
        ('[[relay.certificates]]\nfingerprint = "ab"\nuser = "u"', "line 3: relay.certificates[0].fingerprint: "),
        (
            f"{PINNED}[[relay.listeners]]\nport = 0\n[[relay.listeners]]\nport = 0",
            "line 2: relay.certificates[0]: is asked for by no listener: set `client_ca`",
        ),
        (
            f'certificates = [{{ fingerprint = "{"ab" * 32}", user = "u" }}]',
            "line 2: relay.certificates[0]: is asked for by no listener",
        ),
        ("sendres = []", "line 2: relay.sendres: no such setting; did you mean 'senders'?"),
    ],
)
def test_what_cannot_be_is_told_with_its_line(lines: str, fault: str) -> None:
    found = told(f"[relay]\n{lines}\n")
    assert len(found) == 1
    assert found[0].startswith(fault)


def test_two_certificates_with_one_fingerprint_are_a_fault() -> None:
    found = told(f"[relay]\n{ASKING}{PINNED}{PINNED}")
    assert found == ["line 11: relay.certificates[1].fingerprint: stands twice"]


def test_one_listener_that_asks_for_certificates_is_enough_for_those_that_are_pinned() -> None:
    found = read(f"[relay]\n{ASKING}[[relay.listeners]]\nport = 0\n{PINNED}").relay
    assert [one.user for one in found.certificates] == ["u"]


def test_tls_policies_that_fit_their_route_are_no_fault() -> None:
    read('[[relay.routes]]\nto = "lmtp:///run/x"\ntls = "verify"\nuser = "u"\npassword_file = "p"')
    read('[[relay.routes]]\nto = "smtp://127.0.0.1:10025"\ntls = "none"\nuser = "u"\npassword_file = "p"')
    read('[relay.delivery]\ntls = "dane"\ndnssec = true')
    read('[[relay.listeners]]\nport = 0\n[[relay.listeners]]\nport = 0\n[[relay.listeners]]\npath = "/run/x"')


def test_lists_in_files_are_read_only_when_asked_and_each_wrong_line_is_told(tmp_path: Path) -> None:
    text = '[relay]\nsenders = ["senders", "./more.txt"]\nrecipients = ["*"]\n'
    assert read(text, base=tmp_path).relay.senders == (f"{tmp_path}/senders", f"{tmp_path}/more.txt")
    (tmp_path / "more.txt").write_text("# ours\n@example.org  # all\n\na#b@example.org\nexample.org\n@\n")
    found = told(text, look=True, base=tmp_path)
    assert len(found) == 2
    assert found[0].startswith(f"line 2: relay.senders[0]: {tmp_path}/senders: ")
    assert "No such file" in found[0]
    assert f"{tmp_path}/more.txt: line 5: 'example.org' is no address and no @domain" in found[1]
    (tmp_path / "senders").write_bytes(b"\xff\n")
    assert told(text, look=True, base=tmp_path)[0].endswith("not UTF-8")
    (tmp_path / "senders").write_text("")
    (tmp_path / "more.txt").write_text("@example.org\n")
    read(text, base=tmp_path, look=True)


def test_files_that_cannot_be_read_are_told_when_asked(tmp_path: Path) -> None:
    text = """[relay]
certificate = "c.pem"
key = "k.pem"
[relay.delivery]
ca = "ca.pem"
[[relay.listeners]]
mode = "starttls"
client_ca = "own.pem"
[[relay.routes]]
to = "smtp://x.example:587"
user = "u"
password_file = "secret"
"""
    read(text, base=tmp_path)
    keys = ["certificate", "key", "delivery.ca", "listeners[0].client_ca", "routes[0].password_file"]
    found = told(text, look=True, base=tmp_path)
    assert [one.split(": ")[1] for one in found] == [f"relay.{key}" for key in keys]
    assert [one.split(": ")[0] for one in found] == [f"line {n}" for n in (2, 3, 5, 8, 12)]
    for name in ("c.pem", "k.pem", "ca.pem", "own.pem", "secret"):
        (tmp_path / name).write_text("x")
    read(text, base=tmp_path, look=True)


def test_the_environment_sets_the_relay_too() -> None:
    env = {
        "DMARCVIEW_RELAY_SENDERS": "@example.org, a@example.net",
        "DMARCVIEW_RELAY_RECIPIENTS": "*",
        "DMARCVIEW_RELAY_QUEUE_WAITS": "60,120",
        "DMARCVIEW_RELAY_DELIVERY_TLS": "encrypt",
        "DMARCVIEW_RELAY_CARE_HOLD_ALL": "true",
        "DMARCVIEW_RELAY_ROUTES": '[{to = "smtp://127.0.0.1:25"}]',
        "DMARCVIEW_RELAY_LIMITS_MESSAGE_BYTES": "1000",
    }
    found = read('[relay]\nsenders = ["@example.com"]', env).relay
    assert found.senders == ("@example.org", "a@example.net")
    assert found.queue.waits == (60, 120)
    assert found.delivery.tls == "encrypt"
    assert found.care.hold_all
    assert found.routes[0].to == "smtp://127.0.0.1:25"
    assert found.limits.message_bytes == 1000
    with pytest.raises(config.ConfigError, match="DMARCVIEW_RELAY_QUEUE_WAITS: cannot read"):
        read("", {"DMARCVIEW_RELAY_QUEUE_WAITS": "soon"})


def test_init_writes_a_short_file_that_has_no_fault_and_serves_loopback_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["init", "--domain", "Example.org", "--domain", "bücher.example"]) == 0
    assert "key new example.org" in capsys.readouterr().out
    text = (tmp_path / "dmarcview.toml").read_text()
    effective = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    assert len(effective) <= 15
    assert main(["config", "check"]) == 0
    found = config.load(env={}, look=True)
    assert found.domains.watched == ("example.org", "xn--bcher-kva.example")
    assert found.relay.senders == ("@example.org", "@xn--bcher-kva.example")
    assert {one.host for one in (*found.receive.listeners, *found.relay.listeners)} == {"127.0.0.1"}
    assert found.relay.hostname == found.receive.hostname == "mail.example.org"
    commented = "\n".join(line.removeprefix("# ") for line in text.splitlines()[3:])
    assert read(commented.replace("Behind port 25", "# Behind port 25")).relay.care.hold_all


def test_init_writes_over_nothing_and_takes_no_name_that_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "d.toml"
    file.write_text("mine")
    assert main(["init", str(file)]) == 2
    assert file.read_text() == "mine"
    assert "is there already" in capsys.readouterr().err
    assert main(["init", str(tmp_path / "e.toml"), "--domain", 'x"\n[evil]']) == 2
    assert not (tmp_path / "e.toml").exists()
    assert main(["init", "-", "--domain", "example.org"]) == 0
    assert read(capsys.readouterr().out).relay.recipients == ("*",)
