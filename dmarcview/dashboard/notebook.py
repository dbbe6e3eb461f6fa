"""What the button "Copy for a notebook" copies: Python that asks what the page asks, with its filters. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, timedelta
from typing import NamedTuple

from dmarcview.dashboard.url import View

URL = "DMARCVIEW_DATA_URL"  # the setting [data] url as the environment has it; it may hold a password


class Where(NamedTuple):
    """The store of the pages: its data folder, whether its ledger is elsewhere, and what the settings say of it.

    `doubtful`: every report counts. `receivers`: [reconcile] receivers.
    """

    data: str
    elsewhere: bool = False
    doubtful: bool = False
    receivers: tuple[tuple[str, str], ...] = ()


class Days(NamedTuple):
    """First and last day that a page shows of a view, both included."""

    first: date
    last: date


Lines = Callable[[str, View, Days, Where], list[str]]


def code(path: str, view: View, days: Days, where: Where) -> str:
    """The code for a page (`/sources`, without the dashboard's prefix) and its state; a page without any opens only.

    Values from the address are written as ASCII literals, so that no text of a link runs or hides.
    """
    page = next((lines for place, lines in PAGES.items() if path == place or path.startswith(place + "/")), _nothing)
    asks = page(path, view, days, where)
    body = "\n".join(asks)
    imports = [
        line
        for line, wanted in (
            ("import os", where.elsewhere),
            ("from datetime import date", "date(" in body),
            ("", where.elsewhere or "date(" in body),
            ("import dmarcview", True),
            ("from dmarcview import query", "query." in body),
            ("from dmarcview.alerts import memory", "memory." in body and "evidence." not in body),
            ("from dmarcview.alerts import evidence, memory", "evidence." in body),
            ("from dmarcview.reconcile import reconcile", "reconcile(" in body),
        )
        if wanted
    ]
    address = f', url=os.environ["{URL}"]' if where.elsewhere else ""
    return "\n".join([*imports, "", f"store = dmarcview.open({where.data!a}{address})", *asks, ""])


def _filters(view: View, days: Days, where: Where, **more: object) -> str:
    until: date | None = days.last + timedelta(days=1)
    fields = {
        "domains": (view.domain,) if view.domain else None,
        "since": days.first,
        "until": until,
        "source_class": view.source_class,
        "result": view.result,
        "verified": False if where.doubtful else None,
    } | more
    return f"filters = query.Filters({_written(fields)})"


def _written(fields: Mapping[str, object]) -> str:
    """Arguments of a call; those that are None are left out."""
    said = {name: f"date({value.year}, {value.month}, {value.day})" if isinstance(value, date) else ascii(value)
            for name, value in fields.items() if value is not None}  # fmt: skip
    return ", ".join(f"{name}={value}" for name, value in said.items())


def _overview(_: str, view: View, days: Days, where: Where) -> list[str]:
    return [
        _filters(view, days, where),
        "daily = query.daily(store, filters)  # the tiles are its sums: own_pass, own_fail, unknown_delivered, ...",
        "domains = query.domains(store, filters)",
        "sources = query.sources(store, filters, limit=None)",
        "daily",
    ]


def _sources(_: str, view: View, days: Days, where: Where) -> list[str]:
    asks = [_filters(view, days, where), "sources = query.sources(store, filters, limit=None)"]
    if view.source is None:
        return [*asks, "sources"]
    domain, address = (ascii(one) for one in view.source)
    whole = _filters(View(), days, where).replace("filters = ", "")
    return [*asks, f"source = query.source_detail(store, {domain}, {address}, {whole})", "source.identities"]


def _reports(path: str, view: View, days: Days, where: Where) -> list[str]:
    key = path.removeprefix("/reports").strip("/")
    if key:
        return [
            f"report = query.report(store, {key!a})",
            f"records = query.report_records(store, {key!a})",
            "records",
        ]
    # reports come late: without a last day of its own, the page shows the newest, too; and those that do not count
    bounds = {"until": None} if view.until is None else {}
    filters = _filters(view, days, where, verified=False, source_ip=view.ip, **bounds)
    if view.by is None:
        return [filters, "reports = query.reports(store, filters, limit=None, apart=True)", "reports"]
    return [
        "from dataclasses import replace",
        "import pandas as pd",
        "from dmarcview.reconcile.receivers import reporter",
        filters,
        f"names = [one for one in query.submitters(store) if {view.by!a} in (one, reporter(one))] or [{view.by!a}]",
        "asked = [replace(filters, submitter=one) for one in names]",
        "reports = pd.concat([query.reports(store, one, limit=None, apart=True) for one in asked], ignore_index=True)",
        "reports",
    ]


def _intake(_: str, view: View, days: Days, __: Where) -> list[str]:
    end = None if view.until is None else days.last + timedelta(days=1)
    bounds = {"since": _second(days.first), "until": None if end is None else _second(end)}
    arguments = _written(bounds)
    return [
        f"intake = query.intake(store, {arguments})",
        f"refused = query.refused(store, limit=None, {arguments})",
        "intake",
    ]


def _sent(_: str, view: View, days: Days, __: Where) -> list[str]:
    fields: dict[str, object] = {
        "domains": (view.domain,) if view.domain else None,
        "since": days.first,
        "until": days.last + timedelta(days=1),
        "to": view.rcpt or None,
        "source": view.ip,
        "hosts": view.host or None,
        "key": view.key,
        "search": view.find,
    }
    hashed = f', hashed=query.search_hash(store.data / "relay", {view.find!a})' if view.find else ""
    every, chosen = _written(fields), _written(fields | {"outcome": view.outcome})
    return [
        f"sent = query.sent(store, query.Sent({chosen}{hashed}), limit=None)",
        f"daily = query.sent_daily(store, query.Sent({every}{hashed}))",
        "sent",
    ]


def _reconcile(_: str, view: View, days: Days, where: Where) -> list[str]:
    receivers = f", {dict(where.receivers)!a}" if where.receivers else ""
    return [
        _filters(view, days, where, result=None),
        f"compared = reconcile(store, filters{receivers})",
        "compared.findings",
    ]


def _alerts(_: str, view: View, __: Days, where: Where) -> list[str]:
    asks = ["incidents = memory.listed(store.ledger, int(store.clock()))  # open ones first, then newest first"]
    if view.domain:
        asks.append(f"incidents = [one for one in incidents if one.finding.domain in ('', {view.domain!a})]")
    if view.incident is None:
        return [*asks, "incidents"]
    verified = ", verified=False" if where.doubtful else ""
    receivers = f", receivers={dict(where.receivers)!a}" if where.receivers else ""
    return [
        *asks,
        f"incident = memory.one(store.ledger, {view.incident}, int(store.clock()))",
        f"days = incident and evidence.of(store, incident.finding, int(store.clock()){verified}{receivers})",
        "incident",
    ]


def _nothing(*_: object) -> list[str]:
    return []


def _second(day: date) -> int:
    return (day - date(1970, 1, 1)).days * 86_400


# by the path of the page; what is below a path asks the same function
PAGES: Mapping[str, Lines] = {
    "/sources": _sources,
    "/reports": _reports,
    "/intake": _intake,
    "/sent": _sent,
    "/reconcile": _reconcile,
    "/alerts": _alerts,
    "/": _overview,
}
