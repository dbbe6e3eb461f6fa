"""Small pieces that pages are made of: tiles, bars, notices, tables, empty states. Pure: values in, components out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dash_mantine_components as dmc
from dash import dcc, html

from dmarcview.dashboard import text
from dmarcview.dashboard.theme import GRAPH_CONFIG

MARKS = {"good": "✓", "watch": "!", "bad": "✕", "none": "–", "info": "i"}
WORDS = {"good": "Good", "watch": "Watch", "bad": "Act", "none": "No data", "info": "Note"}
SOFT = ("DKIM", "SPF")  # one of them is enough: what they miss is no failure, and is not drawn as one
CLASS_NAMES = {
    "own": "Own",
    "third_party": "Third party",
    "forwarder": "Forwarder",
    "unknown": "Unknown",
    "ours": "Ours",
    "not_ours": "Not ours",
}


def attributes(values: dict[str, Any]) -> dict[str, Any]:
    """Attributes whose names are no Python names, such as `aria-label`: `**attributes({...})`."""
    return values


def hidden(drawn: str | None, css: str | None = None) -> html.Span:
    """A sign for the eye alone: screen readers are told by other words."""
    return html.Span(drawn, className=css, **attributes({"aria-hidden": "true"}))


def said(words: str) -> html.Span:
    """Words for screen readers alone."""
    return html.Span(words, className="sr")


def icon(name: str) -> html.Span:
    """A picture from assets/icons, drawn in the colour of the text; hidden from screen readers."""
    return html.Span(className=f"icon icon-{name}", **attributes({"aria-hidden": "true"}))


def mark(level: str) -> html.Span:
    """The sign of a level: a shape and a word, never colour alone."""
    return html.Span(
        [
            html.Span(MARKS[level], **attributes({"aria-hidden": "true"})),
            html.Span(WORDS[level] + ": ", className="sr"),
        ],
        className=f"mark mark-{level}",
    )


def heading(title: str, *beside: Any) -> html.Div:
    """The one h1 of a page with what stands beside it."""
    return html.Div([html.H1(title, id="title"), html.Div(list(beside), className="beside")], className="page-head")


def card(title: str, children: Any, *, beside: Any = None, note: Any = "", id: str | None = None) -> html.Section:
    """A titled surface."""
    head = [html.Div([html.H2(title), html.P(note, className="muted") if note else None])]
    if beside is not None:
        head.append(html.Div(beside, className="beside"))
    named = attributes({"id": id} if id else {})
    body = children if isinstance(children, list) else [children]  # Dash draws no list within a list
    return html.Section([html.Div(head, className="card-head"), *body], className="card", **named)


def tile(id: str, label: str, value: str, *, plain: float, whole: str, change: Change | None = None) -> html.Div:
    """One headline number; `plain` is repeated in `data-value` for programs, `whole` names the denominator."""
    return html.Div(
        [
            html.Div(label, className="tile-label"),
            html.Div(
                [html.Span(value, className="tile-value"), change.component() if change else None],
                className="tile-line",
            ),
            html.Div(whole, className="tile-whole"),
        ],
        id=id,
        className="tile",
        role="group",
        **attributes({"aria-label": f"{label}: {value}, {whole}", "data-value": f"{plain:.12g}"}),
    )


def day_cell(row: dict[Any, Any], why: str = "not complete") -> str:
    """The day of a row of a chart's table; `complete` says whether it is marked."""
    return f"{row['day']:%Y-%m-%d}" + ("" if row["complete"] else f" ({why})")


class Change:
    """A difference from the window before: the sign says the direction, the class says if that is good."""

    def __init__(self, amount: float, shown: str, better: str) -> None:
        self.amount, self.shown, self.better = amount, shown, better

    def component(self) -> html.Span:
        """Arrow, amount, and for screen readers the whole sentence."""
        if not self.amount:
            return html.Span("no change", className="change change-same")
        up = self.amount > 0
        good = {"up": up, "down": not up}.get(self.better)
        tone = "same" if good is None else "good" if good else "bad"
        return html.Span(
            [
                html.Span("▲" if up else "▼", **attributes({"aria-hidden": "true"})),
                html.Span("up " if up else "down ", className="sr"),
                self.shown,
                html.Span(" from the period before", className="sr"),
            ],
            className=f"change change-{tone}",
            title="Compared with the period of the same length before",
        )


def graph(id: str, label: str, height: int) -> html.Div:
    """A chart that keeps its last figure while the next is fetched."""
    empty = {"data": [], "layout": {"height": height, "xaxis": {"visible": False}, "yaxis": {"visible": False}}}
    return html.Div(
        dcc.Graph(id=id, config=GRAPH_CONFIG, figure=empty, style={"height": height}),
        role="img",
        className="chart",
        style={"minHeight": height},
        **attributes({"aria-label": label}),
    )


def twin(id: str) -> html.Div:
    """The button that shows a chart as a table, and the place for that table."""
    return html.Div(
        [
            html.Button("Show as table", id=f"{id}-button", className="quiet", n_clicks=0),
            html.Div(id=f"{id}-table", className="twin"),
        ]
    )


def table(
    heads: Sequence[str], rows: Sequence[Sequence[Any]], *, caption: str = "", numeric: int = 99, stacked: bool = False
) -> html.Div:
    """A plain table in a box of its own scroll; columns from `numeric` on are right-aligned.

    A `stacked` one turns its rows into cards on a phone.
    """

    def cell(place: int, value: Any) -> html.Td:
        css = "num" if place >= numeric else None
        return html.Td(value, className=css, **attributes({"data-head": heads[place]} if stacked else {}))

    body = [html.Tr([cell(i, value) for i, value in enumerate(row)]) for row in rows]
    head = html.Tr([html.Th(h, scope="col", className="num" if i >= numeric else None) for i, h in enumerate(heads)])
    parts: list[Any] = [html.Caption(caption, className="sr")] if caption else []
    return html.Div(
        html.Table([*parts, html.Thead(head), html.Tbody(body)], className="stacked" if stacked else None),
        className="table-box",
        tabIndex=0,
        role="region",
        **attributes({"aria-label": caption or "Table"}),
    )


def pairs(items: Sequence[tuple[str, Any]]) -> html.Dl:
    """Terms and their values; empty ones are left out."""
    out: list[Any] = []
    for term, value in items:
        if value not in (None, "", []):
            out += [html.Dt(term), html.Dd(value)]
    return html.Dl(out, className="pairs")


def pass_bar(label: str, part: float, whole: float) -> html.Div:
    """A bar with its percentage beside it."""
    shown = text.share(part, whole)
    width = 0 if whole <= 0 else 100 * part / whole
    return html.Div(
        [
            html.Span(label, className="bar-label"),
            html.Span(html.Span(className="bar-fill", style={"width": f"{width:.1f}%"}), className="bar"),
            html.Span(shown, className="bar-value"),
        ],
        className="bar-row" + (" bar-soft" if label in SOFT else ""),
        **attributes({"aria-label": f"{label} {shown}"}),
    )


def interval_bar(part: float, low: float, high: float, shown: str) -> html.Div:
    """A share (0..1) as a bar, its interval as a thin line over it, and words beside it."""
    place = {"left": f"{100 * low:.1f}%", "width": f"{100 * max(high - low, 0.004):.1f}%"}
    return html.Div(
        [
            html.Span(
                [
                    html.Span(className="bar-fill", style={"width": f"{100 * part:.1f}%"}),
                    html.Span(className="bar-interval", style=place),
                ],
                className="bar bar-plain",
                **attributes({"aria-hidden": "true"}),
            ),
            html.Span(shown, className="bar-value"),
        ],
        className="bar-row",
    )


def marked(words: str) -> list[Any]:
    """Words of ours, in which what stands between backticks is code."""
    return [html.Code(piece) if place % 2 else piece for place, piece in enumerate(words.split("`")) if piece]


def entry(level: str, title: str, amount: str, *, meaning: str, first: str, body: Any = None, id: str = "") -> html.Li:
    """One thing that was found: its level, name and amount, what it means, what to check first, and its evidence."""
    head = [html.H3(title), html.Span(amount, className="entry-amount")]
    said = [html.P(marked(meaning)), html.P([html.Span("First: ", className="strong"), *marked(first)])]
    box = html.Div([html.Div(head, className="entry-head"), *said, body], className="entry-body")
    return html.Li([mark(level), box], className="entry", **attributes({"id": id} if id else {}))


def folded(words: str, body: Any) -> html.Details:
    """What is shown after a click on these words; it stays as its reader left it."""
    return html.Details([html.Summary(words), body], className="folded", open=False)


def chip(word: str, tone: str = "plain", title: str | None = None) -> html.Span:
    """A small labelled sign."""
    more = attributes({"title": title} if title else {})
    return html.Span(word, className=f"chip chip-{tone}", **more)


def narrowed(bounds: Sequence[tuple[str, str]]) -> html.Ul | None:
    """What narrows a page beside its filters: (words, the address without it), as chips that a click takes away."""
    if not bounds:
        return None
    chips = [
        dcc.Link([words, hidden("✕"), said(", take this away")], href=href, className="chip chip-narrowed")
        for words, href in bounds
    ]
    return html.Ul([html.Li(one) for one in chips], className="narrowed", **attributes({"aria-label": "Narrowed to"}))


def class_chip(source_class: str | None, labelled: bool = False) -> html.Span:
    """The class of a source; a label that a person set says so."""
    key = source_class or "unknown"
    word = CLASS_NAMES.get(key, text.show(key, 20))
    return chip(word + (" · set by you" if labelled else ""), f"class-{key}" if key in CLASS_NAMES else "plain")


def empty(title: str, *body: Any) -> html.Div:
    """What a place says when there is nothing to show."""
    return html.Div([html.H2(title), *body], className="empty")


def clear_filters(address: str) -> dmc.Anchor:
    """The way out of a view that its filters have emptied."""
    return dcc.Link("Clear the filters", href=address, className="button")


def legend(items: Sequence[tuple[str, str, str]], kind: str = "area") -> html.Ul:
    """Names beside their colours: (name, css class of the sample, title)."""
    return html.Ul(
        [
            html.Li(
                [html.Span(className=f"swatch swatch-{css}", **attributes({"aria-hidden": "true"})), name], title=title
            )
            for name, css, title in items
        ],
        className=f"legend legend-{kind}",
    )


def csv_link(name: str) -> html.A:
    """The link that takes what a page shows as a CSV file."""
    return html.A([icon("download"), "CSV"], id=f"{name}-csv", className="quiet", href="#", download=f"{name}.csv")


def code(value: Any, cap: int = text.CAP) -> html.Code:
    """Technical text as it came, made visible and capped."""
    return html.Code(text.show(value, cap))
