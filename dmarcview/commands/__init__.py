"""The commands: each takes parsed arguments, calls into the house, prints, and returns an exit code."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from dmarcview.exits import Misuse

if TYPE_CHECKING:
    from dmarcview.config import Config
    from dmarcview.store import Store


def settings(args: argparse.Namespace, *, look: bool = False) -> Config:
    """The settings that the arguments ask for; `look` at the files that they name, too. Raises ConfigError."""
    from dmarcview import config

    return config.with_data(config.load(args.config, look=look), args.data)


def open_store(config: Config, *, read_only: bool = False) -> Store:
    """The store of these settings. One that is only read must exist already. Raises StoreError, Misuse."""
    from dmarcview.upkeep import open_store as open_it

    if read_only:
        require_store(config)
    return open_it(config, read_only=read_only)


def require_store(config: Config) -> None:
    """Raise Misuse where there is no store: a question makes none, nor does a word on what must be in it."""
    from dmarcview.config import data_dir

    if not config.data.url and not (data_dir(config) / "ledger.sqlite").exists():
        what = "name one with --data, import reports, or start `dmarcview serve`"
        raise Misuse(f"there is no store in {data_dir(config)}; {what}")
