"""The grid of a page, and the cards that stand for its rows on a phone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dash_ag_grid as dag
from dash import html

_COLUMN = {"resizable": True, "sortable": True, "suppressMovable": True, "filter": False, "cellDataType": False}
_OPTIONS = {
    "animateRows": False,
    "rowHeight": 52,
    "headerHeight": 40,
    "domLayout": "autoHeight",
    "pagination": True,
    "paginationPageSize": 25,
    "paginationPageSizeSelector": [25, 50, 100],
    "suppressCellFocus": False,
    "enableCellTextSelection": True,
    "ensureDomOrder": True,
    "suppressColumnVirtualisation": True,
}


def grid(name: str, columns: Sequence[dict[str, Any]]) -> list[Any]:
    """`{name}-grid` in `{name}-grid-box`, and the empty list `{name}-cards`. Rows are named by their field `id`."""
    return [
        html.Div(
            dag.AgGrid(
                id=f"{name}-grid",
                columnDefs=columns,
                rowData=[],
                getRowId="params.data.id",
                defaultColDef=_COLUMN,
                dashGridOptions={**_OPTIONS, "gridId": name},
                className="ag-theme-quartz",
                style={"height": None},
            ),
            id=f"{name}-grid-box",
            className="grid-box",
        ),
        html.Ul(id=f"{name}-cards", className="cards"),
    ]
