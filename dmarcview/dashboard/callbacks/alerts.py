"""The callbacks of alerts: list, buttons, the drawer of an incident, the number in the navigation, the backtest."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dash import Dash, Input, Output, State, ctx, no_update
from dash.exceptions import PreventUpdate

from dmarcview.dashboard import evidence, given, parts, url
from dmarcview.dashboard.alerts import MUTE_DAYS
from dmarcview.dashboard.callbacks.desk import Desk, twin
from dmarcview.dashboard.pages import alerts, backtest, incident
from dmarcview.dashboard.plain import plain

if TYPE_CHECKING:
    from dmarcview.alerts.model import Finding, Incident

ROWS = ("/sources", "/reports", "/reconcile", "/sent", "/intake")  # pages that have rows
MOVES = (Input("url", "search"), Input("alerts-version", "data"))


def register(app: Dash, desk: Desk) -> None:
    """Hang the callbacks of alerts on the app."""
    _list(app, desk)
    _drawer(app, desk)
    _written(app, desk)

    @app.callback(Output("alerts-count", "children"), Input("alerts-version", "data"))
    def count(_: Any) -> Any:
        acting = desk.alerts.acting()
        if not acting:
            return None
        ask = "asks" if acting == 1 else "ask"
        return plain([parts.hidden(str(acting), "badge"), parts.said(f"{acting} {ask} for action")])

    @app.callback(
        Output("backtest-result", "children"), Input("backtest-button", "n_clicks"), Input("slow-version", "data")
    )
    def test(clicks: Any, _: Any) -> Any:
        if not given.clicks(clicks):
            raise PreventUpdate
        told = desk.alerts.backtest(ask=ctx.triggered_id == "backtest-button")
        if told is None or told.answer is None or not told.fresh:
            return plain(backtest.running())
        return plain(backtest.drawn(told.answer, desk.alerts.settings.threshold if desk.alerts.settings else 0.0))


def rows(prefix: str, finding: Finding) -> str:
    """Where the rows are that a finding counts; "" where no page has them."""
    return url.href(prefix, finding.page, url.parse(finding.query)) if finding.page in ROWS else ""


def _list(app: Dash, desk: Desk) -> None:
    @app.callback(
        Output("alerts-verdict", "children"),
        Output("alerts-notes", "children"),
        Output("alerts-open", "children"),
        Output("alerts-past", "children"),
        *MOVES,
        Input("version", "data"),
    )
    def pieces(search: Any, *_: Any) -> tuple[Any, ...]:
        view, frames = url.parse(search), desk.alerts
        found, off = frames.known(view), frames.off

        def link(number: int) -> str:
            return url.href(desk.prefix, "/alerts", replace(view, incident=number))

        cards = alerts.groups(found, lambda one: rows(desk.prefix, one), link, writable=frames.writable)
        nothing = None if found.open or found.ended or desk.frames.any_report() else desk.nothing(view, "/alerts")
        return (
            plain(alerts.verdict(found, off=off)), plain(alerts.notes(off=off, writable=frames.writable)),
            cards if nothing is None else plain(nothing), plain(alerts.past(found.ended, link)),
        )  # fmt: skip


def _drawer(app: Dash, desk: Desk) -> None:
    @app.callback(
        Output("incident-drawer", "opened"),
        Output("incident-title", "children"),
        Output("incident-body", "children"),
        Output("incident-more", "children"),
        Output("incident-actions", "hidden"),
        Output("incident-ack", "children"),
        Output("incident-unack", "hidden"),
        Output("incident-mute", "children"),
        *MOVES,
    )
    def drawer(search: Any, _: Any) -> tuple[Any, ...]:
        number = url.parse(search).incident
        if number is None:
            return False, *([no_update] * 7)
        one = desk.alerts.one(number)
        # news must not open it again under the hand of somebody who closes it
        shown = no_update if ctx.triggered_id == "alerts-version" else True
        if one is None:
            return shown, "Incident", plain(incident.gone()), None, True, *([no_update] * 3)
        return (
            shown, incident.title(one), plain(incident.body(one, rows(desk.prefix, one.finding))),
            plain(incident.more(one, desk.alerts.told(number))), not (one.open and desk.alerts.writable),
            "Acknowledge" if one.acked is None else "Save the note", one.acked is None,
            alerts.mute_word(one.muted_until),
        )  # fmt: skip

    @app.callback(Output("incident-note", "value"), Output("incident-said", "children"), Input("url", "search"))
    def opened(search: Any) -> tuple[str, Any]:
        one = _chosen(desk, search)
        return (one.note if one else ""), None

    @app.callback(
        Output("incident-chart-box", "hidden"),
        Output("incident-chart", "figure"),
        Output("incident-legend", "children"),
        Output("incident-chart-table", "children"),
        Output("incident-chart-button", "children"),
        *MOVES,
        Input("version", "data"),
        Input("slow-version", "data"),
        Input("scheme", "data"),
        Input("incident-chart-button", "n_clicks"),
    )
    def chart(search: Any, _: Any, __: Any, ___: Any, scheme: Any, clicks: Any) -> tuple[Any, ...]:
        one = _chosen(desk, search)
        found = desk.alerts.evidence(one) if one else None
        if one is None or found is None:
            return True, *([no_update] * 4)
        changes = desk.alerts.changes(one.finding.domain, found.daily)
        table = twin(clicks, incident.table, (found, changes))
        if ctx.triggered_id == "incident-chart-button":
            return False, no_update, no_update, *table
        figure = evidence.figure(found, one.finding, changes, given.word(scheme))
        return False, figure, plain(incident.legend(found, changed=bool(changes))), *table


def _written(app: Dash, desk: Desk) -> None:
    """What a person says of an incident: by the buttons of its card, or with a note in the drawer."""

    @app.callback(
        Output("alerts-said", "children"),
        Output("incident-said", "children", allow_duplicate=True),
        Output("alerts-version", "data"),
        Input("incident-press", "data"),
        Input("incident-ack", "n_clicks"),
        Input("incident-unack", "n_clicks"),
        Input("incident-mute", "n_clicks"),
        State("url", "search"),
        State("incident-note", "value"),
        prevent_initial_call=True,
    )
    def say(press: Any, _: Any, __: Any, ___: Any, search: Any, note: Any) -> tuple[Any, ...]:
        card = ctx.triggered_id == "incident-press"
        if card and not isinstance(press, dict):
            raise PreventUpdate
        if not card and not any(given.clicks(one.get("value")) for one in ctx.triggered):
            raise PreventUpdate  # the drawer was drawn, and nobody pressed
        do = given.word(press.get("do")) if card else str(ctx.triggered_id or "").removeprefix("incident-")
        number = url.number(given.word(press.get("id"))) if card else url.parse(search).incident
        one = None if number is None else desk.alerts.one(number)
        if one is None or do not in ("ack", "unack", "mute"):
            raise PreventUpdate
        words = _said(desk, one, do, one.note if card else given.word(note, alerts.MOST_NOTE))
        return (words, no_update, desk.alerts.version()) if card else (no_update, words, desk.alerts.version())


def _said(desk: Desk, one: Incident, do: str, note: str) -> str:
    if not desk.alerts.writable:
        return "The store is open for reading only."
    name = f"Incident {one.id}"
    if do == "ack":
        desk.alerts.acknowledge(one.id, note)
        return f"{name} is acknowledged: nothing more is sent about it until it has ended."
    if do == "unack":
        desk.alerts.take_back(one.id)
        return f"{name} is no longer acknowledged: what is due about it is sent again."
    until = desk.alerts.mute(one, 0 if one.muted_until else MUTE_DAYS)
    return f"{name} is muted for {MUTE_DAYS} days." if until else f"{name} is no longer muted."


def _chosen(desk: Desk, search: Any) -> Incident | None:
    number = url.parse(search).incident
    return None if number is None else desk.alerts.one(number)
