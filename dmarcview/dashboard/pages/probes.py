"""The probes of `dmarcview test loop`: a list of the newest, and the marks in the report that counts one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from dash import dcc, html

from dmarcview.dashboard import parts, text

if TYPE_CHECKING:
    from dmarcview.reconcile.probes import Followed, Told

TONES = {"reported": "good", "failed": "bad", "expired": "bad", "overdue": "watch", "deferred": "watch",
         "not sent": "watch"}  # fmt: skip
STATES = {"unexpected": "no reports"}  # the others are words already
NOTE = (
    "Mails of `dmarcview test loop`. A report names no mail: what is found is the row that counts it, as one of its "
    "messages."
)

Link = Callable[[str], str]  # key of a report: its address


def listed(found: Sequence[Followed], link: Link) -> Any:
    """A card of them, newest first; None without any."""
    from dmarcview.reconcile.probe_words import moment

    if not found:
        return None
    rows = [
        [
            html.Div([moment(one.probe.at), " ", parts.code(one.probe.tag, 40)]),
            html.Span(text.show(one.probe.recipient, 64), className="breaks"),
            parts.chip(STATES.get(one.state, one.state), TONES.get(one.state, "plain")),
            _known(one, link),
        ]
        for one in found
    ]
    table = parts.table(
        ["Sent (UTC)", "To", "State", "What is known"], rows, caption="Probes, newest first", stacked=True
    )
    return parts.card("Probes", table, note=parts.marked(NOTE), id="reconcile-probes-card")


def in_report(found: Sequence[Followed], key: str) -> list[tuple[Followed, Told]]:
    """The probes that a report counts, with its rows that count them."""
    return [(one, told) for one in found for told in one.reports if told.report_key == key]


def said(counted: Sequence[tuple[Followed, Told]]) -> Any:
    """The line of a report that counts probes; None when it counts none."""
    from dmarcview.reconcile.probe_words import moment

    if not counted:
        return None
    lines = [
        html.Li(
            [
                "Counts the probe ", parts.code(one.probe.tag, 40),
                f" of {moment(one.probe.at)} UTC to {text.show(one.probe.recipient, 64)}: 1 of the "
                f"{text.messages(told.messages)} from {text.show(told.source_ip, 45)}, marked below.",
            ]
        )
        for one, told in counted
    ]  # fmt: skip
    return html.Ul(lines, className="reasons small", id="report-probes")


def counts(counted: Sequence[tuple[Followed, Told]], row: dict[Any, Any]) -> bool:
    """Is a record of this report one of those that count a probe? By its address, From domain and signatures."""
    where = (row["source_ip"], str(row["header_from"]).lower())
    named = {(str(one["domain"] or "").lower(), str(one["selector"] or "").lower()) for one in row["dkim"]} or {
        ("", "")
    }
    return any(where == (told.source_ip, one.probe.from_domain) and named & {*told.signers} for one, told in counted)


def _known(one: Followed, link: Link) -> html.Div:
    from dmarcview.reconcile.probe_words import counted, known

    lines: list[Any] = [html.Div(text.show(line, 300)) for line in known(one)]
    for told in one.reports:
        whose, share = counted(told)
        name = dcc.Link(text.show(whose.rstrip(","), 120), href=link(told.report_key))
        lines += [html.Div(name), html.Div(text.show(share, 300))]
    return html.Div(lines, className="lines")
