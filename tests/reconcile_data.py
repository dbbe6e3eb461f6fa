"""Six lively weeks of a relay and its reporters: every kind of finding, late reporters, silent receivers."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from dashboard_data import HOSTILE_NAME, TODAY, noon

from dmarcview.library import Library
from dmarcview.store import SourceRow, probes, sent
from dmarcview.store.probes import Probe
from dmarcview_relay.outcome import Attempt
from tests.reconcile_world import mails, seen, told
from tests.store_data import D0, DAY

NOW = int(noon(TODAY))
LAST = NOW // DAY - D0 // DAY  # today, in days since D0
DAYS = 42
RELAY, SECOND = "192.0.2.25", "192.0.2.26"
KEYS = (("example.org", "spring"), ("example.org", "autumn"))  # the relay changed from one to the other
CHANGED, BROKEN = LAST - 20, range(LAST - 8, LAST - 5)  # days
NEWCOMER = "198.51.100.77"  # of a service that nobody has set up, since nine days
RECEIVERS = {"mx.gate.example": "gate-reports.example"}  # what the user said


class Receiver(NamedTuple):
    host: str
    domains: tuple[str, ...]
    reporter: str  # "" for one that sends none
    volume: int  # mails a day
    late: int  # days until its report comes
    share: float = 1.0  # of the mails that are in its reports


FAR = (
    Receiver("mx1.bigmail.example", ("bigmail.example", "shop.example", "club.example"), "bigmail.example", 60, 1),
    Receiver("eu.office-post.example", ("office-post.example",), "office-post.example", 36, 3),
    Receiver("in.gate.example", ("school.example",), "gate-reports.example", 14, 1),
    Receiver("mx.halfbox.example", ("halfbox.example",), "halfbox.example", 22, 1, 0.6),
    Receiver("mx.filter.example", ("town.example",), "town-reports.example", 9, 1),
    Receiver("mail.quiet.example", ("quiet.example",), "", 8, 1),
    Receiver("mx.tiny.example", ("tiny.example",), "", 3, 1),
)
STRANGERS = (
    ("192.0.2.77", "own", 6, seen(None, "pass")),
    ("198.51.100.31", "unknown", 4, seen(None, "pass")),
    ("203.0.113.66", "unknown", 11, seen(None, "fail")),
    ("203.0.113.67", "unknown", 3, seen(None, "fail", header_from="shop.example.org")),
    ("2001:db8:dead::25", "unknown", 2, seen(None, "fail")),
    ("198.51.100.20", "third_party", 25, seen("pass", "fail", selector="post")),
    ("203.0.113.5", "forwarder", 5, seen("pass", "fail", selector="autumn", overrides=("forwarded",))),
)


def volume(of: int, day: int, rng: random.Random) -> int:
    weekend = 0.4 if (D0 // DAY + day) % 7 in (2, 3) else 1.0  # day 0 of the epoch was a Thursday
    return max(1, round(of * weekend * rng.uniform(0.8, 1.2)))


def traffic(times: int = 1, days: int = DAYS, seed: int = 11) -> tuple[list[Attempt], list[Any]]:
    """Deliveries, and the reports that have come by now."""
    rng = random.Random(seed)
    deliveries: list[Attempt] = []
    reports: list[Any] = []
    for day in range(LAST - days + 1, LAST + 1):
        key = KEYS[day >= CHANGED]
        for far in FAR:
            rows: list[tuple[str, int, Any]] = []
            count = volume(far.volume * times, day, rng)
            for source, part in ((RELAY, count - count // 8), (SECOND, count // 8)):
                each, rest = divmod(part, len(far.domains))
                for place, domain in enumerate(far.domains):
                    deliveries += mails(each + (rest if not place else 0), day, host=far.host, source=source,
                                        recipient_domain=domain, dkim=(key,), hour=7)  # fmt: skip
                good = round(part * far.share)
                bad = good // 3 if day in BROKEN and far.reporter == "bigmail.example" else 0
                spf = "pass" if source == RELAY else "fail"
                rows += [
                    (source, good - bad, seen(spf=spf, selector=key[1])),
                    (source, bad, seen("fail", spf, selector=key[1])),
                ]
            if not far.reporter or LAST - day < far.late:
                continue
            if far.reporter in ("bigmail.example", "office-post.example"):
                rows += [(ip, volume(n, day, rng), one) for ip, _, n, one in STRANGERS]
            if far.reporter == "bigmail.example" and day > LAST - 9:
                rows.append((NEWCOMER, 2, seen("pass", "fail", d="survey.example", selector="x")))
            reports.append(
                told(*(row for row in rows if row[1]), day=day, by=far.reporter, late=(far.late - 1) * DAY + 7_200)
            )
        if day % 5 == 0:
            reports.append(told((RELAY, 3, seen(selector=key[1])), day=day, by="elsewhere.example", late=7_200))
    return deliveries, reports


def hostile() -> Iterator[Any]:
    """A report that believes itself, whose every name tries to break out."""
    one = seen(None, "fail", header_from=HOSTILE_NAME, d=HOSTILE_NAME)
    yield told(("203.0.113.99", 7, one), day=LAST - 9, by="evil.example", late=7_200)


def remembered(store: Library, deliveries: list[Attempt]) -> Iterator[Attempt]:
    """The same, of which two to bigmail.example are probes: one of four days ago, one of today."""
    wanted = {LAST - 4: "aaaaaaaaaaaa", LAST: "bbbbbbbbbbbb"}
    for one in deliveries:
        tag = wanted.pop(int(one.at) // DAY - D0 // DAY, "") if one.recipient_domain == "bigmail.example" else ""
        if tag:
            probes.put(store.ledger, Probe(tag, tag, int(one.at), one.sender, "example.org", one.recipient,
                                           one.recipient_domain))  # fmt: skip
        yield replace(one, queue_id=tag) if tag else one


def fill(folder: Path, *, times: int = 1, days: int = DAYS, evil: bool = False) -> Library:
    """A store of it all, its sources classified."""
    store = Library.open(folder, clock=lambda: NOW)
    deliveries, reports = traffic(times, days)
    deliveries = list(remembered(store, deliveries))
    sent.append(store.ledger, "r1", list(enumerate(deliveries, 1)))
    store.append_many([*reports, *(hostile() if evil else ())])
    said = ({"code": "own_network", "text": "The address lies in 192.0.2.0/24, which you named as yours."},)
    began = D0 + (LAST - days + 1) * DAY
    store.put_sources(
        [SourceRow("example.org", ip, kind, messages=n, evidence=said if kind == "own" else (), first_seen=began)
         for ip, kind, n, _ in (*STRANGERS, (RELAY, "own", 9, None), (SECOND, "own", 9, None))]
    )  # fmt: skip
    since = D0 + (LAST - 8) * DAY
    store.put_sources([SourceRow("example.org", NEWCOMER, "unknown", service="Quick Survey", first_seen=since)])
    store.flush()
    return store


if __name__ == "__main__":  # a page to look at: python tests/reconcile_data.py FOLDER [PORT] [TIMES]
    import sys

    from dmarcview.dashboard.app import create_app
    from dmarcview.dashboard.serve import serve

    shown = fill(Path(sys.argv[1]), times=int(sys.argv[3]) if len(sys.argv) > 3 else 1)
    port = int(sys.argv[2]) if len(sys.argv) > 2 else 8099
    serve(create_app(shown, receivers=RECEIVERS), "127.0.0.1", port, 2, lambda address: print(address, flush=True))
