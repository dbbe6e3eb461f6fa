"""Network, mounts, processes and name of a machine of its own: `lo`, our DNS, and all ends with the first process."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

OURS = "198.51.100.10"  # our relay and our receiver
MX = "203.0.113.25"  # the real receiver
HOP = "203.0.113.26"  # something before it that changes mail
FORWARDER = "192.0.2.66"
SPOOFER = "192.0.2.99"
NAMESERVER = "127.0.0.1"

ROOT = Path(__file__).parent.parent.parent
UNSHARE = ("unshare", "--net", "--mount", "--pid", "--uts", "--fork", "--mount-proc", "--kill-child")
_TRIED = "ip link set lo up && mount -t tmpfs none /mnt"


class Lost(Exception):
    """What ran inside did not end well; the text is what it said."""


def why_not() -> str:
    """Why this machine permits no such namespaces; "" when it does."""
    if os.geteuid():
        return "namespaces with ports 25 and 53 need root"
    tried = subprocess.run([*UNSHARE, "sh", "-c", _TRIED], capture_output=True, text=True, check=False)
    return "" if not tried.returncode else f"this machine permits no namespaces: {tried.stderr.strip()}"


def run(module: str, arguments: Sequence[str], seconds: float) -> str:
    """Run a module of ours as the first process of new namespaces; what it printed. Raises Lost.

    Its pid namespace ends with it, and so does every process that it started, also when the time is over.
    """
    environment = {
        **os.environ,
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}",
        "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin",
        "TZ": "UTC",
        "LC_ALL": "C.UTF-8",
    }
    running = subprocess.Popen(
        [*UNSHARE, sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        said, told = running.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        running.kill()  # by --kill-child the first process inside goes too, and with it all others
        said, told = running.communicate()
        raise Lost(f"not done after {seconds:.0f} s\n{told}") from None
    except BaseException:
        running.kill()
        running.wait()
        raise
    if running.returncode:
        raise Lost(told)
    return said


@contextlib.contextmanager
def furnished(folder: Path) -> Iterator[Path]:
    """From inside: addresses on `lo`, our DNS server for everybody, and a disk in memory at `folder`."""
    socket.sethostname("mx.example.net")
    _do("ip", "link", "set", "lo", "up")
    for address in (OURS, MX, HOP, FORWARDER, SPOOFER):
        _do("ip", "addr", "add", f"{address}/32", "dev", "lo")
    _do("mount", "-t", "tmpfs", "-o", "mode=755", "none", str(folder))
    resolv = folder / "resolv.conf"
    resolv.write_text(f"nameserver {NAMESERVER}\n")
    _do("mount", "--bind", str(resolv), "/etc/resolv.conf")
    tempfile.tempdir = str(folder)
    yield folder


def _do(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)
