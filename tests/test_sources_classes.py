"""Lifelike sources, one by one, and the class that each must get."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import pytest

from dmarcview.services import directory
from dmarcview.sources import CODES, Finding, Habits, Previous, Who, classify, habits, said
from dmarcview.store.facts import Label, Named, SourceFacts

DOMAIN = "example.org"
DAY = 86_400


def facts(
    ip: str,
    messages: int,
    *,
    spf: int = 0,
    dkim: int = 0,
    both: int | None = None,
    days: int = 30,
    forwarded: int = 0,
    key: str = "s1",
    signers: Sequence[tuple[str, int]] = (),
    envelopes: Sequence[tuple[str, int]] = (),
    told: Sequence[tuple[str, int]] = (),
    domain: str = DOMAIN,
) -> SourceFacts:
    """Facts of one source: `spf` and `dkim` aligned passes, `signers` other good signatures, `envelopes` other SPF."""
    both = min(spf, dkim) if both is None else both
    own = (Named(domain, key, True, dkim),) if dkim else ()
    return SourceFacts(
        domain, ip, messages, spf + dkim - both, spf, dkim, both, forwarded, 0, days * DAY - 1, days,
        dkim=(*own, *(Named(name, "x", True, n) for name, n in signers)),
        spf=tuple(Named(name, "mfrom", True, n) for name, n in ((domain, spf), *envelopes) if n),
        envelope_from=tuple(Named(name, None, None, n) for name, n in told),
    )  # fmt: skip


OWN_HOST = facts("198.51.100.10", 10_000, spf=9_950, dkim=9_980, both=9_940)


class Row(NamedTuple):
    """One lifelike source; `beside` are the other sources of the domain."""

    what: str
    source: SourceFacts
    expected: str
    code: str  # must be among the evidence
    who: Who = Who()
    beside: tuple[SourceFacts, ...] = (OWN_HOST,)


def service(name: str, by: str = "asn") -> Who:
    from dmarcview.services import Match

    found = directory().by_name[name.casefold()]
    return Who(operator=Match(found, by, "key"))


def signed(name: str) -> Who:
    return Who(signer=directory().signer([directory().by_name[name.casefold()].dkim[0]]))


TABLE = [
    Row("a mail server that passes both", OWN_HOST, "own", "both_aligned", beside=()),
    Row("a web server that SPF covers and that signs nothing", facts("192.0.2.20", 900, spf=900), "own", "spf_aligned"),
    Row("an own server that lost its key yesterday",
        facts("192.0.2.21", 10_400, spf=10_400, dkim=10_000), "own", "both_aligned"),
    Row("an own server that fell out of SPF yesterday and signs nothing",
        facts("192.0.2.22", 1_200, spf=1_000), "own", "spf_aligned"),
    Row("an own server that lost both and sends a flood",
        facts("192.0.2.23", 90_000, spf=900, dkim=900), "own", "both_aligned"),
    Row("an own server that only signs, under our envelope, with its own key",
        facts("203.0.113.5", 400, dkim=400, key="app"), "own", "own_key"),
    Row("five messages with our signature, and nothing else is known",
        facts("203.0.113.6", 5, dkim=5, days=1), "own", "own_key", beside=()),
    Row("five messages with our signature from a known sender",
        facts("203.0.113.7", 5, dkim=5, days=1), "third_party", "service_asn", service("SendGrid")),
    Row("a new host beside the old ones, not yet in the SPF record",
        facts("198.51.100.11", 50, dkim=50), "own", "neighbour"),
    Row("a host far away that signs a fifth of our mail, not in the SPF record",
        facts("203.0.113.8", 2_500, dkim=2_500), "own", "steady_share"),
    Row("a host with a name of ours that passes nothing",
        facts("203.0.113.9", 80), "own", "own_name", Who(reverse_dns="app7.example.org")),
    Row("a customer's address with a name that the provider made of it",
        facts("203.0.113.9", 80), "unknown", "never_aligned", Who(reverse_dns="ip-203-0-113-9.example.org")),
    Row("our mailbox provider", facts("209.85.220.41", 5_000, spf=4_990, dkim=4_980), "third_party", "service_network",
        service("Google", "network"), beside=()),
    Row("a newsletter service with our key and its own envelope",
        facts("205.201.131.9", 7_000, dkim=6_990, key="k1", envelopes=[("mail9.mcsv.net", 7_000)]), "third_party",
        "service_spf", service("Mailchimp", "spf")),
    Row("a newsletter service that our table does not know",
        facts("203.0.113.40", 7_000, dkim=6_990, key="lp1", envelopes=[("b.letters.example", 7_000)],
              signers=[("letters.example", 7_000)]), "third_party", "own_key"),
    Row("a known signer at an address nobody knows, under our envelope",
        facts("203.0.113.41", 300, dkim=300, key="sg", signers=[("sendgrid.net", 300)]), "third_party", "service_dkim",
        signed("SendGrid")),
    Row("a known sender that is not set up for our domain",
        facts("167.89.0.9", 300, envelopes=[("sendgrid.net", 300)]), "unknown", "never_aligned", service("SendGrid")),
    Row("a university that forwards: our envelope, our signature, SPF fails",
        facts("203.0.113.50", 120, dkim=110), "forwarder", "shared_key"),
    Row("an alias service that rewrites the envelope",
        facts("203.0.113.51", 90, dkim=88, envelopes=[("srs.alias.example", 90)]), "forwarder", "shared_key"),
    Row("a mailing list that breaks most signatures",
        facts("203.0.113.52", 100, dkim=20, forwarded=60, envelopes=[("lists.example.net", 100)]), "forwarder",
        "override"),
    Row("a mailing list that breaks all signatures, noted by receivers",
        facts("203.0.113.53", 100, forwarded=80, envelopes=[("lists.example.net", 100)]), "forwarder", "override"),
    Row("a mailbox provider that forwards under its own envelope",
        facts("209.85.220.42", 60, dkim=58, envelopes=[("gmail.com", 60)]), "forwarder", "other_envelope",
        service("Google", "network")),
    Row("the same, where reports tell the envelope but SPF failed",
        facts("209.85.220.43", 60, dkim=58, told=[("gmail.com", 60)]), "forwarder", "other_envelope",
        service("Google", "network")),
    Row("a known forwarder", facts("192.0.2.60", 10, dkim=9, days=2), "forwarder", "service_host",
        service("ImprovMX", "host")),
    Row("a known forwarder that breaks signatures", facts("192.0.2.61", 10, days=2), "forwarder", "service_host",
        service("ImprovMX", "host")),
    Row("a recipient's filter that passes on what we signed",
        facts("207.211.31.9", 60, dkim=50), "forwarder", "shared_key", service("Mimecast")),
    Row("a service's message forwarded by a stranger: its signature is still on it",
        facts("203.0.113.54", 12, dkim=12, key="sg", signers=[("sendgrid.net", 12)], envelopes=[("fwd.example", 12)]),
        "forwarder", "shared_key", signed("SendGrid"),
        (OWN_HOST, facts("167.89.0.8", 4_000, dkim=4_000, key="sg", envelopes=[("sendgrid.net", 4_000)]))),
    Row("a signed message replayed a million times by a spammer",
        facts("203.0.113.55", 1_000_000, dkim=1_000_000, envelopes=[("spam.example", 1_000_000)]), "forwarder",
        "other_envelope", beside=(facts("198.51.100.10", 900_000, spf=900_000, dkim=900_000),)),
    Row("a spoofer with a thousand failing messages from one address",
        facts("203.0.113.70", 1_000, days=2), "unknown", "never_aligned"),
    Row("a spoofer who is well authenticated as somebody else",
        facts("203.0.113.71", 200, envelopes=[("shop.example", 200)], signers=[("shop.example", 200)]), "unknown",
        "other_signature"),
    Row("a spoofer whose envelope is his own",
        facts("203.0.113.73", 200, envelopes=[("shop.example", 200)]), "unknown", "checked_envelope"),
    Row("a spoofer through a cloud with one stray SPF pass",
        facts("203.0.113.72", 5_000, spf=1), "unknown", "stray_spf"),
]  # fmt: skip


def found(row: Row) -> Finding:
    return classify(row.source, row.who, beside(row.source, row.who, *row.beside), said())


def beside(source: SourceFacts, who: Who, *others: SourceFacts) -> Habits:
    return habits([(source, who), *((other, Who()) for other in others if other.source_ip != source.source_ip)])


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.what)
def test_lifelike_source_gets_its_class_and_says_why(row: Row) -> None:
    finding = found(row)
    assert finding.source_class == row.expected, finding
    assert row.code in {reason.code for reason in finding.evidence}, finding
    assert all(reason.code in CODES and reason.text for reason in finding.evidence)
    assert finding.by == "rule"


def test_every_evidence_code_but_those_of_people_and_memory_appears_in_the_table() -> None:
    told = {reason.code for row in TABLE for reason in found(row).evidence}
    assert set(CODES) - told == {"label", "own_network", "approved_service", "history", "same_service"}


def test_few_messages_make_little_confidence() -> None:
    by_name = {row.what: found(row) for row in TABLE}
    assert by_name["a mail server that passes both"].confidence == "high"
    assert by_name["five messages with our signature, and nothing else is known"].confidence == "low"


def test_two_domains_that_share_an_address_are_classified_apart() -> None:
    ip = "198.51.100.77"
    ours = facts(ip, 500, spf=500, dkim=500, domain="example.org")
    spoofed = facts(ip, 500, domain="example.com")
    assert classify(ours, Who(), beside(ours, Who()), said()).source_class == "own"
    assert classify(spoofed, Who(), beside(spoofed, Who()), said()).source_class == "unknown"


def test_unlisted_sender_is_named_by_its_envelope() -> None:
    row = next(row for row in TABLE if row.what == "a newsletter service that our table does not know")
    assert (found(row).service, found(row).service_type) == ("letters.example", "unlisted")


def test_lone_forwarded_messages_of_a_domain_without_a_home_are_no_third_party() -> None:
    source = facts("203.0.113.51", 4, dkim=4, days=1, envelopes=[("srs.alias.example", 4)])
    finding = classify(source, Who(), beside(source, Who()), said())
    assert (finding.source_class, finding.confidence) == ("forwarder", "low")


def test_failing_spf_at_one_address_of_the_provider_is_still_the_provider() -> None:
    google = service("Google", "network")
    good = facts("209.85.220.41", 5_000, spf=5_000, dkim=5_000)
    odd = facts("209.85.220.99", 5, dkim=5, days=1)
    known = habits([(good, google), (odd, google)])
    finding = classify(odd, google, known, said())
    assert finding.source_class == "third_party"
    assert "same_service" in {reason.code for reason in finding.evidence}


def test_own_network_is_own_whatever_it_sends() -> None:
    source = facts("203.0.113.70", 1_000)
    finding = classify(source, Who(), beside(source, Who()), said(own_networks=["203.0.113.64/26"]))
    assert (finding.source_class, finding.evidence[0].code) == ("own", "own_network")


def test_approved_service_is_third_party_although_nothing_is_aligned() -> None:
    source = facts("167.89.0.9", 300, envelopes=[("sendgrid.net", 300)])
    who = service("SendGrid")
    finding = classify(source, who, beside(source, who), said(approved=["sendgrid"]))
    assert (finding.source_class, finding.evidence[0].code) == ("third_party", "approved_service")


def test_unlisted_service_is_approved_by_its_domain() -> None:
    source = facts("203.0.113.80", 300, signers=[("mail.survey.example", 300)])
    finding = classify(source, Who(), beside(source, Who()), said(approved=["survey.example"]))
    assert (finding.source_class, finding.service) == ("third_party", "survey.example")


def test_approving_a_mailbox_provider_does_not_approve_what_it_forwards() -> None:
    source = facts("209.85.220.42", 60, dkim=58, envelopes=[("gmail.com", 60)])
    who = service("Google", "network")
    finding = classify(source, who, beside(source, who, OWN_HOST), said(approved=["Google"]))
    assert finding.source_class == "forwarder"


def test_history_that_was_pruned_is_remembered() -> None:
    source = facts("192.0.2.30", 40)
    before = Previous("own", 9_000, frozenset({"both_aligned"}))
    finding = classify(source, Who(), beside(source, Who()), said(), before)
    assert (finding.source_class, finding.evidence[0].code) == ("own", "history")


def test_a_class_that_only_the_configuration_gave_is_not_remembered() -> None:
    source = facts("192.0.2.30", 40)
    before = Previous("own", 9_000, frozenset({"own_network", "never_aligned"}))
    assert classify(source, Who(), beside(source, Who()), said(), before).source_class == "unknown"


def test_label_wins_over_every_rule() -> None:
    for row in TABLE:
        for wanted in ("own", "third_party", "forwarder", "unknown"):
            rules = said(
                ["0.0.0.0/0"], ["google", "sendgrid"], [Label("ip", row.source.source_ip, wanted, author="ada")]
            )
            finding = classify(row.source, row.who, beside(row.source, row.who, *row.beside), rules)
            assert (finding.source_class, finding.by) == (wanted, "user")
            assert finding.evidence[0].code == "label"
            assert "ada" in finding.evidence[0].text


def test_an_envelope_that_spf_did_not_pass_for_on_most_of_the_mail_is_a_mere_claim() -> None:
    for source in (
        facts("203.0.113.74", 100, told=[("shop.example", 100)]),
        facts("203.0.113.74", 100, told=[("shop.example", 100)], envelopes=[("shop.example", 20)]),
        facts("203.0.113.74", 100, envelopes=[("other.example", 30)], told=[("shop.example", 70)]),
    ):
        codes = [reason.code for reason in classify(source, Who(), beside(source, Who()), said()).evidence]
        assert "other_envelope" in codes
        assert "checked_envelope" not in codes


LABELS = [
    Label("asn", "AS64500", "unknown"),
    Label("service", "SendGrid", "third_party"),
    Label("dkim", "example.org", "forwarder"),
    Label("network", "203.0.112.0/23", "own"),
    Label("network", "203.0.113.0/24", "unknown"),
    Label("ip", "203.0.113.7", "third_party"),
    Label("ip", "203.0.113.7", "own", domain="example.org"),
    Label("ip", "203.0.113.7", "forwarder", domain="example.org", at=5),
    Label("ip", "203.0.113.7", "unknown", domain="example.com", at=9),
]


@pytest.mark.parametrize("kept", range(1, len(LABELS)))
def test_more_exact_label_wins(kept: int) -> None:
    source = facts("203.0.113.7", 5, dkim=5)
    who = replace_who(service("SendGrid"), 64_500)
    labels = LABELS[:kept]
    finding = classify(source, who, beside(source, who), said(labels=reversed(labels)))
    assert finding.source_class == labels[-1].source_class
    assert finding.by == "user"


def replace_who(who: Who, asn: int) -> Who:
    return who._replace(asn=asn)


def test_label_of_another_domain_does_not_count() -> None:
    source = facts("203.0.113.7", 1_000)
    rules = said(labels=[Label("ip", "203.0.113.7", "own", domain="example.com")])
    assert classify(source, Who(), beside(source, Who()), rules).source_class == "unknown"


def test_labels_that_no_version_understands_are_left_aside() -> None:
    source = facts("203.0.113.7", 1_000)
    rules = said(labels=[Label("colour", "red", "own"), Label("network", "nowhere", "own")])
    assert classify(source, Who(), beside(source, Who()), rules).source_class == "unknown"


def test_class_of_a_known_row_is_stable_when_more_of_the_same_comes() -> None:
    for row in TABLE:
        bigger = replace_counts(row.source, 3)
        others = [replace_counts(other, 3) for other in row.beside]
        finding = classify(bigger, row.who, beside(bigger, row.who, *others), said())
        assert finding.source_class == found(row).source_class, row.what


def replace_counts(source: SourceFacts, times: int) -> SourceFacts:
    def scaled(names: tuple[Named, ...]) -> tuple[Named, ...]:
        return tuple(name._replace(messages=name.messages * times) for name in names)

    counts = ("messages", "dmarc_pass", "spf_aligned", "dkim_aligned", "both", "forwarded")
    return replace(
        source,
        **{name: getattr(source, name) * times for name in counts},
        dkim=scaled(source.dkim),
        spf=scaled(source.spf),
        envelope_from=scaled(source.envelope_from),
    )
