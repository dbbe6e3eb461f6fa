"""How a figure comes into a notebook: as data that JupyterLab draws itself, and as HTML that carries its own Plotly.

Plotly's own renderers name an address of its maker in each figure, or fetch the library from there. This one names
none: the HTML, which `nbconvert` and plain viewers show, uses the same file that the dashboard serves.
"""

from __future__ import annotations

import uuid
from importlib.resources import files
from typing import Any

import orjson
import plotly.io as pio
from plotly.io.base_renderers import MimetypeRenderer

NAME = "dmarcview"
MIME = "application/vnd.plotly.v1+json"
LIBRARY = ("assets", "plotly-cartesian-4.1.1.min.js")
CONFIG: dict[str, Any] = {
    "displaylogo": False,
    "showSendToCloud": False,
    "plotlyServerURL": "",
    "responsive": True,
    "modeBarButtonsToRemove": ["select2d", "lasso2d"],
}


class Offline(MimetypeRenderer):  # type: ignore[misc] # Plotly has no types
    """A renderer of Plotly's kind."""

    def activate(self) -> None:
        """Bring the library into the notebook; Plotly calls this before the first figure."""
        from IPython.display import HTML, display

        display(HTML(f"<script>{library()}</script>"))  # type: ignore[no-untyped-call] # IPython has no types

    def to_mimebundle(self, fig_dict: dict[str, Any]) -> dict[str, Any]:
        """The figure as data and as HTML."""
        figure = orjson.loads(pio.to_json(fig_dict, validate=False, remove_uids=False))
        drawn = {"data": figure["data"], "layout": figure["layout"], "config": CONFIG}
        return {MIME: drawn, "text/html": page(drawn)}


def page(drawn: dict[str, Any]) -> str:
    """HTML that draws a figure where the library is there."""
    place, height = f"figure-{uuid.uuid4().hex}", int(drawn["layout"].get("height") or 400)
    text = orjson.dumps(drawn).decode().replace("<", "\\u003c")  # no text in it ends the script
    return (
        f'<div id="{place}" style="height:{height}px"></div><script>{{const drawn = {text};'
        f'if (window.Plotly) Plotly.newPlot("{place}", drawn.data, drawn.layout, drawn.config);}}</script>'
    )


def library() -> str:
    """The source of the bundled Plotly."""
    return files("dmarcview.dashboard").joinpath(*LIBRARY).read_text(encoding="utf-8")


def use() -> None:
    """Draw all figures of this process so."""
    if pio.renderers.default != NAME:
        pio.renderers[NAME] = Offline()
        pio.renderers.default = NAME
