"""DMARC reports in, answers out: `dmarcview.open(...)` for what is stored, `dmarcview.parse(...)` for one input."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dmarcview.library import Library
    from dmarcview_reports.model import Reading

__version__ = "0.1.0"
__all__ = ["__version__", "open", "parse"]


def open(  # noqa: A001 - `dmarcview.open`
    path_or_url: str | os.PathLike[str], *, read_only: bool = True, url: str | None = None
) -> Library:
    """The store at a data folder or database URL: `.records() .daily() .sources() .reports()` give DataFrames.

    `url` is the ledger's address where it is not in the folder, as [data] url in the settings.
    """
    from dmarcview.library import Library

    return Library.open(os.fspath(path_or_url), url=url, read_only=read_only)


def parse(path_or_bytes: str | os.PathLike[str] | bytes, *, name: str | None = None) -> Reading:
    """Read one file, or the bytes of one, without a store. Content never raises: faults are `.refusals`.

    OSError when the file cannot be read.
    """
    import time
    from pathlib import Path

    from dmarcview_reports import reading
    from dmarcview_reports.settings import Limits

    if isinstance(path_or_bytes, (bytes, bytearray, memoryview)):
        raw, label = bytes(path_or_bytes), name or "bytes"
    else:
        raw, label = Path(path_or_bytes).read_bytes(), name or os.fspath(path_or_bytes)
    return reading.read(raw, label, Limits(), int(time.time()))
