"""Writes the XML samples with their expected answers, which are stated here by hand and never read off.

Run `python reports/samples/make_xml.py` after a new quirk was added; the tests compare the answers with what is read.
All data is made up. Each quirk: a name, the bytes, one line why, and how the answer differs from that of `plain`.
"""

# ruff: noqa: E501
# One line a quirk, so that a table of them can be read.

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any, NamedTuple

from answers import BEGIN, END, EXPECTED_RECORD, Warnings, put, reading

HERE = Path(__file__).parent / "xml"

ROW = "<source_ip>192.0.2.10</source_ip><count>3</count>"
EVALUATED = "<policy_evaluated><disposition>none</disposition><dkim>pass</dkim><spf>fail</spf></policy_evaluated>"
NAMES = "<identifiers><header_from>example.com</header_from></identifiers>"
DKIM = "<dkim><domain>example.com</domain><selector>a</selector><result>pass</result></dkim>"
SPF = "<spf><domain>bounce.example.org</domain><result>pass</result></spf>"
RECORD = f"""<record>
    <row>{ROW}{EVALUATED}</row>
    {NAMES}
    <auth_results>{DKIM}{SPF}</auth_results>
  </record>"""
ORG = "<org_name>Example Receiver</org_name>"
EMAIL = "<email>noreply@receiver.example.net</email>"
RANGE = "<date_range><begin>1767225600</begin><end>1767312000</end></date_range>"
META = f"""<report_metadata>
    {ORG}
    {EMAIL}
    <report_id>20260101.1@receiver</report_id>
    {RANGE}
  </report_metadata>"""
POLICY = """<policy_published>
    <domain>example.com</domain><adkim>r</adkim><aspf>s</aspf><p>reject</p><sp>none</sp><pct>100</pct>
  </policy_published>"""
DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>'
PLAIN = f"""{DECLARATION}
<feedback>
  <version>1.0</version>
  {META}
  {POLICY}
  {RECORD}
</feedback>
"""
SECOND = RECORD.replace("192.0.2.10", "198.51.100.7").replace("<count>3<", "<count>4<")


class Sample(NamedTuple):
    """`report` and each of `records` are the differences to the expected answer of `plain`."""

    name: str
    content: bytes
    why: str
    warnings: Warnings = ()
    report: dict[str, Any] = {}  # noqa: RUF012 - never changed
    records: tuple[dict[str, Any], ...] = ({},)
    refused: tuple[str, str] | None = None
    period: tuple[int, int] = (BEGIN, END)


def xml(*changes: tuple[str, str]) -> bytes:
    return text(*changes).encode()


def text(*changes: tuple[str, str]) -> str:
    out = PLAIN
    for old, new in changes:
        assert old in out, old
        out = out.replace(old, new, 1)
    return out


def answer(sample: Sample) -> dict[str, Any]:
    if sample.refused:
        code, message = sample.refused
        return {"kind": None, "reports": [], "refused": {"code": code, "message": message}}
    report = reading(sample.content, sample.report, sample.records, sample.warnings, sample.period)
    return {"kind": "aggregate", "reports": [report], "refused": None}


def one(code: str, where: str = "record 1") -> Warnings:
    return ((code, where),)


def dkim(**changes: Any) -> dict[str, Any]:
    return EXPECTED_RECORD["dkim"][0] | changes


def spf(**changes: Any) -> dict[str, Any]:
    return EXPECTED_RECORD["spf"][0] | changes


FILE, META_AT, POLICY_AT = "file", "report_metadata", "policy_published"
NO_EVALUATION = {"disposition": None, "dkim_aligned": None, "spf_aligned": None, "dmarc_pass": None}
OTHER = {"source_ip": "198.51.100.7", "count": 4}
NO_RANGE = "bad_date_range"
RFC9990 = f"""{DECLARATION}
<feedback xmlns="urn:ietf:params:xml:ns:dmarc-2.0" xmlns:ext="https://example.net/ext">
  <version>1.0</version>
  <report_metadata>
    <org_name>Example Receiver</org_name><email>noreply@receiver.example.net</email>
    <extra_contact_info lang="en">https://receiver.example.net/dmarc</extra_contact_info>
    <report_id>20260101.1@receiver</report_id>{RANGE}
    <error lang="en">one look-up failed</error>
    <generator>Example Reporter 2.1</generator>
  </report_metadata>
  <policy_published>
    <domain>example.com</domain><p>quarantine</p><sp>none</sp><np>reject</np><adkim>r</adkim><aspf>s</aspf>
    <discovery_method>treewalk</discovery_method><fo>1</fo><testing>y</testing>
  </policy_published>
  <extension><ext:record><ext:count>7</ext:count></ext:record></extension>
  <record>
    <row><source_ip>2001:db8::25</source_ip><count>9</count><policy_evaluated>
      <disposition>pass</disposition><dkim>pass</dkim><spf>fail</spf>
      <reason><type>policy_test_mode</type><comment lang="en">t=y</comment></reason></policy_evaluated></row>
    <identifiers><header_from>example.com</header_from><envelope_from/></identifiers>
    <auth_results>{DKIM}<spf><domain>mx.example.com</domain><scope>mfrom</scope><result>policy</result></spf></auth_results>
    <ext:note>kept elsewhere</ext:note>
  </record>
</feedback>
"""
PREFIXED = PLAIN.replace("</", "\0").replace("<?", "\1").replace("<", "<d:").replace("\0", "</d:").replace("\1", "<?")
PREFIXED = PREFIXED.replace("<d:feedback>", '<d:feedback xmlns:d="http://dmarc.org/dmarc-xml/0.1">')
ACCENTED = {"org_name": "Réseau Exemplaire"}
ACCENTS = ("Example Receiver", "Réseau Exemplaire")
BY_DEFAULT = {"header_from": "example.com"}

SAMPLES = (
    # the two schemas
    Sample("plain", xml(), "A report as RFC 7489 describes it; the report id holds an @ and stays whole."),
    Sample("draft", xml(("  <version>1.0</version>\n", "")), "No version element: the format of the old draft.", report={"schema": "draft"}),
    Sample("rfc9990", RFC9990.encode(), "Every field that RFC 9990 adds, with extensions that are ignored.", report={"schema": "rfc9990", "generator": "Example Reporter 2.1", "p": "quarantine", "np": "reject", "pct": None, "fo": "1", "testing": True, "discovery_method": "treewalk"}, records=({"source_ip": "2001:db8::25", "count": 9, "disposition": "pass", "override_types": ["policy_test_mode"], "override_comments": ["t=y"], "spf": [spf(domain="mx.example.com", scope="mfrom", result="policy")]},)),
    Sample("rfc9990_by_field", xml(("<pct>100</pct>", "<np>none</np><testing>n</testing>")), "No namespace, but fields that only RFC 9990 has.", report={"schema": "rfc9990", "np": "none", "testing": False, "pct": None}),
    Sample("rfc9990_version", xml(("<version>1.0", "<version>2.0")), "A version that RFC 9990 does not name and that is seen.", report={"schema": "rfc9990"}),
    # how the XML is written
    Sample("utf8_mark", b"\xef\xbb\xbf" + xml(), "A UTF-8 byte order mark before the declaration."),
    Sample("utf16_little", b"\xff\xfe" + text((DECLARATION, '<?xml version="1.0" encoding="UTF-16"?>'), ACCENTS).encode("utf-16-le"), "UTF-16, little-endian, with its mark.", report=ACCENTED),
    Sample("utf16_big_bare", text((DECLARATION, '<?xml version="1.0" encoding="UTF-16"?>'), ACCENTS).encode("utf-16-be"), "UTF-16, big-endian, without a mark.", report=ACCENTED),
    Sample("utf16_declared", xml(("UTF-8", "UTF-16")), "UTF-16 is declared and the bytes are UTF-8.", one("bad_declaration", FILE)),
    Sample("windows_1252", text(("UTF-8", "windows-1252"), ("Example Receiver", "Réseau “Exemplaire”")).encode("cp1252"), "Declared windows-1252: accents and curly quotes are kept.", report={"org_name": "Réseau “Exemplaire”"}),
    Sample("latin1", text(("UTF-8", "iso-8859-1"), ACCENTS).encode("latin-1"), "Declared latin-1: accents are kept.", report=ACCENTED),
    Sample("latin1_undeclared", text(ACCENTS).encode("latin-1"), "Declared UTF-8 but latin-1 inside.", one("bad_encoding", FILE), ACCENTED),
    Sample("unknown_encoding", xml(("UTF-8", "x-user-defined")), "An encoding that nobody knows; the bytes are UTF-8.", one("bad_declaration", FILE)),
    Sample("blank_before", b"\r\n\n  " + xml(), "Blank lines before the declaration."),
    Sample("junk_before", b"Report follows:\n" + xml(), "A line of text before the declaration.", one("junk_before", FILE)),
    Sample("two_declarations", (DECLARATION + "\n").encode() + xml(), "The declaration stands twice.", one("bad_declaration", FILE)),
    Sample("no_declaration", xml((DECLARATION + "\n", "")), "No declaration at all."),
    Sample("junk_after", xml() + b"-- \nSent by a gateway\n", "Text after the root.", one("junk_after", FILE)),
    Sample("zeros_after", xml() + b"\0" * 16, "The file is padded with zero bytes.", one("junk_after", FILE)),
    Sample("namespace_0_1", xml(("<feedback>", '<feedback xmlns="http://dmarc.org/dmarc-xml/0.1">'), ("  <version>1.0</version>\n", "")), "The default namespace of RFC 7489, and no version."),
    Sample("prefixed_root", xml(("<feedback>", '<ns1:feedback xmlns:ns1="http://dmarc.org/dmarc-xml/0.1">'), ("</feedback>", "</ns1:feedback>")), "Only the root has a prefix."),
    Sample("all_prefixed", PREFIXED.encode(), "Every element has a prefix."),
    Sample("undeclared_prefix", PREFIXED.replace(' xmlns:d="http://dmarc.org/dmarc-xml/0.1"', "").encode(), "Every element has a prefix that is not declared."),
    Sample("comments_cdata", xml(("<count>3<", "<count><!-- three -->3<"), ("Example Receiver", "<![CDATA[Example & Receiver]]>")), "A comment within a number and a CDATA section.", report={"org_name": "Example & Receiver"}),
    Sample("attributes", xml(("<record>", '<record id="1">'), ("<source_ip>", '<source_ip kind="v4">')), "Attributes that no schema has."),
    Sample("unclosed_schema", xml(("<feedback>", '<feedback>\n<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" targetNamespace="http://dmarc.org/dmarc-xml/0.1">')), "A schema element that is never closed.", one("bad_nesting", FILE)),
    Sample("bare_ampersand", xml(("Example Receiver", "Example & Receiver")), "An ampersand that is not escaped.", one("bad_markup", FILE), {"org_name": "Example & Receiver"}),
    Sample("bare_less_than", xml(("</selector><result>pass</result>", "</selector><result>pass</result><human_result>key < 1024 bits, <a@example.org></human_result>")), "Less-than signs that are not escaped.", one("bad_markup", FILE), records=({"dkim": [dkim(human_result="key < 1024 bits, <a@example.org>")]},)),
    Sample("references", xml(("Example Receiver", "Ex&amp;mple &lt;R&#233;ceiver&#x3E;")), "The references that XML has.", report={"org_name": "Ex&mple <Réceiver>"}),
    Sample("control_characters", xml(("Example Receiver", "Example\x00 \x08Receiver")), "Characters that XML forbids.", one("bad_characters", FILE)),
    Sample("cut_in_record", xml((RECORD, RECORD + SECOND)).split(b"198.51.100.7")[0], "The file is cut within its second record: the first is kept.", one("truncated", FILE)),
    Sample("cut_after_record", xml((RECORD, RECORD + SECOND)).split(b"</feedback>")[0], "The file is cut between the last record and the end: both are kept.", one("truncated", FILE), records=({}, OTHER)),
    Sample("cut_in_metadata", xml().split(b"<date_range>")[0], "The file is cut before the period is known.", refused=(NO_RANGE, "The begin of the report's period cannot be read: ''.")),
    Sample("unclosed_record", xml((RECORD, RECORD.replace("</record>", "") + SECOND)), "The end tag of the first record is missing.", one("bad_nesting", FILE), records=({}, OTHER)),
    Sample("doctype", xml(("<feedback>", '<!DOCTYPE feedback [<!ENTITY a "aaaa">]>\n<feedback>')), "A document type that declares an entity.", refused=("doctype", "The XML has a document type declaration, which no report needs.")),
    Sample("doctype_utf16", b"\xff\xfe" + text((DECLARATION, ""), ("<feedback>", '<!DOCTYPE feedback SYSTEM "file:///etc/passwd"><feedback>')).encode("utf-16-le"), "A document type within UTF-16.", refused=("doctype", "The XML has a document type declaration, which no report needs.")),
    Sample("stray_entity", xml(("<version>", '<!ENTITY a "aaaa"><version>')), "An entity declaration outside a document type.", refused=("entity", "The XML declares an entity, which no report needs.")),
    # words, numbers and addresses
    Sample("padded", xml(("<count>3<", "<count>\n  3 <"), ("192.0.2.10", " 192.0.2.10\t"), ("<p>reject<", "<p> reject\n<")), "White space around values."),
    Sample("upper_case", xml(("<disposition>none<", "<disposition>None<"), ("<dkim>pass<", "<dkim>PASS<"), ("<p>reject<", "<p>Reject<"), ("<header_from>example.com<", "<header_from>Example.COM.<")), "Words and names in capitals, and a root dot."),
    Sample("long_alignment", xml(("<adkim>r<", "<adkim>relaxed<")), "An alignment mode as a whole word.", one("old_word", POLICY_AT)),
    Sample("spf_hardfail", xml(("org</domain><result>pass", "org</domain><result>hardfail")), "SPF hardfail is fail (RFC 8601 dropped the word).", one("old_word"), records=({"spf": [spf(result="fail")]},)),
    Sample("spf_unknown", xml(("org</domain><result>pass", "org</domain><result>unknown")), "SPF unknown is temperror (RFC 7489 Appendix C says so).", one("old_word"), records=({"spf": [spf(result="temperror")]},)),
    Sample("spf_error", xml(("org</domain><result>pass", "org</domain><result>error")), "SPF error is permerror (RFC 7489 Appendix C says so).", one("old_word"), records=({"spf": [spf(result="permerror")]},)),
    Sample("unknown_result", xml(("org</domain><result>pass", "org</domain><result>maybe")), "A result that no version knows is absent, never fail.", one("unknown_word"), records=({"spf": [spf(result=None)]},)),
    Sample("unknown_disposition", xml(("<disposition>none", "<disposition>deliver")), "A disposition that no version knows is absent.", one("unknown_word"), records=({"disposition": None},)),
    Sample("helo_without_domain", xml((SPF, "<spf><scope>helo</scope><result>none</result></spf>")), "SPF of the HELO name, without a domain.", records=({"spf": [spf(domain=None, scope="helo", result="none")]},)),
    Sample("several_signatures", xml((DKIM, DKIM + DKIM.replace(">a<", ">b<").replace("pass", "fail"))), "Two DKIM results multiply nothing.", records=({"dkim": [dkim(), dkim(selector="b", result="fail")]},)),
    Sample("human_results", xml(("</selector><result>pass</result>", "</selector><result>pass</result><human_result>good signature</human_result>")), "The text for people is kept.", records=({"dkim": [dkim(human_result="good signature")]},)),
    Sample("empty_dkim", xml((DKIM, "<dkim/>")), "An empty DKIM element says nothing and is no result.", records=({"dkim": []},)),
    Sample("count_separators", xml(("<count>3<", "<count>3,000<")), "A count with a thousands separator.", one("odd_count"), records=({"count": 3000},)),
    Sample("bad_counts", xml((RECORD, "".join(RECORD.replace("<count>3<", f"<count>{bad}<") for bad in ("0", "-1", "1.5", "3,00", "99999999999999999", "many", "")) + SECOND)), "Counts that are no positive whole number: the records are dropped.", tuple(("bad_count", f"record {n}") for n in range(1, 8)), records=(OTHER,)),
    Sample("bad_addresses", xml((RECORD, "".join(RECORD.replace("192.0.2.10", bad) for bad in ("", "unknown", "192.0.2.256", "192.0.2.010", "192.0.2.0/24", "2001:db8:::1")) + SECOND)), "Addresses that are none: the records are dropped.", tuple(("bad_source_ip", f"record {n}") for n in range(1, 7)), records=(OTHER,)),
    Sample("bracketed_address", xml(("192.0.2.10", "[2001:db8::1]")), "IPv6 in brackets.", one("odd_source_ip"), records=({"source_ip": "2001:db8::1"},)),
    Sample("mapped_address", xml(("192.0.2.10", "::ffff:192.0.2.10")), "IPv4-mapped IPv6 is the IPv4 address.", one("odd_source_ip")),
    Sample("zoned_address", xml(("192.0.2.10", "fe80::1%eth0")), "An IPv6 address with a zone.", one("odd_source_ip"), records=({"source_ip": "fe80::1"},)),
    Sample("address_with_port", xml(("192.0.2.10", "[2001:db8::1]:25")), "An address with a port.", one("odd_source_ip"), records=({"source_ip": "2001:db8::1"},)),
    Sample("long_ipv6", xml(("192.0.2.10", "2001:0DB8:0000:0000:0000:0000:0000:0001")), "IPv6 in full length becomes canonical (RFC 5952).", records=({"source_ip": "2001:db8::1"},)),
    Sample("envelope_names", xml(("</identifiers>", "<envelope_from>&lt;&gt;</envelope_from><envelope_to>user@Example.ORG</envelope_to></identifiers>")), "A null sender, and an address where a domain should be.", one("odd_domain"), records=({"envelope_to": "example.org"},)),
    Sample("u_labels", xml(("<domain>example.com</domain><adkim>", "<domain>B\u00fccher.example</domain><adkim>"), (NAMES, "<identifiers><header_from>b\u00fccher.example</header_from></identifiers>"), ("<domain>bounce.example.org</domain>", "<domain>post.b\u00fccher.example</domain>")), "Domains in U-labels, as rspamd writes them, become A-labels, as the DNS has them.", report={"domain": "xn--bcher-kva.example"}, records=({"header_from": "xn--bcher-kva.example", "spf": [{"domain": "post.xn--bcher-kva.example", "scope": None, "result": "pass", "human_result": None}]},)),
    Sample("u_label_sharp_s", xml((NAMES, "<identifiers><header_from>Stra\u00dfe\uff0eexample</header_from></identifiers>")), "A sharp s is a letter of its own, and a full-width dot a dot (IDNA 2008).", records=({"header_from": "xn--strae-oqa.example"},)),
    Sample("odd_u_labels", xml((NAMES, "<identifiers><header_from>b\u00fc..example</header_from></identifiers>")), "A name that has no A-labels stays as it was said.", one("unreadable_domain"), records=({"header_from": "b\u00fc..example"},)),
    # reasons
    Sample("reasons", xml(("</policy_evaluated>", "<reason><type>forwarded</type><comment>x</comment></reason><reason><type>mailing_list</type></reason></policy_evaluated>")), "Several reasons, one without a comment.", records=({"override_types": ["forwarded", "mailing_list"], "override_comments": ["x", ""]},)),
    Sample("empty_reason", xml(("</policy_evaluated>", "<reason/><reason> <type/> </reason></policy_evaluated>")), "Empty reasons are no reasons."),
    Sample("bare_reason", xml(("</policy_evaluated>", "<reason>known forwarder</reason></policy_evaluated>")), "A reason that is bare text.", one("bare_reason"), records=({"override_types": ["other"], "override_comments": ["known forwarder"]},)),
    Sample("bare_reason_word", xml(("</policy_evaluated>", "<reason>local_policy</reason></policy_evaluated>")), "A reason that is a bare type.", one("bare_reason"), records=({"override_types": ["local_policy"], "override_comments": [""]},)),
    Sample("reason_without_type", xml(("</policy_evaluated>", "<reason><comment>arc=pass</comment></reason></policy_evaluated>")), "A reason without a type.", one("missing_reason_type"), records=({"override_types": ["other"], "override_comments": ["arc=pass"]},)),
    Sample("unknown_reason", xml(("</policy_evaluated>", "<reason><type>arc</type></reason></policy_evaluated>")), "A type that no version knows is other.", one("unknown_word"), records=({"override_types": ["other"], "override_comments": [""]},)),
    # what is missing, and what stands twice
    Sample("identities", xml(("<identifiers>", "<identities>"), ("</identifiers>", "</identities>")), "identities for identifiers.", one("identities")),
    Sample("no_policy_evaluated", xml((EVALUATED, "")), "Without policy_evaluated alignment is absent, never fail.", one("missing_policy_evaluated"), records=(NO_EVALUATION,)),
    Sample("no_evaluated_spf", xml(("<spf>fail</spf>", "")), "Without its SPF, SPF alignment is absent.", one("missing_evaluated_spf"), records=({"spf_aligned": None},)),
    Sample("empty_evaluated", xml((EVALUATED, "<policy_evaluated><disposition>none</disposition><dkim></dkim><spf/></policy_evaluated>")), "Empty results are absent, and so is the verdict.", (("missing_evaluated_dkim", "record 1"), ("missing_evaluated_spf", "record 1")), records=({"dkim_aligned": None, "spf_aligned": None, "dmarc_pass": None},)),
    Sample("evaluated_softfail", xml(("<spf>fail</spf>", "<spf>softfail</spf>")), "A result of SPF where pass or fail should be is no pass.", one("unknown_word")),
    Sample("no_auth_results", xml((f"<auth_results>{DKIM}{SPF}</auth_results>", "")), "No auth_results.", one("missing_auth_results"), records=({"dkim": [], "spf": []},)),
    Sample("no_header_from", xml((NAMES, "")), "The policy domain stands in for header_from.", one("missing_header_from"), records=(BY_DEFAULT,)),
    Sample("no_email", xml((EMAIL, "")), "Without an address the name stands in for the submitter.", one("missing_email", META_AT), {"org_email": None, "submitter": "example receiver"}),
    Sample("no_org_name", xml((ORG, "")), "The domain of the address stands in for the name.", one("missing_org_name", META_AT), {"org_name": "receiver.example.net"}),
    Sample("no_report_id", xml(("<report_id>20260101.1@receiver</report_id>", "")), "A digest of the content stands in for the id.", one("missing_report_id", META_AT), {"report_id": "CONTENT"}),
    Sample("no_p", xml(("<p>reject</p>", "")), "The policy was left out.", one("missing_p", POLICY_AT), {"p": None}),
    Sample("no_policy", xml((POLICY, ""), (RECORD, RECORD + SECOND.replace("<header_from>example.com<", "<header_from>news.example.com<"))), "Without a policy: the domain that all records share.", one("missing_policy", POLICY_AT), dict.fromkeys(("adkim", "aspf", "p", "sp", "pct")), ({}, OTHER | {"header_from": "news.example.com"})),
    Sample("no_policy_no_domain", xml((POLICY, ""), (RECORD, RECORD + SECOND.replace("<header_from>example.com<", "<header_from>example.org<"))), "Without a policy, and the records share no domain.", refused=("no_domain", "Neither the policy nor the records name one domain that the report is about.")),
    Sample("two_policies", xml((POLICY, "<policy_published><domain> </domain></policy_published>" + POLICY)), "Two policies: the first with content is used.", one("two_policies", POLICY_AT)),
    Sample("repeated_count", xml(("<count>3<", "<count>3</count><count>8<")), "A count that stands twice: the first is used.", one("repeated_field")),
    Sample("no_record", xml((RECORD, "")), "No record at all.", one("no_records", "report"), records=()),
    Sample("bad_pct", xml(("<pct>100<", "<pct>all<")), "A share that is no number.", one("bad_pct", POLICY_AT), {"pct": None}),
    Sample("two_shapes", xml((RECORD, RECORD + SECOND + RECORD.replace("192.0.2.10", "203.0.113.5").replace("none</disposition>", "quarantine</disposition>"))), "Records that share their shape, and one that does not.", records=({}, OTHER, {"source_ip": "203.0.113.5", "disposition": "quarantine"})),
    # periods
    Sample("float_times", xml(("1767225600", "1767225600.0"), ("1767312000", "1.767312e9")), "Times as floating point numbers.", one("odd_date", META_AT)),
    Sample("millisecond_times", xml(("1767225600", "1767225600000"), ("1767312000", "1767312000000")), "Times in milliseconds.", one("odd_date", META_AT)),
    Sample("iso_times", xml(("1767225600", "2026-01-01T00:00:00Z"), ("1767312000", "2026-01-02 01:00:00+01:00")), "Times in ISO 8601.", one("odd_date", META_AT)),
    Sample("several_days", xml(("1767312000", "1767830400")), "A period of a week stays one report.", report={"end": "2026-01-08T00:00:00Z"}, period=(BEGIN, 1767830400)),
    Sample("empty_period", xml(("1767312000", "1767225600")), "A period without length becomes one second.", one("empty_period", META_AT), {"end": "2026-01-01T00:00:01Z"}, period=(BEGIN, BEGIN + 1)),
    Sample("end_before_begin", xml(("1767312000", "1767139200")), "A period that ends before it begins.", refused=(NO_RANGE, "The report's period ends (2025-12-31 00:00:00 UTC) before it begins (2026-01-01 00:00:00 UTC).")),
    Sample("no_range", xml((RANGE, "")), "No period.", refused=(NO_RANGE, "The begin of the report's period cannot be read: ''.")),
    Sample("unreadable_range", xml(("<end>1767312000<", "<end>tomorrow<")), "A time that is none.", refused=(NO_RANGE, "The end of the report's period cannot be read: 'tomorrow'.")),
    Sample("future", xml(("1767225600", "1893456000"), ("1767312000", "1893542400")), "A period in 2030.", refused=("future_report", "The report's period ends at 2030-01-02 00:00:00 UTC, over a day from now. Check this machine's clock.")),
    # other formats
    Sample("other_root", b"<html><body>not here</body></html>", "XML that is no report.", refused=("not_a_report", "This is no DMARC, failure or TLS report.")),
)  # fmt: skip

BINARY = ("utf16", "latin1", "windows", "zeros", "control", "doctype_utf16")  # kept from editors and diffs


def write() -> None:
    HERE.mkdir(exist_ok=True)
    names = {sample.name for sample in SAMPLES}
    assert len(names) == len(SAMPLES)
    for old in HERE.iterdir():
        old.unlink()
    for sample in SAMPLES:
        file, content = f"{sample.name}.xml", sample.content
        if sample.name.startswith(BINARY):
            file, content = f"{file}.gz", gzip.compress(content, mtime=0)
        put(HERE, file, content, answer(sample), sample.why)


if __name__ == "__main__":
    write()
