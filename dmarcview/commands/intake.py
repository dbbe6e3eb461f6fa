"""`dmarcview import` and `dmarcview parse`: what files hold, with or without a store."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dmarcview.commands import open_store, settings
from dmarcview.exits import REFUSED, TAKEN
from dmarcview.terminal import facts, is_tty, number, print_json, safe, table
from dmarcview.upkeep import classify
from dmarcview_reports import inputs, reading, unpack
from dmarcview_reports.errors import Refused
from dmarcview_reports.model import Origin, Reading, Refusal, Stored, Taken
from dmarcview_reports.vocab import DROPS, WARNINGS

if TYPE_CHECKING:
    from dmarcview.store import Store
    from dmarcview_reports.settings import Limits

BATCH_RECORDS = 200_000  # records, inputs and bytes in memory before they are stored in one transaction
BATCH_INPUTS = 2_000
BATCH_BYTES = 64_000_000
# So many sources are classified in under two seconds, which an import can spend so that the first question need not.
# With more, who they are is found out at that question, or by an ingest that runs.
CLASSIFIED_AT_ONCE = 250_000
SHOWN = 20  # refusals listed for a person; --json has all


@dataclass(slots=True)
class Tally:
    """What one import did, in the words of its JSON."""

    files: int = 0
    mails: int = 0
    reports: int = 0
    records: int = 0
    messages: int = 0
    duplicates: int = 0
    conflicts: int = 0
    others: int = 0
    apart: int = 0  # whole reports that were kept apart, such as those for a domain that is not watched
    warnings: Counter[str] = field(default_factory=Counter)
    refused: list[dict[str, str]] = field(default_factory=list)
    sources: set[str] = field(default_factory=set)

    @property
    def dropped(self) -> int:
        """Records that the reader left out."""
        return sum(count for code, count in self.warnings.items() if code in DROPS)

    def read(self, found: Reading) -> None:
        """Count what reading alone knows."""
        for report in found.reports:
            self.warnings.update(report.warning_counts)
            self.sources.update(report.records.source_ip)
        for refusal in found.refusals:
            entry = {"input": found.input, "code": refusal.code, "message": refusal.message}
            self.refused.append(entry | ({"where": refusal.where} if refusal.where else {}))

    def stored(self, found: Reading, result: Stored) -> None:
        """Count what the store did with it."""
        self.reports += result.reports
        self.records += result.records
        self.messages += result.messages
        self.duplicates += result.duplicates
        self.conflicts += result.conflicts
        self.others += result.others
        apart = result.refused - len(found.refusals)
        if apart > 0:
            domains = ", ".join(sorted({report.domain for report in found.reports}))
            message = f"{apart} report(s) for {domains}: not among [domains] watched. Add the domain, then replay."
            self.refused.append({"input": found.input, "code": "unknown_domain", "message": message})

    def json(self) -> dict[str, Any]:
        """The object of `dmarcview import --json`."""
        return {
            "files": self.files,
            "mails": self.mails,
            "reports": self.reports,
            "records": self.records,
            "messages": self.messages,
            "duplicates": self.duplicates,
            "conflicts": self.conflicts,
            "dropped_records": self.dropped,
            "warnings": dict(sorted(self.warnings.items())),
            "refused": self.refused,
        }


@dataclass(slots=True)
class _Load:
    """Inputs that were read and wait to be stored together."""

    taken: list[Taken] = field(default_factory=list)
    records: int = 0
    bytes: int = 0

    @property
    def full(self) -> bool:
        return self.records >= BATCH_RECORDS or self.bytes >= BATCH_BYTES or len(self.taken) >= BATCH_INPUTS


def _read(one: inputs.Input, limits: Limits, now: int) -> tuple[bytes, Reading]:
    """Load and read one input; what cannot be loaded is a refusal as well."""
    try:
        raw = one.load()
    except Refused as error:
        return b"", Reading(one.name, refusals=(Refusal(error.code, error.message),))
    return raw, reading.read(raw, one.name, limits, now)


class _Files:
    """Counts files among inputs: the mails of one mbox are named `path#1`, `path#2` and are one file."""

    def __init__(self) -> None:
        self._last = ""

    def new(self, name: str) -> bool:
        """Whether this input begins another file."""
        base, mark, tail = name.rpartition("#")
        whole = base if mark and tail.isdigit() and not os.path.lexists(name) else name
        fresh = whole != self._last
        self._last = whole
        return fresh


def run_import(args: argparse.Namespace) -> int:
    """Read every input below the paths into the store, in batches of one transaction each."""
    found = settings(args)
    tally = Tally()
    with contextlib.closing(open_store(found)) as store, _progress(args) as advance:
        load = _Load()
        now = int(time.time())
        files = _Files()
        for one in inputs.walk(args.paths, found.limits):
            raw, what = _read(one, found.limits, now)
            tally.files += files.new(one.name)
            tally.mails += unpack.kind_of(raw) in ("mail", "mbox")
            tally.read(what)
            load.taken.append(Taken(Origin(one.name, now), raw, what))
            load.records += sum(len(report.records) for report in what.reports)
            load.bytes += len(raw)
            advance(one.size)
            if load.full:
                _store(store, load, tally, keep_raw=not args.no_raw)
                load = _Load()
        _store(store, load, tally, keep_raw=not args.no_raw)
        load = _Load()  # what was read is not needed any more, and may be large
        if tally.reports and len(tally.sources) <= CLASSIFIED_AT_ONCE:
            classify(store, found, now)
    if args.json:
        print_json(tally.json())
    else:
        _show(tally)
    return REFUSED if tally.refused else TAKEN


def _store(store: Store, load: _Load, tally: Tally, *, keep_raw: bool) -> None:
    if not load.taken:
        return
    for one, result in zip(load.taken, store.append_many(load.taken, keep_raw=keep_raw), strict=True):
        tally.stored(one.reading, result)


@contextlib.contextmanager
def _progress(args: argparse.Namespace) -> Iterator[Callable[[int], None]]:
    """A bar on standard error, when a person watches and there is something to wait for."""
    if args.json or not is_tty(sys.stderr):
        yield lambda _size: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("reading"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=inputs.estimate(args.paths).bytes or None)
        yield lambda size: bar.advance(task, size)


def _show(tally: Tally) -> None:
    facts(
        [
            ("files", number(tally.files)),
            ("mails", number(tally.mails)),
            ("new reports", number(tally.reports)),
            ("records", number(tally.records)),
            ("messages", number(tally.messages)),
            ("duplicates", number(tally.duplicates)),
            ("conflicts", number(tally.conflicts)),
            ("failure and TLS reports", number(tally.others)),
            ("dropped records", number(tally.dropped)),
            ("refused", number(len(tally.refused))),
        ]
    )
    if tally.warnings:
        print()
        rows = [(code, number(n), WARNINGS.get(code, "")) for code, n in tally.warnings.most_common()]
        table(("warning", "times", "meaning"), rows, right=("times",))
    if tally.refused:
        print()
        rows = [(entry["input"], entry["code"], entry["message"]) for entry in tally.refused[:SHOWN]]
        table(("refused", "code", "what to do"), rows)
        if len(tally.refused) > SHOWN:
            print(f"and {len(tally.refused) - SHOWN} more: `dmarcview refused`, or --json")


def run_parse(args: argparse.Namespace) -> int:
    """Print what each input holds; nothing is stored, no settings but the limits matter."""
    found = settings(args)
    now = int(time.time())
    refused = False
    for one in inputs.walk(args.paths, found.limits):
        _, what = _read(one, found.limits, now)
        refused = refused or bool(what.refusals)
        if args.json:
            print_json(reading.json_line(what))
        else:
            _show_reading(what)
    return REFUSED if refused else TAKEN


def _show_reading(what: Reading) -> None:
    print(f"{safe(what.input)}: {what.kind or 'nothing that we read'}")
    for other in what.others:
        print(f"  {other.kind} report, {number(len(other.content))} bytes; kept whole, not charted yet")
    for report in what.reports:
        period = f"{_day(report.begin)} to {_day(report.end)} UTC"
        reporter = safe(report.org_name or report.submitter)
        print(f"  {reporter} on {safe(report.domain)}, {period}, id {safe(report.report_id)}")
        rows = [
            (r.source_ip, number(r.count), _word(r.shape.dkim_aligned), _word(r.shape.spf_aligned),
             r.shape.disposition or "-", r.shape.header_from)
            for r in itertools.islice(report.records, SHOWN)
        ]  # fmt: skip
        if rows:
            table(("  source", "messages", "DKIM", "SPF", "disposition", "From"),
                  [("  " + row[0], *row[1:]) for row in rows], right=("messages",))  # fmt: skip
        if len(report.records) > SHOWN:
            print(f"  and {number(len(report.records) - SHOWN)} more records; --json has all")
        for code, count in report.warning_counts.items():
            print(f"  warning {code} ({number(count)}): {WARNINGS.get(code, '')}")
    for refusal in what.refusals:
        print(
            f"  refused {refusal.code}{' in ' + safe(refusal.where) if refusal.where else ''}: {safe(refusal.message)}"
        )


def _day(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(seconds))


def _word(value: bool | None) -> str:
    return "-" if value is None else "pass" if value else "fail"
