"""A small lifelike store in seconds: reports that came by mail, and the relay's sent log, for notebooks and tests.

    from dmarcview.demo import sample

    made = sample.build(folder)
    store = made.open()

The same day makes the same store. Nothing runs and nothing is asked: the mails go through spool and ingest in this
process, and DNS is a table.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from dmarcview.config import Config, Data, Domains, Geo, Reconcile
from dmarcview.demo import dns, loop, networks, postbag, rhythm, sentlog, traffic
from dmarcview.demo.loop import Loop
from dmarcview.demo.receivers import NAMED
from dmarcview.demo.story import DOMAINS
from dmarcview.demo.traffic import Made, Truth
from dmarcview.library import Library
from dmarcview.store import Store
from dmarcview.store.facts import NamedAddress
from dmarcview.upkeep import classify
from dmarcview_reports.ingest import Ingest, IngestSettings
from dmarcview_reports.model import Origin, Verdict
from dmarcview_reports.spool import Spool
from dmarcview_reports.trust import verify
from dmarcview_reports.trust_dns import FixedResolver

DAYS = 90
CLIENT = "127.0.0.1"
RCPT = "dmarc@reports.example.org"
FOREVER = 10**10


@dataclass(frozen=True, slots=True)
class Sample:
    """What was built: `data` is the data folder, `now` the second at which it is seen (noon of `today`, UTC).

    `truth` and `loop` are what the store must say.
    """

    data: Path
    today: date
    days: int
    now: int
    config: Config
    truth: Truth
    loop: Loop

    def open(self) -> Library:
        """The store, at the moment of the sample, so that its days are complete or not as they were then."""
        return Library.open(self.data, clock=lambda: self.now)


def build(folder: str | Path, days: int = DAYS, today: date | None = None) -> Sample:
    """Make the last `days` days before `today` in a new folder. Raises StoreError, SpoolError.

    Without `today` it is the last day whose noon has passed. Reports that come later than noon of it are not there yet.
    """
    folder = Path(folder)
    today = today or (datetime.now(UTC) - timedelta(hours=12)).date()
    now = rhythm.midnight(today) + 12 * rhythm.HOUR
    config = _settings(folder)
    arrived = [made for made in traffic.year(today, days=days) if made.arrives < now]
    with Store.open(folder / "data", clock=lambda: now, watched=config.domains.watched) as store:
        truth = _take(store, folder / "data" / "spool", arrived, now)
        sentlog.put(store, today, days=days, until=now)
        hosts = dns.hosts()
        store.put_addresses([NamedAddress(address, name, FOREVER) for address, name in hosts.items()])
        classify(store, config, now)
        store.flush()
    return Sample(folder / "data", today, days, now, config, truth, loop.count(today, arrived, days=days, until=now))


def _settings(folder: Path) -> Config:
    """As a user's would be: what is watched, whose addresses are whose, and the one receiver that must be named."""
    folder.mkdir(parents=True, exist_ok=True)
    country, asn = folder / "country.mmdb", folder / "asn.mmdb"
    country.write_bytes(networks.countries())
    asn.write_bytes(networks.systems())
    return replace(
        Config(),
        data=Data(dir=str(folder / "data")),
        domains=Domains(watched=tuple(domain.name for domain in DOMAINS)),
        geo=Geo(country=str(country), asn=str(asn)),
        reconcile=Reconcile(receivers=NAMED),
    )


def _take(store: Store, folder: Path, arrived: list[Made], now: int) -> Truth:
    """Through the spool and ingest into the store, verified."""
    resolver = FixedResolver(dns.answers(dns.zones(client=CLIENT, dkim_key="", selector="demo", rua=RCPT)))

    def judge(raw: bytes, origin: Origin) -> Verdict:
        return verify(raw, origin, resolver)

    spool = Spool(folder, reserve=0)
    settings = IngestSettings(judge_workers=1, judge_wait=60.0)
    ingest = Ingest(spool, store, folder / "marks", judge=judge, settings=settings, clock=lambda: now)
    try:
        truth = postbag.put(spool, arrived, RCPT, CLIENT)
        ingest.step()
    finally:
        ingest.close()
        spool.close()
    return truth
