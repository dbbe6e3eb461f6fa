"""One look at a store: everything that its rows say is wrong at a moment. The same rows give the same findings."""

# ruff: noqa: S608 - SQL is put together from our own constants; values from outside are parameters
from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from dmarcview.organisation import organisational
from dmarcview.query.filters import Filters, over_periods
from dmarcview.query.traffic import window

from . import causes, completeness, fleet, joined, newcomers, overdue, senders, waves
from .cusum import METHOD, judge
from .senders import VOUCHED
from .series import Loaded, as_day, read

if TYPE_CHECKING:
    from dmarcview.config import Config
    from dmarcview.store import Store

    from .completeness import Complete
    from .model import Finding

JOINED_DAYS = 60  # of sent and reported that are laid beside each other
USUAL_DAYS = 28  # before the onset, that tell how often a selector fails
DAY = 86_400


def evaluate(store: Store, config: Config, now: int) -> list[Finding]:
    """What is wrong at `now` (seconds UTC), by reports and sent log, and what was and has ended (`cleared`).

    Of the days before today; what ended weeks ago is forgotten.
    """
    today = now // DAY
    verified = not config.trust.unverified
    with store.heavy.cursor() as cursor:
        senders.put(store, cursor)
        found = read(store, cursor, today, verified=verified)
        fresh = newcomers.load(store, cursor, today, config.alerts.new_source_messages, verified=verified)
    known = completeness.load(store, verified=verified)
    out = rates(store, found, today, config, known)
    out += newcomers.findings(fresh, today)
    complete = known.flags([one.domain for one in found.volumes])
    out += waves.findings(found, today, complete, newcomers.names(fresh))
    out += _joined(store, config, today, known)
    return [*map(known.said, fleet.merged(out)), *overdue.findings(overdue.load(store, now, verified=verified), now)]


def rates(store: Store, found: Loaded, today: int, config: Config, known: Complete) -> list[Finding]:
    """Findings of failing mechanisms, one a cause; those that have ended, too."""
    method = replace(METHOD, threshold=config.alerts.threshold or None)
    verified = not config.trust.unverified

    def selectors(domain: str, since: int, until: int) -> dict[str, float]:
        return signatures(store, domain, as_day(since), as_day(until + 1), verified=verified)

    complete = known.flags([one.domain for one in found.series])
    rows = causes.told(found.series, judge(found.cells, len(found.series), today, complete, method))
    return causes.findings(rows, today, selectors)


def signatures(store: Store, domain: str, since: date, until: date, *, verified: bool) -> dict[str, float]:
    """Failures of own senders beyond what was usual, by `selector of domain` that signed for this one, "none" for none.

    Usual is the share of each in the USUAL_DAYS before `since`.
    """
    import pyarrow as pa

    bounds = Filters(domains=(domain,), since=since - timedelta(days=USUAL_DAYS), until=until, verified=verified)
    asked = over_periods(bounds)
    vouched = store.source_table((domain,), ("domain", "source_ip", "source_class"))
    own = [ip for ip, cls in zip(vouched["source_ip"].to_pylist(), vouched["source_class"].to_pylist(), strict=True)
           if cls in VOUCHED]  # fmt: skip
    with store.heavy.cursor() as cursor:
        cursor.register("own", pa.table({"source_ip": pa.array(own, pa.string())}))
        sql = (
            "select list_distinct(list_transform(dkim, lambda x: {'s': lower(x.selector), 'd': lower(x.domain), "
            "'ok': x.result = 'pass'})) as signatures, \"begin\" >= $onset as late, "
            f'cast(sum("count") as bigint) as n from records c where {asked.where} '
            "and source_ip in (select source_ip from own) and dkim_aligned is not null "
            "and not list_has_any(override_types, ['forwarded', 'mailing_list', 'trusted_forwarder']) group by all"
        )
        onset = datetime(since.year, since.month, since.day, tzinfo=UTC) - timedelta(seconds=DAY // 2)
        params = {name: value for name, value in (asked.params | {"onset": onset}).items() if f"${name}" in sql}
        rows = cursor.execute(store.heavy.over(cursor, window(store, bounds), sql), params).fetchall()
    sums: dict[str, list[int]] = {}  # failed and all before, failed and all since
    for found, late, messages in rows:
        ours = [one for one in found or () if one["d"] and organisational(one["d"]) == organisational(domain)]
        for name, good in {(f"{one['s']} of {one['d']}", bool(one["ok"])) for one in ours} or {("none", False)}:
            counts = sums.setdefault(name, [0, 0, 0, 0])
            counts[2 * late] += 0 if good else int(messages)
            counts[2 * late + 1] += int(messages)
    return {name: failed - total * before / max(all_before, 1)
            for name, (before, all_before, failed, total) in sorted(sums.items())}  # fmt: skip


def _joined(store: Store, config: Config, today: int, known: Complete) -> list[Finding]:
    """What sent and reported say together, where anything was sent."""
    from dmarcview.query import sent_any
    from dmarcview.reconcile import reconcile

    if not sent_any(store):
        return []
    bounds = Filters(since=as_day(today - JOINED_DAYS), until=as_day(today), verified=not config.trust.unverified)
    rows = reconcile(store, bounds, config.reconcile.receivers).rows
    return joined.findings(rows, today, known.flags([""])[0])
