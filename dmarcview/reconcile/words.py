"""The words of a reconciliation: its columns, what a row and a finding may say, and the interval of a coverage."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

COLUMNS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "day": ("day", "UTC day."),
        "source_ip": ("text", "Address that sent: as receivers saw it, or as the log has it where none did."),
        "header_from": ("text", "Domain of the From header."),
        "dkim_domain": ("text", "d= of the first signature that was put on; empty for none."),
        "dkim_selector": ("text", "s= of that signature."),
        "receiver": ("text", "Organisation of the receiver: by the MX that took the mail, and by who reports."),
        "sent": ("int", "Deliveries that the receiver accepted, by the relay's log: one a recipient, bounces too."),
        "reported": ("int", "Messages in the reports."),
        "dkim_fail": ("int", "Of these, signed by the relay and reported without a good signature of ours."),
        "spf_fail": ("int", "Of these, from the relay, and SPF did not pass for any domain."),
        "state": ("text", "complete, open (reports may still come), silent (this receiver does not report), unsent."),
        "coverage": ("float", "min(reported, sent) / sent of a complete row; else missing."),
        "low": ("float", "Lower end of the coverage's 95 % interval (Wilson)."),
        "high": ("float", "Upper end of it."),
        "matched_by": ("text", "address; signature (the address differs: NAT); empty: nothing of the log fits."),
        "source_class": ("text", "own when the relay's log vouches for it; else as the source is classified."),
        "findings": ("texts", "Codes of what is to be said of the row."),
    }
)  # fmt: skip
KNOWN_BY: Mapping[str, str] = MappingProxyType(
    {
        "user": "you said so",
        "envelope": "its reports name its domains",
        "mx": "by its MX",
        "recipient": "by the recipients' domain",
        "learned": "learned from the counts",
        "guess": "by its MX, no report yet",
    }
)
COMPLETE, OPEN, SILENT, UNSENT = "complete", "open", "silent", "unsent"


class Code(NamedTuple):
    """A kind of finding: its name, what it means, what to check first, and whether it asks for nothing by itself."""

    title: str
    meaning: str
    check: str
    calm: bool = False


# in the order in which they are told: what wants an action first
CODES: Mapping[str, Code] = MappingProxyType(
    {
        "dkim_broken": Code(
            "Signed by us, reported without a good signature",
            "We signed these, and the receiver found no good signature of ours.",
            "`dmarcview dns check DOMAIN`: is the key of this selector published, whole, and the one that signs? If "
            "so, something on the way changes the mail.",
        ),
        "spf_missed": Code(
            "Sent by us, and SPF did not pass",
            "We sent these, and SPF did not pass for their address.",
            "Is this address in the SPF record of the envelope sender's domain? `dmarcview dns check DOMAIN` says.",
        ),
        "bypass": Code(
            "Past the relay",
            "An address of yours sent these, and the relay's log does not have them: a host goes around the relay.",
            "Find the host behind this address and point its mail at the relay, or accept that it sends by itself.",
        ),
        "unknown_sender": Code(
            "A sender that you have not named",
            "Not sent by the relay, yet SPF or DKIM passed for your domain: a sender of yours that you have not named.",
            "Who may sign or send for you there? `dmarcview label set ADDRESS own` or `third_party` names it.",
        ),
        "more_reported": Code(
            "More reported than sent",
            "More is reported from this address than the relay has delivered to this receiver.",
            "Does another program send from the same address? Is the log complete: every relay, and all of the days?",
        ),
        "other_receiver": Code(
            "Reported by somebody who was sent nothing",
            "Sent from the relay's address, and reported by an organisation to which the log shows no delivery.",
            "Is it the mail host of a receiver under another name? Then name it in [reconcile] receivers.",
        ),
        "unreported": Code(
            "Left out of the reports",
            "The receiver sends reports, and much of what it accepted is not in them.",
            "Are reports refused or lost (`dmarcview refused`)? Else: does somebody filter before this receiver?",
        ),
        "elsewhere": Code(
            "Domains that the relay does not send for",
            "Hosts of yours sent these, for a domain that the relay sends nothing for.",
            "Nothing, unless the mail of this domain should go by the relay.",
            calm=True,
        ),
        "forged": Code(
            "Never sent, and nothing passed",
            "Not sent by the relay, and neither SPF nor DKIM passed for your domain: a forger, or a sender of yours "
            "without any set-up.",
            "Do you know the address? If not, nothing of yours is wrong; a policy of quarantine or reject stops these.",
            calm=True,
        ),
        "third_party": Code(
            "Services that send for you",
            "A service that sends for you, not the relay, sent these.",
            "Nothing, if you know it; `[domains] approved` names it as yours.",
            calm=True,
        ),
        "forwarded": Code(
            "Passed on by others",
            "Passed on by somebody else after a first delivery, so it is reported again, from another address.",
            "Nothing: forwarding changes the address. It needs DKIM that survives, which `sources` shows.",
            calm=True,
        ),
    }
)  # fmt: skip
UNSENT_CODES = ("bypass", "unknown_sender", "elsewhere", "forged", "third_party", "forwarded")  # the log has none of it
NEW_CHECK = "Have you begun to use it? Then set it up for your domain, and name it."
_PLAIN = re.compile(r"[0-9A-Za-z.:_-]{1,253}")  # what can stand in a command as it is
Z = 1.959964  # two-sided 95 %


def wilson(part: Any, whole: Any) -> tuple[Any, Any]:
    """The 95 % interval of part / whole by Wilson's score, of numbers or arrays; 0..1 where nothing was counted.

    Wilson's, because rows are small and coverages close to 1: there the plain interval leaves 0..1 or shrinks to a
    point, and the exact one (Clopper-Pearson) is wider than it says. Mails of one day share their fate, so the truth
    lies outside more often than one time in twenty: read it as the least doubt.
    """
    import numpy as np

    part, whole = np.asarray(part, dtype=float), np.asarray(whole, dtype=float)
    size, square = np.maximum(whole, 1.0), Z * Z
    rate = part / size
    centre = (rate + square / (2 * size)) / (1 + square / size)
    half = Z * np.sqrt(rate * (1 - rate) / size + square / (4 * size * size)) / (1 + square / size)
    low = np.where((whole <= 0) | (part <= 0), 0.0, np.maximum(0.0, centre - half))
    high = np.where((whole <= 0) | (part >= whole), 1.0, np.minimum(1.0, centre + half))
    return low, high


def first_check(code: str, domains: Iterable[str], addresses: Iterable[str]) -> str:
    """What to check first of findings of this kind, with their domain and address in its commands where all agree."""
    check = CODES[code].check
    for word, values in (("DOMAIN", set(domains)), ("ADDRESS", set(addresses))):
        if len(values) == 1 and _PLAIN.fullmatch(only := str(*values)):
            check = check.replace(f" {word}", f" {only}")
    return check
