"""What classification asks of the store and keeps in it: facts by source, the classes found, labels, reverse DNS."""

# ruff: noqa: S608 - SQL is put together from our own constants; values from outside are parameters
from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import delete, insert, select, update

from . import blocks
from .archive import clean
from .engine import Engine, Window
from .errors import StoreError
from .facts import CLASSES, SCOPES, Label, Named, NamedAddress, SourceFacts, SourceRow
from .files import CUBE_END, SOURCE_END, FileRow
from .ledger import Ledger, bump, chunks, counter, rows
from .plan import MAIN
from .snapshot import Snapshot
from .tables import addresses, counters, labels

NAMES = 20  # names kept of each kind for one source, most messages first
MANY = 5_000  # addresses asked for at once: then all that are known are read

# one row of a record counts once for a name, however many results carry it
IDENTITIES = """
with r as (select domain, source_ip, "count", dkim, spf, header_from, envelope_from, override_types from {source}),
named as (
  select domain, source_ip, "count", 'dkim' as kind, unnest(list_distinct(list_transform(dkim, lambda x:
    {{'name': x.domain, 'selector': x.selector, 'passed': x.result = 'pass'}}))) as n from r
  union all
  select domain, source_ip, "count", 'spf', unnest(list_distinct(list_transform(spf, lambda x:
    {{'name': x.domain, 'selector': x.scope, 'passed': x.result = 'pass'}}))) from r
  union all
  select domain, source_ip, "count", 'override', unnest(list_distinct(list_transform(override_types, lambda x:
    {{'name': x, 'selector': null::varchar, 'passed': null::boolean}}))) from r
  union all
  select domain, source_ip, "count", 'header_from',
    {{'name': header_from, 'selector': null::varchar, 'passed': null::boolean}} from r
  union all
  select domain, source_ip, "count", 'envelope_from',
    {{'name': envelope_from, 'selector': null::varchar, 'passed': null::boolean}} from r where envelope_from is not null
)
select domain, source_ip, kind, n.name as name, n.selector as selector, n.passed as passed,
  cast(sum("count") as bigint) as messages
from named where n.name is not null group by all
"""
_TOTALS = """
select c.domain, c.source_ip, cast(sum(messages) as bigint),
  cast(coalesce(sum(messages) filter (where dkim_aligned or spf_aligned), 0) as bigint),
  cast(coalesce(sum(messages) filter (where spf_aligned), 0) as bigint),
  cast(coalesce(sum(messages) filter (where dkim_aligned), 0) as bigint),
  cast(coalesce(sum(messages) filter (where dkim_aligned and spf_aligned), 0) as bigint),
  cast(coalesce(sum(messages) filter (where forwarded), 0) as bigint),
  cast(coalesce(sum(messages) filter (where disposition in ('quarantine', 'reject')), 0) as bigint),
  cast(epoch(min(day)) as bigint), cast(epoch(max(day)) as bigint) + 86399,
  count(distinct day), count(distinct submitter)
from cube c {wanted} group by c.domain, c.source_ip order by c.domain, c.source_ip
"""
_NAMES = """
with i as (
  select c.domain, c.source_ip, kind, name, selector, passed, cast(sum(messages) as bigint) as messages
  from ({identities}) c {wanted} group by all
), ranked as (
  select *, row_number() over (
    partition by domain, source_ip, kind order by messages desc, name, selector, passed) as place from i
)
select domain, source_ip, kind, name, selector, passed, messages from ranked where place <= {names}
order by domain, source_ip, kind, place
"""


class Classes:
    """The house's knowledge of sources; part of `Store`."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    # facts, out

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
            sql = f"select distinct domain, source_ip from {engine.scan([f.path for f in new], '.cube.parquet')}"
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

    def facts(self, engine: Engine, snapshot: Snapshot, pairs: Sequence[tuple[str, str]] | None) -> list[SourceFacts]:
        """Facts of these sources (of all, when None), by domain and address."""
        import pyarrow as pa

        if pairs is not None and not pairs:
            return []
        self._companions(engine, snapshot)
        live = [f.path for f in snapshot.files if f.shelf == MAIN]
        pending = IDENTITIES.format(source="pending_records")
        identities = f"select * from {engine.scan(live, SOURCE_END)} union all by name ({pending})" if live else pending
        wanted = "semi join wanted w on c.domain = w.domain and c.source_ip = w.source_ip" if pairs is not None else ""
        at = Window(snapshot, (MAIN,))
        with engine.cursor() as cursor:
            if pairs is not None:
                domains, ips = zip(*pairs, strict=True)
                cursor.register("wanted", pa.table({"domain": pa.array(domains), "source_ip": pa.array(ips)}))
            names: dict[tuple[str, str], dict[str, list[Named]]] = {}
            question = engine.over(cursor, at, _NAMES.format(identities=identities, wanted=wanted, names=NAMES))
            for d, ip, kind, *name in cursor.execute(question).fetchall():
                names.setdefault((d, ip), {}).setdefault(kind, []).append(Named(*name))
            kinds = ("dkim", "spf", "header_from", "envelope_from", "override")
            none: dict[str, list[Named]] = {}
            return [
                SourceFacts(*r, *(tuple(names.get((r[0], r[1]), none).get(k, ())) for k in kinds))
                for r in cursor.execute(engine.over(cursor, at, _TOTALS.format(wanted=wanted))).fetchall()
            ]

    def _companions(self, engine: Engine, snapshot: Snapshot) -> None:
        """Make the source companion of each believed file that has none yet; a cache, so a rename suffices."""
        for f in snapshot.files:
            if f.shelf == MAIN and not (engine.folder / (f.path + SOURCE_END)).exists():
                make_companion(engine, f)

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

    def table(self, domains: Sequence[str] | None = None) -> Any:
        """The classes found, as a table of `blocks.NAMES`, in no order."""
        with self.ledger.read() as conn:
            return blocks.read(conn, domains)

    def all(self, domain: str | None = None, source_ip: str | None = None) -> list[SourceRow]:
        """The classes found, by domain and address: of all sources, of one domain's, of one address."""
        import pyarrow.compute as pc

        found = self.table(None if domain is None else [domain])
        return blocks.to_rows(found if source_ip is None else found.filter(pc.equal(found["source_ip"], source_ip)))

    def busy(self) -> dict[str, int]:
        """Messages by address, over all domains."""
        sums = self.table().group_by("source_ip").aggregate([("messages", "sum")])
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


def make_companion(engine: Engine, file: FileRow) -> None:
    """Write the identities of a record file beside it."""
    target = engine.folder / (file.path + SOURCE_END)
    part = target.with_name(f"{target.name}.{id(file):x}.part")
    source = IDENTITIES.format(source=engine.scan([file.path], ".parquet"))
    with engine.cursor() as cursor:
        cursor.execute(
            f"copy ({source} order by domain, source_ip, kind) to '{part}' (format parquet, compression zstd)"
        )
    part.replace(target)
