"""Who confirms what was sent: coverage by receiver, those that send no reports, and how to say who reports for them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from dash import html

from dmarcview.dashboard import parts, text
from dmarcview.reconcile.words import KNOWN_BY

MOST_RECEIVERS = 30
MOST_SILENT = 12
MOST_GUESSED = 5  # receivers in the settings to copy
MOST_NAMED = 3  # reporters that are named
_PLAIN_NAME = re.compile(r"[a-z0-9._-]{1,253}")
ASK = "REPORTER"  # what the user has to fill in; as it stands, the settings refuse it and say where


def listed(found: pd.DataFrame, others: pd.DataFrame, said: Mapping[str, str]) -> Any:
    """Who confirms what; those that send no reports apart, with the settings that name a reporter for them.

    `others` are the findings; of these, organisations that report mail of ours and were sent none may be theirs.
    """
    sent_to = found[found["sent"] > 0]
    silent = sent_to[(sent_to["silent"] == sent_to["sent"]) & (sent_to["reported"] == 0)]
    telling = sent_to.drop(silent.index)
    if sent_to.empty:
        return html.P("The relay sent nothing in these days.", className="muted")
    rows = [
        [
            html.Div([html.Span(text.show(row["receiver"], 64), className="item-title"),
                      html.P(_known(row), className="muted small")]),
            _coverage(row), text.number(row["sent"]), text.number(row["reported"]), text.number(row["open"]),
        ]
        for row in telling.head(MOST_RECEIVERS).to_dict("records")
    ]  # fmt: skip
    heads = ["Receiver", "Coverage", "Sent", "Reported in all", "Awaited"]
    out: list[Any] = []
    if rows:
        out.append(parts.table(heads, rows, caption="Receivers that report, most mail first", numeric=2, stacked=True))
    if len(telling) > MOST_RECEIVERS:
        out.append(html.P(f"{len(telling) - MOST_RECEIVERS} more: narrow the filters.", className="muted small"))
    if len(silent):
        out.append(_silent(silent, others, said))
    return html.Div(out)


def _silent(silent: pd.DataFrame, others: pd.DataFrame, said: Mapping[str, str]) -> html.Div:
    names = [
        html.Li([text.show(row["receiver"], 64), html.Span(text.number(row["sent"]), className="muted")])
        for row in silent.head(MOST_SILENT).to_dict("records")
    ]
    if len(silent) > MOST_SILENT:
        rest = silent.iloc[MOST_SILENT:]
        names.append(
            html.Li([f"{text.number(len(rest))} more", html.Span(text.number(rest["sent"].sum()), className="muted")])
        )
    guessed = silent[[("guess" in known_by) for known_by in silent["known_by"]]]["receiver"].tolist()
    reporters = list(dict.fromkeys(others.loc[others["code"] == "other_receiver", "receiver"]))
    return html.Div(
        [
            html.H3("Send no reports; not counted"),
            html.Ul(names, className="silent", id="reconcile-silent"),
            _correction(guessed, reporters, said) if guessed else None,
        ]
    )


def _correction(guessed: Sequence[str], reporters: Sequence[str], said: Mapping[str, str]) -> Any:
    lines = correction(guessed, reporters, said)
    if lines is None:
        return None
    who = ", ".join(text.show(one, 64) for one in reporters[:MOST_NAMED])
    body = [
        html.P("These are named by their MX alone. When one of them does report, under another name, say so in the "
               "settings: keep the lines that you can fill in. A domain of recipients may stand on the left, too."),
        html.P(["Reports on your mail, and was sent none: ", html.Span(who, className="strong"), "."]) if who else None,
        html.Pre(lines, id="reconcile-settings"),
    ]  # fmt: skip
    return parts.folded("Does one of them report under another name?", html.Div(body, className="record"))


def correction(guessed: Sequence[str], reporters: Sequence[str], said: Mapping[str, str]) -> str | None:
    """The lines of the settings that name reporters, those that the user gave included; None when there is none."""
    plain = [name for name in guessed if _PLAIN_NAME.fullmatch(name)][:MOST_GUESSED]
    known_names = [name for name in reporters if _PLAIN_NAME.fullmatch(name)]
    if not plain:
        return None
    theirs = known_names[0] if len(known_names) == 1 and len(plain) == 1 else ASK
    lines = {**said, **dict.fromkeys(plain, theirs)}
    return "[reconcile.receivers]\n" + "\n".join(f'"{name}" = "{who}"' for name, who in lines.items())


def _known(row: dict[Any, Any]) -> str:
    """How a receiver was found, and how much of its mail went there before it had ever reported."""
    ways = ", ".join(KNOWN_BY.get(one, text.show(one, 20)) for one in row["known_by"])
    return f"{ways}; {text.number(row['silent'])} sent before its first report" if row["silent"] else ways


def _coverage(row: dict[Any, Any]) -> Any:
    if not row["counted"]:
        return html.Span("nothing complete yet", className="muted")
    words = f"{text.share(row['matched'], row['counted'])} of {text.number(row['counted'])}"
    bar = parts.interval_bar(row["coverage"], row["low"], row["high"], words)
    return html.Div([bar, html.Div(text.interval(row["low"], row["high"]), className="muted small interval")])
