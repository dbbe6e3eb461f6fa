"""The sentences in which a source's class is explained, by code: the store keeps codes and numbers, people read these.

`dmarcview.sources` finds the reasons; the store tells them again from what it keeps. Both ask here, so that a stored
reason and a fresh one never differ by a word.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

_PART = "{messages:,} of {of:,} messages "

SENTENCES: Mapping[str, str] = MappingProxyType(
    {
        "label": "Labelled{author} for {where}{note}",
        "own_network": "The address lies in {network}, which you named as yours.",
        "approved_service": "You approved {name}.",
        "both_aligned": _PART + "passed SPF and DKIM for {domain}.",
        "spf_aligned": _PART + "passed SPF for {domain}.",
        "dkim_aligned": _PART + "had a good signature of {domain}.",
        "never_aligned": "None of {of:,} messages passed SPF or DKIM for {domain}.",
        "stray_spf": _PART + "passed SPF for {domain}.",
        "override": _PART + "were noted as forwarded or as list mail.",
        "other_envelope": "The mail carries the envelope domain {name}, not yours.",
        "checked_envelope": "SPF passed for {name}.",
        "other_signature": "Good signatures of {name} stand on {messages:,} messages.",
        "shared_key": "{key} is at home elsewhere; {share} of what it signs comes from here.",
        "own_key": "{key} signs only here and at sources like this one.",
        "steady_share": "It carries {share} of what the key signs: more than a forwarder would.",
        "neighbour": "A source of yours that SPF covers has an address in the same /24 or /64.",
        "same_service": "Other addresses of {name} pass SPF for {domain}.",
        "own_name": "Its confirmed reverse name {name} lies under your own domain.",
        "service_network": "The address lies in the sending range of {name}.",
        "service_host": "Its confirmed reverse name lies under {key}, of {name}.",
        "service_spf": "SPF passed for {key}, an envelope domain of {name}.",
        "service_asn": "The address lies in {key}, the network of {name}.",
        "service_dkim": "Signatures of {key}, of {name}, are good.",
        "history": "Older reports, since deleted, showed aligned passes.",
    }
)

# Fields that differ from source to source, and the column of a stored row that holds each.
HELD: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "both_aligned": {"messages": "both", "of": "messages"},
        "spf_aligned": {"messages": "spf_aligned", "of": "messages"},
        "dkim_aligned": {"messages": "dkim_aligned", "of": "messages"},
        "never_aligned": {"of": "messages"},
        "stray_spf": {"messages": "spf_aligned", "of": "messages"},
        "override": {"messages": "forwarded", "of": "messages"},
        "other_envelope": {"name": "envelope"},
        "checked_envelope": {"name": "envelope"},
        "other_signature": {"name": "signature", "messages": "signed", "of": "messages"},
        "shared_key": {"key": "key", "permille": "permille"},
        "own_key": {"key": "key"},
        "steady_share": {"permille": "permille"},
        "own_name": {"name": "reverse_dns"},
        "history": {"messages": "before"},
    }
)

Fields = Mapping[str, int | str]


def sentence(code: str, domain: str, fields: Fields) -> str:
    """The sentence of a code of SENTENCES about a source of `domain`. KeyError when a field of it is missing."""
    permille = fields.get("permille")
    share = f"{permille / 10:.1f}%" if isinstance(permille, int) else ""
    return SENTENCES[code].format(**{**fields, "domain": domain, "share": share})


def numbers(fields: Fields) -> dict[str, int]:
    """The numbers among the fields."""
    return {name: value for name, value in fields.items() if isinstance(value, int)}
