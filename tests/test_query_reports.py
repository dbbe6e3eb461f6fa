"""The list of reports: its pages are cuts of the whole list, whatever is filtered and wherever the rows are."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from dmarcview import query
from dmarcview.library import Library
from dmarcview.query import Filters
from dmarcview.store import SourceRow
from tests.store_data import D0, DAY, records, report, shape, taken

FILTERS = (
    Filters(),
    Filters(verified=False),
    Filters(result="pass"),
    Filters(result="fail", verified=False),
    Filters(source_class="own"),
    Filters(source_ip="192.0.2.3", since=datetime.date(2026, 1, 9)),
    Filters(source_class="unknown", result="pass", until=datetime.date(2026, 2, 20)),
    Filters(domains=("example.net",), source_class="own"),
    Filters(source_ip="203.0.113.9"),
)


@pytest.mark.parametrize("step", ["pending", "filed", "half"])
def test_pages_of_the_list_are_cuts_of_the_whole_list(tmp_path: Path, step: str) -> None:
    with Library.open(tmp_path) as store:
        for n in range(60):
            rows = records((f"192.0.2.{n % 5}", 1 + n, shape(n % 7 == 0, False)))
            begin = D0 + (n * 17 % 60) * DAY
            new = report(
                f"r{n}",
                rows,
                begin=begin,
                end=begin + (1 + n % 4 * 5) * DAY,
                domain="example.net" if n % 3 else "example.org",
            )
            store.append_many([taken(f"i{n}", new, auth="none" if n % 6 == 0 else "pass")])
            if step == "filed" or (step == "half" and n == 30):
                store.flush()
        store.append_many([taken("again", report("r3", content="other"))])  # a conflict, kept apart
        store.put_sources([SourceRow(d, "192.0.2.3", "own") for d in ("example.org", "example.net")])
        for filters in FILTERS:
            for apart in (False, True):
                whole = query.reports(store, filters, limit=None, apart=apart)
                times = (-whole[n].astype("int64") for n in ("end", "begin"))
                ends = list(zip(*times, whole["report_key"], strict=True))
                assert ends == sorted(ends)
                paged = []
                for offset in range(0, len(whole) + 7, 7):
                    page = query.reports(store, filters, limit=7, offset=offset, apart=apart)
                    assert len(page) == max(0, min(7, len(whole) - offset))
                    paged += page["report_key"].tolist()
                assert paged == whole["report_key"].tolist()
        assert len(query.reports(store, Filters(source_class="own"), limit=None)) == 10
        assert len(query.reports(store, Filters(source_class="own", verified=False), limit=None)) == 12
        assert query.reports(store, Filters(), limit=0).empty
