"""Turns a tree of `html` components into one component: text that only stands there needs no wiring.

Dash wires every element to its store; a table of 500 cells then holds the browser for seconds. Pages are still written
with `dash.html`, and the callbacks fold what they send. The other half is `Plain` in assets/behaviour.js.
"""

from __future__ import annotations

from typing import Any

from dash import dcc, html
from dash.development.base_component import Component

# what an element may carry; nothing here runs, and React writes all text as text
_ALLOWED = frozenset(
    ("id", "className", "style", "title", "role", "hidden", "href", "download", "scope", "colSpan", "tabIndex", "lang")
)
_ALLOWED_STARTS = ("aria-", "data-")
_LEFT_OUT = ("open",)  # a closed `details` stays as its reader left it


class Plain(Component):
    """A drawn tree: `[tag, attributes, children...]`, a text, or a list of these below a missing tag."""

    _children_props: list[str] = []  # noqa: RUF012 -- as the base class has it
    _base_nodes = ["children"]  # noqa: RUF012
    _namespace = "dmarcview"
    _type = "Plain"

    def __init__(self, tree: Any) -> None:
        self._prop_names = ["tree"]
        self._valid_wildcard_attributes: list[str] = []
        self.available_properties = self._prop_names
        self.available_wildcard_properties: list[str] = []
        super().__init__(tree=tree)  # type: ignore[no-untyped-call]


def plain(content: Any) -> Plain | None:
    """The folded form of html components, texts, None, or a list of them. Raises TypeError for what needs wiring."""
    return None if content is None or content == "" else Plain(_tree(content))


def _tree(node: Any) -> Any:
    if isinstance(node, str):
        return node
    if isinstance(node, (int, float)) and not isinstance(node, bool):
        return str(node)
    if isinstance(node, (list, tuple)):
        return [None, None, *(_tree(child) for child in node if child is not None)]
    if type(node) not in _DRAWN:
        raise TypeError(f"{type(node).__name__} needs wiring and cannot be folded")
    props: dict[str, Any] = dict(node.to_plotly_json()["props"])
    children = props.pop("children", None)
    kept = {k: v for k, v in props.items() if v is not None and k not in _LEFT_OUT}
    for name, value in kept.items():
        if (name not in _ALLOWED and not name.startswith(_ALLOWED_STARTS)) or (
            name == "id" and not isinstance(value, str)
        ):
            raise TypeError(f"{type(node).__name__} with {name} cannot be folded")
    inside = type(node) is dcc.Link
    listed = children if isinstance(children, (list, tuple)) else [children]
    tag = "a" if inside else type(node).__name__.lower()
    return [tag, kept | ({"inside": True} if inside else {}), *(_tree(c) for c in listed if c is not None)]


# a set: there are 130 of them, and to ask whether something is an instance of one asks each
_DRAWN: frozenset[type[Any]] = frozenset(
    (dcc.Link, *(c for c in vars(html).values() if isinstance(c, type) and issubclass(c, Component)))
)
