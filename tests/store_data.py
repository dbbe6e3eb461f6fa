"""Made-up reports and inputs for the tests of store and questions."""

from __future__ import annotations

import hashlib
from typing import Any

from dmarcview_reports.model import (
    DkimResult,
    Origin,
    Other,
    Reading,
    Records,
    Refusal,
    Report,
    Shape,
    SpfResult,
    Taken,
    Verdict,
)

DAY = 86_400
D0 = 1_767_225_600  # 2026-01-01


def shape(
    dkim: bool | None = True,
    spf: bool | None = False,
    disposition: str | None = "none",
    overrides: tuple[str, ...] = (),
    signers: tuple[tuple[str, str, str], ...] = (("example.org", "s1", "pass"),),
    header_from: str = "example.org",
) -> Shape:
    return Shape(
        disposition,
        dkim,
        spf,
        overrides,
        ("",) * len(overrides),
        header_from,
        "bounce.example.org",
        None,
        tuple(DkimResult(d, s, r, None) for d, s, r in signers),
        (SpfResult("bounce.example.org", "mfrom", "pass", None),),
    )


def records(*rows: tuple[str, int, Shape]) -> Records:
    out = Records()
    for ip, count, one in rows:
        if one not in out.shapes:
            out.shapes.append(one)
        out.source_ip.append(ip)
        out.count.append(count)
        out.shape.append(out.shapes.index(one))
    return out


PLAIN = records(("192.0.2.1", 5, shape()), ("198.51.100.7", 3, shape(dkim=False, disposition="reject", signers=())))


def report(name: str = "r1", rows: Records = PLAIN, content: str = "", **fields: Any) -> Report:
    values: dict[str, Any] = {
        "submitter": "reporter.example",
        "org_name": "Reporter",
        "org_email": "dmarc@reporter.example",
        "report_id": name,
        "begin": D0,
        "end": D0 + DAY,
        "schema": "rfc7489",
        "generator": None,
        "domain": "example.org",
        "adkim": "r",
        "aspf": "r",
        "p": "none",
        "sp": None,
        "np": None,
        "pct": 100,
        "fo": None,
        "testing": None,
        "discovery_method": None,
        "errors": (),
        "records": rows,
        "warnings": (),
        "warning_counts": {},
    } | fields
    digest = hashlib.sha256((name + content + repr(sorted(fields.items()))).encode()).hexdigest()
    return Report(**values, content_hash=digest)


def taken(
    name: str,
    *reports: Report,
    auth: str = "pass",
    channel: str = "smtp",
    raw: bytes | None = None,
    refusals: tuple[Refusal, ...] = (),
    others: tuple[Other, ...] = (),
    received: int = D0 + 2 * DAY,
) -> Taken:
    return Taken(
        Origin(name, received, channel, client="203.0.113.9", rcpt_to=("rua@example.org",)),
        raw if raw is not None else f"raw of {name}".encode(),
        Reading(name, reports, others, refusals),
        Verdict(auth, "made up"),
    )
