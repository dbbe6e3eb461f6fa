"""A year of lifelike DMARC reports, made from the tables of `story` and a seed: pure, no clock, no files.

The same seed and day give the same reports, report by report: each one has its own generator, so that a change to one
sender moves nothing else. Times are seconds UTC. `Truth` counts what was made without reading it back.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from datetime import UTC, date, datetime, timedelta
from functools import cache
from random import Random

from dmarcview.demo import deliveries
from dmarcview.demo.rhythm import DAY, HOUR, SEED, episode_of, mean, midnight, outcomes, poisson
from dmarcview.demo.story import DOMAINS, REPORTERS, SENDERS, Domain, Outcome, Reporter, Sender, Step
from dmarcview_reports.model import DkimResult, Record, Shape, SpfResult

DAYS = 365
SKIPPED = 0.008  # share of days on which a reporter, for no reason, sends nothing


@dataclass(frozen=True, slots=True)
class Made:
    """One report of one reporter on one domain, and the second at which it arrives."""

    reporter: Reporter
    domain: Domain
    policy: Step
    report_id: str
    begin: int
    end: int
    arrives: int
    records: tuple[Record, ...]

    @property
    def messages(self) -> int:
        """Sum of the counts."""
        return sum(record.count for record in self.records)


@dataclass(slots=True)
class Truth:
    """What a store that took these reports must say; unlike its answers, these are counted where they are made."""

    reports: int = 0
    records: int = 0
    messages: int = 0
    dmarc_pass: int = 0
    dkim_aligned: int = 0
    spf_aligned: int = 0
    duplicates: int = 0
    conflicts: int = 0
    refused: int = 0
    by_disposition: Counter[str] = field(default_factory=Counter)
    by_domain: Counter[str] = field(default_factory=Counter)
    by_submitter: Counter[str] = field(default_factory=Counter)

    def add(self, made: Made) -> None:
        """Count one new report."""
        self.reports += 1
        for record in made.records:
            shape, count = record.shape, record.count
            self.records += 1
            self.messages += count
            self.dmarc_pass += count if shape.dmarc_pass else 0
            self.dkim_aligned += count if shape.dkim_aligned else 0
            self.spf_aligned += count if shape.spf_aligned else 0
            self.by_disposition[shape.disposition or ""] += count
            self.by_domain[made.domain.name] += count
            self.by_submitter[made.reporter.domain] += count

    def plus(self, other: Truth) -> Truth:
        """Both together."""
        return Truth(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(self)))


def count(reports: Iterable[Made]) -> Truth:
    """The truth of new reports."""
    truth = Truth()
    for made in reports:
        truth.add(made)
    return truth


def year(today: date, *, seed: int = SEED, days: int = DAYS, upto: int = 1) -> Iterator[Made]:
    """Every report on the days `days` to `upto` before `today`, oldest day first, whenever it arrives."""
    for age in range(days, upto - 1, -1):
        for domain in DOMAINS:
            for reporter in REPORTERS:
                made = report(today, age, domain, reporter, seed=seed)
                if made is not None:
                    yield made


# of a day's mail that one of the endless reports tells of: an evening of them must not look like a wave
HOURLY = 0.01


def hours(today: date, *, seed: int = SEED) -> Iterator[Made]:
    """Endless small reports on single hours of the last days: what the demo sends once the late ones are out.

    Nothing of the relay is in them: what it sent is reported already.
    """
    reporters = [reporter for reporter in REPORTERS if not reporter.silent_since]
    turn = 0
    while True:
        rng = Random(f"{seed}/hour/{turn}")  # noqa: S311 - traffic, no secret
        age = 1 + turn % 3
        domain, reporter = rng.choice(DOMAINS), rng.choice(reporters)
        whole = report(today, age, domain, reporter, seed=seed + 1 + turn, scale=HOURLY, relayed=False)
        turn += 1
        if whole is None or not whole.records:
            continue
        begin = midnight(today - timedelta(days=age)) + HOUR * rng.randrange(24)
        yield Made(
            reporter, domain, whole.policy, f"hour-{turn}-{whole.report_id}", begin, begin + HOUR, begin + 2 * HOUR,
            whole.records,
        )  # fmt: skip


def report(
    today: date, age: int, domain: Domain, reporter: Reporter, *, seed: int = SEED, scale: float = 1.0,
    relayed: bool = True,
) -> Made | None:  # fmt: skip
    """The report on the day `age` days before `today`; None when there was no mail to report on or none is sent.

    With `relayed` it tells of the relay's deliveries within its period, each of them.
    """
    rng = Random(f"{seed}/{age}/{domain.name}/{reporter.domain}")  # noqa: S311 - traffic, no secret
    if reporter.silent_since and age <= reporter.silent_since:
        return None
    if rng.random() < SKIPPED:
        return None
    day = today - timedelta(days=age)
    policy = domain.policy(age)
    begin = midnight(day) + reporter.window * HOUR
    end = begin + DAY
    records: list[Record] = []
    if relayed and domain.name in RELAYED:
        records += _relayed(deliveries.accepted(today, begin, end, reporter.domain, seed), domain, policy, reporter)
    for sender in SENDERS:
        if sender.domain == domain.name and age <= sender.since and not sender.relayed:
            records += _records(sender, day, age=age, policy=policy, reporter=reporter, rng=rng, scale=scale)
    if not records:
        return None
    late = rng.choices([h for h, _ in reporter.lateness], [w for _, w in reporter.lateness])[0]
    arrives = end + late * HOUR + rng.randrange(HOUR)
    return Made(reporter, domain, policy, _report_id(reporter, domain, begin, rng), begin, end, arrives, tuple(records))


def _relayed(sent: Iterable[deliveries.Delivery], domain: Domain, policy: Step, reporter: Reporter) -> Iterator[Record]:
    """What a reporter counts of the relay's mail to it; the one that names recipients' domains counts them apart."""
    names = reporter.dialect == "attributes7489"
    told = Counter(
        (one.source, one.sender.name, one.signatures, one.outcome, one.domain if names else None)
        for one in sent
        if one.sender.domain == domain.name
    )
    for (source, name, signed, outcome, to), n in told.items():
        yield Record(source, n, _shape(domain.name, name, signed, outcome, policy, reporter.domain, to))


def _records(
    sender: Sender, day: date, *, age: int, policy: Step, reporter: Reporter, rng: Random, scale: float
) -> Iterator[Record]:
    episode = episode_of(sender, age)
    spread = (episode.spread if episode else 0) or sender.spread or len(sender.addresses)
    whole = mean(sender, day, age, rng) * reporter.share * scale
    if whole <= 0:
        return
    busy = sender.addresses if spread >= len(sender.addresses) else rng.sample(sender.addresses, spread)
    weights = [rng.uniform(0.4, 1.6) for _ in busy]
    each = whole / sum(weights)
    for outcome in outcomes(sender, age):
        shape = _shape(sender.domain, sender.name, sender.signed(age), outcome, policy, reporter.domain)
        for address, weight in zip(busy, weights, strict=True):
            n = poisson(rng, each * weight * outcome.share)
            if n:
                yield Record(address, n, shape)


_SENDERS = {(sender.domain, sender.name): sender for sender in SENDERS}
_REPORTERS = {reporter.domain: reporter for reporter in REPORTERS}
RELAYED = {sender.domain for sender in SENDERS if sender.relayed}


@cache
def _shape(  # noqa: PLR0917 - the key of a cache
    domain: str, name: str, signed: tuple[tuple[str, str], ...], outcome: Outcome, policy: Step, by: str,
    to: str | None = None,
) -> Shape:  # fmt: skip
    """The shape of a sender's mail as the reporter `by` sees it; asked by names, which are quick to compare."""
    sender, reporter = _SENDERS[domain, name], _REPORTERS[by]
    dkim = tuple(
        DkimResult(domain, selector, result, _human(result, selector))
        for (domain, selector), result in zip(signed, outcome.dkim, strict=True)
    ) if outcome.dkim else ()  # fmt: skip
    spf = (SpfResult(sender.envelope_from, "mfrom", outcome.spf, None),)
    dkim_aligned = any(r.result == "pass" and aligned(r.domain or "", sender.header_from) for r in dkim)
    spf_aligned = outcome.spf == "pass" and aligned(sender.envelope_from, sender.header_from)
    new = reporter.dialect == "rfc9990"
    override, comment = outcome.override, outcome.comment
    if dkim_aligned or spf_aligned:
        disposition, override, comment = ("pass" if new else "none"), "", ""  # RFC 9990 names the pass
    else:
        disposition = policy.p if sender.header_from == sender.domain else policy.sp
        if disposition != "none" and (override or not reporter.enforces):
            override, comment = override or "local_policy", comment or "we only mark"
            disposition = "none"
        elif disposition == "none":
            override = comment = ""
    return Shape(
        disposition=disposition,
        dkim_aligned=dkim_aligned,
        spf_aligned=spf_aligned,
        override_types=(override,) if override else (),
        override_comments=(comment,) if override else (),
        header_from=sender.header_from,
        envelope_from=sender.envelope_from if reporter.tells_envelope else None,
        envelope_to=(to or reporter.domain) if reporter.dialect == "attributes7489" else None,
        dkim=dkim,
        spf=spf,
    )


def aligned(domain: str, header_from: str) -> bool:
    """Relaxed alignment (RFC 7489 section 3.1); every made-up organisational domain has two labels."""
    return domain.split(".")[-2:] == header_from.split(".")[-2:]


def _human(result: str, selector: str) -> str | None:
    return f"no key for signature: {selector}" if result == "permerror" else None


def _report_id(reporter: Reporter, domain: Domain, begin: int, rng: Random) -> str:
    bits = rng.getrandbits(128)
    return reporter.id_style.format(
        number=bits % 10**19,
        uuid=uuid.UUID(int=bits, version=4),
        hex=f"{bits:032x}",
        stamp=datetime.fromtimestamp(begin, UTC).strftime("%Y%m%d"),
        domain=domain.name,
    )
