"""What a far host wrote into a mail of ours, in sentences: Authentication-Results (RFC 8601) and the Received chain.

The text is pasted by a person ("Show original") and comes from strangers: it is bounded, and only what is understood is
said.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import NamedTuple

from dmarcview.organisation import aligned

OK, WARN, FAIL = "ok", "warn", "fail"
TEXT_BYTES = 262_144  # of a paste so much is read
FIELDS = 500
PLAIN_PROTOCOLS = ("SMTP", "ESMTP", "ESMTPA", "UTF8SMTP", "UTF8SMTPA")  # RFC 3848, RFC 6531 section 4.3
LATE_SECONDS = 300.0  # a hop slower than this is worth a word

_TLS = re.compile(r"\bTLS\s?v?\s?(1)[._]([0-3])\b", re.IGNORECASE)
_CIPHER = re.compile(r"\b(TLS_[A-Z0-9_]+|(?:ECDHE|DHE|AES|CHACHA20)[A-Z0-9]*(?:[-_][A-Z0-9]+)+)\b")
_FROM = re.compile(r"\bfrom\s+([^\s;()]+)", re.IGNORECASE)
_BY = re.compile(r"\bby\s+([^\s;()]+)", re.IGNORECASE)
_WITH = re.compile(r"\bwith\s+([A-Za-z0-9]+)", re.IGNORECASE)
_ADDRESS = re.compile(r"\[(?:IPv6:)?([0-9A-Fa-f:.]{3,45})\]")
_RESULT = re.compile(r"^\s*([A-Za-z0-9-]+)\s*(?:/\s*\d+\s*)?=\s*([A-Za-z]+)(.*)$", re.DOTALL)
_PROPERTY = re.compile(r'([a-z]+)\s*\.\s*([A-Za-z0-9_-]+)\s*=\s*("[^"]{0,500}"|[^\s"]{1,500})', re.IGNORECASE)
_REASON = re.compile(r'\breason\s*=\s*("[^"]{0,500}"|[^\s"]{1,500})', re.IGNORECASE)
_FROM_DOMAIN = re.compile(r"@([A-Za-z0-9._-]{1,253})>?\s*$")


class Note(NamedTuple):
    """One sentence: ok, warn or fail; what it is about; what was found; what to do ("" when nothing)."""

    state: str
    about: str
    found: str
    advice: str = ""


class Result(NamedTuple):
    """One method of an Authentication-Results field. Names of properties are `ptype.property`, lower case."""

    method: str
    result: str
    reason: str
    properties: dict[str, str]


class Hop(NamedTuple):
    """One Received field, None or "" where it says nothing."""

    sender: str  # as it said hello
    address: str
    receiver: str
    protocol: str
    tls: str  # such as TLS 1.3
    cipher: str
    at: datetime | None


def fields(text: str) -> list[tuple[str, str]]:
    """The header fields of a pasted mail, names in lower case, values unfolded. Reads up to the first empty line."""
    found: list[tuple[str, list[str]]] = []
    for line in text[:TEXT_BYTES].lstrip("\ufeff\r\n").splitlines():
        if not line.strip() or len(found) > FIELDS:
            break
        if line[0] in " \t" and found:
            found[-1][1].append(line.strip())
            continue
        name, colon, value = line.partition(":")
        if colon and name and not re.search(r"\s", name):
            found.append((name.lower(), [value.strip()]))
    return [(name, " ".join(parts)) for name, parts in found]


def without_comments(value: str) -> str:
    """The value without its comments, which may be nested (RFC 5322 section 3.2.2); quoted text stays."""
    kept, depth, quoted = [], 0, False
    escaped = False
    for char in value:
        if escaped:
            escaped = False
        elif char == "\\":
            escaped = True
        elif char == '"' and not depth:
            quoted = not quoted
        elif char == "(" and not quoted:
            depth += 1
        if not depth:
            kept.append(char)
        if char == ")" and depth and not quoted and not escaped:
            depth -= 1
    return "".join(kept)


def results(value: str) -> tuple[str, list[Result]]:
    """The host that judged, and its results, of one Authentication-Results field."""
    parts = without_comments(value).split(";")
    host = parts[0].split()[0].lower() if parts[0].split() else ""
    found = []
    for part in parts[1:]:
        match = _RESULT.match(part)
        if match is None:
            continue
        rest = match[3]
        reason = _REASON.search(rest)
        properties = {f"{kind}.{name}".lower(): _plain(text) for kind, name, text in _PROPERTY.findall(rest)}
        found.append(Result(match[1].lower(), match[2].lower(), _plain(reason[1]) if reason else "", properties))
    return host, found


def hop(value: str) -> Hop:
    """One Received field (RFC 5321 section 4.4) in any of its dialects."""
    told, _, date = value.rpartition(";")
    told = told or value
    tls, cipher = _TLS.search(told), _CIPHER.search(told)
    by = _BY.search(told)
    before = told[: by.start()] if by else told
    address = _ADDRESS.search(before)
    sender, protocol = _FROM.search(before), _WITH.search(told[by.end() :] if by else told)
    return Hop(
        sender[1] if sender else "",
        address[1] if address else "",
        by[1] if by else "",
        protocol[1].upper() if protocol else "",
        f"TLS {tls[1]}.{tls[2]}" if tls else "",
        cipher[1] if cipher else "",
        _date(date),
    )


def explain(text: str) -> list[Note]:
    """What the header says about the trust in this mail, the most important first."""
    header = fields(text)
    author = next((value for name, value in header if name == "from"), "")
    match = _FROM_DOMAIN.search(author)
    domain = match[1].lower() if match else ""
    judged = [value for name, value in header if name == "authentication-results"]
    notes = []
    if not header:
        return [Note(FAIL, "paste", "there is no header in it", "Paste the whole mail, from its first line on.")]
    if judged:
        host, found = results(judged[0])
        notes.append(Note(OK, "judge", f"{host or 'the receiver'} judged it; only its own, topmost field counts"))
        notes += _verdicts(found, domain)
    else:
        notes.append(
            Note(WARN, "judge", "there is no Authentication-Results field",
                 "Copy it from the receiver's side, not from your own sent folder."),
        )  # fmt: skip
    return notes + list(_way([hop(value) for name, value in header if name == "received"]))


def _verdicts(found: list[Result], domain: str) -> Iterator[Note]:
    by_method: dict[str, list[Result]] = {}
    for each in found:
        by_method.setdefault(each.method, []).append(each)
    if dmarc := by_method.get("dmarc"):
        yield _dmarc(dmarc[0], domain)
    else:
        yield Note(WARN, "DMARC", "the receiver says nothing about it",
                   "Publish a DMARC record: `dmarcview dns show DOMAIN` prints it.")  # fmt: skip
    for each in by_method.get("dkim", []):
        yield _dkim(each, domain)
    if "dkim" not in by_method:
        yield Note(FAIL, "DKIM", "no signature was seen", "Make a key: `dmarcview key new DOMAIN`.")
    for each in by_method.get("spf", [])[:1]:
        yield _spf(each, domain)
    for each in by_method.get("iprev", [])[:1]:
        if each.result == "pass":
            yield Note(OK, "PTR", "the address has a name that leads back to it")
        else:
            yield Note(WARN, "PTR", f"{each.result}: the address has no name that leads back to it",
                       "Ask the provider for a PTR record with the host's name.")  # fmt: skip


def _dmarc(each: Result, domain: str) -> Note:
    about = each.properties.get("header.from", domain) or "the From domain"
    if each.result in ("pass", "bestguesspass"):
        return Note(OK, "DMARC", f"pass for {about}")
    if each.result in ("none",):
        return Note(WARN, "DMARC", f"{about} publishes no policy", f"`dmarcview dns show {about}` prints the record.")
    if each.result == "temperror":
        return Note(WARN, "DMARC", "the receiver could not ask the DNS just then", "Send another test.")
    return Note(
        FAIL, "DMARC", f"{each.result} for {about}", "Neither SPF nor DKIM passed for the From domain: see below."
    )


def _dkim(each: Result, domain: str) -> Note:
    signer = each.properties.get("header.d") or each.properties.get("header.i", "").rpartition("@")[2] or "?"
    selector = each.properties.get("header.s", "")
    which = f"{signer}{f', selector {selector}' if selector else ''}"
    if each.result == "pass":
        if domain and not aligned(signer, domain):
            return Note(WARN, "DKIM", f"pass by {which}, which does not count for {domain}: another organisation",
                        f"Sign with a key of {domain}.")  # fmt: skip
        return Note(OK, "DKIM", f"pass by {which}")
    reason = each.reason.lower()
    if "body" in reason and "hash" in reason:
        advice = "The body was changed on the way: look for a footer or a virus scanner behind the signer."
    elif "key" in reason or each.result in ("permerror", "neutral"):
        advice = f"Look at the key record: `dmarcview dns check {signer}`."
    elif each.result == "temperror":
        advice = "The receiver could not ask the DNS just then: send another test."
    else:
        advice = f"The header was changed, or the key differs: `dmarcview dns check {signer}`."
    told = f" ({each.reason})" if each.reason else ""
    return Note(WARN if each.result == "temperror" else FAIL, "DKIM", f"{each.result} for {which}{told}", advice)


def _spf(each: Result, domain: str) -> Note:
    mailfrom = each.properties.get("smtp.mailfrom") or each.properties.get("smtp.helo", "")
    sender = mailfrom.rpartition("@")[2].lower()
    if each.result == "pass":
        if domain and sender and not aligned(sender, domain):
            return Note(WARN, "SPF", f"pass for {sender}, which does not count for {domain}: another organisation",
                        f"Use an envelope sender at {domain}, or let DKIM carry it.")  # fmt: skip
        return Note(OK, "SPF", f"pass for {sender or 'the envelope sender'}")
    if each.result in ("none", "neutral"):
        return Note(WARN, "SPF", f"{each.result}: {sender or 'the domain'} does not say who may send",
                    f"`dmarcview dns show {sender or 'DOMAIN'}` prints the record.")  # fmt: skip
    if each.result in ("softfail", "fail"):
        return Note(FAIL, "SPF", f"{each.result}: the sending address is not in the record of {sender}",
                    f"Add it: `dmarcview dns check {sender or 'DOMAIN'}` says which.")  # fmt: skip
    return Note(WARN, "SPF", each.result, f"`dmarcview dns check {sender or 'DOMAIN'}` looks for the fault.")


def _way(hops: list[Hop]) -> Iterator[Note]:
    """The hops, oldest first."""
    hops = hops[::-1]
    for number, each in enumerate(hops, 1):
        told = f"{each.sender or 'somebody'}{f' [{each.address}]' if each.address else ''} to {each.receiver or '?'}"
        if each.protocol:
            told += f" by {each.protocol}"
        crypt = " ".join(part for part in (each.tls, each.cipher) if part)
        told += f", {crypt}" if crypt else ""
        before = hops[number - 2].at if number > 1 else None
        delay = (each.at - before).total_seconds() if each.at and before else 0.0
        if delay > LATE_SECONDS:
            yield Note(WARN, f"hop {number}", f"{told}, {delay:.0f} s later", "It waited there: look at that queue.")
        elif each.tls in ("TLS 1.0", "TLS 1.1"):
            yield Note(
                WARN, f"hop {number}", told, "That version of TLS is broken; the receiving host should be renewed."
            )
        elif (
            "SMTP" in each.protocol and not each.tls and not each.protocol.startswith(("ESMTPS", "UTF8SMTPS", "SMTPS"))
        ):
            yield Note(WARN if number > 1 and each.sender else OK, f"hop {number}", f"{told}, without TLS")
        else:
            yield Note(OK, f"hop {number}", told)


def _date(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(without_comments(text).strip()[:100])
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return found if found.tzinfo else None


def _plain(text: str) -> str:
    return text[1:-1] if text[:1] == '"' else text
