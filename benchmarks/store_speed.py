"""Ask a store of ten million rows every question of the dashboard, and print times and memory.

    python -m benchmarks.store_speed [--rows 10000000] [--data DIR]

The rows are made up and lifelike: 365 days, 200 policy domains of very different size, 8 reporters, 500 sources a
domain. They are written straight through the store's files, not appended. Asking runs in a process of its own, so that
its peak memory is that of a dashboard. Targets: each question at most 100 ms warm, peak at most 300 MiB.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

DAYS, DOMAINS, REPORTERS, SOURCES = 365, 200, 8, 500
FIRST = date(2025, 1, 1)
LAST = FIRST + timedelta(days=DAYS)
T0 = int(datetime(2025, 1, 1, tzinfo=UTC).timestamp())
WARM = 5
GRID, REPORTS = 2_001, 2_000  # rows that the pages ask for
SOME, LARGEST = "domain-003.example", "domain-000.example"
TARGET_MS, TARGET_MIB = 100, 300


def make(data: Path, rows: int) -> None:
    """Write the store."""
    import numpy as np
    import pyarrow as pa
    from sqlalchemy import insert

    from dmarcview.store import SourceRow, Store, digest, files, tables
    from dmarcview.store.append import list_files
    from dmarcview.store.cube import cube

    rng = np.random.default_rng(7)
    store = Store.open(data)
    schema = files.stored_schema()
    weight = 1 / np.arange(1, DOMAINS + 1) ** 0.7
    weight /= weight.sum()
    domains = pa.array([f"domain-{i:03}.example" for i in range(DOMAINS)])
    reporters = pa.array([f"reporter-{i}.example" for i in range(REPORTERS)])
    shapes = _shapes(pa, schema)
    ips = pa.array([f"{10 + i % 90}.{i // 7 % 256}.{i // 11 % 256}.{i % 256}" for i in range(DOMAINS * SOURCES)])
    rate = rows / (DAYS * REPORTERS)  # rows a day and reporter, over all domains
    months: dict[str, list[int]] = {}
    for day in range(DAYS):
        months.setdefault((FIRST + timedelta(days=day)).strftime("%Y-%m"), []).append(day)
    number = 0
    with store.ledger.write() as conn:
        conn.execute(insert(tables.items).values(_item()))
    for month, days in months.items():
        cells = np.stack(np.meshgrid(np.arange(DOMAINS), days, np.arange(REPORTERS), indexing="ij"), -1).reshape(-1, 3)
        size = rng.poisson(weight[cells[:, 0]] * rate)
        cells, size = cells[size > 0], size[size > 0]
        owner = np.repeat(np.arange(len(cells)), size)
        n = len(owner)
        rank = np.minimum((rng.pareto(1.0, n) * 6).astype(np.int64), SOURCES - 1)
        source = cells[owner, 0] * SOURCES + rank
        shape = np.where(rng.random(n) < 0.9, rank % 6, rng.integers(0, 12, n))
        order = np.lexsort((source, owner))
        owner, source, shape = owner[order], source[order], shape[order]
        keys = pa.array([f"{number + i:024x}" for i in range(len(cells))])
        begin = T0 + cells[:, 1] * 86_400
        facts: dict[str, Any] = {
            "report_key": keys,
            "submitter": reporters.take(pa.array(cells[:, 2])),
            "org_name": reporters.take(pa.array(cells[:, 2])),
            "report_id": keys,
            "begin": pa.array(begin * 1000).cast(pa.timestamp("ms", "UTC")),
            "end": pa.array((begin + 86_400) * 1000).cast(pa.timestamp("ms", "UTC")),
            "received": pa.array((begin + 100_000) * 1000).cast(pa.timestamp("ms", "UTC")),
            "domain": domains.take(pa.array(cells[:, 0])),
        }
        fixed = {
            "org_email": "a@b.example",
            "auth": "pass",
            "schema": "rfc7489",
            "adkim": "r",
            "aspf": "r",
            "p": "none",
        }
        counts = 1 + (rng.pareto(1.2, n) * 3).astype(np.int64).clip(0, 100_000)
        own, at = pa.array(owner), pa.array(shape)
        arrays = []
        for f in schema:
            if f.name in facts:
                arrays.append(facts[f.name].take(own))
            elif f.name in shapes:
                arrays.append(shapes[f.name].take(at))
            elif f.name == "source_ip":
                arrays.append(ips.take(pa.array(source)))
            elif f.name == "count":
                arrays.append(pa.array(counts))
            else:
                arrays.append(pa.array([fixed.get(f.name)], f.type).take(pa.array(np.zeros(n, np.int64))))
        content = pa.table(arrays, schema=schema)
        name = files.new_path(data / "records", month)
        bytes_ = files.write_table(content, data / "records" / (name + files.RECORDS_END))
        bytes_ += files.write_table(cube(content), data / "records" / (name + files.CUBE_END))
        digest.make(data / "records", name, data / "records" / (name + files.CUBE_END))  # as a merge does
        sums = np.bincount(owner, counts, len(cells)).astype(np.int64).tolist()
        with store.ledger.write() as conn:
            row = files.FileRow(
                name, "main", month, n, len(cells), bytes_, int(begin.min()), int(begin.max()) + 86_400, 1, T0
            )
            list_files(conn, [row])
            conn.execute(
                insert(tables.reports),
                [
                    _report(number + i, f"{number + i:024x}", *cell, size=s, messages=m)
                    for i, (cell, s, m) in enumerate(zip(cells.tolist(), size.tolist(), sums, strict=True))
                ],
            )
        number += len(cells)
        print(f"  {month}: {n} rows, {len(cells)} reports, {bytes_ / 1e6:.0f} MB", file=sys.stderr)
    classes = ("own", "third_party", "forwarder", "unknown")
    listed = ips.to_pylist()
    store.put_sources(
        [
            SourceRow(
                domains[i // SOURCES].as_py(), listed[i], classes[min(i % SOURCES // 4, 3)], first_seen=T0, last_seen=T0
            )
            for i in range(len(listed))
        ]
    )
    store.compact()  # nothing to merge: the rows by source are made, as upkeep makes them
    store.close()


def _shapes(pa: Any, schema: Any) -> dict[str, Any]:
    from dmarcview.store import files
    from dmarcview_reports.model import DkimResult, Shape, SpfResult

    made = [
        Shape(
            ("none", "quarantine", "reject")[i % 3] if i % 2 else "none",
            i % 2 == 0,
            i % 3 == 0,
            ("forwarded",) if i % 5 == 4 else (),
            ("",) if i % 5 == 4 else (),
            f"mail{i % 2}.example",
            "bounce.example",
            None,
            (DkimResult("mail.example", f"s{i}", "pass" if i % 2 == 0 else "fail", None),),
            (SpfResult("bounce.example", "mfrom", "pass", None),),
        )
        for i in range(12)
    ]
    out = {n: pa.array([of(s) for s in made], schema.field(n).type) for n, of in files._SHAPE_COLUMNS}
    out["dkim"] = files._results([s.dkim for s in made], schema.field("dkim").type)
    out["spf"] = files._results([s.spf for s in made], schema.field("spf").type)
    return out


def _item() -> dict[str, Any]:
    texts = dict.fromkeys(("client", "helo", "mail_from", "tls", "auth_detail", "raw_hash"), "")
    numbers = dict.fromkeys(
        ("received", "raw_size", "reports", "records", "messages", "duplicates", "conflicts", "others", "refused"), 0
    )
    return {"id": 1, "name": "made up", "channel": "file", "auth": "pass", "rcpt_to": "[]", **texts, **numbers}


def _report(id_: int, key: str, domain: int, day: int, reporter: int, *, size: int, messages: int) -> dict[str, Any]:
    begin = T0 + day * 86_400
    nothing = dict.fromkeys(("generator", "sp", "np", "pct", "fo", "testing", "discovery_method", "apart"))
    return {
        "id": id_ + 1,
        "report_key": key,
        "identity": key,
        "content_hash": key,
        "item_id": 1,
        "shelf": "main",
        "moved": False,
        "version": 1,
        "received": begin + 100_000,
        "auth": "pass",
        "submitter": f"reporter-{reporter}.example",
        "org_name": f"reporter-{reporter}.example",
        "org_email": "a@b.example",
        "report_id": key,
        "begin": begin,
        "end": begin + 86_400,
        "schema": "rfc7489",
        "domain": f"domain-{domain:03}.example",
        "adkim": "r",
        "aspf": "r",
        "p": "none",
        "errors": "[]",
        "truncated": False,
        "warnings": "[]",
        "warning_counts": "{}",
        "records": size,
        "messages": messages,
        "dmarc_pass": 0,
        "duplicates": 0,
        **nothing,
    }


def questions(store: Any) -> dict[str, Callable[[], Any]]:
    """Every question of the dashboard, with the arguments of dashboard/frames.py and papers.py, by name."""
    from dmarcview import query
    from dmarcview.query import Filters

    def since(days: int) -> date:
        return LAST - timedelta(days)

    scopes: dict[str, tuple[str, ...] | None] = {"fleet": None, "one domain": (SOME,), "largest domain": (LARGEST,)}
    wishes: dict[str, dict[str, Any]] = {
        "": {},
        ", own": {"source_class": "own"},
        ", unknown": {"source_class": "unknown"},
        ", pass": {"result": "pass"},
        ", fail": {"result": "fail"},
        ", unknown, fail": {"source_class": "unknown", "result": "fail"},
    }
    out: dict[str, Callable[[], Any]] = {}

    def put(name: str, question: Callable[..., Any], *args: Any, **more: Any) -> None:
        out[name] = lambda: question(store, *args, **more)

    key = query.reports(store, Filters((SOME,), since(90), LAST), limit=1)["report_key"].iloc[0]
    source = {
        d: query.sources(store, Filters((d,), since(90), LAST), limit=1)["source_ip"].iloc[0] for d in (SOME, LARGEST)
    }
    for scope, named in scopes.items():
        for days in (30, 90, 365):
            for wish, more in wishes.items():
                if wish and days == 90:
                    continue
                asked = Filters(named, since(days), LAST, **more)
                what = f"{scope}, {days} d{wish}"
                # tiles compare with the window before, and both are asked at once
                put(f"daily, {what}", query.daily, Filters(named, since(2 * days), LAST, **more))
                put(f"sources, {what}", query.sources, asked, limit=GRID)
                put(f"domains, {what}", query.domains, asked)
                open_end = Filters(named, since(days), None, verified=False, **more)
                put(f"reports, {what}", query.reports, open_end, limit=REPORTS, apart=True)
            asked = Filters(named, since(days), LAST)
            put(f"top 50 sources, {scope}, {days} d", query.sources, asked)
            put(f"reporters, {scope}, {days} d", query.reporters, asked)
            put(f"summary, {scope}, {days} d", query.summary, asked)
            if named is not None:
                put(f"source detail, {scope}, {days} d", query.source_detail, named[0], source[named[0]], asked)
        asked = Filters(named)
        put(f"domains, {scope}, all time", query.domains, asked)
        put(f"daily, {scope}, all time", query.daily, asked)
        put(f"sources, {scope}, all time", query.sources, asked, limit=GRID)
        put(f"reporters, {scope}, all time", query.reporters, asked)
        put(f"summary, {scope}, all time", query.summary, asked)
        put(f"completeness of 14 days, {scope}", query.complete_days, since(14), since(1), asked)
        put(f"completeness of a day, {scope}", query.completeness, since(2), asked)
    odd = Filters(None, date(2025, 1, 17), date(2025, 12, 12))
    put("sources, fleet, from 17 Jan to 11 Dec", query.sources, odd, limit=GRID)
    put("reporters, fleet, from 17 Jan to 11 Dec", query.reporters, odd)
    put("policies", query.reports, Filters(), limit=500)
    put("one report", query.report, key)
    put("records of one report", query.report_records, key)
    for days in (30, 365):
        begin = T0 + (DAYS - days) * 86_400
        put(f"refused, {days} d", query.refused, limit=1000, since=begin)
        put(f"intake, {days} d", query.intake, begin)
    return out


def ask(data: Path, rounds: int = WARM) -> dict[str, Any]:
    """Time each question in this process: the first call, and the median of the next ones."""
    from dmarcview.store import Store

    started = time.perf_counter()
    store = Store.open(data, read_only=True)
    asked = questions(store)
    out: dict[str, Any] = {"start": time.perf_counter() - started, "questions": {}}
    for name, question in asked.items():
        times, cpu = [], []
        for _ in range(1 + rounds):
            began, worked = time.perf_counter(), time.process_time()
            question()
            times.append((time.perf_counter() - began) * 1000)
            cpu.append((time.process_time() - worked) * 1000)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        out["questions"][name] = (times[0], median(times[1:]), median(cpu[1:]), peak)
    out["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return out


def main(arguments: list[str] | None = None) -> int:
    """Make (unless there), ask, print; 0 whatever the figures are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--data", type=Path, help="keep the store here, and use it again")
    parser.add_argument("--slow", action="store_true", help="print only questions over the target")
    parser.add_argument("--ask", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.ask:
        print(json.dumps(ask(args.ask)))
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        data = args.data or Path(temporary)
        if not (data / "ledger.sqlite").exists():
            make(data, args.rows)
        command = [sys.executable, "-m", "benchmarks.store_speed", "--ask", str(data)]
        found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    over = 0
    print(f"{'question':48} {'first':>8} {'warm':>8} {'cpu':>8} {'peak':>6}   (ms, MiB so far)")
    for name, (first, warm, cpu, peak) in found["questions"].items():
        over += warm > TARGET_MS
        if warm > TARGET_MS or not args.slow:
            mark = f"over {TARGET_MS}" if warm > TARGET_MS else ""
            print(f"{name:48} {first:8.1f} {warm:8.1f} {cpu:8.1f} {peak:6.0f}   {mark}".rstrip())
    print(f"{over} of {len(found['questions'])} questions over {TARGET_MS} ms; start {found['start']:.2f} s", end=", ")
    print(f"peak {found['peak']:.0f} MiB{'' if found['peak'] <= TARGET_MIB else f', over {TARGET_MIB}'}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
