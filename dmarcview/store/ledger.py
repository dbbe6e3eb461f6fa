"""The ledger: opens SQLite or PostgreSQL, gives read and write transactions, counts versions."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, RowMapping, create_engine, event, insert, inspect, select, text, update
from sqlalchemy.engine import make_url

from .errors import StoreFormat, named
from .tables import COUNTERS, FORMAT, counters, meta, metadata

BUSY_SECONDS = 60
CHUNK = 500  # values in one IN list
_PG_LOCK = 0x646D6172  # one writer at a time, as in SQLite


def _sqlite_setup(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def _connect(dbapi: Any, _record: Any) -> None:
        dbapi.isolation_level = None  # sqlite3 would begin on its own, and late; we say BEGIN ourselves
        cursor = dbapi.cursor()
        cursor.execute("pragma journal_mode = wal")
        cursor.execute("pragma synchronous = full")
        cursor.execute(f"pragma busy_timeout = {BUSY_SECONDS * 1000}")
        cursor.execute("pragma foreign_keys = on")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(conn: Connection) -> None:
        writer = conn.get_execution_options().get("writer", False)
        conn.exec_driver_sql("begin immediate" if writer else "begin")


class Ledger:
    """One database. Every answer comes from one `read()`, every change is one `write()`."""

    def __init__(self, url: str, *, read_only: bool = False) -> None:
        self.url = make_url(url)
        self.sqlite = self.url.get_backend_name() == "sqlite"
        self.read_only = read_only
        args: dict[str, Any] = {"check_same_thread": False} if self.sqlite else {}
        isolation = {} if self.sqlite else {"isolation_level": "REPEATABLE READ"}
        self.engine = create_engine(self.url, connect_args=args, **isolation)
        if self.sqlite:
            _sqlite_setup(self.engine)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A read transaction: one consistent cut."""
        with named("reading the ledger"), self.engine.connect() as conn, conn.begin():
            yield conn

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """The write transaction: one at a time over all processes; durable when it returns."""
        with named("writing the ledger"), self.engine.connect() as raw:
            options: dict[str, Any] = {"writer": True}
            if not self.sqlite:
                options["isolation_level"] = "READ COMMITTED"  # the lock makes writers serial; each must see the last
            conn = raw.execution_options(**options)
            with conn.begin():
                if not self.sqlite:
                    conn.execute(text("select pg_advisory_xact_lock(:key)"), {"key": _PG_LOCK})
                yield conn

    def close(self) -> None:
        """Let go of all connections."""
        self.engine.dispose()

    def create(self) -> None:
        """Make the tables of an empty ledger, or check the format of an old one. Raises StoreFormat."""
        found = self.format()
        if found is None and not self.read_only:
            with self.write() as conn:
                if inspect(conn).has_table("meta"):
                    return
                metadata.create_all(conn)
                rows = [{"name": "format", "value": str(FORMAT)}, {"name": "instance", "value": secrets.token_hex(8)}]
                conn.execute(insert(meta), rows)
                conn.execute(insert(counters), [{"name": n, "value": 0} for n in COUNTERS])
        elif found is None:
            raise StoreFormat(f"there is no store at {self.url.render_as_string()}; import or receive something first")
        elif found > FORMAT:
            raise StoreFormat(
                f"this store has format {found}, and this dmarcview knows only up to {FORMAT}: "
                "it was written by a newer dmarcview; upgrade this one"
            )
        elif found < FORMAT:
            if self.read_only:
                raise StoreFormat(f"this store has the older format {found}: open it once for writing to upgrade it")
            from .migrations import upgrade

            upgrade(self)

    def format(self) -> int | None:
        """The format number of the ledger; None when it is empty. Raises StoreFormat for a foreign database."""
        with self.read() as conn:
            names = inspect(conn).get_table_names()
            if "meta" in names:
                value = conn.execute(select(meta.c.value).where(meta.c.name == "format")).scalar()
                if value is not None and value.isdigit():
                    return int(value)
            if set(names) & {"meta", "reports", "files"}:
                raise StoreFormat("the database holds tables that are not dmarcview's; choose another one")
            return None


def bump(conn: Connection, name: str, by: int = 1) -> int:
    """Add to a counter within a write transaction; gives the value before."""
    before = counter(conn, name)
    conn.execute(update(counters).where(counters.c.name == name).values(value=before + by))
    return before


def counter(conn: Connection, name: str) -> int:
    """The value of a counter."""
    return int(conn.execute(select(counters.c.value).where(counters.c.name == name)).scalar_one())


def chunks(values: Sequence[Any], size: int = CHUNK) -> Iterator[Sequence[Any]]:
    """Slices short enough for one IN list."""
    for i in range(0, len(values), size):
        yield values[i : i + size]


def rows(conn: Connection, statement: Any) -> list[RowMapping]:
    """All rows of a statement, by column name."""
    return list(conn.execute(statement).mappings())
