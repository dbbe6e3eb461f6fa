"""The list of reports: who reported what for which days, newest first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
from dash import dcc, html

from dmarcview.dashboard import parts, text, url
from dmarcview.dashboard.grid import grid

MOST_ROWS = 2_000
MOST_CARDS = 60
_NUMBER = {"type": "rightAligned", "valueFormatter": {"function": "d3.format(',')(params.value)"}}
COLUMNS: list[dict[str, Any]] = [
    {"field": "reporter", "headerName": "Reporter", "cellRenderer": "InnerLink", "flex": 2, "minWidth": 170},
    {"field": "domain", "headerName": "Domain", "flex": 1, "minWidth": 130},
    {"field": "period", "headerName": "Period", "width": 226},
    {"field": "messages", "headerName": "Messages", **_NUMBER, "width": 116},
    {"field": "records", "headerName": "Records", **_NUMBER, "width": 100},
    {"field": "dmarc", "headerName": "DMARC", "cellRenderer": "PassBar", "width": 116},
    {"field": "received", "headerName": "Received", "width": 150, "sort": "desc"},
    {"field": "state", "headerName": "Standing", "cellRenderer": "StateChip", "width": 165},
]
# (words, tone, what it means)
STANDINGS: dict[str, tuple[str, str, str]] = {
    "counted": ("✓ Counted", "good", "Part of every number here."),
    "doubtful": ("! Unverified, counted", "watch", "The report mail could not be verified; your settings count it."),
    "unverified": ("! Unverified", "watch", "The report mail itself could not be verified; it does not count."),
    "conflict": ("! Conflict", "watch", "Another report with the same identity came first; this one does not count."),
    "unknown_domain": ("! Other domain", "watch", "For a domain that is not watched; it does not count."),
}


def layout() -> list[Any]:
    """The skeleton."""
    return [
        parts.heading(
            "Reports",
            html.Span(id="reports-window", className="muted"),
            parts.csv_link("reports"),
        ),
        html.P(id="reports-words", className="lead"),
        html.Div(id="reports-narrowed"),
        html.Div(id="reports-empty"),
        *grid("reports", COLUMNS),
    ]  # fmt: skip


def narrowed(view: url.View, prefix: str) -> list[tuple[str, str]]:
    """What only the address of the page says: reporter and sending address, as `parts.narrowed` takes them."""
    told = {"by": f"Reporter: {text.show(view.by, 64)}", "ip": f"Tells of {text.show(view.ip, 45)}"}
    return [
        (words, url.href(prefix, "/reports", url.cleared_of(view, name)))
        for name, words in told.items()
        if getattr(view, name)
    ]


def standing(row: dict[Any, Any]) -> tuple[str, str, str]:
    """(words, tone, meaning) of whether a report counts and why."""
    return STANDINGS.get(str(row["standing"]), (text.show(row["standing"], 30), "plain", ""))


def rows(reports: pd.DataFrame, link: Callable[[str], str]) -> list[dict[str, Any]]:
    """Grid rows from the reports frame: `report_key`, `submitter`, `org_name`, `domain`, `begin`, `end`, `received`,
    `records`, `messages`, `dmarc_pass`, `standing`, `warnings` (count)."""
    out = []
    for row in reports.head(MOST_ROWS).to_dict("records"):
        total = int(row["messages"])
        words, tone, _ = standing(row)
        href = link(str(row["report_key"]))
        out.append(
            {
                "id": href,  # the grid draws a known row with its old link, so each view has its own
                "href": href,
                "reporter": text.show(row.get("org_name"), 60) or text.show(row["submitter"], 60),
                "below": text.show(row["submitter"], 60),
                "domain": text.show(row["domain"], 64),
                "period": period(row["begin"], row["end"]),
                "messages": total,
                "records": int(row["records"]),
                "dmarc": round(100 * row["dmarc_pass"] / total, 2) if total else None,
                "dmarc_shown": text.share(row["dmarc_pass"], total),
                "received": f"{row['received']:%Y-%m-%d %H:%M}",
                "state": words,
                "tone": tone,
            }
        )
    return out


def cards(reports: pd.DataFrame, link: Callable[[str], str]) -> list[html.Li]:
    """The same as cards, for phones."""
    out = []
    for row in reports.head(MOST_CARDS).to_dict("records"):
        words, tone, meaning = standing(row)
        out.append(
            html.Li(
                [
                    html.Div(
                        [
                            dcc.Link(reporter(row), href=link(str(row["report_key"])), className="item-title"),
                            parts.chip(words, tone, meaning),
                        ],
                        className="card-line",
                    ),
                    html.P(
                        f"{text.show(row['domain'], 64)} · {period(row['begin'], row['end'])} · "
                        f"{text.messages(row['messages'])}",
                        className="muted",
                    ),
                    parts.pass_bar("DMARC", row["dmarc_pass"], row["messages"]),
                ]
            )
        )
    if len(reports) > MOST_CARDS:
        out.append(html.Li(f"{len(reports) - MOST_CARDS} more: narrow the filters or take the CSV.", className="muted"))
    return out


def words(reports: pd.DataFrame) -> str:
    """One line that says what the list holds."""
    if reports.empty:
        return ""
    doubtful = int((~reports["standing"].isin(["counted", "doubtful"])).sum())
    more = f" {text.number(doubtful)} of them {'does' if doubtful == 1 else 'do'} not count." if doubtful else ""
    cut = f" The newest {MOST_ROWS:,} are shown." if len(reports) >= MOST_ROWS else ""
    who = reports["submitter"].nunique()
    return (
        f"{text.number(len(reports))} report{'' if len(reports) == 1 else 's'} from {who} "
        f"reporter{'' if who == 1 else 's'}.{more}{cut}"
    )


def reporter(row: dict[Any, Any]) -> str:
    """The reporter's own name and the domain that it mails from, when they differ."""
    name, domain = text.show(row.get("org_name"), 60), text.show(row["submitter"], 60)
    return domain if not name or name.lower() == domain.lower() else f"{name} ({domain})"


def period(begin: Any, end: Any) -> str:
    """`2026-11-20` for one whole UTC day, else both ends."""
    seconds = (end - begin).total_seconds()
    if seconds <= 86_400 and begin.hour == begin.minute == 0:
        return f"{begin:%Y-%m-%d}"
    if begin.hour == begin.minute == end.hour == end.minute == 0:
        return f"{begin:%Y-%m-%d} – {end - pd.Timedelta(days=1):%m-%d}"
    return f"{begin:%m-%d %H:%M} – {end:%m-%d %H:%M}"
