"""The callbacks of the intake."""

from __future__ import annotations

from typing import Any

from dash import Dash, Input, Output

from dmarcview.dashboard import url
from dmarcview.dashboard.callbacks.desk import Desk
from dmarcview.dashboard.pages import intake
from dmarcview.dashboard.plain import plain
from dmarcview_reports.vocab import REFUSALS


def register(app: Dash, desk: Desk) -> None:
    """Hang the callbacks of the intake on the app."""
    papers = desk.papers

    @app.callback(
        Output("intake-window", "children"),
        Output("intake-words", "children"),
        Output("intake-tiles", "children"),
        Output("intake-refused", "children"),
        Input("url", "search"),
        Input("version", "data"),
        Input("waiting", "data"),
    )
    def pieces(search: Any, _: Any, __: Any) -> tuple[Any, ...]:
        view = url.parse(search)
        counts = papers.intake(view)
        return (
            _received(desk, view), intake.words(counts), plain(intake.tiles(counts, desk.frames.doubtful)),
            plain(intake.refused(papers.refused(view), REFUSALS)),
        )  # fmt: skip


def _received(desk: Desk, view: url.View) -> str:
    first, last = desk.papers.days_of_receipt(view)
    since = f"{first.day} {first:%b %Y}"
    return f"Received since {since}, UTC" if last is None else f"Received {since} – {last.day} {last:%b %Y}, UTC"
