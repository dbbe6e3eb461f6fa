"""Bodies that are too large for the database: one file each, durable before the mail that owns it is committed.

A body is written and synced under `tmp/` by the one who brings it; then the committer renames all of its batch into
`bodies/` and syncs that folder once. What a crash leaves without an owner is removed at the next start.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Iterable
from pathlib import Path

from dmarcview_smtp.files import sync_folder

log = logging.getLogger(__name__)


def write(draft: Path, content: bytes) -> None:
    """A synced draft, or none at all: OSError."""
    try:
        with draft.open("xb", buffering=0) as file:
            view = memoryview(content)
            while view:
                view = view[os.write(file.fileno(), view) :]
            os.fdatasync(file.fileno())
    except BaseException:
        remove([draft])
        raise


def place(drafts: Iterable[tuple[Path, Path]], folder: Path) -> None:
    """Rename drafts to their final names and make the names durable. Raises OSError."""
    for draft, final in drafts:
        draft.rename(final)
    sync_folder(folder)


def remove(paths: Iterable[Path]) -> None:
    """Delete; what cannot be deleted costs room until the next start, no more."""
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            log.error("queue: cannot remove %s: %s", path, error.strerror)


def sweep(drafts: Path, bodies: Path, owned: Collection[str]) -> None:
    """At the start: remove drafts, and bodies that belong to no mail."""
    for folder, kept in ((drafts, ()), (bodies, owned)):
        remove(path for path in folder.iterdir() if path.is_file() and path.name not in kept)
