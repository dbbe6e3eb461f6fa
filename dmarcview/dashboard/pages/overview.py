"""The first page: one sentence, is the data complete, four numbers, the outcome of each day, what needs attention."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

import dash_mantine_components as dmc
import pandas as pd
from dash import dcc, html

from dmarcview.dashboard import figures, marks, parts, text, theme, url, verdict
from dmarcview.dashboard.verdict import Totals
from dmarcview.query.complete import each, percent
from dmarcview.query.complete import words as said
from dmarcview.query.lateness import ARRIVED, AWAITED, LATE, SILENT, Judged, through

if TYPE_CHECKING:
    from dmarcview.store.records_seen import Changed

MOST_DOMAINS = 20
STRIP_DAYS = 14
STRIP_REPORTERS = 10
SIGNS = {
    ARRIVED: ("●", "arrived"),
    AWAITED: ("○", "awaited"),
    LATE: ("◐", "late"),
    SILENT: ("✕", "silent: overdue by its own habit"),
}


def layout() -> list[Any]:
    """The skeleton; every piece keeps its last content while the next is fetched."""
    return [
        parts.heading("Overview", html.Span(id="overview-window", className="muted")),
        html.Div(id="overview-verdict", **parts.attributes({"aria-live": "polite"})),
        html.Div(id="overview-tiles", className="tiles"),
        html.Div(
            [
                html.Div([_outcome_card(), _rate_card(), _domain_card()], className="column"),
                html.Div(
                    [
                        parts.card(
                            "Is the data complete?",
                            html.Div(id="overview-freshness"),
                            note="The share of its usual volume that each day has. A day waits for each usual reporter "
                            "as long as that one used to be late.",
                            id="freshness-card",
                        ),
                        parts.card(
                            "Needs attention",
                            html.Div(id="overview-attention"),
                            note="Open incidents, then sources you vouch for that fail, forgeries that got through, "
                            "reporters gone silent.",
                        ),
                    ],
                    className="column",
                ),
            ],
            className="split",
        ),
    ]


def _outcome_card() -> html.Section:
    return parts.card(
        "What became of the mail",
        [
            html.Div(id="outcome-legend"),
            parts.graph("outcome-chart", "Messages a day by outcome, stacked", figures.AREA_HEIGHT),
            parts.twin("outcome"),
        ],
        note="Messages a day. Hatched days are not complete. Of a single domain, signs on top mark days on which it "
        "published something anew.",
        beside=dmc.SegmentedControl(
            id="unit",
            data=[{"value": "count", "label": "Count"}, {"value": "share", "label": "%"}],
            value="count",
            size="xs",
            **parts.attributes({"aria-label": "Show counts or percent"}),
        ),
        id="outcome-card",
    )


def _rate_card() -> html.Section:
    return parts.card(
        "Pass rates of your own mail",
        [
            parts.legend([(r.name, r.key, f"{r.name} pass rate") for r in theme.RATES], "line"),
            parts.graph("rate-chart", "DMARC, DKIM and SPF pass rate by day", figures.RATE_HEIGHT),
            parts.twin("rate"),
        ],
        note="Own and approved sources. DMARC passes when DKIM or SPF passes in alignment.",
        id="rate-card",
    )


def _domain_card() -> html.Section:
    return parts.card(
        "By domain",
        html.Div(id="overview-domains"),
        note="Let through and blocked: mail of unknown sources that failed DMARC.",
        id="domain-card",
    )


def domain_table(domains: pd.DataFrame, link: Callable[[str], str]) -> Any:
    """One row a policy domain: messages, how own mail fares, what was delivered of unknown sources."""
    rows = []
    for row in domains.head(MOST_DOMAINS).to_dict("records"):
        own = row["own_pass"] + row["own_fail"]
        rows.append(
            [
                dcc.Link(text.show(row["domain"], 64), href=link(str(row["domain"])), className="item-title"),
                parts.pass_bar("", row["own_pass"], own) if own else html.Span("no own mail", className="muted"),
                text.number(row["messages"]),
                text.number(row["own_fail"]),
                text.number(row["unknown_delivered"]),
                text.number(row["unknown_blocked"]),
            ]
        )
    if not rows:
        return html.P("No mail in this period.", className="muted")
    heads = ["Domain", "Own mail passing", "Messages", "Own failing", "Let through", "Blocked"]
    more = f"{len(domains) - MOST_DOMAINS} more domains; choose one above." if len(domains) > MOST_DOMAINS else ""
    return html.Div(
        [
            parts.table(heads, rows, caption="Domains, most messages first", numeric=2, stacked=True),
            html.P(more, className="muted small"),
        ]
    )


def outcome_legend(daily: pd.DataFrame, changes: Sequence[Changed] = ()) -> html.Ul:
    """The names of the bands; mail of which reports state no result is named only when there is any."""
    shown = theme.OUTCOMES if len(daily) and daily[theme.UNSTATED].sum() else theme.OUTCOMES[:-1]
    changed = [("Published anew", "changed", "A DNS record became another")] if changes else []
    return parts.legend([*((o.name, o.key, o.means) for o in shown), *changed])


def window_words(since: date, until: date) -> str:
    """`in the 30 days to 20 Nov 2026`."""
    days = (until - since).days + 1
    return f"on {_long(until)}" if days == 1 else f"in the {days} days to {_long(until)}"


def sentence(now: Totals, since: date, until: date, acts: int = 0) -> html.Div:
    """The verdict as a banner; `acts` incidents ask for action."""
    said = verdict.judge(now, window_words(since, until), acts)
    return html.Div(
        [parts.mark(said.level), html.Div([html.P(said.sentence), html.P(said.detail) if said.detail else None])],
        className=f"verdict verdict-{said.level}",
    )


def tiles(now: Totals, before: Totals) -> list[html.Div]:
    """The four numbers with their difference from the window before and their denominators."""
    rate_now = now.own_pass / now.own if now.own else None
    rate_before = before.own_pass / before.own if before.own else None
    points = None
    if rate_now is not None and rate_before is not None:
        amount = round(100 * (rate_now - rate_before), 1)
        points = parts.Change(amount, f"{abs(amount):.1f} pt", "up")
    return [
        parts.tile(
            "tile-own-pass",
            "Own mail passing",
            text.share(now.own_pass, now.own),
            plain=100 * rate_now if rate_now is not None else 0,
            whole=f"{text.number(now.own_pass)} of {text.number(now.own)} messages",
            change=points,
        ),
        parts.tile(
            "tile-own-fail",
            "Own mail failing",
            text.brief(now.own_fail),
            plain=now.own_fail,
            whole=f"of {text.number(now.own)} own messages",
            change=_change(now.own_fail, before.own_fail, before.messages, "down"),
        ),
        parts.tile(
            "tile-spoof-delivered",
            "Forged, delivered",
            text.brief(now.unknown_delivered),
            plain=now.unknown_delivered,
            whole=f"of {text.number(now.unknown)} from unknown sources",
            change=_change(now.unknown_delivered, before.unknown_delivered, before.messages, "down"),
        ),
        parts.tile(
            "tile-spoof-blocked",
            "Forged, blocked",
            text.brief(now.unknown_blocked),
            plain=now.unknown_blocked,
            whole=f"of {text.number(now.unknown)} from unknown sources",
            change=_change(now.unknown_blocked, before.unknown_blocked, before.messages, "neither"),
        ),
    ]


def attention(items: list[verdict.Item], now: Totals, link: Callable[[verdict.Item], str], *below: Any) -> Any:
    """The list; says so when there is nothing to do. The rest stands below it."""
    if not items:
        good = now.own > 0 and now.own_fail == 0
        words = "No message of your own failed." if good else "No source you vouch for fails in a way worth your time."
        return html.Div([html.P([parts.mark("good"), words], className="calm", id="attention-none"), *below])
    listed = html.Ol(
        [
            html.Li(
                [
                    parts.mark(item.level),
                    html.Div(
                        [
                            dcc.Link(item.title, href=link(item), className="item-title")
                            if item.source or item.incident
                            else html.Span(item.title, className="item-title"),
                            html.P(item.cause, className="muted"),
                            html.P([html.Span("First: ", className="strong"), *_action(item)]),
                        ]
                    ),
                ]
            )
            for item in items
        ],
        className="attention",
    )
    return html.Div([listed, *below])


def _action(item: verdict.Item) -> list[Any]:
    """The checks of incidents are words of ours with commands in them."""
    return parts.marked(item.action) if item.incident else [item.action]


def more_incidents(count: int, href: str) -> Any:
    """The way to the open incidents that the list has no room for."""
    if count <= 0:
        return None
    return html.P(dcc.Link(f"{count} more open incident{'s' * (count != 1)}", href=href, className="way"))


def ended(items: list[verdict.Item], link: Callable[[verdict.Item], str], href: str) -> Any:
    """The incidents of these days that are over; None without any."""
    if not items:
        return None
    shown = [
        html.Li([dcc.Link(item.title, href=link(item)), html.Span(f" {item.cause}", className="muted")])
        for item in items[: verdict.MOST_ENDED]
    ]
    more = len(items) - verdict.MOST_ENDED
    return html.Div(
        [
            html.H3("In these days, over by now"),
            html.Ul(shown, className="reasons small"),
            html.P(dcc.Link(f"{more} more", href=href, className="way")) if more > 0 else None,
        ],
        id="overview-ended",
    )


def freshness(days: pd.DataFrame, arrivals: pd.DataFrame) -> Any:
    """The strip of days and, below, the reporters.

    `days` and `arrivals`: the two frames of `query.lateness.Judged`.
    """
    if days.empty:
        return html.P("No report has come yet.", className="muted")
    days = days.tail(STRIP_DAYS)
    done = through(days)
    words = [f"Complete through {done:%d %b}. " if done else "No day is complete yet. "]
    for day in each(Judged(days[~days["complete"]].tail(2), arrivals)):
        told = said(day, lambda name: text.show(name, 40))
        words.append(f"{day.day:%d %b} is {told}. " if day.expected else f"{day.day:%d %b} is open: {told}. ")
    return html.Div(
        [
            html.P("".join(words), id="freshness-words"),
            html.Ol([_cell(row) for row in days.to_dict("records")], className="strip"),
            html.Details(
                [html.Summary("By reporter"), _reporters(days, arrivals)], className="by-reporter", open=False
            ),
        ]
    )


def outcome_table(daily: pd.DataFrame, changes: Sequence[Changed] = ()) -> Any:
    """The twin of the outcome chart; `changes` are what the domain published anew."""
    told = marks.by_day(changes)
    heads = ["Day", *(o.name for o in theme.OUTCOMES), "All", *(["Published anew"] if told else [])]
    rows = [
        [parts.day_cell(row), *(text.number(row[o.key]) for o in theme.OUTCOMES), text.number(row["messages"]),
         *([marks.cell(row, told)] if told else [])]
        for row in daily.iloc[::-1].to_dict("records")
    ]  # fmt: skip
    return parts.table(heads, rows, caption="Messages a day by outcome", numeric=1)


def rate_table(daily: pd.DataFrame) -> Any:
    """The twin of the rate chart."""
    heads = ["Day", "Own messages", *(r.name for r in theme.RATES)]
    rows = [
        [
            parts.day_cell(row),
            text.number(row["messages"]),
            *(text.share(row[r.key], row["messages"]) for r in theme.RATES),
        ]
        for row in daily.iloc[::-1].to_dict("records")
    ]
    return parts.table(heads, rows, caption="Pass rates of own mail by day", numeric=1)


def no_data(domains: tuple[str, ...], address: str) -> html.Div:
    """Nothing has ever come: what to publish, and how long to wait."""
    name = domains[0] if domains else "example.org"
    rua = address or f"dmarc@{name}"
    return parts.empty(
        "No report has come yet",
        html.P("Publish this record in the DNS of each domain; receivers then mail one report a day to it:"),
        html.Pre(
            f'_dmarc.{text.show(name, 80)}.  TXT  "v=DMARC1; p=none; rua=mailto:{text.show(rua, 120)}"',
            id="record-to-publish",
        ),
        html.P("The first reports come 24 to 48 hours after the first mail. Old reports can be read in at once:"),
        html.Pre("dmarcview import FOLDER"),
        html.P("To see the pages with made-up traffic: dmarcview demo"),
    )


def nothing_here(view: url.View, clear: str) -> html.Div:
    """There are reports, but none for these filters."""
    return parts.empty(
        "No mail matches these filters",
        html.P("Reports are there, but none for this choice of domain, sources, result and days."),
        parts.clear_filters(clear) if view.filtered or view.since else html.P("Try a longer period."),
    )


def _change(now: float, before: float, seen_before: int, better: str) -> parts.Change | None:
    if not seen_before:
        return None
    if not before:
        return parts.Change(now, text.brief(now), better)
    percent = 100 * (now - before) / before
    shown = f"{abs(percent):.0f}%" if abs(percent) < 1000 else f"×{now / before:.0f}"
    return parts.Change(round(percent), shown, better)


def _cell(row: dict[Any, Any]) -> html.Li:
    unknown = row["share"] != row["share"]
    level = 1.0 if row["complete"] else 0.0 if unknown else min(float(row["share"]), 0.99)
    words = "complete" if row["complete"] else "no habit yet" if unknown else percent(level)
    return html.Li(
        [
            html.Span(
                html.Span(className="strip-fill", style={"height": f"{100 * level:.0f}%"}),
                className="strip-bar" + ("" if row["complete"] else " strip-open"),
            ),
            html.Span("✓" if row["complete"] else "–" if unknown else f"{100 * level:.0f}%", className="strip-share"),
            html.Span(str(row["day"].day), className="strip-day"),
        ],
        title=f"{row['day']:%a %d %b %Y}: {words}, {text.messages(row['messages'])}",
    )


def _reporters(days: pd.DataFrame, arrivals: pd.DataFrame) -> Any:
    if arrivals.empty:
        return html.P("No reporter has a habit yet.", className="muted")
    shown = days["day"].tolist()
    top = (
        arrivals.groupby("submitter")["messages"].sum().sort_values(ascending=False, kind="stable")
        .head(STRIP_REPORTERS).index
    )  # fmt: skip
    came = {(r["submitter"], r["day"]): r for r in arrivals.to_dict("records")}
    rows = []
    for submitter in top:
        cells: list[Any] = [text.show(submitter, 40)]
        for day in shown:
            row = came.get((submitter, day))
            sign, word = SIGNS.get(row["state"] if row else "", ("·", "not usual"))
            kind, title = word.split()[0], f"{day:%d %b}: {word}"
            if row and row["until"] == row["until"]:
                title += f", silent from {row['until']:%d %b %H:%M} UTC on"
            cells.append(html.Span([parts.hidden(sign), parts.said(word)], className=f"sign sign-{kind}", title=title))
        rows.append(cells)
    return html.Div(
        [
            parts.table(["Reporter", *(str(d.day) for d in shown)], rows, caption="Reports that came, by reporter"),
            html.P(
                "   ".join(f"{sign} {word}" for sign, word in (*SIGNS.values(), ("·", "not usual"))),
                className="muted small",
            ),
        ]
    )


def _long(day: date) -> str:
    return f"{day.day} {day:%b %Y}"
