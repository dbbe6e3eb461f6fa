"""Prometheus gauges: what is open, how the last complete day was, how much is in, what waits.

All of them are states of now, or of a day that is named: none is a counter that rises when a report arrives, for that
dates a fault by the mail that told of it. Times are seconds since 1970, so that `time() - x` is an age. Labels are
bounded: kinds and outcomes are few, and beyond the largest domains the rest is one line, `domain="_other"`.
"""

from __future__ import annotations

import calendar
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from dmarcview import __version__, query
from dmarcview.query import OUTCOMES, Filters
from dmarcview.store import incidents

if TYPE_CHECKING:
    from dmarcview.store import Store

CONTENT_TYPE = CONTENT_TYPE_LATEST
DAY = 86_400
DOMAINS = 50
LABEL_CHARS = 253
OTHER = "_other"


def exposition(store: Store, day: date, shares: Mapping[int, float], *, verified: bool = True) -> bytes:
    """The gauges as text. `day` is the last complete one; `shares`: days ago, how much of that day is in (0..1).

    What cannot be read is left out, so that its absence can be told. Raises what the store raises.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Found([*_alerts(store), *_reports(store, day, shares, verified), *_machine(store)]))
    return generate_latest(registry)


class _Found(Collector):
    """What was found, in the shape that the registry asks."""

    def __init__(self, found: Sequence[GaugeMetricFamily]) -> None:
        self._found = found

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """See Collector."""
        return iter(self._found)

    def describe(self) -> list[GaugeMetricFamily]:
        """Nothing is asked twice."""
        return []


def _gauge(name: str, help: str, *values: tuple[Sequence[str], float], labels: Sequence[str] = ()) -> GaugeMetricFamily:
    made = GaugeMetricFamily(f"dmarcview_{name}", help, labels=labels)
    for given, value in values:
        made.add_metric([_label(one) for one in given], value)
    return made


def _label(text: str) -> str:
    """A label's value: capped, and what UTF-8 cannot hold replaced; the library escapes the rest."""
    return text[:LABEL_CHARS].encode("utf-8", "replace").decode()


def _alerts(store: Store) -> Iterator[GaugeMetricFamily]:
    now = int(store.clock())
    rows = incidents.listed(store.ledger, now, open_only=True)
    yield _gauge("info", "Always 1; the version is in the label.", ((__version__,), 1), labels=("version",))
    by = Counter((row.kind, row.level, row.domain) for row in rows)
    known = {domain for domain, _ in Counter(row.domain for row in rows).most_common(DOMAINS)}
    bounded: Counter[tuple[str, str, str]] = Counter()
    for (kind, level, domain), n in by.items():
        bounded[kind, level, domain if domain in known else OTHER] += n
    yield _gauge("incidents_open", "Incidents that are open, by kind, level (act, watch) and policy domain.",
                 *sorted(bounded.items()), labels=("kind", "level", "domain"))  # fmt: skip
    acked = sum(row.acked is not None for row in rows)
    muted = sum(row.muted_until is not None for row in rows)
    yield _gauge("incidents", "Open incidents: all of them, acknowledged ones, muted ones.",
                 (("open",), len(rows)), (("acknowledged",), acked), (("muted",), muted),
                 labels=("state",))  # fmt: skip
    waiting, given_up = incidents.waiting(store.ledger, now - DAY)
    yield _gauge("notices", "Messages about incidents that wait, and that were given up within a day.",
                 (("waiting",), waiting), (("given_up",), given_up), labels=("state",))  # fmt: skip


def _reports(store: Store, day: date, shares: Mapping[int, float], verified: bool) -> Iterator[GaugeMetricFamily]:
    newest = query.newest(store, verified=verified)
    if newest is not None:
        yield _gauge("report_received_timestamp_seconds", "When the newest report that counts came.", ((), newest[0]))
        yield _gauge("report_end_timestamp_seconds", "End of the latest period that a report covers.", ((), newest[1]))
    yield _gauge("completeness_ratio",
                 "How much of an event day is in: the share of the usual messages whose reporters have reported.",
                 *(((str(ago),), share) for ago, share in sorted(shares.items())), labels=("days_ago",))  # fmt: skip
    yield _gauge("day_timestamp_seconds", "First second of the day that dmarcview_day_messages is about: the last "
                 "complete one.", ((), calendar.timegm(day.timetuple())))  # fmt: skip
    found = query.domains(store, Filters(since=day, until=day + timedelta(days=1), verified=verified))
    rows = found.to_dict("records")
    values = [((str(row["domain"]), outcome), float(row[outcome])) for row in rows[:DOMAINS] for outcome in OUTCOMES]
    if rest := rows[DOMAINS:]:
        values += [((OTHER, outcome), _total(rest, outcome)) for outcome in OUTCOMES]
    yield _gauge("day_messages", "Messages of the last complete event day, by policy domain and outcome.", *values,
                 labels=("domain", "outcome"))  # fmt: skip


def _total(rows: Sequence[Mapping[Hashable, Any]], name: str) -> float:
    return float(sum(row[name] for row in rows))


def _machine(store: Store) -> Iterator[GaugeMetricFamily]:
    from dmarcview_relay.queue_schema import QueueError
    from dmarcview_relay.queue_state import state
    from dmarcview_reports import spool_state

    try:
        spool = spool_state.state(store.data / "spool")
        yield _gauge("spool_mails", "Report mails that were taken and are not stored yet.", ((), spool.mails))
        yield _gauge("spool_oldest_timestamp_seconds", "When the oldest of them came; 0: none waits.",
                     ((), spool.oldest))  # fmt: skip
        yield _gauge("spool_damaged_batches", "Batches of mails that were set aside.", ((), spool.bad))
    except OSError:
        pass
    try:
        queue = state(store.data / "relay")
    except QueueError:
        return
    yield _gauge("relay_recipients", "Recipients in the relay's queue.", (("waiting",), queue.waiting),
                 (("held",), queue.held), (("dead",), queue.dead), labels=("state",))  # fmt: skip
    yield _gauge("relay_oldest_timestamp_seconds", "When the oldest mail that waits was accepted; 0: none waits.",
                 ((), queue.oldest))  # fmt: skip
    yield _gauge("relay_unshipped_rows", "Rows of the relay's sent log that are not in the store yet.",
                 ((), queue.sent))  # fmt: skip
