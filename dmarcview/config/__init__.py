"""Configuration: one TOML file and the environment become one frozen `Config`."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path

from dmarcview.config.kinds import server
from dmarcview.config.reader import ConfigError, Fault, read
from dmarcview.config.settings import (
    Alerts,
    Config,
    Dashboard,
    Data,
    Dns,
    Domains,
    Geo,
    Ingest,
    Receive,
    Reconcile,
    Trust,
)

__all__ = [
    "Alerts",
    "Config",
    "ConfigError",
    "Dashboard",
    "Data",
    "Dns",
    "Domains",
    "Fault",
    "Geo",
    "Ingest",
    "Receive",
    "Reconcile",
    "Trust",
    "data_dir",
    "find",
    "ledger_url",
    "load",
    "server",
    "with_data",
]

PLACES = ("dmarcview.toml", "/etc/dmarcview.toml")
SYSTEM_DATA = "/var/lib/dmarcview"
LOCAL_DATA = "dmarcview-data"
LARGEST_FILE = 1_000_000  # bytes; a settings file is a page or two


def find(path: str | None = None, env: Mapping[str, str] | None = None) -> Path | None:
    """The file to read: the one named, `DMARCVIEW_CONFIG`, `./dmarcview.toml`, `/etc/dmarcview.toml`, or none."""
    named = path or (env if env is not None else os.environ).get("DMARCVIEW_CONFIG")
    if named:
        return Path(named)
    return next((Path(place) for place in PLACES if Path(place).is_file()), None)


def load(path: str | Path | None = None, env: Mapping[str, str] | None = None, *, look: bool = False) -> Config:
    """Read the settings file and the environment. Raises ConfigError that lists every fault with its line.

    With `look`, the files that [relay] names must be there and hold what they should.
    """
    environment = os.environ if env is None else env
    file = find(str(path) if path else None, environment)
    if file is None:
        return read("", environment, Path.cwd(), "environment", look=look)
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise ConfigError([Fault(0, "", f"cannot be read: {error.strerror}")], str(file)) from None
    if len(raw) > LARGEST_FILE:
        raise ConfigError([Fault(0, "", "too large for a settings file")], str(file))
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError([Fault(line, "", "not UTF-8; save the file as UTF-8")], str(file)) from None
    return read(text, environment, file.resolve().parent, str(file), look=look)


def with_data(config: Config, folder: str | None) -> Config:
    """The same settings with another data folder, as `--data` asks for; its ledger is the one inside."""
    if not folder:
        return config
    data = dataclasses.replace(config.data, dir=str(Path(folder).expanduser()), url="")
    return dataclasses.replace(config, data=data)


def data_dir(config: Config) -> Path:
    """The data folder: as set, else the system's where it exists, else one in the working folder."""
    if config.data.dir:
        return Path(config.data.dir)
    system = Path(SYSTEM_DATA)
    return system if system.is_dir() else Path(LOCAL_DATA)


def ledger_url(config: Config) -> str:
    """What `Store.open` takes: the database URL as set, else the data folder."""
    return config.data.url or str(data_dir(config))
