"""The drawer of an incident: what it is in full, the table of its chart, and the messages about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dash import dcc, html

from dmarcview.alerts import said
from dmarcview.alerts import text as words_of
from dmarcview.alerts.evidence import MAIL, RATE, REPORTS, Evidence
from dmarcview.dashboard import evidence, marks, parts, text
from dmarcview.dashboard.pages import alerts

if TYPE_CHECKING:
    from dmarcview.alerts.model import Incident
    from dmarcview.store.incidents import Notice
    from dmarcview.store.records_seen import Changed

MOST_TOLD = 20


def title(one: Incident) -> str:
    """What stands on top of the drawer."""
    return text.show(one.finding.title, alerts.TITLE_CHARS)


def gone() -> html.P:
    """There is no incident of this number (any more)."""
    return html.P("There is no such incident. Those that ended long ago are forgotten.")


def body(one: Incident, rows: str) -> list[Any]:
    """All but chart and messages; `rows` leads to the rows that it counts, "" where there are none."""
    finding = one.finding
    level = "bad" if said.acts(one) else "watch" if one.open and one.acked is None else "none"
    return [
        html.Div([parts.mark(level), parts.chip(text.show(said.state(one), 80)),
                  html.Span(f"Incident {one.id}", className="muted")], className="drawer-top"),
        html.P(finding.words.meaning, className="incident-text"),
        html.P(text.show(finding.text, alerts.TEXT_CHARS)),
        alerts.facts(one),
        alerts.advice(finding),
        html.P(dcc.Link("Show the rows", href=rows, className="way")) if rows else None,
        html.P(["Note: ", text.show(one.note, alerts.NOTE_CHARS)], className="muted") if one.note else None,
    ]  # fmt: skip


def more(one: Incident, told: Sequence[Notice]) -> list[Any]:
    """What it touches, and the messages that went out about it."""
    out: list[Any] = [alerts.members(one.finding), html.H3("Messages about it")]
    if not told:
        return [*out, html.P("None was sent: no channel is set, or it is muted, or not due.", className="muted")]
    rows = [
        [note.kind, text.show(note.channel, 40), words_of.moment(note.at), outcome(note)] for note in told[:MOST_TOLD]
    ]
    return [*out, parts.table(["Message", "By", "Asked for", "Outcome"], rows, caption="Messages, newest first")]


def outcome(note: Notice) -> str:
    """What became of a message."""
    return text.show(note.error, 200) or ("taken" if note.done else "waits")


def legend(found: Evidence, *, changed: bool) -> html.Ul:
    """Names of what the chart draws."""
    return parts.legend(evidence.legend(found, changed=changed))


def table(found: tuple[Evidence | None, Sequence[Changed]]) -> Any:
    """The twin of the chart, newest day first; days of which nothing is told are left out."""
    shown, changes = found
    if shown is None:
        return html.P("Nothing is known of these days any more.", className="muted")
    told = marks.by_day(changes)
    rate = shown.kind == RATE
    single = shown.kind in evidence.SINGLE
    named = {REPORTS: "Domains reported on", MAIL: "Messages"}
    heads = ["Day", named[shown.kind]] if single else ["Day", "Failed" if rate else "Delivered", "Of"]
    heads += ["Share"] if rate else []
    heads += ["Published anew"] if told else []
    rows = []
    for row in shown.daily.iloc[::-1].to_dict("records"):
        changed = marks.cell(row, told)
        if not row["total"] and not changed and shown.kind != REPORTS:
            continue
        cells = [parts.day_cell(row)] + ([] if single else [text.number(row["failed"])])
        cells += [text.number(row["total"])] + ([text.share(row["failed"], row["total"])] if rate else [])
        rows.append([*cells, changed] if told else cells)
    return parts.table(heads, rows, caption="What was counted by day", numeric=1)
