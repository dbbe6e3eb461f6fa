"""Makes text that strangers wrote safe to show: capped, control and direction characters visible, CSV formulas defused.

React escapes HTML by itself; these functions care for what escaping does not: text that reorders its
neighbours, fills the page, or becomes a formula in a spreadsheet.
"""

from __future__ import annotations

import html
import math
import unicodedata
from typing import Any

CAP = 120  # characters of a name, domain or comment shown in a table
LONG_CAP = 2_000  # characters of a text shown on its own
# Cc and Cf cover bidi controls and zero-width characters, Cs lone surrogates, Co private use, Zl and Zp line breaks
_VISIBLE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_MARKS_IN_A_ROW = 3  # more combining marks than any living spelling needs are drawn over the neighbouring rows
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


def show(value: Any, cap: int = CAP) -> str:
    """Text for a page: at most `cap` characters and an ellipsis; hidden characters as `[U+202E]`; "" for nothing."""
    if value is None or value != value:  # noqa: PLR0124 -- NaN is the one value that differs from itself
        return ""
    text = value if isinstance(value, str) else str(value)
    if text.isascii() and text.isprintable():
        return text if len(text) <= cap else text[: cap - 1] + "…"
    out: list[str] = []
    marks = 0
    for char in text[: cap + 1]:
        category = unicodedata.category(char)
        marks = marks + 1 if category in ("Mn", "Me") else 0
        if category in _VISIBLE_CATEGORIES:
            out.append(f"[U+{ord(char):04X}]")
        elif marks <= _MARKS_IN_A_ROW:
            out.append(char)
    shown = "".join(out)
    return shown[: cap - 1] + "…" if len(text) > cap or len(shown) > cap else shown


def chart(value: Any, cap: int = 60) -> str:
    """`show`, then escaped: Plotly reads some HTML tags in names, ticks and hover text."""
    return html.escape(show(value, cap), quote=False)


def document(raw: str) -> str:
    """A whole XML text for a `<pre>`: line breaks and tabs stay, all other hidden characters become visible."""
    if raw.isascii() and raw.replace("\n", "").replace("\t", "").replace("\r", "").isprintable():
        return raw
    return "".join(
        char if char in "\n\t" or unicodedata.category(char) not in _VISIBLE_CATEGORIES else f"[U+{ord(char):04X}]"
        for char in raw.replace("\r\n", "\n")
    )


def csv_cell(value: Any) -> Any:
    """A CSV cell that no spreadsheet runs: text that starts like a formula gets an apostrophe; numbers stay numbers."""
    if value is None or value != value:  # noqa: PLR0124 -- NaN
        return ""
    if isinstance(value, str) and value.lstrip(" ").startswith(_FORMULA_STARTS):
        return "'" + value
    return value


def number(value: float) -> str:
    """A whole number with thin groups: `12,345`."""
    return f"{round(value):,}"


def brief(value: float) -> str:
    """A number for a small place: 950, 12.3k, 4.5M."""
    for limit, unit in ((1e6, "M"), (1e4, "k")):
        if abs(value) >= limit:
            scaled = value / (1e6 if unit == "M" else 1e3)
            return f"{scaled:.1f}".rstrip("0").rstrip(".") + unit
    return f"{round(value):,}"


def share(part: float, whole: float) -> str:
    """`part / whole` in percent: never 100 % while anything is missing, never 0 % while there is something."""
    if whole <= 0:
        return "–"
    ratio = part / whole
    if 0.9995 <= ratio < 1:
        return ">99.9%"
    if 0 < ratio < 0.0005:
        return "<0.1%"
    return f"{100 * ratio:.1f}".removesuffix(".0") + "%"


def interval(low: float, high: float) -> str:
    """`97.1 to 98.9%` of two shares; the ends are rounded outward, so that it is never said narrower than it is."""
    return f"{math.floor(1000 * low) / 10:g} to {math.ceil(1000 * high) / 10:g}%"


def messages(count: float) -> str:
    """`1 message`, `2,000 messages`."""
    return f"{number(count)} message{'' if round(count) == 1 else 's'}"
