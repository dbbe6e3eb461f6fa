"""The callbacks of what was sent: totals, chart, grid, its own filters, and the drawer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dash import Dash, Input, Output, State, ctx, no_update

from dmarcview.dashboard import figures, given, parts, url
from dmarcview.dashboard.callbacks.desk import Desk, twin
from dmarcview.dashboard.pages import sent
from dmarcview.dashboard.plain import plain
from dmarcview.dashboard.sent import SentFrames


def register(app: Dash, desk: Desk) -> None:
    """Hang the callbacks of the sent mail on the app."""
    frames = SentFrames(desk.frames)
    _pieces(app, desk, frames)
    _filters(app)

    @app.callback(
        Output("sent-chart", "figure"),
        Output("sent-legend", "children"),
        Output("sent-chart-table", "children"),
        Output("sent-chart-button", "children"),
        Input("url", "search"),
        Input("sent-version", "data"),
        Input("scheme", "data"),
        Input("sent-chart-button", "n_clicks"),
    )
    def chart(search: Any, _: Any, scheme: Any, clicks: Any) -> tuple[Any, ...]:
        daily = frames.daily(url.parse(search))
        table = twin(clicks, sent.table, daily)
        if ctx.triggered_id == "sent-chart-button":
            return no_update, no_update, *table
        return figures.sent(daily, given.word(scheme)), plain(sent.legend(daily)), *table

    @app.callback(
        Output("sent-drawer", "opened"),
        Output("sent-title", "children"),
        Output("sent-body", "children"),
        Input("url", "search"),
    )
    def drawer(search: Any) -> tuple[Any, ...]:
        view = url.parse(search)
        if view.row is None:
            return False, no_update, no_update
        row = frames.row(view.row)
        if row is None:
            return True, "Mail", plain(sent.gone())
        return True, f"To {sent.recipient(row)}", plain(sent.detail(row))


def _pieces(app: Dash, desk: Desk, frames: SentFrames) -> None:
    @app.callback(
        Output("sent-window", "children"),
        Output("sent-words", "children"),
        Output("sent-tiles", "children"),
        Output("sent-grid", "rowData"),
        Output("sent-cards", "children"),
        Output("sent-empty", "children"),
        Output("sent-none", "children"),
        Output("sent-narrowed", "children"),
        Output("sent-grid-box", "hidden"),
        Output("sent-all", "hidden"),
        Output("sent-csv", "href"),
        Input("url", "search"),
        Input("sent-version", "data"),
    )
    def pieces(search: Any, _: Any) -> tuple[Any, ...]:
        view = replace(url.parse(search), row=None)
        csv = url.href(desk.prefix, "/export/sent.csv", view)
        if not frames.any_row():
            return "", "", None, [], None, plain(sent.nothing_sent(desk.watched)), None, None, True, True, csv
        rows, daily = frames.rows(view), frames.daily(view)
        clear = url.href(desk.prefix, "/sent", url.View(days=view.days, since=view.since, until=view.until))
        nothing = sent.nothing_here(clear) if rows.empty else None

        def link(row: str) -> str:
            return url.href(desk.prefix, "/sent", replace(view, row=row))

        return (
            sent.window(*frames.window(view)), sent.words(daily), plain(sent.tiles(daily)), sent.rows(rows, link),
            plain(sent.cards(rows, link)), None, plain(nothing),
            plain(parts.narrowed(sent.narrowed(view, desk.prefix))), rows.empty, False, csv,
        )  # fmt: skip


def _filters(app: Dash) -> None:
    @app.callback(
        Output("url", "search", allow_duplicate=True),
        Input("sent-outcome", "value"),
        Input("sent-rcpt", "value"),
        Input("sent-find", "value"),
        State("url", "search"),
        prevent_initial_call=True,
    )
    def chosen(outcome: Any, rcpt: Any, find: Any, search: Any) -> Any:
        view = url.parse(search)
        new = url.for_sent(view, given.word(outcome), given.word(rcpt), given.word(find))
        return no_update if new == replace(view, row=None) else url.write(new)

    @app.callback(
        Output("sent-outcome", "value"),
        Output("sent-rcpt", "value"),
        Output("sent-find", "value"),
        Input("url", "search"),
        State("sent-outcome", "value"),
        State("sent-rcpt", "value"),
        State("sent-find", "value"),
    )
    def shown(search: Any, *now: Any) -> tuple[Any, ...]:
        wanted = sent.controls(url.parse(search))
        return tuple(no_update if old == new else new for old, new in zip(now, wanted, strict=True))
