"""The callbacks of sent against reported: its pieces and its chart, drawn when the comparison is there."""

from __future__ import annotations

from typing import Any

from dash import Dash, Input, Output, ctx, no_update

from dmarcview.dashboard import figures, given, url
from dmarcview.dashboard.callbacks.desk import Desk, twin
from dmarcview.dashboard.pages import findings, overview, probes, receivers, reconcile, sent
from dmarcview.dashboard.plain import plain
from dmarcview.dashboard.reconcile import Compared

PIECES = ("verdict", "tiles", "findings", "receivers", "open", "selectors")
MOVES = (Input("url", "search"), Input("version", "data"), Input("sent-version", "data"), Input("slow-version", "data"))
HERE, OLD = "reconcile-all", "reconcile-all stale"


def register(app: Dash, desk: Desk) -> None:
    """Hang the callbacks of the comparison on the app."""

    @app.callback(
        Output("reconcile-window", "children"),
        Output("reconcile-csv", "href"),
        Output("reconcile-words", "children"),
        Output("reconcile-empty", "children"),
        Output("reconcile-all", "hidden"),
        Output("reconcile-all", "className"),
        *(Output(f"reconcile-{name}", "children") for name in PIECES),
        *MOVES,
    )
    def pieces(search: Any, *_: Any) -> tuple[Any, ...]:
        view = url.parse(search)
        window = sent.window(*desk.compared.window(view))
        head = (window, url.href(desk.prefix, "/export/reconcile.csv", view))
        kept = (no_update,) * len(PIECES)
        empty = _nothing_yet(desk)
        if empty is not None:
            return *head, None, plain(empty), True, HERE, *kept
        told = desk.compared.compared(view)
        if told.answer is None:
            return *head, None, plain(reconcile.comparing()), no_update, OLD, *kept
        words = reconcile.words(view.result)
        found = told.answer
        if not found.totals.sent and not found.totals.reported:
            clear = url.href(desk.prefix, "/reconcile", url.View())
            return *head, words, plain(overview.nothing_here(view, clear)), True, HERE, *kept
        return *head, words, None, False, HERE, *(plain(piece) for piece in _drawn(desk, found))

    @app.callback(Output("reconcile-probes", "children"), *MOVES)
    def tagged(search: Any, *_: Any) -> Any:
        view = url.parse(search)
        told = desk.compared.probes()
        if told.answer is None:
            return no_update
        return plain(probes.listed(told.answer, lambda key: url.href(desk.prefix, f"/reports/{key}", view)))

    @app.callback(
        Output("reconcile-chart", "figure"),
        Output("reconcile-legend", "children"),
        Output("reconcile-chart-table", "children"),
        Output("reconcile-chart-button", "children"),
        *MOVES,
        Input("scheme", "data"),
        Input("reconcile-chart-button", "n_clicks"),
    )
    def chart(search: Any, _: Any, __: Any, ___: Any, scheme: Any, clicks: Any) -> tuple[Any, ...]:
        found = None if _nothing_yet(desk) is not None else desk.compared.compared(url.parse(search)).answer
        if found is None:
            return (no_update,) * 4
        table = twin(clicks, reconcile.table, found.daily)
        if ctx.triggered_id == "reconcile-chart-button":
            return no_update, no_update, *table
        return figures.compared(found.daily, given.word(scheme)), plain(reconcile.legend(found.daily)), *table


def _nothing_yet(desk: Desk) -> Any:
    """What is said while one of the sides is missing; None when there are both."""
    if not desk.compared.sent.any_row():
        return reconcile.nothing_sent(desk.watched, desk.compared.any_relay())
    if not desk.frames.any_report():
        return reconcile.nothing_reported(desk.watched, desk.address)
    return None


def _drawn(desk: Desk, found: Compared) -> tuple[Any, ...]:
    """The pieces, in the order of PIECES."""
    receiving = findings.receiving(found.receivers)

    def ways(row: dict[str, Any]) -> findings.Ways:
        return findings.ways(desk.prefix, row, receiving)

    return (
        reconcile.sentence(found), reconcile.tiles(found), findings.listed(found.findings, ways),
        receivers.listed(found.receivers, found.findings, desk.compared.said),
        reconcile.open_days(found.open_days, found.totals), reconcile.selectors(found.selectors),
    )  # fmt: skip
