"""Writes the mail and archive samples with their expected answers, which are stated here by hand and never read off.

Run `python reports/samples/make.py` after a new quirk was added; the tests compare the answers with what is read.
All data is made up. Each quirk: a name, the bytes, one line why, and what must come out.
"""

# ruff: noqa: E501
# One line a quirk, so that a table of them can be read.

from __future__ import annotations

import base64
import bz2
import json
import lzma
import quopri
import zipfile
import zlib
from pathlib import Path
from typing import Any, NamedTuple

from answers import Warnings, put, reading
from packing import (
    FILE,
    HEAD,
    HELLO,
    attached,
    b64,
    deflated,
    encrypted_zip,
    gz,
    multi,
    single,
    stray,
    tarred,
    zipped,
)

HERE = Path(__file__).parent


class Sample(NamedTuple):
    """`reports` are (report id, warnings); a warning is (code, where). `refused` is (code, message, where) or several."""

    file: str
    content: bytes
    why: str
    reports: tuple[tuple[str, Warnings], ...] = ()
    refused: tuple[tuple[str, str, str], ...] = ()
    kind: str | None = "aggregate"
    xml: bytes = b""  # when the reports' text is not `report(id)` itself


def report(number: str = "20260101.1") -> bytes:
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<feedback>
  <report_metadata>
    <org_name>Example Receiver</org_name>
    <email>noreply@receiver.example.net</email>
    <report_id>{number}</report_id>
    <date_range><begin>1767225600</begin><end>1767312000</end></date_range>
  </report_metadata>
  <policy_published>
    <domain>example.com</domain><adkim>r</adkim><aspf>r</aspf><p>reject</p><sp>none</sp><pct>100</pct>
  </policy_published>
  <record>
    <row>
      <source_ip>192.0.2.10</source_ip><count>3</count>
      <policy_evaluated><disposition>none</disposition><dkim>pass</dkim><spf>fail</spf></policy_evaluated>
    </row>
    <identifiers><header_from>example.com</header_from></identifiers>
    <auth_results>
      <dkim><domain>example.com</domain><selector>a</selector><result>pass</result></dkim>
      <spf><domain>bounce.example.org</domain><result>pass</result></spf>
    </auth_results>
  </record>
</feedback>
""".encode()


def expected(sample: Sample) -> dict[str, Any]:
    plain = {"schema": "draft", "aspf": "r"}
    reports = [
        reading(sample.xml or report(number), plain | {"report_id": number}, ({},), warnings)
        for number, warnings in sample.reports
    ]
    first = sample.refused[0] if sample.refused else None
    line: dict[str, Any] = {
        "kind": sample.kind if sample.reports or sample.kind != "aggregate" else None,
        "reports": reports,
        "refused": {"code": first[0], "message": first[1]} if first else None,
    }
    if first and (len(sample.refused) > 1 or first[2]):
        line["refusals"] = [{"code": c, "message": m, "where": w} for c, m, w in sample.refused]
    return line


R = "20260101.1"
OK = ((R, ()),)
X, G = report(), gz(report())
PART = f"part 2 {FILE}.gz"
NOT = "This is no DMARC, failure or TLS report."


def warned(code: str, where: str = "") -> tuple[tuple[str, Warnings], ...]:
    return ((R, ((code, where),)),)


PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
PDF = b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
ARF = multi(
    b"Content-Type: text/plain\n\nA mail failed DMARC.\n",
    b"Content-Type: message/feedback-report\n\nFeedback-Type: auth-failure\nVersion: 1\nUser-Agent: Example/1.0\n"
    b"Auth-Failure: dmarc\nSource-IP: 192.0.2.10\nReported-Domain: example.com\n",
    b"Content-Type: text/rfc822-headers\n\nFrom: someone@example.com\nSubject: hello\n",
    type_=b"multipart/report; report-type=feedback-report",
)
TLS = json.dumps(
    {
        "organization-name": "Example Receiver",
        "date-range": {"start-datetime": "2026-01-01T00:00:00Z", "end-datetime": "2026-01-01T23:59:59Z"},
        "contact-info": "noreply@receiver.example.net",
        "report-id": "20260101.tls",
        "policies": [
            {
                "policy": {"policy-type": "sts", "policy-domain": "example.com"},
                "summary": {"total-successful-session-count": 10, "total-failure-session-count": 0},
            }
        ],
    }
).encode()

# What some big reporters send, by the structure of their mails; names and data are made up.
GOOGLE = HEAD.replace(
    b"Subject: Report Domain: example.com Submitter: receiver.example.net\n Report-ID: <20260101.1>",
    b"Subject: Report domain: example.com Submitter: receiver.example.net Report-ID: 20260101.1",
)

MAIL = [
    Sample("gz", multi(HELLO, attached(G)), "The common case: a text and a gzip in base64.", OK),
    Sample("google", GOOGLE + b'Content-Type: application/zip; \n\tname="' + FILE.encode() + b'.zip"\n'
           b'Content-Disposition: attachment; \n\tfilename="' + FILE.encode() + b'.zip"\n'
           b"Content-Transfer-Encoding: base64\n\n" + b64(zipped((FILE, X))),
           "As Google writes: the zip is the whole body, there is no multipart.", OK),
    Sample("microsoft", multi(
        multi(b'Content-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: base64\n\n'
              + b64(b"<div>This is a DMARC aggregate report from Example Receiver.</div>"),
              type_=b"multipart/related", boundary=b"_mv_inner", head=b""),
        attached(G), boundary=b"_mv_outer").replace(b"\n", b"\r\n"),
        "As Microsoft writes: an HTML part in multipart/related in base64, then the gzip, with CR LF.", OK),
    Sample("yahoo", multi(
        b"Content-Type: text/html; charset=us-ascii\nContent-Transfer-Encoding: 7bit\n\n<p>This is an aggregate report.</p>\n",
        attached(G, b'application/octet-stream; name="' + FILE.encode() + b'.gz"'), boundary=b"----=_Part_1_2.3"),
        "As Yahoo writes: HTML, then the gzip as octet-stream, with a long boundary of dashes.", OK),
    Sample("mailru", multi(
        b"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\n"
        + quopri.encodestring("Отчёт DMARC\n".encode()),
        attached(G, b'application/gzip; name="' + FILE.encode() + b'.gz"'), boundary=b"--ALT--b1"),
        "As Mail.Ru writes: a text in UTF-8, and a boundary that itself begins with dashes.", OK),
    Sample("fastmail", multi(
        b"Content-Type: text/plain; charset=us-ascii\n\nDMARC Aggregate report for example.com\n",
        attached(G), type_=b"multipart/mixed", boundary=b"17672256000.b1"),
        "As Fastmail writes: a short text and the gzip.", OK),
    Sample("rspamd", multi(
        b"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n"
        b"This is an aggregate report from receiver.example.net.\n\nReport domain: example.com\n",
        attached(G), head=b"X-Virus-Scanned: no\nReferences: <1@receiver.example.net>\n" + HEAD),
        "As rspamd writes: a text that looks like a header, then the gzip.", OK),
    Sample("opendmarc", multi(
        b"Content-Type: text/plain\n\nThis is a DMARC aggregate report for example.com\ngenerated at Fri Jan  2 03:04:00 2026\n",
        attached(gz(X, FILE)), boundary=b"report_section"),
        "As OpenDMARC writes: a text and a gzip that holds its file name.", OK),
    Sample("gzip_called_zip", multi(HELLO, attached(G, b"application/zip", FILE + ".zip")),
           "A gzip that is called zip, by type and by name.", OK),
    Sample("zip_called_gzip", multi(HELLO, attached(zipped((FILE, X)))), "A zip that is called gzip, by type and by name.", OK),
    Sample("octet_stream", multi(HELLO, attached(G, b"application/octet-stream", "report")),
           "The type says nothing, and neither does the name.", OK),
    Sample("xml_7bit", single(b"text/xml", b"7bit", X), "The XML as the whole body, 7bit.", OK),
    Sample("xml_8bit", single(b"application/xml; charset=utf-8", b"8bit", X), "The XML as the whole body, 8bit.", OK),
    Sample("xml_quoted_printable", single(b"text/xml", b"quoted-printable", quopri.encodestring(X)),
           "The XML in quoted-printable.", OK),
    Sample("xml_base64", single(b"text/xml", b"base64", b64(X)), "The XML in base64.", OK),
    Sample("xml_binary", single(b"application/xml", b"binary", X), "The XML, binary.", OK),
    Sample("gzip_as_text_plain", multi(HELLO, attached(G, b"text/plain; charset=utf-8", "report.txt", b"8bit")),
           "Raw gzip bytes under text/plain with a charset: decoding it would destroy them.", OK),
    Sample("gzip_as_text_html", multi(HELLO, attached(G, b"text/html", "report.html")), "A gzip called HTML.", OK),
    Sample("gzip_binary", multi(HELLO, attached(G, encoding=b"binary")), "Raw gzip bytes, binary.", OK),
    Sample("nested_mail", multi(HELLO, b"Content-Type: message/rfc822\n\n" + multi(HELLO, attached(G), boundary=b"=_in")),
           "The report mail was forwarded as an attachment.", OK),
    Sample("nested_mail_base64",
           multi(HELLO, b"Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n" + b64(multi(HELLO, attached(G)))),
           "A mail inside a mail in base64, which RFC 2046 forbids and Outlook does.", OK),
    Sample("stray_base64", multi(HELLO, attached(G).replace(b64(G), stray(b64(G)))),
           "Characters in the base64 that are none of it.", warned("stray_base64", PART)),
    Sample("no_padding", multi(HELLO, attached(gz(X + b"\n")).replace(b"=", b"")
                               .replace(b"filename", b"filename=")),
           "The padding of the base64 is missing.", warned("odd_padding", PART), xml=X + b"\n"),
    Sample("base64_in_pieces", multi(HELLO, attached(b"").rstrip() + b"\n\n" + b64(G[:100]) + b64(G[100:])),
           "Two base64 texts one after the other, each with its padding.", warned("odd_padding", PART)),
    Sample("bare_lf", multi(HELLO, attached(G)), "Lines end with LF alone.", OK),
    Sample("crlf", multi(HELLO, attached(G)).replace(b"\n", b"\r\n"), "Lines end with CR LF.", OK),
    Sample("no_date", multi(HELLO, attached(G), head=HEAD.replace(b"Date: Fri, 02 Jan 2026 03:04:00 +0000\n", b"")),
           "The mail has no Date.", OK),
    Sample("nonsense_date", multi(HELLO, attached(G), head=HEAD.replace(b"Fri, 02 Jan 2026 03:04:00 +0000", b"yesterday")),
           "The Date makes no sense.", OK),
    Sample("no_closing_boundary", multi(HELLO, attached(G)).replace(b"--=_b1--\n", b""),
           "The mail ends without its closing boundary.", warned("missing_boundary", PART)),
    Sample("wrong_boundary", multi(HELLO, attached(G)).replace(b'boundary="=_b1"', b'boundary="other"'),
           "The header names another boundary than the parts use.", warned("wrong_boundary", PART)),
    Sample("no_boundary", multi(HELLO, attached(G)).replace(b'; boundary="=_b1"', b""),
           "The header names no boundary.", warned("wrong_boundary", PART)),
    Sample("cut_name", multi(HELLO, attached(G).replace(
        b'filename="' + FILE.encode() + b'.gz"',
        b'\n filename*0="' + FILE[:30].encode() + b'";\n filename*1="' + FILE[30:].encode() + b'.gz"')),
        "The file name is cut over two parameters (RFC 2231).", OK),
    Sample("cut_boundary", multi(HELLO, attached(G)).replace(b'boundary="=_b1"', b'\n boundary*0="=_";\n boundary*1="b1"'),
           "The boundary is cut over two parameters (RFC 2231).", OK),
    Sample("pictures_beside", multi(HELLO, attached(PNG, b"image/png", "logo.png"), attached(PDF, b"application/pdf", "a.pdf"),
                                    attached(G)), "A picture and a PDF beside the report are no refusal.", OK),
    Sample("two_reports", multi(HELLO, attached(G), attached(gz(report("20260101.2")))),
           "Two reports in one mail.", (*OK, ("20260101.2", ()))),
    Sample("one_of_two_is_bad", multi(HELLO, attached(b"PK\x03\x04 and then nothing"), attached(G)),
           "A broken archive beside a good report: one is refused, the other kept.", OK,
           (("bad_archive", "The zip has no directory and no member. Ask the sender to send it again.", PART),)),
    Sample("xml_in_text", single(b"text/plain", b"", b"See the report below.\n\n" + X),
           "The XML stands in the text of the mail, after a sentence.", warned("junk_before", "file"),
           xml=b"See the report below.\n\n" + X),
    Sample("from_line", b"From noreply@receiver.example.net Fri Jan  2 03:04:05 2026\n" + multi(HELLO, attached(G)),
           "One mail with the From line of an mbox.", OK),
    Sample("undeclared_base64", multi(HELLO, attached(G).replace(b"Content-Transfer-Encoding: base64\n", b"")),
           "The base64 is not declared.", warned("wrong_encoding", PART)),
    Sample("declared_base64_is_plain", multi(HELLO, attached(X, b"text/xml").replace(b64(X), X)),
           "Declared base64, but the XML stands there as it is.", warned("wrong_encoding", PART), xml=X.rstrip()),
    Sample("zip_of_gzip", multi(HELLO, attached(zipped((FILE + ".gz", G)))), "A gzip in a zip in a mail.", OK),
    Sample("eml_in_zip", multi(HELLO, attached(zipped(("report.eml", multi(HELLO, attached(G)))))),
           "The report mail itself in a zip.", OK),
    Sample("no_report", multi(HELLO, attached(PNG, b"image/png", "logo.png")), "A mail without any report.", (),
           (("not_a_report", f"{NOT} Looked at: part 1, part 2 logo.png.", ""),)),
    Sample("failure", ARF, "A failure report (ARF) is recognised and kept whole.", kind="failure"),
    Sample("tls", multi(HELLO, attached(gz(TLS), b"application/tlsrpt+gzip", "a.json.gz"),
                        type_=b'multipart/report; report-type="tlsrpt"'),
           "A TLS report (RFC 8460) is recognised and kept.", kind="tls"),
    Sample("folded_type", multi(HELLO, attached(G)).replace(b"Content-Type: multipart/mixed;", b"Content-Type:\n multipart/mixed;\n"),
           "The Content-Type is folded before its value.", OK),
    Sample("upper_case", multi(HELLO, attached(G)).replace(b"Content-Type: multipart/mixed; boundary", b"CONTENT-TYPE: MULTIPART/MIXED; BOUNDARY")
           .replace(b"Encoding: base64", b"encoding: BASE64"), "Header words in capitals.", OK),
]  # fmt: skip

ARCHIVE = [
    Sample("plain.xml", X, "The XML by itself.", OK),
    Sample("gzip.xml.gz", G, "The common case.", OK),
    Sample("zip.zip", zipped((FILE, X)), "The other common case.", OK),
    Sample("zip_stored.zip", zipped((FILE, X), method=zipfile.ZIP_STORED), "A zip that does not compress.", OK),
    Sample("zip_bzip2.zip", zipped((FILE, X), method=zipfile.ZIP_BZIP2), "A zip packed by bzip2.", OK),
    Sample("two_members.zip", zipped(("a.xml", X), ("b.xml", report("20260101.2"))), "Two reports in one zip.",
           (*OK, ("20260101.2", ()))),
    Sample("macosx_first.zip", zipped(("__MACOSX/._a.xml", b"\x00\x05\x16\x07\x00\x02"), ("a.xml", X)),
           "A zip made on a Mac, whose own file comes first.", OK),
    Sample("folder_first.zip", zipped(("reports/", b""), ("reports/a.xml", X)), "A folder comes first.", OK),
    Sample("readme_first.zip", zipped(("README.txt", b"Unpack this.\n"), ("a.xml", X)), "A readme comes first.", OK),
    Sample("zip_in_gzip.gz", gz(zipped((FILE, X))), "A zip in a gzip.", OK),
    Sample("gzip_in_zip.zip", zipped((FILE + ".gz", G)), "A gzip in a zip.", OK),
    Sample("gzip_of_gzip.gz", gz(G), "A gzip of a gzip.", OK),
    Sample("gzip_members.gz", gz(X[:400]) + gz(X[400:]), "One report over two gzip members.", OK),
    Sample("gzip_cut.gz", G[:-6], "The last bytes of the gzip are missing; all of the XML is there.", warned("cut_archive")),
    Sample("gzip_bad_checksum.gz", G[:-8] + b"\x00\x00\x00\x00" + G[-4:], "The checksum is wrong.", warned("bad_checksum")),
    Sample("gzip_zeros_after.gz", G + bytes(512), "Zeros after the end, as a tape pads, mean nothing.", OK),
    Sample("gzip_junk_after.gz", G + b"-- \nsent by a mailing list\n", "Junk after the end.", warned("junk_after_archive")),
    Sample("zip_junk_after.zip", zipped((FILE, X)) + b"\r\n-- \r\nsent by a mailing list\r\n", "Junk after the end of a zip.", OK),
    Sample("zip_cut.zip", zipped((FILE, X))[:-60], "The directory of the zip is cut off.", warned("cut_archive", FILE)),
    Sample("zlib.z", zlib.compress(X), "A zlib stream.", OK),
    Sample("deflate.z", deflated(X), "A bare deflate stream.", OK),
    Sample("bzip2.bz2", bz2.compress(X), "bzip2.", OK),
    Sample("xz.xz", lzma.compress(X), "xz.", OK),
    Sample("tar.tar", tarred(("a.xml", X), ("b.xml.gz", gz(report("20260101.2")))), "A tar of a plain and a packed report.",
           (*OK, ("20260101.2", ()))),
    Sample("tar_gz.tar.gz", gz(tarred(("reports/a.xml", X))), "A tar in a gzip.", OK),
    Sample("bom.xml.gz", gz(b"\xef\xbb\xbf" + X), "A UTF-8 mark before the XML.", OK, xml=b"\xef\xbb\xbf" + X),
    Sample("encrypted.zip", encrypted_zip((FILE, X)), "A zip with a password.", (),
           (("encrypted_archive", "The zip asks for a password. Ask the sender for one without.", FILE),)),
    Sample("unused.gz", gz(b"unused"), "The gzip that holds the word unused, as one reporter sends on quiet days.", (),
           (("not_a_report", NOT, ""),)),
    Sample("empty.gz", gz(b""), "A gzip of nothing.", (),
           (("empty", "The archive holds no bytes. Ask the sender to send it again.", ""),)),
    Sample("nothing.xml", b"", "No bytes at all.", (),
           (("empty", "The input holds no bytes. Ask the sender to send it again.", ""),)),
    Sample("too_deep.gz", gz(gz(gz(gz(X)))), "Four archives inside one another.", (),
           (("too_deep", "More than 3 archives inside one another. Raise [limits] nesting if you trust the sender.", ""),)),
    Sample("too_many.zip", zipped(*((f"{n}.xml", X) for n in range(101))), "A zip of 101 members.", (),
           (("too_many_members", "The archive has more than 100 members. "
             "Raise [limits] archive_members if you trust the sender.", ""),)),
    Sample("tls.json.gz", gz(TLS), "A TLS report (RFC 8460) as a file.", kind="tls"),
    Sample("picture.png", PNG, "A picture is no report.", (), (("not_a_report", NOT, ""),)),
]  # fmt: skip


def main() -> None:
    for folder, samples, end in (("mail", MAIL, ".eml"), ("archive", ARCHIVE, "")):
        for sample in samples:
            put(HERE / folder, sample.file + end, sample.content, expected(sample), sample.why)


if __name__ == "__main__":
    main()
