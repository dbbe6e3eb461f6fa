"""The records that a domain should publish, and whether it does: for reports to arrive, and for mail to be believed."""

from __future__ import annotations

from dmarcview.dns.records import (
    Destination,
    Published,
    addresses,
    addresses_of,
    dmarc_record,
    exchangers,
    published,
    resolver,
    tags,
    texts,
)

__all__ = [
    "Destination",
    "Published",
    "addresses",
    "addresses_of",
    "dmarc_record",
    "exchangers",
    "published",
    "resolver",
    "tags",
    "texts",
]
