"""Sources judged by the column get what each alone gets from the rules: class, service, place and every sentence."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_sources_classes import TABLE, Row
from test_sources_classes import facts as facts_of

from dmarcview.geo import Geo, table
from dmarcview.services import directory
from dmarcview.sources import CLASSES, Habits, Previous, Refresher, classify, habits, said
from dmarcview.sources.bulk import Judge
from dmarcview.sources.traits import Knowledge
from dmarcview.store import Label, NamedAddress, SourceFacts, SourceRow, blocks, columns
from dmarcview.store.facts import Named

DOMAINS = ("example.org", "mail.example.org", "sendgrid.net", "co.uk")
NAMES = (
    "example.org",
    "Mail.Example.org",
    "example.com",
    "bounce.sendgrid.net",
    "gmail.com",
    "google.com",
    "lists.example.net",
    "{0}.braces.example",
    "",
)
ADDRESSES = (
    "192.0.2.1",
    "192.0.2.77",
    "203.0.113.9",
    "10.1.2.3",
    "2001:db8::1",
    "2001:db8::2",
    "2001:4860:4864:20::1",
    "::ffff:192.0.2.5",
    "209.85.220.41",
    "149.72.1.1",
    "8.8.8.8",
    "no address",
)
HOSTS = (None, "app.example.org", "ip-192-0-2-1.example.org", "o1.sendgrid.net", "mail-x.google.com")
SMALL = st.integers(1, 60)


@st.composite
def named(draw: st.DrawFn, selectors: Sequence[str | None], passes: Sequence[bool | None]) -> tuple[Named, ...]:
    """Names as the store gives them: most messages first, no two alike."""
    one = st.tuples(
        st.sampled_from(("example.org", "lists.example.net", *NAMES)),
        st.sampled_from(selectors),
        st.sampled_from(passes),
    )
    names = draw(st.lists(one, max_size=4, unique=True))
    return tuple(sorted((Named(*name, draw(SMALL)) for name in names), key=lambda n: (-n.messages, n.name)))


@st.composite
def facts(draw: st.DrawFn, domain: str, ip: str) -> SourceFacts:
    messages = draw(SMALL)
    spf = draw(st.sampled_from([0, 0, 0, 0, 0, 0, 1, messages]).map(lambda n: min(n, messages)))
    dkim = draw(st.sampled_from([0, 0, 1, messages // 2, messages]).map(lambda n: min(n, messages)))
    both = draw(st.integers(max(0, spf + dkim - messages), min(spf, dkim)))
    return SourceFacts(
        domain, ip, messages, spf + dkim - both, spf, dkim, both, draw(st.sampled_from([0, 0, 1, messages])),
        draw(st.integers(0, 9)) * 86_400, 20 * 86_400 - 1, draw(st.integers(1, 9)),
        dkim=draw(named(("s1", "s1", "s1", "s2", "", None), (True, True, True, False, None))),
        spf=draw(named((None, "mfrom", "helo"), (True, True, False))),
        envelope_from=draw(named((None,), (None,))),
    )  # fmt: skip


@st.composite
def worlds(draw: st.DrawFn) -> list[SourceFacts]:
    domains = st.sampled_from(("example.org",) * 6 + DOMAINS)  # habits need several sources of one domain
    pairs = st.tuples(domains, st.sampled_from(ADDRESSES))
    return [
        draw(facts(*pair))
        for pair in draw(st.lists(pairs, min_size=draw(st.sampled_from([1, 8])), max_size=14, unique=True))
    ]


@st.composite
def labels(draw: st.DrawFn) -> list[Label]:
    values = {
        "ip": ("192.0.2.1", "2001:db8::1", "no address"),
        "network": ("192.0.2.0/24", "0.0.0.0/0", "2001:db8::/64", "192.0.2.0/28"),
        "dkim": ("Example.com", "google.com"),
        "service": ("google", "Twilio SendGrid"),
        "asn": ("AS15169", "11377"),
    }
    found = []
    for number in range(draw(st.integers(0, 4))):
        scope = draw(st.sampled_from(sorted(values)))
        domain = draw(st.sampled_from(["", "example.org"]))
        text = draw(st.sampled_from(values[scope]))
        found.append(Label(scope, text, draw(st.sampled_from(CLASSES)), domain, "ada", number, "{why}", number))
    return found


def judged(
    sources: list[SourceFacts],
    old: list[SourceRow],
    names: dict[str, NamedAddress],
    said_labels: list[Label],
    settings_: tuple[Sequence[str], Sequence[str]],
) -> tuple[list[SourceRow], list[SourceRow]]:
    """The rows by column and the rows one by one."""
    geo, services, rules = Geo([table()]), directory(), said(*settings_, said_labels)
    who_of = Refresher(geo, services, (), ())._who
    stored = blocks.from_rows(old).append_column("changed", [[0] * len(old)])
    stored = stored.cast(blocks.schema())
    known = Knowledge(geo, services, rules, who_of, names)
    made = Judge(columns.from_facts(sources), known, stored, {}).table()
    by_column = blocks.to_rows(made)

    before = {(row.domain, row.source_ip): row for row in old}
    by_domain = defaultdict(list)
    for fact in sources:
        row = before.get((fact.domain, fact.source_ip))
        answer = names.get(fact.source_ip)
        name = answer.reverse_dns if answer else row.reverse_dns if row else None
        by_domain[fact.domain].append((fact, who_of(fact, geo.place(fact.source_ip), name)))
    one_by_one = []
    for found in by_domain.values():
        usual: Habits = habits(found)
        for fact, who in found:
            row = before.get((fact.domain, fact.source_ip))
            previous = None
            if row is not None and row.by == "rule":
                codes = frozenset(str(reason["code"]) for reason in row.evidence)
                previous = Previous(row.source_class, row.messages, codes)
            finding = classify(fact, who, usual, rules, previous)
            evidence = tuple({"code": e.code, "text": e.text, **e.numbers} for e in finding.evidence)
            whose = (finding.source_class, finding.by, finding.confidence, evidence)
            service = (finding.service, finding.service_type)
            place = (who.country, who.asn, who.as_name, who.reverse_dns)
            sums = (fact.first_seen, fact.last_seen, fact.messages)
            one_by_one.append(SourceRow(fact.domain, fact.source_ip, *whose, *service, *place, *sums))
    return by_column, sorted(one_by_one, key=lambda row: (row.domain, row.source_ip))


@settings(max_examples=300, deadline=None)
@given(
    worlds(),
    labels(),
    st.dictionaries(st.sampled_from(ADDRESSES), st.sampled_from(HOSTS), max_size=5),
    st.sampled_from([(), ("192.0.2.0/25", "2001:db8::2")]),
    st.sampled_from([(), ("google", "example.com", "lists.example.net", "sendgrid.net")]),
)
def test_columns_and_single_sources_are_judged_alike(
    sources: list[SourceFacts],
    said_labels: list[Label],
    hosts: dict[str, str | None],
    own: Sequence[str],
    approved: Sequence[str],
) -> None:
    names = {ip: NamedAddress(ip, host, 1) for ip, host in hosts.items()}
    by_column, one_by_one = judged(sources, [], names, said_labels, (own, approved))
    assert by_column == one_by_one


@settings(max_examples=100, deadline=None)
@given(worlds(), worlds(), st.randoms(use_true_random=False))
def test_what_an_earlier_run_found_is_remembered_alike(
    first: list[SourceFacts], later: list[SourceFacts], random: object
) -> None:
    old, _ = judged(first, [], {}, [], ((), ()))
    old = [
        replace(row, messages=row.messages * random.choice([1, 9]), by=random.choice(["rule", "rule", "user"]))  # type: ignore[attr-defined]
        for row in old
    ]
    by_column, one_by_one = judged(later, old, {}, [], ((), ()))
    assert by_column == one_by_one


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.what)
def test_lifelike_sources_are_judged_alike(row: Row) -> None:
    for world in ([row.source], list({f.source_ip: f for f in (row.source, *row.beside)}.values())):
        hosts = {row.source.source_ip: NamedAddress(row.source.source_ip, row.who.reverse_dns, 1)}
        by_column, one_by_one = judged(world, [], hosts, [], ((), ()))
        assert by_column == one_by_one


def test_lifelike_sources_of_one_domain_are_judged_alike_together() -> None:
    world = list({row.source.source_ip: row.source for row in TABLE}.values())
    for leave in range(len(world)):  # without its homes a domain has other habits
        by_column, one_by_one = judged(world[leave:], [], {}, [], ((), ()))
        assert by_column == one_by_one


def test_where_spf_covers_nothing_the_envelope_of_most_mail_is_a_keys_home() -> None:
    world = [facts_of("203.0.113.5", 900, dkim=900), facts_of("203.0.113.6", 9, dkim=9, told=[("list.example", 9)])]
    by_column, one_by_one = judged(world, [], {}, [], ((), ()))
    assert by_column == one_by_one
    assert [row.source_class for row in by_column] == ["own", "forwarder"]
    assert "shared_key" in {reason["code"] for reason in by_column[1].evidence}
