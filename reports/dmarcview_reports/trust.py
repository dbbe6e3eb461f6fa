"""Says whether the report mail itself can be believed: SPF, DKIM, and DMARC by the tree walk (reports.md section 5)."""

from __future__ import annotations

import ipaddress
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import spf

from dmarcview_smtp.alabels import a_labels

from . import treewalk
from .mail import field, header_of
from .model import Origin, Report, Verdict
from .organisation import UNKNOWN, aligned, by_name
from .trust_dkim import Signature, signatures
from .trust_dns import LOOKUPS, SECONDS, DnsFailure, Metered, Resolver

FROM_BYTES = 4096  # longest From that is judged
SHOWN = 100  # characters of a claimed reporter in a detail

Spokesmen = Mapping[str, Sequence[str]]  # From domain (or one above it): what it may speak for beside itself

# Reporters that mail from one organisation and name another one in the report, both their own: the From domain that
# only their machines use, and the organisations that it speaks for, by domain or by name.
ALSO_SPEAKS_FOR: Spokesmen = MappingProxyType(
    {
        "dmarc.yahoo.com": ("yahooinc.com",),  # not yahoo.com: every user there may write from that
        "mimecastreport.com": ("mimecast.org",),
    }
)

_FROM_FIELDS = re.compile(rb"^from[ \t]*:", re.I | re.M)
_QUOTED = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.S)
_COMMENT = re.compile(rb"\((?:[^()\\]|\\.)*+\)", re.S)
_NAME = re.compile(r"(?=.{1,253}\Z)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z0-9-]{1,63}")


class SpfResult(NamedTuple):
    """What SPF said (RFC 7208 section 2.6), and of which domain."""

    result: str
    domain: str
    reason: str = ""


def verify(
    raw: bytes,
    origin: Origin,
    resolver: Resolver,
    *,
    lookups: int = LOOKUPS,
    seconds: float = SECONDS,
    clock: Callable[[], float] = time.monotonic,
) -> Verdict:
    """Judge one report mail as it came: `origin` gives the client's address, HELO and envelope sender.

    pass: an aligned SPF or DKIM passed; fail: none did, and the domain has a DMARC record; none: there is no record or
    no From domain to judge by, or DNS failed (then the detail begins with `temperror`); unknown: it did not come by
    mail. Raises nothing; ends within `seconds` plus one look-up, after `lookups` at most. What a pass is worth for the
    reports in the mail, `of_reports` says.
    """
    if origin.channel not in ("smtp", "lmtp"):
        return Verdict("unknown", "not received by SMTP: there is nothing to check")
    dns = Metered(resolver, lookups, seconds, clock)
    try:
        author = author_domain(raw)
    except ValueError as error:
        return Verdict("fail" if "several" in str(error) else "none", str(error))
    sender = check_spf(origin, dns)
    signed = signatures(raw, dns)
    try:
        return _judge(author, sender, signed, dns)
    except DnsFailure as failure:
        return Verdict("none", f"temperror: {failure}; {_told(sender, signed, (), '')}")


def _judge(author: str, sender: SpfResult, signed: list[Signature], dns: Resolver) -> Verdict:
    record = treewalk.policy_of(author, dns)
    if record is None:
        return Verdict("none", f"{_told(sender, signed, (), author)} dmarc=none ({author} has no record)")
    tags = record.tags
    policy = record.policy if record.domain == author else tags.get("sp", record.policy or "")
    wanted = [(s.domain, tags.get("adkim", "r")) for s in signed if s.result == "pass"]
    if sender.result == "pass":
        wanted.append((sender.domain, tags.get("aspf", "r")))
    near: list[str] = []
    failures: list[str] = [f"dkim {s.reason}" for s in signed if s.result == "temperror"]
    if sender.result == "temperror":
        failures.append(f"spf {sender.reason}")
    for domain, mode in sorted(wanted, key=lambda pair: pair[0] != author):  # the same name needs no look-up
        try:
            # Suffixes exist that have a record without psd=y: by the walk alone all names below one were one owner's.
            if domain in near or not aligned(author, domain):
                continue
            if treewalk.aligned(author, domain, mode.lower() == "s", dns):
                near.append(domain)
        except DnsFailure as failure:
            failures.append(str(failure))
    told = _told(sender, signed, near, author)
    if near:
        return Verdict("pass", f"{told} dmarc=pass (p={policy})", author)
    if failures:
        return Verdict("none", f"temperror: {failures[0]}; {told}")
    return Verdict("fail", f"{told} dmarc=fail (p={policy})")


def with_own(own: Spokesmen) -> Spokesmen:
    """The built-in table and what the operator adds to it."""
    return MappingProxyType(
        {at: (*ALSO_SPEAKS_FOR.get(at, ()), *own.get(at, ())) for at in {**ALSO_SPEAKS_FOR, **own}},
    )


def of_reports(verdict: Verdict, reports: Iterable[Report], also: Spokesmen = ALSO_SPEAKS_FOR) -> Verdict:
    """The verdict on a mail with these reports in it: a mail that passed proves its author domain and nothing more.

    It stays pass only when every report comes from the author's own organisation (`submitter`); one that does not
    makes it fail for the whole mail, since who lies in one report is not believed in the next.
    """
    if verdict.auth != "pass":
        return verdict
    for report in reports:
        if not speaks_for(verdict.author, report.submitter, also):
            claimed = "".join(c if c.isprintable() else "?" for c in report.submitter[:SHOWN])
            really = f"the mail is really from {verdict.author or 'an unknown domain'}"
            return Verdict("fail", f"{really}, but its report says it is from {claimed}; {verdict.detail}")
    return verdict


def speaks_for(author: str, submitter: str, also: Spokesmen = ALSO_SPEAKS_FOR) -> bool:
    """May a mail that is proven to be from `author` bring reports of `submitter`?

    A submitter is a domain, or the organisation's name where its report has no address; `also` may hold either.
    """
    if not author or not submitter:
        return False
    claimed = as_name(submitter)
    if claimed and aligned(author, claimed):
        return True
    others = [name for at, names in also.items() if author == at or author.endswith(f".{at}") for name in names]
    domains = [domain for name in others if claimed and (domain := as_name(name))]
    return any(aligned(domain, claimed) for domain in domains) or submitter in {by_name(n) for n in others} - {UNKNOWN}


def _told(sender: SpfResult, signed: list[Signature], near: list[str] | tuple[str, ...], author: str) -> str:
    """The results in one line, for people."""

    def standing(result: str, domain: str) -> str:
        return "" if result != "pass" or not author else ", aligned" if domain in near else ", not aligned"

    words = [f"spf={sender.result} ({sender.domain or 'no domain'}{standing(sender.result, sender.domain)})"]
    for s in signed:
        place = f"d={s.domain} s={s.selector}" if s.domain else "no domain"
        why = f": {s.reason}" if s.reason else ""
        words.append(f"dkim={s.result} ({place}{standing(s.result, s.domain)}{why})")
    if not signed:
        words.append("dkim=none")
    return " ".join(words)


def author_domain(raw: bytes) -> str:
    """The one domain of the one From field (RFC 9989 section 5.3.1), lower case, as in DNS.

    Raises ValueError, with a sentence for people, when there is none or when there are several.
    """
    header = header_of(raw)
    count = len(_FROM_FIELDS.findall(header))
    if count != 1:
        raise ValueError("there is no From field" if not count else "there are several From fields")
    value = field(header, b"from")
    if len(value) > FROM_BYTES:
        raise ValueError("the From field is too long")
    value = _QUOTED.sub(b"", value)
    for _ in range(10):  # comments within comments
        value, found = _COMMENT.subn(b"", value)
        if not found:
            break
    angles = re.findall(rb"<([^<>]*)>", value)
    domains = {text.rpartition(b"@")[2].strip() for text in (angles or value.split(b",")) if b"@" in text}
    if len(domains) > 1:
        raise ValueError("there are several domains in From")
    name = as_name(domains.pop().decode("utf-8", "replace")) if domains else ""
    if not name:
        raise ValueError("there is no domain in From")
    return name


def as_name(text: str) -> str:
    """A domain as it stands in DNS: lower case, A-labels, no final dot; "" when it is none."""
    try:
        text = a_labels(text.strip())
    except UnicodeError:
        return ""
    return text if _NAME.fullmatch(text) else ""


def check_spf(origin: Origin, resolver: Resolver) -> SpfResult:
    """SPF of the client for MAIL FROM, or for HELO when that is null (RFC 7208 section 2.4). Raises nothing."""
    sender = origin.mail_from if "@" in origin.mail_from else ""
    domain = as_name(sender.rpartition("@")[2] if sender else origin.helo)
    if not domain:
        return SpfResult("none", "", "no domain")
    try:
        ipaddress.ip_address(origin.client)
    except ValueError:
        return SpfResult("none", domain, "no client address")
    try:
        query = _Query(origin.client, f"{sender.rpartition('@')[0] or 'postmaster'}@{domain}", origin.helo, resolver)
        result, _, reason = query.check()
    except DnsFailure as failure:
        return SpfResult("temperror", domain, str(failure))
    except Exception as error:  # pyspf raises many kinds on hostile records, AssertionError and TypeError among them
        return SpfResult("permerror", domain, type(error).__name__)
    return SpfResult(str(result), domain, str(reason))


class _Query(spf.query):  # type: ignore[misc]
    """pyspf's evaluation with our resolver in the place of its own look-ups."""

    def __init__(self, client: str, sender: str, helo: str, resolver: Resolver) -> None:
        super().__init__(i=client, s=sender, h=helo or "unknown", strict=True)
        self._resolver = resolver

    def dns(self, name: Any, qtype: str, cnames: Any = None, ignore_void: bool = False) -> list[Any]:  # noqa: ARG002
        """Values as pyspf wants them: texts in lists of strings. Void look-ups count (RFC 7208 section 4.6.4)."""
        plain = str(name).rstrip(".").lower()
        if not plain or any(not 0 < len(label) < 64 for label in plain.split(".")) or len(plain) > 253:
            return []
        found = list(self._resolver.ask(qtype, plain))
        if qtype == "TXT":
            found = [[text] for text in found]
        if not found and not ignore_void:
            self.void_lookups += 1
            if self.void_lookups > spf.MAX_VOID_LOOKUPS:
                raise spf.PermError(f"Void lookup limit of {spf.MAX_VOID_LOOKUPS} exceeded")
        return found
