"""What is known of a probe, in words for people: the command and the pages say the same."""

from __future__ import annotations

import time

from .probes import AWAITED, NOT_SENT, OVERDUE, UNEXPECTED, Followed, Told


def known(one: Followed) -> list[str]:
    """Sentences on its way and on the report that is awaited; names in them are as they came: show them escaped."""
    if one.state == NOT_SENT:
        return ["the relay has not said that it took it: it was stopped on the way"]
    host = f" by {one.host}" if one.host else ""
    if not one.receiver:
        return [f"{one.state}{host}: {one.reply}"] if one.reply else [f"in the queue as {one.probe.queue_id}"]
    out = [f"delivered{host} at {moment(one.tried)}: {one.reply}"]
    domain, who = one.probe.from_domain, one.receiver
    if one.state == AWAITED:
        out.append(f"{who} reports on {domain}, by {moment(one.until)} UTC at the latest")
    elif one.state == OVERDUE:
        out.append(f"{who} reports on {domain}, and should have reported this by {moment(one.until)} UTC")
    elif one.state == UNEXPECTED:
        out.append(f"{who} has sent no report on {domain} yet: none may come")
    return out


def counted(told: Told) -> list[str]:
    """Two lines on a report that counts a probe: whose and of when, then its share and the results."""
    row = "that row" if told.rows == 1 else f"those {told.rows} rows"
    results = ", ".join(
        f"{name} {' or '.join(f'{word} ({n:,})' for word, n in counts) if len(counts) > 1 else counts[0][0]}"
        for name, counts in (("DKIM", told.dkim), ("SPF", told.spf), ("DMARC", told.dmarc))
    )
    return [
        f"report {told.report_key[:10]} of {told.submitter}, {moment(told.begin)} to {moment(told.end)} UTC,",
        f"from {told.source_ip}: 1 of the {told.messages:,} messages of {row}; {results}",
    ]


def moment(seconds: int | None) -> str:
    """Seconds UTC as `2026-09-18 12:00`; nothing for None."""
    return "" if seconds is None else time.strftime("%Y-%m-%d %H:%M", time.gmtime(seconds))
