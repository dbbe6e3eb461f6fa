"""What the rules of alerts would have said on the store's own past, by threshold, and the line that sets one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dash import html

from dmarcview.alerts import text as words_of
from dmarcview.dashboard import parts, text

if TYPE_CHECKING:
    from dmarcview.alerts.backtest import Backtest, Line

MOST_ALARMS = 50
HOW = (
    "Put a line below `[alerts]` in the settings; it counts from the next start of dmarcview on. Days to alarm: the "
    "median, from the first day of an incident."
)
HEADS = ("Line for the settings", "Incidents", "A domain and month", "Days to alarm", "")


def running() -> html.Div:
    """Said while it is made."""
    return html.Div(
        [parts.hidden(None, "busy"), "Judging each day anew. A large store takes a while."],
        className="awaited waiting", role="status",
    )  # fmt: skip


def drawn(found: Backtest, chosen: float) -> Any:
    """The table; `chosen` is [alerts] threshold, 0 where the rules choose."""
    if not found.days:
        return html.P("There are too few days of reports for a backtest: it needs six weeks.", className="muted")
    lead = (
        f"{found.days} day{'s' * (found.days != 1)} up to {words_of.day(found.last_day)}, {found.domains} "
        f"domain{'s' * (found.domains != 1)}. Incidents of rates and of waves of forged mail."
    )
    if found.judged < found.series:
        lead += f" Of {text.number(found.series)} series the {text.number(found.judged)} largest were judged."
    rows = [
        [_set(line, chosen), text.number(line.incidents), f"{line.by_domain_month:.2f}",
         "–" if line.delay is None else f"{line.delay:.0f}", parts.chip("in use", "good") if line.used else ""]
        for line in found.lines
    ]  # fmt: skip
    out: list[Any] = [
        html.P(lead, className="muted"),
        parts.table(HEADS, rows, caption="Incidents by threshold", numeric=1, stacked=True),
        html.P(parts.marked(HOW), className="muted small"),
    ]
    if found.incidents:
        alarms = [
            [words_of.day(one.on), words_of.day(one.since), one.kind.replace("_", " "), text.show(one.domain, 64),
             text.show(one.cause, 80)]
            for one in found.incidents[:MOST_ALARMS]
        ]  # fmt: skip
        table = parts.table(["Alarm on", "Since", "Kind", "Domain", "Cause"], alarms, caption="Incidents", stacked=True)
        out.append(parts.folded(f"The incidents at the threshold in use ({len(found.incidents)})", table))
    return html.Div(out)


def _set(line: Line, chosen: float) -> html.Span:
    free = f" {line.threshold:.3g}, chosen by the number of series" if line.used and not chosen else ""
    return html.Span([html.Code(setting(line, chosen)), html.Span(free, className="muted small") if free else None])


def setting(line: Line, chosen: float) -> str:
    """The line that sets this threshold; the one that the rules choose is set by 0."""
    return "threshold = 0" if line.used and not chosen else f"threshold = {round(line.threshold, 1):g}"
