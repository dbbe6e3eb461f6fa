"""The frame around every page: filters and links that follow the address, colours, menus, and the page itself."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

from dash import ClientsideFunction, Dash, Input, Output, State, ctx, no_update
from dash.exceptions import PreventUpdate

from dmarcview.dashboard import given, notebook, parts, shell, url
from dmarcview.dashboard.callbacks.desk import Desk
from dmarcview.dashboard.pages import alerts, intake, overview, reconcile, report, reports, sent, sources
from dmarcview.dashboard.papers import MOST_KEY
from dmarcview.dashboard.sent import SentFrames
from dmarcview.store.store import LEDGER_NAME


def register(app: Dash, desk: Desk) -> None:
    """Hang the callbacks of the frame on the app."""
    _browser(app)
    _filters(app, desk)
    _pages(app, desk)
    _notebook(app, desk)


def _browser(app: Dash) -> None:
    def here(name: str, *wires: Any, **more: Any) -> None:
        wire: Any = app.clientside_callback  # has no types
        wire(ClientsideFunction("dmarcview", name), *wires, **more)

    here(
        "colours",
        Output("mantine", "forceColorScheme"),
        Output("scheme", "data"),
        Output("scheme-word", "children"),
        Input("scheme-button", "n_clicks"),
    )
    here("menu", Output("shell", "navbar"), Input("burger", "opened"), State("shell", "id"))
    here("closeMenu", Output("burger", "opened"), Input("url", "pathname"), prevent_initial_call=True)
    here("filters", Output("filters", "className"), Input("filters-button", "n_clicks"))
    here("copy", Output("copy", "title"), Input("copy", "n_clicks"), prevent_initial_call=True)
    here("copyCode", Output("copy-code", "title"), Input("copy-code", "n_clicks"), State("notebook-code", "data"),
         prevent_initial_call=True)  # fmt: skip
    here("retry", Output("fault-retry", "title"), Input("fault-retry", "n_clicks"), prevent_initial_call=True)
    here("drawer", Output("source-drawer", "id"), Input("source-drawer", "opened"), prevent_initial_call=True)
    here("drawer", Output("sent-drawer", "id"), Input("sent-drawer", "opened"), prevent_initial_call=True)
    here("drawer", Output("incident-drawer", "id"), Input("incident-drawer", "opened"), prevent_initial_call=True)


def _filters(app: Dash, desk: Desk) -> None:
    frames = desk.frames
    names = ("domain", "period", "dates", "class", "result")

    @app.callback(
        Output("url", "search"),
        *(Output(f"filter-{n}", "value") for n in names),
        *(Output(f"nav-{key}", "href") for key, _, _ in shell.PAGES),
        Input("url", "search"),
        Input("url", "pathname"),
        *(Input(f"filter-{n}", "value") for n in names),
        Input("filters-clear", "n_clicks"),
    )
    def filters(search: Any, pathname: Any, *values: Any) -> tuple[Any, ...]:
        view, path = url.parse(search), _path(desk, pathname)
        changed = str(ctx.triggered_id or "")
        new = view
        if changed == "filters-clear":
            new = url.View(unit=view.unit)
        elif changed.startswith("filter-"):
            domain, period, dates, cls, result = values[:5]
            words = [given.word(value) for value in (domain, period, cls, result)]
            picked = (*words[:2], given.two_days(dates), *words[2:])
            if changed == "filter-dates" and picked[2] is None:
                raise PreventUpdate  # only the first of two days is picked yet
            if shell.controls(view, _days(desk, path, view)) == picked:
                raise PreventUpdate
            new = shell.chosen(view, changed, picked)
        written = url.write(replace(new, source=view.source if new == view else None))
        links = [
            url.href(desk.prefix, to, replace(new, source=None, row=None, incident=None)) for _, to, _ in shell.PAGES
        ]
        same = new == view
        return (no_update if same else written, *shell.controls(new, _days(desk, path, new)), *links)

    @app.callback(
        Output("filter-domain", "data"), Input("version", "data"), Input("sent-version", "data"), Input("url", "search")
    )
    def domains(_: Any, __: Any, search: Any) -> list[dict[str, str]]:
        names = {*frames.domain_names(), *SentFrames(frames).domains()}
        return shell.domain_options(sorted(names), url.parse(search).domain)


def _pages(app: Dash, desk: Desk) -> None:
    @app.callback(
        Output("page", "children"),
        Output("page", "data-path"),
        Input("url", "pathname"),
        Input("again", "data"),
        State("url", "search"),
        State("page", "data-path"),
    )
    def page(pathname: Any, _: Any, search: Any, drawn: Any) -> tuple[Any, str]:
        path = _path(desk, pathname)
        if ctx.triggered_id == "again" and drawn == path:
            raise PreventUpdate  # its pieces ask for themselves
        return _page(desk, path, url.parse(search)), path


def _notebook(app: Dash, desk: Desk) -> None:
    store, said = desk.frames.store, desk.compared.said
    elsewhere = not (store.data / LEDGER_NAME).exists()
    where = notebook.Where(str(store.data), elsewhere, desk.frames.doubtful, tuple(said.items()))

    @app.callback(
        Output("notebook-code", "data"),
        Input("url", "pathname"),
        Input("url", "search"),
        Input("version", "data"),
    )
    def code(pathname: Any, search: Any, _: Any) -> str:
        path, view = _path(desk, pathname), url.parse(search)
        return notebook.code(path, view, notebook.Days(*_days(desk, path, view)), where)


def _path(desk: Desk, pathname: Any) -> str:
    """The page of an address: without the prefix of the dashboard."""
    return "/" + given.word(pathname).removeprefix(desk.prefix).strip("/")


def _days(desk: Desk, path: str, view: url.View) -> tuple[date, date]:
    """The first and last day that a page shows of a view: mail that comes or leaves is known at once, reports later."""
    if path in ("/sent", "/reconcile"):
        return SentFrames(desk.frames).window(view)
    if path == "/intake":
        first, last = desk.papers.days_of_receipt(view)
        return first, last or desk.frames.today()
    return desk.frames.window(view)


def _page(desk: Desk, path: str, view: url.View) -> Any:
    if path.startswith("/reports/"):
        return report.layout(path.removeprefix("/reports/")[:MOST_KEY], url.href(desk.prefix, "/reports", view))
    if path == "/sent":
        return sent.layout(view)
    pages = {
        "/": overview, "/sources": sources, "/reports": reports, "/intake": intake, "/reconcile": reconcile,
        "/alerts": alerts,
    }  # fmt: skip
    found = pages.get(path)
    return found.layout() if found else [parts.heading("Page not found"), parts.clear_filters(desk.prefix)]
