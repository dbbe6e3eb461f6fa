"""An OpenSMTPD of its own for a test, beside Postfix, whose package excludes it: peer_opensmtpd.sh unpacks it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from conftest import need
from peer_postfix import free_port, wait_for

LOCK = Path(tempfile.gettempdir()) / "dmarcview-opensmtpd.lock"
# A shell in namespaces of its own: $0 becomes the machine's name, and the file $1 what Debian keeps as its mail name.
NAMED = 'hostname "$0" && { [ ! -e /etc/mailname ] || mount --bind "$1" /etc/mailname; } && shift && exec "$@"'


@contextlib.contextmanager
def opensmtpd(onward: int, certificate: Path | None = None, key: Path | None = None) -> Iterator[int]:
    """Start one that relays all it takes to a port of loopback; give its own port. With a certificate it offers
    STARTTLS as mx.far.test.
    """
    port = free_port()
    listen = f"listen on 127.0.0.1 port {port} hostname mx.far.test"
    rules = [f'action "onward" relay host smtp://127.0.0.1:{onward}', 'match from any for any action "onward"']
    with tempfile.TemporaryDirectory(prefix="dmarcview-pki-") as folder:
        pki = []
        if certificate and key:
            for name, source in (("cert", certificate), ("key", key)):
                copy = Path(folder) / f"{name}.pem"
                shutil.copy(source, copy)
                copy.chmod(0o600)
                pki.append(f'pki mx.far.test {name} "{copy}"')
            listen += " tls pki mx.far.test"
        with smtpd("\n".join([*pki, listen, *rules]), [port]):
            yield port


@contextlib.contextmanager
def smtpd(settings: str, ports: Sequence[int], name: str = "") -> Iterator[Path]:
    """Start one with this smtpd.conf, and wait for the ports it listens on; give its log. One runs at a time, because
    all share one queue and one socket of control. With a name it takes that for the machine's.
    """
    need("smtpctl", "opensmtpd, unpacked beside Postfix by tests/peer_opensmtpd.sh")
    if os.geteuid():
        pytest.skip("an OpenSMTPD of its own needs root")
    folder = Path(tempfile.mkdtemp(prefix="dmarcview-opensmtpd-"))
    conf, log = folder / "smtpd.conf", folder / "log"
    conf.write_text(settings + "\n")
    conf.chmod(0o600)
    command = ["/usr/sbin/smtpd", "-d", "-f", str(conf)]
    if name:
        (folder / "mailname").write_text(name + "\n")
        command = ["unshare", "--uts", "--mount", "sh", "-c", NAMED, name, str(folder / "mailname"), *command]
    with LOCK.open("wb") as lock, log.open("wb") as out:
        fcntl.flock(lock, fcntl.LOCK_EX)
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        try:
            try:
                for port in ports:
                    wait_for(port)
            except AssertionError:
                pytest.fail(log.read_text())
            yield log
        finally:
            process.terminate()
            process.wait(30)
            shutil.rmtree(folder, ignore_errors=True)
