"""Sources by the column: the same facts as one by one, and blocks of classes in which the newest row wins."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_sources_refresh import DAY, NOW, keep, report

from dmarcview import query
from dmarcview.store import Named, SourceFacts, SourceRow, Store, blocks, rollup, tables
from dmarcview_reports.model import DkimResult, Record, Shape, SpfResult

NAMES = ("example.org", "Mail.example.org", "bounce.example.net", "", None)
RESULTS = ("pass", "fail", "softfail", None)


@st.composite
def shapes(draw: st.DrawFn) -> Shape:
    dkim = st.builds(
        DkimResult, st.sampled_from(NAMES), st.sampled_from(["s1", "s2", "", None]), st.sampled_from(RESULTS),
        st.sampled_from([None, "x", "y"]),
    )  # fmt: skip
    spf = st.builds(
        SpfResult, st.sampled_from(NAMES), st.sampled_from(["mfrom", "helo", None]), st.sampled_from(RESULTS), st.none()
    )
    forwarded = draw(st.sampled_from([(), ("forwarded",), ("other", "mailing_list")]))
    return Shape(
        draw(st.sampled_from(["none", "reject", None])),
        draw(st.sampled_from([True, False, None])),
        draw(st.sampled_from([True, False, None])),
        forwarded,
        ("",) * len(forwarded),
        "example.org",
        draw(st.sampled_from(NAMES)),
        None,
        tuple(draw(st.lists(dkim, max_size=3))),
        tuple(draw(st.lists(spf, max_size=2))),
    )


records = st.builds(
    Record, st.sampled_from(["192.0.2.1", "192.0.2.2", "2001:db8::1"]), st.integers(0, 1 << 40), shapes()
)


def one_by_one(made: list[tuple[str, list[Record]]]) -> set[SourceFacts]:
    """The facts of each source, record after record; the reports are of one day each, the first of today."""
    held: dict[tuple[str, str], list[tuple[int, Record]]] = defaultdict(list)
    for back, (domain, found) in enumerate(made):
        for record in found:
            held[domain, record.source_ip].append((NOW // DAY - back, record))
    out = set()
    for (domain, ip), rows in held.items():
        counts = [(record.count, record.shape) for _, record in rows]
        spf, dkim = sum(n for n, s in counts if s.spf_aligned), sum(n for n, s in counts if s.dkim_aligned)
        both = sum(n for n, s in counts if s.spf_aligned and s.dkim_aligned)
        forwarded = sum(n for n, s in counts if {"forwarded", "mailing_list"} & set(s.override_types))
        days = {day for day, _ in rows}
        names = (
            busiest((n, {(d.domain, d.selector, good(d.result)) for d in s.dkim}) for n, s in counts),
            busiest((n, {(d.domain, d.scope, good(d.result)) for d in s.spf}) for n, s in counts),
            busiest((n, {(s.envelope_from, None, None)}) for n, s in counts),
        )
        seen = (min(days) * DAY, max(days) * DAY + DAY - 1, len(days))
        total = sum(n for n, _ in counts)
        out.add(SourceFacts(domain, ip, total, spf + dkim - both, spf, dkim, both, forwarded, *seen, *names))
    return out


def good(result: str | None) -> bool | None:
    return None if result is None else result == "pass"


def busiest(carried: Iterable[tuple[int, set[tuple[str | None, str | None, bool | None]]]]) -> tuple[Named, ...]:
    """The names, most messages first, then by name; a record counts once for a name."""
    sums: Counter[tuple[str, str | None, bool | None]] = Counter()
    for messages, names in carried:
        for name, second, passed in names:
            if name is not None:
                sums[name, second, passed] += messages
    order = sorted(sums, key=lambda n: (-sums[n], n[0], n[1] is None, n[1] or "", n[2] is None, bool(n[2])))
    return tuple(Named(*name, sums[name]) for name in order[:20])


@pytest.fixture
def store(tmp_path: Path) -> Iterable[Store]:
    with Store.open(tmp_path / "data", clock=lambda: NOW) as opened:
        yield opened


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["example.org", "b.example"]), st.lists(records, max_size=8)), max_size=5))
def test_columns_hold_the_facts_of_each_source(
    tmp_path_factory: pytest.TempPathFactory, made: list[tuple[str, list[Record]]]
) -> None:
    with Store.open(tmp_path_factory.mktemp("data"), clock=lambda: NOW) as store:
        for day, (domain, found) in enumerate(made):
            keep(store, report(domain, day, found))
            if day == 2:
                store.flush()  # files and pending rows together
        columns = store.source_columns()
        by_column = {columns.facts(place) for place in range(len(columns))}
        assert by_column == one_by_one(made)
        some = store.source_columns(domains=["b.example"])
        assert {facts for facts in by_column if facts.domain == "b.example"} == {
            some.facts(place) for place in range(len(some))
        }
        pairs = [("example.org", "192.0.2.1"), ("example.org", "198.51.100.1")]
        one = store.source_columns(pairs=pairs)
        assert {facts for facts in by_column if (facts.domain, facts.source_ip) == pairs[0]} == {
            one.facts(place) for place in range(len(one))
        }


def test_of_very_many_names_the_busiest_are_kept(store: Store) -> None:
    found = []
    for number in range(60):
        results = (DkimResult(f"d{number % 37:02}.example", "s", "pass", None),)
        shape = Shape("none", True, False, (), (), "example.org", None, None, results, ())
        found.append(Record("192.0.2.1", 1 + number * 7 % 23, shape))
    keep(store, report("example.org", 0, found))
    facts = store.source_columns().facts(0)
    assert len(facts.dkim) == 20
    assert {facts} == one_by_one([("example.org", found)])


def test_newest_row_of_a_source_wins_and_blocks_stay_few(store: Store) -> None:
    rows = [SourceRow("example.org", f"192.0.2.{n}", "unknown", messages=n) for n in range(200)]
    store.put_sources(rows, upto=7)
    assert store.classified() == 7
    for step in range(1, 40):
        rows[step] = replace(rows[step], source_class="own", messages=1_000 + step, evidence=({"code": "x"},))
        store.put_sources([rows[step]])
    assert store.source_rows("example.org") == sorted(rows, key=lambda row: row.source_ip)
    assert store.source_rows("example.org", "192.0.2.7") == [rows[7]]
    assert store.source_rows("example.com") == []
    with store.ledger.read() as conn:
        assert len(conn.execute(tables.source_blocks.select()).all()) <= blocks.BLOCKS + 1


def test_only_a_changed_class_grows_the_version_and_equal_rows_are_not_written(store: Store) -> None:
    row = SourceRow("example.org", "192.0.2.1", "own", messages=5)
    content = blocks.from_rows([row])
    assert store.put_source_table(content) == (1, 1)
    version = store.version()
    assert store.put_source_table(content) == (0, 0)
    assert store.put_source_table(blocks.from_rows([replace(row, messages=6)])) == (1, 0)
    assert store.version() == version
    assert store.put_source_table(blocks.from_rows([replace(row, source_class="forwarder")])) == (1, 1)
    assert store.version() > version
    assert store.source_rows() == [replace(row, source_class="forwarder")]


def test_text_that_no_database_can_hold_is_made_safe(store: Store) -> None:
    store.put_sources([SourceRow("example.org", "192.0.2.1", "own", as_name="a\x00b\udcff")])
    assert store.source_rows()[0].as_name == "a\ufffdb?"


def test_questions_know_the_newest_class_whatever_the_pieces(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "ROWS", 3)
    monkeypatch.setattr(rollup, "STEP", 7)
    shape = Shape("none", True, False, (), (), "example.org", None, None, (), ())
    keep(store, report("example.org", 0, [Record(f"192.0.2.{n}", 1, shape) for n in range(40)]))
    wanted = dict.fromkeys((f"192.0.2.{n}" for n in range(40)), "unknown")

    def known(asked: Store) -> dict[str, str]:
        found = query.sources(asked, limit=None)
        return dict(zip(found["source_ip"], found["source_class"], strict=True))

    def by_day(asked: Store) -> list[int]:
        return query.daily(asked, query.Filters(source_class="own"))["messages"].tolist()

    for step, size in enumerate((40, 7, 5, 12, 1)):
        ips = [f"192.0.2.{(step * 11 + n) % 40}" for n in range(size)]
        found = ("own", "forwarder", "own", "third_party", "own")[step]
        wanted |= dict.fromkeys(ips, found)
        store.put_sources([SourceRow("example.org", ip, found) for ip in ips])
        with Store.open(store.data, read_only=True) as fresh:
            for asked in (store, fresh):
                assert known(asked) == wanted
                assert by_day(asked) == [list(wanted.values()).count("own")]
    with store.ledger.read() as conn:
        assert len(conn.execute(tables.source_blocks.select()).all()) > 1
