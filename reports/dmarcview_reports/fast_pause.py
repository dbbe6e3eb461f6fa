"""Holds Python's cycle collector off while many values are made that are in no cycle: it would visit each of them."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_holders = 0
_was_on = False


@contextmanager
def undisturbed() -> Iterator[None]:
    """The collector is off until the last thread that asked for it has left, and then as it was before the first."""
    global _holders, _was_on  # noqa: PLW0603 - the collector is the process's, so is this
    with _lock:
        if not _holders:
            _was_on = gc.isenabled()
            gc.disable()
        _holders += 1
    try:
        yield
    finally:
        with _lock:
            _holders -= 1
            if not _holders and _was_on:
                gc.enable()
