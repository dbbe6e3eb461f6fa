"""Is all well? Each check looks at one thing and says, when it is not well, what to do."""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from dmarcview import config as configuration
from dmarcview.config import Config
from dmarcview.dns import addresses, exchangers, published, resolver, texts
from dmarcview_reports.trust_dns import DnsFailure, Resolver

OK, WARN, FAIL = "ok", "warn", "fail"
LOW_SPACE = 1_000_000_000  # bytes free below which we warn
SLOW_FSYNC = 0.2  # seconds
BACKLOG_AGE = 600  # seconds that a mail may wait in the spool
CERTIFICATE_DAYS = 14
GEO_DAYS = 400
FIRST_DAY = 1_760_000_000  # 2025-10-09: a clock before this version was written is wrong


class Finding(NamedTuple):
    """One line: ok, warn or fail; what was looked at; what was found; what to do ("" when nothing)."""

    state: str
    check: str
    found: str
    advice: str = ""


def examine(config: Config, *, network: bool = True, ask: Resolver | None = None,
            clock: Callable[[], float] = time.time) -> Iterator[Finding]:  # fmt: skip
    """Run every check in turn; a check never raises."""
    folder = configuration.data_dir(config)
    running = _running(folder)
    yield from _clock(clock)
    yield from _folder(folder)
    yield from _space(folder, config)
    yield from _ledger(config, folder)
    yield from _spool(folder, clock)
    yield from _ports(config, running)
    yield from _certificate(config, clock)
    yield from _geo(config, clock)
    yield from _addresses(config)
    if network:
        yield from _records(config, ask)


def _clock(clock: Callable[[], float]) -> Iterator[Finding]:
    now = clock()
    told = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    if now < FIRST_DAY:
        yield Finding(FAIL, "clock", told, "Set the clock, and let a time service keep it: reports are dated.")
    else:
        yield Finding(OK, "clock", told)


def _folder(folder: Path) -> Iterator[Finding]:
    if not folder.exists():
        yield Finding(WARN, "data folder", f"{folder} does not exist", "It is made by the first import or receive.")
        return
    probe = folder / f".doctor-{os.getpid()}"
    try:
        began = time.monotonic()
        with probe.open("wb") as file:
            file.write(b"x")
            file.flush()
            os.fsync(file.fileno())
        took = time.monotonic() - began
    except OSError as error:
        yield Finding(FAIL, "data folder", f"{folder}: {error.strerror}", f"Let {_user()} write there.")
        return
    finally:
        probe.unlink(missing_ok=True)
    if took > SLOW_FSYNC:
        yield Finding(
            WARN, "data folder", f"fsync took {took:.2f} s", "Mails are answered after it: use a quicker disk."
        )
    else:
        yield Finding(OK, "data folder", f"{folder}, fsync in {took * 1000:.0f} ms")


def _user() -> str:
    return f"user {os.geteuid()}"


def _space(folder: Path, config: Config) -> Iterator[Finding]:
    place = folder
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        free = shutil.disk_usage(place).free
    except OSError as error:
        yield Finding(FAIL, "free space", str(error), "Mount the disk of the data folder.")
        return
    told = f"{free / 1e9:.1f} GB"
    if free < config.receive.reserve_mb * 1_000_000:
        yield Finding(FAIL, "free space", told, "Mail is put off with 452 until there is room: free some.")
    elif free < LOW_SPACE:
        yield Finding(WARN, "free space", told, "Free some, or set [data] archive_days and run `dmarcview prune`.")
    else:
        yield Finding(OK, "free space", told)


def _ledger(config: Config, folder: Path) -> Iterator[Finding]:
    if not config.data.url and not (folder / "ledger.sqlite").exists():
        yield Finding(WARN, "ledger", "there is none yet", "Import reports, or start the receiver.")
        return
    from dmarcview.store import Store

    try:
        with closing(Store.open(configuration.ledger_url(config), read_only=True)) as store:
            version = store.version()
    except Exception as error:  # whatever is wrong with it is the finding
        yield Finding(FAIL, "ledger", str(error).partition("\n")[0], "Restore a backup, or run `dmarcview reindex`.")
        return
    yield Finding(OK, "ledger", f"change {version}")


def _spool(folder: Path, clock: Callable[[], float]) -> Iterator[Finding]:
    new = folder / "spool" / "new"
    if not new.is_dir():
        return
    ages = []
    for file in new.iterdir():
        try:
            ages.append(clock() - file.stat().st_mtime)
        except FileNotFoundError:  # stored meanwhile
            continue
    if not ages:
        yield Finding(OK, "spool", "empty")
    elif max(ages) > BACKLOG_AGE:
        told = f"{len(ages)} batches wait, the oldest for {max(ages) / 60:.0f} minutes"
        yield Finding(
            FAIL, "spool", told, "Nothing is lost. Start `dmarcview ingest`, or read why it fails in its log."
        )
    else:
        yield Finding(OK, "spool", f"{len(ages)} batches wait")


def _running(folder: Path) -> bool:
    from dmarcview.supervisor import read_status

    for name in ("receive", "dashboard", "serve"):
        status = read_status(folder / "run" / f"{name}.json")
        if status:
            try:
                os.kill(int(status["pid"]), 0)
            except (ProcessLookupError, ValueError, KeyError):
                continue
            except PermissionError:
                pass
            return True
    return False


def _ports(config: Config, running: bool) -> Iterator[Finding]:
    wanted = [(one.host, one.port, f"[[receive.listeners]] {one.protocol}") for one in config.receive.listeners
              if not one.path]  # fmt: skip
    wanted.append((config.dashboard.listen, config.dashboard.port, "[dashboard]"))
    for host, port, what in wanted:
        name = f"port {port} ({what})"
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with closing(socket.socket(family, socket.SOCK_STREAM)) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except PermissionError:
                advice = "Give the service CAP_NET_BIND_SERVICE (see docs/operating.md), or take a port above 1023."
                yield Finding(FAIL, name, f"{host}: not permitted", advice)
                continue
            except OSError as error:
                if running:
                    yield Finding(OK, name, f"{host}: in use, by the running service it seems")
                else:
                    yield Finding(
                        FAIL, name, f"{host}: {error.strerror}", "Stop what listens there, or set another port."
                    )
                continue
        yield Finding(OK, name, f"{host}: free")


def _certificate(config: Config, clock: Callable[[], float]) -> Iterator[Finding]:
    receive = config.receive
    if not receive.certificate:
        if any(one.host not in ("127.0.0.1", "::1") and not one.path for one in receive.listeners):
            yield Finding(WARN, "certificate", "none", 'Set [receive] certificate and key, and mode = "starttls".')
        return
    from cryptography import x509

    try:
        certificate = x509.load_pem_x509_certificate(Path(receive.certificate).read_bytes())
        Path(receive.key).read_bytes()
    except (OSError, ValueError) as error:
        yield Finding(FAIL, "certificate", str(error), "Name readable PEM files in [receive] certificate and key.")
        return
    days = (certificate.not_valid_after_utc.timestamp() - clock()) / 86_400
    told = f"valid until {certificate.not_valid_after_utc:%Y-%m-%d}"
    if days < 0:
        yield Finding(FAIL, "certificate", told, "It has ended: renew it. The receiver reads the new file by itself.")
    elif days < CERTIFICATE_DAYS:
        yield Finding(WARN, "certificate", told, "Renew it soon.")
    else:
        yield Finding(OK, "certificate", told)


def _geo(config: Config, clock: Callable[[], float]) -> Iterator[Finding]:
    for name, path in (("country", config.geo.country), ("asn", config.geo.asn)):
        if not path:
            continue
        try:
            days = (clock() - Path(path).stat().st_mtime) / 86_400
        except OSError as error:
            yield Finding(FAIL, f"[geo] {name}", f"{path}: {error.strerror}", "Name a readable MMDB file, or none.")
            continue
        if days > GEO_DAYS:
            yield Finding(WARN, f"[geo] {name}", f"{days:.0f} days old", "Fetch a newer one.")
        else:
            yield Finding(OK, f"[geo] {name}", f"{days:.0f} days old")


def _addresses(config: Config) -> Iterator[Finding]:
    if config.receive.rua:
        yield Finding(OK, "[receive] rua", ", ".join(config.receive.rua))
    else:
        advice = 'Set [receive] rua = ["dmarc@your.domain"]; until then the receiver takes no aggregate report.'
        yield Finding(WARN, "[receive] rua", "no address", advice)
    if not config.domains.watched:
        yield Finding(
            WARN, "[domains] watched", "every domain", "List your domains, so that reports for others are kept apart."
        )
    else:
        yield Finding(OK, "[domains] watched", ", ".join(config.domains.watched))


def _records(config: Config, ask: Resolver | None) -> Iterator[Finding]:
    try:
        ask = ask or resolver(config)
        texts("_dmarc.example.org", ask)
    except DnsFailure as error:
        yield Finding(FAIL, "resolver", str(error), "Check the network, or set [dns] servers.")
        return
    yield Finding(OK, "resolver", "answers")
    for domain in config.domains.watched:
        try:
            yield from _domain(domain, config, ask)
        except DnsFailure as error:
            yield Finding(WARN, domain, str(error), "Try again later.")
    for host in sorted({address.rpartition("@")[2] for address in config.receive.rua}):
        try:
            hosts = exchangers(host, ask) or [host]
            found = [address for name in hosts for address in addresses(name, ask)]
        except DnsFailure as error:
            yield Finding(WARN, f"MX of {host}", str(error), "Try again later.")
            continue
        if found:
            yield Finding(OK, f"MX of {host}", ", ".join(hosts))
        else:
            yield Finding(FAIL, f"MX of {host}", "no address", f"Publish `{host} MX 10 <this machine's name>`.")


def _domain(domain: str, config: Config, ask: Resolver) -> Iterator[Finding]:
    found = published(domain, ask)
    name = f"_dmarc.{domain}"
    ours = config.receive.rua[0] if config.receive.rua else "dmarc@your.host"
    if found.record is None:
        yield Finding(FAIL, name, "no DMARC record, or several", f'Publish one: "v=DMARC1; p=none; rua=mailto:{ours}"')
        return
    accepted = {address.lower() for address in config.receive.rua}
    if not accepted & {one.address.lower() for one in found.destinations}:
        told = ", ".join(one.address for one in found.destinations) or "no rua"
        yield Finding(WARN, name, told, f"No report comes here: add rua=mailto:{ours}")
    else:
        yield Finding(OK, name, found.record)
    for one in found.destinations:
        if one.authorised is False:
            yield Finding(FAIL, one.record, "missing", f'{one.address} gets nothing until this TXT holds "v=DMARC1".')
        elif one.authorised:
            yield Finding(OK, one.record, "v=DMARC1")
