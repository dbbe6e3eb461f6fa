"""Who is this source: own, third party, forwarder or unknown. Pure; `docs/sources.md` tells it for people.

An ordered table of rules; the first that has an answer gives it. What people said comes first, then what our SPF record
covers, then what only our keys vouch for, then what nothing vouches for. An aligned SPF pass proves that the domain's
owner listed the address. A signature alone proves less: forwarded mail carries it too, so the habits of the domain
decide between a sender and a forwarder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from dmarcview.networks import NetworkMap, address, network
from dmarcview.organisation import organisational
from dmarcview.services import RELAYING, SENDING
from dmarcview.sources.case import ESTABLISHED, Case, Said
from dmarcview.sources.evidence import Evidence, Finding, Previous, SourceClass, Who, source_class
from dmarcview.sources.labels import Labels
from dmarcview.sources.travel import Habits, block
from dmarcview.store.facts import Label, SourceFacts

OVERRIDE_SHARE = 0.05  # of the messages, beside a signature that survives
OVERRIDE_BESIDE = 0.01  # of the messages, beside a host of ours: most mail of a forwarder passes, and is never noted
OVERRIDE_ALONE = 0.5  # of the messages, where nothing else speaks for it
FORWARDER_SHARE = 0.10  # of what a key signs; a source under our own envelope that carries more is no forwarder
VOUCHED = frozenset({"both_aligned", "spf_aligned", "dkim_aligned"})
KEPT: tuple[SourceClass, ...] = ("own", "third_party", "forwarder")  # classes that outlive the reports they came from


def said(own_networks: Iterable[str] = (), approved: Iterable[str] = (), labels: Iterable[Label] = ()) -> Said:
    """What people said, from settings and labels. ValueError for an own network that is none."""
    nets = NetworkMap((network(text), text) for text in own_networks)
    return Said(nets, frozenset(name.strip().casefold() for name in approved), Labels(labels))


def classify(
    facts: SourceFacts, who: Who, habits: Habits, said: Said, previous: Previous | None = None
) -> Finding:  # fmt: skip
    """The class of one source. `habits` are those of its domain, over all of its sources, this one included."""
    case = Case(facts, who, habits, said, previous)
    for rule in RULES:
        found = rule(case)
        if found is not None:
            return found
    return case.finding("unknown", "high" if facts.messages >= ESTABLISHED else "medium")


def _label(case: Case) -> Finding | None:
    label = case.said.labels.find(case.facts, case.who)
    if label is None:
        return None
    where = {"ip": "this address", "asn": f"AS{label.value.upper().removeprefix('AS')}"}.get(label.scope, label.value)
    author = f" by {label.author}" if label.author else ""
    note = f": {label.note}" if label.note else "."
    why = case.reason("label", author=author, where=where, note=note, at=label.at)
    return case.finding(source_class(label.source_class), "high", why, by="user")


def _own_network(case: Case) -> Finding | None:
    own = case.said.own_networks.get(address(case.facts.source_ip))
    if own is None:
        return None
    return case.finding("own", "high", case.reason("own_network", network=own))


def _covered_by_spf(case: Case) -> Finding | None:
    if not case.anchored:
        return None
    return case.finding("third_party" if case.operator or case.signed_by else "own", case.confidence)


def _approved(case: Case) -> Finding | None:
    approved = case.said.approved
    if not approved:
        return None
    service = case.operator or case.signed_by
    if service and service.name.casefold() in approved:
        # a mailbox provider forwards too: what it passes on for others is not what was approved
        relays = case.other or case.way.passed_on or case.facts.forwarded >= OVERRIDE_SHARE * case.facts.messages
        if service.type in SENDING or not relays:
            return case.finding("third_party", "high", case.reason("approved_service", name=service.name))
        return None
    domains = {case.other} | {organisational(name.name) for name in case.facts.dkim if name.passed}
    agreed = sorted(name for name in domains if name and name in approved)
    if not agreed:
        return None
    return case.finding("third_party", "high", case.reason("approved_service", name=agreed[0]), named=agreed[0])


def _known_service_signed(case: Case) -> Finding | None:
    """Our key vouches for it, and the service that runs the address does one thing only."""
    if not case.facts.dkim_aligned or not case.operator:
        return None
    if case.operator.type in RELAYING:
        return case.finding("forwarder", "high")
    if case.operator.type in SENDING:
        return case.finding("third_party", case.confidence)
    return None


def _own_name(case: Case) -> Finding | None:
    if not case.own_name:
        return None
    return case.finding("own", case.confidence if case.facts.dkim_aligned else "medium")


def _same_service(case: Case) -> Finding | None:
    """A mailbox provider or gateway that SPF covers elsewhere, under our envelope: SPF failed in passing."""
    operator = case.operator
    if not case.facts.dkim_aligned or not operator or case.other or operator.name not in case.habits.anchored_services:
        return None
    return case.finding("third_party", case.confidence, case.reason("same_service", name=operator.name))


def _forwarded_with_signature(case: Case) -> Finding | None:
    """The signature survived a detour that receivers noted, or that a mailbox provider's own envelope shows."""
    if not case.facts.dkim_aligned:
        return None
    if case.facts.forwarded >= OVERRIDE_SHARE * case.facts.messages or (case.operator and case.other):
        return case.finding("forwarder", "high")
    return None


def _passed_on(case: Case) -> Finding | None:
    """The key is at home elsewhere: a forwarder, unless this looks like one more of our own hosts."""
    if not case.facts.dkim_aligned or not case.way.passed_on:
        return None
    if case.other:
        return case.finding("forwarder", "high", case.shared_key())
    kept = None if case.operator else _one_of_ours(case)
    if kept is None:
        return case.finding("forwarder", "medium", case.shared_key())
    return case.finding("own", "low" if case.confidence == "low" else "medium", kept, case.shared_key())


def _one_of_ours(case: Case) -> Evidence | None:
    noted = case.facts.forwarded >= OVERRIDE_BESIDE * case.facts.messages
    if not noted and block(case.facts.source_ip) in case.habits.anchored_blocks:
        return case.reason("neighbour")
    if case.way.share >= FORWARDER_SHARE:
        return case.reason("steady_share", permille=case.permille)
    return None


def _own_key(case: Case) -> Finding | None:
    """The key is used here alone: whoever runs this was given it."""
    if not case.facts.dkim_aligned:
        return None
    if case.operator or case.signed_by:
        return case.finding("third_party", case.confidence, case.own_key())
    if not case.other:
        return case.finding("own", "low" if case.confidence == "low" else "medium", case.own_key())
    signs_too = any(name.passed and organisational(name.name) == case.other for name in case.facts.dkim)
    if signs_too or case.habits.has_anchor or case.established:
        return case.finding("third_party", case.confidence, case.own_key(), named=case.other)
    return case.finding("forwarder", "low")  # all we ever saw of the domain may be a few forwarded messages


def _history(case: Case) -> Finding | None:
    previous = case.previous
    if previous is None or previous.messages <= case.facts.messages or not previous.codes & VOUCHED:
        return None
    for kept in KEPT:
        if previous.source_class == kept:
            return case.finding(kept, "low", case.reason("history", messages=previous.messages))
    return None


def _forwarded_without_signature(case: Case) -> Finding | None:
    if case.operator and case.operator.type in RELAYING:
        return case.finding("forwarder", "medium")
    if case.facts.forwarded and case.facts.forwarded >= OVERRIDE_ALONE * case.facts.messages:
        return case.finding("forwarder", "medium" if case.facts.messages >= ESTABLISHED else "low")
    return None


RULES: tuple[Callable[[Case], Finding | None], ...] = (
    _label,
    _own_network,
    _covered_by_spf,
    _approved,
    _known_service_signed,
    _own_name,
    _same_service,
    _forwarded_with_signature,
    _passed_on,
    _own_key,
    _history,
    _forwarded_without_signature,
)
