"""A Postfix of its own for a test: an instance in a folder under /tmp, on a free port of loopback. Needs root."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import need

# Everything that a receiving and sending Postfix runs, without chroot: name, type, private, wakeup, limit, command.
SERVICES = """\
127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
lmtp unix - - n - - lmtp
virtual unix - n n - - virtual
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
showq unix n - n - - showq
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


@dataclass(frozen=True)
class Postfix:
    """An instance that runs. It keeps mail for far.test, whoever the recipient is, and relays for loopback."""

    folder: Path
    port: int

    def mails(self, count: int, seconds: float = 30.0) -> list[bytes]:
        """What it has stored, as soon as it is so many; lines end with LF, its own headers stand above."""
        until = time.monotonic() + seconds
        while True:
            found = sorted((self.folder / "mail/box/new").glob("*"))
            if len(found) >= count or time.monotonic() > until:
                assert len(found) >= count, self.log()
                return [path.read_bytes() for path in found]
            time.sleep(0.05)

    def log(self) -> str:
        """Its log."""
        path = self.folder / "log/maillog"
        return path.read_text() if path.exists() else ""


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(port: int, seconds: float = 30.0) -> None:
    """Wait until somebody listens there."""
    until = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert time.monotonic() < until, f"nobody listens on port {port}"
            time.sleep(0.05)
        else:
            return


@contextlib.contextmanager
def postfix(settings: dict[str, str] | None = None, doors: Sequence[str] = ()) -> Iterator[Postfix]:
    """Start an instance with these lines of main.cf and of master.cf beside ours; stop it at the end, and remove its
    folder.
    """
    program = need("postfix", "postfix")
    if os.geteuid():
        pytest.skip("a Postfix of its own needs root")
    folder = Path(tempfile.mkdtemp(prefix="dmarcview-postfix-"))
    folder.chmod(0o755)
    instance = Postfix(folder, free_port())
    try:
        _write(instance, settings or {}, doors)
        started = subprocess.run(
            [program, "-c", str(folder / "conf"), "start"], capture_output=True, text=True, timeout=60
        )
        assert started.returncode == 0, started.stderr + instance.log()
        try:
            wait_for(instance.port)
            yield instance
        finally:
            subprocess.run([program, "-c", str(folder / "conf"), "stop"], capture_output=True, timeout=60)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write(instance: Postfix, settings: dict[str, str], doors: Sequence[str]) -> None:
    folder = instance.folder
    owner = pwd.getpwnam("postfix")
    for name in ("queue", "data", "conf", "log", "mail"):
        (folder / name).mkdir()
    nobody = pwd.getpwnam("nobody")
    os.chown(folder / "data", owner.pw_uid, -1)
    os.chown(folder / "mail", nobody.pw_uid, nobody.pw_gid)
    lines = {
        "compatibility_level": "3.6",
        "queue_directory": folder / "queue",
        "data_directory": folder / "data",
        "maillog_file": folder / "log/maillog",
        "maillog_file_prefixes": folder / "log",
        "myhostname": "mx.far.test",
        "mydestination": "",
        "inet_interfaces": "127.0.0.1",
        "inet_protocols": "ipv4",
        "mynetworks": "127.0.0.0/8",
        "alias_maps": "",
        "alias_database": "",
        "smtpd_peername_lookup": "no",
        "smtpd_client_connection_count_limit": "0",
        "virtual_mailbox_domains": "far.test",
        "virtual_mailbox_base": folder / "mail",
        "virtual_mailbox_maps": "static:box/",
        "virtual_minimum_uid": "1",
        "virtual_uid_maps": f"static:{nobody.pw_uid}",
        "virtual_gid_maps": f"static:{nobody.pw_gid}",
        **settings,
    }
    (folder / "conf/main.cf").write_text("".join(f"{key} = {value}\n" for key, value in lines.items()))
    services = SERVICES.format(port=instance.port)
    (folder / "conf/master.cf").write_text(services + "".join(f"{door}\n" for door in doors))
