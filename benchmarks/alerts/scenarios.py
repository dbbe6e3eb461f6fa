"""The scenarios of `scenarios.toml`, by half: each with its world."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("scenarios.toml")
HALVES = ("tuning", "held_out")


@dataclass(frozen=True, slots=True)
class World:
    """A domain's ordinary days; the fields are explained in the file."""

    name: str
    volume: float
    spf: float
    dkim: float
    rho: float
    lumps: float
    lump: float
    weekend: float
    unknown: float


@dataclass(frozen=True, slots=True)
class Scenario:
    """What happens to a domain from the onset on; the fields are explained in the file."""

    name: str
    world: World
    fails: str
    share: float = 0.0
    days: int = 0
    midnight: bool = False
    runs: int = 1
    burst: float = 0.0
    campaign: float = 0.0
    silent: int = 0
    late: int = 0
    doubled: float = 0.0
    joins: int = 0
    volume: float = 1.0


@dataclass(frozen=True, slots=True)
class Half:
    """One half of the scenarios, with a seed of its own."""

    name: str
    seed: int
    scenarios: tuple[Scenario, ...]


def load(name: str, path: Path = FILE) -> Half:
    """The half called `tuning` or `held_out`; raises KeyError or TypeError for a file that lacks or adds a field."""
    text = tomllib.loads(path.read_text(encoding="utf-8"))
    worlds = [World(**world) for world in text[name]["worlds"]]
    out = []
    for entry in text["scenario"]:
        fields: dict[str, Any] = {k: v for k, v in entry.items() if k not in (*HALVES, "worlds", "world")}
        fields |= entry.get(name, {})
        names = entry.get("worlds", [world.name for world in worlds])
        changed = entry.get("world", {})
        out += [Scenario(world=replace(world, **changed), **fields) for world in worlds if world.name in names]
    return Half(name, int(text[name]["seed"]), tuple(out))
