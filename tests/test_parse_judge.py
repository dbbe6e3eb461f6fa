"""Both readers say what a plain walk over lxml's tree says, of every well-formed sample and of generated reports."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import lxml_walk
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree

from benchmarks import corpus
from dmarcview_reports import rows, schema, unpack
from dmarcview_reports.errors import Refused
from dmarcview_reports.model import Refusal
from dmarcview_reports.parse import parse
from dmarcview_reports.settings import Limits
from dmarcview_reports.vocab import SCHEMAS

NOW = 1_798_761_600  # 2027-01-01
SAMPLES = Path(__file__).parent.parent / "reports" / "samples"
FOUND_ELSEWHERE = {"report_key", "received", "auth"}  # by the store and the receiver, not in the XML

# Samples whose XML lxml rightly refuses; the repair that makes rows of it is what the sample is there for.
NOT_WELL_FORMED = {
    "mail/xml_in_text.eml": "sentences stand around the XML",
    "xml/bare_ampersand.xml": "& is not escaped",
    "xml/bare_less_than.xml": "< is not escaped",
    "xml/blank_before.xml": "blank lines come before the declaration",
    "xml/control_characters.xml.gz": "characters that XML forbids",
    "xml/cut_after_record.xml": "cut",
    "xml/cut_in_metadata.xml": "cut",
    "xml/cut_in_record.xml": "cut",
    "xml/junk_after.xml": "text after the root",
    "xml/junk_before.xml": "text before the declaration",
    "xml/latin1_undeclared.xml.gz": "latin-1 where UTF-8 is declared",
    "xml/stray_entity.xml": "an entity declaration outside a document type",
    "xml/two_declarations.xml": "the declaration stands twice",
    "xml/unclosed_record.xml": "an end tag is missing",
    "xml/unclosed_schema.xml": "an end tag is missing",
    "xml/undeclared_prefix.xml": "the prefix is not declared (Namespaces in XML 1.0, section 5)",
    "xml/unknown_encoding.xml": "an encoding that nobody knows",
    "xml/utf16_declared.xml.gz": "UTF-16 is declared and the bytes are UTF-8",
    "xml/zeros_after.xml.gz": "zero bytes after the root",
}


def documents() -> Iterator[tuple[str, int, bytes, str | None]]:
    """Sample, number of the document in it, XML, and the domain of the mail around it."""
    for path in sorted(SAMPLES.glob("*/*")):
        if path.suffix in (".json", ".txt"):
            continue
        try:
            found = [one for one in unpack.payloads(path.read_bytes(), Limits()) if not isinstance(one, Refusal)]
        except Refused:
            continue
        for number, one in enumerate(found):
            if one.kind == "xml":
                yield f"{path.parent.name}/{path.name}", number, one.content, one.mail.from_domain if one.mail else None


DOCUMENTS = list(documents())
JUDGED = [one for one in DOCUMENTS if one[0] not in NOT_WELL_FORMED]


def read(xml: bytes, fast: bool, mail_domain: str | None = None) -> Any:
    try:
        report = parse(xml, now=NOW, mail_domain=mail_domain, fast=fast)
    except Refused as refused:
        return refused.code
    head = dict(zip(schema.REPORT_COLUMNS, rows.report_columns(report, None, ""), strict=True))
    records = [dict(zip(schema.RECORD_COLUMNS, rows.record_columns(one), strict=True)) for one in report.records]
    return {name: value for name, value in head.items() if name not in FOUND_ELSEWHERE}, records


def judged(xml: bytes, mail_domain: str | None = None) -> Any:
    try:
        return lxml_walk.judge(xml, NOW, mail_domain)
    except lxml_walk.Refusal as refused:
        return refused.args[0]


@pytest.mark.parametrize("fast", [True, False], ids=["fast", "plain"])
@pytest.mark.parametrize(("name", "number", "xml", "sender"), JUDGED, ids=[f"{one[0]}-{one[1]}" for one in JUDGED])
def test_well_formed_sample_says_what_the_judge_says(
    name: str, number: int, xml: bytes, sender: str | None, fast: bool
) -> None:
    assert read(xml, fast, sender) == judged(xml, sender)


@pytest.mark.parametrize("name", NOT_WELL_FORMED)
def test_what_is_left_to_the_repairs_is_not_well_formed(name: str) -> None:
    for xml in [one[2] for one in DOCUMENTS if one[0] == name]:
        with pytest.raises(etree.XMLSyntaxError):
            etree.fromstring(xml)


def test_most_samples_are_judged() -> None:
    assert len(JUDGED) > 140
    assert {one[0] for one in DOCUMENTS} >= set(NOT_WELL_FORMED)


@pytest.mark.parametrize("distinct", [True, False])
def test_large_reports_say_what_the_judge_says(distinct: bool) -> None:
    xml = corpus.report(4000, distinct=distinct, seed=5)
    assert read(xml, True) == read(xml, False) == judged(xml)


Tree = tuple[str, "str | list[Tree]"]

NAMES = ["example.com", "Mail.Example.COM.", "é.example", "a@example.org", "<>", "<b@x.example>", "", " x.example\n"]
NAMES += [".", "example.com\xa0", "\ufeffexample.com"]
WORDS = [
    "pass",
    "fail",
    "none",
    "quarantine",
    "reject",
    "FAIL",
    "softfail",
    "hardfail",
    "unknown",
    "maybe",
    "",
    "Error",
]
TEXTS = [
    "r&d",
    "a < b > c",
    "]]>",
    "&amp;",
    "“quoted”",
    "x\ny",
    "\r",
    "tab\tand  blanks",
    "日本",
    "naïve 'one' \"two\"",
]
TEXTS += ["", "\x85a\u2028", "\x7f\x80", "\U0001f600"]
ADDRESSES = ["192.0.2.1", "2001:DB8:0:0::1", "[2001:db8::2]", "::ffff:192.0.2.1", "fe80::1%eth0", "x", ""]
ADDRESSES += ["192.0.2.7:25", "1.2.3", "01.2.3.4"]
COUNTS = ["1", "7", "12", "3,000", " 4 ", "0", "-1", "1.5", "10995116277", "1099511627777", "9007199254740992", ""]
TIMES = ["1767225600", "1767225600.5", "1767225600000", "2026-01-01T00:00:00Z", "2026-01-01 00:00:00", "x"]
ENDS = ["1767312000", "1767312000.0", "1767312000999", "2026-01-02T01:00:00+01:00", "1767225600"]
ENCODINGS = [
    ("utf-8", "UTF-8"), ("utf-8", ""), ("utf-8-sig", "utf-8"), ("utf-16", "UTF-16"), ("utf-16", ""),
    ("latin-1", "ISO-8859-1"), ("cp1252", "windows-1252"), ("ascii", "US-ASCII"), ("koi8_r", "KOI8-R"),
    ("shift_jis", "Shift_JIS"), ("iso8859-15", "iso-8859-15"),
]  # fmt: skip
NAMESPACES = ["urn:ietf:params:xml:ns:dmarc-2.0", "http://dmarc.org/dmarc-xml/0.1", "urn:x"]
ASIDES = ["<!-- <count>5</count> & -->", "<?keep <row> ?>", "\n", "<e:x xmlns:e='urn:e'>1</e:x>"]
STRANGERS: list[Tree] = [
    ("extra", "1"), ("count", "9"), ("extension", [("domain", "no.example"), ("p", "none")]), ("row", ""),
]  # fmt: skip


class Maker:
    """Makes reports of one seed. `calm` ones are regular, as the fast reader likes them; the others use all of XML."""

    def __init__(self, dice: random.Random, codec: str, calm: bool) -> None:
        self.dice, self.codec, self.calm = dice, codec, calm
        self.gap = dice.choice(["", "\n  ", "\r\n\t"])
        self.newer = dice.random() < 0.5
        self.declared = dice.choice(["", "", *(f' xmlns="{name}"' for name in NAMESPACES)])
        self.prefix = ""
        if self.declared and dice.random() < 0.3:
            self.prefix, self.declared = "d:", self.declared.replace("xmlns", "xmlns:d")

    def odds(self, chance: float) -> bool:
        return self.dice.random() < chance

    def among(self, values: list[str], usual: int, chance: float = 0.8) -> list[str]:
        """Mostly only the usual ones, so that not every report is refused and not every record dropped."""
        return values[:usual] if self.odds(chance) else values

    def some(self, *fields: tuple[str, list[str]]) -> list[Tree]:
        """These fields with values of their own; some are missing, and rarely one stands twice."""
        found: list[Tree] = [(name, self.dice.choice(values)) for name, values in fields if self.odds(0.9)]
        return found + (found[:1] if self.odds(0.03) else [])

    def record(self) -> Tree:
        reasons = [
            ("reason", self.some(("type", ["other", "forwarded", "policy_test_mode", "odd", ""]), ("comment", TEXTS)))
            for _ in range(self.dice.choice([0, 0, 1, 2]))
        ] + [("reason", self.dice.choice(["", "mailing_list", "because"])) for _ in range(self.odds(0.1))]
        said = self.some(("disposition", WORDS), ("dkim", WORDS), ("spf", WORDS)) + reasons
        row = self.some(("source_ip", self.among(ADDRESSES, 5)), ("count", self.among(COUNTS, 5)))
        row += [("policy_evaluated", said)] if self.odds(0.95) else []
        signatures: list[Tree] = [
            ("dkim", self.some(("domain", NAMES), ("selector", TEXTS), ("result", WORDS), ("human_result", TEXTS)))
            for _ in range(self.dice.choice([0, 1, 1, 2, 5]))
        ]
        senders: list[Tree] = [
            ("spf", self.some(("domain", NAMES), ("scope", ["mfrom", "helo", "HELO", "x"]), ("result", WORDS)))
            for _ in range(self.dice.choice([0, 1, 1, 2]))
        ]
        names = self.some(("header_from", NAMES), ("envelope_from", NAMES), ("envelope_to", NAMES))
        parts: list[Tree] = [("row", row), ("identifiers" if self.odds(0.95) else "identities", names)]
        return "record", parts + ([("auth_results", signatures + senders)] if self.odds(0.95) else [])

    def report(self) -> Tree:
        begin = self.dice.choice(self.among(TIMES, 5, 0.95))
        period: Tree = ("date_range", [("begin", begin), ("end", self.dice.choice(ENDS))])
        emails = ["a@mx.Example.net", "DMARC <x@y.example>", "none", ""]
        meta = self.some(("org_name", [*TEXTS, "Receiver"]), ("email", emails))
        meta += [*self.some(("report_id", ["1@x", "2!y", *TEXTS]), ("error", TEXTS)), period]
        modes = ["r", "s", "R", "relaxed", "x"]
        policy = self.some(("domain", NAMES[:3]), ("adkim", modes), ("aspf", modes), ("p", WORDS), ("sp", WORDS))
        if self.newer:
            meta += self.some(("generator", TEXTS))
            policy += self.some(
                ("np", WORDS), ("testing", ["y", "n", ""]), ("discovery_method", ["psl", "TreeWalk", "x"])
            )
        policy += self.some(("pct", ["100", "0", "101", "x", ""]), ("fo", ["0", "1:d"]))
        kinds = [self.record() for _ in range(self.dice.randint(1, 4))]
        parts: list[Tree] = [("version", "1.0")] if self.odds(0.7) else []
        parts += (
            [("report_metadata", meta), ("policy_published", policy)]
            if self.odds(0.97)
            else [("report_metadata", meta)]
        )
        parts += [("policy_published", "")] if self.odds(0.03) else []
        return "feedback", parts + [self.dice.choice(kinds) for _ in range(self.dice.randint(0, 12))]

    def written(self, tree: Tree, root: bool = False) -> str:
        """An element with all that is in it, as XML."""
        name, content = tree
        attributes = self.declared if root else ""
        if not self.calm and self.odds(0.05):
            attributes += self.dice.choice([' lang="en"', " a='x > y'", ' b="&lt;row&gt;"', "\n"])
        if isinstance(content, str):
            inside = self.dressed(content)
        else:
            parts = [*content, self.dice.choice(STRANGERS)] if not self.calm and self.odds(0.03) else content
            inside = "".join(self.gap + self.aside() + self.written(part) for part in parts) + self.gap
        if not inside and self.odds(0.5):
            return f"<{self.prefix}{name}{attributes}/>"
        return f"<{self.prefix}{name}{attributes}>{inside}</{self.prefix}{name}>"

    def aside(self) -> str:
        """What may stand anywhere and means nothing."""
        if self.calm or self.odds(0.95):
            return ""
        return self.dice.choice(
            ["<!-- <count>5</count> & -->", "<?keep <row> ?>", "\n", "<e:x xmlns:e='urn:e'>1</e:x>"]
        )

    def dressed(self, content: str) -> str:
        """A text in pieces: escaped, as references, as CDATA, with asides between."""
        if self.calm:
            return escape(content, {"\r": "&#13;"})
        pieces = [content] if self.odds(0.6) else [content[:2], content[2:5], content[5:]]
        pad = self.dice.choice(["", "", "", " ", "\n\t"])
        return pad + self.aside().join(self._piece(piece) for piece in pieces) + pad

    def _piece(self, piece: str) -> str:
        kind = self.dice.random()
        if kind < 0.1:
            return "".join(self.dice.choice([f"&#{ord(c)};", f"&#x{ord(c):X};"]) for c in piece)
        if kind < 0.25 and "]]>" not in piece and "\r" not in piece:
            try:
                piece.encode(self.codec)
                return f"<![CDATA[{piece}]]>"
            except UnicodeEncodeError:
                pass
        return escape(piece, {"\r": "&#xD;", "'": "&apos;", '"': "&quot;"})


def made(seed: int, encoding: tuple[str, str], calm: bool) -> bytes:
    """A well-formed report in that encoding; what it does not have stands as a reference."""
    codec, label = encoding
    maker = Maker(random.Random(seed), codec, calm)
    declaration = f'<?xml version="1.0" encoding="{label}"?>\n' if label else '<?xml version="1.0"?>\n'
    text = declaration + maker.aside().strip("\n").partition("<e:")[0] + maker.written(maker.report(), root=True) + "\n"
    return text.encode(codec, "xmlcharrefreplace")


@settings(max_examples=600, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32), encoding=st.sampled_from(ENCODINGS), calm=st.booleans())
def test_generated_report_says_what_the_judge_says(seed: int, encoding: tuple[str, str], calm: bool) -> None:
    xml = made(seed, encoding, calm)
    expected = judged(xml)
    assert read(xml, fast=True) == expected
    assert read(xml, fast=False) == expected


def test_generated_reports_are_of_all_kinds() -> None:
    """The generator is no good when it makes only refusals, or only one schema."""
    ends = [judged(made(seed, ENCODINGS[seed % len(ENCODINGS)], seed % 2 == 0)) for seed in range(300)]
    reports = [end for end in ends if not isinstance(end, str)]
    assert len(reports) > 200
    assert {head["schema"] for head, _ in reports} == set(SCHEMAS)
    assert {end for end in ends if isinstance(end, str)} >= {"bad_date_range"}
    records = [record for _, found in reports for record in found]
    assert max(len(record["dkim"]) for record in records) == 5
    assert {record["dkim_aligned"] for record in records} == {True, False, None}
