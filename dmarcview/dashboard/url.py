"""The state of a page as its query string and back: one parser with defaults and clamping, one writer.

`parse(write(view)) == view` for every View, and `parse` never fails: what it cannot read becomes the default,
so that a link from an old version or a mangled mail still opens.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any
from urllib.parse import parse_qs, quote, urlencode

DEFAULT_DAYS = 30
MAX_DAYS = 1100  # three years and a bit; longer windows are for the export
PERIODS = {7: "7 days", 30: "30 days", 90: "90 days", 365: "1 year"}
CLASSES = {"own": "Own", "third_party": "Third party", "forwarder": "Forwarder", "unknown": "Unknown"}
SENT = ("delivered", "deferred", "failed", "expired")  # outcomes of what was sent
RESULTS = {"pass": "DMARC pass", "fail": "DMARC fail"}
UNITS = ("count", "share")
_EARLIEST, _LATEST = date(2000, 1, 1), date(2100, 1, 1)
# a lone surrogate (JSON can carry one) has no UTF-8: neither a link nor the store could take it
_DOMAIN = re.compile(r"[^\s\x00-\x1f\x7f\ud800-\udfff]{1,253}")
_SOURCE = re.compile(r"[^\s~\x00-\x1f\x7f\ud800-\udfff]{1,253}~[0-9a-fA-F:.]{2,45}")
_FIND = re.compile(r"[^\s\x00-\x1f\x7f\ud800-\udfff]{1,500}")
_ROW = re.compile(r"[0-9A-Za-z]{1,40}-[0-9]{1,18}")
_NUMBER = re.compile(r"[1-9][0-9]{0,14}")
_KEY = re.compile(r"[^\s/\x00-\x1f\x7f\ud800-\udfff]{1,253}/[^\s/\x00-\x1f\x7f\ud800-\udfff]{1,253}")
MOST_NAMES = 254  # characters of recipient domains or hosts that a link carries
# the fields of a view that only some pages know, and which
_SENT = ("/sent", "/export/sent")
OF_SOME = {
    "outcome": _SENT,
    "rcpt": _SENT,
    "host": _SENT,
    "key": _SENT,
    "find": _SENT,
    "row": _SENT,
    "ip": ("/sent", "/export/sent", "/reports", "/export/reports"),
    "by": ("/reports", "/export/reports"),
    "incident": ("/alerts",),
}
_MAX_QUERY = 2000


@dataclass(frozen=True, slots=True)
class View:
    """What one link shows. `since` and `until` are both included and both set or both None (then `days` counts)."""

    domain: str | None = None
    days: int = DEFAULT_DAYS
    since: date | None = None
    until: date | None = None
    source_class: str | None = None
    result: str | None = None
    unit: str = "count"
    source: tuple[str, str] | None = None  # (domain, address) of the open drawer
    ip: str | None = None  # sending address, of the pages Sent and Reports
    by: str | None = None  # reporter, of the page Reports alone
    # of the page Sent alone
    outcome: str | None = None
    rcpt: tuple[str, ...] = ()  # recipient domains, any of them
    host: tuple[str, ...] = ()  # domains of MX hosts, any of them
    key: tuple[str, str] | None = None  # d= and s= of the first signature; two empty texts: none
    find: str | None = None
    row: str | None = None  # of the open drawer
    # of the page Alerts alone
    incident: int | None = None  # of the open drawer

    @property
    def filtered(self) -> bool:
        """True when more than the period narrows the view."""
        return any((self.domain, self.source_class, self.result, self.ip, self.by))

    def window(self, last: date) -> tuple[date, date]:
        """(first day, last day), both included, for a view whose newest complete day is `last`."""
        if self.since is not None and self.until is not None:
            return self.since, self.until
        return last - timedelta(days=self.days - 1), last

    def cleared(self) -> View:
        """The same period without other filters."""
        return View(days=self.days, since=self.since, until=self.until, unit=self.unit)


def parse(search: object) -> View:
    """The View of a query string, with or without its question mark; the default View of what is no text."""
    # no `max_num_fields`: it raises, and the cut bounds the fields too
    fields = parse_qs(search[:_MAX_QUERY].removeprefix("?")) if isinstance(search, str) else {}

    def one(name: str) -> str:
        return fields.get(name, [""])[0]

    since, until = _day(one("from")), _day(one("to"))
    if since and until:
        since, until = min(since, until), max(since, until)
        since = max(since, until - timedelta(days=MAX_DAYS - 1))
    else:
        since = until = None
    domain, source = one("domain").strip().lower(), one("source")
    return View(
        domain=domain if _DOMAIN.fullmatch(domain) else None,
        days=_days(one("days")) if since is None else DEFAULT_DAYS,
        since=since,
        until=until,
        source_class=one("class") if one("class") in CLASSES else None,
        result=one("result") if one("result") in RESULTS else None,
        unit=one("unit") if one("unit") in UNITS else "count",
        source=_source(source),
        outcome=one("outcome") if one("outcome") in SENT else None,
        ip=_address(one("ip").strip()),
        by=_matched(_DOMAIN, one("by").strip().lower()),
        rcpt=names(one("rcpt")),
        host=names(one("host")),
        key=_key(one("key")),
        find=_matched(_FIND, one("find").strip()),
        row=_matched(_ROW, one("row")),
        incident=number(one("incident")),
    )


def write(view: View) -> str:
    """The query string of a View: defaults left out, always in one order, `""` or `?...`."""
    pairs: list[tuple[str, str]] = []
    if view.domain:
        pairs.append(("domain", view.domain))
    if view.since and view.until:
        pairs += [("from", view.since.isoformat()), ("to", view.until.isoformat())]
    elif view.days != DEFAULT_DAYS:
        pairs.append(("days", str(view.days)))
    if view.source_class:
        pairs.append(("class", view.source_class))
    if view.result:
        pairs.append(("result", view.result))
    if view.unit != "count":
        pairs.append(("unit", view.unit))
    if view.source:
        pairs.append(("source", "~".join(view.source)))
    key = "" if view.key is None else "/".join(view.key)
    some = (("ip", view.ip), ("by", view.by), ("outcome", view.outcome), ("rcpt", ",".join(view.rcpt)),
            ("host", ",".join(view.host)), ("key", key), ("find", view.find), ("row", view.row))  # fmt: skip
    pairs += [(name, value) for name, value in some if value]
    if view.incident is not None:
        pairs.append(("incident", str(view.incident)))
    return "?" + urlencode(pairs, quote_via=quote, safe="~:,/") if pairs else ""


def href(prefix: str, path: str, view: View) -> str:
    """A link inside the dashboard that keeps the filters and closes the drawer unless `view` opens one.

    What only some pages know is left out of links to others.
    """
    for name, places in OF_SOME.items():
        if not path.startswith(places):
            view = cleared_of(view, name)
    return prefix.rstrip("/") + path + write(view)


def cleared_of(view: View, name: str) -> View:
    """The view with one of its fields, by name, as it is by default."""
    fields: dict[str, Any] = {name: getattr(View(), name)}
    return replace(view, **fields)


def for_sent(view: View, outcome: str, rcpt: str, find: str) -> View:
    """The view with the filters of the page Sent as a person chose or wrote them, and its drawer closed."""
    return replace(
        view,
        outcome=outcome if outcome in SENT else None,
        rcpt=names(rcpt),
        find=_matched(_FIND, find.strip()),
        row=None,
    )


def names(text: str) -> tuple[str, ...]:
    """Domains parted by commas, each once; as many of them as a link carries."""
    found, room = list[str](), MOST_NAMES
    for one in dict.fromkeys(part.strip() for part in text.lower().split(",")):
        room -= len(one) + 1
        if _DOMAIN.fullmatch(one) and room >= 0:
            found.append(one)
    return tuple(found)


def without_source(view: View) -> View:
    """The view with its drawer closed."""
    return replace(view, source=None)


def number(text: str) -> int | None:
    """A whole number from 1 on, as the ledger counts incidents; None for anything else."""
    return int(text) if _NUMBER.fullmatch(text) else None


def _day(text: str) -> date | None:
    try:
        day = date.fromisoformat(text[:10])
    except ValueError:
        return None
    return day if _EARLIEST <= day < _LATEST else None


def _days(text: str) -> int:
    return min(max(int(text), 1), MAX_DAYS) if text.isascii() and text.isdigit() and len(text) < 6 else DEFAULT_DAYS


def _matched(pattern: re.Pattern[str], text: str) -> str | None:
    return text if pattern.fullmatch(text) else None


def _address(text: str) -> str | None:
    try:
        return str(ipaddress.ip_address(text)) if "%" not in text else None
    except ValueError:
        return None


def _key(text: str) -> tuple[str, str] | None:
    """`example.org/s1`; a lone stroke is mail without a signature."""
    if text != "/" and not _KEY.fullmatch(text):
        return None
    domain, _, selector = text.partition("/")
    return domain, selector


def _source(text: str) -> tuple[str, str] | None:
    if not _SOURCE.fullmatch(text):
        return None
    domain, _, address = text.rpartition("~")
    return domain, address
