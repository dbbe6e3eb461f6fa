"""What a domain that sends mail must publish, and whether it does: check by check, with the text to publish."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from dmarcview.dns import spf
from dmarcview.dns.records import addresses, exchangers, published, tags, texts
from dmarcview.organisation import organisational
from dmarcview_relay.dkimdns import compare, record, zone_line
from dmarcview_relay.keys import NEW, RETIRED, SigningKey
from dmarcview_reports.trust_dns import DnsFailure

if TYPE_CHECKING:
    from dmarcview_reports.trust_dns import Resolver

OK, NOTE, WARN, FAIL = "ok", "note", "warn", "fail"
SOFTFAIL = (
    "~all, not -all: a receiver that goes by SPF alone would refuse forwarded mail before it looks at DKIM and DMARC"
)
STS_AGE = 604_800  # max_age of the policy that we print: a week (RFC 8461 section 3.2)


class Check(NamedTuple):
    """One record: ok, note, warn or fail; its kind; the name in the DNS; what was found; what to do; what to publish,
    as lines of a zone file or as a file's text ("" when nothing)."""

    state: str
    kind: str
    name: str
    found: str
    advice: str = ""
    publish: str = ""


class Sender(NamedTuple):
    """Who sends for a domain, from where, with which keys, and where it wants reports."""

    domain: str
    hostname: str  # "" when it is not known
    sources: tuple[str, ...]  # IP addresses; () when they are not known
    keys: tuple[SigningKey, ...]  # of this domain or of the parent that signs for it
    signing: tuple[SigningKey, ...]  # those of them that sign now
    rua: tuple[str, ...]  # addresses for aggregate reports
    tlsrpt: tuple[str, ...]  # addresses for TLS reports
    holds: bool = True  # mail waits while the DNS does not show its key ([relay.keys] check)


def check(sender: Sender, ask: Resolver) -> Iterator[Check]:
    """Look at every record in turn. Never raises for what the DNS says, or does not say."""
    for kind, one in _CHECKS:
        try:
            yield from one(sender, ask)
        except DnsFailure as failure:
            yield Check(FAIL, kind, sender.domain, f"the DNS does not answer: {failure}", "Try again later.")


def wanted(sender: Sender) -> Iterator[Check]:
    """What to publish when nothing is published yet. Asks nobody."""
    yield from check(sender, _Nothing())


class _Nothing:
    """A DNS that is empty."""

    def ask(self, kind: str, name: str) -> Sequence[object]:  # noqa: ARG002
        return ()


def _spf(sender: Sender, ask: Resolver) -> Iterator[Check]:
    name = sender.domain
    ours = [f"ip{ipaddress.ip_address(ip).version}:{ip}" for ip in sender.sources]
    ours = ours or ([f"a:{sender.hostname}"] if sender.hostname else ["mx"])
    found = spf.walk(name, ask)
    if found.record is None:
        told = found.faults[0] if found.faults else "no SPF record"
        yield Check(FAIL, "SPF", name, told, f"Publish one. {SOFTFAIL}.", _line(name, f"v=spf1 {' '.join(ours)} ~all"))
        return
    text = found.record.text
    told = f"{text} ({found.lookups} of {spf.LOOKUPS} look-ups, {found.voids} of {spf.VOIDS} void)"
    uncovered = [ip for ip in sender.sources if found.record.result(ip) != "pass"]
    mended = _mended(text, [one for one, ip in zip(ours, sender.sources, strict=False) if ip in uncovered])
    if faults := [*found.faults, *found.flaws]:
        yield Check(FAIL, "SPF", name, told, _sentences(faults), _line(name, mended) if uncovered else "")
    elif uncovered:
        what = f"It does not cover {', '.join(uncovered)}, from which mail leaves."
        yield Check(FAIL, "SPF", name, told, what, _line(name, mended))
    else:
        yield Check(OK, "SPF", name, told, _sentences(found.notes))
    yield from _otherwise(name, found.record, "" if uncovered else _line(name, mended))


def _otherwise(name: str, found: spf.Record, mended: str) -> Iterator[Check]:
    """What the record says of everybody else."""
    if found.otherwise == "+":
        yield Check(FAIL, "SPF", name, "+all", "It lets everybody send in your name.", mended)
    elif found.otherwise in ("", "?"):
        told = "?all" if found.otherwise else "no `all` at its end"
        yield Check(WARN, "SPF", name, told, "It says nothing of strangers.", mended)
    elif found.otherwise == "-":
        yield Check(WARN, "SPF", name, "-all", f"Better {SOFTFAIL}.", mended)


def _mended(text: str, add: Sequence[str] = ()) -> str:
    """The record with more mechanisms, and `~all` at its end unless another record is taken over by redirect."""
    terms = [term for term in text.split() if term.lstrip("+-~?").lower() != "all"]
    at = next((n for n, term in enumerate(terms) if term.lower().startswith(("redirect=", "exp="))), len(terms))
    last = [] if any(term.lower().startswith("redirect=") for term in terms) else ["~all"]
    return " ".join([*terms[:at], *add, *terms[at:], *last])


def _dkim(sender: Sender, ask: Resolver) -> Iterator[Check]:
    if not sender.signing:
        advice = f"Make one: dmarcview key new {sender.domain}"
        yield Check(FAIL, "DKIM", sender.domain, "this host has no key that signs for it", advice)
    for key in sender.keys:
        sight = compare(key, texts(key.name, ask))
        told = f"{key.algorithm} {key.bits}, {key.state}"
        text = _line(key.name, record(key))
        if key.state == RETIRED:
            if sight.state == "ok":
                yield Check(NOTE, "DKIM", key.name, told, "No mail needs this record any more; it may go.")
        elif sight.state != "ok":
            state = FAIL if key.state != NEW or key in sender.signing else WARN
            what = f"{sight.why[0].upper()}{sight.why[1:]}."
            held = " Mail is held until it is right." if sender.holds and key in sender.signing else ""
            yield Check(state, "DKIM", key.name, told, what + held, text)
        elif key.weak:
            advice = f"Many receivers distrust so short a key: dmarcview key rotate {key.domain}"
            yield Check(WARN, "DKIM", key.name, told, advice)
        else:
            yield Check(OK, "DKIM", key.name, told)


def _dmarc(sender: Sender, ask: Resolver) -> Iterator[Check]:
    name = f"_dmarc.{sender.domain}"
    rua = ",".join(f"mailto:{address}" for address in sender.rua) or f"mailto:dmarc@{sender.domain}"
    found = published(sender.domain, ask)
    parent = organisational(sender.domain)
    if found.record is None and parent and parent != sender.domain and (above := published(parent, ask)).record:
        yield Check(OK, "DMARC", name, f"none of its own; that of {parent} counts: {above.record}")
        return
    if found.record is None:
        several = sum("v=dmarc1" in text.lower() for text in texts(name, ask))
        told = f"{several} DMARC records; receivers take none of them" if several > 1 else "no DMARC record"
        advice = "Publish one; begin with p=none, and raise it when the reports show that all your senders pass."
        yield Check(FAIL, "DMARC", name, told, advice, _line(name, f"v=DMARC1; p=none; rua={rua}"))
        found = found._replace(destinations=())
    else:
        yield from _policy(name, found.record, rua)
    known = {one.address.lower() for one in found.destinations}
    for one in found.destinations:
        if one.authorised is False:
            told = f"{one.address} is at another organisation, which has not agreed"
            yield Check(FAIL, "DMARC", one.record, told, "It gets no report until this record is there.",
                        _line(one.record, "v=DMARC1"))  # fmt: skip
        elif one.authorised:
            yield Check(OK, "DMARC", one.record, "v=DMARC1")
    for address in sender.rua:
        host = address.rpartition("@")[2].lower()
        if address.lower() in known:
            continue
        if found.record is not None:
            told = f"{address}, where dmarcview takes reports, is not in its rua"
            yield Check(NOTE, "DMARC", name, told, "Add it, and the reports come here.")
        elif organisational(host) != parent:
            record_name = f"{sender.domain}._report._dmarc.{host}"
            yield Check(NOTE, "DMARC", record_name, f"{host} is another organisation's", "Its consent must be there.",
                        _line(record_name, "v=DMARC1"))  # fmt: skip


def _policy(name: str, text: str, rua: str) -> Iterator[Check]:
    """The tags of a DMARC record that is there (RFC 9989 section 4.7)."""
    found = tags(text)
    policy = found.get("p", "").lower()
    if policy not in ("none", "quarantine", "reject"):
        told = f"p={policy}" if policy else "no p="
        fixed = "; ".join(["v=DMARC1", "p=none", *(f"{k}={v}" for k, v in found.items() if k not in ("v", "p"))])
        yield Check(FAIL, "DMARC", name, f"{text} ({told})", "p= is none, quarantine or reject.", _line(name, fixed))
    elif policy == "none":
        advice = "p=none only watches. Raise it when `dmarcview sources` shows that all your senders pass."
        yield Check(NOTE, "DMARC", name, text, advice)
    else:
        yield Check(OK, "DMARC", name, text)
    if not found.get("rua"):
        fixed = f"{text.rstrip().rstrip(';')}; rua={rua}"
        yield Check(WARN, "DMARC", name, "no rua", "Nobody tells you who fails: ask for reports.", _line(name, fixed))


def _ptr(sender: Sender, ask: Resolver) -> Iterator[Check]:
    if not sender.sources:
        host = sender.hostname or f"mail.{sender.domain}"
        advice = f"Give {host} its address, or name it by --source: then SPF and PTR are looked at for it, too."
        yield Check(NOTE, "PTR", host, "the addresses that mail leaves from are not known", advice)
    for ip in sender.sources:
        pointer = ipaddress.ip_address(ip).reverse_pointer
        names = [str(name).rstrip(".").lower() for name in ask.ask("PTR", pointer)]
        good = [name for name in names if ip in _canonical(addresses(name, ask))]
        wanted_name = sender.hostname or f"mail.{sender.domain}"
        text = f"{pointer}. IN PTR {wanted_name}."
        if not names:
            advice = f"Large receivers refuse mail from {ip} without one. Whoever rents you the address sets it."
            yield Check(FAIL, "PTR", ip, "no name", advice, text)
        elif not good:
            advice = "The name must lead back to the address."
            kind = "AAAA" if ":" in ip else "A"
            yield Check(FAIL, "PTR", ip, f"{names[0]}, which is not {ip}", advice, f"{names[0]}. IN {kind} {ip}")
        elif sender.hostname and sender.hostname.lower() not in good:
            advice = f"The relay says {sender.hostname} in EHLO; receivers like both to be the same."
            yield Check(WARN, "PTR", ip, good[0], advice, text)
        else:
            yield Check(OK, "PTR", ip, good[0])


def _canonical(found: Sequence[str]) -> set[str]:
    return {str(ipaddress.ip_address(one)) for one in found}


def _mx(sender: Sender, ask: Resolver) -> Iterator[Check]:
    hosts = exchangers(sender.domain, ask)
    line = f"{sender.domain}. IN MX 10 {sender.hostname or f'mail.{sender.domain}'}."
    if hosts in ([""], ["."]):  # RFC 7505
        yield Check(WARN, "MX", sender.domain, "null MX", "Replies and bounces to this domain go nowhere.")
    elif not hosts:
        state = WARN if addresses(sender.domain, ask) else FAIL
        told = "none; its own address counts" if state == WARN else "none, and no address"
        yield Check(state, "MX", sender.domain, told, "Receivers distrust senders that take no mail.", line)
    elif lost := [host for host in hosts if not addresses(host, ask)]:
        yield Check(FAIL, "MX", sender.domain, ", ".join(hosts), f"{', '.join(lost)} has no address.")
    else:
        yield Check(OK, "MX", sender.domain, ", ".join(hosts))


def _sts(sender: Sender, ask: Resolver) -> Iterator[Check]:
    name = f"_mta-sts.{sender.domain}"
    hosts = exchangers(sender.domain, ask) or [sender.hostname or f"mail.{sender.domain}"]
    if hosts in ([""], ["."]):
        return
    policy = "\n".join(["version: STSv1", "mode: {}", *(f"mx: {host}" for host in hosts), f"max_age: {STS_AGE}"])
    file = f"https://mta-sts.{sender.domain}/.well-known/mta-sts.txt"
    found = [text for text in texts(name, ask) if text.replace(" ", "").lower().startswith("v=stsv1")]
    if len(found) == 1 and tags(found[0]).get("id", "").isalnum():
        yield Check(OK, "MTA-STS", name, found[0], f"{file} must hold, and id= must change with it:",
                    policy.format("enforce"))  # fmt: skip
    elif found:
        advice = "One record only, and id= of letters and digits (RFC 8461 section 3.1)."
        yield Check(FAIL, "MTA-STS", name, "; ".join(found), advice, _line(name, "v=STSv1; id=1"))
    else:
        advice = f"Optional: it makes others use TLS towards you. {file} then holds this; later say enforce:"
        text = f"{_line(name, 'v=STSv1; id=1')}\n\n{policy.format('testing')}"
        yield Check(NOTE, "MTA-STS", name, "none", advice, text)


def _tlsrpt(sender: Sender, ask: Resolver) -> Iterator[Check]:
    name = f"_smtp._tls.{sender.domain}"
    to = ",".join(f"mailto:{address}" for address in sender.tlsrpt) or f"mailto:tlsrpt@{sender.domain}"
    text = _line(name, f"v=TLSRPTv1; rua={to}")
    found = [one for one in texts(name, ask) if one.replace(" ", "").lower().startswith("v=tlsrptv1")]
    if len(found) == 1 and tags(found[0]).get("rua", "").lower().startswith(("mailto:", "https:")):
        yield Check(OK, "TLS-RPT", name, found[0])
    elif found:
        yield Check(FAIL, "TLS-RPT", name, "; ".join(found), "One record only, with rua=mailto: (RFC 8460).", text)
    else:
        yield Check(NOTE, "TLS-RPT", name, "none", "Optional: others tell you when TLS towards you fails.", text)


def _line(name: str, text: str) -> str:
    return zone_line(name, text)


def _sentences(parts: Sequence[str]) -> str:
    return " ".join(f"{part[0].upper()}{part[1:]}." for part in parts[:5])


_Step = Callable[[Sender, "Resolver"], Iterator[Check]]
_CHECKS: tuple[tuple[str, _Step], ...] = (
    ("SPF", _spf),
    ("DKIM", _dkim),
    ("DMARC", _dmarc),
    ("PTR", _ptr),
    ("MX", _mx),
    ("MTA-STS", _sts),
    ("TLS-RPT", _tlsrpt),
)
