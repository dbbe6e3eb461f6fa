"""The callbacks of the list of sources and its drawer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dash import ALL, Dash, Input, Output, State, ctx, no_update
from dash.exceptions import PreventUpdate

from dmarcview.dashboard import figures, given, parts, text, url, verdict
from dmarcview.dashboard.callbacks.desk import Desk, twin
from dmarcview.dashboard.pages import sources
from dmarcview.dashboard.plain import plain

AUTHOR = "dashboard"  # there is no login yet: the page itself is the author


def register(app: Dash, desk: Desk) -> None:
    """Hang the callbacks of the sources on the app."""
    frames = desk.frames

    @app.callback(
        Output("sources-window", "children"),
        Output("sources-words", "children"),
        Output("sources-grid", "rowData"),
        Output("sources-cards", "children"),
        Output("sources-empty", "children"),
        Output("sources-grid-box", "hidden"),
        Output("sources-csv", "href"),
        Input("url", "search"),
        Input("version", "data"),
    )
    def grid(search: Any, _: Any) -> tuple[Any, ...]:
        view = replace(url.parse(search), source=None)
        frame, link = frames.sources(view), sources.address(desk.prefix, view)
        nothing = None
        if frame.empty:
            nothing = desk.nothing(view, "/sources")
        csv = url.href(desk.prefix, "/export/sources.csv", view)
        return (
            desk.window(view), sources.words(frame), sources.rows(frame, link), plain(sources.cards(frame, link)),
            plain(nothing), frame.empty, csv,
        )  # fmt: skip

    @app.callback(
        Output("source-drawer", "opened"),
        Output("source-title", "children"),
        Output("source-body", "children"),
        Output("source-trend", "figure"),
        Output("source-labels", "children"),
        Output("source-trend-table", "children"),
        Output("source-trend-button", "children"),
        Input("url", "search"),
        Input("version", "data"),
        Input("scheme", "data"),
        Input("source-trend-button", "n_clicks"),
    )
    def drawer(search: Any, _: Any, scheme: Any, clicks: Any) -> tuple[Any, ...]:
        view = url.parse(search)
        if view.source is None:
            return False, *([no_update] * 6)
        domain, ip = view.source
        found = frames.source(view, domain, ip)
        row = found.row
        name = verdict.source_name(row) if row else text.show(ip, 45)
        state = (str(row["source_class"]), row.get("by") == "user") if row else (None, False)
        return (
            True,
            f"{name} for {text.show(domain, 60)}",
            plain(sources.evidence(row, found.reporters, found.identities)),
            figures.trend(found.daily, given.word(scheme)),
            sources.label_buttons(state[0], state[1], found.label),
            *twin(clicks, sources.trend_table, found.daily),
        )

    @app.callback(
        Output("label-said", "children"),
        Input({"type": "label", "class": ALL}, "n_clicks"),
        State("url", "search"),
        prevent_initial_call=True,
    )
    def label(clicks: list[Any], search: Any) -> Any:
        view, pressed = url.parse(search), ctx.triggered_id
        chosen = given.word(pressed.get("class")) if isinstance(pressed, dict) else ""
        if view.source is None or not any(given.clicks(n) for n in clicks):
            raise PreventUpdate
        domain, ip = view.source
        if chosen == "forget":
            frames.forget_label(domain, ip)
            return "Forgotten; the rules decide again."
        if chosen not in url.CLASSES:
            raise PreventUpdate
        frames.put_label(domain, ip, chosen, AUTHOR)
        return f"Remembered: {parts.CLASS_NAMES.get(chosen, '')}."
