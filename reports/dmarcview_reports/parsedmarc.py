"""History from parsedmarc: its JSON output becomes reports again, as far as it still says what they said.

What its format has lost, and so we cannot bring back: which of disposition, dkim and spf a record left out (it writes
`none` and `fail`), which selectors and scopes were missing (it writes `none` and `mfrom`), empty envelope senders, and
records that it dropped. A period in local time is taken from the records, which are in UTC, where they have it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from . import vocab
from .errors import Refused
from .jsontree import checked, objects
from .model import Caution, Records, Refusal, Report, Shape
from .organisation import by_name
from .parse_head import address_domain
from .parse_record import Codes, Normaliser, count, source_ip
from .parse_rows import check_total
from .settings import Limits

Json = Mapping[str, Any]
_NONE: Json = {}
_TIME = "%Y-%m-%d %H:%M:%S"


def reports(text: bytes, limits: Limits) -> Iterator[Report | Refusal]:
    """Reports of a parsedmarc file: one object, an array, JSON lines, or its wrapper with all kinds."""
    normal = Normaliser(limits)
    number = 0
    try:
        for number, piece in enumerate(objects(text), 1):
            try:
                yield _report(_mapping(checked(piece)), normal)
            except Refused as refused:
                yield Refusal(refused.code, refused.message, f"report {number}")
    except Refused as refused:
        yield Refusal(refused.code, refused.message, f"report {number + 1}")
        return
    if not number:
        yield Refusal("bad_json", "The JSON holds no whole object. Ask for it again.")


def _report(said: Json, normal: Normaliser) -> Report:
    codes: list[str] = []
    metadata, policy = _mapping(said.get("report_metadata")), _mapping(said.get("policy_published"))
    rows = [_mapping(row) for row in _sequence(said.get("records"))]
    begin, end = _period(metadata, rows)
    domain = normal.name(_text(policy, "domain"), codes)
    if domain is None:
        raise Refused("no_domain", "policy_published has no domain. Import the original report instead.")
    email = normal.text(_text(metadata, "org_email"), codes)
    name = normal.text(_text(metadata, "org_name"), codes)
    content_hash = hashlib.sha256(orjson.dumps(said, option=orjson.OPT_SORT_KEYS)).hexdigest()
    testing = normal.word(_text(policy, "testing"), vocab.TESTING, codes)
    pct = _text(policy, "pct")
    records, cautions, counts = _records(rows, domain, normal)
    check_total(records)
    counts["imported"] = 1
    for code in codes:
        counts[code] = counts.get(code, 0) + 1
    return Report(
        submitter=address_domain(email) or by_name(name),
        org_name=name,
        org_email=email,
        report_id=normal.text(_text(metadata, "report_id"), codes) or content_hash,
        begin=begin,
        end=end,
        schema=_schema(said, metadata, policy),
        generator=normal.text(_text(metadata, "generator"), codes),
        domain=domain,
        adkim=normal.word(_text(policy, "adkim"), vocab.ALIGNMENTS, codes),
        aspf=normal.word(_text(policy, "aspf"), vocab.ALIGNMENTS, codes),
        p=normal.word(_text(policy, "p"), vocab.POLICIES, codes),
        sp=normal.word(_text(policy, "sp"), vocab.POLICIES, codes),
        np=normal.word(_text(policy, "np"), vocab.POLICIES, codes),
        pct=int(pct) if pct and pct.isascii() and pct.isdigit() and len(pct) < 4 and int(pct) <= 100 else None,
        fo=normal.text(_text(policy, "fo"), codes),
        testing=None if testing is None else testing == "y",
        discovery_method=normal.word(_text(policy, "discovery_method"), vocab.DISCOVERY_METHODS, codes),
        errors=tuple(str(error) for error in _sequence(metadata.get("errors"))),
        records=records,
        warnings=(Caution("imported", "parsedmarc"), *(Caution(code, "report") for code in codes), *cautions)[
            : normal.limits.warnings
        ],
        warning_counts=counts,
        content_hash=content_hash,
    )


def _records(rows: list[Json], domain: str, normal: Normaliser) -> tuple[Records, list[Caution], dict[str, int]]:
    """Records by column. A record that parsedmarc cut into days is put together again: same address, same rest."""
    columns = Records()
    index: dict[Shape, int] = {}
    cut: dict[tuple[str, int], int] = {}
    cautions: list[Caution] = []
    counts: dict[str, int] = {}
    if len(rows) > normal.limits.records:
        raise Refused(
            "too_many_records", f"It has {len(rows)} records. Raise [limits] records if you trust it.", "records"
        )
    for number, row in enumerate(rows, 1):
        address, codes = source_ip(_text(_mapping(row.get("source")), "ip_address") or "")
        messages, more = count(_text(row, "count") or "")
        shape, found = _shape(row, normal)
        for code in (*codes, *more, *found):
            cautions.append(Caution(code, f"record {number}"))
            counts[code] = counts.get(code, 0) + 1
        if address is None or not messages:
            continue
        if not shape.header_from:
            shape = shape._replace(header_from=domain)
        at = index.setdefault(shape, len(columns.shapes))
        if at == len(columns.shapes):
            columns.shapes.append(shape)
        if row.get("normalized_timespan") is True:
            known = cut.setdefault((address, at), len(columns))
            if known < len(columns):
                columns.count[known] += messages
                continue
        columns.source_ip.append(address)
        columns.count.append(messages)
        columns.shape.append(at)
    return columns, cautions, counts


def _shape(row: Json, normal: Normaliser) -> tuple[Shape, Codes]:
    evaluated, names = _mapping(row.get("policy_evaluated")), _mapping(row.get("identifiers"))
    results = _mapping(row.get("auth_results"))
    reasons = [_mapping(reason) for reason in _sequence(evaluated.get("policy_override_reasons"))]
    said, codes = normal.evaluated[(_text(evaluated, "disposition"), _text(evaluated, "dkim"), _text(evaluated, "spf"))]
    return normal.assemble(
        said,
        [normal.reason[(_text(reason, "type"), _text(reason, "comment"), None)] for reason in reasons],
        (_text(names, "header_from"), _text(names, "envelope_from"), _text(names, "envelope_to")),
        [normal.dkim[_fields(entry, "domain", "selector")] for entry in _sequence(results.get("dkim"))],
        [normal.spf[_fields(entry, "domain", "scope")] for entry in _sequence(results.get("spf"))],
        list(codes),
    )


def _fields(entry: object, *names: str) -> tuple[str | None, ...]:
    said = _mapping(entry)
    return tuple(_text(said, name) for name in (*names, "result", "human_result"))


def _schema(said: Json, metadata: Json, policy: Json) -> str:
    """parsedmarc writes the version that the file stated, or `draft`."""
    if "2.0" in (_text(said, "xml_namespace") or "") or any(
        policy.get(k) for k in ("np", "testing", "discovery_method")
    ):
        return "rfc9990"
    if metadata.get("generator"):
        return "rfc9990"
    return "draft" if _text(said, "xml_schema") in (None, "draft") else "rfc7489"


def _period(metadata: Json, rows: list[Json]) -> tuple[int, int]:
    begins = [t for row in rows if (t := _seconds(_text(row, "interval_begin"))) is not None]
    ends = [t for row in rows if (t := _seconds(_text(row, "interval_end"))) is not None]
    begin = min(begins) if begins else _seconds(_text(metadata, "begin_date"))
    end = max(ends) if ends else _seconds(_text(metadata, "end_date"))
    if begin is None or end is None or end < begin:
        raise Refused("bad_date_range", "There is no readable period. Import the original report instead.")
    return begin, max(end, begin + 1)


def _seconds(text: str | None) -> int | None:
    try:
        moment = datetime.strptime((text or "")[:19].replace("T", " "), _TIME).replace(tzinfo=UTC)
    except ValueError:
        return None
    return int(moment.timestamp()) if moment.year >= 1970 else None


def _mapping(value: object) -> Json:
    return value if isinstance(value, dict) else _NONE


def _sequence(value: object) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _text(said: Json, name: str) -> str | None:
    value = said.get(name)
    if value is None or isinstance(value, (dict, list)):
        return None
    return value if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
