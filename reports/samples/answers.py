"""What a plain report says, written out by hand, and how a sample is laid down with its answer.

The samples state their answers as differences to this one.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

BEGIN, END = 1767225600, 1767312000
Warnings = tuple[tuple[str, str], ...]  # (code, where)

EXPECTED_RECORD: dict[str, Any] = {
    "source_ip": "192.0.2.10",
    "count": 3,
    "disposition": "none",
    "dkim_aligned": True,
    "spf_aligned": False,
    "dmarc_pass": True,
    "override_types": [],
    "override_comments": [],
    "header_from": "example.com",
    "envelope_from": None,
    "envelope_to": None,
    "dkim": [{"domain": "example.com", "selector": "a", "result": "pass", "human_result": None}],
    "spf": [{"domain": "bounce.example.org", "scope": None, "result": "pass", "human_result": None}],
}
EXPECTED: dict[str, Any] = {
    "submitter": "receiver.example.net",
    "org_name": "Example Receiver",
    "org_email": "noreply@receiver.example.net",
    "report_id": "20260101.1@receiver",
    "begin": "2026-01-01T00:00:00Z",
    "end": "2026-01-02T00:00:00Z",
    "received": None,
    "auth": "unknown",
    "schema": "rfc7489",
    "generator": None,
    "domain": "example.com",
    "adkim": "r",
    "aspf": "s",
    "p": "reject",
    "sp": "none",
    "np": None,
    "pct": 100,
    "fo": None,
    "testing": None,
    "discovery_method": None,
}


def reading(
    content: bytes,
    report: dict[str, Any],
    records: Sequence[dict[str, Any]],
    warnings: Warnings,
    period: tuple[int, int] = (BEGIN, END),
) -> dict[str, Any]:
    """One report: `report` and each of `records` are differences to the plain one, `content` is its XML."""
    said = copy.deepcopy(EXPECTED) | report
    digest = hashlib.sha256(content).hexdigest()
    if said["report_id"] == "CONTENT":
        said["report_id"] = digest
    parts = (said["submitter"], said["domain"], said["report_id"], *map(str, period))
    identity = hashlib.blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()
    key = hashlib.blake2b((identity + digest).encode(), digest_size=12).hexdigest()
    return {
        "report_key": key,
        **said,
        "records": [copy.deepcopy(EXPECTED_RECORD) | record for record in records],
        "warnings": [{"code": code, "where": where} for code, where in warnings],
    }


def put(folder: Path, file: str, content: bytes, answer: dict[str, Any], why: str) -> None:
    """Write a sample, and beside it the answer and the line why."""
    stem = file.partition(".")[0]
    (folder / file).write_bytes(content)
    (folder / f"{stem}.json").write_text(json.dumps(answer, indent=1, ensure_ascii=False) + "\n", "utf-8")
    (folder / f"{stem}.txt").write_text(why + "\n", "utf-8")
