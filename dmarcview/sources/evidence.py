"""What was concluded of a source and why: the words that classification uses, and its values.

A source is a pair (policy domain, source address): one address that sends for two domains is two sources.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple

from dmarcview.reasons import Fields, numbers, sentence
from dmarcview.services import Match

SourceClass = Literal["own", "third_party", "forwarder", "unknown"]
Confidence = Literal["high", "medium", "low"]
CLASSES: tuple[SourceClass, ...] = ("own", "third_party", "forwarder", "unknown")

CODES: Mapping[str, str] = MappingProxyType(
    {
        # said by people
        "label": "Somebody labelled it.",
        "own_network": "The address lies in a network that `domains.own_networks` names.",
        "approved_service": "`domains.approved` names the service.",
        # what the reports saw
        "both_aligned": "Messages passed SPF and DKIM, both aligned.",
        "spf_aligned": "Messages passed SPF, aligned: your SPF record covers the address.",
        "dkim_aligned": "Messages carried a good DKIM signature of your domain.",
        "never_aligned": "No message passed SPF or DKIM for your domain.",
        "stray_spf": "A few messages passed SPF for your domain, too few to say that your record covers the address.",
        "override": "Receivers noted that the mail was forwarded or came from a mailing list.",
        "other_envelope": "The mail travelled under somebody else's envelope domain.",
        "checked_envelope": "SPF passed for that envelope domain, so it is no empty claim.",
        "other_signature": "Good signatures of another domain stand on the messages.",
        # what the domain's other sources say
        "shared_key": "The signing key is at home on other sources.",
        "own_key": "The signing key is used only here and at sources like this one.",
        "steady_share": "It carries too large a share of what the key signs to be a forwarder.",
        "neighbour": "A source of yours that SPF covers has an address beside it.",
        "same_service": "Other addresses of the same service pass SPF for your domain.",
        # who runs the address, and who signs
        "own_name": "The confirmed reverse name lies under your domain.",
        "service_network": "The address lies in the service's sending range.",
        "service_host": "The confirmed reverse name is the service's.",
        "service_spf": "SPF passed for the service's envelope domain.",
        "service_asn": "The address lies in a network that carries only this service.",
        "service_dkim": "A good signature of the service stands on the messages.",
        # memory
        "history": "Older reports, since deleted, showed aligned passes.",
    }
)


class Who(NamedTuple):
    """What is known of the address itself, whoever it sends for."""

    country: str | None = None
    asn: int | None = None
    as_name: str | None = None
    reverse_dns: str | None = None  # only when the name points back to the address
    operator: Match | None = None  # the service that runs the address
    signer: Match | None = None  # a known service whose signature passed


class Evidence(NamedTuple):
    """One reason: a code of CODES, a sentence for people, and what the sentence is made of: numbers and names."""

    code: str
    text: str
    fields: Fields = MappingProxyType({})

    @property
    def numbers(self) -> Mapping[str, int]:
        """Its numbers by name."""
        return numbers(self.fields)


def reason(code: str, domain: str, **fields: int | str) -> Evidence:
    """The reason with this code, about a source of `domain`; `fields` are those of its sentence."""
    return Evidence(code, sentence(code, domain, fields), fields)


class Finding(NamedTuple):
    """The class of one source and why. `by` is `user` when a label decided, else `rule`."""

    source_class: SourceClass
    confidence: Confidence
    by: Literal["rule", "user"]
    service: str | None
    service_type: str | None
    evidence: tuple[Evidence, ...]


class Previous(NamedTuple):
    """What an earlier run concluded by rule, and from how many messages."""

    source_class: str
    messages: int
    codes: frozenset[str]


def source_class(text: str) -> SourceClass:
    """The class that a stored word means; a word of another version is unknown."""
    return text if text in CLASSES else "unknown"
