"""The public columns of one record row, in order: the schema of `records()`, `export` and the Parquet files.

Type names: text, int, bool, time (UTC, seconds), texts (list of text), dkim and spf (lists of four-field structs).
"""

from __future__ import annotations

from typing import NamedTuple


class Column(NamedTuple):
    """`origin` says who knows the value: the report, its record, or the house (looked up, may change later)."""

    name: str
    type: str
    origin: str
    help: str


COLUMNS: tuple[Column, ...] = (
    Column("report_key", "text", "report", "Key of the report in this store: a digest of its identity and content."),
    Column("submitter", "text", "report", "The reporter: the domain of org_email, lower case."),
    Column("org_name", "text", "report", "Name that the reporter gives itself."),
    Column("org_email", "text", "report", "Contact address of the reporter."),
    Column("report_id", "text", "report", "The reporter's own id, whole."),
    Column("begin", "time", "report", "Start of the period, included."),
    Column("end", "time", "report", "End of the period, excluded."),
    Column("received", "time", "report", "When this machine took the report."),
    Column("auth", "text", "report", "Is the report mail believed: pass, fail, none, unknown (an import)."),
    Column("schema", "text", "report", "draft, rfc7489 or rfc9990."),
    Column("generator", "text", "report", "Software that made the report (RFC 9990)."),
    Column("domain", "text", "report", "Policy domain: where the DMARC record was found."),
    Column("adkim", "text", "report", "DKIM alignment mode: r or s."),
    Column("aspf", "text", "report", "SPF alignment mode: r or s."),
    Column("p", "text", "report", "Published policy."),
    Column("sp", "text", "report", "Published policy for subdomains."),
    Column("np", "text", "report", "Published policy for names that do not exist (RFC 9990)."),
    Column("pct", "int", "report", "Share of failing mail that the policy applies to, percent (RFC 7489)."),
    Column("fo", "text", "report", "Failure reporting options."),
    Column("testing", "bool", "report", "The t= tag: the policy is only tested (RFC 9990)."),
    Column("discovery_method", "text", "report", "How the policy was found: psl or treewalk (RFC 9990)."),
    Column("source_ip", "text", "record", "Address that sent the mail, canonical text; IPv4-mapped as IPv4."),
    Column("count", "int", "record", "Messages. Every rate weighs by it."),
    Column("disposition", "text", "record", "What the receiver did: none, quarantine, reject, pass."),
    Column("dkim_aligned", "bool", "record", "An aligned DKIM signature passed; null if the report did not say."),
    Column("spf_aligned", "bool", "record", "SPF passed and aligned; null if the report did not say."),
    Column("dmarc_pass", "bool", "record", "dkim_aligned or spf_aligned; null if both are."),
    Column("override_types", "texts", "record", "Why the receiver did not follow the policy."),
    Column("override_comments", "texts", "record", "Comments of the overrides, same order; empty text for none."),
    Column("header_from", "text", "record", "Domain of the From header; the policy domain if the report left it out."),
    Column("envelope_from", "text", "record", "Domain of the envelope sender."),
    Column("envelope_to", "text", "record", "Domain of the envelope recipient."),
    Column("dkim", "dkim", "record", "Every DKIM result: domain, selector, result, human_result."),
    Column("spf", "spf", "record", "Every SPF result: domain, scope, result, human_result."),
    Column("country", "text", "house", "Country of source_ip, two letters."),
    Column("asn", "int", "house", "Number of the network that announces source_ip."),
    Column("as_name", "text", "house", "Name of that network."),
    Column("reverse_dns", "text", "house", "Confirmed PTR name of source_ip, when looked up."),
    Column("service", "text", "house", "Known sender, such as Google Workspace."),
    Column("service_type", "text", "house", "Kind of service: mailbox, marketing, transactional, forwarder and so on."),
    Column("source_class", "text", "house", "own, third_party, forwarder or unknown."),
)

REPORT_COLUMNS: tuple[str, ...] = tuple(c.name for c in COLUMNS if c.origin == "report")
RECORD_COLUMNS: tuple[str, ...] = tuple(c.name for c in COLUMNS if c.origin == "record")
HOUSE_COLUMNS: tuple[str, ...] = tuple(c.name for c in COLUMNS if c.origin == "house")
