"""Which organisation a name stands for: by the public suffix list of publicsuffixlist, or by its own words."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from publicsuffixlist import PublicSuffixList

REMEMBERED = 65_536  # names whose answer is kept
UNKNOWN = "unknown"  # submitter of a report that names nobody


@cache
def _suffixes() -> PublicSuffixList:
    from publicsuffixlist import PublicSuffixList

    return PublicSuffixList()


@lru_cache(maxsize=REMEMBERED)
def organisational(domain: str) -> str:
    """The registrable domain above `domain` (RFC 7489 section 3.2), lower case; a public suffix is its own."""
    name = domain.strip().rstrip(".").lower()
    return str(_suffixes().privatesuffix(name) or name)


@lru_cache(maxsize=REMEMBERED)
def aligned(one: str, other: str) -> bool:
    """Do both names belong to one organisation: relaxed alignment (RFC 7489 section 3.1)?"""
    return organisational(one) == organisational(other)


def is_suffix(domain: str) -> bool:
    """May anybody register a name below this one, as below `com` or `co.uk`?"""
    return _suffixes().privatesuffix(domain) is None


def by_name(org_name: str | None) -> str:
    """The submitter of a report without any e-mail domain: its organisation's name, lower case, `unknown` for none."""
    return " ".join((org_name or "").lower().split())[:255] or UNKNOWN
