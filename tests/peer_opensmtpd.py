"""An OpenSMTPD of its own for a test, beside Postfix, which its package excludes: tests/peers.sh unpacks it."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import need
from peer_postfix import free_port, wait_for


@contextlib.contextmanager
def opensmtpd(onward: int, certificate: Path | None = None, key: Path | None = None) -> Iterator[int]:
    """Start one that relays all it takes to a port of loopback; give its own port. With a certificate it offers
    STARTTLS as mx.far.test.
    """
    need("smtpctl", "opensmtpd, unpacked beside Postfix by tests/peers.sh")
    if os.geteuid():
        pytest.skip("an OpenSMTPD of its own needs root")
    folder = Path(tempfile.mkdtemp(prefix="dmarcview-opensmtpd-"))
    port = free_port()
    lines = [f"listen on 127.0.0.1 port {port} hostname mx.far.test"]
    if certificate and key:
        for name, source in (("cert.pem", certificate), ("key.pem", key)):
            shutil.copy(source, folder / name)
            (folder / name).chmod(0o600)
        lines.insert(0, f'pki mx.far.test cert "{folder}/cert.pem"')
        lines.insert(1, f'pki mx.far.test key "{folder}/key.pem"')
        lines[-1] += " tls pki mx.far.test"
    lines += [f'action "onward" relay host smtp://127.0.0.1:{onward}', 'match from any for any action "onward"']
    settings = folder / "smtpd.conf"
    settings.write_text("\n".join(lines) + "\n")
    settings.chmod(0o600)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            ["/usr/sbin/smtpd", "-d", "-f", str(settings)], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        try:
            wait_for(port)
        except AssertionError:
            pytest.fail((folder / "log").read_text())
        yield port
    finally:
        process.terminate()
        process.wait(30)
        shutil.rmtree(folder, ignore_errors=True)
