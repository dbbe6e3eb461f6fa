"""The store as others see it: append, ask, keep house."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any, Self

from sqlalchemy import select

from dmarcview_reports.model import Stored, Taken

from . import blocks, verdicts
from .append import Appender
from .archive import Archive, Kept, make_folder
from .classes import Classes
from .errors import StoreError, StoreFormat, named
from .facts import Label, NamedAddress, SourceRow
from .ledger import Ledger, counter
from .snapshot import Snapshot, take
from .tables import items, meta, reports
from .upkeep import Retention, Upkeep, Upkept
from .verdicts import Unsettled

if TYPE_CHECKING:
    from .backup import Checked
    from .blocks import Written
    from .columns import Columns
    from .engine import Engine
    from .rebuild import Read, Rebuilt
    from .rollup import Rollup

LEDGER_NAME = "ledger.sqlite"


class Store:
    """One data folder with its ledger. Safe for several threads and processes at once.

    Errors are StoreError and its kinds; after one, the call left nothing half-kept.
    """

    def __init__(
        self, data: Path, ledger: Ledger, *, clock: Callable[[], float] = time.time, watched: Iterable[str] = ()
    ) -> None:
        self.data, self.ledger, self.clock = data, ledger, clock
        self.archive = Archive(data / "archive")
        self._appender = Appender(ledger, self.archive, data / "records", clock, watched)
        self._upkeep = Upkeep(data, ledger, clock, lambda: self.heavy)
        self.classes = Classes(ledger)
        self._snapshot: Snapshot | None = None
        self._engine: Engine | None = None
        self._heavy: Engine | None = None
        self._rollup: Rollup | None = None
        self.totals: dict[tuple[Any, ...], tuple[int, int, tuple[Any, ...]]] = {}  # see query.summary
        self._lock = RLock()

    @classmethod
    def open(
        cls,
        where: str | Path,
        *,
        url: str | None = None,
        read_only: bool = False,
        clock: Callable[[], float] = time.time,
        watched: Iterable[str] = (),
    ) -> Self:
        """Open the store in a data folder, making it unless `read_only`.

        `where` is the folder, or a URL `sqlite:///FOLDER/ledger.sqlite`; `url` names another ledger, such as
        `postgresql+psycopg://...`. With `watched` domains, reports for others are kept apart. Raises StoreError.
        """
        text = str(where)
        if text.startswith("sqlite:"):
            url, data = text, Path(text.split("///", 1)[-1]).parent
        elif "://" in text:
            raise StoreError("say the data folder, and the ledger's address as url= ([data] url in the configuration)")
        else:
            data = Path(where)
        if read_only and not data.is_dir():
            raise StoreFormat(f"there is no store in {data}; import or receive something first")
        if not read_only:
            with named("making the data folder"):
                for folder in ("records", "archive"):
                    make_folder(data.absolute() / folder)
        data = data.absolute()
        if read_only and url is None and not (data / LEDGER_NAME).exists():
            raise StoreFormat(f"there is no store in {data}; import or receive something first")
        ledger = Ledger(url or f"sqlite:///{data / LEDGER_NAME}", read_only=read_only)
        try:
            ledger.create()
        except BaseException:
            ledger.close()
            raise
        return cls(data, ledger, clock=clock, watched=watched)

    def close(self) -> None:
        """Let go of files and connections."""
        self.archive.close()
        if self._engine is not None:
            self._engine.close()
            self._engine = self._rollup = None
        if self._heavy is not None:
            self._heavy.close()
            self._heavy = None
        self.ledger.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # in

    def append_many(self, taken: Sequence[Taken], *, keep_raw: bool = True) -> list[Stored]:
        """Keep what these inputs held: all of it or, on an error, nothing. Durable when it returns.

        Gives one `Stored` an input, in order. Repeating a call is harmless: reports are known by identity and content.
        A call with 5,000 records or more writes record files at once. Raises StoreFull, StoreBusy, StoreError.
        """
        return self._appender.append_many(taken, keep_raw)

    def settle(self, taken: Sequence[Taken]) -> list[Stored]:
        """Give known inputs a new verdict: their reports count when it is good, and are not counted as sent again."""
        return self._appender.append_many(taken, keep_raw=False, settles=True)

    def unsettled(self, after: int, since: int, limit: int) -> tuple[list[Unsettled], int]:
        """See `verdicts.unsettled`: inputs that wait for DNS."""
        with self.ledger.read() as conn:
            return verdicts.unsettled(conn, after, since, limit)

    # out

    def version(self) -> int:
        """A number that grows with every change of an answer."""
        with self.ledger.read() as conn:
            return counter(conn, "version")

    def instance(self) -> str:
        """The random name of this store."""
        with self.ledger.read() as conn:
            return str(conn.execute(select(meta.c.value).where(meta.c.name == "instance")).scalar_one())

    def snapshot(self) -> Snapshot:
        """Files, pending reports and version of one moment."""
        with self._lock:
            with self.ledger.read() as conn:
                self._snapshot = take(conn, self._snapshot)
            return self._snapshot

    @property
    def engine(self) -> Engine:
        """The engine of questions, started when first needed."""
        with self._lock:
            if self._engine is None:
                from .engine import Engine

                self._engine = Engine(self.data / "records", self.data / "spill")
            return self._engine

    @property
    def heavy(self) -> Engine:
        """An engine with more memory, for upkeep and for facts about every source."""
        with self._lock:
            if self._heavy is None:
                from .engine import HEAVY_MEMORY, Engine

                self._heavy = Engine(self.data / "records", self.data / "spill", HEAVY_MEMORY, threads=1)
            return self._heavy

    @property
    def rollup(self) -> Rollup:
        """The engine's memory of sources, and of messages by day and class."""
        with self._lock:
            if self._rollup is None:
                from .rollup import Rollup

                self._rollup = Rollup(self.engine)
            return self._rollup

    def raw(self, report_key: str) -> Kept | None:
        """The input that brought a report, with its origin; None when the report or its raw bytes are not kept."""
        return self._raw(select(items).join_from(reports, items).where(reports.c.report_key == report_key))

    def raw_item(self, item_id: int) -> Kept | None:
        """One input by its number, as lists of refusals give it; None when it or its raw bytes are not kept."""
        return self._raw(select(items).where(items.c.id == item_id))

    def _raw(self, query: Any) -> Kept | None:
        with self.ledger.read() as conn:
            row = conn.execute(query).mappings().one_or_none()
        if row is None or (place := verdicts.place_of(row)) is None:
            return None
        # Equal bytes are archived once, with the origin of the first who sent them.
        return Kept(verdicts.origin_of(row), verdicts.verdict_of(row), self.archive.read(place).raw)

    # who is behind an address

    def classified(self) -> int:
        """The version up to which sources were classified; 0 at first."""
        return self.classes.classified()

    def touched_since(self, version: int) -> list[tuple[str, str]]:
        """(domain, source_ip) of sources in believed reports newer than `version`."""
        return self.classes.touched(self.heavy, self.snapshot(), version)

    def put_sources(self, rows: Sequence[SourceRow], upto: int | None = None) -> None:
        """Write classes; `upto` is the version that `classified()` shall give from now on."""
        self.classes.put(rows, upto)

    def source_columns(
        self, domains: Sequence[str] | None = None, pairs: Sequence[tuple[str, str]] | None = None
    ) -> Columns:
        """What believed reports say of sources, as columns: of those of these domains, of these sources, or of all."""
        from . import columns

        return columns.read(self.heavy, self.snapshot(), domains, pairs)

    def domain_sizes(self, since: int = -1) -> dict[str, int]:
        """Rows to be read for the sources of each domain that believed reports newer than `since` name."""
        return self.classes.sizes(self.heavy, self.snapshot(), since)

    def source_table(self, domains: Sequence[str] | None = None, names: Sequence[str] = blocks.NAMES) -> Any:
        """The classes written, as an Arrow table with the columns of `blocks.NAMES`, or with some of them."""
        return self.classes.table(domains, names)

    def put_source_table(self, table: Any, upto: int | None = None) -> Written:
        """Write classes as such a table without `changed`; `upto` as in `put_sources`."""
        return self.classes.put_table(table, upto)

    def source_rows(self, domain: str | None = None, source_ip: str | None = None) -> list[SourceRow]:
        """The classes written: of all sources, of one domain's, of one address."""
        return self.classes.all(domain, source_ip)

    def busy_addresses(self) -> dict[str, int]:
        """The addresses of all classified sources, with the messages that each sent."""
        return self.classes.busy()

    def put_label(self, label: Label) -> Label:
        """Set a user's label; classification reads it, and it wins."""
        return self.classes.put_label(label)

    def labels(self) -> list[Label]:
        """All labels, newest first."""
        return self.classes.labels()

    def remove_label(self, id: int) -> bool:
        """Take a label away."""
        return self.classes.remove_label(id)

    def addresses(self, ips: Iterable[str]) -> dict[str, NamedAddress]:
        """Cached reverse DNS answers that have not expired."""
        return self.classes.addresses(ips, int(self.clock()))

    def put_addresses(self, found: Sequence[NamedAddress]) -> None:
        """Remember reverse DNS answers."""
        self.classes.put_addresses(found)

    # upkeep

    def flush_due(self) -> bool:
        """Are 5,000 rows pending, or some for 60 seconds?"""
        return self._upkeep.due()

    def flush(self) -> Upkept:
        """Write pending rows as files."""
        return self._upkeep.flush()

    def compact(self, *, all_files: bool = False) -> Upkept:
        """Merge small files."""
        return self._upkeep.compact(all_files=all_files)

    def sweep(self) -> Upkept:
        """Remove files that nobody lists any more, after an hour."""
        return self._upkeep.sweep()

    def prune(self, retention: Retention) -> Upkept:
        """Let go of what `retention` no longer keeps."""
        from .prune import prune

        return prune(self._upkeep, retention)

    def reindex(self, read: Read) -> Rebuilt:
        """Rebuild ledger and files from the archive; `read(raw, name)` gives a Reading."""
        from .rebuild import reindex

        return reindex(self, read)

    def replay(self, read: Read, item_ids: Sequence[int] | None = None) -> list[Stored]:
        """Read refused inputs again, and count reports of domains that are watched by now."""
        from .rebuild import replay

        return replay(self, read, item_ids)

    def backup(self, path: str | Path) -> None:
        """Copy the store, as it is at one moment, into a new folder, while it runs."""
        from .backup import backup

        backup(self, Path(path))

    @staticmethod
    def restore(path: str | Path, data: str | Path, *, url: str | None = None) -> None:
        """Copy a backup into a data folder that holds no store."""
        from .backup import restore

        restore(Path(path), Path(data), url)

    def check(self) -> Checked:
        """Hold the ledger against the files."""
        from .backup import check

        return check(self)
