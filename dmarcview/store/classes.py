"""What classification asks of the store and keeps in it: sources touched, the classes found, labels, reverse DNS."""

# ruff: noqa: S608 - SQL is put together from our own constants; values from outside are parameters
from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import delete, insert, select, update

from . import blocks
from .archive import clean
from .engine import Engine, Window
from .errors import StoreError
from .facts import CLASSES, SCOPES, Label, NamedAddress, SourceRow
from .files import CUBE_END
from .ledger import Ledger, bump, chunks, counter, rows
from .plan import MAIN
from .snapshot import Snapshot
from .tables import addresses, counters, labels

MANY = 5_000  # addresses asked for at once: then all that are known are read


class Classes:
    """The house's knowledge of sources; part of `Store`."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    # what came in

    def touched(self, engine: Engine, snapshot: Snapshot, since: int) -> list[tuple[str, str]]:
        """Sources in believed reports that came after version `since`."""
        new = [f for f in snapshot.files if f.shelf == MAIN and f.news > since]
        pairs = {
            (p.filed.fact("domain"), ip)
            for p in snapshot.pending
            if p.shelf == MAIN and p.version > since
            for ip in p.filed.records.source_ip
        }
        if new:
            sql = f"select distinct domain, source_ip from {engine.scan([f.path for f in new], CUBE_END)}"
            pairs |= {(r[0], r[1]) for r in engine.rows(sql, {})}
        return sorted(pairs)

    def sizes(self, engine: Engine, snapshot: Snapshot, since: int) -> dict[str, int]:
        """Domains of believed reports that came after version `since`, with the rows of the cube that they have."""
        new = [f.path for f in snapshot.files if f.shelf == MAIN and f.news > since]
        found = {p.filed.fact("domain") for p in snapshot.pending if p.shelf == MAIN and p.version > since}
        if new:
            found |= {r[0] for r in engine.rows(f"select distinct domain from {engine.scan(new, CUBE_END)}", {})}
        if not found:
            return {}
        sizes = engine.rows("select domain, count(*) from cube group by domain", {}, Window(snapshot, (MAIN,)))
        return {domain: rows for domain, rows in sizes if domain in found}

    # classes, in

    def put(self, new: Sequence[SourceRow], upto: int | None) -> None:
        """Write classes; `upto` remembers the version that they are of."""
        self.put_table(blocks.from_rows(new), upto)

    def put_table(self, new: Any, upto: int | None) -> blocks.Written:
        """Write classes as a table of `blocks.NAMES` without `changed`; equal rows are left alone."""
        with self.ledger.write() as conn:
            done = blocks.put(conn, new) if new.num_rows else blocks.Written(0, 0)
            if upto is not None:
                conn.execute(update(counters).where(counters.c.name == "classified").values(value=upto))
        return done

    def classified(self) -> int:
        """The version up to which sources were classified."""
        with self.ledger.read() as conn:
            return counter(conn, "classified")

    def table(self, domains: Sequence[str] | None = None, names: Sequence[str] = blocks.NAMES) -> Any:
        """The classes found, as a table of `blocks.NAMES` or of some of them, in no order."""
        with self.ledger.read() as conn:
            return blocks.read(conn, domains, names)

    def all(self, domain: str | None = None, source_ip: str | None = None) -> list[SourceRow]:
        """The classes found, by domain and address: of all sources, of one domain's, of one address."""
        import pyarrow.compute as pc

        found = self.table(None if domain is None else [domain])
        return blocks.to_rows(found if source_ip is None else found.filter(pc.equal(found["source_ip"], source_ip)))

    def busy(self) -> dict[str, int]:
        """Messages by address, over all domains."""
        sums = (
            self.table(names=("domain", "source_ip", "messages")).group_by("source_ip").aggregate([("messages", "sum")])
        )
        return dict(zip(sums["source_ip"].to_pylist(), sums["messages_sum"].to_pylist(), strict=True))

    # labels

    def put_label(self, label: Label) -> Label:
        """Set a label; an older one of the same domain, scope and value is replaced. Asks for a new classification."""
        if label.scope not in SCOPES:
            raise StoreError(f"unknown label scope {label.scope!r}: use one of {', '.join(SCOPES)}")
        if label.source_class not in CLASSES:
            raise StoreError(f"unknown class {label.source_class!r}: use one of {', '.join(CLASSES)}")
        values = {n: getattr(label, n) for n in ("scope", "value", "source_class", "domain", "author", "at", "note")}
        values = {n: clean(v) if isinstance(v, str) else v for n, v in values.items()}
        c = labels.c
        with self.ledger.write() as conn:
            conn.execute(
                delete(labels).where(
                    c.domain == values["domain"], c.scope == values["scope"], c.value == values["value"]
                )
            )
            conn.execute(insert(labels).values(values | {"id": bump(conn, "row") + 1}))
            bump(conn, "version")
        return label

    def labels(self) -> list[Label]:
        """All labels, newest first."""
        with self.ledger.read() as conn:
            found = rows(conn, select(labels).order_by(labels.c.at.desc(), labels.c.id.desc()))
        return [
            Label(r["scope"], r["value"], r["source_class"], r["domain"], r["author"], r["at"], r["note"], r["id"])
            for r in found
        ]

    def remove_label(self, id_: int) -> bool:
        """Take a label away; False if there is none with that id."""
        with self.ledger.write() as conn:
            found = conn.execute(delete(labels).where(labels.c.id == id_)).rowcount == 1
            if found:
                bump(conn, "version")
            return found

    # reverse DNS

    def addresses(self, ips: Iterable[str], now: int) -> dict[str, NamedAddress]:
        """Cached reverse DNS answers that have not expired."""
        out: dict[str, NamedAddress] = {}
        c = addresses.c
        wanted = set(ips)
        with self.ledger.read() as conn:
            if len(wanted) > MANY:  # far more than were ever looked up: read what there is
                for r in conn.execute(select(c.source_ip, c.reverse_dns, c.expires).where(c.expires > now)):
                    if r[0] in wanted:
                        out[r[0]] = NamedAddress(*r)
                return out
            for part in chunks(sorted(wanted)):
                for r in conn.execute(
                    select(c.source_ip, c.reverse_dns, c.expires).where(c.source_ip.in_(part), c.expires > now)
                ):
                    out[r[0]] = NamedAddress(*r)
        return out

    def put_addresses(self, found: Sequence[NamedAddress]) -> None:
        """Remember reverse DNS answers."""
        with self.ledger.write() as conn:
            for part in chunks([a.source_ip for a in found]):
                conn.execute(delete(addresses).where(addresses.c.source_ip.in_(part)))
            if found:
                conn.execute(insert(addresses), [a._asdict() for a in {a.source_ip: a for a in found}.values()])
