"""The series that alerts judge, out of the store: failures of own senders and volumes of unknown ones, by event day.

A series is one mechanism of one policy domain, over all of its own and approved senders, and again over each group of
them: a service, or an address (of IPv6 the /64). Forwarded mail is left out: it fails by no fault of the sender.
Reporters are told apart by their organisation, for one mail domain may bring reports of any submitter below its own.
There are at most MOST_SERIES over all mechanisms, and as many of volumes: first those of whole domains, then those of
the busiest groups. What has none of its own counts with its domain; beyond MOST_SERIES / 3 domains the busiest have.
"""

# ruff: noqa: S608 - SQL is put together from our own constants; values from outside are parameters
from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from dmarcview.organisation import organisational
from dmarcview.query.filters import DAY, Filters
from dmarcview.query.traffic import window
from dmarcview.store.sums import BLOCKED, PASSED, STATED

from . import parts, senders
from .cusum import Cells
from .senders import group_of

if TYPE_CHECKING:
    from dmarcview.store import Store

HISTORY_DAYS = 120  # that a judgement looks at
MOST_SERIES = 10_000  # that are judged in a second or two, however large the store is
MOST_GROUPS = 100  # of one domain, the busiest; others count with their domain alone
EPOCH = date(1970, 1, 1)
# the failures of a mechanism, over rows of the cube; what a report does not state is neither pass nor fail
_FAILED = {
    "dmarc": (STATED, f"not {PASSED}"),
    "spf": ("spf_aligned is not null", "not spf_aligned"),
    "dkim": ("dkim_aligned is not null", "not dkim_aligned"),
}


class Series(NamedTuple):
    """What one series is about; `group` is "" for all senders of the domain."""

    domain: str
    mechanism: str
    group: str


class Volume(NamedTuple):
    """What one series of volumes is about: unknown sources of one sender; "" is those that nobody stands behind."""

    domain: str
    sender: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """Everything that rates and bursts are judged by, as of one moment.

    `cells` are failures by (series, day, reporter), `forged` unknown mail that failed DMARC by (volume, day, reporter),
    with a row of 0 on the first day of each domain's reports; there `failed` is what was delivered all the same. Series
    are numbered by their place in `series` and `volumes`, reporters by that of their organisation in `reporters`.
    """

    series: tuple[Series, ...]
    cells: Cells
    volumes: tuple[Volume, ...]
    forged: Cells
    reporters: tuple[str, ...]


def day_number(day: date) -> int:
    """Days since 1970."""
    return (day - EPOCH).days


def as_day(number: int) -> date:
    """The day of such a number."""
    return EPOCH + timedelta(days=int(number))


def load(
    store: Store, today: int, *, verified: bool = True, history: int = HISTORY_DAYS, domain: str | None = None
) -> Loaded:
    """The series of the days before `today` (days since 1970), of all policy domains or of one."""
    with store.heavy.cursor() as cursor:
        senders.put(store, cursor, domain)
        return read(store, cursor, today, verified=verified, history=history, domain=domain)


def read(
    store: Store, cursor: Any, today: int, *, verified: bool, history: int = HISTORY_DAYS, domain: str | None = None
) -> Loaded:
    """The same, where `cursor` has the table `senders`."""
    import numpy as np
    import pyarrow as pa

    bounds = Filters(since=as_day(today - history), until=as_day(today), verified=verified)
    cursor.register("chosen", pa.table({"domain": pa.array([domain or ""], pa.string())}))
    within = f"c.day >= date '{bounds.since}' and c.day < date '{bounds.until}'"
    within += " and c.domain in (select domain from chosen)" if domain is not None else ""
    day = "date_diff('day', date '1970-01-01', c.day)"
    sums = ", ".join(
        f"coalesce(sum(messages) filter (where {stated}), 0) as {name}_total, "
        f"coalesce(sum(messages) filter (where {stated} and {failed}), 0) as {name}_failed"
        for name, (stated, failed) in _FAILED.items()
    )
    vouched = store.heavy.over(cursor, window(store, bounds),
        f"select c.domain, sender, {day} as day, submitter, {sums} from cube c join senders s on "
        f"s.domain = c.domain and s.source_ip = c.source_ip where s.vouched and not forwarded "
        f"and {within} group by all")  # fmt: skip
    cursor.execute(f"create temp table own as {vouched}")
    strange = f"coalesce(s.class, 'unknown') = 'unknown' and not {PASSED} and not forwarded"
    unknown = store.heavy.over(cursor, window(store, bounds),
        f"select c.domain, case when {strange} then coalesce(s.sender, '') end as sender, {day} as day, submitter, "
        f"sum(messages) as total, coalesce(sum(messages) filter (where not {BLOCKED}), 0) as failed from cube c "
        "left join senders s on s.domain = c.domain and s.source_ip = c.source_ip "
        f"where {within} group by all")  # fmt: skip
    cursor.execute(f"create temp table forged as {unknown}")
    submitters = [r[0] for r in cursor.execute(
        "select distinct submitter from (select submitter from own union all select submitter from forged)"
        ).fetchall()]  # fmt: skip
    whose = [organisational(name) for name in submitters]
    reporters = sorted(set(whose))
    place = {name: number for number, name in enumerate(reporters)}
    cursor.register("reporters", pa.table({"submitter": pa.array(submitters, pa.string()),
                                           "organisation": pa.array(whose, pa.string()),
                                           "number": pa.array(map(place.get, whose), pa.int64())}))  # fmt: skip
    cursor.register("parts", parts.load(store, today - history, today, verified=verified, domain=domain))
    groups = cursor.execute(
        "with g as (select domain, sender, sum(dmarc_total) as n, row_number() over (partition by domain order by "
        "sum(dmarc_total) desc, sender) as rank from own group by domain, sender union all "
        "select domain, '', sum(dmarc_total), 0 from own group by domain) "
        f"select domain, sender from g where rank <= {MOST_GROUPS} "
        f"order by sender <> '', n desc, domain, sender limit {MOST_SERIES // len(_FAILED)}"
    ).fetchall()
    names = sorted(groups, key=lambda one: (one[1] != "", *one))
    cursor.register("named", pa.table({"domain": pa.array([n[0] for n in names], pa.string()),
                                       "sender": pa.array([n[1] for n in names], pa.string()),
                                       "number": pa.array(range(len(names)), pa.int64())}))  # fmt: skip
    columns = ", ".join(f"sum({m}_total) as {m}_total, sum({m}_failed) as {m}_failed" for m in _FAILED)
    found = cursor.execute(
        f"select n.number as series, o.day, r.number as reporter, {columns}, coalesce(min(p.part), 1.0) as part "
        "from own o join reporters r using (submitter) join named n on n.domain = o.domain and (n.sender = '' or "
        "n.sender = o.sender) left join parts p on p.domain = o.domain and p.organisation = r.organisation and "
        "p.day = o.day group by all order by all"
    ).fetchnumpy()
    volumes = _volumes(cursor)
    waves = cursor.execute(
        "select p.number as series, f.day, r.number as reporter, sum(total) as total, sum(failed) as failed from "
        "forged f join reporters r using (submitter) join places p using (domain, sender) group by all "
        "union all select p.number, min(f.day), 0, 0, 0 from forged f join places p using (domain) "
        "group by p.number order by all"
    ).fetchnumpy()
    series, chosen = [], []
    for number, name in enumerate(_FAILED):
        series += [Series(domain, name, sender) for domain, sender in names]
        some = found[f"{name}_total"] > 0
        chosen.append((found["series"][some] + number * len(names), found["day"][some], found["reporter"][some],
                       found[f"{name}_total"][some], found[f"{name}_failed"][some], found["part"][some]))  # fmt: skip
    *counts, part = (np.concatenate([one[i] for one in chosen]) for i in range(6))
    return Loaded(
        tuple(series), Cells(*(column.astype(np.int64) for column in counts), part=part.astype(np.float64)),
        tuple(volumes),
        Cells(*(np.asarray(waves[n]).astype(np.int64) for n in ("series", "day", "reporter", "total", "failed"))),
        tuple(reporters),
    )  # fmt: skip


def _volumes(cursor: Any) -> list[Volume]:
    """The series of volumes, the busiest senders of each domain; table `places` has their numbers."""
    import pyarrow as pa

    found = [Volume(*row) for row in cursor.execute(
        "with v as (select domain, sender, row_number() over (partition by domain order by sender <> '', "
        "sum(total) desc, sender) as rank, sum(total) as n from (select domain, sender, total from forged "
        "where sender is not null union all select domain, '', 0 from forged) group by domain, sender) "
        f"select domain, sender from (select * from v where rank <= {MOST_GROUPS} "
        f"order by sender <> '', n desc, domain, sender limit {MOST_SERIES}) order by domain, sender"
    ).fetchall()]  # fmt: skip
    cursor.register("places", pa.table({"domain": pa.array([one.domain for one in found], pa.string()),
                                        "sender": pa.array([one.sender for one in found], pa.string()),
                                        "number": pa.array(range(len(found)), pa.int64())}))  # fmt: skip
    return found


__all__ = ["DAY", "Loaded", "Series", "as_day", "day_number", "group_of", "load"]
