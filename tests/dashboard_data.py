"""Seeded traffic of two domains in a real store, small enough for tests and lifelike enough to look at."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

from dmarcview.store import Store
from dmarcview.store.facts import SourceRow
from dmarcview_reports.model import Origin, Taken, Verdict
from dmarcview_reports.reading import read
from dmarcview_reports.settings import Limits

TODAY = date(2026, 11, 22)
HOSTILE_NAME = '\u202e<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>'
HOSTILE_FORMULA = "=HYPERLINK(evil)"


class Sender(NamedTuple):
    ip: str
    domain: str
    source_class: str
    service: str | None
    name: str | None
    volume: int
    dkim: float  # share of messages with an aligned DKIM pass
    spf: float
    disposition: str = "none"
    since: int = 400  # days ago
    until: int = 0


class Reporter(NamedTuple):
    domain: str
    name: str
    share: float
    late: int  # days until its report comes
    silent_for: int = 0  # newest days without a report


SENDERS = (
    Sender("192.0.2.10", "example.com", "own", None, "mail.example.com", 900, 0.995, 0.99),
    Sender("192.0.2.11", "example.com", "own", None, "app1.example.com", 160, 0.0, 0.93),
    Sender("198.51.100.20", "example.com", "third_party", "Newsletter Post", None, 640, 0.99, 0.0),
    Sender("198.51.100.31", "example.com", "third_party", "Helpdesk Cloud", None, 120, 0.55, 0.0, until=0, since=40),
    Sender("203.0.113.5", "example.com", "forwarder", None, "fwd.alumni.example", 60, 0.7, 0.0),
    Sender("203.0.113.66", "example.com", "unknown", None, None, 45, 0, 0, "reject"),
    Sender("203.0.113.67", "example.com", "unknown", None, "vps-67.cheap.example", 30, 0, 0, "quarantine"),
    Sender("2001:db8:dead::25", "example.com", "unknown", None, None, 22, 0, 0, "none", since=12, until=4),
    Sender("192.0.2.40", "example.net", "own", None, "out.example.net", 320, 0.998, 0.997),
    Sender("203.0.113.90", "example.net", "unknown", None, None, 14, 0, 0, "none"),
)
REPORTERS = (
    Reporter("mailbox-one.example", "Mailbox One", 0.5, 1),
    Reporter("bigmail.example", "BigMail", 0.3, 1),
    Reporter("office-post.example", "Office Post", 0.17, 2),
    Reporter("smallbox.example", "Smallbox", 0.03, 1, silent_for=6),
)


def record_xml(ip: str, count: int, domain: str, disposition: str, dkim: bool, spf: bool) -> str:
    word = {True: "pass", False: "fail"}
    return (
        f"<record><row><source_ip>{ip}</source_ip><count>{count}</count><policy_evaluated>"
        f"<disposition>{disposition}</disposition><dkim>{word[dkim]}</dkim><spf>{word[spf]}</spf></policy_evaluated>"
        f"</row><identifiers><header_from>{domain}</header_from><envelope_from>bounce.{domain}</envelope_from>"
        f"</identifiers><auth_results>"
        + (f"<dkim><domain>{domain}</domain><selector>s2026</selector><result>pass</result></dkim>" if dkim else "")
        + f"<spf><domain>bounce.{domain}</domain><scope>mfrom</scope><result>{word[spf]}</result></spf>"
        "</auth_results></record>"
    )


def report_xml(reporter: Reporter, domain: str, day: date, records: str, policy: str = "none") -> bytes:
    begin = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
    return (
        '<?xml version="1.0" encoding="UTF-8"?><feedback><version>1.0</version><report_metadata>'
        f"<org_name>{escape(reporter.name)}</org_name><email>dmarc@{reporter.domain}</email>"
        f"<report_id>{domain}-{day:%Y%m%d}-{reporter.domain}</report_id>"
        f"<date_range><begin>{begin}</begin><end>{begin + 86399}</end></date_range></report_metadata>"
        f"<policy_published><domain>{domain}</domain><adkim>r</adkim><aspf>r</aspf><p>{policy}</p><pct>100</pct>"
        f"</policy_published>{records}</feedback>"
    ).encode()


def taken(xml: bytes, name: str, received: int, auth: str = "unknown") -> Taken:
    return Taken(Origin(name, received), xml, read(xml, name, Limits(), received), Verdict(auth, ""))


def traffic(today: date = TODAY, days: int = 75, seed: int = 7) -> Iterator[Taken]:
    """Every report of the two domains for the `days` before `today`, as far as it has come by then."""
    rng = random.Random(seed)
    for ago in range(days, 0, -1):
        day = today - timedelta(days=ago)
        weekend = 0.45 if day.weekday() >= 5 else 1.0
        for reporter in REPORTERS:
            if ago < reporter.late or ago <= reporter.silent_for:
                continue
            for domain in ("example.com", "example.net"):
                rows = []
                for s in SENDERS:
                    if s.domain != domain or not s.until < ago <= s.since:
                        continue
                    total = round(s.volume * weekend * reporter.share * rng.uniform(0.75, 1.25))
                    broken = s.ip == "192.0.2.10" and 14 <= ago <= 17  # a DKIM key was lost for some days
                    dkim = round(total * (0.2 if broken else s.dkim))
                    spf = round(total * (0.35 if broken else s.spf))
                    both = min(dkim, spf)
                    fails = max(0, min(total - max(dkim, spf), total))
                    for count, d, f in (
                        (both, True, True),
                        (dkim - both, True, False),
                        (spf - both, False, True),
                        (fails, False, False),
                    ):
                        if count > 0:
                            treated = s.disposition if not (d or f) else "none"
                            rows.append(record_xml(s.ip, count, domain, treated, d, f))
                received = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) + 86400 * reporter.late
                policy = "none" if domain == "example.net" else "quarantine"
                yield taken(report_xml(reporter, domain, day, "".join(rows), policy),
                            f"{reporter.domain}!{domain}!{day}.xml", received + 3600 * 4)  # fmt: skip


def noon(today: date = TODAY) -> float:
    return datetime(today.year, today.month, today.day, 12, tzinfo=UTC).timestamp()


def fill(folder: Path, *, hostile: bool = False, today: date = TODAY, days: int = 75) -> Store:
    """A store with the traffic, the classes, two refused inputs, a repeat, and a forged report."""
    store = Store.open(folder, clock=lambda: noon(today))
    items = list(traffic(today, days))
    store.append_many(items)
    now = int(noon(today)) - 7200
    extra = [
        Taken(Origin("sent again.xml", now), items[-1].raw, items[-1].reading, Verdict()),
        taken(b"Dear team, please find the invoice attached.", "invoice.eml", now - 3600),
        taken(b"<?xml version='1.0'?><!DOCTYPE lolz []><feedback/>", "lolz.xml", now - 9000),
        taken(
            report_xml(Reporter("stranger.example", "Stranger", 1, 1), "example.com", today - timedelta(days=2),
                       record_xml("203.0.113.250", 5000, "example.com", "none", False, False)),
            "forged.eml", now - 60, "fail",
        ),
    ]  # fmt: skip
    if hostile:
        evil = Reporter("evil.example", HOSTILE_NAME, 1, 1)
        rows = record_xml("203.0.113.99", 77, HOSTILE_FORMULA.lower() + ".example", "none", False, False)
        extra.append(taken(report_xml(evil, "example.com", today - timedelta(days=3), rows), "<b>bold</b>.xml", now))
    store.append_many(extra)
    begin, end = int(noon(today)) - 86400 * days, int(noon(today)) - 86400
    store.put_sources(
        [
            SourceRow(
                s.domain, s.ip, s.source_class, "rule", "high",
                ({"code": "made_up", "text": f"{s.dkim:.0%} of its mail carries an aligned signature of {s.domain}."},),
                s.service, None, "NL", 64500, "Example Networks", s.name, begin, end, 0,
            )
            for s in SENDERS
        ]
    )  # fmt: skip
    store.flush()
    return store


if __name__ == "__main__":  # a page to look at: python tests/dashboard_data.py FOLDER [PORT]
    import sys

    from dmarcview.dashboard.app import create_app
    from dmarcview.dashboard.serve import serve

    shown = fill(Path(sys.argv[1]), hostile="hostile" in sys.argv)
    port = int(sys.argv[2]) if len(sys.argv) > 2 else 8099
    serve(create_app(shown), "127.0.0.1", port, 2, lambda address: print(address, flush=True))
