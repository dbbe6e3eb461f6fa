"""An independent judge of the parser: a plain walk over lxml's tree, written from the RFCs and from reports/README.md.

It reads well-formed XML only, holds the whole tree, knows no limits and gives no warnings: just the public columns.
"""

import hashlib
import ipaddress
import re
from datetime import UTC, datetime
from typing import Any

import idna
from lxml import etree

# Without comments and processing instructions, an element's text is its own text and its children's tails.
PARSER = etree.XMLParser(remove_comments=True, remove_pis=True, resolve_entities=False, no_network=True)
DAY = 86_400
NAMESPACES = {"urn:ietf:params:xml:ns:dmarc-2.0": "rfc9990", "http://dmarc.org/dmarc-xml/0.1": "rfc7489"}

POLICIES = {"none", "quarantine", "reject"}
ALIGNMENTS = {"r": "r", "s": "s", "relaxed": "r", "strict": "s"}
OVERRIDES = {"forwarded", "sampled_out", "trusted_forwarder", "mailing_list", "local_policy", "other"}
OVERRIDES |= {"policy_test_mode"}  # RFC 9990
RESULTS = {word: word for word in ("none", "neutral", "pass", "fail", "policy", "temperror", "permerror")}
RESULTS |= {"hardfail": "fail", "unknown": "temperror", "error": "permerror"}
SPF_RESULTS = {**RESULTS, "softfail": "softfail"}


class Refusal(Exception):
    """The report cannot be rows; the argument is the code."""


def judge(xml: bytes, now: int, mail_domain: str | None = None) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Report columns (without report_key, received and auth) and record columns; raises Refusal, or lxml's error."""
    root = etree.fromstring(xml, PARSER)
    if root.getroottree().docinfo.doctype:
        raise Refusal("doctype")
    if name_of(root) != "feedback":
        raise Refusal("not_a_report")
    meta = filled(root, "report_metadata")
    begin, end = (seconds(text(child(child(meta, "date_range"), name))) for name in ("begin", "end"))
    if begin is None or end is None or end < begin:
        raise Refusal("bad_date_range")
    if end > now + DAY:
        raise Refusal("future_report")
    policy = filled(root, "policy_published")
    rows = [row for node in children(root, "record") if (row := record(node)) is not None]
    domain = host(text(child(policy, "domain"))) or shared([row["header_from"] for row in rows])
    if domain is None:
        raise Refusal("no_domain")
    for row in rows:
        row["header_from"] = row["header_from"] or domain
    email = text(child(meta, "email"))
    own = re.findall(r"[^\s<>@]@([^\s<>@,;:\"]+)", email or "")
    contact = own[-1].lower().rstrip(".") if own else None
    org_name = text(child(meta, "org_name")) or mail_domain or contact
    percent = text(child(policy, "pct")) or ""
    report = {
        "submitter": contact or mail_domain or " ".join((org_name or "unknown").lower().split()),
        "org_name": org_name,
        "org_email": email,
        "report_id": text(child(meta, "report_id")) or hashlib.sha256(xml).hexdigest(),
        "begin": begin,
        "end": max(end, begin + 1),
        "schema": schema(root, meta, policy),
        "generator": text(child(meta, "generator")),
        "domain": domain,
        "adkim": word(child(policy, "adkim"), ALIGNMENTS),
        "aspf": word(child(policy, "aspf"), ALIGNMENTS),
        **{tag: word(child(policy, tag), POLICIES) for tag in ("p", "sp", "np")},
        "pct": int(percent) if re.fullmatch("[0-9]{1,3}", percent) and int(percent) <= 100 else None,
        "fo": text(child(policy, "fo")),
        "testing": word(child(policy, "testing"), {"y": True, "n": False}),
        "discovery_method": word(child(policy, "discovery_method"), {"psl", "treewalk"}),
    }
    return report, rows


def record(node: Any) -> dict[str, Any] | None:
    """Columns of one record, `header_from` None when it is missing; None when the record must be dropped."""
    row = child(node, "row")
    source, count = address(text(child(row, "source_ip"))), (text(child(row, "count")) or "")
    if re.fullmatch("[0-9]{1,3}(,[0-9]{3})+", count):
        count = count.replace(",", "")
    if source is None or not re.fullmatch("[0-9]{1,16}", count) or not 0 < int(count) <= 2**40:
        return None
    said = child(row, "policy_evaluated")
    dkim, spf = (aligned(child(said, name)) for name in ("dkim", "spf"))
    names = next((one for one in node if name_of(one) in ("identifiers", "identities")), None)
    reasons = [pair for one in children(said, "reason") if (pair := reason(one)) is not None]
    results = child(node, "auth_results")
    signatures = [
        (
            host(text(child(one, "domain"))),
            text(child(one, "selector")),
            word(child(one, "result"), RESULTS),
            text(child(one, "human_result")),
        )
        for one in children(results, "dkim")
    ]
    senders = [
        (
            host(text(child(one, "domain"))),
            word(child(one, "scope"), {"helo", "mfrom"}),
            word(child(one, "result"), SPF_RESULTS),
            text(child(one, "human_result")),
        )
        for one in children(results, "spf")
    ]
    return {
        "source_ip": source,
        "count": int(count),
        "disposition": word(child(said, "disposition"), POLICIES | {"pass"}),
        "dkim_aligned": dkim,
        "spf_aligned": spf,
        "dmarc_pass": True if dkim or spf else None if dkim is None and spf is None else False,
        "override_types": tuple(kind for kind, _ in reasons),
        "override_comments": tuple(comment for _, comment in reasons),
        **{name: host(text(child(names, name))) for name in ("header_from", "envelope_from", "envelope_to")},
        "dkim": tuple(one for one in signatures if any(one)),
        "spf": tuple(one for one in senders if any(one)),
    }


def name_of(node: Any) -> str:
    """Local name; writers use any prefix and, rarely, capitals."""
    return str(etree.QName(node).localname).lower()


def children(node: Any, name: str) -> list[Any]:
    return [] if node is None else [one for one in node if name_of(one) == name]


def child(node: Any, name: str) -> Any:
    """The first one: a field that stands twice counts once."""
    return next(iter(children(node, name)), None)


def filled(root: Any, name: str) -> Any:
    """The first with any content."""
    return next((one for one in children(root, name) if "".join(one.itertext()).strip()), None)


def text(node: Any) -> str | None:
    return None if node is None else "".join(node.xpath("text()")).strip() or None


def word(node: Any, known: Any) -> Any:
    """A word of a set, or what a table says it means; None when it is unknown."""
    found = (text(node) or "").lower()
    return known.get(found) if isinstance(known, dict) else found if found in known else None


def aligned(node: Any) -> bool | None:
    """pass or fail (RFC 7489 Appendix C, DMARCResultType); other result words are no pass, unknown ones say nothing."""
    found = (text(node) or "").lower()
    return found == "pass" if found in {*SPF_RESULTS, "invalid"} - {"unknown"} else None


def reason(node: Any) -> tuple[str, str] | None:
    """Type and comment; bare text is a type if it is one, else a comment."""
    kind, comment, bare = text(child(node, "type")), text(child(node, "comment")), text(node)
    if kind is None and (bare or "").lower() in OVERRIDES:
        kind, bare = bare, None
    if not (kind or comment or bare):
        return None
    return kind.lower() if (kind or "").lower() in OVERRIDES and kind else "other", comment or bare or ""


def host(name: str | None) -> str | None:
    """A domain in A-labels, where it has some; of an address its domain; `<>` is the null sender."""
    said = (name or "").rpartition("@")[2].strip("<> ").lower().rstrip(".")
    try:
        return (said if said.isascii() else idna.encode(said, uts46=True).decode()) or None
    except idna.IDNAError:
        return said


def address(name: str | None) -> str | None:
    """RFC 5952 text of an address, maybe with brackets, port or zone; IPv4-mapped is IPv4."""
    with_port = re.fullmatch(r"\[(.*)\](?::[0-9]{1,5})?|([0-9.]+):[0-9]{1,5}", name or "")
    bare = ((with_port.group(1) or with_port.group(2)) if with_port else name or "").removeprefix("IPv6:")
    try:
        found = ipaddress.ip_address(bare.partition("%")[0])
    except ValueError:
        return None
    return str(getattr(found, "ipv4_mapped", None) or found)


def seconds(when: str | None) -> int | None:
    """Seconds since 1970 from seconds, milliseconds, a float, or ISO 8601 (UTC unless it says otherwise)."""
    try:
        number = float(when or "")
    except ValueError:
        try:
            moment = datetime.fromisoformat((when or "").replace(" UTC", "Z").upper())
        except ValueError:
            return None
        number = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return int(number / 1000 if number >= 1e11 else number) if number >= 1 else None


def shared(names: list[str | None]) -> str | None:
    """The one name that all the others equal or are below of."""
    tops = [top for top in names if top and all(f".{name}".endswith(f".{top}") for name in names if name)]
    return tops[0] if tops else None


def schema(root: Any, meta: Any, policy: Any) -> str:
    """By namespace; else RFC 9990 by its version or a field that only it has; the draft had no version."""
    namespace, version = etree.QName(root).namespace, text(child(root, "version"))
    newer = [child(meta, "generator"), *(child(policy, tag) for tag in ("np", "testing", "discovery_method"))]
    if namespace in NAMESPACES:
        return NAMESPACES[namespace]
    if (version or "").startswith("2") or any(one is not None for one in newer):
        return "rfc9990"
    return "draft" if version is None else "rfc7489"
