"""Record rows in the shape of parsedmarc 11: its field names, their order, and its habits.

So that scripts and dashboards made for it go on working. Its habits, kept here: a report id is cut at `@`; an org_name
without a blank becomes its organisational domain; what a report left out reads as `none`, `fail` or `mfrom`; a period
of more than a day is cut at midnight, with the counts shared out. Where it differs: times are UTC always (there, the
report's own period is in the machine's zone); `org_extra_contact_info`, `source_base_domain` of addresses without a
name, and `source_as_domain` are not kept here and stay empty; words and domains are as we normalised them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from dmarcview.organisation import organisational

FIELDS = (
    *("xml_schema", "org_name", "org_email", "org_extra_contact_info", "report_id", "begin_date", "end_date"),
    *("normalized_timespan", "errors", "domain", "adkim", "aspf", "p", "sp", "np", "pct", "fo", "testing"),
    *("discovery_method", "source_ip_address", "source_country", "source_reverse_dns", "source_base_domain"),
    *("source_name", "source_type", "source_asn", "source_as_name", "source_as_domain", "count", "spf_aligned"),
    *("dkim_aligned", "dmarc_aligned", "disposition", "policy_override_reasons", "policy_override_comments"),
    *("envelope_from", "header_from", "envelope_to", "dkim_domains", "dkim_selectors", "dkim_results"),
    *("spf_domains", "spf_scopes", "spf_results"),
)
DAY = timedelta(days=1)
NAMESPACE = {"rfc9990": "urn:ietf:params:xml:ns:dmarc-2.0"}
VERSION = {"draft": "draft"}  # every other schema says 1.0

Row = Mapping[str, Any]
Tree = dict[str, Any]


class Report(NamedTuple):
    """A report as parsedmarc's JSON has it: all but its records, and those, which can be read once."""

    head: Tree
    records: Iterator[Tree]


def reports(rows: Iterable[Row], errors: Mapping[str, list[str]]) -> Iterator[Report]:
    """Reports from record rows in which each report's rows stand together; each is to be read before the next."""
    for key, group in itertools.groupby(rows, key=lambda row: row["report_key"]):
        first = next(group)
        begin, end = first["begin"].astimezone(UTC), first["end"].astimezone(UTC)
        long = end - begin > DAY
        records = (part for row in itertools.chain([first], group) for part in _parts(_record(row), begin, end, long))
        yield Report(_head(first, begin, end, long, errors.get(key, [])), records)


def _head(first: Row, begin: datetime, end: datetime, long: bool, errors: list[str]) -> Tree:
    return {
        "xml_schema": VERSION.get(first["schema"], "1.0"),
        "xml_namespace": NAMESPACE.get(first["schema"]),
        "report_metadata": {
            "org_name": _org_name(first["org_name"] or first["submitter"]),
            "org_email": first["org_email"],
            "org_extra_contact_info": None,
            "report_id": first["report_id"].replace("<", "").replace(">", "").split("@")[0],
            "begin_date": _moment(begin),
            "end_date": _moment(end),
            "timespan_requires_normalization": long,
            "original_timespan_seconds": int((end - begin).total_seconds()),
            "errors": errors,
            "generator": first["generator"],
        },
        "policy_published": {
            "domain": first["domain"],
            "adkim": first["adkim"] or "r",
            "aspf": first["aspf"] or "r",
            "p": first["p"],
            "sp": first["sp"] or first["p"],
            "pct": None if first["pct"] is None else str(int(first["pct"])),
            "fo": first["fo"],
            "np": first["np"],
            "testing": {None: None, True: "y", False: "n"}[first["testing"]],
            "discovery_method": first["discovery_method"],
        },
    }


def _org_name(name: str) -> str:
    """A name without a blank is taken for a domain, of which the organisation's is kept."""
    if " " in name:
        return name
    base = organisational(name)
    return base if "." in base else name


def _moment(when: datetime) -> str:
    return when.strftime("%Y-%m-%d %H:%M:%S")


def _record(row: Row) -> Tree:
    spf_aligned, dkim_aligned = bool(row["spf_aligned"]), bool(row["dkim_aligned"])
    types, comments = row["override_types"] or [], row["override_comments"] or []
    spf = [
        {"domain": one["domain"], "scope": one["scope"] or "mfrom", "result": one["result"] or "none",
         "human_result": one["human_result"]}
        for one in row["spf"] or [] if one["domain"] is not None
    ]  # fmt: skip
    dkim = [
        {"domain": one["domain"], "selector": one["selector"] or "none", "result": one["result"] or "none",
         "human_result": one["human_result"]}
        for one in row["dkim"] or [] if one["domain"] is not None
    ]  # fmt: skip
    name = row["reverse_dns"]
    return {
        "source": {
            "ip_address": row["source_ip"],
            "reverse_dns": name,
            "country": row["country"],
            "base_domain": organisational(name) if name else None,
            "name": row["service"] or row["as_name"],
            "type": row["service_type"],
            "asn": None if row["asn"] is None else int(row["asn"]),
            "as_name": row["as_name"],
            "as_domain": None,
        },
        "count": int(row["count"]),
        "alignment": {"spf": spf_aligned, "dkim": dkim_aligned, "dmarc": spf_aligned or dkim_aligned},
        "policy_evaluated": {
            "disposition": row["disposition"] or "none",
            "dkim": "pass" if dkim_aligned else "fail",
            "spf": "pass" if spf_aligned else "fail",
            "policy_override_reasons": [
                {"type": kind, "comment": comment or None}
                for kind, comment in itertools.zip_longest(types, comments, fillvalue=None)
            ],
        },
        "identifiers": {
            "header_from": row["header_from"],
            "envelope_from": row["envelope_from"] or (spf[-1]["domain"].lower() if spf else None),
            "envelope_to": row["envelope_to"],
        },
        "auth_results": {"dkim": dkim, "spf": spf},
    }


def _parts(record: Tree, begin: datetime, end: datetime, long: bool) -> Iterator[Tree]:
    """The record with its interval; of a long period one part a day, as parsedmarc shares the count out."""
    if not long:
        yield record | _interval(False, begin, end)
        return
    for start, stop, count in shares(begin, end, record["count"]):
        yield record | {"count": count} | _interval(True, start, stop)


def _interval(long: bool, begin: datetime, end: datetime) -> Tree:
    return {"normalized_timespan": long, "interval_begin": _moment(begin), "interval_end": _moment(end)}


def shares(begin: datetime, end: datetime, count: int) -> list[tuple[datetime, datetime, int]]:
    """Cut [begin, end) at midnights, share `count` by overlap; what rounding leaves goes to the largest remainders."""
    days = []
    start = begin
    while start < end:
        midnight = start.replace(hour=0, minute=0, second=0, microsecond=0) + DAY
        days.append((start, min(midnight, end)))
        start = midnight
    whole = (end - begin).total_seconds()
    exact = [(stop - start).total_seconds() / whole * count for start, stop in days]
    counts = [int(value) for value in exact]
    by_rest = sorted(range(len(days)), key=lambda n: exact[n] - counts[n], reverse=True)
    for n in by_rest[: count - sum(counts)]:
        counts[n] += 1
    return [(start, stop, part) for (start, stop), part in zip(days, counts, strict=True) if part]


def csv_rows(report: Report) -> Iterator[dict[str, Any]]:
    """The rows of one report in parsedmarc's CSV; what is missing is empty."""
    meta, policy = report.head["report_metadata"], report.head["policy_published"]
    head = {
        "xml_schema": report.head["xml_schema"],
        **{name: meta[name] for name in ("org_name", "org_email", "org_extra_contact_info", "report_id")},
        "normalized_timespan": meta["timespan_requires_normalization"],
        "errors": "|".join(meta["errors"]),
        **policy,
    }
    for record in report.records:
        source = record["source"]
        reasons = record["policy_evaluated"]["policy_override_reasons"]
        dkim, spf = record["auth_results"]["dkim"], record["auth_results"]["spf"]
        row = head | {
            "begin_date": record["interval_begin"],
            "end_date": record["interval_end"],
            "source_ip_address": source["ip_address"],
            **{f"source_{name}": source[name] for name in source if name != "ip_address"},
            "count": record["count"],
            **{f"{name}_aligned": aligned for name, aligned in record["alignment"].items()},
            "disposition": record["policy_evaluated"]["disposition"],
            "policy_override_reasons": ",".join(reason["type"] or "none" for reason in reasons),
            "policy_override_comments": "|".join(reason["comment"] or "none" for reason in reasons),
            **record["identifiers"],
            **{f"dkim_{name}s": _joined(dkim, name) for name in ("domain", "selector", "result")},
            **{f"spf_{name}s": _joined(spf, name) for name in ("domain", "scope", "result")},
        }
        yield {name: "" if row[name] is None else row[name] for name in FIELDS}


def _joined(results: list[Tree], name: str) -> str:
    return ",".join(result[name].lower() for result in results)
