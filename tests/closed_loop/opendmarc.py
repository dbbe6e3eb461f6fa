"""OpenDKIM and OpenDMARC as milters, and with MariaDB the scripts that mail OpenDMARC's aggregate reports."""

from __future__ import annotations

import contextlib
import os
import pwd
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.closed_loop.engine import ORGANISATION, SENDER, Engine, listens
from tests.dkim_judges import UNBOUND, process

PROGRAMS = (
    ("opendkim", "opendkim"),
    ("opendmarc", "opendmarc"),
    ("opendmarc-reports", "opendmarc"),
    ("mariadbd", "mariadb-server"),
)
MODULES = (("DBD::mysql", "libdbd-mysql-perl"), ("Switch", "libswitch-perl"), ("HTTP::Message", "libhttp-message-perl"))
DATABASE = 3306
NOBODY = "192.0.2.254"  # the only host that is not judged
SCHEMA = Path("/usr/share/dbconfig-common/data/opendmarc/install/mysql")
OPENDKIM = """\
Syslog no
Mode v
Background no
AutoRestart yes
Socket local:{folder}/run/opendkim
UMask 000
UserID opendkim
AuthservID mx.example.net
AlwaysAddARHeader yes
InternalHosts {nobody}
ResolverConfiguration {folder}/unbound.conf
PidFile {folder}/run/opendkim.pid
"""
OPENDMARC = """\
Syslog no
Background false
AuthservID mx.example.net
TrustedAuthservIDs mx.example.net
Socket local:{folder}/run/opendmarc
UMask 000
SPFIgnoreResults true
SPFSelfValidate true
IgnoreHosts {folder}/ignored
IgnoreAuthenticatedClients false
RecordAllMessages true
RejectFailures false
FailureReports false
HistoryFile {folder}/history/opendmarc.dat
PublicSuffixList {suffixes}
UserID opendmarc
"""
SUFFIXES = "com\nnet\norg\nexample\n"
GRANT = """\
create database opendmarc;
create user 'opendmarc'@'%' identified by 'x'; grant all on opendmarc.* to 'opendmarc'@'%';
create user 'opendmarc'@'localhost' identified by 'x'; grant all on opendmarc.* to 'opendmarc'@'localhost';
"""
LOGIN = ("--dbhost=127.0.0.1", f"--dbport={DATABASE}", "--dbname=opendmarc", "--dbuser=opendmarc", "--dbpasswd=x")


@contextlib.contextmanager
def opendmarc(folder: Path) -> Iterator[Engine]:
    """Start all three."""
    folder.chmod(0o755)
    for name, owner in (("run", "opendkim"), ("history", "opendmarc"), ("mysql", "mysql")):
        (folder / name).mkdir()
        (folder / name).chmod(0o777 if name == "run" else 0o755)
        os.chown(folder / name, pwd.getpwnam(owner).pw_uid, -1)
    texts = {
        "unbound.conf": UNBOUND.format(dns=53),
        "ignored": f"{NOBODY}\n",
        "suffixes": SUFFIXES,
        "opendkim.conf": OPENDKIM.format(folder=folder, nobody=NOBODY),
        "opendmarc.conf": OPENDMARC.format(folder=folder, suffixes=folder / "suffixes"),
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    history = folder / "history/opendmarc.dat"

    def judged() -> int:
        return sum(line.startswith("job ") for line in history.read_text().splitlines()) if history.exists() else 0

    def report(port: int) -> str:
        _run(["opendmarc-import", *LOGIN, "--verbose"], folder, history.read_text())
        # a domain that was never reported on counts as reported on just now
        _sql(folder, "update requests set lastsent = now() - interval 2 day", "opendmarc")
        told = [f"--smtp-port={port}", "--smtp-server=127.0.0.1", f"--report-email={SENDER}"]
        return _run(["opendmarc-reports", *LOGIN, "--verbose", "--interval=86400", *told,
                     f"--report-org={ORGANISATION}", "--utc"], folder)  # fmt: skip

    with (
        process(_milter(folder, "opendkim", "-x"), (folder / "run/opendkim").is_socket, folder / "opendkim.log"),
        process(_milter(folder, "opendmarc", "-c"), (folder / "run/opendmarc").is_socket, folder / "opendmarc.log"),
        _database(folder),
    ):
        yield Engine(f"unix:{folder}/run/opendkim unix:{folder}/run/opendmarc", judged, report)


def _milter(folder: Path, name: str, option: str) -> list[str]:
    return [name, "-f", option, str(folder / f"{name}.conf")]


@contextlib.contextmanager
def _database(folder: Path) -> Iterator[None]:
    data = f"--datadir={folder / 'mysql'}"
    _run(["mysql_install_db", "--no-defaults", "--user=mysql", data, "--auth-root-authentication-method=normal",
          "--skip-test-db", "--skip-name-resolve"], folder)  # fmt: skip
    server = ["mariadbd", "--no-defaults", "--user=mysql", data, f"--socket={folder / 'mysql/socket'}",
              "--bind-address=127.0.0.1", f"--port={DATABASE}", "--innodb-flush-log-at-trx-commit=0",
              "--sql-mode=", "--skip-name-resolve"]  # fmt: skip
    with process(server, lambda: listens(DATABASE), folder / "mariadb.log"):
        _sql(folder, GRANT)
        _sql(folder, SCHEMA.read_text())
        yield


def _sql(folder: Path, text: str, *database: str) -> None:
    _run(["mariadb", "--no-defaults", "-S", str(folder / "mysql/socket"), *database], folder, text)


def _run(command: list[str], folder: Path, given: str = "") -> str:
    done = subprocess.run(command, cwd=folder, input=given, capture_output=True, text=True, check=False)
    assert not done.returncode, f"{command[0]}: {done.stdout}{done.stderr}"
    return done.stdout + done.stderr
