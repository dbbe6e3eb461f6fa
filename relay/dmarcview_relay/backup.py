"""The relay's part of a backup: queue, keys, users, mails in the drop folder, and policies that were seen.

What was taken stays in the queue of the backup as it was at that moment. It may have left since, so a restored queue
is held until a person says what is to become of it.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from dmarcview_smtp.files import sync_folder

from .drop import FOLDER_MODE
from .queue_schema import BODIES, DRAFTS, FILE, INLINE_BYTES, Gone, QueueError, connect

HELD = "restored from a backup: it may have left since the backup was made"
AHEAD = 10**12  # the restored counter jumps so far: no number of the lost time is used again (see queue_schema)
_KEPT = ("users.json", "keys/keys.json", "keys/*/*.pem", "drop/[!.]*.mail", "mta-sts/*.json")


def save(folder: Path, target: Path) -> bool:
    """Copy the relay's folder while it runs; False when there is none. Only the owner may read the copy.

    Copy it before the store: a row of the sent log is then in this copy, in the store's, or in both, which counts once.
    Raises QueueError, OSError.
    """
    if not folder.is_dir():
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    target.mkdir(mode=0o700)
    _copy(folder, target)  # before the queue: a dropped mail is here, there, or in both
    try:
        with closing(connect(folder)) as link, closing(sqlite3.connect(target / FILE)) as copy:
            (target / FILE).chmod(0o600)
            link.backup(copy)  # one read transaction: a consistent cut beside the relay that writes
            copy.execute("pragma journal_mode = delete")
            _copy_bodies(folder / BODIES, target / BODIES, copy)
            copy.commit()
        _sync(target / FILE)
    except Gone:
        pass
    except sqlite3.Error as error:
        raise QueueError(f"the queue cannot be copied: {error}") from None
    for each in (target, *(path for path in target.rglob("*") if path.is_dir())):
        sync_folder(each)
    return True


def restore(saved: Path, folder: Path) -> int:
    """Make the relay's folder from a backup; how many recipients are held now. Raises QueueError, OSError."""
    if folder.is_dir() and any(folder.iterdir()):
        raise QueueError(f"{folder} is not empty; move it away first")
    folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    _copy(saved, folder)
    if (folder / "drop").is_dir():
        (folder / "drop").chmod(FOLDER_MODE)
    if not (saved / FILE).exists():
        return 0
    (folder / DRAFTS).mkdir(mode=0o700)
    (folder / BODIES).mkdir(mode=0o700)
    for body in (saved / BODIES).glob("*"):
        _copy_file(body, folder / BODIES / body.name)
    sync_folder(folder / BODIES)
    part = folder / f"{FILE}.part"
    _copy_file(saved / FILE, part)
    try:
        with closing(sqlite3.connect(part)) as link:
            held = link.execute("update recipient set hold = ? where not dead", (HELD,)).rowcount
            link.execute("update meta set value = value + ? where key = 'numbers'", (AHEAD,))
            link.commit()
            link.execute("pragma journal_mode = wal")
    except sqlite3.Error as error:
        raise QueueError(f"{saved / FILE} is no queue: {error}") from None
    _sync(part)
    part.rename(folder / FILE)
    sync_folder(folder)
    return held


def _copy(source: Path, target: Path) -> None:
    for pattern in _KEPT:
        for file in sorted(source.glob(pattern)):
            try:
                _copy_file(file, target / file.relative_to(source))
            except FileNotFoundError:  # a dropped mail that was taken just now
                continue


def _copy_bodies(source: Path, target: Path, copy: sqlite3.Connection) -> None:
    """The large mails of the copied queue; one whose file is gone was delivered meanwhile, and leaves the copy."""
    target.mkdir(mode=0o700)
    for number, name in copy.execute("select number, id from mail where size > ?", (INLINE_BYTES,)).fetchall():
        try:
            _copy_file(source / name, target / name)
        except FileNotFoundError:
            copy.execute("delete from recipient where mail = ?", (number,))
            copy.execute("delete from mail where number = ?", (number,))


def _copy_file(source: Path, target: Path) -> None:
    """A durable copy for its owner only."""
    target.parent.mkdir(mode=0o700, exist_ok=True)
    with source.open("rb") as read:
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            shutil.copyfileobj(read, file)
            file.flush()
            os.fsync(file.fileno())


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
