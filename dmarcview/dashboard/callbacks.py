"""Wires the pages: which input redraws which piece. Each callback is a few lines over pure functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from dash import ClientsideFunction, Dash, Input, Output, State, ctx, no_update
from dash.exceptions import PreventUpdate

from dmarcview.dashboard import figures, given, parts, shell, text, url, verdict
from dmarcview.dashboard.frames import Frames
from dmarcview.dashboard.pages import intake, overview, report, reports, sources
from dmarcview.dashboard.papers import MOST_KEY, Papers
from dmarcview.dashboard.plain import plain
from dmarcview_reports.vocab import REFUSALS

AUTHOR = "dashboard"  # there is no login yet: the page itself is the author


@dataclass(frozen=True)
class Desk:
    """What the callbacks share."""

    frames: Frames
    papers: Papers
    prefix: str
    watched: tuple[str, ...] = ()
    address: str = ""


def register(app: Dash, desk: Desk) -> None:
    """Hang all callbacks on the app."""
    _browser(app)
    _frame(app, desk)
    _overview(app, desk)
    _sources(app, desk)
    _reports(app, desk)
    _intake(app, desk)


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
    here("retry", Output("fault-retry", "title"), Input("fault-retry", "n_clicks"), prevent_initial_call=True)
    here("drawer", Output("source-drawer", "id"), Input("source-drawer", "opened"), prevent_initial_call=True)


def _frame(app: Dash, desk: Desk) -> None:
    frames = desk.frames
    names = ("domain", "period", "dates", "class", "result")

    @app.callback(
        Output("url", "search"),
        *(Output(f"filter-{n}", "value") for n in names),
        *(Output(f"nav-{key}", "href") for key, _, _ in shell.PAGES),
        Input("url", "search"),
        *(Input(f"filter-{n}", "value") for n in names),
        Input("filters-clear", "n_clicks"),
    )
    def filters(search: Any, *values: Any) -> tuple[Any, ...]:
        view = url.parse(search)
        last = frames.last_complete(view)
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
            if shell.controls(view, last) == picked:
                raise PreventUpdate
            new = shell.chosen(view, changed, picked)
        written = url.write(replace(new, source=view.source if new == view else None))
        links = [url.href(desk.prefix, path, replace(new, source=None)) for _, path, _ in shell.PAGES]
        same = new == view
        return (no_update if same else written, *shell.controls(new, frames.last_complete(new)), *links)

    @app.callback(Output("filter-domain", "data"), Input("version", "data"), Input("url", "search"))
    def domains(_: Any, search: Any) -> list[dict[str, str]]:
        return shell.domain_options(frames.domain_names(), url.parse(search).domain)

    @app.callback(
        Output("page", "children"),
        Output("page", "data-path"),
        Input("url", "pathname"),
        Input("again", "data"),
        State("url", "search"),
        State("page", "data-path"),
    )
    def page(pathname: Any, _: Any, search: Any, drawn: Any) -> tuple[Any, str]:
        path = "/" + given.word(pathname).removeprefix(desk.prefix).strip("/")
        if ctx.triggered_id == "again" and drawn == path:
            raise PreventUpdate  # its pieces ask for themselves
        return _page(desk, path, url.parse(search)), path


def _page(desk: Desk, path: str, view: url.View) -> Any:
    if path.startswith("/reports/"):
        return report.layout(path.removeprefix("/reports/")[:MOST_KEY], url.href(desk.prefix, "/reports", view))
    pages = {"/": overview, "/sources": sources, "/reports": reports, "/intake": intake}
    found = pages.get(path)
    return found.layout() if found else [parts.heading("Page not found"), parts.clear_filters(desk.prefix)]


def _window(desk: Desk, view: url.View) -> str:
    since, until = desk.frames.window(view)
    return f"{since.day} {since:%b %Y} – {until.day} {until:%b %Y}, UTC"


def _overview(app: Dash, desk: Desk) -> None:
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
    )
    def pieces(search: Any, _: Any) -> tuple[Any, ...]:
        view = url.parse(search)
        days, arrivals = frames.freshness(view)
        strip = plain(overview.freshness(days, arrivals))
        if not frames.any_report():
            return "", plain(overview.no_data(desk.watched, desk.address)), None, None, strip, None
        daily = frames.daily(view)
        now, before = verdict.totals(daily), verdict.totals(frames.daily_before(view))
        since, until = frames.window(view)
        banner: Any = overview.sentence(now, since, until)
        if not now.messages:
            banner = overview.nothing_here(view, url.href(desk.prefix, "/", url.View()))
        items = verdict.attention(frames.sources(view), arrivals, frames.policies())
        link = sources.address(desk.prefix, view)
        todo = overview.attention(items, now, lambda item: link(*(item.source or ("", ""))))
        table = overview.domain_table(
            frames.domains(view), lambda name: url.href(desk.prefix, "/", replace(view, domain=name))
        )
        drawn = (plain(piece) for piece in (banner, overview.tiles(now, before), todo))
        return _window(desk, view), *drawn, strip, plain(table)

    @app.callback(
        Output("outcome-chart", "figure"),
        Output("outcome-legend", "children"),
        Output("unit", "value"),
        Output("outcome-table", "children"),
        Output("outcome-button", "children"),
        Input("url", "search"),
        Input("version", "data"),
        Input("scheme", "data"),
        Input("outcome-button", "n_clicks"),
        State("unit", "value"),
    )
    def outcome(search: Any, _: Any, scheme: Any, clicks: Any, shown: Any) -> tuple[Any, ...]:
        view = url.parse(search)
        daily = frames.daily_shown(view)
        table = _twin(clicks, overview.outcome_table, daily)
        if ctx.triggered_id == "outcome-button":
            return no_update, no_update, no_update, *table
        unit = no_update if shown == view.unit else view.unit
        return (
            figures.outcomes(daily, view.unit, given.word(scheme)),
            plain(overview.outcome_legend(daily)),
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
        table = _twin(clicks, overview.rate_table, daily)
        return (no_update if ctx.triggered_id == "rate-button" else figures.rates(daily, given.word(scheme))), *table


def _twin(clicks: Any, draw: Callable[[Any], Any], frame: Any) -> tuple[Any, str]:
    """(table, words of its button) of a chart: shown after an odd number of clicks."""
    return (plain(draw(frame)), "Hide the table") if given.clicks(clicks) % 2 else (None, "Show as table")


def _sources(app: Dash, desk: Desk) -> None:
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
            nothing = _nothing(desk, view, "/sources")
        csv = url.href(desk.prefix, "/export/sources.csv", view)
        return (
            _window(desk, view), sources.words(frame), sources.rows(frame, link), plain(sources.cards(frame, link)),
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
            *_twin(clicks, sources.trend_table, found.daily),
        )

    @app.callback(
        Output("label-said", "children"),
        Input({"type": "label", "class": _all()}, "n_clicks"),
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


def _all() -> Any:
    from dash import ALL

    return ALL


def _reports(app: Dash, desk: Desk) -> None:
    papers = desk.papers

    @app.callback(
        Output("reports-window", "children"),
        Output("reports-words", "children"),
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

        nothing = _nothing(desk, view, "/reports") if frame.empty else None
        csv = url.href(desk.prefix, "/export/reports.csv", view)
        return (
            _window(desk, view), reports.words(frame), reports.rows(frame, link), plain(reports.cards(frame, link)),
            plain(nothing), frame.empty, csv,
        )  # fmt: skip

    @app.callback(
        Output("report-body", "children"),
        Output("raw-card", "hidden"),
        Input("report-key", "data"),
        Input("again", "data"),
    )
    def body(asked: Any, _: Any) -> tuple[Any, bool]:
        key = given.word(asked, MOST_KEY)
        found = papers.report(key)
        if found is None:
            return plain(report.missing(key)), True
        return plain(report.body(found[0], found[1], f"{desk.prefix}raw/{key}.xml")), False

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


def _intake(app: Dash, desk: Desk) -> None:
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


def _nothing(desk: Desk, view: url.View, path: str) -> Any:
    if not desk.frames.any_report():
        return overview.no_data(desk.watched, desk.address)
    return overview.nothing_here(view, url.href(desk.prefix, path, url.View()))
