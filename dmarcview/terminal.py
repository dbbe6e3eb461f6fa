"""What a person sees: tables that fit the screen, and no text from outside that could steer the terminal."""

from __future__ import annotations

import json
import math
import os
import re
import sys
import textwrap
import unicodedata
from collections.abc import Sequence
from typing import IO, Any

# Controls (C0, DEL, C1), line and paragraph separators, marks that turn the writing direction (Unicode UAX 9),
# zero-width characters, tags, and lone surrogates: none of them is text that a person could see.
_UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
# Full-width forms too: spreadsheets with East Asian settings run them.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
NARROW = 80
PROSE = 100  # columns of sentences
SHORTEST = 6  # columns that a shortened cell keeps at least


def safe(value: object) -> str:
    """Text for a terminal: whatever cannot be seen is written as an escape such as `\\x1b`."""
    if value is None:
        return ""
    return _UNSEEN.sub(_visible, value if isinstance(value, str) else str(value))


def _visible(found: re.Match[str]) -> str:
    code = ord(found.group())
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def defused(value: object) -> object:
    """A cell of a CSV file: text that a spreadsheet would run as a formula gets an apostrophe before it."""
    if not isinstance(value, str):
        return value
    text = value.replace("\x00", "")
    return "'" + text if text.lstrip(" ").startswith(_FORMULA) else text


def is_tty(stream: IO[str]) -> bool:
    """Whether a person watches this stream."""
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False


def print_json(value: Any, out: IO[str] | None = None) -> None:
    """One object on one line; on a terminal every character beyond ASCII is escaped."""
    out = out or sys.stdout
    if is_tty(out):
        out.write(json.dumps(value, ensure_ascii=True, default=str).replace("\x7f", "\\u007f") + "\n")
        return
    import orjson

    try:
        text = orjson.dumps(value).decode()
    except TypeError:  # lone surrogates or whole numbers past 64 bits
        text = json.dumps(value, ensure_ascii=True, default=str)
    out.write(text + "\n")


def width() -> int:
    """Columns to fill: the terminal's, or 80."""
    try:
        return max(40, os.get_terminal_size(sys.stdout.fileno()).columns)
    except (OSError, ValueError):
        return NARROW


def cells(text: str) -> int:
    """Columns that a text takes: two for wide characters, none for combining ones."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _cut(text: str, room: int) -> str:
    if cells(text) <= room:
        return text
    kept = ""
    for c in text:
        if cells(kept + c) > room - 1:
            break
        kept += c
    return kept + "…"


def table(
    heads: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    right: Sequence[str] = (),
    out: IO[str] | None = None,
    columns: int | None = None,
) -> None:
    """Print rows under heads, `right` ones flush right. On a terminal long cells are cut to fit, elsewhere never."""
    out = out or sys.stdout
    body = [[safe(cell) for cell in row] for row in rows]
    sizes = [max([cells(head), *(cells(row[n]) for row in body)]) for n, head in enumerate(heads)]
    room = columns if columns is not None else width() if is_tty(out) else None
    if room is not None:
        _fit(sizes, heads, room)
    bold = ("\x1b[1m", "\x1b[0m") if is_tty(out) and "NO_COLOR" not in os.environ else ("", "")
    for number, row in enumerate([list(heads), *body]):
        parts = []
        for n, cell in enumerate(row):
            text = _cut(cell, sizes[n])
            pad = " " * (sizes[n] - cells(text))
            parts.append(pad + text if heads[n] in right else text + pad)
        line = "  ".join(parts).rstrip()
        out.write(f"{bold[0]}{line}{bold[1]}\n" if number == 0 else line + "\n")


def _fit(sizes: list[int], heads: Sequence[str], room: int) -> None:
    """Shorten the widest columns until the table fits the room."""
    over = sum(sizes) + 2 * (len(sizes) - 1) - room
    while over > 0:
        widest = max(range(len(sizes)), key=lambda n: sizes[n] - cells(heads[n]) // 2)
        if sizes[widest] <= SHORTEST:
            return
        sizes[widest] -= 1
        over -= 1


def facts(pairs: Sequence[tuple[str, object]], out: IO[str] | None = None) -> None:
    """Print names with their values, one a line."""
    out = out or sys.stdout
    room = max((cells(name) for name, _ in pairs), default=0)
    for name, value in pairs:
        out.write(f"{name}{' ' * (room - cells(name))}  {safe(value)}".rstrip() + "\n")


def share(part: float, whole: float) -> str:
    """`97.3 %`; a share that is not quite all or nothing never reads 100 or 0."""
    if not whole:
        return "-"
    percent = 100 * part / whole
    if 0 < percent < 0.1:
        return "<0.1 %"
    if 99.9 < percent < 100:
        return ">99.9 %"
    return f"{percent:.1f} %"


def interval(low: float, high: float) -> str:
    """`98.2 to 98.9 %` of two shares, rounded outward, so that it is never said narrower than it is."""
    return f"{math.floor(1000 * low + 1e-9) / 10:.1f} to {math.ceil(1000 * high - 1e-9) / 10:.1f} %"


def paragraph(text: str, *, indent: str = "", out: IO[str] | None = None) -> None:
    """Print a sentence or more in lines of at most PROSE columns."""
    out = out or sys.stdout
    out.write(textwrap.fill(safe(text), PROSE, initial_indent=indent, subsequent_indent=indent,
                            break_long_words=False, break_on_hyphens=False) + "\n")  # fmt: skip


def number(value: object) -> str:
    """A whole number with a mark each three digits; nothing for a missing one."""
    return f"{int(value):,}" if isinstance(value, int | float) and math.isfinite(value) else ""
