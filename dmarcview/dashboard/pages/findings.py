"""What a comparison found: by kind, with what it means and what to check first, and each line's rows on both sides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import Any, NamedTuple

import pandas as pd
from dash import dcc, html

from dmarcview.dashboard import parts, text, url
from dmarcview.reconcile.answer import MOST_DOMAINS
from dmarcview.reconcile.receivers import names_of
from dmarcview.reconcile.words import CODES, NEW_CHECK, UNSENT_CODES, first_check

SHOWN, MOST_LINES = 5, 50  # lines of a kind that are open, and all that are drawn; the CSV has every row
MOST_TEXTS, MOST_KNOWN = 2, 8  # sentences of evidence of an address, and of a kind
MOST_NEW = 5  # new senders of a kind that are named
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
    for code, kind in CODES.items():
        lines = findings[findings["code"] == code]
        if lines.empty:
            continue
        table: Any = _table(lines, ways)
        if kind.calm:
            table = parts.folded(f"Show {_lines(len(lines))}", table)
        amount = text.messages(int(lines["messages"].sum()))
        shown.append(
            parts.entry(
                level(code), kind.title, amount, meaning=kind.meaning,
                first=first_check(code, lines["domain"].astype(str), lines["source_ip"].astype(str)),
                body=html.Div([*_new(lines), table]), id=f"finding-{code}",
            )
        )  # fmt: skip
    if not shown:
        words = "Both sides agree: nothing was reported that was not sent, and every signature held."
        return html.P([parts.mark("good"), words], className="calm", id="findings-none")
    return html.Ul(shown, className="entries")


def level(code: str) -> str:
    """How much a kind matters: bad, watch, or info."""
    return "info" if CODES[code].calm else "bad" if code == "dkim_broken" else "watch"


def ways(prefix: str, row: dict[str, Any], receivers: dict[str, dict[str, Any]]) -> Ways:
    """Where the rows of a finding are, on its days; `receivers` are the rows of `Reconciled.receivers` by name.

    What is in the log: those of its From, signature, address and receiver. What is in the reports: those of this
    reporter that tell of its address.
    """
    first, last = row["first_day"].date(), row["last_day"].date()
    days = url.View(since=first, until=last)
    sent = "" if row["code"] in UNSENT_CODES else url.href(prefix, "/sent", _mail(days, row, receivers))
    if not row["domain"]:
        return Ways(sent, "", "")
    told = replace(days, domain=row["domain"])
    source = replace(told, source=(row["domain"], row["source_ip"]))
    reports = replace(told, by=str(row["receiver"]), ip=str(row["source_ip"]))
    return Ways(sent, url.href(prefix, "/sources", source), url.href(prefix, "/reports", reports))


def receiving(found: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """The rows of `Reconciled.receivers` by name, as `ways` takes them."""
    return {str(row["receiver"]): {str(name): value for name, value in row.items()} for row in found.to_dict("records")}


def _mail(days: url.View, row: dict[str, Any], receivers: dict[str, dict[str, Any]]) -> url.View:
    view = replace(
        days, domain=row["header_from"], outcome="delivered", key=(str(row["dkim_domain"]), str(row["dkim_selector"])),
        ip=str(row["source_ip"]) if row["matched_by"] == "address" else None,  # behind NAT the log has another
    )  # fmt: skip
    taker = receivers.get(str(row["receiver"]))
    if taker is None or not len(taker["domains"]):  # it was sent nothing
        return view
    domains = url.names(",".join(taker["domains"]))
    if len(domains) == len(taker["domains"]) < MOST_DOMAINS:  # these are all
        return replace(view, rcpt=domains)
    return replace(view, host=url.names(",".join(name for host in taker["hosts"] for name in names_of(host))))


def _new(lines: pd.DataFrame) -> list[html.P]:
    """A sentence on each new sender of a kind."""
    keys = ["sender", "new_since"]
    fresh = lines[lines["new_since"].notna()].groupby(keys, as_index=False, sort=False)[["messages"]].sum()
    return [
        html.P([parts.chip("New", "watch"),
                f" {text.show(row['sender'], 64)} since {row['new_since'].day} {row['new_since']:%b}, "
                f"{text.messages(row['messages'])}. {NEW_CHECK}"])
        for row in fresh.head(MOST_NEW).to_dict("records")
    ]  # fmt: skip


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
        whole = ", from the reports of all days" if lines["code"].iloc[0] in UNSENT_CODES else ""
        body = html.Ul([html.Li(one) for one in known], className="evidence")
        out.append(parts.folded(f"How this is known{whole}", body))
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
    source: Any = parts.code(row["source_ip"], 45)
    if row["new_since"] == row["new_since"]:  # not NaT
        source = html.Span([source, " ", parts.chip("New", "watch", f"{text.show(row['sender'], 64)} is a new sender")])
    return [
        f"{text.number(row['messages'])}{of}",
        source,
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
