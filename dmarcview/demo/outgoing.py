"""The demo's own mail: written by a made-up shop, handed to the relay, on its way to friends.example."""

from __future__ import annotations

import time
from collections.abc import Mapping

from dmarcview.demo import reports
from dmarcview.demo.dns import Zones
from dmarcview.demo.mailbox import DOMAIN, GONE, SLOW

FROM_DOMAIN = "example.org"
SENDER = f"shop@{FROM_DOMAIN}"
SELECTOR = "mail2"  # the year's last one
PEOPLE = ("anna", "bo", f"{SLOW}.carl", "dora", f"{GONE}.emil")
ORDERS = 4_711  # the number of the first one


def letter(number: int) -> tuple[str, bytes]:
    """(recipient, mail) of one order of the shop."""
    who = PEOPLE[number % len(PEOPLE)]
    rcpt = f"{who}{number // len(PEOPLE)}@{DOMAIN}"
    now = int(time.time())
    mail = reports.compose(
        sender=SENDER,
        rcpt=rcpt,
        subject=f"Your order {ORDERS + number} is on its way",
        message_id=f"<order-{ORDERS + number}.{now}@{FROM_DOMAIN}>",
        date=now,
        text="Thank you. The parcel left our house today.",
    )
    return rcpt, mail


def verified(mail: bytes, zones: Zones) -> bool:
    """Whether a delivered mail carries a signature of ours that the demo's DNS proves."""
    import dkim

    def txt(name: bytes, timeout: int = 0) -> bytes | None:  # noqa: ARG001 (dkimpy's name)
        found = zones.get((name.decode("ascii", "replace").lower(), "TXT"))
        return "".join(found[0].strip('"').split('" "')).encode() if found else None

    try:
        return bool(dkim.verify(mail, dnsfunc=txt)) and f"d={FROM_DOMAIN}".encode() in mail
    except dkim.DKIMException:
        return False


def expected(letters: int) -> Mapping[str, int | float]:
    """Numbers of the page Sent after so many letters, bounces included, when all is done with."""
    rcpts = [letter(number)[0] for number in range(letters)]
    gone = sum(rcpt.startswith(GONE) for rcpt in rcpts)
    slow = sum(rcpt.startswith(SLOW) for rcpt in rcpts)
    bounces = gone  # the shop is told, at the same far host
    delivered = letters - gone + bounces
    return {"sent-delivered": delivered, "sent-failed": gone, "sent-deferred": slow, "sent-expired": 0}
