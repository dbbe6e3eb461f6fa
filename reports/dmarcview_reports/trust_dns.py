"""Look-ups for trust: what is asked of DNS, a real answerer, and one that keeps count of look-ups and time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

LOOKUPS = 100  # most look-ups for one mail: 8 a tree walk, 5 keys, SPF's own limits (RFC 7208 section 4.6.4)
SECONDS = 20.0  # most time for one mail
_ANSWERS = 10_000  # answers that the cache keeps


class DnsFailure(Exception):
    """No answer could be had, for now: a timeout, SERVFAIL, or a spent budget. Not the same as "there is none"."""


class Resolver(Protocol):
    """Answers as plain values. An absent name or type is an empty list; a failure raises DnsFailure.

    `ask("TXT", ...)` gives bytes, one a record, its strings joined; `A`, `AAAA` and `PTR` give text; `MX` gives
    (preference, host).
    """

    def ask(self, kind: str, name: str) -> Sequence[Any]:
        """Answers of type `kind` for `name`, which has no final dot."""
        ...


class DnsResolver:
    """Asks real name servers through dnspython; answers are cached as long as they say. One may serve many threads."""

    def __init__(self, nameservers: Sequence[str] = (), timeout: float = 5.0) -> None:
        """`nameservers` are addresses (none: those of the system); `timeout` bounds one look-up, in seconds."""
        import dns.resolver

        self._resolver = dns.resolver.Resolver(configure=not nameservers)
        if nameservers:
            self._resolver.nameservers = list(nameservers)
        self._resolver.lifetime = timeout
        self._resolver.timeout = timeout / 2
        self._resolver.cache = dns.resolver.LRUCache(_ANSWERS)

    def ask(self, kind: str, name: str) -> Sequence[Any]:
        import dns.exception
        import dns.name
        import dns.resolver

        try:
            answer = self._resolver.resolve(f"{name}.", kind, search=False)
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return ()
        except (dns.exception.SyntaxError, dns.name.LabelTooLong, dns.name.NameTooLong, UnicodeError):
            return ()  # a name that cannot be written in DNS is not there
        except (dns.exception.DNSException, OSError, ValueError) as error:
            raise DnsFailure(f"{name}: {type(error).__name__}") from error
        return [_value(kind, item) for item in answer]


def _value(kind: str, item: Any) -> Any:
    if kind == "TXT":
        return b"".join(item.strings)
    if kind == "MX":
        return item.preference, item.exchange.to_text(omit_final_dot=True).lower()
    if kind == "PTR":
        return item.target.to_text(omit_final_dot=True).lower()
    return item.address


class FixedResolver:
    """Answers from a table of (type, name); a value of None is a failure. For tests and demonstrations."""

    def __init__(self, answers: Mapping[tuple[str, str], Sequence[Any] | None]) -> None:
        self._answers = answers
        self.asked: list[tuple[str, str]] = []

    def ask(self, kind: str, name: str) -> Sequence[Any]:
        self.asked.append((kind, name))
        found = self._answers.get((kind, name.lower()), ())
        if found is None:
            raise DnsFailure(f"{name}: made to fail")
        return found


class Metered:
    """A resolver for one mail: remembers answers, and fails once `lookups` or `seconds` are spent."""

    def __init__(
        self,
        resolver: Resolver,
        lookups: int = LOOKUPS,
        seconds: float = SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._resolver = resolver
        self._left = lookups
        self._clock = clock
        self._until = clock() + seconds
        self._known: dict[tuple[str, str], Sequence[Any]] = {}

    def ask(self, kind: str, name: str) -> Sequence[Any]:
        key = (kind, name.lower())
        if key not in self._known:
            if self._left <= 0 or self._clock() > self._until:
                raise DnsFailure("the budget of look-ups or time for one mail is spent")
            self._left -= 1
            self._known[key] = self._resolver.ask(kind, name)
        return self._known[key]
