"""Reads one input whole: payloads to reports, failure reports and TLS reports, and every refusal as a value."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from . import parse, parsedmarc, rows, unpack
from .errors import Refused
from .jsontree import checked
from .model import Caution, Other, Reading, Refusal, Report
from .settings import Limits


def read(raw: bytes, name: str, limits: Limits, now: int) -> Reading:
    """All that `raw` holds. Never raises for content: what is at fault becomes a refusal, the rest is kept.

    `name` is how people know the input; `now` is seconds UTC, for reports that end in the future.
    """
    found: dict[type, list[Any]] = {Report: [], Other: [], Refusal: []}
    unknown: list[str] = []
    records = 0
    try:
        for payload in unpack.payloads(raw, limits):
            if isinstance(payload, Refusal):
                found[Refusal].append(payload)
            elif payload.kind == "unknown":
                unknown.append(payload.where)
            elif payload.kind == "xml" and records >= limits.records:
                message = (
                    f"The reports before it in the same input have {records} records already. "
                    "Raise [limits] records if you trust the sender, or import the reports one by one."
                )
                found[Refusal].append(Refusal("too_many_records", message, payload.where))
            else:
                for value in _values(payload, limits, now):
                    found[type(value)].append(value)
                    records += len(value.records) if isinstance(value, Report) else 0
    except Refused as refused:
        found[Refusal].append(Refusal(refused.code, refused.message))
    except Exception as error:
        # The last line of defence: one input must not stop the ingest of the others. It is stored and can be replayed.
        found[Refusal].append(_fault(error, ""))
    if not any(found.values()):
        found[Refusal].append(_nothing(unknown))
    return Reading(name, *(tuple(values) for values in found.values()))


def _values(payload: unpack.Payload, limits: Limits, now: int) -> Iterator[Report | Other | Refusal]:
    """What one payload becomes."""
    try:
        if payload.kind == "xml":
            sender = payload.mail.from_domain if payload.mail else None
            yield _cautioned(parse.parse(payload.content, limits, now, mail_domain=sender), payload, limits)
        elif payload.kind == "parsedmarc":
            for report in parsedmarc.reports(payload.content, limits):
                if isinstance(report, Report):
                    yield _cautioned(report, payload, limits)
                else:
                    yield replace(report, where=_join(payload.where, report.where))
        else:
            if payload.kind == "tls":
                checked(payload.content)
            yield Other(payload.kind, payload.content, hashlib.sha256(payload.content).hexdigest())
    except Refused as refused:
        yield Refusal(refused.code, refused.message, payload.where)
    except Exception as error:
        yield _fault(error, payload.where)


def _join(*places: str) -> str:
    return " > ".join(place for place in places if place)


def _cautioned(report: Report, found: unpack.Payload, limits: Limits) -> Report:
    """The report with the repairs of its packing put before its own warnings."""
    if not found.cautions:
        return report
    counts = dict(report.warning_counts)
    for code in found.cautions:
        counts[code] = counts.get(code, 0) + 1
    listed = (*(Caution(code, found.where) for code in found.cautions), *report.warnings)
    return replace(report, warnings=listed[: limits.warnings], warning_counts=counts)


def _fault(error: Exception, where: str) -> Refusal:
    return Refusal("fault", f"{type(error).__name__}: {error}. Please send the input to the maintainers.", where)


def _nothing(unknown: list[str]) -> Refusal:
    places = [where for where in unknown if where][:5]
    seen = f" Looked at: {', '.join(places)}." if places else ""
    return Refusal("not_a_report", f"This is no DMARC, failure or TLS report.{seen}")


def json_line(reading: Reading) -> dict[str, Any]:
    """The object that `dmarcview parse --json` prints for one input.

    `refused` holds the first refusal; when there are several, `refusals` lists all with their places.
    """
    first = reading.refusals[0] if reading.refusals else None
    line: dict[str, Any] = {
        "input": reading.input,
        "kind": reading.kind,
        "reports": [rows.json_report(report) for report in reading.reports],
        "refused": {"code": first.code, "message": first.message} if first else None,
    }
    if first and (len(reading.refusals) > 1 or first.where):
        line["refusals"] = [{"code": r.code, "message": r.message, "where": r.where} for r in reading.refusals]
    return line
