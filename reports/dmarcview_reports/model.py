"""The values of the inbound wing: what a report says, how it came, and what became of it.

All times are whole seconds since 1970-01-01 UTC; periods are half-open, `begin <= t < end`.
`None` means that the report did not say; it is never a word for "fail".
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple


class Caution(NamedTuple):
    """One repair or one dropped record: a code of `vocab.WARNINGS` and the place, such as `record 17`."""

    code: str
    where: str


class DkimResult(NamedTuple):
    """One `auth_results/dkim` (RFC 7489 Appendix C; RFC 9990 section 3)."""

    domain: str | None
    selector: str | None
    result: str | None
    human_result: str | None


class SpfResult(NamedTuple):
    """One `auth_results/spf`; scope is `mfrom` or `helo`."""

    domain: str | None
    scope: str | None
    result: str | None
    human_result: str | None


class Shape(NamedTuple):
    """All of a record but its address and count; records of one report share shapes."""

    disposition: str | None
    dkim_aligned: bool | None
    spf_aligned: bool | None
    override_types: tuple[str, ...]
    override_comments: tuple[str, ...]
    header_from: str
    envelope_from: str | None
    envelope_to: str | None
    dkim: tuple[DkimResult, ...]
    spf: tuple[SpfResult, ...]

    @property
    def dmarc_pass(self) -> bool | None:
        """Either aligned mechanism passed (RFC 7489 section 3); None when neither was stated."""
        if self.dkim_aligned or self.spf_aligned:
            return True
        return None if self.dkim_aligned is None and self.spf_aligned is None else False


@dataclass(frozen=True, slots=True)
class Record:
    """One row of a report: `count` messages from `source_ip` that were treated alike."""

    source_ip: str
    count: int
    shape: Shape


@dataclass(frozen=True, slots=True)
class Records:
    """The records of a report by column: three lists of equal length, and the shapes that `shape` indexes."""

    source_ip: list[str] = field(default_factory=list)
    count: list[int] = field(default_factory=list)
    shape: list[int] = field(default_factory=list)
    shapes: list[Shape] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.source_ip)

    def __iter__(self) -> Iterator[Record]:
        shapes = self.shapes
        for ip, count, shape in zip(self.source_ip, self.count, self.shape, strict=True):
            yield Record(ip, count, shapes[shape])

    @property
    def messages(self) -> int:
        """Sum of the counts."""
        return sum(self.count)


def identity_of(submitter: str, domain: str, report_id: str, begin: int, end: int) -> str:
    """Hex digest that is equal for re-sent reports."""
    parts = (submitter, domain, report_id, str(begin), str(end))
    return hashlib.blake2b("\x00".join(parts).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class Report:
    """One aggregate report. `submitter` is the sender's own e-mail domain in lower case."""

    submitter: str
    org_name: str | None
    org_email: str | None
    report_id: str
    begin: int
    end: int
    schema: str  # vocab.SCHEMAS: draft, rfc7489 or rfc9990
    generator: str | None
    domain: str
    adkim: str | None
    aspf: str | None
    p: str | None
    sp: str | None
    np: str | None
    pct: int | None
    fo: str | None
    testing: bool | None
    discovery_method: str | None
    errors: tuple[str, ...]  # report_metadata/error, as sent
    records: Records
    warnings: tuple[Caution, ...]
    warning_counts: dict[str, int]  # every warning counted, also those past Limits.warnings
    content_hash: str  # hex SHA-256 of the unpacked XML
    truncated: bool = False  # the file was cut; the whole records before the cut are kept

    @property
    def identity(self) -> str:
        """Hex digest of (submitter, policy domain, whole report id, begin, end): equal for re-sent reports."""
        return identity_of(self.submitter, self.domain, self.report_id, self.begin, self.end)

    @property
    def report_key(self) -> str:
        """Hex digest of identity and content: the key of this very report, also when another conflicts with it."""
        return hashlib.blake2b((self.identity + self.content_hash).encode(), digest_size=12).hexdigest()


@dataclass(frozen=True, slots=True)
class Other:
    """A failure report (ARF, RFC 6591) or a TLS report (RFC 8460): recognised, kept whole, counted."""

    kind: str  # "failure" or "tls"
    content: bytes
    content_hash: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why one input, or one member of it, did not become rows (a value; `errors.Refused` is the exception)."""

    code: str
    message: str
    where: str = ""  # member within the input, such as `part 2 > a.zip > b.xml`; "" for the whole


@dataclass(frozen=True, slots=True)
class Reading:
    """All that one input held. An input with neither reports nor others has at least one refusal."""

    input: str
    reports: tuple[Report, ...] = ()
    others: tuple[Other, ...] = ()
    refusals: tuple[Refusal, ...] = ()

    @property
    def kind(self) -> str | None:
        """`aggregate`, `failure`, `tls`, or None when nothing was recognised."""
        if self.reports:
            return "aggregate"
        return self.others[0].kind if self.others else None


@dataclass(frozen=True, slots=True)
class Origin:
    """How one input reached us; kept with it in the spool, the archive and the ledger."""

    name: str  # path, or spool item id
    received: int  # seconds, UTC
    channel: str = "file"  # file, smtp, lmtp, imap
    client: str = ""  # address of the SMTP client
    helo: str = ""
    mail_from: str = ""  # envelope sender; "" is the null sender
    rcpt_to: tuple[str, ...] = ()
    tls: str = ""  # TLS version, "" for plain


WAITING = "temperror"  # how the detail of a verdict begins that DNS did not let us reach, for now


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the report mail itself can be believed (reports.md section 5)."""

    auth: str = "unknown"  # pass, fail, none, unknown (an import: there is nothing to check)
    detail: str = ""  # one line: what SPF, DKIM and DMARC said, for people
    author: str = ""  # the From domain that passed; "" unless auth is pass

    @property
    def waits(self) -> bool:
        """Did DNS give no answer, so that it is worth asking again?"""
        return self.auth == "none" and self.detail.startswith(WAITING)


@dataclass(frozen=True, slots=True)
class Taken:
    """One input on its way into the store: what it was, what was read, whether it is believed."""

    origin: Origin
    raw: bytes
    reading: Reading
    verdict: Verdict = Verdict()


@dataclass(frozen=True, slots=True)
class Stored:
    """What the store did with one `Taken`; counts are of this input alone."""

    reports: int = 0  # new reports
    records: int = 0  # stored for the new reports
    messages: int = 0
    duplicates: int = 0  # same identity, same content
    conflicts: int = 0  # same identity, other content: kept, does not count
    others: int = 0  # failure and TLS reports kept
    refused: int = 0
