"""Parses files with dmarcview or with parsedmarc and prints CPU seconds, records and peak memory as one JSON line.

`python benchmarks/parse_one.py dmarcview|parsedmarc WARM-UP FILE...`, run by the interpreter that has the one or the
other. Files are read and the first one is parsed before the clock starts: what is loaded once is not counted.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path

import peer  # beside this script


def dmarcview() -> Callable[[bytes], int]:
    """Unpack and parse, as `dmarcview parse` does."""
    from dmarcview_reports import reading
    from dmarcview_reports.settings import Limits

    limits, now = Limits(), int(time.time())

    def parse(raw: bytes) -> int:
        (report,) = reading.read(raw, "report", limits, now).reports
        return len(report.records)

    return parse


def parsedmarc() -> Callable[[bytes], int]:
    """Unpack and parse, with every look-up over the network off: nothing is resolved or fetched."""
    import parsedmarc as theirs

    logging.disable(logging.CRITICAL)

    def parse(raw: bytes) -> int:
        if raw.startswith(b"From: "):
            mail = theirs.parse_report_email(raw, offline=True, always_use_local_files=True)
            return len(mail["report"]["records"])
        report = theirs.parse_aggregate_report_file(raw, offline=True, always_use_local_files=True)
        return len(report["records"])

    return parse


def main() -> None:
    """Measure."""
    parse = {"dmarcview": dmarcview, "parsedmarc": parsedmarc}[sys.argv[1]]()
    warm, *inputs = [Path(path).read_bytes() for path in sys.argv[2:]]
    parse(warm)
    start = time.process_time()
    records = sum(parse(raw) for raw in inputs)
    cpu = time.process_time() - start
    print(json.dumps({"cpu": cpu, "records": records, "peak": peer.peak()}))


if __name__ == "__main__":
    main()
