"""How much of a disk is free."""

from __future__ import annotations

import shutil
from pathlib import Path

LOW_BYTES = 1_000_000_000  # free below which it is time to act, though mail is still taken


def free_bytes(place: Path) -> int:
    """Free bytes where a folder is, or will be. Raises OSError."""
    while not place.exists() and place != place.parent:
        place = place.parent
    return shutil.disk_usage(place).free
