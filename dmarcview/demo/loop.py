"""What a comparison of the demo's sent log with its reports must say, counted from what was made, not from a store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

from dmarcview.demo import deliveries
from dmarcview.demo.rhythm import SEED
from dmarcview.demo.story import SENDERS
from dmarcview.demo.traffic import RELAYED, Made

Cell = tuple[date, str]  # UTC day, receiver

KIND_OF = {"own": "bypass", "service": "third_party", "forwarder": "forwarded", "spoof": "forged"}
_ADDRESSES = {(sender.domain, ip): sender for sender in SENDERS for ip in sender.addresses}


@dataclass(slots=True)
class Loop:
    """The relay's mail by day and receiver: as it was sent, and as those reports that came tell of it.

    `other`: messages in the reports on the relay's domains that the relay did not send, by the code of their finding.
    """

    sent: Counter[Cell] = field(default_factory=Counter)
    reported: Counter[Cell] = field(default_factory=Counter)
    broken: Counter[Cell] = field(default_factory=Counter)  # of these, signed by us and without a good signature
    other: Counter[str] = field(default_factory=Counter)

    @property
    def silent(self) -> frozenset[str]:
        """Receivers that sent no report at all."""
        return frozenset(who for _, who in self.sent) - {who for _, who in self.reported}

    def by_receiver(self, cells: Counter[Cell], first: date = date.min, last: date = date.max) -> Counter[str]:
        """The sum of some cells by receiver, of days `first` to `last`."""
        found: Counter[str] = Counter()
        for (day, who), n in cells.items():
            if first <= day <= last:
                found[who] += n
        return found


def count(today: date, arrived: Iterable[Made], *, days: int, until: int, seed: int = SEED) -> Loop:
    """The truth of a log of `days` days that ends at a second, and of the reports that came."""
    loop, since = Loop(), deliveries.start(today, days)
    for age in range(days + 1, -1, -1):
        for one in deliveries.on_day(today, age, seed):
            if one.delivered and since <= one.at < until:
                loop.sent[_day(one.at), one.receiver.name] += 1
    for made in arrived:
        if made.domain.name in RELAYED:
            _report(loop, today, made, seed)
    return loop


def _report(loop: Loop, today: date, made: Made, seed: int) -> None:
    """The relay's part is what it delivered in the report's period; of the rest the records tell."""
    who = made.reporter.domain
    for one in deliveries.accepted(today, made.begin, made.end, who, seed):
        if one.sender.domain == made.domain.name:
            loop.reported[_day(one.at), who] += 1
            if "pass" not in one.outcome.dkim:
                loop.broken[_day(one.at), who] += 1
    for record in made.records:
        sender = _ADDRESSES[made.domain.name, record.source_ip]
        if not sender.relayed:
            loop.other[KIND_OF[sender.kind]] += record.count


def _day(second: int) -> date:
    return datetime.fromtimestamp(second, UTC).date()
