"""What a domain published anew, as marks on a chart of days and as words in its table. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from dmarcview.alerts.dnsdrift import WHAT
from dmarcview.dashboard import canvas, text, theme

if TYPE_CHECKING:
    from dmarcview.store.records_seen import Changed

NAME_CHARS, VALUE_CHARS = 80, 160
HOVER_CHARS, HOVER_LINES = 70, 3


def day_of(change: Changed) -> date:
    """The UTC day on which it was seen."""
    return datetime.fromtimestamp(change.day, UTC).date()


def words(change: Changed, chars: int = VALUE_CHARS) -> str:
    """`DMARC record at _dmarc.example.org is now v=DMARC1; p=reject`; what strangers wrote is safe to show."""
    kind = WHAT.get(change.kind, "record")
    what = f"{kind[0].upper()}{kind[1:]} at {text.show(change.name, NAME_CHARS)}"
    if not change.after:
        return f"{what} is gone"
    value = text.show("; ".join(change.after.split("\n")), chars)
    return f"{what} {'is now' if change.before else 'is new:'} {value}"


def by_day(changes: Sequence[Changed]) -> dict[date, list[str]]:
    """The words of the changes of each day."""
    out: dict[date, list[str]] = {}
    for one in changes:
        out.setdefault(day_of(one), []).append(words(one))
    return out


def cell(row: dict[Any, Any], told: dict[date, list[str]]) -> str:
    """What a row of a chart's table says of its day."""
    return " · ".join(told.get(row["day"].date(), []))


def draw(figure: canvas.Figure, changes: Sequence[Changed]) -> None:
    """A dotted line and a sign on top for each day with changes; the box of the day has the words."""
    days: dict[date, list[Changed]] = {}
    for one in changes:
        days.setdefault(day_of(one), []).append(one)
    if not days:
        return
    layout, names = figure["layout"], [day.isoformat() for day in sorted(days)]
    figure["data"].append(
        {
            "type": "scatter",
            "mode": "markers",
            "name": "Changed",
            "x": names,
            "y": [1] * len(names),
            "yaxis": "y2",
            "cliponaxis": False,
            "text": [_hover(days[day]) for day in sorted(days)],
            "hovertemplate": "%{text}",
            "marker": {"symbol": "diamond", "size": 10, "color": theme.CHANGED, "line": {"width": 1, "color": "#fff"}},
        }
    )
    layout["yaxis2"] = {"overlaying": "y", "range": [0, 1], "visible": False, "fixedrange": True}
    layout["margin"] = {**layout["margin"], "t": max(14, layout["margin"]["t"])}
    layout.setdefault("shapes", []).extend(
        {
            "type": "line", "xref": "x", "yref": "paper", "x0": name, "x1": name, "y0": 0, "y1": 1,
            "line": {"color": theme.CHANGED, "width": 1.5, "dash": "dot"},
        }
        for name in names
    )  # fmt: skip


def _hover(changes: Sequence[Changed]) -> str:
    """Plotly reads tags in it, so the words are escaped; `<br>` is ours."""
    lines = [text.chart(words(one), HOVER_CHARS) for one in changes[:HOVER_LINES]]
    more = len(changes) - HOVER_LINES
    return "<br>".join([*lines, f"and {more} more"] if more > 0 else lines)
