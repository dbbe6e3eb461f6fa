"""Sent against reported: one sentence, five numbers, both sides by day, what does not fit, and who confirms what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from dash import html

from dmarcview.dashboard import figures, parts, text, theme, verdict
from dmarcview.dashboard.pages import findings, overview, sent
from dmarcview.dashboard.reconcile import Compared
from dmarcview.query import Completeness
from dmarcview.query.complete import words as said
from dmarcview.reconcile import CODES
from dmarcview.reconcile.sums import Totals

MOST_SELECTORS = 12
EXPLAINED = ("elsewhere", "third_party", "forwarded")  # kinds of which it is known who sent
BROKEN_PARTS = 100  # one signature in so many: then it is no accident of one message


def layout() -> list[Any]:
    """The skeleton; every piece keeps its last content while the next is fetched."""
    return [
        parts.heading("Reconcile", html.Span(id="reconcile-window", className="muted"), parts.csv_link("reconcile")),
        html.P(id="reconcile-words", className="lead"),
        html.Div(id="reconcile-verdict", **parts.attributes({"aria-live": "polite"})),
        html.Div(id="reconcile-empty"),
        html.Div(
            [
                html.Div(id="reconcile-tiles", className="tiles tiles-many"),
                html.Div([html.Div([_chart_card()], className="column"), html.Div(_side_cards(), className="column")],
                         className="split"),
                parts.card(
                    "What does not fit",
                    html.Div(id="reconcile-findings"),
                    note="Each kind with what it means and the first thing to check. The links lead to the rows on "
                         "both sides.",
                ),
                parts.card(
                    "Coverage by receiver",
                    html.Div(id="reconcile-receivers"),
                    note="Of what each accepted on complete days, the share that is in its reports. The thin line is "
                         "the 95 % interval.",
                ),
                html.Div(id="reconcile-probes"),
            ],
            id="reconcile-all",
            className="reconcile-all",
            hidden=True,  # until there is something
        ),
    ]  # fmt: skip


def _chart_card() -> html.Section:
    return parts.card(
        "Sent and reported by day",
        [
            html.Div(id="reconcile-legend"),
            parts.graph("reconcile-chart", "Messages sent and reported by day", figures.AREA_HEIGHT),
            parts.twin("reconcile-chart"),
        ],
        note="The line meets the blue bars where reports confirm all. Hatched days are not complete and not counted.",
    )


def _side_cards() -> list[html.Section]:
    return [
        parts.card("Is it all in?", html.Div(id="reconcile-open"),
                   note="Reports come days later. A day waits for each reporter as long as that one used to be late, "
                        "and no more for one that has stopped."),
        parts.card("By selector", html.Div(id="reconcile-selectors"),
                   note="Keys that the relay signed with, and how often the signature was not good."),
    ]  # fmt: skip


def sentence(found: Compared) -> html.Div:
    """The verdict as a banner."""
    told = judge(found)
    return html.Div(
        [parts.mark(told.level), html.Div([html.P(told.sentence), html.P(told.detail) if told.detail else None])],
        className=f"verdict verdict-{told.level}",
    )


def judge(found: Compared) -> verdict.Verdict:
    """One sentence on the whole comparison."""
    now = found.totals
    watched = [
        f"{kind.title[0].lower()}{kind.title[1:]} ({text.number(count)})"
        for code, kind in CODES.items()
        if findings.level(code) == "watch" and (count := findings.total(found.findings, code))
    ]
    detail = f"To look at: {'; '.join(watched)}." if watched else ""
    if not now.sent:
        words = f"The relay sent nothing in these days, and reports tell of {text.messages(now.reported)}."
        return verdict.Verdict("watch" if watched else "none", words, detail)
    if not now.counted:
        words = f"{text.messages(now.sent)} left, and of none the reports are complete yet."
        waits = f"{text.number(now.open)} wait for reports; {text.number(now.silent)} went to receivers that send none."
        return verdict.Verdict("none", words.capitalize(), waits)
    held = ", and every signature of ours held"
    if now.dkim_fail:
        held = f", but {text.number(now.dkim_fail)} of {text.number(now.signed)} came without a good signature of ours"
    words = (
        f"Reports confirm {text.share(now.matched, now.counted)} of the {text.messages(now.counted)} that went to "
        f"receivers that report{held if now.signed else ''}."
    )
    broken = now.dkim_fail * BROKEN_PARTS >= now.signed and now.dkim_fail > 0
    return verdict.Verdict("bad" if broken else "watch" if watched or now.dkim_fail else "good", words, detail)


def tiles(found: Compared) -> list[html.Div]:
    """The five numbers with their denominators."""
    now = found.totals
    explained = sum(findings.total(found.findings, code) for code in EXPLAINED)
    if now.coverage is None or now.low is None or now.high is None:
        counted = "nothing is complete yet"
    else:
        counted = f"of {text.number(now.counted)} counted; interval {text.interval(now.low, now.high)}"
    return [
        parts.tile("reconcile-sent", "Sent", text.number(now.sent), plain=now.sent,
                   whole=f"{text.number(now.open)} awaited, {text.number(now.silent)} to receivers without reports"),
        parts.tile("reconcile-reported", "Reported", text.number(now.reported), plain=now.reported,
                   whole=f"{text.number(now.reported - now.unsent)} of them fit what was sent"),
        parts.tile("reconcile-coverage", "Coverage", text.share(now.matched, now.counted),
                   plain=100 * (now.coverage or 0), whole=counted),
        parts.tile("reconcile-broken", "Signed, but failing", text.number(now.dkim_fail), plain=now.dkim_fail,
                   whole=f"of {text.number(now.signed)} reported that we signed"),
        parts.tile("reconcile-unsent", "Reported, never sent", text.number(now.unsent), plain=now.unsent,
                   whole=f"{text.number(explained)} of them by services of yours and forwarders"),
    ]  # fmt: skip


def legend(daily: pd.DataFrame) -> Any:
    """Names of the bars and lines that are drawn."""
    shown = [one for one in theme.COMPARED if daily[one.key].any()]
    names = {one.key: one.name + (", below" if one.key == "unsent" else "") for one in shown}
    return parts.legend([(names[one.key], f"compared-{one.key}", one.means) for one in shown])


def table(daily: pd.DataFrame) -> Any:
    """The twin of the chart, newest day first; days without mail are left out."""
    some = daily[(daily["sent"] > 0) | (daily["reported"] > 0)].iloc[::-1]
    if some.empty:
        return html.P("Nothing was sent or reported in this period.", className="muted")
    rows = [
        [f"{one['day']:%Y-%m-%d}" + ("" if one["complete"] else " (not complete)"),
         *(text.number(one[key.key]) for key in theme.COMPARED)]
        for one in some.to_dict("records")
    ]  # fmt: skip
    heads = ["Day", *(one.name for one in theme.COMPARED)]
    return parts.table(heads, rows, caption="Messages sent and reported by day", numeric=1)


def open_days(days: Sequence[Completeness], now: Totals) -> Any:
    """How much of each open day is in, newest first."""
    if not days:
        words = "Every day of the period is complete." if now.sent else "Nothing was sent, so nothing is awaited."
        if now.open:
            words += f" Of {text.messages(now.open)} a receiver that keeps no day open may still report."
        return html.P([parts.mark("good" if now.sent else "none"), words], className="calm")
    return html.Ul([html.Li(day_words(day)) for day in reversed(days)], className="reasons small")


def day_words(day: Completeness) -> str:
    """`27 Nov is 93 % in; usual reporters 6 of 7, bigmail.example late.`"""
    name, told = f"{day.day.day} {day.day:%b}", said(day, lambda who: text.show(who, 64))
    return f"{name} is {told}." if day.expected else f"{name} is open: {told}."


def selectors(found: pd.DataFrame) -> Any:
    """One row a key."""
    if found.empty:
        return html.P("The relay sent nothing in these days.", className="muted")
    rows = [
        [findings.signer(row), text.number(row["sent"]), text.number(row["reported"]),
         html.Span(text.number(row["dkim_fail"]), className="failing" if row["dkim_fail"] else None)]
        for row in found.head(MOST_SELECTORS).to_dict("records")
    ]  # fmt: skip
    more = len(found) - MOST_SELECTORS
    return html.Div(
        [
            parts.table(
                ["Signed by", "Sent", "Reported", "DKIM fail"], rows, caption="Keys, most mail first", numeric=1
            ),
            html.P(f"{more} more are in the CSV.", className="muted small") if more > 0 else None,
        ]
    )


def comparing() -> html.Div:
    """Said while the first comparison runs."""
    return html.Div(
        [html.Span(className="busy", **parts.attributes({"aria-hidden": "true"})),
         "Comparing what was sent with what was reported. A large log takes some seconds."],
        className="awaited waiting", role="status",
    )  # fmt: skip


def words(result: str | None) -> str:
    """What else is to be known of the numbers."""
    return "" if result is None else "The filter by result does not apply here: a comparison takes all."


def nothing_sent(watched: tuple[str, ...], relay: bool) -> html.Div:
    """Nothing was ever sent: what this page would tell, and what to do."""
    if not relay:
        return html.Div([_purpose(), sent.nothing_sent(watched)], className="reconcile-all")
    return parts.empty(
        "The relay has not sent anything yet",
        html.P("This page holds what the relay sent against what receivers report of it. The relay is set up, and its "
               "log is empty. Point a program at 127.0.0.1, port 2526, or send one mail by hand:"),
        html.Pre("dmarcview test YOU@EXAMPLE.COM"),
        html.P("dmarcview queue shows what waits, and dmarcview doctor looks at the relay, too."),
    )  # fmt: skip


def _purpose() -> html.P:
    return html.P(
        "This page holds what your relay sent against what receivers report: how much they confirm, which signatures "
        "broke on the way, and what was sent in your name past the relay. It needs both sides, and there is no relay "
        "here yet.",
        className="lead",
    )


def nothing_reported(watched: tuple[str, ...], address: str) -> html.Div:
    """Mail was sent, and nobody has reported yet."""
    lead = "Mail was sent, and nothing is reported of it yet, so there is nothing to compare."
    return html.Div([html.P(lead, className="lead"), overview.no_data(watched, address)], className="reconcile-all")
