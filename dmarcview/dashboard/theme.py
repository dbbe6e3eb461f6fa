"""Colours, fonts and the two Plotly templates: one look for shell, charts and grids, in light and in dark.

The outcome colours are Okabe and Ito's, told apart by the colour-blind; no meaning rests on colour alone.
"""

from __future__ import annotations

from typing import Any, NamedTuple

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif"


class Outcome(NamedTuple):
    """One band of the outcome chart. `pattern` is a second sign beside the colour."""

    key: str
    name: str
    colour: str
    pattern: str
    means: str


OUTCOMES: tuple[Outcome, ...] = (
    Outcome("own_pass", "Own, passing", "#0072B2", "", "Your mail, DMARC passed"),
    Outcome("own_fail", "Own, failing", "#D55E00", "x", "Your mail, DMARC failed"),
    Outcome("forwarded", "Forwarded", "#56B4E9", ".", "Passed on by a forwarder or a list"),
    Outcome("unknown_blocked", "Unknown, blocked", "#999999", "", "Quarantined or rejected by the receiver"),
    Outcome("unknown_delivered", "Unknown, delivered", "#E69F00", "/", "Failed DMARC and was delivered all the same"),
    Outcome("unstated", "Not stated", "#6B7280", "-", "Your mail, of which the report states no result"),
)
UNSTATED = "unstated"  # the last band; most stores never need it


SENT: tuple[Outcome, ...] = (
    Outcome("delivered", "Delivered", "#0072B2", "", "Taken by the other side"),
    Outcome("deferred", "Put off", "#56B4E9", ".", "Not now; tried again"),
    Outcome("failed", "Refused", "#D55E00", "x", "The other side said no for good"),
    Outcome("expired", "Given up", "#999999", "/", "Not taken in time"),
)


COMPARED: tuple[Outcome, ...] = (  # bars, but for the line `ours`, which has the colour of the text
    Outcome("telling", "Sent", "#0072B2", "", "Accepted by receivers that send reports"),
    Outcome("silent", "Sent to receivers without reports", "#999999", "/", "Accepted by receivers that send none"),
    Outcome("ours", "Reported of it", "", "", "Messages in reports that fit what was sent"),
    Outcome("unsent", "Reported, never sent", "#E69F00", "x", "Messages in reports that the relay never sent"),
)


CHANGED = "#CC79A7"  # what a domain published anew
FAILED = "#D55E00"


class Rate(NamedTuple):
    """One line of the rate chart; the dash is the second sign."""

    key: str
    name: str
    colour: str
    dash: str


RATES: tuple[Rate, ...] = (
    Rate("dmarc_pass", "DMARC", "#0072B2", "solid"),
    Rate("dkim_aligned", "DKIM", "#CC79A7", "dash"),
    Rate("spf_aligned", "SPF", "#E69F00", "dot"),
)


class Scheme(NamedTuple):
    """The neutral colours of one scheme. Text on surface is at least 4.5:1, muted text too."""

    surface: str
    text: str
    muted: str
    line: str
    hatch: str


SCHEMES: dict[str, Scheme] = {
    "light": Scheme("#ffffff", "#1b1f27", "#59616e", "#e3e6eb", "rgba(89,97,110,.45)"),
    "dark": Scheme("#1a1e25", "#e8eaee", "#a3abb8", "#323843", "rgba(163,171,184,.45)"),
}


def scheme(name: str | None) -> Scheme:
    """The named scheme; light for anything else."""
    return SCHEMES.get(name or "", SCHEMES["light"])


def layout(name: str | None) -> dict[str, object]:
    """The Plotly layout that every chart of this house starts from."""
    colours = scheme(name)
    axis = {
        "gridcolor": colours.line,
        "linecolor": colours.line,
        "zeroline": False,
        "tickfont": {"color": colours.muted, "size": 12},
        "automargin": True,
        "fixedrange": True,
        "title": {"text": ""},
    }
    return {
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": FONT, "size": 13, "color": colours.text},
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
        "xaxis": {**axis, "showgrid": False, "ticks": "outside", "ticklen": 4, "tickcolor": colours.line},
        "yaxis": {**axis, "rangemode": "tozero", "nticks": 6},
        "hovermode": "x unified",
        "hoverlabel": {
            "bgcolor": colours.surface,
            "bordercolor": colours.line,
            "font": {"family": FONT, "size": 13, "color": colours.text},
        },
        "showlegend": False,
        "dragmode": False,
        "separators": ".,",
        "template": None,
    }


GRAPH_CONFIG: Any = {
    "displayModeBar": False,
    "displaylogo": False,
    "showSendToCloud": False,
    "showTips": False,
    "doubleClick": False,
    "scrollZoom": False,
    "responsive": True,
}

MANTINE: dict[str, object] = {
    "fontFamily": FONT,
    "primaryColor": "sea",
    "primaryShade": {"light": 7, "dark": 4},
    "colors": {
        "sea": [
            "#eaf4fb", "#d3e7f5", "#a5cee9", "#74b4dd", "#4c9dd2",
            "#2f8dca", "#137fbf", "#0068a3", "#005a8e", "#004b78",
        ],
        "dark": [
            "#e8eaee", "#c6ccd6", "#a3abb8", "#7b8493", "#4a5261",
            "#323843", "#1f242c", "#1a1e25", "#12151a", "#0d0f13",
        ],
    },
    "defaultRadius": "md",
    "headings": {"fontFamily": FONT, "fontWeight": "650"},
    "respectReducedMotion": True,
    "cursorType": "pointer",
    "autoContrast": True,
}  # fmt: skip
