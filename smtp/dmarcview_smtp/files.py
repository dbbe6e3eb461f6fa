"""Open files enough for all who may be inside at once, and folders whose names outlive a crash."""

from __future__ import annotations

import logging
import os
import resource
from pathlib import Path

log = logging.getLogger(__name__)

SPARE_FILES = 300  # for large mails, what is delivered, the disk and the log


def allow_files(connections: int) -> None:
    """Each connection is an open file: ask for enough, say when it is not granted."""
    wanted = connections + SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    granted = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (granted, hard))
    if granted < wanted:
        log.warning("%d open files are wanted, %d allowed: raise LimitNOFILE or lower connections", wanted, granted)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
