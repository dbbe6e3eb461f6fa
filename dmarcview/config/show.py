"""Settings as TOML text: what `dmarcview config show` prints, which `config.read` reads back to the same values."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from dmarcview.config.settings import Config, rules, settable

_ESCAPES = {'"': '\\"', "\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}


def literal(value: Any) -> str:
    """One value as TOML writes it; tables inline."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"' + "".join(_ESCAPES.get(c, c if c.isprintable() else f"\\U{ord(c):08x}") for c in value) + '"'
    if isinstance(value, tuple | list):
        return "[" + ", ".join(literal(item) for item in value) + "]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f" {literal(k)} = {literal(v)}" for k, v in value.items()).strip() + "}"
    return str(value)


def written(kind: type, name: str, value: Any) -> str:
    """The value of a field as a person writes it."""
    return f"0o{value:o}" if rules(kind, name).get("octal") else literal(value)


def toml(config: Config, *, changed: bool = False) -> str:
    """All settings, or with `changed` only those that differ from the defaults."""
    lines: list[str] = []
    for section in dataclasses.fields(config):
        lines += _table((section.name,), getattr(config, section.name), type(getattr(config, section.name))(), changed)
    return "\n".join(lines).strip() + "\n" if lines else ""


def _table(place: tuple[str, ...], values: Any, defaults: Any, changed: bool) -> list[str]:
    plain: list[str] = []
    nested: list[str] = []
    for field in settable(type(values)):
        value, default = getattr(values, field.name), getattr(defaults, field.name)
        if changed and value == default:
            continue
        if dataclasses.is_dataclass(value):
            nested += _table((*place, field.name), value, default, changed)
        elif isinstance(value, tuple) and value and dataclasses.is_dataclass(value[0]):
            for item in value:
                kind = type(item)
                nested += ["", f"[[{'.'.join((*place, field.name))}]]"]
                nested += [f"{f.name} = {written(kind, f.name, getattr(item, f.name))}" for f in settable(kind)]
        else:
            plain.append(f"{field.name} = {written(type(values), field.name, value)}")
    head = ["", f"[{'.'.join(place)}]", *plain] if plain else []
    return head + nested
