"""Record rows piece by piece, for exports that may be larger than memory."""

# ruff: noqa: S608 - SQL is put together from our own constants; values from outside are parameters
from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import select

from dmarcview.store.tables import reports
from dmarcview_reports.schema import COLUMNS

from .filters import SOURCE_CLASS, Filters, over_periods
from .traffic import JOIN, window

if TYPE_CHECKING:
    from dmarcview.store import Store

PIECE = 50_000  # rows


def record_batches(store: Store, filters: Filters) -> Iterator[Any]:
    """Arrow record batches of `query.records`: the columns of `schema.COLUMNS`, each report's rows together."""
    asked = over_periods(filters)
    house = {c.name: f's."{c.name}"' for c in COLUMNS if c.origin == "house"}
    house["source_class"] = f"{SOURCE_CLASS} as source_class"
    listed = ", ".join(house.get(c.name, f'c."{c.name}"') for c in COLUMNS)
    sql = (
        f"select {listed} from records c {JOIN} where {asked.where} "
        'order by c.domain, c."begin", c.report_key, c.source_ip, c."count" desc'
    )
    store.rollup.ready_sources(store.ledger)
    used = {name: value for name, value in asked.params.items() if f"${name}" in sql}
    with store.engine.cursor() as cursor:
        question = store.engine.over(cursor, window(store, filters), sql)
        yield from cursor.sql(question, params=used).to_arrow_reader(PIECE)


def report_errors(store: Store) -> dict[str, list[str]]:
    """What reporters said went wrong on their side (`report_metadata/error`), by report key; only where they did."""
    with store.ledger.read() as conn:
        found = conn.execute(select(reports.c.report_key, reports.c.errors).where(reports.c.errors != "[]"))
        return {key: orjson.loads(errors) for key, errors in found}
