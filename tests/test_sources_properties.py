"""What holds of every source, whatever its facts: classification is total, explains itself, and never overreaches."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from dmarcview.services import directory
from dmarcview.sources import CLASSES, CODES, Who, classify, habits, said
from dmarcview.sources.travel import anchored
from dmarcview.store.facts import Label, Named, SourceFacts

ADDRESSES = ("192.0.2.1", "192.0.2.77", "203.0.113.9", "2001:db8::1", "209.85.220.41", "no address")
DOMAINS = (
    "example.org",
    "mail.example.org",
    "example.com",
    "sendgrid.net",
    "gmail.com",
    "a.b",
    "",
    "x" * 300,
    "\udcff.org",
)
counts = st.integers(0, 1 << 40)


@st.composite
def names(draw: st.DrawFn, kind: str) -> tuple[Named, ...]:
    if kind == "dkim":
        selector, passed = st.sampled_from([None, "", "s1", "s2"]), st.booleans()
    elif kind == "spf":
        selector, passed = st.sampled_from([None, "mfrom", "helo"]), st.booleans()
    else:
        selector, passed = st.none(), st.none()
    one = st.builds(Named, st.sampled_from(DOMAINS), selector, passed, counts)
    return tuple(draw(st.lists(one, max_size=4)))


@st.composite
def sources(draw: st.DrawFn) -> SourceFacts:
    messages = draw(st.integers(1, 1 << 40))
    spf = draw(st.integers(0, messages))
    dkim = draw(st.integers(0, messages))
    both = draw(st.integers(max(0, spf + dkim - messages), min(spf, dkim)))
    return SourceFacts(
        draw(st.sampled_from(["example.org", "example.com", "co.uk"])),
        draw(st.sampled_from(ADDRESSES)),
        messages, spf + dkim - both, spf, dkim, both, draw(st.integers(0, messages)), 0, 1,
        draw(st.integers(1, 400)),
        draw(names("dkim")), draw(names("spf")), draw(names("envelope")),
    )  # fmt: skip


@st.composite
def whos(draw: st.DrawFn) -> Who:
    listed = directory()
    host = draw(st.sampled_from([None, "app.example.org", "ip-192-0-2-1.example.org", "o1.sendgrid.net"]))
    spf = draw(st.lists(st.sampled_from(DOMAINS), max_size=2))
    asn = draw(st.sampled_from([None, 14782, 64500]))
    operator = listed.operator("192.0.2.1", host=host, spf=spf, asn=asn)
    return Who(asn=asn, reverse_dns=host, operator=operator, signer=listed.signer(spf))


@given(st.lists(st.tuples(sources(), whos()), min_size=1, max_size=6))
def test_every_source_gets_a_class_with_evidence_that_the_docs_explain(cases: list[tuple[SourceFacts, Who]]) -> None:
    known = habits(cases)
    for facts, who in cases:
        finding = classify(facts, who, known, said())
        assert finding.source_class in CLASSES
        assert finding.confidence in ("high", "medium", "low")
        assert finding.evidence
        assert {reason.code for reason in finding.evidence} <= set(CODES)


@given(st.lists(st.tuples(sources(), whos()), min_size=1, max_size=6))
def test_nothing_is_own_or_third_party_that_nothing_vouches_for(cases: list[tuple[SourceFacts, Who]]) -> None:
    known = habits(cases)
    for facts, who in cases:
        finding = classify(facts, who, known, said())
        codes = {reason.code for reason in finding.evidence}
        if not anchored(facts) and not facts.dkim_aligned and "own_name" not in codes:
            assert finding.source_class in ("forwarder", "unknown")
            if not facts.forwarded and who.operator is None:
                assert finding.source_class == "unknown"


@given(st.lists(st.tuples(sources(), whos()), min_size=1, max_size=6))
def test_what_spf_covers_is_never_a_forwarder_and_never_unknown(cases: list[tuple[SourceFacts, Who]]) -> None:
    known = habits(cases)
    for facts, who in cases:
        if anchored(facts):
            assert classify(facts, who, known, said()).source_class in ("own", "third_party")


@given(st.lists(st.tuples(sources(), whos()), min_size=2, max_size=6), st.randoms())
def test_order_of_arrival_changes_no_class(cases: list[tuple[SourceFacts, Who]], random: object) -> None:
    mixed = list(cases)
    random.shuffle(mixed)  # type: ignore[attr-defined]
    for facts, who in cases:
        assert classify(facts, who, habits(cases), said()) == classify(facts, who, habits(mixed), said())


@given(sources(), whos(), st.sampled_from(CLASSES))
def test_label_of_the_very_address_decides(facts: SourceFacts, who: Who, wanted: str) -> None:
    finding = classify(facts, who, habits([(facts, who)]), said(labels=[Label("ip", facts.source_ip, wanted)]))
    if facts.source_ip == "no address":
        assert finding.by == "rule"
    else:
        assert (finding.source_class, finding.by, finding.confidence) == (wanted, "user", "high")


@given(sources(), whos())
def test_a_source_that_was_covered_stays_ours_when_it_fails_as_often_as_it_ever_passed(
    facts: SourceFacts, who: Who
) -> None:
    good = replace(facts, spf_aligned=facts.messages, messages=facts.messages, days=9)
    bad = replace(good, messages=good.messages * 2, days=10)
    before = classify(good, who, habits([(good, who)]), said())
    after = classify(bad, who, habits([(bad, who)]), said())
    assert before.source_class == after.source_class
