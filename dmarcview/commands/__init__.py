"""The commands: each takes parsed arguments, calls into the house, prints, and returns an exit code."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dmarcview.config import Config
    from dmarcview.store import Store


def settings(args: argparse.Namespace) -> Config:
    """The settings that the arguments ask for. Raises ConfigError."""
    from dmarcview import config

    return config.with_data(config.load(args.config), args.data)


def store(args: argparse.Namespace, *, read_only: bool = False) -> Store:
    """The store that the arguments name. A store that is only read must exist already."""
    from dmarcview import config
    from dmarcview.cli import Misuse
    from dmarcview.store import Store

    found = settings(args)
    folder = config.data_dir(found)
    if read_only and not found.data.url and not (folder / "ledger.sqlite").exists():
        raise Misuse(f"there is no store in {folder}; name one with --data, or import reports first")
    return Store.open(config.ledger_url(found), read_only=read_only)
