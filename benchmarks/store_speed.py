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


def make(data: Path, rows: int) -> None:
    """Write the store."""
    import numpy as np
    import pyarrow as pa
    from sqlalchemy import insert

    from dmarcview.store import SourceRow, Store, files, tables
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


def ask(data: Path) -> dict[str, Any]:
    """Time each question in this process: the first call, and the median of the next five."""
    from dmarcview import query
    from dmarcview.query import Filters
    from dmarcview.store import Store

    started = time.perf_counter()
    store = Store.open(data, read_only=True)
    month, quarter = Filters(since=LAST - timedelta(30), until=LAST), ("domain-003.example",)
    one = Filters(domains=quarter, since=LAST - timedelta(90), until=LAST)
    big = Filters(domains=("domain-000.example",), since=LAST - timedelta(90), until=LAST)
    year = Filters(since=FIRST, until=LAST)
    key = query.reports(store, one, limit=1)["report_key"].iloc[0]
    source = query.sources(store, one, limit=1)["source_ip"].iloc[0]
    questions: dict[str, Callable[[], Any]] = {
        "daily by class, one domain, 90 days": lambda: query.daily(store, one),
        "daily by class, largest domain, 90 days": lambda: query.daily(store, big),
        "daily by class, fleet, 30 days": lambda: query.daily(store, month),
        "daily by class, fleet, 365 days": lambda: query.daily(store, year),
        "top 50 sources, one domain, 90 days": lambda: query.sources(store, one),
        "top 50 sources, fleet, 30 days": lambda: query.sources(store, month),
        "source detail, 90 days": lambda: query.source_detail(store, quarter[0], source, one),
        "reporters, one domain, 90 days": lambda: query.reporters(store, one),
        "reporters, fleet, 30 days": lambda: query.reporters(store, month),
        "domains, fleet, 30 days": lambda: query.domains(store, month),
        "domains, fleet, 365 days": lambda: query.domains(store, year),
        "reports, fleet, first page": lambda: query.reports(store, month),
        "reports, one domain, page 5": lambda: query.reports(store, one, offset=200),
        "records of one report": lambda: query.report_records(store, key),
        "refused, first page": lambda: query.refused(store),
        "intake": lambda: query.intake(store),
        "summary, fleet, all time": lambda: query.summary(store),
        "summary, fleet, 30 days": lambda: query.summary(store, month),
        "summary, one domain, 90 days": lambda: query.summary(store, one),
        "completeness of a day, fleet": lambda: query.completeness(store, LAST - timedelta(2)),
        "completeness of a day, one domain": lambda: query.completeness(store, LAST - timedelta(2), one),
        "sources of a class, fleet, 30 days": lambda: query.sources(
            store, Filters(since=month.since, until=month.until, source_class="own")
        ),
        "sources, fleet, 365 days": lambda: query.sources(store, year),
        "reporters, fleet, 365 days": lambda: query.reporters(store, year),
    }
    out: dict[str, Any] = {"start": time.perf_counter() - started, "questions": {}}
    for name, question in questions.items():
        times, cpu = [], []
        for _ in range(1 + WARM):
            began, worked = time.perf_counter(), time.process_time()
            question()
            times.append((time.perf_counter() - began) * 1000)
            cpu.append((time.process_time() - worked) * 1000)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        out["questions"][name] = (times[0], median(times[1:]), median(cpu[1:]), peak)
    out["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return out


def main() -> None:
    """Make (unless there), ask, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--data", type=Path, help="keep the store here, and use it again")
    parser.add_argument("--ask", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.ask:
        print(json.dumps(ask(args.ask)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        data = args.data or Path(temporary)
        if not (data / "ledger.sqlite").exists():
            make(data, args.rows)
        command = [sys.executable, "-m", "benchmarks.store_speed", "--ask", str(data)]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    print(f"{'question':44} {'first':>8} {'warm':>8} {'cpu':>8} {'peak':>6}   (ms, MiB so far)")
    for name, (first, warm, cpu, peak) in found["questions"].items():
        print(f"{name:44} {first:8.1f} {warm:8.1f} {cpu:8.1f} {peak:6.0f}   {'' if warm <= 100 else 'over 100'}")
    print(f"start and first two questions {found['start']:.2f} s, peak {found['peak']:.0f} MiB")


if __name__ == "__main__":
    main()
