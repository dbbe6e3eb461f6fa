"""Exports: parsedmarc's very fields, values and order; formulas defused; every format holds every row."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmarcview import export
from dmarcview.parsedmarc import FIELDS, shares
from dmarcview.query import Filters
from dmarcview.store import Store
from dmarcview_reports import reading
from dmarcview_reports.model import Origin, Taken
from dmarcview_reports.schema import COLUMNS
from dmarcview_reports.settings import Limits

# What parsedmarc 11.1.0 wrote for the two reports beside it (`TZ=UTC parsedmarc --offline -o . FILE`).
THEIRS = Path(__file__).parent / "parsedmarc"
NOW = 1_735_900_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "d", clock=lambda: NOW) as made:
        for file in sorted(THEIRS.glob("*.xml")):
            raw = file.read_bytes()
            made.append_many([Taken(Origin(file.name, NOW), raw, reading.read(raw, file.name, Limits(), NOW))])
        yield made


def written(store: Store, format: str, filters: Filters | None = None) -> bytes:
    out = io.BytesIO()
    export.write(store, filters or Filters(), format, out)
    return out.getvalue()


def test_parsedmarc_csv_is_what_parsedmarc_writes(store: Store) -> None:
    ours = list(csv.DictReader(io.StringIO(written(store, "parsedmarc-csv").decode())))
    theirs = list(csv.DictReader(io.StringIO((THEIRS / "aggregate.csv").read_text())))
    assert list(ours[0]) == list(theirs[0]) == list(FIELDS)

    def order(row: dict[str, str]) -> tuple[str, ...]:
        return row["report_id"], row["source_ip_address"], row["begin_date"]

    assert sorted(ours, key=order) == sorted(theirs, key=order)


def test_parsedmarc_json_is_what_parsedmarc_writes(store: Store) -> None:
    ours = {one["report_metadata"]["report_id"]: one for one in json.loads(written(store, "parsedmarc-json"))}
    theirs = {one["report_metadata"]["report_id"]: one for one in json.loads((THEIRS / "aggregate.json").read_text())}
    assert ours == theirs
    for name, report in theirs.items():  # equal dicts may differ in order, which scripts see
        assert json.dumps(ours[name]) == json.dumps(report)


def test_csv_and_json_hold_every_row_and_column(store: Store) -> None:
    rows = list(csv.DictReader(io.StringIO(written(store, "csv").decode())))
    assert list(rows[0]) == [column.name for column in COLUMNS]
    assert sum(int(row["count"]) for row in rows) == 26
    listed = json.loads(written(store, "json"))
    assert [list(row) for row in listed] == [[column.name for column in COLUMNS]] * 4
    assert {row["begin"] for row in listed} == {"2024-12-31T00:00:00Z", "2024-12-31T12:00:00Z"}


def test_parquet_reads_back(store: Store, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    export.write_file(store, Filters(), "parquet", str(tmp_path / "out.parquet"))
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.column_names == [column.name for column in COLUMNS]
    assert sum(table["count"].to_pylist()) == 26
    assert [path.name for path in tmp_path.glob(".out*")] == []


@pytest.mark.parametrize("format", sorted(export.FORMATS))
def test_an_export_of_nothing_is_well_formed(store: Store, format: str) -> None:
    raw = written(store, format, Filters(domains=("nowhere.example",)))
    if format.endswith("json"):
        assert json.loads(raw) == []
    elif format.endswith("csv"):
        assert len(raw.splitlines()) == 1
    else:
        assert raw[:4] == b"PAR1"


@pytest.mark.parametrize("format", ["csv", "parsedmarc-csv"])
def test_no_cell_is_a_formula(tmp_path: Path, format: str) -> None:
    xml = (THEIRS / "year_end.xml").read_text().replace("Example Receiver", "=HYPERLINK(&quot;x&quot;) a")
    raw = xml.encode()
    with Store.open(tmp_path / "f", clock=lambda: NOW) as store:
        store.append_many([Taken(Origin("f", NOW), raw, reading.read(raw, "f", Limits(), NOW))])
        cells = [cell for row in csv.reader(io.StringIO(written(store, format).decode())) for cell in row]
    assert '\'=HYPERLINK("x") a' in cells
    assert not [cell for cell in cells if cell[:1] in ("=", "+", "-", "@", "\t", "\r")]


def test_a_failed_export_leaves_no_file(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        export.write_file(store, Filters(), "csv", str(tmp_path / "out.csv"))
    assert [path.name for path in tmp_path.iterdir() if "out" in path.name] == []


MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)).map(lambda t: t.replace(microsecond=0, tzinfo=UTC))


@settings(deadline=None)
@given(MOMENTS, MOMENTS, st.integers(1, 10**9))
def test_shares_of_a_long_period_add_up_to_the_count(one: datetime, other: datetime, count: int) -> None:
    begin, end = sorted((one, other))
    if begin == end or (end - begin).days > 400:
        return
    parts = shares(begin, end, count)
    assert sum(part for _, _, part in parts) == count
    assert all(start < stop and begin <= start and stop <= end for start, stop, _ in parts)
