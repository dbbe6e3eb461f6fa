"""Prune: what is older than its retention leaves, ledger and files in one transaction."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Connection, Select, and_, delete, exists, false, or_, select, update

from . import files as record_files
from .archive import DOUBT
from .errors import StoreBusy, named
from .files import FileRow
from .ledger import Ledger, bump, chunks, counter
from .tables import bodies, items, others, refusals, reports
from .upkeep import Retention, Rows, Upkeep, Upkept, alone, list_live

if TYPE_CHECKING:
    from .store import Store

log = logging.getLogger(__name__)

TRIES = 5


def prune(upkeep: Upkeep, retention: Retention) -> Upkept:
    """Let go of what `retention` no longer keeps. Raw bytes leave by whole days."""
    now = int(upkeep.clock())
    done = Upkept()
    with alone(upkeep.data):
        for _ in range(TRIES):
            done = _prune_reports(upkeep, retention, now)
            if done.rows >= 0:
                break
        else:
            raise StoreBusy("record files changed all the time while pruning; try again")
    _prune_raw(upkeep, retention, now)
    with upkeep.ledger.write() as conn:
        _prune_rest(conn, retention, now)
    return done


def _before(now: int, days: int) -> int:
    return now - days * 86_400


def _expired(retention: Retention, now: int) -> ColumnElement[bool]:
    """Reports that leave, as a condition on the ledger."""
    c = reports.c
    named_domains = sorted(set(retention.domains) | set(retention.forget))
    parts: list[ColumnElement[bool]] = [c.domain.in_(retention.forget)] if retention.forget else []
    for domain, days in retention.domains.items():
        if days and domain not in retention.forget:
            parts.append(and_(c.domain == domain, c.end < _before(now, days)))
    if retention.days:
        parts.append(and_(c.domain.not_in(named_domains), c.end < _before(now, retention.days)))
    return or_(false(), *parts)


def _kept(retention: Retention, now: int) -> Rows:
    """Rows that stay, as a condition on a record file."""
    parts, params = [], {}

    def moment(days: int) -> Any:
        return datetime.fromtimestamp(_before(now, days), UTC)

    for i, domain in enumerate(retention.forget):
        parts.append(f"domain = $gone{i}")
        params[f"gone{i}"] = domain
    for i, (domain, days) in enumerate(retention.domains.items()):
        if days and domain not in retention.forget:
            parts.append(f'domain = $domain{i} and "end" < $end{i}')
            params |= {f"domain{i}": domain, f"end{i}": moment(days)}
    if retention.days:
        known = sorted(set(retention.domains) | set(retention.forget))
        names = {f"known{i}": d for i, d in enumerate(known)}
        other = f"domain not in ({', '.join('$' + n for n in names)}) and " if names else ""
        parts.append(f'{other}"end" < $oldest')
        params |= {**names, "oldest": moment(retention.days)}
    return Rows(f"not ({' or '.join(f'({p})' for p in parts)})" if parts else "true", params)


def _may_hold(f: FileRow, retention: Retention, now: int) -> bool:
    """Can this file hold a row that leaves?"""
    days = [d for d in (retention.days, *retention.domains.values()) if d]
    return bool(retention.forget) or any(f.begin < _before(now, d) for d in days)


def _prune_reports(upkeep: Upkeep, retention: Retention, now: int) -> Upkept:
    """One try; `rows` -1 says that the list of files changed meanwhile."""
    with upkeep.ledger.read() as conn:
        layout, live = counter(conn, "layout"), list_live(conn)
    old, new = [], []
    keep = _kept(retention, now)
    for f in live:
        if not _may_hold(f, retention, now):
            continue
        made = upkeep.rewrite([f], keep)
        if made is not None and made.rows == f.rows:
            record_files.discard(upkeep.folder, made.path)
            continue
        old.append(f)
        if made is not None:
            new.append(made)
    with upkeep.ledger.write() as conn:
        if counter(conn, "layout") != layout:
            for f in new:
                record_files.discard(upkeep.folder, f.path)
            return Upkept(rows=-1)
        expired = _expired(retention, now)
        conn.execute(delete(bodies).where(bodies.c.report_id.in_(select(reports.c.id).where(expired))))
        found = conn.execute(delete(reports).where(expired)).rowcount
        if old:
            upkeep.swap(conn, old, new)
        if found or old:
            bump(conn, "version")
            bump(conn, "epoch")
    return Upkept(len(new), len(old), sum(f.rows for f in old) - sum(f.rows for f in new))


def _prune_raw(upkeep: Upkeep, retention: Retention, now: int) -> None:
    if retention.refused_days:
        day = time.strftime("%Y/%m/%d", time.gmtime(_before(now, retention.refused_days)))
        folder = upkeep.data / "archive"
        found = [path for path in folder.glob(f"*/*/*{DOUBT}*.seg") if str(path.relative_to(folder)) < day]
        _remove_doubtful(upkeep.ledger, folder, found)
    if not retention.raw_days:
        return
    oldest = time.strftime("%Y/%m/%d", time.gmtime(_before(now, retention.raw_days)))
    with upkeep.ledger.write() as conn:
        conn.execute(update(items).where(items.c.segment < oldest).values(segment=None, start=None, length=None))
    with named("removing old raw mail"):
        for path in (upkeep.data / "archive").glob("*/*/*.seg"):
            if str(path.relative_to(upkeep.data / "archive")) < oldest:
                path.unlink(missing_ok=True)


def bound_doubtful(store: Store, most: int) -> int:
    """Remove the oldest raw mails of what is not believed until `most` bytes are left, or a tenth less; returns bytes.

    With them leave the listings of what was refused in them. Segments that are written to stay.
    """
    with named("measuring raw mail"):
        found = sorted((store.data / "archive").glob(f"*/*/*{DOUBT}*.seg"), reverse=True)
        sizes = {path: path.stat().st_size for path in found}
    if sum(sizes.values()) <= most:
        return 0
    kept, old = 0, []
    for path, size in sizes.items():
        kept += size
        if kept > most * 9 // 10:
            old.append(path)
    return _remove_doubtful(store.ledger, store.data / "archive", old)


def _remove_doubtful(ledger: Ledger, folder: Path, old: Sequence[Path]) -> int:
    """Remove these segments, but for those that a writer holds; returns the bytes."""
    removed = 0
    with contextlib.ExitStack() as stack, named("removing raw mail that is not believed"):
        ours = []
        for path in old:
            file = stack.enter_context(path.open("rb"))
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                ours.append(path)
        names = [str(path.relative_to(folder)) for path in ours]
        with ledger.read() as conn:  # no index leads to them; found before the write, which holds others up
            within = [r[0] for part in chunks(names) for r in conn.execute(_within(part))]
        with ledger.write() as conn:
            for part in chunks(within):
                _forget(conn, part)
        for path in ours:
            removed += path.stat().st_size
            path.unlink()
    if removed:
        log.warning("%d MB of refused and unverified raw mail were removed: [data] refused_mb", removed // 1_000_000)
    return removed


def _within(segments: Sequence[str]) -> Select[tuple[int]]:
    return select(items.c.id).where(items.c.segment.in_(segments))


def _forget(conn: Connection, ids: Sequence[int]) -> None:
    """Inputs without their raw bytes, and without anything when all that hung on them was a refusal."""
    conn.execute(update(items).where(items.c.id.in_(ids)).values(segment=None, start=None, length=None))
    busy = [exists().where(t.c.item_id == items.c.id) for t in (reports, others)]
    bare = select(items.c.id).where(items.c.id.in_(ids), ~or_(*busy))
    conn.execute(delete(refusals).where(refusals.c.item_id.in_(bare)))
    conn.execute(delete(items).where(items.c.id.in_(bare)))


def _prune_rest(conn: Connection, retention: Retention, now: int) -> None:
    if retention.refused_days:
        oldest = _before(now, retention.refused_days)
        conn.execute(delete(refusals).where(refusals.c.at < oldest))
    if retention.days:
        conn.execute(delete(others).where(others.c.at < _before(now, retention.days)))
        bare = [~exists().where(t.c.item_id == items.c.id) for t in (reports, refusals, others)]
        old = items.c.received < _before(now, retention.days)
        conn.execute(delete(items).where(old, items.c.segment.is_(None), *bare))
