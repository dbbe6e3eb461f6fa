"""Checks of the half that takes reports: store, spool, addresses, and the DNS records that bring reports here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from dmarcview import config as configuration
from dmarcview.config import Config
from dmarcview.dns import addresses, exchangers, published
from dmarcview.doctor.finding import FAIL, OK, WARN, Clock, Finding, lasted
from dmarcview.organisation import organisational
from dmarcview_reports.spool_state import BACKLOG_SECONDS, state
from dmarcview_reports.trust_dns import DnsFailure, Resolver

GEO_DAYS = 400


def ledger(config: Config, folder: Path) -> Iterator[Finding]:
    """Whether the store can be read."""
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


def spool(folder: Path, clock: Clock) -> Iterator[Finding]:
    """Whether mails wait to be stored."""
    if not (folder / "spool").is_dir():
        return
    try:
        found = state(folder / "spool")
    except OSError as error:
        yield Finding(FAIL, "spool", f"{error.filename}: {error.strerror}", "Run the doctor as the receiver's user.")
        return
    waited = clock() - found.oldest
    if not found.batches:
        yield Finding(OK, "spool", "empty")
    elif waited > BACKLOG_SECONDS:
        told = f"{found.mails} mails wait, the oldest for {lasted(waited)}"
        yield Finding(
            FAIL, "spool", told, "Nothing is lost. Start `dmarcview ingest`, or read why it fails in its log."
        )
    else:
        yield Finding(OK, "spool", f"{found.mails} mails wait")
    if found.bad:
        told = f"{found.bad} batches that the disk has damaged"
        yield Finding(WARN, "spool: damaged", told, f"{folder / 'spool' / 'bad'} holds them; check the disk.")


def geo(config: Config, clock: Clock) -> Iterator[Finding]:
    """Whether the files of countries and networks are young."""
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


def own_addresses(config: Config) -> Iterator[Finding]:
    """Whether anybody's reports are taken."""
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


def records(config: Config, ask: Resolver) -> Iterator[Finding]:
    """Whether reports find the way here."""
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
    name, record, parent = f"_dmarc.{domain}", found.record, organisational(domain)
    if record is None and parent != domain and (above := published(parent, ask)).record:  # RFC 9989 section 4.10
        found, record = above, f"none of its own; that of {parent} counts: {above.record}"
    ours = config.receive.rua[0] if config.receive.rua else "dmarc@your.host"
    if record is None:
        yield Finding(FAIL, name, "no DMARC record, or several", f'Publish one: "v=DMARC1; p=none; rua=mailto:{ours}"')
        return
    accepted = {address.lower() for address in config.receive.rua}
    if not accepted & {one.address.lower() for one in found.destinations}:
        told = ", ".join(one.address for one in found.destinations) or "no rua"
        yield Finding(WARN, name, told, f"No report comes here: add rua=mailto:{ours}")
    else:
        yield Finding(OK, name, record)
    if found.domain != domain and found.domain in config.domains.watched:
        return  # its destinations are told there
    for one in found.destinations:
        if one.authorised is False:
            yield Finding(FAIL, one.record, "missing", f'{one.address} gets nothing until this TXT holds "v=DMARC1".')
        elif one.authorised:
            yield Finding(OK, one.record, "v=DMARC1")
