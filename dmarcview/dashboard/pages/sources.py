"""Who sends in the name of the domains: a grid with pass bars, cards on a phone, a drawer with the evidence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dash_mantine_components as dmc
import pandas as pd
from dash import dcc, html

from dmarcview.dashboard import figures, parts, text, url, verdict
from dmarcview.dashboard.grid import grid

MOST_ROWS = 2_000  # in the grid; the export has all
MOST_CARDS = 60
LABELS = (
    ("own", "Ours", "One of our own servers"),
    ("third_party", "Third party", "A service that sends for us with our consent"),
    ("forwarder", "Forwarder", "Passes on mail that others received"),
    ("unknown", "Not ours", "Nobody here vouches for it"),
)
# the grid would take a column whose first cells look like days for one of days, and leave the others blank
_BAR = {"cellRenderer": "PassBar", "width": 118, "sortable": True, "filter": False}
_NUMBER = {"type": "rightAligned", "valueFormatter": {"function": "d3.format(',')(params.value)"}}
COLUMNS: list[dict[str, Any]] = [
    {
        "field": "name",
        "headerName": "Source",
        "cellRenderer": "InnerLink",
        "flex": 3,
        "minWidth": 250,
        "tooltipField": "source_ip",
    },
    {"field": "domain", "headerName": "Domain", "flex": 1, "minWidth": 124, "tooltipField": "domain"},
    {"field": "class_word", "headerName": "Class", "cellRenderer": "ClassChip", "width": 116},
    {"field": "messages", "headerName": "Messages", **_NUMBER, "width": 118, "sort": "desc"},
    {"field": "dmarc", "headerName": "DMARC", **_BAR},
    {"field": "dkim", "headerName": "DKIM", **_BAR},
    {"field": "spf", "headerName": "SPF", **_BAR},
    {
        "field": "delivered",
        "headerName": "Let through",
        "headerTooltip": "Failed DMARC and was delivered",
        **_NUMBER,
        "width": 116,
    },
]


def layout() -> list[Any]:
    """The skeleton: grid for wide screens, cards for narrow ones, the drawer."""
    return [
        parts.heading(
            "Sources",
            html.Span(id="sources-window", className="muted"),
            parts.csv_link("sources"),
        ),
        html.P(id="sources-words", className="lead"),
        html.Div(id="sources-empty"),
        *grid("sources", COLUMNS),
        dmc.Drawer(
            [
                html.Div(id="source-body"),
                html.Div(parts.graph("source-trend", "Messages a day of this source", figures.TREND_HEIGHT),
                         id="source-trend-box"),
                parts.twin("source-trend"),
                html.Div(id="source-labels"),
                html.P(id="label-said", role="status", className="muted"),
            ],
            id="source-drawer",
            title=html.Span("Source", id="source-title"),
            position="right",
            size="lg",
            opened=False,
            keepMounted=True,
            closeButtonProps={"aria-label": "Close"},
            padding="lg",
        ),
    ]  # fmt: skip


def rows(sources: pd.DataFrame, link: Callable[[str, str], str]) -> list[dict[str, Any]]:
    """Grid rows from the sources frame; everything that a stranger may have written is made safe to show."""
    out = []
    for row in sources.head(MOST_ROWS).to_dict("records"):
        total = int(row["messages"])
        name, ip = verdict.source_name(row), text.show(row["source_ip"], 45)
        href = link(str(row["domain"]), str(row["source_ip"]))
        out.append(
            {
                "id": href,  # the grid draws a known row with its old link, so each view has its own
                "href": href,
                "name": name,
                "source_ip": ip,
                "below": ip if name != ip else "no name known",
                "domain": text.show(row["domain"], 64),
                "class_key": row["source_class"] if row["source_class"] in parts.CLASS_NAMES else "unknown",
                "class_word": parts.CLASS_NAMES.get(row["source_class"], "Unknown"),
                "messages": total,
                **_rate("dmarc", row["dmarc_pass"], total),
                **_rate("dkim", row["dkim_aligned"], total),
                **_rate("spf", row["spf_aligned"], total),
                "delivered": int(row["delivered"]),
            }
        )
    return out


def cards(sources: pd.DataFrame, link: Callable[[str, str], str]) -> list[html.Li]:
    """The same as cards, for phones."""
    out = []
    for row in sources.head(MOST_CARDS).to_dict("records"):
        total = int(row["messages"])
        out.append(
            html.Li(
                [
                    html.Div(
                        [
                            dcc.Link(
                                verdict.source_name(row),
                                href=link(str(row["domain"]), str(row["source_ip"])),
                                className="item-title",
                            ),
                            parts.class_chip(row["source_class"]),
                        ],
                        className="card-line",
                    ),
                    html.P(
                        f"{text.show(row['source_ip'], 45)} · {text.show(row['domain'], 64)} · {text.messages(total)}",
                        className="muted",
                    ),
                    parts.pass_bar("DMARC", row["dmarc_pass"], total),
                    parts.pass_bar("DKIM", row["dkim_aligned"], total),
                    parts.pass_bar("SPF", row["spf_aligned"], total),
                ]
            )
        )
    if len(sources) > MOST_CARDS:
        out.append(html.Li(f"{len(sources) - MOST_CARDS} more: narrow the filters or take the CSV.", className="muted"))
    return out


def words(sources: pd.DataFrame) -> str:
    """One line that says what the grid holds."""
    if sources.empty:
        return ""
    total = int(sources["messages"].sum())
    count = len(sources)
    cut = f" The {MOST_ROWS:,} largest are shown; the CSV has all." if count > MOST_ROWS else ""
    return f"{text.number(count)} source{'' if count == 1 else 's'}, {text.messages(total)}.{cut}"


def evidence(row: dict[Any, Any] | None, reporters: pd.DataFrame, identities: pd.DataFrame) -> list[Any]:
    """The drawer: who is it, what it sends as, how it fares, who says so.

    `row`: the source's row of the sources frame with its ledger facts (None when the filters hide it);
    `reporters`: `submitter`, `messages`, `dmarc_pass`, `dkim_aligned`, `spf_aligned`;
    `identities`: `header_from`, `envelope_from`, `dkim_domain`, `selector`, `spf_domain`, `dkim_aligned`,
    `spf_aligned`, `disposition`, `messages`, the largest first.
    """
    if row is None:
        return [html.P("This source sent nothing in this period. Choose a longer one to see it.")]
    total = int(row["messages"])
    out: list[Any] = [
        html.Div(
            [parts.class_chip(row["source_class"], row.get("by") == "user"), html.Span(text.messages(total))],
            className="drawer-top",
        ),
        html.H3("Who is it"),
        parts.pairs(
            [
                ("Address", parts.code(row["source_ip"])),
                ("Name in DNS", text.show(row.get("reverse_dns")) or "no confirmed name known"),
                ("Service", text.show(row.get("service"))),
                ("Network", _network(row)),
                ("Country", text.show(row.get("country"), 4)),
                ("Seen", f"{_day(row.get('first_seen'))} to {_day(row.get('last_seen'))}"),
                ("Why this class", _reasons(row)),
            ]
        ),
        html.H3("How its mail fares"),
        parts.pass_bar("DMARC", row["dmarc_pass"], total),
        parts.pass_bar("DKIM", row["dkim_aligned"], total),
        parts.pass_bar("SPF", row["spf_aligned"], total),
        html.P(
            f"{text.number(row['delivered'])} failed and were delivered, {text.number(row['blocked'])} were "
            "quarantined or rejected.",
            className="muted",
        ),
    ]
    if row["dmarc_pass"] < total and row["source_class"] in ("own", "third_party"):
        why, action = verdict.cause({**row, "failing": total - int(row["dmarc_pass"])})
        out.append(html.Div([parts.mark("watch"), html.Div([html.P(why), html.P(action)])], className="advice"))
    if len(identities):
        out += [html.H3("Alignment: the three identifiers"), *_alignment(identities)]
    if len(reporters):
        out += [
            html.H3("Who reported it"),
            parts.table(
                ["Reporter", "Messages", "DMARC", "DKIM", "SPF"],
                [
                    [
                        text.show(r["submitter"], 40),
                        text.number(r["messages"]),
                        *(text.share(r[k], r["messages"]) for k in ("dmarc_pass", "dkim_aligned", "spf_aligned")),
                    ]
                    for r in reporters.head(20).to_dict("records")
                ],
                caption="This source by reporter",
                numeric=1,
            ),
        ]
    out.append(html.H3("Day by day"))
    return out


def trend_table(daily: pd.DataFrame) -> Any:
    """The twin of the trend chart, newest day first; days without mail are left out."""
    rows = [
        [parts.day_cell(r), text.number(r["messages"]), text.number(r["dmarc_pass"]),
         text.number(r["messages"] - r["dmarc_pass"])]
        for r in daily[daily["messages"] > 0].iloc[::-1].to_dict("records")
    ]  # fmt: skip
    if not rows:
        return html.P("No message in this period.", className="muted")
    return parts.table(["Day", "Messages", "DMARC pass", "DMARC fail"], rows, caption="This source by day", numeric=1)


def label_buttons(current: str | None, by_user: bool, last: dict[str, Any] | None) -> list[Any]:
    """Four buttons that say whose it is; `last` is the label in force (author, at, source_class)."""
    said = "Classified by the rules. Your word overrides them and is remembered."
    if last:
        said = (
            f"Labelled {parts.CLASS_NAMES.get(str(last['source_class']), 'Unknown').lower()} "
            f"by {text.show(last['author'], 60)} on {last['at']:%d %b %Y %H:%M} UTC."
        )
    return [
        html.H3("Whose is it?"),
        html.P(said, className="muted", id="label-state"),
        html.Div(
            [
                html.Button(
                    word,
                    id={"type": "label", "class": key},
                    title=meaning,
                    n_clicks=0,
                    className="label-button" + (" label-on" if current == key else ""),
                    **parts.attributes({"aria-pressed": "true" if current == key else "false"}),
                )
                for key, word, meaning in LABELS
            ],
            className="label-buttons",
            role="group",
            **parts.attributes({"aria-label": "Whose is this source"}),
        ),
        html.Button("Forget my label", id={"type": "label", "class": "forget"}, n_clicks=0, className="quiet")
        if by_user
        else None,
    ]


def _alignment(identities: pd.DataFrame) -> list[Any]:
    out: list[Any] = [
        html.P(
            "DMARC asks whether the domain that people see matches the one that DKIM signed or the one that SPF "
            "checked.",
            className="muted",
        )
    ]
    for row in identities.head(5).to_dict("records"):
        out.append(
            html.Div(
                [
                    html.P([html.Span(text.messages(row["messages"]), className="strong"), f" · {_fate(row)}"]),
                    parts.pairs(
                        [
                            ("From (seen)", parts.code(row["header_from"])),
                            ("DKIM d=", _identifier(row["dkim_domain"], row["dkim_aligned"], row.get("selector"))),
                            ("SPF domain", _identifier(row["spf_domain"], row["spf_aligned"], None)),
                            ("Envelope", parts.code(row["envelope_from"]) if text.show(row["envelope_from"]) else ""),
                        ]
                    ),
                ],
                className="identity",
            )
        )
    return out


def _identifier(domain: Any, aligned: Any, selector: Any) -> Any:
    shown = text.show(domain, 80)
    if aligned is None or pd.isna(aligned):
        state, tone = "not stated", "plain"
    else:
        state, tone = ("aligned and passed", "good") if aligned else ("did not pass in alignment", "bad")
    name: list[Any] = [html.Code(shown)] if shown else [html.Span("none", className="muted")]
    if text.show(selector, 60):
        name.append(html.Span(f" selector {text.show(selector, 60)}", className="muted"))
    return html.Span(
        [*name, " ", parts.chip(("✓ " if tone == "good" else "✕ " if tone == "bad" else "") + state, tone)]
    )


def _fate(row: dict[Any, Any]) -> str:
    return {"none": "delivered", "pass": "delivered", "quarantine": "quarantined", "reject": "rejected"}.get(
        str(row["disposition"]), "treatment not stated"
    )


def _network(row: dict[Any, Any]) -> str:
    name, asn = text.show(row.get("as_name"), 60), row.get("asn")
    number = f"AS{int(asn)}" if asn is not None and asn == asn and not pd.isna(asn) else ""  # noqa: PLR0124
    return " ".join(part for part in (name, f"({number})" if name and number else number) if part)


def _reasons(row: dict[Any, Any]) -> Any:
    reasons = row.get("evidence") or []
    if isinstance(reasons, str):
        reasons = [reasons]
    lines = [text.show(r, 200) for r in list(reasons)[:6]]
    return html.Ul([html.Li(line) for line in lines], className="reasons") if lines else ""


def _rate(key: str, part: float, whole: float) -> dict[str, Any]:
    return {key: round(100 * part / whole, 2) if whole else None, f"{key}_shown": text.share(part, whole)}


def _day(value: Any) -> str:
    return "" if value is None or pd.isna(value) else f"{value:%Y-%m-%d}"


def address(prefix: str, view: url.View) -> Callable[[str, str], str]:
    """Makes the links that open the drawer of a source with the filters kept."""
    from dataclasses import replace

    def link(domain: str, ip: str) -> str:
        return url.href(prefix, "/sources", replace(view, source=(domain, ip)))

    return link
