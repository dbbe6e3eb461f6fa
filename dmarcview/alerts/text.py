"""A message about an incident: title, plain text and HTML, with what, since when, counts, first check and its end.

Names in it were written by strangers. They are capped, hidden characters are made visible, and nothing in them becomes
a link by itself: mail programs and chats make one of a bare domain, so each dot of a foreign one is written `[.]`. Our
own domains stay as they are; the only links are those to our own pages.
"""

from __future__ import annotations

import html
import re
from collections.abc import Collection, Sequence
from datetime import UTC, date, datetime
from typing import NamedTuple
from urllib.parse import quote

from dmarcview.terminal import safe

from . import said
from .model import CLEARED, OPENED, USUAL, WORSE, Incident
from .words import ACT

TITLE_CHARS, VALUE_CHARS, NAME_CHARS = 150, 600, 120
MEMBERS = 10
HERE = "/alerts"  # the page of incidents
DAY = 86_400

_LINKS = re.compile(r"://|\bwww\.", re.IGNORECASE)  # what mail programs and chats make links of by themselves
_WORD = re.compile(r"[^\s,;:()\"'`/@\u2039\u203a\[\]]+")
_DOT = re.compile(r"(?<=\S)[.\u3002\uff0e\uff61](?=[^\W\d_])")  # before a letter, as before each top-level domain
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)+")
_MENTION = re.compile(r"@(?=everyone|here|channel|all\b)", re.IGNORECASE)
_CODE = re.compile(r"`([^`]+)`")
_MARKS = {OPENED: "", WORSE: "Worse: ", CLEARED: "Cleared: "}
TAKEN_FOR_USUAL = "Taken for usual by now: "
STAYED = "It has gone on for so long that it is taken for how things are. Nothing says that it was mended."
_URL_SAFE = "/?&=%+:,.~_-[]#@!$*;"


class Message(NamedTuple):
    """What a channel sends; the title is one line, and not repeated in the text."""

    title: str
    text: str
    html: str


class Part(NamedTuple):
    """One line of a message: its name and what it says; `link` says that this is an address of ours."""

    name: str
    value: str
    link: bool = False


def shown(text: str, most: int = NAME_CHARS, own: Collection[str] | None = None) -> str:
    """Text of strangers for a message: one line, capped, hidden characters as escapes, no address that leads away.

    `own` are domains that are ours: all others lose their dots (`unlinked`). None is for programs, which make no links.
    """
    cut = safe(" ".join(text[: 4 * most].split()))
    calm = _LINKS.sub(lambda found: "[:]//" if found[0] == "://" else "www[.]", cut)
    calm = _MENTION.sub("(at)", calm).replace("<", "\u2039").replace(">", "\u203a")
    if own is not None:
        calm = unlinked(calm, own)
    return calm if len(calm) <= most else calm[: most - 1] + "\u2026"


def unlinked(text: str, own: Collection[str]) -> str:
    """With each dot of a domain as `[.]`, but of our own ones and what lies below them."""
    return _WORD.sub(lambda found: found[0] if _ours(found[0], own) else _DOT.sub("[.]", found[0]), text)


def _ours(word: str, own: Collection[str]) -> bool:
    name = word.rstrip(".").lower()
    return _PLAIN_NAME.fullmatch(name) is not None and any(name == one or name.endswith(f".{one}") for one in own)


def link(base: str, page: str, query: str) -> str:
    """The address of the rows. What does not belong into an address is escaped."""
    rest = quote(query.removeprefix("?"), safe=_URL_SAFE, errors="replace")
    place = quote("/" + page.lstrip("/"), safe="/", errors="replace")
    return base.rstrip("/") + place + (f"?{rest}" if rest else "")


def title(incident: Incident, event: str, own: Collection[str] | None = None) -> str:
    """One line; `own` as for `shown`."""
    usual = event == CLEARED and incident.outcome == USUAL
    return shown((TAKEN_FOR_USUAL if usual else _MARKS[event]) + incident.finding.title, TITLE_CHARS, own)


def parts(incident: Incident, event: str, base: str, before: int = 0, own: Collection[str] = ()) -> list[Part]:
    """All that a message says, in order; `before` is the weight that was told last, `own` are domains that are ours."""
    found, words = incident.finding, incident.finding.words
    days = f"{day(found.first_day)} (UTC, when it happened)"
    if found.last_day > found.first_day:
        days += f", last on {day(found.last_day)}"
    out = [
        Part("What", words.meaning),
        Part("Ended", STAYED if incident.outcome == USUAL else ""),
        Part("Found", shown(found.text, VALUE_CHARS, own)),
        Part("Since", days),
        Part("Known since", f"{moment(incident.known)}{_lag(incident)}"),
        Part("Counts", counts(incident, event, before)),
        Part("Usual", said.usual(found)),
        Part("Complete", shown(found.completeness, VALUE_CHARS, own)),
        Part("Touches", _members(incident, own)),
        Part("Check first", shown(found.check, VALUE_CHARS, own) if event != CLEARED else ""),
        Part("Clears by", words.clears if event != CLEARED else ""),
        Part("Ended on" if incident.outcome == USUAL else "Cleared", moment(incident.ended) if incident.ended else ""),
        Part("Incident", link(base, HERE, f"?incident={incident.id}"), True),
        Part("Rows", link(base, found.page, found.query) if found.page != HERE else "", True),
    ]
    return [part for part in out if part.value]


def message(incident: Incident, event: str, base: str, before: int = 0, own: Collection[str] = ()) -> Message:
    """The message about an `event`: opened, worse or cleared; `own` are domains that are ours."""
    head, lines = title(incident, event, own), parts(incident, event, base, before, own)
    act = incident.finding.level == ACT and event != CLEARED
    return Message(head, plain(lines), document(head, _body(head, lines, act)))


def tested(channel: str, base: str) -> Message:
    """The message of `dmarcview alerts test`."""
    head = f"A test of the channel {channel}"
    lines = [
        Part("What", "Somebody asked for this test. Nothing is wrong."),
        Part("Rows", link(base, HERE, ""), True),
    ]
    return Message(head, plain(lines), document(head, _body(head, lines, False)))


def plain(lines: Sequence[Part]) -> str:
    """The parts as text, a line each."""
    return "".join(f"{line.name}: {line.value}\n" for line in lines)


def counts(incident: Incident, event: str = OPENED, before: int = 0) -> str:
    """What is counted, of how many, and what was told before."""
    found = incident.finding
    if found.kind == "forged" and found.total:
        out = said.counts(found)
    elif found.total:
        out = f"{found.failed:,} of {found.total:,} messages ({said.percent(found.failed / found.total)})"
    else:
        out = f"{found.weight:,} {found.counts}"
    return f"{out}; told last: {before:,}" if event == WORSE and before else out


def day(value: date) -> str:
    """`5 Nov 2026`."""
    return f"{value.day} {value:%b %Y}"


def moment(seconds: int) -> str:
    """`5 Nov 2026 07:12 UTC`."""
    at = datetime.fromtimestamp(seconds, UTC)
    return f"{day(at.date())} {at:%H:%M} UTC"


def document(head: str, body: str) -> str:
    """A whole HTML document for a mail: styles inline or in its head, nothing from elsewhere."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">'
        f"<title>{html.escape(head)}</title><style>{DARK}</style></head>"
        f'<body class="page" style="{PAGE}"><div style="max-width:640px;margin:0 auto">{body}</div></body></html>'
    )


PAGE = "margin:0;padding:24px 16px;background:#ffffff;color:#1d2733;font:15px/1.5 system-ui,sans-serif"
MUTED, RULE, BAD = "color:#5b6775", "border-top:1px solid #dde3ea", "#a84300"
# Mail programs that know the dark keep our light colours otherwise; those that strip a head show the light ones.
DARK = (
    ":root{color-scheme:light dark}@media(prefers-color-scheme:dark){.page{background:#12181f!important;"
    "color:#e4e9ef!important}.muted{color:#9aa7b5!important}.rule{border-color:#2d3947!important}"
    ".bad{color:#ff9d5c!important}a{color:#7cc0f2!important}.track{background:#2d3947!important}code{background:#26313d!important}}"
)


def _body(head: str, lines: Sequence[Part], act: bool) -> str:
    bar = "#D55E00" if act else "#0072B2"
    rows = "".join(
        f'<tr><td class="muted rule" style="{RULE};{MUTED};padding:8px 16px 8px 0;vertical-align:top;'
        f'white-space:nowrap">{line.name}</td><td class="rule" style="{RULE};padding:8px 0;'
        f'overflow-wrap:anywhere">{_value(line)}</td></tr>'
        for line in lines
    )
    return (
        f'<h1 style="font-size:20px;line-height:1.3;margin:0 0 16px;padding-left:12px;border-left:4px solid {bar};'
        f'overflow-wrap:anywhere">{html.escape(head)}</h1>'
        f'<table role="presentation" style="border-collapse:collapse;width:100%">{rows}</table>'
    )


def _value(line: Part) -> str:
    if line.link:
        return f'<a href="{html.escape(line.value)}" style="color:#0067a3">{html.escape(line.value)}</a>'
    return coded(line.value)


def coded(text: str) -> str:
    """Escaped, with what stands in backticks as code."""
    return _CODE.sub(r'<code style="background:#eef2f6;padding:1px 4px;border-radius:3px">\1</code>', html.escape(text))


def _lag(incident: Incident) -> str:
    days = (incident.known // DAY) - (incident.finding.last_day - date(1970, 1, 1)).days
    return f", {days} day{'s' * (days != 1)} after its last day" if days > 0 else ""


def _members(incident: Incident, own: Collection[str]) -> str:
    members = incident.finding.members
    named = [
        f"{shown(one.name, own=own)} ({one.failed:,} of {one.total:,})" if one.total else shown(one.name, own=own)
        for one in members[:MEMBERS]
    ]
    more = len(members) - MEMBERS
    return "; ".join([*named, f"and {more} more"] if more > 0 else named)
