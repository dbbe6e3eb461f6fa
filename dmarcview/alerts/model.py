"""The values of alerts: a finding is what is wrong now; an incident is what is remembered of it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from datetime import date
from typing import Any, NamedTuple

from .words import ACT, KINDS, Kind


class Member(NamedTuple):
    """One thing that a cause touches: its name, and messages at fault of all."""

    name: str
    failed: int
    total: int


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong now, by one cause. Days are UTC event days: when it happened, not when it was reported.

    `weight` is a number of `counts`, and that by which it worsens. `failed` of `total` messages since `first_day`; both
    0 where none are counted. `usual` is the share of failures before (0..1), or the usual count of what is counted.
    `completeness` says how much of the newest days is in. `page` and `query` lead to the rows (`/sources`,
    `?domain=...`). `domains` are all that a cause of many domains touches, where `members` are those that are shown.
    """

    kind: str
    domain: str
    cause: str
    first_day: date
    last_day: date
    weight: int
    text: str
    failed: int = 0
    total: int = 0
    usual: float | None = None
    completeness: str = ""
    page: str = "/alerts"
    query: str = ""
    members: tuple[Member, ...] = field(default=())
    domains: tuple[str, ...] = ()
    grave: bool = False  # more so than its kind usually is
    fired: date | None = None  # event day whose evidence was enough
    cleared: date | None = None  # event day that ended it; None: it goes on
    name: str = ""  # the cause under which it was known first, where another one says it better now
    explained_by: str = ""  # title of the graver finding that explains it

    @property
    def words(self) -> Kind:
        """The words of its kind."""
        return KINDS[self.kind]

    @property
    def level(self) -> str:
        """How grave it is: act or watch."""
        return ACT if self.grave else self.words.level

    @property
    def counts(self) -> str:
        """What `weight` is a number of: what its kind counts, but messages where it counts these."""
        return "messages" if self.total else self.words.counts

    @property
    def fingerprint(self) -> str:
        """The name of the cause: what keeps it is the same incident."""
        return f"{self.kind} {self.domain} {self.name or self.cause}"

    @property
    def title(self) -> str:
        """One line."""
        number = len(self.domains or self.members)
        many = f"{number:,} domains" if number > 1 else "all domains"
        return self.words.title.format(domain=self.domain or many, cause=self.cause)

    @property
    def check(self) -> str:
        """The first thing to check."""
        return self.words.check.format(domain=self.domain or "DOMAIN")

    def to_json(self) -> str:
        """As the ledger keeps it; ASCII, for strangers' text may hold what no UTF-8 does."""
        return json.dumps({f.name: getattr(self, f.name) for f in fields(self)}, default=date.isoformat)

    @classmethod
    def from_json(cls, text: str) -> Finding:
        """What `to_json` wrote."""
        found: dict[str, Any] = json.loads(text)
        for name in ("first_day", "last_day", "fired", "cleared"):
            found[name] = found[name] and date.fromisoformat(found[name])
        found["members"] = tuple(Member(*one) for one in found["members"])
        found["domains"] = tuple(found.get("domains", ()))
        return cls(**found)


@dataclass(frozen=True, slots=True)
class Incident:
    """What is remembered of a cause from the time it was found until it has cleared. Times are seconds UTC."""

    id: int
    finding: Finding
    known: int
    changed: int
    ended: int | None
    outcome: str = ""  # of an ended one: CLEARED, USUAL or TAKEN_UP
    acked: int | None = None
    acked_by: str = ""
    note: str = ""
    muted_until: int | None = None

    @property
    def open(self) -> bool:
        """Is it still so?"""
        return self.ended is None


class Change(NamedTuple):
    """What became of an incident at one evaluation: OPENED, WORSE, BETTER, CHANGED, or the outcome of its end."""

    kind: str
    incident: Incident


OPENED, WORSE, BETTER, CHANGED = "opened", "worse", "better", "changed"
CLEARED, USUAL, TAKEN_UP = "cleared", "usual", "taken_up"  # it is over; it is how things are; another one tells it
