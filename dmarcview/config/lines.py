"""On which line of a TOML text each key stands: `tomllib` gives values, but no places.

Only texts that `tomllib` has accepted come here, so the scanner need not judge, only count.
"""

from __future__ import annotations

import re

Path = tuple[str | int, ...]

_HEADER = re.compile(r"\s*(\[\[?)\s*(.+?)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(
    r"""\s*((?:[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*="""
)
_PART = re.compile(r"""[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*'""")
_TOKEN = re.compile(r'"""|\'\'\'|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'|[\[\]{}]|#')


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(p[1:-1] if p[0] in "\"'" else p for p in _PART.findall(dotted))


def key_lines(text: str) -> dict[Path, int]:
    """Map each table and key, such as `("receive", "listeners", 0, "port")`, to its line, counted from 1."""
    lines: dict[Path, int] = {}
    counts: dict[Path, int] = {}
    table: Path = ()
    closing = ""  # the mark that ends a string over several lines
    depth = 0  # open brackets of a value over several lines
    for number, line in enumerate(text.splitlines(), 1):
        rest = line
        if not closing and depth == 0:
            header = _HEADER.match(line)
            if header:
                table = _parts(header.group(2))
                if header.group(1) == "[[":
                    index = counts.get(table, 0)
                    counts[table] = index + 1
                    lines.setdefault(table, number)
                    table = (*table, index)
                elif len(table) > 1 and counts.get(table[:-1]):
                    table = (*table[:-1], counts[table[:-1]] - 1, table[-1])
                lines.setdefault(table, number)
                continue
            key = _KEY.match(line)
            if key:
                lines.setdefault(table + _parts(key.group(1)), number)
                rest = line[key.end() :]
        closing, depth = _carry(rest, closing, depth)
    return lines


def _carry(rest: str, closing: str, depth: int) -> tuple[str, int]:
    """Follow a value to the end of its line; returns the open string mark and the open brackets."""
    position = 0
    while position < len(rest):
        if closing:
            end = rest.find(closing, position)
            if end < 0:
                return closing, depth
            position, closing = end + 3, ""
            continue
        token = _TOKEN.search(rest, position)
        if token is None or token.group() == "#":
            break
        position = token.end()
        mark = token.group()
        if mark in ('"""', "'''"):
            closing = mark
        elif mark in "[{":
            depth += 1
        elif mark in "]}":
            depth = max(0, depth - 1)
    return closing, depth


def line_of(lines: dict[Path, int], path: Path) -> int:
    """The line of a key or of the nearest table above it; 0 when it stands nowhere (it came from elsewhere)."""
    while path:
        if path in lines:
            return lines[path]
        path = path[:-1]
    return 0
