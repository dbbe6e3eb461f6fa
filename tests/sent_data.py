"""Made-up rows of the relay's log."""

from __future__ import annotations

from typing import Any

from dmarcview_relay.outcome import DELIVERED, Attempt, Link, RemoteReply
from tests.store_data import D0

TAKEN = RemoteReply(250, "2.0.0", "Ok: queued as 4QX", "body")
LATER = RemoteReply(451, "4.7.1", "Greylisted, please\ncome back later", "rcpt")
NEVER = RemoteReply(550, "5.1.1", "No such user", "rcpt")
LINK = Link("192.0.2.25", "mx.example.net", "198.51.100.7", "TLSv1.3", "TLS_AES_256_GCM_SHA384", "verified")


def attempt(**fields: Any) -> Attempt:
    values: dict[str, Any] = {
        "at": D0 + 60.5,
        "queue_id": "Q1aaaaaaaaaa",
        "message_id": "<m1@example.org>",
        "kind": "mail",
        "user": "shop",
        "client": "192.0.2.9",
        "sender": "news@example.org",
        "from_domain": "example.org",
        "dkim": (("example.org", "s1"), ("example.org", "e1")),
        "recipient": "0123456789abcdef01234567@example.net",
        "recipient_domain": "example.net",
        "tries": 1,
        "link": LINK,
        "reply": TAKEN,
        "outcome": DELIVERED,
        "size": 5_000,
    } | fields
    return Attempt(**values)
