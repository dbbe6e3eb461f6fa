"""Report mails of the past: each goes into the receiver's spool with the second at which it came.

From there they take the way of all mail: ingest reads them, and verifies SPF, DKIM and DMARC against the demo's DNS.
They carry no signature, so SPF alone makes them pass.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from dmarcview.demo import reports
from dmarcview.demo.rhythm import HOUR
from dmarcview.demo.traffic import Made, Truth
from dmarcview_reports.model import Origin
from dmarcview_reports.spool import Spool

AT_ONCE = 500  # mails in one batch of the spool
RESENT = 300  # one in so many came a second time, an hour later


def put(spool: Spool, made: Iterable[Made], rcpt: str, client: str) -> Truth:
    """Spool these reports in the order of their arrival, and return what a store that takes them must say.

    Raises SpoolError.
    """
    truth = Truth()
    mails: list[tuple[Origin, bytes]] = []
    for n, one in enumerate(sorted(made, key=lambda one: one.arrives)):
        truth.add(one)
        mail = reports.mail(one, rcpt)
        mails.append((_origin(one, one.arrives, rcpt, client), mail))
        if n % RESENT == RESENT // 2:
            truth.duplicates += 1
            mails.append((_origin(one, one.arrives + HOUR, rcpt, client), mail))
    with ThreadPoolExecutor(1) as apart:  # a notebook has a loop of its own in this thread
        apart.submit(lambda: asyncio.run(_put(spool, mails))).result()
    return truth


async def _put(spool: Spool, mails: list[tuple[Origin, bytes]]) -> None:
    rest = iter(mails)
    while part := list(islice(rest, AT_ONCE)):
        await asyncio.gather(*(spool.put(origin, mail) for origin, mail in part))


def _origin(made: Made, at: int, rcpt: str, client: str) -> Origin:
    reporter = made.reporter
    return Origin("", at, "smtp", client, f"out.{reporter.domain}", reporter.email, (rcpt,), "TLSv1.3")
