"""Attacks that worked once, each under its own name: what a stranger, or a file from a stranger, must not reach."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import sys
import time
import tracemalloc
import zlib
from collections.abc import Sequence
from pathlib import Path

import pytest

from dmarcview import query
from dmarcview.config import Config
from dmarcview.store import Store
from dmarcview.terminal import defused
from dmarcview.upkeep import Late
from dmarcview_reports import mbox, parse, reading, trust
from dmarcview_reports.errors import Refused
from dmarcview_reports.ingest import Ingest, IngestSettings
from dmarcview_reports.model import Origin, Stored, Taken, Verdict
from dmarcview_reports.settings import Limits
from dmarcview_reports.spool import Spool
from dmarcview_reports.trust_dns import FixedResolver
from dmarcview_smtp.content import Collector
from dmarcview_smtp.settings import DoorSettings

XML = (Path(__file__).parent / "parsedmarc" / "year_end.xml").read_bytes()
PASS = Verdict("pass", "dkim=pass", "receiver.example.net")
HEAD = b"From: a@receiver.example.net\nContent-Type: text/xml\n\n"


def record(count: int) -> bytes:
    return (
        b"<record><row><source_ip>192.0.2.1</source_ip><count>%d</count><policy_evaluated><disposition>none</disposition>"
        b"<dkim>pass</dkim><spf>fail</spf></policy_evaluated></row>"
        b"<identifiers><header_from>example.org</header_from></identifiers></record>" % count
    )


def report(records: Sequence[bytes], number: int = 1) -> bytes:
    return (
        b"<feedback><report_metadata><org_name>R</org_name><email>a@receiver.example.net</email>"
        b"<report_id>%d</report_id><date_range><begin>1767225600</begin><end>1767311999</end></date_range>"
        b"</report_metadata><policy_published><domain>example.org</domain><p>none</p></policy_published>"
        % number
        + b"".join(records)
        + b"</feedback>"
    )


def fill(folder: Path, raws: Sequence[bytes], *, apart: bool = False) -> Spool:
    """A spool with these mails, in one batch or each in its own."""
    spool = Spool(folder, reserve=0)
    origin = Origin("", int(time.time()), "smtp", client="192.0.2.1")

    async def put() -> None:
        if apart:
            for raw in raws:
                await spool.put(origin, raw)
        else:
            await asyncio.gather(*(spool.put(origin, raw) for raw in raws))

    asyncio.run(put())
    spool.close()
    return spool


def ingest(spool: Spool, sink: object, **settings: float) -> Ingest:
    changed = IngestSettings(**settings)  # type: ignore[arg-type]
    return Ingest(spool, sink, spool.path / "marks", judge=lambda _raw, _origin: PASS, settings=changed)  # type: ignore[arg-type]


@pytest.mark.parametrize("fast", [True, False])
def test_counts_whose_sum_leaves_64_bits_cannot_stop_the_ingest(tmp_path: Path, fast: bool) -> None:
    huge = report([record(2**53)] * 1100)
    found = parse.parse(huge, fast=fast)
    assert found.warning_counts["bad_count"] == 1100
    many = report([record(10**11)] * 1100, 2)
    with pytest.raises(Refused, match="too_complex"):
        parse.parse(many, fast=fast)
    spool = fill(tmp_path / "s", [HEAD + huge, HEAD + many, HEAD + XML])
    with Store.open(tmp_path / "d") as store:
        worker = ingest(spool, store)
        worker.step()
        worker.close()
        assert query.summary(store, query.Filters())["messages"] == 16
    assert spool.waiting() == 0


class Sink:
    """Refuses with a fault of its own (a bug) whatever holds `poison`, and counts what it gets at a time."""

    def __init__(self) -> None:
        self.stored: list[Taken] = []
        self.largest_bytes = self.largest_records = 0

    def append_many(self, taken: Sequence[Taken]) -> list[Stored]:
        self.largest_bytes = max(self.largest_bytes, sum(len(one.raw) for one in taken))
        self.largest_records = max(
            self.largest_records, sum(len(each.records) for one in taken for each in one.reading.reports)
        )
        if any(b"poison" in one.raw and one.reading.reports for one in taken):
            raise OverflowError("Python int too large to convert to SQLite INTEGER")
        self.stored += taken
        return [Stored(refused=len(one.reading.refusals)) for one in taken]


def test_a_mail_on_which_the_store_itself_fails_is_set_aside_and_the_others_are_stored(tmp_path: Path) -> None:
    raws = [HEAD + XML, HEAD + XML.replace(b"</feedback>", b"<!--poison--></feedback>"), HEAD + XML + b" "]
    spool, sink = fill(tmp_path / "s", raws), Sink()
    worker = ingest(spool, sink)
    assert worker.step() == 3
    worker.close()
    assert spool.waiting() == 0
    assert sorted(one.raw for one in sink.stored) == sorted(raws)
    codes = [refusal.code for one in sink.stored for refusal in one.reading.refusals]
    assert codes == ["fault"]


def test_many_large_mails_in_the_spool_are_not_all_held_at_once(tmp_path: Path) -> None:
    big = HEAD + XML + b" " * 4_000_000
    spool, sink = fill(tmp_path / "s", [big + b"%d" % n for n in range(40)], apart=True), Sink()
    worker = ingest(spool, sink)
    assert worker.step() == 40
    worker.close()
    assert spool.waiting() == 0
    assert len(sink.stored) == 40
    assert sink.largest_bytes < 60_000_000


def test_many_reports_that_unpack_to_millions_of_records_are_stored_one_after_the_other(tmp_path: Path) -> None:
    small = [HEAD + report([record(1)] * 60_000, number) for number in range(10)]
    spool, sink = fill(tmp_path / "s", small), Sink()
    worker = ingest(spool, sink)
    worker.step()
    worker.close()
    assert len(sink.stored) == 10
    assert sink.largest_records < 300_000


def test_one_mail_with_many_reports_cannot_hold_more_records_than_the_limit_and_one_report() -> None:
    parts = b"".join(
        b"--b\nContent-Type: text/xml\n\n" + report([record(1)] * 60, number) + b"\n" for number in range(20)
    )
    raw = b"From: a@receiver.example.net\nContent-Type: multipart/mixed; boundary=b\n\n" + parts + b"--b--\n"
    found = reading.read(raw, "mail", Limits(records=100), int(time.time()))
    assert sum(len(one.records) for one in found.reports) == 120
    assert {refusal.code for refusal in found.refusals} == {"too_many_records"}
    assert len(found.refusals) == 18


@pytest.mark.parametrize("fast", [True, False])
def test_millions_of_different_signatures_in_one_report_are_refused(
    fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dmarcview_reports.parse_rows.MAX_RESULTS", 1_000)

    def signed(number: int) -> bytes:
        results = b"".join(b"<dkim><domain>d%d-%d.example</domain></dkim>" % (number, n) for n in range(50))
        return record(1).replace(b"</record>", b"<auth_results>" + results + b"</auth_results></record>")

    assert len(parse.parse(report([signed(1)] * 100), fast=fast).records) == 100
    with pytest.raises(Refused, match="too_complex"):
        parse.parse(report([signed(n) for n in range(30)]), fast=fast)


@pytest.mark.parametrize(
    "content",
    [
        b"dmarcview-mail 1 2 999999999999999\n{}",
        b"dmarcview-mail 1 -1 -1\n" + b"x" * 5000,
        b"dmarcview-mail 1 999999999999999999999999999 0\n",
        b"dmarcview-mail 1 2 0\n[]" + b"%08x\n" % zlib.crc32(b"[]"),
        b"\x00" * 100_000,
        b"",
    ],
    ids=["mail past the end", "negative", "past 64 bits", "header is a list", "zeros", "nothing"],
)
def test_garbage_planted_in_the_spool_is_set_aside_and_mails_behind_it_are_stored(
    tmp_path: Path, content: bytes
) -> None:
    spool = fill(tmp_path / "s", [HEAD + XML])
    (spool.new / "00000000000000000001-1-0.batch").write_bytes(content)
    sink = Sink()
    worker = ingest(spool, sink)
    worker.step()
    worker.close()
    assert [one.raw for one in sink.stored] == [HEAD + XML]
    assert len(list(spool.bad.iterdir())) == 1


def test_pipes_folders_and_links_planted_in_the_spool_hold_nothing_up(tmp_path: Path) -> None:
    spool = fill(tmp_path / "s", [HEAD + XML])
    os.mkfifo(spool.new / "00000000000000000001-1-0.batch")
    (spool.new / "00000000000000000002-1-0.batch").mkdir()
    (spool.new / "00000000000000000003-1-0.batch").symlink_to("/dev/zero")
    (spool.tmp / "00000000000000000004-1-0").mkdir()
    sink = Sink()
    worker = ingest(Spool(tmp_path / "s", reserve=0), sink)
    assert worker.step() == 1
    worker.close()
    assert [one.raw for one in sink.stored] == [HEAD + XML]


def test_a_client_that_sends_a_mail_in_tiny_packets_costs_no_more_memory_than_its_bytes() -> None:
    collector, buffer = Collector(DoorSettings(), None), bytearray()
    collector.start(buffer)
    tracemalloc.start()
    try:
        for _ in range(60_000):
            buffer += b"ab"
            assert not collector.scan(buffer)
        used = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
        collector.drop()
    assert used < 400_000


def test_an_mbox_of_short_lines_costs_no_more_memory_than_its_bytes() -> None:
    raw = b"From a@b.example Thu Jan  1 00:00:00 2026\nSubject: x\n\n" + b"a\n" * 1_000_000
    tracemalloc.start()
    try:
        found = next(mbox.split_bytes(raw, Limits()))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found == raw.partition(b"\n")[2]
    assert peak < 12_000_000


def test_nobody_else_on_the_machine_can_read_what_an_import_keeps(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_bytes(XML)
    data = tmp_path / "data"
    command = [sys.executable, "-m", "dmarcview", "import", "--data", str(data), str(tmp_path / "a.xml")]
    subprocess.run(command, check=True, capture_output=True, umask=0o022)
    made = [data, *data.rglob("*")]
    assert len(made) > 4
    assert [path for path in made if stat.S_IMODE(path.stat().st_mode) & 0o007] == []


@pytest.mark.parametrize("cell", ["=1+1", " =1+1", "\n=1+1", "\uff1d1+1", "@SUM(A1)", "-1+1", "\t=1", "\x00=1"])
def test_no_cell_of_an_export_begins_like_a_formula(cell: str) -> None:
    assert str(defused(cell)).startswith("'")
    assert defused("example.org =1") == "example.org =1"


def test_a_copy_from_elsewhere_is_not_judged_by_where_the_first_came_from(tmp_path: Path) -> None:
    asked: list[str] = []

    def judge(_raw: bytes, came: Origin) -> Verdict:
        asked.append(came.client)
        return Verdict("fail", "dmarc=fail")

    raw, now = HEAD + XML, int(time.time())
    found = reading.read(raw, "a", Limits(), now)
    waits = Verdict("none", "temperror: timeout")
    with Store.open(tmp_path / "d") as store:
        for name, client in (("a", "192.0.2.1"), ("b", "203.0.113.9")):
            store.append_many([Taken(Origin(name, now, "smtp", client), raw, found, waits)])
        Late(store, judge, Config(), lambda: now + 61).step()
    assert asked == ["192.0.2.1", "203.0.113.9"]


def test_mails_whose_dns_fails_for_hours_do_not_pile_up_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: list[str] = []

    def judge(_raw: bytes, came: Origin) -> Verdict:
        judged.append(came.name)
        return PASS

    monkeypatch.setattr("dmarcview.upkeep.LATE_MAILS", 3)
    now = int(time.time())
    found = reading.read(HEAD + XML, "a", Limits(), now)
    waits = Verdict("none", "temperror: timeout")
    with Store.open(tmp_path / "d") as store:
        late = Late(store, judge, Config(), lambda: now + 61)
        taken = [Taken(Origin(f"{n}", now, "smtp"), HEAD + XML + b" " * n, found, waits) for n in range(8)]
        store.append_many(taken)
        for _ in range(2):
            late.step()
            assert len(judged) % 3 == 0
        late.step()
    assert judged == [f"{n}" for n in range(8)]


def test_a_record_at_a_public_suffix_makes_no_neighbour_the_owner_of_a_name_below_it() -> None:
    answers = {
        ("TXT", "evil.co.uk"): [b"v=spf1 ip4:192.0.2.9 -all"],
        ("TXT", "_dmarc.co.uk"): [b"v=DMARC1; p=none"],
    }
    came = Origin("a", 0, "smtp", client="192.0.2.9", helo="evil.co.uk", mail_from="a@evil.co.uk")

    def auth(author: bytes) -> str:
        return trust.verify(b"From: a@" + author + b"\r\n\r\nx", came, FixedResolver(answers)).auth

    assert (auth(b"bank.co.uk"), auth(b"sub.evil.co.uk"), auth(b"evil.co.uk")) == ("fail", "pass", "pass")
