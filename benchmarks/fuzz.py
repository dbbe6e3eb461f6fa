"""A mutation fuzzer: damages samples for a set time and checks what must hold of every input; prints any surprise.

`python -m benchmarks.fuzz --seconds 60 [--seed N] [--only parse,message]`. On the first surprise exit 1 with the
input in hex.
"""

from __future__ import annotations

import argparse
import gzip
import logging
import random
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import orjson

from benchmarks import corpus, fuzz_files, fuzz_mails, fuzz_peers
from benchmarks.mutation import Target, mutate
from dmarcview_reports import reading, rows
from dmarcview_reports.errors import Refused
from dmarcview_reports.model import Report
from dmarcview_reports.parse import parse
from dmarcview_reports.settings import Limits

SAMPLES = Path(__file__).parent.parent / "reports" / "samples"
SLOW_SECONDS = 3.0  # of CPU; no input may take longer
NOW = 1_798_761_600  # 2027-01-01
LIMITS = Limits()
TIGHT = Limits(
    dkim_results=1, spf_results=1, text_bytes=40, warnings=3, records=5, mail_bytes=100_000, xml_bytes=100_000
)


def check_parse(xml: bytes) -> str:
    """`parse` raises nothing but Refused, both readers agree, and what was read can be written and read back."""
    ends = []
    for limits in (LIMITS, TIGHT):
        fast, plain = _outcome(xml, limits, True), _outcome(xml, limits, False)
        if fast != plain:
            raise AssertionError(f"fast: {fast!r}\nplain: {plain!r}")
        if isinstance(fast, Report):
            if rows.decode(rows.encode(fast.records)) != fast.records:
                raise AssertionError("the body does not come back")
            orjson.dumps(rows.json_report(fast))
            if len(fast.warnings) > limits.warnings or sum(fast.warning_counts.values()) < len(fast.warnings):
                raise AssertionError("warnings are not counted")
        ends.append(fast if isinstance(fast, str) else "rows" if not fast.warnings else "warnings")
    return ends[0]


def _outcome(xml: bytes, limits: Limits, fast: bool) -> Report | str:
    try:
        return parse(xml, limits, NOW, fast=fast)
    except Refused as refused:
        return refused.code


def check_reading(raw: bytes) -> str:
    """`read` ends in reports, others or a refusal, and none of them is a fault of ours."""
    for limits in (TIGHT, LIMITS):
        result = reading.read(raw, "fuzz", limits, NOW)
        if not (result.reports or result.others or result.refusals):
            raise AssertionError("the input vanished")
        faults = [refusal.message for refusal in result.refusals if refusal.code == "fault"]
        if faults:
            raise AssertionError(faults[0])
        orjson.dumps(reading.json_line(result))
    return result.kind or result.refusals[0].code


def report_targets() -> list[Target]:
    """The readers of reports, with the samples as seeds."""
    xml = [_plain(path) for path in sorted((SAMPLES / "xml").glob("*.xml*"))]
    xml += [corpus.report(n, distinct=distinct, seed=n) for n in (3, 8) for distinct in (True, False)]
    packed = [
        path.read_bytes()
        for folder in ("mail", "archive")
        for path in sorted((SAMPLES / folder).iterdir())
        if path.suffix not in (".json", ".txt")
    ]
    return [
        Target("parse", xml, check_parse),
        Target("reading", [seed for seed in packed if len(seed) < 200_000] + xml[:10], check_reading),
    ]


def _plain(path: Path) -> bytes:
    raw = path.read_bytes()
    return gzip.decompress(raw) if path.suffix == ".gz" else raw


def fuzz(chosen: Sequence[Target], seconds: float, seed: int) -> int:
    """Give each target the same time until it is up; the number of inputs, or -1 after a surprise.

    The inputs of a target depend on the seed and on its name only.
    """
    lots = {target.name: random.Random(f"{seed} {target.name}") for target in chosen}
    spent = dict.fromkeys(lots, 0.0)
    ends: dict[str, Counter[str]] = {target.name: Counter() for target in chosen}
    deadline, number = time.monotonic() + seconds, 0
    while time.monotonic() < deadline:
        target = min(chosen, key=lambda each: spent[each.name])
        began = time.process_time()
        data = mutate(target, lots[target.name])
        try:
            ends[target.name][target.check(data)] += 1
            took = time.process_time() - began
            if took > SLOW_SECONDS:
                raise AssertionError(f"took {took:.1f} s")
            spent[target.name] += took
        except Exception as error:
            traceback.print_exception(error, limit=-4)
            print(f"{target.name}: {type(error).__name__}: {error}\n{data.hex()}")
            return -1
        number += 1
    for name, counted in ends.items():
        print(f"{name}: {sum(counted.values())} inputs: {dict(counted.most_common())}")
    return number


def main(arguments: list[str] | None = None) -> int:
    """Fuzz for so many seconds; 1 after a surprise."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=60)
    options.add_argument("--seed", type=int, default=None)
    options.add_argument("--only", default="")
    chosen = options.parse_args(arguments)
    seed = chosen.seed if chosen.seed is not None else time.time_ns() % 2**32
    print(f"seed {seed}")
    logging.disable()  # what is wrong with a file is told for each of them
    with TemporaryDirectory() as made:
        folder = Path(made)
        known = [*report_targets(), *fuzz_mails.targets(folder), *fuzz_peers.targets(), *fuzz_files.targets(folder)]
        wanted = [target for target in known if not chosen.only or target.name in chosen.only.split(",")]
        if not wanted:
            options.error(f"--only takes some of {', '.join(target.name for target in known)}")
        return 0 if fuzz(wanted, chosen.seconds, seed) > 0 else 1


if __name__ == "__main__":
    raise SystemExit(main())
