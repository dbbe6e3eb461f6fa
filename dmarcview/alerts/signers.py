"""Which signature fails more than it used to: the excess of each selector, for all domains that ask at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

from dmarcview.organisation import organisational
from dmarcview.query.filters import DAY, Filters
from dmarcview.query.traffic import window

from .series import as_day

if TYPE_CHECKING:
    from dmarcview.store import Store

    from .causes import Ask

USUAL_DAYS = 28  # before the onset, that tell how often a selector fails


def excess(store: Store, cursor: Any, asks: Sequence[Ask], *, verified: bool) -> dict[Ask, Mapping[str, float]]:
    """Failures of own senders beyond what was usual, by `selector of domain` that signed for this one, "none" for none.

    Usual is the share of each in the USUAL_DAYS before `since`. `cursor` has the table `senders`.
    """
    import pyarrow as pa

    if not asks:
        return {}
    first, last = min(one.since for one in asks) - USUAL_DAYS, max(one.until for one in asks) + 1
    bounds = Filters(since=as_day(first), until=as_day(last), verified=verified)
    moments = [[_begin(one.since - USUAL_DAYS), _begin(one.since) - timedelta(seconds=DAY // 2), _begin(one.until + 1)]
               for one in asks]  # fmt: skip
    columns: dict[str, Any] = {"number": list(range(len(asks))), "domain": [one.domain for one in asks]}
    columns |= dict(zip(("since", "onset", "until"), zip(*moments, strict=True), strict=True))
    cursor.register("asks", pa.table(columns))
    sql = (
        "select number, list_distinct(list_transform(dkim, lambda x: {'s': lower(x.selector), 'd': lower(x.domain), "
        "'ok': x.result = 'pass'})) as signatures, \"begin\" >= onset as late, cast(sum(\"count\") as bigint) as n "
        "from records c join asks a on a.domain = c.domain and c.\"begin\" < a.until and "
        "(c.\"end\" > a.since or c.\"begin\" >= a.since) "
        "join senders s on s.domain = c.domain and s.source_ip = c.source_ip "
        "where s.vouched and dkim_aligned is not null "
        "and not list_has_any(override_types, ['forwarded', 'mailing_list', 'trusted_forwarder']) group by all"
    )  # fmt: skip
    sums: dict[int, dict[str, list[int]]] = {}  # by selector: failed and all before, failed and all since
    rows = cursor.execute(store.heavy.over(cursor, window(store, bounds), sql)).fetchall()
    for number, found, late, messages in rows:
        mine = organisational(asks[number].domain)
        ours = [one for one in found or () if one["d"] and organisational(one["d"]) == mine]
        for name, good in {(f"{one['s']} of {one['d']}", bool(one["ok"])) for one in ours} or {("none", False)}:
            counts = sums.setdefault(number, {}).setdefault(name, [0, 0, 0, 0])
            counts[2 * late] += 0 if good else int(messages)
            counts[2 * late + 1] += int(messages)
    cursor.unregister("asks")
    return {
        one: {name: failed - total * before / max(all_before, 1)
              for name, (before, all_before, failed, total) in sorted(sums.get(number, {}).items())}
        for number, one in enumerate(asks)
    }  # fmt: skip


def _begin(day: int) -> datetime:
    return datetime.combine(as_day(day), time(), UTC)
