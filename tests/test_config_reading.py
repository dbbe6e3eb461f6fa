"""Settings: what is read, what is refused, and where the fault stands."""

from __future__ import annotations

import contextlib
import dataclasses
import typing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmarcview import config, service
from dmarcview.config.lines import key_lines
from dmarcview.config.reader import read, settings_paths
from dmarcview.config.show import toml
from dmarcview.reference import config_page
from dmarcview_reports.settings import Limits


def faults(text: str, env: dict[str, str] | None = None) -> list[tuple[int, str]]:
    with pytest.raises(config.ConfigError) as caught:
        read(text, env or {})
    return [(fault.line, fault.key) for fault in caught.value.faults]


def test_one_setting_says_how_large_a_mail_may_be_and_the_door_follows() -> None:
    found = read("[limits]\nmail_bytes = 1000\n")
    assert service.receive_settings(found).limits.message_bytes == 1000
    assert service.receive_settings(read("")).limits.message_bytes == Limits().mail_bytes
    assert toml(found).count("message_bytes") == 1  # the relay's, which has its own
    assert ("receive", "door", "message_bytes") not in settings_paths()
    with pytest.raises(config.ConfigError, match=r"line 2: receive\.door\.message_bytes: .* set limits\.mail_bytes"):
        read("[receive.door]\nmessage_bytes = 5\n")


def test_permissions_are_written_as_people_write_them() -> None:
    found = read('[[receive.listeners]]\npath = "/run/x.sock"\npath_mode = 0o600\n')
    assert found.receive.listeners[0].path_mode == 0o600
    assert "path_mode = 0o600" in toml(found)
    assert "| `path_mode` | whole number | `0o660` | Permissions of the unix socket. At most 0o777. |" in config_page()


def test_no_file_and_no_environment_give_the_defaults() -> None:
    found = read("")
    assert found == config.Config()
    assert [one.host for one in found.receive.listeners] == ["127.0.0.1"]
    assert found.dashboard.listen == "127.0.0.1"


def test_every_fault_is_told_in_one_go_with_its_line() -> None:
    text = """[data]
retenton_days = 3
dir = 5

[[receive.listeners]]
port = 70000
[[receive.listeners]]
mode = "tlss"

[trust]
seconds = true
[recieve]
"""
    assert faults(text) == [
        (2, "data.retenton_days"),
        (3, "data.dir"),
        (6, "receive.listeners[0].port"),
        (8, "receive.listeners[1].mode"),
        (11, "trust.seconds"),
        (12, "recieve"),
    ]


def test_an_unknown_key_names_the_near_one() -> None:
    with pytest.raises(config.ConfigError, match="did you mean 'retention_days'"):
        read("[data]\nretenton_days = 1")


def test_a_syntax_error_has_its_line() -> None:
    assert faults("[data]\ndir = \n") == [(2, "")]


def test_values_over_several_lines_do_not_shift_the_lines_of_later_keys() -> None:
    rua = 'rua = [\n  "a@example.org",  # [one\n  "b@example.org",\n]\n'
    text = f'[receive]\n{rua}key = """\nx = 1\n"""\nhostnme = "x"\n'
    assert (9, "receive.hostnme") in faults(text)


def test_the_environment_goes_before_the_file() -> None:
    env = {
        "DMARCVIEW_DASHBOARD_PORT": "8081",
        "DMARCVIEW_DOMAINS_WATCHED": "Example.org, bücher.example",
        "DMARCVIEW_TRUST_CHECK": "false",
        "DMARCVIEW_RECEIVE_LISTENERS": '[{port = 25, host = "0.0.0.0"}]',
        "DMARCVIEW_RECEIVE_DOOR_CONNECTIONS": "7",
    }
    found = read("[dashboard]\nport = 9000\ntitle = 'kept'", env)
    assert found.dashboard.port == 8081
    assert found.dashboard.title == "kept"
    assert found.domains.watched == ("example.org", "xn--bcher-kva.example")
    assert found.trust.check is False
    assert [(one.host, one.port) for one in found.receive.listeners] == [("0.0.0.0", 25)]
    assert found.receive.door.connections == 7


def test_a_wrong_name_or_value_in_the_environment_is_a_fault_too() -> None:
    with pytest.raises(config.ConfigError) as caught:
        read("", {"DMARCVIEW_DASHBOARD_PROT": "1", "DMARCVIEW_DASHBOARD_PORT": "many"})
    said = str(caught.value)
    assert "did you mean 'DMARCVIEW_DASHBOARD_PORT'" in said
    assert "DMARCVIEW_DASHBOARD_PORT: cannot read 'many' as a whole number" in said


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('[domains]\nwatched = ["exa mple.org"]', "domains.watched"),
        ('[domains]\nown_networks = ["192.0.2.0/99"]', "domains.own_networks"),
        ('[receive]\nrua = ["no-at"]', "receive.rua"),
        ('[receive]\nrua = ["a@example.org\\r\\nRCPT TO:<x>"]', "receive.rua"),
        ('[receive]\ncertificate = "c.pem"', "receive.certificate"),
        ('[[receive.listeners]]\nmode = "starttls"', "receive.listeners[0].mode"),
        ('[dns]\nservers = ["192.0.2.1:99999"]', "dns.servers"),
        ('[dashboard]\nlisten = "my.host"', "dashboard.listen"),
        ('[dashboard]\nprefix = "x"', "dashboard.prefix"),
        ("[limits]\nrecords = 0", "limits.records"),
        ("[data]\nretention_days = -1", "data.retention_days"),
        ('[data]\ndomain_retention_days = {"bad domain" = 3}', "data.domain_retention_days"),
        ('[trust]\nalso_speaks_for = {"co.uk" = ["example.org"]}', "trust.also_speaks_for.co.uk"),
        ('[trust]\nalso_speaks_for = {"example.net" = "example.org"}', "trust.also_speaks_for"),
        ('[trust]\nalso_speaks_for = {"example.net" = [7]}', "trust.also_speaks_for"),
        ('[alerts]\nwebhook = "https://a.example/x"', "alerts.webhook"),
        ('[alerts]\nwebhook = "ftp://a.example/x"\nwebhook_secret_file = "/k"', "alerts.webhook"),
        ('[alerts]\nwebhook = "https://me:secret@a.example/x"\nwebhook_secret_file = "/k"', "alerts.webhook"),
        ('[alerts]\nlink = "pages.example.org"', "alerts.link"),
        ('[alerts]\nchannels = {mail = "/k"}', "alerts.channels"),
        ('[alerts]\nchannels = {"my room" = "/k"}', "alerts.channels"),
    ],
)
def test_a_value_that_cannot_work_is_refused(text: str, key: str) -> None:
    assert [name for _, name in faults(text)] == [key]


def test_paths_start_at_the_folder_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "conf" / "d.toml"
    file.parent.mkdir()
    file.write_text('[data]\ndir = "../data"\n[geo]\nasn = "/abs.mmdb"\n')
    found = config.load(file, {})
    assert Path(found.data.dir).resolve() == tmp_path / "data"
    assert found.geo.asn == "/abs.mmdb"


def test_a_file_that_cannot_be_read_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(config.ConfigError, match="cannot be read"):
        config.load(tmp_path / "none.toml", {})
    (tmp_path / "latin.toml").write_bytes(b"[data]\ndir = '\xe4'\n")
    with pytest.raises(config.ConfigError, match="line 2: not UTF-8"):
        config.load(tmp_path / "latin.toml", {})


def test_the_data_option_goes_before_folder_and_database(tmp_path: Path) -> None:
    found = config.with_data(read('[data]\ndir = "/srv/x"\nurl = "postgresql+psycopg://h/d"'), str(tmp_path))
    assert config.data_dir(found) == tmp_path
    assert found.data.url == ""


def test_what_show_prints_reads_back_to_the_same_settings() -> None:
    text = """
[data]
dir = "/srv/a\\"b"
domain_retention_days = {"example.org" = 30}
[trust.also_speaks_for]
"reports.example.net" = ["example.com", "Example \\"Inc.\\""]
[receive]
rua = ["dmarc@example.org"]
[[receive.listeners]]
port = 25
[[receive.listeners]]
path = "/run/x.sock"
protocol = "lmtp"
"""
    found = read(text)
    assert read(toml(found)) == found
    assert read(toml(found, changed=True)) == found


@settings(deadline=None)
@given(st.text())
def test_no_text_raises_anything_but_a_config_error(text: str) -> None:
    with contextlib.suppress(config.ConfigError):
        assert isinstance(read(text), config.Config)


def test_lines_are_known_for_dotted_and_quoted_keys() -> None:
    lines = key_lines('a.b = 1\n["x y".z]\n"q.r" = 2\n')
    assert lines[("a", "b")] == 1
    assert lines[("x y", "z", "q.r")] == 3


def test_every_setting_says_what_it_is_for() -> None:
    for section in typing.get_type_hints(config.Config).values():
        assert section.__doc__
        for field in dataclasses.fields(section):
            assert field.metadata["help"].endswith("."), f"{section.__name__}.{field.name}"


def test_each_setting_has_a_name_in_the_environment_of_its_own() -> None:
    names = ["_".join(path).upper() for path in settings_paths()]
    assert len(names) == len(set(names))
