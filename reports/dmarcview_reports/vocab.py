"""Every word that this package knows: enumerations of the reports, codes of warnings, codes of refusals.

An enumeration is a table from what is written (lower case, no white space around) to the canonical word; a word of
another table or of none is `unknown_word`. Canonical words map to themselves, aliases to what the RFC says they mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

Words = Mapping[str, str]


def _words(canonical: str, **aliases: str) -> Words:
    """Table of space-separated canonical words, and of aliases given as `canonical="alias alias"`."""
    table = {word: word for word in canonical.split()}
    for word, others in aliases.items():
        table.update(dict.fromkeys(others.split(), word))
    return MappingProxyType(table)


# RFC 7489 Appendix C DispositionType; RFC 9990 adds `pass`.
DISPOSITIONS = _words("none quarantine reject pass")
# RFC 7489 section 6.3, p= and sp=; RFC 9989 adds np=.
POLICIES = _words("none quarantine reject")
# RFC 7489 section 6.3, adkim= and aspf=.
ALIGNMENTS = _words("r s", r="relaxed", s="strict")
# RFC 7489 Appendix C DMARCResultType is pass or fail; writers put other result words there, all of which are no pass.
EVALUATIONS = _words("pass fail", fail="hardfail softfail none neutral policy temperror permerror error invalid")
# RFC 7489 Appendix C DKIMResultType; `hardfail` was `fail` before RFC 8601; RFC 5451's words are its ancestors.
DKIM_RESULTS = _words(
    "none pass fail policy neutral temperror permerror", fail="hardfail", permerror="error invalid", temperror="unknown"
)
# RFC 7489 Appendix C SPFResultType, and its comments on how TempError ("unknown") and PermError ("error") are written.
# RFC 9990 adds `policy`.
SPF_RESULTS = _words(
    "none neutral pass fail softfail temperror permerror policy",
    fail="hardfail",
    permerror="error",
    temperror="unknown",
)
# RFC 7489 Appendix C SPFDomainScope.
SPF_SCOPES = _words("mfrom helo", mfrom="mailfrom mail_from mail-from", helo="ehlo")
# RFC 7489 Appendix C PolicyOverrideType; RFC 9990 drops forwarded and sampled_out and adds policy_test_mode.
OVERRIDES = _words("forwarded sampled_out trusted_forwarder mailing_list local_policy other policy_test_mode")
# RFC 9990, PolicyPublishedType.
TESTING = _words("y n", y="yes true 1", n="no false 0")
DISCOVERY_METHODS = _words("psl treewalk")

SCHEMAS = ("draft", "rfc7489", "rfc9990")

WARNINGS: Mapping[str, str] = MappingProxyType(
    {
        # the mail and the archives around the XML
        "wrong_boundary": "The mail named a boundary that its parts do not use; the line that they use was taken.",
        "missing_boundary": "The mail ended without the line that closes its parts; what was there was read.",
        "wrong_encoding": "A part was not encoded as its header says; it was read as what it is.",
        "stray_base64": "A base64 part held characters that are none of it; they were left out.",
        "odd_padding": "A base64 part was padded wrongly; what it holds was read.",
        "cut_archive": "The archive was cut or damaged; what could be unpacked was kept.",
        "bad_checksum": "The checksum of the archive is wrong: the content may have been changed on the way.",
        "junk_after_archive": "There were bytes after the end of the archive; they were left out.",
        "imported": "The report was read from parsedmarc's output, which leaves some things out; see the docs.",
        # the text of the XML, before any field was read
        "bad_encoding": "The bytes were not in the encoding that the file declares; they were read as Windows-1252.",
        "junk_before": "There was text before the XML; it was skipped.",
        "junk_after": "There was text after the end of the report; it was skipped.",
        "bad_declaration": "The XML declaration was repeated, cut or wrong; it was ignored.",
        "bad_characters": "The file had characters that XML forbids; they were removed.",
        "bad_markup": "A bare & or < stood in the text; it was read as that character.",
        "bad_nesting": "Start and end tags did not match; what could be read was kept.",
        "truncated": "The file was cut; the whole records before the cut were kept.",
        # the report's own fields
        "missing_org_name": "The reporter gave no name; the domain of its mail stands in.",
        "missing_email": "The reporter gave no e-mail address.",
        "missing_report_id": "There was no report id; a digest of the content stands in.",
        "missing_policy": "There was no policy_published; the domain that all records share stands in.",
        "missing_domain": "policy_published named no domain; the domain that all records share stands in.",
        "missing_p": "The published policy was left out.",
        "two_policies": "There were several policy_published; the first with content was used.",
        "repeated_field": "A field that may stand once stood several times; the first was used.",
        "odd_date": "A time was not in whole seconds (float, milliseconds or ISO 8601); it was converted.",
        "empty_period": "The period began and ended in the same second; it is taken as one second long.",
        "bad_pct": "pct was no whole number from 0 to 100; it was left out.",
        "unknown_word": "A field held a word that no version of the format knows; see the docs for what it became.",
        "old_word": "A field held a word of an older format; it became its present equivalent.",
        "long_text": "A text was longer than the limit and was cut.",
        "no_records": "The report held no record.",
        # one record
        "bad_source_ip": "A record had no readable source IP; the record was dropped.",
        "bad_count": "A record had no positive whole count; the record was dropped.",
        "odd_source_ip": "A source IP stood in brackets, had a zone or was IPv4-mapped; it became the plain address.",
        "odd_count": "A count was written with separators; they were removed.",
        "missing_header_from": "A record named no header_from; the policy domain stands in.",
        "missing_policy_evaluated": "A record had no policy_evaluated: disposition and alignment are absent.",
        "missing_disposition": "A record did not say what was done with the mail: disposition is absent.",
        "missing_evaluated_dkim": "A record did not say whether DKIM was aligned: it is absent, not a fail.",
        "missing_evaluated_spf": "A record did not say whether SPF was aligned: it is absent, not a fail.",
        "missing_auth_results": "A record had no auth_results.",
        "identities": "The element was called identities instead of identifiers.",
        "odd_domain": "A domain was written as an address; its domain was kept.",
        "unreadable_domain": "A domain held letters that no domain has; it was kept as it was written.",
        "missing_reason_type": "A reason had a comment and no type; its type became other.",
        "bare_reason": "A reason held bare text; it was kept as the comment.",
        "many_dkim": "A record had more DKIM results than the limit; the first ones were kept.",
        "many_spf": "A record had more SPF results than the limit; the first ones were kept.",
        "many_reasons": "A record had more reasons than the limit; the first ones were kept.",
    }
)

# Warnings that mean that a record is not among the rows.
DROPS = frozenset({"bad_source_ip", "bad_count"})

REFUSALS: Mapping[str, str] = MappingProxyType(
    {
        # what it is
        "not_a_report": "This is no DMARC, failure or TLS report. Nothing to do.",
        "empty": "The input holds no bytes. Ask the sender to send it again.",
        "unreadable": "The file could not be read. Check that it exists and who may read it.",
        "unknown_domain": "The report is about a domain that is not ours. Add the domain to [domains] to take it.",
        # how it is packed
        "too_large": "The input is larger than a limit. Raise limits.mail_bytes or limits.xml_bytes if you trust it.",
        "expansion_ratio": "It unpacks to far more than its size. Raise limits.expansion_ratio if you trust it.",
        "too_many_members": "It has too many parts. Raise limits.archive_members or limits.mime_parts if you trust it.",
        "too_deep": "Archives or mails are nested too deeply. Raise limits.nesting if you trust it.",
        "bad_archive": "The archive is damaged. Ask the sender to send it again.",
        "encrypted_archive": "The archive asks for a password. Ask the sender for one without.",
        "bad_mail": "The mail cannot be taken apart. Ask the sender to send it again.",
        "bad_json": "The JSON is damaged. Ask the sender to send it again.",
        # the XML
        "doctype": "The XML has a document type, which no report needs. Ask the sender to leave it out.",
        "entity": "The XML declares entities, which no report needs. Ask the sender to leave them out.",
        "bad_xml": "The XML is damaged beyond repair. Ask the sender to send it again.",
        "too_complex": "The XML is built as no report is. Ask the sender what it is.",
        # the report
        "bad_date_range": "There is no readable period, or it ends before it begins. Ask the sender to correct it.",
        "future_report": "It ends more than a day in the future. Check this machine's clock, then ask the sender.",
        "too_many_records": "The report has too many records. Raise limits.records if you trust it.",
        "no_domain": "Nothing says which domain the report is about. Ask the sender to correct it.",
        # ours
        "crashed_reader": "The reader died on this input several times. Please send it to the maintainers as a bug.",
        "fault": "This program failed on the input. Please send it to the maintainers as a bug.",
    }
)
