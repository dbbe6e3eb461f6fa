"""The reference pages of docs/reference, made from the code itself; a test holds the files equal to this."""

from __future__ import annotations

import argparse
import dataclasses
import typing
from collections.abc import Mapping
from typing import Any

from dmarcview.config.settings import Config, rules, settable
from dmarcview.config.show import written

_MADE = "<!-- Made by `make reference` from the code; edit the code, not this page. -->"
_TYPES: dict[Any, str] = {int: "whole number", float: "number", bool: "true or false", str: "text"}


def config_page() -> str:
    """Every setting with type, default, bounds and meaning."""
    lines = [
        "# Settings",
        _MADE,
        "",
        "One TOML file: the one that `--config` or `DMARCVIEW_CONFIG` names, else `./dmarcview.toml`, else",
        "`/etc/dmarcview.toml`. Every setting has a default; a relative path starts at the folder of the file.",
        "`dmarcview config check` lists every fault with its line; `dmarcview config show` prints what holds.",
        "",
        "Each setting can be given in the environment as `DMARCVIEW_<SECTION>_<KEY>`, which goes before the file:",
        "`DMARCVIEW_DASHBOARD_PORT=8081`, `DMARCVIEW_DOMAINS_WATCHED=example.org,example.net` (lists by commas), and",
        "`DMARCVIEW_RECEIVE_LISTENERS='[{port = 25}]'` (tables as TOML).",
        "",
    ]
    for section, kind in typing.get_type_hints(Config).items():
        lines += [f"## [{section}]", "", *_section(kind), ""]
        inner = {name: hint for name, hint in typing.get_type_hints(kind).items() if _table(hint)}
        for name, hint in inner.items():
            if dataclasses.is_dataclass(hint):
                lines += [f"### [{section}.{name}]", "", *_section(typing.cast(type, hint)), ""]
        for name, hint in inner.items():
            if not dataclasses.is_dataclass(hint):
                lines += [f"### [[{section}.{name}]]", "", *_section(typing.get_args(hint)[0]), ""]
    return "\n".join(lines).rstrip() + "\n"


def _table(hint: Any) -> bool:
    """Whether a setting is a table or a list of tables."""
    return dataclasses.is_dataclass(hint) or any(dataclasses.is_dataclass(arm) for arm in typing.get_args(hint))


def _section(kind: type) -> list[str]:
    hints = typing.get_type_hints(kind)
    rows = ["| setting | type | default | meaning |", "| --- | --- | --- | --- |"]
    for field in settable(kind):
        if dataclasses.is_dataclass(hints[field.name]):
            continue
        default = field.default if field.default is not dataclasses.MISSING else {}
        listens = field.name == "listeners"
        shown = f"one on loopback, port {default[0].port}" if listens else f"`{written(kind, field.name, default)}`"
        text = f"{field.metadata['help']}{_bounds(rules(kind, field.name))}".replace("|", "\\|")
        rows.append(f"| `{field.name}` | {_type(hints[field.name])} | {shown} | {text} |")
    return [(kind.__doc__ or "").strip().split("\n\n")[0].replace("\n    ", " "), "", *rows]


def _bounds(found: Mapping[str, Any]) -> str:
    if "choices" in found:
        return f" One of {', '.join(f'`{word}`' for word in found['choices'] if word)}."
    low, high = found.get("low"), found.get("high")
    if high and "octal" in found:
        high = f"0o{high:o}"
    if low and high:
        return f" From {low} to {high}."
    return f" At least {low}." if low else f" At most {high}." if high else ""


def _type(hint: Any) -> str:
    outer = typing.get_origin(hint)
    if outer is tuple:
        inner = typing.get_args(hint)[0]
        return "tables" if dataclasses.is_dataclass(inner) else f"list of {_TYPES[inner]}"
    if outer is not None:
        inner = typing.get_args(hint)[1]
        return f"table of {'days' if inner is int else 'text' if inner is str else 'lists of text'} by domain"
    return _TYPES.get(hint, str(hint))


def commands_page() -> str:
    """Every command with its options."""
    from dmarcview import syntax

    lines = [
        "# Commands",
        _MADE,
        "",
        "Tables are for people; with `--json` each command prints JSON for programs.",
        "",
        "| exit code | meaning |",
        "| --- | --- |",
        "| 0 | all taken, all well |",
        "| 1 | something was refused, or a check failed |",
        "| 2 | wrong use: a command, an option or a setting that does not fit |",
        "| 3 | this machine is at fault: disk full, store out of reach |",
        "| 130 | stopped from the keyboard |",
        "",
    ]
    actions = syntax.parser()._subparsers
    assert actions is not None
    choices: dict[str, argparse.ArgumentParser] = dict(actions._group_actions[0].choices or {})
    for command in syntax.COMMANDS:
        lines += [f"## {command.name}", "", command.help, "", "| argument | meaning |", "| --- | --- |"]
        for action in choices[command.name]._actions:
            if isinstance(action, argparse._HelpAction):
                continue
            names = ", ".join(f"`{name}`" for name in action.option_strings) or f"`{_name(action)}`"
            words = f" One of {', '.join(f'`{c}`' for c in action.choices)}." if action.choices else ""
            lines.append(f"| {names} | {_sentence(action.help)}{words} |".replace("|  ", "| "))
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _name(action: argparse.Action) -> str:
    return action.metavar if isinstance(action.metavar, str) else action.dest.upper()


def _sentence(text: str | None) -> str:
    return text[0].upper() + text[1:] + "." if text else ""


def columns_page() -> str:
    """The public columns of a record row, and of sent against reported."""
    from dmarcview.reconcile.words import CODES as FINDINGS
    from dmarcview.reconcile.words import COLUMNS as SENT_AGAINST_REPORTED
    from dmarcview_reports.schema import COLUMNS

    lines = [
        "# Columns",
        _MADE,
        "",
        "One row is one record of one report; every rate weighs by `count`. These are the columns, in order, of",
        "`Store.records()`, of `dmarcview export` and of the pages. Times are UTC, periods half-open; null means that",
        "the report did not say. `said by`: the report, its record, or the house (looked up here; may change later).",
        "",
        "| column | type | said by | meaning |",
        "| --- | --- | --- | --- |",
    ]
    lines += [f"| `{c.name}` | {c.type} | {c.origin} | {c.help} |" for c in COLUMNS]
    lines += [
        "",
        "`texts` are lists of text. `dkim` is a list of {domain, selector, result, human_result}; `spf` a list of",
        "{domain, scope, result, human_result}.",
        "",
        "## Sent against reported",
        "",
        "One row is one day, source, From, selector and receiver: `Store.reconcile()` and the `rows` of",
        "`dmarcview reconcile --json`. Missing numbers are NaN here and null there.",
        "",
        "| column | type | meaning |",
        "| --- | --- | --- |",
        *(f"| `{name}` | {kind} | {text} |" for name, (kind, text) in SENT_AGAINST_REPORTED.items()),
        "",
        "`findings` are of these; a finding of `dmarcview reconcile` sums them over the days:",
        "",
        "| code | meaning | first check |",
        "| --- | --- | --- |",
        *(f"| `{code}` | {words.meaning} | {words.check} |" for code, words in FINDINGS.items()),
    ]
    return "\n".join(lines) + "\n"


def codes_page() -> str:
    """Warnings and refusals."""
    from dmarcview_reports.vocab import DROPS, REFUSALS, WARNINGS

    lines = ["# Codes", _MADE, "", "Codes are stable: scripts may rely on them.", "", "## Refusals", ""]
    lines += ["What could not become rows. The raw input is kept: `dmarcview refused`.", ""]
    lines += ["| code | meaning |", "| --- | --- |", *(f"| `{code}` | {text} |" for code, text in REFUSALS.items())]
    lines += ["", "## Warnings", "", "What was repaired, and what was dropped (*).", ""]
    lines += ["| code | meaning |", "| --- | --- |"]
    lines += [f"| `{code}`{' *' if code in DROPS else ''} | {text} |" for code, text in WARNINGS.items()]
    return "\n".join(lines) + "\n"


PAGES = {"config": config_page, "commands": commands_page, "columns": columns_page, "codes": codes_page}
