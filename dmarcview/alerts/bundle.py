"""One message about many incidents at once, so that a bad hour does not bury its readers: the gravest are listed."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Collection, Sequence
from typing import NamedTuple

from .model import CLEARED, OPENED, WORSE, Incident
from .text import MUTED, RULE, Message, counts, day, document, link, title
from .words import ACT

LISTED = 20
WHAT = "So many at once come in one message, the gravest first."
_HOW = {OPENED: "opened", WORSE: "got worse", CLEARED: "ended"}


class Told(NamedTuple):
    """What is to be said of an incident: opened, worse or cleared, and the weight that was told before."""

    event: str
    incident: Incident
    before: int = 0


def message(told: Sequence[Told], base: str, own: Collection[str] = ()) -> Message:
    """All of these in one message; of several about one incident the last counts. `own` are domains that are ours."""
    last = list({one.incident.id: one for one in told}.values())
    last.sort(key=_gravest)
    head = _title(last)
    page = link(base, "/alerts", "")
    lines = [_Line.of(one, base, own) for one in last[:LISTED]]
    more = len(last) - LISTED
    rest = f"and {more:,} more" if more > 0 else ""
    said = "".join(f"{place}. {line.head}\n   {line.facts}\n   {line.rows}\n" for place, line in enumerate(lines, 1))
    text = f"{WHAT}\n\n{said}" + (f"{rest}\n" if rest else "") + f"\nAll: {page}\n"
    rows = "".join(line.html for line in lines) + (f'<p style="margin:12px 0">{rest}</p>' if rest else "")
    body = (
        f'<h1 style="font-size:20px;line-height:1.3;margin:0 0 8px">{html.escape(head)}</h1>'
        f'<p class="muted" style="{MUTED};margin:0 0 16px">{WHAT}</p>{rows}'
        f'<p class="rule" style="{RULE};margin:0;padding-top:12px">All: {_anchor(page)}</p>'
    )
    return Message(head, text, document(head, body))


def _title(told: Sequence[Told]) -> str:
    """`37 incidents opened, 2 got worse`."""
    number = Counter(one.event for one in told)
    many, *more = [(event, number[event]) for event in _HOW if number[event]]
    first = f"{many[1]:,} incident{'s' * (many[1] != 1)} {_HOW[many[0]]}"
    return ", ".join([first, *(f"{count:,} {_HOW[event]}" for event, count in more)])


def _gravest(one: Told) -> tuple[bool, bool, int, int]:
    found = one.incident.finding
    return one.event == CLEARED, found.level != ACT, -found.weight, one.incident.id


class _Line(NamedTuple):
    head: str
    facts: str
    rows: str
    grave: bool

    @classmethod
    def of(cls, one: Told, base: str, own: Collection[str]) -> _Line:
        found = one.incident.finding
        return cls(
            title(one.incident, one.event, own),
            f"Since {day(found.first_day)}; {counts(one.incident, one.event, one.before)}",
            link(base, found.page, found.query),
            found.level == ACT and one.event != CLEARED,
        )

    @property
    def html(self) -> str:
        bar = "#D55E00" if self.grave else "#0072B2"
        return (
            f'<div style="border-left:4px solid {bar};padding-left:12px;margin:0 0 14px;overflow-wrap:anywhere">'
            f'<b>{html.escape(self.head)}</b><br><span class="muted" style="{MUTED}">{html.escape(self.facts)}</span>'
            f"<br>{_anchor(self.rows)}</div>"
        )


def _anchor(address: str) -> str:
    return f'<a href="{html.escape(address)}" style="color:#0067a3">{html.escape(address)}</a>'
