"""What is wrong now, what was, and what other thresholds would have said; the drawer has all of one incident."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import dash_mantine_components as dmc
from dash import dcc, html

from dmarcview.alerts import said
from dmarcview.alerts import text as words_of
from dmarcview.alerts.words import ACT
from dmarcview.dashboard import evidence, parts, text
from dmarcview.dashboard.alerts import BACKTEST_DAYS, HISTORY_DAYS, MUTE_DAYS, Known
from dmarcview.dashboard.plain import plain

if TYPE_CHECKING:
    from dmarcview.alerts.model import Finding, Incident

MOST_CARDS = 20  # drawn whole, with buttons; the others are lines
MOST_PAST = 200
MOST_NOTE = 500
TITLE_CHARS, TEXT_CHARS, NOTE_CHARS = 160, 600, 300
GROUPS = (("act", "Asks for action"), ("watch", "To watch"), ("acked", "Acknowledged"))
SAYING = (
    "Once acknowledged, nothing more is sent about it until it has ended. Muted, nothing is sent about its cause for "
    "so long, also when it comes back. What was to watch and comes to ask for action is acknowledged no more."
)
OFF = (
    "Alerts are switched off in the settings (`[alerts] check = false`): nothing new is found by itself. `dmarcview "
    "alerts check` looks once."
)
LOCKED = "The store is open for reading only: nothing can be acknowledged or muted here."
LOOKS = "Alerts look whenever reports have come in, and each hour."


def layout() -> list[Any]:
    """The skeleton; every piece keeps its last content while the next is fetched."""
    return [
        parts.heading("Alerts", html.Span(f"Open now, and the last {HISTORY_DAYS} days, UTC", className="muted")),
        html.Div(id="alerts-verdict", **parts.attributes({"aria-live": "polite"})),
        html.Div(id="alerts-notes"),
        html.P(id="alerts-said", role="status", className="muted"),
        html.Div(id="alerts-open", className="incident-groups"),
        parts.card("What has ended", html.Div(id="alerts-past"),
                   note="Known after: from its first day until it was known. Reports come a day or more late, and the "
                   "evidence must be enough."),
        parts.card(
            "Would another threshold suit you?",
            [
                html.Button("Run the backtest", id="backtest-button", n_clicks=0, className="button"),
                html.Div(id="backtest-result", className="backtest", **parts.attributes({"aria-live": "polite"})),
            ],
            note=f"Judges each of the last {BACKTEST_DAYS} days anew, by what had come by then. It takes some seconds "
            "and changes nothing.",
        ),
        _drawer(),
    ]  # fmt: skip


def _drawer() -> dmc.Drawer:
    return dmc.Drawer(
        [
            html.Div(id="incident-body"),
            html.Div(
                [
                    html.H3("Day by day"),
                    html.Div(id="incident-legend"),
                    parts.graph("incident-chart", "What was counted by day, and what was usual", evidence.HEIGHT),
                    parts.twin("incident-chart"),
                ],
                id="incident-chart-box",
                hidden=True,
            ),
            html.Div(id="incident-more"),
            html.Div(
                [
                    html.H3("What do you say?"),
                    dmc.TextInput(id="incident-note", label="Note (optional)", value=""),
                    html.Div(
                        [
                            html.Button(name, id=f"incident-{do}", n_clicks=0, className="label-button")
                            for do, name in (("ack", "Acknowledge"), ("unack", "Take back"), ("mute", mute_word(None)))
                        ],
                        className="label-buttons",
                    ),
                    html.P(SAYING, className="muted small"),
                ],
                id="incident-actions",
                hidden=True,
            ),
            html.P(id="incident-said", role="status", className="muted"),
        ],
        id="incident-drawer",
        title=html.Span("Incident", id="incident-title"),
        position="right",
        size="lg",
        opened=False,
        keepMounted=True,
        closeButtonProps={"aria-label": "Close"},
        padding="lg",
    )  # fmt: skip


def verdict(found: Known, *, off: bool) -> html.Div:
    """The one sentence, as a banner."""
    act = any(map(said.acts, found.open))
    watch = any(one.acked is None for one in found.open)
    level = "bad" if act else "watch" if watch else "none" if off else "good"
    ended = len(found.ended)
    past = f"{ended} incident{'s' * (ended != 1)} ended in the last {HISTORY_DAYS} days. " if ended else ""
    detail = past + ("" if off else LOOKS)
    return html.Div(
        [parts.mark(level), html.Div([html.P(said.verdict(found.open)), html.P(detail) if detail else None])],
        className=f"verdict verdict-{level}",
    )


def notes(*, off: bool, writable: bool) -> Any:
    """What else is to be known: nobody looks, or nothing can be written."""
    out = [*([OFF] if off else []), *([] if writable else [LOCKED])]
    return [html.P([parts.mark("info"), html.Span(parts.marked(one))], className="calm note") for one in out] or None


def groups(found: Known, rows: Callable[[Finding], str], link: Callable[[int], str], *, writable: bool) -> list[Any]:
    """Open incidents by level, those of one cause together. `rows` and `link` give the ways to rows and drawer."""
    left = MOST_CARDS
    out: list[Any] = []
    for key, name in GROUPS:
        those = [one for one in found.open if _group(one) == key]
        if not those:
            continue
        cards: list[Any] = []
        for cause, same in _by_cause(those).items():
            shown = [card(one, rows(one.finding), link(one.id), writable=writable) for one in same[: max(left, 0)]]
            shown += [_brief(one, link(one.id)) for one in same[max(left, 0) :]]
            left -= len(same)
            if len(same) > 1:
                head = html.P([html.Span("One cause: ", className="muted"), html.Code(text.show(cause, 80))])
                shown = [html.Li([head, html.Ul(shown, className="incidents")], className="incident-cause")]
            cards += shown
        title = html.H2([name, html.Span(f" {len(those)}", className="muted")])
        out.append(html.Section([title, html.Ul(cards, className="incidents")], className="incident-group"))
    return out


def card(one: Incident, rows: str, link: str, *, writable: bool) -> html.Li:
    """All that a person needs to begin, and the buttons."""
    finding = one.finding
    level = "bad" if _group(one) == "act" else "watch" if _group(one) == "watch" else "none"
    chips = [parts.chip(text.show(finding.domain, 64) or "all domains", "class-own")]
    if one.acked or one.muted_until:
        chips.append(parts.chip(text.show(said.state(one), 80)))
    title = html.H3(dcc.Link(text.show(finding.title, TITLE_CHARS), href=link))
    head = html.Div([title, html.Div(chips, className="incident-chips")], className="incident-head")
    ways = [dcc.Link("Show the evidence", href=link, className="way strong")]
    if rows:
        ways.append(dcc.Link("Show the rows", href=rows, className="way"))
    told = [
        head, html.P(text.show(finding.text, TEXT_CHARS), className="incident-text"), facts(one), advice(finding),
        members(finding), html.P(["Note: ", text.show(one.note, NOTE_CHARS)], className="muted") if one.note else None,
    ]  # fmt: skip
    buttons = _buttons(one) if writable else []
    foot = html.Div([html.Div(plain(ways), className="ways"), *buttons], className="incident-foot")
    return html.Li(
        [plain(parts.mark(level)), html.Div([plain(told), foot], className="incident-body")],
        className=f"card incident incident-{level}",
        **parts.attributes({"id": f"incident-{one.id}"}),
    )


def facts(one: Incident) -> html.Div:
    """When, how many, and how many are usual; below, how much of the newest days is in."""
    finding = one.finding
    found = [
        ("Since", words_of.day(finding.first_day), "when it happened"),
        ("Known since", words_of.moment(one.known), f"after {said.known_after(one)}"),
        ("Counts", said.counts(finding), f"last on {words_of.day(finding.last_day)}"),
        ("Usual", said.usual(finding), "before"),
    ]
    if one.ended is not None:
        found.append(("Ended", words_of.moment(one.ended), ""))
    shown = [
        html.Div([html.Dt(term), html.Dd([value, html.Span(f" {more}", className="muted small")])], className="fact")
        for term, value, more in found
        if value
    ]
    complete = html.P(["How complete: ", text.show(finding.completeness, TEXT_CHARS)], className="muted small")
    return html.Div([html.Dl(shown, className="facts"), complete if finding.completeness else None])


def members(finding: Finding) -> Any:
    """What a cause touches, folded; columns that say nothing are left out."""
    if not finding.members:
        return None
    columns = said.touched(finding)
    heads = [head for head, _ in columns]
    rows = [
        [text.show(one.name, 100), *(text.number(getattr(one, name)) for _, name in columns[1:])]
        for one in finding.members
    ]
    table = parts.table(heads, rows, caption=f"What it touches: {text.show(finding.cause, 80)}", numeric=1)
    return parts.folded(f"What it touches ({len(rows)})", table)


def past(found: Sequence[Incident], link: Callable[[int], str]) -> Any:
    """Those that have ended, newest first."""
    if not found:
        return html.P(f"Nothing has ended in the last {HISTORY_DAYS} days.", className="muted", id="alerts-none-past")
    rows = [
        [
            dcc.Link(text.show(one.finding.title, TITLE_CHARS), href=link(one.id), className="item-title"),
            text.show(one.finding.domain, 64) or "all domains",
            words_of.day(one.finding.first_day),
            html.Span([words_of.day(one.finding.last_day), _ending(one)]),
            said.known_after(one),
            said.counts(one.finding),
        ]
        for one in found[:MOST_PAST]
    ]
    more = len(found) - MOST_PAST
    heads = ["What", "Domain", "Since", "Until", "Known after", "Counts"]
    return html.Div(
        [
            parts.table(heads, rows, caption="Incidents that have ended, newest first", stacked=True),
            html.P(f"{more} more: dmarcview alerts list --all", className="muted small") if more > 0 else None,
        ]
    )


def _ending(one: Incident) -> Any:
    words = said.ending(one)
    return html.Div(words, className="muted small") if words else None


def _group(one: Incident) -> str:
    return "acked" if one.acked is not None else "act" if one.finding.level == ACT else "watch"


def _by_cause(those: Sequence[Incident]) -> dict[str, list[Incident]]:
    out: dict[str, list[Incident]] = {}
    for one in those:
        out.setdefault(one.finding.cause, []).append(one)
    return out


def advice(finding: Finding) -> html.Div:
    """The first thing to check, and what will clear it."""
    check = text.show(finding.check, TEXT_CHARS)
    return html.Div(
        [
            html.P([html.Span("First: ", className="strong"), *parts.marked(check)]),
            html.P([html.Span("Clears by: ", className="strong"), finding.words.clears], className="muted"),
        ],
        className="incident-advice",
    )


def _brief(one: Incident, link: str) -> html.Li:
    """One of too many: its title leads to all of it."""
    title = dcc.Link(text.show(one.finding.title, TITLE_CHARS), href=link, className="item-title")
    return html.Li(plain([title, html.Span(f" {said.counts(one.finding)}", className="muted")]), className="card")


def _buttons(one: Incident) -> list[html.Button]:
    """Buttons without names for Dash: it drops the answer to one that is drawn anew meanwhile; see `incident-press`."""
    named = [("mute", mute_word(one.muted_until))]
    if one.acked is None:
        named.insert(0, ("ack", "Acknowledge"))
    return [
        html.Button(
            word,
            className="label-button",
            **parts.attributes(
                {"aria-describedby": f"incident-{one.id}", "data-press": do, "data-incident": str(one.id)}
            ),
        )
        for do, word in named
    ]


def mute_word(until: int | None) -> str:
    """What the button does: it mutes, or it ends a mute."""
    return "Unmute" if until else f"Mute {MUTE_DAYS} days"
