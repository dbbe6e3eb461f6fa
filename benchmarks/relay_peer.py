"""Postfix with OpenDKIM as a relay on loopback, in a folder of its own; stopped by its own tools and process ids."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

QUIET = subprocess.DEVNULL

MAIN_CF = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
mail_owner = postfix
setgid_group = postdrop
maillog_file = {folder}/log/maillog
maillog_file_prefixes = {folder}/log
myhostname = relay.bench.test
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mydestination =
alias_maps =
alias_database =
local_recipient_maps =
mynetworks = 127.0.0.0/8
relayhost = [127.0.0.1]:{sink}
smtpd_milters = unix:{folder}/milter/sock
milter_default_action = tempfail
smtpd_peername_lookup = no
smtpd_client_connection_count_limit = 0
"""

OPENDKIM_CONF = """\
Syslog no
Mode s
Background no
Domain bench.test
Selector sel
KeyFile {key}
Canonicalization relaxed/relaxed
SignatureAlgorithm rsa-sha256
Socket local:{folder}/milter/sock
UMask 000
InternalHosts 127.0.0.1
UserID opendkim
RequireSafeKeys no
PidFile {folder}/opendkim.pid
"""


def missing() -> list[str]:
    """What this machine lacks for the comparison, one sentence each."""
    lacks = [name for name in ("postfix", "opendkim", "smtp-source") if shutil.which(name) is None]
    faults = [f"install {' and '.join(sorted({n.replace('smtp-source', 'postfix') for n in lacks}))}"] if lacks else []
    return faults if os.getuid() == 0 else [*faults, "run it as root: Postfix drops privileges itself"]


class PostfixWithOpenDkim:
    """Signs for bench.test with the key and sends everything to the sink on loopback."""

    def __init__(self, folder: Path, key: Path, port: int, sink: int) -> None:
        self._folder = folder
        for name in ("queue", "data", "conf", "log", "milter"):
            (folder / name).mkdir(parents=True)
        for name, owner in (("data", "postfix"), ("milter", "opendkim")):
            shutil.chown(folder / name, owner)
        conf = folder / "conf"
        (conf / "main.cf").write_text(MAIN_CF.format(folder=folder, sink=sink))
        (conf / "master.cf").write_text(_master(port))
        own_key = folder / "sel.pem"
        own_key.write_bytes(key.read_bytes())
        shutil.chown(own_key, "opendkim")
        own_key.chmod(0o600)
        (folder / "opendkim.conf").write_text(OPENDKIM_CONF.format(folder=folder, key=own_key))
        self._milter = subprocess.Popen(
            ["opendkim", "-f", "-x", str(folder / "opendkim.conf")], stdin=QUIET, stdout=QUIET, stderr=QUIET
        )
        _until((folder / "milter" / "sock").exists)
        self._postfix("start")

    def stop(self) -> None:
        """End both."""
        try:
            self._postfix("stop")
        finally:
            self._milter.terminate()
            self._milter.wait()

    def _postfix(self, word: str) -> None:
        command = ["postfix", "-c", str(self._folder / "conf"), word]
        subprocess.run(command, check=True, stdin=QUIET, stdout=QUIET, stderr=QUIET)

    def pids(self) -> list[int]:
        """Process ids of what works for it, for the CPU time."""
        master = int((self._folder / "queue" / "pid" / "master.pid").read_text())
        children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
        return [self._milter.pid, master, *map(int, children)]


def _master(port: int) -> str:
    """Debian's services without chroot, with our port for the one that takes mail."""
    found = next(
        path
        for path in map(Path, ("/usr/share/postfix/master.cf.dist", "/etc/postfix/master.cf.proto"))
        if path.exists()
    )
    lines = []
    for line in found.read_text().splitlines():
        words = line.split()
        if not words or line[0] in "# \t" or len(words) < 8:
            continue
        if words[:2] == ["smtp", "inet"]:
            words[0] = f"127.0.0.1:{port}"
        words[4] = "n"
        lines.append(" ".join(words))
    if not any(line.startswith("postlog") for line in lines):
        lines.append("postlog unix-dgram n - n - 1 postlogd")
    return "\n".join(lines) + "\n"


def _until(done: Callable[[], bool], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            raise TimeoutError("a peer did not start")
        time.sleep(0.02)
