"""What can go wrong in the store, and who can mend it.

StoreError
├── StoreFull     no room, or the disk failed: free space (or replace the disk) and try again; nothing was half-kept
├── StoreBusy     another process held the ledger too long: try again
├── StoreFormat   the ledger was written by a newer dmarcview, or is not one of ours
└── StoreDamaged  a file that the ledger lists is missing or unreadable: restore a backup, or `dmarcview reindex`
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EFBIG}
_LEDGER_FULL = ("disk is full", "disk i/o error", "no space left", "readonly database", "could not extend file")
_LEDGER_BUSY = ("database is locked", "database table is locked", "lock timeout", "deadlock detected")
_LEDGER_BROKEN = ("malformed", "not a database", "file is encrypted")


class StoreError(Exception):
    """Base of every error that the store raises on purpose; the text says what to do."""


class StoreFull(StoreError):
    """The disk is full or failed. The call left nothing behind and can be repeated."""


class StoreBusy(StoreError):
    """Another process held the ledger for longer than we wait. The call can be repeated."""


class StoreFormat(StoreError):
    """This version cannot read that store."""


class StoreDamaged(StoreError):
    """The ledger or a file that it lists is missing or unreadable."""


def _of_ledger(text: str) -> StoreError | None:
    low = text.lower()
    if any(s in low for s in _LEDGER_FULL):
        return StoreFull(f"the ledger could not write: {text}; free disk space and try again")
    if any(s in low for s in _LEDGER_BUSY):
        return StoreBusy(f"the ledger is held by another process: {text}; try again")
    if any(s in low for s in _LEDGER_BROKEN):
        return StoreDamaged(f"the ledger cannot be read: {text}; restore a backup")
    return None


@contextmanager
def named(doing: str) -> Iterator[None]:
    """Turn errors of disk and ledger into ours; `doing` completes the sentence "while ..."."""
    try:
        yield
    except StoreError:
        raise
    except OSError as e:
        if e.errno in _NO_ROOM:
            raise StoreFull(f"disk full or failing while {doing}: {e.strerror}; free disk space and try again") from e
        raise StoreError(f"the system refused while {doing}: {e}; check the data folder and its owner") from e
    except Exception as e:
        from sqlalchemy.exc import DBAPIError

        if isinstance(e, DBAPIError):
            ours = _of_ledger(str(e.orig))
            if ours is not None:
                raise ours from e
        raise
