"""How the weekly summary reads: one sentence first, then domains, incidents, how much is in, and what to do next.

The HTML is for mail programs: tables, styles inline, bars of plain boxes, no picture and nothing from elsewhere.
"""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Collection

from dmarcview.query.complete import words

from .digest import Line, Week
from .model import CLEARED, TAKEN_UP, USUAL
from .text import BAD, MUTED, RULE, Message, coded, day, document, link, moment, shown, unlinked

INCIDENTS, STEPS = 10, 5  # most of them that are listed
ORDER = 0.9  # share of own mail that passes, below which its bar warns
LATE = 0.8  # of a week's last day, below which its reports are a word
SAME = 0.05  # percentage points that are no change
UP, DOWN = "\u25b2", "\u25bc"
ENDED = {CLEARED: "cleared", USUAL: "taken for usual", TAKEN_UP: "taken up by another incident"}
PASS, FAIL = "#0072B2", "#D55E00"  # the colours of the pages


def message(week: Week, base: str, own: Collection[str] = ()) -> Message:
    """The summary as a message; `own` are domains that are ours."""
    head = f"Your mail in the week from {day(week.first)} to {day(week.last)}"
    parts = [("", [verdict(week)]), *_sections(week, own)]
    text = "\n".join("\n".join([name.upper(), *lines] if name else lines) + "\n" for name, lines in parts)
    text += f"\nRows: {link(base, '/', '')}\nThis comes every week; [alerts] digest sets the day, or ends it.\n"
    return Message(head, text, document(head, _page(week, head, base, own)))


def verdict(week: Week) -> str:
    """The week in a sentence or two."""
    if not week.total.messages:
        return "No reports on this week have come. `dmarcview doctor` says whether they could."
    all_ = week.total
    out = f"{_share(all_.own_pass, all_.own)} of your own {all_.own:,} messages passed DMARC" if all_.own else ""
    out = f"{out}{_than_before(all_)}. " if out else "None of the messages came from a sender of yours. "
    forged = f"Of forged ones, {all_.delivered:,} were delivered and {all_.blocked:,} blocked."
    return out + (forged if all_.delivered or all_.blocked else "Nobody forged your name.")


def steps(week: Week) -> list[str]:
    """What to do next, the gravest first."""
    out = [shown(f"{one.finding.title}. {one.finding.check}", 500) for one in week.open if one.acked is None]
    worst = max(week.lines, key=lambda line: line.delivered, default=None)
    if worst is not None and worst.delivered:
        out.append(
            f"Forged mail in the name of {shown(worst.domain)} was delivered ({worst.delivered:,} messages): when all "
            "of your own mail passes, a policy of quarantine or reject stops it."
        )
    if week.complete.share is not None and week.complete.share < LATE:
        out.append(f"Reports on {day(week.last)} are late: `dmarcview doctor` says whether mail comes in.")
    if not out and not week.total.messages:
        out.append("Does the rua address in each record lead here? `dmarcview doctor` looks.")
    return out[:STEPS] or ["Nothing. Your mail is in order."]


def _sections(week: Week, own: Collection[str]) -> list[tuple[str, list[str]]]:
    """Name and lines of each part, as text in which no foreign name becomes a link."""
    domains = [_domain(line) for line in week.lines]
    if week.more:
        domains.append(f"and {week.more:,} more domains")
    return [
        (name, [unlinked(line, own) for line in lines])
        for name, lines in (
            ("Domains", domains),
            ("Incidents", _incidents(week)),
            ("How much is in", _figures(week)),
            ("Next steps", [f"- {step}" for step in steps(week)]),
        )
        if lines
    ]


def _domain(line: Line) -> str:
    passed = f"{_share(line.own_pass, line.own)} of {line.own:,} own messages passed" if line.own else "no own mail"
    forged = f"forged: {line.delivered:,} delivered, {line.blocked:,} blocked"
    return f"{shown(line.domain)}: {passed}{_than_before(line)}; {forged}"


def _incidents(week: Week) -> list[str]:
    number = Counter(one.outcome for one in week.ended)
    *counts, last = [
        f"{len(week.open):,} open", f"{week.opened:,} opened",
        *(f"{number[how]:,} {words}" for how, words in ENDED.items() if number[how] or how == CLEARED),
    ]  # fmt: skip
    out = [f"{', '.join(counts)} and {last} within the week."]
    for one in week.open[:INCIDENTS]:
        seen = ", acknowledged" if one.acked is not None else ""
        out.append(f"- {shown(one.finding.title, 150)} (since {day(one.finding.first_day)}{seen})")
    for one in week.ended[:INCIDENTS]:
        how = ENDED.get(one.outcome, "ended").capitalize()
        out.append(f"- {how} {moment(one.ended or 0)}: {shown(one.finding.title, 150)}")
    return out


def _figures(week: Week) -> list[str]:
    out = []
    if week.complete.share is not None:
        out.append(f"{day(week.last)} is {words(week.complete, shown)}.")
    if week.coverage is not None and week.coverage[1]:
        reported, sent = week.coverage
        out.append(
            f"Of {sent:,} messages that the relay sent to receivers that report, {_share(reported, sent)} are reported."
        )
    return out


def _share(part: int, whole: int) -> str:
    share = part / whole if whole else 0.0
    if 0.9995 <= share < 1:
        return ">99.9 %"
    if 0 < share < 0.0005:
        return "<0.1 %"
    return f"{100 * share:.1f}".removesuffix(".0") + " %"


def _points(line: Line) -> float | None:
    """Percentage points more than the week before; None when one of both had no own mail."""
    if not line.own or not line.own_before:
        return None
    return 100 * (line.own_pass / line.own - line.pass_before / line.own_before)


def _than_before(line: Line) -> str:
    points = _points(line)
    if points is None:
        return ""
    if abs(points) < SAME:
        return ", as in the week before"
    return f", {abs(points):.1f} points {'more' if points > 0 else 'less'} than the week before"


def _page(week: Week, head: str, base: str, own: Collection[str]) -> str:
    out = [
        f'<h1 style="font-size:20px;line-height:1.3;margin:0 0 8px">{html.escape(head)}</h1>',
        f'<p style="font-size:16px;margin:0 0 24px">{coded(verdict(week))}</p>',
    ]
    if week.lines:
        rows = "".join(_row(line, own) for line in week.lines)
        more = f'<p class="muted" style="{MUTED};margin:8px 0">and {week.more:,} more domains</p>' if week.more else ""
        head_cells = "".join(
            f'<th style="text-align:{side};font-weight:400;{MUTED};padding:4px 8px 4px 0" class="muted">{name}</th>'
            for name, side in (("Domain", "left"), ("Own mail that passed", "left"), ("Forged", "right"))
        )
        out.append(
            '<table style="border-collapse:collapse;width:100%" role="presentation">'
            f"<tr>{head_cells}</tr>{rows}</table>{more}"
        )
    for name, lines in _sections(week, own):
        if name != "Domains":
            out.append(f'<h2 style="font-size:16px;margin:24px 0 4px">{name}</h2>{"".join(map(_item, lines))}')
    address = html.escape(link(base, "/", ""))
    out.append(
        f'<p class="muted rule" style="{RULE};{MUTED};margin:32px 0 0;padding-top:12px">'
        f'<a href="{address}" style="color:#0067a3">{address}</a><br>This comes every week; '
        f"{coded('`[alerts] digest`')} sets the day, or ends it.</p>"
    )
    return "".join(out)


def _item(line: str) -> str:
    """A line of a section; what begins with a dash is one of a list."""
    if line.startswith("- "):
        return f'<p style="margin:4px 0 4px 20px;text-indent:-12px;overflow-wrap:anywhere">\u2022 {coded(line[2:])}</p>'
    return f'<p style="margin:4px 0">{coded(line)}</p>'


def _row(line: Line, own: Collection[str]) -> str:
    cell = f'class="rule" style="{RULE};padding:8px 8px 8px 0;vertical-align:top'
    share = line.own_pass / line.own if line.own else 0.0
    bar = (
        f'<div class="track" style="background:#e4e9ee;height:8px;border-radius:4px;overflow:hidden;margin:4px 0">'
        f'<div style="background:{PASS if share >= ORDER else FAIL};height:8px;width:{100 * share:.1f}%"></div></div>'
    )
    points = _points(line)
    if points is None:
        change = ""
    elif abs(points) < SAME:
        change = "as before, "
    else:
        change = f"{UP if points > 0 else DOWN} {abs(points):.1f} points, "
    own = (
        f"<b>{_share(line.own_pass, line.own)}</b>{bar}"
        f'<span class="muted" style="{MUTED};font-size:13px">{change}{line.own:,} messages</span>'
        if line.own
        else f'<span class="muted" style="{MUTED}">none</span>'
    )
    forged = f"{line.delivered:,}\u00a0delivered<br>" if line.delivered else ""
    name = html.escape(shown(line.domain, own=own)).replace(".", ".<wbr>")
    return (
        f'<tr><td {cell};overflow-wrap:anywhere;width:38%">{name}</td>'
        f'<td {cell};width:37%">{own}</td><td {cell};text-align:right">'
        f'<b class="bad" style="color:{BAD}">{forged}</b>{line.blocked:,}\u00a0blocked</td></tr>'
    )
