"""One report: what it says in people's words, its records, what was repaired, and the XML as it came."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import dash_mantine_components as dmc
import pandas as pd
from dash import dcc, html

from dmarcview.dashboard import parts, text
from dmarcview.dashboard.pages import probes, reports

if TYPE_CHECKING:
    from dmarcview.reconcile.probes import Followed, Told

Counted = Sequence[tuple["Followed", "Told"]]  # probes, each with the rows of this report that count it
MOST_RECORDS = 500
MOST_WARNINGS = 200
XML_SHOWN = 200_000  # characters; the download has all
POLICIES = {"none": "none (watch only)", "quarantine": "quarantine", "reject": "reject"}
ALIGNMENT = {"r": "relaxed", "s": "strict"}


def layout(key: str, back: str) -> list[Any]:
    """The skeleton of one report's page."""
    return [
        dcc.Store(id="report-key", data=key),
        dcc.Link("‹ All reports", href=back, className="back", id="report-back"),
        html.Div(id="report-body"),
        html.Div(
            [
                html.Button("Show raw XML", id="raw-button", className="quiet", n_clicks=0),
                html.Div(id="raw-body"),
            ],
            className="card",
            id="raw-card",
        ),
    ]


def missing(key: str) -> list[Any]:
    """No such report."""
    return [
        parts.heading("Report not found"),
        html.P(["There is no report with the key ", parts.code(key, 64), ". It may have been pruned."]),
    ]


def body(facts: dict[Any, Any], records: pd.DataFrame, download: str, counted: Counted = ()) -> list[Any]:
    """The page of one report.

    `facts`: its row of the reports frame with the report's columns, `warning_list` (code, where), `errors`,
    `auth_detail`; `records`: its rows with the public columns, the largest first; `counted`: the probes that it counts.
    """
    words, tone, meaning = reports.standing(facts)
    noun = "record" if facts["records"] == 1 else "records"
    out: list[Any] = [
        parts.heading(
            f"{reports.reporter(facts)} on {text.show(facts['domain'], 64)}",
            html.A([parts.icon("download"), "XML"], href=download, className="quiet", id="raw-download"),
        ),
        html.P(
            [
                parts.chip(words, tone),
                html.Span(
                    f" {text.messages(facts['messages'])} in {text.number(facts['records'])} {noun}, "
                    f"{text.share(facts['dmarc_pass'], facts['messages'])} passed DMARC. {meaning}"
                ),
            ],
            className="lead",
        ),
        probes.said(counted),
        html.Div(
            [
                parts.card("The report", parts.pairs(_report(facts))),
                parts.card("The policy it saw", parts.pairs(_policy(facts))),
            ],
            className="halves",
        ),
    ]
    warnings = list(facts.get("warning_list") or [])
    errors = [text.show(e, 300) for e in (facts.get("errors") or [])]
    if warnings or errors or facts.get("truncated"):
        out.append(parts.card("Repairs and warnings", _warnings(warnings, errors, bool(facts.get("truncated")))))
    out.append(
        parts.card(
            "Records",
            record_table(records, counted)
            if len(records)
            else html.P("This report has no record: the reporter saw no mail.", className="muted"),
            note=f"The {MOST_RECORDS} largest of {text.number(len(records))}; the export has all."
            if len(records) > MOST_RECORDS
            else "",
        )
    )
    return out


def record_table(records: pd.DataFrame, counted: Counted = ()) -> Any:
    """Every record in a row; identifiers keep their results beside them. On a phone each row becomes a card.

    Those that count a probe are marked.
    """
    heads = ("Source", "Messages", "From", "DKIM", "SPF", "DMARC", "Treated")
    rows = [
        html.Tr(
            [
                html.Td(cell, **parts.attributes({"data-head": head}), className="num" if head == "Messages" else None)
                for head, cell in zip(heads, _record(row, counted), strict=True)
            ]
        )
        for row in records.head(MOST_RECORDS).to_dict("records")
    ]
    return html.Div(
        html.Table(
            [
                html.Caption("Records of this report", className="sr"),
                html.Thead(html.Tr([html.Th(h, scope="col", className="num" if h == "Messages" else None)
                                    for h in heads])),
                html.Tbody(rows),
            ],
            className="stacked",
        ),
        className="table-box",
        tabIndex=0,
        role="region",
        **parts.attributes({"aria-label": "Records of this report"}),
    )  # fmt: skip


def raw(xml: str | None) -> Any:
    """The XML as text; React writes it as text, so markup in it stays inert."""
    if xml is None:
        return html.P("The raw report is no longer in the archive.", className="muted")
    shown = text.document(xml[:XML_SHOWN])
    cut = html.P(f"The first {XML_SHOWN:,} characters; the download has all.", className="muted")
    return html.Div([cut if len(xml) > XML_SHOWN else None, html.Pre(shown, id="raw-xml", tabIndex=0)])


def _report(facts: dict[Any, Any]) -> list[tuple[str, Any]]:
    return [
        ("Reporter", text.show(facts.get("org_name"))),
        ("Mails from", parts.code(facts["submitter"])),
        ("Contact", text.show(facts.get("org_email"))),
        ("Report id", parts.code(facts["report_id"], 200)),
        ("Begin", f"{facts['begin']:%Y-%m-%d %H:%M:%S} UTC, included"),
        ("End", f"{facts['end']:%Y-%m-%d %H:%M:%S} UTC, excluded"),
        ("Received", f"{facts['received']:%Y-%m-%d %H:%M:%S} UTC"),
        ("Report mail", _auth(facts)),
        ("Schema", text.show(facts.get("schema"))),
        ("Made by", text.show(facts.get("generator"))),
    ]


def _policy(facts: dict[Any, Any]) -> list[tuple[str, Any]]:
    pct = facts.get("pct")
    return [
        ("Domain", parts.code(facts["domain"])),
        ("Policy (p)", _word(facts.get("p"), POLICIES) or "not stated"),
        ("Subdomains (sp)", _word(facts.get("sp"), POLICIES)),
        ("No such name (np)", _word(facts.get("np"), POLICIES)),
        ("DKIM alignment", _word(facts.get("adkim"), ALIGNMENT)),
        ("SPF alignment", _word(facts.get("aspf"), ALIGNMENT)),
        ("Applied to (pct)", f"{int(pct)}%" if pct is not None and not pd.isna(pct) else ""),
        ("Only tested (t)", {True: "yes", False: "no"}.get(facts.get("testing"), "")),  # type: ignore[arg-type]
        ("Failure options", text.show(facts.get("fo"))),
        ("Found by", text.show(facts.get("discovery_method"))),
    ]


def _auth(facts: dict[Any, Any]) -> str:
    said = {
        "pass": "verified: it really comes from the reporter",
        "fail": "failed verification",
        "none": "carries nothing to verify it by",
        "unknown": "imported from a file; nothing to verify",
    }.get(str(facts["auth"]), text.show(facts["auth"], 20))
    detail = text.show(facts.get("auth_detail"), 300)
    return f"{said} ({detail})" if detail else said


def _word(value: Any, words: dict[str, str]) -> str:
    return words.get(str(value), text.show(value, 30)) if isinstance(value, str) and value else ""


def _warnings(warnings: list[Any], errors: list[str], truncated: bool) -> Any:
    lines = []
    if truncated:
        lines.append(html.Li("The file was cut; the whole records before the cut are kept."))
    lines += [html.Li(["The reporter says: ", html.Code(e)]) for e in errors[:20]]
    counted: dict[str, list[str]] = {}
    for code, where in warnings:
        counted.setdefault(str(code), []).append(str(where))
    for code, places in list(counted.items())[:MOST_WARNINGS]:
        shown = ", ".join(text.show(p, 60) for p in places[:5]) + (
            f" and {len(places) - 5} more" if len(places) > 5 else ""
        )
        lines.append(html.Li([html.Code(text.show(code, 60)), f" {shown}"]))
    return html.Ul(lines, className="warnings")


def _record(row: dict[Any, Any], counted: Counted) -> list[Any]:
    source: Any = html.Code(text.show(row["source_ip"], 45))
    if probes.counts(counted, row):
        source = _lines([source, parts.chip("counts a probe", "good")])
    overrides = [text.show(o, 40) for o in _list(row.get("override_types"))]
    return [
        source,
        text.number(row["count"]),
        _lines([text.show(row["header_from"], 64), _faint("envelope ", row.get("envelope_from"))]),
        _lines([_result(row.get("dkim_aligned")), *(_dkim(d) for d in _list(row.get("dkim"))[:4])]),
        _lines([_result(row.get("spf_aligned")), *(_spf(s) for s in _list(row.get("spf"))[:2])]),
        _result(row.get("dmarc_pass")),
        _lines([text.show(row.get("disposition"), 20) or "not stated", *(_faint("", o) for o in overrides[:3])]),
    ]


def _result(value: Any) -> html.Span:
    if value is None or value is pd.NA or value != value:  # noqa: PLR0124 -- NaN
        return parts.chip("not stated")
    return parts.chip("✓ pass", "good") if value else parts.chip("✕ fail", "bad")


def _dkim(result: Any) -> Any:
    domain, selector, outcome = (
        text.show(_field(result, k, i), 60) for i, k in enumerate(("domain", "selector", "result"))
    )
    return html.Span(
        f"{outcome or '?'}: {domain or 'no domain'}" + (f" ({selector})" if selector else ""), className="muted"
    )


def _spf(result: Any) -> Any:
    domain, scope, outcome = (text.show(_field(result, k, i), 60) for i, k in enumerate(("domain", "scope", "result")))
    return html.Span(
        f"{outcome or '?'}: {domain or 'no domain'}" + (" (helo)" if scope == "helo" else ""), className="muted"
    )


def _field(result: Any, key: str, place: int) -> Any:
    return result.get(key) if isinstance(result, dict) else result[place]


def _list(value: Any) -> list[Any]:
    return [] if value is None or isinstance(value, float) else list(value)


def _faint(before: str, value: Any) -> Any:
    shown = text.show(value, 64)
    return html.Span(before + shown, className="muted") if shown else None


def _lines(items: list[Any]) -> html.Div:
    return html.Div([html.Div(item) for item in items if item], className="lines")


def loading() -> dmc.Skeleton:
    """Holds the place while a report is fetched."""
    return dmc.Skeleton(height=320)
