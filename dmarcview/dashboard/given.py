"""What a browser hands over, before anything works with it: the body of a callback request, and single values.

A page of ours sends what Dash wrote for it. Anybody else may send any JSON, so that shape and types are checked
here, once, and the code behind may trust them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

MOST_WORD = 2_000  # characters of a text that a page sends: a query string is the longest
MOST_NAME = 500  # characters of the name of a component
MOST_ITEMS = 50  # values of one request, and components behind one wildcard
_MOST_CLICKS = 1_000_000


def word(value: Any, most: int = MOST_WORD) -> str:
    """A text of at most `most` characters; "" for what is no text or cannot be written as UTF-8."""
    if not isinstance(value, str):
        return ""
    cut = value[:most]
    return "" if any("\ud800" <= char <= "\udfff" for char in cut) else cut


def clicks(value: Any) -> int:
    """How often a button was pressed; 0 for what is no such number."""
    return value if type(value) is int and 0 < value < _MOST_CLICKS else 0


def two_days(value: Any) -> list[str] | None:
    """The two texts of a picked range; None while there are not two."""
    found = [word(day, 10) for day in value] if isinstance(value, list) and len(value) == 2 else []
    return found if found and all(found) else None


def fits(body: Any, known: Mapping[str, Mapping[str, Any]]) -> bool:
    """True when `body` asks for a callback of `known` (Dash's `callback_map`) with the inputs it declares."""
    if not isinstance(body, dict) or not isinstance(body.get("output"), str):
        return False
    wanted = known.get(body["output"])
    if wanted is None or "callback" not in wanted:  # without one it runs in the browser alone
        return False
    return (
        _all_fit(body.get("inputs"), wanted["inputs"])
        and _all_fit(body.get("state", []), wanted["state"])
        and _outputs_fit(body.get("outputs"), body["output"])
        and _changed_fit(body.get("changedPropIds", []))
    )


def _all_fit(items: Any, declared: list[dict[str, Any]]) -> bool:
    return (
        isinstance(items, list)
        and len(items) == len(declared)
        and all(_fits_one(item, wanted) for item, wanted in zip(items, declared, strict=True))
    )


def _fits_one(item: Any, wanted: dict[str, Any]) -> bool:
    if not str(wanted["id"]).startswith("{"):
        return isinstance(item, dict) and (item.get("id"), item.get("property")) == (wanted["id"], wanted["property"])
    names = sorted(json.loads(wanted["id"]))  # a wildcard: one entry for each component that answers to it
    return (
        isinstance(item, list)
        and len(item) <= MOST_ITEMS
        and all(isinstance(one, dict) and one.get("property") == wanted["property"] for one in item)
        and all(_is_pattern(one.get("id"), names) for one in item)
    )


def _is_pattern(found: Any, names: list[str]) -> bool:
    return isinstance(found, dict) and sorted(found) == names and all(map(word, found.values()))


def _outputs_fit(outputs: Any, output: str) -> bool:
    """True for the very pieces that the key of a callback lists: `..a.b...c.d..`, or `a.b` for a single one."""
    many = output.startswith("..")
    names = output[2:-2].split("...") if many else [output]
    listed = outputs if many else [outputs]
    return (
        isinstance(listed, list)
        and len(listed) == len(names)
        and all(_is_output(one, name) for one, name in zip(listed, names, strict=True))
    )


def _is_output(found: Any, name: str) -> bool:
    """Where two callbacks write one property, Dash adds a mark behind an @, which the browser may leave out."""
    known, _, prop = name.rpartition(".")
    return (
        isinstance(found, dict)
        and found.get("id") == known
        and isinstance(found.get("property"), str)
        and found["property"].split("@")[0] == prop.split("@")[0]
    )


def _changed_fit(changed: Any) -> bool:
    return isinstance(changed, list) and len(changed) <= MOST_ITEMS and all(_names_a_component(one) for one in changed)


def _names_a_component(name: Any) -> bool:
    """`id.property`; the id of a component with a pattern is the JSON of its dictionary."""
    if not 0 < len(word(name, MOST_NAME + 1)) <= MOST_NAME:
        return False
    found, dot, _ = name.rpartition(".")
    if not dot or not found.startswith("{"):
        return bool(dot)
    try:
        return isinstance(json.loads(found), dict)
    except (ValueError, RecursionError):
        return False
