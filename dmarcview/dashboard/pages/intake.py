"""What came in: received, refused and why, repeats, conflicts, other kinds, unverified, and what still waits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import pandas as pd
from dash import html

from dmarcview.dashboard import parts, text

MOST_REFUSED = 200


class Counts(NamedTuple):
    """What the intake tiles show; all of the chosen window by time of receipt, but `backlog` and `newest` of now."""

    inputs: int = 0
    reports: int = 0
    refused: int = 0
    duplicates: int = 0
    conflicts: int = 0
    failure: int = 0
    tls: int = 0
    unverified: int = 0
    unknown_domain: int = 0
    backlog: int = 0  # mails in the spool, acknowledged and not yet read
    newest: pd.Timestamp | None = None


def layout() -> list[Any]:
    """The skeleton."""
    return [
        parts.heading("Intake", html.Span(id="intake-window", className="muted")),
        html.P(id="intake-words", className="lead"),
        html.Div(id="intake-tiles", className="tiles tiles-many"),
        parts.card(
            "Refused",
            html.Div(id="intake-refused"),
            note="Could not become rows. The original is kept; dmarcview refused replay reads it again.",
        ),
    ]


def words(counts: Counts) -> str:
    """One line on the state of the intake."""
    if counts.newest is None:
        return "Nothing has come in yet."
    waits = (
        f"{text.number(counts.backlog)} mail{' waits' if counts.backlog == 1 else 's wait'} in the spool."
        if counts.backlog
        else "Nothing waits in the spool."
    )
    return f"Newest input: {counts.newest:%d %b %Y %H:%M:%S} UTC. {waits}"


def tiles(counts: Counts, doubtful: bool = False) -> list[html.Div]:
    """The counts, each with one line that says what it means; `doubtful`: unverified reports count too."""
    how = "counted, as your settings say" if doubtful else "not counted"
    return [
        _tile("intake-received", "Inputs received", counts.inputs, "mails and files"),
        _tile("intake-reports", "New reports", counts.reports, "aggregate reports that count"),
        _tile("intake-refused-count", "Refused", counts.refused, "kept, with a code and advice below"),
        _tile("intake-duplicates", "Repeats", counts.duplicates, "sent again, counted once"),
        _tile("intake-conflicts", "Conflicts", counts.conflicts, "same identity, other content: the first counts"),
        _tile("intake-unverified", "Unverified", counts.unverified, f"report mail not proven genuine: {how}"),
        _tile("intake-unknown-domain", "Other domains", counts.unknown_domain, "not watched: kept apart"),
        _tile("intake-failure", "Failure reports", counts.failure, "kept whole and counted"),
        _tile("intake-tls", "TLS reports", counts.tls, "kept whole and counted"),
        _tile("intake-backlog", "In the spool", counts.backlog, "acknowledged, not yet read"),
    ]


def refused(frame: pd.DataFrame, advice: Mapping[str, str]) -> Any:
    """The refused inputs by code, then one by one.

    `frame`: `received`, `input`, `where`, `code`, `message`; newest first. `advice`: code -> what to do.
    """
    if frame.empty:
        return html.P([parts.mark("good"), "Nothing was refused in this period."], className="calm", id="refused-none")
    by_code = frame.groupby("code").size().sort_values(ascending=False, kind="stable")
    summary = [
        html.Li(
            [
                html.Div([html.Code(text.show(code, 40)), html.Span(f" {text.number(count)}", className="strong")]),
                html.P(advice.get(str(code), "See the message of each input."), className="muted"),
            ]
        )
        for code, count in by_code.items()
    ]
    rows = [
        html.Tr(
            [
                html.Td(f"{row['received']:%Y-%m-%d %H:%M}", **parts.attributes({"data-head": "Received"})),
                html.Td(html.Code(text.show(row["code"], 40)), **parts.attributes({"data-head": "Code"})),
                html.Td(_input(row), **parts.attributes({"data-head": "Input"})),
                html.Td(text.show(row["message"], 300), **parts.attributes({"data-head": "What to do"})),
            ]
        )
        for row in frame.head(MOST_REFUSED).to_dict("records")
    ]
    heads = ("Received", "Code", "Input", "What was found, what to do")
    return html.Div(
        [
            html.Ul(summary, className="codes"),
            html.Div(
                html.Table(
                    [
                        html.Caption("Refused inputs", className="sr"),
                        html.Thead(html.Tr([html.Th(h, scope="col") for h in heads])),
                        html.Tbody(rows),
                    ],
                    className="stacked",
                ),
                className="table-box",
                tabIndex=0,
                role="region",
                **parts.attributes({"aria-label": "Refused inputs"}),
            ),
            html.P(f"The newest {MOST_REFUSED} of {len(frame)}.", className="muted")
            if len(frame) > MOST_REFUSED
            else None,
        ]
    )


def _input(row: dict[Any, Any]) -> html.Div:
    where = text.show(row["where"], 80)
    return html.Div(
        [
            html.Div(text.show(row["input"], 80), className="breaks"),
            html.Div(where, className="muted") if where else None,
        ]
    )


def _tile(id: str, label: str, value: int, note: str) -> html.Div:
    return parts.tile(id, label, text.number(value), plain=value, whole=note)
