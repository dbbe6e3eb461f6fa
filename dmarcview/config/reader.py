"""TOML and environment to `Config`: every fault is found in one go, each with its line."""

from __future__ import annotations

import dataclasses
import difflib
import re
import tomllib
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from dmarcview.config import kinds, relay
from dmarcview.config.kinds import Bad
from dmarcview.config.lines import Path as Place
from dmarcview.config.lines import key_lines, line_of
from dmarcview.config.settings import Config, rules, settable

PREFIX = "DMARCVIEW_"
RESERVED = ("DMARCVIEW_CONFIG", "DMARCVIEW_TEST_")  # names that are no settings

_ERROR_LINE = re.compile(r"\(at line (\d+)")


class Fault(NamedTuple):
    """One thing that is wrong: where (line 0 = not in the file), which key, and what to do."""

    line: int
    key: str
    message: str

    def __str__(self) -> str:
        place = f"line {self.line}: " if self.line else ""
        return f"{place}{self.key}: {self.message}" if self.key else f"{place}{self.message}"


class ConfigError(Exception):
    """The settings cannot be used; `faults` lists everything that is wrong with them."""

    def __init__(self, faults: list[Fault], source: str = "") -> None:
        super().__init__("\n".join(f"{source}: {fault}" if source else str(fault) for fault in faults))
        self.faults = faults
        self.source = source


def read(
    text: str,
    env: Mapping[str, str] | None = None,
    base: Path | None = None,
    source: str = "",
    *,
    look: bool = False,
) -> Config:
    """Read settings from TOML `text`, then from `DMARCVIEW_<SECTION>_<KEY>` in `env`, which goes first.

    Relative paths start at `base`. With `look`, the files that [relay] names must be there and hold what they should.
    Raises ConfigError with every fault.
    """
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        at = _ERROR_LINE.search(str(error))
        line = int(at.group(1)) if at else text.count("\n") + 1
        raise ConfigError([Fault(line, "", f"not TOML: {_ERROR_LINE.split(str(error))[0].strip()}")], source) from None
    reader = _Reader(key_lines(text), base)
    config = reader.table(Config, _with_environment(tree, env or {}, reader.faults), ())
    if not reader.faults:
        _together(config, reader.fault)
        if look:
            relay.look(config.relay, reader.fault)
    if reader.faults:
        raise ConfigError(sorted(reader.faults, key=lambda fault: (fault.line or 1 << 30, fault.key)), source)
    return typing.cast(Config, config)


class _Reader:
    def __init__(self, lines: dict[Place, int], base: Path | None) -> None:
        self.lines = lines
        self.base = base
        self.faults: list[Fault] = []

    def fault(self, place: Place, message: str) -> None:
        self.faults.append(Fault(line_of(self.lines, place), dotted(place), message))

    def table(self, kind: type[Any], tree: object, place: Place) -> Any:
        """Make one dataclass from one TOML table."""
        if not isinstance(tree, dict):
            self.fault(place, f"must be a table, written as [{dotted(place)}]")
            return kind()
        hints = typing.get_type_hints(kind)
        names = [f.name for f in settable(kind)]
        ruled = {f.name: rules(kind, f.name)["follows"] for f in dataclasses.fields(kind) if f.name not in names}
        values: dict[str, Any] = {}
        for key, value in tree.items():
            if key in ruled:
                self.fault((*place, key), f"is no setting of its own; set {ruled[key]}")
                continue
            if key not in names:
                self.fault((*place, key), f"no such {'setting' if place else 'section'}{near(key, names)}")
                continue
            origin = value.name if isinstance(value, _FromEnvironment) else ""
            try:
                plain = value.text if isinstance(value, _FromEnvironment) else value
                if origin:
                    plain = _from_text(hints[key], plain)
                values[key] = self.value(hints[key], plain, (*place, key), rules(kind, key))
            except Bad as error:
                if origin:
                    self.faults.append(Fault(0, origin, str(error)))
                else:
                    self.fault((*place, key), str(error))
        return kind(**values)

    def value(self, hint: Any, value: Any, place: Place, bounds: Mapping[str, Any]) -> Any:
        """Make one value of the hinted type; raises Bad."""
        if dataclasses.is_dataclass(hint):
            return self.table(typing.cast(type, hint), value, place)
        outer = typing.get_origin(hint)
        if outer is tuple:
            inner = typing.get_args(hint)[0]
            if not isinstance(value, list):
                raise Bad(f"must be a list, not {_kind(value)}")
            return tuple(self.value(inner, item, (*place, n), bounds) for n, item in enumerate(value))
        if outer is not None and issubclass(outer, Mapping):
            if not isinstance(value, dict):
                raise Bad(f"must be a table, not {_kind(value)}")
            inner = typing.get_args(hint)[1]
            keys = bounds.get("keys", "domain")
            found = {
                kinds.check(keys, key, None): self.value(inner, item, (*place, key), bounds)
                for key, item in value.items()
            }
            return types.MappingProxyType(found)
        if isinstance(hint, types.UnionType):
            hint = next(arm for arm in typing.get_args(hint) if arm is not type(None))
        checked = _scalar(hint, value, bounds)
        kind = bounds.get("kind")
        if kind and checked == "" and isinstance(place[-1], int):
            raise Bad("must not hold an empty text")
        return kinds.check(kind, checked, self.base) if kind and checked != "" else checked


class _FromEnvironment(NamedTuple):
    name: str
    text: str


def _with_environment(tree: dict[str, Any], env: Mapping[str, str], faults: list[Fault]) -> dict[str, Any]:
    """Lay the environment over the file: its values go first."""
    known = {PREFIX + f"{place[0]}_{'_'.join(place[1:])}".upper(): place for place in settings_paths()}
    merged: dict[str, Any] = {k: dict(v) if isinstance(v, dict) else v for k, v in tree.items()}
    for name, text in sorted(env.items()):
        if not name.startswith(PREFIX) or name.startswith(RESERVED):
            continue
        place = known.get(name)
        if place is None:
            faults.append(Fault(0, name, f"no such setting in the environment{near(name, list(known))}"))
            continue
        table = merged
        for part in place[:-1]:
            inner = table.get(part)
            table[part] = dict(inner) if isinstance(inner, dict) else {}
            table = table[part]
        table[place[-1]] = _FromEnvironment(name, text)
    return merged


def settings_paths() -> list[tuple[str, ...]]:
    """Every setting as (section, key), or (section, table, key); lists of tables count as one setting."""
    found: list[tuple[str, ...]] = []
    for section, kind in typing.get_type_hints(Config).items():
        for key, hint in typing.get_type_hints(kind).items():
            if dataclasses.is_dataclass(hint):
                found += [(section, key, field.name) for field in settable(typing.cast(type, hint))]
            else:
                found.append((section, key))
    return found


def _from_text(hint: Any, text: str) -> Any:
    """A value as the environment writes it: plain words, lists by commas, tables as TOML."""
    outer = typing.get_origin(hint)
    if outer is tuple and typing.get_args(hint)[0] is str:
        return [part.strip() for part in text.split(",") if part.strip()]
    if outer is tuple and not dataclasses.is_dataclass(typing.get_args(hint)[0]):
        text = f"[{text}]"
    if hint is str or (outer is None and hint not in (int, float, bool)):
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        raise Bad(f"cannot read {text!r} as {_NAMES.get(hint, 'a TOML value')}") from None


_NAMES: dict[Any, str] = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def _kind(value: object) -> str:
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "a list"
    return _NAMES.get(type(value), type(value).__name__)


def _scalar(hint: Any, value: Any, bounds: Mapping[str, Any]) -> Any:
    if hint is float and type(value) is int:
        value = float(value)
    if type(value) is not hint:
        raise Bad(f"must be {_NAMES.get(hint, str(hint))}, not {_kind(value)}")
    choices = bounds.get("choices")
    if choices and value not in choices:
        raise Bad(f"{value!r} is not one of {', '.join(choices)}{near(str(value), list(choices))}")
    low, high = bounds.get("low"), bounds.get("high")
    if low is None and hint in (int, float) and not bounds.get("kind"):
        low = 0
    if low is not None and value < low:
        raise Bad(f"{value} is below the least value, {low}")
    if high is not None and value > high:
        raise Bad(f"{value} is above the greatest value, {high}")
    if hint is str and any(ord(c) < 32 or ord(c) == 127 for c in value):
        raise Bad("must not hold control characters")
    return value


def _together(config: Config, fault: Callable[[Place, str], None]) -> None:
    """Rules that need several settings at once."""
    receive = config.receive
    if bool(receive.certificate) != bool(receive.key):
        missing = "key" if receive.certificate else "certificate"
        fault(("receive", "certificate" if receive.certificate else "key"), f"needs `{missing}` beside it")
    for n, listener in enumerate(receive.listeners):
        if listener.mode != "plain" and not receive.certificate:
            fault(("receive", "listeners", n, "mode"), f"{listener.mode!r} needs `certificate` and `key` in [receive]")
    for name in config.trust.also_speaks_for:
        from dmarcview_reports.organisation import is_suffix

        if is_suffix(name):
            fault(("trust", "also_speaks_for", name), "is a public suffix, below which anybody may have a name")
    if len(receive.subaddress) > 1:
        fault(("receive", "subaddress"), "must be one character, such as +")
    if not config.dashboard.prefix.startswith("/"):
        fault(("dashboard", "prefix"), "must begin with /")
    if config.alerts.webhook and not config.alerts.webhook_secret_file:
        fault(("alerts", "webhook"), "needs `webhook_secret_file` beside it; `openssl rand -hex 32` makes a key")
    relay.together(config.relay, fault)
    relay.shared_ports({"receive": receive.listeners, "relay": config.relay.listeners}, fault)


def near(word: str, words: list[str]) -> str:
    """`; did you mean X?` when a known word is close, else nothing."""
    found = difflib.get_close_matches(word, words, n=1, cutoff=0.6)
    return f"; did you mean {found[0]!r}?" if found else ""


def dotted(place: Place) -> str:
    """A place as people write it: `receive.listeners[0].port`."""
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
