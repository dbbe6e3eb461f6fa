"""An unpacked aggregate report becomes a Report: by the fast reader if it can, else the plain one, else leniently."""

from __future__ import annotations

import hashlib
import time
from functools import lru_cache

from . import fast as fast_reader
from .errors import Refused
from .model import Caution, Records, Report
from .parse_head import Head, describe, shared_domain
from .parse_lenient import read_lenient
from .parse_reader import Damaged, read_strict
from .parse_record import Normaliser, in_order
from .parse_rows import Builder, Rows, check_total, collector
from .parse_source import Source
from .settings import Limits

DEFAULT_LIMITS = Limits()


def parse(
    xml: bytes,
    limits: Limits = DEFAULT_LIMITS,
    now: int | None = None,
    *,
    mail_domain: str | None = None,
    fast: bool = True,
) -> Report:
    """Read one aggregate report (RFC 7489 Appendix C, RFC 9990).

    `now` is in seconds UTC (None: the clock); `mail_domain` is the domain of the report mail's From, which stands in
    for a missing organisation. Raises Refused, and nothing else, whatever the bytes are. `fast=False` gives the same
    answer slowly.
    """
    if len(xml) > limits.xml_bytes:
        raise Refused("too_large", f"The XML has {len(xml)} bytes; the limit is {limits.xml_bytes}.", "xml_bytes")
    if not xml or xml.isspace():
        raise Refused("empty", "The report holds no text.")
    source = Source(xml)
    normal, learnt = _memory(limits)
    rows = fast_reader.read(source, normal, learnt) if fast else None
    if rows is None:
        rows = _plain(source, normal)
    content_hash = hashlib.sha256(xml).hexdigest()
    head = describe(rows.rest, normal, content_hash, mail_domain, int(time.time()) if now is None else now)
    return _report(rows, head, content_hash, limits)


@lru_cache(maxsize=4)
def _memory(limits: Limits) -> tuple[Normaliser, fast_reader.Learnt]:
    """What is remembered from one report to the next: nothing that could change an answer."""
    return Normaliser(limits), fast_reader.Learnt()


def _plain(source: Source, normal: Normaliser) -> Rows:
    """Strict first; what is not well formed is read again, leniently."""
    builder = Builder(normal)
    rest = collector(normal, builder.record)
    try:
        read_strict(source.blocks(), rest)
        return Rows(builder, rest.rest(), source.codes)
    except Damaged:
        builder = Builder(normal)
        rest = collector(normal, builder.record)
        repairs: set[str] = set()
        read_lenient(source.blocks(), rest, repairs)
        return Rows(builder, rest.rest(), source.codes | repairs)


def _report(rows: Rows, head: Head, content_hash: str, limits: Limits) -> Report:
    builder = rows.builder
    records = builder.records
    check_total(records)
    domain = head.domain or shared_domain(shape.header_from for shape in records.shapes)
    if domain is None:
        raise Refused("no_domain", "Neither the policy nor the records name one domain that the report is about.")
    if "missing_header_from" in builder.counts:
        records = _with_header_from(records, domain)
    about = [Caution(code, "file") for code in in_order(rows.codes)]
    about += [Caution(code, "report_metadata") for code in head.metadata_codes]
    about += [Caution(code, "policy_published") for code in head.policy_codes]
    if not builder.number:
        about.append(Caution("no_records", "report"))
    counts = builder.counts
    for code, _ in about:
        counts[code] = counts.get(code, 0) + 1
    return Report(
        submitter=head.submitter,
        org_name=head.org_name,
        org_email=head.org_email,
        report_id=head.report_id,
        begin=head.begin,
        end=head.end,
        schema=head.schema,
        generator=head.generator,
        domain=domain,
        adkim=head.adkim,
        aspf=head.aspf,
        p=head.p,
        sp=head.sp,
        np=head.np,
        pct=head.pct,
        fo=head.fo,
        testing=head.testing,
        discovery_method=head.discovery_method,
        errors=head.errors,
        records=records,
        warnings=tuple((about + builder.listed)[: limits.warnings]),
        warning_counts=dict(sorted(counts.items())),
        content_hash=content_hash,
        truncated="truncated" in rows.codes,
    )


def _with_header_from(records: Records, domain: str) -> Records:
    """The policy domain stands in for a missing header_from; shapes that become equal are one."""
    places: dict[object, int] = {}
    moved = [
        places.setdefault(shape if shape.header_from else shape._replace(header_from=domain), len(places))
        for shape in records.shapes
    ]
    shapes = list(places)
    return Records(records.source_ip, records.count, [moved[index] for index in records.shape], shapes)  # type: ignore[arg-type]
