"""Where a long answer may be cut: spans of whole reports in the order of exports, each of a bounded number of rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import collate, select

from dmarcview.store.tables import reports

from .filters import Filters

if TYPE_CHECKING:
    from dmarcview.store import Store

FETCHED = 10_000  # reports read from the ledger at once
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Key(NamedTuple):
    """A report's place in the order of exports; `begin` in seconds since 1970."""

    domain: str
    begin: int
    report_key: str


@dataclass(frozen=True, slots=True)
class Span:
    """The reports after `low` up to and with `high`; None is no bound. `alone`: only `high`, too large for a piece."""

    low: Key | None
    high: Key | None
    alone: bool = False

    def where(self) -> tuple[str, dict[str, Any]]:
        """The condition on records `c`. Its plain bounds say nothing new: by them DuckDB passes over row groups."""
        parts: list[str] = []
        params: dict[str, Any] = {}
        for name, key, sign in (("low", self.low, ">"), ("high", self.high, "<")):
            if key is None:
                continue
            last = f"c.report_key {sign}{'=' if name == 'high' else ''} ${name}_key"
            parts += [
                f"c.domain {sign}= ${name}_domain",
                f'(c.domain {sign} ${name}_domain or c."begin" {sign} ${name}_begin'
                f' or (c."begin" = ${name}_begin and {last}))',
            ]
            params |= {
                f"{name}_domain": key.domain,
                f"{name}_begin": _EPOCH + timedelta(seconds=key.begin),
                f"{name}_key": key.report_key,
            }
        if self.low is not None and self.high is not None and self.low.domain == self.high.domain:
            parts.append('c."begin" between $low_begin and $high_begin')
        return " and ".join(parts) or "true", params

    def seconds(self, filters: Filters) -> tuple[int | None, int | None]:
        """The window of files that may hold these reports: first second, and the second after the last."""
        begin, end = filters.begin, filters.end
        if self.low is not None and self.high is not None and self.low.domain == self.high.domain:
            begin = max(self.low.begin, self.low.begin if begin is None else begin)
            end = min(self.high.begin + 1, self.high.begin + 1 if end is None else end)
        return begin, end


def spans(store: Store, filters: Filters, rows: int) -> list[Span]:
    """All reports of the filters, in order, as spans of at most twice `rows` records, or of one report alone.

    Ask after the snapshot was taken: reports that came in since then make a span smaller than it says, nothing else.
    """
    c = reports.c
    with store.ledger.read() as conn:
        plain = "C" if conn.dialect.name == "postgresql" else "BINARY"  # the order of bytes, as DuckDB has it
        query = select(c.domain, c.begin, c.report_key, c.records).order_by(
            collate(c.domain, plain), c.begin, collate(c.report_key, plain)
        )
        if filters.domains is not None:
            query = query.where(c.domain.in_(filters.domains))
        if filters.end is not None:
            query = query.where(c.begin < filters.end)
        if filters.begin is not None:
            query = query.where((c.end > filters.begin) | (c.begin >= filters.begin))
        found = conn.execute(query.execution_options(yield_per=FETCHED))
        return list(cut(((Key(*r[:3]), r[3]) for r in found), rows))


def cut(sizes: Iterable[tuple[Key, int]], rows: int) -> Iterator[Span]:
    """Spans without gaps from keys in order with their numbers of records; the first and the last have no bound."""
    low: Key | None = None
    last: Key | None = None
    held = 0
    for key, size in sizes:
        if size > rows:
            if last != low:
                yield Span(low, last)
                low = last
            yield Span(low, key, alone=True)
            low, held = key, 0
        else:
            held += size
            if held >= rows:
                yield Span(low, key)
                low, held = key, 0
        last = key
    yield Span(low, None)
