"""Sums by number (digests, totals of whole files, edges by day) are the sums of the plain cube, whatever is asked."""

from __future__ import annotations

import datetime
import os
import random
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dmarcview import query
from dmarcview.library import Library
from dmarcview.query import Filters
from dmarcview.query.filters import RESULTS, SOURCE_CLASS, over_days
from dmarcview.query.traffic import JOIN, WHO, window
from dmarcview.store import SourceRow, Store
from dmarcview.store.sums import ALL_SUMS, BY_DISPOSITION, OF_SOURCES, RATES, outcome
from tests.store_data import D0, DAY, records, report, shape, taken

FIRST = datetime.date(2026, 1, 1)
ENDS = "min(day) as first_day, max(day) as last_day"


def plain(store: Store, filters: Filters, question: str) -> pd.DataFrame:
    """The answer by SQL over the cube, row by row, with nothing kept."""
    asked = over_days(filters)
    store.rollup.ready_sources(store.ledger)
    sql = (
        f"with t as (select c.*, {SOURCE_CLASS} as source_class, {outcome(SOURCE_CLASS)} as outcome "
        f"from cube c {JOIN} where {asked.where}) {question}"
    )
    return store.engine.frame(sql, asked.params, window(store, filters))


def same(found: pd.DataFrame, wanted: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(found, wanted)


def hold_against_the_cube(store: Store, filters: Filters) -> None:
    daily = plain(store, filters, f"select day, {ALL_SUMS} from t group by day order by day")
    found = query.daily(store, filters)
    same(found[found["messages"] > 0].reset_index(drop=True), daily)
    same(
        query.domains(store, filters),
        plain(
            store, filters, f"select domain, {ALL_SUMS}, {ENDS} from t group by domain order by messages desc, domain"
        ),
    )
    same(
        query.classes(store, filters),
        plain(store, filters, f"select domain, source_class, {ALL_SUMS} from t group by all order by 1, 2"),
    )
    same(
        query.reporters(store, filters),
        plain(
            store,
            filters,
            f"select submitter, {RATES}, {BY_DISPOSITION}, count(distinct domain) as domains, {ENDS} from t "
            "group by submitter order by messages desc, submitter",
        ),
    )
    sources = (
        f"select c.*, {WHO} from (select domain, source_ip, {OF_SOURCES}, count(distinct submitter) as reporters, "
        f"{ENDS} from t group by domain, source_ip) c {JOIN} order by messages desc, c.domain, c.source_ip"
    )
    for limit in (2, None):
        same(query.sources(store, filters, limit=limit), plain(store, filters, sources).head(limit or 10**9))


SHAPES = [
    shape(),
    shape(False, True, "quarantine"),
    shape(False, False, "reject"),
    shape(None, None, None),
    shape(None, False, "pass", ("mailing_list",)),
    shape(False, False, "none", ("forwarded",)),
]
ONE = st.tuples(
    st.integers(0, 70 * DAY),  # begin: in three months
    st.sampled_from([0, DAY // 2, DAY, DAY, 9 * DAY, 40 * DAY]),
    st.sampled_from(["example.org", "example.net", "mail.example.org"]),
    st.sampled_from(["a.example", "b.example", "c.example"]),
    st.lists(st.tuples(st.integers(1, 4), st.integers(1, 2**40), st.sampled_from(SHAPES)), min_size=1, max_size=4),
)
DAYS = st.none() | st.integers(-3, 115).map(lambda n: FIRST + datetime.timedelta(n))
ASKED = st.builds(
    Filters,
    domains=st.sampled_from([None, None, ("example.org",), ("example.org", "example.net"), ("nobody.example",), ()]),
    since=DAYS,
    until=DAYS,
    source_class=st.sampled_from([None, None, "own", "unknown", "forwarder"]),
    submitter=st.sampled_from([None, None, "a.example", "nobody.example"]),
    result=st.sampled_from([None, None, *RESULTS]),
    source_ip=st.sampled_from([None, None, "192.0.2.1", "192.0.2.0/24", "192.0.2.2/31", "2001:db8::1"]),
    verified=st.booleans(),
)


@given(
    st.lists(ONE, min_size=1, max_size=9), st.lists(ASKED, min_size=4, max_size=4), st.randoms(use_true_random=False)
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_sum_is_that_of_the_plain_cube_after_every_step(
    tmp_path_factory: pytest.TempPathFactory, made: list[Any], asked: list[Filters], rng: random.Random
) -> None:
    steps = ["append"] * len(made) + ["flush", "flush", "compact", "label", "label", "ask"]
    rng.shuffle(steps)
    with Library.open(tmp_path_factory.mktemp("counted")) as store:
        for n, step in enumerate([*steps, "ask"]):
            if step == "append":
                at, length, domain, submitter, rows = made.pop()
                held = records(*((f"192.0.2.{ip}", count, one) for ip, count, one in rows))
                new = report(f"r{n}", held, begin=D0 + at, end=D0 + at + length, domain=domain, submitter=submitter)
                store.append_many([taken(f"i{n}", new, auth=rng.choice(["pass", "pass", "none"]))])
            elif step == "flush":
                store.flush()
            elif step == "compact":
                store.compact(all_files=True)
            elif step == "label":
                chosen = rng.choice(["own", "third_party", "forwarder", "unknown"])
                store.put_sources([SourceRow("example.org", f"192.0.2.{rng.randint(1, 4)}", chosen, service="Mail")])
            for filters in asked if step == "ask" else asked[:1]:
                hold_against_the_cube(store, filters)


def three_months(store: Store) -> None:
    """Reports of every day of three months, some of which cross the end of a month; one file a month."""
    for n in range(90):
        rows = records((f"192.0.2.{n % 5}", 7 + n, SHAPES[n % len(SHAPES)]), ("198.51.100.1", 3, shape()))
        begin = D0 + n * DAY
        new = report(
            f"r{n}", rows, begin=begin, end=begin + (4 if n % 10 == 0 else 1) * DAY, submitter=f"s{n % 3}.example"
        )
        store.append_many([taken(f"i{n}", new)])
    store.flush()


def test_every_window_over_three_months_is_exact(tmp_path: Path) -> None:
    with Library.open(tmp_path) as store:
        three_months(store)
        assert len(store.snapshot().files) == 3
        for a in range(0, 95, 13):
            for b in range(a, 100, 17):
                since, until = (FIRST + datetime.timedelta(n) for n in (a, b))
                hold_against_the_cube(store, Filters(since=since, until=until))


def test_a_damaged_or_lost_digest_is_made_anew(tmp_path: Path) -> None:
    with Library.open(tmp_path) as store:
        three_months(store)
        wanted = query.sources(store)
        digests = sorted(tmp_path.glob("records/*/*.arrow"))
    assert len(digests) == 6
    digests[0].unlink()
    digests[2].write_bytes(b"ARROW1\0\0 but no more")
    digests[5].write_bytes(b"")
    with Library.open(tmp_path) as store:
        same(query.sources(store), wanted)
        hold_against_the_cube(store, Filters())


def test_a_folder_that_takes_no_digest_is_asked_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Library.open(tmp_path) as store:
        three_months(store)

        def full(_: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        hold_against_the_cube(store, Filters())
        hold_against_the_cube(store, Filters(since=FIRST + datetime.timedelta(20)))
        assert not list(tmp_path.glob("records/*/*.arrow"))
        assert not list(tmp_path.glob("records/*/*.part"))


def test_a_swept_file_takes_its_digest_along(tmp_path: Path) -> None:
    now = [float(D0 + 100 * DAY)]
    with Library.open(tmp_path, clock=lambda: now[0]) as store:
        for n in range(3):
            store.append_many([taken(f"i{n}", report(f"r{n}"))])
            store.flush()
            query.daily(store)
        assert len(list(tmp_path.glob("records/*/*.sums.arrow"))) == 3
        store.compact(all_files=True)
        now[0] += 7200
        store.sweep()
        assert len(list(tmp_path.glob("records/*/*.sums.arrow"))) == 1
        hold_against_the_cube(store, Filters())
