"""rspamd with redis as a milter, and `rspamadm dmarc_report` that mails its aggregate reports."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.closed_loop.engine import ORGANISATION, SENDER, Engine, listens
from tests.dkim_judges import process

PROGRAMS = (("rspamd", "rspamd"), ("rspamadm", "rspamd"), ("redis-server", "redis-server"))
REDIS, MILTER = 6379, 11332
DAY = 86_400
SUFFIXES = "com\nnet\norg\nexample\n"  # of the public suffix list; compiling all of it takes rspamd over 15 seconds
OFF = ("greylist", "greylisting", "fuzzy_check", "phishing", "rbl", "neural", "ratelimit", "history_redis",
       "dkim_signing", "arc", "asn", "url_reputation")  # fmt: skip
LOCAL = {
    "redis.conf": 'servers = "127.0.0.1:{redis}";',
    "worker-normal.inc": "enabled = false;",
    "worker-controller.inc": "enabled = false;",
    "worker-fuzzy.inc": "enabled = false;",
    "worker-proxy.inc": """bind_socket = "127.0.0.1:{milter}"; milter = yes; timeout = 20s; count = 1;
upstream "local" {{ default = yes; self_scan = yes; }}""",
    "options.inc": """dns {{ nameserver = ["127.0.0.1"]; }}
url_tld = "{folder}/suffixes"; disable_hyperscan = true;""",
    # nothing is refused: what was judged must be counted, too
    "actions.conf": "reject = 900; greylist = 800; add_header = 700;",
    "logging.inc": 'type = "file"; filename = "{folder}/rspamd.log"; level = "info";',
    "dmarc.conf": """actions = {{ quarantine = "add_header"; reject = "reject"; }}
reporting {{
  enabled = true; email = "{sender}"; domain = "example.net"; org_name = "{organisation}"; helo = "mx.example.net";
  smtp = "127.0.0.1"; smtp_port = 25; msgid_from = "example.net";
}}""",
}


@contextlib.contextmanager
def rspamd(folder: Path) -> Iterator[Engine]:
    """Start both."""
    shutil.copytree("/etc/rspamd", folder / "conf")
    (folder / "suffixes").write_text(SUFFIXES)
    for name in ("redis", "run", "conf/local.d"):
        (folder / name).mkdir(exist_ok=True)
    for name in OFF:
        (folder / f"conf/local.d/{name}.conf").write_text("enabled = false;\n")
    _write(folder)
    places = {"CONFDIR": "conf", "LOCAL_CONFDIR": "conf", "DBDIR": "run", "RUNDIR": "run", "LOGDIR": "."}
    variables = [f"--var={name}={folder / place}" for name, place in places.items()]
    config = str(folder / "conf/rspamd.conf")
    redis = ["redis-server", "--bind", "127.0.0.1", "--port", str(REDIS), "--dir", str(folder / "redis"), "--save", ""]

    def judged() -> int:
        log = folder / "rspamd.log"
        return log.read_text(errors="replace").count("dmarc report saved for")

    def report(port: int) -> str:
        _write(folder, port)
        command = ["rspamadm", *variables, "dmarc_report", "-c", config, "-v", day]
        # it reports on the last whole day of its zone: one in which that day ends now
        clock = {**os.environ, "TZ": zone(DAY - seconds_of_day(datetime.now(UTC)))}
        done = subprocess.run(command, cwd=folder, env=clock, capture_output=True, text=True, check=False)
        assert not done.returncode, done.stdout + done.stderr
        return done.stdout + done.stderr

    begun = datetime.now(UTC)
    noon = DAY // 2 - seconds_of_day(begun)  # a zone in which no new day begins in the middle
    day = f"{begun + timedelta(seconds=noon):%Y%m%d}"
    daemon = ["env", f"TZ={zone(noon)}", "rspamd", "-i", "-f", "-c", config, *variables]
    with (
        process(redis, lambda: listens(REDIS), folder / "redis.out"),
        process(daemon, lambda: listens(MILTER), folder / "rspamd.out"),
    ):
        yield Engine(f"inet:127.0.0.1:{MILTER}", judged, report)


def seconds_of_day(now: datetime) -> int:
    """Since midnight UTC."""
    return now.hour * 3600 + now.minute * 60 + now.second


def zone(seconds: int) -> str:
    """The TZ of somebody whose clock is so many seconds ahead of UTC (POSIX: the sign says how far behind)."""
    minutes, left = divmod(abs(seconds), 60)
    return f"LOOP{'+' if seconds < 0 else '-'}{minutes // 60}:{minutes % 60:02}:{left:02}"


def _write(folder: Path, port: int = 25) -> None:
    for name, text in LOCAL.items():
        filled = text.format(folder=folder, redis=REDIS, milter=MILTER, sender=SENDER, organisation=ORGANISATION)
        (folder / "conf/local.d" / name).write_text(filled.replace("smtp_port = 25", f"smtp_port = {port}") + "\n")
