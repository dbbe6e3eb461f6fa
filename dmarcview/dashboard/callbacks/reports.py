"""The callbacks of the list of reports and of one report."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dash import Dash, Input, Output, State

from dmarcview.dashboard import given, parts, url
from dmarcview.dashboard.callbacks.desk import Desk
from dmarcview.dashboard.pages import probes, report, reports
from dmarcview.dashboard.papers import MOST_KEY
from dmarcview.dashboard.plain import plain


def register(app: Dash, desk: Desk) -> None:
    """Hang the callbacks of the reports on the app."""
    papers = desk.papers

    @app.callback(
        Output("reports-window", "children"),
        Output("reports-words", "children"),
        Output("reports-narrowed", "children"),
        Output("reports-grid", "rowData"),
        Output("reports-cards", "children"),
        Output("reports-empty", "children"),
        Output("reports-grid-box", "hidden"),
        Output("reports-csv", "href"),
        Input("url", "search"),
        Input("version", "data"),
    )
    def grid(search: Any, _: Any) -> tuple[Any, ...]:
        view = replace(url.parse(search), source=None)
        frame = papers.reports(view)

        def link(key: str) -> str:
            return url.href(desk.prefix, f"/reports/{key}", view)

        nothing = desk.nothing(view, "/reports") if frame.empty else None
        csv = url.href(desk.prefix, "/export/reports.csv", view)
        return (
            desk.window(view), reports.words(frame), plain(parts.narrowed(reports.narrowed(view, desk.prefix))),
            reports.rows(frame, link), plain(reports.cards(frame, link)), plain(nothing), frame.empty, csv,
        )  # fmt: skip

    @app.callback(
        Output("report-body", "children"),
        Output("raw-card", "hidden"),
        Input("report-key", "data"),
        Input("again", "data"),
        Input("slow-version", "data"),
    )
    def body(asked: Any, _: Any, __: Any) -> tuple[Any, bool]:
        key = given.word(asked, MOST_KEY)
        counted = probes.in_report(desk.compared.probes().answer or (), key)
        found = papers.report(key)
        if found is None:
            return plain(report.missing(key)), True
        return plain(report.body(found[0], found[1], f"{desk.prefix}raw/{key}.xml", counted)), False

    @app.callback(
        Output("raw-body", "children"),
        Output("raw-button", "children"),
        Input("raw-button", "n_clicks"),
        State("report-key", "data"),
        prevent_initial_call=True,
    )
    def raw(clicks: Any, key: Any) -> tuple[Any, str]:
        if given.clicks(clicks) % 2 == 0:
            return None, "Show raw XML"
        xml = papers.xml(given.word(key, MOST_KEY))
        return plain(report.raw(xml.decode("utf-8", "replace") if xml is not None else None)), "Hide raw XML"
