"""A small made-up world for the tests of sent against reported: deliveries, reports, and a store of both."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dmarcview.library import Library
from dmarcview.store import sent
from dmarcview_relay.outcome import Attempt
from dmarcview_reports.model import DkimResult, Shape, SpfResult
from tests.sent_data import LINK, attempt
from tests.store_data import D0, DAY, records, report, taken

RELAY = "192.0.2.25"
KEY = (("example.org", "s1"),)
NOW = D0 + 40 * DAY


def mails(count: int, day: int = 0, *, hour: float = 12, host: str = "mx.far.test", source: str = RELAY,
          **fields: Any) -> list[Attempt]:  # fmt: skip
    """So many deliveries in the hour of a day."""
    link = LINK._replace(host=host, source=source)
    to = fields.pop("recipient_domain", "far.test")
    start = D0 + day * DAY + hour * 3600
    return [attempt(at=start + i % 60, link=link, recipient_domain=to, **({"dkim": KEY} | fields))
            for i in range(count)]  # fmt: skip


def seen(
    dkim: str | None = "pass",
    spf: str = "pass",
    *,
    selector: str = "s1",
    d: str = "example.org",
    overrides: tuple[str, ...] = (),
    header_from: str = "example.org",
    envelope_to: str | None = None,
) -> Shape:
    """What a receiver found; `dkim` None: it saw no signature."""
    found = () if dkim is None else (DkimResult(d, selector, dkim, None),)
    return Shape(
        "none", dkim == "pass" and d == "example.org", spf == "pass", overrides, ("",) * len(overrides), header_from,
        "example.org", envelope_to, found, (SpfResult("example.org", "mfrom", spf, None),),
    )  # fmt: skip


_names = itertools.count()


def told(*rows: tuple[str, int, Shape], day: float = 0, days: float = 1, by: str = "far.test",
         domain: str = "example.org", late: int = DAY // 2) -> Any:  # fmt: skip
    """One report as it was taken: of `days` from `day` on, by an organisation."""
    name, begin = f"n{next(_names)}", int(D0 + day * DAY)
    end = int(begin + days * DAY)
    one = report(name, rows=records(*rows), submitter=by, begin=begin, end=end, domain=domain)
    return taken(name, one, received=end + late)


def world(folder: Path, deliveries: Sequence[Attempt] = (), reports: Sequence[Any] = (), *, now: int = NOW) -> Library:
    """A store that holds these."""
    store = Library.open(folder, clock=lambda: now)
    sent.append(store.ledger, "r1", list(enumerate(deliveries, 1)))
    store.append_many(list(reports))
    return store
