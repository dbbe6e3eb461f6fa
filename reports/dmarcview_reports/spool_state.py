"""How the spool fares: how many mails wait to be stored, and since when. Looks, and takes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from .spool import mails_in

BACKLOG_SECONDS = 600.0  # a mail that waits for longer shows that nobody takes it
COUNTED = 1_000  # most batches that are opened to count their mails


class SpoolState(NamedTuple):
    """Batches and mails that wait, and when the oldest came (seconds since 1970, 0: none waits); damaged batches that
    were set aside for people to look at."""

    batches: int
    mails: int
    oldest: float
    bad: int


def state(spool: Path) -> SpoolState:
    """The state of a spool's folder; one that is not there is empty. Raises OSError."""
    waiting: list[tuple[float, Path]] = []
    for path in _batches(spool / "new"):
        try:
            waiting.append((path.stat().st_mtime, path))
        except FileNotFoundError:  # stored meanwhile
            continue
    mails = len(waiting[COUNTED:]) + sum(mails_in(path) for _, path in waiting[:COUNTED])
    oldest = min((at for at, _ in waiting), default=0.0)
    return SpoolState(len(waiting), mails, oldest, len(_batches(spool / "bad")))


def _batches(folder: Path) -> list[Path]:
    try:
        return list(folder.glob("*.batch"))
    except FileNotFoundError:
        return []
