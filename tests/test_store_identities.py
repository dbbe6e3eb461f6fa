"""What one source looked like: the same answer from records by time, from rows by source, and from pending ones."""

from __future__ import annotations

import datetime
import random
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from dmarcview import query
from dmarcview.library import Library
from dmarcview.query import Filters
from dmarcview.query.filters import RESULTS
from dmarcview.store import Retention, Store, StoreFull, identities
from tests.store_data import D0, DAY, records, report, shape, taken

FIRST = datetime.date(2026, 1, 1)
SHAPES = [
    shape(),
    shape(False, True, "quarantine", ("forwarded", "other")),
    shape(None, None, None, signers=()),
    shape(False, False, "reject", signers=(("a\"'\\é.example", "s", "fail"), ("b.example", "", "none"))),
]
ASKED = [
    Filters(),
    Filters(since=FIRST + datetime.timedelta(5), until=FIRST + datetime.timedelta(21)),
    Filters(since=FIRST + datetime.timedelta(40)),
    Filters(submitter="s1.example"),
    Filters(verified=False, result="fail"),
    *(Filters(result=result) for result in sorted(RESULTS)[::4]),
]


@pytest.fixture(autouse=True)
def every_file_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identities, "worth", lambda rows: rows > 0)


def made(count: int) -> list[Any]:
    rng = random.Random(5)
    out = []
    for n in range(count):
        rows = [(f"192.0.2.{rng.randrange(3)}", rng.randint(1, 50), rng.choice(SHAPES)) for _ in range(6)]
        begin = D0 + n * DAY
        fields = {"domain": "example.org" if n % 4 else "example.net", "submitter": f"s{n % 3}.example"}
        out.append(report(f"r{n}", records(*rows), begin=begin, end=begin + (1 + n % 5) * DAY, **fields))
    return out


def fill(store: Store, reports: list[Any]) -> None:
    for n, one in enumerate(reports):
        store.append_many([taken(one.report_id, one, auth="none" if n % 7 == 0 else "pass")])
        if n % 3 == 0:
            store.flush()


def answers(store: Store) -> list[query.SourceDetail]:
    return [
        query.source_detail(store, domain, f"192.0.2.{n}", filters)
        for domain, n in (("example.org", 1), ("example.org", 2), ("example.org", 9), ("nobody.example", 1))
        for filters in ASKED
    ]


def same(found: list[query.SourceDetail], wanted: list[query.SourceDetail]) -> None:
    for one, other in zip(found, wanted, strict=True):
        for name in ("total", "daily", "identities", "reporters"):
            pd.testing.assert_frame_equal(getattr(one, name), getattr(other, name))


def test_rows_by_source_give_the_answers_of_the_records(tmp_path: Path) -> None:
    with Library.open(tmp_path) as store:
        fill(store, made(60))
        pending = answers(store)
        store.flush()
        slow = answers(store)
        same(slow, pending)
        assert not list(tmp_path.glob("records/*/*.identities.parquet"))
        store.compact(all_files=True)
        kept = list(tmp_path.glob("records/*/*.identities.parquet"))
        assert len(kept) == len(store.snapshot().files)
        same(answers(store), slow)
        fill(store, [replace(r, report_id=r.report_id + "x", content_hash=r.content_hash[::-1]) for r in made(9)])
        both = answers(store)
        store.compact(all_files=True)
        same(answers(store), both)
        assert store.check().faults == ()


def test_identities_are_those_of_a_plain_count(tmp_path: Path) -> None:
    with Library.open(tmp_path) as store:
        reports = [r for r in made(30) if r.domain == "example.org"]
        store.append_many([taken(r.report_id, r) for r in reports])
        store.flush()
        store.compact()
        found = query.source_detail(store, "example.org", "192.0.2.1").identities
    messages: Counter[Any] = Counter()
    within: dict[Any, set[str]] = defaultdict(set)
    for one in reports:
        for ip, count, at in zip(one.records.source_ip, one.records.count, one.records.shape, strict=True):
            if ip == "192.0.2.1":
                messages[one.records.shapes[at]] += count
                within[one.records.shapes[at]].add(one.report_id)
    by_signers = {
        tuple((d["domain"], d["selector"], d["result"]) for d in row.dkim): (row.messages, row.reports)
        for row in found.itertuples()
    }
    assert by_signers == {
        tuple((d.domain, d.selector, d.result) for d in s.dkim): (n, len(within[s])) for s, n in messages.items()
    }
    assert found["messages"].tolist() == sorted(messages.values(), reverse=True)
    assert found["override_types"].tolist().count(["forwarded", "other"]) == 1


def test_lost_rows_by_source_are_made_by_upkeep_and_swept_with_their_file(tmp_path: Path) -> None:
    now = [float(D0 + 100 * DAY)]
    with Library.open(tmp_path, clock=lambda: now[0]) as store:
        fill(store, made(20))
        store.compact(all_files=True)
        wanted = answers(store)
        for path in tmp_path.glob("records/*/*.identities.parquet"):
            path.unlink()
            path.with_name(path.name.replace("identities", "source")).write_bytes(b"of an older version")
        same(answers(store), wanted)
        store.compact()
        assert list(tmp_path.glob("records/*/*.identities.parquet"))
        same(answers(store), wanted)
        store.prune(Retention(forget=("example.org", "example.net")))
        now[0] += 7200
        store.sweep()
        assert not [path for path in tmp_path.glob("records/*/*") if path.is_file()]


def test_a_full_disk_leaves_no_torn_rows_by_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Library.open(tmp_path) as store:
        fill(store, made(8))
        store.flush()
        wanted = answers(store)

        def full(_: Path) -> int:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as failing:
            failing.setattr(identities, "sync_file", full)
            with pytest.raises(StoreFull):
                store.compact()
        assert not [p for p in tmp_path.glob("records/*/*") if ".identities" in p.name]
        same(answers(store), wanted)
        store.compact()
        same(answers(store), wanted)
