"""What our commands must say after the loop, number for number, and where an engine differs, why. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from tests.closed_loop.namespace import FORWARDER, OURS, SPOOFER
from tests.closed_loop.scenarios import (
    AFTER,
    ALIGNED,
    BEFORE,
    CHANGED,
    CONSENTED,
    FORWARDED,
    SELECTOR,
    SENT,
    SPOOFED,
    SUBDOMAIN,
    TWO_KEYS,
    UTF8_DOMAIN,
    UTF8_NAME,
    WITHHELD,
    Sending,
)

Answers = Mapping[str, Any]
OWN = ("own",)
CONSENT = f"{WITHHELD.domain}._report._dmarc.example.org"


class Line(NamedTuple):
    """One scenario: by our commands so many were sent, so many reported, and what else they say of them."""

    sent: int
    reported: int
    says: tuple[str, ...]
    why: str = ""  # the engine differs; begins with what it does


COMMON: Mapping[str, Line] = {
    ALIGNED.name: Line(12, 12, OWN),
    CHANGED.name: Line(1, 1, ("own", "dkim_broken")),
    FORWARDED: Line(0, 1, ("forwarder", "forwarded")),
    SPOOFED: Line(0, 1, ("unknown", "forged")),
    SUBDOMAIN.name: Line(3, 3, OWN),
    CONSENTED.name: Line(2, 2, OWN),
    WITHHELD.name: Line(2, 0, ("own", "silent")),
    TWO_KEYS.name: Line(2, 2, OWN),
    BEFORE.name: Line(3, 3, OWN),
    AFTER.name: Line(2, 2, OWN),
    UTF8_NAME.name: Line(2, 2, OWN),
    UTF8_DOMAIN.name: Line(2, 2, OWN),
}
DIFFERENT: Mapping[str, Mapping[str, Line]] = {
    "rspamd": {
        SPOOFED: Line(0, 1, ("unknown", "forged", "quarantine"), "does as p=quarantine asks"),
        UTF8_NAME.name: Line(
            2, 2, ("own", "spf_missed"), "does not read such a sender: SPF is asked for the EHLO name"
        ),
        UTF8_DOMAIN.name: Line(2, 2, ("own", "spf_missed"), "does the same, and compares U-labels with A-labels"),
    },
    "opendmarc": {
        WITHHELD.name: Line(2, 2, OWN, "never asks for the consent"),
        UTF8_DOMAIN.name: Line(2, 0, ("own", "silent"), "asks the DNS for U-labels, and finds no policy"),
    },
}
# Of all that is reported. OpenDMARC has a report for each From domain, rspamd for each organisational domain; rspamd
# names no selector, and what it says of the international domain vouches for nobody: two more of an unknown source.
TOTALS: Mapping[str, Mapping[str, object]] = {
    "rspamd": {
        "messages": 31, "reports": 6, "dmarc_pass": 28, "spf_aligned": 25, "dkim_aligned": 27,
        "by_class": {"own": 27, "third_party": 0, "forwarder": 1, "unknown": 3},
        "by_disposition": {"none": 30, "quarantine": 1, "reject": 0},
        "compared": (SENT, 31),
        "two keys": {(TWO_KEYS.domain, None, "pass")},
    },
    "opendmarc": {
        "messages": 31, "reports": 7, "dmarc_pass": 30, "spf_aligned": 29, "dkim_aligned": 29,
        "by_class": {"own": 29, "third_party": 0, "forwarder": 1, "unknown": 1},
        "by_disposition": {"none": 31, "quarantine": 0, "reject": 0},
        "compared": (SENT, 31),
        "two keys": {(TWO_KEYS.domain, SELECTOR, "pass"), (TWO_KEYS.domain, f"{SELECTOR}-ed25519", "pass")},
    },
}  # fmt: skip


def expected(engine: str) -> dict[str, Line]:
    """The lines of one engine by scenario."""
    return {**COMMON, **DIFFERENT[engine]}


def told(answers: Answers) -> dict[str, Line]:
    """The same, as our commands say it."""
    [rotated] = [one["selector"] for one in answers["keys"] if one["domain"] == BEFORE.domain and one["signs"]]
    whole, broken = _by_rows(answers, ALIGNED.domain, OURS), _broken(answers)
    lines = {
        ALIGNED.name: Line(_delivered(answers, ALIGNED), whole.reported - broken, whole.says[:1]),
        CHANGED.name: Line(_delivered(answers, CHANGED), broken, whole.says),
        FORWARDED: _strange(answers, FORWARDER),
        SPOOFED: _strange(answers, SPOOFER),
        BEFORE.name: _by_rows(answers, BEFORE.domain, OURS, SELECTOR),
        AFTER.name: _by_rows(answers, AFTER.domain, OURS, rotated),
    }
    for one in (SUBDOMAIN, CONSENTED, WITHHELD, TWO_KEYS, UTF8_NAME, UTF8_DOMAIN):
        lines[one.name] = _by_rows(answers, ascii_domain(one), OURS, SELECTOR)
    return {name: lines[name] for name in COMMON}


def ascii_domain(sending: Sending) -> str:
    """The domain of its From in A-labels."""
    return sending.domain.encode("idna").decode("ascii")


def totals(answers: Answers) -> dict[str, object]:
    """What `summary`, `reconcile` and `report` say of all."""
    said, compared = answers["summary"], answers["reconcile"]["totals"]
    signatures = [one for row in answers["two keys"]["records"] for one in row["dkim"]]
    return {
        **{name: said[name] for name in TOTALS["rspamd"] if name in said},
        "compared": (compared["sent"], compared["reported"]),
        "two keys": {(one["domain"], one["selector"], one["result"]) for one in signatures},
    }


def missing(answers: Answers) -> dict[str, list[str]]:
    """Records that our commands miss in the DNS, by the command that says so."""
    found = {f"dns check {name}": [one["name"] for one in checks if one["state"] == "fail"]
             for name, checks in answers["dns"].items()}  # fmt: skip
    return {**found, "doctor": [one["check"] for one in answers["doctor"] if one["state"] == "fail"]}


MISSING: Mapping[str, list[str]] = {
    f"dns check {CONSENTED.domain}": [],
    f"dns check {WITHHELD.domain}": [CONSENT],
    "doctor": [CONSENT],
}


def _by_rows(answers: Answers, domain: str, source: str, selector: str | None = None) -> Line:
    """The sum of the rows of `reconcile`."""
    rows = [row for row in answers["reconcile"]["rows"] if (row["header_from"], row["source_ip"]) == (domain, source)
            and selector in (None, row["dkim_selector"])]  # fmt: skip
    codes = {code for row in rows for code in row["findings"]}
    states = {row["state"] for row in rows} & {"silent"}
    classes = {row["source_class"] for row in rows}
    said = (*sorted(classes), *sorted(codes), *states)
    return Line(sum(row["sent"] for row in rows), sum(row["reported"] for row in rows), said)


def _strange(answers: Answers, source: str) -> Line:
    """What is said of an address that is not ours: by `reconcile`, and by `sources` with what became of the mail."""
    line = _by_rows(answers, ALIGNED.domain, source)
    [one] = [one for one in answers["sources"] if one["source_ip"] == source]
    assert line.says[:1] == (one["source_class"],), "both commands say the same"
    return line._replace(says=(*line.says, *(name for name in ("quarantine", "reject") if one[name])))


def _broken(answers: Answers) -> int:
    """Messages signed by us and reported without a good signature, of the main domain."""
    wanted = ("dkim_broken", OURS, ALIGNED.domain)
    found = answers["reconcile"]["findings"]
    return sum(one["messages"] for one in found if (one["code"], one["source_ip"], one["header_from"]) == wanted)


def _delivered(answers: Answers, sending: Sending) -> int:
    """Deliveries of the sent log from this domain to that recipient domain."""
    wanted = (sending.domain, sending.recipient.partition("@")[2], "delivered")
    return sum((one["from_domain"], one["recipient_domain"], one["outcome"]) == wanted for one in answers["sent"])
