"""Raw texts of the metadata and the policy become the fields of a Report; pure."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple

from . import vocab
from .errors import Refused
from .organisation import by_name
from .parse_reader import (
    BEGIN,
    DATE_RANGE,
    EMAIL,
    END,
    ERRORS,
    GENERATOR,
    ORG_NAME,
    P_ADKIM,
    P_ASPF,
    P_DISCOVERY,
    P_DOMAIN,
    P_FO,
    P_NP,
    P_P,
    P_PCT,
    P_SP,
    P_TESTING,
    REPORT_ID,
    Node,
    Rest,
)
from .parse_record import Codes, Entry, Normaliser, in_order

DAY = 86_400
_MILLISECONDS_FROM = 100_000_000_000  # as seconds, the year 5138; as milliseconds, 1973
_LATEST = 2**40

_ADDRESS = re.compile(r"[^\s<>@\"]{1,200}@([^\s<>@\",;:]{1,255})")
_DOMAIN = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,62})\.)+[a-z0-9-]{2,63}")
_WHOLE = re.compile(r"-?[0-9]{1,16}")
_FLOAT = re.compile(r"[0-9]{1,16}\.[0-9]{0,16}(?:[eE]\+?[0-9]{1,2})?|[0-9](?:\.[0-9]{1,16})?[eE]\+?[0-9]{1,2}")
_NAMESPACES = {"urn:ietf:params:xml:ns:dmarc-2.0": "rfc9990", "http://dmarc.org/dmarc-xml/0.1": "rfc7489"}


class Head(NamedTuple):
    """All of a report but its records; `domain` is None when the policy names none."""

    submitter: str
    org_name: str | None
    org_email: str | None
    report_id: str
    begin: int
    end: int
    schema: str
    generator: str | None
    domain: str | None
    adkim: str | None
    aspf: str | None
    p: str | None
    sp: str | None
    np: str | None
    pct: int | None
    fo: str | None
    testing: bool | None
    discovery_method: str | None
    errors: tuple[str, ...]
    metadata_codes: Codes
    policy_codes: Codes


class Policy(NamedTuple):
    """One policy_published, and its warnings."""

    domain: str | None
    adkim: str | None
    aspf: str | None
    p: str | None
    sp: str | None
    np: str | None
    pct: int | None
    fo: str | None
    testing: bool | None
    discovery_method: str | None
    codes: Codes


def describe(raw: Rest, normal: Normaliser, content_hash: str, mail_domain: str | None, now: int) -> Head:
    """Interpret what the reader collected; raises Refused for a period that cannot be used."""
    metadata = _first(raw.metadata, 7)
    codes: list[str] = list(raw.codes) if len(raw.metadata) < 2 else [*raw.codes, "repeated_field"]
    org_name = normal.text(metadata[ORG_NAME], codes)
    org_email = normal.text(metadata[EMAIL], codes)
    report_id = normal.text(metadata[REPORT_ID], codes)
    generator = normal.text(metadata[GENERATOR], codes)
    errors = tuple(text for node in metadata[ERRORS] or () if (text := normal.text(node[0], codes)))
    begin, end = _period(metadata[DATE_RANGE] or [None, None], codes, now)
    mail_domain = (mail_domain or "").strip().lower().rstrip(".") or None
    own_domain = address_domain(org_email)
    if org_email is None:
        codes.append("missing_email")
    if org_name is None:
        codes.append("missing_org_name")
        org_name = mail_domain or own_domain
    if report_id is None:
        codes.append("missing_report_id")
        report_id = content_hash

    said = _first(raw.policies, 10)
    policy = normal.remembered(_policy)[(*said, "" if raw.policies else None)]
    policy_codes = ("two_policies", *policy.codes) if len(raw.policies) > 1 else policy.codes
    version = normal.text(raw.version, codes)
    newer = metadata[GENERATOR] is not None or any(said[slot] is not None for slot in (P_NP, P_TESTING, P_DISCOVERY))
    return Head(
        own_domain or mail_domain or by_name(org_name),
        org_name,
        org_email,
        report_id,
        begin,
        end,
        _schema(raw.namespace, version, newer),
        generator,
        policy.domain,
        policy.adkim,
        policy.aspf,
        policy.p,
        policy.sp,
        policy.np,
        policy.pct,
        policy.fo,
        policy.testing,
        policy.discovery_method,
        errors,
        in_order(codes),
        in_order(policy_codes),
    )


def _policy(normal: Normaliser, said: Entry) -> Policy:
    """`said` is the node's texts and, last, whether there was a policy at all ("") or not (None)."""
    codes: list[str] = []
    domain = normal.name(said[P_DOMAIN], codes)
    if said[-1] is None:
        codes.append("missing_policy")
    else:
        if domain is None:
            codes.append("missing_domain")
        if not (said[P_P] or "").strip():
            codes.append("missing_p")
    testing = normal.word(said[P_TESTING], vocab.TESTING, codes)
    return Policy(
        domain,
        normal.word(said[P_ADKIM], vocab.ALIGNMENTS, codes),
        normal.word(said[P_ASPF], vocab.ALIGNMENTS, codes),
        normal.word(said[P_P], vocab.POLICIES, codes),
        normal.word(said[P_SP], vocab.POLICIES, codes),
        normal.word(said[P_NP], vocab.POLICIES, codes),
        _percent(normal.text(said[P_PCT], codes), codes),
        normal.text(said[P_FO], codes),
        None if testing is None else testing == "y",
        normal.word(said[P_DISCOVERY], vocab.DISCOVERY_METHODS, codes),
        tuple(codes),
    )


def address_domain(address: str | None) -> str | None:
    """Domain of the last e-mail address in a text, in lower case, or None."""
    found = _ADDRESS.findall(address[:1000]) if address else None
    return (found[-1].lower().rstrip(".") or None) if found else None


def shared_domain(names: Iterable[str]) -> str | None:
    """The one of the names that all others equal or are below of; None when there is no such name."""
    distinct = {name for name in names if name}
    if not distinct:
        return None
    shortest = min(distinct, key=lambda name: (len(name), name))
    below = f".{shortest}"
    return shortest if all(name == shortest or name.endswith(below) for name in distinct) else None


def _first(nodes: list[Node], size: int) -> Node:
    """The first node with any content, else an empty one."""
    for node in nodes:
        if any(value if not isinstance(value, str) else value.strip() for value in node):
            return node
    return [None] * size


def _period(said: Node, codes: list[str], now: int) -> tuple[int, int]:
    begin, end = (_seconds(said[slot], codes) for slot in (BEGIN, END))
    if begin is None or end is None:
        which = "begin" if begin is None else "end"
        shown = (said[BEGIN] if begin is None else said[END]) or ""
        raise Refused("bad_date_range", f"The {which} of the report's period cannot be read: {shown.strip()[:40]!r}.")
    if end < begin:
        raise Refused("bad_date_range", f"The report's period ends ({_utc(end)}) before it begins ({_utc(begin)}).")
    if end > now + DAY:
        raise Refused(
            "future_report",
            f"The report's period ends at {_utc(end)}, over a day from now. Check this machine's clock.",
        )
    if begin == end:
        codes.append("empty_period")
        end += 1
    return begin, end


def _seconds(raw: str | None, codes: list[str]) -> int | None:
    """Seconds since 1970 of a time in seconds, milliseconds, with a fraction, or in ISO 8601 (then UTC by default)."""
    text = (raw or "").strip()[:64]
    if _WHOLE.fullmatch(text):
        value = int(text)
    elif _FLOAT.fullmatch(text):
        codes.append("odd_date")
        value = int(min(float(text), 1e18))
    else:
        try:
            moment = datetime.fromisoformat(text.upper().replace("UTC", "Z").replace(" Z", "Z"))
            value = int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
        except (ValueError, OverflowError):
            return None
        codes.append("odd_date")
    if value >= _MILLISECONDS_FROM:
        codes.append("odd_date")
        value //= 1000
    return value if 0 < value < _LATEST else None


def _utc(seconds: int) -> str:
    """A time as people read it: `2026-01-01 00:00:00 UTC`; years beyond 9999 as well."""
    at = time.gmtime(seconds)
    return f"{at.tm_year:04}-{at.tm_mon:02}-{at.tm_mday:02} {at.tm_hour:02}:{at.tm_min:02}:{at.tm_sec:02} UTC"


def _percent(text: str | None, codes: list[str]) -> int | None:
    if text is None:
        return None
    if text.isascii() and text.isdigit() and len(text) <= 3 and int(text) <= 100:
        return int(text)
    codes.append("bad_pct")
    return None


def _schema(namespace: str, version: str | None, newer_fields: bool) -> str:
    """RFC 9990 by its namespace, version or a field that only it has; the draft had no version (RFC 7489 App. C)."""
    if namespace in _NAMESPACES:
        return _NAMESPACES[namespace]
    if newer_fields or (version or "").startswith("2"):
        return "rfc9990"
    return "draft" if version is None else "rfc7489"
