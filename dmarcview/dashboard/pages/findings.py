"""What a comparison found: by kind, with what it means and what to check first, and each line's rows on both sides."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import Any, NamedTuple

import pandas as pd
from dash import dcc, html

from dmarcview.dashboard import parts, text, url
from dmarcview.reconcile import CODES

SHOWN, MOST_LINES = 5, 50  # lines of a kind that are open, and all that are drawn; the CSV has every row
MOST_TEXTS, MOST_KNOWN = 2, 8  # sentences of evidence of an address, and of a kind
WATCH, NOTE = "watch", "info"
_PLAIN = re.compile(r"[0-9A-Za-z.:_-]{1,253}")  # what can stand in a command as it is
# (level, name) of each kind
NAMES: dict[str, tuple[str, str]] = {
    "dkim_broken": ("bad", "Signed by us, reported without a good signature"),
    "spf_missed": (WATCH, "Sent by us, and SPF did not pass"),
    "bypass": (WATCH, "Past the relay"),
    "elsewhere": (NOTE, "Domains that the relay does not send for"),
    "unknown_sender": (WATCH, "A sender that you have not named"),
    "forged": (NOTE, "Never sent, and nothing passed"),
    "more_reported": (WATCH, "More reported than sent"),
    "other_receiver": (WATCH, "Reported by somebody who was sent nothing"),
    "unreported": (WATCH, "Left out of the reports"),
    "third_party": (NOTE, "Services that send for you"),
    "forwarded": (NOTE, "Passed on by others"),
}
EXPLAINED = ("elsewhere", "third_party", "forwarded")
HEADS = ("Messages", "Sent from", "From", "Signed by", "Receiver", "Days", "Rows")


class Ways(NamedTuple):
    """The rows of a finding: the page Sent, the source's drawer, and the reports; "" where there is no such place."""

    sent: str
    source: str
    reports: str


def total(findings: pd.DataFrame, code: str) -> int:
    """Messages of one kind."""
    return int(findings.loc[findings["code"] == code, "messages"].sum())


def listed(findings: pd.DataFrame, ways: Callable[[dict[str, Any]], Ways]) -> Any:
    """The kinds that there are: what wants an action first, what is explained last."""
    shown = []
    for code in sorted(CODES, key=lambda one: NAMES[one][0] == NOTE):
        lines = findings[findings["code"] == code]
        if lines.empty:
            continue
        level, name = NAMES[code]
        table: Any = _table(lines, ways)
        if level == NOTE:
            table = parts.folded(f"Show {_lines(len(lines))}", table)
        amount = text.messages(int(lines["messages"].sum()))
        check = _concrete(CODES[code].check, lines)
        shown.append(
            parts.entry(level, name, amount, meaning=CODES[code].meaning, first=check, body=table, id=f"finding-{code}")
        )
    if not shown:
        words = "Both sides agree: nothing was reported that was not sent, and every signature held."
        return html.P([parts.mark("good"), words], className="calm", id="findings-none")
    return html.Ul(shown, className="entries")


def ways(prefix: str, row: dict[str, Any], domains: dict[str, list[str]]) -> Ways:
    """Where the rows of a finding are, on its days; `domains` are those of recipients by receiver."""
    first, last = row["first_day"].date(), row["last_day"].date()
    days = url.View(since=first, until=last)
    to = domains.get(str(row["receiver"]), [])
    mail = replace(days, domain=row["header_from"], outcome="delivered", rcpt=to[0] if len(to) == 1 else None)
    sent = url.href(prefix, "/sent", mail)
    if not row["domain"]:
        return Ways(sent, "", "")
    told = replace(days, domain=row["domain"])
    source = replace(told, source=(row["domain"], row["source_ip"]))
    return Ways(sent, url.href(prefix, "/sources", source), url.href(prefix, "/reports", told))


def _table(lines: pd.DataFrame, ways: Callable[[dict[str, Any]], Ways]) -> html.Div:
    rows = []
    for row in lines.head(MOST_LINES).to_dict("records"):
        named = {str(key): value for key, value in row.items()}
        rows.append(_line(named, ways(named)))
    caption = "Findings, most messages first"
    out: list[Any] = [parts.table(HEADS, rows[:SHOWN], caption=caption, stacked=True)]
    if len(rows) > SHOWN:
        more = parts.table(HEADS, rows[SHOWN:], caption=caption, stacked=True)
        out.append(parts.folded(f"Show {_lines(len(rows) - SHOWN, 'more ')}", more))
    if len(lines) > MOST_LINES:
        out.append(html.P(f"{text.number(len(lines) - MOST_LINES)} more are in the CSV.", className="muted small"))
    if known := _evidence(lines):
        out.append(parts.folded("How this is known", html.Ul([html.Li(one) for one in known], className="evidence")))
    return html.Div(out)


def _evidence(lines: pd.DataFrame) -> list[str]:
    """What is known of the first addresses, each sentence once."""
    told: dict[str, None] = {}
    for address, texts in zip(lines["source_ip"], lines["evidence"], strict=True):
        for one in texts[:MOST_TEXTS]:
            told[f"{text.show(address, 45)}: {text.show(one, 200)}"] = None
        if len(told) >= MOST_KNOWN:
            break
    return list(told)[:MOST_KNOWN]


def _concrete(check: str, lines: pd.DataFrame) -> str:
    """The check with the domain and the address in its commands, where all lines have the same."""
    for word, column in (("DOMAIN", "domain"), ("ADDRESS", "source_ip")):
        values = lines[column].unique()
        if len(values) == 1 and _PLAIN.fullmatch(str(values[0])):
            check = check.replace(f" {word}", f" {values[0]}")
    return check


def _line(row: dict[str, Any], to: Ways) -> list[Any]:
    of = "" if row["messages"] == row["total"] else f" of {text.number(row['total'])}"
    links = [
        dcc.Link(word, href=href, title=title, className="way")
        for word, href, title in (
            ("Sent", to.sent, "What the relay sent on these days"),
            ("Source", to.source, "Who this address is, and what each reporter says of it"),
            ("Reports", to.reports, "The reports of these days"),
        )
        if href
    ]
    return [
        f"{text.number(row['messages'])}{of}",
        parts.code(row["source_ip"], 45),
        text.show(row["header_from"], 64),
        signer(row),
        text.show(row["receiver"], 64),
        days(row["first_day"].date(), row["last_day"].date()),
        html.Div(links, className="ways"),
    ]


def signer(row: dict[Any, Any]) -> str:
    """`example.org, s1`: domain and selector of a signature."""
    if not row["dkim_domain"]:
        return "nobody"
    return f"{text.show(row['dkim_domain'], 64)}, {text.show(row['dkim_selector'], 40)}"


def days(first: date, last: date) -> str:
    """The days of a finding, the month said once: `3 Nov` for a single one."""
    if first == last:
        return f"{last.day} {last:%b}"
    begin = f"{first.day}" if (first.year, first.month) == (last.year, last.month) else f"{first.day} {first:%b}"
    return f"{begin} – {last.day} {last:%b}"


def _lines(count: int, more: str = "") -> str:
    return f"{text.number(count)} {more}line{'' if count == 1 else 's'}"
