"""The chart of an incident: what its series counted by day, what was usual, and what was published anew. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from dmarcview.alerts.evidence import MAIL, RATE, REPORTS, VOLUME, Evidence
from dmarcview.dashboard import canvas, marks, theme

if TYPE_CHECKING:
    from dmarcview.alerts.model import Finding
    from dmarcview.store.records_seen import Changed

HEIGHT = 270
UPPER, LOWER = [0.4, 1], [0, 0.28]  # of a chart of shares: the share, and below it the messages
LEAST_TOP = 5  # percent
# name, colour, pattern and css of the sample: stacked in this order
FAILED = ("Failed", theme.FAILED, "x", "own_fail")
PASSED = ("Passed", "#0072B2", "", "own_pass")
DELIVERED = ("Delivered", "#E69F00", "/", "unknown_delivered")
BLOCKED = ("Blocked", "#999999", "", "unknown_blocked")
CAME = ("Domains reported on", "#0072B2", "", "own_pass")
MESSAGES = ("Messages", "#0072B2", "", "own_pass")
BARS = {RATE: (FAILED, PASSED), VOLUME: (DELIVERED, BLOCKED), MAIL: (MESSAGES,), REPORTS: (CAME,)}
SINGLE = (MAIL, REPORTS)  # kinds of one count a day


def figure(found: Evidence | None, finding: Finding, changes: Sequence[Changed], scheme: str | None) -> canvas.Figure:
    """Shares above and messages below for rates, else messages or reports alone; the incident's days are tinted."""
    drawn = canvas.base(scheme, HEIGHT)
    if found is None or not found.daily["total"].any():
        return canvas.nothing(drawn, "Nothing is known of these days any more")
    daily, layout = found.daily, drawn["layout"]
    days = canvas.days(daily)
    axis = "y3" if found.kind == RATE else "y"
    for one, values in zip(BARS[found.kind], _stack(found), strict=True):
        drawn["data"].append(_bar(days, values, one, axis))
    if found.kind == RATE:
        _share(drawn, daily, found.usual, scheme)
    elif found.usual is not None:
        drawn["data"].append(_usual(days, found.usual, "%{y:,.3~g}", scheme))
    canvas.hatch(drawn, daily, scheme)
    marks.draw(drawn, changes)
    layout.update(barmode="stack", bargap=0.2)
    layout["xaxis"]["range"] = canvas.edges(days)
    counts = layout["yaxis3"] if found.kind == RATE else layout["yaxis"]
    canvas.count_axis(counts, max(float(daily["total"].max()), found.usual or 0 if found.kind == VOLUME else 0))
    counts["nticks"] = 3 if found.kind == RATE else 5
    half = pd.Timedelta(hours=12)
    layout.setdefault("shapes", []).insert(
        0,
        {
            "type": "rect", "xref": "x", "yref": "paper", "y0": 0, "y1": 1, "layer": "below", "line": {"width": 0},
            "x0": f"{pd.Timestamp(finding.first_day) - half}", "x1": f"{pd.Timestamp(finding.last_day) + half}",
            "fillcolor": canvas.faded(theme.FAILED, 0.1),
        },
    )  # fmt: skip
    return drawn


def legend(found: Evidence, *, changed: bool) -> list[tuple[str, str, str]]:
    """(name, css of its sample, meaning) of all that is drawn."""
    out = []
    if found.kind == RATE:
        out.append(("Share that failed", "share", f"Messages that failed {found.mechanism}, of all"))
    if found.usual is not None:
        out.append(("Usual", "usual", "What was learned from the days before"))
    out += [(name, css, "") for name, _, _, css in BARS[found.kind]]
    out.append(("The incident", "during", "From its first day to its last"))
    if changed:
        out.append(("Published anew", "changed", "A DNS record became another"))
    return out


def _stack(found: Evidence) -> list[pd.Series]:
    daily = found.daily
    return [daily["total"]] if found.kind in SINGLE else [daily["failed"], daily["total"] - daily["failed"]]


def _bar(days: list[str], values: pd.Series, one: tuple[str, str, str, str], axis: str) -> dict[str, Any]:
    name, colour, pattern, _ = one
    marker: dict[str, Any] = {"color": colour, "line": {"width": 0}}
    if pattern:
        marker["pattern"] = {"shape": pattern, "size": 5, "solidity": 0.22, "bgcolor": colour,
                             "fgcolor": "rgba(255,255,255,.65)"}  # fmt: skip
    return {"type": "bar", "name": name, "x": days, "y": canvas.numbers(values), "yaxis": axis, "marker": marker,
            "hovertemplate": "%{y:,d}"}  # fmt: skip


def _share(drawn: canvas.Figure, daily: pd.DataFrame, usual: float | None, scheme: str | None) -> None:
    """The line of failing shares of complete days, on the upper axis, and the usual share under it."""
    layout, days = drawn["layout"], canvas.days(daily)
    told = daily["complete"] & (daily["total"] > 0)
    share = (100 * daily["failed"] / daily["total"].where(told)).astype(float)
    drawn["data"].append(
        {
            "type": "scatter", "mode": "lines+markers", "name": "Share that failed", "x": days,
            "y": canvas.numbers(share), "connectgaps": False, "hovertemplate": "%{y:.1f}%",
            "line": {"width": 2, "color": theme.FAILED}, "marker": {"size": 5, "color": theme.FAILED},
        }
    )  # fmt: skip
    if usual is not None:
        drawn["data"].append(_usual(days, 100 * usual, "%{y:.1f}%", scheme))
    highest = max(float(share.max()) if share.notna().any() else 0.0, 100 * (usual or 0), LEAST_TOP)
    layout["yaxis3"] = dict(layout["yaxis"]) | {"domain": LOWER}
    layout["yaxis"].update(domain=UPPER, nticks=4, ticksuffix="%", range=[0, min(highest * 1.1, 103)])
    layout["xaxis"]["anchor"] = "y3"
    layout["hoversubplots"] = "axis"  # one box tells of both


def _usual(days: list[str], value: float, told: str, scheme: str | None) -> dict[str, Any]:
    line = {"width": 1.6, "color": theme.scheme(scheme).muted, "dash": "dash"}
    return {"type": "scatter", "mode": "lines", "name": "Usual", "x": days, "y": [round(value, 4)] * len(days),
            "line": line, "hovertemplate": told}  # fmt: skip
