"""The organisational domain of a name, by the public suffix list that publicsuffixlist carries."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from publicsuffixlist import PublicSuffixList

REMEMBERED = 65_536  # names whose answer is kept


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
