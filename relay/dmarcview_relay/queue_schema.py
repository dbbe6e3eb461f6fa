"""The file of the queue: its tables, its format number, and how a connection to it is opened.

Each thread and each process has its own connection. Numbers of mails, recipients and rows of the sent log come from
one counter, moved in the transaction that uses them: none is ever used twice, so a late result finds its own
recipient or none.
"""

from __future__ import annotations

import secrets
import sqlite3
from pathlib import Path

from dmarcview_smtp.files import sync_folder

FORMAT = 1
APPLICATION = 0x646D7651  # "dmvQ"
FILE, BODIES, DRAFTS = "queue.sqlite", "bodies", "tmp"
PAGE_BYTES = 4_096
INLINE_BYTES = 65_536  # a larger body is a file
WAL_PAGES = 8_000  # written back after so many: 32 MB, each page once however often it changed
WAL_KEPT_BYTES = 64_000_000
LOCK_SECONDS = 30.0  # how long another process may hold the queue before we give up

_TABLES = """
create table meta (key text primary key, value) without rowid;
create table mail (
    number integer primary key, id text not null unique, sender_local text, sender_domain text, accepted real not null,
    size integer not null, kind text not null, user text not null, client text not null, from_domain text not null,
    message_id text not null, dkim text not null, eight_bit integer not null, utf8 integer not null,
    require_tls integer not null, ret text not null, envid text not null
);
create table body (number integer primary key, content blob not null);
create table recipient (
    number integer primary key, mail integer not null, local text not null, domain text not null, notify text not null,
    orcpt text not null, hold text not null, dead integer not null default 0, tries integer not null default 0,
    next_at real not null, warned integer not null default 0, last_at real, code integer, enhanced text, text text,
    stage text, said integer, host text, address text
);
create index recipient_mail on recipient (mail);
create table sent (
    number integer primary key, at real not null, queue_id text not null, message_id text not null, kind text not null,
    user text not null, client text not null, sender text not null, from_domain text not null, dkim text not null,
    recipient text not null, recipient_domain text not null, tries integer not null, source text not null,
    host text not null, address text not null, tls_version text not null, tls_cipher text not null,
    tls_trust text not null, code integer not null, enhanced text not null, text text not null, stage text not null,
    said integer not null, outcome text not null, size integer not null
);
create table suppressed (address text primary key, reason text not null, until real not null, at real not null)
    without rowid;
create table day (day integer not null, address text not null, mails integer not null, primary key (day, address))
    without rowid;
"""


class QueueError(Exception):
    """The queue cannot be written or read now: disk full, locked, damaged, of another format. The mail is not taken."""


class Gone(QueueError):
    """What was asked for is not in the queue (any more)."""


def connect(folder: Path, *, create: bool = False, timeout: float = LOCK_SECONDS) -> sqlite3.Connection:
    """Open the queue of a folder; transactions are begun and ended by the caller. Raises QueueError, Gone."""
    path = folder / FILE
    if not create and not path.exists():
        raise Gone(f"there is no queue in {folder}")
    try:
        if create and not path.exists():
            for each in (folder / BODIES, folder / DRAFTS):
                each.mkdir(parents=True, exist_ok=True, mode=0o750)
            sync_folder(folder)
            sync_folder(folder.parent)
        link = sqlite3.connect(path, timeout=timeout, isolation_level=None, check_same_thread=False)
    except (OSError, sqlite3.Error) as error:
        raise QueueError(f"cannot open the queue {path}: {error}") from None
    try:
        link.execute("pragma synchronous = full")  # a commit is on the disk when it returns, also in WAL mode
        link.execute(f"pragma wal_autocheckpoint = {WAL_PAGES}")
        link.execute(f"pragma journal_size_limit = {WAL_KEPT_BYTES}")
        link.execute(
            "pragma secure_delete = off"
        )  # delivered mails are freed, not zeroed: the journal holds them anyway
        if _format(link, path) == 0:
            if not create:
                raise Gone(f"there is no queue in {folder}")
            _create(link, path)
    except sqlite3.Error as error:
        link.close()
        raise QueueError(f"cannot open the queue {path}: {error}") from None
    except BaseException:
        link.close()
        raise
    return link


def _format(link: sqlite3.Connection, path: Path) -> int:
    (application,) = link.execute("pragma application_id").fetchone()
    (number,) = link.execute("pragma user_version").fetchone()
    if (application, number) == (0, 0) and not link.execute("select 1 from sqlite_master").fetchone():
        return 0
    if application != APPLICATION:
        raise QueueError(f"{path} is not a queue of ours")
    if number != FORMAT:
        raise QueueError(
            f"{path} has format {number}, this version knows format {FORMAT}: run the version that wrote it, "
            "or deliver what it holds with that one first"
        )
    return int(number)


def _create(link: sqlite3.Connection, path: Path) -> None:
    """Make the tables, once: of two that start at the same moment the second finds them."""
    link.execute(f"pragma page_size = {PAGE_BYTES}")
    link.execute("pragma journal_mode = wal")
    link.execute("begin immediate")
    try:
        if _format(link, path) == 0:
            for statement in _TABLES.split(";\n"):
                link.execute(statement)
            first = [
                ("numbers", 0),
                ("outside", 0),
                ("instance", secrets.token_hex(8)),
                ("salt", secrets.token_hex(16)),
            ]
            link.executemany("insert into meta values (?, ?)", first)
            link.execute(f"pragma application_id = {APPLICATION}")
            link.execute(f"pragma user_version = {FORMAT}")
        link.execute("commit")
    except BaseException:
        link.execute("rollback")
        raise


def numbers(link: sqlite3.Connection, count: int) -> int:
    """Take so many numbers, inside a transaction; the first of them."""
    link.execute("update meta set value = value + ? where key = 'numbers'", (count,))
    (last,) = link.execute("select value from meta where key = 'numbers'").fetchone()
    return int(last) - count + 1


def meta(link: sqlite3.Connection, key: str) -> str:
    """One value of the table `meta`."""
    (value,) = link.execute("select value from meta where key = ?", (key,)).fetchone()
    return str(value)
