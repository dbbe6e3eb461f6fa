"""What a question is about: filters, and the SQL conditions they become."""

from __future__ import annotations

import calendar
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from dmarcview.store.plan import DOUBT, MAIN

if TYPE_CHECKING:
    from dmarcview.store.counting import Choice

DAY = 86_400

CLASSES = ("own", "third_party", "forwarder", "unknown")
RESULTS = {
    "pass": "(dkim_aligned or spf_aligned)",
    "fail": "not (coalesce(dkim_aligned, false) or coalesce(spf_aligned, false))"
    " and (dkim_aligned is not null or spf_aligned is not null)",
    "spf_pass": "spf_aligned",
    "spf_fail": "not spf_aligned",
    "dkim_pass": "dkim_aligned",
    "dkim_fail": "not dkim_aligned",
    "none": "disposition in ('none', 'pass')",
    "quarantine": "disposition = 'quarantine'",
    "reject": "disposition = 'reject'",
    "blocked": "disposition in ('quarantine', 'reject')",
    "delivered": "coalesce(disposition, 'none') not in ('quarantine', 'reject')",
}
SOURCE_CLASS = "coalesce(s.source_class, 'unknown')"


@dataclass(frozen=True, slots=True)
class Filters:
    """Bounds of a question; None means all.

    `since` is the first UTC day, `until` the day after the last, each a date or its text, `2026-01-31`. `source_class`
    is one of CLASSES, `result` one of RESULTS, `source_ip` an address or a network. `verified` True leaves out report
    mails that nobody vouches for.
    """

    domains: tuple[str, ...] | None = None
    since: date | None = None
    until: date | None = None
    source_class: str | None = None
    submitter: str | None = None
    result: str | None = None
    source_ip: str | None = None
    verified: bool = True

    def __post_init__(self) -> None:
        for name in ("since", "until"):
            object.__setattr__(self, name, as_day(name, getattr(self, name)))
        if self.domains is not None:
            object.__setattr__(self, "domains", as_domains(self.domains))
        if self.source_class is not None and self.source_class not in CLASSES:
            raise ValueError(f"source_class is one of {', '.join(CLASSES)}, not {self.source_class!r}")
        if self.result is not None and self.result not in RESULTS:
            raise ValueError(f"result is one of {', '.join(RESULTS)}, not {self.result!r}")
        if self.source_ip is not None:
            try:
                ipaddress.ip_network(self.source_ip, strict=False)
            except ValueError:
                wanted = "an address or a network, like 192.0.2.1 or 192.0.2.0/24"
                raise ValueError(f"source_ip is {wanted}, not {self.source_ip!r}") from None

    @property
    def shelves(self) -> tuple[str, ...]:
        """Which reports are asked."""
        return (MAIN,) if self.verified else (MAIN, DOUBT)

    @property
    def begin(self) -> int | None:
        """First second."""
        return None if self.since is None else calendar.timegm(self.since.timetuple())

    @property
    def end(self) -> int | None:
        """The second after the last."""
        return None if self.until is None else calendar.timegm(self.until.timetuple())


def as_day(name: str, value: date | str | None) -> date | None:
    """A day as it may be given in Python. Raises ValueError."""
    if isinstance(value, str):
        try:
            return date.fromisoformat(value)
        except ValueError:
            raise ValueError(f"{name} is a day like 2026-01-31, not {value!r}") from None
    if isinstance(value, datetime):
        return value.date()
    if value is not None and not isinstance(value, date):
        raise ValueError(f"{name} is a day like date(2026, 1, 31) or '2026-01-31', not {value!r}")
    return value


def as_domains(names: Iterable[str] | str) -> tuple[str, ...]:
    """Domains as they may be given in Python, a single one as its text; in lower case, each once."""
    return tuple(sorted({name.lower().rstrip(".") for name in ([names] if isinstance(names, str) else names)}))


def chosen(filters: Filters) -> Choice:
    """The filters as `store.counting` takes them."""
    from dmarcview.store.counting import Choice

    return Choice(
        None if filters.begin is None else filters.begin // DAY,
        None if filters.end is None else filters.end // DAY,
        filters.domains,
        filters.submitter,
        filters.source_ip,
        filters.source_class,
        "true" if filters.result is None else RESULTS[filters.result],
    )


@dataclass(frozen=True, slots=True)
class Asked:
    """SQL of a filter over a relation `c`: its conditions, parameters, and whether it needs the join to `sources`."""

    where: str
    params: dict[str, Any]
    by_class: bool


def over_days(filters: Filters) -> Asked:
    """Conditions over the cube: whole UTC days."""
    days = [("day >= $since", "since", filters.since), ("day < $until", "until", filters.until)]
    return _asked(filters, [(sql, name, v) for sql, name, v in days if v is not None])


def over_periods(filters: Filters) -> Asked:
    """Conditions over records or reports: the report's period overlaps the window (`begin < end' and end > begin'`)."""
    from datetime import UTC, datetime, time

    found = []
    if filters.until is not None:
        found.append(('"begin" < $until', "until", datetime.combine(filters.until, time(), UTC)))
    if filters.since is not None:
        # an empty period counts at its begin
        sql = '("end" > $since or "begin" >= $since)'
        found.append((sql, "since", datetime.combine(filters.since, time(), UTC)))
    return _asked(filters, found)


def _asked(filters: Filters, conditions: list[tuple[str, str, Any]]) -> Asked:
    parts = [sql for sql, _, _ in conditions]
    params = {name: value for _, name, value in conditions}
    if filters.domains is not None:
        names = [f"domain{i}" for i in range(len(filters.domains))]
        parts.append(f"c.domain in ({', '.join('$' + n for n in names)})" if names else "false")
        params.update(zip(names, filters.domains, strict=True))
    if filters.submitter is not None:
        parts.append("submitter = $submitter")
        params["submitter"] = filters.submitter
    if filters.source_ip is not None:
        sql, more = _addresses(filters.source_ip)
        parts.append(sql)
        params.update(more)
    if filters.result is not None:
        parts.append(RESULTS[filters.result])
    if filters.source_class is not None:
        parts.append(f"{SOURCE_CLASS} = $source_class")
        params["source_class"] = filters.source_class
    return Asked(" and ".join(f"({p})" for p in parts) or "true", params, filters.source_class is not None)


def _addresses(text: str) -> tuple[str, dict[str, Any]]:
    """An address, or a network on a boundary that text can show (IPv4 /8, /16, /24); others list their addresses."""
    network = ipaddress.ip_network(text, strict=False)
    if network.num_addresses == 1:
        return "c.source_ip = $source_ip", {"source_ip": str(network.network_address)}
    if network.version == 4 and network.prefixlen in (8, 16, 24):
        octets = str(network.network_address).split(".")[: network.prefixlen // 8]
        return "starts_with(c.source_ip, $source_ip)", {"source_ip": ".".join(octets) + "."}
    if network.num_addresses <= 4096:
        names = {f"ip{i}": str(a) for i, a in enumerate(network)}
        return f"c.source_ip in ({', '.join('$' + n for n in names)})", names
    raise ValueError(f"the network {text} is too wide for a filter: use /8, /16, /24 or at most 4096 addresses")
