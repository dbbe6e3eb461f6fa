"""What became of the probes: delivered by whom, reported in which report, or until when a report is expected.

An aggregate report names no mail. What can be said is which rows of a report count the probe: those of its source
address (or the outer one behind NAT), From domain and signature, by its receiver, over a period that holds its
delivery. It is one of the messages of these rows; the comparison of sent and reported finds them by the same rules.
"""

# ruff: noqa: S608 - SQL is put together from our own constants; values from outside are parameters
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
from sqlalchemy import select

from dmarcview.query.filters import DAY, Filters
from dmarcview.query.lateness import HISTORY_DAYS
from dmarcview.store import probes as probe_table
from dmarcview.store.engine import release
from dmarcview.store.ledger import chunks
from dmarcview.store.probes import Probe
from dmarcview.store.tables import sent
from dmarcview_relay.outcome import DEFERRED, DELIVERED

from . import habits, join, sides
from .answer import span, takers

if TYPE_CHECKING:
    import pandas as pd

    from dmarcview.store import Store

LISTED = 20  # newest probes that are followed
NOT_SENT, WAITING = "not sent", "waiting"
AWAITED, OVERDUE, UNEXPECTED, REPORTED = "awaited", "overdue", "unexpected", "reported"
OPEN = (WAITING, DEFERRED, AWAITED)  # of these, news may come by itself

Counts = tuple[tuple[str, int], ...]  # (result, messages), most first


class Told(NamedTuple):
    """The rows of one report that count a probe: it is one of their `messages`, and of each result so many had it.

    `dkim` is the result of the relay's signature, `none` where the report names no signature of the relay; `spf` and
    `dmarc` say pass when it is aligned. `signers` are the (domain, selector) by which the rows were told from others,
    empty texts where they name none. Times are seconds UTC, the period half-open.
    """

    report_key: str
    submitter: str
    begin: int
    end: int
    source_ip: str
    messages: int
    rows: int
    spf: Counts
    dkim: Counts
    dmarc: Counts
    signers: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Followed:
    """A probe and what became of it.

    `state`: not sent (the relay has not said that it took it), waiting (no try is known), deferred, failed, expired
    (the relay's outcomes); after delivery awaited (a report may come until `until`), overdue (it should have),
    unexpected (its receiver has sent no report on this domain for such days), reported (in `reports`). `tried`: second
    of the last try, with `host`, `source` and `reply`.
    `receiver`: the organisation that took it, and `known_by` as in `receivers.Taker`.
    """

    probe: Probe
    state: str = WAITING
    tried: int | None = None
    host: str = ""
    source: str = ""
    reply: str = ""
    receiver: str = ""
    known_by: str = ""
    until: int | None = None
    reports: tuple[Told, ...] = ()


class _Sent(NamedTuple):
    """The last try of a probe."""

    at: int
    source: str
    from_domain: str
    d: str
    s: str
    host: str
    recipient_domain: str
    outcome: str
    reply: str


def follow(
    store: Store,
    receivers: Mapping[str, str] | None = None,
    *,
    limit: int | None = LISTED,
    tag: str | None = None,
    verified: bool = True,
) -> list[Followed]:
    """The newest probes, or the one of this tag, newest first, as of the store's clock.

    `receivers` is the user's word as in `reconcile`; `verified` leaves out reports that nobody vouches for.
    """
    found = probe_table.newest(store.ledger, limit, tag)
    tries = _tries(store, [probe.queue_id for probe in found if probe.queue_id])
    out = {probe.tag: _tried(probe, tries.get(probe.queue_id)) for probe in found}
    arrived = {probe.tag: tries[probe.queue_id] for probe in found if out[probe.tag].state == AWAITED}
    if arrived:
        out |= _looked_for(store, {tag: (out[tag], one) for tag, one in arrived.items()}, receivers, verified)
    return [out[probe.tag] for probe in found]


def table(found: Sequence[Followed]) -> pd.DataFrame:
    """One row a probe and report that counts it, or one without: tag, at, to, state, tried, host, receiver, until,
    report_key, messages (of the rows that count it), dkim, spf, dmarc (`pass 9, fail 1`)."""
    import pandas as pd

    rows = []
    for one in found:
        times = [pd.NaT if at is None else pd.Timestamp(at, unit="s", tz="UTC") for at in (one.tried, one.until)]
        head = (one.probe.tag, pd.Timestamp(one.probe.at, unit="s", tz="UTC"), one.probe.recipient, one.state, times[0],
                one.host, one.receiver, times[1])  # fmt: skip
        for told in one.reports or (None,):
            counts = (told.dkim, told.spf, told.dmarc) if told else ()
            words = [", ".join(f"{word} {n}" for word, n in some) for some in counts]
            rows.append((*head, told.report_key, told.messages, *words) if told else (*head, "", 0, "", "", ""))
    names = ("tag", "at", "to", "state", "tried", "host", "receiver", "until", "report_key", "messages", "dkim", "spf",
             "dmarc")  # fmt: skip
    return pd.DataFrame(rows, columns=list(names))


def _tries(store: Store, ids: Sequence[str]) -> dict[str, _Sent]:
    """The last try of each mail, a delivery before all else."""
    c = sent.c
    query = select(c.queue_id, c.at, c.source, c.from_domain, c.dkim_domain, c.dkim_selector, c.host,
                   c.recipient_domain, c.outcome, c.code, c.enhanced, c.reply)  # fmt: skip
    out: dict[str, _Sent] = {}
    with store.ledger.read() as conn:
        for part in chunks(ids):
            for row in conn.execute(query.where(c.queue_id.in_(part)).order_by(c.at, c.instance, c.number)):
                name, at, source, domain, d, s, host, to, outcome, code, enhanced, reply = row
                if name in out and out[name].outcome == DELIVERED:
                    continue
                said = " ".join(f"{code or ''} {enhanced} {reply}".split())
                out[name] = _Sent(at, source, domain, d.lower(), s.lower(), host, to, outcome, said)
    return out


def _tried(probe: Probe, last: _Sent | None) -> Followed:
    if last is None:
        return Followed(probe, WAITING if probe.queue_id else NOT_SENT)
    state = AWAITED if last.outcome == DELIVERED else last.outcome
    return Followed(probe, state, last.at, last.host, last.source, last.reply)


def _looked_for(
    store: Store, arrived: Mapping[str, tuple[Followed, _Sent]], receivers: Mapping[str, str] | None, verified: bool
) -> dict[str, Followed]:
    """Hold delivered probes against the reports of their days."""
    now = int(store.clock())
    times = [one.at for _, one in arrived.values()]
    first, last = (datetime.fromtimestamp(at, UTC).date() for at in (min(times), max(times)))
    # earlier days teach who is who: outer addresses, receivers that are known by their counts
    bounds = Filters(since=first - timedelta(days=HISTORY_DAYS), until=last + timedelta(days=2), verified=verified)
    known = habits.load(store, bounds, now)
    out = {}
    with store.heavy.cursor() as cursor:
        sides.load_said(store, cursor, bounds, by_report=True)
        sides.load_sent(store, cursor, bounds, span(cursor, bounds))
        takers(cursor, known, receivers)
        sides.choose(cursor, None)
        join.signatures(cursor)
        join.behind_nat(cursor)
        join.assign(cursor)
        for tag, (followed, one) in arrived.items():
            taken = cursor.execute(
                "select receiver, known_by from takers join pairs using (pair) where pairs.host = $host and "
                "recipient_domain = $domain",
                {"host": one.host, "domain": one.recipient_domain},
            ).fetchall()
            receiver, known_by = taken[0] if taken else ("", "")
            told = _told(cursor, one, receiver)
            state, until = (REPORTED, None) if told else _expected(known, one, receiver, now)
            out[tag] = replace(followed, state=state, receiver=receiver, known_by=known_by, until=until, reports=told)
    release()
    return out


def _expected(known: habits.Habits, one: _Sent, receiver: str, now: int) -> tuple[str, int | None]:
    """(state, until when) of a probe that no report counts yet."""
    end = (one.at // DAY + 1) * DAY
    habit = known.span(one.from_domain, receiver, end)
    if habit is None:
        return UNEXPECTED, None
    return (AWAITED if now < end + habit.wait else OVERDUE), end + habit.wait


def _told(cursor: Any, one: _Sent, receiver: str) -> tuple[Told, ...]:
    """Rows of reports that count a mail: of periods that hold its delivery, else of those that end or begin close."""
    found = cursor.execute(
        f"""
        select c.report_key, c.submitter, c.b, c.e, min(c.source_ip), sum(c.n), count(*),
            {_counts("spf_word")}, {_counts("dkim_word")}, {_counts("dmarc_word")},
            cast(to_json(list_sort(list(distinct [c.d, c.s]))) as varchar),
            bool_or(c.b <= $at and $at < c.e) as holds
        from (
            select *,
                case when spf_aligned is null then 'none' when spf_aligned then 'pass' else 'fail' end as spf_word,
                case when ours then coalesce(result, 'none') else 'none' end as dkim_word,
                case when dkim_aligned is null and spf_aligned is null then 'none'
                    when coalesce(dkim_aligned, false) or coalesce(spf_aligned, false) then 'pass' else 'fail' end
                    as dmarc_word
            from claims
        ) c where c.receiver = $receiver and c.b - {join.LEEWAY} <= $at and $at < c.e + {join.LEEWAY}
            and c.mail in (select m.mail from mails m join keys k using (key) where k.source_ip = $source
                and k.header_from = $domain and k.d = $d and k.s = $s)
        group by c.report_key, c.submitter, c.b, c.e order by holds desc, c.b, c.report_key
        """,
        {"receiver": receiver, "at": one.at, "source": one.source, "domain": one.from_domain, "d": one.d, "s": one.s},
    ).fetchall()
    holds = any(row[-1] for row in found)
    return tuple(
        Told(key, submitter, begin, end, ip, int(messages), rows, _ranked(spf), _ranked(dkim), _ranked(dmarc),
             tuple((d, s) for d, s in orjson.loads(signers)))
        for key, submitter, begin, end, ip, messages, rows, spf, dkim, dmarc, signers, inside in found
        if inside or not holds
    )  # fmt: skip


def _counts(word: str) -> str:
    """SQL: the messages of each word, as the text of a JSON list."""
    return f"cast(to_json(list(struct_pack(w := {word}, n := cast(c.n as varchar)))) as varchar)"


def _ranked(text: str) -> Counts:
    sums: dict[str, int] = {}
    for one in orjson.loads(text):
        sums[one["w"]] = sums.get(one["w"], 0) + int(one["n"])
    return tuple(sorted(sums.items(), key=lambda pair: (-pair[1], pair[0])))
