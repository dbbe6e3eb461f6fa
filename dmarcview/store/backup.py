"""Backup of a running store, restore, and the check that a store is whole."""

# ruff: noqa: S608 - SQL is put together from our own constants; values from outside are parameters
from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import insert, select

from .archive import make_folder, sync_folder
from .errors import StoreError, named
from .files import CUBE_END, RECORDS_END, sync_file
from .ledger import Ledger
from .tables import FORMAT, metadata
from .upkeep import alone

if TYPE_CHECKING:
    from .store import Store

LEDGER_NAME = "ledger.sqlite"
BATCH = 2_000


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check of a store found; it is whole when `faults` is empty."""

    reports: int
    records: int
    files: int
    faults: tuple[str, ...]


def _copy(source: Path, target: Path, *, link: bool) -> None:
    """A hard link where that is safe and possible, else a durable copy."""
    make_folder(target.parent)
    if link:
        try:
            os.link(source, target)
            return
        except OSError:  # another file system, or one without links
            pass
    shutil.copyfile(source, target)
    sync_file(target)


def copy_ledger(source: Ledger, target: Ledger) -> None:
    """Copy all rows of one moment into an empty ledger of any kind."""
    metadata.create_all(target.engine)
    with source.read() as old, target.write() as new:
        for table in metadata.sorted_tables:
            found = old.execution_options(yield_per=BATCH).execute(select(table)).mappings()
            for part in found.partitions(BATCH):
                new.execute(insert(table), [dict(r) for r in part])


def _save_ledger(ledger: Ledger, target: Path) -> None:
    if ledger.sqlite:
        raw = ledger.engine.raw_connection()
        try:
            copy = sqlite3.connect(target)
            try:
                assert raw.driver_connection is not None
                raw.driver_connection.backup(copy)  # one read transaction: a consistent cut beside writers
                copy.execute("pragma journal_mode = delete")
            finally:
                copy.close()
        finally:
            raw.close()
    else:
        saved = Ledger(f"sqlite:///{target}")
        copy_ledger(ledger, saved)
        saved.close()
    sync_file(target)


@contextmanager
def _whole_or_nothing(target: Path) -> Iterator[Path]:
    """A folder beside `target` that becomes it at the end, or vanishes."""
    if target.exists() and any(target.iterdir()):
        raise StoreError(f"{target} is not empty; name a new folder")
    part = target.with_name(target.name + ".part")
    if part.exists():
        raise StoreError(f"{part} is left from a run that was broken off; remove it")
    make_folder(part)
    try:
        yield part
        if target.exists():
            target.rmdir()
        part.rename(target)
        sync_folder(target.parent)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def backup(store: Store, path: Path) -> None:
    """Copy a running store of one moment into a new folder, which is a store itself. Raises StoreError.

    Mails in the spool come along, copied first: each is in the spool's copy or in the ledger's, or in both.
    """
    path = path.absolute()
    with named("writing the backup"), _whole_or_nothing(path) as part, alone(store.data):
        spool = store.data / "spool"
        for file in sorted(spool.glob("*/*")) if spool.is_dir() else []:
            try:
                _copy(file, part / "spool" / file.relative_to(spool), link=False)
            except FileNotFoundError:  # ingested just now: the ledger's copy has it
                continue
        _save_ledger(store.ledger, part / LEDGER_NAME)
        saved = Ledger(f"sqlite:///{part / LEDGER_NAME}")
        try:
            from .upkeep import list_live

            with saved.read() as conn:
                live = list_live(conn)
        finally:
            saved.close()
        make_folder(part / "records")
        for f in live:
            for ending in (RECORDS_END, CUBE_END):
                _copy(store.data / "records" / (f.path + ending), part / "records" / (f.path + ending), link=True)
        make_folder(part / "archive")
        for name in store.archive.segments():  # a segment may still grow: copied, not linked
            _copy(store.data / "archive" / name, part / "archive" / name, link=False)
        for folder in sorted(part.glob("**/")):
            sync_folder(folder)


def restore(path: Path, data: Path, url: str | None = None) -> None:
    """Copy a backup into a data folder that holds no store yet; `url` names an empty ledger elsewhere.

    Raises StoreError when the backup is not one, is newer than this program, or the place is taken.
    """
    path, data = path.absolute(), data.absolute()
    if not (path / LEDGER_NAME).is_file():
        raise StoreError(f"{path} is no backup: it has no {LEDGER_NAME}")
    if (data / LEDGER_NAME).exists():
        raise StoreError(f"{data} already holds a store; name an empty folder")
    saved = Ledger(f"sqlite:///{path / LEDGER_NAME}")
    try:
        found = saved.format()
        if found is None or found > FORMAT:
            raise StoreError(f"the backup has format {found}, and this dmarcview knows up to {FORMAT}; upgrade it")
        with named("restoring"):
            make_folder(data)
            for folder in ("spool", "archive", "records"):
                _copy_tree(path / folder, data / folder)
            part = data / (LEDGER_NAME + ".part")
            _save_ledger(saved, part)
            if url is None:
                part.rename(data / LEDGER_NAME)
            else:
                _fill(part, Ledger(url))
            sync_folder(data)
    finally:
        saved.close()


def _copy_tree(source: Path, target: Path) -> None:
    for file in sorted(source.glob("**/*")):
        if file.is_file():
            _copy(file, target / file.relative_to(source), link=False)
    for folder in sorted(target.glob("**/")):
        sync_folder(folder)


def _fill(part: Path, target: Ledger) -> None:
    """Copy a ledger of any format that we know into an empty one elsewhere; `part` is upgraded first, and goes."""
    source = Ledger(f"sqlite:///{part}")
    try:
        if target.format() is not None:
            raise StoreError("the ledger to restore into is not empty; name an empty database")
        source.create()
        copy_ledger(source, target)
    finally:
        source.close()
        target.close()
        for ending in ("", "-wal", "-shm"):
            part.with_name(part.name + ending).unlink(missing_ok=True)


def check(store: Store) -> Checked:
    """Hold ledger against files: every listed file is there, every report has all of its rows exactly once."""
    from .engine import Window
    from .plan import APART, DOUBT, MAIN
    from .tables import reports

    snapshot = store.snapshot()
    faults = [
        f"records/{f.path}{ending} is missing"
        for f in snapshot.files
        for ending in (RECORDS_END, CUBE_END)
        if not (store.data / "records" / (f.path + ending)).exists()
    ]
    if faults:
        return Checked(0, 0, len(snapshot.files), tuple(faults))
    at = Window(snapshot, (MAIN, DOUBT, APART))
    stored = dict(store.heavy.rows("select report_key, count(*) from records group by report_key", {}, at))
    messages, cubed = (
        store.heavy.rows(f"select cast(coalesce(sum({n}), 0) as bigint) from {t}", {}, at)[0][0]
        for n, t in (('"count"', "records"), ("messages", "cube"))
    )
    with store.ledger.read() as conn:
        query = select(reports.c.report_key, reports.c.records).where(reports.c.version <= snapshot.version)
        wanted = {str(r[0]): int(r[1]) for r in conn.execute(query)}
    faults += [f"report {k} has {stored.get(k, 0)} of {n} rows" for k, n in wanted.items() if stored.get(k, 0) != n]
    faults += [f"report {k} has {n} rows and is not in the ledger" for k, n in stored.items() if k not in wanted]
    if messages != cubed:
        faults.append(f"the cubes sum to {cubed} messages, the records to {messages}")
    return Checked(len(wanted), sum(wanted.values()), len(snapshot.files), tuple(faults))
