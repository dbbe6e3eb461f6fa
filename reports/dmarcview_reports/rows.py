"""Reports as flat rows, as JSON, and as the compact bytes that the ledger keeps; pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
import zstandard

from . import schema
from .model import DkimResult, Record, Records, Report, Shape, SpfResult

FORMAT = 1  # first byte of an encoded body
MAX_BODY = 2 << 30  # bytes that a body may unpack to
_LEVEL = 3
_SMALL = 512  # bytes of JSON below which compressing is not worth its time
_PLAIN, _ZSTD = b"\x01j", b"\x01z"  # format and packing


class BadBody(ValueError):
    """The bytes are no body that this version wrote."""


def report_columns(report: Report, received: int | None, auth: str) -> tuple[Any, ...]:
    """Values in the order of `schema.REPORT_COLUMNS`; times in seconds UTC."""
    return (
        report.report_key,
        report.submitter,
        report.org_name,
        report.org_email,
        report.report_id,
        report.begin,
        report.end,
        received,
        auth,
        report.schema,
        report.generator,
        report.domain,
        report.adkim,
        report.aspf,
        report.p,
        report.sp,
        report.np,
        report.pct,
        report.fo,
        report.testing,
        report.discovery_method,
    )


def record_columns(record: Record) -> tuple[Any, ...]:
    """Values in the order of `schema.RECORD_COLUMNS`; lists are tuples of DkimResult and SpfResult."""
    shape = record.shape
    return (
        record.source_ip,
        record.count,
        shape.disposition,
        shape.dkim_aligned,
        shape.spf_aligned,
        shape.dmarc_pass,
        shape.override_types,
        shape.override_comments,
        shape.header_from,
        shape.envelope_from,
        shape.envelope_to,
        shape.dkim,
        shape.spf,
    )


def json_report(report: Report, received: int | None = None, auth: str = "unknown") -> dict[str, Any]:
    """What `dmarcview parse --json` prints of a report: columns, `records`, `warnings`; times in ISO 8601, UTC."""
    out: dict[str, Any] = dict(zip(schema.REPORT_COLUMNS, report_columns(report, received, auth), strict=True))
    for column in ("begin", "end", "received"):
        out[column] = _iso(out[column])
    out["records"] = [_json_record(record) for record in report.records]
    out["warnings"] = [{"code": code, "where": where} for code, where in report.warnings]
    return out


def _json_record(record: Record) -> dict[str, Any]:
    row: dict[str, Any] = dict(zip(schema.RECORD_COLUMNS, record_columns(record), strict=True))
    for column in ("override_types", "override_comments"):
        row[column] = list(row[column])
    for column in ("dkim", "spf"):
        row[column] = [entry._asdict() for entry in row[column]]
    return row


def _iso(seconds: int | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def encode(records: Records) -> bytes:
    """Compact body: format byte, packing byte, then JSON of the four lists, zstd-compressed when that pays."""
    body = orjson.dumps((records.source_ip, records.count, records.shape, records.shapes), default=_tuple)
    if len(body) < _SMALL:
        return _PLAIN + body
    return _ZSTD + zstandard.ZstdCompressor(level=_LEVEL).compress(body)


def _tuple(value: object) -> object:
    """Named tuples are lists in a body: orjson knows tuples, and none of their subclasses."""
    if isinstance(value, tuple):
        return tuple(value)
    raise TypeError(f"a body holds no {type(value).__name__}")


def decode(body: bytes) -> Records:
    """The records that `encode` was given; raises BadBody."""
    try:
        if body.startswith(_ZSTD):
            body = zstandard.ZstdDecompressor().decompress(body[2:], max_output_size=MAX_BODY)
        elif body.startswith(_PLAIN):
            body = body[2:]
        else:
            raise BadBody(f"unknown format {body[:2]!r} of a records body; a newer dmarcview may have written it")
        addresses, counts, places, shapes = orjson.loads(body)
        return Records(addresses, counts, places, [_shape(shape) for shape in shapes])
    except (zstandard.ZstdError, orjson.JSONDecodeError, ValueError, TypeError) as error:
        raise error if isinstance(error, BadBody) else BadBody(f"damaged records body: {error}") from None


def _shape(values: list[Any]) -> Shape:
    disposition, by_dkim, by_spf, types, comments, header_from, envelope_from, envelope_to, dkim, spf = values
    return Shape(
        disposition,
        by_dkim,
        by_spf,
        tuple(types),
        tuple(comments),
        header_from,
        envelope_from,
        envelope_to,
        tuple([DkimResult(*entry) for entry in dkim]),
        tuple([SpfResult(*entry) for entry in spf]),
    )
