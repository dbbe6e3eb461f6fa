"""What a visitor sees when a callback fails: a sentence in place, a way to try again, an id that is in the log."""

from __future__ import annotations

import logging
import secrets
from typing import Any

from dash import ctx, html, set_props
from sqlalchemy.exc import SQLAlchemyError

from dmarcview.dashboard import text
from dmarcview.dashboard.parts import hidden

log = logging.getLogger(__name__)
WORDS_CAP = 300  # characters of an error's own sentence


def place() -> html.Div:
    """Where the sentence comes; hidden until something fails."""
    return html.Div(
        [
            hidden("✕", "mark mark-bad"),
            html.P(id="fault-words"),
            html.Button("Try again", id="fault-retry", className="quiet", n_clicks=0),
        ],
        id="fault",
        className="fault",
        role="alert",
        hidden=True,
    )


def words(error: Exception, mark: str) -> str:
    """The sentence: what a named error says, or that something unforeseen happened; always the id."""
    from dmarcview.store import StoreError

    if isinstance(error, StoreError):
        said = f"The store does not answer: {text.show(str(error), WORDS_CAP)}."
    elif isinstance(error, (SQLAlchemyError, OSError)):
        said = "The store does not answer just now."
    else:
        said = "A part of this page could not be drawn."
    return f"{said} What you see may be old. The log has the details under the id {mark}."


def caught(error: Exception) -> None:
    """Log the failure of a callback and tell the visitor; what was drawn before stays."""
    mark = secrets.token_hex(4)
    outputs = ctx.outputs_list
    listed = outputs if isinstance(outputs, list) else [outputs]
    names: list[Any] = [one.get("id") for one in listed if isinstance(one, dict)]
    log.error("id %s: a page could not draw %s", mark, names[:3], exc_info=error)
    set_props("fault-words", {"children": words(error, mark)})
    set_props("fault", {"hidden": False})
