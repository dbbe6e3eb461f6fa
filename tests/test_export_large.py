"""Exports larger than memory: piece by piece in the order of one sort, in bounded memory; faults are sentences."""

from __future__ import annotations

import csv
import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmarcview.cli import main
from dmarcview.query import Filters, stream
from dmarcview.query.spans import Key, Span, cut
from dmarcview.store import SourceRow, Store, StoreDamaged, StoreError
from dmarcview.store.engine import Engine
from dmarcview_reports.schema import COLUMNS
from tests.store_data import D0, DAY, records, report, shape, taken

RECORDS = 300_000
MOST = 400  # MiB, for a million rows as for these
ORDER = ("domain", "begin", "report_key", "source_ip")

IMPORT = f"""
import sys
from benchmarks import corpus
from dmarcview.cli import main
from dmarcview.store import Store
from dmarcview_reports import reading
from dmarcview_reports.model import Origin, Taken
from dmarcview_reports.settings import Limits
raw = corpus.report({RECORDS}, distinct=False, sources=100_000)
now = corpus.BEGIN + 400 * corpus.DAY
found = reading.read(raw, "large", Limits(xml_bytes=len(raw)), now)
with Store.open(sys.argv[1]) as store:
    store.append_many([Taken(Origin("large", now), raw, found)], keep_raw=False)
    print(found.reports[0].records.messages)
"""
EXPORT = """
import sys
from benchmarks.peer import peak
from dmarcview.cli import main
data, format, out = sys.argv[1:]
assert main(["export", "--data", data, "--format", format, "--output", out]) == 0
print(peak())
"""


def child(script: str, *args: str) -> str:
    run = subprocess.run([sys.executable, "-c", script, *args], capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr[-2000:]
    return run.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, int]:
    """The folder of a store with one report of RECORDS records, whose sources are classified; and its messages."""
    data = str(tmp_path_factory.mktemp("large") / "data")
    messages = int(child(IMPORT, data))
    child("import sys; from dmarcview.cli import main; main(['summary', '--data', sys.argv[1]])", data)
    return data, messages


def exported(format: str, path: Path) -> Iterator[tuple[str, int]]:
    """(address, count) of each row."""
    with path.open(encoding="utf-8", newline="") as file:
        if format == "json":
            for line in file:
                if line[0] == "{":
                    row = json.loads(line.rstrip(",\n"))
                    yield row["source_ip"], row["count"]
        else:
            address = "source_ip" if format == "csv" else "source_ip_address"
            for row in csv.DictReader(file):
                yield row[address], int(row["count"])


@pytest.mark.slow
@pytest.mark.parametrize("format", ["csv", "json", "parsedmarc-csv"])
def test_a_report_of_three_hundred_thousand_records_is_exported_whole_and_in_order_in_bounded_memory(
    large: tuple[str, int], tmp_path: Path, format: str
) -> None:
    data, messages = large
    out = tmp_path / "out"
    assert float(child(EXPORT, data, format, str(out))) < MOST
    rows = 0
    total = 0
    before = ("", 0)
    for address, count in exported(format, out):
        rows, total = rows + 1, total + count
        assert before <= (address, -count)
        before = (address, -count)
    assert (rows, total) == (RECORDS, messages)


# the same as one sort


@pytest.fixture
def mixed(tmp_path: Path) -> Iterator[Store]:
    """Files and pending rows; two domains; reports of one period side by side; a report with an address of 9 rows."""
    shapes = [shape(), shape(dkim=False, disposition="reject", signers=())]
    with Store.open(tmp_path / "d", clock=lambda: D0 + 40 * DAY) as store:
        for number in range(30):
            rows = [(f"192.0.2.{n * 7 % 5}", n * 3 % 4 + 1, shapes[n % 2]) for n in range(number % 13)]
            if number == 7:
                rows += [("192.0.2.3", n + 1, shapes[n % 2]) for n in range(9)] + [("203.0.113.9", 1, shapes[0])]
            if not rows:
                continue
            begin = D0 + number // 4 * DAY
            name = "example.org" if number % 3 else "example.net"
            one = report(f"r{number}", records(*rows), domain=name, begin=begin, end=begin + DAY, content=str(number))
            store.append_many([taken(f"f{number}", one)])
            if number in (10, 20):
                store.flush()
        store.put_sources([SourceRow("example.org", f"192.0.2.{n}", "own" if n % 2 else "forwarder") for n in range(4)])
        store.put_sources([SourceRow("example.org", "192.0.2.1", "third_party")])  # newer, in a block of its own
        yield store


def rows_of(store: Store, filters: Filters) -> list[dict[str, Any]]:
    return [row for batch in stream.record_batches(store, filters) for row in batch.to_pylist()]


@pytest.mark.parametrize(
    "filters",
    [
        Filters(),
        Filters(domains=("example.net",)),
        Filters(source_class="third_party"),
        Filters(source_class="unknown", result="fail"),
        Filters(since=date(2026, 1, 3), until=date(2026, 1, 5)),
        Filters(source_ip="192.0.2.3", verified=False),
        Filters(domains=("nowhere.example",)),
    ],
    ids=repr,
)
@pytest.mark.parametrize("piece", [1, 4, 7, 10_000])
def test_pieces_of_any_size_are_the_rows_of_one_sort(
    mixed: Store, monkeypatch: pytest.MonkeyPatch, filters: Filters, piece: int
) -> None:
    from dmarcview import query

    monkeypatch.setattr(stream, "PIECE", piece)
    found = rows_of(mixed, filters)
    wanted = query.records(mixed, filters, limit=None).to_dict("records")
    assert [tuple(row[n] for n in ORDER) for row in found] == sorted(tuple(row[n] for n in ORDER) for row in wanted)
    facts = ("report_key", "source_ip", "count", "disposition", "source_class")
    assert sorted([str(row[n]) for n in facts] for row in found) == sorted([str(r[n]) for n in facts] for r in wanted)
    if found:
        assert list(found[0]) == [column.name for column in COLUMNS]
    if piece == 10_000:
        counts = [(*(row[n] for n in ORDER), -row["count"]) for row in found]
        assert counts == sorted(counts)


SIZES = st.lists(st.integers(0, 30), max_size=40)


@given(SIZES, st.integers(1, 20))
def test_spans_join_without_gaps_and_hold_no_more_than_they_may(sizes: list[int], rows: int) -> None:
    keys = [(Key("example.org", n // 3, f"{n:04}"), size) for n, size in enumerate(sizes)]
    found = list(cut(keys, rows))
    assert (found[0].low, found[-1].high) == (None, None)
    assert all(one.high is not None and one.high == other.low for one, other in itertools.pairwise(found))
    for span in found:
        inside = [s for k, s in keys if (span.low is None or k > span.low) and (span.high is None or k <= span.high)]
        assert len(inside) == 1 and inside[0] > rows if span.alone else sum(inside) < 2 * rows


def test_a_span_without_bounds_has_no_condition() -> None:
    assert Span(None, None).where() == ("true", {})


# faults of the engine


def test_a_question_too_large_for_the_engine_says_so(tmp_path: Path) -> None:
    engine = Engine(tmp_path, tmp_path / "spill", "4MB")
    try:
        with pytest.raises(StoreError, match=r"needs more memory|free disk space"):
            engine.rows("select list(i order by i desc) from range(3000000) t(i)", {})
        assert engine.rows("select 1", {}) == [(1,)]
    finally:
        engine.close()


def test_an_export_from_a_damaged_file_is_one_sentence_and_exit_three(
    mixed: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (mixed.data / "records").glob("*/*.parquet"):
        if path.name.count(".") == 1:
            path.write_bytes(b"no parquet " * 100)
    with pytest.raises(StoreDamaged, match="restore a backup or run dmarcview reindex"):
        rows_of(mixed, Filters())
    out = tmp_path / "out.csv"
    assert main(["export", "--data", str(mixed.data), "--format", "csv", "--output", str(out)]) == 3
    said = capsys.readouterr().err
    assert said.startswith("dmarcview: a record file cannot be read")
    assert said.count("\n") == 1
    assert not out.exists()
