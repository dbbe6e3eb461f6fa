"""The callbacks of the overview."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dash import Dash, Input, Output, State, ctx, no_update

from dmarcview.alerts.said import acts as acting
from dmarcview.dashboard import figures, given, url, verdict
from dmarcview.dashboard.callbacks.desk import Desk, twin
from dmarcview.dashboard.pages import overview, sources
from dmarcview.dashboard.plain import plain


def register(app: Dash, desk: Desk) -> None:
    """Hang the callbacks of the overview on the app."""
    frames = desk.frames

    @app.callback(
        Output("overview-window", "children"),
        Output("overview-verdict", "children"),
        Output("overview-tiles", "children"),
        Output("overview-attention", "children"),
        Output("overview-freshness", "children"),
        Output("overview-domains", "children"),
        Input("url", "search"),
        Input("version", "data"),
        Input("alerts-version", "data"),
    )
    def pieces(search: Any, *_: Any) -> tuple[Any, ...]:
        view = url.parse(search)
        days, arrivals = frames.freshness(view)
        strip = plain(overview.freshness(days, arrivals))
        if not frames.any_report():
            return "", plain(overview.no_data(desk.watched, desk.address)), None, None, strip, None
        daily = frames.daily(view)
        chosen = view.since is not None
        now = verdict.totals(daily, as_asked=chosen)
        before = verdict.totals(frames.daily_before(view), as_asked=chosen)
        since, until = frames.window(view)
        known = desk.alerts.known(view)
        acts = sum(map(acting, known.open))
        banner: Any = overview.sentence(now, since, until, acts)
        if not now.messages:
            banner = overview.nothing_here(view, url.href(desk.prefix, "/", url.View()))
        found = verdict.incidents(known.open)
        items = verdict.merged(found, verdict.attention(frames.sources(view), arrivals, frames.policies()))
        alerts = url.href(desk.prefix, "/alerts", view)

        def place(item: verdict.Item) -> str:
            return _place(desk, view, item)

        todo = overview.attention(
            items, now, place, overview.more_incidents(len(found) - verdict.MOST_ITEMS, alerts),
            overview.ended(verdict.ended(known.ended, since, until), place, alerts),
        )  # fmt: skip
        table = overview.domain_table(
            frames.domains(view), lambda name: url.href(desk.prefix, "/", replace(view, domain=name))
        )
        drawn = (plain(piece) for piece in (banner, overview.tiles(now, before), todo))
        return desk.window(view), *drawn, strip, plain(table)

    @app.callback(
        Output("outcome-chart", "figure"),
        Output("outcome-legend", "children"),
        Output("unit", "value"),
        Output("outcome-table", "children"),
        Output("outcome-button", "children"),
        Input("url", "search"),
        Input("version", "data"),
        Input("alerts-version", "data"),
        Input("scheme", "data"),
        Input("outcome-button", "n_clicks"),
        State("unit", "value"),
    )
    def outcome(search: Any, _: Any, __: Any, scheme: Any, clicks: Any, shown: Any) -> tuple[Any, ...]:
        view = url.parse(search)
        daily = frames.daily_shown(view)
        changes = desk.alerts.changes(view.domain or "", daily)
        table = twin(clicks, lambda frame: overview.outcome_table(frame, changes), daily)
        if ctx.triggered_id == "outcome-button":
            return no_update, no_update, no_update, *table
        unit = no_update if shown == view.unit else view.unit
        return (
            figures.outcomes(daily, view.unit, given.word(scheme), changes),
            plain(overview.outcome_legend(daily, changes)),
            unit,
            *table,
        )

    @app.callback(
        Output("url", "search", allow_duplicate=True),
        Input("unit", "value"),
        State("url", "search"),
        prevent_initial_call=True,
    )
    def unit(value: Any, search: Any) -> Any:
        view = url.parse(search)
        return no_update if value not in url.UNITS or value == view.unit else url.write(replace(view, unit=value))

    @app.callback(
        Output("rate-chart", "figure"),
        Output("rate-table", "children"),
        Output("rate-button", "children"),
        Input("url", "search"),
        Input("version", "data"),
        Input("scheme", "data"),
        Input("rate-button", "n_clicks"),
    )
    def rate(search: Any, _: Any, scheme: Any, clicks: Any) -> tuple[Any, ...]:
        daily = frames.own_daily(url.parse(search))
        table = twin(clicks, overview.rate_table, daily)
        return (no_update if ctx.triggered_id == "rate-button" else figures.rates(daily, given.word(scheme))), *table


def _place(desk: Desk, view: url.View, item: verdict.Item) -> str:
    """Where an item leads: to the drawer of its incident, or of its source."""
    if item.incident is not None:
        return url.href(desk.prefix, "/alerts", replace(view, incident=item.incident))
    return sources.address(desk.prefix, view)(*(item.source or ("", "")))
