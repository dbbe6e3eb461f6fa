"""The made-up world of the demo as tables: reporters, domains, senders, and what happens to them during the year.

Nobody real is here. Domains are those of RFC 2606 (`example.org`, anything under `.example`), addresses those of
RFC 5737 and RFC 3849. Ages are whole days before the day of the demo: 1 is yesterday. Event order is told by `STORY`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Dialect = Literal["plain7489", "namespaced7489", "attributes7489", "rfc9990"]
Container = Literal["gzip", "zip", "xml"]

FLAT = (1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)  # Monday first
OFFICE = (1.1, 1.15, 1.15, 1.1, 0.95, 0.12, 0.1)
EVENING = (0.9, 0.9, 0.95, 1.0, 1.1, 1.15, 1.05)
CAMPAIGN = (0.05, 3.2, 0.05, 2.9, 0.1, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Reporter:
    """A mailbox operator that reports. `window` shifts its day from UTC, in hours; `lateness` is (hours, weight)."""

    name: str
    domain: str
    share: float  # of each sender's mail
    dialect: Dialect
    container: Container
    id_style: str
    window: int = 0
    lateness: tuple[tuple[int, float], ...] = ((4, 0.9), (9, 0.08), (30, 0.02))
    enforces: bool = True
    tells_envelope: bool = True
    generator: str = ""
    silent_since: int = 0  # age of its first missing day; 0 = never silent

    @property
    def email(self) -> str:
        """The contact address that its reports carry."""
        return f"dmarc-reports@{self.domain}"


REPORTERS: tuple[Reporter, ...] = (
    Reporter("Mailbox One", "mailbox-one.example", 0.42, "plain7489", "zip", "{number}", tells_envelope=False),
    Reporter(
        "Big Post Inc.", "bigpost.example", 0.19, "rfc9990", "gzip", "{uuid}", generator="BigPost Aggregator 4.1"
    ),
    Reporter(
        "Office Suite", "officesuite.example", 0.15, "attributes7489", "gzip", "{hex}",
        lateness=((8, 0.55), (26, 0.3), (50, 0.15)),
    ),
    Reporter("Freemail North", "freemail-north.example", 0.11, "plain7489", "gzip", "{stamp}.{number}", window=8),
    Reporter(
        "Kraut & Rüben Mail", "krautmail.example", 0.06, "namespaced7489", "zip", "{hex}@krautmail.example", window=-1,
    ),
    Reporter("Quiet Post", "quietpost.example", 0.03, "plain7489", "gzip", "{number}", silent_since=9),
    Reporter(
        "Campus Mail Service", "campus.example", 0.03, "namespaced7489", "xml", "{domain}-{stamp}@mx.campus.example",
        window=-1, lateness=((6, 0.8), (30, 0.15), (100, 0.05)), enforces=False,
    ),
    Reporter(
        "Harbour Hosting", "harbour-hosting.example", 0.02, "rfc9990", "gzip", "{domain}.{stamp}.{hex}",
        generator="hd 1.9",
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Step:
    """The policy that a domain published from `age` days ago on, until the next step."""

    age: int
    p: str
    sp: str
    np: str


@dataclass(frozen=True, slots=True)
class Domain:
    """One of the three domains; `steps` are oldest first."""

    name: str
    what: str
    steps: tuple[Step, ...]
    adkim: str = "r"
    aspf: str = "r"

    def policy(self, age: int) -> Step:
        """The step in force on a day of that age."""
        return [step for step in self.steps if step.age >= age][-1]


ALWAYS = 10_000

DOMAINS: tuple[Domain, ...] = (
    Domain("example.org", "notifications of a self-hoster", (Step(ALWAYS, "reject", "reject", "reject"),)),
    Domain(
        "example.com",
        "a company with a mailbox provider, a marketing service and a helpdesk",
        (
            Step(ALWAYS, "none", "none", "none"),
            Step(210, "quarantine", "quarantine", "reject"),
            Step(80, "reject", "quarantine", "reject"),
        ),
    ),
    Domain("example.net", "a provider with volume", (Step(ALWAYS, "none", "none", "none"),)),
)

ROTATIONS = {("example.org", "mail2"): (62, "mail1")}  # age of the first day with the new selector, the one before


def _signed(domain: str, selector: str, age: int) -> tuple[str, str]:
    since, before = ROTATIONS.get((domain, selector), (ALWAYS, selector))
    return domain, selector if age <= since else before


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a share of a sender's mail was judged: one DKIM result a signature, one SPF result."""

    share: float
    dkim: tuple[str, ...]
    spf: str
    override: str = ""
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Sender:
    """A sender of mail in a domain's name: `daily` messages on an even day, from `spread` addresses at a time."""

    domain: str
    name: str
    kind: Literal["own", "service", "forwarder", "spoof"]
    addresses: tuple[str, ...]
    daily: float
    week: tuple[float, ...]
    header_from: str
    envelope_from: str
    signatures: tuple[tuple[str, str], ...]  # (domain, selector)
    outcomes: tuple[Outcome, ...]
    spread: int = 0  # 0 = all
    since: int = ALWAYS  # age of its first day
    relayed: bool = False  # by our relay: then its reports are counted from `deliveries`

    def signed(self, age: int) -> tuple[tuple[str, str], ...]:
        """(domain, selector) of each signature on its mail on a day of that age."""
        return tuple(_signed(domain, selector, age) for domain, selector in self.signatures)


def _v4(prefix: str, first: int, count: int) -> tuple[str, ...]:
    return tuple(f"{prefix}.{first + i}" for i in range(count))


def _v6(prefix: str, first: int, count: int) -> tuple[str, ...]:
    return tuple(f"{prefix}::{first + i:x}" for i in range(count))


BOTH = (Outcome(0.9965, ("pass",), "pass"), Outcome(0.0035, ("temperror",), "pass"))
RELAYED = (Outcome(0.999, ("pass",), "pass"), Outcome(0.001, ("temperror",), "pass"))
BOTH_TWICE = (
    Outcome(0.93, ("pass", "pass"), "pass"),
    Outcome(0.066, ("pass", "neutral"), "pass"),  # a receiver that knows no Ed25519 (RFC 8463)
    Outcome(0.004, ("fail", "fail"), "pass"),
)
DKIM_ONLY = (Outcome(0.994, ("pass",), "pass"), Outcome(0.006, ("fail",), "pass"))
DKIM_ONLY_TWICE = (Outcome(0.99, ("pass", "pass"), "pass"), Outcome(0.01, ("fail", "pass"), "pass"))
SPF_ONLY = (Outcome(1.0, (), "pass"),)
KEY_LOST = (Outcome(0.93, ("permerror",), "pass"), Outcome(0.07, ("pass",), "pass"))
SPF_LOST = (Outcome(1.0, (), "fail"),)
FORWARDED = (
    Outcome(0.90, ("pass",), "fail"),
    Outcome(0.07, ("fail",), "fail", "trusted_forwarder", "arc=pass"),
    Outcome(0.03, ("fail",), "softfail"),
)
REWRITTEN = (Outcome(0.97, ("pass",), "pass"), Outcome(0.03, ("fail",), "pass"))
LISTED = (
    Outcome(0.30, ("pass",), "pass"),
    Outcome(0.50, ("fail",), "pass", "mailing_list", "list signature seen"),
    Outcome(0.20, ("fail",), "pass"),
)
SPOOFED = (Outcome(0.75, (), "fail"), Outcome(0.15, (), "softfail"), Outcome(0.10, (), "none"))
UNALIGNED = (Outcome(1.0, ("pass",), "pass"),)  # authenticated, as somebody else

CAMPUS_FORWARDER = ("203.0.113.200", "2001:db8:f0::25")
ALIAS_FORWARDER = ("203.0.113.220", "203.0.113.221")
LIST_HOST = ("203.0.113.210",)
BOTNET = _v4("198.51.100", 64, 96) + _v4("203.0.113", 232, 8)


def _forwarders(domain: str, selector: str, campus: float, alias: float, lists: float) -> tuple[Sender, ...]:
    signed = ((domain, selector),)
    return (
        Sender(
            domain, "campus forwarding", "forwarder", CAMPUS_FORWARDER, campus, EVENING, domain, domain, signed,
            FORWARDED,
        ),
        Sender(
            domain, "alias service", "forwarder", ALIAS_FORWARDER, alias, EVENING, domain, "srs.alias-mail.example",
            signed, REWRITTEN,
        ),
        Sender(
            domain, "mailing lists", "forwarder", LIST_HOST, lists, OFFICE, domain, "lists.club.example", signed, LISTED
        ),
    )  # fmt: skip


def _spoof(domain: str, daily: float) -> Sender:
    return Sender(domain, "strangers", "spoof", BOTNET, daily, FLAT, domain, domain, (), SPOOFED, spread=3)


SENDERS: tuple[Sender, ...] = (
    Sender(
        "example.org", "mail.example.org", "own", ("192.0.2.10", "2001:db8:10::25"), 120, EVENING,
        "example.org", "example.org", (("example.org", "mail2"),), RELAYED, relayed=True,
    ),
    Sender(
        "example.org", "shop.example.org", "own", ("192.0.2.10", "2001:db8:10::25"), 25, EVENING,
        "shop.example.org", "shop.example.org", (("example.org", "mail2"),), RELAYED, relayed=True,
    ),
    Sender(
        "example.org", "web1.example.org", "own", ("192.0.2.20",), 45, EVENING, "example.org", "web1.example.org", (),
        SPF_ONLY,
    ),
    *_forwarders("example.org", "mail2", 7, 3, 2),
    _spoof("example.org", 2.5),
    Sender(
        "example.com", "Workplace Mail", "service", _v6("2001:db8:20", 0x10, 10) + _v4("203.0.113", 1, 6), 1100, OFFICE,
        "example.com", "example.com", (("example.com", "wpm"),), BOTH, spread=7,
    ),
    Sender(
        "example.com", "Letter Press (marketing)", "service", _v4("198.51.100", 1, 8), 2400, CAMPAIGN,
        "news.example.com", "bounce.letterpress.example", (("example.com", "lp1"), ("letterpress.example", "k1")),
        DKIM_ONLY_TWICE, spread=5,
    ),
    Sender(
        "example.com", "Desk Tickets (helpdesk)", "service", _v4("203.0.113", 64, 4), 170, OFFICE,
        "help.example.com", "desk-tickets.example", (("help.example.com", "dt"),), DKIM_ONLY,
    ),
    Sender(
        "example.com", "Quick Survey (new)", "service", _v4("198.51.100", 32, 3), 220, OFFICE,
        "example.com", "mail.quicksurvey.example", (("quicksurvey.example", "s1"),), UNALIGNED, since=13,
    ),
    *_forwarders("example.com", "wpm", 34, 12, 14),
    _spoof("example.com", 14),
    Sender(
        "example.net", "out[1-8].example.net", "own", _v4("192.0.2", 129, 8), 26_000, EVENING,
        "example.net", "example.net", (("example.net", "rsa2026"), ("example.net", "ed2026")), BOTH_TWICE,
    ),
    Sender(
        "example.net", "out6.example.net", "own", _v6("2001:db8:30", 1, 4), 7_000, EVENING,
        "customers.example.net", "customers.example.net", (("example.net", "rsa2026"), ("example.net", "ed2026")),
        BOTH_TWICE,
    ),
    *_forwarders("example.net", "rsa2026", 620, 210, 160),
    _spoof("example.net", 70),
    Sender(
        "example.net", "somebody's shop", "spoof", ("198.51.100.200",), 16, OFFICE,
        "example.net", "shop.example", (("shop.example", "default"),), UNALIGNED,
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Episode:
    """Something that happens to one sender of a domain from age `first` to age `last`, both included."""

    domain: str
    sender: str
    first: int
    last: int
    outcomes: tuple[Outcome, ...] = ()  # empty = as always
    factor: float = 1.0
    spread: int = 0  # 0 = as always


EPISODES: tuple[Episode, ...] = (
    Episode("example.org", "mail.example.org", 24, 20, KEY_LOST),
    Episode("example.org", "shop.example.org", 24, 20, KEY_LOST),
    Episode("example.org", "campus forwarding", 24, 20, (Outcome(1.0, ("permerror",), "fail"),)),
    Episode("example.org", "alias service", 24, 20, (Outcome(1.0, ("permerror",), "pass"),)),
    Episode("example.org", "web1.example.org", 6, 0, SPF_LOST),
    Episode("example.com", "strangers", 170, 166, factor=140, spread=24),
    Episode("example.com", "strangers", 17, 13, factor=260, spread=40),
    Episode("example.net", "out[1-8].example.net", 121, 119, (Outcome(1.0, ("fail", "fail"), "pass"),)),
)

STORY: tuple[tuple[int, str], ...] = (
    (210, "example.com moves from p=none to p=quarantine"),
    (170, "a first spoof wave on example.com, quarantined"),
    (121, "example.net signs with a wrong key for three days; SPF carries it"),
    (80, "example.com moves to p=reject"),
    (62, "example.org changes its DKIM key: selector mail1, then mail2"),
    (24, "example.org loses its DKIM key for five days: what is forwarded fails"),
    (17, "a spoof wave on example.com for five days, rejected by all but one receiver"),
    (13, "a new sender for example.com appears: Quick Survey, signed but not aligned"),
    (9, "the reporter Quiet Post goes silent"),
    (6, "web1.example.org drops out of the SPF record and fails"),
)
