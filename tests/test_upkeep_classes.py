"""Upkeep gives every source its class, whatever comes in meanwhile and whatever the geo files are."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from test_sources_refresh import NOW, classes, keep, report, shape

from dmarcview.config import Config
from dmarcview.sources import Refreshed, Refresher
from dmarcview.sources.refresh import SourceBook
from dmarcview.store import StoreBusy
from dmarcview.upkeep import Upkeep
from dmarcview_reports.model import Record


@pytest.fixture
def config(tmp_path: Path) -> Config:
    given = Config()
    return replace(given, data=replace(given.data, dir=str(tmp_path / "data")))


@pytest.fixture
def upkeep(config: Config) -> Iterable[Upkeep]:
    made = Upkeep(config, None, lambda: NOW)
    yield made
    made.stop()


def one(ip: str) -> list[Record]:
    return [Record(ip, 30, shape("example.org"))]


def test_a_mail_that_comes_while_sources_are_judged_is_seen_by_the_next_step(
    upkeep: Upkeep, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(upkeep.store, report("example.org", 1, one("192.0.2.1")))
    run = Refresher.run

    def slow(self: Refresher, store: SourceBook, now: int, *, everything: bool = False) -> Refreshed:
        done = run(self, store, now, everything=everything)
        if done.written == 1 and len(classes(upkeep.store)) == 1:
            keep(upkeep.store, report("example.org", 2, one("192.0.2.2")))
        return done

    monkeypatch.setattr(Refresher, "run", slow)
    upkeep.step()
    assert set(classes(upkeep.store)) == {("example.org", "192.0.2.1")}
    upkeep.step()
    assert set(classes(upkeep.store)) == {("example.org", "192.0.2.1"), ("example.org", "192.0.2.2")}


def test_new_names_are_followed_although_the_store_was_busy_at_first(
    upkeep: Upkeep, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(upkeep.store, report("example.org", 1, one("192.0.2.1")))
    upkeep.step()
    asked: list[bool] = []

    def busy(self: Refresher, store: SourceBook, now: int, *, everything: bool = False) -> Refreshed:
        asked.append(everything)
        if len(asked) == 1:
            raise StoreBusy("the ledger is locked")
        return Refreshed(0, 0, 0)

    monkeypatch.setattr(Refresher, "run", busy)
    upkeep._everything.set()
    with pytest.raises(StoreBusy):
        upkeep.step()
    upkeep.step()
    assert asked == [True, True]


def test_a_geo_file_that_cannot_be_read_is_told_of_and_left_out(
    config: Config, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = tmp_path / "country.mmdb"
    broken.write_bytes(b"no such thing")
    upkeep = Upkeep(replace(config, geo=replace(config.geo, country=str(broken))), None, lambda: NOW)
    try:
        keep(upkeep.store, report("example.org", 1, one("10.0.0.1")))
        with caplog.at_level(logging.ERROR):
            upkeep.step()
        assert classes(upkeep.store) == {("example.org", "10.0.0.1"): "unknown"}
        assert str(broken) in caplog.text
    finally:
        upkeep.stop()
