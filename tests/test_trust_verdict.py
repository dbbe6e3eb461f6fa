"""The verdict on a report mail: really signed mails, made-up DNS, and no look-up that leaves the machine."""

import base64
import dataclasses
import time
from functools import cache

import dkim
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from dkim.canonicalization import Relaxed, Simple
from hypothesis import example, given, settings
from hypothesis import strategies as st

from benchmarks import corpus
from dmarcview_reports import reading, treewalk, trust, trust_dkim
from dmarcview_reports.model import Origin, Report, Verdict
from dmarcview_reports.settings import Limits
from dmarcview_reports.trust_dns import DnsFailure, DnsResolver, FixedResolver, Metered

MAIL = (
    b"From: Example <noreply@mail.example.net>\r\nTo: dmarc@example.com\r\nSubject: Report\r\n"
    b"Date: Fri, 02 Jan 2026 03:04:05 +0000\r\n\r\nhello  \t world \r\n\r\n\r\n"
)


@cache
def key(bits: int = 2048) -> tuple[bytes, bytes]:
    private = rsa.generate_private_key(65537, bits)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    public = private.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return pem, b"v=DKIM1; k=rsa; p=" + base64.b64encode(public)


def signed(raw: bytes = MAIL, domain: bytes = b"example.net", body: bytes = b"relaxed", **more: object) -> bytes:
    return bytes(dkim.sign(raw, b"a", domain, key()[0], canonicalize=(b"relaxed", body), **more)) + raw


def origin(client: str = "203.0.113.9", sender: str = "bounce@example.net", helo: str = "mx.example.net") -> Origin:
    return Origin("item", 0, "smtp", client, helo, sender)


def dns(**more: object) -> FixedResolver:
    answers: dict[tuple[str, str], object] = {
        ("TXT", "_dmarc.example.net"): [b"v=DMARC1; p=reject"],
        ("TXT", "example.net"): [b"v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 -all"],
        ("TXT", "mx.example.net"): [b"v=spf1 ip4:192.0.2.0/24 -all"],
        ("TXT", "a._domainkey.example.net"): [key()[1]],
        ("TXT", "a._domainkey.example.org"): [key()[1]],
        ("TXT", "example.org"): [b"v=spf1 ip4:198.51.100.0/24 -all"],
    }
    answers.update({("TXT", name.replace("__", ".")): value for name, value in more.items()})
    return FixedResolver(answers)  # type: ignore[arg-type]


IN, OUT = "192.0.2.1", "203.0.113.9"
TABLE = [
    ("signed and aligned", signed(), origin(), dns(), "pass"),
    ("signed, simple body", signed(body=b"simple"), origin(), dns(), "pass"),
    ("bare LF", signed().replace(b"\r\n", b"\n"), origin(), dns(), "pass"),
    ("SPF alone", MAIL, origin(IN), dns(), "pass"),
    ("SPF by IPv6", MAIL, origin("2001:db8::1"), dns(), "pass"),
    ("SPF of HELO for the null sender", MAIL, origin(IN, ""), dns(), "pass"),
    ("neither", MAIL, origin(), dns(), "fail"),
    ("body changed", signed() + b"x", origin(), dns(), "fail"),
    ("header changed", signed().replace(b"Subject: Report", b"Subject: report"), origin(), dns(), "fail"),
    ("signed by another domain", signed(domain=b"example.org"), origin(), dns(), "fail"),
    ("SPF of another domain", MAIL, origin("198.51.100.1", "x@example.org"), dns(), "fail"),
    ("no DMARC record", signed(), origin(IN), FixedResolver({("TXT", "a._domainkey.example.net"): [key()[1]]}), "none"),
    ("no From", MAIL.partition(b"\r\n")[2], origin(IN), dns(), "none"),
    ("From without domain", MAIL.replace(b"<noreply@mail.example.net>", b"<nobody>"), origin(IN), dns(), "none"),
    ("two From fields", b"From: a@example.net\r\n" + MAIL, origin(IN), dns(), "fail"),
    ("two domains in From", MAIL.replace(b"From: ", b"From: <a@example.org>, "), origin(IN), dns(), "fail"),
    ("strict DKIM, parent signs", signed(), origin(), dns(_dmarc__example__net=[b"v=DMARC1; p=none; adkim=s"]), "fail"),
    ("strict SPF, parent sends", MAIL, origin(IN), dns(_dmarc__example__net=[b"v=DMARC1; p=none; aspf=s"]), "fail"),
    ("l= leaves a part unsigned", signed(length=True) + b"more\r\n", origin(), dns(), "fail"),
    ("l= over all of the body", signed(length=True), origin(), dns(), "pass"),
    ("key gone", signed(), origin(), dns(a___domainkey__example__net=[]), "fail"),
    ("key revoked", signed(), origin(), dns(a___domainkey__example__net=[b"v=DKIM1; p="]), "fail"),
    ("key is nonsense", signed(), origin(), dns(a___domainkey__example__net=[b"v=DKIM1; p=AAAA"]), "fail"),
    ("key not for mail", signed(), origin(), dns(a___domainkey__example__net=[b"s=other; " + key()[1]]), "fail"),
    ("signature is nonsense", b"DKIM-Signature: v=1; a=b; c\r\n" + MAIL, origin(), dns(), "fail"),
    ("rsa-sha1", signed(signature_algorithm=b"rsa-sha1"), origin(), dns(), "fail"),
    ("policy look-up fails", signed(), origin(IN), dns(_dmarc__mail__example__net=None), "none"),
    ("key look-up fails", signed(), origin(), dns(a___domainkey__example__net=None), "none"),
    ("key look-up fails, SPF passes", signed(), origin(IN), dns(a___domainkey__example__net=None), "pass"),
    ("SPF look-up fails", MAIL, origin(), dns(example__net=None), "none"),
    ("SPF record loops", MAIL, origin(), dns(example__net=[b"v=spf1 include:example.net -all"]), "fail"),
    ("SPF record is nonsense", MAIL, origin(), dns(example__net=[b"v=spf1 \xff ip4:%{x} -all"]), "fail"),
    ("two DMARC records", MAIL, origin(IN), dns(_dmarc__example__net=[b"v=DMARC1; p=none"] * 2), "none"),
    ("From without end", MAIL.replace(b"<noreply@", b'"' + b'\\"' * 3000 + b" <noreply@"), origin(IN), dns(), "none"),
    ("no client address", MAIL, origin(""), dns(), "fail"),
]


@pytest.mark.parametrize(("raw", "came", "answers", "auth"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_verdict(raw: bytes, came: Origin, answers: FixedResolver, auth: str) -> None:
    verdict = trust.verify(raw, came, answers)
    assert verdict.auth == auth, verdict.detail
    assert "\n" not in verdict.detail
    failed = any(value is None for value in answers._answers.values())
    assert verdict.detail.startswith("temperror") == (failed and auth == "none")


def test_detail_is_one_line_for_people() -> None:
    assert trust.verify(signed(), origin(IN), dns()).detail == (
        "spf=pass (example.net, aligned) dkim=pass (d=example.net s=a, aligned) dmarc=pass (p=reject)"
    )


def test_an_import_has_nothing_to_check() -> None:
    answers = dns()
    assert trust.verify(MAIL, Origin("a.eml", 0), answers).auth == "unknown"
    assert answers.asked == []


def test_ed25519_is_verified_without_more_libraries() -> None:
    private = ed25519.Ed25519PrivateKey.generate()
    template = signed().partition(b"From: Example")[0].replace(b"rsa-sha256", b"ed25519-sha256")
    unsigned = trust_dkim.re.sub(rb"b=[A-Za-z0-9+/=\s]+\r\n\Z", b"b=\r\n", template)

    class Signer(dkim.DKIM):  # type: ignore[misc]
        """Hashes as dkimpy does and signs with our key."""

        def sign_header(self) -> bytes:
            policy = dkim.CanonicalizationPolicy.from_c_value(b"relaxed/relaxed")
            hasher = dkim.hashlib.sha256()
            name, value = unsigned.split(b":", 1)
            names = dkim.parse_tag_value(value)[b"h"]
            include = [one.strip() for one in names.lower().split(b":")]
            dkim.hash_headers(hasher, policy, policy.canonicalize_headers(self.headers), include, (name, value), {})
            return base64.b64encode(private.sign(hasher.digest()))

    raw = unsigned[:-2] + Signer(MAIL).sign_header() + b"\r\n" + MAIL
    public = private.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    answers = dns(a___domainkey__example__net=[b"v=DKIM1; k=ed25519; p=" + base64.b64encode(public)])
    assert [s.result for s in trust_dkim.signatures(raw, answers)] == ["pass"]
    assert [s.result for s in trust_dkim.signatures(raw.replace(b"Report", b"report"), answers)] == ["fail"]


def test_at_most_five_signatures_are_looked_at() -> None:
    header = signed().partition(b"From: Example")[0]
    answers = dns()
    assert len(trust_dkim.signatures(header * 50 + MAIL, answers)) == trust_dkim.SIGNATURES


def test_budget_of_lookups_and_time_ends_in_temperror() -> None:
    assert trust.verify(signed(), origin(IN), dns(), lookups=0).detail.startswith("temperror")
    ticks = iter(range(0, 100_000, 7))
    verdict = trust.verify(signed(), origin(), dns(), seconds=20, clock=lambda: next(ticks))
    assert verdict.auth == "none"
    assert verdict.detail.startswith("temperror")


SPACES = b" \t\r\nab\x00\xff"
bodies = st.lists(st.sampled_from([bytes([b]) for b in SPACES] + [b"\r\n", b"  ", b"\t \r\n"]), max_size=60).map(
    b"".join
)


@settings(max_examples=500, deadline=None)
@given(bodies)
@example(b"")
@example(b"\r\n")
@example(b"\n\r\n\r\r\n")
def test_bodies_equal_those_of_dkimpy(body: bytes) -> None:
    """SMTP ends every line. Without that, dkimpy keeps a blank at the end that its own second look would strip."""
    body = trust_dkim.with_crlf(body)
    body = body if not body.endswith((b" ", b"\t")) else body + b"\r\n"
    assert trust_dkim.relaxed_body(body) == Relaxed.canonicalize_body(body)
    assert trust_dkim.simple_body(body) == Simple.canonicalize_body(body)
    assert Relaxed.canonicalize_body(trust_dkim.relaxed_body(body)) == trust_dkim.relaxed_body(body)
    assert Simple.canonicalize_body(trust_dkim.simple_body(body)) == trust_dkim.simple_body(body)


@settings(max_examples=300, deadline=None)
@given(bodies)
def test_mail_is_split_as_dkimpy_splits_it(body: bytes) -> None:
    raw = b"From: a@example.net\r\nSubject: x\r\n y\r\n\r\n" + body
    ours = trust_dkim._Verifier(raw, dns())
    headers, plain = dkim.rfc822_parse(raw)
    assert (ours.headers, ours._plain) == (headers, plain)


@pytest.mark.parametrize(
    "body", [b" " * 40_000 + b"x\r\n", b"\r\n" * 1_000_000, b"a \t" * 500_000, b"\r\n \t" * 400_000], ids=range(4)
)
def test_hostile_bodies_take_no_time(body: bytes) -> None:
    """dkimpy's own relaxed body needs a second for 40,000 blanks, and four times that for twice as many."""
    start = time.process_time()
    trust_dkim.signatures(signed()[:-20] + body, dns())
    assert time.process_time() - start < 2


@pytest.mark.parametrize(
    "header",
    [
        b"DKIM-Signature: v=1; b" + b" " * 15_000 + b"=\r\n",
        b"DKIM-Signature: v=1; a=rsa-sha256; d=example.net; s=a; bh=AAAA; b=AAAA; h=" + b"a:" * 8_000 + b"from\r\n",
        b"DKIM-Signature: v=1; a=rsa-sha256; d=example.net; s=a; bh=AAAA; b=" + b"A\r\n " * 4_000 + b"; h=from\r\n",
        b" folded first\r\n",
        b"From :\r\n",
        b"X: y\r\n" * 100_000,
    ],
    ids=range(6),
)
def test_hostile_headers_take_no_time_and_raise_nothing(header: bytes) -> None:
    start = time.process_time()
    verdict = trust.verify(header * 3 + MAIL, origin(), dns())
    assert verdict.auth in ("fail", "none")
    assert time.process_time() - start < 2


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400), st.binary(max_size=100), st.text(max_size=20), st.binary(max_size=60))
def test_no_mail_and_no_record_makes_it_raise(raw: bytes, value: bytes, sender: str, record: bytes) -> None:
    answers = dns(example__net=[b"v=spf1 " + record], _dmarc__example__net=[b"v=DMARC1;" + record])
    came = origin(IN, f"{sender}@example.net")
    for mail in (raw, b"DKIM-Signature: " + value + b"\r\n" + MAIL, b"From: " + raw):
        assert trust.verify(mail, came, answers).auth in ("pass", "fail", "none")


def test_metered_resolver_asks_once_and_counts() -> None:
    answers = dns()
    metered = Metered(answers, lookups=1)
    assert metered.ask("TXT", "example.net") == metered.ask("TXT", "EXAMPLE.net")
    assert len(answers.asked) == 1
    with pytest.raises(DnsFailure):
        metered.ask("TXT", "example.org")


def test_name_server_that_does_not_answer_is_a_failure() -> None:
    with pytest.raises(DnsFailure):
        DnsResolver(["127.0.0.1"], timeout=0.05).ask("TXT", "example.net")
    assert DnsResolver(["127.0.0.1"], timeout=0.05).ask("TXT", "a" * 64 + ".example.net") == ()


RECORDS = {
    "example.net": b"v=DMARC1; p=reject",
    "sub.example.org": b"v=DMARC1; p=none",
    "example.org": b"v=DMARC1; p=none",
    "own.example.com": b"v=DMARC1; p=none; psd=n",
    "example.com": b"v=DMARC1; p=none",
    "bank": b"v=DMARC1; p=reject; psd=y",
}
WALKED = FixedResolver({("TXT", f"_dmarc.{name}"): [text] for name, text in RECORDS.items()})


@pytest.mark.parametrize(
    ("domain", "organisation"),
    [
        ("mail.example.net", "example.net"),
        ("example.net", "example.net"),
        ("a.sub.example.org", "example.org"),  # the fewest labels win
        ("a.own.example.com", "own.example.com"),  # psd=n says so itself
        ("mail.giant.bank", "giant.bank"),  # one label below psd=y
        ("bank", "bank"),  # psd=y of the name itself does not count
        ("mail.example.invalid", "mail.example.invalid"),  # no record at all
    ],
)
def test_organisational_domain(domain: str, organisation: str) -> None:
    assert treewalk.organisational(domain, WALKED) == organisation


def test_walk_asks_eight_names_at_most() -> None:
    answers = FixedResolver({})
    treewalk.walk("a.b.c.d.e.f.g.h.i.j.mail.example.com", answers)
    assert [name for _, name in answers.asked] == [
        "_dmarc.a.b.c.d.e.f.g.h.i.j.mail.example.com",
        "_dmarc.g.h.i.j.mail.example.com",
        "_dmarc.h.i.j.mail.example.com",
        "_dmarc.i.j.mail.example.com",
        "_dmarc.j.mail.example.com",
        "_dmarc.mail.example.com",
        "_dmarc.example.com",
        "_dmarc.com",
    ]


@pytest.mark.parametrize(
    ("record", "policy"),
    [
        (b"v=DMARC1; p=quarantine", "quarantine"),
        (b"v=DMARC1;p=REJECT;", "reject"),
        (b"v=DMARC1; rua=mailto:a@example.com", "none"),
        (b"v=DMARC1; p=reject; sp=what; rua=mailto:a@example.com", "none"),
        (b"v=DMARC1; p=what", None),
        (b"v=DMARC2; p=reject", None),
        (b"v=spf1 -all", None),
    ],
)
def test_policy_of_a_record(record: bytes, policy: str | None) -> None:
    found = treewalk.policy_of("example.net", FixedResolver({("TXT", "_dmarc.example.net"): [record]}))
    assert (found.policy if found else None) == policy


def report_from(contact: str) -> bytes:
    """A report whose contact address has that domain."""
    xml = corpus.HEAD.format(org="Google", id="1", begin=1767225600, end=1767312000, domain="example.com")
    return xml.replace("noreply-dmarc@Google", f"noreply@{contact}").encode() + b"</feedback>"


def mail_with(*contacts: str) -> bytes:
    """A signed mail of example.net with one report of each of these."""
    parts = b"".join(b"--x\r\nContent-Type: text/xml\r\n\r\n" + report_from(one) + b"\r\n" for one in contacts)
    head = (
        MAIL.partition(b"\r\n\r\n")[0] + b"\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n"
    )
    return signed(head + parts + b"--x--\r\n")


def reports_of(raw: bytes) -> tuple[Report, ...]:
    return reading.read(raw, "x", Limits(), 1_798_761_600).reports


@pytest.mark.parametrize(
    ("contacts", "auth"),
    [
        (["example.net"], "pass"),
        (["reports.EXAMPLE.net"], "pass"),
        (["example.net", "mx.example.net"], "pass"),
        ([], "pass"),
        (["google.com"], "fail"),
        (["net"], "fail"),
        (["example.net.google.com"], "fail"),
        (["notexample.net"], "fail"),
        (["example.net", "google.com"], "fail"),
        (["google.com", "example.net"], "fail"),
    ],
)
def test_a_mail_is_believed_only_in_the_name_of_its_own_organisation(contacts: list[str], auth: str) -> None:
    raw = mail_with(*contacts)
    reports = reports_of(raw)
    assert len(reports) == len(contacts)
    verdict = trust.verify(raw, origin(), dns())
    assert (verdict.auth, verdict.author) == ("pass", "mail.example.net")
    assert trust.of_reports(verdict, reports).auth == auth


def test_detail_says_who_really_sent_a_report_in_the_name_of_another() -> None:
    raw = mail_with("google.com")
    verdict = trust.of_reports(trust.verify(raw, origin(), dns()), reports_of(raw))
    assert verdict.detail == (
        "the mail is really from mail.example.net, but its report says it is from google.com; "
        "spf=fail (example.net) dkim=pass (d=example.net s=a, aligned) dmarc=pass (p=reject)"
    )
    assert verdict.author == ""


def test_the_rule_changes_no_verdict_but_a_pass() -> None:
    reports = reports_of(mail_with("google.com"))
    for verdict in (Verdict("fail", "a"), Verdict("none", "temperror: b"), Verdict("unknown", "c")):
        assert trust.of_reports(verdict, reports) is verdict


def test_a_pass_that_names_no_author_proves_nothing() -> None:
    assert trust.of_reports(Verdict("pass", "x"), reports_of(mail_with("example.net"))).auth == "fail"


@pytest.mark.parametrize(
    ("author", "submitter", "believed"),
    [
        ("dmarc.yahoo.com", "yahooinc.com", True),
        ("dmarc.yahoo.com", "yahoo.com", True),
        ("yahoo.com", "yahooinc.com", False),  # any of its users could write that
        ("evil-dmarc.yahoo.com.example.net", "yahooinc.com", False),
        ("us-1.mimecastreport.com", "mimecast.org", True),
        ("xmimecastreport.com", "mimecast.org", False),
        ("yahooinc.com", "dmarc.yahoo.com", False),
        ("mallory.github.io", "alice.github.io", False),  # a suffix that its owner lets others register below
        ("a.example.co.uk", "b.example.co.uk", True),
        ("example.co.uk", "co.uk", False),
        ("xn--bcher-kva.example", "bücher.example", True),
        ("example.net", "example net", False),
        ("example.net", "unknown", False),
        ("", "", False),
    ],
)
def test_who_speaks_for_whom(author: str, submitter: str, believed: bool) -> None:
    assert trust.speaks_for(author, submitter) is believed


@pytest.mark.parametrize(
    ("author", "submitter", "believed"),
    [
        ("reports.example.net", "example.com", True),
        ("eu.reports.example.net", "mail.example.com", True),
        ("xreports.example.net", "example.com", False),
        ("example.net", "example.com", False),
        ("reports.example.net", "example inc.", True),
        ("reports.example.net", "example inc", False),
        ("reports.example.net", "unknown", False),  # a report that names nobody
        ("reports.example.net", "example.org", False),
        ("dmarc.yahoo.com", "yahooinc.com", True),
        ("dmarc.yahoo.com", "aol.example", True),
    ],
)
def test_the_operator_may_name_more_who_speak_for_others(author: str, submitter: str, believed: bool) -> None:
    own = {
        "reports.example.net": ("Example.com", "Example  Inc.", "Unknown"),
        "dmarc.yahoo.com": ("aol.example",),
    }
    assert trust.speaks_for(author, submitter, trust.with_own(own)) is believed


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=300))
def test_no_submitter_makes_it_raise_or_breaks_the_line(submitter: str) -> None:
    (report,) = reports_of(mail_with("google.com"))
    named = dataclasses.replace(report, submitter=submitter)
    verdict = trust.of_reports(Verdict("pass", "x", "example.net"), [named])
    assert verdict.detail.isprintable()
