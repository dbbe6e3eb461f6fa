"""Verifiers of other projects that judge our signatures: OpenDKIM, rspamd, Mail::DKIM; and a real name server."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import dns.exception
import dns.message
import dns.query
import pytest
from conftest import need, need_perl

ZONE = """$TTL 60
@ IN SOA ns.example. host.example. 1 3600 600 86400 60
@ IN NS ns.example.
ns.example. IN A 127.0.0.1
"""
NSD = """server:
  ip-address: 127.0.0.1@{port}
  port: {port}
  username: ""
  chroot: ""
  zonesdir: "{folder}"
  pidfile: "{folder}/nsd.pid"
  xfrdir: "{folder}"
  xfrdfile: ""
  zonelistfile: "{folder}/zone.list"
  logfile: "{folder}/nsd.log"
  server-count: 1
remote-control:
  control-enable: no
zone:
  name: "."
  zonefile: "root.zone"
"""
RSPAMD = """options {{
  pidfile = "{folder}/rspamd.pid"; filters = "dkim"; url_tld = "{folder}/suffixes"; tempdir = "{folder}";
  cache_file = "{folder}/symbols"; disable_hyperscan = true; max_message = 60mb;
  dns {{ nameserver = ["127.0.0.1:{dns}"]; timeout = 5s; }}
}}
logging {{ type = "file"; filename = "{folder}/rspamd.log"; level = "warning"; }}
worker "normal" {{ bind_socket = "127.0.0.1:{port}"; count = 1; }}
dkim {{ }}
"""
UNBOUND = """server:
  do-not-query-localhost: no
  module-config: "iterator"
forward-zone:
  name: "."
  forward-addr: 127.0.0.1@{dns}
"""
PERL = """
use strict; use Mail::DKIM::Verifier; use Mail::DKIM::DNS; use Net::DNS;
Mail::DKIM::DNS::resolver(Net::DNS::Resolver->new(nameservers => ["127.0.0.1"], port => shift(@ARGV), recurse => 1));
for my $file (@ARGV) {
  open(my $in, "<:raw", $file) or die; local $/; my $mail = <$in>;
  my $judge = Mail::DKIM::Verifier->new(); $judge->PRINT($mail); $judge->CLOSE;
  print "$file", (map { "\\t" . $_->selector . "=" . $_->result } $judge->signatures), "\\n";
}
"""

Verdicts = dict[str, str]  # pass or fail, by selector
Judge = Callable[[Sequence[bytes]], list[Verdicts]]


def free_port() -> int:
    """A port that is free for TCP and UDP now."""
    while True:
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            try:
                udp.bind(tcp.getsockname())
            except OSError:
                continue
            return int(tcp.getsockname()[1])


@contextmanager
def process(arguments: list[str], ready: Callable[[], bool], log: Path) -> Iterator[None]:
    """A program while the block runs, once it is ready."""
    with log.open("wb") as out:
        running = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        until = time.monotonic() + 30
        while not ready():
            assert running.poll() is None, log.read_text(errors="replace")
            assert time.monotonic() < until, f"{arguments[0]} did not start"
            time.sleep(0.05)
        yield
    finally:
        running.terminate()
        try:
            running.wait(10)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


@contextmanager
def name_server(folder: Path, zone: str, port: int = 0) -> Iterator[int]:
    """A real name server for these zone lines; gives its port on 127.0.0.1, a free one unless it is named."""
    program, port = need("nsd", "nsd"), port or free_port()
    (folder / "root.zone").write_text(ZONE + zone + "\n", encoding="ascii")
    (folder / "nsd.conf").write_text(NSD.format(port=port, folder=folder), encoding="ascii")

    def ready() -> bool:
        try:
            dns.query.udp(dns.message.make_query("ns.example.", "A"), "127.0.0.1", timeout=0.5, port=port)
        except (dns.exception.DNSException, OSError):
            return False
        return True

    with process([program, "-d", "-c", str(folder / "nsd.conf")], ready, folder / "nsd.out"):
        yield port


def opendkim(folder: Path, port: int) -> Judge:
    """OpenDKIM in its test mode."""
    program = need("opendkim", "opendkim")
    (folder / "unbound.conf").write_text(UNBOUND.format(dns=port))
    conf = folder / "opendkim.conf"
    conf.write_text(f"Mode v\nSyslog no\nInternalHosts 192.0.2.254\nResolverConfiguration {folder}/unbound.conf\n")

    def judge(mails: Sequence[bytes]) -> list[Verdicts]:
        verdicts = []
        for file in _files(folder, mails):
            done = subprocess.run(
                [program, "-t", str(file), "-vv", "-x", str(conf)], capture_output=True, text=True, errors="replace"
            )
            found = re.findall(r"dkim=(\w+).*?header\.s=([\w.-]+)", done.stdout, re.DOTALL)
            verdicts.append({selector: "pass" if word == "pass" else "fail" for word, selector in found})
        return verdicts

    return judge


def mail_dkim(folder: Path, port: int) -> Judge:
    """Perl's Mail::DKIM, the library of dkimproxy. It knows no Ed25519."""
    program = need_perl("Mail::DKIM::Verifier", "libmail-dkim-perl")
    (folder / "judge.pl").write_text(PERL)

    def judge(mails: Sequence[bytes]) -> list[Verdicts]:
        files = [str(file) for file in _files(folder, mails)]
        done = subprocess.run([program, str(folder / "judge.pl"), str(port), *files], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        lines = [line.split("\t")[1:] for line in done.stdout.splitlines()]
        return [dict(word.split("=") for word in line) for line in lines]

    return judge


@contextmanager
def rspamd(folder: Path, port: int) -> Iterator[Judge]:
    """A running rspamd with its DKIM module."""
    program, listen = need("rspamd", "rspamd"), free_port()
    (folder / "suffixes").write_text("com\nnet\norg\n")  # compiling the full list takes it over 15 s
    (folder / "rspamd.conf").write_text(RSPAMD.format(dns=port, port=listen, folder=folder))

    def ready() -> bool:
        try:
            socket.create_connection(("127.0.0.1", listen), 1).close()
        except OSError:
            return False
        return True

    def judge(mails: Sequence[bytes]) -> list[Verdicts]:
        verdicts = []
        for mail in mails:
            request = urllib.request.Request(f"http://127.0.0.1:{listen}/checkv2", data=mail, method="POST")
            with urllib.request.urlopen(request, timeout=60) as reply:
                symbols = json.load(reply)["symbols"]
            verdict = {}
            for symbol, found in symbols.items():
                if symbol.startswith("R_DKIM_"):
                    word = "pass" if symbol == "R_DKIM_ALLOW" else "fail"
                    verdict |= {option.partition("s=")[2]: word for option in found["options"]}
            verdicts.append(verdict)
        return verdicts

    arguments = [program, "-i", "-f", "-c", str(folder / "rspamd.conf")]
    with process(arguments, ready, folder / "rspamd.out"):
        yield judge


def _files(folder: Path, mails: Sequence[bytes]) -> list[Path]:
    files = []
    for number, mail in enumerate(mails):
        file = folder / f"mail{number}.eml"
        file.write_bytes(mail)
        files.append(file)
    return files


JUDGES = ("opendkim", "mail_dkim", "rspamd")


@contextmanager
def judge_called(name: str, folder: Path, port: int) -> Iterator[Judge]:
    """The judge of that name, who asks the name server at the port."""
    if name == "rspamd":
        with rspamd(folder, port) as judge:
            yield judge
    elif name in JUDGES:
        yield {"opendkim": opendkim, "mail_dkim": mail_dkim}[name](folder, port)
    else:
        pytest.fail(name)
