"""`dmarcview summary|sources|reports|report|export`: questions to the store, printed."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Iterator
from datetime import date
from typing import TYPE_CHECKING, Any

from dmarcview.commands import open_store, require_store, settings
from dmarcview.commands.complete import as_json, note, open_days, rated
from dmarcview.exits import TAKEN, Misuse
from dmarcview.terminal import facts, number, print_json, safe, share, table

if TYPE_CHECKING:
    import pandas as pd

    from dmarcview.config import Config
    from dmarcview.query import Filters
    from dmarcview.store import Store

SHORTEST_KEY = 4  # letters of a report key that may stand for it
WARNINGS_SHOWN = 20
_CLASS_NAMES = {"own": "own", "third_party": "third party", "forwarder": "forwarder", "unknown": "unknown"}


def filters(args: argparse.Namespace, *, unverified: bool) -> Filters:
    """The filters that the options give. Raises Misuse."""
    from dmarcview.query import Filters

    since, until = span(args)
    try:
        return Filters(
            domains=tuple(args.domain) if args.domain else None,
            since=since,
            until=until,
            source_class=args.source_class,
            submitter=args.submitter.lower() if args.submitter else None,
            result=args.result,
            source_ip=args.source_ip,
            verified=not (args.all or unverified),
        )
    except ValueError as error:
        raise Misuse(str(error)) from None


def span(args: argparse.Namespace) -> tuple[date | None, date | None]:
    """The days of --since and --until. Raises Misuse."""
    since, until = day(args.since, "--since"), day(args.until, "--until")
    if since and until and since >= until:
        raise Misuse(f"--since {since} is not before --until {until}, which is the day after the last")
    return since, until


def day(text: str | None, option: str) -> date | None:
    """The day that an option gives. Raises Misuse."""
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise Misuse(f"{option} {text}: not a day; write it as 2026-01-31") from None


def nothing(bounds: Filters) -> str:
    """Why an answer has no row: by what was asked for, else because nothing came."""
    from dataclasses import replace

    from dmarcview.query import Filters

    if replace(bounds, verified=True) != Filters():
        return "is of this choice: ask for more days, or leave --domain and the like out."
    return "came yet. `dmarcview import PATH` brings some, `dmarcview doctor` says why none arrive."


@contextlib.contextmanager
def _asked(args: argparse.Namespace) -> Iterator[tuple[Store, Filters]]:
    """The store, read-only, and the filters."""
    found = settings(args)
    bounds = filters(args, unverified=found.trust.unverified)
    catch_up(found)
    with open_store(found, read_only=True) as store:
        yield store, bounds


def catch_up(config: Config) -> None:
    """Find out who the sources are that came in since the last time, so that no answer calls them unknown in haste."""
    from dmarcview.store import StoreError
    from dmarcview.upkeep import classify

    require_store(config)
    try:
        with open_store(config) as store:
            classify(store, config, int(time.time()))
    except StoreError:  # we may only read it: whoever may write it does this
        return


def iso(value: Any) -> str | None:
    """A time as JSON has it: `2026-01-01T00:00:00Z`. Takes seconds, timestamps, or nothing."""
    if value is None:
        return None
    if isinstance(value, int | float):
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(value))
    return str(value.strftime("%Y-%m-%dT%H:%M:%SZ"))


def plain(value: Any) -> Any:
    """A value of a frame as JSON has it; missing values are None already."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):  # numpy: scalars and arrays
        return plain(value.tolist())
    if hasattr(value, "strftime"):
        return iso(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """A frame as JSON has it: one object a row."""
    names = list(frame.columns)
    known = frame.astype(object).where(frame.notna(), None)
    return [
        {name: plain(value) for name, value in zip(names, row, strict=True)}
        for row in known.itertuples(index=False, name=None)
    ]


def run_summary(args: argparse.Namespace) -> int:
    """Totals over the window."""
    from dmarcview import query

    with _asked(args) as (store, bounds):
        found, days = query.summary(store, bounds), open_days(store, bounds)
        part = rated(bounds, days)
        told = query.summary(store, part) if part else found
    if args.json:
        days_open = {"open_days": [as_json(day) for day in days]}
        print_json(found | {"begin": iso(found["begin"]), "end": iso(found["end"])} | days_open)
        return TAKEN
    if not found["reports"]:
        print(f"No report {nothing(bounds)}")
        return TAKEN
    counted = [("DMARC pass", "dmarc_pass"), ("SPF aligned", "spf_aligned"), ("DKIM aligned", "dkim_aligned")]
    facts(
        [
            ("period", f"{(iso(found['begin']) or '')[:10]} to {(iso(found['end']) or '')[:10]} (UTC)"),
            ("reports", number(found["reports"])),
            ("records", number(found["records"])),
            ("messages", number(found["messages"])),
        ]
    )
    left_out = bool(told["messages"]) and part is not None
    told = told if told["messages"] else found
    total = told["messages"]
    note(days, left_out)
    print()
    lines = [(name, number(told[key]), share(told[key], total)) for name, key in counted]
    table(("result", "messages", "share"), lines, right=("messages", "share"))
    print()
    lines = [(name, number(n), share(n, total)) for name, n in told["by_disposition"].items()]
    table(("what receivers did", "messages", "share"), lines, right=("messages", "share"))
    print()
    lines = [(_CLASS_NAMES.get(name, name), number(n), share(n, total)) for name, n in told["by_class"].items()]
    table(("who sent", "messages", "share"), lines, right=("messages", "share"))
    return TAKEN


def run_sources(args: argparse.Namespace) -> int:
    """Who sends, most messages first."""
    from dmarcview import query

    with _asked(args) as (store, bounds):
        found = rows(query.sources(store, bounds, limit=args.limit or None))
        if args.json:
            print_json(found)
            return TAKEN
        days = open_days(store, bounds)
        part = rated(bounds, days)
        told = rows(query.sources(store, part, limit=None)) if part else []
    of_rates = {(row["domain"], row["source_ip"]): row for row in told} or {
        (row["domain"], row["source_ip"]): row for row in found
    }
    nothing = {"messages": 0, "dmarc_pass": 0, "spf_aligned": 0, "dkim_aligned": 0}
    heads = ("source", "domain", "class", "messages", "DMARC", "SPF", "DKIM", "who")
    lines = [
        (
            row["source_ip"],
            row["domain"],
            _CLASS_NAMES.get(row["source_class"], row["source_class"]),
            number(row["messages"]),
            *(share(rate[key], rate["messages"]) for key in ("dmarc_pass", "spf_aligned", "dkim_aligned")),
            row["service"] or row["reverse_dns"] or row["as_name"] or "",
        )
        for row in found
        for rate in [of_rates.get((row["domain"], row["source_ip"]), nothing)]
    ]
    _listed(heads, lines, ("messages", "DMARC", "SPF", "DKIM"), args.limit)
    note(days, bool(told))
    return TAKEN


def _listed(heads: tuple[str, ...], lines: list[tuple[Any, ...]], right: tuple[str, ...], limit: int) -> None:
    """A table, and a word when it is empty or was cut."""
    if not lines:
        print("Nothing in this window.")
        return
    table(heads, lines, right=right)
    if limit and len(lines) == limit:
        print(f"The first {limit}; --limit 0 shows all.")


def run_reports(args: argparse.Namespace) -> int:
    """Which reports are stored, latest first."""
    from dmarcview import query

    with _asked(args) as (store, bounds):
        found = rows(query.reports(store, bounds, limit=args.limit or None, apart=args.all))
    if args.json:
        print_json(found)
        return TAKEN
    heads = ("id", "reporter", "domain", "day", "records", "messages", "DMARC", "auth", "!")
    lines = [
        (
            row["report_key"][:10],
            row["submitter"],
            row["domain"],
            (row["begin"] or "")[:10],
            number(row["records"]),
            number(row["messages"]),
            share(row["dmarc_pass"], row["messages"]),
            row["auth"],
            row["apart"] or (f"{row['warnings']} warnings" if row["warnings"] else ""),
        )
        for row in found
    ]
    _listed(heads, lines, ("records", "messages", "DMARC"), args.limit)
    return TAKEN


def _key(store: Store, text: str) -> str:
    """The whole key that begins with `text`. Raises Misuse."""
    from dmarcview import query

    begin = text.lower()
    if query.report(store, begin) is not None:
        return begin
    if len(begin) < SHORTEST_KEY:
        raise Misuse(f"{text}: give at least {SHORTEST_KEY} letters of the report's key")
    found = query.reports(store, query.Filters(verified=False), limit=None, apart=True)["report_key"]
    keys = [key for key in found if key.startswith(begin)]
    if len(keys) != 1:
        known = "no report has such a key" if not keys else f"{len(keys)} reports have a key that begins so"
        raise Misuse(f"{text}: {known}; `dmarcview reports --all` lists them")
    return str(keys[0])


def run_report(args: argparse.Namespace) -> int:
    """One report with its records; with --raw the input as it came."""
    from dmarcview import query

    found = settings(args)
    catch_up(found)
    with open_store(found, read_only=True) as store:
        key = _key(store, args.id)
        if args.raw:
            kept = store.raw(key)
            if kept is None:
                raise Misuse(f"{key}: its raw input is not kept; see [data] archive_days")
            sys.stdout.flush()
            sys.stdout.buffer.write(kept.raw)
            return TAKEN
        head = query.report(store, key)
        assert head is not None
        records = rows(query.report_records(store, key))
    if args.json:
        times = {name: iso(head.facts[name]) for name in ("begin", "end", "received")}
        warnings = [{"code": code, "where": where} for code, where in head.warnings]
        extra = {"apart": head.apart, "conflicts": list(head.conflicts), "errors": list(head.errors)}
        print_json({**head.facts, **times, **extra, "records": records, "warnings": warnings,
                    "warning_counts": head.warning_counts})  # fmt: skip
        return TAKEN
    fact = head.facts
    facts(
        [
            ("report", key),
            ("reporter", f"{fact['org_name'] or fact['submitter']} <{fact['org_email'] or 'no address'}>"),
            ("report id", fact["report_id"]),
            ("domain", fact["domain"]),
            ("period", f"{iso(fact['begin'])} to {iso(fact['end'])}"),
            ("policy", ", ".join(f"{n}={fact[n]}" for n in ("p", "sp", "np", "pct", "adkim", "aspf", "fo") if fact[n])),
            ("came as", f"{fact['input']} ({fact['channel']})"),
            ("believed", f"{fact['auth']}  {fact['auth_detail']}"),
            *([("kept apart", head.apart)] if head.apart else []),
        ]
    )
    for code, where in head.warnings[:WARNINGS_SHOWN]:
        print(f"warning {safe(code)}: {safe(where)}")
    print()
    heads = ("source", "messages", "DKIM", "SPF", "disposition", "From", "class")
    words = {True: "pass", False: "fail", None: "-"}
    lines = [
        (
            row["source_ip"],
            number(row["count"]),
            words[row["dkim_aligned"]],
            words[row["spf_aligned"]],
            row["disposition"] or "-",
            row["header_from"],
            _CLASS_NAMES.get(row["source_class"], row["source_class"]),
        )
        for row in records
    ]
    table(heads, lines, right=("messages",))
    return TAKEN


def run_export(args: argparse.Namespace) -> int:
    """Write record rows in one of the formats."""
    from dmarcview import export

    with _asked(args) as (store, bounds):
        if args.output == "-":
            if args.format == "parquet" and sys.stdout.isatty():
                raise Misuse("parquet is no text; name a file with --output")
            sys.stdout.flush()
            export.write(store, bounds, args.format, sys.stdout.buffer)
        else:
            export.write_file(store, bounds, args.format, args.output)
    return TAKEN
