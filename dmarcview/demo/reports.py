"""Writes a made-up report as XML in its reporter's dialect, packs it as that reporter does, and puts it into a mail."""

from __future__ import annotations

import base64
import gzip
import io
import zipfile
import zlib
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache
from typing import NamedTuple
from xml.sax.saxutils import escape

from dmarcview.demo.story import Dialect, Reporter
from dmarcview.demo.traffic import Made
from dmarcview_reports.model import Record, Shape

RFC9990_NAMESPACE = "urn:ietf:params:xml:ns:dmarc-2.0"
RFC7489_NAMESPACE = "http://dmarc.org/dmarc-xml/0.1"

_ROOT: dict[Dialect, str] = {
    "plain7489": "<feedback>",
    "namespaced7489": f'<feedback xmlns="{RFC7489_NAMESPACE}"><version>1.0</version>',
    "attributes7489": '<feedback xmlns:xsd="http://www.w3.org/2001/XMLSchema" '
    'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><version>1.0</version>',
    "rfc9990": f'<feedback xmlns="{RFC9990_NAMESPACE}"><version>1.0</version>',
}


class File(NamedTuple):
    """A report as it is attached or lies in a folder."""

    name: str
    media: str
    content: bytes


def xml(made: Made) -> bytes:
    """The report as UTF-8 XML."""
    new = made.reporter.dialect == "rfc9990"
    parts = [
        '<?xml version="1.0" encoding="UTF-8"?>\n',
        _ROOT[made.reporter.dialect],
        _metadata(made),
        _policy(made, new),
    ]
    parts += [_record(record, *_told(record.shape, new)) for record in made.records]
    parts.append("</feedback>\n")
    return "".join(parts).encode()


def _tag(name: str, text: object) -> str:
    return "" if text is None else f"<{name}>{escape(str(text))}</{name}>"


def _metadata(made: Made) -> str:
    reporter = made.reporter
    fields = [
        _tag("org_name", reporter.name),
        _tag("email", reporter.email),
        _tag("extra_contact_info", f"https://{reporter.domain}/dmarc"),
        _tag("report_id", made.report_id),
        f"<date_range><begin>{made.begin}</begin><end>{made.end}</end></date_range>",
        _tag("generator", reporter.generator or None),
    ]
    return f"<report_metadata>{''.join(fields)}</report_metadata>\n"


def _policy(made: Made, new: bool) -> str:
    policy, domain = made.policy, made.domain
    modes = _tag("adkim", domain.adkim) + _tag("aspf", domain.aspf)
    rules = _tag("p", policy.p) + _tag("sp", policy.sp)
    if new:
        middle = (
            rules + _tag("np", policy.np) + modes + "<discovery_method>treewalk</discovery_method><testing>n</testing>"
        )
    else:
        middle = modes + rules + "<pct>100</pct>"
    return f"<policy_published>{_tag('domain', domain.name)}{middle}</policy_published>\n"


@lru_cache(maxsize=4096)
def _told(shape: Shape, new: bool) -> tuple[str, str]:
    return _evaluated(shape), _identifiers(shape, new)


def _evaluated(shape: Shape) -> str:
    reasons = "".join(
        f"<reason>{_tag('type', kind)}{_tag('comment', comment or None)}</reason>"
        for kind, comment in zip(shape.override_types, shape.override_comments, strict=True)
    )
    return (
        f"<policy_evaluated>{_tag('disposition', shape.disposition)}{_tag('dkim', _word(shape.dkim_aligned))}"
        f"{_tag('spf', _word(shape.spf_aligned))}{reasons}</policy_evaluated>"
    )


def _word(aligned: bool | None) -> str | None:
    return None if aligned is None else ("pass" if aligned else "fail")


def _identifiers(shape: Shape, new: bool) -> str:
    names = _tag("envelope_to", shape.envelope_to) + _tag("envelope_from", shape.envelope_from)
    dkim = "".join(
        "<dkim>"
        + _tag("domain", r.domain)
        + _tag("selector", r.selector)
        + _tag("result", r.result)
        + _tag("human_result", r.human_result)
        + "</dkim>"
        for r in shape.dkim
    )
    spf = "".join(
        f"<spf>{_tag('domain', r.domain)}{_tag('scope', r.scope)}{_tag('result', r.result)}</spf>" for r in shape.spf
    )
    from_ = _tag("header_from", shape.header_from)
    names = from_ + names if new else names + from_
    return f"<identifiers>{names}</identifiers><auth_results>{dkim}{spf}</auth_results>"


def _record(record: Record, evaluated: str, identifiers: str) -> str:
    return (
        f"<record><row><source_ip>{record.source_ip}</source_ip><count>{record.count}</count>{evaluated}</row>"
        f"{identifiers}</record>\n"
    )


def pack(made: Made) -> File:
    """The report in its reporter's container, under the name of RFC 7489 section 7.2.1.1."""
    return wrap(made, xml(made))


def wrap(made: Made, content: bytes) -> File:
    """Any content in the container, and under the name, of this report."""
    stem = f"{made.reporter.domain}!{made.domain.name}!{made.begin}!{made.end}"
    if made.end - made.begin < 86_400:
        stem += f"!{made.report_id.split('-')[1]}"
    match made.reporter.container:
        case "gzip":
            return File(f"{stem}.xml.gz", "application/gzip", gzip.compress(content, 6, mtime=0))
        case "zip":
            return File(f"{stem}.zip", "application/zip", _zip(f"{stem}.xml", content))
        case "xml":
            return File(f"{stem}.xml", "text/xml", content)


def _zip(name: str, content: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)
    return stream.getvalue()


def mail(made: Made, rcpt: str, *, sent: int | None = None, from_domain: str | None = None) -> bytes:
    """The report mail, CRLF lines, unsigned. `from_domain` forges the From header's domain."""
    reporter, file = made.reporter, pack(made)
    return compose(
        sender=f"dmarc-reports@{from_domain or reporter.domain}",
        rcpt=rcpt,
        subject=f"Report Domain: {made.domain.name} Submitter: {reporter.domain}\r\n Report-ID: <{made.report_id}>",
        message_id=f"<{made.begin}.{zlib.crc32(made.report_id.encode()):x}@{reporter.domain}>",
        date=made.arrives if sent is None else sent,
        text=f"This is an aggregate report on mail in the name of {made.domain.name}.",
        file=file,
    )


def compose(
    *, sender: str, rcpt: str, subject: str, message_id: str, date: int, text: str, file: File | None = None
) -> bytes:
    """A small multipart mail; header values are ASCII and already folded."""
    mark = "=_dmarcview_demo_7f3a"
    head = (
        f"From: {sender}\r\nTo: {rcpt}\r\nSubject: {subject}\r\nMessage-ID: {message_id}\r\n"
        f"Date: {format_datetime(datetime.fromtimestamp(date, UTC))}\r\nMIME-Version: 1.0\r\n"
        f'Content-Type: multipart/mixed; boundary="{mark}"\r\n\r\n'
        f"--{mark}\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n{text}\r\n"
    )
    if file is not None:
        body = base64.encodebytes(file.content).decode("ascii").replace("\n", "\r\n")
        head += (
            f'--{mark}\r\nContent-Type: {file.media}; name="{file.name}"\r\n'
            f'Content-Disposition: attachment; filename="{file.name}"\r\n'
            f"Content-Transfer-Encoding: base64\r\n\r\n{body}"
        )
    return f"{head}--{mark}--\r\n".encode("ascii")


def forged(made: Made, claimed: Reporter) -> Made:
    """The same report in the name of another reporter, as a stranger would write it."""
    return Made(
        claimed, made.domain, made.policy, f"forged-{made.report_id}", made.begin, made.end, made.arrives, made.records
    )
