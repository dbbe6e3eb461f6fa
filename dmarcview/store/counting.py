"""Sums over numbered rows: messages by day, domain, source and reporter, for one choice of rows; whole numbers only."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass
from typing import Any, NamedTuple

from .digest import Rows, add, bound
from .engine import Window
from .numbers import CLASSES
from .rollup import Piece, Rollup, Weights, narrow

NEVER, LATE = 2**31 - 1, -(2**31)  # days before the first row has come
PART = 100_000  # sources looked at closely together
FEW = 64  # sources that are looked up one by one, not searched for among all rows


@dataclass(frozen=True, slots=True)
class Choice:
    """Which rows count. `since` and `until` are days since 1970; `result` is SQL over KIND of a digest."""

    since: int | None = None
    until: int | None = None
    domains: tuple[str, ...] | None = None
    submitter: str | None = None
    network: str | None = None
    source_class: str | None = None
    result: str = "true"


class _Found(NamedTuple):
    """Chosen rows of one file, by numbers of the process but for `source`, which is the file's own."""

    source: Any
    submitter: Any
    kind: Any
    messages: Any
    first: Any
    last: Any


class Counting:
    """One question: a window of a ready rollup, a choice, and the sums asked for as SQL."""

    def __init__(self, rollup: Rollup, window: Window, choice: Choice, sums: str) -> None:
        self.rollup, self.window, self.choice = rollup, window, choice
        rollup.number(window)
        self.weights: Weights = rollup.weights(sums, choice.result)
        self.source = self._sources()
        self.few: Any = None if self.source is None else _few(self.source)
        self._near: list[tuple[Piece, _Found]] | None = None

    def of(self, sums: str) -> Counting:
        """The same question about other sums; the rows of a few sources are read once for all."""
        other = copy(self)
        other.weights = self.rollup.weights(sums, self.choice.result)
        return other

    def _sources(self) -> Any:
        """True for each source that counts; None when all do."""
        import numpy as np

        known, choice, mark = self.rollup.sources, self.choice, None
        if choice.domains is not None:
            mark = known.of_domains(choice.domains)
        if choice.network is not None:
            some = known.of_network(choice.network)
            mark = some if mark is None else mark & some
        if choice.source_class is not None:
            some = known.source_class == CLASSES.index(choice.source_class)
            mark = some if mark is None else mark & some
        return None if mark is None else np.asarray(mark, dtype=bool)

    def _chosen(self, piece: Piece, rows: Rows, only: Any) -> _Found:
        """Rows that count, of sources that `only` (True by number of the process) leaves."""
        import numpy as np

        masks = []
        if only is not None:
            masks.append(only[piece.source][rows.source])
        kinds = self.weights.chosen[piece.kind]
        if not kinds.all():
            masks.append(kinds[rows.kind])
        if self.choice.submitter is not None:
            number = self.rollup.submitters.known(self.choice.submitter)
            masks.append((piece.submitter == (-1 if number is None else number))[rows.submitter])
        columns: tuple[Any, ...] = (rows.source, rows.submitter, rows.kind, rows.messages, rows.first, rows.last)
        if masks:
            at = np.flatnonzero(np.logical_and.reduce(masks))
            columns = tuple(c[at] for c in columns)
        source, submitter, kind, *rest = columns
        return _Found(source, piece.submitter[submitter], piece.kind[kind], *rest)

    def _rows(self, only: Any, *, by_day: bool = False) -> Iterator[tuple[Piece, _Found]]:
        """The rows of the window that count, file by file: a whole file over all its days unless `by_day`.

        `only` leaves some of the sources that count. Rows of a few sources come by day in any case.
        """
        if self.few is not None:
            yield from self._of_few(only)
            return
        since, until = self.choice.since, self.choice.until
        for piece in self.rollup.pieces(self.window):
            few = None if only is None else _few(only[piece.source])
            if few is not None and not len(few):
                continue
            whole = not by_day and piece.within(since, until)
            found = self.rollup.digest(piece, days=not whole)
            rows = found.whole(few) if whole else found.between(since, until, few)
            chosen = self._chosen(piece, rows, only if few is None else None)
            if len(chosen.messages):
                yield piece, chosen

    def _of_few(self, only: Any) -> Iterator[tuple[Piece, _Found]]:
        """The rows of the few sources that count and that `only` leaves."""
        import numpy as np

        if self._near is None:
            self._near = []
            for piece in self.rollup.pieces(self.window):
                own = np.flatnonzero(np.isin(piece.source, self.few))
                if len(own):
                    rows = self.rollup.digest(piece).between(self.choice.since, self.choice.until, own)
                    self._near.append((piece, self._chosen(piece, rows, None)))
        for piece, r in self._near:
            at = np.flatnonzero(only[piece.source[r.source]])
            if len(at):
                yield piece, _Found(*(column[at] for column in r))

    # by day, domain and class

    def _days(self) -> Iterator[tuple[Any, Any, Any, Any, Any]]:
        """Day, domain, class, kind and messages of the rows that count."""
        import numpy as np

        known, choice = self.rollup.sources, self.choice
        if choice.submitter is not None or choice.network is not None:
            for piece, r in self._rows(self.source, by_day=True):
                source = piece.source[r.source]
                yield r.first, known.domain[source], known.source_class[source], r.kind, r.messages
            return
        domains = None
        if choice.domains is not None:
            numbers = [n for d in choice.domains if (n := known.domains.known(d)) is not None]
            domains = np.zeros(len(known.domains), dtype=bool)
            domains[numbers] = True
        for days in self.rollup.days(self.window):
            masks = [] if choice.since is None else [days.day >= choice.since]
            if choice.until is not None:
                masks.append(days.day < choice.until)
            if domains is not None:
                masks.append(domains[days.domain])
            if choice.source_class is not None:
                masks.append(days.source_class == CLASSES.index(choice.source_class))
            if not self.weights.chosen.all():
                masks.append(self.weights.chosen[days.kind])
            if masks:
                at = np.flatnonzero(np.logical_and.reduce(masks))
                yield tuple(c[at] for c in days)
            else:
                yield days

    def by_day(self) -> Any:
        """Arrow table of `day` and the sums, for days with messages, oldest first."""
        import numpy as np
        import pyarrow as pa

        kinds = len(self.rollup.kinds)
        sums: dict[int, Any] = {}
        for day, _, of_class, kind, messages in self._days():
            if not len(day):
                continue
            first = int(day.min())
            size = int(day.max()) - first + 1
            cells = np.zeros(size * len(CLASSES) * kinds, dtype=np.int64)
            at = (day.astype(np.int64) - first) * (len(CLASSES) * kinds) + of_class * np.int64(kinds) + kind
            add(cells, at, messages)
            by_day = cells.reshape(size, -1)
            for i in np.flatnonzero(by_day.any(axis=1)).tolist():
                sums[first + i] = sums[first + i] + by_day[i] if first + i in sums else by_day[i]
        days = sorted(sums)
        found = np.array([sums[d] for d in days], dtype=np.int64).reshape(len(days), len(CLASSES) * kinds)
        return pa.table({"day": _days(days), **self._weighed(found)})

    def by_domain(self, *, classes: bool = False) -> Any:
        """Arrow table of `domain` (with `classes`, also `source_class`), the sums, first_day and last_day."""
        import numpy as np
        import pyarrow as pa

        kinds, known = len(self.rollup.kinds), self.rollup.sources
        n = len(known.domains) * len(CLASSES)
        cells = np.zeros(n * kinds, dtype=np.int64)
        first, last = np.full(n, NEVER), np.full(n, LATE)
        for day, domain, of_class, kind, messages in self._days():
            at = domain.astype(np.int64) * len(CLASSES) + of_class
            add(cells, at * kinds + kind, messages)
            bound(first, last, at, day, day)
        shape = (len(known.domains), len(CLASSES))
        by_class, first, last = cells.reshape(*shape, kinds), first.reshape(shape), last.reshape(shape)
        keys = {}
        if classes:
            domain, of_class = np.nonzero(by_class.any(axis=2))
            sums = np.einsum("nk,nkm->nm", by_class[domain, of_class], self.weights.sums[of_class])
            first, last = first[domain, of_class], last[domain, of_class]
            keys["source_class"] = pa.array(CLASSES).take(pa.array(of_class))
        else:
            (domain,) = np.nonzero(by_class.any(axis=(1, 2)))
            sums = np.einsum("nck,ckm->nm", by_class[domain], self.weights.sums)
            first, last = first.min(axis=1)[domain], last.max(axis=1)[domain]
        keys = {"domain": pa.array(known.domains.texts, pa.string()).take(pa.array(domain)), **keys}
        return pa.table({**keys, **self._named(sums), "first_day": _days(first), "last_day": _days(last)})

    def _weighed(self, cells: Any) -> dict[str, Any]:
        """The sums of rows of messages by class and kind, or by kind when no sum depends on the class."""
        weights = self.weights.sums.reshape(-1, len(self.weights.names))
        return self._named(cells @ weights[: cells.shape[1]])

    def _named(self, sums: Any) -> dict[str, Any]:
        return {name: sums[:, i] for i, name in enumerate(self.weights.names)}

    # by source

    def by_source(self, limit: int | None) -> Any:
        """Arrow table of the sources with the most messages, these first.

        Columns: domain, source_ip, the sums, reporters, first_day, last_day. Sources with as many messages come by
        domain and address.
        """
        import numpy as np
        import pyarrow as pa

        known = self.rollup.sources
        total = np.zeros(len(known), dtype=np.int64)
        if self.few is not None:
            for piece, r in self._rows(self.source):
                add(total, piece.source[r.source], r.messages)
        else:
            for piece, own in self._totals():
                total[piece.source] += own
            if self.source is not None:
                total[~self.source] = 0
        top = self._top(total, limit)
        parts = [self._closely(top[i : i + PART]) for i in range(0, max(len(top), 1), PART)]
        return pa.concat_tables(parts)

    def _totals(self) -> Iterator[tuple[Piece, Any]]:
        """The messages of each source of each file; of sources that do not count, any number."""
        import numpy as np

        result = None if self.choice.submitter is not None else self.choice.result
        for piece in self.rollup.pieces(self.window):
            whole = piece.within(self.choice.since, self.choice.until)
            if whole and result in piece.totals:
                yield piece, piece.totals[result]
                continue
            found = self.rollup.digest(piece, days=not whole)
            rows = found.whole() if whole else found.between(self.choice.since, self.choice.until)
            chosen = self._chosen(piece, rows, None if whole and result else self.source)
            own = np.zeros(len(piece.source), dtype=np.int64)
            add(own, chosen.source, chosen.messages)
            if whole and result:
                piece.totals[result] = narrow(own)
            yield piece, own

    def _top(self, total: Any, limit: int | None) -> Any:
        """The sources with the most messages, in order."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        at = np.flatnonzero(total)
        if limit is not None and len(at) > limit:
            if limit <= 0:
                return at[:0]
            least = np.partition(total[at], len(at) - limit)[len(at) - limit]
            at = at[total[at] >= least]
        ips = self.rollup.sources.ips.take(pa.array(at))
        order = pc.sort_indices(
            pa.table({"n": total[at], "domain": self._domain_names(at), "ip": ips}),
            sort_keys=[("n", "descending"), ("domain", "ascending"), ("ip", "ascending")],
        )
        return at[order.to_numpy()[:limit]]

    def _domain_names(self, sources: Any) -> Any:
        import pyarrow as pa

        known = self.rollup.sources
        return pa.array(known.domains.texts, pa.string()).take(pa.array(known.domain[sources]))

    def _closely(self, top: Any) -> Any:
        """All columns of these sources."""
        import numpy as np
        import pyarrow as pa

        known, kinds, n = self.rollup.sources, len(self.rollup.kinds), len(top)
        place = np.full(len(known), -1, dtype=np.int64)
        place[top] = np.arange(n)
        cells = np.zeros(n * kinds, dtype=np.int64)
        reporters = len(self.rollup.submitters)
        seen = np.zeros(n * reporters, dtype=bool)
        first, last = np.full(n, NEVER), np.full(n, LATE)
        for piece, r in self._rows(place >= 0):
            at = place[piece.source][r.source]
            add(cells, at * kinds + r.kind, r.messages)
            seen[at * reporters + r.submitter] = True
            bound(first, last, at, r.first, r.last)
        return pa.table(
            {
                "domain": self._domain_names(top),
                "source_ip": known.ips.take(pa.array(top)),
                **self._weighed(cells.reshape(n, kinds)),
                "reporters": seen.reshape(n, reporters).sum(axis=1),
                "first_day": _days(first),
                "last_day": _days(last),
            }
        )

    # by reporter

    def by_submitter(self) -> Any:
        """Arrow table of `submitter`, the sums, domains (how many), first_day and last_day; in no order."""
        import numpy as np
        import pyarrow as pa

        known, kinds, n = self.rollup.sources, len(self.rollup.kinds), len(self.rollup.submitters)
        cells = np.zeros(n * kinds, dtype=np.int64)
        domains = len(known.domains)
        seen = np.zeros(n * domains, dtype=bool)
        first, last = np.full(n, NEVER), np.full(n, LATE)
        for piece, r in self._rows(self.source):
            add(cells, r.submitter.astype(np.int64) * kinds + r.kind, r.messages)
            seen[r.submitter.astype(np.int64) * domains + known.domain[piece.source][r.source]] = True
            bound(first, last, r.submitter, r.first, r.last)
        by_kind = cells.reshape(n, kinds)
        found = np.flatnonzero(by_kind.any(axis=1))
        return pa.table(
            {
                "submitter": pa.array(self.rollup.submitters.texts, pa.string()).take(pa.array(found)),
                **self._weighed(by_kind[found]),
                "domains": seen.reshape(n, domains).sum(axis=1)[found],
                "first_day": _days(first[found]),
                "last_day": _days(last[found]),
            }
        )


def _few(mark: Any) -> Any:
    """The places that are marked, unless there are many: then None."""
    import numpy as np

    return np.flatnonzero(mark) if np.count_nonzero(mark) <= FEW else None


def _days(numbers: Any) -> Any:
    """Days since 1970 as an Arrow array of dates."""
    import numpy as np
    import pyarrow as pa

    return pa.array(np.asarray(numbers, dtype=np.int32)).cast(pa.date32())
