"""The frame around every page: skip link, header, navigation, filter bar, and the HTML that they are put into."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from typing import Any

import dash_mantine_components as dmc
from dash import dcc, html

from dmarcview.dashboard import faults, text, theme, url
from dmarcview.dashboard.parts import attributes, icon

PAGES = (
    ("overview", "/", "Overview"),
    ("sources", "/sources", "Sources"),
    ("reports", "/reports", "Reports"),
    ("intake", "/intake", "Intake"),
    ("sent", "/sent", "Sent"),
    ("reconcile", "/reconcile", "Reconcile"),
    ("alerts", "/alerts", "Alerts"),
)
ALL = "*"  # Mantine's Select has no empty value

INDEX = """<!DOCTYPE html>
<html lang="en">
<head>
{%metas%}
<title>{%title%}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="ASSETS/icons/mark.svg" type="image/svg+xml">
{%css%}
<script src="ASSETS/early.js"></script>
</head>
<body>
<a class="skip" href="#main">Skip to the content</a>
{%app_entry%}
<noscript><p class="noscript">These pages are drawn by JavaScript, all of it served from this machine. Please switch it
on, or ask by command: <code>dmarcview summary</code>, <code>dmarcview sources</code>, <code>dmarcview reports</code>.
</p></noscript>
<footer>{%config%}{%scripts%}{%renderer%}</footer>
</body>
</html>"""


def index(assets: str) -> str:
    """The HTML of the page; `assets` is the address of the assets folder."""
    return INDEX.replace("ASSETS", assets.rstrip("/"))


def layout(prefix: str, title: str, version: str, alerts: int | None) -> dmc.MantineProvider:
    """The whole frame; the page itself comes into `#page`. `version` and `alerts`: of what is shown first."""
    return dmc.MantineProvider(
        [
            dcc.Location(id="url", refresh="callback-nav"),
            dcc.Store(id="scheme"),
            dcc.Store(id="version", data=version),
            dcc.Store(id="waiting"),
            dcc.Store(id="sent-version"),
            dcc.Store(id="slow-version"),
            dcc.Store(id="alerts-version", data=alerts),
            dcc.Store(id="again"),
            dcc.Store(id="incident-press"),  # which button of which card, and a count of presses
            dmc.AppShell(
                [
                    dmc.AppShellHeader(_header(prefix, title, version, alerts)),
                    dmc.AppShellNavbar(_navigation(prefix)),
                    dmc.AppShellMain(
                        html.Div(
                            [_filter_bar(), faults.place(), html.Div(id="page", className="page")],
                            id="main",
                            tabIndex=-1,
                        )
                    ),
                ],
                id="shell",
                header={"height": 56},
                navbar={"width": 208, "breakpoint": "sm", "collapsed": {"mobile": True}},
                padding=0,
                withBorder=True,
                transitionDuration=120,
            ),
        ],
        id="mantine",
        theme=theme.MANTINE,
    )


def _header(prefix: str, title: str, version: str, alerts: int | None) -> html.Div:
    return html.Div(
        [
            dmc.Burger(id="burger", hiddenFrom="sm", size="sm", opened=False, **attributes({"aria-label": "Menu"})),
            dcc.Link([icon("mark"), html.Span(text.show(title, 40))], href=prefix, className="brand"),
            html.Div(className="grow"),
            html.Div(
                [html.Span(className="dot", **attributes({"aria-hidden": "true"})), html.Span("Live", id="live-word")],
                id="live",
                className="live",
                role="status",
                title="Asks for new reports every two seconds",
                **attributes({"data-version": version, "data-alerts": str(alerts), "data-prefix": prefix}),
            ),
            html.Button(
                [icon("link"), html.Span("Copy link", className="wide")], id="copy", className="quiet", n_clicks=0
            ),
            html.Button(
                [icon("notebook"), html.Span("Copy for a notebook", className="wide")],
                id="copy-code",
                className="quiet desk",
                n_clicks=0,
                title="Python that asks the store what this page asks, with its filters",
            ),
            dcc.Store(id="notebook-code"),
            html.Button(
                [icon("scheme"), html.Span("System", id="scheme-word", className="wide")],
                id="scheme-button",
                className="quiet",
                n_clicks=0,
                title="Colours: system, light or dark",
                **attributes({"aria-label": "Change colours: system, light or dark"}),
            ),
        ],
        className="header",
    )


def _navigation(prefix: str) -> html.Nav:
    links = [
        dmc.NavLink(
            id=f"nav-{key}",
            label=name,
            href=url.href(prefix, path, url.View()),
            leftSection=icon(key),
            rightSection=html.Span(id="alerts-count") if key == "alerts" else None,
            active="exact" if path == "/" else "partial",
        )
        for key, path, name in PAGES
    ]
    return html.Nav(
        [*links, html.Div(className="grow"), html.P("Days and times are UTC.", className="muted small")],
        className="nav",
        **attributes({"aria-label": "Pages"}),
    )


def _filter_bar() -> html.Div:
    any_class = [{"value": ALL, "label": "All sources"}]
    any_result = [{"value": ALL, "label": "All results"}]
    select: dict[str, Any] = {"size": "sm", "allowDeselect": False, "comboboxProps": {"shadow": "md"}}
    return html.Div(
        [
            html.Button(
                [icon("filter"), html.Span("Filters", id="filters-word")],
                id="filters-button",
                className="quiet filters-button",
                n_clicks=0,
                **attributes({"aria-controls": "filters"}),
            ),
            html.Div(
                [
                    dmc.Select(
                        id="filter-domain",
                        label="Domain",
                        data=[{"value": ALL, "label": "All domains"}],
                        value=ALL,
                        searchable=True,
                        w=220,
                        nothingFoundMessage="No such domain in the reports",
                        limit=200,
                        **select,
                    ),
                    dmc.Select(
                        id="filter-period",
                        label="Period",
                        data=[
                            *({"value": str(d), "label": f"Last {name}"} for d, name in url.PERIODS.items()),
                            {"value": "range", "label": "Own dates"},
                        ],
                        value=str(url.DEFAULT_DAYS),
                        w=140,
                        **select,
                    ),
                    dmc.DatePickerInput(
                        id="filter-dates",
                        label="Days (UTC)",
                        type="range",
                        valueFormat="D MMM YYYY",
                        size="sm",
                        w=230,
                        maxDate=date(2099, 12, 31).isoformat(),
                        allowSingleDateInRange=True,
                        numberOfColumns=2,
                        popoverProps={"shadow": "md"},
                        **attributes({"aria-label": "First and last day"}),
                    ),
                    dmc.Select(
                        id="filter-class",
                        label="Sources",
                        data=any_class + [{"value": k, "label": v} for k, v in url.CLASSES.items()],
                        value=ALL,
                        w=140,
                        **select,
                    ),
                    dmc.Select(
                        id="filter-result",
                        label="Result",
                        data=any_result + [{"value": k, "label": v} for k, v in url.RESULTS.items()],
                        value=ALL,
                        w=140,
                        **select,
                    ),
                    html.Button("Clear", id="filters-clear", className="quiet filters-clear", n_clicks=0),
                ],
                id="filters",
                className="filters",
                role="search",
                **attributes({"aria-label": "Filters"}),
            ),
        ],
        id="filter-bar",
        className="filter-bar",
    )


def domain_options(domains: Sequence[str], chosen: str | None) -> list[dict[str, str]]:
    """Choices of the domain filter; the chosen one is among them even when it has no mail."""
    names = list(domains)
    if chosen and chosen not in names:
        names.append(chosen)
    return [{"value": ALL, "label": "All domains"}, *({"value": n, "label": text.show(n, 64)} for n in names)]


def controls(view: url.View, days: tuple[date, date]) -> tuple[str, str, list[str], str, str]:
    """Values of the five filters for a View: domain, period, dates (the first and last of `days`), class, result."""
    period = str(view.days) if view.since is None and view.days in url.PERIODS else "range"
    return (
        view.domain or ALL,
        period,
        [day.isoformat() for day in days],
        view.source_class or ALL,
        view.result or ALL,
    )


def chosen(
    view: url.View, changed: str, values: tuple[Any, ...],
) -> url.View:  # fmt: skip
    """The View after a person changed the filter with id `changed`; None while only one date is picked yet."""
    domain, period, dates, cls, result = values
    given: dict[str, str] = {}
    if domain and domain != ALL:
        given["domain"] = domain
    if cls and cls != ALL:
        given["class"] = cls
    if result and result != ALL:
        given["result"] = result
    if changed == "filter-dates" and isinstance(dates, list) and all(dates):
        given["from"], given["to"] = str(dates[0]), str(dates[-1])
    elif changed == "filter-period" and period and period != "range":
        given["days"] = period
    elif view.since and view.until:
        given["from"], given["to"] = view.since.isoformat(), view.until.isoformat()
    else:
        given["days"] = str(view.days)
    given["unit"] = view.unit
    from urllib.parse import urlencode

    kept = {name: getattr(view, name) for name in url.OF_SOME if name not in ("row", "incident")}
    return replace(url.parse(urlencode(given)), **kept)
